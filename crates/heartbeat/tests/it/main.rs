//! The example program, run as its reader runs it.

use std::{env, path::Path, process::Command};

#[test]
fn a_plain_program_has_beats_that_name_its_tasks() {
    let tests = env::current_exe().unwrap();
    let program = tests.parent().and_then(Path::parent).unwrap().join("examples/beats");
    let output = Command::new(program).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let beats = String::from_utf8(output.stdout).unwrap();
    for active in ["[orders.csv], ", "[lines.csv], "] {
        assert!(beats.lines().any(|beat| beat.starts_with("beat ") && beat.contains(active)), "{beats}");
    }
    assert!(!beats.contains("orders.csv, lines.csv"), "the first has ended: {beats}");
}
