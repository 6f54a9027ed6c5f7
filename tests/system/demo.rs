//! The demo, as a stranger runs it, and its pipeline on less data.

use std::{
    fs::{self, File},
    net::TcpStream,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use daglight_system_tests::{Checkout, Daglight};
use dev_services::Workspace;
use tempfile::TempDir;

/// The demo builds the workspace, which the tests have done, and starts a server.
const DEADLINE: Duration = Duration::from_secs(300);

/// A demo that is under way, in its own process group, as in a terminal.
struct Demo {
    process: Child,
    output: TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// Demos share the folder `.demo`, and the server in it.
static ALONE: Mutex<()> = Mutex::new(());

/// A demo that has ended.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let workspace = Workspace::locate().expect("the workspace");
        let program = workspace.binary("xtask", "debug").expect("xtask is built");
        let output = TempDir::new().expect("a folder");
        let to = |name: &str| Stdio::from(File::create(output.path().join(name)).expect("a file"));
        let (stdout, stderr) = (to("stdout"), to("stderr"));
        // Shells have what they start in the background ignore ctrl-c, and so would this.
        let process = Command::new("env")
            .arg("--default-signal=INT")
            .arg(program)
            .arg("demo")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .spawn()
            .expect("it starts");
        Self { process, output, _alone: alone }
    }

    fn said(&self, name: &str) -> String {
        fs::read_to_string(self.output.path().join(name)).expect("what it says is text")
    }

    #[track_caller]
    fn wait_until(&mut self, what: &str, done: impl Fn(&mut Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            let in_time = start.elapsed() < DEADLINE;
            assert!(in_time, "it did not come to {what}: {}{}", self.said("stderr"), self.said("stdout"));
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What a terminal does at a ctrl-c: the demo and what it runs in front get the signal.
    fn ctrl_c(&self) {
        let group = format!("-{}", self.process.id());
        let sent = Command::new("kill").args(["-s", "INT", "--", &group]).status();
        assert!(sent.is_ok_and(|status| status.success()), "no such group");
    }

    #[track_caller]
    fn end(mut self) -> Ended {
        self.wait_until("its end", |demo| demo.process.try_wait().expect("its state").is_some());
        let code = self.process.wait().expect("it has ended").code();
        Ended { code, stdout: self.said("stdout"), stderr: self.said("stderr") }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Nothing to do where it has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Ended {
    /// What stands behind a label.
    #[track_caller]
    fn place(&self, label: &str) -> &str {
        let line = self.stdout.lines().map(str::trim).find(|line| line.starts_with(label));
        line.and_then(|line| line.split_whitespace().nth(1))
            .unwrap_or_else(|| panic!("no {label} in\n{}{}", self.stdout, self.stderr))
    }
}

#[test]
fn the_demo_says_where_to_look() {
    let demo = Demo::start(&["--no-wait"]).end();
    assert_eq!(demo.code, Some(0), "{}{}", demo.stderr, demo.stdout);
    assert!(demo.place("run").contains("/dashboard/project/"), "{}", demo.stdout);
    assert!(demo.place("version").contains("/version/"), "{}", demo.stdout);
    assert!(PathBuf::from(demo.place("report")).is_file(), "{}", demo.stdout);
    assert!(PathBuf::from(demo.place("bundle")).join("manifest.json").is_file(), "{}", demo.stdout);
}

#[test]
fn the_demo_needs_no_server() {
    let demo = Demo::start(&["--offline"]).end();
    assert_eq!(demo.code, Some(0), "{}{}", demo.stderr, demo.stdout);
    let bundle = PathBuf::from(demo.place("bundle"));
    let manifest = fs::read_to_string(bundle.join("manifest.json")).expect("a manifest");
    assert!(manifest.contains(r#""status": "success""#), "{manifest}");
    assert!(!bundle.join("tracker/outbox.jsonl").exists(), "a run without a tracker has no outbox");
    assert!(PathBuf::from(demo.place("report")).is_file(), "{}", demo.stdout);
    assert!(!demo.stdout.contains("/dashboard/"), "{}", demo.stdout);
    assert!(!demo.stderr.contains("warning"), "{}", demo.stderr);
}

#[test]
fn ctrl_c_ends_the_demo_and_its_server() {
    let mut demo = Demo::start(&[]);
    let stays = "The Hamilton UI stays up at http://";
    demo.wait_until(stays, |demo| demo.said("stdout").contains(stays));
    let stdout = demo.said("stdout");
    let address = stdout.split_once(stays).map(|(_, rest)| rest).expect("the address");
    let address = address.split_whitespace().next().expect("the address").trim_end_matches('/').to_owned();
    assert!(TcpStream::connect(&address).is_ok(), "{address} is up");
    demo.ctrl_c();
    let ended = demo.end();
    assert_eq!(ended.code, Some(0), "{}{}", ended.stderr, ended.stdout);
    assert!(TcpStream::connect(&address).is_err(), "{address} is still up");
}

#[test]
fn ctrl_c_in_the_middle_of_the_demo_ends_what_it_runs() {
    let mut demo = Demo::start(&["--offline"]);
    demo.wait_until("its first node", |demo| demo.said("stderr").contains("data_loader"));
    demo.ctrl_c();
    let ended = demo.end();
    assert_eq!(ended.code, Some(130), "{}{}", ended.stderr, ended.stdout);
    assert!(!ended.stderr.contains("error: "), "there is nothing to explain: {}", ended.stderr);
}

/// The program may not have begun its run yet, and then says so; the demo has nothing to add.
#[test]
fn ctrl_c_as_the_demo_starts_its_run_ends_it() {
    let mut demo = Demo::start(&["--offline"]);
    demo.wait_until("the run", |demo| demo.said("stderr").contains("==> daglight run"));
    demo.ctrl_c();
    let ended = demo.end();
    assert_eq!(ended.code, Some(130), "{}{}", ended.stderr, ended.stdout);
    let early = "error: interrupted by ctrl-c (SIGINT) before the run began";
    let explained = ended.stderr.lines().filter(|line| line.starts_with("error: ") && *line != early);
    assert_eq!(explained.count(), 0, "{}", ended.stderr);
}

#[test]
fn the_example_runs_with_jobs_and_with_other_parameters() {
    let checkout = Checkout::new();
    let example =
        Workspace::locate().expect("the workspace").root().join("crates/sql-pipeline/examples/tpch.sql");
    let run = |arguments: &[&str]| {
        let report = Daglight::run(&checkout, &example).args(arguments).finish().report(0);
        let nodes = report["nodes"].as_array().expect("a list").clone();
        nodes.into_iter().find(|node| node["name"] == "monthly_revenue").expect("the node")["rows"].clone()
    };
    assert_eq!(run(&[]), 24);
    assert_eq!(run(&["--jobs", "2", "--param", "from_date=1996-01-01"]), 12);
    for file in ["monthly_revenue", "late_orders", "top_customers"] {
        assert!(checkout.path().join(format!(".demo/out/{file}.parquet")).exists(), "{file}");
    }
}
