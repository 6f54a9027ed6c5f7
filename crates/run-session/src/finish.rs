//! What a run says at its end.

use std::{
    collections::BTreeMap,
    error::Error,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use chrono::{DateTime, SecondsFormat, Utc};
use daglight_bundle_report::{Report, ReportOptions, display::command};
use daglight_capture_policy::Captured;
use daglight_run_bundle::{
    ArtifactCatalog, Bundle, Delivery, DeliveryCounts, FileEntry, Identity, LedgerDestination, Links,
    MANIFEST_FORMAT, MANIFEST_VERSION, Manifest, NodeRecord, NodeStatus, OwnTime, RunStatus, SignalLedger,
    Tracking, Warning, WarningCode, WriteError, clock,
};
use daglight_run_identity::RunId;
use daglight_tracker_client::{Event, Outcome};
use serde::Serialize;

use crate::{
    error_report::ErrorReport,
    flush::{Flushed, flush},
    interrupt::Cause,
    lineage::Lineage,
    location::shown_location,
    log::{field, log},
    open_statements::StatementPlace,
    own_time::Own,
    run_log::FailedPart,
    run_state::RunState,
    run_tags::late_tags,
    stalls,
};

/// How a run ended, what became of its records, and where to look at it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FinishReport {
    /// The run.
    pub run_id: RunId,
    /// Its DAG.
    pub dag_name: String,
    /// How it ended.
    pub status: RunStatus,
    /// Why it did not succeed.
    pub error: Option<ErrorReport>,
    /// Milliseconds from start to end, without delivery.
    pub duration_ms: f64,
    /// The time that Daglight itself took, in the run and after its end.
    pub own_time: OwnTime,
    /// Every node of the DAG, in running order.
    pub nodes: Vec<NodeRecord>,
    /// The run's folder. `None` where it could not be made.
    pub bundle: Option<PathBuf>,
    /// The reports in the bundle.
    pub report: Option<ReportPaths>,
    /// Where servers show the run.
    pub links: RunLinks,
    /// Queries that belong to the run, and to none of its nodes: they ran in a stage, beside the nodes, or in a task that
    /// nothing ties to one. They have spans and plans like all others.
    pub queries_without_node: u64,
    /// The counts: produced = delivered + waiting + dropped.
    pub ledger: Delivery,
    /// Whether the run was meant for a tracking server.
    pub tracking: Tracking,
    /// Everything that went wrong with telemetry, one sentence each, with what it is about.
    pub warnings: Vec<Warning>,
    /// The run's tags.
    pub tags: BTreeMap<String, String>,
    /// What has interrupted it.
    #[serde(skip)]
    cause: Option<Cause>,
    #[serde(skip)]
    lacks_plans: bool,
}

impl FinishReport {
    /// Whether plans of queries could not be written to the bundle.
    pub fn lacks_plans(&self) -> bool {
        self.lacks_plans
    }

    /// The exit code that a program of this run alone should end with: 0 where it succeeded, 130 for ctrl-c, 143 for SIGTERM
    /// and 129 for SIGHUP where that has interrupted it, also after a node that had failed, else 1.
    pub fn exit_code(&self) -> u8 {
        match (self.status, &self.cause) {
            (RunStatus::Success, _) => 0,
            (_, Some(cause)) => cause.exit_code(),
            (_, None) => 1,
        }
    }
}

/// The files of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportPaths {
    /// For programs.
    pub json: PathBuf,
    /// For terminals and reviews.
    pub markdown: PathBuf,
    /// For browsers.
    pub html: PathBuf,
}

/// Pages that show a run. Each is `None` where it is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RunLinks {
    /// The run in the Hamilton UI.
    pub hamilton_run: Option<String>,
    /// The DAG's version in the Hamilton UI.
    pub hamilton_version: Option<String>,
    /// The trace in the tracing backend.
    pub trace: Option<String>,
}

/// How long the end of a run waits for dropped queries to say how they ended.
const DROPPED_QUERIES_LIMIT: Duration = Duration::from_millis(250);

/// How long it waits for the plans of queries to be written.
const PLANS_LIMIT: Duration = Duration::from_secs(2);

/// What is known only at the end of a run.
pub(crate) struct Ending {
    ended_at: DateTime<Utc>,
    delivery: Delivery,
}

/// Ends a run, in bounded time. Called once for each run.
#[expect(clippy::disallowed_methods, reason = "a run has the time at which it ends")]
pub(crate) fn finish(state: &Arc<RunState>) -> FinishReport {
    // One time for all: the root span, the tracker, the manifest and the stalls say the same end, however long the end
    // itself takes.
    let ended_at = clock::utc_now();
    let delivering = state.own_time.measure(Own::Delivery);
    // Before the heart is stopped, which is how nobody would know.
    if let Some(silence) = state.silence_of_heart(Duration::ZERO) {
        state.log.warn(silence.code, silence.message);
    }
    let heartbeat = state.heartbeat().take();
    // First of all: a beat in the middle of the end would show a run that goes on, and take the locks that the end
    // needs.
    if let Some(heartbeat) = heartbeat {
        heartbeat.stop();
    }
    stalls::close(state, ended_at);
    // Nodes whose code is still held somewhere: nothing more will be heard of them.
    state.open_nodes().iter().for_each(|node| node.end_with_the_run());
    if state.interruption.get().is_some() {
        state.open_statements.end_interrupted();
    }
    // A query with several partitions that is dropped ends on the threads of the runtime, after the drop has
    // returned: DataFusion aborts its tasks, and a task stops at its next `await`. A blocking function may take
    // seconds for that, hence the limit.
    state.complete_open_nodes(DROPPED_QUERIES_LIMIT);
    // Before the spans are flushed: this makes the spans of the last operators.
    end_plans(state);
    say_what_has_no_run(state);
    state.check_registry();
    say_how_it_ended(state);
    let late_tags = late_tags(state);
    state.log.records().late_tags.clone_from(&late_tags);
    if let Some(tracker) = &state.context.tracker {
        // Asked only now: a query that ended late, and the registry of outputs, can still fail the run.
        let succeeded = state.log.records().failure().is_none();
        if !late_tags.is_empty() {
            tracker.record(&Event::TagsUpserted { tags: late_tags, time: ended_at });
        }
        tracker.record(&Event::RunFinished {
            status: if succeeded { Outcome::Success } else { Outcome::Failure },
            time: ended_at,
        });
    }
    if let Some(lineage) = &state.context.lineage {
        let (failure, interrupted) = {
            let records = state.log.records();
            (records.failure().cloned(), records.is_interrupted())
        };
        lineage.run_ended(&state.log, ended_at, failure, interrupted);
    }
    // Whatever becomes of the process while it waits for servers, its bundle says how the run ended.
    // On a full disk the last manifest has space of its own, and says what is missing.
    let _ = replace_manifest(state, Some(&ending_so_far(state, ended_at)), FileEntry::list);

    let Flushed { tracker, signals } = flush(state, SystemTime::from(ended_at));
    // The answers of servers may repeat what was sent to them.
    let tracker_ledger = tracker.map(|ledger| shown(state, ledger));
    drop(delivering);
    signals.bundle_warnings().into_iter().for_each(|warning| state.log.bundle_failed(warning));
    let export_warnings = signals.export_warnings();
    if !export_warnings.is_empty() {
        // One endpoint that is away is one cause.
        state.log.warn(WarningCode::SignalsNotExported, export_warnings.join("; "));
    }
    if let (Some(ledger), Some(bundle)) = (&tracker_ledger, &state.context.bundle) {
        let dropped = ledger.dropped_total();
        if dropped > 0 {
            // The tracker has warned of what it lost when it did.
            let lost = format!(
                "{dropped} of {} tracker records were lost: {}",
                ledger.produced,
                ledger.dropped_reasons()
            );
            state.log.note(Warning::new(WarningCode::TrackerRecordsLost, lost));
        }
        // Without a server nothing is missing: the outbox keeps the run until there is one.
        if ledger.waiting > 0 && state.context.telemetry.shared.connection.is_some() {
            let why = match &ledger.last_error {
                Some(error) => error,
                None => "the server did not answer in time",
            };
            let warning = format!(
                "{} of {} tracker records wait in the bundle: {why}. To deliver them later: {}",
                ledger.waiting,
                ledger.produced,
                command("sync", bundle.dir())
            );
            // The delivery has warned of its errors when they occurred.
            let warning = Warning::new(WarningCode::Undelivered, warning);
            state.log.warn_unless(ledger.last_error.is_some(), warning);
        }
        if let Some(until) = ledger.unverified_until
            && ledger.waiting == 0
        {
            let warning = format!(
                "the tracking server may still carry out a request that it did not answer with success. To verify it \
                 after {}: {}",
                until.to_rfc3339_opts(SecondsFormat::Secs, true),
                command("sync", bundle.dir())
            );
            state.log.note(Warning::new(WarningCode::Unverified, warning));
        }
        if ledger.redelivered > 0 {
            // The delivery has warned of it when it was found.
            let again = format!(
                "{} tracker records were sent again because the tracking server no longer had the run",
                ledger.redelivered
            );
            state.log.note(Warning::new(WarningCode::Redelivered, again));
        }
    }
    let of_lineage = state.context.lineage.as_ref().map(Lineage::accounts).unwrap_or_default();
    of_lineage.iter().for_each(|account| say_what_waits(state, account));
    // Counted after the flush, when nothing is on its way any more: the sums add up only then.
    let delivery = Delivery {
        tracker: tracker_ledger,
        signals: signals.accounts().into_iter().chain(of_lineage).collect(),
    };
    let ending = Ending { ended_at, delivery };
    // Behind the flush, because the manifest has the counts of what was delivered.
    let report = write_files(state, &ending);
    report_of(state, &ending, report)
}

fn report_of(state: &RunState, ending: &Ending, report: Option<ReportPaths>) -> FinishReport {
    let queries_without_node = state.log.records().queries_without_node;
    FinishReport {
        run_id: state.context.run_id,
        dag_name: state.context.dag.name().to_string(),
        status: status(state, Some(ending)),
        error: error_report(state),
        duration_ms: milliseconds(ending.ended_at - state.context.started_at),
        own_time: state.own_time.total(),
        nodes: node_records(state, Some(ending)),
        bundle: state.context.bundle.as_ref().map(|bundle| bundle.dir().to_owned()),
        report,
        links: links(state),
        queries_without_node,
        ledger: ending.delivery.clone(),
        tracking: tracking(state),
        warnings: state.log.warnings(),
        tags: state.tags(),
        cause: state.interruption.get().map(|interruption| interruption.cause.clone()),
        lacks_plans: state.plans.has_failed.load(Ordering::Relaxed),
    }
}

/// What is known of a run whose end takes too long to wait for.
#[expect(clippy::disallowed_methods, reason = "a run has the time at which it ends")]
pub(crate) fn report_so_far(state: &RunState) -> FinishReport {
    report_of(state, &ending_so_far(state, clock::utc_now()), None)
}

/// Says in the manifest that a signal ends the run, before anything that may take time. The end of the run says more, and
/// nothing where it has said so already.
#[expect(clippy::disallowed_methods, reason = "a run has the time at which it ends")]
pub(crate) fn record_interruption(state: &RunState) {
    let mut is_recorded = state.end_is_recorded();
    if !*is_recorded && state.log.records().is_interrupted() {
        // On a full disk the last manifest has space of its own, and the end of the run warns.
        *is_recorded =
            put_manifest(state, Some(&ending_so_far(state, clock::utc_now())), FileEntry::list).is_ok();
    }
}

fn ending_so_far(state: &RunState, ended_at: DateTime<Utc>) -> Ending {
    let tracker = state.context.tracker.as_ref().map(|tracker| shown(state, tracker.ledger()));
    Ending { ended_at, delivery: Delivery { tracker, ..Delivery::default() } }
}

/// The nodes; those that a signal has interrupted are that, though their code may not have given way.
fn node_records(state: &RunState, ending: Option<&Ending>) -> Vec<NodeRecord> {
    let mut records = state.log.node_records(&state.context.dag);
    if let Some(interruption) = state.interruption.get().filter(|_| ending.is_some()) {
        for node in state.open_nodes() {
            let is_open = |record: &&mut NodeRecord| {
                record.name == node.name() && record.status == NodeStatus::Unfinished
            };
            if let Some(record) = records.iter_mut().find(is_open) {
                record.status = NodeStatus::Interrupted;
                record.duration_ms = Some(node.interrupted_after().as_secs_f64() * 1e3);
                record.error = Some(interruption.of_node(&node));
            }
        }
    }
    records
}

/// Before the signals are flushed: the operators of the last queries have spans.
fn end_plans(state: &RunState) {
    match state.plans.stop(PLANS_LIMIT) {
        Some(0) => {}
        Some(left_out) => {
            let (events, were) = if left_out == 1 { ("event", "was") } else { ("events", "were") };
            state.log.warn(
                WarningCode::PlansDropped,
                format!(
                    "{left_out} query {events} {were} dropped from the plan files because writing could not keep up"
                ),
            );
        }
        None => state.log.bundle_failed(Warning::new(
            WarningCode::PlansNotWritten,
            format!(
                "some plans of queries are not in the bundle: they were not written within {} s",
                PLANS_LIMIT.as_secs()
            ),
        )),
    }
}

/// Queries that were seen, and that nothing says which of several runs they belong to.
fn say_what_has_no_run(state: &RunState) {
    let queries = state.log.records().queries_without_run;
    if queries > 0 {
        let queries = if queries == 1 { "1 query".to_owned() } else { format!("{queries} queries") };
        state.log.warn(
            WarningCode::QueriesUnassigned,
            format!(
                "{queries} ran while several runs were open and could not be assigned to one: \
                 start such queries with node.spawn, or in node.context() or run.context()"
            ),
        );
    }
}

/// What the receiver of OpenLineage does not have.
fn say_what_waits(state: &RunState, account: &SignalLedger) {
    let (Some(bundle), LedgerDestination::OpenLineage) = (&state.context.bundle, &account.destination) else {
        return;
    };
    let counts = &account.ledger;
    if counts.waiting > 0 {
        let warning = format!(
            "{} of {} lineage events wait in the bundle: {}. To deliver them later: {}",
            counts.waiting,
            counts.produced,
            counts.last_error.as_deref().unwrap_or("the receiver of OpenLineage did not answer in time"),
            command("sync", bundle.dir())
        );
        state.log.warn(WarningCode::LineageUndelivered, warning);
    }
    if counts.dropped_total() > 0 {
        let lost = format!(
            "{} of {} lineage events were lost: {}",
            counts.dropped_total(),
            counts.produced,
            counts.dropped_reasons()
        );
        state.log.warn(WarningCode::LineageEventsLost, lost);
    }
}

fn say_how_it_ended(state: &RunState) {
    let failure = state.log.records().failure().cloned();
    let _guard = state.context.root.context.clone().attach();
    match failure {
        None => log!(INFO, "run succeeded", run_id = field(state.context.run_id)),
        Some(reason) => {
            state.context.root.fail("RunFailed", &reason);
            log!(ERROR, "run failed", run_id = field(state.context.run_id), reason = field(&reason));
        }
    }
}

/// Manifest, artifacts and report. The manifest comes before the report, which reads it, and again after it, to list
/// the report's files.
fn write_files(state: &RunState, ending: &Ending) -> Option<ReportPaths> {
    let bundle = state.context.bundle.as_ref()?;
    let reporting = state.own_time.measure(Own::Report);
    // On a full disk there is space for the manifest now, and perhaps for nothing else.
    drop(state.reserve().take());
    write_manifest(state, Some(ending));
    let artifacts = state.log.records().artifacts.clone();
    if !artifacts.is_empty()
        && let Err(error) = ArtifactCatalog::new(artifacts).write(bundle)
    {
        state.log.bundle_error(&error);
    }
    let options = ReportOptions::default().thresholds(state.context.telemetry.settings().findings.clone());
    let not_written = |error: &(dyn Error + 'static)| {
        let warning = Warning::of_error(WarningCode::ReportNotWritten, error);
        Warning { message: format!("no report: {}", warning.message), ..warning }
    };
    let written = Report::made(bundle, &options, |_| ())
        .map_err(|error| not_written(&error))
        .and_then(|report| report.write(bundle).map_err(|error| not_written(&error)));
    match written {
        Ok(()) => {
            drop(reporting);
            write_last_manifest(state, ending);
            Some(ReportPaths {
                json: bundle.report_json(),
                markdown: bundle.report_markdown(),
                html: bundle.report_html(),
            })
        }
        Err(error) => {
            state.log.bundle_failed(error);
            drop(reporting);
            write_last_manifest(state, ending);
            None
        }
    }
}

/// Writes the manifest of a run that goes on, or of one that has ended.
pub(crate) fn write_manifest(state: &RunState, ending: Option<&Ending>) {
    if let Err(error) = replace_manifest(state, ending, FileEntry::list) {
        state.log.bundle_error(&error);
    }
}

/// Writes the last manifest of a run. Those before it have no hashes of files, which take long and would be of files that grow.
fn write_last_manifest(state: &RunState, ending: &Ending) {
    if let Err(error) = replace_manifest(state, Some(ending), FileEntry::list_with_hashes) {
        state.log.bundle_error(&error);
    }
}

/// How a manifest lists the files of its bundle.
type ListFiles = fn(&Bundle) -> Vec<FileEntry>;

fn replace_manifest(state: &RunState, ending: Option<&Ending>, files: ListFiles) -> Result<(), WriteError> {
    // The guard is held while the manifest is written: a second signal waits for it, and must not end the process
    // between the old manifest and the new one.
    let mut end_is_recorded = state.end_is_recorded();
    put_manifest(state, ending, files)?;
    // Only where it was written: a second signal waits for this before it ends the process.
    *end_is_recorded = ending.is_some();
    Ok(())
}

fn put_manifest(state: &RunState, ending: Option<&Ending>, files: ListFiles) -> Result<(), WriteError> {
    let Some(bundle) = &state.context.bundle else { return Ok(()) };
    let link = state.context.tracker.as_ref().and_then(|tracker| tracker.link());
    let records = state.log.records();
    let (warnings, error) = (records.warnings.clone(), records.failure().map(Captured::to_text));
    drop(records);
    let manifest = Manifest {
        format: MANIFEST_FORMAT.to_owned(),
        format_version: MANIFEST_VERSION,
        daglight_version: env!("CARGO_PKG_VERSION").to_owned(),
        identity: Identity {
            run_id: state.context.run_id,
            dag_name: state.context.dag.name().to_string(),
            dag_hash: state.context.dag.dag_hash().to_owned(),
            code_hash: state.context.dag.code_hash().to_owned(),
            trace_id: Some(state.context.root.trace_id.clone()),
            root_span_id: Some(state.context.root.span_id.clone()),
            execution_run_id: link.as_ref().map(|link| link.dag_run_id.to_string()),
            project_id: link.as_ref().map(|link| link.project_id.to_string()),
            tags: state.tags(),
        },
        namespace: state.context.telemetry.settings().otel.namespace.clone(),
        profile: state.context.telemetry.settings().profile.to_string(),
        policy: serde_json::to_value(state.context.policy.rules()).unwrap_or_default(),
        status: status(state, ending),
        started_at: state.context.started_at,
        ended_at: ending.map(|ending| ending.ended_at),
        interrupted_at: state
            .interruption
            .get()
            .map(|interruption| state.context.started_at + interruption.after),
        process_ended_at: None,
        error,
        nodes: node_records(state, ending),
        files: files(bundle),
        delivery: ending.map(|ending| ending.delivery.clone()).unwrap_or_default(),
        tracking: tracking(state),
        warnings,
        links: {
            let links = links(state);
            Links { hamilton_run: links.hamilton_run, trace: links.trace }
        },
        own_time: ending.map(|_| state.own_time.total()),
    };
    // Over what is there and not in its place: `sync` may deliver the same run from another process at this moment,
    // and its progress must not be lost.
    manifest.write_over(bundle, take_over)
}

/// A synchronisation that delivers the rest of a run while it ends has the newer counts.
fn take_over(own: &mut Manifest, there: Manifest) {
    let is_newer = |there: &DeliveryCounts, own: &DeliveryCounts| {
        there.delivered + there.redelivered > own.delivered + own.redelivered
    };
    if let Some(own_account) = &mut own.delivery.tracker
        && let Some(account) = there.delivery.tracker
        && is_newer(&account, own_account)
    {
        *own_account = account;
        own.identity.execution_run_id =
            there.identity.execution_run_id.or(own.identity.execution_run_id.take());
        own.identity.project_id = there.identity.project_id.or(own.identity.project_id.take());
        own.links.hamilton_run = there.links.hamilton_run.or(own.links.hamilton_run.take());
    }
}

fn status(state: &RunState, ending: Option<&Ending>) -> RunStatus {
    match ending {
        None => RunStatus::Running,
        // In front of a failure: the nodes that were cut off fail as well, and their errors are the consequence of the
        // signal.
        Some(_) if state.log.records().is_interrupted() => RunStatus::Interrupted,
        Some(_) if state.log.records().failure().is_some() => RunStatus::Failure,
        Some(_) => RunStatus::Success,
    }
}

/// Whether there is, or should be, a server that gets the run.
fn tracking(state: &RunState) -> Tracking {
    match (&state.context.tracker, state.context.telemetry.has_server()) {
        (None, _) => Tracking::Off,
        (Some(_), false) => Tracking::NoServer,
        (Some(_), true) => Tracking::Server,
    }
}

fn error_report(state: &RunState) -> Option<ErrorReport> {
    let records = state.log.records();
    let (message, part) = (records.failure()?.to_text(), records.failed_part()?.clone());
    drop(records);
    let interruption = state.interruption.get().filter(|_| part == FailedPart::Interrupted);
    let node = match &part {
        FailedPart::Node(name) => Some(name.clone()),
        FailedPart::Interrupted => interruption.and_then(|interruption| interruption.node.clone()),
        FailedPart::Stage(_) | FailedPart::Run => None,
    };
    let code = node.as_ref().and_then(|node| state.context.dag.node(node)?.code.clone());
    let of_node = code.map(|code| StatementPlace {
        file: shown_location(&code.path, &state.context.policy),
        line: code.first_line,
    });
    let place = of_node.or_else(|| interruption?.statement.clone());
    let (file, line) = place.map(|place| (place.file, place.line)).unzip();
    Some(ErrorReport { message, node, file: file.flatten(), line, column: None })
}

fn links(state: &RunState) -> RunLinks {
    let link = state.context.tracker.as_ref().and_then(|tracker| tracker.link());
    RunLinks {
        hamilton_run: link.as_ref().map(|link| link.run_url.clone()),
        hamilton_version: link.map(|link| link.version_url),
        trace: state.tags().remove("trace_url"),
    }
}

/// The counts as the bundle and the report show them: an error of a server may hold what the policy hides.
fn shown(state: &RunState, ledger: DeliveryCounts) -> DeliveryCounts {
    let last_error = ledger.last_error.as_deref().map(|error| state.context.policy.redactor().text(error));
    DeliveryCounts { last_error, ..ledger }
}

pub(crate) fn milliseconds(duration: chrono::TimeDelta) -> f64 {
    // From whole microseconds: `as_seconds_f64` times a thousand shows 9 µs as 0.009000000000000001 ms in the JSON.
    duration.num_microseconds().map_or(f64::MAX, |microseconds| microseconds as f64 / 1e3)
}
