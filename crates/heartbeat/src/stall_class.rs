//! What something that makes no progress waits for, by what its threads do.

use std::{collections::BTreeSet, time::Duration};

use daglight_run_bundle::{StallClass, StalledThread};

use crate::{
    process::ThreadFacts,
    progress::{OperatorProgress, Poll, QueryProgress, Sample, is_leaf},
    stalled_operator::stalled_position,
};

/// Threads that the evidence of a stall names.
const MOST_THREADS: usize = 16;

/// Why something stands still.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cause {
    pub(crate) class: StallClass,
    /// What it waits for, in words.
    pub(crate) waits_for: Option<String>,
    /// The operator of the plan.
    pub(crate) operator: Option<usize>,
    pub(crate) threads: Vec<StalledThread>,
}

/// What is known of the threads of the process.
pub(crate) struct Threads<'t> {
    pub(crate) facts: &'t [ThreadFacts],
}

impl Threads<'_> {
    pub(crate) fn of(&self, polls: &[Poll]) -> Vec<StalledThread> {
        let numbers: BTreeSet<u64> = polls.iter().filter_map(|poll| poll.thread).collect();
        let facts = self.facts.iter().filter(|thread| numbers.contains(&thread.number));
        facts.take(MOST_THREADS).map(ThreadFacts::stalled).collect()
    }
}

/// The cause of a query that stands still for `stalled`. `polls` are those of the query and of its node.
pub(crate) fn of_query(
    query: &QueryProgress,
    polls: &[Poll],
    sample: &Sample,
    threads: &Threads<'_>,
    stalled: Duration,
) -> Cause {
    let position = stalled_position(query);
    if let Some(mut cause) = of_polls(polls, sample, threads, stalled) {
        cause.operator = position;
        return cause;
    }
    let cause = |class, waits_for: Option<String>, operator| Cause {
        class,
        waits_for,
        operator,
        threads: Vec::new(),
    };
    // A reader that is slow or gone is back-pressure: every operator waits, and none of them is at fault.
    if !query.is_asked {
        let why = "the code that reads the query does not ask for more rows".to_owned();
        return cause(StallClass::Tasks, Some(why), position);
    }
    let waits = |operator: &OperatorProgress| operator.is_waiting == Some(true);
    // A source that is seen waiting outranks the operator at which the rows stop: that one waits for the source.
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

/// The cause of a node that has no query.
pub(crate) fn of_node(polls: &[Poll], sample: &Sample, threads: &Threads<'_>, stalled: Duration) -> Cause {
    of_polls(polls, sample, threads, stalled).unwrap_or_else(|| Cause {
        class: StallClass::Outside,
        waits_for: Some("its code waits for something other than a query".to_owned()),
        operator: None,
        threads: Vec::new(),
    })
}

/// The cause that lies in a poll which does not return.
fn of_polls(polls: &[Poll], sample: &Sample, threads: &Threads<'_>, stalled: Duration) -> Option<Cause> {
    // What began a moment before the last progress has made it.
    let lasting = |poll: &&Poll| poll.lasts.saturating_add(Duration::from_millis(50)) >= stalled;
    let held: Vec<Poll> = polls.iter().filter(lasting).cloned().collect();
    let numbers = |polls: &[Poll]| polls.iter().filter_map(|poll| poll.thread).collect::<BTreeSet<u64>>();
    let own = numbers(&held);
    let is_own = |thread: Option<u64>| thread.is_none_or(|thread| own.contains(&thread));
    if let Some(wait) = sample.memory_waits.iter().find(|wait| !held.is_empty() && is_own(wait.thread)) {
        let what = format!("{} bytes of memory for {}", wait.bytes, wait.consumer);
        return Some(Cause {
            class: StallClass::Memory,
            waits_for: Some(what),
            operator: None,
            threads: threads.of(&held),
        });
    }
    if held.is_empty() {
        return None;
    }
    let found = threads.of(&held);
    let waits_for = found.iter().find_map(|thread| thread.waits_in.as_deref()).map(in_words);
    let all: Vec<Poll> = sample.all_polls().filter(lasting).cloned().collect();
    let held_workers = numbers(&all).len().max(usize::from(!all.is_empty()));
    let is_runtime = sample.runtime.is_some_and(|runtime| {
        // Held by code of the run alone is not enough: a blocking call on one of eight workers leaves seven for
        // everything else.
        held_workers >= runtime.workers && runtime.busy_workers.is_none_or(|busy| busy >= runtime.workers)
    });
    let is_lock =
        // Every lock and condition variable of Linux sleeps there, so it is tasks that wait for each other rather
        // than a call that waits for the world.
        found.iter().any(|thread| thread.waits_in.as_deref().is_some_and(|place| place.starts_with("futex")));
    let class = match (is_runtime, is_lock) {
        (true, _) => StallClass::BlockedRuntime,
        (false, true) => StallClass::Tasks,
        (false, false) => StallClass::BlockedCall,
    };
    Some(Cause { class, waits_for, operator: None, threads: found })
}

fn source_of(operator: &OperatorProgress) -> Option<String> {
    let shown = if operator.detail.is_empty() { &operator.name } else { &operator.detail };
    Some(format!("rows of {shown}"))
}

/// What the kernel calls the place in which a thread sleeps.
fn in_words(place: &str) -> String {
    let words = match place {
        place if place.starts_with("futex") => "a lock, or another thread",
        place if place.contains("nanosleep") => "time to pass: it sleeps",
        // The kernel's place for opening a named pipe that nobody has at its other end.
        place if place.contains("pipe") || place == "wait_for_partner" => "a pipe",
        place if place.contains("poll") || place.contains("select") || place.contains("epoll") => {
            "input or output"
        }
        place if place.contains("sk_") || place.contains("tcp") || place.contains("inet") => "the network",
        place if place.contains("wait") && place.contains("do_") => "a child process",
        _ => return format!("the kernel, in {place}"),
    };
    words.to_owned()
}
