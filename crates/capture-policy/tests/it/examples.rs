//! The example program, run as its reader runs it.

use std::{env, path::Path, process::Command};

#[test]
fn what_each_profile_shows_is_printed_and_nothing_secret_among_it() {
    let tests = env::current_exe().unwrap();
    let program = tests.parent().and_then(Path::parent).unwrap().join("examples/policy_alone");
    let output = Command::new(program).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown = String::from_utf8(output.stdout).unwrap();
    let (dev, prod) = shown.split_once("prod\n").unwrap();
    assert!(dev.starts_with("dev\n") && dev.contains("customer = 'Ann'"), "{shown}");
    assert!(prod.contains("  sql: ") && !prod.contains("Ann"), "{shown}");
    assert!(!shown.contains("hunter2") && !shown.contains("me:secret"), "{shown}");
}
