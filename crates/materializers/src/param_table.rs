//! Named sets of parameters as tables.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::RecordBatch,
    compute::concat_batches,
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};
use daglight_guarded_files::{Unfit, open_named, read_named};
use daglight_run_bundle::{Materialization, hexadecimal};
use daglight_settings::ParamTableSettings;
use datafusion::{
    arrow::json::{ArrayWriter, ReaderBuilder, reader::infer_json_schema_from_iterator},
    common::types::NativeType,
    datasource::MemTable,
    error::DataFusionError,
    prelude::{CsvReadOptions, JsonReadOptions, ParquetReadOptions, SessionContext},
};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::{
    output::register,
    registry::Registry,
    written::{Written, memory_bytes},
};

/// The maximum size of a file of parameters, 64 MiB: the rows are held in memory.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// How many rows of a set are shown as an input.
const ROWS_SHOWN: usize = 20;

/// A named set of parameters, given inline or in a CSV, JSON or Parquet file, that queries read as a table.
///
/// Its *signature* shows whether two sets have the same content: the first 16 hexadecimal characters of the SHA-256 over the
/// columns' names and types and all values in order. It does not depend on the source of the values.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamTable {
    name: String,
    description: Option<String>,
    source: Source,
}

#[derive(Debug, Clone, PartialEq)]
enum Source {
    Batch(RecordBatch),
    File { path: PathBuf, format: FileFormat },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileFormat {
    Csv,
    Json,
    Parquet,
}

/// Why a set of parameters cannot be a table.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParamTableError {
    /// Neither rows nor a file is given, or both.
    #[error("the parameter table {name:?} needs either `rows` or a `file`")]
    OneSource {
        /// The table.
        name: String,
    },
    /// A file with an unsupported extension.
    #[error("the parameter table {name:?} cannot be read from {}: write a .csv, .json, .ndjson or .parquet file", path.display())]
    Format {
        /// The table.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// A file that cannot be opened.
    #[error("the parameter table {name:?} cannot be read from {}", path.display())]
    File {
        /// The table.
        name: String,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Rows that cannot become a table.
    #[error("the rows of the parameter table {name:?} do not fit together")]
    Rows {
        /// The table.
        name: String,
        /// The cause.
        #[source]
        source: ArrowError,
    },
    /// A query that failed.
    #[error("the parameter table {name:?} cannot be registered")]
    Register {
        /// The table.
        name: String,
        /// The cause.
        #[source]
        source: DataFusionError,
    },
}

impl ParamTable {
    /// A set with these rows.
    pub fn of_batch(name: impl Into<String>, rows: RecordBatch) -> Self {
        Self { name: name.into(), description: None, source: Source::Batch(rows) }
    }

    /// A set with these rows, each with its values by column. The types are those of JSON.
    ///
    /// # Errors
    /// When there are no rows, or a column has values of different types.
    pub fn of_rows(name: impl Into<String>, rows: &[Map<String, Value>]) -> Result<Self, ParamTableError> {
        let name = name.into();
        Self::of_rows_in_order(name, rows, &[])
    }

    fn of_rows_in_order(
        name: String,
        rows: &[Map<String, Value>],
        columns: &[String],
    ) -> Result<Self, ParamTableError> {
        if rows.is_empty() {
            return Err(ParamTableError::OneSource { name });
        }
        match batch_of(rows, columns) {
            Ok(batch) => Ok(Self::of_batch(name, batch)),
            Err(source) => Err(ParamTableError::Rows { name, source }),
        }
    }

    /// The set in a `.csv` file with a header, a `.json` or `.ndjson` file, or a `.parquet` file.
    ///
    /// # Errors
    /// When the file has another extension.
    pub fn of_file(name: impl Into<String>, path: impl Into<PathBuf>) -> Result<Self, ParamTableError> {
        let (name, path) = (name.into(), path.into());
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        let format = match ending.as_deref() {
            Some("csv") => FileFormat::Csv,
            Some("json" | "ndjson" | "jsonl") => FileFormat::Json,
            Some("parquet") => FileFormat::Parquet,
            _ => return Err(ParamTableError::Format { name, path }),
        };
        Ok(Self { name, description: None, source: Source::File { path, format } })
    }

    /// The set in a configuration.
    ///
    /// # Errors
    /// Like the functions above, and when there are both rows and a file, or neither.
    pub fn of_settings(name: &str, settings: &ParamTableSettings) -> Result<Self, ParamTableError> {
        let table = match (&settings.file, settings.rows.as_slice()) {
            (Some(file), []) => Self::of_file(name, file),
            (None, rows @ [_, ..]) => Self::of_rows_in_order(name.to_owned(), rows, &settings.columns),
            // Both or neither.
            _ => Err(ParamTableError::OneSource { name: name.to_owned() }),
        }?;
        Ok(Self { description: settings.description.clone(), ..table })
    }

    /// Checks that its file can be opened, if it is given by one. The rows are read by [`ParamTable::register`].
    ///
    /// # Errors
    /// When the file does not exist, cannot be opened, or has more than 64 MiB.
    pub fn check_file(&self) -> Result<(), ParamTableError> {
        let Source::File { path, .. } = &self.source else { return Ok(()) };
        self.is_folder(path).map(drop)
    }

    /// Sets the description of the parameters.
    #[must_use]
    pub fn described(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// The name for queries.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The description of the parameters.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The set in the form in which it is shown as an input of a run: its first rows, one object each, or the name of its file.
    pub fn as_input(&self) -> Value {
        match &self.source {
            Source::Batch(rows) => {
                // An input is shown on one page, and a table may have a million rows.
                let first = rows.slice(0, rows.num_rows().min(ROWS_SHOWN));
                let mut writer = ArrayWriter::new(Vec::new());
                let written = writer.write(&first).and_then(|()| writer.finish());
                written
                    .ok()
                    .and_then(|()| serde_json::from_slice(&writer.into_inner()).ok())
                    .unwrap_or_else(|| format!("{} rows", rows.num_rows()).into())
            }
            Source::File { path, .. } => {
                // Folders differ between machines, and a different input makes a run look changed.
                path.file_name().map(|name| name.to_string_lossy().into_owned()).into()
            }
        }
    }

    /// The tags of its node in a DAG.
    pub fn tags(&self, registry: &Registry) -> BTreeMap<String, String> {
        registry.tags(&self.name, &Materialization::ParamTable)
    }

    /// Reads the rows into memory and registers them.
    ///
    /// # Errors
    /// When the file cannot be read, or the session rejects the table.
    pub async fn register(&self, session: &SessionContext) -> Result<Written, ParamTableError> {
        let failed = |source| ParamTableError::Register { name: self.name.clone(), source };
        let (rows, location) = match &self.source {
            Source::Batch(rows) => (rows.clone(), None),
            Source::File { path, format } => {
                let rows = self.read(session, path, *format).await?;
                (rows, Some(path.display().to_string()))
            }
        };
        let table = MemTable::try_new(rows.schema(), vec![vec![rows.clone()]]).map_err(failed)?;
        // In memory, so that all queries of a run read the same rows, whatever happens to the file.
        register(session, &self.name, Arc::new(table)).map_err(failed)?;
        Ok(Written {
            location,
            rows: Some(rows.num_rows() as u64),
            bytes: Some(memory_bytes([&rows])),
            signature: Some(signature(&rows).map_err(|error| failed(error.into()))?),
            ..Written::new(&self.name, Materialization::ParamTable, rows.schema())
        })
    }

    /// Whether it is a folder; an error if it is neither a folder nor a fitting file.
    fn is_folder(&self, path: &Path) -> Result<bool, ParamTableError> {
        // DataFusion treats a path to nothing as an empty folder.
        let is_folder = fs::metadata(path).map_err(|error| self.unreadable(path, error))?.is_dir();
        if !is_folder {
            check_file(path).map_err(|error| self.unreadable(path, error))?;
        }
        Ok(is_folder)
    }

    fn unreadable(&self, path: &Path, source: io::Error) -> ParamTableError {
        ParamTableError::File { name: self.name.clone(), path: path.to_owned(), source }
    }

    async fn read(
        &self,
        session: &SessionContext,
        path: &Path,
        format: FileFormat,
    ) -> Result<RecordBatch, ParamTableError> {
        let failed = |source| ParamTableError::Register { name: self.name.clone(), source };
        let is_folder = self.is_folder(path)?;
        let extension =
            path.extension().map(|ending| format!(".{}", ending.to_string_lossy())).unwrap_or_default();
        let location = path.to_string_lossy();
        let frame = match format {
            FileFormat::Csv => {
                session.read_csv(&*location, CsvReadOptions::new().file_extension(&extension)).await
            }
            FileFormat::Parquet => {
                let options =
                    ParquetReadOptions { file_extension: &extension, ..ParquetReadOptions::default() };
                session.read_parquet(&*location, options).await
            }
            FileFormat::Json => {
                // Both forms are written with the same extension.
                let is_array =
                    !is_folder && starts_with_bracket(path).map_err(|error| self.unreadable(path, error))?;
                let options = JsonReadOptions {
                    file_extension: &extension,
                    newline_delimited: !is_array,
                    ..JsonReadOptions::default()
                };
                session.read_json(&*location, options).await
            }
        };
        let frame = frame.map_err(failed)?;
        let schema = Arc::clone(frame.schema().inner());
        let batches = frame.collect().await.map_err(failed)?;
        concat_batches(&schema, &batches).map_err(|error| failed(error.into()))
    }
}

/// The rows as a table whose first columns are these, if it has them.
fn batch_of(rows: &[Map<String, Value>], columns: &[String]) -> Result<RecordBatch, ArrowError> {
    let schema = infer_json_schema_from_iterator(rows.iter().cloned().map(|row| Ok(Value::Object(row))))?;
    let mut decoder = ReaderBuilder::new(Arc::new(schema)).with_batch_size(rows.len()).build_decoder()?;
    decoder.serialize(rows)?;
    let batch = decoder.flush()?.ok_or_else(|| ArrowError::JsonError("there are no rows".to_owned()))?;
    let position = |field: &str| columns.iter().position(|column| column == field).unwrap_or(columns.len());
    let mut order: Vec<usize> = (0..batch.num_columns()).collect();
    // The columns of a JSON object are sorted by name; their author had another order in mind.
    order.sort_by_key(|index| position(batch.schema_ref().field(*index).name()));
    batch.project(&order)
}

/// Rejects anything that is not a file of parameters, before it is parsed.
fn check_file(path: &Path) -> io::Result<()> {
    let size_bytes = open_named(path)?.metadata()?.len();
    if size_bytes > MAX_FILE_BYTES {
        Err(Unfit::TooLarge { max_bytes: MAX_FILE_BYTES }.into())
    } else {
        Ok(())
    }
}

/// Whether a JSON file contains one array instead of one object per line.
fn starts_with_bracket(path: &Path) -> io::Result<bool> {
    let text = read_named(path, MAX_FILE_BYTES)?;
    Ok(text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'['))
}

fn signature(rows: &RecordBatch) -> Result<String, ArrowError> {
    let options = FormatOptions::default().with_null("\0");
    let mut hasher = Sha256::new();
    let mut field = |text: &str| {
        // Including the length, so that two fields are never confused with others that are split differently.
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    };
    for (column, values) in rows.schema().fields().iter().zip(rows.columns()) {
        field(column.name());
        // The logical type, because different versions read the same file as texts or as views of texts.
        field(&NativeType::from(column.data_type()).to_string());
        let formatter = ArrayFormatter::try_new(values.as_ref(), &options)?;
        let mut text = String::new();
        for row in 0..values.len() {
            text.clear();
            write!(text, "{}", formatter.value(row)).map_err(|_| {
                ArrowError::ComputeError(format!("a value of the column {:?} has no text", column.name()))
            })?;
            field(&text);
        }
    }
    Ok(hexadecimal(&hasher.finalize()[..8]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(value: Value) -> Vec<Map<String, Value>> {
        serde_json::from_value(value).unwrap()
    }

    const CSV: &str = "priority,weight,active\nhigh,2.5,true\nlow,,false\n";

    fn inline() -> ParamTable {
        let rows = rows(json!([
            { "priority": "high", "weight": 2.5, "active": true },
            { "priority": "low", "weight": null, "active": false },
        ]));
        ParamTable::of_rows("weights", &rows).unwrap()
    }

    #[tokio::test]
    async fn one_set_has_one_signature_wherever_it_comes_from() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let session = SessionContext::new();
        fs::write(path("w.csv"), CSV).unwrap();
        let lines = "{\"priority\":\"high\",\"weight\":2.5,\"active\":true}\n\
                     {\"priority\":\"low\",\"weight\":null,\"active\":false}\n";
        fs::write(path("w.ndjson"), lines).unwrap();
        fs::write(path("w.json"), format!("\n [{}]", lines.trim().replace('\n', ","))).unwrap();
        let from_csv = ParamTable::of_file("from_csv", path("w.csv")).unwrap();
        let expected = from_csv.register(&session).await.unwrap();
        let parquet = path("w.parquet").display().to_string();
        let frame = session.table("from_csv").await.unwrap();
        frame.write_parquet(&parquet, Default::default(), None).await.unwrap();

        assert_eq!((expected.rows, expected.signature.as_ref().map(String::len)), (Some(2), Some(16)));
        assert_eq!(expected.location, Some(path("w.csv").display().to_string()));
        for table in [
            inline(),
            ParamTable::of_file("weights", path("w.ndjson")).unwrap(),
            ParamTable::of_file("weights", path("w.json")).unwrap(),
            ParamTable::of_file("weights", parquet.as_str()).unwrap(),
        ] {
            let written = table.register(&session).await.unwrap();
            assert_eq!(written.signature, expected.signature, "{table:?}");
            assert_eq!(written.materialization.name(), "param_table");
            let found =
                session.sql("SELECT * FROM weights WHERE active").await.unwrap().count().await.unwrap();
            assert_eq!(found, 1);
        }
    }

    #[tokio::test]
    async fn columns_stand_in_the_order_in_which_they_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("daglight.toml");
        let rows = "[[param_tables.w.rows]]\nzone = 1\nname = \"a\"\n[[param_tables.w.rows]]\nzone = 2\nbonus = 1.5\nname = \"b\"\n";
        let inline = "[param_tables.v]\nrows = [{ z = 1, b = 2, a = 3 }]\n";
        std::fs::write(&file, format!("{rows}{inline}")).unwrap();
        let settings = daglight_settings::SettingsLoader::new().with_file(&file).load().unwrap();
        let session = SessionContext::new();
        for (name, expected) in [("w", vec!["zone", "name", "bonus"]), ("v", vec!["z", "b", "a"])] {
            let table = ParamTable::of_settings(name, &settings.param_tables[name]).unwrap();
            let written = table.register(&session).await.unwrap();
            let names: Vec<&String> = written.schema.fields().iter().map(|field| field.name()).collect();
            assert_eq!(names, expected, "{name}");
        }
    }

    #[tokio::test]
    async fn other_values_columns_and_orders_have_other_signatures() {
        let session = SessionContext::new();
        let mut seen = std::collections::BTreeSet::new();
        for value in [
            json!([{ "a": 1, "b": "x" }, { "a": 2, "b": "y" }]),
            json!([{ "a": 1, "b": "x" }, { "a": 3, "b": "y" }]),
            json!([{ "a": 2, "b": "y" }, { "a": 1, "b": "x" }]),
            json!([{ "a": 1, "c": "x" }, { "a": 2, "c": "y" }]),
            json!([{ "a": "1", "b": "x" }, { "a": "2", "b": "y" }]),
            json!([{ "a": 1, "b": "" }, { "a": 2, "b": "y" }]),
            json!([{ "a": 1, "b": null }, { "a": 2, "b": "y" }]),
        ] {
            let table = ParamTable::of_rows("t", &rows(value.clone())).unwrap();
            assert!(seen.insert(table.register(&session).await.unwrap().signature), "{value}");
        }
    }

    #[track_caller]
    fn check_refused(result: Result<ParamTable, ParamTableError>, expected: &str) {
        assert_eq!(result.unwrap_err().to_string(), expected);
    }

    #[tokio::test]
    async fn what_is_not_a_set_is_refused_with_its_name() {
        check_refused(
            ParamTable::of_settings("w", &ParamTableSettings::default()),
            "the parameter table \"w\" needs either `rows` or a `file`",
        );
        check_refused(
            ParamTable::of_file("w", "w.xlsx"),
            "the parameter table \"w\" cannot be read from w.xlsx: write a .csv, .json, .ndjson or .parquet file",
        );
        check_refused(
            ParamTable::of_rows("w", &rows(json!([{ "a": 1 }, { "a": [2] }]))),
            "the rows of the parameter table \"w\" do not fit together",
        );
        let missing = ParamTable::of_file("w", "/nowhere/w.csv").unwrap();
        let error = missing.register(&SessionContext::new()).await.unwrap_err();
        assert_eq!(error.to_string(), "the parameter table \"w\" cannot be read from /nowhere/w.csv");
    }
}
