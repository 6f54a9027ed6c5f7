//! The counts of a run's signals: what became of each item.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use daglight_run_bundle::{
    DeliveryCounts, LedgerDestination, LedgerSignal, SignalLedger, Warning, WarningCode,
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
}

impl From<Signal> for LedgerSignal {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Traces => Self::Traces,
            Signal::Metrics => Self::Metrics,
            Signal::Logs => Self::Logs,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The counts of one signal, by destination.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationCounts {
    /// Items for the file of the bundle.
    pub bundle: DeliveryCounts,
    /// Items for OTLP; `None` if that is not configured.
    pub otlp: Option<DeliveryCounts>,
}

/// The counts of all signals of a run, or of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalLedgers {
    /// Spans.
    pub traces: DestinationCounts,
    /// Data points.
    pub metrics: DestinationCounts,
    /// Log records.
    pub logs: DestinationCounts,
    /// Errors of the files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub file_errors: Vec<Warning>,
    /// Errors of the endpoints, as text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub export_errors: Vec<String>,
}

impl SignalLedgers {
    /// The counts of one signal.
    pub fn of(&self, signal: Signal) -> &DestinationCounts {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
            Signal::Logs => &self.logs,
        }
    }

    /// The counts as a list, in the form for the manifest and the report.
    pub fn accounts(&self) -> Vec<SignalLedger> {
        let mut accounts = Vec::new();
        for signal in Signal::ALL {
            let DestinationCounts { bundle, otlp } = self.of(signal).clone();
            let destinations = [(LedgerDestination::Bundle, Some(bundle)), (LedgerDestination::Otlp, otlp)];
            for (destination, ledger) in destinations {
                let account = |ledger| SignalLedger { signal: signal.into(), destination, ledger };
                accounts.extend(ledger.map(account));
            }
        }
        accounts
    }

    /// One sentence for each signal and destination that lost items, and the errors.
    pub fn warnings(&self) -> Vec<String> {
        let of_bundle = self.bundle_warnings().into_iter().map(|warning| warning.message);
        of_bundle.chain(self.export_warnings()).collect()
    }

    /// One sentence for each signal that lost items on the way to the bundle, and the errors.
    pub fn bundle_warnings(&self) -> Vec<Warning> {
        // The console shows only the first warning about lack of disk space: it names the file and the cause.
        let losses = self.losses("the bundle", |ledger| Some(&ledger.bundle));
        let losses = losses.map(|loss| Warning::new(WarningCode::BundleIncomplete, loss));
        self.file_errors.iter().cloned().chain(losses).collect()
    }

    /// One sentence for each signal that lost items on the way to the OTLP endpoint, and the errors.
    pub fn export_warnings(&self) -> Vec<String> {
        let losses = self.losses("the OTLP endpoint", |ledger| ledger.otlp.as_ref());
        losses.chain(self.export_errors.iter().cloned()).collect()
    }

    fn losses(
        &self,
        destination: &str,
        of: fn(&DestinationCounts) -> Option<&DeliveryCounts>,
    ) -> impl Iterator<Item = String> {
        Signal::ALL.into_iter().filter_map(move |signal| {
            let ledger = of(self.of(signal)).filter(|ledger| !ledger.is_complete())?;
            Some(format!(
                "{} of {} {} did not reach {destination} ({} failed, {} dropped, {} still waiting)",
                ledger.produced.saturating_sub(ledger.delivered),
                ledger.produced,
                LedgerSignal::from(signal).items(),
                ledger.dropped_for(DeliveryCounts::FAILED),
                ledger.dropped_for(DeliveryCounts::DROPPED),
                ledger.waiting,
            ))
        })
    }
}

/// The maximum number of DAGs of a process whose losses are counted separately; later ones share one name.
const MOST_DAGS: usize = 64;
/// The shared name, from the semantic conventions.
const OTHER_DAGS: &str = "_OTHER";

/// Losses over all runs of a process, by DAG.
#[derive(Debug, Clone, Default)]
pub(crate) struct Losses(Arc<Mutex<Vec<Arc<Loss>>>>);

/// The losses of one signal of a DAG's runs at one destination.
#[derive(Debug)]
pub(crate) struct Loss {
    /// `None` for signals outside all runs.
    pub(crate) dag: Option<String>,
    pub(crate) signal: Signal,
    pub(crate) destination: LedgerDestination,
    items: AtomicU64,
}

impl Losses {
    /// All counters with their losses.
    pub(crate) fn all(&self) -> Vec<Arc<Loss>> {
        self.lock().iter().filter(|loss| loss.items() > 0).map(Arc::clone).collect()
    }

    /// The counter for losses of a signal of a DAG's runs on the way to a destination.
    fn of(&self, dag: Option<&str>, signal: Signal, destination: LedgerDestination) -> Arc<Loss> {
        let mut known = self.lock();
        let of_signal = |loss: &&Arc<Loss>| loss.signal == signal && loss.destination == destination;
        let find = |dag: Option<&str>| known.iter().filter(of_signal).find(|loss| loss.dag.as_deref() == dag);
        if let Some(loss) = find(dag) {
            return Arc::clone(loss);
        }
        let is_full = known.iter().filter(of_signal).filter(|loss| loss.dag.is_some()).count() >= MOST_DAGS;
        let dag = dag.map(|dag| if is_full { OTHER_DAGS } else { dag });
        if let Some(loss) = find(dag) {
            return Arc::clone(loss);
        }
        let dag = dag.map(str::to_owned);
        let loss = Arc::new(Loss { dag, signal, destination: destination.clone(), items: AtomicU64::new(0) });
        known.push(Arc::clone(&loss));
        loss
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Loss>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loss {
    pub(crate) fn items(&self) -> u64 {
        self.items.load(Ordering::Relaxed)
    }

    fn add(&self, items: u64) {
        self.items.fetch_add(items, Ordering::Relaxed);
    }
}

/// [`DeliveryCounts`] that are being updated.
#[derive(Debug)]
pub(crate) struct Counts {
    produced: AtomicU64,
    exported: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    lost_by_dag: Arc<Loss>,
}

impl Counts {
    fn new(lost_by_dag: Arc<Loss>) -> Self {
        Self {
            produced: AtomicU64::new(0),
            exported: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            lost_by_dag,
        }
    }

    pub(crate) fn produced(&self, items: u64) {
        self.produced.fetch_add(items, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self, items: u64) {
        self.dropped.fetch_add(items, Ordering::Relaxed);
        self.lost_by_dag.add(items);
    }

    /// Counts items by the result of their export.
    pub(crate) fn finished(&self, items: u64, success: bool) {
        if success {
            self.exported.fetch_add(items, Ordering::Relaxed);
        } else {
            self.failed.fetch_add(items, Ordering::Relaxed);
            self.lost_by_dag.add(items);
        }
    }

    pub(crate) fn ledger(&self) -> DeliveryCounts {
        // The number of produced items is read last: an item that arrives meanwhile counts as waiting, and never twice.
        let delivered = self.exported.load(Ordering::Relaxed);
        let lost = [
            (DeliveryCounts::FAILED, self.failed.load(Ordering::Relaxed)),
            (DeliveryCounts::DROPPED, self.dropped.load(Ordering::Relaxed)),
        ];
        // Reasons that never occurred are left out.
        let lost = lost.into_iter().filter(|(_, items)| *items > 0);
        let dropped = lost.map(|(reason, items)| (reason.to_owned(), items)).collect();
        DeliveryCounts::of(self.produced.load(Ordering::Relaxed), delivered, dropped)
    }
}

/// The counts of one signal at both destinations.
#[derive(Debug)]
pub(crate) struct SignalCounts {
    pub(crate) bundle: Counts,
    pub(crate) otlp: Counts,
}

impl SignalCounts {
    fn new(losses: &Losses, dag: Option<&str>, signal: Signal) -> Self {
        let counts = |destination| Counts::new(losses.of(dag, signal, destination));
        Self { bundle: counts(LedgerDestination::Bundle), otlp: counts(LedgerDestination::Otlp) }
    }

    pub(crate) fn ledger(&self, with_otlp: bool) -> DestinationCounts {
        DestinationCounts { bundle: self.bundle.ledger(), otlp: with_otlp.then(|| self.otlp.ledger()) }
    }
}

/// The counts of everything from a run, or from outside all runs.
#[derive(Debug)]
pub(crate) struct AllCounts {
    pub(crate) traces: SignalCounts,
    pub(crate) metrics: SignalCounts,
    pub(crate) logs: SignalCounts,
}

impl AllCounts {
    /// Counts from zero; losses are also added to `losses`, under the name of the run's DAG.
    pub(crate) fn new(losses: &Losses, dag: Option<&str>) -> Self {
        let counts = |signal| SignalCounts::new(losses, dag, signal);
        Self { traces: counts(Signal::Traces), metrics: counts(Signal::Metrics), logs: counts(Signal::Logs) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn losses_are_kept_apart_by_dag_up_to_a_number_of_them() {
        let losses = Losses::default();
        let lose = |dag: Option<&str>| AllCounts::new(&losses, dag).traces.otlp.dropped(1);
        lose(None);
        for number in 0..=MOST_DAGS {
            lose(Some(&format!("dag_{number}")));
            lose(Some("dag_0"));
        }
        let of = |dag: Option<&str>| {
            losses
                .all()
                .iter()
                .filter(|loss| loss.dag.as_deref() == dag)
                .map(|loss| loss.items())
                .sum::<u64>()
        };
        assert_eq!((of(None), of(Some("dag_1")), of(Some(OTHER_DAGS))), (1, 1, 1));
        assert_eq!((of(Some("dag_0")), losses.all().len()), (MOST_DAGS as u64 + 2, MOST_DAGS + 2));
    }

    #[test]
    fn only_losses_make_warnings() {
        let whole = DeliveryCounts::of(3, 3, BTreeMap::new());
        let lost = BTreeMap::from([("failed".to_owned(), 5), ("dropped".to_owned(), 1)]);
        let lossy = DeliveryCounts::of(10, 2, lost);
        let ledgers = SignalLedgers {
            traces: DestinationCounts { bundle: whole, otlp: Some(lossy) },
            ..SignalLedgers::default()
        };
        assert_eq!(
            ledgers.warnings(),
            ["8 of 10 spans did not reach the OTLP endpoint (5 failed, 1 dropped, 2 still waiting)"]
        );
    }
}
