//! Converting rows to batches.

use std::path::Path;

use arrow::{
    array::RecordBatch,
    datatypes::SchemaRef,
    error::ArrowError,
    json::{ReaderBuilder, reader::Decoder},
};
use serde_json::{Map, Value};

use crate::damage::Damage;

/// The number of rows in a batch.
const BATCH_ROWS: usize = 4096;

/// The rows of a bundle cannot be converted to a table.
#[derive(Debug, thiserror::Error)]
#[error("the table {table} of {bundle} cannot be made")]
pub struct TableError {
    /// The table.
    pub table: &'static str,
    /// The folder of the bundle.
    pub bundle: String,
    source: ArrowError,
}

impl TableError {
    pub(crate) fn new(table: &'static str, bundle: &Path, source: ArrowError) -> Self {
        Self { table, bundle: bundle.display().to_string(), source }
    }
}

/// Takes rows as JSON, and passes batches of them to `take`, which returns whether it wants more.
pub(crate) struct RowSink<'t> {
    decoder: Decoder,
    waiting: Vec<Value>,
    /// The values of the columns that are the same for all rows of a bundle.
    of_all: Map<String, Value>,
    take: &'t mut dyn FnMut(RecordBatch) -> bool,
    wants_more: bool,
    failed: Option<ArrowError>,
    pub(crate) damages: Vec<Damage>,
}

impl<'t> RowSink<'t> {
    pub(crate) fn new(
        schema: SchemaRef,
        of_all: Map<String, Value>,
        take: &'t mut dyn FnMut(RecordBatch) -> bool,
    ) -> Result<Self, ArrowError> {
        // A row with a field that is not a column is a bug of ours, and must not be ignored silently.
        let decoder =
            ReaderBuilder::new(schema).with_batch_size(BATCH_ROWS).with_strict_mode(true).build_decoder()?;
        let damages = Vec::new();
        Ok(Self { decoder, waiting: Vec::new(), of_all, take, wants_more: true, failed: None, damages })
    }

    /// Whether more rows are wanted: the reader may have seen enough, or an error has ended the table.
    pub(crate) fn wants_more(&self) -> bool {
        self.wants_more
    }

    pub(crate) fn row(&mut self, row: Value) {
        let Value::Object(own) = row else { return };
        if !self.wants_more {
            return;
        }
        let mut row = self.of_all.clone();
        row.extend(own);
        self.waiting.push(Value::Object(row));
        if self.waiting.len() == BATCH_ROWS {
            self.pass_on();
        }
    }

    pub(crate) fn damaged(&mut self, file: &Path, problem: impl Into<String>) {
        self.damages.push(Damage { file: file.to_owned(), problem: problem.into() });
    }

    fn pass_on(&mut self) {
        let rows = std::mem::take(&mut self.waiting);
        let batch = self.decoder.serialize(&rows).and_then(|()| self.decoder.flush());
        match batch {
            Ok(Some(batch)) => self.wants_more = (self.take)(batch),
            Ok(None) => {}
            Err(error) => {
                self.failed = Some(error);
                self.wants_more = false;
            }
        }
    }

    pub(crate) fn end(mut self) -> Result<Vec<Damage>, ArrowError> {
        if self.wants_more && !self.waiting.is_empty() {
            self.pass_on();
        }
        match self.failed {
            None => Ok(self.damages),
            Some(error) => Err(error),
        }
    }
}
