//! The content of a data summary, as it is serialised.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The summary of all rows of a table or a stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DataSummary {
    /// The number of rows.
    pub rows: u64,
    /// The estimated size of the rows in memory: shared buffers count for each batch.
    pub bytes: u64,
    /// Whether columns were summarised. If not, `columns` is empty because of the policy.
    pub statistics: bool,
    /// The columns, in the order of the schema.
    pub columns: Vec<ColumnSummary>,
}

/// The summary of one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnSummary {
    /// The column's name.
    pub name: String,
    /// The column's Arrow type.
    pub data_type: String,
    /// Whether the schema allows missing values.
    pub nullable: bool,
    /// The number of rows, including nulls.
    pub count: u64,
    /// Rows whose value is null.
    pub missing: u64,
    /// Rows that could not be processed because their type differs from the schema. They are not in any other figure.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unhandled_rows: u64,
    /// The details for a column of this type.
    pub details: Details,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The details of a column, depending on its type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Details {
    /// Integers, floats and decimals.
    Numeric(Distribution),
    /// Dates and timestamps. Points are ISO 8601 texts, in UTC with a `Z` if the type has a time zone.
    Datetime(Distribution),
    /// Times of day. Points are texts such as `09:30:00`.
    Time(Distribution),
    /// Durations. Points are decimal texts in seconds.
    Duration(Distribution),
    /// Booleans.
    Boolean {
        /// Rows that are true.
        true_count: u64,
        /// Rows that are false.
        false_count: u64,
    },
    /// Texts, most of them distinct.
    Text(Text),
    /// Repeated texts from a small domain.
    Category(Category),
    /// Bytes.
    Binary {
        /// Lengths in bytes.
        lengths: Lengths,
        /// The approximate number of distinct values.
        distinct_estimate: u64,
    },
    /// Nested values, described by their shape.
    Nested(Shape),
    /// Only the counts.
    Unhandled {
        /// The reason.
        reason: String,
    },
}

/// The distribution of the values of an ordered type.
///
/// NaN is counted and excluded from everything else. Infinities are counted, are the minimum or maximum and make the mean infinite;
/// standard deviation, quantiles, histogram and the number of distinct values are those of finite values. Unknown values are
/// absent: there is no mean without values or with infinities of both signs, and no standard deviation of a single value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// Values equal to zero; for dates and timestamps, to 1970-01-01T00:00:00.
    pub zeros: u64,
    /// Values that are not a number.
    pub nans: u64,
    /// Values that are infinite, of either sign.
    pub infinities: u64,
    /// The minimum, exact.
    pub min: Option<Point>,
    /// The maximum, exact.
    pub max: Option<Point>,
    /// The mean.
    pub mean: Option<Point>,
    /// If some values are infinite: the finite ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finite: Option<FiniteValues>,
    /// The sample standard deviation (divided by the count minus one); in seconds for time types.
    pub std: Option<f64>,
    /// Quantiles 0.1, 0.25, 0.5, 0.75 and 0.9, interpolated between neighbours.
    pub quantiles: Vec<Quantile>,
    /// Ten bins of equal width, with the number of values in each.
    pub histogram: Vec<Bin>,
    /// `None` if quantiles and histogram are exact, which is the case for up to a million values in tables with up to four columns
    /// of numbers and times. More columns share 4,194,304 values, at least 16,384 each. Otherwise they are estimates: the rank of a
    /// quantile, and the number of values up to an edge of the histogram, are off by at most this share of all values (0.01, four
    /// standard deviations).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank_error: Option<f64>,
    /// The approximate number of distinct values.
    pub distinct_estimate: u64,
}

/// The finite values if some are infinite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FiniteValues {
    /// Their minimum, exact.
    pub min: Point,
    /// Their maximum, exact.
    pub max: Point,
    /// Their mean.
    pub mean: Option<Point>,
}

/// A quantile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quantile {
    /// The fraction of values that are less than or equal to this one.
    pub fraction: f64,
    /// The value.
    pub value: Point,
}

/// A bin of a histogram: the values above `from`, up to and including `to`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// The lower edge, which belongs to the previous bin.
    pub from: Point,
    /// The upper edge.
    pub to: Point,
    /// The number of values.
    pub count: u64,
}

/// A point on a column's scale. Never NaN; infinite only as a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Point {
    /// An integer.
    Integer(i64),
    /// An integer above the range of `i64`.
    Unsigned(u64),
    /// A float.
    Float(f64),
    /// A decimal with all its digits, a date or time in ISO 8601, or `Infinity` or `-Infinity`, for which JSON has no number.
    Text(String),
}

impl Point {
    /// Negative or positive infinity.
    pub(crate) fn infinite(is_negative: bool) -> Self {
        Self::Text(if is_negative { "-Infinity" } else { "Infinity" }.to_owned())
    }

    /// The nearest float; `None` for dates and times.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Integer(value) => Some(*value as f64),
            Self::Unsigned(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Text(text) => text.parse().ok(),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => value.fmt(f),
            Self::Unsigned(value) => value.fmt(f),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// Lengths of texts (in characters), of binary values (in bytes) or of lists (in items).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lengths {
    /// The minimum length.
    pub min: Option<u64>,
    /// The maximum length.
    pub max: Option<u64>,
    /// The mean length.
    pub mean: Option<f64>,
    /// The sample standard deviation of the lengths.
    pub std: Option<f64>,
    /// Values of length 0.
    pub empty: u64,
}

/// Texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Text {
    /// Lengths in characters.
    pub lengths: Lengths,
    /// The first value in byte order, if values may be shown; long ones are cut.
    pub min: Option<String>,
    /// The last value in byte order, if values may be shown; long ones are cut.
    pub max: Option<String>,
    /// The approximate number of distinct values.
    pub distinct_estimate: u64,
    /// The most frequent values with exact counts, if values may be shown and there are not too many distinct ones.
    pub top_values: Vec<ValueCount>,
}

/// Texts from a small domain.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Category {
    /// Lengths in characters.
    pub lengths: Lengths,
    /// The first value in byte order, if values may be shown; long ones are cut.
    pub min: Option<String>,
    /// The last value in byte order, if values may be shown; long ones are cut.
    pub max: Option<String>,
    /// The exact number of distinct values.
    pub unique: u64,
    /// How often the most frequent value occurs.
    pub top_count: u64,
    /// Every value with its count, most frequent first, if values may be shown.
    pub domain: Vec<ValueCount>,
}

/// How often a value occurs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueCount {
    /// The value; a long one is cut.
    pub value: String,
    /// How often it occurs.
    pub count: u64,
}

/// The shape of nested values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "shape", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Shape {
    /// Lists of any layout.
    List {
        /// The type of the items.
        item_type: String,
        /// The number of items in the lists.
        lengths: Lengths,
    },
    /// Maps.
    Map {
        /// The type of the keys.
        key_type: String,
        /// The type of the values.
        value_type: String,
        /// The number of entries in the maps.
        lengths: Lengths,
    },
    /// Structs.
    Struct {
        /// The fields, in order.
        fields: Vec<FieldShape>,
    },
    /// Unions.
    Union {
        /// The alternatives, in order.
        variants: Vec<VariantShape>,
    },
}

/// A field of a struct.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldShape {
    /// The field's name.
    pub name: String,
    /// The field's Arrow type.
    pub data_type: String,
    /// Structs in which this field is null.
    pub missing: u64,
}

/// An alternative of a union.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariantShape {
    /// The alternative's name.
    pub name: String,
    /// The alternative's Arrow type.
    pub data_type: String,
    /// The number of rows with this alternative.
    pub count: u64,
}
