//! The sections about the process: its resource use, also over time, and stalls.

use daglight_run_bundle::{Stall, StallClass, StalledThread, ThreadStack};

use crate::{
    charts::charts,
    display,
    report::{Report, StallReport},
    section::{Block, Cell, Column, Piece, Section, name, words},
    section_parts::{list, section, table},
    waterfall::Axis,
};

/// The maximum number of stack calls in text: the page has all.
const CALLS_IN_TEXT: usize = 6;

pub(crate) fn process(report: &Report) -> Section<'_> {
    let Some(heartbeat) = &report.heartbeat else { return section("Process", Vec::new()) };
    let measured = |number| report.measured_in_words(number);
    let unmeasured = report.unmeasured_ms();
    let facts = [
        ("process", Some(heartbeat.process_in_words())),
        ("heartbeat", Some(heartbeat.beats_in_words())),
        ("processor time", heartbeat.cpu_seconds.map(display::seconds).map(measured)),
        ("processors used by other processes", report.others_share().map(display::percent).map(measured)),
        ("peak memory", heartbeat.peak_resident_bytes.map(display::bytes).map(measured)),
        ("read from storage by the process", heartbeat.io_bytes_read.map(display::bytes).map(measured)),
        ("written to storage by the process", heartbeat.io_bytes_written.map(display::bytes).map(measured)),
        ("not measured", unmeasured.map(|ms| format!("the last {}", display::duration(ms)))),
    ];
    let facts = facts.into_iter().filter_map(|(name, value)| Some((name.into(), words(value?))));
    let running = heartbeat.active_tasks.iter().map(|task| {
        let since = format!("running at the last sign of life, since {}", display::time(task.since));
        vec![name(task.name.as_str()), words(since)]
    });
    let events = table(vec![Column::text("node"), Column::text("")], running);
    section("Process", [Block::Facts(facts.collect())].into_iter().chain(events).collect())
}

/// The stalls, with causes and remedies.
pub(crate) fn stalls(report: &Report) -> Section<'_> {
    let Some(heartbeat) = &report.heartbeat else { return section("Stalls", Vec::new()) };
    let columns =
        ["node", "where", "when", "why", "threads", "what helps"].into_iter().map(Column::text).collect();
    let rows = list(columns, heartbeat.stalls.iter().map(stall_row));
    section("Stalls", rows.into_iter().chain(heartbeat.stalls.iter().flat_map(calls)).collect())
}

/// The calls in which the threads of a stall were blocked, grouped by equal stacks.
fn calls(StallReport { stall, .. }: &StallReport) -> Vec<Block<'_>> {
    let mut stacks: Vec<(&ThreadStack, Vec<&StalledThread>)> = Vec::new();
    for thread in &stall.threads {
        let Some(stack) = &thread.stack else { continue };
        match stacks.iter_mut().find(|(other, _)| *other == stack) {
            Some((_, threads)) => threads.push(thread),
            None => stacks.push((stack, vec![thread])),
        }
    }
    stacks.into_iter().map(|(stack, threads)| calls_of(stall, stack, &threads)).collect()
}

fn calls_of<'r>(stall: &'r Stall, stack: &'r ThreadStack, threads: &[&'r StalledThread]) -> Block<'r> {
    let mut title = vec![Piece::words("The calls of thread ")];
    title.extend(threads.first().map(|thread| Piece::words(thread.name.as_str())));
    if threads.len() > 1 {
        let others = display::plural(threads.len() as u64 - 1, "other thread");
        title.push(Piece::words(format!(" and {others}")));
    }
    title.push(Piece::words(format!(" at {}", display::time(stall.since))));
    let what = name(stall.node.as_deref().or(stall.statement.as_deref()));
    title.extend(what.into_iter().flat_map(|name| [Piece::words(", in "), name]));
    let all = stack.frames.iter().map(String::as_str).chain(stack.end.in_words());
    Block::Calls { title, all: lines(all), first: lines(stack.own().take(CALLS_IN_TEXT)) }
}

fn lines<'l>(lines: impl Iterator<Item = &'l str>) -> String {
    lines.collect::<Vec<_>>().join("\n")
}

fn stall_row(StallReport { stall, ended, remedy }: &StallReport) -> Vec<Cell<'_>> {
    let mut place = Vec::new();
    if !stall.query_id.is_empty() {
        place.extend([Piece::words("query "), Piece::Code(stall.query_id.as_str().into())]);
    }
    // The detail begins with the name of the operator.
    let detail = stall.detail.as_deref().filter(|detail| !detail.is_empty());
    if let Some(operator) = detail.or(stall.operator.as_deref()) {
        place.extend([Piece::words(" at "), Piece::Code(operator.into())]);
    }
    let until = ended.map_or_else(
        || " and has not gone on".to_owned(),
        |ended| format!(" until {}", display::time(ended)),
    );
    let when = format!("from {}{until}", display::time(stall.since));
    let mut why = vec![Piece::words(stall.class.map_or("made no progress", StallClass::in_words))];
    if let Some(what) = &stall.waits_for {
        why.extend([Piece::words(": "), Piece::Code(what.as_str().into())]);
    }
    let threads = stall.threads.iter().map(|thread| {
        let place = thread.waits_in.as_ref().map_or_else(String::new, |place| format!(" in {place}"));
        format!("{} {}{place}", thread.name, thread.state)
    });
    let threads = threads.collect::<Vec<_>>().join(", ");
    let remedy = remedy.as_deref().unwrap_or_default().replace('`', "");
    let what = stall.node.as_deref().or(stall.statement.as_deref());
    vec![name(what), place, words(when), why, words(threads), words(remedy)]
}

/// The process over the time of the run.
pub(crate) fn over_time(report: &Report) -> Section<'_> {
    let duration_ms = report.duration_ms.unwrap_or(0.0);
    let charts = charts(&report.resources, &report.nodes, report.started_at, duration_ms);
    let axis = Axis::of(duration_ms);
    section("Over time", if charts.is_empty() { Vec::new() } else { vec![Block::Charts(charts, axis)] })
}
