//! Reports queries and nodes that make no progress: in the log, on the root span, and as a tag of the run.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use daglight_bundle_report::display::elapsed;
use daglight_capture_policy::{Captured, Policy};
use daglight_heartbeat::Beat;
use daglight_otel_bridge::{
    AttributeKey, AttributeValue,
    names::{Key, event},
};
use daglight_run_bundle::{NodeStatus, Stall, StalledThread, WarningCode};
use daglight_tracker_client::Event;

use crate::{
    log::{Field, field, known, stall_event},
    run_state::RunState,
};

/// Calls of a stack that stand in a line.
const CALLS: usize = 3;

/// The message for a stall that is over.
const GOES_ON: &str = "progress again";

/// Says which stalls began and which ended with a beat.
pub(crate) fn announce(state: &RunState, beat: &Beat) {
    let policy = &state.context.policy;
    for stall in &beat.stall_changes.began {
        let fields = StallFields::of(stall, policy);
        let since = field(policy.capture(stall.since.to_rfc3339()));
        let waits_for = known(stall.waits_for.as_ref().map(|what| policy.capture(what.as_str())));
        let cpu_seconds = known(stall.cpu_seconds);
        let threads = threads_in_words(stall);
        let threads = known((!threads.is_empty()).then(|| policy.capture(threads)));
        let text = policy.capture(format!(
            "no progress for {}: {}{}",
            lasts(beat, stall),
            describe(stall),
            why(stall)
        ));
        stall_event!(
            target: "daglight",
            WARN,
            text,
            of fields,
            code = WarningCode::Stall,
            stall.waits_for = waits_for,
            stall.cpu_seconds = cpu_seconds,
            stall.since = since,
            stall.threads = threads,
        );
        // On the root span, because the span of the query is exported only when it ends, which a stalled one does
        // not.
        state.context.root.event(event::STALL, attributes(beat, stall, policy));
        state.core.stalls.add(stall.id(), in_tag(stall, policy));
    }
    for stall in &beat.stall_changes.corrected {
        state.core.stalls.correct(&stall.id(), in_tag(stall, policy));
    }
    for stall in &beat.stall_changes.ended {
        let end = match status(state, stall) {
            Some(NodeStatus::Failure) => "the node failed during a stall",
            _ => GOES_ON,
        };
        ended(state, beat, stall, end);
    }
    let changes = &beat.stall_changes;
    if !(changes.began.is_empty() && changes.corrected.is_empty())
        && let (Some(tracker), Some(tag)) =
            (&state.context.tracker, state.core.stalls.tag(&state.context.tags))
    {
        // Who looks at the page of the run while it makes no progress sees why.
        tracker.record(&Event::TagsUpserted { tags: BTreeMap::from([tag]), time: beat.at });
    }
}

/// Ends the stalls that last when the run does.
pub(crate) fn close(state: &RunState, ended_at: DateTime<Utc>) {
    if let Some(last) = state.beats.last.take() {
        let _guard = state.context.root.context.clone().attach();
        // From the last beat and not a fresh look: the end of the run is bounded, and looking at threads is not.
        let end = Beat { at: ended_at, ..last };
        for stall in &end.stalls {
            // No beat has seen what came between the stall and the end.
            let text = match status(state, stall) {
                Some(NodeStatus::Success) => GOES_ON,
                _ => "the run ended during a stall",
            };
            ended(state, &end, stall, text);
        }
    }
}

/// Says that a stall is over, in the log and on the root span. `end` is how it came to that.
fn ended(state: &RunState, beat: &Beat, stall: &Stall, end: &str) {
    let policy = &state.context.policy;
    let fields = StallFields::of(stall, policy);
    let seconds = field((beat.at - stall.since).as_seconds_f64());
    // With the class, which may be another one than the warning has said.
    let class_in_words = stall.class.map(|class| format!(", {}", class.in_words())).unwrap_or_default();
    let what = format!("{end}, after {}: {}{class_in_words}", lasts(beat, stall), describe(stall));
    let text = policy.capture(what);
    stall_event!(
        target: crate::NOTE_TARGET,
        INFO,
        text,
        of fields,
        stall.seconds = seconds,
    );
    state.context.root.event(event::STALL_ENDED, attributes(beat, stall, policy));
}

fn in_tag(stall: &Stall, policy: &Policy) -> String {
    policy.capture(format!("{}{}", describe(stall), why(stall))).to_text()
}

/// How the node of a stall has ended, if it has.
fn status(state: &RunState, stall: &Stall) -> Option<NodeStatus> {
    let records = state.log.records();
    records.nodes.get(stall.node.as_deref()?).map(|node| node.status)
}

fn lasts(beat: &Beat, stall: &Stall) -> String {
    elapsed((beat.at - stall.since).to_std().unwrap_or_default())
}

/// The error of what is given up because of a stall: how long nothing moved, where, why, and the evidence.
pub(crate) fn in_full(beat: &Beat, stall: &Stall) -> String {
    let class = stall.class.map(|class| format!("class {}", class.name()));
    let cpu =
        stall.cpu_seconds.map(|seconds| format!("{seconds:.1} s of processor time since the last beat"));
    let threads = stall.threads.iter().map(|thread| format!("thread {}", thread_in_words(thread)));
    // Of one thread, because a whole runtime may be blocked alike.
    let shown = stall.threads.iter().find(|thread| thread.stack.is_some());
    let shown = shown.map(|thread| format!("{}{}", thread.name, calls(thread)));
    let evidence: Vec<String> = class.into_iter().chain(cpu).chain(threads).chain(shown).collect();
    format!(
        "no progress for {}{} ({}); given up, because heartbeat.on_stall is \"cancel\"",
        lasts(beat, stall),
        place(stall),
        evidence.join("; ")
    )
}

fn attributes(beat: &Beat, stall: &Stall, policy: &Policy) -> Vec<(AttributeKey, AttributeValue)> {
    let shown = |text: &str| AttributeValue::from(policy.capture(text));
    let seconds = (beat.at - stall.since).as_seconds_f64();
    let threads = threads_in_words(stall);
    let facts = [
        (Key::Node, stall.node.as_deref().map(shown)),
        (Key::QueryId, stall.query_id.parse::<u64>().ok().map(Into::into)),
        (Key::StallStatement, stall.statement.as_deref().map(shown)),
        (Key::StallOperator, stall.operator.as_deref().map(shown)),
        (Key::StallClass, stall.class.map(|class| class.name().into())),
        (Key::StallWaitsFor, stall.waits_for.as_deref().map(shown)),
        (Key::StallSeconds, Some(seconds.into())),
        (Key::StallCpuSeconds, stall.cpu_seconds.map(Into::into)),
        (Key::StallThreads, (!threads.is_empty()).then(|| policy.capture(threads).into())),
    ];
    facts.into_iter().filter_map(|(key, value)| Some((key.into(), value?))).collect()
}

/// Each thread, with the calls in which it was blocked.
fn threads_in_words(stall: &Stall) -> Vec<String> {
    stall.threads.iter().map(|thread| format!("{}{}", thread_in_words(thread), calls(thread))).collect()
}

fn thread_in_words(thread: &StalledThread) -> String {
    let place = thread.waits_in.as_ref().map_or_else(String::new, |place| format!(" in {place}"));
    format!("{}: {}{place}, {:.1} s of processor time", thread.name, thread.state, thread.cpu_seconds)
}

fn calls(thread: &StalledThread) -> String {
    thread.stack.as_ref().map_or_else(String::new, |stack| format!(", in {}", stack.in_short(CALLS)))
}

/// Which node or query it is, and where.
fn describe(stall: &Stall) -> String {
    let what = match (&stall.node, &stall.statement) {
        (Some(node), _) => format!("node {node}"),
        (None, Some(statement)) => statement.clone(),
        (None, None) => format!("query {}", stall.query_id),
    };
    match &stall.operator {
        Some(operator) => format!("{what}, operator {operator}"),
        None => what,
    }
}

/// Where it stands still and why, behind for how long.
pub(crate) fn place(stall: &Stall) -> String {
    match &stall.operator {
        Some(operator) => format!(", operator {operator}{}", why(stall)),
        None => why(stall),
    }
}

/// Why it stalls, behind that.
fn why(stall: &Stall) -> String {
    match (&stall.class, &stall.waits_for) {
        (None, _) => String::new(),
        (Some(class), None) => format!(", {}", class.in_words()),
        (Some(class), Some(what)) => format!(", {} ({what})", class.in_words()),
    }
}

/// What every event about a stall says of it, for programs.
struct StallFields {
    query_id: Field,
    node: Field,
    statement: Field,
    operator: Field,
    class: Field,
}

impl StallFields {
    fn of(stall: &Stall, policy: &Policy) -> Self {
        let shown = |text: Option<&str>| -> Captured { policy.capture(text.unwrap_or("-")) };
        Self {
            query_id: field(shown(Some(&stall.query_id).filter(|id| !id.is_empty()).map(String::as_str))),
            node: field(shown(stall.node.as_deref())),
            statement: known(stall.statement.as_deref().map(|statement| policy.capture(statement))),
            operator: field(shown(stall.operator.as_deref())),
            class: known(stall.class.map(|class| class.name())),
        }
    }
}

#[cfg(test)]
mod tests {
    use daglight_run_bundle::StallClass;

    use super::*;

    #[test]
    fn a_stall_is_named_by_its_node_or_query_its_operator_and_its_cause() {
        let check = |stall: Stall, expected: &str| {
            assert_eq!(format!("{}{}", describe(&stall), why(&stall)), expected);
        };
        let stall = Stall {
            query_id: "q7".to_owned(),
            node: Some("orders".to_owned()),
            operator: Some("SortExec".to_owned()),
            ..Stall::default()
        };
        check(stall.clone(), "node orders, operator SortExec");
        let statement = Some("the statement at shop.sql:12".to_owned());
        check(
            Stall { node: None, statement, ..stall.clone() },
            "the statement at shop.sql:12, operator SortExec",
        );
        check(
            Stall { node: None, operator: None, class: Some(StallClass::Spinning), ..stall.clone() },
            "query q7, is busy without output",
        );
        let waits_for = Some("10 bytes of memory for Sort".to_owned());
        check(
            Stall { class: Some(StallClass::Memory), waits_for, ..stall },
            "node orders, operator SortExec, waits for memory (10 bytes of memory for Sort)",
        );
    }
}
