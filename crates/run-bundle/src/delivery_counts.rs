//! What became of recorded items: produced = delivered + waiting + dropped.
//!
//! The outbox, the OTLP export, the manifest, the report and `daglight status` all count with these types, so that no conversions
//! are needed.

use std::{collections::BTreeMap, fmt};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sums::{count_items, saturating_sum};

/// What became of the items of one kind towards one destination: `produced = delivered + waiting + dropped`.
///
/// An item of the tracker is an event, or an attribute of one; an item of a signal is a span, a data point or a log
/// record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryCounts {
    /// Items recorded.
    pub produced: u64,
    /// Items that the destination has taken.
    pub delivered: u64,
    /// Items on their way, or on disk and still to be delivered, or not known to have arrived.
    pub waiting: u64,
    /// Items that are lost, by reason.
    #[serde(default)]
    pub dropped: BTreeMap<String, u64>,
    /// Until when the destination may still carry out a request that it did not answer with success. What it has is
    /// unverified until it was asked after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unverified_until: Option<DateTime<Utc>>,
    /// Items that were delivered before to a run that the destination does not have any more, and are delivered anew.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redelivered: u64,
    /// What the delivered items are, where they are for the tracking server.
    #[serde(default, skip_serializing_if = "ItemsByKind::is_empty")]
    pub delivered_by_kind: ItemsByKind,
    /// The last error of a delivery that waits, with its causes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// Items for the tracking server, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ItemsByKind {
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

fn is_zero(items: &u64) -> bool {
    *items == 0
}

impl DeliveryCounts {
    /// The reason for items that were sent and not accepted, if no other reason is known.
    pub const FAILED: &str = "failed";
    /// The reason for items that were never sent, because their queue was full or they came too late.
    pub const DROPPED: &str = "dropped";

    /// The counts of a tracker that produced this many items. Items that are neither delivered nor dropped are waiting.
    pub fn by_kind(produced: u64, delivered_by_kind: ItemsByKind, dropped: BTreeMap<String, u64>) -> Self {
        let delivered = delivered_by_kind.total();
        Self { delivered_by_kind, ..Self::of(produced, delivered, dropped) }
    }

    /// The counts of a destination that should receive this many items. Items that are neither delivered nor dropped are waiting.
    pub fn of(produced: u64, delivered: u64, dropped: BTreeMap<String, u64>) -> Self {
        let gone = saturating_sum(dropped.values().copied().chain([delivered]));
        let waiting = produced.saturating_sub(gone);
        Self { produced, delivered, waiting, dropped, ..Self::default() }
    }

    /// Items that were lost for that reason.
    pub fn dropped_for(&self, reason: &str) -> u64 {
        self.dropped.get(reason).copied().unwrap_or_default()
    }

    /// The items that were counted since an earlier time.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let lost_since = |(reason, items): (&String, &u64)| {
            let items = items.saturating_sub(earlier.dropped_for(reason));
            (items > 0).then(|| (reason.clone(), items))
        };
        let produced = self.produced.saturating_sub(earlier.produced);
        let delivered = self.delivered.saturating_sub(earlier.delivered);
        Self::of(produced, delivered, self.dropped.iter().filter_map(lost_since).collect())
    }

    /// Whether the destination has everything.
    pub fn is_complete(&self) -> bool {
        self.delivered == self.produced
    }

    /// All items that were lost.
    pub fn dropped_total(&self) -> u64 {
        saturating_sum(self.dropped.values().copied())
    }

    /// How many items were lost for each reason: `3 failed, 1 dropped`.
    pub fn dropped_reasons(&self) -> String {
        let reasons = self.dropped.iter().map(|(reason, items)| format!("{items} {reason}"));
        reasons.collect::<Vec<_>>().join(", ")
    }

    /// Counts as dropped what the destination has, and what waits for it.
    fn lose_all(&mut self, reason: &str) {
        self.waiting = self.waiting.saturating_add(self.delivered);
        (self.delivered, self.delivered_by_kind) = (0, ItemsByKind::default());
        self.lose_waiting(reason);
    }

    /// Counts as dropped what waits for the destination.
    fn lose_waiting(&mut self, reason: &str) {
        if self.waiting > 0 {
            count_items(&mut self.dropped, reason, self.waiting);
        }
        (self.waiting, self.unverified_until) = (0, None);
    }

    /// All items whose fate is known.
    pub fn accounted(&self) -> u64 {
        saturating_sum([self.delivered, self.waiting, self.dropped_total()])
    }

    /// Whether every item is accounted for.
    pub fn is_balanced(&self) -> bool {
        self.produced == self.accounted()
    }
}

impl ItemsByKind {
    /// The sum over all kinds.
    pub fn total(&self) -> u64 {
        let Self { versions, runs, task_updates, attributes, tags, ends } = *self;
        saturating_sum([versions, runs, task_updates, attributes, tags, ends])
    }

    /// Counts more items.
    pub fn add(&mut self, more: Self) {
        self.versions = self.versions.saturating_add(more.versions);
        self.runs = self.runs.saturating_add(more.runs);
        self.task_updates = self.task_updates.saturating_add(more.task_updates);
        self.attributes = self.attributes.saturating_add(more.attributes);
        self.tags = self.tags.saturating_add(more.tags);
        self.ends = self.ends.saturating_add(more.ends);
    }

    fn is_empty(&self) -> bool {
        self.total() == 0
    }
}

/// What is accounted for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LedgerSignal {
    /// Spans.
    Traces,
    /// Data points.
    Metrics,
    /// Log records.
    Logs,
    /// Events for the tracking server.
    Tracker,
    /// Events of OpenLineage.
    Lineage,
    /// What a later version counts.
    #[serde(untagged)]
    Other(String),
}

impl LedgerSignal {
    /// The name, as in JSON.
    pub fn name(&self) -> &str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
            Self::Tracker => "tracker",
            Self::Lineage => "lineage",
            Self::Other(name) => name,
        }
    }

    /// What its items are called.
    pub fn items(&self) -> &str {
        match self {
            Self::Traces => "spans",
            Self::Metrics => "data points",
            Self::Logs => "log records",
            Self::Tracker => "tracker records",
            Self::Lineage => "lineage events",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for LedgerSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where items of a signal go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LedgerDestination {
    /// The files of the bundle.
    Bundle,
    /// An OTLP endpoint.
    Otlp,
    /// The tracking server.
    Hamilton,
    /// A receiver of OpenLineage.
    OpenLineage,
    /// Where a later version sends items.
    #[serde(untagged)]
    Other(String),
}

impl LedgerDestination {
    /// The name, as in JSON.
    pub fn name(&self) -> &str {
        match self {
            Self::Bundle => "bundle",
            Self::Otlp => "otlp",
            Self::Hamilton => "hamilton",
            Self::OpenLineage => "openlineage",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for LedgerDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The counts of one signal towards one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignalLedger {
    /// What is accounted for.
    pub signal: LedgerSignal,
    /// Where it goes.
    pub destination: LedgerDestination,
    /// The counts.
    #[serde(flatten)]
    pub ledger: DeliveryCounts,
}

/// The counts of a run, for the tracker and for each signal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// Events for the Hamilton UI; `None` when the tracker is off.
    #[serde(default)]
    pub tracker: Option<DeliveryCounts>,
    /// The OpenTelemetry signals, and the events of OpenLineage where a run has a destination for them.
    #[serde(default)]
    pub signals: Vec<SignalLedger>,
}

impl Delivery {
    /// Counts as dropped what was written to the files of a bundle that no longer exists where it was, and what waited in them for
    /// servers.
    pub fn lose_bundle(&mut self, reason: &str) {
        self.tracker.iter_mut().for_each(|counts| counts.lose_waiting(reason));
        for SignalLedger { destination, ledger, .. } in &mut self.signals {
            match destination {
                LedgerDestination::Bundle => ledger.lose_all(reason),
                LedgerDestination::OpenLineage => ledger.lose_waiting(reason),
                // What waits for an OTLP endpoint is in memory.
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_balances_when_nothing_is_lost_in_silence() {
        let dropped = BTreeMap::from([("disk full".to_owned(), 2), ("refused".to_owned(), 1)]);
        let mut ledger =
            DeliveryCounts { produced: 10, delivered: 4, waiting: 3, dropped, ..DeliveryCounts::default() };
        assert!(ledger.is_balanced());
        ledger.produced += 1;
        assert!(!ledger.is_balanced());
    }

    #[test]
    fn names_are_those_of_the_json_also_of_what_is_not_known() {
        let text = |name: &str| format!("\"{name}\"");
        for name in ["traces", "metrics", "logs", "tracker", "lineage", "profiles"] {
            let signal: LedgerSignal = serde_json::from_str(&text(name)).unwrap();
            assert_eq!(matches!(signal, LedgerSignal::Other(_)), name == "profiles");
            assert_eq!((signal.name(), serde_json::to_string(&signal).unwrap()), (name, text(name)));
        }
        for name in ["bundle", "otlp", "hamilton", "openlineage", "kafka"] {
            let destination: LedgerDestination = serde_json::from_str(&text(name)).unwrap();
            assert_eq!(matches!(destination, LedgerDestination::Other(_)), name == "kafka");
            assert_eq!(
                (destination.name(), serde_json::to_string(&destination).unwrap()),
                (name, text(name))
            );
        }
    }

    #[test]
    fn what_was_in_a_bundle_that_has_gone_is_lost_and_what_servers_have_is_not() {
        let counts = || DeliveryCounts::of(10, 6, BTreeMap::from([("failed".to_owned(), 1)]));
        let account =
            |destination| SignalLedger { signal: LedgerSignal::Logs, destination, ledger: counts() };
        let destinations =
            [LedgerDestination::Bundle, LedgerDestination::OpenLineage, LedgerDestination::Otlp];
        let mut delivery = Delivery { tracker: Some(counts()), signals: destinations.map(account).to_vec() };
        delivery.lose_bundle("gone");
        let of_tracker = delivery.tracker.iter();
        let counts = of_tracker.chain(delivery.signals.iter().map(|account| &account.ledger));
        let counts: Vec<_> = counts
            .inspect(|counts| assert!(counts.is_balanced()))
            .map(|counts| (counts.delivered, counts.waiting, counts.dropped_for("gone")))
            .collect();
        assert_eq!(counts, [(6, 0, 3), (0, 0, 9), (6, 0, 3), (6, 3, 0)]);
    }
}
