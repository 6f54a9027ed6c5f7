//! The version of an observed run, which is complete when the run has ended.

use std::{collections::VecDeque, path::Path};

use daglight_run_bundle::outbox::{Event, OutboxError, OutboxReader, Read, SeenDag, Version};
use serde_json::Value;

/// Reads ahead in an outbox, only for the pipeline. Holds that and one line in memory.
#[derive(Debug)]
pub(crate) struct VersionToCome {
    reader: OutboxReader,
    seen: SeenDag,
}

impl VersionToCome {
    /// # Errors
    /// When the outbox cannot be read.
    pub(crate) fn open(path: &Path, dag_name: &str) -> Result<Self, OutboxError> {
        Ok(Self { reader: OutboxReader::open(path)?, seen: SeenDag::new(dag_name) })
    }

    /// The version, if the run has ended. Each call continues where the previous one stopped, because the outbox of a running run
    /// is read repeatedly. `unwritten` comes after the file.
    ///
    /// # Errors
    /// When the outbox cannot be read.
    pub(crate) fn read(
        &mut self,
        unwritten: &VecDeque<Event<Value>>,
    ) -> Result<Option<Version>, OutboxError> {
        loop {
            match self.reader.read()? {
                Read::Event { event, .. } => self.seen.take(&event),
                Read::Unreadable { .. } => {}
                Read::End { .. } => break,
            }
        }
        let mut seen = self.seen.clone();
        unwritten.iter().for_each(|event| seen.take(event));
        Ok(if seen.has_ended() { seen.version() } else { None })
    }
}
