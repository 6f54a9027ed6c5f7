//! How runs end: whatever ends them, they have a true status on the server and in their bundle, and nothing is lost.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use daglight_system_tests::{
    Checkout, Daglight, Fault, Finished, Hamilton, Project, Proxy, Running, decode_strictly,
};
use serde_json::{Value, json};

/// A node that is done at once, and one that does not end in the time of a test.
const ENDLESS: &str = "\
-- node: orders
CREATE TABLE orders AS SELECT 1 AS id;
-- node: risk
CREATE TABLE risk AS SELECT sum(a.value * b.value) AS risk FROM orders
    CROSS JOIN generate_series(1, 10000000) a CROSS JOIN generate_series(1, 10000000) b;
";

/// How long a program takes to end beyond the time of its flush, on a busy machine.
const GRACE: Duration = Duration::from_secs(20);

/// A run of two nodes, `orders` and `risk`.
enum Program {
    /// The sample program, which ends its run in the way of that name.
    Sample(&'static str),
    /// The `daglight` program with a script whose second node does not end.
    Script,
}

impl Program {
    fn start(&self, checkout: &Checkout, project: &Project, flush_seconds: u64) -> Daglight {
        let daglight = match self {
            Self::Sample(ending) => {
                Daglight::program(Path::new(env!("CARGO_BIN_EXE_ending-run")), checkout, [ending])
            }
            Self::Script => Daglight::run(checkout, &checkout.pipeline("endless.sql", ENDLESS)),
        };
        daglight
            .tracked_in(project)
            .env("DAGLIGHT_OUTPUT_DIR", "out")
            .env("DAGLIGHT_FLUSH_SECONDS", flush_seconds.to_string())
    }
}

/// Waits until the second node runs.
fn wait_for_risk(running: &Running, checkout: &Checkout) {
    wait_for(running, checkout, "tracker/outbox.jsonl", r#""event":"task_started","node":"risk""#);
}

/// Waits until a file of the bundle has this text.
fn wait_for(running: &Running, checkout: &Checkout, file: &str, text: &str) {
    running.wait_until(&format!("{text} in {file}"), || {
        let read = bundle(checkout).and_then(|bundle| fs::read_to_string(bundle.join(file)).ok());
        read.is_some_and(|read| read.contains(text))
    });
}

/// The folder of the only run.
fn bundle(checkout: &Checkout) -> Option<PathBuf> {
    fs::read_dir(checkout.path().join("out/run_bundle")).ok()?.next()?.ok().map(|entry| entry.path())
}

fn sync(checkout: &Checkout, project: &Project) -> String {
    Daglight::new(checkout, ["sync", "out"]).tracked_in(project).finish().ended_with(0).stdout
}

/// How a run ended, as it is to be seen everywhere.
struct Ended {
    status: &'static str,
    /// What is said of the run.
    reason: &'static str,
    /// How the second node ended, where it ran, and what is said of it.
    risk: Option<(&'static str, &'static str)>,
}

impl Ended {
    #[track_caller]
    fn check(&self, hamilton: &Hamilton, project: &Project, checkout: &Checkout) {
        let bundle = bundle(checkout).expect("a bundle");
        self.check_bundle(&bundle);
        self.check_spans(&decode_strictly(&bundle.join("otel_traces.json"), "traces"));
        self.check_server(hamilton, project);
        let again = sync(checkout, project);
        assert!(again.contains("nothing to do"), "{again}");
        assert_eq!(hamilton.runs(project).len(), 1);
    }

    #[track_caller]
    fn check_bundle(&self, bundle: &Path) {
        let manifest = fs::read(bundle.join("manifest.json")).expect("a manifest");
        let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
        assert_eq!(manifest["status"], self.status.to_lowercase(), "{manifest:#}");
        assert!(manifest["error"].as_str().unwrap_or_default().contains(self.reason), "{manifest:#}");
        assert!(manifest["ended_at"].is_string(), "{manifest:#}");
        let succeeded = |node: usize| manifest["nodes"][node]["status"] == "success";
        assert_eq!((succeeded(0), succeeded(1)), (true, self.status == "SUCCESS"), "{manifest:#}");
        let account = &manifest["delivery"]["tracker"];
        assert_eq!((&account["waiting"], &account["dropped"]), (&json!(0), &json!({})), "{account}");
        assert_eq!(account["delivered"], account["produced"], "{account}");
        for report in ["run_diagnostics_report.json", "run_diagnostics_report.html"] {
            assert!(bundle.join(report).exists(), "{report}");
        }
    }

    /// Each span has ended, and those of a failure say so.
    #[track_caller]
    fn check_spans(&self, spans: &[Value]) {
        let failed = |span: &Value| span["status"]["code"] == 2;
        let of = |name: &str| spans.iter().filter(|span| span["name"] == name).collect::<Vec<_>>();
        let [root] = of("pipeline.execute")[..] else { panic!("not one root span: {spans:#?}") };
        assert_eq!(failed(root), self.status == "FAILURE", "{root:#}");
        let nodes = of("hamilton.node");
        assert_eq!(nodes.len(), 1 + usize::from(self.risk.is_some()), "{nodes:#?}");
        let expected = self.risk.is_some_and(|(status, _)| status == "FAILURE");
        assert_eq!(nodes.into_iter().any(failed), expected, "{spans:#?}");
    }

    #[track_caller]
    fn check_server(&self, hamilton: &Hamilton, project: &Project) {
        let runs = hamilton.runs(project);
        let [run] = &runs[..] else { panic!("{} runs", runs.len()) };
        assert_eq!(run["run_status"], self.status, "{run:#}");
        assert!(run["run_end_time"].is_string(), "{run:#}");
        let run = hamilton.run(&run["id"]);
        let nodes = run["node_runs"].as_array().expect("a list");
        let node = |name: &str| nodes.iter().find(|node| node["node_name"] == name);
        assert_eq!(node("orders").map(|node| &node["status"]), Some(&json!("SUCCESS")), "{run:#}");
        assert_eq!(nodes.len(), 1 + usize::from(self.risk.is_some()), "{run:#}");
        if let Some((status, error)) = self.risk {
            let risk = node("risk").expect("the node ran");
            assert_eq!(risk["status"], status, "{risk:#}");
            assert!(risk["end_time"].is_string(), "{risk:#}");
            assert!(risk["attributes"].to_string().contains(error), "no {error:?} in {risk:#}");
        }
    }
}

/// A run that ends by itself, or by a signal, and delivers all before its process ends with that code.
#[track_caller]
fn check(program: &Program, signal: Option<&str>, code: i32, ended: &Ended) -> Finished {
    let (checkout, hamilton) = (Checkout::new(), Hamilton::take());
    let project = hamilton.project(&checkout.path().display().to_string());
    let running = program.start(&checkout, &project, 30).start();
    if let Some(signal) = signal {
        wait_for_risk(&running, &checkout);
        running.signal(signal);
    }
    let finished = running.finish().ended_with(code);
    ended.check(&hamilton, &project, &checkout);
    finished
}

#[test]
fn a_run_that_finishes() {
    let ended = Ended { status: "SUCCESS", reason: "", risk: Some(("SUCCESS", "")) };
    check(&Program::Sample("finish"), None, 0, &ended);
}

#[test]
fn a_panic_in_a_node() {
    let ended =
        Ended { status: "FAILURE", reason: "risk", risk: Some(("FAILURE", "the node's code panicked")) };
    let finished = check(&Program::Sample("panic"), None, 101, &ended);
    assert!(finished.stderr.contains("out of luck"), "the panic is still said: {}", finished.stderr);
}

#[test]
fn an_error_that_the_program_returns_with() {
    let ended = Ended { status: "FAILURE", reason: "risk", risk: Some(("FAILURE", "out of luck")) };
    check(&Program::Sample("error"), None, 1, &ended);
}

#[test]
fn a_drop_without_finish() {
    let ended = Ended { status: "FAILURE", reason: "dropped unfinished", risk: None };
    check(&Program::Sample("drop"), None, 0, &ended);
}

#[test]
fn a_signal_to_a_program_that_waits_for_it() {
    for (signal, reason) in [("INT", "interrupted by ctrl-c"), ("TERM", "interrupted by SIGTERM")] {
        let ended = Ended { status: "FAILURE", reason, risk: Some(("FAILURE", "dropped before its end")) };
        check(&Program::Sample("interrupted"), Some(signal), 130, &ended);
    }
}

#[test]
fn a_signal_to_daglight_run() {
    for (signal, reason) in [("INT", "interrupted by ctrl-c"), ("TERM", "interrupted by SIGTERM")] {
        let ended = Ended { status: "FAILURE", reason, risk: Some(("FAILURE", "dropped before its end")) };
        let finished = check(&Program::Script, Some(signal), 130, &ended);
        assert!(finished.stdout.contains(r#""status": "failure""#), "{}", finished.stdout);
    }
}

#[test]
fn a_signal_to_a_program_that_is_not_prepared_for_it() {
    for signal in ["INT", "TERM"] {
        let (checkout, hamilton) = (Checkout::new(), Hamilton::take());
        let project = hamilton.project(&checkout.path().display().to_string());
        let running = Program::Sample("unprepared").start(&checkout, &project, 30).start();
        wait_for_risk(&running, &checkout);
        // Spans are kept when they have been open for a moment.
        wait_for(&running, &checkout, "otel_traces.open.json", r#""stringValue":"risk""#);
        running.signal(signal);
        assert_eq!(running.finish().code, None, "the signal ends it");
        let said = sync(&checkout, &project);
        assert!(said.contains("closed as FAILURE"), "{said}");
        let ended =
            Ended { status: "FAILURE", reason: "process ended", risk: Some(("FAILURE", "process ended")) };
        ended.check(&hamilton, &project, &checkout);
    }
}

/// The run has ended, and its process is killed while it delivers that.
#[test]
fn a_kill_while_the_run_finishes() {
    let (checkout, hamilton) = (Checkout::new(), Hamilton::take());
    let project = hamilton.project(&checkout.path().display().to_string());
    let proxy = Proxy::start(hamilton.url());
    // The server is there when the run begins, so that its end is waited for.
    proxy.spoil("PUT", u32::MAX, Fault::Hang);
    let program = Program::Sample("finish").start(&checkout, &project, 60);
    let running = program.env("HAMILTON_API_URL", proxy.url()).start();
    wait_for(&running, &checkout, "tracker/outbox.jsonl", r#""event":"run_finished""#);
    running.signal("KILL");
    assert_eq!(running.finish().code, None, "the signal ends it");
    let said = Daglight::new(&checkout, ["status", "out"]).finish().ended_with(0).stdout;
    assert!(said.contains("success"), "{said}");
    sync(&checkout, &project);
    let ended = Ended { status: "SUCCESS", reason: "", risk: Some(("SUCCESS", "")) };
    ended.check(&hamilton, &project, &checkout);
}

/// A span gets into its file a moment after its start, and the process may be killed before.
#[test]
fn a_kill_leaves_no_node_without_a_span() {
    for delay_ms in [0, 1, 2, 4, 8, 16, 32, 64] {
        let checkout = Checkout::new();
        let program =
            Daglight::program(Path::new(env!("CARGO_BIN_EXE_ending-run")), &checkout, ["unprepared"]);
        let running = program.env("DAGLIGHT_OUTPUT_DIR", "out").start();
        wait_for_risk(&running, &checkout);
        std::thread::sleep(Duration::from_millis(delay_ms));
        running.signal("KILL");
        running.finish();
        let bundle = bundle(&checkout).expect("a bundle");
        Daglight::new(&checkout, ["report".as_ref(), bundle.as_os_str()]).finish().ended_with(0);
        let spans = json!(decode_strictly(&bundle.join("otel_traces.json"), "traces")).to_string();
        for part in ["pipeline.execute", r#""orders""#, r#""risk""#] {
            assert!(spans.contains(part), "no {part} after {delay_ms} ms in {spans}");
        }
    }
}

/// The server takes requests and does not answer: the end waits for no longer than its flush may take, and what waits is
/// delivered later.
#[test]
fn every_end_is_bounded_and_keeps_what_it_cannot_deliver() {
    let hamilton = Hamilton::take();
    for (program, signal, code) in [
        (Program::Sample("finish"), None, 0),
        (Program::Sample("panic"), None, 101),
        (Program::Sample("error"), None, 1),
        (Program::Sample("drop"), None, 0),
        (Program::Sample("interrupted"), Some("INT"), 130),
        (Program::Script, Some("TERM"), 130),
    ] {
        let checkout = Checkout::new();
        let project = hamilton.project(&checkout.path().display().to_string());
        let proxy = Proxy::start(hamilton.url());
        proxy.spoil("", u32::MAX, Fault::Hang);
        let running = program.start(&checkout, &project, 1).env("HAMILTON_API_URL", proxy.url()).start();
        if let Some(signal) = signal {
            wait_for_risk(&running, &checkout);
            running.signal(signal);
        }
        let start = Instant::now();
        let finished = running.finish().ended_with(code);
        assert!(start.elapsed() < GRACE, "it took {:?}\n{}", start.elapsed(), finished.stderr);
        assert!(hamilton.runs(&project).is_empty());
        sync(&checkout, &project);
        let status = if matches!(program, Program::Sample("finish")) { "SUCCESS" } else { "FAILURE" };
        assert_eq!(hamilton.runs(&project)[0]["run_status"], status);
    }
}

#[test]
fn a_reader_of_the_output_that_goes_away_ends_no_run() {
    let checkout = Checkout::new();
    let sql = "SELECT 1;\nCOPY (SELECT 1 AS id) TO 'out/late.csv';\nSELECT CAST('x' AS INT);\n";
    let pipeline = checkout.pipeline("late.sql", sql);
    let run = Daglight::new(&checkout, ["run", "--output-dir", "out"]).args([&pipeline]);
    // What only writes warnings does not end it either.
    run.env("RUST_LOG", "debug").read_by_nobody().finish().ended_with(1);
    assert!(checkout.path().join("out/late.csv").exists());
    let bundle = bundle(&checkout).expect("a bundle");
    assert!(bundle.join("run_diagnostics_report.html").exists());
    Daglight::new(&checkout, ["status", "out"]).read_by_nobody().finish().ended_with(0);
}
