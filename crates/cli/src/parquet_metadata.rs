//! The table function `parquet_metadata('x.parquet')`: the columns of each row group of a Parquet file, as in `datafusion-cli`.

use std::{fs::File, sync::Arc};

use datafusion::{
    arrow::{
        array::{ArrayRef, Int64Array, RecordBatch, StringArray},
        datatypes::{DataType, Field, Schema},
    },
    catalog::{MemTable, TableFunctionArgs, TableFunctionImpl, TableProvider},
    common::{Column, plan_err},
    error::{DataFusionError, Result},
    logical_expr::Expr,
    parquet::{
        basic::ConvertedType,
        file::{
            metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData},
            reader::FileReader as _,
            serialized_reader::SerializedFileReader,
            statistics::Statistics,
        },
    },
    scalar::ScalarValue,
};

/// `parquet_metadata`.
#[derive(Debug)]
pub(crate) struct ParquetMetadata;

impl TableFunctionImpl for ParquetMetadata {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let file = match args.exprs() {
            [Expr::Literal(ScalarValue::Utf8(Some(file)), _)] => file,
            // The name in double quotes.
            [Expr::Column(Column { name, .. })] => name,
            _ => {
                return plan_err!(
                    "parquet_metadata takes the name of one file, as in parquet_metadata('x.parquet')"
                );
            }
        };
        let unreadable = |error: &dyn std::error::Error| {
            DataFusionError::Plan(format!("cannot read the metadata of '{file}': {error}"))
        };
        let opened = File::open(file).map_err(|error| unreadable(&error))?;
        let reader = SerializedFileReader::new(opened).map_err(|error| unreadable(&error))?;
        let batch = described(file, reader.metadata())?;
        Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
    }
}

/// A column of a row group.
struct Chunk<'m> {
    row_group: (usize, &'m RowGroupMetaData),
    column: (usize, &'m ColumnChunkMetaData),
}

/// How a value is extracted.
enum Shown {
    Number(fn(&Chunk<'_>) -> Option<i64>),
    Text(fn(&Chunk<'_>) -> Option<String>),
}

use Shown::{Number, Text};

/// The columns, with their names in `datafusion-cli`; `filename` precedes them.
const COLUMNS: [(&str, Shown); 22] = [
    ("row_group_id", Number(|chunk| i64::try_from(chunk.row_group.0).ok())),
    ("row_group_num_rows", Number(|chunk| Some(chunk.row_group.1.num_rows()))),
    ("row_group_num_columns", Number(|chunk| i64::try_from(chunk.row_group.1.num_columns()).ok())),
    ("row_group_bytes", Number(|chunk| Some(chunk.row_group.1.total_byte_size()))),
    ("column_id", Number(|chunk| i64::try_from(chunk.column.0).ok())),
    ("file_offset", Number(|chunk| Some(chunk.column.1.file_offset()))),
    ("num_values", Number(|chunk| Some(chunk.column.1.num_values()))),
    ("path_in_schema", Text(|chunk| Some(chunk.column.1.column_path().to_string()))),
    ("type", Text(|chunk| Some(chunk.column.1.column_type().to_string()))),
    ("stats_min", Text(min)),
    ("stats_max", Text(max)),
    ("stats_null_count", Number(|chunk| count(chunk, Statistics::null_count_opt))),
    ("stats_distinct_count", Number(|chunk| count(chunk, Statistics::distinct_count_opt))),
    ("stats_min_value", Text(min)),
    ("stats_max_value", Text(max)),
    ("compression", Text(|chunk| Some(format!("{:?}", chunk.column.1.compression())))),
    ("encodings", Text(|chunk| Some(format!("{:?}", chunk.column.1.encodings().collect::<Vec<_>>())))),
    ("index_page_offset", Number(|chunk| chunk.column.1.index_page_offset())),
    ("dictionary_page_offset", Number(|chunk| chunk.column.1.dictionary_page_offset())),
    ("data_page_offset", Number(|chunk| Some(chunk.column.1.data_page_offset()))),
    ("total_compressed_size", Number(|chunk| Some(chunk.column.1.compressed_size()))),
    ("total_uncompressed_size", Number(|chunk| Some(chunk.column.1.uncompressed_size()))),
];

fn described(file: &str, metadata: &ParquetMetaData) -> Result<RecordBatch> {
    let row_groups = metadata.row_groups().iter().enumerate();
    let chunks: Vec<Chunk<'_>> = row_groups
        .flat_map(|row_group| {
            row_group.1.columns().iter().enumerate().map(move |column| Chunk { row_group, column })
        })
        .collect();
    let names = StringArray::from_iter_values(chunks.iter().map(|_| file));
    let mut fields = vec![Field::new("filename", DataType::Utf8, true)];
    let mut columns: Vec<ArrayRef> = vec![Arc::new(names)];
    for (name, shown) in COLUMNS {
        let column: ArrayRef = match shown {
            Number(number) => Arc::new(chunks.iter().map(number).collect::<Int64Array>()),
            Text(text) => Arc::new(chunks.iter().map(text).collect::<StringArray>()),
        };
        fields.push(Field::new(name, column.data_type().clone(), true));
        columns.push(column);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn count(chunk: &Chunk<'_>, counted: fn(&Statistics) -> Option<u64>) -> Option<i64> {
    counted(chunk.column.1.statistics()?).and_then(|count| i64::try_from(count).ok())
}

fn min(chunk: &Chunk<'_>) -> Option<String> {
    let statistics = chunk.column.1.statistics()?;
    match statistics {
        Statistics::Boolean(of) => of.min_opt().map(ToString::to_string),
        Statistics::Int32(of) => of.min_opt().map(ToString::to_string),
        Statistics::Int64(of) => of.min_opt().map(ToString::to_string),
        Statistics::Int96(of) => of.min_opt().map(ToString::to_string),
        Statistics::Float(of) => of.min_opt().map(ToString::to_string),
        Statistics::Double(of) => of.min_opt().map(ToString::to_string),
        Statistics::ByteArray(of) => of.min_opt().map(|value| text_of(chunk, value.as_utf8().ok(), value)),
        Statistics::FixedLenByteArray(of) => {
            of.min_opt().map(|value| text_of(chunk, value.as_utf8().ok(), value))
        }
    }
}

fn max(chunk: &Chunk<'_>) -> Option<String> {
    let statistics = chunk.column.1.statistics()?;
    match statistics {
        Statistics::Boolean(of) => of.max_opt().map(ToString::to_string),
        Statistics::Int32(of) => of.max_opt().map(ToString::to_string),
        Statistics::Int64(of) => of.max_opt().map(ToString::to_string),
        Statistics::Int96(of) => of.max_opt().map(ToString::to_string),
        Statistics::Float(of) => of.max_opt().map(ToString::to_string),
        Statistics::Double(of) => of.max_opt().map(ToString::to_string),
        Statistics::ByteArray(of) => of.max_opt().map(|value| text_of(chunk, value.as_utf8().ok(), value)),
        Statistics::FixedLenByteArray(of) => {
            of.max_opt().map(|value| text_of(chunk, value.as_utf8().ok(), value))
        }
    }
}

/// Bytes that are text as that text, and others as numbers.
fn text_of(chunk: &Chunk<'_>, text: Option<&str>, bytes: &impl ToString) -> String {
    let is_text = chunk.column.1.column_descr().converted_type() == ConvertedType::UTF8;
    text.filter(|_| is_text).map_or_else(|| bytes.to_string(), str::to_owned)
}
