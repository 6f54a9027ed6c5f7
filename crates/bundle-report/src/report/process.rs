//! The process of a run, from its heartbeat.

use chrono::{DateTime, Utc};
use daglight_run_bundle::{Liveness, Stall};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::display;

/// The process of the run, from its heartbeat file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatReport {
    /// The process.
    pub pid: u32,
    /// Whether it lives; `None` when the heartbeat was stopped in good order.
    pub process: Option<Liveness>,
    /// Beats.
    pub beats: u64,
    /// Seconds between two beats.
    pub interval_seconds: f64,
    /// The longest time between two beats.
    pub longest_gap_seconds: f64,
    /// The longest time by which a beat or a sign between two came too late, in seconds. `None` in reports of older versions.
    #[serde(default)]
    pub late_seconds: Option<f64>,
    /// The last beat, or the start.
    pub last_beat_at: DateTime<Utc>,
    /// For how long the heartbeat has said nothing while its process lives, in seconds: its thread stands still. `None` where
    /// it beats, and for a run that does not go on.
    #[serde(default)]
    pub silent_seconds: Option<f64>,
    /// When the heartbeat was stopped in good order; `None` while the run goes on, and when it was killed.
    pub stopped_at: Option<DateTime<Utc>>,
    /// The stage when the process was last seen.
    pub stage: Option<String>,
    /// What ran when the process was last seen.
    pub active_tasks: Vec<ActiveTaskReport>,
    /// When the process was last measured: processor time, memory and storage are of the time until then. `None` in reports of older
    /// versions.
    #[serde(default)]
    pub measured_at: Option<DateTime<Utc>>,
    /// Processor time of the process.
    pub cpu_seconds: Option<f64>,
    /// The part of the machine's processor time that nobody used meanwhile, from 0 to 1. `None` where that is not known.
    #[serde(default)]
    pub idle_share: Option<f64>,
    /// The largest memory at a beat, or between two.
    pub peak_resident_bytes: Option<u64>,
    /// Bytes that the process read from storage.
    pub io_bytes_read: Option<u64>,
    /// Bytes that the process wrote to storage.
    pub io_bytes_written: Option<u64>,
    /// All stalls.
    pub stall_count: u64,
    /// The first of them.
    pub stalls: Vec<StallReport>,
}

/// What ran when the process was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActiveTaskReport {
    /// Its name.
    pub name: String,
    /// When it started.
    pub since: DateTime<Utc>,
}

/// The process at a beat of the heartbeat. Of a long run every second, fourth, eighth... beat is kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceSample {
    /// The time of the beat.
    pub at_ms: f64,
    /// Processor time of the process so far, in seconds.
    #[serde(default)]
    pub cpu_seconds: Option<f64>,
    /// Memory of the process.
    #[serde(default)]
    pub resident_bytes: Option<u64>,
    /// Memory that DataFusion's pool has given out.
    #[serde(default)]
    pub reserved_bytes: Option<u64>,
    /// Bytes that the process has read from storage so far.
    #[serde(default)]
    pub io_bytes_read: Option<u64>,
    /// Bytes that the process has written to storage so far.
    #[serde(default)]
    pub io_bytes_written: Option<u64>,
    /// Nodes that ran.
    #[serde(default)]
    pub active_tasks: Option<u64>,
}

impl ResourceSample {
    /// Completes it with the values of the previous sample: a beat contains only values that have changed.
    pub(crate) fn after(self, before: &Self) -> Self {
        Self {
            at_ms: self.at_ms,
            cpu_seconds: self.cpu_seconds.or(before.cpu_seconds),
            resident_bytes: self.resident_bytes.or(before.resident_bytes),
            reserved_bytes: self.reserved_bytes.or(before.reserved_bytes),
            io_bytes_read: self.io_bytes_read.or(before.io_bytes_read),
            io_bytes_written: self.io_bytes_written.or(before.io_bytes_written),
            active_tasks: self.active_tasks.or(before.active_tasks),
        }
    }
}

/// A query or a node that made no progress for a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StallReport {
    /// What stood still, where and why.
    #[serde(flatten)]
    pub stall: Stall,
    /// When it went on; `None` when it never did.
    pub ended: Option<DateTime<Utc>>,
    /// What can be done about it.
    #[serde(default)]
    pub remedy: Option<String>,
}

/// Processor time of a run, over all cores.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessorTime {
    /// What it used.
    pub(crate) cpu_ms: f64,
    /// The time that was available: its own, and what was idle. Time that other processes used was not available.
    pub(crate) could_have_ms: f64,
    /// The total of all cores.
    pub(crate) all_ms: f64,
}

impl ProcessorTime {
    /// The share of it that was used.
    pub(crate) fn used(self) -> f64 {
        self.cpu_ms / self.could_have_ms
    }

    /// The same, assuming that a run that asks for more gets at least a third of the cores, however busy others keep them, because
    /// schedulers are fair. A run that used less was waiting for something else.
    pub(crate) fn used_of_fair_share(self) -> f64 {
        const FAIR_SHARE: f64 = 1.0 / 3.0;
        self.cpu_ms / self.could_have_ms.max(FAIR_SHARE * self.all_ms)
    }
}

impl HeartbeatReport {
    /// The processor time in the `run_ms` of a run that were measured, with this many cores. `None` if the run has not recorded its
    /// own.
    pub(crate) fn processor_time(&self, run_ms: f64, cores: u64) -> Option<ProcessorTime> {
        let cpu_ms = self.cpu_seconds? * 1e3;
        let all_ms = run_ms * cores as f64;
        // If the system does not provide the idle time, everything was available to the run.
        let idle_ms = self.idle_share.map_or(all_ms, |idle| idle * all_ms);
        let could_have_ms = all_ms.min(cpu_ms + idle_ms);
        Some(ProcessorTime { cpu_ms, could_have_ms, all_ms }).filter(|_| could_have_ms > 0.0)
    }

    /// The share of a machine's processor time, with this many cores, that other processes used in the `run_ms` of a run that were
    /// measured, from 0 to 1. `None` if the system does not provide the idle time.
    pub(crate) fn others_share(&self, run_ms: f64, cores: u64) -> Option<f64> {
        let own = self.cpu_seconds? * 1e3 / (run_ms * cores as f64);
        Some((1.0 - self.idle_share? - own).clamp(0.0, 1.0)).filter(|share| share.is_finite())
    }

    /// The process in words, such as `17628, gone`.
    pub(crate) fn process_in_words(&self) -> String {
        let state = match self.process {
            None => "",
            Some(Liveness::Alive) => ", alive",
            Some(Liveness::Gone) => ", gone",
            Some(Liveness::Unknown) => ", which cannot be seen from where this report was made",
        };
        format!("{}{state}", self.pid)
    }

    /// The beats in words.
    pub(crate) fn beats_in_words(&self) -> String {
        let interval = display::duration(self.interval_seconds * 1e3);
        match self.beats {
            0 => format!("none yet, with one every {interval}"),
            beats => {
                let beats = display::plural(beats, "beat");
                format!("{beats}, one every {interval}, the last at {}", display::time(self.last_beat_at))
            }
        }
    }
}
