//! What makes no progress in a run, and why.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use daglight_run_bundle::{Stall, StallClass, StalledThread};

use crate::{
    process::{RUNNABLE, ThreadFacts},
    progress::{Poll, QueryProgress, Sample},
    stall_class::{self, Cause, Threads},
    stalled_operator::stalled_position,
};

/// The share of the time between two samples that code must have used a processor for, to count as busy.
const BUSY_SHARE: f64 = 0.2;

/// When something counts as stalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StallAfter {
    /// The time in which nothing moves: no rows, no bytes, and no thread of it computes.
    pub idle: Duration,
    /// The time in which its threads compute and nothing comes of it.
    pub busy: Duration,
}

impl Default for StallAfter {
    /// 30 seconds without anything, 5 minutes of computing without a result.
    fn default() -> Self {
        Self { idle: Duration::from_secs(30), busy: Duration::from_secs(300) }
    }
}

/// Compares each sample with the one before. It has no clock: the moment is a parameter.
#[derive(Debug)]
pub struct StallDetector {
    after: StallAfter,
    seen: HashMap<Subject, Seen>,
    last: Option<LastSample>,
}

/// What is watched: a query, or a node or a statement that has none at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    Query(String),
    Node(String),
    Statement(u64),
}

#[derive(Debug)]
struct Seen {
    counters: Counters,
    /// Time that its polls have taken.
    polled: Duration,
    /// The last moment at which it moved.
    moved: DateTime<Utc>,
    /// The last moment at which it moved or computed.
    active: DateTime<Utc>,
    /// Of the stall that lasts.
    stalled_since: Option<DateTime<Utc>>,
}

#[derive(Debug)]
struct LastSample {
    at: DateTime<Utc>,
    thread_cpu: HashMap<u64, f64>,
    cpu_seconds: Option<f64>,
}

/// All that moves while something progresses.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Counters {
    total: u64,
    operators: Vec<(Option<u64>, u64, Duration, Option<bool>)>,
}

/// How the processors were used since the sample before.
struct Used<'u> {
    elapsed: f64,
    last: Option<&'u LastSample>,
    threads: &'u [ThreadFacts],
    cpu_seconds: Option<f64>,
}

impl Used<'_> {
    /// Whether code ran on a processor for a good part of the time.
    fn is_busy(&self, polls: &[Poll], polled: Duration) -> bool {
        let enough = self.elapsed * BUSY_SHARE;
        // On a machine that is overloaded a thread that computes has little of a processor, and waits for one.
        let runs = |poll: &Poll| {
            let thread = self.threads.iter().find(|thread| Some(thread.number) == poll.thread);
            thread.is_some_and(|thread| thread.state == RUNNABLE)
        };
        self.elapsed > 0.0
            && (polled.as_secs_f64() >= enough
                || polls.iter().any(|poll| runs(poll) || self.cpu_of(poll) >= enough))
    }

    /// Processor time of the thread of a poll; where that is not known, of the process.
    fn cpu_of(&self, poll: &Poll) -> f64 {
        let Some(last) = self.last else { return 0.0 };
        let of_thread = poll.thread.and_then(|number| {
            let now = self.threads.iter().find(|thread| thread.number == number)?.cpu_seconds;
            Some(now - last.thread_cpu.get(&number).copied().unwrap_or(0.0))
        });
        // Where the system has no times of threads, those of the process: a stall that is seen late is better than none.
        let of_process = || Some(self.cpu_seconds? - last.cpu_seconds?);
        of_thread.or_else(of_process).unwrap_or(0.0).max(0.0)
    }
}

impl StallDetector {
    /// A detector that knows nothing yet.
    pub fn new(after: StallAfter) -> Self {
        Self { after, seen: HashMap::new(), last: None }
    }

    /// Takes a sample of `now` and says what stalls. What is not in the sample is forgotten.
    pub fn observe(&mut self, now: DateTime<Utc>, sample: &Sample) -> Vec<Stall> {
        self.observe_with(now, TimeDelta::zero(), sample, &[], None)
    }

    /// As [`StallDetector::observe`], with the threads of the process and its processor time. What was `unseen` of the time
    /// since the sample before, because the machine slept or its clock was set, proves nothing.
    pub(crate) fn observe_with(
        &mut self,
        now: DateTime<Utc>,
        unseen: TimeDelta,
        sample: &Sample,
        threads: &[ThreadFacts],
        cpu_seconds: Option<f64>,
    ) -> Vec<Stall> {
        let last = self.last.take();
        let elapsed = last.as_ref().map_or(0.0, |last| (now - last.at - unseen).as_seconds_f64());
        let used = Used { elapsed, last: last.as_ref(), threads, cpu_seconds };
        let cpu_since = last.as_ref().and_then(|last| Some((cpu_seconds? - last.cpu_seconds?).max(0.0)));
        // Rebuilt with each sample, so that what has ended is forgotten.
        let mut before = std::mem::take(&mut self.seen);
        for seen in before.values_mut() {
            // Time that nobody could see is taken out of every wait, as if the clock had stood still: a laptop that is
            // opened again after a night must not report a stall of eight hours.
            seen.moved += unseen;
            seen.active += unseen;
        }
        let mut stalls = Vec::new();
        let of_all = Threads { facts: threads };
        for query in &sample.queries {
            let node = query.node.as_deref().and_then(|node| sample.node(node));
            let polls: Vec<Poll> =
                query.polls.iter().chain(node.into_iter().flat_map(|node| &node.polls)).cloned().collect();
            let polled = query.busy + node.map_or(Duration::ZERO, |node| node.busy);
            let subject = Subject::Query(query.query_id.clone());
            // A node that marks its progress while its query stands still is not stalled: it says so itself.
            let marks = query.rows_output.wrapping_add(node.map_or(0, |node| node.marks));
            let counters = Counters { total: marks, operators: counters(query) };
            let seen =
                follow(before.remove(&subject), counters, polled, now, |polled| used.is_busy(&polls, polled));
            let idle = node.and_then(|node| node.stall_after).unwrap_or(self.after.idle);
            let (seen, judged) = self.judge(seen, idle, now);
            self.seen.insert(subject, seen);
            let Some((is_busy, since)) = judged else { continue };
            let lasts = (now - since).to_std().unwrap_or_default();
            let cause = match is_busy {
                true => spinning(stalled_position(query), of_all.of(&polls)),
                false => stall_class::of_query(query, &polls, sample, &of_all, lasts),
            };
            let operator = cause.operator.and_then(|position| query.operators.get(position));
            stalls.push(Stall {
                query_id: query.query_id.clone(),
                node: query.node.clone(),
                statement: (sample.only_statement())
                    .filter(|_| query.node.is_none())
                    .map(|statement| statement.name.clone()),
                operator: operator.map(|operator| operator.name.clone()),
                detail: operator.map(|operator| operator.detail.clone()),
                since,
                class: Some(cause.class),
                waits_for: cause.waits_for,
                cpu_seconds: cpu_since,
                threads: cause.threads,
            });
        }
        let mut waiting = Vec::new();
        let mut something_moves = sample.queries.iter().any(|query| {
            let seen = self.seen.get(&Subject::Query(query.query_id.clone()));
            seen.is_some_and(|seen| now - seen.active < delta(self.after.idle))
        });
        for node in &sample.running {
            if sample.queries.iter().any(|query| query.node.as_deref() == Some(&*node.name)) {
                continue;
            }
            let subject = Subject::Node(node.name.clone());
            let counters = Counters { total: node.marks, operators: Vec::new() };
            let seen = follow(before.remove(&subject), counters, node.busy, now, |polled| {
                used.is_busy(&node.polls, polled)
            });
            let idle = node.stall_after.unwrap_or(self.after.idle);
            let (seen, judged) = self.judge(seen, idle, now);
            something_moves |= judged.is_none();
            self.seen.insert(subject, seen);
            let Some((is_busy, since)) = judged else { continue };
            let lasts = (now - since).to_std().unwrap_or_default();
            let cause = match is_busy {
                true => spinning(None, of_all.of(&node.polls)),
                false => stall_class::of_node(&node.polls, sample, &of_all, lasts),
            };
            let stall = Stall { node: Some(node.name.clone()), ..without_query(cause, since, cpu_since) };
            waiting.push((stall, true));
        }
        for statement in &sample.statements {
            // Its queries are watched, as those of no node.
            if sample.has_query_without_node() {
                continue;
            }
            let subject = Subject::Statement(statement.id);
            let counters = Counters { total: statement.marks, operators: Vec::new() };
            let seen = follow(before.remove(&subject), counters, statement.busy, now, |polled| {
                used.is_busy(&statement.polls, polled)
            });
            let (seen, judged) = self.judge(seen, self.after.idle, now);
            self.seen.insert(subject, seen);
            let Some((is_busy, since)) = judged else { continue };
            let lasts = (now - since).to_std().unwrap_or_default();
            let cause = match is_busy {
                true => spinning(None, of_all.of(&statement.polls)),
                false => stall_class::of_node(&statement.polls, sample, &of_all, lasts),
            };
            let name = Some(statement.name.clone());
            let stall = Stall { statement: name, ..without_query(cause, since, cpu_since) };
            waiting.push((stall, statement.holds_nodes));
        }
        // Code that waits for another node, whose code it has called, is not stalled as long as that one moves.
        waiting.retain(|(stall, may_wait_for_nodes)| {
            !may_wait_for_nodes || stall.class != Some(StallClass::Outside) || !something_moves
        });
        stalls.extend(waiting.into_iter().map(|(stall, _)| stall));
        self.last = Some(LastSample {
            at: now,
            thread_cpu: threads.iter().map(|thread| (thread.number, thread.cpu_seconds)).collect(),
            cpu_seconds,
        });
        stalls
    }

    /// Whether something stalls, whether it computes meanwhile, and since when. What began as one kind of stall stays one
    /// stall until it moves.
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

/// What was known of a subject, with what it has done since. `is_busy` is whether it has computed, by the time that its
/// polls have taken since.
fn follow(
    before: Option<Seen>,
    counters: Counters,
    polled: Duration,
    now: DateTime<Utc>,
    is_busy: impl FnOnce(Duration) -> bool,
) -> Seen {
    let Some(before) = before else {
        return Seen { counters, polled, moved: now, active: now, stalled_since: None };
    };
    let has_moved = before.counters != counters;
    let is_active = has_moved || is_busy(polled.saturating_sub(before.polled));
    Seen {
        // Two times, because a thread that computes is alive and may still never come to an end: it is given the
        // longer limit.
        moved: if has_moved { now } else { before.moved },
        active: if is_active { now } else { before.active },
        // The same stall as long as nothing has moved, also where its class changes: it must not begin anew with
        // each beat.
        stalled_since: before.stalled_since.filter(|_| !has_moved),
        counters,
        polled,
    }
}

/// The stall of what has no query.
fn without_query(cause: Cause, since: DateTime<Utc>, cpu_seconds: Option<f64>) -> Stall {
    Stall {
        since,
        class: Some(cause.class),
        waits_for: cause.waits_for,
        cpu_seconds,
        threads: cause.threads,
        ..Stall::default()
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
mod tests {
    use super::*;
    use crate::{
        planted::{at, operator, query},
        progress::OperatorProgress,
    };

    fn after(idle: u64) -> StallAfter {
        StallAfter { idle: Duration::from_secs(idle), busy: Duration::from_secs(idle * 10) }
    }

    fn of(queries: Vec<QueryProgress>) -> Sample {
        Sample { queries, ..Sample::default() }
    }

    fn thread(number: u64, cpu_seconds: f64) -> ThreadFacts {
        ThreadFacts { number, name: "worker".into(), state: "sleeping".into(), cpu_seconds }
    }

    /// Observes the same query again and again, whose poll lasts on thread 7 and has used a share of its processor.
    #[track_caller]
    fn check_poll(
        cpu_share: f64,
        sample: impl Fn(Vec<QueryProgress>) -> Sample,
        expected: &[(i64, StallClass)],
    ) {
        let mut detector = StallDetector::new(after(10));
        let mut found = Vec::new();
        for second in 0..130_u32 {
            let mut query = query(vec![operator("ProjectionExec", None, Some(1), false)]);
            query.polls = vec![Poll { thread: Some(7), lasts: Duration::from_secs(second.into()) }];
            let cpu = f64::from(second) * cpu_share;
            let stalls = detector.observe_with(
                at(second.into()),
                TimeDelta::zero(),
                &sample(vec![query]),
                &[thread(7, cpu)],
                Some(cpu),
            );
            if let Some(stall) = stalls.first()
                && !found.iter().any(|(_, since, _)| *since == stall.since)
            {
                found.push((i64::from(second), stall.since, stall.class.unwrap()));
            }
        }
        let found: Vec<_> = found.into_iter().map(|(second, _, class)| (second, class)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn code_that_computes_is_reported_late_and_code_that_sleeps_soon() {
        check_poll(0.9, of, &[(100, StallClass::Spinning)]);
        check_poll(0.0, of, &[(10, StallClass::BlockedCall)]);
    }

    #[test]
    fn a_runtime_of_which_all_threads_are_held_is_blocked() {
        let runtime = |workers| {
            move |queries| Sample {
                queries,
                runtime: Some(crate::RuntimeUse { workers, busy_workers: Some(workers), queue_depth: 3 }),
                ..Sample::default()
            }
        };
        check_poll(0.0, runtime(1), &[(10, StallClass::BlockedRuntime)]);
        check_poll(0.0, runtime(2), &[(10, StallClass::BlockedCall)]);
    }

    #[test]
    fn a_thread_that_waits_for_memory_is_named_so() {
        let wait = crate::MemoryWait { consumer: "Sort".into(), bytes: 10, thread: Some(7) };
        let waiting = |queries| Sample { queries, memory_waits: vec![wait.clone()], ..Sample::default() };
        check_poll(0.0, waiting, &[(10, StallClass::Memory)]);
        let other = crate::MemoryWait { thread: Some(8), ..wait };
        let other = |queries| Sample { queries, memory_waits: vec![other.clone()], ..Sample::default() };
        check_poll(0.0, other, &[(10, StallClass::BlockedCall)]);
    }

    #[test]
    fn polls_that_return_count_with_the_time_that_they_took() {
        let mut detector = StallDetector::new(after(10));
        let mut observe = |second: i64, busy_ms: u64| {
            let mut query = query(vec![operator("SortExec", None, Some(0), false)]);
            query.busy = Duration::from_millis(busy_ms);
            detector.observe(at(second), &of(vec![query])).first().map(|stall| stall.since)
        };
        assert_eq!((0..60).find_map(|second| observe(second, second as u64 * 500)), None);
        // A timer that wakes the code a little each second does not count as progress.
        assert_eq!(
            (60..90).find_map(|second| observe(second, 29_500 + (second as u64 - 59) * 2)),
            Some(at(59))
        );
    }

    #[track_caller]
    fn check_class(change: impl Fn(&mut QueryProgress), class: StallClass, operator: Option<&str>) {
        let mut detector = StallDetector::new(after(10));
        let mut stuck = query(vec![
            operator_of_source("FilterExec", None, None),
            operator_of_source("StreamingTableExec", Some(0), Some(true)),
        ]);
        change(&mut stuck);
        detector.observe(at(0), &of(vec![stuck.clone()]));
        let stalls = detector.observe(at(10), &of(vec![stuck]));
        assert_eq!((stalls[0].class, stalls[0].operator.as_deref()), (Some(class), operator), "{stalls:#?}");
    }

    fn operator_of_source(name: &str, parent: Option<usize>, is_waiting: Option<bool>) -> OperatorProgress {
        OperatorProgress { is_waiting, ..operator(name, parent, None, false) }
    }

    #[test]
    fn a_query_waits_for_its_source_or_for_who_reads_it() {
        check_class(|_| {}, StallClass::Source, Some("StreamingTableExec"));
        check_class(
            |query| query.operators[1].is_waiting = None,
            StallClass::Source,
            Some("StreamingTableExec"),
        );
        check_class(
            |query| query.operators[1].is_waiting = Some(false),
            StallClass::Tasks,
            Some("StreamingTableExec"),
        );
        check_class(|query| query.is_asked = false, StallClass::Tasks, Some("StreamingTableExec"));
    }

    #[test]
    fn a_node_without_a_query_is_watched_by_its_own_threshold_and_marks() {
        let node = |marks, stall_after| crate::NodeProgress {
            name: "fetch".into(),
            marks,
            stall_after,
            ..crate::NodeProgress::default()
        };
        let stalls = |own: Option<Duration>, marks: fn(i64) -> u64| {
            let mut detector = StallDetector::new(after(10));
            (0..30).find_map(|second| {
                let sample = Sample { running: vec![node(marks(second), own)], ..Sample::default() };
                let stalls = detector.observe(at(second), &sample);
                stalls.first().map(|stall| (second, stall.class.unwrap(), stall.node.clone().unwrap()))
            })
        };
        let fetch = "fetch".to_owned();
        assert_eq!(stalls(None, |_| 1), Some((10, StallClass::Outside, fetch.clone())));
        assert_eq!(stalls(Some(Duration::from_secs(3)), |_| 1), Some((3, StallClass::Outside, fetch)));
        assert_eq!(stalls(Some(Duration::from_secs(60)), |_| 1), None);
        assert_eq!(stalls(None, |second| second as u64 / 5), None);
    }

    fn statement(holds_nodes: bool) -> crate::StatementProgress {
        let name = "the statement at shop.sql:3".to_owned();
        crate::StatementProgress { name, holds_nodes, ..crate::StatementProgress::default() }
    }

    #[test]
    fn a_statement_of_no_node_is_watched_while_it_has_no_query_and_named_where_it_has() {
        let mut detector = StallDetector::new(after(10));
        let of_statement = Sample { statements: vec![statement(false)], ..Sample::default() };
        assert_eq!(detector.observe(at(0), &of_statement), []);
        let stalls = detector.observe(at(10), &of_statement);
        assert_eq!(stalls.len(), 1, "{stalls:#?}");
        assert_eq!(stalls[0].statement.as_deref(), Some("the statement at shop.sql:3"));
        assert_eq!((stalls[0].class, stalls[0].since), (Some(StallClass::Outside), at(0)));

        let mut stuck = query(vec![operator("FilterExec", None, Some(1), false)]);
        stuck.node = None;
        let with_query = Sample { queries: vec![stuck], ..of_statement };
        assert_eq!(detector.observe(at(11), &with_query), []);
        let stalls = detector.observe(at(21), &with_query);
        assert_eq!(stalls.len(), 1, "{stalls:#?}");
        assert_eq!(stalls[0].statement.as_deref(), Some("the statement at shop.sql:3"));
        assert!(!stalls[0].query_id.is_empty());
    }

    #[test]
    fn a_stage_moves_while_nodes_within_it_do_and_a_statement_does_not() {
        let stalls = |holds_nodes| {
            let mut detector = StallDetector::new(after(10));
            let last = (0..30).map(|second| {
                let mut moving = query(vec![operator("FilterExec", None, Some(second as u64), false)]);
                moving.node = Some("inner".into());
                let statements = vec![statement(holds_nodes)];
                let sample = Sample { queries: vec![moving], statements, ..Sample::default() };
                detector.observe(at(second), &sample).len()
            });
            last.last()
        };
        assert_eq!((stalls(true), stalls(false)), (Some(0), Some(1)));
    }

    #[test]
    fn a_node_that_waits_for_another_one_is_not_stalled() {
        let mut detector = StallDetector::new(after(10));
        for second in 0..60 {
            let outer = crate::NodeProgress { name: "outer".into(), ..crate::NodeProgress::default() };
            let mut moving = query(vec![operator("FilterExec", None, Some(second as u64), false)]);
            moving.node = Some("inner".into());
            let sample = Sample { queries: vec![moving], running: vec![outer], ..Sample::default() };
            assert_eq!(detector.observe(at(second), &sample), []);
        }
    }

    #[test]
    fn a_stall_begins_at_the_last_change() {
        let mut detector = StallDetector::new(after(10));
        let plan = |rows| query(vec![operator("FilterExec", None, Some(rows), false)]);
        let mut observe = |second, rows| detector.observe(at(second), &of(vec![plan(rows)]));
        assert_eq!(observe(0, 1), []);
        assert_eq!(observe(8, 2), []);
        assert_eq!(observe(17, 2), []);
        let stalls = observe(18, 2);
        assert_eq!((stalls.len(), stalls[0].since), (1, at(8)));
        assert_eq!(stalls[0].operator.as_deref(), Some("FilterExec"));
        assert_eq!(observe(20, 3), []);
    }

    #[test]
    fn the_sleep_of_a_machine_is_no_stall() {
        let mut detector = StallDetector::new(after(10));
        let plan = || of(vec![query(vec![operator("FilterExec", None, Some(1), false)])]);
        let mut observe = |second, unseen| {
            let stalls = detector.observe_with(at(second), TimeDelta::seconds(unseen), &plan(), &[], None);
            stalls.first().map(|stall| stall.since)
        };
        assert_eq!(observe(0, 0), None);
        assert_eq!(observe(5, 0), None);
        // An hour later, and the clock was set back by two hours then.
        assert_eq!(observe(3605, 3599), None);
        assert_eq!(observe(3608, 0), None);
        assert_eq!(observe(-3592, -7202), Some(at(-3603)));
    }

    #[test]
    fn a_query_that_ended_is_forgotten() {
        let mut detector = StallDetector::new(after(1));
        detector.observe(at(0), &of(vec![query(Vec::new())]));
        assert_eq!(detector.observe(at(5), &Sample::default()), []);
        assert!(detector.seen.is_empty());
    }
}
