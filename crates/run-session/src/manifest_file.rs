//! Writing the manifest of a run.

use daglight_capture_policy::Captured;
use daglight_run_bundle::{
    Bundle, DeliveryCounts, FileEntry, Identity, Links, MANIFEST_FORMAT, MANIFEST_VERSION, Manifest,
    WriteError, clock,
};

use crate::{
    finish_facts::{EndFacts, ending_so_far, links, node_records, status, tracking},
    run_state::RunState,
};

/// Says in the manifest that a signal ends the run, before anything that may take time. The end of the run says more, and
/// nothing where it has said so already.
#[expect(clippy::disallowed_methods, reason = "a run has the time at which it ends")]
pub(crate) fn record_interruption(state: &RunState) {
    let mut is_recorded = state.ending.is_recorded();
    if !*is_recorded && state.log.records().is_interrupted() {
        // On a full disk the last manifest has its own space, and the end of the run warns.
        *is_recorded =
            put_manifest(state, Some(&ending_so_far(state, clock::utc_now())), FileEntry::list).is_ok();
    }
}

/// Writes the manifest of a run that goes on, or of one that has ended.
pub(crate) fn write_manifest(state: &RunState, ending: Option<&EndFacts>) {
    if let Err(error) = replace_manifest(state, ending, FileEntry::list) {
        state.log.bundle_error(&error);
    }
}

/// Writes the last manifest of a run. Those before it have no hashes of files, which take long and would be of files that grow.
pub(crate) fn write_last_manifest(state: &RunState, ending: &EndFacts) {
    if let Err(error) = replace_manifest(state, Some(ending), FileEntry::list_with_hashes) {
        state.log.bundle_error(&error);
    }
}

/// How a manifest lists the files of its bundle.
type ListFiles = fn(&Bundle) -> Vec<FileEntry>;

/// Puts the manifest in the place of the one before.
pub(crate) fn replace_manifest(
    state: &RunState,
    ending: Option<&EndFacts>,
    files: ListFiles,
) -> Result<(), WriteError> {
    // The guard is held while the manifest is written: a second signal waits for it, and must not end the process
    // between the old manifest and the new one.
    let mut end_is_recorded = state.ending.is_recorded();
    put_manifest(state, ending, files)?;
    // Only where it was written: a second signal waits for this before it ends the process.
    *end_is_recorded = ending.is_some();
    Ok(())
}

fn put_manifest(state: &RunState, ending: Option<&EndFacts>, files: ListFiles) -> Result<(), WriteError> {
    let Some(bundle) = &state.context.bundle else { return Ok(()) };
    let link = state.context.tracker.as_ref().and_then(|tracker| tracker.link());
    let dag = state.context.dag.get();
    let records = state.log.records();
    let (warnings, error) = (records.warnings.clone(), records.failure().map(Captured::to_text));
    drop(records);
    let manifest = Manifest {
        format: MANIFEST_FORMAT.to_owned(),
        format_version: MANIFEST_VERSION,
        daglight_version: env!("CARGO_PKG_VERSION").to_owned(),
        identity: Identity {
            run_id: state.context.run_id,
            dag_name: dag.name().to_string(),
            dag_hash: dag.dag_hash().to_owned(),
            code_hash: dag.code_hash().to_owned(),
            trace_id: Some(state.context.root.trace_id.clone()),
            root_span_id: Some(state.context.root.span_id.clone()),
            execution_run_id: link.as_ref().map(|link| link.dag_run_id.to_string()),
            project_id: link.as_ref().map(|link| link.project_id.to_string()),
            tags: state.tags(),
        },
        namespace: state.context.settings().otel.namespace.clone(),
        profile: state.context.settings().profile.to_string(),
        policy: serde_json::to_value(state.context.policy.rules()).unwrap_or_default(),
        retry: state.context.retry.clone(),
        status: status(state, ending),
        started_at: state.context.started_at,
        ended_at: ending.map(|ending| ending.ended_at),
        interrupted_at: state
            .core
            .interruption
            .get()
            .map(|interruption| state.context.started_at + interruption.after),
        process_ended_at: None,
        error,
        observed: state.context.dag.is_observed(),
        nodes: node_records(state, ending),
        files: files(bundle),
        delivery: ending.map(|ending| ending.delivery.clone()).unwrap_or_default(),
        tracking: tracking(state),
        warnings,
        links: {
            let links = links(state);
            Links { hamilton_run: links.hamilton_run, trace: links.trace }
        },
        own_time: ending.map(|_| state.own_time.total()),
    };
    // Over what is there and not in its place: `sync` may deliver the same run from another process at this moment,
    // and its progress must not be lost.
    manifest.write_over(bundle, take_over)
}

/// A synchronisation that delivers the rest of a run while it ends has the newer counts.
fn take_over(own: &mut Manifest, there: Manifest) {
    let is_newer = |there: &DeliveryCounts, own: &DeliveryCounts| {
        there.delivered + there.redelivered > own.delivered + own.redelivered
    };
    if let Some(own_account) = &mut own.delivery.tracker
        && let Some(account) = there.delivery.tracker
        && is_newer(&account, own_account)
    {
        *own_account = account;
        own.identity.execution_run_id =
            there.identity.execution_run_id.or(own.identity.execution_run_id.take());
        own.identity.project_id = there.identity.project_id.or(own.identity.project_id.take());
        own.links.hamilton_run = there.links.hamilton_run.or(own.links.hamilton_run.take());
    }
}
