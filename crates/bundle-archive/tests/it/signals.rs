//! What remains after a signal of an archive that is being read.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    os::unix::process::ExitStatusExt as _,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use daglight_bundle_archive::{remove_on_signals, temporary_folder};

/// The text that the program prints before the path of its folder.
const FOLDER: &str = "the folder: ";
/// The variable that makes a process of this test the program that a signal ends.
const IS_PROGRAM: &str = "DAGLIGHT_TEST_LOOKS_AT_AN_ARCHIVE";

/// A program that looks at an archive until it is ended.
fn look_at_an_archive() {
    remove_on_signals();
    let folder = temporary_folder().unwrap();
    fs::write(folder.path().join("manifest.json"), "{}").unwrap();
    println!("{FOLDER}{}", folder.path().display());
    thread::sleep(Duration::from_mins(1));
}

#[track_caller]
fn check(signal: &str, number: i32) {
    let mut program = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "signals::a_signal_that_ends_the_process_leaves_no_folder"])
        .env(IS_PROGRAM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(program.stdout.take().unwrap());
    let folder = said.lines().find_map(|line| Some(line.ok()?.split_once(FOLDER)?.1.to_owned())).unwrap();
    assert!(fs::exists(&folder).unwrap());
    let sent = Command::new("kill").args(["-s", signal, &program.id().to_string()]).status().unwrap();
    assert!(sent.success());
    assert_eq!(program.wait().unwrap().signal(), Some(number));
    assert!(!fs::exists(&folder).unwrap(), "{folder}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the variable says which of two processes this is")]
fn a_signal_that_ends_the_process_leaves_no_folder() {
    // A signal ends a whole process, so the test starts itself as another one.
    if env::var_os(IS_PROGRAM).is_some() {
        return look_at_an_archive();
    }
    check("INT", 2);
    check("TERM", 15);
}
