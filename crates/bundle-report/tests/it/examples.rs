//! The example program, run as its reader runs it.

use std::{env, fs, path::Path, process::Command};

use daglight_run_bundle::Bundle;
use daglight_run_identity::RunId;

use crate::fixture;

#[test]
fn the_report_of_a_bundle_is_read_by_a_program() {
    let out = tempfile::tempdir().unwrap();
    let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
    fs::write(bundle.logs(), fixture::log_line(13, "statistics are off")).unwrap();
    fixture::manifest().write(&bundle).unwrap();
    let tests = env::current_exe().unwrap();
    let program = tests.parent().and_then(Path::parent).unwrap().join("examples/report_of_bundle");
    let output = Command::new(&program).arg(bundle.dir()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.starts_with("orders: Success, 1000 rows\nlines: Success, 1000 rows\n"), "{said}");

    let nothing = Command::new(&program).arg(out.path().join("none")).output().unwrap();
    let said = String::from_utf8(nothing.stderr).unwrap();
    assert!(!nothing.status.success() && said.contains("NotABundle"), "{said}");
}
