//! Recording the events of a run, and delivering them beside it.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use daglight_run_bundle::{
    Bundle, CheckRecord, DeliveryCounts, LedgerDestination, LedgerSignal, LineageEvents, RecordedOutcome,
    SignalLedger, WriteError,
};
use daglight_run_identity::RunId;

use crate::{
    delivery::Delivery,
    event::{EventType, RunEvent},
    events_of::{checks_event, input, node_event, output, run_event, type_of},
    facts::{DatasetFacts, Ending, NodeFacts, RunFacts},
    target::Target,
};

/// Events of a run that say no more than that it goes on, at most: their times are further and further apart.
const MAX_RUNNING: u32 = 16;
/// When the first of them comes; each later one comes after twice the time.
const FIRST_RUNNING: Duration = Duration::from_secs(60);

/// The events of a run. Nothing here waits but [`LineageRun::flush`].
#[derive(Debug)]
pub struct LineageRun {
    facts: RunFacts,
    events: Arc<LineageEvents>,
    delivery: Option<Delivery>,
    /// What its destination is called.
    target: String,
    running: std::sync::atomic::AtomicU32,
}

impl LineageRun {
    /// Opens the file of a bundle, and starts its delivery.
    ///
    /// # Errors
    /// When the file cannot be opened: then nothing is recorded or sent.
    pub fn start(bundle: &Bundle, facts: RunFacts, target: Target) -> Result<Self, WriteError> {
        let events = Arc::new(LineageEvents::open(bundle)?);
        let name = target.name();
        // Without a thread the events wait in the bundle.
        let delivery = Delivery::start(bundle.dir(), Arc::clone(&events), target).ok();
        Ok(Self { facts, events, delivery, target: name, running: 0.into() })
    }

    /// What its destination is called.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The namespace of its jobs.
    pub fn namespace(&self) -> &str {
        &self.facts.namespace
    }

    /// The run began.
    ///
    /// # Errors
    /// When the event cannot be written. It is counted as lost.
    pub fn run_started(&self, time: DateTime<Utc>) -> Result<(), WriteError> {
        self.record(&run_event(&self.facts, EventType::Start, time, None))
    }

    /// The run goes on, for so long by now. An event is made of it after a minute, after two, four and so on, of each once.
    ///
    /// # Errors
    /// As [`LineageRun::run_started`].
    pub fn run_goes_on(&self, time: DateTime<Utc>, elapsed: Duration) -> Result<(), WriteError> {
        use std::sync::atomic::Ordering::Relaxed;

        let said = self.running.load(Relaxed);
        if said >= MAX_RUNNING || elapsed < FIRST_RUNNING * (1 << said) {
            return Ok(());
        }
        // Beats come one after the other.
        self.running.store(said + 1, Relaxed);
        self.record(&run_event(&self.facts, EventType::Running, time, None))
    }

    /// The run ended.
    ///
    /// # Errors
    /// As [`LineageRun::run_started`].
    pub fn run_ended(&self, time: DateTime<Utc>, ending: &Ending) -> Result<(), WriteError> {
        self.record(&run_event(&self.facts, type_of(ending), time, Some(ending)))
    }

    /// A node began.
    ///
    /// # Errors
    /// As [`LineageRun::run_started`].
    pub fn node_started(&self, node: &NodeFacts, time: DateTime<Utc>) -> Result<(), WriteError> {
        self.record(&node_event(&self.facts, node, EventType::Start, time, None))
    }

    /// A node ended.
    ///
    /// # Errors
    /// As [`LineageRun::run_started`].
    pub fn node_ended(
        &self,
        node: &NodeFacts,
        time: DateTime<Utc>,
        ending: &Ending,
        inputs: Vec<DatasetFacts>,
        outputs: Vec<DatasetFacts>,
    ) -> Result<(), WriteError> {
        let event = node_event(&self.facts, node, type_of(ending), time, Some(ending));
        let inputs = inputs.into_iter().map(input).collect();
        let checked: Vec<DatasetFacts> = outputs.iter().filter_map(checked).collect();
        self.record(&event.with_datasets(inputs, outputs.into_iter().map(output).collect()))?;
        checked.into_iter().try_for_each(|dataset| self.checks_ended(node, time, dataset))
    }

    /// The rows of a dataset were checked while the node wrote them.
    fn checks_ended(
        &self,
        node: &NodeFacts,
        time: DateTime<Utc>,
        dataset: DatasetFacts,
    ) -> Result<(), WriteError> {
        let failed = dataset.checks.iter().any(CheckRecord::fails_the_node);
        let end = if failed { EventType::Fail } else { EventType::Complete };
        let run_id = RunId::new();
        self.record(&checks_event(&self.facts, node, run_id, EventType::Start, time))?;
        let event = checks_event(&self.facts, node, run_id, end, time);
        self.record(&event.with_datasets(vec![input(dataset)], Vec::new()))
    }

    /// Waits until all events are delivered, nothing more will be, or the time is over.
    pub fn flush(&self, timeout: Duration) {
        if let Some(delivery) = &self.delivery {
            delivery.flush(timeout);
            delivery.stop();
        }
    }

    /// The counts: towards the file of the bundle, and towards the destination.
    pub fn accounts(&self) -> Vec<SignalLedger> {
        let (produced, lost) = (self.events.produced(), self.events.lost());
        let written = produced - lost.values().sum::<u64>();
        let of_file = DeliveryCounts::of(produced, written, lost.clone());
        let of_target = match &self.delivery {
            Some(delivery) => {
                let (progress, last_error) = delivery.progress();
                DeliveryCounts { last_error, ..progress.ledger(written, &lost) }
            }
            None => DeliveryCounts::of(produced, 0, lost),
        };
        let account =
            |destination, ledger| SignalLedger { signal: LedgerSignal::Lineage, destination, ledger };
        vec![account(LedgerDestination::Bundle, of_file), account(LedgerDestination::OpenLineage, of_target)]
    }

    fn record(&self, event: &RunEvent) -> Result<(), WriteError> {
        self.events.append(event)?;
        if let Some(delivery) = &self.delivery {
            delivery.written();
        }
        Ok(())
    }
}

/// What an output is as the input of its checks. `None` where no check of it was decided.
fn checked(output: &DatasetFacts) -> Option<DatasetFacts> {
    let is_decided = |check: &CheckRecord| check.outcome != RecordedOutcome::Undecided;
    output.checks.iter().any(is_decided).then(|| DatasetFacts {
        columns: output.columns.clone(),
        checks: output.checks.clone(),
        ..DatasetFacts::new(output.name.clone())
    })
}
