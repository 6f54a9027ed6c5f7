//! Closing a run whose process ended before the run did.

use std::{
    collections::HashMap,
    error::Error,
    time::{Duration, SystemTime},
};

use chrono::{DateTime, Utc};
use daglight_capture_policy::{Policy, Profile, in_one_line};
use daglight_guarded_files::FileBelow;
use daglight_openlineage::close_open_events;
use daglight_otel_bridge::{
    KnownEnd, KnownNode, KnownRun, complete_spans, last_sign_of_life, names::Namespace,
};
use daglight_run_bundle::{
    ArtifactCatalog, Bundle, FileEntry, Liveness, LockedManifest, Manifest, NodeRecord, NodeStatus,
    ProcessEvidence, ReadError, RunProgress, RunStatus, Sighting, SignalFiles, TRACES_FILE, UpdateError,
    Warning, WarningCode, WriteError, milliseconds,
    outbox::{NodeProgress, OutboxStatus, recorded_outbox, remove_reserve},
};
use daglight_run_identity::Dag;
use daglight_tracker_client::Outcome;

use crate::run_log::not_run;

/// How long another process is waited for that closes the same run: it reads all spans of the run.
const LONGEST_CLOSING: Duration = Duration::from_secs(60);

/// Why a run could not be closed in its bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// The manifest cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The manifest cannot be replaced.
    #[error(transparent)]
    Update(#[from] UpdateError),
}

/// Closes a run in its bundle when its process is gone. Where its end is in the outbox, because the process died while it
/// finished, that is its status; else the manifest says FAILURE, at the time of the last sign of life. Open spans are
/// ended, and nodes that only the outbox knows get spans. True when the run was closed; one that ended by itself, or still
/// runs, is left alone. What of the signal files cannot be read or written is a warning in the manifest, and keeps no run
/// open.
///
/// # Errors
/// When the manifest cannot be read or written.
pub fn close_dead_run(bundle: &Bundle) -> Result<bool, CloseError> {
    let files = SignalFiles::from(bundle);
    if is_closed(&Manifest::read(bundle)?, &files) {
        return Ok(false);
    }
    // Another process may close the run at this moment. This one waits, and finds it closed.
    let locked = LockedManifest::acquire(bundle, LONGEST_CLOSING)?;
    let (manifest, damages) = Manifest::read_with_damages(bundle)?;
    if is_closed(&manifest, &files) {
        return Ok(false);
    }
    // One that cannot be read keeps no run open: the manifest and the spans are closed with what they say
    // themselves.
    let outbox = recorded_outbox(&bundle.tracker_dir()).ok().flatten();
    let process = sighting(bundle, outbox.as_ref());
    if process.liveness != Liveness::Gone {
        return Ok(false);
    }
    // The clock of the system may have been set back while the run went on.
    let last_seen = process.last_seen.unwrap_or(manifest.started_at).max(manifest.started_at);
    let known = known_run(&manifest, outbox.as_ref(), last_seen);
    // A process that was killed leaves them behind, for what follows on a full disk.
    let _ = FileBelow::at(&bundle.reserve()).remove();
    remove_reserve(&bundle.tracker_dir());
    // Before the manifest, which is what says that the run is closed: where this process dies in between, the next
    // one does it again, and spans that are closed already are not open a second time.
    let completed = complete_spans(&files, &Namespace::new(&*manifest.namespace), &known);
    // Its reason is a sentence of ours.
    let reason = Policy::of_profile(Profile::Prod).capture(ended_text(last_seen));
    let events = close_open_events(bundle, last_seen, &reason);
    let catalog = write_catalog(bundle);
    let damages = manifest.damages_hidden_by_closing(bundle, damages);
    let nodes_are_whole = damages.iter().all(|damage| bundle.dir().join(&damage.file) != bundle.nodes());
    let is_closed = locked.update(|manifest| {
        let is_open = manifest.status == RunStatus::Running;
        if is_open {
            manifest.warnings.extend(damages.iter().map(|damage| {
                Warning::new(WarningCode::FilesDamaged, format!("when the run was closed, {damage}"))
            }));
            close(manifest, outbox.as_ref(), last_seen);
            // Those that there were at its start are all that it lists.
            manifest.files = FileEntry::list_with_hashes(bundle);
        } else if completed.is_ok() {
            // What ended the spans has added to them.
            manifest
                .files
                .iter_mut()
                .filter(|entry| entry.path == TRACES_FILE)
                .for_each(|entry| entry.refresh(bundle));
        }
        if completed.is_ok() {
            // What an earlier attempt could not do, as on a full disk, is done now.
            manifest.warnings.retain(|warning| warning.code != WarningCode::SpansIncomplete);
        }
        let incomplete = |code: WarningCode, what: &str, error: &(dyn Error + 'static)| {
            Warning::new(code, format!("the {what} are incomplete: {}", in_one_line(error)))
        };
        let spans = completed.err().map(|error| incomplete(WarningCode::SpansIncomplete, "spans", &error));
        let events =
            events.err().map(|error| incomplete(WarningCode::LineageEventsLost, "lineage events", &error));
        let catalog =
            catalog.as_ref().err().map(|error| Warning::of_error(WarningCode::BundleIncomplete, error));
        for warning in spans.into_iter().chain(events).chain(catalog) {
            // A later synchronisation tries it once more.
            if !manifest.warnings.contains(&warning) {
                manifest.warnings.push(warning);
            }
        }
        is_open
    })?;
    if catalog.is_ok() && nodes_are_whole {
        // The manifest and the catalog have it now. One that stays is not read any more: of a damaged one somebody may read the rest.
        let _ = RunProgress::remove(bundle);
    }
    Ok(is_closed)
}

/// Whether a run has ended, and nothing of it is left open. A process may also die while the end of its run waits for servers, and its
/// root span with it.
fn is_closed(manifest: &Manifest, files: &SignalFiles) -> bool {
    manifest.status != RunStatus::Running && !files.open_spans().exists()
}

/// Writes the catalog of what the run had written so far, where its process died before it did.
fn write_catalog(bundle: &Bundle) -> Result<(), WriteError> {
    if bundle.artifacts().symlink_metadata().is_ok() {
        return Ok(());
    }
    match ArtifactCatalog::read(bundle) {
        Ok(catalog) if !catalog.artifacts.is_empty() => catalog.write(bundle),
        _ => Ok(()),
    }
}

fn close(manifest: &mut Manifest, outbox: Option<&OutboxStatus>, last_seen: DateTime<Utc>) {
    // The last event is recorded before the manifest is written, so it may know more.
    let end = outbox.and_then(|outbox| outbox.outcome.zip(outbox.ended));
    let ended = ended_text(last_seen);
    match end {
        Some((Outcome::Success, ended_at)) => {
            // The work was done, and a server may know it: what died is the process that waited for
            // servers.
            (manifest.status, manifest.ended_at) = (RunStatus::Success, Some(ended_at));
            let warning = format!("the run succeeded, and was not finished: {ended}");
            manifest.warnings.push(Warning::new(WarningCode::NotFinished, warning));
        }
        Some((Outcome::Failure, ended_at)) => {
            (manifest.status, manifest.ended_at) = (RunStatus::Failure, Some(ended_at));
            manifest.error = Some(format!("the run failed, and was not finished: {ended}"));
        }
        None => {
            (manifest.status, manifest.ended_at) = (RunStatus::Failure, Some(last_seen));
            (manifest.process_ended_at, manifest.error) = (Some(last_seen), Some(ended));
        }
    }
    if let Some(dag) = outbox.and_then(|outbox| outbox.seen.as_ref()?.dag()) {
        show_seen(manifest, &dag);
    }
    for node in &mut manifest.nodes {
        let progress = outbox.and_then(|outbox| outbox.nodes.get(&node.name));
        // The outbox knows less, and sooner or later than the nodes themselves do.
        let is_unknown = matches!(node.status, NodeStatus::NotRun | NodeStatus::Unfinished);
        if let Some(progress) = progress.filter(|_| is_unknown) {
            show_progress(node, progress);
        }
    }
}

/// What was seen of the pipeline of an observed run: its manifest is the one of its start, which knew nothing of it.
fn show_seen(manifest: &mut Manifest, dag: &Dag) {
    let identity = &mut manifest.identity;
    (identity.dag_hash, identity.code_hash) = (dag.dag_hash().to_owned(), dag.code_hash().to_owned());
    let mut known: HashMap<String, NodeRecord> =
        manifest.nodes.drain(..).map(|node| (node.name.clone(), node)).collect();
    manifest.nodes = dag.nodes().iter().map(not_run).collect();
    for node in &mut manifest.nodes {
        if let Some(known) = known.remove(&node.name) {
            let NodeRecord { kind, dependencies, code_hash, .. } = node.clone();
            *node = NodeRecord { kind, dependencies, code_hash, ..known };
        }
    }
}

fn ended_text(last_seen: DateTime<Utc>) -> String {
    format!("process ended; last seen {}", last_seen.to_rfc3339())
}

/// What the outbox proves of a run.
fn known_run(manifest: &Manifest, outbox: Option<&OutboxStatus>, last_seen: DateTime<Utc>) -> KnownRun {
    let end = |outcome: Option<Outcome>, time: Option<DateTime<Utc>>| {
        let (outcome, time) = outcome.zip(time)?;
        Some(KnownEnd { time: time.into(), succeeded: outcome == Outcome::Success })
    };
    let nodes = outbox.into_iter().flat_map(|outbox| &outbox.nodes).filter_map(|(name, node)| {
        let started_at = node.started?.into();
        Some((name.clone(), KnownNode { started_at, end: end(node.outcome, node.ended) }))
    });
    KnownRun {
        run_id: manifest.identity.run_id.to_string(),
        dag_name: manifest.identity.dag_name.clone(),
        trace_id: manifest.identity.trace_id.clone().unwrap_or_default(),
        root_span_id: manifest.identity.root_span_id.clone().unwrap_or_default(),
        started_at: manifest.started_at.into(),
        end: outbox.and_then(|outbox| end(outbox.outcome, outbox.ended)),
        last_seen: last_seen.into(),
        nodes: nodes.collect(),
    }
}

/// What its nodes do not say of a run that was killed, and its outbox does.
fn show_progress(node: &mut NodeRecord, progress: &NodeProgress) {
    node.status = match progress.outcome {
        None => NodeStatus::Unfinished,
        Some(Outcome::Success) => NodeStatus::Success,
        Some(Outcome::Failure) => NodeStatus::Failure,
    };
    node.started_at = node.started_at.or(progress.started);
    let times = node.started_at.zip(progress.ended);
    node.duration_ms = times.map(|(started, ended)| milliseconds::between(started, ended));
}

/// Whether the process of a run still lives: by its heartbeat, and where that does not show it, by the lock that a process
/// holds on the outbox it writes.
#[expect(clippy::disallowed_methods, reason = "a time in the future proves nothing")]
pub(crate) fn sighting(bundle: &Bundle, outbox: Option<&OutboxStatus>) -> Sighting {
    let beats = ProcessEvidence::read(&bundle.heartbeat()).ok();
    let last_beat = beats.as_ref().map(ProcessEvidence::seen_at);
    let last_event = outbox.and_then(|outbox| outbox.last_event);
    // A process may be killed before it beats, or while a disk takes only some of its files.
    let gone = || {
        let last_signal =
            last_sign_of_life(&SignalFiles::from(bundle), SystemTime::now()).map(DateTime::from);
        Sighting::gone(last_beat.max(last_event).max(last_signal))
    };
    let alive = Sighting { liveness: Liveness::Alive, last_seen: last_beat.max(last_event) };
    match beats.map_or(Liveness::Unknown, |beats| beats.is_alive()) {
        Liveness::Alive => alive,
        Liveness::Gone => gone(),
        // A bundle in a container or on another machine: process ids say nothing there, and a lock on a shared file
        // does.
        Liveness::Unknown => match outbox.and_then(|outbox| outbox.writer_alive) {
            Some(true) => alive,
            Some(false) => gone(),
            // Nothing is closed on a guess: a run that lives would be shown as a failure.
            None => Sighting::UNKNOWN,
        },
    }
}
