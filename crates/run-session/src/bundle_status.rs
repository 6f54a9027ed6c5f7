//! What a bundle on disk says of its run, without a server.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use daglight_bundle_report::{Bundle, FileEntry, Ledger, Manifest, RunStatus};
use daglight_capture_policy::in_one_line;
use daglight_run_identity::RunId;
use daglight_tracker_client::{OutboxStatus, ProcessEvidence, outbox_status};
use serde::Serialize;

use crate::{close::process_evidence, sync::account};

/// A run as its bundle tells it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BundleStatus {
    /// The bundle's folder.
    pub dir: PathBuf,
    /// The run.
    pub run_id: Option<RunId>,
    /// Its DAG.
    pub dag_name: Option<String>,
    /// How the run ended, or that it runs; `None` where the manifest cannot be read.
    pub status: Option<RunStatus>,
    /// Whether the run never ended although its process is gone: `daglight sync` closes it.
    pub process_ended: bool,
    /// When the run started; where nothing else is left of it, the time in its id.
    pub started_at: Option<DateTime<Utc>>,
    /// All files of the run together.
    pub size_bytes: u64,
    /// The tracker's account; `None` where the run was never meant for the tracker.
    pub tracker: Option<Ledger>,
    /// Whether the outbox is there and cannot be read, so that nobody knows what waits in it.
    pub outbox_unreadable: bool,
    /// What cannot be read.
    pub problems: Vec<String>,
}

impl BundleStatus {
    /// Reads manifest, outbox and heartbeat.
    pub fn of(bundle: &Bundle) -> Self {
        let mut problems = Vec::new();
        let manifest = Manifest::read(bundle).inspect_err(|error| problems.push(in_one_line(error))).ok();
        let there = bundle.tracker_dir().is_dir();
        let outbox = there
            .then(|| outbox_status(&bundle.tracker_dir()))
            .and_then(|status| status.inspect_err(|error| problems.push(in_one_line(error))).ok());
        let status = manifest.as_ref().map(|manifest| manifest.status);
        let gone = || matches!(process_evidence(bundle, outbox.as_ref()), ProcessEvidence::Gone { .. });
        // A manifest that cannot be read does not say that the run has ended.
        let is_open = match status {
            Some(status) => status == RunStatus::Running,
            None => outbox.as_ref().is_some_and(OutboxStatus::is_open),
        };
        let run_id = bundle.recorded_run();
        let recorded = outbox.as_ref();
        Self {
            dir: bundle.dir().to_owned(),
            run_id,
            dag_name: manifest
                .as_ref()
                .map(|manifest| manifest.identity.dag_name.clone())
                .or_else(|| recorded?.dag_name.clone()),
            process_ended: is_open && gone(),
            status,
            started_at: manifest
                .map(|manifest| manifest.started_at)
                .or_else(|| recorded?.started)
                .or_else(|| run_id.map(RunId::created_at)),
            size_bytes: FileEntry::of_bundle(bundle).iter().map(|file| file.size_bytes).sum(),
            outbox_unreadable: there && recorded.is_none(),
            tracker: outbox.map(|outbox| account(outbox.ledger)),
            problems,
        }
    }

    /// Records that the tracking server does not have yet.
    pub fn waiting(&self) -> u64 {
        self.tracker.as_ref().map_or(0, |tracker| tracker.waiting)
    }

    /// Whether the run goes on, as far as can be told.
    pub fn is_running(&self) -> bool {
        self.status == Some(RunStatus::Running) && !self.process_ended
    }
}
