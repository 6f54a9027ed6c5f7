//! Ending a run exactly once, even if several callers ask for it.

use std::sync::Arc;

use crate::{
    finish::finish, finish_facts::report_so_far, finish_report::FinishReport, run_state::RunState,
    signal_registry,
};

impl RunState {
    /// Ends the run, once: whoever comes later waits for that, and gets the same report. It blocks, in bounded time.
    pub(crate) fn end(self: &Arc<Self>) -> FinishReport {
        if self.ending.progress.is_ended_here() && self.ending.report.get().is_none() {
            // The program's subscriber or span processor, which the end calls, asks for the end: it would wait for itself.
            return report_so_far(self);
        }
        self.ending.progress.begin();
        let _under_way = self.context.shared.ends.under_way();
        // The end may be asked for by the program, by a signal and by the drop of the last handle, at once.
        let ended = self.ending.report.get_or_init(|| {
            self.ending.progress.ends_here();
            let report = finish(self);
            // Behind the end and not before it: a signal that comes meanwhile shortens the wait for servers.
            signal_registry::ended(self);
            self.context.shared.run_ended();
            report
        });
        ended.clone()
    }

    /// As [`RunState::end`] while the run's work still computes, and will not be heard of again.
    pub(crate) fn end_beside_its_work(self: &Arc<Self>) -> FinishReport {
        self.ending.progress.begin_beside_the_work();
        self.end()
    }
}
