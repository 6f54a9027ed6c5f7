//! What became of what was recorded: produced = delivered + waiting + dropped.

use std::{collections::BTreeMap, fmt};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The account of one kind of item.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ledger {
    /// Items recorded.
    pub produced: u64,
    /// Items that the destination has taken.
    pub delivered: u64,
    /// Items on disk that can still be delivered.
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
}

fn is_zero(items: &u64) -> bool {
    *items == 0
}

impl Ledger {
    /// All items that are lost.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Whether every item is accounted for.
    pub fn is_balanced(&self) -> bool {
        self.produced == self.delivered + self.waiting + self.dropped_total()
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
    /// What a later version accounts for.
    #[serde(untagged)]
    Other(String),
}

impl LedgerSignal {
    /// The name, as it stands in JSON.
    pub fn name(&self) -> &str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
            Self::Tracker => "tracker",
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
    /// Where a later version sends items.
    #[serde(untagged)]
    Other(String),
}

impl LedgerDestination {
    /// The name, as it stands in JSON.
    pub fn name(&self) -> &str {
        match self {
            Self::Bundle => "bundle",
            Self::Otlp => "otlp",
            Self::Hamilton => "hamilton",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for LedgerDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The account of one signal towards one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignalLedger {
    /// What is accounted for.
    pub signal: LedgerSignal,
    /// Where it goes.
    pub destination: LedgerDestination,
    /// The account.
    #[serde(flatten)]
    pub ledger: Ledger,
}

/// The accounts of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// Events for the Hamilton UI; `None` when the tracker is off.
    #[serde(default)]
    pub tracker: Option<Ledger>,
    /// The OpenTelemetry signals.
    #[serde(default)]
    pub signals: Vec<SignalLedger>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_balances_when_nothing_is_lost_in_silence() {
        let dropped = BTreeMap::from([("disk full".to_owned(), 2), ("refused".to_owned(), 1)]);
        let mut ledger = Ledger { produced: 10, delivered: 4, waiting: 3, dropped, ..Ledger::default() };
        assert!(ledger.is_balanced());
        ledger.produced += 1;
        assert!(!ledger.is_balanced());
    }

    #[test]
    fn names_are_those_of_the_json_also_of_what_is_not_known() {
        let text = |name: &str| format!("\"{name}\"");
        for name in ["traces", "metrics", "logs", "tracker", "profiles"] {
            let signal: LedgerSignal = serde_json::from_str(&text(name)).unwrap();
            assert_eq!(matches!(signal, LedgerSignal::Other(_)), name == "profiles");
            assert_eq!((signal.name(), serde_json::to_string(&signal).unwrap()), (name, text(name)));
        }
        for name in ["bundle", "otlp", "hamilton", "kafka"] {
            let destination: LedgerDestination = serde_json::from_str(&text(name)).unwrap();
            assert_eq!(matches!(destination, LedgerDestination::Other(_)), name == "kafka");
            assert_eq!(
                (destination.name(), serde_json::to_string(&destination).unwrap()),
                (name, text(name))
            );
        }
    }
}
