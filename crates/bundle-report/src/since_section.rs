//! What changed since the last good run, as a section.

use daglight_run_bundle::Artifact;

use crate::{
    compare::{Measured, shortened, source_table},
    display,
    report::{Report, SinceLastRun},
    section::{Block, Column, Piece, Section, name, shown, words},
    section_parts::{list, section, sentence, table},
};

/// Rows of a table that are shown, and plans; the report for programs has more.
const MAX_ROWS: usize = 20;
const MAX_PLANS: usize = 10;
/// Nodes that a sentence names.
const MAX_NAMED: usize = 10;

pub(crate) fn since(report: &Report) -> Section<'_> {
    let Some(since) = &report.since else { return section(TITLE, Vec::new()) };
    let mut blocks = vec![compared_with(since)];
    let before = blocks.len();
    blocks.extend(rows(since));
    blocks.extend(source_table(&since.sources, MAX_ROWS));
    blocks.extend(columns(since));
    blocks.extend(drifts(since));
    let plans = since.plan_changes.iter().take(MAX_PLANS).map(|plan| {
        let of = plan.node.as_deref().map_or(Piece::words("no node"), Piece::Name);
        Block::Changes(vec![Piece::words("another plan of "), of], shortened(&plan.tree))
    });
    blocks.extend(plans);
    blocks.extend(other_plans(since));
    if blocks.len() == before && since.lost.is_empty() {
        blocks.push(sentence(unchanged(report)));
    }
    blocks.extend(files_of_before(report));
    let lists = [
        (since.rows.len(), MAX_ROWS),
        (since.sources.len(), MAX_ROWS),
        (since.outputs.len() + since.columns.len(), MAX_ROWS),
        (since.drifts.len(), MAX_ROWS),
        (since.plan_changes.len(), MAX_PLANS),
    ];
    let hidden: usize = lists.into_iter().map(|(all, limit)| all.saturating_sub(limit)).sum();
    let hidden = since.left_out.saturating_add(hidden as u64);
    if hidden > 0 {
        blocks.push(sentence(format!("{}: see the JSON report.", display::plural(hidden, "more change"))));
    }
    section(TITLE, blocks)
}

const TITLE: &str = "Since the last good run";

/// What of a run is as it was: of one that failed only the nodes that succeeded are compared.
fn unchanged(report: &Report) -> String {
    let (compared, all) = (report.totals.nodes_succeeded, report.totals.nodes);
    match compared {
        0 if all > 0 => "No node succeeded, so that nothing could be compared.".to_owned(),
        _ if compared < all => format!(
            "Rows, sources, columns, values and plans of the {} that succeeded, of {}, are as they were.",
            display::plural(compared, "node"),
            display::count(all)
        ),
        _ => "Rows, sources, columns, values and plans are as they were.".to_owned(),
    }
}

/// The outputs whose folders hold more than this run has written.
fn files_of_before(report: &Report) -> Option<Block<'_>> {
    let before = |artifact: &&Artifact| artifact.files_before.is_some_and(|files| files > 0);
    let outputs: Vec<&Artifact> = report.artifacts.iter().filter(before).collect();
    let mut pieces =
        vec![Piece::words("Beside what this run has written, their folders hold files of before: ")];
    for (position, output) in outputs.iter().take(MAX_NAMED).enumerate() {
        let files = display::plural(output.files_before.unwrap_or_default(), "file");
        pieces.extend([
            Piece::words(if position > 0 { ", " } else { "" }),
            Piece::Name(&output.name),
            Piece::words(format!(" ({files})")),
        ]);
    }
    let more = outputs.len().saturating_sub(MAX_NAMED);
    if more > 0 {
        pieces.push(Piece::words(format!(" and {more} more")));
    }
    pieces.push(Piece::words("."));
    (!outputs.is_empty()).then_some(Block::Sentence(pieces))
}

fn compared_with(since: &SinceLastRun) -> Block<'_> {
    let took = since.duration_ms.map(|ms| {
        let change = ms.change.filter(|_| ms.before != ms.after).map(display::signed).unwrap_or_default();
        format!(
            " It took {}, and this one {}{change}.",
            display::duration(ms.before),
            display::duration(ms.after)
        )
    });
    Block::Sentence(vec![
        Piece::words("Compared with "),
        Piece::Code(since.run_id.as_str().into()),
        Piece::words(format!(" of {}.{}", display::time(since.started_at), took.unwrap_or_default())),
    ])
}

fn rows(since: &SinceLastRun) -> Option<Block<'_>> {
    let columns = vec![
        Column::text("node"),
        Column::number("rows"),
        Column::number("before"),
        Column::number("change"),
    ];
    let rows = since.rows.iter().take(MAX_ROWS).map(|moved| {
        let measured = Measured::new(&[moved.before as f64], moved.after as f64);
        let change = measured.and_then(|measured| measured.change).map(display::signed);
        vec![
            name(moved.node.as_str()),
            shown(moved.after, display::count),
            shown(moved.before, display::count),
            words(change.unwrap_or_default().trim_matches([' ', '(', ')']).to_owned()),
        ]
    });
    table(columns, rows)
}

fn columns(since: &SinceLastRun) -> Option<Block<'_>> {
    let outputs = since.outputs.iter().map(|output| {
        let gone_or_new = match (output.was_there, output.is_there) {
            (false, _) => "new",
            (_, false) => "gone",
            _ => "",
        };
        (output.name.as_str(), gone_or_new, &output.columns_gone, &output.columns_new)
    });
    let queries = since.columns.iter().map(|moved| (moved.node.as_str(), "", &moved.gone, &moved.new));
    let rows = outputs.chain(queries).take(MAX_ROWS).map(|(of, what, gone, new)| {
        vec![name(of), words(what), words(gone.join(", ")), words(new.join(", "))]
    });
    let columns = vec![
        Column::text("output or query"),
        Column::text(""),
        Column::text("columns gone"),
        Column::text("columns new"),
    ];
    list(columns, rows)
}

fn drifts(since: &SinceLastRun) -> Option<Block<'_>> {
    let columns = vec![Column::text("node"), Column::text("column"), Column::text("change")];
    let rows = since
        .drifts
        .iter()
        .take(MAX_ROWS)
        .map(|drift| vec![name(&*drift.node), name(&*drift.column), words(drift.in_words())]);
    list(columns, rows)
}

fn other_plans(since: &SinceLastRun) -> Option<Block<'_>> {
    let mut pieces = vec![Piece::words("Plans with other expressions, or of which nothing is kept: ")];
    for (position, node) in since.other_plans.iter().take(MAX_NAMED).enumerate() {
        pieces.extend([Piece::words(if position > 0 { ", " } else { "" }), Piece::Name(node)]);
    }
    let more = since.other_plans.len().saturating_sub(MAX_NAMED);
    if more > 0 {
        pieces.push(Piece::words(format!(" and {more} more")));
    }
    pieces.push(Piece::words("."));
    (!since.other_plans.is_empty()).then_some(Block::Sentence(pieces))
}
