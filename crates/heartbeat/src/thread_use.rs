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

/// The share of the time between two samples that code must have used a processor for, to count as busy.
const BUSY_SHARE: f64 = 0.2;

/// Threads that the evidence of a stall names.
pub(crate) const MOST_THREADS: usize = 16;

/// Threads of which it is asked in what they block: a runtime may have hundreds.
const MOST_LOOKED_AT: usize = 64;

/// What is remembered of the sample before.
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

/// How processors were used, and what was read, since the sample before.
pub(crate) struct ThreadUse<'u> {
    elapsed: TimeDelta,
    last: Option<&'u LastSample>,
    threads: &'u [ThreadFacts],
    cpu_seconds: Option<f64>,
}

impl<'u> ThreadUse<'u> {
    /// What was `unseen` of the time does not count as elapsed.
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

    /// The time since the sample before.
    pub(crate) fn elapsed(&self) -> TimeDelta {
        self.elapsed
    }

    /// Processor time of the process since the sample before.
    pub(crate) fn cpu_seconds(&self) -> Option<f64> {
        Some((self.cpu_seconds? - self.last?.cpu_seconds?).max(0.0))
    }

    /// Whether code with these polls ran on a processor for a good part of the time. `polled` is what those have taken that
    /// have returned.
    pub(crate) fn is_busy(&self, polls: &[Poll], polled: std::time::Duration) -> bool {
        self.has_elapsed()
            && (polled.as_secs_f64() >= self.enough() || polls.iter().any(|poll| self.computes(poll)))
    }

    /// Whether the thread of a poll computes.
    pub(crate) fn computes(&self, poll: &Poll) -> bool {
        // On a machine that is overloaded a thread that computes has little of a processor, and waits for one.
        let runs = || self.thread(poll.thread).is_some_and(|thread| thread.state == RUNNABLE);
        self.has_elapsed() && (runs() || self.cpu_of(poll) >= self.enough())
    }

    /// As [`ThreadUse::computes`], on a thread other than the first one of the process. That one belongs to the runtime only
    /// where it is the only one of it.
    pub(crate) fn computes_beside_main(&self, poll: &Poll) -> bool {
        poll.thread != Some(u64::from(process::id())) && self.computes(poll)
    }

    /// Whether a thread is held by one of these polls all the time, and has read something meanwhile.
    pub(crate) fn has_read(&self, polls: &[Poll]) -> bool {
        polls.iter().filter(|poll| self.is_held(poll)).any(|poll| {
            let read = |number: u64| {
                Some((self.last?.thread_read.get(&number)?, self.thread(Some(number))?.read_bytes?))
            };
            poll.thread.and_then(read).is_some_and(|(before, now)| now > *before)
        })
    }

    /// Whether a poll began before the sample before: all that its thread did since is its own.
    pub(crate) fn is_held(&self, poll: &Poll) -> bool {
        self.has_elapsed() && TimeDelta::from_std(poll.lasts).is_ok_and(|lasts| lasts >= self.elapsed)
    }

    /// The threads of some polls, as evidence.
    pub(crate) fn evidence(&self, polls: &[Poll]) -> Vec<StalledThread> {
        let numbers: BTreeSet<u64> = polls.iter().filter_map(|poll| poll.thread).collect();
        let facts = self.threads.iter().filter(|thread| numbers.contains(&thread.number));
        facts.take(MOST_THREADS).map(ThreadFacts::stalled).collect()
    }

    /// Threads of these names on which nothing is seen, and which have done nothing since the sample before: among them are
    /// those that are made for calls that block.
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

    /// The names of the threads of some polls, but for the first thread of the process.
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

    /// Processor time of the thread of a poll; where that is not known, of the process.
    fn cpu_of(&self, poll: &Poll) -> f64 {
        let Some(last) = self.last else { return 0.0 };
        let of_thread = poll.thread.and_then(|number| {
            let now = self.thread(Some(number))?.cpu_seconds;
            Some(now - last.thread_cpu.get(&number).copied().unwrap_or(0.0))
        });
        // Where the system has no times of threads, those of the process: a stall that is seen late is better than none.
        of_thread.or_else(|| self.cpu_seconds()).unwrap_or(0.0).max(0.0)
    }
}
