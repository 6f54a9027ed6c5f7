//! How runs end: whatever ends them, they have a true status on the server and in their bundle, and nothing is lost.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use daglight_system_tests::{
    Checkout, Daglight, Fault, Finished, Hamilton, Project, Proxy, Running, check_balanced, decode_strictly,
};
use serde_json::{Value, json};

use crate::late::let_time_pass;

/// A node that is done at once, and one that does not end in the time of a test.
const ENDLESS: &str = "\
-- node: orders
CREATE TABLE orders AS SELECT 1 AS id;
-- node: risk
CREATE TABLE risk AS SELECT sum(a.value * b.value) AS risk FROM orders
    CROSS JOIN generate_series(1, 10000000) a CROSS JOIN generate_series(1, 10000000) b;
";

/// A node that keeps every thread of the runtime computing for longer than a test, without giving way.
const SPINNING: &str = "\
-- node: orders
CREATE TABLE orders AS SELECT value AS id FROM generate_series(1, 60000);
-- node: risk
SELECT count(*) AS risk FROM orders a CROSS JOIN orders b CROSS JOIN orders c WHERE a.id + b.id + c.id > 5;
";

/// How long a program takes to end beyond the time of its flush, on a busy machine.
const GRACE: Duration = Duration::from_secs(20);

/// A run of two nodes, `orders` and `risk`.
enum Program {
    /// The sample program, which ends its run in the way of that name.
    Sample(&'static str),
    /// The `daglight` program with a script whose second node does not end.
    Script,
    /// The same with a script that keeps all threads computing.
    SpinningScript,
}

impl Program {
    fn start(&self, checkout: &Checkout, project: &Project, flush_seconds: u64) -> Daglight {
        let daglight = match self {
            Self::Sample(ending) => {
                Daglight::program(Path::new(env!("CARGO_BIN_EXE_ending-run")), checkout, [ending])
            }
            Self::Script => Daglight::run(checkout, &checkout.pipeline("endless.sql", ENDLESS)),
            Self::SpinningScript => Daglight::run(checkout, &checkout.pipeline("spinning.sql", SPINNING))
                .env("TOKIO_WORKER_THREADS", "1"),
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
    let run = || Daglight::new(checkout, ["sync", "out"]).tracked_in(project).finish();
    let first = run();
    if first.code != Some(3) {
        return first.ended_with(0).stdout;
    }
    // The process died in the middle of a request, which the server may still carry out. The test does not wait for that.
    let_time_pass(&bundle(checkout).expect("a bundle").join("tracker"));
    first.stdout + &run().ended_with(0).stdout
}

/// How a run ended, as it is to be seen everywhere.
struct Ended {
    /// On the server.
    status: &'static str,
    /// In the bundle.
    recorded: &'static str,
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
        assert_eq!(manifest["status"], self.recorded, "{manifest:#}");
        let error = manifest["error"].as_str().unwrap_or_default().to_lowercase();
        assert!(error.contains(self.reason), "{manifest:#}");
        assert!(manifest["ended_at"].is_string(), "{manifest:#}");
        let succeeded = |node: usize| manifest["nodes"][node]["status"] == "success";
        assert_eq!((succeeded(0), succeeded(1)), (true, self.status == "SUCCESS"), "{manifest:#}");
        let account = &manifest["delivery"]["tracker"];
        assert_eq!((&account["waiting"], &account["dropped"]), (&json!(0), &json!({})), "{account}");
        assert_eq!(account["delivered"], account["produced"], "{account}");
        assert!(bundle.join("run_diagnostics_report.html").exists());
        let report = fs::read(bundle.join("run_diagnostics_report.json")).expect("a report");
        let report: Value = serde_json::from_slice(&report).expect("JSON");
        assert_eq!(report["status"], self.recorded, "{report:#}");
        if self.recorded == "interrupted" {
            let first = report["headline"][0]["text"].as_str().unwrap_or_default().to_lowercase();
            assert!(first.contains(self.reason) && first.contains("while risk ran"), "{first}");
            assert_eq!(manifest["nodes"][1]["status"], "interrupted", "{manifest:#}");
            // One duration in every place.
            let ms = manifest["nodes"][1]["duration_ms"].as_f64().expect("a duration");
            assert_eq!(report["nodes"][1]["duration_ms"].as_f64(), Some(ms), "{report:#}");
            let shown = format!("risk ran ({})", daglight::bundle::display::duration(ms));
            assert!(error.contains(&shown), "no {shown:?} in {error:?}");
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
        if self.status == "FAILURE" {
            assert!(run["tags"]["error"].to_string().to_lowercase().contains(self.reason), "{run:#}");
        }
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
    let ended = Ended { status: "SUCCESS", recorded: "success", reason: "", risk: Some(("SUCCESS", "")) };
    check(&Program::Sample("finish"), None, 0, &ended);
}

#[test]
fn a_panic_in_a_node() {
    let ended = failed("risk", Some("out of luck"));
    let finished = check(&Program::Sample("panic"), None, 101, &ended);
    assert!(finished.stderr.contains("out of luck"), "the panic is still said: {}", finished.stderr);
}

#[test]
fn an_error_that_the_program_returns_with() {
    let ended = failed("risk", Some("out of luck"));
    check(&Program::Sample("error"), None, 1, &ended);
}

#[test]
fn a_drop_without_finish() {
    let ended = failed("dropped unfinished", None);
    check(&Program::Sample("drop"), None, 0, &ended);
}

fn failed(reason: &'static str, risk: Option<&'static str>) -> Ended {
    Ended { status: "FAILURE", recorded: "failure", reason, risk: risk.map(|error| ("FAILURE", error)) }
}

/// The signals that ask a process to end, the exit codes for them, and what is said of the run.
pub(crate) const SIGNALS: [(&str, i32, &str); 3] = [
    ("INT", 130, "interrupted by ctrl-c (sigint)"),
    ("TERM", 143, "interrupted by sigterm"),
    ("HUP", 129, "interrupted by sighup"),
];

#[track_caller]
fn check_interrupted(program: &Program, (signal, code, reason): (&str, i32, &'static str)) -> Finished {
    let interrupted = |reason| Ended {
        status: "FAILURE",
        recorded: "interrupted",
        reason,
        risk: Some(("FAILURE", "interrupted by")),
    };
    let finished = check(program, Some(signal), code, &interrupted(reason));
    assert!(
        finished.stderr.contains("interrupted, ending the run; again to stop now"),
        "{}",
        finished.stderr
    );
    finished
}

#[test]
fn a_signal_to_a_program_that_waits_for_it() {
    for signal in SIGNALS {
        check_interrupted(&Program::Sample("interrupted"), signal);
    }
}

#[test]
fn nothing_begins_after_a_signal_to_a_program_that_never_gives_way() {
    let checkout = Checkout::new();
    let program = Path::new(env!("CARGO_BIN_EXE_ending-run"));
    let running =
        Daglight::program(program, &checkout, ["computing"]).env("DAGLIGHT_OUTPUT_DIR", "out").start();
    wait_for_risk(&running, &checkout);
    running.signal("INT");
    let finished = running.finish().ended_with(130);
    assert_eq!(finished.stdout, "");
    let manifest = fs::read(bundle(&checkout).expect("a bundle").join("manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    assert_eq!(manifest["status"], "interrupted", "{manifest:#}");
    assert_eq!(manifest["nodes"][1]["status"], "success", "{manifest:#}");
}

/// Neither its work nor anything else on the only thread of its runtime sees the signal.
#[test]
fn a_signal_to_a_program_whose_only_thread_computes() {
    for signal in [SIGNALS[0], SIGNALS[1]] {
        check_interrupted(&Program::Sample("spinning"), signal);
    }
    check_interrupted(&Program::Sample("spinning-at-the-end"), SIGNALS[1]);
}

#[test]
fn a_signal_to_daglight_run() {
    for (program, signal) in [
        (Program::Script, SIGNALS[2]),
        (Program::SpinningScript, SIGNALS[0]),
        (Program::SpinningScript, SIGNALS[1]),
    ] {
        let finished = check_interrupted(&program, signal);
        let report: Value = serde_json::from_str(&finished.stdout).expect("one JSON document");
        assert_eq!((&report["status"], &report["error"]["node"]), (&json!("interrupted"), &json!("risk")));
        let message = report["error"]["message"].as_str().unwrap_or_default().to_lowercase();
        assert!(message.contains(signal.2) && message.contains("while risk ran"), "{message}");
    }
}

/// Without a tracker there is no outbox to wait in.
#[test]
fn a_signal_to_daglight_run_without_a_tracker() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("spinning.sql", SPINNING);
    let running = Daglight::new(&checkout, ["run", "--output-dir", "out"])
        .args([&pipeline])
        .env("TOKIO_WORKER_THREADS", "1")
        .env("HAMILTON_TRACKER_ENABLED", "false")
        .start();
    wait_for(&running, &checkout, "otel_traces.open.json", r#""stringValue":"risk""#);
    running.signal("TERM");
    let finished = running.finish().ended_with(143);
    assert!(finished.stderr.contains("INTERRUPTED by SIGTERM"), "{}", finished.stderr);
    assert!(finished.stderr.contains("1 interrupted"), "{}", finished.stderr);
    let status = Daglight::new(&checkout, ["status", "out", "--json"]).finish().report(0);
    assert_eq!(status[0]["status"], "interrupted", "{status:#}");
}

/// The second signal ends the process, so that the exit code is its own, also where the work gives way to the first one.
#[test]
fn two_signals_of_different_kinds_end_with_the_code_of_the_second() {
    for (script, first, second, code) in [
        (SPINNING, "INT", "TERM", 143),
        (SPINNING, "TERM", "INT", 130),
        (SPINNING, "HUP", "TERM", 143),
        (ENDLESS, "INT", "TERM", 143),
        (ENDLESS, "TERM", "INT", 130),
    ] {
        let checkout = Checkout::new();
        let pipeline = checkout.pipeline("two.sql", script);
        let running = Daglight::run(&checkout, &pipeline).env("TOKIO_WORKER_THREADS", "1").start();
        wait_for_risk(&running, &checkout);
        running.signal(first);
        std::thread::sleep(Duration::from_millis(3));
        running.signal(second);
        let report = running.finish().report(code);
        let message = report["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(first), "the run was interrupted by the first one: {message}");
    }
}

/// A signal that ends the run decides over the exit code, also behind a node that had failed, in whatever order it ends.
#[test]
fn a_signal_after_a_failed_node_decides_the_exit_code() {
    let script = SPINNING.replace(
        "-- node: risk\n",
        "\n-- node: wrong\nSELECT arrow_cast('x', 'Int64') AS x;\n-- node: risk\n",
    );
    assert!(script.contains("wrong"));
    for signals in [&["INT"][..], &["INT", "INT"]] {
        let checkout = Checkout::new();
        let pipeline = checkout.pipeline("two.sql", &script);
        let running = Daglight::run(&checkout, &pipeline).args(["--keep-going"]).start();
        wait_for_risk(&running, &checkout);
        for signal in signals {
            running.signal_if_it_runs(signal);
            std::thread::sleep(Duration::from_millis(3));
        }
        running.finish().report(130);
    }
}

/// A statement that is not a node has one duration too, and what the run took from then on is not idle time.
#[test]
fn an_interrupted_statement_has_one_duration() {
    const SPINNING_STATEMENT: &str = "EXPLAIN ANALYZE SELECT count(*) FROM generate_series(1, 60000) a
        CROSS JOIN generate_series(1, 60000) b CROSS JOIN generate_series(1, 60000) c WHERE a.value + b.value + c.value > 5;";
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("statement.sql", SPINNING_STATEMENT);
    let running = Daglight::run(&checkout, &pipeline).env("TOKIO_WORKER_THREADS", "1").start();
    wait_for(&running, &checkout, "otel_traces.open.json", "EXPLAIN ANALYZE");
    std::thread::sleep(Duration::from_millis(1_500));
    running.signal("INT");
    let report = running.finish().report(130);
    let message = report["error"]["message"].as_str().unwrap_or_default().to_owned();
    let bundle = checkout.path().join(report["bundle"].as_str().expect("a bundle"));
    let read = |file: &str| fs::read_to_string(bundle.join(file)).expect("a file");
    let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");

    let page = json(&read("run_diagnostics_report.json"));
    let (timeline, run_ms) = (&page["timeline"], page["duration_ms"].as_f64().expect("a number"));
    let ms = |name: &str| timeline[name].as_f64().expect("a number");
    let sum = ms("busy_ms") + ms("setup_ms") + ms("idle_ms") + ms("ending_ms");
    assert!((sum - run_ms).abs() < 1.0 && ms("ending_ms") > 0.0, "{timeline:#} of {run_ms}");
    assert!(json(&read("manifest.json"))["interrupted_at"].is_string());

    let mut stages = Vec::new();
    for line in read("otel_traces.json").lines() {
        for scope in json(line)["resourceSpans"][0]["scopeSpans"].as_array().into_iter().flatten() {
            let spans = scope["spans"].as_array().into_iter().flatten();
            let spans = spans.filter(|span| span["name"] == "hamilton.stage");
            let at = |span: &Value, key: &str| span[key].as_str().and_then(|at| at.parse::<u64>().ok());
            stages.extend(spans.map(|span| at(span, "endTimeUnixNano").zip(at(span, "startTimeUnixNano"))));
        }
    }
    let longest =
        stages.iter().flatten().map(|(end, start)| end - start).max().expect("a stage") as f64 / 1e6;
    assert!(message.contains(&format!("ran ({:.2} s)", longest / 1e3)), "{message}: {longest} ms");
    // Setup ends where the run is told to end, and the statement a little later, within the ending.
    let later = longest - ms("setup_ms");
    assert!(-1.0 < later && later < ms("ending_ms") + 1.0, "{timeline:#} beside {longest} ms");
}

/// A second signal at the same moment as the first, or before the end has come far.
#[test]
fn a_second_signal_that_follows_the_first_leaves_an_interrupted_run() {
    for delay_ms in [0, 5, 20, 50] {
        let checkout = Checkout::new();
        let pipeline = checkout.pipeline("spinning.sql", SPINNING);
        let running = Daglight::run(&checkout, &pipeline).env("TOKIO_WORKER_THREADS", "1").start();
        wait_for_risk(&running, &checkout);
        running.signal("INT");
        std::thread::sleep(Duration::from_millis(delay_ms));
        running.signal("INT");
        let report = running.finish().report(130);
        assert_eq!((&report["status"], &report["error"]["node"]), (&json!("interrupted"), &json!("risk")));
        assert_eq!(report["nodes"][1]["status"], "interrupted", "{report:#}");
        let manifest = fs::read(bundle(&checkout).expect("a bundle").join("manifest.json"));
        let manifest: Value = serde_json::from_slice(&manifest.expect("a manifest")).expect("JSON");
        assert_eq!(
            (&manifest["status"], &manifest["error"]),
            (&report["status"], &report["error"]["message"])
        );
    }
}

/// Signals are received before there is anything that they would leave behind.
#[test]
fn a_signal_at_any_moment_of_the_start_leaves_no_open_run() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("spinning.sql", SPINNING);
    for delay_ms in (0..400).step_by(20) {
        let running = Daglight::run(&checkout, &pipeline).env("TOKIO_WORKER_THREADS", "1").start();
        // Before that the system still starts the program.
        std::thread::sleep(Duration::from_millis(delay_ms));
        running.signal("TERM");
        let finished = running.finish();
        let folder = checkout.path().join("out/run_bundle");
        for run in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let manifest = fs::read(run.path().join("manifest.json")).expect("a manifest");
            let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
            assert_eq!(manifest["status"], "interrupted", "after {delay_ms} ms: {manifest:#}");
            assert_eq!(finished.report(143)["run_id"], manifest["identity"]["run_id"]);
            fs::remove_dir_all(run.path()).expect("the run can be removed");
        }
    }
}

/// A statement that is not a node runs for as long as one.
#[test]
fn a_signal_in_a_statement_without_a_node_names_the_statement() {
    let (checkout, hamilton) = (Checkout::new(), Hamilton::take());
    let project = hamilton.project(&checkout.path().display().to_string());
    let script = SPINNING.replace("-- node: risk\n", "\nEXPLAIN ANALYZE\n");
    let running = Daglight::run(&checkout, &checkout.pipeline("explain.sql", &script))
        .tracked_in(&project)
        .env("TOKIO_WORKER_THREADS", "1")
        .start();
    wait_for(&running, &checkout, "otel_traces.open.json", "EXPLAIN ANALYZE");
    running.signal("INT");
    let finished = running.finish();
    let report = finished.report(130);
    let place = "while the statement at explain.sql:4 ran (";
    let error = &report["error"];
    assert!(error["message"].as_str().unwrap_or_default().contains(place), "{error}");
    assert_eq!(
        (&error["node"], &error["file"], &error["line"]),
        (&Value::Null, &json!("explain.sql"), &json!(4))
    );
    let bundle = bundle(&checkout).expect("a bundle");
    let page = fs::read_to_string(bundle.join("run_diagnostics_report.md")).expect("a report");
    assert!(page.contains(place), "{page}");
    let run = &hamilton.runs(&project)[0];
    assert!(run["tags"]["error"].as_str().unwrap_or_default().contains(place), "{run:#}");
}

/// The end of an interrupted run waits for a server that does not answer, for longer than a test may take. A second signal
/// ends the process, and the bundle says all the same how the run ended.
#[test]
fn a_second_signal_ends_the_process_at_once() {
    let hamilton = Hamilton::take();
    for (program, first, second, code) in
        [(Program::SpinningScript, "INT", "INT", 130), (Program::Sample("spinning"), "INT", "TERM", 143)]
    {
        let checkout = Checkout::new();
        let project = hamilton.project(&checkout.path().display().to_string());
        let proxy = Proxy::start(hamilton.url());
        proxy.spoil("", u32::MAX, Fault::Hang);
        let running = program.start(&checkout, &project, 3_600).env("HAMILTON_API_URL", proxy.url()).start();
        wait_for_risk(&running, &checkout);
        running.signal(first);
        wait_for(&running, &checkout, "manifest.json", r#""status": "interrupted""#);
        running.signal(second);
        running.finish().ended_with(code);
        sync(&checkout, &project);
        let runs = hamilton.runs(&project);
        assert_eq!((runs.len(), &runs[0]["run_status"]), (1, &json!("FAILURE")), "{runs:#?}");
        let manifest = fs::read_to_string(bundle(&checkout).expect("a bundle").join("manifest.json"));
        assert!(manifest.expect("a manifest").contains(r#""status": "interrupted""#));
    }
}

/// A run that is over, and waits for a server that does not answer, is not made a failure by a signal: it waits no longer.
#[test]
fn a_signal_at_the_end_of_a_run_makes_it_wait_no_longer() {
    let (checkout, hamilton) = (Checkout::new(), Hamilton::take());
    let project = hamilton.project(&checkout.path().display().to_string());
    let proxy = Proxy::start(hamilton.url());
    proxy.spoil("", u32::MAX, Fault::Hang);
    let pipeline =
        checkout.pipeline("short.sql", "-- node: orders\nCREATE TABLE orders AS SELECT 1 AS id;\n");
    let running = Daglight::run(&checkout, &pipeline)
        .tracked_in(&project)
        .env("DAGLIGHT_FLUSH_SECONDS", "3600")
        .env("HAMILTON_API_URL", proxy.url())
        .start();
    wait_for(&running, &checkout, "manifest.json", r#""status": "success""#);
    running.signal("INT");
    let finished = running.finish();
    assert!(finished.stderr.contains("waits for servers no longer"), "{}", finished.stderr);
    let report = finished.report(0);
    assert_eq!((&report["status"], &report["error"]), (&json!("success"), &Value::Null));
    assert!(report["ledger"]["tracker"]["waiting"].as_u64().is_some_and(|waiting| waiting > 0), "{report:#}");
    sync(&checkout, &project);
    assert_eq!(hamilton.runs(&project)[0]["run_status"], "SUCCESS");
}

/// What a process was started to ignore, as `nohup` does, does not end its run.
#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("endless.sql", ENDLESS);
    let running = Daglight::run(&checkout, &pipeline).ignoring("HUP").start();
    wait_for_risk(&running, &checkout);
    running.signal("HUP");
    running.signal("TERM");
    let report = running.finish().report(143);
    assert!(report["error"]["message"].as_str().unwrap_or_default().contains("SIGTERM"), "{report:#}");
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
        let ended = failed("process ended", Some("process ended"));
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
    let ended = Ended { status: "SUCCESS", recorded: "success", reason: "", risk: Some(("SUCCESS", "")) };
    ended.check(&hamilton, &project, &checkout);
}

/// How long a run took that was killed is known between two beats, and which node ran.
#[test]
fn a_kill_between_two_heartbeats_leaves_how_long_the_run_took() {
    for tracked in ["true", "false"] {
        let checkout = Checkout::new();
        let pipeline = checkout.pipeline("spinning.sql", SPINNING);
        let running = Daglight::run(&checkout, &pipeline)
            .env("TOKIO_WORKER_THREADS", "1")
            .env("HAMILTON_TRACKER_ENABLED", tracked)
            .start();
        wait_for(&running, &checkout, "heartbeat.json", r#""name": "risk""#);
        std::thread::sleep(Duration::from_millis(1_000));
        running.signal("KILL");
        running.finish();
        let bundle = bundle(&checkout).expect("a bundle");
        let report = Daglight::new(&checkout, ["report".as_ref(), bundle.as_os_str(), "--json".as_ref()]);
        let report = report.finish().report(0);
        assert_eq!(report["heartbeat"]["beats"], 1, "{report:#}");
        assert_eq!(report["process_ended"], true, "{report:#}");
        assert!(report["duration_ms"].as_f64().is_some_and(|ms| ms > 800.0), "{report:#}");
        let headline = report["headline"].as_array().expect("a list").iter();
        let headline: Vec<&str> = headline.filter_map(|finding| finding["text"].as_str()).collect();
        assert!(headline[0].starts_with("The process ended before it could end the run"), "{headline:#?}");
        assert!(headline[1].contains("running then: risk."), "{headline:#?}");
        let share = headline
            .iter()
            .find_map(|text| text.split_once(" % of the run")?.0.rsplit_once('(')?.1.parse().ok());
        assert!(share.is_none_or(|share: f64| share <= 100.0), "{headline:#?}");
    }
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
        (Program::Sample("spinning"), Some("TERM"), 143),
        (Program::Script, Some("TERM"), 143),
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

/// Both places take requests and do not answer. They are waited for at the same time.
#[test]
fn a_run_whose_server_and_endpoint_hang_ends_in_time_and_says_what_waits() {
    const BOUND: Duration = Duration::from_secs(4);
    let hamilton = Hamilton::take();
    let checkout = Checkout::new();
    let project = hamilton.project("both hang");
    let [server, endpoint] = [(); 2].map(|()| {
        let proxy = Proxy::start(hamilton.url());
        proxy.spoil("", u32::MAX, Fault::Hang);
        proxy
    });
    let pipeline = checkout.pipeline("one.sql", "-- node: one\nCREATE TABLE t AS SELECT 1 AS x;\n");
    let run = Daglight::run(&checkout, &pipeline)
        .tracked_in(&project)
        .env("HAMILTON_API_URL", server.url())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.url())
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        .env("DAGLIGHT_FLUSH_SECONDS", BOUND.as_secs().to_string())
        .env("DAGLIGHT_SHUTDOWN_SECONDS", BOUND.as_secs().to_string());
    let report = run.finish().report(0);
    let delivery_ms = report["own_time"]["delivery_ms"].as_f64().expect("a time");
    assert!(delivery_ms < 3.0 * BOUND.as_millis() as f64, "{report:#}");
    assert_eq!(report["status"], "success");
    let tracker = &report["ledger"]["tracker"];
    assert!(tracker["waiting"].as_u64() > Some(0) && tracker["delivered"] == 0, "{tracker:#}");
    let signals = report["ledger"]["signals"].as_array().expect("a list");
    let otlp = signals.iter().filter(|account| account["destination"] == "otlp");
    let otlp: Vec<&Value> = otlp.filter(|account| account["produced"].as_u64() > Some(0)).collect();
    assert!(otlp.len() >= 2, "{signals:#?}");
    for account in otlp {
        assert_eq!(account["delivered"], 0, "{account:#}");
        check_balanced(account);
    }
    // Both were asked, and neither had to wait for the end of the other.
    for proxy in [&server, &endpoint] {
        assert!(!proxy.seen().is_empty());
    }
    sync(&checkout, &project);
    assert_eq!(hamilton.runs(&project)[0]["run_status"], "SUCCESS");
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

/// Also if the node that runs then does not give way.
#[test]
fn a_signal_after_a_failed_node_hides_neither() {
    for endless in [ENDLESS, SPINNING] {
        let checkout = Checkout::new();
        let sql = format!("SELECT CAST('x' AS INT);\n{endless}SELECT 3;\n");
        let pipeline = checkout.pipeline("failing.sql", &sql);
        let running = Daglight::new(&checkout, ["run", "--output-dir", "out", "--keep-going"])
            .args([&pipeline])
            .env("TOKIO_WORKER_THREADS", "1")
            .env("HAMILTON_TRACKER_ENABLED", "false")
            .start();
        wait_for(&running, &checkout, "otel_traces.open.json", r#""stringValue":"risk""#);
        running.signal("TERM");
        let stderr = running.finish().ended_with(143).stderr;
        assert_eq!(stderr.matches("failing.sql:1:1: output_1: ").count(), 1, "{stderr}");
        assert!(stderr.contains("Cannot cast string 'x'"), "{stderr}");
        assert!(stderr.contains("FAILED and INTERRUPTED by SIGTERM after "), "{stderr}");
        assert!(stderr.contains("nodes: 1 ok, 1 interrupted, 1 failed, 1 not run"), "{stderr}");
    }
}
