//! Whether documents conform to published schemas, according to a third-party validator.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    otlp::{environment, python_file},
    scratch::workspace,
};

/// A schema of the repository, such as `docs/run_diagnostics_report.schema.json`.
pub fn schema_of(path: &str) -> PathBuf {
    workspace().root().join(path)
}

/// Checks a JSON document against a JSON Schema.
///
/// # Panics
/// When it is not what the schema says; the message says where.
#[track_caller]
pub fn check_against(schema: &Path, document: &Path) {
    let output = Command::new(environment().python())
        .arg(python_file("json_schema.py"))
        .args([schema, document])
        .output()
        .expect("the validator starts");
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(output.status.success(), "{}: {said}", document.display());
}
