//! Tests with planted stalls, and with situations that look like stalls.

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
    ThreadFacts { number, name: "worker".into(), state: "sleeping".into(), cpu_seconds, read_bytes: None }
}

fn poll(thread: u64, seconds: u64) -> Poll {
    Poll { thread: Some(thread), lasts: Duration::from_secs(seconds), may_block: false }
}

fn full(workers: usize) -> Option<crate::RuntimeUse> {
    Some(crate::RuntimeUse { workers, busy_workers: Some(workers), queue_depth: 3 })
}

/// Observes the same query repeatedly, whose poll blocks thread 7 and uses a share of a processor.
#[track_caller]
fn check_poll(cpu_share: f64, sample: impl Fn(Vec<QueryProgress>) -> Sample, expected: &[(i64, StallClass)]) {
    let mut detector = StallDetector::new(after(10));
    let mut found = Vec::new();
    for second in 0..130_u32 {
        let mut query = query(vec![operator("ProjectionExec", None, Some(1), false)]);
        query.polls = vec![poll(7, second.into())];
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
    let runtime = |workers| move |queries| Sample { queries, runtime: full(workers), ..Sample::default() };
    check_poll(0.0, runtime(1), &[(10, StallClass::BlockedRuntime)]);
    check_poll(0.0, runtime(2), &[(10, StallClass::BlockedCall)]);
}

/// The class of a query that blocks a thread, on a runtime with two busy workers, next to other polls that compute or not.
#[track_caller]
fn check_beside(own: Poll, others: &[(Poll, bool)], expected: StallClass) {
    let mut detector = StallDetector::new(after(10));
    let mut last = Vec::new();
    for second in 0..13_u32 {
        let since = |poll: &Poll| Poll { lasts: Duration::from_secs(second.into()), ..poll.clone() };
        let mut stuck = query(vec![
            operator("ProjectionExec", None, Some(1), false),
            operator("DataSourceExec", Some(0), Some(2), true),
        ]);
        stuck.polls = vec![since(&own)];
        let mut beside = query(vec![operator("FilterExec", None, Some(1), false)]);
        beside.query_id = "q2".into();
        beside.polls = others.iter().map(|(poll, _)| since(poll)).collect();
        let of_other = |(poll, computes): &(Poll, bool)| {
            thread(poll.thread.unwrap(), if *computes { second.into() } else { 0.0 })
        };
        let threads: Vec<_> = [thread(7, 0.0)].into_iter().chain(others.iter().map(of_other)).collect();
        let sample = Sample { runtime: full(2), ..of(vec![stuck, beside]) };
        last = detector.observe_with(at(second.into()), TimeDelta::zero(), &sample, &threads, None);
    }
    assert_eq!(last[0].class, Some(expected));
}

#[test]
fn a_runtime_is_not_blocked_while_one_of_its_threads_computes_or_where_a_call_has_a_thread_of_its_own() {
    let blocking = |poll| Poll { may_block: true, ..poll };
    let main = u64::from(std::process::id());
    check_beside(poll(7, 0), &[(poll(8, 0), false)], StallClass::BlockedRuntime);
    check_beside(poll(7, 0), &[(poll(8, 0), true)], StallClass::BlockedCall);
    check_beside(blocking(poll(7, 0)), &[(poll(8, 0), true)], StallClass::BlockedCall);
    check_beside(blocking(poll(7, 0)), &[(poll(8, 0), false)], StallClass::BlockedCall);
    check_beside(poll(7, 0), &[(blocking(poll(8, 0)), false)], StallClass::BlockedCall);
    // The main thread is not one of the two workers.
    check_beside(poll(7, 0), &[(poll(main, 0), false), (poll(8, 0), true)], StallClass::BlockedCall);
    check_beside(poll(7, 0), &[(poll(main, 0), true), (poll(8, 0), false)], StallClass::BlockedRuntime);
}

#[test]
fn calls_that_began_one_after_the_other_block_a_runtime_together() {
    let mut detector = StallDetector::new(after(10));
    let classes = (0..23_u64).map(|second| {
        let held = |id: &str, thread, began| {
            let mut query = query(vec![operator("ProjectionExec", None, Some(second.min(began)), false)]);
            query.query_id = id.into();
            query.polls = vec![poll(thread, second.saturating_sub(began))];
            query
        };
        let sample = Sample { runtime: full(2), ..of(vec![held("q1", 7, 0), held("q2", 8, 9)]) };
        let stalls = detector.observe(at(second as i64), &sample);
        stalls.into_iter().map(|stall| stall.class.unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(classes.last().unwrap(), [StallClass::BlockedRuntime, StallClass::BlockedRuntime]);
}

/// Observes a query whose poll blocks, and whose thread reads a byte every `reads` seconds. Checks the start of the first stall.
#[track_caller]
fn check_reading(reads: Option<u64>, lasts: fn(u64) -> u64, expected: Option<u64>) {
    let mut detector = StallDetector::new(after(10));
    let found = (0..40_u64).find(|second| {
        let mut query = query(vec![operator("StreamingTableExec", None, None, false)]);
        query.polls = vec![Poll { may_block: true, ..poll(7, lasts(*second)) }];
        let read_bytes = Some(reads.map_or(5, |reads| second / reads));
        let threads = [ThreadFacts { read_bytes, ..thread(7, 0.0) }];
        let now = at(*second as i64);
        !detector.observe_with(now, TimeDelta::zero(), &of(vec![query]), &threads, Some(0.0)).is_empty()
    });
    assert_eq!(found, expected);
}

#[test]
fn bytes_that_arrive_at_the_thread_of_a_source_are_progress() {
    check_reading(Some(1), |second| second, None);
    check_reading(Some(8), |second| second, None);
    check_reading(None, |second| second, Some(10));
    // Bytes that other code has read on the same thread do not count for this query.
    check_reading(Some(1), |_| 0, Some(10));
}

/// Observes a query that waits for rows next to one that makes progress, while that many of two workers are busy.
#[track_caller]
fn check_crowded(busy_workers: usize, moves: bool, own: Option<Poll>, expected: Option<u64>) {
    let mut detector = StallDetector::new(after(10));
    let found = (0..60_u64).find(|second| {
        let mut waiting = query(vec![operator_of_source("StreamingTableExec", None, Some(true))]);
        let held = |poll: Poll| Poll { lasts: Duration::from_secs(*second), ..poll };
        waiting.polls = own.clone().map(held).into_iter().collect();
        let mut moving = query(vec![operator("FilterExec", None, Some(second * u64::from(moves)), false)]);
        moving.query_id = "q2".into();
        let runtime =
            Some(crate::RuntimeUse { workers: 2, busy_workers: Some(busy_workers), queue_depth: 0 });
        let sample = Sample { runtime, ..of(vec![waiting, moving]) };
        let threads = [thread(7, 0.0)];
        let stalls =
            detector.observe_with(at(*second as i64), TimeDelta::zero(), &sample, &threads, Some(0.0));
        stalls.iter().any(|stall| stall.query_id == "q1")
    });
    assert_eq!(found, expected);
}

#[test]
fn who_waits_for_a_worker_is_not_stalled_while_others_have_all_of_them() {
    check_crowded(2, true, None, None);
    check_crowded(1, true, None, Some(10));
    check_crowded(2, false, None, Some(10));
    // A call with its own thread waits for no worker.
    check_crowded(2, true, Some(Poll { may_block: true, ..poll(7, 0) }), Some(10));
}

#[test]
fn waiting_for_a_worker_is_not_a_stall() {
    let mut detector = StallDetector::new(after(10));
    let mut first = None;
    for second in 0..60_u64 {
        let waiting = query(vec![operator_of_source("StreamingTableExec", None, Some(true))]);
        let mut moving = query(vec![operator("FilterExec", None, Some(second), false)]);
        moving.query_id = "q2".into();
        let busy_workers = Some(if second <= 30 { 2 } else { 1 });
        let runtime = Some(crate::RuntimeUse { workers: 2, busy_workers, queue_depth: 0 });
        let sample = Sample { runtime, ..of(vec![waiting, moving]) };
        let stalls = detector.observe(at(second as i64), &sample);
        first = first.or_else(|| stalls.first().map(|stall| (second, stall.since)));
    }
    assert_eq!(first, Some((40, at(30))));
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
    // A timer that wakes the code briefly each second does not count as progress.
    assert_eq!((60..90).find_map(|second| observe(second, 29_500 + (second as u64 - 59) * 2)), Some(at(59)));
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
    check_class(|query| query.operators[1].is_waiting = None, StallClass::Source, Some("StreamingTableExec"));
    check_class(
        |query| query.operators[1].is_waiting = Some(false),
        StallClass::Tasks,
        Some("StreamingTableExec"),
    );
    check_class(|query| query.is_asked = false, StallClass::Tasks, Some("StreamingTableExec"));
}

#[test]
fn a_query_that_waits_for_a_worker_of_a_cluster_names_it() {
    let task = || Some("worker a:9400, task 1 of stage 2".to_owned());
    check_class(|query| query.waits_for_worker = task(), StallClass::Worker, Some("StreamingTableExec"));
    // The consumer is more directly responsible.
    let unread = |query: &mut QueryProgress| {
        query.waits_for_worker = task();
        query.is_asked = false;
    };
    check_class(unread, StallClass::Tasks, Some("StreamingTableExec"));
    let mut detector = StallDetector::new(StallAfter { busy: Duration::from_secs(60), ..after(10) });
    // A worker computes without a result.
    let mut observe = |second: i64| {
        let mut query = query(vec![operator("NetworkShuffleExec", None, Some(0), false)]);
        query.busy = Duration::from_secs(second as u64);
        query.waits_for_worker = task();
        detector.observe(at(second), &of(vec![query]))
    };
    assert!((0..60).all(|second| observe(second).is_empty()));
    let stall = observe(60).remove(0);
    assert_eq!((stall.class, stall.waits_for), (Some(StallClass::Spinning), task()));
}

#[test]
fn a_call_that_holds_a_thread_for_a_source_is_the_wait_for_it() {
    // It is unknown in what a missing thread sleeps.
    let held = |may_block| {
        move |query: &mut QueryProgress| {
            query.polls = vec![Poll { may_block, ..poll(7, 10) }];
        }
    };
    check_class(held(true), StallClass::Source, Some("StreamingTableExec"));
    check_class(held(false), StallClass::BlockedCall, Some("StreamingTableExec"));
    check_class(
        |query| {
            held(true)(query);
            query.operators[1].is_waiting = Some(false);
        },
        StallClass::BlockedCall,
        Some("StreamingTableExec"),
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_query_whose_thread_reads_a_pipe_waits_for_its_source_and_one_that_sleeps_does_not() {
    let check = |call: fn(std::io::PipeReader), place: &str, is_waiting, expected: StallClass| {
        let (reader, writer) = std::io::pipe().unwrap();
        let (says, said) = std::sync::mpsc::channel();
        let held = std::thread::spawn(move || {
            says.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
            call(reader);
        });
        let number = said.recv().unwrap().file_name().unwrap().to_str().unwrap().parse().unwrap();
        while !thread(number, 0.0).stalled().waits_in.is_some_and(|at| at.contains(place)) {
            std::thread::yield_now();
        }
        let mut stuck = query(vec![
            operator("FilterExec", None, Some(0), false),
            operator_of_source("StreamingTableExec", Some(0), is_waiting),
        ]);
        stuck.polls = vec![poll(number, 10)];
        let mut detector = StallDetector::new(after(10));
        let mut observe = |second| {
            let threads = [thread(number, 0.0)];
            detector.observe_with(at(second), TimeDelta::zero(), &of(vec![stuck.clone()]), &threads, None)
        };
        observe(0);
        let stall = observe(10).remove(0);
        assert_eq!(stall.class, Some(expected), "{stall:#?}");
        drop(writer);
        held.join().unwrap();
        stall
    };
    let reads: fn(std::io::PipeReader) = |mut pipe| {
        std::io::Read::read(&mut pipe, &mut [0]).unwrap();
    };
    let sleeps: fn(std::io::PipeReader) = |_| std::thread::sleep(Duration::from_millis(500));
    let stall = check(reads, "pipe", Some(true), StallClass::Source);
    assert_eq!(stall.waits_for.as_deref(), Some("a pipe"));
    assert_eq!(stall.operator.as_deref(), Some("StreamingTableExec"));
    check(reads, "pipe", None, StallClass::Source);
    check(reads, "pipe", Some(false), StallClass::BlockedCall);
    check(sleeps, "nanosleep", Some(true), StallClass::BlockedCall);
}

#[test]
fn tasks_of_a_node_without_any_progress_wait_for_each_other() {
    let class = |tasks, polls: Vec<Poll>| {
        let node = crate::NodeProgress { name: "fetch".into(), tasks, polls, ..Default::default() };
        let sample = Sample { running: vec![node], ..Sample::default() };
        let mut detector = StallDetector::new(after(10));
        detector.observe(at(0), &sample);
        detector.observe(at(10), &sample)[0].class.unwrap()
    };
    assert_eq!(class(2, Vec::new()), StallClass::Tasks);
    assert_eq!(class(1, Vec::new()), StallClass::Outside);
    assert_eq!(class(2, vec![poll(7, 10)]), StallClass::BlockedCall);
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
        // Also if tasks that it has spawned have called it.
        let tasks = usize::from(second > 20) * 2;
        let outer = crate::NodeProgress { name: "outer".into(), tasks, ..crate::NodeProgress::default() };
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
fn the_sleep_of_a_machine_is_not_a_stall() {
    let mut detector = StallDetector::new(after(10));
    let plan = || of(vec![query(vec![operator("FilterExec", None, Some(1), false)])]);
    let mut observe = |second, unseen| {
        let stalls = detector.observe_with(at(second), TimeDelta::seconds(unseen), &plan(), &[], None);
        stalls.first().map(|stall| stall.since)
    };
    assert_eq!(observe(0, 0), None);
    assert_eq!(observe(5, 0), None);
    // An hour later, after the clock was set back by two hours.
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
