//! What a run appends to its bundle while it goes on, so that it is known of one that is killed.

use daglight_run_bundle::RunProgress;

use crate::run_core::RunCore;

impl RunCore {
    /// Notes how far the run has come. Without a warning where it cannot be written: the end of the run says the same.
    pub(crate) fn note_progress(&self, progress: RunProgress) {
        if let Some(bundle) = &self.context.bundle
            && !self.has_ended()
        {
            let _ = RunProgress::append(bundle, &[progress]);
        }
    }

    /// Notes how far a node has come.
    pub(crate) fn note_node(&self, name: &str) {
        let record = self.log.records().nodes.get(name).cloned();
        if let Some(record) = record {
            self.note_progress(RunProgress::Node(record));
        }
    }
}
