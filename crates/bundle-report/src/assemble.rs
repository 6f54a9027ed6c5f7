//! Making the report of a bundle.

use std::{collections::HashMap, io, path::PathBuf};

use chrono::{DateTime, Utc};
use daglight_heartbeat::{EvidenceError, Liveness, ProcessEvidence};
use daglight_otel_bridge::names::Namespace;

use crate::{
    ActiveTaskReport, ArtifactCatalog, Bundle, DeliveryReport, HeartbeatReport, Manifest, ManifestError,
    NodeReport, NodeStatus, Problem, REPORT_VERSION, Report, ReportStatus, RunStatus, Severity, SignalLedger,
    SpanReport, StageReport, StallReport, Totals, UnreadableFile, WriteError, display, headline, html,
    markdown, nodes,
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
        source: ManifestError,
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
            Err(source @ ManifestError::Newer { .. }) => {
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
        for (file, problem) in read_plans(&bundle.plans_dir(), |file, plan| planned.add(file, plan)) {
            unreadable.files.push(UnreadableFile { file: format!("plans/{file}"), problem });
        }
        let parts = Parts { bundle, now, manifest, evidence, signals, planned };
        let mut report = parts.assemble();
        report.artifacts = artifacts;
        report.totals.rows_written = report.artifacts.iter().filter_map(|artifact| artifact.rows).sum();
        report.totals.bytes_written = report.artifacts.iter().filter_map(|artifact| artifact.bytes).sum();
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
            self.evidence.as_ref(),
            &self.planned,
            &since_start,
        );
        let timeline = timeline(&mut nodes, duration_ms.unwrap_or(0.0));
        let heartbeat = self.evidence.as_ref().map(|evidence| heartbeat(evidence, status));
        let delivery = self.delivery(status);
        let slowest_spans = self.slowest_spans(&since_start);
        let planned_totals = self.planned.totals;
        let queries = queries::of(&mut self.signals, self.planned);
        let signals = self.signals;
        let mut problems = signals.problems;
        for warning in self.manifest.iter().flat_map(|manifest| &manifest.warnings) {
            problems.add(Problem {
                severity: Severity::Warning,
                message: warning.clone(),
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
            nodes_unfinished: with_status(&nodes, NodeStatus::Unfinished),
            nodes_not_run: with_status(&nodes, NodeStatus::NotRun),
            queries: signals.query_count.max(planned_totals.queries),
            rows_read: planned_totals.rows_read,
            bytes_read: planned_totals.bytes_read,
            bytes_spilled: planned_totals.bytes_spilled,
            spans: signals.span_count,
            log_records: signals.record_count,
            errors: problems.errors,
            warnings: problems.warnings,
            ..Totals::default()
        };
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
            (_, Some(root)) if root.failed => ReportStatus::Failure,
            (None, Some(_)) => ReportStatus::Success,
            (running, None | Some(_)) => match self.evidence.as_ref().map(ProcessEvidence::is_alive) {
                Some(Liveness::Gone) => ReportStatus::Interrupted,
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
        let last_beat = self.evidence.as_ref().map(|evidence| evidence.last_beat_at);
        let ended_at = match status {
            ReportStatus::Running => Some(self.now),
            _ => self.manifest.as_ref().and_then(|manifest| manifest.ended_at).or(last_span.max(last_beat)),
        };
        (started_at, ended_at)
    }

    fn delivery(&self, status: ReportStatus) -> DeliveryReport {
        let Some(manifest) = &self.manifest else { return DeliveryReport::default() };
        let tracker = manifest.delivery.tracker.clone().map(|ledger| SignalLedger {
            signal: "tracker".into(),
            destination: "hamilton".into(),
            ledger,
        });
        let ledgers: Vec<SignalLedger> =
            tracker.into_iter().chain(manifest.delivery.signals.iter().cloned()).collect();
        let waiting = ledgers.iter().map(|account| account.ledger.waiting).sum();
        let is_final = manifest.status != RunStatus::Running;
        // The tracker's events of a run that was killed are in its outbox, counted or not.
        let waits =
            waiting > 0 || (status == ReportStatus::Interrupted && self.bundle.tracker_dir().is_dir());
        let bundle = self.bundle.dir().to_string_lossy();
        DeliveryReport {
            is_final,
            waiting,
            dropped: ledgers.iter().map(|account| account.ledger.dropped_total()).sum(),
            ledgers,
            sync_command: waits.then(|| format!("daglight sync {}", display::shell_word(&bundle))),
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

fn heartbeat(evidence: &ProcessEvidence, status: ReportStatus) -> HeartbeatReport {
    let has_ended = matches!(status, ReportStatus::Success | ReportStatus::Failure);
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
        process: (!has_ended).then(|| evidence.is_alive()).map(|liveness| match liveness {
            Liveness::Alive => "alive".to_owned(),
            Liveness::Gone => "gone".to_owned(),
            Liveness::Unknown => "unknown".to_owned(),
        }),
        beats: evidence.beats,
        interval_seconds: evidence.interval_seconds,
        longest_gap_seconds: evidence.longest_gap_seconds,
        last_beat_at: evidence.last_beat_at,
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
