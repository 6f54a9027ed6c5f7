//! The rows of queries in formats for programs, on standard output.

use std::{
    io::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use datafusion::arrow::{
    array::{Array as _, RecordBatch, RecordBatchOptions, StringArray},
    csv::{Writer as CsvWriter, WriterBuilder},
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
    json::{
        Writer as JsonWriter, WriterBuilder as JsonWriterBuilder,
        writer::{JsonArray, LineDelimited},
    },
    util::display::{ArrayFormatter, FormatOptions},
};

use crate::{
    args::RowFormat,
    double_names::double_names,
    map_keys::with_text_keys,
    say::{self, note},
};

/// Writes the rows of one query after the other. Values are unchanged, unless standard output is a terminal.
pub(crate) struct RowWriter {
    format: RowFormat,
    query: Mutex<Option<Query>>,
}

/// A query whose rows are being written.
enum Query {
    Csv(Box<CsvWriter<RowOutput>>),
    Json(JsonWriter<RowOutput, JsonArray>),
    Ndjson(JsonWriter<RowOutput, LineDelimited>),
}

type RowOutput = Box<dyn Write + Send>;

impl RowWriter {
    pub(crate) fn new(format: RowFormat) -> Self {
        Self { format, query: Mutex::default() }
    }

    pub(crate) fn start(&self, schema: &SchemaRef) {
        let mut query = match self.format {
            RowFormat::Table => return,
            // Empty lines would be useless.
            RowFormat::Csv if schema.fields().is_empty() => return,
            RowFormat::Csv => {
                Query::Csv(Box::new(WriterBuilder::new().with_header(true).build(say::rows_output(false))))
            }
            RowFormat::Json => Query::Json(json_options().build(say::rows_output(true))),
            RowFormat::Ndjson => Query::Ndjson(json_options().build(say::rows_output(true))),
        };
        if !matches!(query, Query::Csv(_)) {
            for name in double_names(schema.fields()) {
                let name = say::shown(&name);
                note!(
                    "warning: {name:?} is there twice: most readers of JSON keep only the last of two values of one name"
                );
            }
        }
        // A query without rows still has column names.
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
        let query = self.query().take();
        if let Some(query) = query {
            say_what_failed(query.finish());
        }
    }

    fn query(&self) -> MutexGuard<'_, Option<Query>> {
        self.query.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every object has every name, even if the value is null.
fn json_options() -> JsonWriterBuilder {
    JsonWriterBuilder::new().with_explicit_nulls(true)
}

impl Query {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        match self {
            Self::Csv(writer) => writer.write(&with_flat_columns(batch)?),
            Self::Json(writer) => writer.write(&with_text_keys(batch)?),
            Self::Ndjson(writer) => writer.write(&with_text_keys(batch)?),
        }
    }

    fn finish(self) -> Result<(), ArrowError> {
        match self {
            Self::Csv(_) => Ok(()),
            Self::Json(mut writer) => {
                writer.finish()?;
                // The array ends without a line feed, and the next query would continue on its line.
                writer.into_inner().write_all(b"\n")?;
                Ok(())
            }
            Self::Ndjson(mut writer) => writer.finish(),
        }
    }
}

/// The batch with lists, structs and maps converted to text as in tables: CSV has no nested values.
fn with_flat_columns(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if !field.data_type().is_nested() {
            fields.push(Arc::clone(field));
            columns.push(Arc::clone(column));
            continue;
        }
        let formatter = ArrayFormatter::try_new(column, &FormatOptions::default())?;
        let texts = (0..column.len())
            .map(|row| column.is_valid(row).then(|| formatter.value(row).try_to_string()).transpose());
        let texts: StringArray = texts.collect::<Result<_, _>>()?;
        fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
        columns.push(Arc::new(texts));
    }
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &rows)
}

/// Reports a value that a format cannot represent. The run does not fail because of how its rows are shown.
fn say_what_failed(written: Result<(), ArrowError>) {
    if let Err(error) = written {
        say::incomplete(&say::shown_of_engine(&error.to_string()));
    }
}
