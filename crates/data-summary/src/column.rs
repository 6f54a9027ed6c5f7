//! The accumulator of one column, chosen by its type.

use arrow::datatypes::{DataType, FieldRef, i256};

use super::{
    bytes::{ByteStrings, Content},
    decimals::Decimals,
    floats::Floats,
    integers::Integers,
    kept::Room,
    model::{ColumnSummary, Details},
    options::SummaryOptions,
    scale::Scale,
    shapes::Shapes,
};

/// Accumulates one column.
#[derive(Debug, Clone)]
pub(super) struct Column {
    field: FieldRef,
    pub(super) count: u64,
    pub(super) missing: u64,
    pub(super) unhandled_rows: u64,
    pub(super) values: Values,
}

/// Accumulates the non-null values of one column.
#[derive(Debug, Clone)]
pub(super) enum Values {
    Integers(Integers),
    Floats(Floats),
    Decimals128(Decimals<i128>),
    Decimals256(Decimals<i256>),
    Booleans { true_count: u64, false_count: u64 },
    Bytes(ByteStrings),
    Shapes(Shapes),
    Unhandled(&'static str),
}

impl Column {
    pub(super) fn new(field: FieldRef, options: &SummaryOptions, room: Room) -> Self {
        let values = Values::of_type(field.data_type(), options, room);
        Self { field, count: 0, missing: 0, unhandled_rows: 0, values }
    }

    pub(super) fn data_type(&self) -> &DataType {
        self.field.data_type()
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.missing += other.missing;
        self.unhandled_rows += other.unhandled_rows;
        self.values.merge(other.values);
    }

    pub(super) fn finish(&self, options: &SummaryOptions) -> ColumnSummary {
        ColumnSummary {
            name: self.field.name().clone(),
            data_type: self.field.data_type().to_string(),
            nullable: self.field.is_nullable(),
            count: self.count,
            missing: self.missing,
            unhandled_rows: self.unhandled_rows,
            details: self.values.finish(logical_type(self.data_type()), options),
        }
    }
}

impl Values {
    fn of_type(data_type: &DataType, options: &SummaryOptions, room: Room) -> Self {
        let integers = |scale| Self::Integers(Integers::new(scale, room.clone()));
        match data_type {
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => integers(Scale::Integer),
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => integers(Scale::Integer),
            // The only ones that may not fit into an `i64`.
            DataType::UInt64 => Self::Integers(Integers::unsigned(room)),
            DataType::Float16 | DataType::Float32 | DataType::Float64 => Self::Floats(Floats::new(room)),
            // Integers with a decimal point that is inserted at the end.
            DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) => {
                integers(Scale::Decimal { scale: *scale })
            }
            DataType::Decimal128(_, scale) => Self::Decimals128(Decimals::new(*scale, room)),
            DataType::Decimal256(_, scale) => Self::Decimals256(Decimals::new(*scale, room)),
            DataType::Date32 => integers(Scale::Days),
            DataType::Date64 => integers(Scale::DateMilliseconds),
            DataType::Timestamp(unit, zone) => integers(Scale::Instant { unit: *unit, utc: zone.is_some() }),
            DataType::Time32(unit) | DataType::Time64(unit) => integers(Scale::TimeOfDay(*unit)),
            DataType::Duration(unit) => integers(Scale::Elapsed(*unit)),
            DataType::Boolean => Self::Booleans { true_count: 0, false_count: 0 },
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                Self::Bytes(ByteStrings::new(Content::Text, options))
            }
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => Self::Bytes(ByteStrings::new(Content::Binary, options)),
            // Its values are processed once per batch instead of once per row.
            DataType::Dictionary(_, values) if values.is_string() => {
                Self::Bytes(ByteStrings::new(Content::Dictionary, options))
            }
            DataType::Dictionary(_, values) => Self::of_type(values, options, room),
            DataType::RunEndEncoded(_, values) => Self::of_type(values.data_type(), options, room),
            DataType::Interval(_) => Self::Unhandled("months, days and nanoseconds have no common order"),
            DataType::Null => Self::Unhandled("the type has no values"),
            _ => Shapes::of_type(data_type)
                .map_or(Self::Unhandled("a summary of this type is not known"), Self::Shapes),
        }
    }

    #[cfg(test)]
    pub(super) fn keeps_values(&self) -> bool {
        matches!(self, Self::Integers(_) | Self::Floats(_) | Self::Decimals128(_) | Self::Decimals256(_))
    }

    fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Integers(values), Self::Integers(others)) => values.merge(others),
            (Self::Floats(values), Self::Floats(others)) => values.merge(others),
            (Self::Decimals128(values), Self::Decimals128(others)) => values.merge(others),
            (Self::Decimals256(values), Self::Decimals256(others)) => values.merge(others),
            (
                Self::Booleans { true_count, false_count },
                Self::Booleans { true_count: others_true, false_count: others_false },
            ) => {
                *true_count += others_true;
                *false_count += others_false;
            }
            (Self::Bytes(values), Self::Bytes(others)) => values.merge(others),
            (Self::Shapes(values), Self::Shapes(others)) => values.merge(others),
            // Two accumulators for the same field have the same variant.
            _ => {}
        }
    }

    fn finish(&self, data_type: &DataType, options: &SummaryOptions) -> Details {
        match self {
            Self::Integers(values) => match data_type {
                DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => {
                    Details::Datetime(values.finish())
                }
                DataType::Time32(_) | DataType::Time64(_) => Details::Time(values.finish()),
                DataType::Duration(_) => Details::Duration(values.finish()),
                _ => Details::Numeric(values.finish()),
            },
            Self::Floats(values) => Details::Numeric(values.finish()),
            Self::Decimals128(values) => Details::Numeric(values.finish()),
            Self::Decimals256(values) => Details::Numeric(values.finish()),
            Self::Booleans { true_count, false_count } => {
                Details::Boolean { true_count: *true_count, false_count: *false_count }
            }
            Self::Bytes(values) => values.finish(options),
            Self::Shapes(values) => Details::Nested(values.finish()),
            Self::Unhandled(reason) => Details::Unhandled { reason: (*reason).to_owned() },
        }
    }
}

/// Whether the summary of a column depends on the order of its values, which are kept for that.
pub(super) fn is_ordered(data_type: &DataType) -> bool {
    let data_type = logical_type(data_type);
    data_type.is_numeric()
        || matches!(
            data_type,
            DataType::Date32
                | DataType::Date64
                | DataType::Timestamp(..)
                | DataType::Time32(_)
                | DataType::Time64(_)
                | DataType::Duration(_)
        )
}

/// The type of the values, independent of their encoding.
fn logical_type(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => logical_type(values),
        DataType::RunEndEncoded(_, values) => logical_type(values.data_type()),
        other => other,
    }
}
