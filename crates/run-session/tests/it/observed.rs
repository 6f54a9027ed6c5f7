//! Sessions that are observed without a DAG: their queries are the nodes.

use std::{path::Path, sync::Arc, time::Duration};

use daglight_run_bundle::{Bundle, outbox::outbox_status};
use daglight_run_session::{
    FinishReport, NodeStatus, ObserveOptions, Observed, RunOptions, RunStatus, WarningCode,
};
use datafusion::{
    arrow::array::AsArray,
    dataframe::DataFrameWriteOptions,
    datasource::MemTable,
    error::DataFusionError,
    logical_expr::{ColumnarValue, Volatility, create_udf},
    prelude::{CsvReadOptions, SessionContext},
};

use crate::*;

fn observe(out: &Path, options: ObserveOptions) -> Observed {
    let name = "test::observed_v1".parse().unwrap();
    let telemetry = telemetry(out, Profile::Dev);
    telemetry.observe(SessionContext::new(), options.dag_name(name)).unwrap()
}

/// Each node with those that it depends on. The hashes in the names are those of plans, and cut off.
fn edges(report: &FinishReport) -> Vec<String> {
    let short = |name: &String| match name.rsplit_once('_') {
        Some((name, hash)) if hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            format!("{name}_?")
        }
        _ => name.clone(),
    };
    let edges = |node: &daglight_run_session::NodeRecord| {
        let read: Vec<String> = node.dependencies.iter().map(short).collect();
        format!("{}<{}", short(&node.name), read.join("+"))
    };
    report.nodes.iter().map(edges).collect()
}

async fn rows(ctx: &SessionContext, sql: &str) -> Result<usize, DataFusionError> {
    Ok(ctx.sql(sql).await?.collect().await?.iter().map(|batch| batch.num_rows()).sum())
}

/// A table that is made, two queries of it, a file, and a `DataFrame` that is written.
async fn pipeline(ctx: &Observed, out: &Path) {
    ctx.sql("CREATE TABLE orders AS SELECT value AS id, value % 7 AS slack FROM generate_series(1, 1000)")
        .await
        .unwrap();
    rows(ctx, "SELECT * FROM orders WHERE slack < 2").await.unwrap();
    rows(ctx, "SELECT count(*) FROM orders").await.unwrap();
    let target = out.join("x/late.parquet");
    let copied = format!("COPY (SELECT * FROM orders WHERE slack = 1) TO '{}'", target.display());
    rows(ctx, &copied).await.unwrap();
    let late = ctx.read_parquet(target.to_str().unwrap(), Default::default()).await.unwrap();
    let folder = out.join("y/days/");
    late.write_csv(folder.to_str().unwrap(), DataFrameWriteOptions::new(), None).await.unwrap();
    let options = CsvReadOptions::new();
    ctx.register_csv("days_read", folder.to_str().unwrap(), options).await.unwrap();
    rows(ctx, "SELECT * FROM days_read JOIN orders USING (id)").await.unwrap();
}

const EDGES: [&str; 6] = [
    "orders<",
    "orders_?<orders",
    "orders_?<orders",
    "late<orders",
    "days<late",
    "days_read_orders_?<days+orders",
];

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_nodes_that_depend_on_what_has_made_what_they_read() {
    let out = tempfile::tempdir().unwrap();
    let ctx = observe(out.path(), ObserveOptions::new());
    assert!(ctx.run().is_none());
    pipeline(&ctx, out.path()).await;
    let dag = ctx.run().unwrap().dag();
    let report = ctx.finish().await.unwrap();

    assert_eq!(edges(&report), EDGES);
    assert_eq!(
        (report.status, report.queries_without_node, report.warnings.len()),
        (RunStatus::Success, 0, 0)
    );
    let rows: Vec<_> = report.nodes.iter().map(|node| node.rows).collect();
    assert_eq!(rows, [Some(1000), Some(285), Some(1), Some(143), Some(143), Some(143)]);
    let bundle = report.bundle.clone().unwrap();
    for name in ["orders", "late", "days"] {
        let names = attribute_names(&bundle, name);
        assert!(names.iter().any(|name| name == "data_summary"), "{name}: {names:?}");
        assert!(names.iter().any(|name| name.starts_with("artifact")), "{name}: {names:?}");
    }
    let manifest = json(bundle.join("manifest.json"));
    assert_eq!(
        (&manifest["observed"], &manifest["identity"]["dag_hash"]),
        (&true.into(), &dag.dag_hash().into())
    );
    // What is delivered is what the manifest says.
    let seen = outbox_status(&bundle.join("tracker")).unwrap().seen.unwrap();
    assert_eq!(seen.version().unwrap().code_hash, dag.code_hash());
    // Whatever a query does stands below the span of its node.
    let spans = spans(&bundle);
    let nodes: Vec<&Value> =
        spans.iter().filter(|span| span["name"] == "hamilton.node").map(|span| &span["spanId"]).collect();
    let of_query = |span: &&Value| {
        ["datafusion.plan", "datafusion.execute", "datafusion.write"]
            .contains(&span["name"].as_str().unwrap())
    };
    assert!(spans.iter().filter(of_query).all(|span| nodes.contains(&&span["parentSpanId"])), "{spans:?}");
    assert_eq!((nodes.len(), spans.iter().filter(of_query).count()), (6, 12));
}

async fn hashes_of(order: [usize; 4]) -> (String, String) {
    let out = tempfile::tempdir().unwrap();
    let ctx = observe(out.path(), ObserveOptions::new());
    ctx.sql("CREATE TABLE orders AS SELECT value AS id, value % 7 AS slack FROM generate_series(1, 90)")
        .await
        .unwrap();
    for part in order {
        let sql = match part {
            0 => "SELECT * FROM orders WHERE slack < 2".to_owned(),
            1 => format!("COPY orders TO '{}'", out.path().join("orders.csv").display()),
            2 => "SELECT count(*) FROM orders WHERE slack = 5".to_owned(),
            _ => "SELECT * FROM orders WHERE slack < 5".to_owned(),
        };
        rows(&ctx, &sql).await.unwrap();
    }
    let report = ctx.finish().await.unwrap();
    let mut names = edges(&report);
    names.sort();
    // Two of them ask the same with another literal.
    assert_eq!(names, ["orders<", "orders_?<orders", "orders_?<orders", "orders_csv<orders"]);
    let identity = json(report.bundle.unwrap().join("manifest.json"))["identity"].clone();
    let hash = |name: &str| identity[name].as_str().unwrap().to_owned();
    (hash("dag_hash"), hash("code_hash"))
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_hashes_do_not_depend_on_the_order_of_the_queries() {
    let expected = hashes_of([0, 1, 2, 3]).await;
    for order in [[3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
        assert_eq!(hashes_of(order).await, expected, "{order:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_query_again_is_another_attempt_of_its_node() {
    let out = tempfile::tempdir().unwrap();
    let ctx = observe(out.path(), ObserveOptions::new());
    let fails = std::sync::atomic::AtomicBool::new(true);
    let fails = Arc::new(fails);
    let flag = Arc::clone(&fails);
    let work = move |values: &[ColumnarValue]| {
        let _ = values;
        match flag.load(std::sync::atomic::Ordering::Relaxed) {
            true => Err(DataFusionError::Execution("no luck".to_owned())),
            false => Ok(values[0].clone()),
        }
    };
    let int = datafusion::arrow::datatypes::DataType::Int64;
    ctx.register_udf(create_udf("lucky", vec![int.clone()], int, Volatility::Volatile, Arc::new(work)));
    let sql = "SELECT lucky(value) FROM generate_series(1, 10)";
    rows(&ctx, sql).await.unwrap_err();
    fails.store(false, std::sync::atomic::Ordering::Relaxed);
    for _ in 0..3 {
        rows(&ctx, sql).await.unwrap();
    }
    let report = ctx.finish().await.unwrap();
    let [node] = report.nodes.as_slice() else { panic!("{:?}", report.nodes) };
    assert_eq!((node.attempts, node.status, report.status), (4, NodeStatus::Success, RunStatus::Success));
    assert_eq!(node.earlier_attempts[0].status, NodeStatus::Failure);
    assert!(node.earlier_attempts[0].error.as_deref().unwrap().contains("no luck"));
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_plain_session_a_created_table_is_known_by_its_contents() {
    let out = tempfile::tempdir().unwrap();
    let ctx = observe(out.path(), ObserveOptions::new());
    let plain: &SessionContext = &ctx;
    rows(plain, "CREATE TABLE made AS SELECT value AS id FROM generate_series(1, 10)").await.unwrap();
    rows(plain, "SELECT * FROM made").await.unwrap();
    let kept = plain.sql("SELECT id + 1 AS id FROM made").await.unwrap().cache().await.unwrap();
    kept.count().await.unwrap();
    // Who only passes on the rows of a table has not made it.
    let own = SessionContext::new().sql("SELECT value AS id FROM generate_series(1, 9)").await.unwrap();
    let schema = Arc::clone(own.schema().inner());
    let own = MemTable::try_new(schema, vec![own.collect().await.unwrap()]).unwrap();
    plain.register_table("own", Arc::new(own)).unwrap();
    rows(plain, "SELECT * FROM own").await.unwrap();
    rows(plain, "SELECT count(*) FROM own").await.unwrap();
    let report = ctx.finish().await.unwrap();
    let read: Vec<usize> = report.nodes.iter().map(|node| node.dependencies.len()).collect();
    assert_eq!(read, [0, 1, 1, 1, 0, 0], "{:?}", edges(&report));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_has_a_run_of_its_own() {
    let out = tempfile::tempdir().unwrap();
    let ctx = Arc::new(observe(out.path(), ObserveOptions::new()));
    let requests = (0..50).map(|number: u32| {
        let ctx = Arc::clone(&ctx);
        tokio::spawn(async move {
            let options = RunOptions::new().tag("request", number.to_string());
            ctx.request(options, async |run| {
                let sql = format!("SELECT value AS id FROM generate_series(1, {number})");
                let found = rows(&ctx, &sql).await?;
                // What is spawned is taken along.
                let other = Arc::clone(&ctx);
                let counted = async move { rows(&other, "SELECT 1 AS one").await };
                tokio::spawn(run.in_context(counted)).await.unwrap()?;
                match number {
                    7 => Err(DataFusionError::Execution("refused".to_owned())),
                    _ => Ok(found),
                }
            })
            .await
        })
    });
    for (number, request) in requests.collect::<Vec<_>>().into_iter().enumerate() {
        let found = request.await.unwrap();
        assert_eq!(found.ok(), (number != 7).then_some(number));
    }
    assert!(ctx.run().is_none(), "a request made a run of the session");
    let telemetry = ctx.telemetry().clone();
    drop(Arc::into_inner(ctx).unwrap());
    telemetry.shutdown();
    let runs = Bundle::find_all(out.path()).unwrap();
    assert_eq!(runs.len(), 50);
    let mut hashes = std::collections::BTreeSet::new();
    for bundle in &runs {
        let manifest = json(bundle.manifest());
        assert_eq!(manifest["nodes"].as_array().unwrap().len(), 2, "{manifest}");
        let failed = manifest["identity"]["tags"]["request"] == "7";
        assert_eq!(manifest["status"], if failed { "failure" } else { "success" });
        hashes.insert(manifest["identity"]["dag_hash"].to_string());
    }
    assert_eq!(hashes.len(), 1);
    assert_eq!(telemetry.open_work(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_ends_its_run_and_the_next_query_begins_another() {
    let out = tempfile::tempdir().unwrap();
    let ctx = observe(out.path(), ObserveOptions::new().window(Duration::from_millis(200)));
    rows(&ctx, "SELECT 1 AS one").await.unwrap();
    let first = ctx.run().unwrap().id();
    while ctx.run().is_some() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    rows(&ctx, "SELECT 2 AS one").await.unwrap();
    let report = ctx.finish().await.unwrap();
    assert_ne!(report.run_id, first);
    assert_eq!((report.nodes.len(), report.status), (1, RunStatus::Success));
    let runs = Bundle::find_all(out.path()).unwrap();
    let statuses: Vec<Value> = runs.iter().map(|bundle| json(bundle.manifest())["status"].clone()).collect();
    assert_eq!(statuses, ["success", "success"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_ends_well_and_a_panic_is_a_failure() {
    let out = tempfile::tempdir().unwrap();
    let ctx = observe(out.path(), ObserveOptions::new());
    let (plain, telemetry) = (SessionContext::clone(&ctx), ctx.telemetry().clone());
    rows(&ctx, "SELECT 1 AS one").await.unwrap();
    drop(ctx);
    telemetry.shutdown();
    // Nothing of it is recorded, and nothing fails.
    assert_eq!(rows(&plain, "SELECT 2 AS two").await.unwrap(), 1);
    let statuses = |out: &Path| -> Vec<Value> {
        let runs = Bundle::find_all(out).unwrap();
        runs.iter().map(|bundle| json(bundle.manifest())["status"].clone()).collect()
    };
    assert_eq!(statuses(out.path()), ["success"]);

    let out = tempfile::tempdir().unwrap();
    let ctx = observe(out.path(), ObserveOptions::new());
    let telemetry = ctx.telemetry().clone();
    let panics = tokio::spawn(async move {
        rows(&ctx, "SELECT 1 AS one").await.unwrap();
        panic!("the work ends here");
    });
    assert!(panics.await.unwrap_err().is_panic());
    telemetry.shutdown();
    assert_eq!(statuses(out.path()), ["failure"]);
    let error = json(Bundle::find_all(out.path()).unwrap()[0].manifest())["error"].clone();
    assert!(error.as_str().unwrap().contains("the program panicked"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_a_dag_beside_it_keeps_its_queries() {
    let out = tempfile::tempdir().unwrap();
    let ctx = observe(out.path(), ObserveOptions::new());
    let run = ctx.telemetry().start_run(&dag(), RunOptions::new());
    run.node("orders", async |_| rows(&ctx, "SELECT 1 AS one").await).await.unwrap();
    rows(&ctx, "SELECT 2 AS two, 3 AS three").await.unwrap();
    let report = run.finish().await;
    assert_eq!((report.nodes[0].status, report.queries_without_node), (NodeStatus::Success, 0));
    let seen = ctx.run().unwrap();
    seen.node("by_hand", async |_| rows(&ctx, "SELECT 4 AS four").await).await.unwrap();
    drop(seen);
    let report = ctx.finish().await.unwrap();
    assert_eq!(edges(&report), ["query_?<", "by_hand<"]);
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_thousand_queries_on_others_belong_to_the_run() {
    let out = tempfile::tempdir().unwrap();
    let mut settings = Settings::of_profile(Profile::Ci);
    settings.bundle.output_dir = out.path().to_owned();
    let ctx = Telemetry::new(settings).observe(SessionContext::new(), ObserveOptions::new()).unwrap();
    for number in 0..1_003 {
        rows(&ctx, &format!("SELECT 1 AS column_{number}")).await.unwrap();
    }
    let report = ctx.finish().await.unwrap();
    assert_eq!((report.nodes.len(), report.queries_without_node), (1_000, 3));
    let codes: Vec<_> = report.warnings.iter().map(|warning| &warning.code).collect();
    assert_eq!(codes, [&WarningCode::NodesNotSeen]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_none_of_a_dag_is_refused_before_anything_runs() {
    let mut settings = Settings::of_profile(Profile::Ci);
    settings.dag_name = Some("orders_2026-11-27".to_owned());
    let error = Telemetry::new(settings).observe(SessionContext::new(), ObserveOptions::new()).unwrap_err();
    assert!(
        error.to_string().starts_with("setting dag_name: DAG name \"orders_2026-11-27\" contains"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_those_of_the_plain_session() {
    let out = tempfile::tempdir().unwrap();
    let ctx = observe(out.path(), ObserveOptions::new());
    let failed =
        ctx.sql("CREATE TABLE t AS SELECT no_such_column FROM generate_series(1, 3)").await.unwrap_err();
    let plain = SessionContext::new();
    let plain = plain.sql("CREATE TABLE t AS SELECT no_such_column FROM generate_series(1, 3)");
    assert_eq!(failed.to_string(), plain.await.unwrap_err().to_string());
    ctx.sql("CREATE TABLE t AS SELECT 5 AS five").await.unwrap();
    let read = ctx.sql("SELECT five FROM t").await.unwrap().collect().await.unwrap();
    let five = read[0].column(0).as_primitive::<datafusion::arrow::datatypes::Int64Type>().value(0);
    assert_eq!(five, 5);
    // The table was made in the end, so the run has not failed.
    assert_eq!(ctx.finish().await.unwrap().status, RunStatus::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_known_by_the_names_that_their_session_gives_them() {
    let long = "long".repeat(75);
    let names = [
        ("Orders", "orders", "orders"),
        ("\"Late Orders\"", "\"Late Orders\"", "Late_Orders"),
        ("raw.\"a/b's\"", "RAW.\"a/b's\"", "raw_a_b_s"),
        ("datafusion.public.whole", "whole", "whole"),
        ("größe", "größe", "größe"),
        (&long, &long, &long[..60]),
    ];
    for (created, read, node) in names {
        let out = tempfile::tempdir().unwrap();
        let ctx = observe(out.path(), ObserveOptions::new());
        ctx.sql("CREATE SCHEMA raw").await.unwrap();
        ctx.sql(&format!("CREATE TABLE {created} AS SELECT 5 AS five")).await.unwrap();
        rows(&ctx, &format!("SELECT five FROM {read}")).await.unwrap();
        rows(&ctx, &format!("INSERT INTO {read} VALUES (6)")).await.unwrap();
        let report = ctx.finish().await.unwrap();
        let [made, asked] = &report.nodes[..] else { panic!("{created}: {:?}", edges(&report)) };
        assert_eq!((made.name.as_str(), made.attempts), (node, 2), "{created}");
        assert_eq!(asked.dependencies, [node], "{created}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_any_name_are_nodes() {
    let names = [
        ("o'brien \"x\"", "o_brien_x"),
        ("größe ü", "größe_ü"),
        (&"n".repeat(240), &"n".repeat(60)),
        ("¡¿", "output"),
    ];
    for (name, node) in names {
        let out = tempfile::tempdir().unwrap();
        let ctx = observe(out.path(), ObserveOptions::new());
        let target = out.path().join("fo'lder %20").join(name).with_extension("csv");
        let frame = ctx.sql("SELECT 5 AS five").await.unwrap();
        frame.write_csv(target.to_str().unwrap(), DataFrameWriteOptions::new(), None).await.unwrap();
        let report = ctx.finish().await.unwrap();
        assert_eq!((edges(&report), report.status), (vec![format!("{node}<")], RunStatus::Success));
        assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    }
}
