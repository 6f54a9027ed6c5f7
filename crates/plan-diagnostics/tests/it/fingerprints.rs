//! What changes the fingerprints of a query, and what does not.

use std::{path::Path, sync::Arc};

use daglight_plan_diagnostics::{LiveQueries, PlannedQuery, instrument};
use datafusion::{
    execution::session_state::SessionStateBuilder,
    prelude::{CsvReadOptions, ParquetReadOptions, SessionConfig, SessionContext},
};

use crate::support::{Shared, only, run};

const BASE: &str = "SELECT o.customer, count(*) AS n, sum(o.price) AS total FROM orders o \
    JOIN customers c ON o.customer = c.id WHERE o.price > 10 AND c.name <> 'Ann' GROUP BY o.customer ORDER BY n DESC LIMIT 5";

/// What is different from the usual session, data and folder.
#[derive(Debug, Clone, Copy, Default)]
struct Change {
    partitions: Option<usize>,
    rows: Option<usize>,
    is_csv: bool,
    set: Option<(&'static str, &'static str)>,
}

async fn planned(folder: &Path, change: Change, sql: &str) -> Arc<PlannedQuery> {
    let rows = change.rows.unwrap_or(100);
    let writer = SessionContext::new();
    for (name, columns) in [
        ("orders", "value AS id, value % 10 AS customer, value * 3 AS price"),
        ("customers", "value % 10 AS id, CAST(value AS VARCHAR) AS name"),
    ] {
        let format = if change.is_csv { "csv" } else { "parquet" };
        let target = folder.join(format!("{name}.{format}"));
        if !target.exists() {
            let sql =
                format!("COPY (SELECT {columns} FROM generate_series(1, {rows})) TO '{}'", target.display());
            writer.sql(&sql).await.unwrap().collect().await.unwrap();
        }
    }
    let seen = Shared::default();
    let mut config = SessionConfig::new().with_target_partitions(change.partitions.unwrap_or(2));
    if let Some((key, value)) = change.set {
        config = config.set_str(key, value);
    }
    let builder = SessionStateBuilder::new_with_default_features().with_config(config);
    let state = instrument(builder, Arc::new(seen.clone()), LiveQueries::new()).build();
    let ctx = SessionContext::new_with_state(state);
    for name in ["orders", "customers"] {
        if change.is_csv {
            let path = folder.join(format!("{name}.csv")).display().to_string();
            ctx.register_csv(name, path, CsvReadOptions::new()).await.unwrap();
        } else {
            let path = folder.join(format!("{name}.parquet")).display().to_string();
            ctx.register_parquet(name, path, ParquetReadOptions::new()).await.unwrap();
        }
    }
    run(&ctx, sql).await;
    only(&seen).query
}

/// Whether `logical_hash` and `plan_hash` are those of the usual query.
async fn compare(change: Change, sql: &str) -> (bool, bool) {
    let usual_folder = tempfile::tempdir().unwrap();
    let usual = planned(usual_folder.path(), Change::default(), BASE).await;
    let folder = tempfile::tempdir().unwrap();
    let other = planned(folder.path(), change, sql).await;
    (
        usual.fingerprints.logical_hash == other.fingerprints.logical_hash,
        usual.fingerprints.plan_hash == other.fingerprints.plan_hash,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_change_a_fingerprint_does_not() {
    let usual = Change::default();
    for (what, change, sql) in [
        ("another folder", usual, BASE.to_owned()),
        ("other literals", usual, BASE.replace("10", "11").replace("Ann", "Bob")),
        ("another limit", usual, BASE.replace("LIMIT 5", "LIMIT 6")),
        ("an offset of none", usual, BASE.replace("LIMIT 5", "LIMIT 5 OFFSET 0")),
        ("one partition", Change { partitions: Some(1), ..usual }, BASE.to_owned()),
        ("many partitions", Change { partitions: Some(16), ..usual }, BASE.to_owned()),
        ("more data", Change { rows: Some(20_000), ..usual }, BASE.to_owned()),
        (
            "no dynamic filters",
            Change { set: Some(("datafusion.optimizer.enable_dynamic_filter_pushdown", "false")), ..usual },
            BASE.to_owned(),
        ),
        (
            "other batches",
            Change { set: Some(("datafusion.execution.batch_size", "100")), ..usual },
            BASE.to_owned(),
        ),
        (
            "other layout and case of keywords",
            usual,
            BASE.replace("SELECT", "select").replace(" FROM", "\n  FROM"),
        ),
    ] {
        assert_eq!(compare(change, &sql).await, (true, true), "{what}");
    }
}

/// The fingerprints of one statement on two tables of the same columns.
async fn hashes(sql: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let query = planned(folder.path(), Change::default(), sql).await;
    (query.fingerprints.logical_hash.clone(), query.fingerprints.plan_hash.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn values_change_nothing_also_where_names_look_like_them() {
    for (one, other) in [
        ("SELECT id FROM customers WHERE name = 'name'", "SELECT id FROM customers WHERE name = 'other'"),
        (
            "SELECT id FROM customers WHERE name = 'customers'",
            "SELECT id FROM customers WHERE name = 'somebody'",
        ),
        (
            "SELECT sum(price) OVER (ORDER BY id ROWS BETWEEN 3 PRECEDING AND 20 FOLLOWING) FROM orders",
            "SELECT sum(price) OVER (ORDER BY id ROWS BETWEEN 30 PRECEDING AND 1 FOLLOWING) FROM orders",
        ),
    ] {
        assert_eq!(hashes(one).await, hashes(other).await, "{one}");
    }
    // The optimiser writes a short list as comparisons, which is another plan.
    let list = |values: &str| format!("SELECT id FROM orders WHERE customer IN ({values})");
    assert_eq!(hashes(&list("1, 2, 3, 4, 5")).await, hashes(&list("7, 8, 9, 10")).await);
    assert_eq!(hashes(&list("1, 2")).await.0, hashes(&list("1, 2, 3, 4, 5")).await.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_names_and_orders_are_another_question_and_another_plan() {
    let texts = [
        "SELECT id FROM orders WHERE customer > 5 ORDER BY price",
        "SELECT id FROM orders WHERE customer > 5 ORDER BY price DESC",
        "SELECT id FROM orders WHERE customer > 5 ORDER BY price NULLS FIRST",
        "SELECT id FROM orders WHERE customer > 5",
        "SELECT id FROM orders WHERE customer > 5 LIMIT 3",
        "SELECT id FROM customers WHERE length(name) > 5",
        "SELECT sum(price) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) FROM orders",
        "SELECT sum(price) OVER (ORDER BY id ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) FROM orders",
    ];
    let mut seen = Vec::new();
    for sql in texts {
        let (logical, plan) = hashes(sql).await;
        assert!(seen.iter().all(|(other, _): &(String, String)| *other != logical), "{sql}");
        assert!(seen.iter().all(|(_, other)| *other != plan), "{sql}");
        seen.push((logical, plan));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_files_are_changes_nothing() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let hashes = async |folder: &Path| {
        let seen = Shared::default();
        let state = instrument(
            SessionStateBuilder::new_with_default_features(),
            Arc::new(seen.clone()),
            LiveQueries::new(),
        );
        let ctx = SessionContext::new_with_state(state.build()).enable_url_table();
        let file = folder.join("t.parquet").display().to_string();
        for sql in [
            format!("COPY (SELECT value AS id FROM generate_series(1, 10)) TO '{file}'"),
            format!("SELECT max(id) FROM '{file}' WHERE id > 3"),
        ] {
            run(&ctx, &sql).await;
        }
        let hashes = |report: &daglight_plan_diagnostics::MeasuredQuery| report.query.fingerprints.clone();
        let all: Vec<_> = seen.reports().iter().map(hashes).collect();
        all.into_iter().map(|of| (of.logical_hash, of.plan_hash)).collect::<Vec<_>>()
    };
    let (of_one, of_other) = (hashes(one.path()).await, hashes(other.path()).await);
    assert_eq!((of_one.len(), of_one), (2, of_other));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_change_a_fingerprint_does() {
    let usual = Change::default();
    for (what, sql) in [
        ("another join order", BASE.replace("orders o JOIN customers c", "customers c JOIN orders o")),
        ("another join type", BASE.replace("JOIN", "LEFT JOIN").replace("AND c.name <> 'Ann'", "")),
        ("a new column", BASE.replace("count(*) AS n", "count(*) AS n, max(o.id) AS last")),
        ("another function", BASE.replace("sum(", "min(")),
        ("another predicate", BASE.replace("o.price >", "o.price <")),
        ("another column in a predicate", BASE.replace("o.price >", "o.id >")),
        ("another order", BASE.replace("ORDER BY n", "ORDER BY total")),
        ("distinct", BASE.replace("sum(o.price)", "sum(DISTINCT o.price)")),
    ] {
        // The optimiser decides itself which side of a join comes first.
        let expected = (false, what == "another join order");
        let found = compare(usual, &sql).await;
        assert!(!found.0 && (!found.1 || expected.1), "{what}: {found:?}");
    }
    // The same question, and another way to answer it.
    let merged = Change { set: Some(("datafusion.optimizer.prefer_hash_join", "false")), ..usual };
    assert_eq!(compare(merged, BASE).await, (true, false), "sort-merge join");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_shown_without_literals_and_in_full() {
    let folder = tempfile::tempdir().unwrap();
    // Of nine digits, which no time and no hash has by chance.
    let sql = "SELECT name, 'planted-literal' AS mark, CASE WHEN id IN (987631337, 987631338) THEN 'planted-case' END AS c, \
        row_number() OVER (ORDER BY id) AS r FROM customers \
        WHERE name <> 'planted-name' AND id < 987631339 AND name LIKE '%planted-like%' \
        AND id + 987631340 > 5 GROUP BY name, id HAVING sum(id * 987631341) > 987631342 ORDER BY name || 'planted-order' LIMIT 987631343";
    let change = Change { set: Some(("datafusion.execution.batch_size", "100")), ..Change::default() };
    let query = planned(folder.path(), change, sql).await;
    let stripped = serde_json::to_string(&query.to_plan_bundle(false)).unwrap();
    for planted in [
        "planted-",
        "987631337",
        "987631338",
        "987631339",
        "987631340",
        "987631341",
        "987631342",
        "987631343",
    ] {
        assert!(!stripped.contains(planted), "{planted}: {stripped}");
    }
    for operator in ["FilterExec", "AggregateExec", "SortExec", "DataSourceExec", "WindowAggExec"] {
        assert!(stripped.contains(operator), "{operator}: {stripped}");
    }
    let plan = query.to_plan_bundle(true);
    let whole = serde_json::to_string(&plan).unwrap();
    assert!(whole.contains("planted-name") && whole.contains("987631339"), "{whole}");
    assert_eq!(plan.sources.len(), 1);
    let source = &plan.sources[0];
    assert_eq!((source.format.as_deref(), source.files), (Some("parquet"), Some(1)));
    assert!(source.location.as_ref().unwrap().ends_with("/customers.parquet"), "{source:?}");
    assert_eq!(source.bytes, Some(std::fs::metadata(folder.path().join("customers.parquet")).unwrap().len()));
    assert_eq!(plan.schema[1].name, "mark");
    assert_eq!(plan.settings["datafusion.execution.batch_size"], "100");
    assert!(!plan.settings.contains_key("datafusion.execution.collect_statistics"), "{:?}", plan.settings);
    let rules = &plan.planning.unwrap().rules;
    assert!(rules.iter().any(|rule| rule.name == "push_down_filter" && rule.changed.is_some()), "{rules:?}");
    let scan = plan.metrics.operators.last().unwrap();
    assert_eq!((scan.estimated_rows.is_some(), scan.is_scan), (true, true), "{scan:?}");
}
