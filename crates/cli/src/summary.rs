//! The last lines of a run on the terminal.

use std::time::Duration;

use daglight::{FinishReport, NodeStatus, RunStatus, Tracking, policy::printable};

use crate::{progress::brief, say::note};

/// What names a tracking server, a project on it and a user.
pub(crate) const SERVER_VARIABLES: &str = "HAMILTON_API_URL, HAMILTON_PROJECT_ID, HAMILTON_USERNAME";

/// Says how a run ended and where to look at it. Quiet, only where it failed.
pub(crate) fn print(report: &FinishReport, quiet: bool) {
    let failed = report.status != RunStatus::Success;
    if quiet && !failed {
        return;
    }
    note!("{}", headline(report));
    let bundle = report.bundle.as_ref().map(|path| path.display().to_string());
    let links = [
        ("hamilton", hamilton(report)),
        ("trace", report.links.trace.clone()),
        ("bundle", bundle.clone()),
        ("deliver", waits(report).then(|| format!("daglight sync {}", bundle.as_deref().unwrap_or("out")))),
        (
            "verify",
            is_unverified(report).then(|| format!("daglight sync {}", bundle.as_deref().unwrap_or("out"))),
        ),
        ("report", report.report.as_ref().map(|paths| paths.html.display().to_string())),
    ];
    for (what, place) in links {
        if let Some(place) = place {
            note!("  {what:<9} {}", printable(&place));
        }
    }
}

/// The page of the run, or how there can be one.
fn hamilton(report: &FinishReport) -> Option<String> {
    match report.tracking {
        Tracking::NoServer => Some(format!("not configured; to see runs there, set {SERVER_VARIABLES}")),
        _ => report.links.hamilton_run.clone(),
    }
}

fn waits(report: &FinishReport) -> bool {
    report.tracking == Tracking::Server
        && report.ledger.tracker.as_ref().is_some_and(|tracker| tracker.waiting > 0)
}

fn is_unverified(report: &FinishReport) -> bool {
    let tracker = report.ledger.tracker.as_ref();
    tracker.is_some_and(|tracker| tracker.waiting == 0 && tracker.unverified_until.is_some())
}

fn headline(report: &FinishReport) -> String {
    let count = |status| report.nodes.iter().filter(|node| node.status == status).count();
    let elapsed = brief(Duration::from_secs_f64(report.duration_ms.max(0.0) / 1e3));
    let name = &report.dag_name;
    match report.status {
        RunStatus::Success => {
            format!("{name} succeeded in {elapsed}, nodes: {} ok", count(NodeStatus::Success))
        }
        RunStatus::Interrupted => {
            let reason = report.error.as_ref().map_or("interrupted", |error| error.message.as_str());
            format!(
                "{name} {}, nodes: {} ok, {} interrupted, {} failed, {} not run",
                reason.replacen("interrupted", "INTERRUPTED", 1),
                count(NodeStatus::Success),
                count(NodeStatus::Interrupted) + count(NodeStatus::Unfinished),
                count(NodeStatus::Failure),
                count(NodeStatus::NotRun)
            )
        }
        _ => format!(
            "{name} FAILED after {elapsed}, nodes: {} ok, {} failed, {} not run",
            count(NodeStatus::Success),
            count(NodeStatus::Failure) + count(NodeStatus::Unfinished),
            count(NodeStatus::NotRun)
        ),
    }
}
