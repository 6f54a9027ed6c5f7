//! Child processes: those waited for, and those that run beside us and end with us.

use std::{
    fs::File,
    net::TcpListener,
    ops::Range,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{self, Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// How long a process that was asked to end may take.
const GRACE: Duration = Duration::from_secs(5);

/// Runs a command to its end, with our own input and output.
///
/// # Errors
/// When it cannot be started, or ends with another code than 0.
pub fn run(command: &mut Command) -> Result<()> {
    let line = command_line(command);
    let status = command.status().with_context(|| format!("starting `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

fn command_line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

/// Where the ports of [`free_port`] are: below those that Linux gives to connections that go out (32768 and above), so that none of
/// the many connections of other tests takes one before the server that it is for does.
const SERVER_PORTS: Range<u16> = 11_000..32_000;

/// A port of 127.0.0.1 that nothing listens on at this moment, and that this process has not given away before.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16> {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let (first, count) = (u32::from(SERVER_PORTS.start), u32::from(SERVER_PORTS.end - SERVER_PORTS.start));
    // Processes that look at once begin at different places.
    let begin = process::id().wrapping_mul(997);
    for _ in 0..count {
        let offset = begin.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % count;
        let port = u16::try_from(first + offset).context("a port")?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port of {SERVER_PORTS:?} is free")
}

/// A process that runs beside this one, in its own process group so that a ctrl-c of the terminal does not reach it.
/// It is ended when this is dropped.
#[derive(Debug)]
pub struct Background {
    child: Child,
    /// Held open: a server that watches its standard input ends when we are gone.
    _input: Option<ChildStdin>,
    log: PathBuf,
}

impl Background {
    /// Starts a command with its output and errors in the file `log`.
    ///
    /// # Errors
    /// When the log cannot be written or the command not be started.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        let errors = output.try_clone().with_context(|| format!("opening {}", log.display()))?;
        let line = command_line(command);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting `{line}`"))?;
        let input = child.stdin.take();
        Ok(Self { child, _input: input, log: log.to_owned() })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file with the process's output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Waits until `ready` says yes.
    ///
    /// # Errors
    /// When the process ends before that, or the time is over; the message has the end of its log.
    pub fn wait_until(&mut self, deadline: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let start = Instant::now();
        while !ready() {
            if let Some(status) = self.status()? {
                bail!("it ended early, {status}: {}", self.log_end());
            }
            if start.elapsed() > deadline {
                bail!("it was not ready after {} s: {}", deadline.as_secs(), self.log_end());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn status(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("asking for the state of a process")
    }

    fn log_end(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let end = lines[lines.len().saturating_sub(12)..].join("\n  ");
        format!("{} ends with\n  {end}", self.log.display())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // A polite signal first: chromedriver then ends the browsers that it started.
        let asked = Command::new("kill").arg(self.child.id().to_string()).stderr(Stdio::null()).status();
        let start = Instant::now();
        while asked.is_ok() && start.elapsed() < GRACE {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (tempfile::TempDir, Background) {
        let dir = tempfile::tempdir().unwrap();
        let background =
            Background::start(Command::new("sh").args(["-c", script]), &dir.path().join("log")).unwrap();
        (dir, background)
    }

    #[test]
    fn it_ends_with_its_owner() {
        let (_dir, background) = shell("exec sleep 60");
        let id = background.id().to_string();
        let is_there =
            || Command::new("kill").args(["-0", &id]).stderr(Stdio::null()).status().unwrap().success();
        assert!(is_there());
        drop(background);
        assert!(!is_there());
    }

    #[test]
    fn an_early_end_says_why() {
        let (_dir, mut background) = shell("echo no database; exit 3");
        let error = background.wait_until(Duration::from_secs(20), || false).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("no database"), "{error}");
    }

    #[test]
    fn a_failing_command_is_named() {
        let error = run(Command::new("sh").args(["-c", "exit 4"])).unwrap_err().to_string();
        assert_eq!(error, "`sh -c exit 4` failed: exit status: 4");
    }
}
