//! The example program, run as its reader runs it.

use std::{env, path::Path, process::Command};

#[test]
fn each_query_is_a_span_of_the_programs_own_exporter() {
    let tests = env::current_exe().unwrap();
    let program = tests.parent().and_then(Path::parent).unwrap().join("examples/own_spans");
    let output = Command::new(program).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let [span] = said.lines().collect::<Vec<_>>()[..] else { panic!("not one span: {said}") };
    assert!(span.starts_with("select ") && span.contains("I64(7)"), "{span}");
    assert!(span.contains("AggregateExec") && span.contains("LazyMemoryExec"), "{span}");
}
