//! Whether the signal files of a bundle contain everything that was written to them.

use chrono::TimeDelta;

use super::fault::Fault;
use crate::{
    bundle::Bundle,
    delivery_counts::{LedgerDestination, LedgerSignal},
    layout::{LOGS, METRICS, TRACES},
    manifest::Manifest,
    outbox::OutboxStatus,
    signals_held::SignalsHeld,
};

/// How long before the last event of the outbox a node must have ended for its span to be in the file: spans are written slightly
/// later.
const SPAN_MARGIN: TimeDelta = TimeDelta::seconds(5);

/// The problems with the signal files: unreadable lines, lines of another run, or fewer items than were written.
pub(super) fn damaged_signals(
    bundle: &Bundle,
    manifest: Option<&Manifest>,
    outbox: Option<&OutboxStatus>,
    known: &[Fault],
) -> Vec<Fault> {
    let mut faults = Vec::new();
    let run_key = format!("{}.run_id", manifest.map_or("daglight", |manifest| &manifest.namespace));
    let run_id = manifest.map(|manifest| manifest.identity.run_id).or_else(|| bundle.run_id());
    let run_id = run_id.map(|run_id| run_id.to_string());
    let has_signals = [bundle.traces(), bundle.metrics(), bundle.logs()].iter().any(|path| path.exists());
    let files = [
        (bundle.traces(), TRACES, LedgerSignal::Traces),
        (bundle.metrics(), METRICS, LedgerSignal::Metrics),
        (bundle.logs(), LOGS, LedgerSignal::Logs),
    ];
    for (path, name, signal) in files {
        let accounts = manifest.into_iter().flat_map(|manifest| &manifest.delivery.signals);
        let mut accounts = accounts.filter(|account| account.destination == LedgerDestination::Bundle);
        let written =
            accounts.find(|account| account.signal == signal).map_or(0, |account| account.ledger.delivered);
        let proven = match signal {
            LedgerSignal::Traces if has_signals => outbox.map_or(0, proven_spans),
            _ => 0,
        };
        let expected = written.max(proven);
        // A run without signals has no file, and a missing file that was listed is already reported.
        if !path.exists() && expected == 0 {
            continue;
        }
        let held = SignalsHeld::read(&path, &signal, &run_key, run_id.as_deref().unwrap_or_default());
        let is_said = known.iter().any(|fault| fault.path() == Some(name));
        if let Some(problem) = held.reading.problem.filter(|_| path.exists() || !is_said) {
            faults.push(Fault::Damaged { path: name.to_owned(), problem });
        } else if held.items < expected && !is_said {
            let items = signal.items().to_owned();
            faults.push(Fault::Lacking { path: name.to_owned(), items, expected, found: held.items });
        }
        if let Some(other) = held.other_run.filter(|_| run_id.is_some()) {
            let problem = format!("has lines of run {other}");
            faults.push(Fault::Damaged { path: name.to_owned(), problem });
        }
    }
    faults
}

/// The minimum number of spans: one for each node that has ended according to the outbox.
fn proven_spans(outbox: &OutboxStatus) -> u64 {
    let Some(last) = outbox.last_event else { return 0 };
    let ended = outbox.nodes.values().filter_map(|node| node.ended);
    ended.filter(|ended| last - *ended > SPAN_MARGIN).count() as u64
}
