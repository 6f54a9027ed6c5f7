//! A bundle whose folder is removed or moved while its run goes on.

use std::{fs, io::ErrorKind, path::Path};

use daglight_bundle_report::{Report, ReportStatus};
use daglight_capture_policy::Profile;
use daglight_materializers::Table;
use daglight_run_bundle::{Bundle, LedgerDestination, Manifest, RunStatus, WarningCode};
use daglight_run_session::{BundleState, BundleStatus, FinishReport, RunOptions, close_dead_run};
use datafusion::execution::SessionStateBuilder;
use serde_json::Value;

use crate::{dag, telemetry};

/// A run whose folder of bundles is taken away before its first node.
async fn run_without(out: &Path, take_away: impl FnOnce(&Path)) -> FinishReport {
    let telemetry = telemetry(out, Profile::Dev);
    let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
    let run = telemetry.start_run(&dag(), RunOptions::default());
    take_away(&out.join("run_bundle"));
    run.node("orders", async |node| {
        let frame = ctx.sql("SELECT value AS id FROM generate_series(1, 10)").await?;
        node.materialize(&ctx, frame, Table::named("orders")).await
    })
    .await
    .unwrap();
    run.finish().await
}

/// Removes the folder as `rm -rf` does that is called until it succeeds: the run may write a file between the emptying of
/// a folder and its removal.
fn remove(folder: &Path) {
    while let Err(err) = fs::remove_dir_all(folder) {
        assert_eq!(err.kind(), ErrorKind::DirectoryNotEmpty, "{}: {err}", folder.display());
    }
}

#[track_caller]
fn check(report: &FinishReport) {
    assert_eq!((report.status, report.exit_code()), (RunStatus::Success, 0));
    assert_eq!((&report.bundle, &report.report), (&None, &None));
    let of_folder = report.warnings.iter().filter(|warning| warning.code == WarningCode::BundleGone);
    assert_eq!(of_folder.count(), 1, "{:#?}", report.warnings);
    let tracker = report.ledger.tracker.as_ref().unwrap();
    assert_eq!((tracker.delivered, tracker.waiting), (0, 0), "{tracker:?}");
    for account in &report.ledger.signals {
        assert_eq!(account.destination, LedgerDestination::Bundle);
        assert_eq!(account.ledger.dropped_total(), account.ledger.produced, "{account:?}");
    }
    // Without a subscriber there are no logs.
    assert!(report.ledger.signals.iter().any(|account| account.ledger.produced > 0), "{:?}", report.ledger);
}

#[tokio::test]
async fn a_folder_that_is_removed_is_one_warning_and_nothing_waits_in_it() {
    let out = tempfile::tempdir().unwrap();
    let report = run_without(out.path(), remove).await;
    check(&report);
    assert!(!out.path().join("run_bundle").exists());
}

#[tokio::test]
async fn all_that_read_a_folder_that_was_moved_say_the_same_of_its_run() {
    let (out, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let moved = elsewhere.path().join("moved");
    let report = run_without(out.path(), |bundles| fs::rename(bundles, &moved).unwrap()).await;
    check(&report);
    let bundle = Bundle::open(moved.join(report.run_id.to_string())).unwrap();
    // Of a process that is gone.
    let mut evidence: Value = serde_json::from_slice(&fs::read(bundle.heartbeat()).unwrap()).unwrap();
    evidence["start_ticks"] = 1.into();
    evidence.as_object_mut().unwrap().remove("checksum");
    fs::write(bundle.heartbeat(), evidence.to_string()).unwrap();

    let said = || {
        let report = Report::from_bundle(&bundle).unwrap();
        (BundleStatus::of(&bundle).status, report.status)
    };
    assert_eq!(said(), (BundleState::Success, ReportStatus::Success));
    let faults: Vec<String> = bundle.verify().iter().map(ToString::to_string).collect();
    let unclosed = "manifest.json: the run ended (success), which only the outbox says";
    assert!(faults.iter().any(|fault| fault == unclosed), "{faults:?}");
    assert!(close_dead_run(&bundle).unwrap());
    assert_eq!(Manifest::read(&bundle).unwrap().status, RunStatus::Success);
    assert_eq!(said(), (BundleState::Success, ReportStatus::Success));
}
