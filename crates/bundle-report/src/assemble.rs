//! Assembling the report from what was read of a bundle. It opens no files, and does not read the clock.

use std::{collections::HashMap, path::Path};

use chrono::{DateTime, TimeDelta, Utc};
use daglight_finding_thresholds::FindingThresholds;
use daglight_run_bundle::{
    Artifact, LedgerDestination, LedgerSignal, Liveness, Manifest, Materialization, NodeStatus,
    ProcessEvidence, RunStatus, SignalLedger, Tracking, WarningCode, milliseconds, saturating_sum,
};

use crate::{
    compare::since,
    display,
    findings::{self, is_long_pause},
    headline,
    hidden::{Counts, hidden},
    inputs::{Deliverable, Inputs},
    judged_plans::JudgedPlans,
    nodes,
    problems::{Problems, moment},
    queries,
    report::{
        ActiveTaskReport, DeliveryReport, HeartbeatReport, LongestSetup, NodeReport, Problem, REPORT_VERSION,
        Report, ReportStatus, ResourceSample, StageReport, StallReport, Totals,
    },
    signals::{SeenStage, Signals},
    timeline::timeline,
};

/// The kind of nodes whose values are given.
const INPUT: &str = "input";

/// The report of a bundle, from the `inputs` that were read at `now` and the judged `plans`.
pub(crate) fn report(
    inputs: Inputs,
    plans: JudgedPlans,
    thresholds: &FindingThresholds,
    now: DateTime<Utc>,
) -> Report {
    let Inputs {
        dir,
        deliverable,
        manifest,
        evidence,
        liveness,
        state: status,
        times,
        artifacts,
        outputs_are_known,
        data,
        mut signals,
        last_run,
        unreadable,
    } = inputs;
    let JudgedPlans {
        queries: planned,
        slowest,
        sums,
        cluster,
        findings: plan_findings,
        statements,
        left_jobs,
        ..
    } = plans;
    let beats = evidence.as_ref().map(|evidence| (evidence.started_at, evidence.seen_at()));
    let beats = beats.filter(|(started, seen)| times.has(*started) && times.has(*seen));
    let (started_at, ended_at) = extent(manifest.as_ref(), beats, signals.seen(), status, now);
    let start_nanoseconds = started_at.and_then(|start| start.timestamp_nanos_opt()).unwrap_or(0);
    let since_start = |nanoseconds: u64| (nanoseconds as i64).saturating_sub(start_nanoseconds) as f64 / 1e6;
    let duration_ms = started_at.zip(ended_at).map(|(start, end)| milliseconds::between(start, end));

    let last_seen = ended_at.and_then(|end| u64::try_from(end.timestamp_nanos_opt()?).ok()).unwrap_or(0);
    signals.take_open(last_seen);
    let Signals { nodes: seen_nodes, node_of_span, stages: seen_stages, mut setup, .. } = signals;
    let node_of = |parent_span_id: &str| node_of_span.get(parent_span_id).cloned();

    let mut nodes = nodes::node_reports(
        manifest.as_ref(),
        seen_nodes,
        &signals.reads,
        evidence.as_ref(),
        &planned,
        duration_ms,
        &since_start,
    );
    if status == ReportStatus::Running {
        for node in nodes.iter_mut().filter(|node| node.status == NodeStatus::Unfinished) {
            node.status = NodeStatus::Running;
        }
    }
    let setup = setup.intervals().iter().map(|worked| (since_start(worked.start), since_start(worked.end)));
    let interrupted_ms = manifest
        .as_ref()
        .and_then(|manifest| manifest.interrupted_at)
        .and_then(|interrupted| u64::try_from(interrupted.timestamp_nanos_opt()?).ok())
        .map(since_start);
    let setup: Vec<(f64, f64)> = setup.collect();
    let timeline = timeline(&mut nodes, started_at, &setup, duration_ms.unwrap_or(0.0), interrupted_ms);

    let planned_totals = planned.totals;
    let summed = sums.into_summed();
    let reads = Some(signals.all_reads).filter(|reads| reads.says_reads);
    // From the spans if they contain it: plans are kept only for some queries, spans for all.
    let reads = reads.unwrap_or_else(|| planned_totals.reads(signals.query_count));
    // The plans name the same jobs as the warnings of the manifest, with their nodes.
    let of_plans = |code: &WarningCode| *code == WarningCode::JobLeft && !left_jobs.is_empty();
    let mut problems = with_warnings(signals.problems, manifest.as_ref(), of_plans);
    left_jobs.add_to(&mut problems, manifest.as_ref(), &dir);
    let totals = Totals {
        nodes: nodes.len() as u64,
        nodes_succeeded: with_status(&nodes, NodeStatus::Success),
        nodes_failed: with_status(&nodes, NodeStatus::Failure),
        nodes_interrupted: with_status(&nodes, NodeStatus::Interrupted),
        nodes_running: with_status(&nodes, NodeStatus::Running),
        nodes_unfinished: with_status(&nodes, NodeStatus::Unfinished),
        nodes_not_run: with_status(&nodes, NodeStatus::NotRun),
        // The greater of the two: a killed process had written some of its spans, and the plans of queries that were still running.
        queries: signals.query_count.max(planned_totals.queries),
        // Queries that have not ended have no span, but their nodes have the rows from the plans.
        rows_read: reads.rows_read.max(saturating_sum(nodes.iter().filter_map(|node| node.rows_in))),
        bytes_read: summed.bytes_read(reads.bytes_read),
        bytes_spilled: reads.bytes_spilled,
        spans: signals.span_count,
        log_records: signals.record_count,
        errors: problems.errors,
        warnings: problems.warnings,
        ..written(&artifacts, outputs_are_known)
    };
    let delivery = delivery(manifest.as_ref(), &dir, deliverable, status);
    let own_time = manifest.as_ref().and_then(|manifest| manifest.own_time.clone());
    // In bundles of older versions only the spans contain it.
    let process_ended = manifest.as_ref().is_some_and(|manifest| manifest.process_ended_at.is_some())
        || signals.root_is_closed_for_it;
    let (data, data_left_out) = data.into_reports();
    let is_input = |node: &&NodeReport| node.kind.as_ref().is_some_and(|kind| kind.name() == INPUT);
    let counts = Counts {
        problems: totals.errors.saturating_add(totals.warnings),
        inputs: nodes.iter().filter(is_input).count() as u64,
        nodes_with_rows: nodes.iter().filter(|node| node.rows_out.is_some()).count() as u64,
        queries: totals.queries,
        columns: data.iter().map(|data| data.columns.len() as u64).sum(),
        places: artifacts.iter().filter(|artifact| artifact.location.is_some()).count() as u64,
        statements,
    };
    let hidden = manifest.as_ref().map(|manifest| hidden(manifest, &counts));
    let (hidden, hidden_counts) = hidden.unwrap_or_default();
    let (identity, links, profile, daglight_version, error) = match manifest {
        Some(manifest) => (
            Some(manifest.identity),
            manifest.links,
            Some(manifest.profile),
            Some(manifest.daglight_version),
            manifest.error,
        ),
        None => Default::default(),
    };
    let longest_setup = signals.longest_setup.map(|(nanoseconds, statement)| LongestSetup {
        duration_ms: milliseconds::of_nanoseconds(nanoseconds),
        place: statement.file.map(|file| match statement.line {
            Some(line) => format!("{file}:{line}"),
            None => file,
        }),
        statement: statement.text,
    });
    let (spans, span_bands) = signals.shown.into_spans(&node_of, &since_start);
    let resources = signals.resources.into_kept().into_iter();
    let resources =
        resources.map(|(at, sample)| ResourceSample { at_ms: since_start(at), ..sample }).collect();
    let since = last_run.map(|both| since(both, &nodes, duration_ms, thresholds));
    let queries = queries::query_reports(signals.queries, planned, &node_of);
    let report = Report {
        format_version: REPORT_VERSION,
        generated_at: now,
        status,
        headline: Vec::new(),
        findings: Vec::new(),
        identity,
        links,
        profile,
        hidden,
        hidden_counts,
        daglight_version,
        started_at,
        ended_at,
        duration_ms,
        error,
        process_ended,
        totals,
        nodes,
        timeline,
        longest_setup,
        own_time,
        stages: stages(seen_stages),
        slowest_spans: signals
            .slowest
            .into_items()
            .map(|slow| slow.into_report(&node_of, &since_start))
            .collect(),
        plans: slowest.into_plans(&queries),
        queries,
        tables: summed.tables,
        operators: summed.operators,
        cluster: cluster.into_report(),
        lineage: summed.lineages,
        spans,
        spans_left_out: span_bands.iter().map(|band| band.spans).sum(),
        span_bands,
        resources,
        artifacts,
        data,
        data_left_out,
        since,
        problems: problems.into_found(),
        heartbeat: evidence.as_ref().map(|evidence| {
            let silence = (status == ReportStatus::Running).then(|| now - evidence.signed_at());
            heartbeat(evidence, liveness, silence, thresholds)
        }),
        delivery,
        files: signals.files,
        unreadable,
    };
    // The findings are based on everything else in the report, and the headline on both.
    let findings = findings::findings(&report, plan_findings, thresholds);
    let report = Report { findings, ..report };
    Report { headline: headline::headline(&report), ..report }
}

/// When the run started, and when it ended or was last seen.
fn extent(
    manifest: Option<&Manifest>,
    beats: Option<(DateTime<Utc>, DateTime<Utc>)>,
    spans: Option<(u64, u64)>,
    status: ReportStatus,
    now: DateTime<Utc>,
) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
    let started_at = manifest
        .map(|manifest| manifest.started_at)
        .or(spans.and_then(|(start, _)| moment(start)))
        .or(beats.map(|(started, _)| started));
    let last_span = spans.and_then(|(_, end)| moment(end));
    let last_beat = beats.map(|(_, seen)| seen);
    // A running run lasts until now. A killed run lasts until it was last seen, independent of the time of the report.
    let ended_at = match status {
        ReportStatus::Running => Some(now),
        _ => manifest.and_then(|manifest| manifest.ended_at).or(last_span.max(last_beat)),
    };
    // A last sign before the start comes from another clock, and does not show the end.
    (started_at, ended_at.filter(|ended| started_at.is_none_or(|started| started <= *ended)))
}

/// The problems of the signals, and the warnings of the manifest except those that others know better.
fn with_warnings(
    mut problems: Problems,
    manifest: Option<&Manifest>,
    is_known_better: impl Fn(&WarningCode) -> bool,
) -> Problems {
    let warnings = manifest.into_iter().flat_map(|manifest| &manifest.warnings);
    for warning in warnings.filter(|warning| !is_known_better(&warning.code)) {
        problems.add(Problem::warning("manifest", warning.code.clone(), warning.message.clone()));
    }
    problems
}

/// What the artifacts add to the totals. A parameter table is an input of the run, not an output.
fn written(artifacts: &[Artifact], are_known: bool) -> Totals {
    let none = are_known.then_some(0);
    let mut totals = Totals {
        rows_written: none,
        bytes_written: none,
        rows_in_tables: none,
        bytes_in_tables: none,
        ..Totals::default()
    };
    for artifact in
        artifacts.iter().filter(|artifact| artifact.materialization != Materialization::ParamTable)
    {
        let (rows, bytes) = match artifact.location {
            Some(_) => (&mut totals.rows_written, &mut totals.bytes_written),
            None => (&mut totals.rows_in_tables, &mut totals.bytes_in_tables),
        };
        for (total, part) in [(rows, artifact.rows), (bytes, artifact.bytes)] {
            *total = total.map(|total| total.saturating_add(part.unwrap_or(0)));
        }
    }
    totals
}

fn delivery(
    manifest: Option<&Manifest>,
    dir: &Path,
    deliverable: Deliverable,
    status: ReportStatus,
) -> DeliveryReport {
    let Some(manifest) = manifest else { return DeliveryReport::default() };
    let tracker = manifest.delivery.tracker.clone().map(|ledger| SignalLedger {
        signal: LedgerSignal::Tracker,
        destination: LedgerDestination::Hamilton,
        ledger,
    });
    // The tracker events of a killed run are in its outbox, whether counted or not.
    let tracker_waits = tracker.as_ref().is_some_and(|account| account.ledger.waiting > 0)
        || (status == ReportStatus::ProcessEnded && manifest.tracking != Tracking::Off);
    let backend_missed = manifest.delivery.signals.iter().any(|account| {
        // What can be sent again from the bundle; `sync` delivers the rest.
        ![LedgerDestination::Bundle, LedgerDestination::OpenLineage].contains(&account.destination)
            && account.ledger.waiting + account.ledger.dropped_total() > 0
    });
    let lineage_waits =
        manifest.delivery.signals.iter().any(|account| {
            account.destination == LedgerDestination::OpenLineage && account.ledger.waiting > 0
        });
    let ledgers: Vec<SignalLedger> =
        tracker.into_iter().chain(manifest.delivery.signals.iter().cloned()).collect();
    let is_expected =
        |account: &&SignalLedger| account.signal != LedgerSignal::Tracker || manifest.tracking.is_expected();
    let command = |name| display::command(name, dir);
    DeliveryReport {
        is_final: manifest.status != RunStatus::Running,
        // Without a server the outbox is expected to wait, and a report must not present that as a fault.
        waiting: saturating_sum(ledgers.iter().filter(is_expected).map(|account| account.ledger.waiting)),
        dropped: saturating_sum(ledgers.iter().map(|account| account.ledger.dropped_total())),
        ledgers,
        tracking: manifest.tracking,
        // A bundle that was packed without SQL no longer contains the events, so they cannot be delivered.
        sync_command: (tracker_waits && deliverable.has_outbox || lineage_waits && deliverable.has_lineage)
            .then(|| command("sync")),
        replay_command: backend_missed.then(|| command("replay")),
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
            wall_ms: milliseconds::of_nanoseconds(seen.coverage.total()),
            longest_ms: milliseconds::of_nanoseconds(seen.longest),
            spans: seen.spans,
            slow: seen.slow,
            errors: seen.errors,
            open: seen.open,
        })
        .collect();
    stages.sort_by(|a, b| b.wall_ms.total_cmp(&a.wall_ms).then_with(|| a.stage.cmp(&b.stage)));
    stages
}

/// The process. `silence` is how long a running run has not been seen.
fn heartbeat(
    evidence: &ProcessEvidence,
    liveness: Option<Liveness>,
    silence: Option<TimeDelta>,
    thresholds: &FindingThresholds,
) -> HeartbeatReport {
    // Only for a process that is known to be alive: a copied bundle looks the same.
    let silence =
        silence.filter(|_| liveness == Some(Liveness::Alive)).map(|silence| silence.as_seconds_f64());
    let is_long = |silent: &f64| is_long_pause(*silent, evidence.interval_seconds, thresholds);
    let stalls = evidence.stalls.episodes.iter().map(|episode| StallReport {
        stall: episode.stall.clone(),
        ended: episode.ended,
        remedy: episode.stall.class.map(|class| class.remedy().to_owned()),
    });
    HeartbeatReport {
        pid: evidence.pid,
        process: liveness.filter(|_| evidence.stopped_at.is_none()),
        beats: evidence.beats,
        interval_seconds: evidence.interval_seconds,
        longest_gap_seconds: evidence.longest_gap_seconds,
        late_seconds: evidence.late_seconds,
        last_beat_at: evidence.last_beat_at,
        silent_seconds: silence.filter(is_long),
        stopped_at: evidence.stopped_at,
        stage: evidence.stage.clone(),
        active_tasks: evidence
            .active_tasks
            .iter()
            .map(|task| ActiveTaskReport { name: task.name.clone(), since: task.since })
            .collect(),
        measured_at: Some(evidence.measured_at()),
        cpu_seconds: evidence.cpu_seconds,
        idle_share: evidence.idle_share,
        peak_resident_bytes: evidence.peak_resident_bytes,
        io_bytes_read: evidence.io.map(|io| io.bytes_read),
        io_bytes_written: evidence.io.map(|io| io.bytes_written),
        stall_count: evidence.stalls.count,
        stalls: stalls.collect(),
    }
}

#[cfg(test)]
mod tests {
    use daglight_run_identity::RunId;

    use super::*;

    #[test]
    fn parameter_tables_are_nothing_that_a_run_has_written() {
        let artifact = |materialization, location: Option<&str>| Artifact {
            name: "a".into(),
            node: None,
            materialization,
            location: location.map(str::to_owned),
            format: None,
            rows: Some(3),
            bytes: Some(100),
            files: None,
            files_before: None,
            schema: Vec::new(),
            schema_hash: None,
            plan_signature: None,
            signature: None,
            run_id: RunId::new(),
            written_at: DateTime::UNIX_EPOCH,
        };
        let artifacts = [
            artifact(Materialization::Parquet, Some("a.parquet")),
            artifact(Materialization::Table, None),
            artifact(Materialization::ParamTable, Some("limits.csv")),
            artifact(Materialization::ParamTable, None),
        ];
        let totals = written(&artifacts, true);
        assert_eq!((totals.rows_written, totals.bytes_written), (Some(3), Some(100)));
        assert_eq!((totals.rows_in_tables, totals.bytes_in_tables), (Some(3), Some(100)));
        let totals = written(&artifacts, false);
        assert_eq!((totals.rows_written, totals.bytes_in_tables), (None, None));
    }
}
