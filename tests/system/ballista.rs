//! Runs whose queries are jobs of a scheduler of Ballista, with executors that are separate processes.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use daglight_system_tests::{
    Ballista, Checkout, Daglight, OtlpReceiver, Running, attributes, decode_strictly, tpch_query,
};
use serde_json::Value;

use crate::{
    clusters::{
        check_storage, check_summaries, comparable, named, plan, plan_of, rows, shipped, table, tables,
    },
    programs::bundle,
};

pub(crate) fn script(checkout: &Checkout, text: &str) -> std::path::PathBuf {
    let file = checkout.path().join("script.sql");
    fs::write(&file, text).expect("a script");
    file
}

/// A run that prints its rows.
fn printing(checkout: &Checkout, out: &str, cluster: Option<&Ballista>) -> Daglight {
    let run = Daglight::new(checkout, ["run", "script.sql", "--format", "ndjson", "--output-dir", out]);
    match cluster {
        Some(ballista) => run.args(["--cluster", &ballista.cluster()]),
        None => run,
    }
}

#[test]
fn a_query_is_a_job_and_its_rows_are_the_same() {
    let checkout = Checkout::new();
    script(&checkout, &shipped());
    let alone = printing(&checkout, "alone", None).finish().ended_with(0);
    let ballista = Ballista::start(&checkout);
    let run = printing(&checkout, "out", Some(&ballista)).finish().ended_with(0);
    assert_eq!(rows(&run), rows(&alone));
    assert_eq!(rows(&run).len(), 6);

    let bundle = bundle(&checkout);
    let shipped = plan(&bundle, "shipped");
    let cluster = &shipped["metrics"]["cluster"];
    assert_eq!(
        (&cluster["engine"], &cluster["on_client"]),
        (&"ballista".into(), &Value::Null),
        "{cluster:#}"
    );
    let executors = ballista.executors.iter().map(|(_, address)| Value::from(address.as_str()));
    let mut executors: Vec<Value> = executors.collect();
    executors.sort_by_key(ToString::to_string);
    assert_eq!(cluster["workers"].as_array(), Some(&executors), "{cluster:#}");
    let stages = cluster["stages"].as_array().expect("stages");
    assert!(stages.len() > 1, "{cluster:#}");
    let tasks: Vec<&Value> =
        stages.iter().flat_map(|stage| stage["tasks"].as_array().expect("tasks")).collect();
    for task in &tasks {
        assert_eq!(task["outcome"], "completed", "{task:#}");
        assert!(
            task["compute_ms"].as_f64().is_some() && task["ended_ms"].as_f64() >= task["started_ms"].as_f64()
        );
    }
    // The executor that keeps the rows is known.
    assert!(executors.contains(&tasks.last().expect("a task")["worker"]), "{cluster:#}");
    let physical = shipped["physical_plan"].as_str().expect("a plan");
    assert!(physical.starts_with("BallistaExec\n") && physical.contains("ShuffleReaderExec"), "{physical}");
    let operators = shipped["metrics"]["operators"].as_array().expect("operators");
    let scan = operators.iter().find(|operator| operator["table"] == "lineitem").expect("its scan");
    assert_eq!((&scan["output_rows"], &scan["is_scan"]), (&60_175.into(), &true.into()), "{scan:#}");
    assert_eq!(shipped["metrics"]["rows_read"], 75_175);
    let source =
        shipped["sources"].as_array().expect("sources").iter().find(|source| source["table"] == "lineitem");
    assert_eq!(source.expect("a source")["rows"], 60_175);
    let why = plan(&bundle, "none")["metrics"]["cluster"]["on_client"].clone();
    assert_eq!(why, "it reads no files");

    // Executors make no spans: those of the stages and tasks are made here.
    let traces = fs::read_to_string(bundle.join("otel_traces.json")).expect("traces");
    let named = |name: &str| traces.matches(&format!("\"name\":\"{name}\"")).count();
    assert_eq!(
        (named("datafusion.stage"), named("datafusion.task")),
        (stages.len(), tasks.len()),
        "{traces}"
    );

    // The scheduler knows whose job it is.
    let run_id = bundle.file_name().and_then(|name| name.to_str()).expect("an id");
    let name = format!("daglight {run_id} shipped query {}", shipped["query_ids"][0]);
    assert_eq!(ballista.get("jobs")[0]["job_name"], name);
}

/// The stage and the number of a task, with the node whose query it is of.
fn task_of(span: &Value) -> (String, u64, u64) {
    let said = attributes(span);
    let number = |name: &str| said[name].as_u64().unwrap_or_else(|| panic!("no {name} in {said:#?}"));
    let node = said["daglight.node"].as_str().expect("a node").to_owned();
    (node, number("daglight.cluster_stage"), number("daglight.cluster_task"))
}

/// The tasks that the plans of a bundle list, as [`task_of`] has them.
fn listed_tasks(bundle: &Path, nodes: &[&str]) -> Vec<(String, u64, u64)> {
    let mut listed = Vec::new();
    for node in nodes {
        let cluster = plan(bundle, node)["metrics"]["cluster"].clone();
        for stage in cluster["stages"].as_array().expect("stages") {
            let number = |value: &Value| value.as_u64().expect("a number");
            let tasks = stage["tasks"].as_array().expect("tasks").iter();
            listed.extend(
                tasks.map(|task| ((*node).to_owned(), number(&stage["stage"]), number(&task["task"]))),
            );
        }
    }
    listed.sort();
    listed
}

#[test]
fn an_executor_of_ours_makes_the_spans_of_its_tasks_in_the_trace_of_the_client() {
    let checkout = Checkout::new();
    script(
        &checkout,
        &format!(
            "{}-- node: counted\nSELECT count(*) AS n FROM lineitem;\n\
         -- node: kept\nCOPY (SELECT l_orderkey FROM lineitem) TO 'kept/' STORED AS PARQUET;\n",
            shipped()
        ),
    );
    let alone = printing(&checkout, "alone", None).finish().ended_with(0);
    let receiver = OtlpReceiver::start();
    let mut ballista = Ballista::with_executors(&checkout, &[Some(&receiver)]);
    let run = printing(&checkout, "out", Some(&ballista)).args(["--jobs", "2"]).finish().ended_with(0);
    assert_eq!(comparable(&run), comparable(&alone));
    // What people see is the name of the job, and not what travels with it.
    let jobs = ballista.get("jobs");
    let names = jobs.as_array().expect("jobs").iter().map(|job| job["job_name"].as_str().unwrap_or_default());
    assert!(
        names.clone().count() == 3 && names.clone().all(|name| name.starts_with("daglight ")),
        "{jobs:#}"
    );
    ballista.end_executors();

    let bundle = bundle(&checkout);
    let spans = receiver.spans();
    let tasks = named(&spans, "datafusion.task");
    let mut of_executor: Vec<_> = tasks.iter().map(|span| task_of(span)).collect();
    of_executor.sort();
    assert_eq!(of_executor, listed_tasks(&bundle, &["shipped", "counted", "kept"]), "{tasks:#?}");
    let here = decode_strictly(&bundle.join("otel_traces.json"), "traces");
    let ids = |span: &Value| [span["traceId"].clone(), span["spanId"].clone()];
    for task in &tasks {
        let (node, ..) = task_of(task);
        let query = here
            .iter()
            .find(|span| ids(span) == [task["traceId"].clone(), task["parentSpanId"].clone()])
            .unwrap_or_else(|| panic!("not below a query: {task:#}"));
        let (said, expected) = (attributes(task), attributes(query));
        assert_eq!(
            (&said["daglight.node"], &expected["daglight.node"]),
            (&node.clone().into(), &node.into())
        );
        assert_eq!(said["daglight.query_id"], expected["daglight.query_id"]);
        let operators: Vec<_> =
            spans.iter().filter(|span| span["parentSpanId"] == task["spanId"]).map(attributes).collect();
        let names: Vec<_> = operators.iter().filter_map(|said| said["daglight.operator"].as_str()).collect();
        assert!(names.len() > 1 && names[0].contains("ShuffleWriterExec"), "{names:?}");
    }
    let scanned = named(&spans, "datafusion.operator").into_iter().map(attributes);
    let scanned = scanned.filter(|said| said["daglight.operator"] == "DataSourceExec");
    let rows: u64 = scanned.filter_map(|said| said["daglight.row_count"].as_u64()).sum();
    assert!(rows >= 75_175, "{rows}");
    assert_eq!(named(&here, "datafusion.task"), Vec::<&Value>::new());
    let stages = named(&here, "datafusion.stage");
    assert!(stages.len() > 2);
    let counted = stages.iter().filter_map(|stage| attributes(stage)["daglight.cluster_tasks"].as_u64());
    assert_eq!(counted.sum::<u64>(), tasks.len() as u64);
    // A backend can tell the sums of the client from what the executors have measured: both are of the same trace.
    let of = |spans: &[Value], with_tasks: bool| {
        let operators = named(spans, "datafusion.operator").into_iter().map(attributes);
        let on_cluster = operators.filter(|said| said["daglight.node"] != "none");
        on_cluster.filter(|said| said.contains_key("daglight.cluster_tasks") == with_tasks).count()
    };
    assert!(of(&here, true) > 4, "no sums");
    assert_eq!((of(&spans, true), of(&here, false)), (0, 3), "one is the root of each query");
    check_storage(&spans, &["shipped", "counted", "kept"].map(|node| plan(&bundle, node)));
    let kept = fs::read_dir(checkout.path().join("kept")).expect("a folder").flatten();
    let written: u64 = kept.map(|file| file.metadata().expect("a file").len()).sum();
    let of_kept = tasks.iter().map(|task| attributes(task)).filter(|said| said["daglight.node"] == "kept");
    let bytes: u64 = of_kept.filter_map(|said| said.get("daglight.storage.bytes")?.as_u64()).sum();
    assert!(written > 0 && bytes > written, "{bytes} bytes of storage, {written} written");
    let writer = &plan(&bundle, "counted")["metrics"]["operators"];
    assert!(!writer.to_string().contains("daglight_span"), "{writer:#}");
}

#[test]
fn each_task_has_one_span_where_one_executor_of_two_makes_them() {
    let checkout = Checkout::new();
    let names: Vec<String> = (0..6).map(|number| format!("q{number}")).collect();
    let query =
        "SELECT l_shipmode, count(*) AS n FROM lineitem JOIN orders ON l_orderkey = o_orderkey GROUP BY 1";
    let queries = names.iter().map(|name| format!("-- node: {name}\n{query};\n"));
    let file = script(&checkout, &format!("{}{}", tables(), queries.collect::<String>()));
    let receiver = OtlpReceiver::start();
    let mut ballista = Ballista::with_executors(&checkout, &[Some(&receiver), None]);
    let run = Daglight::run(&checkout, &file).args(["--cluster", &ballista.cluster(), "--jobs", "3"]);
    run.finish().report(0);
    ballista.end_executors();
    let bundle = bundle(&checkout);
    let here = decode_strictly(&bundle.join("otel_traces.json"), "traces");
    let there = receiver.spans();
    let (here, there) = (named(&here, "datafusion.task"), named(&there, "datafusion.task"));
    assert!(!here.is_empty() && !there.is_empty(), "{} here, {} there", here.len(), there.len());
    let mut all: Vec<_> = here.into_iter().chain(there).map(task_of).collect();
    all.sort();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(all, listed_tasks(&bundle, &names));
}

#[test]
fn a_task_that_fails_on_an_executor_of_ours_is_a_failed_span_of_it() {
    let checkout = Checkout::new();
    let failing = "-- node: failing\nSELECT CAST(o_orderpriority AS INT) AS n FROM orders;\n";
    let file = script(&checkout, &format!("{}{failing}", tables()));
    let receiver = OtlpReceiver::start();
    let mut ballista = Ballista::with_executors(&checkout, &[Some(&receiver)]);
    let run = Daglight::run(&checkout, &file).args(["--cluster", &ballista.cluster()]).finish();
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    ballista.end_executors();
    let spans = receiver.spans();
    let tasks = named(&spans, "datafusion.task");
    let failed: Vec<_> = tasks.iter().filter(|task| task["status"]["code"] == 2).collect();
    assert!(!failed.is_empty(), "{tasks:#?}");
    let here = decode_strictly(&bundle(&checkout).join("otel_traces.json"), "traces");
    assert_eq!(named(&here, "datafusion.task"), Vec::<&Value>::new());
    assert!(
        failed.iter().all(|task| here.iter().any(|span| span["traceId"] == task["traceId"])),
        "{failed:#?}"
    );
}

#[test]
fn the_queries_of_tpch_return_the_same_rows_on_executors() {
    let names = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];
    let mut text: String = names.into_iter().map(table).collect();
    for number in 1..=22 {
        let query = tpch_query(number).expect("a query");
        text += &format!("{};\n", query.trim().trim_end_matches(';'));
    }
    let checkout = Checkout::new();
    script(&checkout, &text);
    let alone = printing(&checkout, "alone", None).finish().ended_with(0);
    let ballista = Ballista::start(&checkout);
    let run = printing(&checkout, "out", Some(&ballista)).args(["--jobs", "4"]).finish().ended_with(0);
    let expected = comparable(&alone);
    assert!(expected.len() > 100, "{expected:#?}");
    assert_eq!(comparable(&run), expected);
    let plans = fs::read_dir(bundle(&checkout).join("plans")).expect("plans").flatten();
    for plan in plans {
        let plan: Value = serde_json::from_slice(&fs::read(plan.path()).expect("a plan")).expect("JSON");
        assert_eq!(plan["metrics"]["cluster"]["on_client"], Value::Null, "{plan:#}");
    }
}

#[test]
fn nothing_runs_where_there_is_no_scheduler() {
    let checkout = Checkout::new();
    let file = script(&checkout, "SELECT 1 AS one");
    let refused = |cluster: &str, expected: &str| {
        let finished = Daglight::run(&checkout, &file).args(["--cluster", cluster]).finish();
        assert_eq!(finished.code, Some(2), "{}", finished.stderr);
        assert!(finished.stderr.contains(expected), "{}", finished.stderr);
        assert!(!checkout.path().join("out/run_bundle").exists(), "something has run");
    };
    let port = dev_services::free_port().expect("a port");
    refused(
        &format!("ballista://127.0.0.1:{port}"),
        &format!("the scheduler 127.0.0.1:{port} of the cluster does not answer as one: "),
    );
    // A server of something else, and a worker of another engine.
    let receiver = OtlpReceiver::start();
    let other = receiver.endpoint("http/protobuf").replace("http://", "ballista://");
    refused(&other, "does not answer as one: a web server answers there");
    refused(&other.replace("ballista://", "df://"), "does not answer as one: a web server answers there");
    let worker = Daglight::new(&checkout, ["worker", "--listen", "127.0.0.1:0"]).start();
    worker.wait_until("its address", || worker.output().ends_with('\n'));
    refused(
        &format!("ballista://{}", worker.output().trim()),
        &format!("a worker of daglight answers there, whose address is df://{}", worker.output().trim()),
    );
    // Nor is a scheduler a worker.
    let ballista = Ballista::start(&checkout);
    let expected = format!("a scheduler of Ballista answers there, whose address is {}", ballista.cluster());
    refused(&ballista.cluster().replace("ballista://", "df://"), &expected);
    Daglight::run(&checkout, &file).args(["--cluster", &ballista.cluster()]).finish().report(0);
}

#[test]
fn tables_and_files_are_written_by_executors() {
    let text = format!(
        "{}CREATE TABLE late AS SELECT l_orderkey, l_quantity, l_shipmode FROM lineitem WHERE l_receiptdate > l_commitdate;\n\
         CREATE VIEW by_air AS SELECT * FROM late WHERE l_shipmode = 'AIR';\n\
         CREATE TABLE counted AS SELECT count(*) AS n FROM late;\nINSERT INTO counted SELECT 7;\n\
         -- expect: not_null(l_orderkey)\nCOPY by_air TO 'parts/' STORED AS PARQUET;\nCOPY (SELECT * FROM late ORDER BY l_orderkey) TO 'one.parquet';\n\
         COPY (SELECT l_shipmode, l_quantity FROM late) TO 'late.csv' OPTIONS ('format.delimiter' ';');\n\
         SELECT l_shipmode, count(*) AS n, sum(l_quantity) AS q FROM late GROUP BY l_shipmode ORDER BY 1;\n\
         SELECT * FROM counted ORDER BY 1;\nSELECT count(*) AS n FROM 'parts/';\nSELECT count(*) AS n FROM 'one.parquet';\n",
        tables()
    );
    let run = |checkout: &Checkout, cluster: Option<&Ballista>| {
        script(checkout, &text);
        let scratch = checkout.path().join("scratch");
        printing(checkout, "out", cluster).env("DAGLIGHT_CLUSTER_SCRATCH", scratch).finish().ended_with(0)
    };
    let alone_in = Checkout::new();
    let alone = run(&alone_in, None);
    let checkout = Checkout::new();
    let ballista = Ballista::start(&checkout);
    let distributed = run(&checkout, Some(&ballista));
    assert_eq!(rows(&distributed), rows(&alone));
    let left = fs::read_dir(checkout.path().join("scratch")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "the tables of the run are still there");
    let lines = |checkout: &Checkout| {
        let text = fs::read_to_string(checkout.path().join("late.csv")).expect("a file");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert!(lines(&checkout) == lines(&alone_in), "the options of the file are lost");

    let bundle = bundle(&checkout);
    for node in ["late", "parts_parquet", "one_parquet"] {
        let plan = plan_of(&bundle, node, "copy");
        let physical = plan["physical_plan"].as_str().expect("a plan");
        assert!(physical.starts_with("BallistaExec\n") && physical.contains("DataSinkExec"), "{physical}");
    }
    let why = plan(&bundle, "counted_insert")["metrics"]["cluster"]["on_client"].clone();
    assert_eq!(why, "it writes to a table of the client");
    // What executors would write otherwise is written here.
    let csv = plan_of(&bundle, "late_csv", "copy");
    let physical = csv["physical_plan"].as_str().expect("a plan");
    assert!(physical.starts_with("DataSinkExec") && physical.contains("ShuffleWriterExec"), "{physical}");
    check_summaries(&bundle, &["late", "parts_parquet"], ("output_1", 7));
}

#[test]
fn a_table_of_a_folder_is_read_by_executors() {
    let checkout = Checkout::new();
    for day in [1, 2] {
        let folder = checkout.path().join(format!("days/day={day}"));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("a.csv"), format!("n\n{day}\n10\n")).expect("a file");
        fs::write(folder.join("notes.txt"), "not a row").expect("a file");
    }
    let text = |kept: &str| {
        format!(
            "{}COPY (SELECT l_orderkey, l_shipmode FROM lineitem) TO '{kept}/' STORED AS PARQUET;\n\
         CREATE EXTERNAL TABLE parts STORED AS PARQUET LOCATION '{kept}/';\n\
         CREATE EXTERNAL TABLE days STORED AS CSV PARTITIONED BY (day) LOCATION 'days/' OPTIONS ('format.has_header' 'true');\n\
         -- node: modes\nSELECT l_shipmode, count(*) AS n FROM parts GROUP BY 1 ORDER BY 1;\n\
         -- node: sums\nSELECT day, sum(n) AS n FROM days GROUP BY 1 ORDER BY 1;\n",
            table("lineitem")
        )
    };
    script(&checkout, &text("here"));
    let alone = printing(&checkout, "alone", None).finish().ended_with(0);
    let ballista = Ballista::start(&checkout);
    script(&checkout, &text("there"));
    let run = printing(&checkout, "out", Some(&ballista)).finish().ended_with(0);
    assert_eq!(rows(&run), rows(&alone));
    assert_eq!(rows(&run).len(), 9);
    for node in ["modes", "sums"] {
        let cluster = plan(&bundle(&checkout), node)["metrics"]["cluster"].clone();
        assert_eq!(cluster["on_client"], Value::Null, "{cluster:#}");
    }
}

/// A query that takes executors a while.
const LONG: &str = "-- node: pairs\nSELECT count(*) AS n FROM lineitem a JOIN lineitem b ON a.l_linenumber = b.l_linenumber \
                    WHERE a.l_extendedprice * 3 < b.l_extendedprice + a.l_tax;\n";

/// The same with fewer pairs, which takes seconds.
const SHORTER: &str = "-- node: pairs\nSELECT count(*) AS n FROM lineitem a JOIN lineitem b ON a.l_linenumber = b.l_linenumber \
                       WHERE a.l_orderkey < 6000 AND a.l_extendedprice * 3 < b.l_extendedprice + a.l_tax;\n";

/// Pairs that are compared one by one, and come out of the join in many batches.
const MANY_BATCHES: &str = "-- node: pairs\nSELECT count(*) AS n FROM lineitem a JOIN lineitem b \
                            ON a.l_extendedprice * 3 < b.l_extendedprice + a.l_tax;\n";

/// Starts a run of what takes minutes, and waits until an executor computes: that one.
pub(crate) fn long_run(
    ballista: &Ballista,
    checkout: &Checkout,
    with: impl FnOnce(Daglight) -> Daglight,
) -> (Running, usize) {
    run_of(LONG, ballista, checkout, with)
}

fn run_of(
    query: &str,
    ballista: &Ballista,
    checkout: &Checkout,
    with: impl FnOnce(Daglight) -> Daglight,
) -> (Running, usize) {
    let file = script(checkout, &format!("{}{query}", tables()));
    let idle: Vec<u64> = ballista.executors.iter().map(|(executor, _)| executor.cpu_ticks()).collect();
    let run = with(Daglight::run(checkout, &file).args(["--cluster", &ballista.cluster()])).start();
    let mut busy = None;
    run.wait_until("the executors", || {
        let mut executors = ballista.executors.iter().enumerate();
        busy = executors.position(|(at, (executor, _))| executor.cpu_ticks() > idle[at] + 100);
        busy.is_some()
    });
    (run, busy.expect("an executor"))
}

/// The run is recorded as one that did not succeed, and has left no job.
fn check_failed(checkout: &Checkout) {
    Daglight::new(checkout, ["sync", "out"]).finish().ended_with(0);
    check_reported_failure(checkout);
}

/// The same of a run whose scheduler has not said what became of its job.
fn check_failed_with_job(checkout: &Checkout) {
    let sync = Daglight::new(checkout, ["sync", "out"]).finish().ended_with(2);
    assert!(sync.stdout.contains("may still be running: with --cluster "), "{}", sync.stdout);
    check_reported_failure(checkout);
}

fn check_reported_failure(checkout: &Checkout) {
    let report = Daglight::new(checkout, ["report", "out", "--json"]).finish().ended_with(0).stdout;
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let nodes = report["nodes"].as_array().expect("nodes");
    let pairs = nodes.iter().find(|node| node["name"] == "pairs").expect("the node");
    assert_ne!(pairs["status"], "success", "{pairs:#}");
}

#[test]
fn ctrl_c_cancels_the_job() {
    let checkout = Checkout::new();
    let ballista = Ballista::start(&checkout);
    let (run, _) = long_run(&ballista, &checkout, |run| run);
    assert_eq!(ballista.jobs(), ["Running"]);
    run.signal("INT");
    assert_eq!(run.finish_within(Duration::from_secs(60)).code, Some(130));
    ballista.wait_until("the end of the job", |ballista| ballista.jobs() != ["Running"]);
    check_failed(&checkout);
}

#[test]
fn a_task_that_is_cancelled_on_an_executor_of_ours_is_a_cancelled_span_of_it() {
    let checkout = Checkout::new();
    let receiver = OtlpReceiver::start();
    let mut ballista = Ballista::with_executors(&checkout, &[Some(&receiver)]);
    let (run, _) = run_of(MANY_BATCHES, &ballista, &checkout, |run| run);
    run.signal("INT");
    assert_eq!(run.finish_within(Duration::from_secs(60)).code, Some(130));
    ballista.wait_until("the end of the job", |ballista| ballista.jobs() != ["Running"]);
    ballista.wait_until_idle();
    ballista.end_executors();

    let spans = receiver.spans();
    let tasks = named(&spans, "datafusion.task");
    let cancelled: Vec<_> =
        tasks.iter().filter(|task| attributes(task)["daglight.status"] == "cancelled").collect();
    assert!(!cancelled.is_empty(), "{tasks:#?}");
    let here = decode_strictly(&bundle(&checkout).join("otel_traces.json"), "traces");
    assert_eq!(named(&here, "datafusion.task"), Vec::<&Value>::new());
    let query = named(&here, "datafusion.execute");
    assert!(cancelled.iter().all(|task| query.iter().any(|query| query["spanId"] == task["parentSpanId"])));
}

#[test]
fn a_scheduler_that_is_lost_fails_the_node_and_one_that_is_started_anew_serves_the_next_run() {
    let checkout = Checkout::new();
    let mut ballista = Ballista::start(&checkout);
    // Executors come to the end of a task whose scheduler is gone.
    let (run, _) = run_of(SHORTER, &ballista, &checkout, |run| run);
    drop(ballista.scheduler.take());
    ballista.start_scheduler(&checkout);
    let finished = run.finish_within(Duration::from_secs(90));
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let address = ballista.cluster().replace("ballista://", "");
    assert!(
        finished.stderr.contains(&format!("lost the scheduler {address} with job ")),
        "{}",
        finished.stderr
    );
    check_failed(&checkout);
    ballista.wait_until("its executors", |ballista| {
        ballista.get("executors").as_array().is_some_and(|executors| executors.len() == 2)
    });
    let file = script(&checkout, &format!("{}SELECT count(*) FROM lineitem", tables()));
    Daglight::run(&checkout, &file).args(["--cluster", &ballista.cluster()]).finish().report(0);
}

#[test]
fn the_tasks_of_an_executor_that_is_lost_are_done_by_the_other_one() {
    let checkout = Checkout::new();
    let mut ballista = Ballista::start(&checkout);
    script(&checkout, &format!("{}{SHORTER}", tables()));
    let expected = rows(&printing(&checkout, "alone", None).finish().ended_with(0));
    let (run, busy) = run_of(SHORTER, &ballista, &checkout, |run| run);
    let (lost, _) = ballista.executors.remove(busy);
    lost.signal("KILL");
    lost.finish();
    run.finish().report(0);
    let pairs = plan(&bundle(&checkout), "pairs");
    assert_eq!(pairs["preview"]["rows"][0][0], expected[0]["n"].to_string(), "{pairs:#}");
    let stages = pairs["metrics"]["cluster"]["stages"].as_array().expect("stages");
    let tasks: Vec<&Value> =
        stages.iter().flat_map(|stage| stage["tasks"].as_array().expect("tasks")).collect();
    let outcomes: Vec<&str> = tasks.iter().filter_map(|task| task["outcome"].as_str()).collect();
    assert!(outcomes.contains(&"lost") && outcomes.contains(&"completed"), "{outcomes:?}");
    let (_, other) = &ballista.executors[0];
    assert_eq!(tasks.last().expect("a task")["worker"], other.as_str(), "{tasks:#?}");
}

#[test]
fn an_executor_that_is_killed_is_named_before_the_scheduler_misses_it() {
    let checkout = Checkout::new();
    let mut ballista = Ballista::missing_late(&checkout);
    let (run, busy) = long_run(&ballista, &checkout, |run| run.env("DAGLIGHT_HEARTBEAT_SECONDS", "1"));
    let (lost, address) = ballista.executors.remove(busy);
    // Nothing is said of executors that compute.
    std::thread::sleep(Duration::from_secs(3));
    assert!(!run.errors().contains("lost the executor"), "{}", run.errors());
    lost.signal("KILL");
    lost.finish();
    let killed = Instant::now();
    let scheduler = ballista.cluster().replace("ballista://", "");
    let named =
        format!("lost the executor {address} of the scheduler {scheduler}: it refuses connections, since ");
    run.wait_until("the name of the executor", || run.errors().contains(&named));
    assert!(killed.elapsed() < Duration::from_secs(20), "{:?}", killed.elapsed());
    let (_, other) = &ballista.executors[0];
    assert!(!run.errors().contains(&format!("executor {other}")), "{}", run.errors());
    run.signal("INT");
    let finished = run.finish_within(Duration::from_secs(120));
    assert_eq!(finished.code, Some(130));
    assert_eq!(finished.stderr.matches("lost the executor").count(), 1, "{}", finished.stderr);

    let lost = plan(&bundle(&checkout), "pairs")["metrics"]["cluster"]["lost_workers"].clone();
    let [lost] = &lost.as_array().expect("workers")[..] else { panic!("{lost:#}") };
    assert_eq!((&lost["worker"], &lost["known_by"]), (&(&*address).into(), &"it refuses connections".into()));
    assert!(lost["since_ms"].as_f64() > Some(0.0) && lost["tasks"].as_u64() > Some(0), "{lost:#}");
    let report = Daglight::new(&checkout, ["report", "out", "--json"]).finish().ended_with(0).stdout;
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let problems = report["problems"].as_array().expect("problems").iter();
    let named: Vec<_> = problems.filter(|problem| problem["code"] == "worker_lost").collect();
    assert!(named.len() == 1 && named[0]["node"] == "pairs", "{named:#?}");
}

/// Starts a run whose second query is given to a scheduler that has been stopped while the first one ran.
fn run_with_stopped_scheduler(ballista: &Ballista, checkout: &Checkout) -> Running {
    let first = "-- node: first\nSELECT sum(value) AS n FROM generate_series(1, 200000000);\n";
    let file = script(checkout, &format!("{}{first}{SHORTER}", tables()));
    let run = Daglight::run(checkout, &file).args(["--cluster", &ballista.cluster()]);
    let run = run.env("DAGLIGHT_HEARTBEAT_SECONDS", "0.5").env("DAGLIGHT_STALL_SECONDS", "4").start();
    run.wait_until("the first query", || has_plan(checkout, "first"));
    ballista.scheduler.as_ref().expect("it runs").signal("STOP");
    run.wait_until("the second query", || has_plan(checkout, "pairs"));
    run
}

fn has_plan(checkout: &Checkout, node: &str) -> bool {
    let below = |folder: std::path::PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
    let mut plans =
        below(checkout.path().join("out/run_bundle")).flat_map(|bundle| below(bundle.path().join("plans")));
    plans.any(|plan| plan.file_name().to_string_lossy().contains(node))
}

#[test]
fn a_scheduler_that_does_not_answer_when_it_is_given_a_query_is_named_and_fails_the_node() {
    let checkout = Checkout::new();
    let ballista = Ballista::start(&checkout);
    let run = run_with_stopped_scheduler(&ballista, &checkout);
    let finished = run.finish_within(Duration::from_secs(120));
    ballista.scheduler.as_ref().expect("it runs").signal("CONT");
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let address = ballista.cluster().replace("ballista://", "");
    for expected in [
        format!("scheduler {address}, which has not answered since "),
        format!("lost the scheduler {address}, which was given the query: it has not answered for 10 s"),
        format!("waiting up to 5 s for ballista://{address} to confirm that jobs are cancelled"),
        format!("a job of the scheduler {address} may still be running. "),
    ] {
        assert!(finished.stderr.contains(&expected), "{expected}: {}", finished.stderr);
    }
    check_failed_with_job(&checkout);
}

#[test]
fn ctrl_c_ends_the_wait_for_a_scheduler_that_does_not_answer() {
    let checkout = Checkout::new();
    let ballista = Ballista::start(&checkout);
    let run = run_with_stopped_scheduler(&ballista, &checkout);
    run.signal("INT");
    let finished = run.finish_within(Duration::from_secs(120));
    ballista.scheduler.as_ref().expect("it runs").signal("CONT");
    assert_eq!(finished.code, Some(130), "{}", finished.stderr);
    assert!(!finished.stderr.contains("has not answered for"), "{}", finished.stderr);
    check_failed_with_job(&checkout);
}

#[test]
fn the_job_of_a_client_that_is_killed_comes_to_its_end() {
    let checkout = Checkout::new();
    let ballista = Ballista::start(&checkout);
    let (run, _) = run_of(SHORTER, &ballista, &checkout, |run| run);
    run.signal("KILL");
    assert_eq!(run.finish().code, None);
    ballista.wait_until("the end of the job", |ballista| ballista.jobs() == ["Completed"]);
    ballista.wait_until_idle();
    check_failed_with_job(&checkout);
    let sync = Daglight::new(&checkout, ["sync", "out", "--cluster", &ballista.cluster()]);
    let said = sync.finish().ended_with(0).stdout;
    assert!(said.contains("job ") && said.contains(" had come to its end"), "{said}");
}

#[test]
fn a_job_that_no_executor_takes_is_named_in_the_stall() {
    let checkout = Checkout::new();
    let ballista = Ballista::without_executors(&checkout);
    let file = script(&checkout, &format!("{}{SHORTER}", tables()));
    let run = Daglight::run(&checkout, &file).args(["--cluster", &ballista.cluster()]);
    let run = run.env("DAGLIGHT_HEARTBEAT_SECONDS", "0.5").env("DAGLIGHT_STALL_SECONDS", "5").start();
    let mut stall = Value::Null;
    run.wait_until("a stall", || {
        let bundles = fs::read_dir(checkout.path().join("out/run_bundle")).into_iter().flatten().flatten();
        let evidence =
            bundles.filter_map(|bundle| fs::read(bundle.path().join("heartbeat.json")).ok()).next();
        let evidence = serde_json::from_slice::<Value>(&evidence.unwrap_or_default()).unwrap_or_default();
        stall = evidence["stalls"]["episodes"][0].clone();
        !stall.is_null()
    });
    run.signal("INT");
    assert_eq!(run.finish().code, Some(130));
    assert_eq!((&stall["class"], &stall["node"]), (&"worker".into(), &"pairs".into()), "{stall:#}");
    let waits_for = stall["waits_for"].as_str().unwrap_or_default();
    assert!(waits_for.contains("job ") && waits_for.ends_with(", which no executor takes"), "{waits_for}");
}
