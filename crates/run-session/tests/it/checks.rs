//! Checks of the rows of nodes, as a Rust program makes them.

use std::path::Path;

use daglight_capture_policy::Profile;
use daglight_materializers::{CheckSeverity, DataCheck, Parquet, Table, View};
use daglight_run_bundle::{CheckRecord, NodeStatus, Warning};
use daglight_run_identity::Dag;
use daglight_run_session::{ChecksFailed, FinishReport, Node, RunOptions, Telemetry, WarningCode};
use daglight_settings::Settings;
use datafusion::{error::DataFusionError, execution::SessionStateBuilder, prelude::SessionContext};

const ROWS: &str = "SELECT value AS id, value % 3 AS k, 'zqmk' || value AS name FROM generate_series(1, 9)";

/// A run of one node, which works with a session.
async fn run(
    out: &Path,
    profile: Profile,
    work: impl AsyncFnOnce(Node, &SessionContext) -> Result<(), DataFusionError>,
) -> (Result<(), DataFusionError>, FinishReport) {
    let mut settings = Settings::of_profile(profile);
    settings.bundle.output_dir = out.to_owned();
    let telemetry = Telemetry::new(settings);
    let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
    let dag = Dag::builder("test::checks_v1").unwrap().loader("rows").build().unwrap();
    let run = telemetry.start_run(&dag, RunOptions::default());
    let ended = run.node("rows", async |node| work(node, &ctx).await).await;
    (ended, run.finish().await)
}

fn expect(node: &Node, ctx: &SessionContext, checks: &[&str]) {
    for text in checks {
        let check: DataCheck = text.parse().unwrap();
        let is_warning = text.contains("name");
        let severity = if is_warning { CheckSeverity::Warn } else { CheckSeverity::Fail };
        node.expect(ctx, check.with_severity(severity));
    }
}

fn outcomes(report: &FinishReport) -> Vec<String> {
    let shown = |check: &CheckRecord| format!("{} {}: {}", check.check, check.outcome, check.message);
    report.nodes[0].checks.iter().map(shown).collect()
}

const CHECKS: [&str; 4] = ["rows = 9", "unique(id)", "unique(k)", "name <> 'zqmk3'"];

const FOUND: [&str; 4] = [
    "rows = 9 passed: there are 9 rows",
    "unique(id) passed: it holds for 9 rows",
    "unique(k) failed: 6 of 9 rows repeat a key",
    "name <> 'zqmk3' failed: 1 of 9 rows breaks it",
];

#[tokio::test]
async fn an_output_is_checked_while_it_is_written_and_stays() {
    let out = tempfile::tempdir().unwrap();
    let place = out.path().join("rows.parquet").display().to_string();
    for kind in ["table", "view", "files"] {
        let (ended, report) = run(out.path(), Profile::Dev, async |node, ctx| {
            expect(&node, ctx, &CHECKS);
            let frame = ctx.sql(ROWS).await?;
            let written = match kind {
                "table" => node.materialize(ctx, frame, Table::named("rows")).await,
                "view" => node.materialize(ctx, frame, View::named("rows")).await,
                _ => node.materialize(ctx, frame, Parquet::to(&place).named("rows")).await,
            };
            assert_eq!(ctx.table("rows").await?.count().await?, 9);
            written.map(|_| ())
        })
        .await;
        let Err(DataFusionError::External(error)) = ended else { panic!("{kind}: {ended:?}") };
        let failed = error.downcast_ref::<ChecksFailed>().unwrap();
        assert_eq!(failed.first.check.text(), "unique(k)", "{kind}");
        assert_eq!(outcomes(&report), FOUND, "{kind}");
        assert_eq!(report.nodes[0].status, NodeStatus::Failure, "{kind}");
        assert!(
            report.warnings.iter().any(|warning| warning.code == WarningCode::CheckNotPassed
                && warning.message.contains("1 of 9 rows breaks it")),
            "{kind}"
        );
        // Of a view nobody has read rows but for its checks.
        assert_eq!(report.nodes[0].rows, (kind != "view").then_some(9), "{kind}");
    }
}

#[tokio::test]
async fn code_asks_for_the_checks_of_its_queries() {
    let out = tempfile::tempdir().unwrap();
    let (ended, report) = run(out.path(), Profile::Dev, async |node, ctx| {
        expect(&node, ctx, &["rows = 9", "not_null(name)"]);
        ctx.sql("SELECT 1 AS other, NULL AS name").await?.collect().await?;
        ctx.sql(ROWS).await?.collect().await?;
        node.verify(ctx, None).await.map_err(|failed| DataFusionError::External(failed.into()))
    })
    .await;
    ended.unwrap();
    assert_eq!(
        outcomes(&report),
        ["rows = 9 passed: there are 9 rows", "not_null(name) passed: it holds for 9 rows"]
    );
    // Whoever does not ask finds them in the bundle.
    let (ended, report) = run(out.path(), Profile::Dev, async |node, ctx| {
        expect(&node, ctx, &["rows = 8"]);
        ctx.sql(ROWS).await?.collect().await.map(|_| ())
    })
    .await;
    ended.unwrap();
    assert_eq!(outcomes(&report), ["rows = 8 failed: there are 9 rows"]);
    let (ended, report) = run(out.path(), Profile::Dev, async |node, ctx| {
        expect(&node, ctx, &["rows = 8"]);
        Ok(())
    })
    .await;
    ended.unwrap();
    assert!(outcomes(&report)[0].starts_with("rows = 8 undecided: "), "{:?}", outcomes(&report));
}

#[tokio::test]
async fn under_prod_counts_are_shown_and_literals_are_not() {
    let out = tempfile::tempdir().unwrap();
    let (ended, report) = run(out.path(), Profile::Prod, async |node, ctx| {
        expect(&node, ctx, &CHECKS);
        let frame = ctx.sql(ROWS).await?;
        node.materialize(ctx, frame, Table::named("rows")).await.map(|_| ())
    })
    .await;
    assert!(ended.is_err());
    let found = outcomes(&report);
    assert!(found[2].ends_with("failed: 6 of 9 rows repeat a key"), "{found:?}");
    assert!(!format!("{report:?}").contains("zqmk3"), "{report:?}");
    let error = report.nodes[0].error.clone().unwrap_or_default();
    assert!(error.contains("data check failed: ?: 6 of 9 rows repeat a key"), "{error}");
}

/// The program sees all of them in the error, so none is a warning.
#[tokio::test]
async fn all_checks_that_a_node_fails_by_are_its_error() {
    let lines = [
        "data check failed: rows = 8: there are 9 rows",
        "data check failed: unique(k): 6 of 9 rows repeat a key",
        "data check failed: id < 9: 1 of 9 rows breaks it",
    ];
    for profile in [Profile::Dev, Profile::Prod] {
        let out = tempfile::tempdir().unwrap();
        let (ended, report) = run(out.path(), profile, async |node, ctx| {
            expect(&node, ctx, &["rows = 8", "rows = 9", "unique(k)", "id < 9"]);
            let frame = ctx.sql(ROWS).await?;
            node.materialize(ctx, frame, Table::named("rows")).await.map(|_| ())
        })
        .await;
        let Err(DataFusionError::External(error)) = ended else { panic!("{ended:?}") };
        assert_eq!(error.to_string(), lines.join("\n"));
        let is_of_check = |warning: &Warning| warning.code == WarningCode::CheckNotPassed;
        assert!(!report.warnings.iter().any(is_of_check), "{:?}", report.warnings);
        let error = report.nodes[0].error.clone().unwrap_or_default();
        let shown: Vec<&str> = error.lines().collect();
        assert_eq!(shown.len(), lines.len(), "{error}");
        for (shown, line) in shown.iter().zip(lines) {
            let expected = if profile == Profile::Dev { line } else { "data check failed: ?" };
            assert!(shown.contains(expected), "{error}");
        }
    }
}
