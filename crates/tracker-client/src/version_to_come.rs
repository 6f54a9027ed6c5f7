//! The version of an observed run, which is known when the run has ended.

use std::{collections::VecDeque, path::Path};

use daglight_run_bundle::outbox::{Event, OutboxError, OutboxReader, Read, SeenDag, Version};
use serde_json::Value;

/// Reads ahead in an outbox, for the pipeline alone. Holds that and one line.
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

    /// The version, once the run has ended. It goes on where the call before has stopped, because the outbox of a run that
    /// goes on is asked again and again. `unwritten` comes behind the file.
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
