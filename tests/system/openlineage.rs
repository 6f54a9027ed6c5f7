//! What a receiver of OpenLineage gets of a run, as its own Python client reads it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use daglight_system_tests::{Checkout, Daglight, Finished, LineageReceiver, check_balanced, read_events};
use serde_json::{Value, json};

use crate::pipelines::{FAILING, SHOP};

const NODES: [&str; 6] = ["customer", "orders", "segment_orders", "yearly_sales", "yearly_file", "best_year"];

fn bundle(checkout: &Checkout, report: &Value) -> PathBuf {
    checkout.path().join(report["bundle"].as_str().expect("a bundle"))
}

fn run(checkout: &Checkout, script: &str, receiver: &LineageReceiver) -> Daglight {
    let pipeline = checkout.pipeline("shop.sql", script);
    Daglight::run(checkout, &pipeline)
        .env("HAMILTON_TRACKER_ENABLED", "false")
        .env("OPENLINEAGE_URL", receiver.url())
        .env("OPENLINEAGE_NAMESPACE", "shop")
}

/// The counts of the run's events towards a destination.
fn account(report: &Value, destination: &str) -> Value {
    let accounts = report["ledger"]["signals"].as_array().expect("a list");
    let is_it = |account: &&Value| account["signal"] == "lineage" && account["destination"] == destination;
    accounts.iter().find(is_it).unwrap_or_else(|| panic!("{accounts:#?}")).clone()
}

/// The events of a job by what happens.
fn of_job<'e>(events: &'e [Value], name: &str) -> BTreeMap<&'e str, &'e Value> {
    let of_job = events.iter().filter(|event| event["job"]["name"] == name);
    of_job.map(|event| (event["eventType"].as_str().expect("a text"), event)).collect()
}

/// Events without their order: those of different nodes are sent at the same time.
fn sorted(events: &[Value]) -> Vec<String> {
    let mut texts: Vec<String> = events.iter().map(Value::to_string).collect();
    texts.sort_unstable();
    texts
}

fn names(datasets: &Value) -> Vec<(&str, &str)> {
    let datasets = datasets.as_array().expect("a list").iter();
    let text = |value: &'_ Value| value.as_str().expect("a text").to_owned().leak() as &str;
    datasets.map(|dataset| (text(&dataset["namespace"]), text(&dataset["name"]))).collect()
}

#[test]
fn a_receiver_gets_every_run_and_node_as_the_specification_has_them() {
    let checkout = Checkout::new();
    let receiver = LineageReceiver::start(201);
    let parent = "0198c1f0-1111-7222-8333-444455556666";
    let report = run(&checkout, SHOP, &receiver)
        .env("OPENLINEAGE_PARENT_ID", format!("airflow/sales.daily/{parent}"))
        .finish()
        .report(0);
    let events = read_events(&bundle(&checkout, &report).join("openlineage.jsonl"));
    assert_eq!(sorted(&receiver.events()), sorted(&events), "what was sent is what is recorded");
    let counts = account(&report, "openlineage");
    assert_eq!((&counts["delivered"], &counts["waiting"]), (&json!(events.len()), &json!(0)), "{counts}");
    report["ledger"]["signals"].as_array().expect("a list").iter().for_each(check_balanced);

    let dag = report["dag_name"].as_str().expect("a name");
    let whole = of_job(&events, dag);
    assert_eq!(whole.keys().collect::<Vec<_>>(), [&"COMPLETE", &"START"]);
    assert_eq!(whole["START"]["run"]["runId"], report["run_id"]);
    assert_eq!(whole["START"]["run"]["facets"]["parent"]["run"]["runId"], parent);
    for node in NODES {
        let of_node = of_job(&events, &format!("{dag}.{node}"));
        assert_eq!(of_node.keys().collect::<Vec<_>>(), [&"COMPLETE", &"START"], "{node}");
        let facets = &of_node["COMPLETE"]["run"]["facets"];
        assert_eq!(facets["parent"]["run"]["runId"], report["run_id"], "{node}");
        assert_eq!(facets["parent"]["root"]["run"]["runId"], parent, "{node}");
        assert!(of_node["COMPLETE"]["job"]["facets"]["sql"]["query"].is_string(), "{node}");
    }

    let end = |node: &str| of_job(&events, &format!("{dag}.{node}"))["COMPLETE"].clone();
    let orders = end("orders");
    let [("file", path)] = names(&orders["inputs"])[..] else { panic!("{orders:#}") };
    assert!(path.starts_with('/') && path.ends_with("/.demo/tpch/sf0.1/orders.parquet"), "{path}");
    assert_eq!(orders["inputs"][0]["inputFacets"]["inputStatistics"]["rowCount"], 15_000);
    assert_eq!(orders["job"]["facets"]["documentation"]["description"], "Their orders.");
    let metrics = &orders["inputs"][0]["inputFacets"]["dataQualityMetrics"];
    assert_eq!(
        (&metrics["rowCount"], &metrics["columnMetrics"]["o_custkey"]["nullCount"]),
        (&json!(15_000), &json!(0))
    );
    assert!(metrics["columnMetrics"]["o_custkey"]["max"].is_number(), "{metrics:#}");

    let sales = end("yearly_sales");
    let inputs = names(&sales["inputs"]);
    assert!(inputs.contains(&("file", path)), "{inputs:?}");
    assert!(inputs.contains(&("shop", &*format!("{dag}.segment_orders"))), "{inputs:?}");
    assert_eq!(names(&sales["outputs"]), [("shop", &*format!("{dag}.yearly_sales"))]);
    let output = &sales["outputs"][0];
    let fields = output["facets"]["schema"]["fields"].as_array().expect("a list");
    assert_eq!(fields.iter().map(|field| &field["name"]).collect::<Vec<_>>(), ["year", "orders", "sales"]);
    let of_sales = &output["facets"]["columnLineage"]["fields"]["sales"]["inputFields"];
    assert_eq!(
        of_sales,
        &json!([{
            "namespace": "file", "name": path, "field": "o_totalprice",
            "transformations": [{ "type": "DIRECT", "subtype": "AGGREGATION" }],
        }])
    );
    assert!(output["facets"]["columnLineage"]["dataset"].as_array().is_some_and(|rows| !rows.is_empty()));
    assert_eq!(output["outputFacets"]["outputStatistics"]["rowCount"], 7);
    let metrics = &output["facets"]["dataQualityMetrics"]["columnMetrics"]["sales"];
    assert_eq!(metrics["nullCount"], 0, "{output:#}");

    let file = end("yearly_file");
    let [("file", written)] = names(&file["outputs"])[..] else { panic!("{file:#}") };
    assert_eq!(
        written,
        checkout
            .path()
            .canonicalize()
            .expect("a folder")
            .join("out/yearly_sales.parquet")
            .to_str()
            .unwrap_or_default()
    );
    assert_eq!(file["outputs"][0]["facets"]["storage"]["fileFormat"], "parquet");
    assert_eq!(names(&file["inputs"]), [("shop", &*format!("{dag}.yearly_sales"))]);
}

#[test]
fn what_became_of_data_checks_is_at_what_they_have_looked_at() {
    let checkout = Checkout::new();
    let receiver = LineageReceiver::start(201);
    fs::write(checkout.path().join("orders.csv"), "id,amount\n1,5\n2,7\n2,-1\n").expect("a file");
    let script = "\
-- expect(warn): unique(id)
CREATE EXTERNAL TABLE orders STORED AS CSV LOCATION 'orders.csv' OPTIONS ('format.has_header' 'true');
-- expect: rows > 0
-- expect(warn): amount >= 0
CREATE TABLE paid AS SELECT id, amount FROM orders;
";
    let report = run(&checkout, script, &receiver).finish().report(0);
    let events = read_events(&bundle(&checkout, &report).join("openlineage.jsonl"));
    let dag = report["dag_name"].as_str().expect("a name");
    let found = |job: &str| {
        let end = of_job(&events, &format!("{dag}.{job}"))["COMPLETE"];
        let assertions = &end["inputs"][0]["inputFacets"]["dataQualityAssertions"]["assertions"];
        let assertions = assertions.as_array().unwrap_or_else(|| panic!("{end:#}")).iter();
        let shown = |assertion: &Value| {
            ["assertion", "column", "success", "severity", "actual"].map(|field| assertion[field].clone())
        };
        (end["inputs"][0]["name"].clone(), assertions.map(shown).collect::<Vec<_>>())
    };
    let (name, of_orders) = found("orders");
    assert!(name.as_str().is_some_and(|name| name.ends_with("/orders.csv")), "{name}");
    assert_eq!(of_orders, [[json!("unique"), json!("id"), json!(false), json!("warn"), json!("1")]]);
    let (name, of_paid) = found("paid.checks");
    assert_eq!(name, format!("{dag}.paid"));
    assert_eq!(
        of_paid,
        [
            [json!("row_count"), Value::Null, json!(true), json!("error"), json!("3")],
            [json!("custom_sql"), Value::Null, json!(false), json!("warn"), json!("1")],
        ]
    );
}

#[test]
fn what_a_recursive_query_has_made_so_far_is_no_dataset() {
    let checkout = Checkout::new();
    let receiver = LineageReceiver::start(201);
    let script = "\
CREATE TABLE a AS SELECT value AS id, value + 1 AS parent FROM generate_series(1, 5);
CREATE TABLE res AS WITH RECURSIVE tree (n, d) AS (
  SELECT id, 0 FROM a WHERE id = 1 UNION ALL SELECT a.parent, d + 1 FROM tree JOIN a ON tree.n = a.id WHERE d < 3
) SELECT n, d FROM tree;
";
    let report = run(&checkout, script, &receiver).finish().report(0);
    let bundle = bundle(&checkout, &report);
    let events = read_events(&bundle.join("openlineage.jsonl"));
    let dag = report["dag_name"].as_str().expect("a name");
    let end = of_job(&events, &format!("{dag}.res"))["COMPLETE"].clone();
    assert_eq!(names(&end["inputs"]), [("shop", &*format!("{dag}.a"))]);
    let plans = fs::read_dir(bundle.join("plans")).expect("plans").flatten();
    let plan = plans.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains("/res-"));
    let plan = fs::read_to_string(plan.expect("a plan")).expect("a file");
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    assert_eq!(plan["source_tables"], json!(["a"]));
}

#[test]
fn a_condition_is_at_the_column_that_it_chooses_the_value_of() {
    let checkout = Checkout::new();
    let receiver = LineageReceiver::start(201);
    let script = "\
CREATE TABLE orders AS SELECT value AS id, value * 3 AS amount FROM generate_series(1, 9) AS s(value);
CREATE TABLE classes AS SELECT id, CASE WHEN amount > 10 THEN 'big' ELSE 'small' END AS class FROM orders WHERE id > 1;
";
    let report = run(&checkout, script, &receiver).finish().report(0);
    let bundle = bundle(&checkout, &report);
    let events = read_events(&bundle.join("openlineage.jsonl"));
    let job = format!("{}.classes", report["dag_name"].as_str().expect("a name"));
    let lineage = &of_job(&events, &job)["COMPLETE"]["outputs"][0]["facets"]["columnLineage"];
    let shown = |fields: &Value| -> Vec<String> {
        let fields = fields.as_array().unwrap_or_else(|| panic!("{lineage:#}"));
        let field = |field: &Value| {
            let how = &field["transformations"][0];
            let texts = [&how["type"], &how["subtype"], &field["field"]];
            texts.map(|text| text.as_str().expect("a text")).join(" ")
        };
        fields.iter().map(field).collect()
    };
    assert_eq!(shown(&lineage["fields"]["class"]["inputFields"]), ["INDIRECT CONDITIONAL amount"]);
    assert_eq!(shown(&lineage["dataset"]), ["INDIRECT FILTER id"]);
    // Plan, report and page say the same.
    let made = fs::read_to_string(bundle.join("run_diagnostics_report.json")).expect("a report");
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let of_node = made["lineage"].as_array().expect("a list").iter().find(|of| of["node"] == "classes");
    let of_node = of_node.unwrap_or_else(|| panic!("{:#}", made["lineage"]));
    assert_eq!(of_node["columns"][1]["chosen_by"], json!(["orders.amount"]), "{of_node:#}");
    assert_eq!(of_node["rows_by"], json!(["orders.id: filter"]));
    let page = fs::read_to_string(bundle.join("run_diagnostics_report.md")).expect("a report");
    assert!(page.contains("chosen by"), "{page}");
}

#[test]
fn the_columns_of_a_view_come_from_its_query_whatever_is_checked_of_it() {
    let checkout = Checkout::new();
    let receiver = LineageReceiver::start(201);
    let script = "\
CREATE TABLE orders AS SELECT value AS id, value % 3 AS z FROM generate_series(1, 9) AS s(value);
CREATE VIEW plain AS SELECT id, 2 * id AS twice, z FROM orders;
-- expect: unique(id)
CREATE VIEW checked AS SELECT id, 2 * id AS twice, z FROM orders;
";
    let report = run(&checkout, script, &receiver).finish().report(0);
    let events = read_events(&bundle(&checkout, &report).join("openlineage.jsonl"));
    let dag = report["dag_name"].as_str().expect("a name");
    for view in ["plain", "checked"] {
        let jobs = [format!("{dag}.{view}"), format!("{dag}.{view}.checks")];
        let ends = jobs.iter().filter_map(|job| of_job(&events, job).remove("COMPLETE"));
        let end = ends.into_iter().next().unwrap_or_else(|| panic!("{events:#?}"));
        let facets = &end["outputs"][0]["facets"];
        let fields = facets["columnLineage"]["fields"].as_object().unwrap_or_else(|| panic!("{end:#}"));
        let origins = fields.iter().map(|(name, origin)| {
            let field = origin["inputFields"][0]["field"].as_str().expect("a column");
            (name.as_str(), field)
        });
        let mut origins: Vec<_> = origins.collect();
        origins.sort_unstable();
        assert_eq!(origins, [("id", "id"), ("twice", "id"), ("z", "z")], "{view}");
        let inputs: Vec<_> = names(&end["inputs"]).into_iter().map(|(_, name)| name.to_owned()).collect();
        assert_eq!(inputs, [format!("{dag}.orders")]);
        let schema = facets["schema"]["fields"].as_array().expect("a list");
        assert_eq!(schema.len(), 3, "{end:#}");
    }
}

#[test]
fn a_failure_and_a_run_without_a_receiver_are_recorded_and_delivered_later() {
    let checkout = Checkout::new();
    let receiver = LineageReceiver::start(503);
    let finished: Finished =
        run(&checkout, FAILING, &receiver).env("DAGLIGHT_OPENLINEAGE_FLUSH_SECONDS", "1").finish();
    let report = finished.report(1);
    let counts = account(&report, "openlineage");
    assert_eq!((&counts["waiting"], &counts["delivered"]), (&counts["produced"], &json!(0)), "{counts}");
    assert_eq!(finished.stderr.matches("daglight sync").count(), 1, "{}", finished.stderr);
    let file = bundle(&checkout, &report).join("openlineage.jsonl");
    let events = read_events(&file);
    let dag = report["dag_name"].as_str().expect("a name");
    let failed = of_job(&events, &format!("{dag}.numbers"))["FAIL"];
    let message = failed["run"]["facets"]["errorMessage"]["message"].as_str().expect("a text");
    assert!(message.contains("three"), "{message}");
    assert!(of_job(&events, dag).contains_key("FAIL"));

    let sync = || {
        Daglight::new(&checkout, ["sync", "out"])
            .env("HAMILTON_TRACKER_ENABLED", "false")
            .env("OPENLINEAGE_URL", receiver.url())
            .env("OPENLINEAGE_NAMESPACE", "shop")
    };
    let produced = events.len();
    let without_receiver = |command: &[&str]| {
        Daglight::new(&checkout, command.iter().copied()).env("HAMILTON_TRACKER_ENABLED", "false").finish()
    };
    let nowhere = without_receiver(&["sync", "out"]).ended_with(2);
    let waits = format!("{produced} lineage events wait for a receiver of OpenLineage");
    assert!(nowhere.stdout.contains(&waits), "{}", nowhere.stdout);
    assert!(nowhere.stderr.contains("set OPENLINEAGE_URL"), "{}", nowhere.stderr);
    for command in [&["status", "out"][..], &["prune", "out", "--keep", "0", "--dry-run"]] {
        let said = without_receiver(command).ended_with(0).stdout;
        assert!(said.contains(&format!("{produced} lineage event")), "{said}");
        assert!(said.contains("receiver of OpenLineage"), "{said}");
    }

    receiver.answer_with(200);
    let synced = sync().finish().ended_with(0);
    assert!(
        synced.stdout.contains(&format!("{} lineage events delivered", events.len())),
        "{}",
        synced.stdout
    );
    assert_eq!(sorted(&receiver.events()), sorted(&events));
    let again = sync().finish().ended_with(0);
    assert!(again.stdout.contains("lineage events: nothing to do"), "{}", again.stdout);
    // Nothing waits any more, so that no receiver is missed.
    without_receiver(&["sync", "out"]).ended_with(0);
    assert_eq!(receiver.events().len(), events.len());
    let manifest = fs::read_to_string(file.with_file_name("manifest.json")).expect("a manifest");
    assert!(!manifest.contains("lineage_undelivered"), "{manifest}");
}

#[test]
fn events_that_are_lost_or_of_another_run_are_dropped_and_named() {
    let checkout = Checkout::new();
    let receiver = LineageReceiver::start(503);
    let report =
        run(&checkout, FAILING, &receiver).env("DAGLIGHT_OPENLINEAGE_FLUSH_SECONDS", "1").finish().report(1);
    let file = bundle(&checkout, &report).join("openlineage.jsonl");
    let whole = fs::read_to_string(&file).expect("a file");
    let count = whole.lines().count();
    receiver.answer_with(200);
    let sync = || {
        let synced = Daglight::new(&checkout, ["sync", "out"])
            .env("HAMILTON_TRACKER_ENABLED", "false")
            .env("OPENLINEAGE_URL", receiver.url());
        let synced = synced.finish().ended_with(0).stdout;
        // The next damage is looked at from the beginning.
        let _ = fs::remove_file(file.with_file_name("openlineage.delivery.json"));
        synced
    };
    let missing = |events: usize| format!("{events} dropped: the event is missing in openlineage.jsonl");
    let torn = &whole[..whole.len() - 20];
    fs::write(&file, torn).expect("a file");
    let said = sync();
    assert!(said.contains(&format!("{} lineage events delivered", count - 1)), "{said}");
    assert!(said.contains(&missing(1)), "{said}");
    fs::write(&file, "").expect("a file");
    let said = sync();
    assert!(said.contains(&missing(count)), "{said}");
    fs::remove_file(&file).expect("a file");
    let said = sync();
    assert!(said.contains(&missing(count)), "{said}");
    let run_id = report["run_id"].as_str().expect("an id");
    fs::write(&file, whole.replace(run_id, "0198c1f0-1111-7222-8333-444455556666")).expect("a file");
    let received = receiver.events().len();
    let said = sync();
    assert!(said.contains(&format!("{count} dropped: the event is of another run")), "{said}");
    assert_eq!(receiver.events().len(), received);
}

#[test]
fn production_shows_no_literals_no_statistics_and_no_comments() {
    let checkout = Checkout::new();
    let receiver = LineageReceiver::start(200);
    let report = run(&checkout, SHOP, &receiver).env("HAMILTON_TELEMETRY_PROFILE", "prod").finish().report(0);
    let events = read_events(&bundle(&checkout, &report).join("openlineage.jsonl"));
    let text = serde_json::to_string(&events).expect("JSON");
    for hidden in ["dataQualityMetrics", "Their orders."] {
        assert!(!text.contains(hidden), "{hidden}");
    }
    for event in &events {
        // Where the files lie stands in the statement as a literal.
        let sql = event["job"]["facets"]["sql"]["query"].as_str().unwrap_or_default();
        assert!(!sql.contains(".demo"), "{sql}");
    }
    assert!(text.contains("yearly_sales") && text.contains("outputStatistics"), "{text}");
}

#[test]
fn a_configuration_of_its_own_clients_is_read_and_a_wrong_one_named() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("one.sql", "-- node: one\nSELECT 1;\n");
    let run = || Daglight::run(&checkout, &pipeline).env("HAMILTON_TRACKER_ENABLED", "false");
    let yml = checkout.path().join("openlineage.yml");
    fs::write(&yml, "transport:\n  type: file\n  log_file_path: lineage.jsonl\n  append: true\n")
        .expect("written");
    run().env("OPENLINEAGE_URL", "http://127.0.0.1:1").finish().report(0);
    assert_eq!(read_events(&checkout.path().join("lineage.jsonl")).len(), 4);

    fs::write(&yml, "transport:\n  type: http\n  url: ftp://host\n").expect("written");
    let wrong = run().finish();
    assert_ne!(wrong.code, Some(0));
    assert!(
        wrong.stderr.contains("openlineage.yml:3") && wrong.stderr.contains("http://"),
        "{}",
        wrong.stderr
    );

    fs::write(&yml, "transport:\n  type: kafka\n  topic: lineage\n").expect("written");
    let unknown = run().finish();
    unknown.report(0);
    assert_eq!(unknown.stderr.matches("kafka").count(), 1, "{}", unknown.stderr);

    let disabled = run().env("OPENLINEAGE_DISABLED", "true").finish();
    disabled.report(0);
    assert!(!disabled.stderr.contains("kafka"), "{}", disabled.stderr);
}

#[test]
fn a_dataset_has_one_name_and_schema_whoever_reads_or_writes_it() {
    let checkout = Checkout::new();
    let receiver = LineageReceiver::start(201);
    let script = "\
COPY (SELECT value AS id, 'x' AS name FROM generate_series(1, 9) AS s(value)) TO 'in/a.parquet';
COPY (SELECT 1 AS id, 'y' AS name) TO 'orders/' STORED AS PARQUET;
-- expect: unique(id)
CREATE EXTERNAL TABLE orders STORED AS PARQUET LOCATION 'orders/';
CREATE EXTERNAL TABLE a STORED AS PARQUET LOCATION 'in/a.parquet';
COPY (SELECT o.id, a.name FROM orders o JOIN a ON o.id = a.id WHERE 1 = 2) TO 'out/never.parquet';
COPY (SELECT id FROM a LIMIT 0) TO 'out/none.parquet';
CREATE TABLE t AS SELECT id, name FROM a;
UPDATE t SET name = 'z' WHERE id = 1;
DELETE FROM t WHERE id = 2;
COPY (SELECT name FROM 'in/a.parquet') TO 'out/by_name.parquet';
";
    let report = run(&checkout, script, &receiver).finish().report(0);
    let events = read_events(&bundle(&checkout, &report).join("openlineage.jsonl"));
    let dag = report["dag_name"].as_str().expect("a name");
    let root = checkout.path().canonicalize().expect("a folder").display().to_string();
    let short = |name: &str| name.replace(&root, "").replace(&format!("{dag}."), "");
    let sides = |of: &str| {
        let ends = events.iter().filter(|event| event["eventType"] == "COMPLETE");
        let datasets = ends.flat_map(|event| event[of].as_array().into_iter().flatten());
        datasets
            .map(|dataset| (short(dataset["name"].as_str().expect("a name")), dataset))
            .collect::<Vec<_>>()
    };
    let (inputs, outputs) = (sides("inputs"), sides("outputs"));
    let count = |datasets: &[(String, &Value)], name: &str| {
        datasets.iter().filter(|(known, _)| known == name).count()
    };
    for (name, _) in &inputs {
        assert!(["/orders", "/in/a.parquet", "t"].contains(&name.as_str()), "{name}");
    }
    // Its own node, and the query that is never true.
    assert_eq!((count(&inputs, "/orders"), count(&outputs, "/orders")), (2, 1), "{inputs:#?}");
    // Its own node, those that are never true, the table that is made of it, and the query that reads it by its name.
    assert_eq!(count(&inputs, "/in/a.parquet"), 5, "{inputs:#?}");
    // It is made, updated, and rows of it are deleted.
    assert_eq!(count(&outputs, "t"), 3, "{outputs:#?}");
    for (name, dataset) in inputs.iter().chain(&outputs) {
        let fields = dataset["facets"]["schema"]["fields"].as_array().into_iter().flatten();
        for field in fields.filter(|field| field["name"] == "name") {
            assert_eq!(field["type"], "Utf8", "{name}");
        }
        let lineage = &dataset["facets"]["columnLineage"]["fields"];
        for origin in
            lineage.as_object().into_iter().flatten().flat_map(|(_, of)| of["inputFields"].as_array())
        {
            for field in origin {
                let from = short(field["name"].as_str().expect("a name"));
                assert!(count(&inputs, &from) > 0, "{name}: {from}");
            }
        }
    }
}

#[test]
fn tables_of_other_schemas_and_files_with_blanks_have_their_own_names() {
    let checkout = Checkout::new();
    let receiver = LineageReceiver::start(201);
    let script = "\
CREATE SCHEMA sales;
CREATE SCHEMA hr;
CREATE TABLE sales.orders AS SELECT 1 AS k, 2 AS a;
CREATE TABLE hr.orders AS SELECT 1 AS k, 'x' AS name;
CREATE TABLE orders AS SELECT 1 AS k, 3 AS t;
CREATE TABLE \"v1.orders\" AS SELECT 1 AS k, 4 AS v;
CREATE TABLE joined AS SELECT s.a, h.name, o.t, w.v FROM sales.orders s JOIN hr.orders h ON s.k = h.k
  JOIN public.orders o ON o.k = h.k JOIN \"v1.orders\" w ON w.k = h.k;
COPY joined TO 'the out/sp ace ü 100%.parquet';
CREATE EXTERNAL TABLE back STORED AS PARQUET LOCATION 'the out/sp ace ü 100%.parquet';
CREATE TABLE again AS SELECT a FROM back;
";
    let report = run(&checkout, script, &receiver).finish().report(0);
    let events = read_events(&bundle(&checkout, &report).join("openlineage.jsonl"));
    let dag = report["dag_name"].as_str().expect("a name");
    let names_of = |side: &str| {
        let ends = events.iter().filter(|event| event["eventType"] == "COMPLETE");
        let datasets = ends.flat_map(|event| names(&event[side]));
        datasets.map(|(_, name)| name.replace(&format!("{dag}."), "")).collect::<BTreeSet<_>>()
    };
    let (inputs, outputs) = (names_of("inputs"), names_of("outputs"));
    let tables = ["hr.orders", "joined", "orders", "sales.orders", "v1.orders"];
    let root = checkout.path().canonicalize().expect("a folder");
    let file = root.join("the out/sp ace ü 100%.parquet").display().to_string();
    let expected: BTreeSet<String> = tables.map(str::to_owned).into_iter().chain([file]).collect();
    assert_eq!(inputs, expected);
    let written: BTreeSet<String> = expected.into_iter().chain(["again".to_owned()]).collect();
    assert_eq!(outputs, written);
}

#[test]
fn files_that_are_read_by_name_are_told_apart_where_only_their_names_are_shown() {
    let checkout = Checkout::new();
    let receiver = LineageReceiver::start(201);
    for name in ["items", "orders"] {
        fs::write(checkout.path().join(format!("{name}.csv")), "id\n1\n").expect("a file");
    }
    let script = "\
COPY (SELECT id FROM 'items.csv') TO 'out/a.csv';
COPY (SELECT id FROM './orders.csv') TO 'out/b.csv';
COPY (SELECT id FROM 'out/a.csv') TO 'out/c.csv';
";
    let report = run(&checkout, script, &receiver).env("DAGLIGHT_PATHS", "file_name").finish().report(0);
    let events = read_events(&bundle(&checkout, &report).join("openlineage.jsonl"));
    let dag = report["dag_name"].as_str().expect("a name");
    let of = |node: &str, side: &str| {
        let end = of_job(&events, &format!("{dag}.{node}"))["COMPLETE"];
        names(&end[side])
            .into_iter()
            .map(|(_, name)| name.replace(&format!("{dag}."), ""))
            .collect::<Vec<_>>()
    };
    let read = ["a", "b", "c"].map(|node| of(&format!("{node}_csv"), "inputs"));
    assert_eq!(read, [["items"], ["orders"], ["a"]], "{events:#?}");
    assert_eq!(of("a_csv", "outputs"), ["a"]);
}
