//! The working folders of the tests.

use std::{fs, path::PathBuf};

use dev_services::Workspace;

/// What the tests keep: the data, the servers' logs, screenshots.
pub(crate) fn scratch() -> PathBuf {
    let folder = workspace().target().join("system-tests");
    fs::create_dir_all(&folder).expect("the folder of the system tests can be made");
    folder
}

pub(crate) fn workspace() -> Workspace {
    Workspace::locate().unwrap_or_else(|error| panic!("{error:#}"))
}
