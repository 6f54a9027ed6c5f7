//! The report as Markdown, for terminals and tickets.

use std::{borrow::Cow, fmt};

use daglight_capture_policy::{printable, printable_lines};
use daglight_run_bundle::NodeStatus;

use crate::{Level, Report, Severity, display, nodes};

/// Nodes that are shown one by one.
const MAX_NODES: usize = 200;

/// Renders a report. What comes from the run is either escaped or in code spans: a node may be called anything.
pub(crate) fn render(report: &Report) -> String {
    let mut page = Page(String::new());
    page.title(report);
    page.nodes(report);
    page.timeline(report);
    page.own_time(report);
    page.queries(report);
    page.stages(report);
    page.slowest_spans(report);
    page.artifacts(report);
    page.problems(report);
    page.heartbeat(report);
    page.delivery(report);
    page.unreadable(report);
    page.identity(report);
    page.0
}

struct Page(String);

impl Page {
    /// All that the report says passes here, so that no text can bring a control character, whoever has put it in.
    fn line(&mut self, line: fmt::Arguments<'_>) {
        self.0.push_str(&printable_lines(&line.to_string()));
        self.0.push('\n');
    }

    fn title(&mut self, report: &Report) {
        let name = report.identity.as_ref().map_or("run", |identity| identity.dag_name.as_str());
        self.line(format_args!("# {}\n", text(name)));
        for finding in &report.headline {
            let mark = match finding.level {
                Level::Good => "✓",
                Level::Note => "·",
                Level::Warning => "!",
                Level::Bad => "✗",
            };
            self.line(format_args!("- {mark} {}", text(&finding.text)));
        }
        if let Some(link) = &report.links.hamilton_run {
            self.line(format_args!("- Hamilton UI: {}", link_of(link)));
        }
        if let Some(link) = &report.links.trace {
            self.line(format_args!("- Trace: {}", link_of(link)));
        }
    }

    /// A table without the columns in which no row says anything. A column whose name ends with a space holds numbers.
    fn table(&mut self, title: &str, columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        let rows: Vec<Vec<String>> = rows.into_iter().collect();
        if rows.is_empty() {
            return;
        }
        let says = |position: &usize| rows.iter().any(|row| !row[*position].is_empty());
        let shown: Vec<usize> = (0..columns.len()).filter(says).collect();
        let pick = |cell: &dyn Fn(usize) -> String| {
            let cells: Vec<String> = shown.iter().map(|position| cell(*position)).collect();
            cells.join(" | ")
        };
        self.line(format_args!("\n## {title}\n"));
        self.line(format_args!("| {} |", pick(&|position| columns[position].trim_end().to_owned())));
        let rule = |position: usize| if columns[position].ends_with(' ') { "--:" } else { "---" };
        self.line(format_args!("| {} |", pick(&|position| rule(position).to_owned())));
        for row in &rows {
            self.line(format_args!("| {} |", pick(&|position| row[position].clone())));
        }
    }

    fn nodes(&mut self, report: &Report) {
        let (shown, left_out) = nodes::longest(&report.nodes, MAX_NODES);
        let rows = shown.into_iter().map(|node| {
            let status = match node.status {
                NodeStatus::Success => "ok",
                NodeStatus::Failure => "**failed**",
                NodeStatus::Interrupted => "**interrupted**",
                NodeStatus::Unfinished => "**unfinished**",
                NodeStatus::NotRun => "not run",
            };
            vec![
                format!("{}{}", code(&node.name), if node.on_critical_path { " ◆" } else { "" }),
                node.kind.as_deref().map(code).unwrap_or_default(),
                node.attempts_in_words()
                    .map_or_else(|| status.to_owned(), |more| format!("{status} ({more})")),
                node.start_ms.map(|ms| format!("+{}", display::duration(ms))).unwrap_or_default(),
                node.duration_ms.map(display::duration).unwrap_or_default(),
                node.rows_in.map(display::count).unwrap_or_default(),
                node.rows_out.map(display::count).unwrap_or_default(),
                node.bytes.map(display::bytes).unwrap_or_default(),
            ]
        });
        self.table(
            "Nodes",
            &["node", "kind", "status", "start ", "time ", "rows in ", "rows out ", "bytes "],
            rows,
        );
        if left_out > 0 {
            self.line(format_args!("\n{left_out} more nodes, all shorter, are in the JSON report."));
        }
        for node in report.nodes.iter().filter(|node| node.queries_summed > 0).take(20) {
            self.line(format_args!("\n{}: {}", code(&node.name), node.queries_in_words()));
        }
        for node in report.nodes.iter().filter(|node| !node.earlier_attempts.is_empty()).take(20) {
            self.line(format_args!("\n{} ran more than once:\n", code(&node.name)));
            let attempts: Vec<String> = node.earlier_attempts_in_words().collect();
            self.block(&attempts.join("\n"));
        }
        for node in report.nodes.iter().filter(|node| node.error.is_some()).take(20) {
            let ended = if node.status == NodeStatus::Interrupted { "was interrupted" } else { "failed" };
            self.line(format_args!("\n{} {ended}:\n", code(&node.name)));
            self.block(node.error.as_deref().unwrap_or_default());
        }
    }

    fn own_time(&mut self, report: &Report) {
        let Some(own) = &report.own_time else { return };
        let parts: Vec<String> =
            own.parts().map(|(what, ms)| format!("{what} {}", display::duration(ms))).collect();
        if !parts.is_empty() {
            self.line(format_args!("\nDaglight itself took: {}.", parts.join(", ")));
        }
    }

    fn timeline(&mut self, report: &Report) {
        let Some(timeline) = &report.timeline else { return };
        self.line(format_args!("\n{}", display::time_spent(timeline)));
        if timeline.critical_path.len() > 1 {
            let path: Vec<String> = timeline.critical_path.iter().map(|name| code(name)).collect();
            self.line(format_args!(
                "◆ The longest chain of dependencies, {}: {}",
                display::duration(timeline.critical_path_ms),
                path.join(" → ")
            ));
        }
    }

    fn queries(&mut self, report: &Report) {
        let rows = report.queries.iter().map(|query| {
            let hottest = query.hottest_operators.iter().take(2);
            let hottest: Vec<String> = hottest
                .map(|operator| {
                    format!("{} {}", code(&operator.shown_name()), operator.time_in_words(query.duration_ms))
                })
                .collect();
            vec![
                code(&query.query_id),
                query.node.as_deref().map(code).unwrap_or_default(),
                display::duration(query.duration_ms),
                query.planning_ms.map(display::duration).unwrap_or_default(),
                query.rows_in.map(display::count).unwrap_or_default(),
                query.rows_out.map(display::count).unwrap_or_default(),
                hottest.join(", "),
                query.plan_file.as_deref().map(code).unwrap_or_default(),
            ]
        });
        self.table(
            "Slowest queries",
            &["query", "node", "time ", "planned ", "rows in ", "rows out ", "hottest operators", "plan"],
            rows,
        );
    }

    fn stages(&mut self, report: &Report) {
        let rows = report.stages.iter().map(|stage| {
            vec![
                code(&stage.stage),
                display::duration(stage.wall_ms),
                display::duration(stage.longest_ms),
                display::count(stage.spans),
                counted(stage.slow),
                counted(stage.errors),
            ]
        });
        self.table("Time per stage", &["stage", "active ", "longest ", "spans ", "slow ", "errors "], rows);
    }

    fn slowest_spans(&mut self, report: &Report) {
        let rows = report.slowest_spans.iter().map(|span| {
            vec![
                code(&span.name),
                span.node.as_deref().map(code).unwrap_or_default(),
                span.stage.as_deref().map(code).unwrap_or_default(),
                format!("+{}", display::duration(span.start_ms)),
                display::duration(span.duration_ms),
                span.rows.map(display::count).unwrap_or_default(),
                if span.failed { "**failed**".into() } else { String::new() },
            ]
        });
        self.table("Slowest spans", &["span", "node", "stage", "start ", "time ", "rows ", "status"], rows);
    }

    fn artifacts(&mut self, report: &Report) {
        let rows = report.artifacts.iter().map(|artifact| {
            vec![
                code(&artifact.name),
                code(&artifact.materialization),
                artifact.rows.map(display::count).unwrap_or_default(),
                artifact.bytes.map(display::bytes).unwrap_or_default(),
                artifact.location.as_deref().map(code).unwrap_or_default(),
            ]
        });
        self.table("Artifacts", &["artifact", "as", "rows ", "bytes ", "location"], rows);
    }

    fn problems(&mut self, report: &Report) {
        let rows = report.problems.iter().map(|problem| {
            let severity = if problem.severity == Severity::Error { "**error**" } else { "warning" };
            vec![
                severity.to_owned(),
                display::count(problem.count),
                problem.node.as_deref().map(code).unwrap_or_default(),
                code(&problem.source),
                code(&problem.message),
            ]
        });
        self.table("Errors and warnings", &["", "times ", "node", "from", "message"], rows);
    }

    fn heartbeat(&mut self, report: &Report) {
        let Some(heartbeat) = &report.heartbeat else { return };
        self.line(format_args!("\n## Process\n"));
        self.line(format_args!("- Process {}", heartbeat.process_in_words()));
        self.line(format_args!("- Heartbeat: {}", heartbeat.beats_in_words()));
        let used = [
            heartbeat
                .cpu_seconds
                .map(|seconds| format!("{} of processor time", display::duration(seconds * 1e3))),
            heartbeat.peak_resident_bytes.map(|bytes| format!("{} of memory at most", display::bytes(bytes))),
            heartbeat
                .io_bytes_read
                .map(|bytes| format!("{} read from storage by the process", display::bytes(bytes))),
            heartbeat
                .io_bytes_written
                .map(|bytes| format!("{} written to storage by the process", display::bytes(bytes))),
        ];
        let used: Vec<String> = used.into_iter().flatten().collect();
        if !used.is_empty() {
            self.line(format_args!("- Used: {}", used.join(", ")));
        }
        for task in &heartbeat.active_tasks {
            self.line(format_args!(
                "- At the last beat {} was running, since {}",
                code(&task.name),
                display::time(task.since)
            ));
        }
        for stall in &heartbeat.stalls {
            let node = stall.node.as_deref().map(|node| format!(" of {}", code(node))).unwrap_or_default();
            let operator =
                stall.detail.as_deref().filter(|detail| !detail.is_empty()).or(stall.operator.as_deref());
            let operator = operator.map(|operator| format!(" at {}", code(operator))).unwrap_or_default();
            let until = stall.ended.map_or_else(
                || "without an end".to_owned(),
                |ended| format!("until {}", display::time(ended)),
            );
            self.line(format_args!(
                "- Query {}{node} made no progress{operator} from {} {until}",
                code(&stall.query_id),
                display::time(stall.since)
            ));
        }
    }

    fn delivery(&mut self, report: &Report) {
        let delivery = &report.delivery;
        let rows = delivery.ledgers.iter().filter(|account| account.ledger.produced > 0).map(|account| {
            let ledger = &account.ledger;
            let reasons: Vec<String> = ledger
                .dropped
                .iter()
                .filter(|(_, count)| **count > 0)
                .map(|(reason, count)| format!("{} {}", display::count(*count), text(reason)))
                .collect();
            vec![
                text(account.signal.name()),
                text(account.destination.name()),
                display::count(ledger.produced),
                display::count(ledger.delivered),
                counted(ledger.waiting),
                counted(ledger.dropped_total()),
                reasons.join(", "),
            ]
        });
        self.table("Delivery", &["what", "to", "produced ", "delivered ", "waiting ", "lost ", "why"], rows);
    }

    fn unreadable(&mut self, report: &Report) {
        let signals = report.files.iter().filter_map(|file| {
            let counts = format!(
                "{} read, {} damaged, {} torn",
                display::plural(file.lines, "line"),
                display::count(file.unreadable_lines),
                display::bytes(file.torn_bytes)
            );
            Some(vec![code(&file.file), code(file.problem.as_deref()?), counts])
        });
        let others =
            report.unreadable.iter().map(|file| vec![code(&file.file), code(&file.problem), String::new()]);
        let rows: Vec<_> = signals.chain(others).collect();
        self.table("Not readable", &["file", "problem", ""], rows);
    }

    fn identity(&mut self, report: &Report) {
        let Some(identity) = &report.identity else { return };
        let mut rows = vec![
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
        rows.retain(|(_, value)| value.as_ref().is_some_and(|value| !value.is_empty()));
        let tags = identity.tags.iter().map(|(key, value)| (key.as_str(), Some(value.clone())));
        let rows = rows.into_iter().chain(tags);
        let rows = rows.filter_map(|(key, value)| Some(vec![text(key), code(&value?)]));
        self.table("Identity", &["", ""], rows);
    }

    fn block(&mut self, content: &str) {
        // Indented by four, a line is code whatever it holds.
        for content in content.lines() {
            self.line(format_args!("    {content}"));
        }
    }
}

/// A count worth a word; nothing for none.
fn counted(count: u64) -> String {
    if count == 0 { String::new() } else { display::count(count) }
}

/// A code span, fit for a table.
fn code(content: &str) -> String {
    let content = in_line(content).trim().replace('|', "\\|");
    if content.is_empty() {
        return String::new();
    }
    let longest = content.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let space = if content.starts_with('`') || content.ends_with('`') { " " } else { "" };
    format!("{fence}{space}{content}{space}{fence}")
}

/// Text in which nothing is markup.
fn text(content: &str) -> String {
    let mut escaped = String::with_capacity(content.len());
    let mut before = ' ';
    for c in in_line(content).chars() {
        match c {
            '\\' | '`' | '*' | '<' | '>' | '[' | ']' | '|' | '&' | '~' | '#' => escaped.extend(['\\', c]),
            // Within a word an underscore is one.
            '_' if !before.is_alphanumeric() => escaped.push_str("\\_"),
            c => escaped.push(c),
        }
        before = c;
    }
    escaped
}

/// Text in one line, in which nothing moves a terminal's cursor, hides or reorders what is around it.
fn in_line(content: &str) -> String {
    let content = content.trim().replace("\r\n", " ").replace(['\n', '\t'], " ");
    printable(&content).into_owned()
}

/// A link that is one only when it is of the web and holds nothing that could end it.
fn link_of(url: &str) -> String {
    let is_web = url.starts_with("http://") || url.starts_with("https://");
    let is_plain = matches!(printable(url), Cow::Borrowed(_));
    if is_web && is_plain && !url.contains(|c: char| c.is_whitespace() || "<>".contains(c)) {
        format!("<{url}>")
    } else {
        code(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted;

    #[test]
    fn no_text_of_a_report_brings_a_control_character() {
        const PLANTED: &str = "zq\u{1b}[2J\u{9b}31m\u{202e}\u{2066}\r\n\u{200b}mk";
        let report = planted::report(PLANTED);
        let planted = serde_json::to_string(&report).unwrap().matches("[2J").count();
        assert!(planted > 50, "{planted}");
        for (kind, page) in [("md", render(&report)), ("html", crate::html::render(&report))] {
            assert!(page.matches("\\u001b[2J").count() > 25, "{kind}: the texts are there:\n{page}");
            assert_eq!(page, printable_lines(&page), "{kind}");
        }
        let web = planted::report("http://host/\u{202e}");
        assert_eq!(render(&web), printable_lines(&render(&web)));
        assert!(!render(&web).contains("<http"));
    }

    #[test]
    fn a_code_span_holds_anything() {
        assert_eq!(code("orders"), "`orders`");
        assert_eq!(code("a|b\nc"), "`a\\|b c`");
        assert_eq!(code("`a``b"), "``` `a``b ```");
        assert_eq!(code(" "), "");
        assert_eq!(code("a\u{1b}[2J\u{202e}\r\nb\u{200b}"), "`a\\u001b[2J\\u202e b\\u200b`");
    }

    #[test]
    fn text_holds_no_markup() {
        assert_eq!(text("stg_orders of [x](y) <b>*"), "stg_orders of \\[x\\](y) \\<b\\>\\*");
        assert_eq!(text("_x_\n# y"), "\\_x_ \\# y");
        assert_eq!(text("\u{9b}31m\rx"), "\\\\u009b31m\\\\rx");
    }

    #[test]
    fn only_links_of_the_web_are_links() {
        assert_eq!(link_of("http://127.0.0.1:8241/runs/1"), "<http://127.0.0.1:8241/runs/1>");
        assert_eq!(link_of("javascript:alert(1)"), "`javascript:alert(1)`");
        assert_eq!(link_of("http://x> <b"), "`http://x> <b`");
    }
}
