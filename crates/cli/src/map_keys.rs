//! Maps in JSON, which requires text keys.

use std::sync::Arc;

use datafusion::arrow::{
    array::{Array as _, RecordBatch, RecordBatchOptions},
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Schema},
    error::ArrowError,
};

/// The batch with the keys of all maps converted to text: arrow's writer rejects others.
pub(crate) fn with_text_keys(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let fields: Vec<FieldRef> = schema.fields().iter().map(text_keys_of).collect();
    let columns = fields.iter().zip(batch.columns()).map(|(field, column)| match column.data_type() {
        kept if kept == field.data_type() => Ok(Arc::clone(column)),
        _ => cast(column, field.data_type()),
    });
    let columns = columns.collect::<Result<_, _>>()?;
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
    RecordBatch::try_new_with_options(Arc::new(schema), columns, &rows)
}

fn text_keys_of(field: &FieldRef) -> FieldRef {
    let of = |field: &FieldRef| text_keys_of(field);
    let changed = match field.data_type() {
        DataType::List(item) => DataType::List(of(item)),
        DataType::LargeList(item) => DataType::LargeList(of(item)),
        DataType::ListView(item) => DataType::ListView(of(item)),
        DataType::LargeListView(item) => DataType::LargeListView(of(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(of(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(of).collect()),
        DataType::Map(entries, sorted) => DataType::Map(with_text_key(entries), *sorted),
        _ => return Arc::clone(field),
    };
    if changed == *field.data_type() {
        return Arc::clone(field);
    }
    Arc::new(Field::clone(field).with_data_type(changed))
}

/// The entries of a map, each a key and a value.
fn with_text_key(entries: &FieldRef) -> FieldRef {
    let DataType::Struct(fields) = entries.data_type() else { return Arc::clone(entries) };
    let mut fields: Vec<FieldRef> = fields.iter().map(text_keys_of).collect();
    if let Some(key) = fields.first_mut().filter(|key| !key.data_type().is_string()) {
        *key = Arc::new(Field::clone(key).with_data_type(DataType::Utf8));
    }
    Arc::new(Field::clone(entries).with_data_type(DataType::Struct(fields.into())))
}
