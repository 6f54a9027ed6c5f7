//! What is known of a run when it ends, and the report that is made of it.

use chrono::{DateTime, Utc};
use daglight_run_bundle::{
    Delivery, DeliveryCounts, NodeRecord, NodeStatus, RunStatus, Tracking, clock, milliseconds,
};

use crate::{
    error_report::ErrorReport,
    finish_report::{FinishReport, ReportPaths, RunLinks},
    location::{StatementPlace, shown_location},
    run_log::FailedPart,
    run_state::RunState,
};

/// What is known only at the end of a run.
pub(crate) struct EndFacts {
    pub(crate) ended_at: DateTime<Utc>,
    pub(crate) delivery: Delivery,
}

pub(crate) fn report_of(state: &RunState, ending: &EndFacts, report: Option<ReportPaths>) -> FinishReport {
    let queries_without_node = state.log.records().queries_without_node;
    let bundle = state.context.bundle.as_ref().filter(|_| !state.log.has_lost_bundle());
    FinishReport {
        run_id: state.context.run_id,
        dag_name: state.context.dag.name().to_string(),
        status: status(state, Some(ending)),
        error: error_report(state),
        duration_ms: milliseconds::between(state.context.started_at, ending.ended_at),
        own_time: state.own_time.total(),
        nodes: node_records(state, Some(ending)),
        bundle: bundle.map(|bundle| bundle.dir().to_owned()),
        report,
        links: links(state),
        queries_without_node,
        ledger: ending.delivery.clone(),
        tracking: tracking(state),
        warnings: state.log.warnings(),
        tags: state.tags(),
        cause: state.core.interruption.get().map(|interruption| interruption.cause.clone()),
        not_written: state.log.records().not_written.clone(),
    }
}

/// What is known of a run whose end takes too long to wait for.
#[expect(clippy::disallowed_methods, reason = "a run has the time at which it ends")]
pub(crate) fn report_so_far(state: &RunState) -> FinishReport {
    report_of(state, &ending_so_far(state, clock::utc_now()), None)
}

pub(crate) fn ending_so_far(state: &RunState, ended_at: DateTime<Utc>) -> EndFacts {
    let tracker = state.context.tracker.as_ref().map(|tracker| shown(state, tracker.ledger()));
    EndFacts { ended_at, delivery: Delivery { tracker, ..Delivery::default() } }
}

/// The nodes; those that a signal has interrupted are that, though their code may not have given way.
pub(crate) fn node_records(state: &RunState, ending: Option<&EndFacts>) -> Vec<NodeRecord> {
    let mut records = state.log.node_records(&state.context.dag.get());
    if let Some(interruption) = state.core.interruption.get().filter(|_| ending.is_some()) {
        for node in state.nodes.list() {
            let is_open = |record: &&mut NodeRecord| {
                record.name == node.name() && record.status == NodeStatus::Unfinished
            };
            if let Some(record) = records.iter_mut().find(is_open) {
                record.status = NodeStatus::Interrupted;
                record.duration_ms = Some(milliseconds::of(node.interrupted_after()));
                record.error = Some(interruption.of_node(node.interrupted_after()));
            }
        }
    }
    records
}

pub(crate) fn status(state: &RunState, ending: Option<&EndFacts>) -> RunStatus {
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
pub(crate) fn tracking(state: &RunState) -> Tracking {
    match (&state.context.tracker, state.context.shared.has_server()) {
        (None, _) => Tracking::Off,
        (Some(_), false) => Tracking::NoServer,
        (Some(_), true) => Tracking::Server,
    }
}

fn error_report(state: &RunState) -> Option<ErrorReport> {
    let records = state.log.records();
    let (message, part) = (records.failure()?.to_text(), records.failed_part()?.clone());
    drop(records);
    let interruption = state.core.interruption.get().filter(|_| part == FailedPart::Interrupted);
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

pub(crate) fn links(state: &RunState) -> RunLinks {
    let link = state.context.tracker.as_ref().and_then(|tracker| tracker.link());
    RunLinks {
        hamilton_run: link.as_ref().map(|link| link.run_url.clone()),
        hamilton_version: link.map(|link| link.version_url),
        trace: state.tags().remove("trace_url"),
    }
}

/// The counts as the bundle and the report show them: an error of a server may hold what the policy hides.
pub(crate) fn shown(state: &RunState, ledger: DeliveryCounts) -> DeliveryCounts {
    let last_error = ledger.last_error.as_deref().map(|error| state.context.policy.redactor().text(error));
    DeliveryCounts { last_error, ..ledger }
}
