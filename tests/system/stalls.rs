//! What stands still is named, and given up where that is asked; what works is not.

use std::{
    fs,
    io::Write as _,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use daglight_system_tests::{
    Checkout, Daglight, Finished, Running, attributes, decode_strictly, tpch_data, tpch_script,
};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// A source that never answers: a named pipe into which nobody writes.
const SILENT: &str = "\
-- node: orders
CREATE TABLE orders AS SELECT value AS id FROM generate_series(1, 10);
CREATE UNBOUNDED EXTERNAL TABLE events (id BIGINT) STORED AS CSV LOCATION 'events.csv';
-- node: joined
CREATE TABLE joined AS SELECT id FROM events WHERE id > 5;
-- node: late
SELECT * FROM joined;
";

/// A node that keeps every thread of the runtime computing without a result, and never gives way.
const SPINNING: &str = "\
-- node: orders
CREATE TABLE orders AS SELECT value AS id FROM generate_series(1, 60000);
-- node: risk
SELECT count(*) AS risk FROM orders a CROSS JOIN orders b CROSS JOIN orders c WHERE a.id + b.id + c.id < 0;
";

fn bundle(checkout: &Checkout) -> PathBuf {
    let bundles = checkout.path().join("out/run_bundle");
    fs::read_dir(bundles).expect("bundles").next().expect("a bundle").expect("an entry").path()
}

fn manifest(checkout: &Checkout) -> Value {
    read(&bundle(checkout).join("manifest.json"))
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).expect("a file")).expect("JSON")
}

fn pipe(checkout: &Checkout, name: &str) {
    let made = Command::new("mkfifo").arg(checkout.path().join(name)).status();
    assert!(made.is_ok_and(|status| status.success()), "a named pipe cannot be made");
}

/// With a fast heart, and what stands still given up.
fn given_up(daglight: Daglight) -> Daglight {
    daglight
        .env("HAMILTON_TRACKER_ENABLED", "false")
        .env("DAGLIGHT_HEARTBEAT_SECONDS", "0.2")
        .env("DAGLIGHT_STALL_SECONDS", "1")
        .env("DAGLIGHT_BUSY_SECONDS", "2")
        .env("DAGLIGHT_ON_STALL", "cancel")
}

fn statuses(report: &Value) -> Vec<&str> {
    let nodes = report["nodes"].as_array().expect("nodes");
    nodes.iter().map(|node| node["status"].as_str().unwrap_or_default()).collect()
}

#[test]
fn a_query_whose_source_never_answers_fails_and_what_depends_on_it_does_not_run() {
    let checkout = Checkout::new();
    pipe(&checkout, "events.csv");
    let pipeline = checkout.pipeline("silent.sql", SILENT);
    let finished = given_up(Daglight::run(&checkout, &pipeline)).finish();
    let report = finished.report(1);
    assert_eq!(statuses(&report), ["success", "success", "failure", "not_run"], "{report:#}");
    let error = report["error"]["message"].as_str().unwrap_or_default();
    for part in [
        "no progress for",
        "operator StreamingTableExec",
        "(a pipe)",
        "class source",
        "heartbeat.on_stall",
        "StreamConfig::reader",
    ] {
        assert!(error.contains(part), "no {part:?} in {error:?}");
    }
    assert_eq!((&report["error"]["node"], &report["error"]["line"]), (&json!("joined"), &json!(5)));
    assert_eq!(manifest(&checkout)["status"], "failure");
    assert!(finished.stderr.contains("no progress for"), "{}", finished.stderr);
}

/// The thread that reads is seen where it is blocked, with who called.
#[test]
fn the_calls_of_a_thread_that_waits_for_its_source_are_in_the_evidence_and_the_report() {
    let checkout = Checkout::new();
    pipe(&checkout, "events.csv");
    let run = Daglight::run(&checkout, &checkout.pipeline("silent.sql", SILENT)).args(["--profile", "prod"]);
    given_up(run).finish().report(1);
    let bundle = bundle(&checkout);
    let reader = "datafusion_catalog::stream::FileStreamProvider";
    let episode = read(&bundle.join("heartbeat.json"))["stalls"]["episodes"][0].clone();
    let stack = &episode["threads"][0]["stack"];
    assert_eq!(stack["end"], "whole", "{episode:#}");
    let frames: Vec<&str> =
        stack["frames"].as_array().expect("frames").iter().filter_map(Value::as_str).collect();
    assert!(frames.iter().any(|frame| frame.contains(reader)), "{frames:#?}");
    let is_outer = |frame: &&str| frame.starts_with("tokio::") || frame.starts_with("libc.so");
    assert!(!frames.last().is_some_and(is_outer), "{frames:#?}");
    let report = read(&bundle.join("run_diagnostics_report.json"));
    assert_eq!(&report["heartbeat"]["stalls"][0]["threads"][0]["stack"], stack);
    for file in ["run_diagnostics_report.md", "run_diagnostics_report.html"] {
        let text = fs::read_to_string(bundle.join(file)).expect("a report");
        let is_shown = text.contains(reader) && text.contains("The calls of thread ");
        assert!(is_shown, "{file}: {text}");
    }
    let root = decode_strictly(&bundle.join("otel_traces.json"), "traces");
    let root = root.iter().find(|span| span["name"] == "pipeline.execute").expect("a root");
    assert!(root["events"][0].to_string().contains(reader), "{root:#}");
    let logs = decode_strictly(&bundle.join("otel_logs.json"), "logs");
    let warning = logs.iter().map(attributes).find(|log| log.contains_key("stall.since")).expect("a warning");
    assert!(warning["stall.threads"].to_string().contains(reader), "{warning:#?}");
}

#[test]
fn without_stacks_the_evidence_is_as_it_is() {
    let checkout = Checkout::new();
    pipe(&checkout, "events.csv");
    let run = Daglight::run(&checkout, &checkout.pipeline("silent.sql", SILENT));
    given_up(run).env("DAGLIGHT_STALL_STACKS", "false").finish().report(1);
    let episode = read(&bundle(&checkout).join("heartbeat.json"))["stalls"]["episodes"][0].clone();
    let thread = &episode["threads"][0];
    assert_eq!((&thread["stack"], &episode["class"]), (&Value::Null, &json!("source")), "{episode:#}");
}

/// One of two nodes waits for its source, and the other one keeps a thread of the runtime computing.
#[test]
fn a_source_that_never_answers_is_named_beside_a_node_that_computes() {
    let checkout = Checkout::new();
    pipe(&checkout, "events.csv");
    let sql = "\
        CREATE UNBOUNDED EXTERNAL TABLE events (id BIGINT) STORED AS CSV LOCATION 'events.csv';
        -- node: stuck
        SELECT id FROM events WHERE id > 3;
        -- node: busy
        SELECT max(md5(CAST(value AS varchar))) AS busy FROM generate_series(1, 300000);
    ";
    let run = Daglight::run(&checkout, &checkout.pipeline("two.sql", sql)).args(["--jobs", "2"]);
    let run = given_up(run).env("TOKIO_WORKER_THREADS", "2").env("HAMILTON_TRACKER_ENABLED", "true");
    run.finish().report(1);
    let stalls = read(&bundle(&checkout).join("heartbeat.json"))["stalls"].clone();
    let first = &stalls["episodes"][0];
    assert_eq!(
        (&stalls["count"], &first["node"], &first["class"], &first["waits_for"]),
        (&json!(1), &json!("stuck"), &json!("source"), &json!("a pipe")),
        "{stalls:#}"
    );
    let tag = manifest(&checkout)["identity"]["tags"]["stalls"].clone();
    assert!(tag.as_str().unwrap_or_default().contains("waits for a source (a pipe)"), "{tag}");
    // The page of the node has it, too.
    let outbox = fs::read_to_string(bundle(&checkout).join("tracker/outbox.jsonl")).expect("an outbox");
    let said =
        |line: &&str| line.contains(r#""name":"stalls""#) && line.contains("waits for a source (a pipe)");
    let lines: Vec<&str> = outbox.lines().filter(said).collect();
    assert!(lines.len() == 1 && lines[0].contains(r#""stuck""#), "{lines:#?}");
}

#[test]
fn each_beat_has_a_record_in_the_log_and_none_on_the_console() {
    let checkout = Checkout::new();
    pipe(&checkout, "events.csv");
    let finished = given_up(Daglight::run(&checkout, &checkout.pipeline("silent.sql", SILENT))).finish();
    finished.report(1);
    let bundle = bundle(&checkout);
    let spans = decode_strictly(&bundle.join("otel_traces.json"), "traces");
    let beats = spans.iter().filter(|span| span["name"] == "build.heartbeat").count();
    let logs = decode_strictly(&bundle.join("otel_logs.json"), "logs");
    let records: Vec<_> =
        logs.iter().filter(|log| log["body"]["stringValue"] == "heartbeat").map(attributes).collect();
    // While nothing changes, too: the run stands still for most of its time.
    assert_eq!(records.len(), beats, "{records:#?}");
    assert!(beats > 4, "{records:#?}");
    // What a record does not say is as it was in the one before.
    let known: Vec<Map<String, Value>> = records
        .iter()
        .scan(Map::new(), |known, record| {
            known.extend(record.clone());
            Some(known.clone())
        })
        .collect();
    // Whether the first beat knows the threads of the runtime, or the second one, is a race with the session.
    let told = records.iter().take(11).filter(|record| record.contains_key("runtime_workers")).count();
    assert_eq!(told, 1, "{records:#?}");
    // As the log has lists.
    let joined = |record: &&Map<String, Value>| record["active_task_names"] == r#"["joined"]"#;
    let beat = known.iter().rfind(joined).expect("a record of the node");
    assert_eq!(
        (&beat["pending_task_names"], &beat["completed_task_names"]),
        (&json!(r#"["late"]"#), &json!(r#"["orders","events"]"#)),
        "{beat:#?}"
    );
    for known in [
        "active_tasks",
        "pending_tasks",
        "completed_tasks",
        "rows_read",
        "bytes_written",
        "bytes_spilled",
        "rows_read_per_second",
        "bytes_written_per_second",
        "memory_reserved",
        "runtime_workers",
        "runtime_busy_workers",
        "runtime_queue_depth",
        "cpu_seconds",
        "resident_bytes",
        "threads",
        "open_files",
    ] {
        assert!(beat.get(known).is_some_and(Value::is_number), "{known}: {beat:#?}");
    }
    assert!(!finished.stderr.contains("heartbeat "), "{}", finished.stderr);
}

/// A statement that belongs to no node, and stands still while it is planned: the columns of a file are looked for in it.
#[test]
fn a_statement_of_no_node_is_a_stall_while_it_is_planned() {
    let checkout = Checkout::new();
    pipe(&checkout, "events.csv");
    let sql =
        "-- node: orders\nCREATE TABLE orders AS SELECT 1 AS id;\nEXPLAIN SELECT * FROM 'events.csv';\n";
    let finished = given_up(Daglight::run(&checkout, &checkout.pipeline("silent.sql", sql))).finish();
    let report = finished.report(1);
    assert_eq!((&report["status"], &report["error"]["line"]), (&json!("interrupted"), &json!(3)));
    let stall = "the statement at silent.sql:3";
    assert!(finished.stderr.contains(stall), "{}", finished.stderr);
    let tag = manifest(&checkout)["identity"]["tags"]["stalls"].clone();
    assert!(tag.as_str().unwrap_or_default().contains(stall), "{tag}");
    let report = read(&bundle(&checkout).join("run_diagnostics_report.json"));
    assert_eq!(report["heartbeat"]["stalls"][0]["statement"], stall, "{:#}", report["heartbeat"]);
    let findings = report["findings"].as_array().expect("findings");
    let said =
        |finding: &Value| finding["summary"].as_str().is_some_and(|text| text.contains("silent.sql:3"));
    assert!(findings.iter().any(said), "{findings:#?}");
}

/// A source that nobody writes to is the cause also where no query asks for it yet: its columns are looked for, on a thread of
/// which nothing else is known.
#[track_caller]
fn check_planned(sql: &str) {
    let checkout = Checkout::new();
    pipe(&checkout, "events.csv");
    let run = given_up(Daglight::run(&checkout, &checkout.pipeline("silent.sql", sql)));
    let running = run.env("DAGLIGHT_ON_STALL", "warn").start();
    let begun = Instant::now();
    let episode = loop {
        let bundles = fs::read_dir(checkout.path().join("out/run_bundle")).into_iter().flatten();
        let evidence =
            bundles.flatten().find_map(|bundle| fs::read(bundle.path().join("heartbeat.json")).ok());
        let evidence: Option<Value> = evidence.and_then(|text| serde_json::from_slice(&text).ok());
        match evidence.map(|evidence| evidence["stalls"]["episodes"][0].clone()) {
            Some(episode) if episode.is_object() => break episode,
            _ => assert!(begun.elapsed() < LONG, "no stall"),
        }
        thread::sleep(Duration::from_millis(50));
    };
    running.signal("TERM");
    running.finish().ended_with(143);
    assert_eq!(
        (&episode["class"], &episode["waits_for"]),
        (&json!("source"), &json!("a pipe")),
        "{episode:#}"
    );
    let frames = episode["threads"][0]["stack"]["frames"].to_string();
    assert!(frames.contains("object_store::local"), "{episode:#}");
}

#[test]
fn a_query_of_a_file_that_never_answers_waits_for_its_source_while_it_is_planned() {
    check_planned("-- node: events\nSELECT * FROM 'events.csv';\n");
}

#[test]
fn a_table_on_a_file_that_never_answers_waits_for_its_source() {
    check_planned("CREATE EXTERNAL TABLE events STORED AS CSV LOCATION 'events.csv';\n");
}

/// The program at the other end of the pipe does not read, for a while.
#[test]
fn output_that_nobody_reads_is_what_a_run_waits_for() {
    let checkout = Checkout::new();
    let sql = "-- node: numbers\nSELECT value, repeat('x', 100) AS pad FROM generate_series(1, 30000);\n";
    checkout.pipeline("printed.sql", sql);
    let run = Daglight::new(&checkout, ["run", "printed.sql", "--output-dir", "out", "--format", "csv"]);
    let run = given_up(run).env("DAGLIGHT_ON_STALL", "warn").env("DAGLIGHT_HEARTBEAT_SECONDS", "2");
    let finished = run.through("/bin/sh", &["-c", r#""$@" | sleep 6"#, "sh"]).finish().ended_with(0);
    assert!(finished.stderr.contains("succeeded"), "{}", finished.stderr);
    let episode = read(&bundle(&checkout).join("heartbeat.json"))["stalls"]["episodes"][0].clone();
    assert_eq!(
        (&episode["class"], &episode["waits_for"], &episode["operator"]),
        (&json!("output"), &json!("standard output, a pipe"), &Value::Null),
        "{episode:#}"
    );
    let warning = "node numbers, waits for the reader of its output (standard output, a pipe)";
    assert!(finished.stderr.contains(warning), "{}", finished.stderr);
    // The node ends before another beat comes.
    assert!(finished.stderr.contains("progress again, after"), "{}", finished.stderr);
}

/// The same where it executes a query.
#[test]
fn the_query_of_a_statement_of_no_node_is_named_by_the_statement() {
    let checkout = Checkout::new();
    pipe(&checkout, "events.csv");
    let sql = "CREATE UNBOUNDED EXTERNAL TABLE events (id BIGINT) STORED AS CSV LOCATION 'events.csv';\n\
               EXPLAIN ANALYZE SELECT * FROM events;\n";
    let finished = given_up(Daglight::run(&checkout, &checkout.pipeline("silent.sql", sql))).finish();
    finished.report(1);
    assert!(finished.stderr.contains("the statement at silent.sql:2, operator"), "{}", finished.stderr);
}

/// The run of a program whose code cannot be given up ends with it.
#[test]
fn a_call_that_blocks_the_only_thread_ends_the_run_and_its_process() {
    let checkout = Checkout::new();
    let program = Path::new(env!("CARGO_BIN_EXE_ending-run"));
    let blocked = Daglight::program(program, &checkout, ["blocked"]).env("DAGLIGHT_OUTPUT_DIR", "out");
    let finished = given_up(blocked).finish().ended_with(1);
    let manifest = manifest(&checkout);
    assert_eq!(manifest["status"], "interrupted", "{manifest:#}");
    let error = manifest["error"].as_str().unwrap_or_default();
    for part in ["interrupted by a stall after", "while risk ran", "no progress for", "class blocked_"] {
        assert!(error.contains(part), "no {part:?} in {error:?}");
    }
    assert_eq!(manifest["nodes"][1]["status"], "interrupted", "{manifest:#}");
    assert_eq!(manifest["identity"]["tags"]["interrupted_by"], "stall", "{manifest:#}");
    assert!(manifest["ended_at"].is_string(), "{manifest:#}");
    assert!(finished.stderr.contains("a stall does not give way, ending the run"), "{}", finished.stderr);
}

/// Its query fails on the main thread, while all workers of the runtime go on to compute.
#[test]
fn a_script_that_computes_forever_fails() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("spinning.sql", SPINNING);
    let run = given_up(Daglight::run(&checkout, &pipeline)).env("TOKIO_WORKER_THREADS", "1");
    let report = run.finish().report(1);
    assert_eq!((&report["status"], &report["error"]["node"]), (&json!("failure"), &json!("risk")));
    let error = report["error"]["message"].as_str().unwrap_or_default();
    assert!(error.contains("is busy without output (class spinning"), "{error}");
    assert_eq!(statuses(&report), ["success", "failure"], "{report:#}");
}

/// What a service manager is told on its socket.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = TempDir::with_prefix("daglight-notify-").expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("socket")).expect("a socket");
        Self { socket, folder }
    }

    /// The program under this manager, with a watchdog.
    fn start(&self, daglight: Daglight, watchdog: Duration) -> Running {
        // The variable names the very process.
        let own_pid = r#"WATCHDOG_PID=$$ exec "$@""#;
        daglight
            .env("NOTIFY_SOCKET", self.folder.path().join("socket"))
            .env("WATCHDOG_USEC", watchdog.as_micros().to_string())
            .through("/bin/sh", &["-c", own_pid, "sh"])
            .start()
    }

    /// The lines that come within some time, or until one of them has this text.
    fn lines(&self, time: Duration, until: &str) -> Vec<String> {
        let begun = Instant::now();
        let mut lines: Vec<String> = Vec::new();
        let mut message = [0; 4096];
        while let Some(left) = time.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
            self.socket.set_read_timeout(Some(left)).expect("a time");
            let Ok(size) = self.socket.recv(&mut message) else { continue };
            let text = String::from_utf8_lossy(&message[..size]);
            lines.extend(text.lines().map(str::to_owned));
            if !until.is_empty() && text.contains(until) {
                break;
            }
        }
        lines
    }
}

const LONG: Duration = Duration::from_secs(120);

#[test]
fn a_service_manager_learns_what_a_run_does_and_that_it_moves() {
    let (checkout, manager) = (Checkout::new(), Manager::new());
    let pipeline = checkout.pipeline("endless.sql", MOVING);
    let run = Daglight::run(&checkout, &pipeline).env("HAMILTON_TRACKER_ENABLED", "false");
    let running = manager.start(run, Duration::from_millis(400));
    let begun = manager.lines(LONG, "risk");
    assert_eq!(begun.first().map(String::as_str), Some("READY=1"), "{begun:?}");
    let status = begun.last().expect("a line");
    // The watchdog is fed between two beats, too: the next beat comes in five seconds.
    let lines = manager.lines(Duration::from_secs(2), "");
    let fed = lines.iter().filter(|line| *line == "WATCHDOG=1").count();
    assert!(fed >= 4, "{fed} in {lines:?} behind {status}");
    running.signal("TERM");
    let rest = manager.lines(LONG, "STOPPING=1");
    assert_eq!(rest.last().map(String::as_str), Some("STOPPING=1"), "{rest:?}");
    running.finish().ended_with(143);
}

#[test]
fn the_watchdog_of_a_run_without_progress_is_not_notified() {
    let (checkout, manager) = (Checkout::new(), Manager::new());
    pipe(&checkout, "events.csv");
    let pipeline = checkout.pipeline("silent.sql", SILENT);
    let run = given_up(Daglight::run(&checkout, &pipeline)).env("DAGLIGHT_ON_STALL", "warn");
    let running = manager.start(run, Duration::from_millis(400));
    let before = manager.lines(LONG, "STALLED");
    assert!(before.iter().any(|line| line == "WATCHDOG=1"), "{before:?}");
    let status = before.iter().find(|line| line.contains("STALLED")).expect("a status");
    assert!(status.starts_with("STATUS=") && status.contains("joined"), "{status}");
    let after = manager.lines(Duration::from_secs(2), "");
    assert!(!after.iter().any(|line| line == "WATCHDOG=1"), "{after:?}");
    running.signal("TERM");
    running.finish().ended_with(143);
}

/// A query that goes on for longer than a test, and moves.
const MOVING: &str = "\
-- node: risk
CREATE TABLE risk AS SELECT sum(a.value * b.value) AS risk
    FROM generate_series(1, 10000000) a CROSS JOIN generate_series(1, 10000000) b;
";

/// A script that works, and whose heart is fast.
struct Works {
    finished: Finished,
    bundle: PathBuf,
    _checkout: Checkout,
}

impl Works {
    #[track_caller]
    fn run(sql: &str, options: &[(&str, &str)]) -> Self {
        let checkout = Checkout::new();
        let pipeline = checkout.pipeline("works.sql", sql);
        let run = given_up(Daglight::run(&checkout, &pipeline)).env("DAGLIGHT_ON_STALL", "warn");
        let run = options.iter().fold(run, |run, (name, value)| run.env(name, value));
        let finished = run.finish().ended_with(0);
        Self { finished, bundle: bundle(&checkout), _checkout: checkout }
    }

    fn stalls(&self) -> Vec<Value> {
        let evidence = read(&self.bundle.join("heartbeat.json"));
        evidence["stalls"]["episodes"].as_array().expect("a list").clone()
    }

    /// The sums over the executions of each plan of a node.
    fn executions(&self, node: &str) -> Vec<Value> {
        let plans = fs::read_dir(self.bundle.join("plans")).expect("plans");
        let plans = plans.map(|plan| read(&plan.expect("an entry").path()));
        plans.filter(|plan| plan["node"] == node).map(|plan| plan["executions"].clone()).collect()
    }
}

#[test]
fn queries_that_work_are_not_taken_for_stalls() {
    let works = Works::run(&tpch_script(tpch_data()).expect("the queries"), &[]);
    assert_eq!(works.stalls(), Vec::<Value>::new());
    assert!(!works.finished.stderr.contains("no progress"), "{}", works.finished.stderr);
}

#[test]
fn a_sort_that_spills_is_not_taken_for_a_stall() {
    let sql = "\
        SET datafusion.execution.target_partitions = 1;
        SET datafusion.runtime.memory_limit = '32M';
        SET datafusion.execution.sort_spill_reservation_bytes = 6000000;
        -- node: sorted
        COPY (SELECT value, value % 97 AS k, repeat('x', 100) AS pad FROM generate_series(1, 600000)
            ORDER BY k DESC, value) TO 'sorted.parquet';
    ";
    let works = Works::run(sql, &[]);
    let spilled: Vec<_> =
        works.executions("sorted").iter().map(|plan| plan["bytes_spilled"].as_u64()).collect();
    assert!(spilled.iter().any(|bytes| *bytes > Some(0)), "{spilled:?}");
    assert_eq!(works.stalls(), Vec::<Value>::new());
}

/// Its rows arrive one by one, and by far not as many as a batch has.
#[test]
fn a_slow_source_that_moves_is_not_taken_for_a_stall() {
    let checkout = Checkout::new();
    pipe(&checkout, "events.csv");
    let (source, rows) = (checkout.path().join("events.csv"), 50);
    thread::spawn(move || {
        let mut source = fs::File::options().write(true).open(source).expect("a reader");
        for row in 0..rows {
            writeln!(source, "{row}").expect("a reader");
            thread::sleep(Duration::from_millis(100));
        }
    });
    let run = given_up(Daglight::run(&checkout, &checkout.pipeline("slow.sql", SILENT)));
    let report = run.env("DAGLIGHT_STALL_SECONDS", "2").finish().report(0);
    assert_eq!(statuses(&report), ["success"; 4], "{report:#}");
    let evidence = read(&bundle(&checkout).join("heartbeat.json"));
    assert_eq!(evidence["stalls"]["count"], 0, "{evidence:#}");
}

/// What computes for longer than the idle threshold is busy, which is said after its own, longer time.
#[test]
fn an_operator_that_computes_for_long_is_busy_and_not_idle() {
    let sql = "\
        -- node: risk
        SELECT count(*) AS risk FROM generate_series(1, 8000) a CROSS JOIN generate_series(1, 8000) b
            WHERE a.value * b.value % 7 > 9;
    ";
    let stalls = Works::run(sql, &[("TOKIO_WORKER_THREADS", "1")]).stalls();
    assert!(stalls.iter().all(|stall| stall["class"] == "spinning"), "{stalls:#?}");
}
