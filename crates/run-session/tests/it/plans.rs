//! The files in `plans/`: one for each plan of a node, from the start of its first query on.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use daglight_capture_policy::Profile;
use daglight_run_session::{FinishReport, RunOptions, Telemetry};
use daglight_settings::{KeptPlans, Settings};
use datafusion::{
    error::DataFusionError,
    execution::SessionStateBuilder,
    physical_plan::{collect, execution_plan::reset_plan_states},
    prelude::SessionContext,
};
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::{dag, json as read, spans};

fn telemetry(output_dir: &Path, profile: Profile, change: impl FnOnce(&mut Settings)) -> Telemetry {
    let mut settings = Settings::of_profile(profile);
    settings.bundle.output_dir = output_dir.to_owned();
    settings.heartbeat.interval_seconds = 0.05;
    change(&mut settings);
    Telemetry::new(settings)
}

pub(crate) fn plans(bundle: &Path) -> Vec<(String, Value)> {
    let mut plans: Vec<_> = fs::read_dir(bundle.join("plans"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| !entry.file_name().to_string_lossy().ends_with(".tmp"))
        .map(|entry| (entry.file_name().into_string().unwrap(), read(entry.path())))
        .collect();
    plans.sort_by(|(a, _), (b, _)| a.cmp(b));
    plans
}

async fn execute(ctx: &SessionContext, sql: &str) -> Result<(), DataFusionError> {
    ctx.sql(sql).await?.collect().await.map(drop)
}

/// Runs statements in the node `orders`, all at the same time.
async fn run_all(telemetry: &Telemetry, statements: &[&str]) -> FinishReport {
    let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
    let run = telemetry.start_run(&dag(), RunOptions::default());
    let done = run
        .node("orders", async |_| {
            let all = statements.iter().map(|sql| execute(&ctx, sql));
            Ok::<_, DataFusionError>(futures::future::join_all(all).await)
        })
        .await;
    done.unwrap();
    run.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_has_one_file_with_the_same_name_in_every_run() {
    let statements = [
        "SELECT value + 1 FROM generate_series(1, 10)",
        "SELECT value + 2 FROM generate_series(1, 20)",
        "SELECT value + 3 FROM generate_series(1, 30)",
        "SELECT count(*) FROM generate_series(1, 10)",
    ];
    let mut names = BTreeSet::new();
    for turn in 0..3 {
        let out = tempfile::tempdir().unwrap();
        let mut statements = statements;
        statements.rotate_left(turn);
        let telemetry = telemetry(out.path(), Profile::Dev, |_| ());
        let report = run_all(&telemetry, &statements).await;
        assert_eq!(report.warnings, []);
        let found = plans(&report.bundle.unwrap());
        names.insert(found.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
        assert_eq!(found.len(), 2);
        let started = |plan: &Value| plan["executions"]["started"].as_u64().unwrap();
        let (often, once) = match started(&found[0].1) {
            3 => (&found[0].1, &found[1].1),
            _ => (&found[1].1, &found[0].1),
        };
        assert_eq!((started(often), started(once)), (3, 1));
        assert_eq!(often["executions"]["completed"], 3);
        assert_eq!(
            (&often["executions"]["rows"], &often["executions"]["rows_read"]),
            (&json!(60), &json!(60))
        );
        assert_eq!(often["query_ids"].as_array().unwrap().len(), 3);
        assert_eq!((&often["running"], &often["outcome"]), (&json!([]), &json!("completed")));
        for (name, plan) in &found {
            let hash = plan["plan_hash"].as_str().unwrap();
            assert_eq!(*name, format!("orders-{hash}.json"));
            assert_eq!(plan["node"], "orders");
            assert!(plan["planning"]["physical_ms"].as_f64().unwrap() > 0.0, "{plan}");
            assert!(plan["optimized_plan"].is_string() && plan["physical_plan"].is_string(), "{plan}");
            let operators = plan["metrics"]["operators"].as_array().unwrap();
            assert!(operators.iter().any(|operator| operator["partition_metrics"] != json!([])), "{plan}");
        }
    }
    assert_eq!(names.len(), 1, "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_of_a_query_that_runs_is_there_and_brought_up_to_date() {
    // Also where only few plans are kept in the end.
    for profile in [Profile::Dev, Profile::Prod] {
        let out = tempfile::tempdir().unwrap();
        let telemetry = telemetry(out.path(), profile, |_| ());
        let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
        let run = telemetry.start_run(&dag(), RunOptions::default());
        let bundle = run.bundle_dir().unwrap().to_owned();
        run.node("orders", async |_| {
            let frame = ctx.sql("SELECT value * 4141414141 FROM generate_series(1, 100000000)").await?;
            let mut stream = frame.execute_stream().await?;
            let until = async |what: &str, done: &dyn Fn(&Value) -> bool| {
                let started = Instant::now();
                loop {
                    if plans(&bundle).first().is_some_and(|(_, plan)| done(plan)) {
                        break;
                    }
                    assert!(started.elapsed() < Duration::from_secs(60), "{what}: {:?}", plans(&bundle));
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            until("its file", &|plan| plan["outcome"].is_null() && plan["running"] != json!([])).await;
            let rows = |plan: &Value| plan["metrics"]["operators"][0]["output_rows"].as_u64().unwrap_or(0);
            let mut seen = 0;
            for _ in 0..3 {
                stream.next().await.unwrap()?;
                until("more rows", &|plan| rows(plan) > seen).await;
                seen = rows(&plans(&bundle)[0].1);
            }
            drop(stream);
            Ok::<_, DataFusionError>(())
        })
        .await
        .unwrap();
        let report = run.finish().await;
        let found = plans(&report.bundle.unwrap());
        // What did not complete is kept under every profile.
        assert_eq!(found.len(), 1, "{profile:?}");
        let plan = &found[0].1;
        assert_eq!((&plan["outcome"], &plan["running"]), (&json!("cancelled"), &json!([])));
        assert_eq!(plan.to_string().contains("4141414141"), profile == Profile::Dev, "{plan}");
        let expected = if profile == Profile::Dev {
            "ProjectionExec: expr=[value@0 *"
        } else {
            "expressions=[value * ?]"
        };
        assert!(plan["physical_plan"].as_str().unwrap().contains(expected), "{plan}");
    }
}

/// Of many quick queries of a node none is kept, and none takes the room of the one that is looked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_lasts_has_a_file_whatever_its_node_did_before() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Prod, |settings| settings.plans.slow_after = 60.0);
    let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
    let run = telemetry.start_run(&dag(), RunOptions::default());
    let bundle = run.bundle_dir().unwrap().to_owned();
    run.node("orders", async |_| {
        for number in 0..130_u32 {
            let column = |bit: u32| match number >> bit & 1 {
                0 => format!("value AS c{bit}"),
                _ => format!("value + 1 AS c{bit}"),
            };
            let columns: Vec<String> = (0..8).map(column).collect();
            execute(&ctx, &format!("SELECT {} FROM generate_series(1, 3)", columns.join(", "))).await?;
        }
        let started = Instant::now();
        // The thread that writes the plans may have some of the quick ones in hand: then the next one has room.
        while plans(&bundle).iter().all(|(_, plan)| plan["running"] == json!([])) {
            let frame = ctx.sql("SELECT sum(value) FROM generate_series(1, 100000000)").await?;
            let _stream = frame.execute_stream().await?;
            tokio::time::sleep(Duration::from_millis(300)).await;
            if plans(&bundle).iter().any(|(_, plan)| plan["running"] != json!([])) {
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "{:?}", plans(&bundle));
        }
        Ok::<_, DataFusionError>(())
    })
    .await
    .unwrap();
    run.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_are_kept_as_the_settings_say() {
    let fast = "SELECT value FROM generate_series(1, 10)";
    let failing = "SELECT 1 / (value - 5) FROM generate_series(1, 10)";
    let check = async |keep: KeptPlans, slow_after: f64, expected: &[&str]| {
        let out = tempfile::tempdir().unwrap();
        let telemetry = telemetry(out.path(), Profile::Ci, |settings| {
            settings.plans.keep = keep;
            settings.plans.slow_after = slow_after;
        });
        let report = run_all(&telemetry, &[fast, failing]).await;
        let mut outcomes: Vec<_> =
            plans(report.bundle.as_ref().unwrap()).iter().map(|(_, plan)| plan["outcome"].clone()).collect();
        outcomes.sort_by_key(ToString::to_string);
        assert_eq!(outcomes, expected, "{keep:?} {slow_after}");
    };
    check(KeptPlans::All, 60.0, &["completed", "failed"]).await;
    check(KeptPlans::Slow, 0.0, &["completed", "failed"]).await;
    check(KeptPlans::Slow, 60.0, &["failed"]).await;
    check(KeptPlans::Changed, 0.0, &["failed"]).await;
    check(KeptPlans::None, 0.0, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_whose_planning_fails_has_a_file_and_a_span_with_its_error() {
    for profile in [Profile::Dev, Profile::Prod] {
        let out = tempfile::tempdir().unwrap();
        let telemetry = telemetry(out.path(), profile, |_| ());
        let statement = "SELECT value FROM generate_series(1, 10) WHERE value = 'no number'";
        let bundle = run_all(&telemetry, &[statement]).await.bundle.unwrap();
        let plans = plans(&bundle);
        let [(_, plan)] = &plans[..] else { panic!("{plans:?}") };
        assert_eq!(plan["outcome"], "failed", "{plan}");
        assert_eq!(plan["executions"]["failed"], 1, "{plan}");
        assert_eq!(plan["planning"]["failed_part"], "optimization", "{plan}");
        assert_eq!((&plan["optimized_plan"], &plan["physical_plan"]), (&Value::Null, &Value::Null), "{plan}");
        assert!(plan["logical_plan"].as_str().unwrap().contains("Filter"), "{plan}");
        let spans = spans(&bundle);
        let planned: Vec<_> = spans.iter().filter(|span| span["name"] == "datafusion.plan").collect();
        let [span] = &planned[..] else { panic!("{spans:?}") };
        assert_eq!(span["status"]["code"], 2, "{span}");
        let message = span["status"]["message"].as_str().unwrap();
        assert_eq!(message.contains("no number"), profile == Profile::Dev, "{message}");
        assert!(spans.iter().all(|span| span["name"] != "datafusion.execute"), "it was never executed");
    }
}

/// The checks that stand behind the analysis, which no rule sees.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_the_engine_refuses_behind_its_analysis_has_a_file_and_a_span() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev, |_| ());
    let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
    let run = telemetry.start_run(&dag(), RunOptions::default());
    // A subquery that returns more than one value for a row.
    let refused = "SELECT (SELECT b.value FROM generate_series(1, 3) b WHERE b.value > a.value) \
                   FROM generate_series(1, 3) a";
    run.node("orders", async |_| execute(&ctx, refused).await).await.unwrap_err();
    let failed = run.finish().await;
    let plans = plans(&failed.bundle.clone().unwrap());
    let [(_, plan)] = &plans[..] else { panic!("{plans:?}") };
    assert_eq!((&plan["outcome"], &plan["node"]), (&json!("failed"), &json!("orders")), "{plan}");
    assert_eq!(plan["planning"]["failed_part"], "analysis", "{plan}");
    assert!(plan["logical_plan"].as_str().unwrap().contains("Subquery"), "{plan}");
    let spans = spans(&failed.bundle.unwrap());
    let [span] = &spans.iter().filter(|span| span["name"] == "datafusion.plan").collect::<Vec<_>>()[..]
    else {
        panic!("{spans:?}")
    };
    assert_eq!(span["status"]["code"], 2, "{span}");
    // The next failure has nothing to do with it.
    let run = telemetry.start_run(&dag(), RunOptions::default());
    let failing = "SELECT 1 / (value - 1) FROM generate_series(1, 3)";
    run.node("orders", async |_| execute(&ctx, failing).await).await.unwrap_err();
    assert_eq!(self::plans(&run.finish().await.bundle.unwrap()).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn differences_of_rules_are_in_the_file_of_a_plan_where_they_are_asked_for() {
    for (asked, profile) in [(false, Profile::Dev), (true, Profile::Dev), (true, Profile::Prod)] {
        let out = tempfile::tempdir().unwrap();
        let telemetry = telemetry(out.path(), profile, |settings| {
            settings.plans.keep = KeptPlans::All;
            settings.plans.rule_differences = asked;
        });
        // Of nine digits, which no time and no hash has by chance.
        let statement = "SELECT value AS token FROM generate_series(1, 10) WHERE value + 1.5 > 987631337";
        let secret = "SELECT token FROM (SELECT 'hunter2' AS token) WHERE token = 'hunter2' AND 1 = 1";
        let bundle = run_all(&telemetry, &[statement, secret]).await.bundle.unwrap();
        let text = format!("{:?}", plans(&bundle));
        assert_eq!(text.contains("differences"), asked && profile == Profile::Dev, "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(text.contains("987631337"), profile == Profile::Dev, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_the_node_did_not_have_in_the_last_run_is_kept() {
    let out = tempfile::tempdir().unwrap();
    let kept = async |sql: &str| {
        let telemetry = telemetry(out.path(), Profile::Ci, |settings| settings.plans.slow_after = 60.0);
        let report = run_all(&telemetry, &[sql]).await;
        let bundle = report.bundle.unwrap();
        assert!(read(bundle.join("manifest.json"))["nodes"][0]["plan_hashes"][0].is_string());
        plans(&bundle).len()
    };
    assert_eq!(kept("SELECT value + 1 FROM generate_series(1, 10)").await, 0, "nothing to compare with");
    assert_eq!(kept("SELECT value + 2 FROM generate_series(1, 99)").await, 0, "the same plan");
    assert_eq!(kept("SELECT count(*) FROM generate_series(1, 10)").await, 1, "another plan");
    assert_eq!(kept("SELECT count(*) FROM generate_series(1, 11)").await, 0, "the same again");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_have_spans_below_their_query() {
    let statement = "SELECT value % 3 AS k, count(*) FROM generate_series(1, 1000) GROUP BY k";
    for (profile, expected) in [(Profile::Dev, true), (Profile::Ci, false)] {
        let out = tempfile::tempdir().unwrap();
        let report = run_all(&telemetry(out.path(), profile, |_| ()), &[statement]).await;
        let spans = spans(&report.bundle.unwrap());
        let named = |name: &str| spans.iter().filter(|span| span["name"] == name).collect::<Vec<_>>();
        let operators = named("datafusion.operator");
        assert_eq!(!operators.is_empty(), expected, "{profile:?}");
        if !expected {
            continue;
        }
        let [query] = named("datafusion.execute")[..] else { panic!("{spans:?}") };
        let nanoseconds = |span: &Value, key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
        let mut names = Vec::new();
        for operator in operators {
            assert_eq!(operator["parentSpanId"], query["spanId"]);
            for key in ["startTimeUnixNano", "endTimeUnixNano"] {
                let (of_query, at) = (nanoseconds(query, key), nanoseconds(operator, key));
                // The clock of the operators is another one.
                let is_inside = if key.starts_with("start") {
                    at + 1_000_000 >= of_query
                } else {
                    at <= of_query + 1_000_000
                };
                assert!(is_inside, "{operator} {query}");
            }
            let attributes = operator["attributes"].as_array().unwrap();
            let value = |key: &str| {
                attributes.iter().find(|attribute| attribute["key"] == key).map(|it| &it["value"])
            };
            assert!(value("daglight.compute_seconds").is_some(), "{operator}");
            let name = value("daglight.operator").unwrap()["stringValue"].as_str().unwrap();
            if name == "LazyMemoryExec" {
                assert_eq!(value("daglight.row_count").unwrap()["intValue"], "1000");
            }
            names.push(name.to_owned());
        }
        assert!(
            names.iter().any(|name| name == "AggregateExec")
                && names.iter().any(|name| name == "LazyMemoryExec")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_query_is_seen_in_every_kind_of_session() {
    type Make = fn(&Telemetry) -> SessionContext;
    let sessions: [(&str, Make); 3] = [
        ("builder", |telemetry| telemetry.session(SessionStateBuilder::new_with_default_features())),
        ("state", |telemetry| telemetry.session(SessionContext::new().state())),
        ("context", |telemetry| telemetry.session(SessionContext::new())),
    ];
    for (kind, session) in sessions {
        let out = tempfile::tempdir().unwrap();
        let telemetry = telemetry(out.path(), Profile::Dev, |_| ());
        let ctx = session(&telemetry);
        let run = telemetry.start_run(&dag(), RunOptions::default());
        let target = out.path().join("t.parquet");
        let all = async || -> Result<u64, DataFusionError> {
            for sql in [
                "CREATE OR REPLACE TABLE t AS SELECT value AS x FROM generate_series(1, 10)",
                "INSERT INTO t SELECT value AS x FROM generate_series(11, 20)",
                &format!("COPY t TO '{}'", target.display()),
                "PREPARE p(BIGINT) AS SELECT x FROM t WHERE x > $1",
                "EXECUTE p(5)",
                "DEALLOCATE p",
                "CREATE OR REPLACE VIEW v AS SELECT x FROM t",
                "SELECT * FROM v",
                "EXPLAIN ANALYZE SELECT * FROM v",
                "EXPLAIN SELECT * FROM v",
                "UPDATE t SET x = x + 1 WHERE x > 19",
                "DELETE FROM t WHERE x > 19",
            ] {
                execute(&ctx, sql).await?;
            }
            // Cached: executed once, and read from memory then.
            let cached = ctx.table("t").await?.cache().await?;
            cached.clone().collect().await?;
            cached.count().await?;
            // Executed once more, as the same plan.
            let plan = ctx.table("t").await?.create_physical_plan().await?;
            collect(plan.clone(), ctx.task_ctx()).await?;
            collect(reset_plan_states(plan)?, ctx.task_ctx()).await?;
            // CTAS, INSERT, COPY, EXECUTE, SELECT, EXPLAIN ANALYZE, UPDATE, DELETE, three of the cache, two of the plan.
            Ok(13)
        };
        let in_node = run.node("orders", async |_| all().await).await.unwrap();
        let in_stage = run.stage("extract", async { all().await }).await.unwrap();
        let beside = all().await.unwrap();
        let report = run.finish().await;
        assert_eq!(report.warnings, [], "{kind}");
        assert_eq!(report.queries_without_node, in_stage + beside, "{kind}");
        let spans = spans(report.bundle.as_ref().unwrap());
        let executed = spans
            .iter()
            .filter(|span| {
                ["datafusion.execute", "datafusion.write"].contains(&span["name"].as_str().unwrap())
            })
            .count() as u64;
        assert_eq!(executed, in_node + in_stage + beside, "{kind}");
        let executions: u64 = plans(&report.bundle.unwrap())
            .iter()
            .map(|(_, plan)| plan["executions"]["started"].as_u64().unwrap())
            .sum();
        assert_eq!(executions, executed, "{kind}");
    }
}
