//! What a bundle on disk says of its run, without a server.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use daglight_capture_policy::in_one_line;
use daglight_run_bundle::{
    Bundle, DeliveryCounts, FileEntry, LedgerDestination, LineageCursor, Manifest, ReadError, RunState,
    RunStatus, Tracking, count_lineage_events,
    outbox::{OutboxStatus, outbox_path, recorded_outbox},
    recorded_lineage,
    retention::Candidate,
};
use daglight_run_identity::RunId;
use serde::Serialize;

/// The state of a run, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BundleState {
    /// Its process runs, as far as can be seen from here.
    Running,
    /// It never ended although its process is gone: `daglight sync` closes it.
    ProcessEnded,
    /// It ended well.
    Success,
    /// It failed.
    Failure,
    /// It was asked to end before it was done, by ctrl-c for example.
    Interrupted,
    /// Nothing shows how it ended, or whether it is going.
    Unknown,
}

/// A run as its bundle shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BundleStatus {
    /// The bundle's folder.
    pub dir: PathBuf,
    /// The run.
    pub run_id: Option<RunId>,
    /// Its DAG.
    pub dag_name: Option<String>,
    /// How the run ended, or that it runs.
    pub status: BundleState,
    /// Whether the manifest says that it is going, and nothing shows whether its process lives.
    #[serde(skip)]
    may_go_on: bool,
    /// When the run started; where nothing else is left of it, the time in its id.
    pub started_at: Option<DateTime<Utc>>,
    /// All files of the run together.
    pub size_bytes: u64,
    /// Whether the run was meant for a tracking server.
    pub tracking: Tracking,
    /// The tracker's counts; `None` where the run has no outbox.
    pub tracker: Option<DeliveryCounts>,
    /// The counts of the events of OpenLineage; `None` where the run has none.
    pub lineage: Option<DeliveryCounts>,
    /// Whether the outbox is there and cannot be read, so that nobody knows what waits in it.
    pub outbox_unreadable: bool,
    /// Whether a newer Daglight wrote its manifest, so that what this one knows of it may not be all.
    pub newer_format: bool,
    /// What cannot be read.
    pub problems: Vec<String>,
}

impl BundleStatus {
    /// Reads manifest, outbox and heartbeat.
    #[expect(clippy::disallowed_methods, reason = "whether a process lives is asked of this moment")]
    pub fn of(bundle: &Bundle) -> Self {
        let mut problems = Vec::new();
        let manifest = Manifest::read_with_damages(bundle);
        let newer_format = matches!(manifest, Err(ReadError::Newer { .. }));
        let manifest = manifest.inspect_err(|error| problems.push(in_one_line(error))).ok();
        let manifest = manifest.map(|(manifest, damages)| {
            problems.extend(damages.iter().map(ToString::to_string));
            manifest
        });
        let read = recorded_outbox(&bundle.tracker_dir());
        let outbox_unreadable = read.is_err();
        let outbox = read.inspect_err(|error| problems.push(in_one_line(error))).ok().flatten();
        if !outbox_unreadable {
            problems.extend(damages_of_outbox(bundle, manifest.as_ref(), outbox.as_ref()));
        }
        problems.extend(damages_of_lineage(bundle));
        let recorded_status = manifest.as_ref().map(|manifest| manifest.status);
        let state = match recorded_status {
            None => bundle.state_by_outbox(outbox.as_ref()),
            Some(status) => bundle.state_at(Some(status), Utc::now()),
        };
        let status = match state {
            RunState::Success => BundleState::Success,
            RunState::Failure => BundleState::Failure,
            RunState::Interrupted => BundleState::Interrupted,
            RunState::Running => BundleState::Running,
            RunState::ProcessEnded => BundleState::ProcessEnded,
            RunState::Unknown => BundleState::Unknown,
        };
        let may_go_on = status == BundleState::Unknown && recorded_status == Some(RunStatus::Running);
        let lineage = manifest.as_ref().and_then(|manifest| {
            let mut accounts = manifest.delivery.signals.iter();
            accounts.find(|account| account.destination == LedgerDestination::OpenLineage)
        });
        // A run that was killed has no counts in its manifest.
        let lineage = lineage.map(|account| account.ledger.clone()).or_else(|| recorded_lineage(bundle));
        let run_id = bundle.recorded_run();
        let recorded = outbox.as_ref();
        Self {
            dir: bundle.dir().to_owned(),
            run_id,
            dag_name: manifest
                .as_ref()
                .map(|manifest| manifest.identity.dag_name.clone())
                .or_else(|| recorded?.dag_name.clone()),
            status,
            may_go_on,
            tracking: manifest.as_ref().map_or(Tracking::Unknown, |manifest| manifest.tracking),
            started_at: manifest
                .map(|manifest| manifest.started_at)
                .or_else(|| recorded?.started)
                .or_else(|| run_id.map(RunId::created_at)),
            size_bytes: size_bytes(bundle),
            lineage,
            outbox_unreadable,
            newer_format,
            tracker: outbox.map(|outbox| outbox.ledger),
            problems,
        }
    }

    /// Records that the tracking server does not have yet.
    pub fn waiting(&self) -> u64 {
        self.tracker.as_ref().map_or(0, |tracker| tracker.waiting)
    }

    /// Events that the receiver of OpenLineage does not have yet.
    pub fn waiting_lineage(&self) -> u64 {
        self.lineage.as_ref().map_or(0, |lineage| lineage.waiting)
    }

    /// What decides whether the bundle may be deleted. `has_server`: there is a server now that can get what waits.
    pub fn candidate(&self, has_server: bool) -> Candidate {
        Candidate {
            started_at: self.started_at,
            size_bytes: self.size_bytes,
            // What may be going is not deleted on a guess.
            is_running: self.status == BundleState::Running || self.may_go_on,
            is_newer: self.newer_format,
            is_unclosed: self.status == BundleState::ProcessEnded && self.tracker.is_some(),
            outbox_unreadable: self.outbox_unreadable,
            waiting: self.waiting() + self.waiting_lineage(),
            is_unverified: self.unverified_until().is_some(),
            // What waits for a server that was never there is waited for only by who has one now.
            is_awaited: has_server || self.tracking.is_expected() || self.waiting_lineage() > 0,
        }
    }

    /// Until when the tracking server may still carry out a request that it did not answer with success, so that `daglight
    /// sync` has to ask it once more.
    pub fn unverified_until(&self) -> Option<DateTime<Utc>> {
        self.tracker.as_ref().and_then(|tracker| tracker.unverified_until)
    }
}

/// All files that the run has written.
fn size_bytes(bundle: &Bundle) -> u64 {
    // The list is that of the manifest, which is not in it.
    let manifest = bundle.manifest().symlink_metadata().map_or(0, |file| file.len());
    FileEntry::list(bundle).iter().fold(manifest, |sum, file| sum.saturating_add(file.size_bytes))
}

/// What prevents the events of OpenLineage, or the progress of their delivery, from being read. Damaged lines are counted as they are
/// delivered, and damaged progress starts over.
fn damages_of_lineage(bundle: &Bundle) -> Vec<String> {
    let path = bundle.lineage_events();
    let events = count_lineage_events(bundle).err();
    let events = events.map(|error| format!("{}: {error}", bundle.shown(&path).display()));
    let progress = LineageCursor::damage(bundle.dir());
    let progress = progress.filter(|error| !matches!(error, ReadError::Damaged { .. }));
    events.into_iter().chain(progress.map(|error| in_one_line(&error))).collect()
}

/// What is wrong with the outbox of a bundle, where it can be read: damaged lines, and what the run has recorded and is not in
/// it any more.
pub(crate) fn damages_of_outbox(
    bundle: &Bundle,
    manifest: Option<&Manifest>,
    outbox: Option<&OutboxStatus>,
) -> Vec<String> {
    let damages = outbox.into_iter().flat_map(|outbox| &outbox.damages);
    let damages =
        damages.map(|damage| format!("{}: {}", bundle.dir().join(&damage.file).display(), damage.problem));
    let recorded =
        manifest.and_then(|manifest| Some(manifest.delivery.tracker.as_ref()?.produced)).unwrap_or(0);
    let there = outbox.map_or(0, |outbox| outbox.ledger.produced);
    let lost = (there < recorded).then(|| {
        let outbox = outbox_path(&bundle.tracker_dir());
        format!("{}: has {there} of the {recorded} records of the run", outbox.display())
    });
    damages.chain(lost).collect()
}
