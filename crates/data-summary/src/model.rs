//! What a data summary says, as it is serialised.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The summary of all rows of a table or a stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DataSummary {
    /// Rows seen.
    pub rows: u64,
    /// Bytes that the rows took in memory, estimated: buffers that batches share count for each of them.
    pub bytes: u64,
    /// Whether columns were summarised. If not, `columns` is empty because the policy says so.
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
    /// Rows seen, those without a value among them.
    pub count: u64,
    /// Rows whose value is null.
    pub missing: u64,
    /// Rows that could not be looked at because their type was not the schema's. They are in no other figure.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unhandled_rows: u64,
    /// What can be said of a column of this type.
    pub details: Details,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What is said of a column, depending on its type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Details {
    /// Integers, floats and decimals.
    Numeric(Distribution),
    /// Dates and timestamps. Points are ISO 8601 texts, in UTC with a `Z` where the type has a time zone.
    Datetime(Distribution),
    /// Times of day. Points are texts such as `09:30:00`.
    Time(Distribution),
    /// Durations. Points are decimal texts in seconds.
    Duration(Distribution),
    /// Truth values.
    Boolean {
        /// Rows that are true.
        true_count: u64,
        /// Rows that are false.
        false_count: u64,
    },
    /// Texts, most of them different.
    Text(Text),
    /// Texts that repeat, from a small domain.
    Category(Category),
    /// Bytes.
    Binary {
        /// Lengths in bytes.
        lengths: Lengths,
        /// About how many different values there are.
        distinct_estimate: u64,
    },
    /// Nested values, by their shape.
    Nested(Shape),
    /// Nothing but the counts.
    Unhandled {
        /// Why.
        reason: String,
    },
}

/// How the values of an ordered type are distributed.
///
/// NaN is counted and left out of everything else. Infinities are counted, are the least or greatest value and make the mean
/// infinite; standard deviation, quantiles, histogram and the number of different values are of finite values. What is not
/// known is absent: there is no mean without values nor with infinities of both signs, and no standard deviation of one value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// Values equal to zero; for dates and timestamps, to 1970-01-01T00:00:00.
    pub zeros: u64,
    /// Values that are not a number.
    pub nans: u64,
    /// Values that are infinite, of either sign.
    pub infinities: u64,
    /// The least value, exact.
    pub min: Option<Point>,
    /// The greatest value, exact.
    pub max: Option<Point>,
    /// The mean.
    pub mean: Option<Point>,
    /// Where some values are infinite: the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finite: Option<FiniteValues>,
    /// The standard deviation of a sample (divided by the count less one); in seconds for types of time.
    pub std: Option<f64>,
    /// Quantiles 0.1, 0.25, 0.5, 0.75 and 0.9, interpolated between neighbours.
    pub quantiles: Vec<Quantile>,
    /// Ten bins of equal width, with the number of values in each.
    pub histogram: Vec<Bin>,
    /// `None` where quantiles and histogram are exact, as they are of up to a million values in tables of up to four columns
    /// of numbers and times. More columns share 4,194,304 values, each at least 16,384. Else they are estimates: the rank of a quantile, and the number of values up to an edge of the histogram, are off by at most this part of all
    /// values (0.01, four standard deviations).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank_error: Option<f64>,
    /// About how many different values there are.
    pub distinct_estimate: u64,
}

/// The finite ones among values of which some are infinite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FiniteValues {
    /// The least of them, exact.
    pub min: Point,
    /// The greatest of them, exact.
    pub max: Point,
    /// Their mean.
    pub mean: Option<Point>,
}

/// A quantile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quantile {
    /// The fraction of values that are at most this one.
    pub fraction: f64,
    /// The value.
    pub value: Point,
}

/// A bin of a histogram: the values above `from`, up to and including `to`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// The lower edge, which belongs to the bin below.
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
    /// An integer beyond those.
    Unsigned(u64),
    /// A float.
    Float(f64),
    /// A decimal in all its digits, a date or time in ISO 8601, or `Infinity` or `-Infinity`, which JSON has no number for.
    Text(String),
}

impl Point {
    /// Infinity: the negative one, or the positive.
    pub(crate) fn infinite(is_negative: bool) -> Self {
        Self::Text(if is_negative { "-Infinity" } else { "Infinity" }.to_owned())
    }

    /// The nearest float; nothing for dates and times.
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
    /// The least length.
    pub min: Option<u64>,
    /// The greatest length.
    pub max: Option<u64>,
    /// The mean length.
    pub mean: Option<f64>,
    /// The standard deviation of a sample of lengths.
    pub std: Option<f64>,
    /// Values of length 0.
    pub empty: u64,
}

/// Texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Text {
    /// Lengths in characters.
    pub lengths: Lengths,
    /// The first value in the order of bytes, where values may be shown; long ones are cut.
    pub min: Option<String>,
    /// The last value in the order of bytes, where values may be shown; long ones are cut.
    pub max: Option<String>,
    /// About how many different values there are.
    pub distinct_estimate: u64,
    /// The most frequent values with exact counts, where values may be shown and not too many are different.
    pub top_values: Vec<ValueCount>,
}

/// Texts from a small domain.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Category {
    /// Lengths in characters.
    pub lengths: Lengths,
    /// The first value in the order of bytes, where values may be shown; long ones are cut.
    pub min: Option<String>,
    /// The last value in the order of bytes, where values may be shown; long ones are cut.
    pub max: Option<String>,
    /// How many different values there are, exact.
    pub unique: u64,
    /// How often the most frequent value occurs.
    pub top_count: u64,
    /// Every value with its count, most frequent first, where values may be shown.
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
        /// How many items the lists have.
        lengths: Lengths,
    },
    /// Maps.
    Map {
        /// The type of the keys.
        key_type: String,
        /// The type of the values.
        value_type: String,
        /// How many entries the maps have.
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
    /// Rows that take this alternative.
    pub count: u64,
}
