//! Queries that are planned for long: what is known of them meanwhile, and what stays of that.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use daglight_capture_policy::Profile;
use daglight_run_session::{RunOptions, Telemetry};
use daglight_settings::{KeptPlans, Settings};
use datafusion::{
    arrow::datatypes::DataType,
    error::DataFusionError,
    execution::SessionStateBuilder,
    logical_expr::{ColumnarValue, Volatility, create_udf},
    prelude::SessionContext,
};
use serde_json::{Value, json};

use crate::{dag, plans::plans, stall_causes::stalls};

/// A session with the function `folds`, which computes until it is released. Its calls with constants are made by a rule of
/// the optimiser.
fn session(telemetry: &Telemetry, go_on: &Arc<AtomicBool>) -> SessionContext {
    let session = telemetry.session(SessionStateBuilder::new_with_default_features());
    let go_on = Arc::clone(go_on);
    let call = move |arguments: &[ColumnarValue]| {
        while !go_on.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
        Ok(arguments[0].clone())
    };
    let types = vec![DataType::Int64];
    let function = create_udf("folds", types, DataType::Int64, Volatility::Immutable, Arc::new(call));
    session.register_udf(function);
    session
}

fn telemetry(output_dir: &Path, profile: Profile) -> Telemetry {
    let mut settings = Settings::of_profile(profile);
    settings.bundle.output_dir = output_dir.to_owned();
    settings.heartbeat.interval_seconds = 0.05;
    settings.heartbeat.stall_seconds = 0.5;
    settings.heartbeat.busy_seconds = 1.0;
    settings.plans.keep = KeptPlans::All;
    Telemetry::new(settings)
}

/// Waits until the evidence names a stall and `plans/` has a file, and returns both.
fn planned_for_long(bundle: &Path) -> (Value, Vec<(String, Value)>) {
    let started = Instant::now();
    loop {
        let found = if bundle.join("plans").is_dir() { plans(bundle) } else { Vec::new() };
        let known = stalls(bundle);
        if known["count"] != 0 && !found.is_empty() {
            return (known["episodes"][0].clone(), found);
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{known:#} {found:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_query_that_is_planned_for_long_has_a_file_and_a_stall_that_name_the_rule() {
    for profile in [Profile::Dev, Profile::Prod] {
        let out = tempfile::tempdir().unwrap();
        let telemetry = telemetry(out.path(), profile);
        let go_on = Arc::new(AtomicBool::new(false));
        let session = session(&telemetry, &go_on);
        let run = telemetry.start_run(&dag(), RunOptions::default());
        let bundle = run.bundle_dir().unwrap().to_owned();
        let seen = bundle.clone();
        let watching = thread::spawn(move || {
            let known = planned_for_long(&seen);
            go_on.store(true, Ordering::Relaxed);
            known
        });
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let sql = "SELECT value FROM generate_series(1, 10) WHERE value <> folds(4711)";
        let work = async |_| session.sql(sql).await?.collect().await;
        let rows = runtime.block_on(run.node("orders", work)).unwrap();
        let (stall, meanwhile) = watching.join().unwrap();
        run.finish_blocking();
        assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 10);

        assert_eq!((&stall["class"], &stall["node"]), (&json!("spinning"), &json!("orders")), "{stall:#}");
        assert_eq!(stall["waits_for"], "planning a query: rule simplify_expressions of the optimization");
        let [(planned_as, plan)] = &meanwhile[..] else { panic!("{meanwhile:?}") };
        assert!(planned_as.starts_with("orders-"), "{planned_as}");
        assert_eq!(plan["running"].as_array().map(Vec::len), Some(1), "{plan:#}");
        assert_eq!(plan["planning"]["open_part"], "optimization", "{plan:#}");
        assert_eq!(plan["planning"]["open_rule"], "simplify_expressions", "{plan:#}");
        // The second after which a planning counts as long has its parsing and analysis, too.
        let milliseconds = |value: &Value| value.as_f64().unwrap();
        let [analysis, optimization] =
            ["analysis_ms", "optimization_ms"].map(|part| milliseconds(&plan["planning"][part]));
        assert!(milliseconds(&plan["metrics"]["planning_ms"]) >= 1_000.0, "{plan:#}");
        assert!(optimization > 0.0 && analysis + optimization >= 900.0, "{plan:#}");
        let text = plan["logical_plan"].as_str().unwrap();
        assert!(text.contains("folds"), "{text}");
        assert_eq!(text.contains("4711"), profile == Profile::Dev, "{text}");
        // It is planned, and has run: of that there is one file, of the same query.
        let after = plans(&bundle);
        let [(run_as, run_plan)] = &after[..] else { panic!("{after:?}") };
        assert_ne!(run_as, planned_as);
        assert_eq!((&run_plan["outcome"], &run_plan["running"]), (&json!("completed"), &json!([])));
        assert_eq!(run_plan["query_ids"], plan["query_ids"]);
        assert_eq!(run_plan["planning"]["open_part"], Value::Null);
    }
}

#[test]
fn a_run_that_ends_while_a_query_is_planned_keeps_its_file() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let go_on = Arc::new(AtomicBool::new(false));
    let session = session(&telemetry, &go_on);
    let run = telemetry.start_run(&dag(), RunOptions::default());
    let bundle = run.bundle_dir().unwrap().to_owned();
    let node = run.clone();
    let planning = thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let work = async |_| session.sql("SELECT folds(1) AS one").await?.collect().await;
        runtime.block_on(node.node("orders", work)).map(drop).map_err(|error: DataFusionError| error)
    });
    planned_for_long(&bundle);
    run.finish_blocking();
    let kept = plans(&bundle);
    let [(_, plan)] = &kept[..] else { panic!("{kept:?}") };
    assert_eq!(plan["planning"]["open_rule"], "simplify_expressions", "{plan:#}");
    go_on.store(true, Ordering::Relaxed);
    planning.join().unwrap().unwrap();
    assert_eq!(plans(&bundle), kept);
}
