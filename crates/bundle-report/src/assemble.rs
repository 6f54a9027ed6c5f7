//! Making the report of a bundle.

use std::{collections::HashMap, io, path::PathBuf};

use chrono::{DateTime, Utc};
use daglight_heartbeat::{EvidenceError, Liveness, ProcessEvidence};
use daglight_semantic_conventions::Namespace;

use crate::{
    ActiveTaskReport, ArtifactCatalog, Bundle, DeliveryReport, HeartbeatReport, LedgerDestination,
    LedgerSignal, Manifest, NodeReport, NodeStatus, Problem, ProcessState, REPORT_VERSION, ReadError, Report,
    ReportStatus, RunStatus, Severity, SignalLedger, SpanReport, StageReport, StallReport, Totals, Tracking,
    UnreadableFile, WriteError, display, headline, html, markdown, nodes,
    plan_bundle::read_plans,
    problems::moment,
    queries::{self, PlannedQueries},
    replace::{replace, replace_json},
    signals::{SeenSlow, SeenStage, Signals, milliseconds},
    timeline::timeline,
    top::Top,
};

/// Why there is no report of a bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A newer Daglight wrote the bundle; a report of what is understood would mislead.
    #[error("no report of {}", bundle.display())]
    Newer {
        /// The bundle.
        bundle: PathBuf,
        /// The cause.
        #[source]
        source: ReadError,
    },
}

impl Report {
    /// Reads a bundle and says what happened in its run.
    ///
    /// The signal files are read line by line, in memory that does not grow with them. A bundle of a run that was killed
    /// is read as far as it goes; what could not be read is in the report.
    ///
    /// # Errors
    ///
    /// When the manifest has a newer format. Whatever else is missing or damaged is a part of the report.
    pub fn of_bundle(bundle: &Bundle) -> Result<Self, ReportError> {
        Self::of_bundle_at(bundle, Utc::now())
    }

    pub(crate) fn of_bundle_at(bundle: &Bundle, now: DateTime<Utc>) -> Result<Self, ReportError> {
        let mut unreadable = Unreadable::default();
        let manifest = match Manifest::read(bundle) {
            Ok(manifest) => Some(manifest),
            Err(source @ ReadError::Newer { .. }) => {
                return Err(ReportError::Newer { bundle: bundle.dir().to_owned(), source });
            }
            Err(error) => unreadable.note("manifest.json", &error),
        };
        let evidence = match ProcessEvidence::read(&bundle.heartbeat()) {
            Ok(evidence) => Some(evidence),
            Err(EvidenceError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
            Err(error) => unreadable.note("heartbeat.json", &error),
        };
        let artifacts = match ArtifactCatalog::read(bundle) {
            Ok(catalog) => catalog.artifacts,
            Err(error) => unreadable.note("artifacts.json", &error).unwrap_or_default(),
        };
        let namespace = manifest
            .as_ref()
            .map_or_else(Namespace::default, |manifest| Namespace::new(&*manifest.namespace));
        let signals = Signals::read(bundle, &namespace);
        let mut planned = PlannedQueries::default();
        for (file, problem) in read_plans(bundle, |file, plan| planned.add(file, plan)) {
            unreadable.files.push(UnreadableFile { file: format!("plans/{file}"), problem });
        }
        let parts = Parts { bundle, now, manifest, evidence, signals, planned };
        let mut report = parts.assemble();
        report.artifacts = artifacts;
        for artifact in &report.artifacts {
            let totals = &mut report.totals;
            let (rows, bytes) = match artifact.location {
                Some(_) => (&mut totals.rows_written, &mut totals.bytes_written),
                None => (&mut totals.rows_in_tables, &mut totals.bytes_in_tables),
            };
            *rows = rows.saturating_add(artifact.rows.unwrap_or(0));
            *bytes = bytes.saturating_add(artifact.bytes.unwrap_or(0));
        }
        report.unreadable = unreadable.files;
        report.headline = headline::of(&report);
        Ok(report)
    }

    /// Writes the report into its bundle: JSON, Markdown and HTML. Each file is replaced as a whole.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn write(&self, bundle: &Bundle) -> Result<(), WriteError> {
        replace_json(&bundle.report_json(), self)?;
        replace(&bundle.report_markdown(), markdown::render(self).as_bytes())?;
        replace(&bundle.report_html(), html::render(self).as_bytes())
    }

    /// The report as Markdown.
    pub fn to_markdown(&self) -> String {
        markdown::render(self)
    }

    /// The report as one HTML page that needs nothing else.
    pub fn to_html(&self) -> String {
        html::render(self)
    }
}

#[derive(Default)]
struct Unreadable {
    files: Vec<UnreadableFile>,
}

impl Unreadable {
    /// Notes the error with its cause, and gives nothing.
    fn note<T>(&mut self, file: &str, error: &dyn std::error::Error) -> Option<T> {
        let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        self.files.push(UnreadableFile { file: file.to_owned(), problem: cause });
        None
    }
}

struct Parts<'b> {
    bundle: &'b Bundle,
    now: DateTime<Utc>,
    manifest: Option<Manifest>,
    evidence: Option<ProcessEvidence>,
    signals: Signals,
    planned: PlannedQueries,
}

impl Parts<'_> {
    fn assemble(mut self) -> Report {
        let status = self.status();
        let (started_at, ended_at) = self.extent(status);
        let start_nanoseconds = started_at.and_then(|start| start.timestamp_nanos_opt()).unwrap_or(0);
        let since_start =
            |nanoseconds: u64| (nanoseconds as i64).saturating_sub(start_nanoseconds) as f64 / 1e6;
        let duration_ms = started_at.zip(ended_at).map(|(start, end)| (end - start).as_seconds_f64() * 1e3);
        let mut nodes = nodes::of(
            self.manifest.as_ref(),
            std::mem::take(&mut self.signals.nodes),
            &self.signals.reads,
            self.evidence.as_ref(),
            &self.planned,
            duration_ms,
            &since_start,
        );
        let setup = self.signals.setup.intervals();
        let setup: Vec<(f64, f64)> =
            setup.iter().map(|(start, end)| (since_start(*start), since_start(*end))).collect();
        let timeline = timeline(&mut nodes, &setup, duration_ms.unwrap_or(0.0));
        let heartbeat = self.evidence.as_ref().map(heartbeat);
        let delivery = self.delivery(status);
        let slowest_spans = self.slowest_spans(&since_start);
        let planned_totals = self.planned.totals;
        let reads = Some(self.signals.all_reads).filter(|reads| reads.says_reads);
        let reads = reads.unwrap_or_else(|| planned_totals.reads(self.signals.query_count));
        let queries = queries::of(&mut self.signals, self.planned);
        let signals = self.signals;
        let mut problems = signals.problems;
        for warning in self.manifest.iter().flat_map(|manifest| &manifest.warnings) {
            problems.add(Problem {
                severity: Severity::Warning,
                message: warning.message.clone(),
                code: warning.code,
                error_type: None,
                node: None,
                source: "manifest".into(),
                count: 1,
                first_at: None,
            });
        }
        let totals = Totals {
            nodes: nodes.len() as u64,
            nodes_succeeded: with_status(&nodes, NodeStatus::Success),
            nodes_failed: with_status(&nodes, NodeStatus::Failure),
            nodes_interrupted: with_status(&nodes, NodeStatus::Interrupted),
            nodes_unfinished: with_status(&nodes, NodeStatus::Unfinished),
            nodes_not_run: with_status(&nodes, NodeStatus::NotRun),
            queries: signals.query_count.max(planned_totals.queries),
            rows_read: reads.rows_read,
            bytes_read: reads.bytes_read,
            bytes_spilled: reads.bytes_spilled,
            spans: signals.span_count,
            log_records: signals.record_count,
            errors: problems.errors,
            warnings: problems.warnings,
            ..Totals::default()
        };
        let own_time = self.manifest.as_ref().and_then(|manifest| manifest.own_time.clone());
        let (identity, links, profile, daglight_version, error) = match self.manifest {
            Some(manifest) => (
                Some(manifest.identity),
                manifest.links,
                Some(manifest.profile),
                Some(manifest.daglight_version),
                manifest.error,
            ),
            None => Default::default(),
        };
        Report {
            format_version: REPORT_VERSION,
            generated_at: self.now,
            status,
            headline: Vec::new(),
            identity,
            links,
            profile,
            daglight_version,
            started_at,
            ended_at,
            duration_ms,
            error,
            totals,
            nodes,
            timeline,
            own_time,
            stages: stages(signals.stages),
            slowest_spans,
            queries,
            artifacts: Vec::new(),
            problems: problems.into_found(),
            heartbeat,
            delivery,
            files: signals.files,
            unreadable: Vec::new(),
        }
    }

    fn status(&self) -> ReportStatus {
        match (self.manifest.as_ref().map(|manifest| manifest.status), &self.signals.root) {
            (Some(RunStatus::Success), _) => ReportStatus::Success,
            (Some(RunStatus::Failure), _) => ReportStatus::Failure,
            (Some(RunStatus::Interrupted), _) => ReportStatus::Interrupted,
            (_, Some(root)) if root.failed => ReportStatus::Failure,
            (None, Some(_)) => ReportStatus::Success,
            (running, None | Some(_)) => match self.evidence.as_ref().map(ProcessEvidence::is_alive) {
                Some(Liveness::Gone) => ReportStatus::ProcessEnded,
                _ if running.is_some() => ReportStatus::Running,
                _ => ReportStatus::Unknown,
            },
        }
    }

    /// When the run started, and when it ended or was last seen.
    fn extent(&self, status: ReportStatus) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        let spans = self.signals.extent;
        let started_at = self
            .manifest
            .as_ref()
            .map(|manifest| manifest.started_at)
            .or(spans.and_then(|(start, _)| moment(start)))
            .or(self.evidence.as_ref().map(|evidence| evidence.started_at));
        let last_span = spans.and_then(|(_, end)| moment(end));
        let last_beat = self.evidence.as_ref().map(ProcessEvidence::seen_at);
        let ended_at = match status {
            ReportStatus::Running => Some(self.now),
            _ => self.manifest.as_ref().and_then(|manifest| manifest.ended_at).or(last_span.max(last_beat)),
        };
        (started_at, ended_at)
    }

    fn delivery(&self, status: ReportStatus) -> DeliveryReport {
        let Some(manifest) = &self.manifest else { return DeliveryReport::default() };
        let tracker = manifest.delivery.tracker.clone().map(|ledger| SignalLedger {
            signal: LedgerSignal::Tracker,
            destination: LedgerDestination::Hamilton,
            ledger,
        });
        // The tracker's events of a run that was killed are in its outbox, counted or not.
        let tracker_waits = tracker.as_ref().is_some_and(|account| account.ledger.waiting > 0)
            || (status == ReportStatus::ProcessEnded && manifest.tracking != Tracking::Off);
        let backend_missed = manifest.delivery.signals.iter().any(|account| {
            account.destination != LedgerDestination::Bundle
                && account.ledger.waiting + account.ledger.dropped_total() > 0
        });
        let ledgers: Vec<SignalLedger> =
            tracker.into_iter().chain(manifest.delivery.signals.iter().cloned()).collect();
        let is_expected = |account: &&SignalLedger| {
            account.signal != LedgerSignal::Tracker || manifest.tracking.is_expected()
        };
        let bundle = self.bundle.dir().to_string_lossy();
        let command = |name| format!("daglight {name} {}", display::shell_word(&bundle));
        DeliveryReport {
            is_final: manifest.status != RunStatus::Running,
            waiting: ledgers.iter().filter(is_expected).map(|account| account.ledger.waiting).sum(),
            dropped: ledgers.iter().map(|account| account.ledger.dropped_total()).sum(),
            ledgers,
            tracking: manifest.tracking,
            sync_command: tracker_waits.then(|| command("sync")),
            replay_command: backend_missed.then(|| command("replay")),
        }
    }

    fn slowest_spans(&mut self, since_start: &dyn Fn(u64) -> f64) -> Vec<SpanReport> {
        let slowest = std::mem::replace(&mut self.signals.slowest, Top::new(0));
        let finished = slowest.into_items().map(|SeenSlow { parent_span_id, start, report }| SpanReport {
            node: report.node.clone().or_else(|| self.signals.node_of(&parent_span_id)),
            start_ms: since_start(start),
            ..report
        });
        finished.collect()
    }
}

fn with_status(nodes: &[NodeReport], status: NodeStatus) -> u64 {
    nodes.iter().filter(|node| node.status == status).count() as u64
}

fn stages(seen: HashMap<String, SeenStage>) -> Vec<StageReport> {
    let mut stages: Vec<StageReport> = seen
        .into_iter()
        .map(|(stage, mut seen)| StageReport {
            stage,
            wall_ms: milliseconds(seen.coverage.total()),
            longest_ms: milliseconds(seen.longest),
            spans: seen.spans,
            slow: seen.slow,
            errors: seen.errors,
        })
        .collect();
    stages.sort_by(|a, b| b.wall_ms.total_cmp(&a.wall_ms).then_with(|| a.stage.cmp(&b.stage)));
    stages
}

fn heartbeat(evidence: &ProcessEvidence) -> HeartbeatReport {
    let stalls = evidence.stalls.episodes.iter().map(|episode| StallReport {
        query_id: episode.stall.query_id.clone(),
        node: episode.stall.node.clone(),
        operator: episode.stall.operator.clone(),
        detail: episode.stall.detail.clone(),
        since: episode.stall.since,
        ended: episode.ended,
    });
    HeartbeatReport {
        pid: evidence.pid,
        process: evidence.stopped_at.is_none().then(|| match evidence.is_alive() {
            Liveness::Alive => ProcessState::Alive,
            Liveness::Gone => ProcessState::Gone,
            Liveness::Unknown => ProcessState::Unknown,
        }),
        beats: evidence.beats,
        interval_seconds: evidence.interval_seconds,
        longest_gap_seconds: evidence.longest_gap_seconds,
        last_beat_at: evidence.last_beat_at,
        stopped_at: evidence.stopped_at,
        stage: evidence.stage.clone(),
        active_tasks: evidence
            .active_tasks
            .iter()
            .map(|task| ActiveTaskReport { name: task.name.clone(), since: task.since })
            .collect(),
        cpu_seconds: evidence.cpu_seconds,
        peak_resident_bytes: evidence.peak_resident_bytes,
        io_bytes_read: evidence.io.map(|io| io.bytes_read),
        io_bytes_written: evidence.io.map(|io| io.bytes_written),
        stall_count: evidence.stalls.count,
        stalls: stalls.collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use chrono::TimeDelta;
    use daglight_heartbeat::{Heartbeat, HeartbeatConfig, NoProgress};
    use daglight_run_identity::RunId;

    use super::*;
    use crate::{
        Ledger,
        fixture::{self, SpanLine},
    };

    struct Run {
        _out: tempfile::TempDir,
        bundle: Bundle,
    }

    impl Run {
        fn new() -> Self {
            let out = tempfile::tempdir().unwrap();
            let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
            fs::write(bundle.traces(), spans()).unwrap();
            fs::write(bundle.logs(), fixture::log_line(13, "statistics are off")).unwrap();
            fs::write(bundle.metrics(), "").unwrap();
            Self { _out: out, bundle }
        }

        fn manifest(self, change: impl FnOnce(&mut Manifest)) -> Self {
            let mut manifest = fixture::manifest();
            change(&mut manifest);
            manifest.write(&self.bundle).unwrap();
            self
        }

        /// A heartbeat file as a process leaves it that was killed while `task` ran.
        fn killed_while(self, task: &str) -> Self {
            let config =
                HeartbeatConfig { evidence: Some(self.bundle.heartbeat()), ..HeartbeatConfig::default() };
            Heartbeat::start(config, Arc::new(NoProgress), Box::new(|_| {})).stop();
            let text = fs::read(self.bundle.heartbeat()).unwrap();
            let mut evidence: serde_json::Value = serde_json::from_slice(&text).unwrap();
            let last_beat_at = fixture::start() + TimeDelta::milliseconds(90);
            evidence["start_ticks"] = 1.into();
            evidence["stopped_at"] = serde_json::Value::Null;
            evidence["started_at"] = fixture::start().to_rfc3339().into();
            evidence["last_beat_at"] = last_beat_at.to_rfc3339().into();
            evidence["last_seen_at"] = last_beat_at.to_rfc3339().into();
            evidence["active_tasks"] = serde_json::json!([{"name": task, "since": fixture::start()}]);
            fs::write(self.bundle.heartbeat(), evidence.to_string()).unwrap();
            self
        }

        fn report(&self) -> Report {
            Report::of_bundle_at(&self.bundle, fixture::start() + TimeDelta::seconds(60)).unwrap()
        }
    }

    fn spans() -> String {
        [
            SpanLine::new("hamilton.node", 0, 20)
                .id("n1")
                .text("node", "orders")
                .text("stage", "extract")
                .line(),
            SpanLine::new("datafusion.plan", 20, 24).text("query_id", "2").parent("n2").line(),
            SpanLine::new("datafusion.execute", 24, 50)
                .text("query_id", "2")
                .text("plan_hash", "9f3a")
                .parent("n2")
                .line(),
            SpanLine::new("hamilton.node", 20, 50)
                .id("n2")
                .text("node", "lines")
                .count("row_count", 77)
                .line(),
            SpanLine::new("pipeline.execute", 0, 100).line(),
        ]
        .concat()
    }

    #[track_caller]
    fn check_headline(report: &Report, expected: &[&str]) {
        let headline: Vec<&str> = report.headline.iter().map(|finding| finding.text.as_str()).collect();
        for (position, part) in expected.iter().enumerate() {
            assert!(
                headline.get(position).is_some_and(|text| text.contains(part)),
                "{part:?} in {headline:#?}"
            );
        }
    }

    #[test]
    fn a_run_that_succeeded() {
        let run = Run::new().manifest(|_| {});
        ArtifactCatalog::new(vec![fixture::artifact("totals")]).write(&run.bundle).unwrap();
        let plan = serde_json::json!({"query_id": 2, "node": "lines", "metrics": {"wall_ms": 26.0, "operators": [
            {"id": 0, "name": "HashJoinExec", "elapsed_compute_ms": 20.0},
            {"id": 1, "parent": 0, "name": "DataSourceExec", "output_rows": 500, "elapsed_compute_ms": 5.0}]}});
        fs::write(run.bundle.plan_file(1, "lines", "9f3a"), plan.to_string()).unwrap();
        let report = run.report();
        assert_eq!(report.status, ReportStatus::Success);
        check_headline(
            &report,
            &[
                "Succeeded in 100 ms: 3 nodes, 1 query, 1,000 rows written to files (52.0 kB).",
                "Slowest: totals took 40 ms (40 % of the run).",
                "1 warning: statistics are off",
            ],
        );
        let lines = &report.nodes[1];
        assert_eq!((lines.rows_in, lines.rows_out, lines.queries), (Some(500), Some(1_000), 1));
        let query = &report.queries[0];
        assert_eq!((query.node.as_deref(), query.planning_ms), (Some("lines"), Some(4.0)));
        assert_eq!(query.hottest_operators[0].name, "HashJoinExec");
        assert_eq!(report.timeline.as_ref().unwrap().critical_path, ["lines", "totals"]);
        assert_eq!(report.slowest_spans[0].node.as_deref(), Some("lines"));
        assert_eq!(report.delivery.sync_command, None);
    }

    #[test]
    fn a_run_that_failed_says_where_first() {
        let run = Run::new().manifest(|manifest| {
            manifest.status = RunStatus::Failure;
            manifest.nodes[1].status = NodeStatus::Failure;
            manifest.nodes[1].error = Some("Resources exhausted: sort needs 2 GB\nat SortExec".into());
            manifest.nodes[2] = crate::NodeRecord {
                status: NodeStatus::NotRun,
                started_at: None,
                duration_ms: None,
                ..manifest.nodes[2].clone()
            };
        });
        check_headline(
            &run.report(),
            &[
                "Failed after 100 ms: 3 nodes (1 succeeded, 1 failed, 1 not run)",
                "Node lines failed: Resources exhausted: sort needs 2 GB",
            ],
        );
    }

    #[test]
    fn a_run_that_was_told_to_end_says_so_first() {
        let run = Run::new().manifest(|manifest| {
            manifest.status = RunStatus::Interrupted;
            manifest.error =
                Some("interrupted by ctrl-c (SIGINT) after 100 ms, while lines ran (40 ms)".into());
            manifest.nodes[1].status = NodeStatus::Interrupted;
            manifest.nodes[1].error = Some("interrupted by ctrl-c (SIGINT) after 40 ms".into());
        });
        let report = run.report();
        assert_eq!((report.status, report.totals.nodes_interrupted), (ReportStatus::Interrupted, 1));
        check_headline(
            &report,
            &["Interrupted by ctrl-c (SIGINT) after 100 ms, while lines ran (40 ms): \
               3 nodes (2 succeeded, 1 interrupted)"],
        );
    }

    #[test]
    fn what_waits_is_said_with_the_command_that_delivers_it() {
        let run = Run::new().manifest(|manifest| {
            let dropped = [("refused by the server".to_owned(), 1)].into();
            manifest.delivery.tracker =
                Some(Ledger { produced: 9, delivered: 3, waiting: 5, dropped, ..Ledger::default() });
            manifest.delivery.signals.push(SignalLedger {
                signal: LedgerSignal::Traces,
                destination: LedgerDestination::Otlp,
                ledger: Ledger { produced: 4, waiting: 4, ..Ledger::default() },
            });
        });
        let report = run.report();
        check_headline(
            &report,
            &[
                "Succeeded",
                "Not delivered yet: 5 tracker events to hamilton",
                "Lost: 1 tracker event to hamilton (refused by the server)",
            ],
        );
        let DeliveryReport { sync_command, replay_command, .. } = report.delivery;
        assert!(sync_command.unwrap().starts_with("daglight sync "));
        assert!(replay_command.unwrap().starts_with("daglight replay "));
    }

    #[test]
    fn without_a_server_nothing_is_missing_and_a_note_says_how_to_see_the_run_there() {
        let run = Run::new().manifest(|manifest| {
            manifest.tracking = Tracking::NoServer;
            manifest.delivery.tracker = Some(Ledger { produced: 9, waiting: 9, ..Ledger::default() });
        });
        let report = run.report();
        assert_eq!(report.delivery.waiting, 0);
        let notes: Vec<_> =
            report.headline.iter().filter(|finding| finding.text.contains("Hamilton")).collect();
        let [note] = &notes[..] else { panic!("{:#?}", report.headline) };
        assert_eq!(note.level, crate::Level::Note);
        assert!(note.text.contains("daglight sync "), "{}", note.text);
        assert!(!report.headline.iter().any(|finding| finding.text.contains("Not delivered")));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_run_that_was_killed_is_told_from_spans_and_heartbeat() {
        let run = Run::new().killed_while("totals").manifest(|manifest| {
            manifest.status = RunStatus::Running;
            manifest.ended_at = None;
            for node in &mut manifest.nodes {
                *node = crate::NodeRecord {
                    started_at: None,
                    duration_ms: None,
                    status: NodeStatus::NotRun,
                    ..node.clone()
                };
            }
        });
        let cut =
            spans().trim_end().rsplit_once('\n').map(|(before, root)| format!("{before}\n{}", &root[..40]));
        fs::write(run.bundle.traces(), cut.unwrap()).unwrap();
        let report = run.report();
        assert_eq!(report.status, ReportStatus::ProcessEnded);
        let statuses: Vec<_> = report.nodes.iter().map(|node| (node.name.as_str(), node.status)).collect();
        assert_eq!(
            statuses,
            [
                ("orders", NodeStatus::Success),
                ("totals", NodeStatus::Unfinished),
                ("lines", NodeStatus::Success)
            ]
        );
        assert_eq!(report.files[0].torn_bytes, 40);
        check_headline(
            &report,
            &[
                "The process ended before it could end the run, and was last seen after 90 ms",
                "running then: totals",
            ],
        );
        assert!(!report.delivery.is_final && report.delivery.sync_command.is_some());
    }

    #[test]
    fn attempts_and_recoveries_are_on_every_page() {
        let run = Run::new().manifest(|manifest| {
            let node = &mut manifest.nodes[0];
            node.attempts = 3;
            node.earlier_attempts = vec![crate::AttemptRecord {
                attempt: 2,
                status: NodeStatus::Failure,
                started_at: None,
                duration_ms: Some(12.0),
                error: Some("connection <reset>".into()),
            }];
            manifest.nodes[1].status = NodeStatus::Failure;
            manifest.nodes[1].recovered = true;
        });
        let report = run.report();
        let (markdown, html) = (report.to_markdown(), report.to_html());
        for part in
            ["ok (attempt 3)", "attempt 2 failed after 12 ms: connection <reset>", "**failed** (recovered)"]
        {
            assert!(markdown.contains(part), "no {part:?} in {markdown}");
        }
        let title = "title=\"attempt 2 failed after 12 ms: connection &lt;reset&gt;\">attempt 3</span>";
        for part in [title, ">recovered</span>"] {
            assert!(html.contains(part), "no {part:?} in {html}");
        }
        let quiet = Run::new().manifest(|_| {}).report();
        assert!(!quiet.to_markdown().contains("attempt") && !quiet.to_html().contains(">attempt"));
    }

    #[track_caller]
    fn check_waiting(nodes: &[(u64, u64)], end_ms: u64, setup: Option<(u64, u64)>, expected: Option<&str>) {
        let run = Run::new().manifest(|manifest| {
            manifest.nodes.clear();
            manifest.ended_at = Some(fixture::start() + TimeDelta::milliseconds(end_ms as i64));
        });
        let name = |index: usize| format!("n{index:03}");
        let of_node = |(index, (start, end)): (usize, &(u64, u64))| {
            SpanLine::new("hamilton.node", *start, *end)
                .id(&format!("{index:016x}"))
                .text("node", &name(index))
                .line()
        };
        let setup = setup
            .map(|(start, end)| SpanLine::new("hamilton.stage", start, end).text("stage", "setup").line());
        let lines: String = nodes.iter().enumerate().map(of_node).chain(setup).collect();
        fs::write(run.bundle.traces(), lines).unwrap();
        let headline = run.report().headline;
        let said: Vec<&str> = headline
            .iter()
            .map(|finding| finding.text.as_str())
            .filter(|text| text.starts_with("Idle") || text.starts_with("Setup"))
            .collect();
        assert_eq!(said.len(), usize::from(expected.is_some()), "{said:?}");
        assert!(expected.is_none_or(|expected| said[0].contains(expected)), "{said:?}");
    }

    #[test]
    fn only_gaps_that_are_long_add_up_to_idle_time() {
        let nodes =
            |gap: u64| (0..30).map(|index| (index * (50 + gap), index * (50 + gap) + 50)).collect::<Vec<_>>();
        check_waiting(&nodes(90), 30 * 140, None, None);
        check_waiting(&nodes(150), 30 * 200, None, Some("no node ran for 75 % of the run"));
    }

    #[test]
    fn a_long_setup_is_a_finding() {
        check_waiting(&[(0, 1_000)], 2_000, Some((1_000, 2_000)), Some("took 1.00 s (50 % of the run)"));
        check_waiting(&[(0, 1_000)], 1_400, Some((1_000, 1_400)), None);
        check_waiting(&[(0, 9_400)], 10_000, Some((9_400, 10_000)), None);
    }

    #[test]
    fn no_node_takes_more_than_the_run() {
        let run = Run::new().manifest(|manifest| {
            manifest.ended_at = Some(fixture::start() + TimeDelta::milliseconds(1));
            manifest.nodes[0].duration_ms = Some(4_000.0);
        });
        let headline = run.report().headline;
        let slowest = headline.iter().find(|finding| finding.text.starts_with("Slowest")).unwrap();
        assert!(!slowest.text.contains("of the run"), "{}", slowest.text);
    }

    #[test]
    fn a_stall_is_said_once() {
        let run = Run::new().killed_while("totals").manifest(|_| {});
        let text = "no progress for 30 s: node totals, operator SortExec";
        fs::write(run.bundle.logs(), fixture::log_line(13, text)).unwrap();
        let report = run.report();
        assert!(
            !report.headline.iter().any(|finding| finding.text.contains("warning")),
            "{:#?}",
            report.headline
        );
        assert!(report.problems.iter().any(|problem| problem.message == text), "it stays in the list");
    }

    #[test]
    fn a_bundle_that_holds_nothing_still_has_a_report() {
        let out = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
        let report = Report::of_bundle(&bundle).unwrap();
        assert_eq!(report.status, ReportStatus::Unknown);
        assert_eq!(report.unreadable.len(), 1);
        report.write(&bundle).unwrap();
        let headings = |text: &str, mark: &str| text.lines().filter(|line| line.starts_with(mark)).count();
        // Nothing is told but what cannot be read.
        assert_eq!(headings(&report.to_markdown(), "## "), 1);
        assert_eq!(headings(&report.to_html(), "<h2>"), 1);
    }

    #[test]
    fn a_newer_bundle_has_no_report() {
        let run = Run::new();
        fs::write(run.bundle.manifest(), r#"{"format_version": 99}"#).unwrap();
        assert!(matches!(Report::of_bundle(&run.bundle), Err(ReportError::Newer { .. })));
    }

    #[test]
    fn the_json_is_read_back_and_fits_its_schema() {
        let run = Run::new().manifest(|_| {});
        let report = run.report();
        report.write(&run.bundle).unwrap();
        let text = fs::read(run.bundle.report_json()).unwrap();
        assert_eq!(serde_json::from_slice::<Report>(&text).unwrap(), report);
        let written: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let schema = Report::json_schema();
        for field in written.as_object().unwrap().keys() {
            assert!(schema["properties"][field].is_object(), "{field}");
        }
        assert_eq!(fs::read_dir(run.bundle.dir()).unwrap().count(), 9);
    }

    #[test]
    fn names_are_never_markup() {
        let name = "<script>alert(1)</script>|`*_[x](y)";
        let run = Run::new().manifest(|manifest| {
            manifest.identity.dag_name = name.into();
            manifest.identity.tags.insert(name.into(), name.into());
            manifest.error = Some(name.into());
            manifest.warnings.push(name.to_owned().into());
            manifest.links.hamilton_run = Some(format!("javascript:{name}"));
            manifest.delivery.signals[0].signal = LedgerSignal::Other(name.into());
            manifest.nodes[0].name = name.into();
            manifest.nodes[0].kind = name.into();
            manifest.nodes[0].status = NodeStatus::Failure;
            manifest.nodes[0].error = Some(name.into());
        });
        let hostile =
            SpanLine::new("hamilton.node", 0, 9).text("node", name).text("stage", name).failed(name);
        fs::write(run.bundle.traces(), hostile.line()).unwrap();
        fs::write(run.bundle.logs(), fixture::log_line(17, name)).unwrap();
        fs::write(
            run.bundle.plan_file(1, "a", "b"),
            serde_json::json!({"query_id": name, "node": name}).to_string(),
        )
        .unwrap();
        ArtifactCatalog::new(vec![fixture::artifact(name)]).write(&run.bundle).unwrap();
        let report = run.report();
        let html = report.to_html();
        assert!(!html.contains("<script") && html.contains("&lt;script"));
        assert!(!html.contains("href=\"javascript"));
        for line in report.to_markdown().lines().filter(|line| line.contains("script>")) {
            let is_code = line.contains('`') || line.starts_with("    ");
            assert!(is_code || line.contains("\\<script\\>"), "{line}");
        }
    }

    #[test]
    fn a_damaged_file_still_has_a_report() {
        let run = Run::new().manifest(|_| {});
        let whole = spans().into_bytes();
        let mut random = 1_u64;
        for _ in 0..200 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut damaged = whole.clone();
            let position = (random >> 33) as usize % damaged.len();
            damaged[position] = (random >> 24) as u8;
            fs::write(run.bundle.traces(), &damaged).unwrap();
            let report = run.report();
            assert!(!report.to_markdown().is_empty() && !report.to_html().is_empty());
        }
    }
}
