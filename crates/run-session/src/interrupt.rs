//! Marking a run as interrupted.

use std::sync::Arc;

use daglight_bundle_report::display::elapsed;

use crate::{
    interruption::{Interruption, StopCause},
    open_node::OpenNode,
    run_log::FailedPart,
    run_state::RunState,
};

impl RunState {
    /// Whether the run has come to its end.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.progress.has_begun()
    }

    /// The end of the run does not wait for servers any longer.
    pub(crate) fn flush_now(&self) {
        self.ending.progress.flush_now();
    }

    /// Marks the run as interrupted, and says so as its reason, unless it has failed already. The first cause counts: false
    /// where there was one, or the run has come to its end, whose status stays what it was.
    pub(crate) fn interrupt(&self, cause: StopCause) -> bool {
        let after = self.context.started.elapsed();
        let (nodes, statements) = (self.nodes.list(), self.statements.list());
        // A statement outside of nodes is named only where no node ran: an error about one of each would name two
        // places for one interruption.
        let statement = statements.first().filter(|_| nodes.is_empty());
        let statement = statement.and_then(|statement| statement.place.clone());
        let node = nodes.first().map(|node| node.name().to_owned());
        let why = match &cause {
            StopCause::Signal(_) => String::new(),
            StopCause::Stall { reason } => format!(": {reason}"),
        };
        let by = cause.to_string();
        let of_node =
            |node: &Arc<OpenNode>| format!("{} ran ({})", node.name(), elapsed(node.interrupted_after()));
        let running: Vec<String> = nodes
            .iter()
            .map(of_node)
            .chain(statements.iter().map(|statement| statement.describe()))
            .collect();
        let doing = match running.is_empty() {
            true => "while no node ran".to_owned(),
            false => format!("while {}", running.join(" and ")),
        };
        let in_words = elapsed(after);
        let reason =
            self.context.policy.capture(format!("interrupted by {by} after {in_words}, {doing}{why}"));
        let interruption = Interruption { cause, after, node, statement };
        // In one step, so that no end begins in between: what it has told the server would be another status than the
        // bundle's. The nodes are listed before this: once it is set, they end as interrupted, and are no longer open.
        self.ending.progress.unless_begun(|| {
            let is_first = self.core.interruption.set(interruption).is_ok();
            if is_first {
                self.log.fail(FailedPart::Interrupted, reason);
            }
            is_first
        }) == Some(true)
    }
}
