//! A report as sections: what is shown, in which words and in which order, for both Markdown and HTML.

use std::borrow::Cow;

use daglight_capture_policy::printable;

use crate::{
    cluster_section::cluster,
    data_section::data,
    display,
    findings::{Finding, FindingKind},
    level::Level,
    node_sections::{checks, critical_steps, nodes, since_start},
    plan_sections,
    process_sections::{over_time, process, stalls},
    report::{PlanReport, QueryReport, Report, ReportStatus, Severity, SpanReport},
    section::{
        Block, Cell, Column, Link, Medium, Opening, Operator, Piece, Section, Tag, Tone, code, counted, name,
        shown, words,
    },
    section_parts::{list_section, section, sentence, table_section},
    since_section::since,
};

/// The maximum number of plans shown as trees.
const MAX_PLANS: usize = 10;

/// The maximum number of operators shown for a query.
const MAX_OPERATORS: usize = 3;

/// The part above the sections of a report.
pub(crate) fn opening(report: &Report) -> Opening<'_> {
    let findings = report.headline.iter().map(|finding| {
        let (tone, mark) = match finding.level {
            Level::Good => (Tone::Good, "✓"),
            Level::Note => (Tone::Note, "•"),
            Level::Warning => (Tone::Warning, "!"),
            Level::Bad => (Tone::Bad, "✗"),
        };
        // A command is code, so that it can be copied unchanged.
        let command = finding.command.as_deref();
        let before = command.and_then(|command| finding.text.strip_suffix(command));
        let sentence = match (before, command) {
            (Some(before), Some(command)) => vec![Piece::words(before), Piece::Code(command.into())],
            _ => vec![Piece::words(finding.text.as_str())],
        };
        (tone, mark, sentence)
    });
    let links = [("Hamilton UI", &report.links.hamilton_run), ("Trace", &report.links.trace)];
    let links = links.into_iter().filter_map(|(name, url)| {
        let url = url.as_deref()?;
        Some(Link { name, url, is_safe: is_safe(url) })
    });
    Opening {
        name: report.identity.as_ref().map_or("run", |identity| identity.dag_name.as_str()),
        status: status_of_run(report.status),
        findings: findings.collect(),
        links: links.collect(),
        tiles: tiles(report),
    }
}

pub(crate) fn status_of_run(status: ReportStatus) -> Tag<'static> {
    let tone = match status {
        ReportStatus::Success => Tone::Good,
        ReportStatus::Running => Tone::Note,
        ReportStatus::Failure | ReportStatus::Interrupted | ReportStatus::ProcessEnded => Tone::Bad,
        ReportStatus::Unknown => Tone::Warning,
    };
    Tag { tone, word: status.in_words().into(), detail: None }
}

/// The non-empty sections of a report.
pub(crate) fn sections(report: &Report) -> Vec<Section<'_>> {
    let sections = [
        findings(report),
        since(report),
        nodes(report),
        checks(report),
        critical_steps(report),
        stalls(report),
        queries(report),
        plans(report),
        plan_sections::tables(report),
        plan_sections::operators(report),
        cluster(report),
        stages(report),
        slowest_spans(report),
        artifacts(report),
        problems(report),
        process(report),
        over_time(report),
        data(report),
        plan_sections::lineage(report),
        delivery(report),
        unreadable(report),
        identity(report),
    ];
    // Missing parts of a run are not mentioned.
    sections.into_iter().filter(|section| !section.blocks.is_empty()).collect()
}

fn is_safe(url: &str) -> bool {
    let is_web = url.starts_with("http://") || url.starts_with("https://");
    // It contains nothing that had to be escaped.
    let is_plain = matches!(printable(url), Cow::Borrowed(_));
    is_web && is_plain && !url.contains(|c: char| c.is_whitespace() || "<>".contains(c))
}

fn tiles(report: &Report) -> Vec<(&'static str, String)> {
    let totals = &report.totals;
    let heartbeat = report.heartbeat.as_ref();
    let measured = |number| report.measured_in_words(number);
    // A tile with a zero would take the place of a useful one.
    let some = |count: u64| (count > 0).then_some(count);
    let tiles = [
        ("duration", report.duration_ms.map(display::duration)),
        ("nodes", some(totals.nodes).map(display::count)),
        ("queries", some(totals.queries).map(display::count)),
        ("rows read", some(totals.rows_read).map(display::count)),
        ("bytes read", totals.bytes_read.and_then(some).map(display::bytes)),
        ("rows written to files", totals.rows_written.and_then(some).map(display::count)),
        ("bytes written to files", totals.bytes_written.and_then(some).map(display::bytes)),
        ("rows put into tables", totals.rows_in_tables.and_then(some).map(display::count)),
        ("bytes of tables in memory", totals.bytes_in_tables.and_then(some).map(display::bytes)),
        ("processor time", heartbeat.and_then(|beat| beat.cpu_seconds).map(display::seconds).map(measured)),
        (
            "peak memory",
            heartbeat.and_then(|beat| beat.peak_resident_bytes).map(display::bytes).map(measured),
        ),
    ];
    tiles.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn findings(report: &Report) -> Section<'_> {
    finding_section("Findings", &report.findings, PlanFiles::Beside)
}

/// Findings with their evidence and remedy.
/// Where the files of plans are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlanFiles {
    /// Next to the page, which links them.
    Beside,
    /// In the bundle of one of several runs.
    Elsewhere,
}

pub(crate) fn finding_section<'r>(
    title: &'static str,
    findings: &'r [Finding],
    plan_files: PlanFiles,
) -> Section<'r> {
    let facts = findings.iter().map(|finding| {
        let (tone, word) = match finding.level {
            Level::Good => (Tone::Good, "good"),
            Level::Note => (Tone::Note, "note"),
            Level::Warning => (Tone::Warning, "warning"),
            Level::Bad => (Tone::Bad, "bad"),
        };
        let mut pieces = vec![Piece::tag(tone, word), Piece::words(format!(" {} ", finding.in_words()))];
        let evidence = finding.evidence_in_words();
        if !evidence.is_empty() {
            pieces.push(Piece::words(format!("({evidence}) ")));
        }
        let explanation = match finding.kind {
            FindingKind::Other => Piece::Code(finding.page.as_str().into()),
            kind => Piece::Explanation(kind),
        };
        pieces.extend([Piece::words(format!("{} ", finding.remedy)), explanation]);
        if let Some(plan) = &finding.plan_file {
            let file = match plan_files {
                PlanFiles::Beside => Piece::File(plan),
                PlanFiles::Elsewhere => Piece::Code(plan.as_str().into()),
            };
            pieces.extend([Piece::words(" "), file]);
        }
        (finding.kind.id().into(), pieces)
    });
    let facts: Vec<_> = facts.collect();
    section(title, if facts.is_empty() { Vec::new() } else { vec![Block::Facts(facts)] })
}

fn queries(report: &Report) -> Section<'_> {
    let columns = vec![
        Column::text("query"),
        Column::text("node"),
        Column::number("time"),
        Column::number("planned"),
        Column::number("rows in"),
        Column::number("rows out"),
        Column::text("hottest operators"),
    ];
    let rows = report.queries.iter().map(|query| {
        let operators = query.hottest_operators.iter().take(MAX_OPERATORS).map(|operator| Operator {
            name: operator.shown_name(),
            detail: &operator.detail,
            share: operator.share,
            time: operator.time_in_words(query.duration_ms),
        });
        let operators: Vec<_> = operators.collect();
        vec![
            vec![Piece::Query { id: &query.query_id, plan_file: query.plan_file.as_deref() }],
            name(query.node.as_deref()),
            shown(query.duration_ms, display::duration),
            shown(query.planning_ms, display::duration),
            shown(query.rows_in, display::count),
            shown(query.rows_out, display::count),
            hottest(query, operators),
        ]
    });
    list_section("Slowest queries", columns, rows)
}

fn hottest<'r>(query: &'r QueryReport, operators: Vec<Operator<'r>>) -> Cell<'r> {
    let mut cell = if operators.is_empty() { Vec::new() } else { vec![Piece::Operators(operators)] };
    if let Some(ms) = query.untimed_ms {
        let comma = if cell.is_empty() { "" } else { "; " };
        let ms = display::duration(ms);
        cell.push(Piece::words(format!("{comma}{ms} are in no timer yet: what took them is not known")));
    }
    cell
}

/// The plans of the slowest queries, as trees.
fn plans(report: &Report) -> Section<'_> {
    let shown = report.plans.iter().take(MAX_PLANS).enumerate();
    let mut blocks: Vec<Block<'_>> =
        shown.map(|(position, plan)| Block::Plan { plan, is_open: position == 0 }).collect();
    if !blocks.is_empty() {
        let mut how = "Each operator reads those below it. Rows with a ~ are estimates. Times are those of one of the partitions (×), or of the one that \
                       computed longest (max); with a ~, on average."
            .to_owned();
        let is_open = |plan: &PlanReport| plan.operators.iter().any(|operator| operator.is_at_least);
        if report.plans.iter().take(MAX_PLANS).any(is_open) {
            how.push_str(" Of an operator that did not come to its end, its time is what its timer had counted (≥); none where it had not.");
        }
        blocks.insert(0, sentence(how));
    }
    section("Plans of the slowest queries", blocks)
}

fn stages(report: &Report) -> Section<'_> {
    let longest = report.stages.iter().map(|stage| stage.wall_ms).fold(0.0, f64::max);
    let columns = vec![
        Column::text("stage"),
        Column::text("active").only(Medium::Page),
        Column::number("time"),
        Column::number("longest span"),
        Column::number("spans"),
        Column::number("slow"),
        Column::number("errors"),
        Column::number("not ended"),
    ];
    let rows = report.stages.iter().map(|stage| {
        vec![
            name(stage.stage.as_str()),
            // Relative to the longest instead of the run: stages overlap, so their sum has no meaning.
            vec![Piece::Share(stage.wall_ms / longest)],
            shown(stage.wall_ms, display::duration),
            shown(stage.longest_ms, display::duration),
            shown(stage.spans, display::count),
            counted(stage.slow),
            counted(stage.errors),
            counted(stage.open),
        ]
    });
    table_section("Time per stage", columns, rows)
}

fn slowest_spans(report: &Report) -> Section<'_> {
    let columns = vec![
        Column::text("span"),
        Column::text("node"),
        Column::text("stage"),
        Column::number("start"),
        Column::number("time"),
        Column::number("of its own"),
        Column::number("rows"),
        Column::text(""),
    ];
    let rows = report.slowest_spans.iter().map(|span| {
        vec![
            code(span.name.as_str()),
            name(span.node.as_deref()),
            name(span.stage.as_deref()),
            shown(span.start_ms, since_start),
            shown(span.duration_ms, display::duration),
            shown(span.self_ms, display::duration),
            shown(span.rows, display::count),
            outcome(span),
        ]
    });
    table_section("Slowest spans", columns, rows)
}

fn outcome(span: &SpanReport) -> Cell<'static> {
    match (span.open, span.failed) {
        (true, _) => vec![Piece::tag(Tone::Warning, "has not ended")],
        (false, true) => vec![Piece::tag(Tone::Bad, "failed")],
        (false, false) => Vec::new(),
    }
}

fn artifacts(report: &Report) -> Section<'_> {
    let columns = vec![
        Column::text("artifact"),
        Column::text("as"),
        Column::number("rows"),
        Column::number("bytes"),
        Column::text("location"),
        Column::number("files before"),
    ];
    let rows = report.artifacts.iter().map(|artifact| {
        vec![
            name(artifact.name.as_str()),
            name(artifact.materialization.name()),
            shown(artifact.rows, display::count),
            shown(artifact.bytes, display::bytes),
            code(artifact.location.as_deref()),
            shown(artifact.files_before.filter(|files| *files > 0), display::count),
        ]
    });
    list_section("Artifacts", columns, rows)
}

fn problems(report: &Report) -> Section<'_> {
    let columns = vec![
        Column::text(""),
        Column::number("times"),
        Column::text("node"),
        Column::text("from"),
        Column::text("message"),
        Column::text("trace"),
        Column::text("span"),
    ];
    let rows = report.problems.iter().map(|problem| {
        let severity = match problem.severity {
            Severity::Error => Piece::tag(Tone::Bad, "error"),
            Severity::Warning => Piece::tag(Tone::Warning, "warning"),
        };
        vec![
            vec![severity],
            shown(problem.count, display::count),
            name(problem.node.as_deref()),
            code(problem.source.as_str()),
            vec![Piece::Message(&problem.message)],
            code(problem.trace_id.as_deref()),
            code(problem.span_id.as_deref()),
        ]
    });
    list_section("Errors and warnings", columns, rows)
}

fn delivery(report: &Report) -> Section<'_> {
    let columns = vec![
        Column::text("what"),
        Column::text("to"),
        Column::number("produced"),
        Column::number("delivered"),
        Column::number("waiting"),
        Column::number("lost"),
        Column::text("why"),
    ];
    // A destination for which nothing was produced is not one of the run.
    let accounts = report.delivery.ledgers.iter().filter(|account| account.ledger.produced > 0);
    let rows = accounts.map(|account| {
        let ledger = &account.ledger;
        let reasons: Vec<String> = ledger
            .dropped
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(reason, count)| format!("{} {reason}", display::count(*count)))
            .collect();
        vec![
            words(account.signal.name()),
            words(account.destination.name()),
            shown(ledger.produced, display::count),
            shown(ledger.delivered, display::count),
            shown(ledger.waiting, display::count),
            shown(ledger.dropped_total(), display::count),
            words(reasons.join(", ")),
        ]
    });
    table_section("Delivery", columns, rows)
}

fn unreadable(report: &Report) -> Section<'_> {
    let signals = report.files.iter().filter_map(|file| {
        let counts = format!(
            "{} read, {} damaged, {} torn",
            display::plural(file.lines, "line"),
            display::count(file.unreadable_lines),
            display::bytes(file.torn_bytes)
        );
        Some(vec![code(file.file.as_str()), words(file.problem.as_deref()?), words(counts)])
    });
    let others = report
        .unreadable
        .iter()
        .map(|file| vec![code(file.file.as_str()), words(file.problem.as_str()), Vec::new()]);
    let columns = vec![Column::text("file"), Column::text("problem"), Column::text("")];
    list_section("Unreadable files", columns, signals.chain(others))
}

fn hidden_in_words(report: &Report) -> String {
    let in_words = |what: &String| {
        let counted = report.hidden_counts.iter().find(|counted| counted.what == *what);
        counted.map_or_else(
            || what.clone(),
            |counted| format!("{what} ({} {})", display::count(counted.count), counted.of),
        )
    };
    report.hidden.iter().map(in_words).collect::<Vec<_>>().join(", ")
}

fn identity(report: &Report) -> Section<'_> {
    let Some(identity) = &report.identity else { return section("Identity", Vec::new()) };
    let made = |text: String| vec![Piece::Code(text.into())];
    let facts: [(&str, Cell<'_>); 10] = [
        ("run", made(identity.run_id.to_string())),
        ("started", report.started_at.map(display::time).map(made).unwrap_or_default()),
        ("profile", code(report.profile.as_deref())),
        ("hidden by the policy", words(hidden_in_words(report))),
        ("Hamilton run", code(identity.execution_run_id.as_deref())),
        ("Hamilton project", code(identity.project_id.as_deref())),
        ("trace", code(identity.trace_id.as_deref())),
        ("DAG hash", code(identity.dag_hash.as_str())),
        ("code hash", code(identity.code_hash.as_str())),
        ("Daglight", code(report.daglight_version.as_deref())),
    ];
    let facts = facts.into_iter().map(|(name, value)| (Cow::from(name), value));
    let tags = identity.tags.iter().map(|(name, value)| (Cow::from(name.as_str()), code(value.as_str())));
    let facts = facts.chain(tags).filter(|(_, value)| !value.is_empty());
    section("Identity", vec![Block::Facts(facts.collect())])
}
