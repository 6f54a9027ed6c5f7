//! What one run may decide for itself.

use std::{collections::BTreeMap, path::PathBuf};

/// Options of a run; everything else comes from the settings.
///
/// ```
/// use daglight_run_session::RunOptions;
///
/// let options = RunOptions::new().tag("ticket", "A-1").source_dir("/srv/pipelines");
/// assert_eq!(options.tags["ticket"], "A-1");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunOptions {
    /// Tags of one's own, besides those that every run has.
    pub tags: BTreeMap<String, String>,
    /// The folder whose git repository the run is said to come from. Default: the working directory.
    pub source_dir: Option<PathBuf>,
}

impl RunOptions {
    /// The defaults: no tags, and the working directory's repository.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// Adds tags.
    #[must_use]
    pub fn tags<N: Into<String>, V: Into<String>>(mut self, tags: impl IntoIterator<Item = (N, V)>) -> Self {
        self.tags.extend(tags.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Sets the folder whose git repository the run is said to come from.
    #[must_use]
    pub fn source_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.source_dir = Some(dir.into());
        self
    }
}
