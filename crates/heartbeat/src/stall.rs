//! Detects what makes no progress in a run, and why.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use daglight_run_bundle::{Stall, StallClass, StalledThread};

use crate::{
    process::ThreadFacts,
    progress::{NodeProgress, Poll, QueryProgress, Sample, StatementProgress},
    stall_class::{self, Cause},
    stalled_operator::stalled_position,
    thread_use::{LastSample, MOST_THREADS, ThreadUse},
};

/// The limits after which something counts as stalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StallAfter {
    /// The time without any progress: no rows, no bytes, and none of its threads computing.
    pub idle: Duration,
    /// The time during which its threads compute without a result.
    pub busy: Duration,
}

impl Default for StallAfter {
    /// 30 seconds without anything, 5 minutes of computing without a result.
    fn default() -> Self {
        Self { idle: Duration::from_secs(30), busy: Duration::from_secs(300) }
    }
}

/// Compares each sample with the previous one. It has no clock: the time is a parameter.
#[derive(Debug)]
pub struct StallDetector {
    after: StallAfter,
    seen: HashMap<Subject, Seen>,
    last: Option<LastSample>,
    /// The names of threads that run tasks, which threads for blocking calls share.
    runtime_threads: BTreeSet<String>,
}

/// The default name of tokio's threads.
const USUAL_NAME: &str = "tokio-rt-worker";

/// The maximum number of thread names that are remembered.
const MOST_NAMES: usize = 16;

/// A watched subject: a query, or a node or a statement that currently has none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    Query(String),
    Node(String),
    Statement(u64),
}

#[derive(Debug)]
struct Seen {
    counters: Counters,
    /// The total duration of its polls.
    polled: Duration,
    /// The last time when it made progress.
    moved: DateTime<Utc>,
    /// The last time when it made progress or computed.
    active: DateTime<Utc>,
    /// The start of the current stall.
    stalled_since: Option<DateTime<Utc>>,
}

impl Seen {
    /// Excludes a period from every wait, as if the clock had stood still.
    fn pass_over(&mut self, time: TimeDelta) {
        self.moved += time;
        self.active += time;
    }
}

/// Everything that changes with progress.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Counters {
    total: u64,
    operators: Vec<(Option<u64>, u64, Duration, Option<bool>)>,
}

/// The state of a subject in a sample.
struct Watched<'s> {
    subject: Subject,
    of: Of<'s>,
    counters: Counters,
    /// Those that have not returned, and the total duration of those that have.
    polls: Vec<Poll>,
    polled: Duration,
    stall_after: Option<Duration>,
}

enum Of<'s> {
    Query(&'s QueryProgress),
    Node(&'s NodeProgress),
    Statement(&'s StatementProgress),
}

impl<'s> Watched<'s> {
    /// Everything to watch in a sample. If a node or a statement has queries, those are watched instead.
    fn all(sample: &'s Sample) -> Vec<Self> {
        let has_query = |node: &NodeProgress| {
            sample.queries.iter().any(|query| query.node.as_deref() == Some(&*node.name))
        };
        let queries = sample.queries.iter().map(|query| Self::query(query, sample));
        let nodes = sample.running.iter().filter(|node| !has_query(node)).map(|node| Self {
            subject: Subject::Node(node.name.clone()),
            of: Of::Node(node),
            counters: Counters { total: node.marks, operators: Vec::new() },
            polls: node.polls.clone(),
            polled: node.busy,
            stall_after: node.stall_after,
        });
        let has_query_without_node = sample.has_query_without_node();
        let statements = sample.statements.iter().filter(|_| !has_query_without_node);
        let statements = statements.map(|statement| Self {
            subject: Subject::Statement(statement.id),
            of: Of::Statement(statement),
            counters: Counters { total: statement.marks, operators: Vec::new() },
            polls: statement.polls.clone(),
            polled: statement.busy,
            stall_after: None,
        });
        queries.chain(nodes).chain(statements).collect()
    }

    fn query(query: &'s QueryProgress, sample: &'s Sample) -> Self {
        let node = query.node.as_deref().and_then(|node| sample.node(node));
        Self {
            subject: Subject::Query(query.query_id.clone()),
            of: Of::Query(query),
            counters: Counters {
                // A node that marks its progress while its query makes none is not stalled, by its own account.
                total: query.rows_output.wrapping_add(node.map_or(0, |node| node.marks)),
                operators: counters(query),
            },
            polls: query.polls.iter().chain(node.into_iter().flat_map(|node| &node.polls)).cloned().collect(),
            polled: query.busy + node.map_or(Duration::ZERO, |node| node.busy),
            stall_after: node.and_then(|node| node.stall_after),
        }
    }

    /// The names for a stall of the subject.
    fn named(&self, sample: &Sample) -> Stall {
        match self.of {
            Of::Query(query) => Stall {
                query_id: query.query_id.clone(),
                node: query.node.clone(),
                statement: (sample.only_statement())
                    .filter(|_| query.node.is_none())
                    .map(|statement| statement.name.clone()),
                ..Stall::default()
            },
            Of::Node(node) => Stall { node: Some(node.name.clone()), ..Stall::default() },
            Of::Statement(statement) => Stall { statement: Some(statement.name.clone()), ..Stall::default() },
        }
    }

    /// Why it has made no progress for some time, or computes without a result.
    fn cause(&self, is_busy: bool, sample: &Sample, used: &ThreadUse<'_>, lasts: Duration) -> Cause {
        let polls = &self.polls;
        match (&self.of, is_busy) {
            (Of::Query(query), true) => Cause {
                waits_for: query.waits_for_worker.clone(),
                ..spinning(stalled_position(query), used.evidence(polls))
            },
            (_, true) => {
                Cause { waits_for: self.planning().cloned(), ..spinning(None, used.evidence(polls)) }
            }
            (Of::Query(query), false) => stall_class::of_query(query, polls, sample, used, lasts),
            (Of::Node(node), false) => {
                stall_class::of_node(node.tasks, self.planning(), polls, sample, used, lasts)
            }
            (Of::Statement(_), false) => stall_class::of_node(0, self.planning(), polls, sample, used, lasts),
        }
    }

    /// The current step of planning a query.
    fn planning(&self) -> Option<&String> {
        match self.of {
            // A query was already planned.
            Of::Query(_) => None,
            Of::Node(node) => node.planning.as_ref(),
            Of::Statement(statement) => statement.planning.as_ref(),
        }
    }

    /// Whether it may be waiting for a node whose code it has called.
    fn may_wait_for_nodes(&self) -> bool {
        match self.of {
            Of::Query(_) => false,
            Of::Node(_) => true,
            Of::Statement(statement) => statement.holds_nodes,
        }
    }
}

/// A stalled subject.
struct Found {
    stall: Stall,
    /// Whether it may be waiting for a node whose code it has called.
    may_wait: bool,
    /// Whether its threads are known.
    is_explained: bool,
}

impl StallDetector {
    /// A detector without any previous sample.
    pub fn new(after: StallAfter) -> Self {
        Self {
            after,
            seen: HashMap::new(),
            last: None,
            runtime_threads: BTreeSet::from([USUAL_NAME.to_owned()]),
        }
    }

    /// Takes the sample for `now` and returns the stalls. Subjects that are not in the sample are forgotten.
    pub fn observe(&mut self, now: DateTime<Utc>, sample: &Sample) -> Vec<Stall> {
        self.observe_with(now, TimeDelta::zero(), sample, &[], None)
    }

    /// Like [`StallDetector::observe`], with the threads of the process and its processor time. The `unseen` part of the time since
    /// the previous sample, when the machine was suspended or its clock changed, is ignored.
    pub(crate) fn observe_with(
        &mut self,
        now: DateTime<Utc>,
        unseen: TimeDelta,
        sample: &Sample,
        threads: &[ThreadFacts],
        cpu_seconds: Option<f64>,
    ) -> Vec<Stall> {
        let last = self.last.replace(LastSample::new(now, threads, cpu_seconds));
        let used = ThreadUse::new(now, unseen, last.as_ref(), threads, cpu_seconds);
        let watched = self.follow(now, unseen, sample, &used);
        let is_active = |seen: &Seen| now - seen.active < delta(self.after.idle);
        let mut something_moves =
            watched.iter().any(|(watched, seen)| matches!(watched.of, Of::Query(_)) && is_active(seen));
        let mut stalls = Vec::new();
        for (watched, seen) in watched {
            let (seen, judged) = self.judge(seen, watched.stall_after.unwrap_or(self.after.idle), now);
            something_moves |= judged.is_none() && matches!(watched.of, Of::Node(_));
            if let Some((is_busy, since)) = judged {
                let lasts = (now - since).to_std().unwrap_or_default();
                let cause = watched.cause(is_busy, sample, &used, lasts);
                let operators = match watched.of {
                    Of::Query(query) => query.operators.as_slice(),
                    Of::Node(_) | Of::Statement(_) => &[],
                };
                let operator = cause.operator.and_then(|position| operators.get(position));
                let may_wait = watched.may_wait_for_nodes() && cause.is_unseen();
                // If blocked threads wait for a lock, no more can be found out about them.
                let is_explained = !cause.threads.is_empty() || cause.class == StallClass::Spinning;
                let stall = Stall {
                    operator: operator.map(|operator| operator.name.clone()),
                    detail: operator.map(|operator| operator.detail.clone()),
                    since,
                    class: Some(cause.class),
                    waits_for: cause.waits_for,
                    cpu_seconds: used.cpu_seconds(),
                    threads: cause.threads,
                    ..watched.named(sample)
                };
                stalls.push(Found { stall, may_wait, is_explained });
            }
            self.seen.insert(watched.subject, seen);
        }
        // Code that is waiting for another node, whose code it has called, is not stalled as long as that node makes progress.
        stalls.retain(|found| !found.may_wait || !something_moves);
        self.explain(&mut stalls, sample, &used);
        stalls.into_iter().map(|found| found.stall).collect()
    }

    /// Names blocked threads for stalls without any: blocking calls on dedicated threads are visible only there.
    fn explain(&mut self, stalls: &mut [Found], sample: &Sample, used: &ThreadUse<'_>) {
        self.runtime_threads.extend(used.names(sample.all_polls()));
        while self.runtime_threads.len() > MOST_NAMES {
            self.runtime_threads.pop_last();
        }
        let unexplained = stalls.iter().filter(|found| !found.is_explained).count();
        if unexplained == 0 {
            return;
        }
        let seen = sample.all_polls().filter_map(|poll| poll.thread).collect();
        let mut threads = used.idle_beside(&self.runtime_threads, &seen);
        threads.retain(stall_class::waits_for_world);
        // It is unknown to which of several stalls a thread belongs, unless there is one for each of them.
        if threads.is_empty() || threads.len() < unexplained {
            return;
        }
        threads.truncate(MOST_THREADS);
        for found in stalls.iter_mut().filter(|found| !found.is_explained) {
            stall_class::explain(&mut found.stall, &threads);
        }
    }

    /// The watched subjects, with what each has done since the previous sample. Subjects that have ended are forgotten.
    fn follow<'s>(
        &mut self,
        now: DateTime<Utc>,
        unseen: TimeDelta,
        sample: &'s Sample,
        used: &ThreadUse<'_>,
    ) -> Vec<(Watched<'s>, Seen)> {
        let mut before = std::mem::take(&mut self.seen);
        // Unobserved time is excluded from every wait: a laptop that is opened after a night must not report a stall of eight
        // hours.
        before.values_mut().for_each(|seen| seen.pass_over(unseen));
        let follow = |watched: Watched<'s>| {
            let seen = follow(before.remove(&watched.subject), &watched, used, now);
            (watched, seen)
        };
        let mut watched: Vec<_> = Watched::all(sample).into_iter().map(follow).collect();
        // If all workers are busy, a ready task waits for one, which looks like waiting for something else. Only subjects that
        // occupy a thread are certain to be stalled meanwhile.
        let is_crowded = sample.runtime.is_some_and(|runtime| runtime.is_full())
            && watched.iter().any(|(_, seen)| seen.active == now);
        if is_crowded {
            let waits = |watched: &Watched<'_>| !watched.polls.iter().any(|poll| used.is_held(poll));
            let waiting = watched.iter_mut().filter(|(watched, seen)| seen.active != now && waits(watched));
            waiting.for_each(|(_, seen)| seen.pass_over(used.elapsed()));
        }
        watched
    }

    /// Whether something is stalled, whether it is computing, and since when. A stall whose kind changes stays the same stall until
    /// there is progress.
    fn judge(
        &self,
        mut seen: Seen,
        idle: Duration,
        now: DateTime<Utc>,
    ) -> (Seen, Option<(bool, DateTime<Utc>)>) {
        let is_active = seen.active == now;
        let is_idle = now - seen.active >= delta(idle);
        let is_busy = is_active && now - seen.moved >= delta(self.after.busy);
        let judged = match (is_idle, is_busy) {
            (true, _) => Some((false, seen.active)),
            (_, true) => Some((true, seen.moved)),
            _ => None,
        };
        let judged = judged.map(|(is_busy, since)| (is_busy, seen.stalled_since.unwrap_or(since)));
        seen.stalled_since = judged.map(|(_, since)| since);
        (seen, judged)
    }
}

/// The previous state of a subject, updated with what it has done since.
fn follow(before: Option<Seen>, watched: &Watched<'_>, used: &ThreadUse<'_>, now: DateTime<Utc>) -> Seen {
    let (counters, polled) = (watched.counters.clone(), watched.polled);
    let Some(before) = before else {
        return Seen { counters, polled, moved: now, active: now, stalled_since: None };
    };
    // Bytes that arrive are progress before they become rows: a source may need many of them for one batch.
    let has_moved = before.counters != counters || used.has_read(&watched.polls);
    let is_active = has_moved || used.is_busy(&watched.polls, polled.saturating_sub(before.polled));
    Seen {
        // Two times, because a computing thread is alive but may never finish: it has the longer limit.
        moved: if has_moved { now } else { before.moved },
        active: if is_active { now } else { before.active },
        // It is the same stall as long as there is no progress, even if its class changes: it must not start again with each beat.
        stalled_since: before.stalled_since.filter(|_| !has_moved),
        counters,
        polled,
    }
}

fn spinning(operator: Option<usize>, threads: Vec<StalledThread>) -> Cause {
    Cause { class: StallClass::Spinning, waits_for: None, operator, threads }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

fn counters(query: &QueryProgress) -> Vec<(Option<u64>, u64, Duration, Option<bool>)> {
    query.operators.iter().map(|op| (op.rows, op.bytes, op.elapsed_compute, op.finished)).collect()
}

#[cfg(test)]
mod tests;
