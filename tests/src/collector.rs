//! A third-party collector: Rotel, from the Python packages. It receives OTLP, batches it, and passes it on.

use std::{net::TcpStream, process::Command, time::Duration};

use dev_services::{Background, Python, VirtualEnv, free_port};
use tempfile::TempDir;

use crate::{
    otlp::{OtlpReceiver, python_file},
    scratch::workspace,
};

/// A collector on free ports of 127.0.0.1 that sends what it takes to a receiver. It ends when it is dropped.
#[derive(Debug)]
pub struct Collector {
    grpc: u16,
    http: u16,
    _process: Background,
    _folder: TempDir,
}

impl Collector {
    /// Starts one in front of the receiver.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(receiver: &OtlpReceiver) -> Self {
        const START: Duration = Duration::from_secs(60);
        let workspace = workspace();
        let environment = Python::find()
            .map_err(Into::into)
            .and_then(|python| {
                VirtualEnv::prepare(&workspace, &python, "collector", &python_file("collector.txt"))
            })
            .unwrap_or_else(|error| panic!("the Python environment of the collector: {error:#}"));
        let find = "import os, rotel; print(os.path.join(os.path.dirname(rotel.__file__), 'rotel-agent'))";
        let found = Command::new(environment.python()).args(["-c", find]).output().expect("Python starts");
        let program = String::from_utf8(found.stdout).expect("a path");
        let folder = tempfile::tempdir().expect("a folder");
        let (grpc, http) = (free_port().expect("a port"), free_port().expect("a port"));
        let mut command = Command::new(program.trim());
        command
            .current_dir(folder.path())
            .args(["start", "--pid-file", "pid", "--log-file", "log", "--exporter", "otlp"])
            .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{grpc}")])
            .args(["--otlp-http-endpoint", &format!("127.0.0.1:{http}")])
            .args(["--otlp-exporter-protocol", "grpc"])
            .args(["--otlp-exporter-endpoint", &receiver.endpoint("grpc")]);
        let mut process =
            Background::start(&mut command, &folder.path().join("output")).expect("the collector starts");
        let listens = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
        process
            .wait_until(START, || listens(grpc) && listens(http))
            .unwrap_or_else(|error| panic!("the collector does not listen: {error:#}"));
        Self { grpc, http, _process: process, _folder: folder }
    }

    /// The endpoint for a value of `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub fn endpoint(&self, protocol: &str) -> String {
        format!("http://127.0.0.1:{}", if protocol == "grpc" { self.grpc } else { self.http })
    }
}
