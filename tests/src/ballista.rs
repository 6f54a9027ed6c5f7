//! A scheduler of Ballista and its executors, each a separate process.

use std::{
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    thread,
    time::Duration,
};

use dev_services::{free_port, http_client};
use serde_json::Value;

use crate::{Checkout, Daglight, OtlpReceiver, Running, scratch::workspace};

/// A scheduler with two executors of two cores each. They end when this is dropped.
#[derive(Debug)]
pub struct Ballista {
    program: PathBuf,
    port: u16,
    /// Whether an executor that is killed is missed soon.
    misses_soon: bool,
    /// The scheduler, unless it was taken away.
    pub scheduler: Option<Running>,
    /// Each executor with its address.
    pub executors: Vec<(Running, String)>,
}

impl Ballista {
    /// Starts them, and waits until they know each other.
    ///
    /// # Panics
    /// When they are not built, or do not start.
    pub fn start(checkout: &Checkout) -> Self {
        Self::with_executors(checkout, &[None, None])
    }

    /// The same with other executors: each is Ballista's own, or one of ours, which exports the spans of its tasks to a receiver.
    ///
    /// # Panics
    /// When they are not built, or do not start.
    pub fn with_executors(checkout: &Checkout, executors: &[Option<&OtlpReceiver>]) -> Self {
        Self::without_executors(checkout).and_executors(checkout, executors)
    }

    /// The same, with a scheduler that misses executors as late as it does by default: after minutes.
    ///
    /// # Panics
    /// When they are not built, or do not start.
    pub fn missing_late(checkout: &Checkout) -> Self {
        let mut ballista = Self::new();
        ballista.misses_soon = false;
        ballista.start_scheduler(checkout);
        ballista.and_executors(checkout, &[None, None])
    }

    fn and_executors(self, checkout: &Checkout, executors: &[Option<&OtlpReceiver>]) -> Self {
        let mut ballista = self;
        for receiver in executors {
            let executor = ballista.executor(checkout, *receiver);
            ballista.executors.push(executor);
        }
        // Each waits for itself, so that one that does not come says why.
        for (executor, address) in &ballista.executors {
            executor.wait_until("its scheduler", || {
                thread::sleep(Duration::from_millis(50));
                let known = ballista.get("executors");
                let address_of = |executor: &Value| format!("127.0.0.1:{}", executor["port"]);
                known
                    .as_array()
                    .is_some_and(|known| known.iter().any(|executor| address_of(executor) == *address))
            });
        }
        ballista
    }

    /// Ends the executors as ctrl-c does, so that they export what they have to.
    ///
    /// # Panics
    /// When one does not end.
    pub fn end_executors(&mut self) {
        for (executor, _) in self.executors.drain(..) {
            executor.signal("INT");
            executor.finish().ended_with(0);
        }
    }

    /// A scheduler alone.
    ///
    /// # Panics
    /// When it is not built, or does not start.
    pub fn without_executors(checkout: &Checkout) -> Self {
        let mut ballista = Self::new();
        ballista.start_scheduler(checkout);
        ballista
    }

    /// A scheduler alone, whose web interface is switched off.
    ///
    /// # Panics
    /// When it is not built, or does not start.
    pub fn without_web_interface(checkout: &Checkout) -> Self {
        let mut ballista = Self::new();
        ballista.scheduler = Some(ballista.start_with(checkout, &["--disable-rest-api"]));
        ballista.wait_until("its port", |ballista| {
            TcpStream::connect((Ipv4Addr::LOCALHOST, ballista.port)).is_ok()
        });
        ballista
    }

    fn new() -> Self {
        let (program, port) = (Self::program(), port());
        Self { program, port, misses_soon: true, scheduler: None, executors: Vec::new() }
    }

    /// The program that is both.
    ///
    /// # Panics
    /// When it is not built.
    pub fn program() -> PathBuf {
        let daglight = workspace().daglight().unwrap_or_else(|error| panic!("{error:#}"));
        let program = daglight.with_file_name("ballista");
        assert!(program.exists(), "{} is not built: run `cargo build --workspace --bins`", program.display());
        program
    }

    /// Starts the scheduler, once more where it was taken away, on the port that it had.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_scheduler(&mut self, checkout: &Checkout) {
        self.scheduler = Some(self.start_with(checkout, &[]));
        self.wait_until("its port", |ballista| !ballista.get("state").is_null());
    }

    fn start_with(&self, checkout: &Checkout, others: &[&str]) -> Running {
        let port = self.port.to_string();
        let arguments =
            ["scheduler", "--bind-host", "127.0.0.1", "--external-host", "127.0.0.1", "--bind-port", &port];
        let soon: &[&str] = &[
            "--executor-timeout-seconds",
            "5",
            "--expire-dead-executor-interval-seconds",
            "1",
            "--no-executors-grace-period-seconds",
            "300",
        ];
        let soon = if self.misses_soon { soon } else { &[] };
        Daglight::program(&self.program, checkout, arguments).args(soon).args(others).start()
    }

    fn executor(&self, checkout: &Checkout, receiver: Option<&OtlpReceiver>) -> (Running, String) {
        let (port, grpc_port) = (port(), port());
        let folder = checkout.path().join(format!("executor-{port}"));
        std::fs::create_dir_all(&folder).expect("a folder");
        let numbers = [port, grpc_port, self.port].map(|port| port.to_string());
        let [port_text, grpc_port, scheduler_port] = &numbers;
        let here = "127.0.0.1";
        let kind = receiver.map_or("executor", |_| "reporting-executor");
        let arguments = [kind, "--bind-host", here, "--external-host", here, "--scheduler-host", here];
        let ports =
            ["--scheduler-port", scheduler_port, "--bind-port", port_text, "--bind-grpc-port", grpc_port];
        let others = ["--vcores", "2", "--executor-heartbeat-interval-seconds", "1", "--work-dir"];
        let executor =
            Daglight::program(&self.program, checkout, arguments.into_iter().chain(ports).chain(others));
        let executor = match receiver {
            Some(receiver) => executor.observed_by(receiver, "grpc"),
            None => executor,
        };
        (executor.args([&folder]).start(), format!("{here}:{port}"))
    }

    /// As `--cluster` takes it.
    pub fn cluster(&self) -> String {
        format!("ballista://127.0.0.1:{}", self.port)
    }

    /// What the scheduler's web interface says at a path; null where it does not answer.
    ///
    /// # Panics
    /// When there is no HTTP client.
    pub fn get(&self, path: &str) -> Value {
        let url = format!("http://127.0.0.1:{}/api/{path}", self.port);
        let answer = http_client().expect("a client").get(url).send();
        answer.ok().and_then(|answer| answer.json().ok()).unwrap_or_default()
    }

    /// The status of each job that it has, such as `Running`.
    pub fn jobs(&self) -> Vec<String> {
        let jobs = self.get("jobs");
        let status = |job: &Value| job["status"].as_str().unwrap_or_default().to_owned();
        jobs.as_array().into_iter().flatten().map(status).collect()
    }

    /// Waits until none of its executors computes.
    pub fn wait_until_idle(&self) {
        for (executor, _) in &self.executors {
            executor.wait_until("idleness", || {
                let before = executor.cpu_ticks();
                thread::sleep(Duration::from_millis(500));
                executor.cpu_ticks() <= before + 5
            });
        }
    }

    /// Waits until something is so.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn wait_until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let scheduler = self.scheduler.as_ref().expect("it runs");
        scheduler.wait_until(what, || {
            thread::sleep(Duration::from_millis(50));
            done(self)
        });
    }
}

fn port() -> u16 {
    free_port().expect("a port")
}
