//! How the threads of the process were used between two samples.

use std::{
    collections::{BTreeSet, HashMap},
    process,
};

use chrono::{DateTime, TimeDelta, Utc};
use daglight_run_bundle::StalledThread;

use crate::{
    process::{RUNNABLE, ThreadFacts},
    progress::Poll,
    standard_streams::reads_input,
};

/// The share of the time between two samples that code must have spent on a processor to count as busy.
const BUSY_SHARE: f64 = 0.2;

/// The maximum number of threads in the evidence of a stall.
pub(crate) const MOST_THREADS: usize = 16;

/// The maximum number of threads that are inspected for where they block: a runtime may have hundreds.
const MOST_LOOKED_AT: usize = 64;

/// The remembered part of the previous sample.
#[derive(Debug)]
pub(crate) struct LastSample {
    at: DateTime<Utc>,
    thread_cpu: HashMap<u64, f64>,
    thread_read: HashMap<u64, u64>,
    cpu_seconds: Option<f64>,
}

impl LastSample {
    pub(crate) fn new(at: DateTime<Utc>, threads: &[ThreadFacts], cpu_seconds: Option<f64>) -> Self {
        Self {
            at,
            thread_cpu: threads.iter().map(|thread| (thread.number, thread.cpu_seconds)).collect(),
            thread_read: threads
                .iter()
                .filter_map(|thread| Some((thread.number, thread.read_bytes?)))
                .collect(),
            cpu_seconds,
        }
    }
}

/// How processors were used, and what was read, since the previous sample.
pub(crate) struct ThreadUse<'u> {
    elapsed: TimeDelta,
    last: Option<&'u LastSample>,
    threads: &'u [ThreadFacts],
    cpu_seconds: Option<f64>,
}

impl<'u> ThreadUse<'u> {
    /// The `unseen` part of the time does not count as elapsed.
    pub(crate) fn new(
        now: DateTime<Utc>,
        unseen: TimeDelta,
        last: Option<&'u LastSample>,
        threads: &'u [ThreadFacts],
        cpu_seconds: Option<f64>,
    ) -> Self {
        let elapsed = last.map_or(TimeDelta::zero(), |last| now - last.at - unseen).max(TimeDelta::zero());
        Self { elapsed, last, threads, cpu_seconds }
    }

    /// The time since the previous sample.
    pub(crate) fn elapsed(&self) -> TimeDelta {
        self.elapsed
    }

    /// Processor time of the process since the previous sample.
    pub(crate) fn cpu_seconds(&self) -> Option<f64> {
        Some((self.cpu_seconds? - self.last?.cpu_seconds?).max(0.0))
    }

    /// Whether code with these polls ran on a processor for a substantial part of the time. `polled` is the total duration of polls
    /// that have returned.
    pub(crate) fn is_busy(&self, polls: &[Poll], polled: std::time::Duration) -> bool {
        self.has_elapsed()
            && (polled.as_secs_f64() >= self.enough() || polls.iter().any(|poll| self.computes(poll)))
    }

    /// Whether the thread of a poll is computing.
    pub(crate) fn computes(&self, poll: &Poll) -> bool {
        // On an overloaded machine a computing thread gets little processor time, and is waiting for a processor.
        let runs = || self.thread(poll.thread).is_some_and(|thread| thread.state == RUNNABLE);
        self.has_elapsed() && (runs() || self.cpu_of(poll) >= self.enough())
    }

    /// Like [`ThreadUse::computes`], excluding the main thread of the process, which belongs to the runtime only if it is the only
    /// thread of it.
    pub(crate) fn computes_beside_main(&self, poll: &Poll) -> bool {
        poll.thread != Some(u64::from(process::id())) && self.computes(poll)
    }

    /// Whether a thread was blocked by one of these polls the whole time, and has read something.
    pub(crate) fn has_read(&self, polls: &[Poll]) -> bool {
        polls.iter().filter(|poll| self.is_held(poll)).any(|poll| {
            let read = |number: u64| {
                Some((self.last?.thread_read.get(&number)?, self.thread(Some(number))?.read_bytes?))
            };
            poll.thread.and_then(read).is_some_and(|(before, now)| now > *before)
        })
    }

    /// Whether a poll began before the previous sample, so that everything its thread did since belongs to it.
    pub(crate) fn is_held(&self, poll: &Poll) -> bool {
        self.has_elapsed() && TimeDelta::from_std(poll.lasts).is_ok_and(|lasts| lasts >= self.elapsed)
    }

    /// The threads of these polls, as evidence.
    pub(crate) fn evidence(&self, polls: &[Poll]) -> Vec<StalledThread> {
        let numbers: BTreeSet<u64> = polls.iter().filter_map(|poll| poll.thread).collect();
        let facts = self.threads.iter().filter(|thread| numbers.contains(&thread.number));
        facts.take(MOST_THREADS).map(ThreadFacts::stalled).collect()
    }

    /// Threads with these names that belong to no poll and have done nothing since the previous sample: these include the threads
    /// for blocking calls.
    pub(crate) fn idle_beside(&self, names: &BTreeSet<String>, seen: &BTreeSet<u64>) -> Vec<StalledThread> {
        let Some(last) = self.last else { return Vec::new() };
        let stands = |thread: &&ThreadFacts| {
            last.thread_cpu.get(&thread.number).is_some_and(|before| *before >= thread.cpu_seconds)
        };
        let is_beside = |thread: &&ThreadFacts| {
            names.contains(&thread.name) && !seen.contains(&thread.number) && thread.state != RUNNABLE
        };
        let candidates = self.threads.iter().filter(is_beside).filter(stands).take(MOST_LOOKED_AT);
        candidates.filter(|thread| !reads_input(thread.number)).map(ThreadFacts::stalled).collect()
    }

    /// The names of the threads of these polls, excluding the main thread.
    pub(crate) fn names<'p>(&self, polls: impl Iterator<Item = &'p Poll>) -> BTreeSet<String> {
        let numbers: BTreeSet<u64> = polls.filter_map(|poll| poll.thread).collect();
        let is_of_runtime = |thread: &&ThreadFacts| {
            numbers.contains(&thread.number) && thread.number != u64::from(process::id())
        };
        self.threads.iter().filter(is_of_runtime).map(|thread| thread.name.clone()).collect()
    }

    fn has_elapsed(&self) -> bool {
        self.elapsed > TimeDelta::zero()
    }

    fn enough(&self) -> f64 {
        self.elapsed.as_seconds_f64() * BUSY_SHARE
    }

    fn thread(&self, number: Option<u64>) -> Option<&ThreadFacts> {
        self.threads.iter().find(|thread| Some(thread.number) == number)
    }

    /// Processor time of the thread of a poll, or if unknown, of the process.
    fn cpu_of(&self, poll: &Poll) -> f64 {
        let Some(last) = self.last else { return 0.0 };
        let of_thread = poll.thread.and_then(|number| {
            let now = self.thread(Some(number))?.cpu_seconds;
            Some(now - last.thread_cpu.get(&number).copied().unwrap_or(0.0))
        });
        // Without times per thread, those of the process are used: detecting a stall late is better than never.
        of_thread.or_else(|| self.cpu_seconds()).unwrap_or(0.0).max(0.0)
    }
}
