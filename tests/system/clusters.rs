//! Runs whose queries are executed by workers, each a separate process.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use daglight_system_tests::{
    Checkout, Daglight, Finished, Hamilton, OtlpReceiver, Page, Running, attributes, decode_strictly,
    tpch_data, tpch_query,
};
use serde_json::{Value, json};

use crate::programs::bundle;

/// Every scan is divided, however small it is.
pub(crate) const DIVIDED: &str = "SET distributed.file_scan_config_bytes_per_partition = 1;\n";

struct Workers {
    running: Vec<(Running, String)>,
}

/// A worker, and the address that it says.
fn worker(checkout: &Checkout, listen: &str, with: impl Fn(Daglight) -> Daglight) -> (Running, String) {
    let worker = with(Daglight::new(checkout, ["worker", "--listen", listen, "--threads", "2"])).start();
    worker.wait_until("its address", || worker.output().ends_with('\n'));
    let address = worker.output().trim().to_owned();
    (worker, address)
}

impl Workers {
    fn start(checkout: &Checkout, with: impl Fn(Daglight) -> Daglight) -> Self {
        let start = || worker(checkout, "127.0.0.1:0", &with);
        Self { running: vec![start(), start()] }
    }

    fn cluster(&self) -> String {
        let addresses: Vec<&str> = self.running.iter().map(|(_, address)| address.as_str()).collect();
        format!("df://{}", addresses.join(","))
    }

    fn run(&self, checkout: &Checkout, script: &Path) -> Daglight {
        Daglight::run(checkout, script).args(["--cluster", &self.cluster()])
    }

    /// Waits until none of them computes.
    fn wait_until_idle(&self) {
        for (worker, _) in &self.running {
            worker.wait_until("idleness", || {
                let before = worker.cpu_ticks();
                thread::sleep(Duration::from_millis(500));
                worker.cpu_ticks() <= before + 2
            });
        }
    }

    /// Ends them as ctrl-c does.
    fn end(self) {
        for (worker, _) in self.running {
            worker.signal("INT");
            worker.finish_within(Duration::from_secs(60)).ended_with(0);
        }
    }
}

pub(crate) fn table(name: &str) -> String {
    let file = tpch_data().join(format!("{name}.parquet"));
    format!("CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{}';\n", file.display())
}

pub(crate) fn tables() -> String {
    table("lineitem") + &table("orders")
}

/// A script with a node that is worth distributing, and one that is not.
pub(crate) fn shipped() -> String {
    format!(
        "{}-- node: shipped\nSELECT o_orderpriority, count(*) AS n, sum(l_quantity) AS q FROM orders \
         JOIN lineitem ON l_orderkey = o_orderkey WHERE l_shipdate > l_commitdate GROUP BY o_orderpriority ORDER BY 1;\n\
         -- node: none\nSELECT 1 AS one;\n",
        tables()
    )
}

/// The only plan of a node.
pub(crate) fn plan(bundle: &Path, node: &str) -> Value {
    plan_of(bundle, node, "")
}

/// The plan of a node that does this.
pub(crate) fn plan_of(bundle: &Path, node: &str, operation: &str) -> Value {
    let files = fs::read_dir(bundle.join("plans")).expect("plans").flatten();
    let plans = files.map(|file| fs::read(file.path()).expect("a plan"));
    let mut plans = plans.map(|text| serde_json::from_slice::<Value>(&text).expect("JSON"));
    let is_meant = |plan: &Value| operation.is_empty() || plan["operation"] == operation;
    plans.find(|plan| plan["node"] == node && is_meant(plan)).unwrap_or_else(|| panic!("no plan of {node}"))
}

pub(crate) fn rows(finished: &Finished) -> Vec<Value> {
    finished.stdout.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}

/// The spans of this name.
pub(crate) fn named<'s>(spans: &'s [Value], name: &str) -> Vec<&'s Value> {
    spans.iter().filter(|span| span["name"] == name).collect()
}

/// The tasks that scan, and no others, have requests to storage, of all bytes that the engine says their scans have read.
pub(crate) fn check_storage(spans: &[Value], plans: &[Value]) {
    let (mut requests, mut bytes) = (0, 0);
    let operators = named(spans, "datafusion.operator");
    for task in named(spans, "datafusion.task") {
        let below = operators.iter().filter(|span| span["parentSpanId"] == task["spanId"]);
        let below: Vec<_> = below.map(|span| attributes(span)).collect();
        let are = |name: &'static str| below.iter().filter(move |said| said["daglight.operator"] == name);
        let said = attributes(task);
        let number = |name: &str| said.get(name).map_or(0, |value| value.as_u64().expect("a number"));
        let uses_stores = are("DataSourceExec").chain(are("DataSinkExec")).count() > 0;
        // Of few files, some scans get none.
        let has_rows = are("DataSourceExec").any(|scan| scan["daglight.row_count"] != 0);
        let has_requests = number("daglight.storage.requests") > 0;
        assert!(if has_requests { uses_stores } else { !has_rows }, "{said:#?}");
        requests += number("daglight.storage.requests");
        bytes += number("daglight.storage.bytes");
    }
    let scanned: u64 = plans.iter().filter_map(|plan| plan["metrics"]["bytes_scanned"].as_u64()).sum();
    assert!(
        requests > 0 && scanned > 0 && bytes >= scanned,
        "{requests} requests, {bytes} of {scanned} bytes"
    );
    // And the footers of the files.
    assert!(bytes < scanned + (4 << 20), "{requests} requests, {bytes} of {scanned} bytes");
}

#[test]
fn a_query_runs_on_workers_in_one_trace_and_its_rows_are_the_same() {
    let script = shipped();
    let checkout = Checkout::new();
    let file = checkout.path().join("shipped.sql");
    fs::write(&file, &script).expect("a script");
    let alone =
        Daglight::new(&checkout, ["run", "shipped.sql", "--format", "ndjson", "--output-dir", "alone"]);
    let alone = alone.env("DAGLIGHT_OUTPUT_DIR", "alone").finish().ended_with(0);

    fs::write(&file, format!("{DIVIDED}{script}")).expect("a script");
    let receiver = OtlpReceiver::start();
    let workers = Workers::start(&checkout, |worker| worker.observed_by(&receiver, "grpc"));
    let run = Daglight::new(&checkout, ["run", "shipped.sql", "--format", "ndjson", "--output-dir", "out"]);
    let run = run.args(["--cluster", &workers.cluster()]).finish().ended_with(0);
    assert_eq!(rows(&run), rows(&alone));
    assert_eq!(rows(&run).len(), 6);
    workers.end();

    let bundle = bundle(&checkout);
    let shipped = plan(&bundle, "shipped");
    let cluster = &shipped["metrics"]["cluster"];
    assert_eq!(cluster["on_client"], Value::Null, "{cluster:#}");
    let stages = cluster["stages"].as_array().expect("stages");
    assert!(stages.len() > 1, "{cluster:#}");
    let tasks: Vec<&Value> =
        stages.iter().flat_map(|stage| stage["tasks"].as_array().expect("tasks")).collect();
    assert!(tasks.iter().all(|task| task["outcome"] == "completed"), "{cluster:#}");
    let scans: Vec<&Value> = shipped["metrics"]["operators"]
        .as_array()
        .expect("operators")
        .iter()
        .filter(|operator| operator["is_scan"] == true)
        .collect();
    let of_table = |table: &str| scans.iter().find(|scan| scan["table"] == table).expect("its scan");
    assert_eq!(of_table("lineitem")["output_rows"], 60_175, "{scans:#?}");
    let by_task = of_table("lineitem")["partition_metrics"].as_array().expect("a list");
    for task in [0, 1] {
        assert!(by_task.iter().any(|measured| measured["task"] == task), "{by_task:#?}");
    }
    let why = plan(&bundle, "none")["metrics"]["cluster"]["on_client"].clone();
    assert!(why.as_str().is_some_and(|why| why == "it reads no files"), "{why}");

    // The workers' spans stand below those of the client, which are in its bundle.
    let spans = receiver.spans();
    let of_tasks = named(&spans, "datafusion.task");
    assert_eq!(of_tasks.len(), tasks.len(), "{of_tasks:#?}");
    let traces = fs::read_to_string(bundle.join("otel_traces.json")).expect("traces");
    for task in of_tasks {
        let parent = task["parentSpanId"].as_str().expect("a parent");
        assert!(traces.contains(task["traceId"].as_str().expect("a trace")), "{task:#}");
        assert!(traces.contains(parent), "{task:#}");
        let said = attributes(task);
        assert_eq!(said["daglight.node"], "shipped", "{said:#?}");
        assert!(said.contains_key("daglight.cluster_stage"), "{said:#?}");
        let below = |span: &&Value| span["parentSpanId"] == task["spanId"];
        assert!(spans.iter().filter(below).count() > 0, "{task:#}");
    }
    // The sums of the client are told from what the workers have measured themselves.
    let here = decode_strictly(&bundle.join("otel_traces.json"), "traces");
    let of = |spans: &[Value], with_tasks: bool| {
        let operators = named(spans, "datafusion.operator").into_iter().map(attributes);
        operators.filter(|said| said.contains_key("daglight.cluster_tasks") == with_tasks).count()
    };
    assert!(of(&here, true) > 4 && of(&here, false) > 0, "no sums, or nothing of the client");
    assert_eq!(of(&spans, true), 0);
    let why = cluster["storage_unknown"].as_str().expect("a reason");
    assert!(why.contains("daglight.storage.*"), "{why}");
    check_storage(&spans, std::slice::from_ref(&shipped));
}

#[test]
fn the_page_of_a_node_shows_where_its_queries_ran() {
    let (checkout, hamilton) = (Checkout::new(), Hamilton::take());
    let project = hamilton.project("clusters");
    let file = checkout.path().join("shipped.sql");
    fs::write(&file, format!("{DIVIDED}{}", shipped())).expect("a script");
    let workers = Workers::start(&checkout, |worker| worker);
    let report = workers.run(&checkout, &file).tracked_in(&project).finish().report(0);
    workers.end();

    let run = hamilton.run(&hamilton.runs(&project)[0]["id"]);
    let shown = |node: &str| {
        let nodes = run["node_runs"].as_array().expect("a list");
        let node = nodes.iter().find(|run| run["node_name"] == node).expect("the node");
        let attributes = node["attributes"].as_array().expect("a list");
        let cluster =
            attributes.iter().find(|attribute| attribute["name"] == "cluster").expect("the attribute");
        let queries = cluster["value"]["value"].as_object().expect("queries");
        queries.values().next().expect("a query").clone()
    };
    let (there, here) = (shown("shipped"), shown("none"));
    let plan = plan(&bundle(&checkout), "shipped");
    let stages = plan["metrics"]["cluster"]["stages"].as_array().expect("stages");
    let tasks = || stages.iter().flat_map(|stage| stage["tasks"].as_array().expect("tasks"));
    let bytes: u64 = tasks().filter_map(|task| task["bytes_received"].as_u64()).sum();
    assert_eq!(
        [&there["ran"], &there["workers"], &there["stages"], &there["tasks"], &there["bytes_shuffled"]],
        [&json!("on the cluster"), &json!(2), &json!(stages.len()), &json!(tasks().count()), &json!(bytes)],
        "{there:#}"
    );
    assert_eq!([&here["ran"], &here["why"]], ["on the client", "it reads no files"], "{here:#}");

    let page = Page::logged_in(hamilton.url());
    page.open(&format!("{}/task/shipped", report["links"]["hamilton_run"].as_str().expect("a link")));
    page.shows(&["Cluster", "datafusion-distributed", "on the cluster"]);
    page.screenshot("task-cluster");
}

#[test]
fn nothing_runs_where_a_worker_is_missing_or_the_address_is_none() {
    let checkout = Checkout::new();
    let file = checkout.path().join("one.sql");
    fs::write(&file, "SELECT 1 AS one").expect("a script");
    let workers = Workers::start(&checkout, |worker| worker);
    let here = workers.cluster();
    let refused = |cluster: &str, expected: &str| {
        let finished = Daglight::run(&checkout, &file).args(["--cluster", cluster]).finish();
        assert_eq!(finished.code, Some(2), "{}", finished.stderr);
        let said = finished.stderr.matches("error: ").count();
        assert!(said == 1 && finished.stderr.contains(expected), "{}", finished.stderr);
        assert!(!checkout.path().join("out/run_bundle").exists(), "something has run");
    };
    let port = dev_services::free_port().expect("a port");
    refused(
        &format!("{here},127.0.0.1:{port}"),
        &format!("the worker 127.0.0.1:{port} of the cluster does not answer"),
    );
    refused("spark://127.0.0.1:1", "there is no kind of cluster \"spark\"");
    // A server that is not a worker.
    let receiver = OtlpReceiver::start();
    let other = receiver.endpoint("http/protobuf").replace("http://", "df://");
    refused(&other, "does not answer as one");
    // The same worker under two names would get twice the work.
    let (_, first) = &workers.running[0];
    let again = first.replace("127.0.0.1", "localhost");
    refused(
        &format!("df://{first},{again}"),
        &format!("the worker {again} of the cluster is {first} under another name"),
    );
    workers.run(&checkout, &file).finish().report(0);
    workers.end();
}

#[test]
fn a_script_with_settings_of_a_cluster_runs_without_one_too() {
    let checkout = Checkout::new();
    let file = checkout.path().join("script.sql");
    let others = "SET ballista.shuffle.sort_based.enabled = true;\nSET ballista.any = 1;\nSELECT 1 AS one;\n";
    fs::write(&file, format!("{DIVIDED}{DIVIDED}{others}")).expect("a script");
    let finished = Daglight::run(&checkout, &file).finish();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    for (prefix, scheme) in [("distributed", "df"), ("ballista", "ballista")] {
        let note = format!("begin with {prefix}. have no effect without --cluster {scheme}://");
        assert_eq!(finished.stderr.matches(&note).count(), 1, "{}", finished.stderr);
    }
    let workers = Workers::start(&checkout, |worker| worker);
    fs::write(&file, "SET distributed.file_scan_config_bytes_for_partition = 1;\nSELECT 1 AS one;\n")
        .expect("a script");
    let finished = workers.run(&checkout, &file).finish();
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(finished.stderr.contains("file_scan_config_bytes_for_partition"), "{}", finished.stderr);
}

#[test]
fn a_worker_of_another_version_gets_no_plan() {
    let checkout = Checkout::new();
    let file = checkout.path().join("one.sql");
    fs::write(&file, "SELECT 1 AS one").expect("a script");
    let program = Path::new(env!("CARGO_BIN_EXE_cluster-worker"));
    let old = "daglight 0.0.9 with DataFusion 54.1.0";
    let other = Daglight::program(program, &checkout, [old]).start();
    other.wait_until("its address", || other.output().ends_with('\n'));
    let address = other.output().trim().to_owned();
    let workers = Workers::start(&checkout, |worker| worker);
    let cluster = format!("{},{address}", workers.cluster());
    let finished = Daglight::run(&checkout, &file).args(["--cluster", &cluster]).finish().ended_with(2);
    let said = finished.stderr.lines().filter(|line| line.contains("error")).collect::<Vec<_>>();
    let expected = format!("error: the worker {address} of the cluster is {old}, and this is daglight ");
    assert!(matches!(said[..], [line] if line.starts_with(&expected)), "{}", finished.stderr);
    assert!(!checkout.path().join("out/run_bundle").exists(), "something has run");
    workers.end();
    // One of the engine alone says no version, and is trusted to be the one that its operator has chosen.
    let plain = Daglight::program(program, &checkout, [""]).start();
    plain.wait_until("its address", || plain.output().ends_with('\n'));
    let cluster = format!("df://{}", plain.output().trim());
    Daglight::run(&checkout, &file).args(["--cluster", &cluster]).finish().report(0);
}

/// Minutes of work for the workers, in batches so small that they give way often: the engine ends work nowhere else.
const LONG: &str = "SET distributed.shuffle_batch_size = 16;\n-- node: pairs\n\
                    SELECT count(*) FROM lineitem a JOIN lineitem b ON a.l_linenumber = b.l_linenumber \
                    WHERE a.l_extendedprice * 3 < b.l_extendedprice + a.l_tax;\n";

/// Starts a run of what takes minutes, and waits until a worker computes: that one.
fn long_run(workers: &Workers, checkout: &Checkout) -> (Running, usize) {
    long_run_with(workers, checkout, |run| run)
}

fn long_run_with(
    workers: &Workers,
    checkout: &Checkout,
    with: impl FnOnce(Daglight) -> Daglight,
) -> (Running, usize) {
    let file = checkout.path().join("long.sql");
    fs::write(&file, format!("{DIVIDED}{}{LONG}", tables())).expect("a script");
    let idle: Vec<u64> = workers.running.iter().map(|(worker, _)| worker.cpu_ticks()).collect();
    let run = with(workers.run(checkout, &file)).start();
    let mut busy = None;
    run.wait_until("the workers", || {
        let mut workers = workers.running.iter().enumerate();
        busy = workers.position(|(at, (worker, _))| worker.cpu_ticks() > idle[at] + 100);
        busy.is_some()
    });
    (run, busy.expect("a worker"))
}

#[test]
fn tables_and_folders_are_written_by_the_workers() {
    let script = format!(
        "{}CREATE TABLE late AS SELECT l_orderkey, l_quantity, l_shipmode FROM lineitem WHERE l_receiptdate > l_commitdate;\n\
         CREATE VIEW by_air AS SELECT * FROM late WHERE l_shipmode = 'AIR';\n\
         CREATE TABLE counted AS SELECT count(*) AS n FROM late;\nINSERT INTO counted SELECT 7;\n\
         -- expect: not_null(l_orderkey)\nCOPY by_air TO 'parts/' STORED AS PARQUET;\nCOPY (SELECT * FROM late ORDER BY l_orderkey) TO 'one.parquet';\n\
         SELECT l_shipmode, count(*) AS n, sum(l_quantity) AS q FROM late GROUP BY l_shipmode ORDER BY 1;\n\
         SELECT * FROM counted ORDER BY 1;\nSELECT count(*) AS n FROM 'parts/';\nSELECT count(*) AS n FROM 'one.parquet';\n",
        tables()
    );
    let run = |checkout: &Checkout, cluster: &[&str]| {
        // The engine's own settings are those of a session with a cluster.
        let script = if cluster.is_empty() { script.clone() } else { format!("{DIVIDED}{script}") };
        fs::write(checkout.path().join("late.sql"), script).expect("a script");
        let run = Daglight::new(checkout, ["run", "late.sql", "--format", "ndjson", "--output-dir", "out"]);
        let scratch = checkout.path().join("scratch");
        run.args(cluster).env("DAGLIGHT_CLUSTER_SCRATCH", scratch).finish().ended_with(0)
    };
    let alone = run(&Checkout::new(), &[]);
    let checkout = Checkout::new();
    let workers = Workers::start(&checkout, |worker| worker);
    let distributed = run(&checkout, &["--cluster", &workers.cluster()]);
    assert_eq!(rows(&distributed), rows(&alone));
    let left = fs::read_dir(checkout.path().join("scratch")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "the tables of the run are still there");

    let bundle = bundle(&checkout);
    for node in ["late", "parts_parquet"] {
        let plan = plan_of(&bundle, node, "copy");
        let physical = plan["physical_plan"].as_str().expect("a plan");
        let (here, there) = physical.split_once("NetworkCoalesceExec").expect("a distributed plan");
        assert!(!here.contains("DataSinkExec") && there.contains("DataSinkExec"), "{physical}");
    }
    assert!(fs::read_dir(checkout.path().join("parts")).expect("files").count() > 1);
    let why = plan(&bundle, "counted_insert")["metrics"]["cluster"]["on_client"].clone();
    assert_eq!(why, "it reads no files");
    let report = fs::read(bundle.join("run_diagnostics_report.json")).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    let node = |name: &str| {
        report["nodes"]
            .as_array()
            .expect("nodes")
            .iter()
            .find(|node| node["name"] == name)
            .expect("the node")
            .clone()
    };
    let late = rows(&distributed)[..7].iter().map(|row| row["n"].as_u64().expect("a count")).sum::<u64>();
    assert_eq!(node("late")["rows_out"], late, "{:#}", node("late"));
    let checks = &node("parts_parquet")["checks"];
    assert_eq!((&checks[0]["outcome"], &checks[0]["rows"]), (&"passed".into(), &5_346.into()), "{checks:#}");
    check_summaries(&bundle, &["late", "parts_parquet"], ("output_1", 7));
    workers.end();
}

/// The files say what is in these outputs, because the rows have not been here, and what a query returns is summarised as it passes: each place
/// says which it is.
pub(crate) fn check_summaries(bundle: &Path, written: &[&str], returned: (&str, u64)) {
    let summaries = lines_so_far(&bundle.join("data_summaries.jsonl"));
    let report = fs::read(bundle.join("run_diagnostics_report.json")).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    let pages = ["md", "html"].map(|ending| {
        fs::read_to_string(bundle.join(format!("run_diagnostics_report.{ending}"))).expect("a report")
    });
    let outbox = lines_so_far(&bundle.join("tracker/outbox.jsonl"));
    let of = |list: &[Value], node: &str| {
        let found = list.iter().find(|summary| summary["node"] == node);
        found.unwrap_or_else(|| panic!("no summary of {node} in {list:#?}")).clone()
    };
    let reported = report["data"].as_array().expect("data");
    for node in written {
        let summary = of(&summaries, node);
        assert_eq!(summary["columns"]["l_orderkey"]["missing"], 0, "{summary:#}");
        assert_eq!(
            (&summary["source"], &of(reported, node)["source"]),
            (&FILES.into(), &FILES.into()),
            "{summary:#}"
        );
        let mut events = outbox.iter().map(|line| &line["record"]);
        let finished = events.find(|event| event["node"] == *node && !event["attributes"].is_null());
        let attributes = finished.expect("its end")["attributes"].as_array().cloned().unwrap_or_default();
        let source = attributes.iter().find(|attribute| attribute["name"] == "source").expect("a source");
        assert_eq!(source["value"]["data_summary"], "from the metadata of the files", "{source:#}");
        for page in &pages {
            let title = page.lines().find(|line| line.contains(", from the metadata of the files"));
            assert!(title.is_some_and(|title| title.contains("columns")), "{page}");
        }
    }
    let (node, rows) = returned;
    let (summary, reported) = (of(&summaries, node), of(reported, node));
    assert_eq!(
        (&summary["source"], &reported["source"], &reported["rows"]),
        (&ROWS.into(), &ROWS.into(), &rows.into())
    );
}

const FILES: &str = "file_metadata";
const ROWS: &str = "rows";

#[test]
fn a_worker_that_is_lost_fails_the_node_and_is_named() {
    let checkout = Checkout::new();
    let mut workers = Workers::start(&checkout, |worker| worker);
    let (run, busy) = long_run(&workers, &checkout);
    let (lost, address) = workers.running.remove(busy);
    lost.signal("KILL");
    let finished = run.finish_within(Duration::from_secs(60));
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(finished.stderr.contains(&format!("lost worker {address}")), "{}", finished.stderr);
    let pairs = plan(&bundle(&checkout), "pairs");
    let tasks = pairs["metrics"]["cluster"].to_string();
    assert!(tasks.contains("\"lost\""), "{pairs:#}");
    // It is the task that the query waited for, which the cause names too, where it names one.
    let of_worker = format!("worker {address}, task ");
    let named = finished.stderr.lines().filter_map(|line| line.split_once(&of_worker)).map(|(_, task)| task);
    let named: BTreeSet<&str> = named.collect();
    assert_eq!(named.len(), 1, "{}", finished.stderr);
    // The other one is free for the next run.
    workers.wait_until_idle();
    let file = checkout.path().join("one.sql");
    fs::write(&file, format!("{DIVIDED}{}SELECT count(*) FROM lineitem", tables())).expect("a script");
    workers.run(&checkout, &file).finish().report(0);
    workers.end();
}

#[test]
fn the_work_ends_with_the_client() {
    for (signal, code) in [("INT", Some(130)), ("KILL", None)] {
        let checkout = Checkout::new();
        let workers = Workers::start(&checkout, |worker| worker);
        let (run, _) = long_run(&workers, &checkout);
        run.signal(signal);
        assert_eq!(run.finish_within(Duration::from_secs(60)).code, code);
        workers.wait_until_idle();
        Daglight::new(&checkout, ["sync", "out"]).finish().ended_with(0);
        let report = Daglight::new(&checkout, ["report", "out", "--json"]).finish().ended_with(0).stdout;
        let report: Value = serde_json::from_str(&report).expect("JSON");
        let nodes = report["nodes"].as_array().expect("nodes");
        let pairs = nodes.iter().find(|node| node["name"] == "pairs").expect("the node");
        assert_ne!(pairs["status"], "success", "{pairs:#}");
        assert!(
            nodes.iter().any(|node| node["name"] == "lineitem" && node["status"] == "success"),
            "{nodes:#?}"
        );
        workers.end();
    }
}

/// The only bundle of a run that goes on.
fn bundle_so_far(checkout: &Checkout) -> PathBuf {
    let bundles = fs::read_dir(checkout.path().join("out/run_bundle")).expect("bundles").flatten();
    let mut bundles = bundles.map(|bundle| bundle.path()).filter(|path| path.is_dir());
    bundles.next().expect("a bundle")
}

/// The JSON values of a file of lines, but for a last one that is not complete.
fn lines_so_far(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn rows_are_seen_while_workers_read_them() {
    let checkout = Checkout::new();
    let workers = Workers::start(&checkout, |worker| worker);
    let beats = |run: Daglight| run.env("DAGLIGHT_HEARTBEAT_SECONDS", "0.5");
    let (run, _) = long_run_with(&workers, &checkout, beats);
    let logs = bundle_so_far(&checkout).join("otel_logs.json");
    // Nobody but the workers reads, and none of them has ended its task.
    run.wait_until("rows", || {
        let lines = lines_so_far(&logs);
        let records = lines.iter().filter_map(|line| {
            line.pointer("/resourceLogs/0/scopeLogs/0/logRecords").and_then(Value::as_array)
        });
        let mut said = records.flatten().map(attributes);
        said.any(|said| said.get("rows_read").and_then(Value::as_u64).is_some_and(|rows| rows > 1_000))
    });
    run.signal("INT");
    assert_eq!(run.finish().code, Some(130));
    workers.end();
}

#[test]
fn a_worker_that_stands_still_is_named_in_the_stall() {
    let checkout = Checkout::new();
    let workers = Workers::start(&checkout, |worker| worker);
    let watched =
        |run: Daglight| run.env("DAGLIGHT_HEARTBEAT_SECONDS", "0.5").env("DAGLIGHT_STALL_SECONDS", "5");
    let (run, busy) = long_run_with(&workers, &checkout, watched);
    let (stopped, address) = &workers.running[busy];
    stopped.signal("STOP");
    let evidence = bundle_so_far(&checkout).join("heartbeat.json");
    let mut stall = Value::Null;
    run.wait_until("a stall", || {
        let text = fs::read(&evidence).unwrap_or_default();
        let evidence = serde_json::from_slice::<Value>(&text).unwrap_or_default();
        stall = evidence["stalls"]["episodes"][0].clone();
        !stall.is_null()
    });
    stopped.signal("CONT");
    run.signal("INT");
    assert_eq!(run.finish().code, Some(130));
    assert_eq!((&stall["class"], &stall["node"]), (&"worker".into(), &"pairs".into()), "{stall:#}");
    let waits_for = stall["waits_for"].as_str().unwrap_or_default();
    assert!(waits_for.starts_with(&format!("worker {address}, task ")), "{waits_for}");
    let report = fs::read_to_string(bundle(&checkout).join("run_diagnostics_report.md")).expect("a report");
    assert!(
        report.contains(&format!("waits for a worker of the cluster (worker {address}, task")),
        "{report}"
    );
    workers.end();
}

#[test]
fn a_worker_that_comes_back_between_two_nodes_is_used_again() {
    let checkout = Checkout::new();
    let mut workers = Workers::start(&checkout, |worker| worker);
    let pipe = checkout.path().join("gate.csv");
    let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    let script = format!(
        "{DIVIDED}{}-- node: first\nSELECT sum(l_quantity) AS n FROM lineitem;\n\
         CREATE UNBOUNDED EXTERNAL TABLE gate (id BIGINT) STORED AS CSV LOCATION 'gate.csv' OPTIONS ('format.has_header' 'false');\n\
         -- node: opened\nSELECT id FROM gate LIMIT 1;\n\
         -- node: second\nSELECT sum(l_quantity) AS n FROM lineitem;\n",
        tables()
    );
    let file = checkout.path().join("gate.sql");
    fs::write(&file, script).expect("a script");
    let run = workers.run(&checkout, &file).env("DAGLIGHT_HEARTBEAT_SECONDS", "0.2").start();
    run.wait_until("the end of the first node", || {
        let bundles = fs::read_dir(checkout.path().join("out/run_bundle")).into_iter().flatten().flatten();
        let mut evidence = bundles.map(|bundle| fs::read_to_string(bundle.path().join("heartbeat.json")));
        evidence.any(|text| text.is_ok_and(|text| text.contains("\"name\": \"opened\"")))
    });
    let (gone, address) = workers.running.remove(0);
    gone.signal("KILL");
    gone.finish();
    workers.running.push(worker(&checkout, &address, |worker| worker));
    fs::write(&pipe, "7\n").expect("a row");
    run.finish().report(0);
    let second = plan(&bundle(&checkout), "second");
    let tasks = second["metrics"]["cluster"]["stages"].to_string();
    for (_, worker) in &workers.running {
        assert!(tasks.contains(worker), "{worker}: {tasks}");
    }
    assert!(!tasks.contains("lost"), "{tasks}");
    workers.end();
}

/// Rows in a fixed order, with what sums of other orders change rounded away.
pub(crate) fn comparable(finished: &Finished) -> Vec<String> {
    let rounded = |value: &Value| match value.as_f64() {
        Some(number) if !value.is_i64() => format!("{number:.3e}"),
        _ => value.to_string(),
    };
    let row =
        |row: &Value| row.as_object().expect("a row").values().map(rounded).collect::<Vec<_>>().join("|");
    let mut rows: Vec<String> = rows(finished).iter().map(row).collect();
    rows.sort();
    rows
}

#[test]
fn the_queries_of_tpch_return_the_same_rows_on_workers() {
    let names = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];
    let mut script: String = names.into_iter().map(table).collect();
    for number in 1..=22 {
        let query = tpch_query(number).expect("a query");
        script += &format!("{};\n", query.trim().trim_end_matches(';'));
    }
    let checkout = Checkout::new();
    let file = checkout.path().join("tpch.sql");
    let run =
        |out: &str| Daglight::new(&checkout, ["run", "tpch.sql", "--format", "ndjson", "--output-dir", out]);
    fs::write(&file, &script).expect("a script");
    let alone = run("alone").finish().ended_with(0);
    fs::write(&file, format!("{DIVIDED}{script}")).expect("a script");
    let workers = Workers::start(&checkout, |worker| worker);
    let distributed =
        run("out").args(["--jobs", "4", "--cluster", &workers.cluster()]).finish().ended_with(0);
    let expected = comparable(&alone);
    assert!(expected.len() > 100, "{expected:#?}");
    assert_eq!(comparable(&distributed), expected);
    workers.end();
}
