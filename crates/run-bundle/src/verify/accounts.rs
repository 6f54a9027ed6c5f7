//! Whether the counts of a bundle add up.

use super::fault::Fault;
use crate::{
    delivery_counts::{DeliveryCounts, LedgerDestination},
    manifest::Manifest,
};

/// The counts of everything that was recorded, each with its subject.
pub(super) fn counts_of(manifest: &Manifest) -> impl Iterator<Item = Account<'_>> {
    let tracker = manifest.delivery.tracker.iter();
    let tracker = tracker.map(|counts| Account { name: "tracker".to_owned(), is_of_bundle: false, counts });
    let signals = manifest.delivery.signals.iter().map(|account| Account {
        name: format!("{} to {}", account.signal.name(), account.destination),
        is_of_bundle: account.destination == LedgerDestination::Bundle,
        counts: &account.ledger,
    });
    tracker.chain(signals)
}

/// Counts and their subject.
pub(super) struct Account<'m> {
    pub(super) name: String,
    pub(super) is_of_bundle: bool,
    counts: &'m DeliveryCounts,
}

impl Account<'_> {
    pub(super) fn lost(&self) -> Option<String> {
        let (lost, produced) = (self.counts.dropped_total(), self.counts.produced);
        (lost > 0).then(|| format!("{lost} of {produced} lost: {}", self.counts.dropped_reasons()))
    }
}

pub(super) fn accounts(manifest: &Manifest) -> Vec<Fault> {
    let mut faults = Vec::new();
    for account in counts_of(manifest) {
        // Items that no server has may still be in the bundle. Items that are not in the bundle are lost everywhere.
        if let Some(lost) = account.lost().filter(|_| account.is_of_bundle) {
            faults.push(Fault::Lost { account: account.name, lost });
        }
    }
    let losses = manifest.warnings.iter().filter(|warning| warning.code.means_loss());
    faults.extend(losses.map(|warning| Fault::Warned { warning: warning.clone() }));
    faults
}
