//! What one run may decide for itself.

use std::{collections::BTreeMap, path::PathBuf};

/// Options of a run; everything else comes from the settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Tags of one's own, besides those that every run has.
    pub tags: BTreeMap<String, String>,
    /// The folder whose git repository the run is said to come from. Default: the working directory.
    pub source_dir: Option<PathBuf>,
}
