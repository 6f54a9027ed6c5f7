//! What became of the signals of a run, counted where they pass.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};

/// One of the three signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// Spans.
    Traces,
    /// Data points.
    Metrics,
    /// Log records.
    Logs,
}

impl Signal {
    /// Every signal.
    pub const ALL: [Self; 3] = [Self::Traces, Self::Metrics, Self::Logs];

    /// The name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }

    /// What one item of it is called.
    pub(crate) const fn items(self) -> &'static str {
        match self {
            Self::Traces => "spans",
            Self::Metrics => "data points",
            Self::Logs => "log records",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The counts of one signal at one destination: items are spans, data points or log records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Items that were meant for the destination.
    pub produced: u64,
    /// Items that it took.
    pub exported: u64,
    /// Items that it refused, or that could not be brought to it.
    pub failed: u64,
    /// Items that never went on their way: the queue was full, or they came too late.
    pub dropped: u64,
}

impl Ledger {
    /// Items that were still on their way when the counts were taken.
    pub fn waiting(&self) -> u64 {
        self.produced.saturating_sub(self.exported + self.failed + self.dropped)
    }

    /// What was added to the counts since an earlier time.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            produced: self.produced.saturating_sub(earlier.produced),
            exported: self.exported.saturating_sub(earlier.exported),
            failed: self.failed.saturating_sub(earlier.failed),
            dropped: self.dropped.saturating_sub(earlier.dropped),
        }
    }

    /// Whether the destination took everything.
    pub fn is_complete(&self) -> bool {
        self.exported == self.produced
    }
}

/// The counts of one signal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalLedger {
    /// What went into the bundle's file.
    pub bundle: Ledger,
    /// What went over OTLP; `None` where that is not configured.
    pub otlp: Option<Ledger>,
}

/// The counts of all signals of a run, or of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalLedgers {
    /// Spans.
    pub traces: SignalLedger,
    /// Data points.
    pub metrics: SignalLedger,
    /// Log records.
    pub logs: SignalLedger,
    /// What went wrong with the files, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub file_errors: Vec<String>,
    /// What went wrong with the endpoints, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub export_errors: Vec<String>,
}

impl SignalLedgers {
    /// The counts of one signal.
    pub fn of(&self, signal: Signal) -> &SignalLedger {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
            Signal::Logs => &self.logs,
        }
    }

    /// One sentence for each signal and destination that did not take everything, and what went wrong.
    pub fn warnings(&self) -> Vec<String> {
        [self.bundle_warnings(), self.export_warnings()].concat()
    }

    /// One sentence for each signal of which the bundle's file did not take everything, and what went wrong.
    pub fn bundle_warnings(&self) -> Vec<String> {
        let losses = self.losses("the bundle", |ledger| Some(ledger.bundle));
        losses.chain(self.file_errors.iter().cloned()).collect()
    }

    /// One sentence for each signal of which the OTLP endpoint did not take everything, and what went wrong.
    pub fn export_warnings(&self) -> Vec<String> {
        let losses = self.losses("the OTLP endpoint", |ledger| ledger.otlp);
        losses.chain(self.export_errors.iter().cloned()).collect()
    }

    fn losses(
        &self,
        destination: &str,
        of: fn(&SignalLedger) -> Option<Ledger>,
    ) -> impl Iterator<Item = String> {
        Signal::ALL.into_iter().filter_map(move |signal| {
            let ledger = of(self.of(signal)).filter(|ledger| !ledger.is_complete())?;
            Some(format!(
                "{} of {} {} did not reach {destination} ({} failed, {} dropped, {} still waiting)",
                ledger.produced.saturating_sub(ledger.exported),
                ledger.produced,
                signal.items(),
                ledger.failed,
                ledger.dropped,
                ledger.waiting(),
            ))
        })
    }
}

/// Where items of a signal go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    Bundle,
    Otlp,
}

impl Destination {
    pub(crate) const ALL: [Self; 2] = [Self::Bundle, Self::Otlp];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bundle => "bundle",
            Self::Otlp => "otlp",
        }
    }
}

/// What did not arrive, over all runs of a process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Losses([[Arc<AtomicU64>; Destination::ALL.len()]; Signal::ALL.len()]);

impl Losses {
    pub(crate) fn of(&self, signal: Signal, destination: Destination) -> u64 {
        self.cell(signal, destination).load(Ordering::Relaxed)
    }

    fn cell(&self, signal: Signal, destination: Destination) -> &Arc<AtomicU64> {
        &self.0[signal as usize][destination as usize]
    }
}

/// A [`Ledger`] that is being written.
#[derive(Debug)]
pub(crate) struct Counts {
    produced: AtomicU64,
    exported: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    lost_by_process: Arc<AtomicU64>,
}

impl Counts {
    fn new(losses: &Losses, signal: Signal, destination: Destination) -> Self {
        Self {
            produced: AtomicU64::new(0),
            exported: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            lost_by_process: Arc::clone(losses.cell(signal, destination)),
        }
    }

    pub(crate) fn produced(&self, items: u64) {
        self.produced.fetch_add(items, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self, items: u64) {
        self.dropped.fetch_add(items, Ordering::Relaxed);
        self.lost_by_process.fetch_add(items, Ordering::Relaxed);
    }

    /// Counts items by how their export went.
    pub(crate) fn finished(&self, items: u64, success: bool) {
        if success {
            self.exported.fetch_add(items, Ordering::Relaxed);
        } else {
            self.failed.fetch_add(items, Ordering::Relaxed);
            self.lost_by_process.fetch_add(items, Ordering::Relaxed);
        }
    }

    pub(crate) fn ledger(&self) -> Ledger {
        Ledger {
            exported: self.exported.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            produced: self.produced.load(Ordering::Relaxed),
        }
    }
}

/// The counts of one signal at both destinations.
#[derive(Debug)]
pub(crate) struct SignalCounts {
    pub(crate) bundle: Counts,
    pub(crate) otlp: Counts,
}

impl SignalCounts {
    fn new(losses: &Losses, signal: Signal) -> Self {
        Self {
            bundle: Counts::new(losses, signal, Destination::Bundle),
            otlp: Counts::new(losses, signal, Destination::Otlp),
        }
    }

    pub(crate) fn ledger(&self, with_otlp: bool) -> SignalLedger {
        SignalLedger { bundle: self.bundle.ledger(), otlp: with_otlp.then(|| self.otlp.ledger()) }
    }
}

/// The counts of everything that a run, or what is outside of every run, made.
#[derive(Debug)]
pub(crate) struct AllCounts {
    pub(crate) traces: SignalCounts,
    pub(crate) metrics: SignalCounts,
    pub(crate) logs: SignalCounts,
}

impl AllCounts {
    /// Counts from zero; what is lost is added to `losses` too.
    pub(crate) fn new(losses: &Losses) -> Self {
        Self {
            traces: SignalCounts::new(losses, Signal::Traces),
            metrics: SignalCounts::new(losses, Signal::Metrics),
            logs: SignalCounts::new(losses, Signal::Logs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_losses_make_warnings() {
        let whole = Ledger { produced: 3, exported: 3, ..Ledger::default() };
        let lossy = Ledger { produced: 10, exported: 2, failed: 5, dropped: 1 };
        let ledgers = SignalLedgers {
            traces: SignalLedger { bundle: whole, otlp: Some(lossy) },
            ..SignalLedgers::default()
        };
        assert_eq!(
            ledgers.warnings(),
            ["8 of 10 spans did not reach the OTLP endpoint (5 failed, 1 dropped, 2 still waiting)"]
        );
    }
}
