//! What one run may decide for itself.

use std::{collections::BTreeMap, path::PathBuf};

use daglight_run_bundle::Retry;
use serde_json::Value;

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
    /// Custom tags, besides those that every run has.
    pub tags: BTreeMap<String, String>,
    /// What the run is given, such as parameters, by name. The page of the run shows them as *Run Parameters*, as far as
    /// the policy shows inputs.
    pub inputs: BTreeMap<String, Value>,
    /// The folder whose git repository the run is said to come from. Default: the working directory.
    pub source_dir: Option<PathBuf>,
    /// The earlier run that it retries, and what had been done before. Default: it retries none.
    pub retry: Option<Retry>,
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

    /// Adds something that the run is given, such as a parameter.
    #[must_use]
    pub fn input(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.inputs.insert(name.into(), value.into());
        self
    }

    /// Adds what the run is given.
    #[must_use]
    pub fn inputs<N: Into<String>, V: Into<Value>>(
        mut self,
        inputs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.inputs.extend(inputs.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Sets the folder whose git repository the run is said to come from.
    #[must_use]
    pub fn source_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.source_dir = Some(dir.into());
        self
    }

    /// Sets the earlier run that it retries, and what had been done before. The manifest has both.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }
}
