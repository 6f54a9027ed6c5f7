//! The instruments of a run, and their attribute sets, whose number is bounded for any run.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use opentelemetry::{
    KeyValue, Value,
    metrics::{Counter, Histogram, Meter, UpDownCounter},
    trace::SpanContext,
};

use crate::{
    beat_metrics::{BeatInstruments, BeatMeasures},
    exemplars::{DURATION_BOUNDS, Exemplars},
    ledger::Losses,
    names::{Key, Namespace, key, metric, span},
    span_status::SpanStatus,
    vocabulary::Vocabulary,
};

/// How many names of one kind become separate attribute values; later ones become [`OTHER`].
const MOST_NAMES: usize = 64;
const OTHER: &str = "_OTHER";

/// The metrics of one run. They are written to the run's bundle and, if configured, exported over OTLP.
///
/// Attributes are the stage, the kind of a node, the operation and its status, but never a table or a node, so that their number is
/// bounded for a run of any size.
#[derive(Debug, Clone)]
pub struct RunMetrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    instruments: Vec<Instruments>,
    vocabulary: Arc<Vocabulary>,
    dag_name: KeyValue,
    stages: BoundedNames,
    kinds: BoundedNames,
    error_types: BoundedNames,
}

/// The facts of a span at its end.
#[derive(Debug)]
pub(crate) struct Measured<'a> {
    pub(crate) operation: &'static str,
    pub(crate) stage: Option<&'a str>,
    pub(crate) node_kind: Option<&'static str>,
    pub(crate) status: SpanStatus,
    pub(crate) error_type: Option<&'a str>,
    pub(crate) duration: Duration,
    pub(crate) ended_at: SystemTime,
    pub(crate) span: &'a SpanContext,
    pub(crate) row_count: Option<u64>,
    pub(crate) column_count: Option<u64>,
    pub(crate) bytes: Option<u64>,
}

impl RunMetrics {
    /// The same instruments for each of the meters, with the exemplars of their histograms.
    pub(crate) fn new(
        meters: &[(Meter, Exemplars)],
        namespace: &Namespace,
        vocabulary: Arc<Vocabulary>,
        dag_name: String,
    ) -> Self {
        let instruments = meters
            .iter()
            .map(|(meter, exemplars)| Instruments::new(meter, namespace, exemplars.clone()))
            .collect();
        let inner = Inner {
            instruments,
            vocabulary,
            dag_name: KeyValue::new(key::HAMILTON_DAG_NAME, dag_name),
            stages: BoundedNames::default(),
            kinds: BoundedNames::default(),
            error_types: BoundedNames::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Counts an output that was written or registered; `kind` is its format or type, such as `parquet`.
    pub fn artifact(&self, kind: &str) {
        let kind = self.inner.attribute(Key::ArtifactKind, self.inner.kinds.bounded(kind).to_owned());
        self.inner.each([kind], |instruments, attributes| instruments.artifacts.add(1, attributes));
    }

    /// Counts requests of a query to object stores; `operation` is the type of request, such as `get`.
    pub fn storage(&self, operation: &'static str, requests: u64, bytes: u64, time: Duration) {
        let operation = self.inner.attribute(Key::StorageOperation, operation);
        self.inner.each([operation], |instruments, attributes| {
            instruments.storage_requests.add(requests, attributes);
            instruments.storage_bytes.add(bytes, attributes);
            instruments.storage_time.add(time.as_secs_f64(), attributes);
        });
    }

    /// Counts a stall that started. Of its facts, only the class becomes an attribute: there are few classes.
    pub(crate) fn stalled(&self, facts: &[KeyValue]) {
        let class_key = self.inner.vocabulary.key(Key::StallClass);
        let class = facts.iter().find(|fact| fact.key == class_key).cloned();
        self.inner.each(class, |instruments, attributes| instruments.stalls.add(1, attributes));
    }

    /// Records the measurements of a heartbeat.
    pub fn beat(&self, measures: &BeatMeasures) {
        self.inner.each([], |instruments, attributes| instruments.beat.record(measures, attributes));
    }

    /// Counts nodes that start (1) and end (-1).
    pub(crate) fn active_tasks(&self, change: i64) {
        self.inner.each([], |instruments, attributes| instruments.active_tasks.add(change, attributes));
    }

    pub(crate) fn ended(&self, measured: &Measured<'_>) {
        let inner = &self.inner;
        let operation = inner.attribute(Key::Operation, measured.operation);
        let status = inner.attribute(Key::Status, measured.status.name());
        let stage =
            measured.stage.map(|stage| inner.attribute(Key::Stage, inner.stages.bounded(stage).to_owned()));
        let node_kind = measured.node_kind.map(|kind| inner.attribute(Key::NodeKind, kind));
        let described = [Some(status), stage.clone(), node_kind].into_iter().flatten();
        inner.each(described, |instruments, attributes| {
            if let Some(duration) = instruments.duration_of(measured.operation) {
                let seconds = measured.duration.as_secs_f64();
                duration.histogram.record(seconds, attributes);
                let at = (seconds, measured.ended_at);
                instruments.exemplars.offer(&duration.name, attributes, at, measured.span);
            }
        });
        let located = [Some(operation), stage].into_iter().flatten();
        let amounts = [measured.row_count, measured.column_count, measured.bytes];
        if amounts.iter().any(Option::is_some) {
            inner.each(located.clone(), |instruments, attributes| {
                let counters = [&instruments.rows, &instruments.columns, &instruments.bytes];
                for (counter, amount) in counters.into_iter().zip(amounts) {
                    if let Some(amount) = amount {
                        counter.add(amount, attributes);
                    }
                }
            });
        }
        if let Some(error_type) = measured.error_type {
            let error_type = KeyValue::new(key::ERROR_TYPE, inner.error_types.bounded(error_type).to_owned());
            inner.each(located.chain([error_type]), |instruments, attributes| {
                instruments.errors.add(1, attributes)
            });
        }
    }
}

impl Inner {
    fn attribute(&self, key: Key, value: impl Into<Value>) -> KeyValue {
        KeyValue::new(self.vocabulary.key(key), value)
    }

    fn each(
        &self,
        attributes: impl IntoIterator<Item = KeyValue>,
        record: impl Fn(&Instruments, &[KeyValue]),
    ) {
        let attributes: Vec<KeyValue> = std::iter::once(self.dag_name.clone()).chain(attributes).collect();
        for instruments in &self.instruments {
            record(instruments, &attributes);
        }
    }
}

#[derive(Debug)]
struct Instruments {
    exemplars: Exemplars,
    run: Durations,
    task: Durations,
    stage: Durations,
    plan: Durations,
    execute: Durations,
    write: Durations,
    rows: Counter<u64>,
    columns: Counter<u64>,
    bytes: Counter<u64>,
    artifacts: Counter<u64>,
    errors: Counter<u64>,
    stalls: Counter<u64>,
    active_tasks: UpDownCounter<i64>,
    storage_requests: Counter<u64>,
    storage_bytes: Counter<u64>,
    storage_time: Counter<f64>,
    beat: BeatInstruments,
}

/// The durations of one kind of operation.
#[derive(Debug)]
struct Durations {
    name: String,
    histogram: Histogram<f64>,
}

impl Instruments {
    fn new(meter: &Meter, namespace: &Namespace, exemplars: Exemplars) -> Self {
        let duration = |name: &str, what: &'static str| {
            let name = namespace.join(name);
            let histogram = meter
                .f64_histogram(name.clone())
                .with_unit("s")
                .with_description(what)
                .with_boundaries(DURATION_BOUNDS.to_vec())
                .build();
            Durations { name, histogram }
        };
        let counter = |name: &str, unit: &'static str, what: &'static str| {
            meter.u64_counter(namespace.join(name)).with_unit(unit).with_description(what).build()
        };
        Self {
            exemplars,
            run: duration(metric::RUN_DURATION, "Runs, from start to end"),
            task: duration(metric::TASK_DURATION, "Nodes, from start to end"),
            stage: duration(metric::STAGE_DURATION, "Stages, from start to end"),
            plan: duration(metric::PLAN_DURATION, "Planning of queries"),
            execute: duration(metric::EXECUTE_DURATION, "Execution of queries"),
            write: duration(metric::WRITE_DURATION, "Execution of queries that write"),
            rows: counter(metric::ROWS, "{row}", "Rows that operations read or wrote"),
            columns: counter(metric::COLUMNS, "{column}", "Columns of what operations read or wrote"),
            bytes: counter(metric::BYTES, "By", "Bytes that operations read or wrote"),
            artifacts: counter(metric::ARTIFACTS, "{artifact}", "Outputs written or registered"),
            errors: counter(metric::ERRORS, "{error}", "Operations that failed"),
            stalls: counter(metric::STALLS, "{stall}", "Stalls that began"),
            active_tasks: meter
                .i64_up_down_counter(namespace.join(metric::ACTIVE_TASKS))
                .with_unit("{task}")
                .with_description("Nodes that run at this moment")
                .build(),
            storage_requests: counter(metric::STORAGE_REQUESTS, "{request}", "Requests to object stores"),
            storage_bytes: counter(metric::STORAGE_BYTES, "By", "Bytes of requests to object stores"),
            storage_time: meter
                .f64_counter(namespace.join(metric::STORAGE_TIME))
                .with_unit("s")
                .with_description("Time until requests to object stores were answered")
                .build(),
            beat: BeatInstruments::new(meter, namespace),
        }
    }

    fn duration_of(&self, operation: &str) -> Option<&Durations> {
        match operation {
            span::PIPELINE_EXECUTE => Some(&self.run),
            span::NODE | span::TASK => Some(&self.task),
            span::STAGE => Some(&self.stage),
            span::PLAN => Some(&self.plan),
            span::EXECUTE => Some(&self.execute),
            span::WRITE => Some(&self.write),
            _ => None,
        }
    }
}

/// Makes the meter report the losses of the process. Nothing is reported as long as there are none.
pub(crate) fn show_losses(meter: &Meter, namespace: &Namespace, vocabulary: &Vocabulary, losses: Losses) {
    let keys = [Key::Signal, Key::Destination].map(|key| vocabulary.key(key));
    // The instrument lives as long as the provider of its meter.
    let _ = meter
        .u64_observable_counter(namespace.join(metric::TELEMETRY_LOST))
        .with_unit("{item}")
        .with_description("Telemetry that did not reach a destination")
        .with_callback(move |observer| {
            for loss in losses.all() {
                let [signal, destination] = keys.clone();
                let dag = loss.dag.clone().map(|dag| KeyValue::new(key::HAMILTON_DAG_NAME, dag));
                let attributes = [
                    KeyValue::new(signal, loss.signal.name()),
                    KeyValue::new(destination, loss.destination.name().to_owned()),
                ];
                let attributes: Vec<KeyValue> = dag.into_iter().chain(attributes).collect();
                observer.observe(loss.items(), &attributes);
            }
        })
        .build();
}

/// The first names as they are, and [`OTHER`] for later ones.
#[derive(Debug, Default)]
struct BoundedNames(Mutex<HashSet<String>>);

impl BoundedNames {
    fn bounded<'a>(&self, name: &'a str) -> &'a str {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(name) {
            return name;
        }
        if known.len() == MOST_NAMES {
            return OTHER;
        }
        known.insert(name.to_owned());
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_the_known_ones_stay() {
        let names = BoundedNames::default();
        let kept: HashSet<String> =
            (0..10_000).map(|n| names.bounded(&format!("stage_{n}")).to_owned()).collect();
        assert_eq!(kept.len(), MOST_NAMES + 1);
        assert_eq!(names.bounded("stage_3"), "stage_3");
        assert_eq!(names.bounded("late"), OTHER);
    }
}
