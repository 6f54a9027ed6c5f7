//! The files of a bundle that could not be read, or not all of them, as every user of a report lists them.

use crate::report::{Report, UnreadableFile};

impl Report {
    /// What is wrong with the files of the bundle, in the order in which they are read: first the signals, of which the lines that
    /// can be read are in the report, and then the files that are not in it at all. Each names its file and not the bundle.
    pub fn damages(&self) -> impl Iterator<Item = UnreadableFile> {
        let signals = self.files.iter().filter_map(|reading| {
            Some(UnreadableFile { file: reading.file.clone(), problem: reading.problem.clone()? })
        });
        signals.chain(self.unreadable.iter().cloned())
    }
}
