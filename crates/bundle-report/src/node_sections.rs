//! The sections about nodes: how each ended, when it ran, and what determines the time of the run.

use std::collections::HashSet;

use daglight_run_bundle::{CheckRecord, NodeStatus, RecordedKind, RecordedOutcome};

use crate::{
    display, nodes,
    report::{NodeReport, Report, Timeline},
    section::{Block, Column, Fit, Medium, Piece, Row, Section, Table, Tag, Tone, code, name, shown, words},
    section_parts::{list, section, sentence, table},
    waterfall::Axis,
};

/// The maximum number of nodes with more than a table row.
pub(crate) const MAX_DETAILED: usize = 20;

/// The total idle time in milliseconds below which it is not mentioned.
const LEAST_IDLE_MS: f64 = 1.0;

/// The maximum number of checks shown.
const MAX_CHECKS: usize = 200;

/// The maximum number of nodes on a readable page.
const MAX_NODES: usize = 200;
/// The maximum number of nodes in a terminal or a ticket.
const MAX_NODES_OF_TEXT: usize = 60;

pub(crate) fn nodes(report: &Report) -> Section<'_> {
    let (longest, left_out) = nodes::longest(&report.nodes, MAX_NODES);
    let has_nodes = !longest.is_empty();
    let mut blocks: Vec<Block<'_>> = time_spent(report).into_iter().collect();
    if has_nodes {
        blocks.push(Block::Drawings(&report.nodes));
        // The same for all rows, so that the bars of nodes are comparable.
        let axis = Axis::of(report.duration_ms.unwrap_or(0.0));
        let columns = vec![
            Column::text("node"),
            Column::text("kind").only(Medium::Markdown).fit(Fit::Spare),
            Column::text("status").only(Medium::Markdown),
            Column::number("start").only(Medium::Markdown).fit(Fit::Spare),
            Column::chart(axis),
            Column::number("time"),
            Column::number("rows in"),
            Column::number("rows out"),
            Column::number("bytes"),
        ];
        let (in_text, _) = nodes::longest(&report.nodes, MAX_NODES_OF_TEXT);
        let in_text: HashSet<*const NodeReport> = in_text.into_iter().map(std::ptr::from_ref).collect();
        let rows = longest.into_iter().map(|node| Row {
            medium: (!in_text.contains(&std::ptr::from_ref(node))).then_some(Medium::Page),
            ..node_row(node, axis)
        });
        let rows = rows.collect();
        blocks.push(Block::Table(Table { columns, rows, is_list: false }));
    }
    if left_out > 0 {
        let more = display::plural(left_out as u64, "node");
        blocks.push(sentence(format!("{more} more, all shorter, are in the JSON report.")));
    }
    let detailed =
        |has: fn(&NodeReport) -> bool| report.nodes.iter().filter(move |node| has(node)).take(MAX_DETAILED);
    blocks.extend(detailed(|node| node.queries_summed > 0).map(|node| {
        Block::Sentence(vec![
            Piece::Name(&node.name),
            Piece::words(": "),
            Piece::words(node.queries_in_words()),
        ])
    }));
    blocks.extend(detailed(|node| !node.earlier_attempts.is_empty()).map(|node| {
        let title = vec![Piece::Name(&node.name), Piece::words(" ran more than once")];
        Block::TextOnly(title, earlier_attempts(node))
    }));
    blocks.extend(own_time(report));
    blocks.extend(detailed(|node| node.error.is_some()).map(|node| {
        let ended = match node.status {
            NodeStatus::Interrupted => " was interrupted",
            NodeStatus::Running => " failed before and runs again",
            NodeStatus::Unfinished => " did not end",
            NodeStatus::Success | NodeStatus::Failure | NodeStatus::NotRun => " failed",
        };
        let title = vec![Piece::Name(&node.name), Piece::words(ended)];
        Block::Failure(title, node.error.as_deref().unwrap_or_default())
    }));
    Section { title: has_nodes.then_some("Nodes"), blocks }
}

/// The checks of the rows of nodes; those that did not pass come first.
pub(crate) fn checks(report: &Report) -> Section<'_> {
    let of_nodes = report.nodes.iter().flat_map(|node| node.checks.iter().map(move |check| (node, check)));
    let mut all: Vec<(&NodeReport, &CheckRecord)> = of_nodes.collect();
    all.sort_by_key(|(_, check)| check.outcome == RecordedOutcome::Passed);
    let left_out = all.len().saturating_sub(MAX_CHECKS);
    let columns = vec![
        Column::text("node"),
        Column::text("check"),
        Column::text(""),
        Column::number("rows"),
        Column::number("break it"),
        Column::text("found"),
    ];
    let rows = all.into_iter().take(MAX_CHECKS).map(|(node, check)| {
        let tone = match check.outcome {
            RecordedOutcome::Passed => Tone::Good,
            RecordedOutcome::Failed if check.fails_the_node() => Tone::Bad,
            _ => Tone::Warning,
        };
        vec![
            name(node.name.as_str()),
            code(check.check.as_str()),
            vec![Piece::Tag(Tag { tone, word: check.outcome.to_string().into(), detail: None })],
            shown(check.rows, display::count),
            shown(check.failing, display::count),
            words(check.message.as_str()),
        ]
    });
    let mut blocks: Vec<Block<'_>> = list(columns, rows).into_iter().collect();
    if left_out > 0 {
        let more = display::plural(left_out as u64, "check");
        blocks.push(sentence(format!("{more} more are in the JSON report.")));
    }
    section("Data checks", blocks)
}

/// The effect of each step of the longest chain, how many nodes ran in parallel, and when none did.
pub(crate) fn critical_steps(report: &Report) -> Section<'_> {
    let Some(timeline) = &report.timeline else { return section("What decides the time", Vec::new()) };
    let mut blocks = Vec::new();
    // A chain with one node is just that node.
    if timeline.critical_path.len() > 1 {
        let columns = vec![
            Column::text("step of the longest chain"),
            Column::number("time"),
            Column::number("ran alone for"),
            Column::number("chain shorter by"),
        ];
        let rows = timeline.critical_steps.iter().take(MAX_DETAILED).map(|step| {
            vec![
                name(step.node.as_str()),
                shown(step.duration_ms, display::duration),
                shown(step.alone_ms, display::duration),
                shown(step.gain_ms, display::duration),
            ]
        });
        blocks.extend(table(columns, rows));
        blocks.push(sentence(
            "Without a step, the run as it was scheduled would be shorter by the time in which no other node ran, at least. The longest \
             chain of dependencies would be shorter by the last column, which is all that is gained where nodes start as soon as those \
             that they read have ended.",
        ));
        let at_once = timeline.concurrency.iter().map(|at| {
            format!("{} for {}", display::plural(at.nodes, "node"), display::duration(at.duration_ms))
        });
        blocks.push(sentence(format!("At once: {}.", at_once.collect::<Vec<_>>().join(", "))));
    }
    blocks.extend(idle_gaps(timeline));
    let rest = idle_rest_in_words(timeline).filter(|_| !blocks.is_empty());
    blocks.extend(rest.map(sentence));
    section("What decides the time", blocks)
}

fn idle_gaps(timeline: &Timeline) -> Option<Block<'_>> {
    let columns = vec![
        Column::text("idle after the end of"),
        Column::text("until the start of"),
        Column::number("start"),
        Column::number("time"),
    ];
    let rows = timeline.idle_gaps.iter().map(|gap| {
        vec![
            gap.after.as_deref().map_or(words("no node yet"), name),
            gap.before.as_deref().map_or(words("no node any more"), name),
            shown(gap.start_ms, since_start),
            shown(gap.duration_ms, display::duration),
        ]
    });
    table(columns, rows)
}

/// The idle time in addition to the listed gaps.
fn idle_rest_in_words(timeline: &Timeline) -> Option<String> {
    let listed_ms: f64 = timeline.idle_gaps.iter().map(|gap| gap.duration_ms).sum();
    let parts = [
        (timeline.long_idle_ms - listed_ms, "in more gaps of 100 ms and more".to_owned()),
        (timeline.idle_ms - timeline.long_idle_ms, {
            let gaps = display::plural(timeline.short_gaps, "gap");
            format!("in {gaps} of less than 100 ms, which are not listed")
        }),
    ];
    let parts = parts.into_iter().filter(|(ms, _)| *ms >= LEAST_IDLE_MS);
    let parts: Vec<String> = parts.map(|(ms, which)| format!("{} {which}", display::duration(ms))).collect();
    (!parts.is_empty()).then(|| format!("Idle besides: {}.", parts.join(", ")))
}

fn time_spent(report: &Report) -> Option<Block<'_>> {
    let timeline = report.timeline.as_ref()?;
    let mut pieces = vec![Piece::words(display::time_spent(timeline))];
    if timeline.critical_path.len() > 1 {
        let time = display::duration(timeline.critical_path_ms);
        pieces.extend([
            Piece::words(" "),
            Piece::OnPath,
            Piece::words(format!(" is the longest chain of dependencies, {time}")),
            Piece::Path(&timeline.critical_path),
            Piece::words("."),
        ]);
    }
    Some(Block::Sentence(pieces))
}

fn own_time(report: &Report) -> Option<Block<'_>> {
    let parts = report.own_time.as_ref()?.parts();
    let parts: Vec<String> = parts.map(|(what, ms)| format!("{what} {}", display::duration(ms))).collect();
    (!parts.is_empty()).then(|| sentence(format!("Daglight itself took: {}.", parts.join(", "))))
}

fn node_row(node: &NodeReport, axis: Axis) -> Row<'_> {
    let mut status = vec![status_tag(node.status).map_or(Piece::words("ok"), Piece::Tag)];
    if let Some(attempts) = node.attempts_in_words() {
        status.push(Piece::words(format!(" ({attempts})")));
    }
    let cells = vec![
        vec![Piece::Node(node)],
        name(node.kind.as_ref().map(RecordedKind::name)),
        status,
        shown(node.start_ms, since_start),
        vec![Piece::Bar(node, axis)],
        shown(node.duration_ms, display::duration),
        shown(node.rows_in, display::count),
        shown(node.rows_out, display::count),
        shown(node.bytes, display::bytes),
    ];
    Row { status: Some(node.status), medium: None, cells }
}

/// The tags after the name of a node: how it ended, unless it succeeded, and how often it ran.
pub(crate) fn node_tags(node: &NodeReport) -> impl Iterator<Item = Tag<'static>> {
    let attempts = node.attempts_in_words().map(|attempts| Tag {
        tone: Tone::Muted,
        word: attempts.into(),
        detail: Some(earlier_attempts(node)),
    });
    status_tag(node.status).into_iter().chain(attempts)
}

fn status_tag(status: NodeStatus) -> Option<Tag<'static>> {
    let (tone, word) = match status {
        // Among a thousand successful nodes, the tag would hide the one that failed.
        NodeStatus::Success => return None,
        NodeStatus::Failure => (Tone::Bad, "failed"),
        NodeStatus::Interrupted => (Tone::Bad, "interrupted"),
        NodeStatus::Running => (Tone::Muted, "running"),
        NodeStatus::Unfinished => (Tone::Warning, "unfinished"),
        NodeStatus::NotRun => (Tone::Muted, "not run"),
    };
    Some(Tag { tone, word: word.into(), detail: None })
}

fn earlier_attempts(node: &NodeReport) -> String {
    node.earlier_attempts_in_words().collect::<Vec<_>>().join("\n")
}

pub(crate) fn since_start(ms: f64) -> String {
    format!("+{}", display::duration(ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::timeline;

    fn node(name: &str, start_ms: f64) -> NodeReport {
        NodeReport {
            status: NodeStatus::Success,
            start_ms: Some(start_ms),
            duration_ms: Some(100.0),
            ..NodeReport::of_name(name)
        }
    }

    #[test]
    fn idle_time_that_is_not_listed_is_said() {
        let starts = [0.0, 120.0, 260.0, 560.0];
        let mut nodes: Vec<NodeReport> =
            starts.iter().zip(["a", "b", "c", "d"]).map(|(start, name)| node(name, *start)).collect();
        let mut timeline = timeline(&mut nodes, None, &[], 660.0, None).unwrap();
        let said = "Idle besides: 60 ms in 2 gaps of less than 100 ms, which are not listed.";
        assert_eq!(idle_rest_in_words(&timeline).as_deref(), Some(said));
        timeline.idle_gaps.clear();
        let said = format!("Idle besides: 200 ms in more gaps of 100 ms and more, {}", &said[14..]);
        assert_eq!(idle_rest_in_words(&timeline), Some(said));
    }
}
