//! What is done about a stall where `heartbeat.on_stall` is `cancel`: first its query is ended, then the code of its node, and
//! where neither gives way, the run and the process.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use daglight_heartbeat::Beat;
use daglight_run_bundle::Stall;
use daglight_settings::OnStall;

use crate::{
    interruption::StopCause, node_stop::Stalled, open_node::OpenNode, run_state::RunState, signals,
    stalls::in_full,
};

/// How long a query, and then the code of a node, has to give way.
const GRACE: Duration = Duration::from_secs(2);
/// How often that is looked for.
const INTERVAL: Duration = Duration::from_millis(10);

/// Deals with the stalls that are certain: those that the beat before had, too.
pub(crate) fn act(run: &Arc<RunState>, beat: &Beat) {
    if run.context.settings().heartbeat.on_stall != OnStall::Cancel {
        return;
    }
    let began = &beat.stall_changes.began;
    for stall in beat.stalls.iter().filter(|stall| !began.contains(stall)) {
        if !run.core.stalls.take_on(stall) {
            continue;
        }
        let stalled = Stalled { class: stall.class, reason: in_full(beat, stall) };
        let (of_thread, stall) = (Arc::clone(run), stall.clone());
        let act = move || cancel(&of_thread, &stall, &stalled);
        // Beside the heart, which goes on to beat. Where no thread can be made there is nothing that could wait.
        let _ = thread::Builder::new().name("daglight-stall".into()).spawn(act);
    }
}

fn cancel(run: &Arc<RunState>, stall: &Stall, stalled: &Stalled) {
    let node = stall.node.as_deref().and_then(|name| open_node(run, name));
    let node_has_ended = || node.as_ref().is_some_and(|node| !node.is_open());
    if let Some(node) = &node {
        node.scope().stop.stalls(stalled.clone());
    }
    if let Ok(query) = stall.query_id.parse() {
        run.context.shared.live.cancel(query, &stalled.reason);
        // The code of the node goes on as it likes where it deals with the error.
        if within_grace(|| run.core.queries.owners.node_of(query).is_none() || node_has_ended()) {
            return;
        }
    }
    // What cannot unwind cannot give up the code of a node.
    if let Some(node) = node.as_ref().filter(|_| cfg!(panic = "unwind")) {
        node.scope().stop.order();
        if within_grace(node_has_ended) {
            return;
        }
    }
    if !run.is_ending() {
        signals::end_for_stall(run, StopCause::Stall { reason: stalled.reason.clone() });
    }
}

fn open_node(run: &RunState, name: &str) -> Option<Arc<OpenNode>> {
    run.nodes.list().into_iter().find(|node| node.name() == name)
}

fn within_grace(is_over: impl Fn() -> bool) -> bool {
    let asked = Instant::now();
    while !is_over() {
        if asked.elapsed() >= GRACE {
            return false;
        }
        thread::sleep(INTERVAL);
    }
    true
}
