//! The rows of queries in formats for programs, on standard output.

use std::{
    io::{self, Write},
    sync::{Mutex, MutexGuard, PoisonError},
};

use datafusion::arrow::{
    array::RecordBatch,
    csv::{Writer as CsvWriter, WriterBuilder},
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
    json::{ArrayWriter, LineDelimitedWriter},
};

use crate::{args::RowFormat, say};

/// Writes the rows of one query after the other. What the values are is not changed, unless standard output is a terminal.
pub(crate) struct RowWriter {
    format: RowFormat,
    query: Mutex<Option<Query>>,
}

/// A query whose rows are being written.
enum Query {
    Csv(Box<CsvWriter<RowOutput>>),
    Json(ArrayWriter<RowOutput>),
    Ndjson(LineDelimitedWriter<RowOutput>),
}

/// Standard output for data.
struct RowOutput;

impl Write for RowOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        say::data(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl RowWriter {
    pub(crate) fn new(format: RowFormat) -> Self {
        Self { format, query: Mutex::default() }
    }

    pub(crate) fn start(&self, schema: &SchemaRef) {
        let mut query = match self.format {
            RowFormat::Table => return,
            RowFormat::Csv => Query::Csv(Box::new(WriterBuilder::new().with_header(true).build(RowOutput))),
            RowFormat::Json => Query::Json(ArrayWriter::new(RowOutput)),
            RowFormat::Ndjson => Query::Ndjson(LineDelimitedWriter::new(RowOutput)),
        };
        // A query without rows has names all the same.
        if let Query::Csv(_) = query {
            let schema = Schema::clone(schema);
            say_what_failed(query.write(&RecordBatch::new_empty(schema.into())));
        }
        *self.query() = Some(query);
    }

    pub(crate) fn batch(&self, batch: &RecordBatch) {
        if let Some(query) = self.query().as_mut() {
            say_what_failed(query.write(batch));
        }
    }

    pub(crate) fn end(&self) {
        if let Some(mut query) = self.query().take() {
            say_what_failed(query.finish());
        }
    }

    fn query(&self) -> MutexGuard<'_, Option<Query>> {
        self.query.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Query {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        match self {
            Self::Csv(writer) => writer.write(batch),
            Self::Json(writer) => writer.write(batch),
            Self::Ndjson(writer) => writer.write(batch),
        }
    }

    fn finish(&mut self) -> Result<(), ArrowError> {
        match self {
            Self::Csv(_) => Ok(()),
            Self::Json(writer) => {
                writer.finish()?;
                say::data(b"\n");
                Ok(())
            }
            Self::Ndjson(writer) => writer.finish(),
        }
    }
}

/// A type that a format cannot hold, such as a list in CSV. The run is not failed by how its rows are shown.
fn say_what_failed(written: Result<(), ArrowError>) {
    if let Err(error) = written {
        say::incomplete(&say::shown_of_engine(&error.to_string()));
    }
}
