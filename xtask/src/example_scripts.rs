//! Whether the example scripts of the documentation are Python.

use std::{ffi::OsStr, fs, process::Command};

use dev_services::{Python, VirtualEnv, Workspace};

#[test]
fn the_example_scripts_compile() {
    let workspace = Workspace::locate().unwrap();
    let python = Python::find().unwrap();
    let requirements = workspace.root().join("tests/python/grafana.txt");
    let environment = VirtualEnv::prepare(&workspace, &python, "grafana", &requirements).unwrap();
    let entries = fs::read_dir(workspace.root().join("docs/examples")).unwrap();
    let scripts =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension() == Some(OsStr::new("py")));
    let scripts: Vec<_> = scripts.collect();
    assert!(scripts.len() >= 2, "{scripts:?}");
    let folder = tempfile::tempdir().unwrap();
    for script in scripts {
        // Not beside the script, which would leave files in the checkout.
        let compile =
            "import py_compile, sys; py_compile.compile(sys.argv[1], cfile=sys.argv[2], doraise=True)";
        let mut compiler = Command::new(environment.python());
        let output = compiler
            .args(["-c", compile])
            .arg(&script)
            .arg(folder.path().join("script.pyc"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
