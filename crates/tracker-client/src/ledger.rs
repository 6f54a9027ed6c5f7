//! What became of the events of a run.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The account of a run's delivery: `produced = delivered + waiting + dropped`.
///
/// It counts items: each event is one, and so is each attribute of an event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Items that the run recorded, or tried to.
    pub produced: u64,
    /// Items that the server has.
    pub delivered: u64,
    /// Items in the outbox that the server does not have yet, or that it is not known to have.
    pub waiting: u64,
    /// Items that will not be delivered, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// What delivered items are.
    pub delivered_by_kind: Counts,
    /// Until when the server may still carry out a request that it did not answer with success, such as one that was cut
    /// off. What is delivered counts as unverified until a later synchronisation has asked the server what it has.
    #[serde(default)]
    pub unverified_until: Option<DateTime<Utc>>,
    /// Items that were delivered before to a run that the server does not have any more, and are delivered anew.
    #[serde(default)]
    pub redelivered: u64,
    /// The last error of the delivery that waits now, with its causes.
    pub last_error: Option<String>,
}

impl Ledger {
    pub(crate) fn of(produced: u64, delivered_by_kind: Counts, dropped: BTreeMap<String, u64>) -> Self {
        let delivered = delivered_by_kind.total();
        let waiting = produced.saturating_sub(delivered + dropped.values().sum::<u64>());
        Self { produced, delivered, waiting, dropped, delivered_by_kind, ..Self::default() }
    }

    /// Items that will not be delivered, whatever the reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }
}

/// Items by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Versions of the pipeline.
    pub versions: u64,
    /// Runs.
    pub runs: u64,
    /// Starts and ends of nodes.
    pub task_updates: u64,
    /// Attributes of nodes.
    pub attributes: u64,
    /// Changes of the run's tags.
    pub tags: u64,
    /// Ends of runs.
    pub ends: u64,
}

impl Counts {
    /// All of them.
    pub fn total(&self) -> u64 {
        let Self { versions, runs, task_updates, attributes, tags, ends } = *self;
        versions + runs + task_updates + attributes + tags + ends
    }

    pub(crate) fn add(&mut self, more: Self) {
        self.versions += more.versions;
        self.runs += more.runs;
        self.task_updates += more.task_updates;
        self.attributes += more.attributes;
        self.tags += more.tags;
        self.ends += more.ends;
    }
}
