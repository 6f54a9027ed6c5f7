//! The type of a column's values, whatever their layout in memory.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};

/// The type without what only says how values lie in memory: one file has texts of the type `Utf8` for who writes it, and `Utf8View`
/// for who reads it.
pub(crate) fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::RunEndEncoded(_, values) => plain_type(values.data_type()),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => DataType::List(plain_field(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(plain_field(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        DataType::Map(entries, is_sorted) => DataType::Map(plain_field(entries), *is_sorted),
        other => other.clone(),
    }
}

fn plain_field(field: &FieldRef) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(plain_type(field.data_type())))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Field;

    use super::*;

    #[test]
    fn texts_are_texts_in_every_layout_and_depth() {
        let text = |data_type: DataType| Arc::new(Field::new("item", data_type, true));
        let coded = DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::Utf8View));
        let runs = DataType::RunEndEncoded(
            Arc::new(Field::new("run_ends", DataType::Int32, false)),
            text(DataType::LargeUtf8),
        );
        for data_type in [DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View, coded, runs] {
            assert_eq!(plain_type(&data_type), DataType::Utf8, "{data_type}");
            let list = plain_type(&DataType::LargeListView(text(data_type.clone())));
            assert_eq!(list, DataType::List(text(DataType::Utf8)), "{data_type}");
            let fields = plain_type(&DataType::Struct([text(data_type)].into_iter().collect()));
            assert_eq!(fields, DataType::Struct([text(DataType::Utf8)].into_iter().collect()));
        }
        assert_eq!(plain_type(&DataType::BinaryView), DataType::Binary);
        assert_eq!(plain_type(&DataType::Int64), DataType::Int64);
    }
}
