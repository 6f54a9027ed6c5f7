//! Classifies what something without progress is waiting for, by the state of its threads.

use std::{collections::BTreeSet, time::Duration};

use daglight_run_bundle::{Stall, StallClass, StalledThread};

use crate::{
    process::WAITING_FOR_DISK,
    progress::{OperatorProgress, Poll, QueryProgress, Sample, is_leaf},
    stalled_operator::stalled_position,
    thread_use::ThreadUse,
};

/// Other polls that block a thread at least this long are treated as blocking it, even if they began after the last progress.
const HELD: Duration = Duration::from_secs(1);

/// A poll that began at most this long before the last progress may have made it.
const MOMENT: Duration = Duration::from_millis(50);

/// Why something makes no progress.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cause {
    pub(crate) class: StallClass,
    /// What it is waiting for, as text.
    pub(crate) waits_for: Option<String>,
    /// The operator of the plan.
    pub(crate) operator: Option<usize>,
    pub(crate) threads: Vec<StalledThread>,
}

impl Cause {
    /// Whether nothing is known except that nothing runs, as for code that waits for a node it has called.
    pub(crate) fn is_unseen(&self) -> bool {
        matches!(self.class, StallClass::Outside | StallClass::Tasks) && self.threads.is_empty()
    }
}

/// Adds the blocked threads that belong to nothing else to a stall without known threads.
pub(crate) fn explain(stall: &mut Stall, threads: &[StalledThread]) {
    if let Some(output) = threads.iter().find_map(|thread| thread.writes_to.clone()) {
        (stall.class, stall.waits_for) = (Some(StallClass::Output), Some(output));
        (stall.operator, stall.detail) = (None, None);
    } else if stall.class != Some(StallClass::Source) {
        stall.class = Some(StallClass::Source);
        stall.waits_for = threads.iter().find_map(|thread| thread.waits_in.as_deref()).map(in_words);
    }
    stall.threads = threads.to_vec();
}

/// Whether a thread for blocking calls is waiting for something external, as opposed to waiting for work.
pub(crate) fn waits_for_world(thread: &StalledThread) -> bool {
    let waits = |place: &str| is_input(place) && !place.contains("epoll") && !place.contains("ep_poll");
    let place = thread.waits_in.as_deref();
    thread.writes_to.is_some() || place.map_or(thread.state == WAITING_FOR_DISK, waits)
}

/// The cause for a query without progress for `stalled`. `polls` are those of the query and of its node.
pub(crate) fn of_query(
    query: &QueryProgress,
    polls: &[Poll],
    sample: &Sample,
    used: &ThreadUse<'_>,
    stalled: Duration,
) -> Cause {
    let position = stalled_position(query);
    if let Some(cause) = of_polls(polls, sample, used, stalled) {
        // If rows are not consumed, no operator is to blame.
        let position = position.filter(|_| cause.class != StallClass::Output);
        let of_source = of_source(query, position, &cause, &held(polls, stalled));
        return of_source.unwrap_or(Cause { operator: position, ..cause });
    }
    let cause = |class, waits_for: Option<String>, operator| Cause {
        class,
        waits_for,
        operator,
        threads: Vec::new(),
    };
    // A slow or missing reader is back-pressure: every operator waits, and none is at fault.
    if !query.is_asked {
        let why = "the code that reads the query does not ask for more rows".to_owned();
        return cause(StallClass::Tasks, Some(why), position);
    }
    let waits = |operator: &OperatorProgress| operator.is_waiting == Some(true);
    // The client's part of the plan waits for this task.
    if let Some(task) = &query.waits_for_worker {
        return cause(StallClass::Worker, Some(task.clone()), position);
    }
    // A source that is observed to be waiting takes precedence over the operator at which the rows stop, which waits for that
    // source.
    if let Some(source) = query.operators.iter().position(waits) {
        return cause(StallClass::Source, source_of(&query.operators[source]), Some(source));
    }
    let leaf = position.filter(|position| is_leaf(&query.operators, *position));
    match leaf.map(|leaf| &query.operators[leaf]) {
        Some(operator) if operator.is_waiting.is_none() => {
            cause(StallClass::Source, source_of(operator), position)
        }
        _ => cause(
            StallClass::Tasks,
            Some("nothing of the query runs, and no source is asked".to_owned()),
            position,
        ),
    }
}

/// The cause if the blocking call is a read of a source. `None` if it is not.
fn of_source(query: &QueryProgress, position: Option<usize>, cause: &Cause, held: &[Poll]) -> Option<Cause> {
    // A call that blocks the whole runtime affects more than this query, and a wait for memory already has its own class.
    if !matches!(cause.class, StallClass::BlockedCall | StallClass::Tasks) {
        return None;
    }
    let operators = &query.operators;
    let asked = || operators.iter().position(|operator| operator.is_waiting == Some(true));
    // For a scan that is not observed, the rows show whether it is the one without progress.
    let unseen = || position.filter(|at| is_leaf(operators, *at) && operators[*at].is_waiting.is_none());
    let source = asked().or_else(unseen)?;
    let places = || cause.threads.iter().map(|thread| thread.waits_in.as_deref());
    let reads = |thread: &StalledThread| match thread.waits_in.as_deref() {
        Some(place) => is_input(place),
        None => thread.state == WAITING_FOR_DISK,
    };
    let is_source = match places().flatten().next() {
        // Threads of other partitions may be done, and wait until their rows are consumed.
        Some(_) => {
            let others = |thread: &StalledThread| thread.waits_in.as_deref().is_some_and(is_lock);
            cause.threads.iter().any(reads)
                && cause.threads.iter().all(|thread| reads(thread) || others(thread))
        }
        // If the system does not show in what a thread sleeps, a thread for blocking calls is attributed to the source.
        None => cause.threads.iter().any(reads) || held.iter().all(|poll| poll.may_block),
    };
    let reading =
        cause.threads.iter().filter(|thread| reads(thread)).find_map(|thread| thread.waits_in.as_deref());
    is_source.then(|| Cause {
        class: StallClass::Source,
        waits_for: reading.map(in_words).or_else(|| source_of(&operators[source])),
        operator: Some(source),
        threads: cause.threads.clone(),
    })
}

/// The cause for a node without queries and with `tasks` own tasks, or for a statement. `planning` is the current step of planning
/// its next query.
pub(crate) fn of_node(
    tasks: usize,
    planning: Option<&String>,
    polls: &[Poll],
    sample: &Sample,
    used: &ThreadUse<'_>,
    stalled: Duration,
) -> Cause {
    if let Some(cause) = of_polls(polls, sample, used, stalled) {
        return Cause { waits_for: cause.waits_for.or_else(|| planning.cloned()), ..cause };
    }
    if let Some(planning) = planning {
        let waits_for = Some(planning.clone());
        return Cause { class: StallClass::Outside, waits_for, operator: None, threads: Vec::new() };
    }
    let (class, waits_for) = match tasks {
        0 | 1 => (StallClass::Outside, "its code waits for something other than a query".to_owned()),
        // A single waiting task may wait for anything. If several all wait, each may be waiting for another one.
        _ => (StallClass::Tasks, format!("none of its {tasks} tasks runs, and none has a query")),
    };
    Cause { class, waits_for: Some(waits_for), operator: None, threads: Vec::new() }
}

/// The polls that have lasted for as long as there was no progress.
fn held(polls: &[Poll], stalled: Duration) -> Vec<Poll> {
    polls.iter().filter(|poll| lasts(poll, stalled)).cloned().collect()
}

fn lasts(poll: &Poll, stalled: Duration) -> bool {
    poll.lasts.saturating_add(MOMENT) >= stalled
}

fn numbers<'p>(polls: impl Iterator<Item = &'p Poll>) -> BTreeSet<u64> {
    polls.filter_map(|poll| poll.thread).collect()
}

/// The cause if a poll does not return.
fn of_polls(polls: &[Poll], sample: &Sample, used: &ThreadUse<'_>, stalled: Duration) -> Option<Cause> {
    let held = held(polls, stalled);
    if held.is_empty() {
        return None;
    }
    let threads = used.evidence(&held);
    let own = numbers(held.iter());
    let is_own = |thread: Option<u64>| thread.is_none_or(|thread| own.contains(&thread));
    if let Some(wait) = sample.memory_waits.iter().find(|wait| is_own(wait.thread)) {
        let what = format!("{} bytes of memory for {}", wait.bytes, wait.consumer);
        return Some(Cause { class: StallClass::Memory, waits_for: Some(what), operator: None, threads });
    }
    if let Some(output) = threads.iter().find_map(|thread| thread.writes_to.clone()) {
        return Some(Cause { class: StallClass::Output, waits_for: Some(output), operator: None, threads });
    }
    let waits_for = threads.iter().find_map(|thread| thread.waits_in.as_deref()).map(in_words);
    // Every lock and condition variable on Linux sleeps there, so these are tasks that wait for each other rather than a call that
    // waits for something external.
    let is_lock = threads.iter().any(|thread| thread.waits_in.as_deref().is_some_and(is_lock));
    let class = match (blocks_runtime(&held, sample, used, stalled), is_lock) {
        (true, _) => StallClass::BlockedRuntime,
        (false, true) => StallClass::Tasks,
        (false, false) => StallClass::BlockedCall,
    };
    Some(Cause { class, waits_for, operator: None, threads })
}

/// Whether calls block every thread of the runtime, including these polls.
fn blocks_runtime(held: &[Poll], sample: &Sample, used: &ThreadUse<'_>, stalled: Duration) -> bool {
    let Some(runtime) = sample.runtime else { return false };
    // Calls on dedicated threads do not affect the other threads, nor does a single blocked one of eight workers.
    let on_workers = || sample.all_polls().filter(|poll| !poll.may_block);
    if held.iter().all(|poll| poll.may_block) || on_workers().any(|poll| used.computes_beside_main(poll)) {
        return false;
    }
    let sleeping = || on_workers().filter(|poll| lasts(poll, stalled.min(HELD)) && !used.computes(poll));
    // Without thread numbers, all that is known is whether there is a poll.
    let workers = numbers(sleeping()).len().max(usize::from(sleeping().next().is_some()));
    workers >= runtime.workers && runtime.busy_workers.is_none_or(|busy| busy >= runtime.workers)
}

fn source_of(operator: &OperatorProgress) -> Option<String> {
    let shown = if operator.detail.is_empty() { &operator.name } else { &operator.detail };
    Some(format!("rows of {shown}"))
}

/// Whether a thread that sleeps at a place in the kernel is waiting for another thread.
fn is_lock(place: &str) -> bool {
    place.starts_with("futex")
}

/// Whether a thread that sleeps at a place in the kernel is reading from a pipe, a socket or a file, or waiting until there is
/// something to read.
fn is_input(place: &str) -> bool {
    // A thread that is writing, or waiting until written data arrives, is not waiting for a source.
    const OUTPUT: [&str; 6] = ["write", "send", "wait_memory", "commit", "flush", "sync"];
    const FILE: [&str; 8] =
        ["read", "folio", "page", "io_schedule", "nfs", "rpc_wait", "fuse", "request_wait_answer"];
    let holds = |words: &[&str]| words.iter().any(|word| place.contains(word));
    !holds(&OUTPUT) && (is_pipe(place) || is_network(place) || is_poll(place) || holds(&FILE))
}

fn is_pipe(place: &str) -> bool {
    // The last one is the place for opening a named pipe without a peer.
    place.contains("pipe") || place.contains("fifo") || place == "wait_for_partner"
}

fn is_poll(place: &str) -> bool {
    // Both sockets and terminals sleep in the last one.
    ["poll", "select", "wait_woken"].iter().any(|word| place.contains(word))
}

fn is_network(place: &str) -> bool {
    ["sk_", "skb", "tcp", "inet", "unix_"].iter().any(|word| place.contains(word))
}

/// A description of the place in the kernel where a thread sleeps.
fn in_words(place: &str) -> String {
    let words = match place {
        place if is_lock(place) => "a lock, or another thread",
        place if place.contains("nanosleep") => "time to pass: it sleeps",
        place if is_pipe(place) => "a pipe",
        place if is_poll(place) => "input or output",
        place if is_network(place) => "the network",
        place if place.contains("wait") && place.contains("do_") => "a child process",
        place if is_input(place) => "a file",
        _ => return format!("the kernel, in {place}"),
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(waits_in: &str, writes_to: Option<&str>) -> StalledThread {
        StalledThread {
            name: "tokio-rt-worker".to_owned(),
            state: "sleeping".to_owned(),
            waits_in: Some(waits_in.to_owned()),
            writes_to: writes_to.map(str::to_owned),
            cpu_seconds: 0.1,
            number: Some(7),
            stack: None,
        }
    }

    #[test]
    fn a_thread_that_waits_for_something_to_do_explains_nothing() {
        let check = |place: &str, expected: bool| {
            assert_eq!(waits_for_world(&thread(place, None)), expected, "{place}");
        };
        check("wait_for_partner", true);
        check("folio_wait_bit_common", true);
        check("do_sys_poll", true);
        check("do_epoll_wait", false);
        check("ep_poll", false);
        check("futex_do_wait", false);
        check("anon_pipe_write", false);
        assert!(waits_for_world(&thread("anon_pipe_write", Some("standard output, a pipe"))));
    }

    #[test]
    fn a_stall_of_which_nothing_is_seen_is_explained_by_a_thread_that_blocks() {
        let check = |class, thread: StalledThread, expected: (StallClass, &str, Option<&str>)| {
            let mut stall = Stall {
                class: Some(class),
                operator: Some("SortExec".to_owned()),
                waits_for: Some("rows of orders".to_owned()),
                ..Stall::default()
            };
            explain(&mut stall, std::slice::from_ref(&thread));
            let found =
                (stall.class.unwrap(), stall.waits_for.as_deref().unwrap(), stall.operator.as_deref());
            assert_eq!((found, stall.threads), (expected, vec![thread]));
        };
        let (opens, writes) =
            (thread("wait_for_partner", None), thread("anon_pipe_write", Some("standard output, a pipe")));
        let operator = Some("SortExec");
        check(StallClass::Outside, opens.clone(), (StallClass::Source, "a pipe", operator));
        check(StallClass::Tasks, opens.clone(), (StallClass::Source, "a pipe", operator));
        check(StallClass::Source, opens, (StallClass::Source, "rows of orders", operator));
        check(StallClass::Outside, writes, (StallClass::Output, "standard output, a pipe", None));
    }

    #[test]
    fn a_thread_that_reads_is_distinguished_from_one_that_writes_or_waits_for_something_else() {
        let check = |place: &str, reads: bool, words: &str| {
            assert_eq!((is_input(place), in_words(place).as_str()), (reads, words), "{place}");
        };
        check("wait_for_partner", true, "a pipe");
        check("anon_pipe_read", true, "a pipe");
        check("anon_pipe_write", false, "a pipe");
        check("do_sys_poll", true, "input or output");
        check("do_epoll_wait", true, "input or output");
        check("wait_woken", true, "input or output");
        check("unix_stream_read_generic", true, "the network");
        check("sk_wait_data", true, "the network");
        check("sk_stream_wait_memory", false, "the network");
        check("folio_wait_bit_common", true, "a file");
        check("futex_do_wait", false, "a lock, or another thread");
        check("hrtimer_nanosleep", false, "time to pass: it sleeps");
        check("do_wait", false, "a child process");
        check("jbd2_log_wait_commit", false, "the kernel, in jbd2_log_wait_commit");
    }
}
