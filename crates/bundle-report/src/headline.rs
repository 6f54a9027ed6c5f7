//! The report in a few sentences, for a reader with half a minute.

use std::collections::BTreeSet;

use daglight_run_bundle::{Liveness, Materialization, NodeStatus, Tracking, WarningCode};

use crate::{
    display,
    findings::{Finding, FindingKind, items},
    level::Level,
    report::{
        HeadlineSentence, HeartbeatReport, NodeReport, OnClientReport, OperatorReport, Problem, Report,
        ReportStatus, Severity, UnreadableFile,
    },
};

/// The maximum number of nodes, errors and stalls that are named individually.
const MAX_NAMED: usize = 3;
/// The maximum number of findings in the headline: that many warnings, and that many others.
const MAX_FOUND: usize = 5;
/// An operator did most of the computing if its share is at least this.
const MOST: f64 = 0.5;
/// The headline mentions that operator only if computing was at least this share of the node's time.
const COMPUTING_SHARE: f64 = 0.1;
/// The slowest node is named if it took at least this long: below that, its share of the run is random.
const SLOWEST_MS: f64 = 10.0;

/// The findings, most important first: how the run ended, what failed, what is not delivered, what was slow.
pub(crate) fn headline(report: &Report) -> Vec<HeadlineSentence> {
    let mut findings = Findings::default();
    status(report, &mut findings);
    failures(report, &mut findings);
    found(report, &mut findings, |level| level >= Level::Warning);
    waiting(report, &mut findings);
    on_client(report, &mut findings);
    slowest(report, &mut findings);
    busy_machine(report, &mut findings);
    found(report, &mut findings, |level| level < Level::Warning);
    warnings(report, &mut findings);
    delivery(report, &mut findings);
    findings.0
}

#[derive(Default)]
struct Findings(Vec<HeadlineSentence>);

impl Findings {
    fn add(&mut self, level: Level, text: impl Into<String>) {
        self.0.push(HeadlineSentence { level, text: text.into(), command: None });
    }

    /// A sentence that ends with a command.
    fn add_with_command(&mut self, level: Level, text: &str, command: &str) {
        self.0.push(HeadlineSentence {
            level,
            text: format!("{text} {command}"),
            command: Some(command.to_owned()),
        });
    }
}

fn status(report: &Report, findings: &mut Findings) {
    let duration = report.duration_ms.map(display::duration);
    let took = |word: &str| match &duration {
        Some(duration) => format!("{word} after {duration}"),
        None => word.to_owned(),
    };
    let (level, mut text) = match report.status {
        ReportStatus::Success => {
            (Level::Good, format!("Succeeded in {}", duration.as_deref().unwrap_or("an unknown time")))
        }
        ReportStatus::Failure if has_died(report) => (Level::Bad, died(duration.as_deref())),
        ReportStatus::Failure => (Level::Bad, took("Failed")),
        ReportStatus::Interrupted => (Level::Bad, interrupted(report, duration.as_deref())),
        ReportStatus::ProcessEnded => (Level::Bad, died(duration.as_deref())),
        ReportStatus::Running => (Level::Note, took("Still running when this report was made,")),
        ReportStatus::Unknown if report.identity.is_some() => {
            let text = "The run has not ended in this bundle, and nothing shows that its process still lives";
            (Level::Warning, text.to_owned())
        }
        ReportStatus::Unknown => (Level::Warning, "Nothing in the bundle says how the run ended".to_owned()),
    };
    let totals = &report.totals;
    if totals.nodes > 0 {
        text.push_str(": ");
        if totals.nodes_succeeded == totals.nodes {
            text.push_str(&display::plural(totals.nodes, "node"));
        } else {
            let counts = [
                (totals.nodes_succeeded, "succeeded"),
                (totals.nodes_failed, "failed"),
                (totals.nodes_interrupted, "interrupted"),
                (totals.nodes_running, "running"),
                (totals.nodes_unfinished, "unfinished"),
                (totals.nodes_not_run, "not run"),
            ];
            let parts: Vec<String> = counts
                .iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, what)| format!("{} {what}", display::count(*count)))
                .collect();
            text.push_str(&format!("{} ({})", display::plural(totals.nodes, "node"), parts.join(", ")));
        }
    }
    if totals.queries > 0 {
        let queries = if totals.queries == 1 { "query" } else { "queries" };
        text.push_str(&format!(", {} {queries}", display::count(totals.queries)));
    }
    let written = [
        ("written to files", totals.rows_written, totals.bytes_written, true),
        ("put into tables", totals.rows_in_tables, totals.bytes_in_tables, false),
    ];
    for (what, rows, bytes, in_files) in written {
        let (Some(rows), Some(bytes)) = (rows, bytes) else { continue };
        if rows == 0 && bytes == 0 {
            continue;
        }
        let artifacts = report.artifacts.iter().filter(|artifact| artifact.location.is_some() == in_files);
        let mut artifacts = artifacts.filter(|artifact| artifact.materialization != Materialization::View);
        // The totals contain only what is known, but here they represent everything.
        let at_least =
            if artifacts.clone().any(|artifact| artifact.rows.is_none()) { "at least " } else { "" };
        text.push_str(&format!(", {at_least}{} {what}", display::plural(rows, "row")));
        if bytes > 0 && artifacts.all(|artifact| artifact.bytes.is_some()) {
            text.push_str(&format!(" ({})", display::bytes(bytes)));
        }
    }
    findings.add(level, text + ".");
    // The status of a run that has ended is certain: its last heartbeat may not have fitted on the disk.
    let is_open = report.status == ReportStatus::ProcessEnded || has_died(report);
    if !is_open {
        return;
    }
    if let Some(heartbeat) = report.heartbeat.as_ref().filter(|heartbeat| is_gone(heartbeat)) {
        let seen_at = report.ended_at.map_or(heartbeat.last_beat_at, |end| end.max(heartbeat.last_beat_at));
        let text = format!(
            "Process {} was last seen at {}; {}.",
            heartbeat.pid,
            display::time(seen_at),
            running_at_the_end(report, heartbeat)
        );
        findings.add(Level::Bad, text);
    } else {
        let names: BTreeSet<&str> = open_nodes(report).collect();
        if !names.is_empty() {
            findings.add(Level::Bad, format!("Running then: {}.", display::first_of(&names, MAX_NAMED)));
        }
    }
}

/// Nodes that had started and not ended when their process ended.
fn open_nodes(report: &Report) -> impl Iterator<Item = &str> {
    let was_open = |node: &&NodeReport| node.status == NodeStatus::Unfinished || node.process_ended;
    report.nodes.iter().filter(was_open).map(|node| node.name.as_str())
}

/// Whether the run was closed later, because its process had died.
fn has_died(report: &Report) -> bool {
    let process = report.heartbeat.as_ref().and_then(|heartbeat| heartbeat.process);
    report.status == ReportStatus::Failure && report.process_ended && process != Some(Liveness::Alive)
}

/// Its duration is unknown; only the last sign of life is known.
fn died(seen_for: Option<&str>) -> String {
    let ended = "The process ended before it could end the run";
    seen_for
        .map_or_else(|| ended.to_owned(), |seen_for| format!("{ended}, and was last seen after {seen_for}"))
}

fn is_gone(heartbeat: &HeartbeatReport) -> bool {
    heartbeat.process == Some(Liveness::Gone)
}

/// What a killed process was doing: nodes that had started and not ended, according to its heartbeat and everything else.
fn running_at_the_end(report: &Report, heartbeat: &HeartbeatReport) -> String {
    let active = heartbeat.active_tasks.iter().map(|task| task.name.as_str());
    let names: BTreeSet<&str> = active.chain(open_nodes(report)).collect();
    match &heartbeat.stage {
        Some(stage) if names.is_empty() => format!("no node was running then, stage {stage} was"),
        None if names.is_empty() => "no node was running then".to_owned(),
        _ => format!("running then: {}", display::first_of(&names, MAX_NAMED)),
    }
}

/// For an interrupted run, the interruption and its cause come first: that is the manifest's error.
fn interrupted(report: &Report, duration: Option<&str>) -> String {
    match (&report.error, duration) {
        (Some(error), _) => {
            let error = one_line(error);
            let mut letters = error.chars();
            letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
        }
        (None, Some(duration)) => format!("Interrupted after {duration}"),
        (None, None) => "Interrupted".to_owned(),
    }
}

fn failures(report: &Report, findings: &mut Findings) {
    let failed: Vec<&NodeReport> =
        report.nodes.iter().filter(|node| node.status == NodeStatus::Failure).collect();
    // Those that were running when the process ended are already named with it.
    let (with_process, by_themselves): (Vec<&NodeReport>, Vec<&NodeReport>) =
        failed.iter().partition(|node| node.process_ended && has_died(report));
    // Those that failed with the same message are grouped, in the order of the first of them.
    let mut groups: Vec<(&str, Vec<&NodeReport>)> = Vec::new();
    for node in by_themselves.iter().copied() {
        let cause = cause_of(node);
        match groups.iter_mut().find(|(other, _)| *other == cause) {
            Some((_, nodes)) => nodes.push(node),
            None => groups.push((cause, vec![node])),
        }
    }
    for (cause, nodes) in groups.iter().take(MAX_NAMED) {
        // A single one with the place of its statement.
        let cause = if nodes.len() == 1 { nodes[0].error.as_deref().unwrap_or_default() } else { cause };
        let error = Some(in_short(cause)).filter(|error| !error.is_empty());
        let error = error.unwrap_or_else(|| "it did not say why".to_owned());
        let which = if nodes.len() == 1 { "Node" } else { "Nodes" };
        findings.add(Level::Bad, format!("{which} {} failed: {error}", names(nodes)));
    }
    let more: Vec<&NodeReport> =
        groups.iter().skip(MAX_NAMED).flat_map(|(_, nodes)| nodes.iter().copied()).collect();
    if !more.is_empty() {
        let count = display::plural(more.len() as u64, "more node");
        findings.add(Level::Bad, format!("{count} failed: {}.", names(&more)));
    }
    if with_process.is_empty()
        && by_themselves.is_empty()
        && report.status == ReportStatus::Failure
        && !has_died(report)
    {
        let of_span = report.problems.iter().find(|problem| problem.severity == Severity::Error);
        if let Some(error) = report.error.as_deref().or(of_span.map(|problem| problem.message.as_str())) {
            findings.add(Level::Bad, format!("The run failed: {}", in_short(error)));
        }
    }
}

fn names(nodes: &[&NodeReport]) -> String {
    display::first_of(nodes.iter().map(|node| &node.name), MAX_NAMED)
}

/// The error of a node without the place and the name at its beginning.
fn cause_of(node: &NodeReport) -> &str {
    let error = node.error.as_deref().unwrap_or_default();
    error.split_once(&format!(": {}: ", node.name)).map_or(error, |(_, cause)| cause)
}

/// The findings of a level, up to a few; the report lists all of them.
fn found(report: &Report, findings: &mut Findings, is_of_level: fn(Level) -> bool) {
    let of_level = || report.findings.iter().filter(|finding| is_of_level(finding.level));
    of_level().take(MAX_FOUND).for_each(|finding| findings.add(finding.level, finding.summary.clone()));
    let more = of_level().count().saturating_sub(MAX_FOUND);
    if more > 0 {
        let more = display::plural(more as u64, "more finding");
        findings.add(Level::Note, format!("{more}: see Findings."));
    }
}

fn waiting(report: &Report, findings: &mut Findings) {
    let delivery = &report.delivery;
    if delivery.waiting > 0 {
        findings
            .add(Level::Warning, format!("Not delivered yet: {}.", items(delivery, |ledger| ledger.waiting)));
    }
}

/// A run of which the cluster got nothing: who asked for one expects the contrary.
fn on_client(report: &Report, findings: &mut Findings) {
    let Some(cluster) = report.cluster.as_ref().filter(|cluster| cluster.queries_on_cluster == 0) else {
        return;
    };
    let (which, each) = match cluster.queries_on_client {
        0 => return,
        1 => ("The query".to_owned(), ""),
        count => (format!("All {} queries", display::count(count)), " each"),
    };
    let text = match &cluster.on_client[..] {
        [OnClientReport { reason: Some(reason), .. }] => {
            let reason = one_line(reason);
            format!("{which} ran on the client,{each} because {}.", reason.trim_end_matches('.'))
        }
        _ => format!("{which} ran on the client: see Cluster for the reasons."),
    };
    findings.add(Level::Note, text);
}

/// The commands that deliver the remaining records, after everything about the run itself.
fn delivery(report: &Report, findings: &mut Findings) {
    let delivery = &report.delivery;
    if let Some(command) = &delivery.sync_command {
        let text = match delivery.tracking {
            Tracking::NoServer => "To see this run in the Hamilton UI, configure its server, then:",
            _ => "Deliver what waits for the tracker with:",
        };
        findings.add_with_command(Level::Note, text, command);
    }
    if let Some(command) = &delivery.replay_command {
        findings.add_with_command(Level::Note, "Send the signals in the bundle again with:", command);
    }
}

fn slowest(report: &Report, findings: &mut Findings) {
    let slowest = report
        .nodes
        .iter()
        .filter_map(|node| Some((node, node.duration_ms?)))
        .filter(|(_, duration_ms)| *duration_ms >= SLOWEST_MS)
        .max_by(|(_, a), (_, b)| a.total_cmp(b));
    // If statements outside nodes took longer, the slowest node is not the reason.
    let setup_ms = report.timeline.as_ref().map_or(0.0, |timeline| timeline.setup_ms);
    if let Some((node, duration_ms)) = slowest.filter(|(_, duration_ms)| *duration_ms >= setup_ms) {
        let mut text =
            format!("Slowest: {} took {}", display::name(&node.name), display::duration(duration_ms));
        // A node whose end was recorded later than that of the run has no share of it.
        if let Some(run_ms) = report.duration_ms.filter(|run_ms| *run_ms > 0.0 && duration_ms <= *run_ms) {
            text.push_str(&format!(" ({} of the run)", display::percent(duration_ms / run_ms)));
        }
        let query = report.queries.iter().find(|query| query.node.as_ref() == Some(&node.name));
        let operator = query.and_then(|query| query.hottest_operators.first());
        if is_stalled(report, &node.name) {
            // The finding contains the operator.
        } else if query.is_some_and(|query| query.untimed_ms.is_some()) {
            let when = if report.status == ReportStatus::Running {
                "is in no timer yet"
            } else {
                "came to no timer"
            };
            text.push_str(&format!("; which operator took that is not known, because most of it {when}"));
        } else if let Some(operator) = operator.filter(|operator| is_telling(operator, duration_ms)) {
            let computing = if operator.is_at_least { "computing so far" } else { "computing" };
            text.push_str(&format!(
                "; most of its {computing}, {}, was {}",
                display::percent(operator.share),
                operator.shown_name()
            ));
        }
        findings.add(Level::Note, text + ".");
    }
}

fn is_stalled(report: &Report, node: &str) -> bool {
    let mut stalls = report.findings.iter().filter(|finding| finding.kind == FindingKind::Stall);
    stalls.any(|stall| stall.node.as_deref() == Some(node))
}

/// A run whose processors were mostly used by other processes. A stalled run was not waiting for them.
fn busy_machine(report: &Report, findings: &mut Findings) {
    let stood_still =
        |finding: &Finding| matches!(finding.kind, FindingKind::Stall | FindingKind::HeartbeatPause);
    if report.findings.iter().any(stood_still) {
        return;
    }
    if let Some(share) = report.share_of_busy_machine() {
        let when = match report.unmeasured_ms().and(report.measured_ms()) {
            Some(until_ms) => format!("in its first {}", display::duration(until_ms)),
            None => "meanwhile".to_owned(),
        };
        let text = format!(
            "Other processes used {} of the processors {when}, for which the run may have waited.",
            display::percent(share)
        );
        findings.add(Level::Note, text);
    }
}

/// Whether an operator explains why a node took so long: it accounts for most of the computing, and the node was computing for a
/// considerable share of its time.
fn is_telling(operator: &OperatorReport, node_ms: f64) -> bool {
    operator.share > MOST && operator.compute_ms / operator.share >= COMPUTING_SHARE * node_ms
}

fn warnings(report: &Report, findings: &mut Findings) {
    let has = |kind| report.findings.iter().any(|finding| finding.kind == kind);
    // The finding about delivery contains the same, with the current path.
    let is_said = |problem: &Problem| {
        let of_delivery = report.delivery.sync_command.is_some() && problem.code.ends_with_sync();
        // The findings about checks and stalls contain the details.
        let of_check = problem.code == WarningCode::CheckNotPassed && has(FindingKind::DataCheck);
        of_delivery || of_check || (report.heartbeat.is_some() && problem.code == WarningCode::Stall)
    };
    let warnings = || report.problems.iter().filter(|problem| problem.severity == Severity::Warning);
    let said: u64 = warnings().filter(|problem| is_said(problem)).map(|problem| problem.count).sum();
    if let Some(first) = warnings().find(|problem| !is_said(problem)) {
        let text = match report.totals.warnings.saturating_sub(said) {
            1 => format!("1 warning: {}", one_line(&first.message)),
            count => format!("{} warnings, the first: {}", display::count(count), one_line(&first.message)),
        };
        findings.add(Level::Warning, text);
    }
    // A run that has just started has no files yet; one that has ended has all of them.
    for UnreadableFile { file, problem } in report.damages().take(MAX_NAMED) {
        findings.add(Level::Warning, format!("{file}: {}.", one_line(&problem).trim_end_matches('.')));
    }
}

/// An error in a headline: its first line, the line that this introduces, and its cause, which follows the last "caused by" line or
/// is the last line.
fn in_short(error: &str) -> String {
    /// DataFusion's separator between the failure and its cause.
    const CAUSED_BY: &str = "caused by";
    let lines: Vec<&str> = error.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let Some(first) = lines.first() else { return String::new() };
    let introduced = lines.get(1).filter(|line| first.ends_with(':') && **line != CAUSED_BY);
    let cause = match lines.iter().rposition(|line| *line == CAUSED_BY) {
        Some(position) => lines.get(position + 1),
        None => lines.last().filter(|_| first.ends_with(':')),
    };
    let mut parts = vec![one_line(first)];
    parts.extend(introduced.map(|line| one_line(line.trim_end_matches(','))));
    let cause = cause.filter(|cause| lines.len() > 1 && Some(*cause) != introduced);
    parts.extend(cause.map(|line| one_line(line)));
    let mut text = parts.remove(0);
    for part in parts {
        text.push_str(if text.ends_with(':') { " " } else { "; " });
        text.push_str(&part);
    }
    text
}

/// The first non-empty line, shortened for a headline.
fn one_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    display::beginning(line, 240).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::ClusterReport;

    fn operator(compute_ms: f64, share: f64) -> OperatorReport {
        OperatorReport {
            name: "DataSinkExec".to_owned(),
            table: None,
            detail: String::new(),
            compute_ms,
            partitions: Some(1),
            per_partition_ms: Some(compute_ms),
            longest_partition_ms: None,
            is_at_least: false,
            share,
            rows: None,
        }
    }

    #[test]
    fn a_check_is_said_once_and_a_busy_machine_is_named() {
        let mut report = crate::findings::planted::report();
        let finding =
            Finding::new(FindingKind::DataCheck, Level::Warning, "The check a of node b failed: c.");
        report.findings = vec![finding];
        report.problems = vec![Problem {
            severity: Severity::Warning,
            message: "node b: data check failed: c".into(),
            code: WarningCode::CheckNotPassed,
            error_type: None,
            node: None,
            source: "manifest".into(),
            count: 1,
            first_at: None,
            trace_id: None,
            span_id: None,
        }];
        report.totals.warnings = 1;
        report.duration_ms = Some(10_000.0);
        let heartbeat = report.heartbeat.as_mut().unwrap();
        // On four cores: 6 of 40 seconds are its own, and 4 were idle.
        (heartbeat.cpu_seconds, heartbeat.idle_share) = (Some(6.0), Some(0.1));
        let texts: Vec<String> = headline(&report).into_iter().map(|sentence| sentence.text).collect();
        let of = |what: &str| texts.iter().filter(|text| text.contains(what)).count();
        assert_eq!(
            (of("failed: c"), of("Other processes used 75 % of the processors")),
            (1, 1),
            "{texts:#?}"
        );
        report.heartbeat.as_mut().unwrap().idle_share = Some(0.5);
        assert!(!headline(&report).iter().any(|sentence| sentence.text.contains("Other processes")));
    }

    fn texts(report: &Report) -> Vec<String> {
        headline(report).into_iter().map(|sentence| sentence.text).collect()
    }

    #[test]
    fn a_run_that_stood_still_has_not_waited_for_processors() {
        let mut report = crate::findings::planted::report();
        let heartbeat = report.heartbeat.as_mut().unwrap();
        (heartbeat.cpu_seconds, heartbeat.idle_share) = (Some(6.0), Some(0.1));
        report.nodes[0].duration_ms = Some(9_000.0);
        let name = report.nodes[0].name.clone();
        for (kind, says_others) in
            [(FindingKind::Stall, false), (FindingKind::HeartbeatPause, false), (FindingKind::Spill, true)]
        {
            report.findings = vec![Finding::new(kind, Level::Warning, "x").node(Some(&name))];
            let texts = texts(&report);
            assert_eq!(texts.iter().any(|text| text.contains("Other processes")), says_others, "{texts:#?}");
            assert!(texts.iter().all(|text| !text.contains("not known")), "{texts:#?}");
        }
    }

    #[test]
    fn a_run_of_which_the_cluster_got_nothing_says_why() {
        let said = |on_cluster: u64, counts: &[u64]| {
            let reasons = ["its files are too small to be read in parts", "it reads no files"];
            let reasons = counts.iter().zip(reasons).map(|(&queries, reason)| OnClientReport {
                reason: Some(reason.to_owned()),
                queries,
                ..OnClientReport::default()
            });
            let cluster = ClusterReport {
                queries_on_cluster: on_cluster,
                queries_on_client: counts.iter().sum(),
                on_client: reasons.collect(),
                ..ClusterReport::default()
            };
            let report = Report { cluster: Some(cluster), ..crate::findings::planted::report() };
            texts(&report).into_iter().find(|text| text.contains("client"))
        };
        let small = "because its files are too small to be read in parts.";
        assert_eq!(said(0, &[6]), Some(format!("All 6 queries ran on the client, each {small}")));
        assert_eq!(said(0, &[1]), Some(format!("The query ran on the client, {small}")));
        let several = "All 9 queries ran on the client: see Cluster for the reasons.";
        assert_eq!(said(0, &[6, 3]).as_deref(), Some(several));
        assert_eq!((said(1, &[6]), said(0, &[])), (None, None));
    }

    #[test]
    fn an_error_in_short_has_its_cause() {
        let memory = "s.sql:2:1: g: Resources exhausted: Failed for Join[0] with top consumers as:\n  Join[0]#0 \
                      consumed 31.4 MB,\n  Join[1]#1 consumed 2 B.\nError: Failed to allocate, pool_size: 60.0 MB";
        for (error, expected) in [
            (
                "a.sql:2:26: a: SanityCheckPlan\ncaused by\nError during planning: no order",
                "a.sql:2:26: a: SanityCheckPlan; Error during planning: no order",
            ),
            ("A\ncaused by\nB\ncaused by\nC\nD", "A; C"),
            (
                memory,
                "s.sql:2:1: g: Resources exhausted: Failed for Join[0] with top consumers as: Join[0]#0 consumed 31.4 MB; Error: Failed to allocate, pool_size: 60.0 MB",
            ),
            // The rest of an error that explains itself is on its node.
            ("Internal error: x.\nPlease report it", "Internal error: x."),
            ("x as:", "x as:"),
            ("x as:\ny", "x as: y"),
            ("\n", ""),
        ] {
            assert_eq!(in_short(error), expected);
        }
    }

    #[test]
    fn nodes_that_failed_for_one_cause_are_one_sentence_and_all_are_named() {
        let mut report = crate::findings::planted::report();
        let node = |number: usize, cause: &str| {
            let name = format!("n{number}");
            let error = Some(format!("s.sql:{number}:1: {name}: {cause}"));
            NodeReport { status: NodeStatus::Failure, error, ..NodeReport::of_name(&name) }
        };
        report.status = ReportStatus::Failure;
        report.nodes = (0..5).map(|number| node(number, "Divide by zero")).collect();
        report.nodes.extend((5..9).map(|number| node(number, &format!("cause {number}"))));
        let texts = texts(&report);
        for expected in [
            "Nodes n0, n1, n2 and 2 more failed: Divide by zero",
            "Node n5 failed: s.sql:5:1: n5: cause 5",
            "Node n6 failed: s.sql:6:1: n6: cause 6",
            "2 more nodes failed: n7, n8.",
        ] {
            assert!(texts.iter().any(|text| text == expected), "{expected}: {texts:#?}");
        }
    }

    #[test]
    fn an_operator_is_named_where_it_says_why() {
        for (compute_ms, share, expected) in
            [(60.0, 0.6, true), (36.0, 0.36, false), (50.0, 0.5, false), (5.0, 0.9, false), (9.0, 0.9, true)]
        {
            assert_eq!(is_telling(&operator(compute_ms, share), 100.0), expected, "{compute_ms} {share}");
        }
    }

    #[test]
    fn no_operator_takes_longer_than_its_query() {
        let operator = operator(5_180.0, 1.0);
        assert_eq!(operator.time_in_words(6_000.0), "5.18 s");
        assert_eq!(operator.time_in_words(4_580.0), "5.18 s over all its tasks");
    }
}
