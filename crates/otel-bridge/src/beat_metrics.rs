//! The instruments of the heartbeat, and its measurements.

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Meter},
};

use crate::names::{Namespace, metric, process_metric};

/// The measurements of a heartbeat. Counts cover the time since the last beat, other values are the current state. `None` means
/// unknown, and does not affect the instrument.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BeatMeasures {
    /// Nodes that have not started.
    pub pending_tasks: u64,
    /// Nodes that have ended.
    pub completed_tasks: u64,
    /// Bytes that the process has read from storage since the last beat.
    pub io_bytes_read: u64,
    /// Bytes that the process has written to storage since the last beat.
    pub io_bytes_written: u64,
    /// Rows that scans have returned since the last beat.
    pub rows_read: u64,
    /// Rows that sinks have accepted since the last beat.
    pub rows_written: u64,
    /// Bytes that scans have read since the last beat.
    pub bytes_read: u64,
    /// Bytes that sinks have written since the last beat.
    pub bytes_written: u64,
    /// Bytes that operators have spilled since the last beat.
    pub bytes_spilled: u64,
    /// Bytes that are reserved in memory pools.
    pub memory_reserved: Option<u64>,
    /// The maximum number of bytes that can be reserved.
    pub memory_limit: Option<u64>,
    /// Worker threads of the async runtime.
    pub runtime_workers: Option<u64>,
    /// Worker threads that are running a task.
    pub runtime_busy_workers: Option<u64>,
    /// Tasks waiting in the shared queue of the worker threads.
    pub runtime_queue_depth: Option<u64>,
    /// Processor seconds that the process has used since the last beat.
    pub cpu_seconds: f64,
    /// Resident memory of the process.
    pub resident_bytes: Option<u64>,
    /// Threads of the process.
    pub threads: Option<u64>,
    /// Files that the process has open.
    pub open_files: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct BeatInstruments {
    pending_tasks: Gauge<u64>,
    completed_tasks: Gauge<u64>,
    io_bytes_read: Counter<u64>,
    io_bytes_written: Counter<u64>,
    rows_read: Counter<u64>,
    rows_written: Counter<u64>,
    bytes_read: Counter<u64>,
    bytes_written: Counter<u64>,
    bytes_spilled: Counter<u64>,
    memory_reserved: Gauge<u64>,
    memory_limit: Gauge<u64>,
    runtime_workers: Gauge<u64>,
    runtime_busy_workers: Gauge<u64>,
    runtime_queue_depth: Gauge<u64>,
    cpu_seconds: Counter<f64>,
    resident_bytes: Gauge<u64>,
    threads: Gauge<u64>,
    open_files: Gauge<u64>,
}

impl BeatInstruments {
    pub(crate) fn new(meter: &Meter, namespace: &Namespace) -> Self {
        let counter = |name: &str, unit: &'static str, what: &'static str| {
            meter.u64_counter(namespace.join(name)).with_unit(unit).with_description(what).build()
        };
        let plain_gauge = |name: String, unit: &'static str, what: &'static str| {
            meter.u64_gauge(name).with_unit(unit).with_description(what).build()
        };
        let gauge = |name: &str, unit: &'static str, what: &'static str| {
            plain_gauge(namespace.join(name), unit, what)
        };
        Self {
            pending_tasks: gauge(metric::PENDING_TASKS, "{task}", "Nodes that have not started"),
            completed_tasks: gauge(metric::COMPLETED_TASKS, "{task}", "Nodes that have ended"),
            io_bytes_read: counter(metric::BYTES_READ, "By", "Bytes that the process read from storage"),
            io_bytes_written: counter(metric::BYTES_WRITTEN, "By", "Bytes that the process wrote to storage"),
            rows_read: counter(metric::QUERY_ROWS_READ, "{row}", "Rows that scans returned"),
            rows_written: counter(metric::QUERY_ROWS_WRITTEN, "{row}", "Rows that sinks took"),
            bytes_read: counter(metric::QUERY_BYTES_READ, "By", "Bytes that scans read from storage"),
            bytes_written: counter(metric::QUERY_BYTES_WRITTEN, "By", "Bytes that sinks wrote to storage"),
            bytes_spilled: counter(metric::QUERY_BYTES_SPILLED, "By", "Bytes that operators spilled"),
            memory_reserved: gauge(metric::MEMORY_RESERVED, "By", "Bytes reserved in memory pools"),
            memory_limit: gauge(metric::MEMORY_LIMIT, "By", "Bytes that may be reserved in memory pools"),
            runtime_workers: gauge(metric::RUNTIME_WORKERS, "{thread}", "Threads of the async runtime"),
            runtime_busy_workers: gauge(metric::RUNTIME_BUSY_WORKERS, "{thread}", "Threads that run a task"),
            runtime_queue_depth: gauge(metric::RUNTIME_QUEUE_DEPTH, "{task}", "Tasks in the shared queue"),
            cpu_seconds: meter
                .f64_counter(process_metric::CPU_TIME)
                .with_unit("s")
                .with_description("Processor time of the process during the run")
                .build(),
            resident_bytes: plain_gauge(
                process_metric::MEMORY_USAGE.to_owned(),
                "By",
                "Memory that the process holds",
            ),
            threads: plain_gauge(
                process_metric::THREAD_COUNT.to_owned(),
                "{thread}",
                "Threads of the process",
            ),
            open_files: plain_gauge(
                process_metric::FILE_DESCRIPTOR_COUNT.to_owned(),
                "{file_descriptor}",
                "Files that the process has open",
            ),
        }
    }

    /// Counts of 0 are skipped and make no data point.
    pub(crate) fn record(&self, measures: &BeatMeasures, attributes: &[KeyValue]) {
        for (counter, amount) in [
            (&self.rows_read, measures.rows_read),
            (&self.rows_written, measures.rows_written),
            (&self.bytes_read, measures.bytes_read),
            (&self.bytes_written, measures.bytes_written),
            (&self.bytes_spilled, measures.bytes_spilled),
        ] {
            if amount > 0 {
                counter.add(amount, attributes);
            }
        }
        self.io_bytes_read.add(measures.io_bytes_read, attributes);
        self.io_bytes_written.add(measures.io_bytes_written, attributes);
        if measures.cpu_seconds > 0.0 {
            self.cpu_seconds.add(measures.cpu_seconds, attributes);
        }
        for (gauge, state) in [
            (&self.pending_tasks, Some(measures.pending_tasks)),
            (&self.completed_tasks, Some(measures.completed_tasks)),
            (&self.memory_reserved, measures.memory_reserved),
            (&self.memory_limit, measures.memory_limit),
            (&self.runtime_workers, measures.runtime_workers),
            (&self.runtime_busy_workers, measures.runtime_busy_workers),
            (&self.runtime_queue_depth, measures.runtime_queue_depth),
            (&self.resident_bytes, measures.resident_bytes),
            (&self.threads, measures.threads),
            (&self.open_files, measures.open_files),
        ] {
            if let Some(state) = state {
                gauge.record(state, attributes);
            }
        }
    }
}
