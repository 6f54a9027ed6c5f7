//! The example notebook, run with the package for which it is written.

use std::{path::Path, process::Command};

use dev_services::{Python, VirtualEnv};
use serde_json::Value;

use crate::{otlp::python_file, scratch::workspace};

/// Runs the code of a notebook over the folder `tables`, and returns frames of it by name, each a list of rows.
///
/// # Panics
/// When the notebook fails.
#[track_caller]
pub fn run_notebook(notebook: &Path, tables: &Path, frames: &[&str]) -> Value {
    let environment = Python::find()
        .map_err(Into::into)
        .and_then(|python| {
            VirtualEnv::prepare(&workspace(), &python, "notebook", &python_file("notebook.txt"))
        })
        .unwrap_or_else(|error| panic!("the Python environment of the notebook: {error:#}"));
    let output = Command::new(environment.python())
        .arg(python_file("notebook.py"))
        .args([notebook, tables])
        .args(frames)
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "{}: {}", notebook.display(), String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("frames as JSON")
}
