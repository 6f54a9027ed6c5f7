//! What the log says of queries that make no progress.

use daglight_bundle_report::display::elapsed;
use daglight_capture_policy::{Captured, Policy};
use daglight_heartbeat::Beat;
use daglight_run_bundle::Stall;

use crate::log::{Field, field, stall_event};

/// Says which stalls began and which ended with a beat.
pub(crate) fn announce(beat: &Beat, policy: &Policy) {
    let for_how_long = |stall: &Stall| elapsed((beat.at - stall.since).to_std().unwrap_or_default());
    for stall in &beat.stall_changes.began {
        let Fields { query_id, node, operator } = Fields::of(stall, policy);
        let since = field(policy.capture(stall.since.to_rfc3339()));
        let text = policy.capture(format!("no progress for {}: {}", for_how_long(stall), describe(stall)));
        stall_event!(
            target: "daglight",
            WARN,
            text,
            stall.query_id = query_id,
            stall.node = node,
            stall.operator = operator,
            stall.since = since,
        );
    }
    for stall in &beat.stall_changes.ended {
        let Fields { query_id, node, operator } = Fields::of(stall, policy);
        let seconds = field((beat.at - stall.since).as_seconds_f64());
        let text =
            policy.capture(format!("progress again after {}: {}", for_how_long(stall), describe(stall)));
        stall_event!(
            target: crate::NOTE_TARGET,
            INFO,
            text,
            stall.query_id = query_id,
            stall.node = node,
            stall.operator = operator,
            stall.seconds = seconds,
        );
    }
}

/// Which node or query it is, and where.
fn describe(stall: &Stall) -> String {
    let what = match &stall.node {
        Some(node) => format!("node {node}"),
        None => format!("query {}", stall.query_id),
    };
    match &stall.operator {
        Some(operator) => format!("{what}, operator {operator}"),
        None => what,
    }
}

/// The same for programs.
struct Fields {
    query_id: Field,
    node: Field,
    operator: Field,
}

impl Fields {
    fn of(stall: &Stall, policy: &Policy) -> Self {
        let shown = |text: Option<&str>| -> Captured { policy.capture(text.unwrap_or("-")) };
        Self {
            query_id: field(shown(Some(&stall.query_id))),
            node: field(shown(stall.node.as_deref())),
            operator: field(shown(stall.operator.as_deref())),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn a_stall_is_named_by_its_node_or_query_and_its_operator() {
        let check = |node: Option<&str>, operator: Option<&str>, expected: &str| {
            let stall = Stall {
                query_id: "q7".to_owned(),
                node: node.map(str::to_owned),
                operator: operator.map(str::to_owned),
                detail: None,
                since: DateTime::UNIX_EPOCH,
            };
            assert_eq!(describe(&stall), expected);
        };
        check(Some("orders"), Some("SortExec"), "node orders, operator SortExec");
        check(None, None, "query q7");
    }
}
