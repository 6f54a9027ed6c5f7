//! Running the `daglight` program.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use xtask::Workspace;

use crate::{Checkout, OtlpReceiver, Project};

/// A run that takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(180);

/// What the tests keep: the data, the servers' logs, screenshots.
pub(crate) fn scratch() -> PathBuf {
    let folder = workspace().target().join("system-tests");
    fs::create_dir_all(&folder).expect("the folder of the system tests can be made");
    folder
}

pub(crate) fn workspace() -> Workspace {
    Workspace::locate().unwrap_or_else(|error| panic!("{error:#}"))
}

/// One call of the program, in the folder of a checkout and without any variable of ours or of OpenTelemetry.
#[derive(Debug)]
pub struct Daglight {
    command: Command,
}

impl Daglight {
    /// The program with its arguments.
    ///
    /// # Panics
    /// When it has not been built.
    pub fn new<S: AsRef<OsStr>>(checkout: &Checkout, arguments: impl IntoIterator<Item = S>) -> Self {
        let program = workspace().daglight().unwrap_or_else(|error| panic!("{error:#}"));
        let mut command = Command::new(program);
        for (name, _) in env::vars_os() {
            let name_text = name.to_string_lossy().to_uppercase();
            if ["HAMILTON_", "OTEL_", "DAGLIGHT_"].iter().any(|prefix| name_text.starts_with(prefix))
                || name_text.ends_with("_PROXY")
                || name_text == "RUST_LOG"
            {
                command.env_remove(&name);
            }
        }
        command.current_dir(checkout.path()).args(arguments);
        Self { command }
    }

    /// `daglight run FILE --output-dir out --json`.
    pub fn run(checkout: &Checkout, pipeline: &Path) -> Self {
        Self::new(checkout, [OsStr::new("run"), pipeline.as_os_str()]).args(["--output-dir", "out", "--json"])
    }

    /// More arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    /// A variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Tracked in a project of the Hamilton UI.
    #[must_use]
    pub fn tracked_in(self, project: &Project) -> Self {
        project.environment().into_iter().fold(self, |daglight, (name, value)| daglight.env(name, value))
    }

    /// Signals go to the receiver, in one of the protocols of OTLP.
    #[must_use]
    pub fn observed_by(self, receiver: &OtlpReceiver, protocol: &str) -> Self {
        self.env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint(protocol))
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it cannot be started or does not end.
    pub fn finish(mut self) -> Finished {
        let folder = TempDir::with_prefix("daglight-output-").expect("a temporary folder");
        let [stdout, stderr] = ["stdout", "stderr"].map(|name| folder.path().join(name));
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).expect("a file"))
            .stderr(File::create(&stderr).expect("a file"))
            .spawn()
            .expect("the program starts");
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("the program's state") {
                break status;
            }
            if start.elapsed() > DEADLINE {
                child.kill().expect("the program can be ended");
                let said = fs::read_to_string(&stderr).unwrap_or_default();
                panic!("{:?} does not end; it said\n{said}", self.command);
            }
            thread::sleep(Duration::from_millis(10));
        };
        Finished {
            code: status.code(),
            stdout: fs::read_to_string(stdout).expect("the output is text"),
            stderr: fs::read_to_string(stderr).expect("the errors are text"),
        }
    }
}

/// What a call left behind.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its output.
    pub stdout: String,
    /// Its errors, warnings and progress.
    pub stderr: String,
}

impl Finished {
    /// Checks the exit code and reads the report that `--json` prints.
    ///
    /// # Panics
    /// When it ended in another way, or printed anything else.
    #[track_caller]
    pub fn report(&self, code: i32) -> Value {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stderr, self.stdout);
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("the output is not one JSON object: {error}\n{}", self.stdout))
    }

    /// Checks the exit code.
    ///
    /// # Panics
    /// When it ended in another way.
    #[track_caller]
    pub fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stderr, self.stdout);
        self
    }
}
