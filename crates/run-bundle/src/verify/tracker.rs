//! Whether the outbox of a bundle and its delivery progress are intact.

use std::error::Error;

use super::fault::Fault;
use crate::{
    bundle::Bundle,
    layout::{DELIVERY_CURSOR, OUTBOX, TRACKER},
    manifest::{Manifest, RunStatus},
    outbox::{OutboxStatus, StatusError, recorded_outbox},
};

/// Adds the problems with the outbox and its delivery progress, and returns the status of the outbox.
pub(super) fn damaged_tracker(
    bundle: &Bundle,
    manifest: Option<&Manifest>,
    faults: &mut Vec<Fault>,
) -> Option<OutboxStatus> {
    let fault = |name: &str, problem: String| Fault::Damaged { path: format!("{TRACKER}/{name}"), problem };
    let failed = |name: &str, error: &dyn Error| {
        let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
        fault(name, format!("{error}{cause}"))
    };
    let outbox = match recorded_outbox(&bundle.tracker_dir()) {
        Ok(outbox) => outbox?,
        Err(StatusError::Outbox(error)) => {
            faults.push(failed(OUTBOX, &error));
            return None;
        }
        Err(StatusError::Cursor(error)) => {
            faults.push(failed(DELIVERY_CURSOR, &error));
            return None;
        }
    };
    for damage in &outbox.damages {
        faults.push(Fault::Damaged { path: damage.file.clone(), problem: damage.problem.clone() });
    }
    let Some(manifest) = manifest else { return Some(outbox) };
    let run_id = manifest.identity.run_id;
    if let Some(other) = outbox.run_id.filter(|other| *other != run_id) {
        faults.push(fault(OUTBOX, format!("is of run {other}")));
    }
    let known = manifest.identity.execution_run_id.as_deref();
    let delivered = outbox.link.as_ref().map(|link| link.dag_run_id.to_string());
    // While a run is going, it writes the manifest later than the progress.
    if let (Some(known), Some(delivered)) = (known, delivered)
        && known != delivered
        && manifest.status != RunStatus::Running
    {
        let problem = format!("is of run {delivered} of the server, and the manifest says {known}");
        faults.push(fault(DELIVERY_CURSOR, problem));
    }
    Some(outbox)
}
