//! The report as one page: no script, nothing from the network, everything from the run escaped.

use std::fmt::{self, Write};

use daglight_run_bundle::NodeStatus;

use crate::{
    Level, NodeReport, QueryReport, Report, ReportStatus, Severity, StageReport, display,
    markup::{
        Cell,
        Column::{self, Chart, Number, Text},
        Escaped, Table,
    },
    nodes,
    waterfall::{self, Axis},
};

const STYLE: &str = include_str!("report.css");

/// Nodes that fit on a page that is still looked at.
const MAX_NODES: usize = 200;

/// Renders a report.
pub(crate) fn render(report: &Report) -> String {
    let name = report.identity.as_ref().map_or("run", |identity| identity.dag_name.as_str());
    let mut page = Page(String::new());
    // The policy holds even where an escape were forgotten: no script runs, and nothing is fetched.
    page.line(format_args!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{} · run report</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>",
        Escaped(name)
    ));
    page.top(report, name);
    page.nodes(report);
    page.queries(report);
    page.stages(report);
    page.slowest_spans(report);
    page.artifacts(report);
    page.problems(report);
    page.process(report);
    page.delivery(report);
    page.unreadable(report);
    page.identity(report);
    page.line(format_args!(
        "<footer>Made by Daglight at {}</footer>\n</main>\n</body>\n</html>",
        display::time(report.generated_at)
    ));
    page.0
}

struct Page(String);

impl Page {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.0, "{line}");
    }

    fn heading(&mut self, title: &str) {
        self.line(format_args!("<h2>{title}</h2>"));
    }

    fn top(&mut self, report: &Report, name: &str) {
        let (class, word) = match report.status {
            ReportStatus::Success => ("good", "success"),
            ReportStatus::Failure => ("bad", "failure"),
            ReportStatus::Running => ("note", "running"),
            ReportStatus::Interrupted => ("bad", "interrupted"),
            ReportStatus::ProcessEnded => ("bad", "process ended"),
            ReportStatus::Unknown => ("warning", "unknown"),
        };
        self.line(format_args!(
            "<header>\n<h1>{} <span class=\"status {class}\">{word}</span></h1>",
            Escaped(name)
        ));
        self.line(format_args!("<ul class=\"headline\">"));
        for finding in &report.headline {
            let (class, mark) = match finding.level {
                Level::Good => ("good", "✓"),
                Level::Note => ("note", "•"),
                Level::Warning => ("warning", "!"),
                Level::Bad => ("bad", "✗"),
            };
            let text = Escaped(&finding.text);
            self.line(format_args!(
                "<li class=\"{class}\"><span class=\"mark\">{mark}</span><span>{text}</span></li>"
            ));
        }
        self.line(format_args!("</ul>"));
        let links = [("Hamilton UI", &report.links.hamilton_run), ("Trace", &report.links.trace)];
        let links: Vec<String> = links.iter().filter_map(|(name, url)| link(name, url.as_deref()?)).collect();
        if !links.is_empty() {
            self.line(format_args!("<p class=\"links\">{}</p>", links.join(" ")));
        }
        self.line(format_args!("</header>"));
        self.tiles(report);
    }

    fn tiles(&mut self, report: &Report) {
        let totals = &report.totals;
        let heartbeat = report.heartbeat.as_ref();
        let some = |count: u64| (count > 0).then_some(count);
        let tiles = [
            ("duration", report.duration_ms.map(display::duration)),
            ("nodes", some(totals.nodes).map(display::count)),
            ("queries", some(totals.queries).map(display::count)),
            ("rows read", some(totals.rows_read).map(display::count)),
            ("bytes read", some(totals.bytes_read).map(display::bytes)),
            ("rows written to files", some(totals.rows_written).map(display::count)),
            ("bytes written to files", some(totals.bytes_written).map(display::bytes)),
            ("rows put into tables", some(totals.rows_in_tables).map(display::count)),
            ("bytes of tables in memory", some(totals.bytes_in_tables).map(display::bytes)),
            (
                "processor time",
                heartbeat.and_then(|beat| beat.cpu_seconds).map(|seconds| display::duration(seconds * 1e3)),
            ),
            ("peak memory", heartbeat.and_then(|beat| beat.peak_resident_bytes).map(display::bytes)),
        ];
        self.line(format_args!("<dl class=\"tiles\">"));
        for (name, value) in tiles {
            if let Some(value) = value {
                self.line(format_args!("<div><dt>{name}</dt><dd>{value}</dd></div>"));
            }
        }
        self.line(format_args!("</dl>"));
    }

    fn table(&mut self, columns: &[Column], rows: impl IntoIterator<Item = Vec<Cell>>) {
        self.line(format_args!("{}", Table::new(columns, rows.into_iter().map(|row| ("", row)))));
    }

    fn nodes(&mut self, report: &Report) {
        let (shown, left_out) = nodes::longest(&report.nodes, MAX_NODES);
        if shown.is_empty() {
            if let Some(timeline) = &report.timeline {
                self.line(format_args!("<p class=\"lead\">{}</p>", display::time_spent(timeline)));
            }
            return;
        }
        let axis = Axis::of(report.duration_ms.unwrap_or(0.0));
        self.heading("Nodes");
        if let Some(timeline) = &report.timeline {
            self.line(format_args!(
                "<p class=\"lead\">{}{}</p>",
                display::time_spent(timeline),
                if timeline.critical_path.len() > 1 {
                    format!(
                        " <span class=\"critical\">◆</span> is the longest chain of dependencies, {}.",
                        display::duration(timeline.critical_path_ms)
                    )
                } else {
                    String::new()
                }
            ));
        }
        let columns = [
            Text("node"),
            Chart(axis.labels()),
            Number("time"),
            Number("rows in"),
            Number("rows out"),
            Number("bytes"),
        ];
        let rows = shown.into_iter().map(|node| node_row(node, &axis));
        self.line(format_args!("{}", Table::new(&columns, rows)));
        if left_out > 0 {
            self.line(format_args!(
                "<p class=\"lead\">{} more, all shorter, are in the JSON report.</p>",
                display::plural(left_out as u64, "node")
            ));
        }
        for node in report.nodes.iter().filter(|node| node.queries_summed > 0).take(20) {
            let (name, queries) = (Escaped(&node.name), node.queries_in_words());
            self.line(format_args!("<p class=\"lead\">{name}: {queries}</p>"));
        }
        if let Some(own) = &report.own_time {
            let parts: Vec<String> =
                own.parts().map(|(what, ms)| format!("{what} {}", display::duration(ms))).collect();
            if !parts.is_empty() {
                self.line(format_args!("<p class=\"lead\">Daglight itself took: {}.</p>", parts.join(", ")));
            }
        }
        for node in report.nodes.iter().filter(|node| node.error.is_some()).take(20) {
            let error = node.error.as_deref().unwrap_or_default();
            self.line(format_args!(
                "<details class=\"error\" open><summary>{} failed</summary><pre>{}</pre></details>",
                Escaped(&node.name),
                Escaped(error)
            ));
        }
    }

    fn queries(&mut self, report: &Report) {
        if report.queries.is_empty() {
            return;
        }
        self.heading("Slowest queries");
        let columns = [
            Text("query"),
            Text("node"),
            Number("time"),
            Number("planned"),
            Number("rows in"),
            Number("rows out"),
            Text("hottest operators, by time computed in all partitions"),
        ];
        self.table(&columns, report.queries.iter().map(query));
    }

    fn stages(&mut self, report: &Report) {
        if report.stages.is_empty() {
            return;
        }
        self.heading("Time per stage");
        let longest = report.stages.iter().map(|stage| stage.wall_ms).fold(0.0, f64::max);
        let columns = [
            Text("stage"),
            Text("active"),
            Number(""),
            Number("longest span"),
            Number("spans"),
            Number("slow"),
            Number("errors"),
        ];
        let some = |count: u64| if count > 0 { display::count(count) } else { String::new() };
        let row = |stage: &StageReport| {
            vec![
                Cell::text(&stage.stage),
                Cell::markup(waterfall::share(stage.wall_ms / longest)),
                Cell::markup(display::duration(stage.wall_ms)),
                Cell::markup(display::duration(stage.longest_ms)),
                Cell::markup(display::count(stage.spans)),
                Cell::markup(some(stage.slow)),
                Cell::markup(some(stage.errors)),
            ]
        };
        self.table(&columns, report.stages.iter().map(row));
    }

    fn slowest_spans(&mut self, report: &Report) {
        if report.slowest_spans.is_empty() {
            return;
        }
        self.heading("Slowest spans");
        let columns = [
            Text("span"),
            Text("node"),
            Text("stage"),
            Number("start"),
            Number("time"),
            Number("rows"),
            Text(""),
        ];
        let rows = report.slowest_spans.iter().map(|span| {
            vec![
                Cell::code(&span.name),
                Cell::optional(span.node.as_deref()),
                Cell::optional(span.stage.as_deref()),
                Cell::markup(format!("+{}", display::duration(span.start_ms))),
                Cell::markup(display::duration(span.duration_ms)),
                Cell::shown(span.rows, display::count),
                if span.failed { Cell::tag("bad", "failed") } else { Cell::empty() },
            ]
        });
        self.table(&columns, rows);
    }

    fn artifacts(&mut self, report: &Report) {
        if report.artifacts.is_empty() {
            return;
        }
        self.heading("Artifacts");
        let columns = [Text("artifact"), Text("as"), Number("rows"), Number("bytes"), Text("location")];
        let rows = report.artifacts.iter().map(|artifact| {
            vec![
                Cell::text(&artifact.name),
                Cell::text(&artifact.materialization),
                Cell::shown(artifact.rows, display::count),
                Cell::shown(artifact.bytes, display::bytes),
                Cell::optional_code(artifact.location.as_deref()),
            ]
        });
        self.table(&columns, rows);
    }

    fn problems(&mut self, report: &Report) {
        if report.problems.is_empty() {
            return;
        }
        self.heading("Errors and warnings");
        let columns = [Text(""), Number("times"), Text("node"), Text("from"), Text("message")];
        let rows = report.problems.iter().map(|problem| {
            vec![
                match problem.severity {
                    Severity::Error => Cell::tag("bad", "error"),
                    Severity::Warning => Cell::tag("warning", "warning"),
                },
                Cell::markup(display::count(problem.count)),
                Cell::optional(problem.node.as_deref()),
                Cell::code(&problem.source),
                Cell::markup(format!("<span class=\"message\">{}</span>", Escaped(&problem.message))),
            ]
        });
        self.table(&columns, rows);
    }

    fn process(&mut self, report: &Report) {
        let Some(heartbeat) = &report.heartbeat else { return };
        self.heading("Process");
        let facts = [
            ("process", Some(heartbeat.process_in_words())),
            ("heartbeat", Some(heartbeat.beats_in_words())),
            ("processor time", heartbeat.cpu_seconds.map(|seconds| display::duration(seconds * 1e3))),
            ("peak memory", heartbeat.peak_resident_bytes.map(display::bytes)),
            ("read from storage by the process", heartbeat.io_bytes_read.map(display::bytes)),
            ("written to storage by the process", heartbeat.io_bytes_written.map(display::bytes)),
        ];
        self.facts(
            facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Cell::text(&value?)))),
        );
        let running = heartbeat.active_tasks.iter().map(|task| {
            vec![
                Cell::text(&task.name),
                Cell::markup(format!("running at the last beat, since {}", display::time(task.since))),
            ]
        });
        let stalls = heartbeat.stalls.iter().map(|stall| {
            let what = stall.node.clone().unwrap_or_else(|| format!("query {}", stall.query_id));
            let operator =
                stall.detail.as_deref().filter(|detail| !detail.is_empty()).or(stall.operator.as_deref());
            let at = operator
                .map(|operator| format!(" at <code>{}</code>", Escaped(operator)))
                .unwrap_or_default();
            let until = stall.ended.map_or_else(
                || ", without an end".to_owned(),
                |ended| format!(" until {}", display::time(ended)),
            );
            vec![
                Cell::text(&what),
                Cell::markup(format!("no progress{at} from {}{until}", display::time(stall.since))),
            ]
        });
        let rows: Vec<_> = running.chain(stalls).collect();
        if !rows.is_empty() {
            self.table(&[Text("node"), Text("")], rows);
        }
    }

    fn delivery(&mut self, report: &Report) {
        let delivery = &report.delivery;
        let accounts: Vec<_> =
            delivery.ledgers.iter().filter(|account| account.ledger.produced > 0).collect();
        if accounts.is_empty() {
            return;
        }
        self.heading("Delivery");
        let columns = [
            Text("what"),
            Text("to"),
            Number("produced"),
            Number("delivered"),
            Number("waiting"),
            Number("lost"),
            Text("why"),
        ];
        let rows = accounts.into_iter().map(|account| {
            let ledger = &account.ledger;
            let reasons: Vec<String> = ledger
                .dropped
                .iter()
                .filter(|(_, count)| **count > 0)
                .map(|(reason, count)| format!("{} {reason}", display::count(*count)))
                .collect();
            vec![
                Cell::text(account.signal.name()),
                Cell::text(account.destination.name()),
                Cell::markup(display::count(ledger.produced)),
                Cell::markup(display::count(ledger.delivered)),
                Cell::markup(display::count(ledger.waiting)),
                Cell::markup(display::count(ledger.dropped_total())),
                Cell::text(&reasons.join(", ")),
            ]
        });
        self.table(&columns, rows);
    }

    fn unreadable(&mut self, report: &Report) {
        let signals = report.files.iter().filter_map(|file| {
            let counts = format!(
                "{} read, {} damaged, {} torn",
                display::plural(file.lines, "line"),
                display::count(file.unreadable_lines),
                display::bytes(file.torn_bytes)
            );
            Some(vec![Cell::code(&file.file), Cell::text(file.problem.as_deref()?), Cell::markup(counts)])
        });
        let others = report
            .unreadable
            .iter()
            .map(|file| vec![Cell::code(&file.file), Cell::text(&file.problem), Cell::empty()]);
        let rows: Vec<_> = signals.chain(others).collect();
        if !rows.is_empty() {
            self.heading("Not readable");
            self.table(&[Text("file"), Text("problem"), Text("")], rows);
        }
    }

    fn identity(&mut self, report: &Report) {
        let Some(identity) = &report.identity else { return };
        self.heading("Identity");
        let facts = [
            ("run", Some(identity.run_id.to_string())),
            ("started", report.started_at.map(display::time)),
            ("profile", report.profile.clone()),
            ("Hamilton run", identity.execution_run_id.clone()),
            ("Hamilton project", identity.project_id.clone()),
            ("trace", identity.trace_id.clone()),
            ("DAG hash", Some(identity.dag_hash.clone())),
            ("code hash", Some(identity.code_hash.clone())),
            ("Daglight", report.daglight_version.clone()),
        ];
        let facts = facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let tags = identity.tags.iter().map(|(name, value)| (name.clone(), value.clone()));
        let all = facts.chain(tags).filter(|(_, value)| !value.is_empty());
        self.facts(all.map(|(name, value)| (name, Cell::code(&value))));
    }

    fn facts(&mut self, facts: impl Iterator<Item = (String, Cell)>) {
        self.line(format_args!("<dl class=\"facts\">"));
        for (name, value) in facts {
            self.line(format_args!("<dt>{}</dt><dd>{value}</dd>", Escaped(&name)));
        }
        self.line(format_args!("</dl>"));
    }
}

fn node_row(node: &NodeReport, axis: &Axis) -> (&'static str, Vec<Cell>) {
    let (class, tag) = match node.status {
        NodeStatus::Success => ("", Cell::empty()),
        NodeStatus::Failure => ("failed", Cell::tag("bad", "failed")),
        NodeStatus::Interrupted => ("failed", Cell::tag("bad", "interrupted")),
        NodeStatus::Unfinished => ("unfinished", Cell::tag("warning", "unfinished")),
        NodeStatus::NotRun => ("not-run", Cell::tag("muted", "not run")),
    };
    let critical = if node.on_critical_path { "<span class=\"critical\">◆</span>" } else { "" };
    let earlier: Vec<String> = node.earlier_attempts_in_words().collect();
    let attempts = node.attempts_in_words().map(|attempts| {
        let (attempts, earlier) = (Escaped(&attempts).to_string(), earlier.join("\n"));
        format!("<span class=\"tag muted\" title=\"{}\">{attempts}</span>", Escaped(&earlier))
    });
    let attempts = attempts.unwrap_or_default();
    let name = format!(
        "<div class=\"node\">{critical}<span class=\"name\" title=\"{}\">{}</span><span class=\"kind\">{}</span>{tag}{attempts}</div>",
        Escaped(&node.name),
        Escaped(&node.name),
        Escaped(node.kind.as_deref().unwrap_or_default()),
    );
    let row = vec![
        Cell::markup(name),
        Cell::markup(waterfall::bar(node, axis)),
        Cell::shown(node.duration_ms, display::duration),
        Cell::shown(node.rows_in, display::count),
        Cell::shown(node.rows_out, display::count),
        Cell::shown(node.bytes, display::bytes),
    ];
    (class, row)
}

fn query(query: &QueryReport) -> Vec<Cell> {
    let id = match &query.plan_file {
        Some(file) => format!("<a href=\"{}\">{}</a>", relative_url(file), Escaped(&query.query_id)),
        None => Escaped(&query.query_id).to_string(),
    };
    let operators = query.hottest_operators.iter().take(3).map(|operator| {
        format!(
            "<li title=\"{}\">{}<span class=\"operator\">{}</span> {}</li>",
            Escaped(&operator.detail),
            waterfall::share(operator.share),
            Escaped(&operator.shown_name()),
            operator.time_in_words(query.duration_ms)
        )
    });
    vec![
        Cell::markup(id),
        Cell::optional(query.node.as_deref()),
        Cell::markup(display::duration(query.duration_ms)),
        Cell::shown(query.planning_ms, display::duration),
        Cell::shown(query.rows_in, display::count),
        Cell::shown(query.rows_out, display::count),
        Cell::markup(format!("<ul class=\"operators\">{}</ul>", operators.collect::<String>())),
    ]
}

/// A link that is one only when it is of the web.
fn link(name: &str, url: &str) -> Option<String> {
    let is_web = url.starts_with("http://") || url.starts_with("https://");
    is_web.then(|| format!("<a href=\"{}\" rel=\"noreferrer\">{name}</a>", Escaped(url)))
}

/// A path in the bundle, as a link of a page that stands in it.
fn relative_url(path: &str) -> String {
    let mut url = String::from("./");
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => url.push(byte.into()),
            byte => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}
