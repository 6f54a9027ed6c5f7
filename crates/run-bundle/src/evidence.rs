//! `heartbeat.json`: the proof that a process is alive, or what it was doing when it was last seen.

use std::io;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::process::{self, ProcessSpace, ProcessStat};

/// The version of `heartbeat.json`.
///
/// - 1: process, beats, active tasks, resources, stalls. Added later: `last_seen_at`, `signed_at`, `idle_share`, `measured_at`,
///   `late_seconds`, the `checksum` of the file, and for stalls `class`, `waits_for`, `cpu_seconds`, `threads` with their `number`,
///   `stack` and `writes_to`, and `statement`. Readers that do not know these fields ignore them.
pub const EVIDENCE_VERSION: u32 = 1;

/// The content of `heartbeat.json`. The whole file is replaced with each beat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProcessEvidence {
    /// The version of this format: [`EVIDENCE_VERSION`].
    pub format_version: u32,
    /// The process.
    pub pid: u32,
    /// When the process started, in ticks since the machine booted. Together with the pid it identifies one process.
    pub start_ticks: Option<u64>,
    /// The boot of the machine.
    pub boot_id: Option<String>,
    /// The namespace in which the pid is counted.
    pub pid_namespace: Option<String>,
    /// When the heartbeat started.
    pub started_at: DateTime<Utc>,
    /// The last beat, or the start before the first.
    pub last_beat_at: DateTime<Utc>,
    /// When the process was last seen, also between two beats, by the clock of the run. `None` in files of older versions.
    #[serde(default)]
    pub last_seen_at: Option<DateTime<Utc>>,
    /// The same time by the system clock, which may have been changed since the run began: other processes compare it with their
    /// own clock. `None` in files of older versions.
    #[serde(default)]
    pub signed_at: Option<DateTime<Utc>>,
    /// When the heartbeat was stopped properly; `None` while it beats, and if the process was killed.
    pub stopped_at: Option<DateTime<Utc>>,
    /// Beats so far.
    pub beats: u64,
    /// Seconds between two beats.
    pub interval_seconds: f64,
    /// The longest time between two beats; much more than the interval if the machine was overloaded or suspended.
    pub longest_gap_seconds: f64,
    /// The largest delay of a beat, or of a sign of life between two beats: the process was stopped, or got no processor time.
    /// `None` in files of older versions.
    #[serde(default)]
    pub late_seconds: Option<f64>,
    /// The stage at the time when the process was last seen.
    pub stage: Option<String>,
    /// The work that was active when the process was last seen.
    pub active_tasks: Vec<ActiveTask>,
    /// When the process was last measured, by the clock of the run: the measurements below cover the time until then. `None` in
    /// files of older versions, which measured at the last beat, and at the end.
    #[serde(default)]
    pub measured_at: Option<DateTime<Utc>>,
    /// Bytes that the process has read from and written to storage since the run started.
    pub io: Option<IoCounters>,
    /// Processor time of the process since the run started.
    pub cpu_seconds: Option<f64>,
    /// The share of the machine's processor time that was idle since the heartbeat started, including waits for disks, from 0 to 1.
    /// `None` in files of older versions, and if the system does not provide it.
    #[serde(default)]
    pub idle_share: Option<f64>,
    /// The largest resident memory among the measurements.
    pub peak_resident_bytes: Option<u64>,
    /// The stalls so far.
    pub stalls: StallLog,
}

/// Whether the process of a run still lives, as far as the one who asks can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    /// The process runs.
    Alive,
    /// The process has ended.
    Gone,
    /// It cannot be seen from here: another machine, another container, or a system that does not say.
    Unknown,
}

/// A node or another unit of work that has started and not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveTask {
    /// Its name.
    pub name: String,
    /// When it started.
    pub since: DateTime<Utc>,
}

/// Bytes read from and written to storage since the process started. Reads that the page cache served do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoCounters {
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
}

/// A query or a node in which nothing has changed for a while.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stall {
    /// The query; empty for a node that has none.
    pub query_id: String,
    /// The node that runs it.
    pub node: Option<String>,
    /// The statement or stage that runs it, or itself stands still, where that belongs to no node: in words, such as `the
    /// statement at shop.sql:12`.
    #[serde(default)]
    pub statement: Option<String>,
    /// The operator that most likely waits or computes; `None` where the plan does not show it.
    pub operator: Option<String>,
    /// What that operator does, as the plan shows it.
    pub detail: Option<String>,
    /// The last moment at which something changed.
    pub since: DateTime<Utc>,
    /// What kind of stall it is. `None` in files of older versions.
    #[serde(default)]
    pub class: Option<StallClass>,
    /// What it waits for, in words, where that is known.
    #[serde(default)]
    pub waits_for: Option<String>,
    /// Processor time of the process between the beat that saw the stall and the one before.
    #[serde(default)]
    pub cpu_seconds: Option<f64>,
    /// The threads that hold it up, where the system says what they do; no more than 16.
    #[serde(default)]
    pub threads: Vec<StalledThread>,
}

/// Identifies a stall among all stalls of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StallId {
    query_id: String,
    node: Option<String>,
    statement: Option<String>,
    /// A query that stalls, continues and stalls again has two stalls.
    since: DateTime<Utc>,
}

impl StallId {
    /// The node that stalled, if a node did.
    pub fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }
}

impl Stall {
    /// The identity of the stall. It stays the same when a later beat describes the stall again.
    pub fn id(&self) -> StallId {
        StallId {
            query_id: self.query_id.clone(),
            node: self.node.clone(),
            statement: self.statement.clone(),
            since: self.since,
        }
    }
}

/// Why something makes no progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StallClass {
    /// A source was asked for rows and has not answered.
    Source,
    /// A worker of a cluster does not answer, or does not come on with its task.
    Worker,
    /// An operator waits until the memory pool has room.
    Memory,
    /// What was written to standard output or standard error is not read by the program at the other end.
    Output,
    /// A call holds a thread and does not use it.
    BlockedCall,
    /// Such calls hold every thread of the async runtime.
    BlockedRuntime,
    /// Its threads compute, and nothing comes of it.
    Spinning,
    /// Its tasks wait for each other, or for a lock.
    Tasks,
    /// The code of a node waits for something other than a query.
    Outside,
}

impl StallClass {
    /// The name, as in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Worker => "worker",
            Self::Memory => "memory",
            Self::Output => "output",
            Self::BlockedCall => "blocked_call",
            Self::BlockedRuntime => "blocked_runtime",
            Self::Spinning => "spinning",
            Self::Tasks => "tasks",
            Self::Outside => "outside",
        }
    }

    /// A description of the class, to follow the name of the stalled work.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Source => "waits for a source",
            Self::Worker => "waits for a worker of the cluster",
            Self::Memory => "waits for memory",
            Self::Output => "waits for the reader of its output",
            Self::BlockedCall => "a blocking call holds its thread",
            Self::BlockedRuntime => "blocking calls hold all threads of the runtime",
            Self::Spinning => "is busy without output",
            Self::Tasks => "its tasks wait for each other, or for a lock",
            Self::Outside => "waits for something outside of its queries",
        }
    }

    /// What can be done about it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Source => {
                "Look at the source and at the way to it: the service, the network, the lock of its table."
            }
            Self::Worker => {
                "Look at the worker that is named: its machine, the network to it, and the storage that it reads."
            }
            Self::Memory => {
                "Give the memory pool more room, run fewer nodes at the same time, or find who holds what is reserved."
            }
            Self::Output => {
                "Look at the program at the other end of the pipe or the terminal, or write to a file: what it does not read holds up the run."
            }
            Self::BlockedCall => "Move the call to `spawn_blocking`, or give it a timeout.",
            Self::BlockedRuntime => {
                "Move blocking calls to `spawn_blocking`, or give the runtime more threads: nothing else runs meanwhile."
            }
            Self::Spinning => {
                "Look at the plan of the query for a join that multiplies rows, and at its functions for a loop."
            }
            Self::Tasks => {
                "Look for locks that are held across an `await`, and for streams of which one is read after the other."
            }
            Self::Outside => {
                "Give what the code waits for a timeout, and call `node.mark_progress()` where it moves."
            }
        }
    }
}

/// A thread that holds something up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StalledThread {
    /// Its name.
    pub name: String,
    /// Its state, such as `sleeping` or `runnable`.
    pub state: String,
    /// The place in the kernel in which it sleeps, where that may be known.
    pub waits_in: Option<String>,
    /// Where it writes to, where that is the output of the process: `standard output` or `standard error`, with a pipe, a socket
    /// or a terminal behind it.
    #[serde(default)]
    pub writes_to: Option<String>,
    /// Processor time since it started.
    pub cpu_seconds: f64,
    /// The number by which the system knows it. `None` in files of older versions.
    #[serde(default)]
    pub number: Option<u64>,
    /// The calls in which it was blocked when the stall began. `None` where it ran, and where the platform does not say.
    #[serde(default)]
    pub stack: Option<ThreadStack>,
}

/// The calls in which a thread was blocked at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ThreadStack {
    /// The innermost call first, no more than 64: names of functions, or the name of the file of the program or library with
    /// the address in it, as in `libc.so.6+0x86f16`, where that has no names.
    pub frames: Vec<String>,
    /// Where it ends.
    pub end: StackEnd,
}

impl ThreadStack {
    /// The calls that a user can act on: those outside the standard library, or all of them if there are no others.
    pub fn own(&self) -> impl Iterator<Item = &str> {
        let has_own = self.frames.iter().any(|frame| !is_of_standard_library(frame));
        self.frames.iter().map(String::as_str).filter(move |frame| !has_own || !is_of_standard_library(frame))
    }

    /// The first `calls` of them, each followed by its caller.
    pub fn in_short(&self, calls: usize) -> String {
        self.own().take(calls).collect::<Vec<_>>().join(" < ")
    }
}

/// Whether a function belongs to Rust's standard library, or to a C library, whose functions have no paths.
fn is_of_standard_library(function: &str) -> bool {
    let path = function.trim_start_matches(['<', '&', '[']);
    !path.contains("::") || ["std::", "core::", "alloc::"].iter().any(|library| path.starts_with(library))
}

/// Where the stack of a thread ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StackEnd {
    /// Where the thread began.
    Whole,
    /// It has more calls than are followed.
    TooDeep,
    /// A call from which its caller is not found.
    Lost,
}

impl StackEnd {
    /// A description of what follows the last call; `None` if nothing does.
    pub const fn in_words(self) -> Option<&'static str> {
        match self {
            Self::Whole => None,
            Self::TooDeep => Some("and more calls"),
            Self::Lost => Some("whose caller is not known"),
        }
    }
}

/// A stall with its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StallEpisode {
    /// What stalled.
    #[serde(flatten)]
    pub stall: Stall,
    /// When the work continued or ended; `None` during the stall.
    pub ended: Option<DateTime<Utc>>,
}

/// The stalls of a run, with bounded memory.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StallLog {
    /// The number of all stalls.
    pub count: u64,
    /// The first hundred of them.
    pub episodes: Vec<StallEpisode>,
}

/// What is known of the process of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// Whether it is alive.
    pub liveness: Liveness,
    /// When it was last seen; `None` if unknown.
    pub last_seen: Option<DateTime<Utc>>,
}

impl Sighting {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { liveness: Liveness::Unknown, last_seen: None };

    /// The process has ended.
    pub const fn gone(last_seen: Option<DateTime<Utc>>) -> Self {
        Self { liveness: Liveness::Gone, last_seen }
    }
}

impl ProcessEvidence {
    /// The evidence of this process before its first beat.
    pub fn for_self(now: DateTime<Utc>, interval_seconds: f64) -> Self {
        let space = ProcessSpace::current();
        Self {
            format_version: EVIDENCE_VERSION,
            pid: std::process::id(),
            start_ticks: ProcessStat::for_self().map(|stat| stat.start_ticks),
            boot_id: space.boot_id,
            pid_namespace: space.pid_namespace,
            started_at: now,
            last_beat_at: now,
            last_seen_at: Some(now),
            signed_at: None,
            stopped_at: None,
            beats: 0,
            interval_seconds,
            longest_gap_seconds: 0.0,
            late_seconds: None,
            stage: None,
            active_tasks: Vec::new(),
            measured_at: None,
            io: None,
            cpu_seconds: None,
            idle_share: None,
            peak_resident_bytes: None,
            stalls: StallLog::default(),
        }
    }

    /// When the process was last seen, by the clock of the system.
    pub fn signed_at(&self) -> DateTime<Utc> {
        self.signed_at.unwrap_or_else(|| self.seen_at())
    }

    /// When the process was last measured, by the clock of the run.
    pub fn measured_at(&self) -> DateTime<Utc> {
        self.measured_at.or(self.stopped_at).unwrap_or(self.last_beat_at)
    }

    /// When the process was last seen, by the clock of the run.
    pub fn seen_at(&self) -> DateTime<Utc> {
        self.last_seen_at.map_or(self.last_beat_at, |seen| seen.max(self.last_beat_at))
    }

    /// Whether the process is alive, as far as this process can see.
    pub fn is_alive(&self) -> Liveness {
        // After another boot or in another container, the same pid is a different process.
        if self.space() != ProcessSpace::current() {
            return Liveness::Unknown;
        }
        match ProcessStat::for_pid(self.pid) {
            Ok(stat) => self.judge(&stat),
            Err(error) if error.kind() == io::ErrorKind::NotFound && process::sees_other_users() => {
                Liveness::Gone
            }
            Err(_) => Liveness::Unknown,
        }
    }

    fn space(&self) -> ProcessSpace {
        ProcessSpace { boot_id: self.boot_id.clone(), pid_namespace: self.pid_namespace.clone() }
    }

    /// Compares the recorded process with the one that has the pid now.
    fn judge(&self, found: &ProcessStat) -> Liveness {
        match self.start_ticks {
            // The start time is compared as well, because pids are reused. A zombie has ended, even if its parent has not waited
            // for it.
            Some(start_ticks) if start_ticks == found.start_ticks && !found.is_dead() => Liveness::Alive,
            Some(_) => Liveness::Gone,
            None => Liveness::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence() -> ProcessEvidence {
        ProcessEvidence::for_self(DateTime::from_timestamp(1_795_000_000, 0).unwrap(), 1.0)
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut ProcessEvidence), expected: Liveness) {
        let mut evidence = evidence();
        change(&mut evidence);
        assert_eq!(evidence.is_alive(), expected);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_is_known_by_more_than_its_pid() {
        check(|_| {}, Liveness::Alive);
        check(|evidence| evidence.start_ticks = Some(1), Liveness::Gone);
        check(|evidence| evidence.start_ticks = None, Liveness::Unknown);
        check(|evidence| evidence.boot_id = Some("another".into()), Liveness::Unknown);
        check(|evidence| evidence.pid_namespace = None, Liveness::Unknown);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_that_ended_is_gone_even_before_its_parent_notices() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut evidence = evidence();
        evidence.pid = child.id();
        evidence.start_ticks = Some(ProcessStat::for_pid(child.id()).unwrap().start_ticks);
        assert_eq!(evidence.is_alive(), Liveness::Alive);
        child.kill().unwrap();
        while !ProcessStat::for_pid(child.id()).unwrap().is_dead() {
            std::thread::yield_now();
        }
        assert_eq!(evidence.is_alive(), Liveness::Gone);
        child.wait().unwrap();
        assert_eq!(evidence.is_alive(), Liveness::Gone);
    }

    #[test]
    fn a_stack_in_short_has_what_calls_the_standard_library() {
        let check = |frames: &[&str], expected: &str| {
            let frames = frames.iter().map(|frame| (*frame).to_owned()).collect();
            assert_eq!(ThreadStack { frames, end: StackEnd::Whole }.in_short(2), expected);
        };
        let sleep = ["clock_nanosleep", "std::thread::sleep", "<shop::Rows as core::iter::Iterator>::next"];
        let call = "<alloc::boxed::Box<F,A> as core::ops::function::FnOnce<Args>>::call_once";
        check(
            &[sleep[0], sleep[1], sleep[2], call, "shop::read", "main"],
            &format!("{} < shop::read", sleep[2]),
        );
        check(
            &["read", "<std::fs::File as std::io::Read>::read"],
            "read < <std::fs::File as std::io::Read>::read",
        );
        check(&[], "");
    }
}
