//! Running the `daglight` program.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Checkout, OtlpReceiver, Project, scratch::workspace};

/// A run that takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(180);

/// The user and group without rights.
const NOBODY: u32 = 65_534;

/// One call of the program, in the folder of a checkout and without any variable of ours or of OpenTelemetry.
#[derive(Debug)]
pub struct Daglight {
    command: Command,
    is_read: bool,
}

impl Daglight {
    /// The program with its arguments.
    ///
    /// # Panics
    /// When it has not been built.
    pub fn new<S: AsRef<OsStr>>(checkout: &Checkout, arguments: impl IntoIterator<Item = S>) -> Self {
        let program = workspace().daglight().unwrap_or_else(|error| panic!("{error:#}"));
        Self::program(&program, checkout, arguments)
    }

    /// Another program on Daglight, in the same circumstances.
    pub fn program<S: AsRef<OsStr>>(
        program: &Path,
        checkout: &Checkout,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
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
        Self { command, is_read: true }
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

    /// On a disk whose files take so many blocks of 512 bytes and fail to grow further, as if it were full. Standard output
    /// goes through a pipe, since the file behind it would have the same limit.
    #[must_use]
    pub fn with_files_up_to(self, blocks: u32) -> Self {
        // Bash counts in blocks of 512 bytes only as a POSIX shell.
        let limit = format!(r#"set -o pipefail; (ulimit -f {blocks}; exec "$@") | cat"#);
        self.through("bash", &["--posix", "-c", &limit, "bash"])
    }

    /// With its own disk at `folder`, which is so small. What is on it in the end is copied to `kept`: nobody else sees
    /// the disk.
    ///
    /// # Panics
    /// When the folder cannot be made.
    #[must_use]
    pub fn on_small_disk(self, folder: &Path, size: &str, kept: &Path) -> Self {
        const SCRIPT: &str = r#"
            mount -t tmpfs -o "size=$1" tmpfs "$2" || exit 99
            folder=$2 kept=$3; shift 3
            "$@"; code=$?
            cp -a "$folder" "$kept"
            exit $code
        "#;
        fs::create_dir_all(folder).expect("a folder");
        let (folder, kept) = (folder.to_string_lossy(), kept.to_string_lossy());
        self.through(
            "unshare",
            &["--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh", size, &folder, &kept],
        )
    }

    /// As a user who may have so many threads. Root may have any number, and so becomes somebody who has none yet, since the
    /// limit counts all threads of a user; any other user may have so many more than there are.
    ///
    /// # Panics
    /// When the folder is not ours.
    #[must_use]
    pub fn with_threads_up_to(self, limit: u32, checkout: &Checkout) -> Self {
        const LIMITED: &str = r#"
            used=$2 limit=$1; shift 2
            : "${used:=$(ps -L -u "$(id -u)" --no-headers | wc -l)}"
            ulimit -u $((used + limit)); exec "$@"
        "#;
        let used = if is_root() { "0" } else { "" };
        let limited = ["-c", LIMITED, "bash", &limit.to_string(), used];
        let run = self.env("HOME", checkout.path()).through("bash", &limited);
        run.under_user_if_root(nobody_else(), checkout)
    }

    /// As a user for whom permissions count, who may write in the checkout.
    ///
    /// # Panics
    /// When the folder is not ours.
    #[must_use]
    pub fn not_as_root(self, checkout: &Checkout) -> Self {
        self.under_user_if_root(NOBODY, checkout)
    }

    fn under_user_if_root(self, user: u32, checkout: &Checkout) -> Self {
        fs::set_permissions(checkout.path(), Permissions::from_mode(0o777)).expect("the folder is ours");
        if !is_root() {
            return self;
        }
        let (user, group) = (format!("--reuid={user}"), format!("--regid={NOBODY}"));
        self.through("setpriv", &[&user, &group, "--clear-groups"])
    }

    /// With this umask, in octal.
    #[must_use]
    pub fn with_umask(self, umask: &str) -> Self {
        let set = format!(r#"umask {umask}; exec "$@""#);
        self.through("/bin/sh", &["-c", &set, "sh"])
    }

    /// Started to ignore a signal, as `nohup` does with HUP.
    #[must_use]
    pub fn ignoring(self, signal: &str) -> Self {
        self.through("env", &[&format!("--ignore-signal={signal}")])
    }

    /// Has another program become this one.
    #[must_use]
    pub fn through(self, program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).arg(self.command.get_program()).args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(folder) = self.command.get_current_dir() {
            command.current_dir(folder);
        }
        Self { command, ..self }
    }

    /// With pipes for its output and its errors that nobody reads any more.
    #[must_use]
    pub fn read_by_nobody(self) -> Self {
        Self { is_read: false, ..self }
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
    pub fn finish(self) -> Finished {
        self.start().finish()
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(self) -> Running {
        // Shells have what they start in the background ignore ctrl-c, nohup has it ignore SIGHUP, and so would this.
        let mut call = self.through("env", &["--default-signal=INT,TERM,HUP"]);
        let output = TempDir::with_prefix("daglight-output-").expect("a temporary folder");
        let to = |name: &str| {
            let file = File::create(output.path().join(name)).expect("a file");
            if call.is_read { Stdio::from(file) } else { Stdio::from(io::pipe().expect("a pipe").1) }
        };
        let (stdout, stderr) = (to(STDOUT), to(STDERR));
        let child = call
            .command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .expect("the program starts");
        Running { child, output, started: Instant::now() }
    }
}

const STDOUT: &str = "stdout";
const STDERR: &str = "stderr";

/// A call that is under way. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    output: TempDir,
    started: Instant,
}

impl Running {
    /// Sends it a signal, such as `INT`.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "SIG{name} cannot be sent\n{}", self.said(STDERR));
    }

    /// Waits until something is so while it runs.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn wait_until(&self, what: &str, mut done: impl FnMut() -> bool) {
        while !done() {
            assert!(self.started.elapsed() < DEADLINE, "it did not come to {what}\n{}", self.said(STDERR));
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The time that its threads have computed, in ticks of the system.
    pub fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        // Behind the name, which may have anything in it: the fields from the third on.
        let (_, fields) = stat.rsplit_once(") ").expect("a name");
        let ticks = |field: usize| fields.split(' ').nth(field).and_then(|text| text.parse::<u64>().ok());
        ticks(11).zip(ticks(12)).map(|(user, system)| user + system).expect("times")
    }

    /// What it has written to standard output so far.
    ///
    /// # Panics
    /// When that is not text.
    pub fn output(&self) -> String {
        self.said(STDOUT)
    }

    /// What it has written to standard error so far.
    ///
    /// # Panics
    /// When that is not text.
    pub fn errors(&self) -> String {
        self.said(STDERR)
    }

    /// As [`Running::signal`], for one that may have ended.
    pub fn signal_if_it_runs(&self, name: &str) {
        // It has not been waited for, so that no other process has its number.
        let _ = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When that does not come.
    pub fn finish(self) -> Finished {
        self.finish_within(DEADLINE)
    }

    /// As [`Running::finish`], where it is to come within this time of the start.
    ///
    /// # Panics
    /// When it does not.
    pub fn finish_within(mut self, limit: Duration) -> Finished {
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the program's state") {
                break status;
            }
            assert!(self.started.elapsed() < limit, "it does not end; it said\n{}", self.said(STDERR));
            thread::sleep(Duration::from_millis(10));
        };
        Finished { code: status.code(), stdout: self.said(STDOUT), stderr: self.said(STDERR) }
    }

    fn said(&self, name: &str) -> String {
        fs::read_to_string(self.output.path().join(name)).expect("what it says is text")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing to do where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
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

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// A user whom nobody is on this machine, and who is another one at each call: of this process, and of tests beside it.
fn nobody_else() -> u32 {
    /// Users below are given to people and services.
    const FIRST: u32 = 1_000_000;
    /// Calls of one process.
    const CALLS: u32 = 256;
    static CALL: AtomicU32 = AtomicU32::new(0);

    FIRST + process::id() * CALLS + CALL.fetch_add(1, Ordering::Relaxed) % CALLS
}
