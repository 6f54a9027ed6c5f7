//! The types of the parameters of a script.

use chrono::NaiveDate;
use datafusion::common::ScalarValue;

/// The type of a value, determined from its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParameterType {
    /// `42`
    Integer,
    /// `0.05` or `1e3`
    Float,
    /// `true` or `false`
    Boolean,
    /// `1995-01-01`
    Date,
    /// `null`, the missing value.
    Null,
    /// Everything else.
    Text,
}

impl ParameterType {
    /// The narrowest type that matches the text. A number that would be written differently, such as a postal code `01234` or a
    /// number with 20 digits, is a text, so that nothing of it is lost.
    pub fn of(text: &str) -> Self {
        [Self::Integer, Self::Float, Self::Boolean, Self::Date]
            .into_iter()
            // Narrowest first: a whole number is also a float, and all of them are texts.
            .find(|kind| kind.parse(text).is_some() && (!kind.is_number() || keeps_all_as_number(text)))
            .unwrap_or(Self::Text)
    }

    const fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Float)
    }

    /// The name that messages and the DAG use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Null => "null",
            Self::Text => "text",
        }
    }

    /// The value of a text as this type; `None` if it is invalid.
    pub(crate) fn parse(self, text: &str) -> Option<ScalarValue> {
        match self {
            Self::Integer => text.parse().ok().map(|value| ScalarValue::Int64(Some(value))),
            // Rust parses `nan` and `inf` as numbers; SQL has no such literals.
            Self::Float if text.contains(|c: char| c.is_alphabetic() && !matches!(c, 'e' | 'E')) => None,
            Self::Float => text.parse().ok().map(|value| ScalarValue::Float64(Some(value))),
            Self::Boolean => match text {
                "true" | "TRUE" => Some(ScalarValue::Boolean(Some(true))),
                "false" | "FALSE" => Some(ScalarValue::Boolean(Some(false))),
                _ => None,
            },
            Self::Date => {
                let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
                // The default is 1 January 1970, from which Arrow counts.
                let days = (date - NaiveDate::default()).num_days();
                Some(ScalarValue::Date32(Some(days.try_into().ok()?)))
            }
            Self::Null => is_null(text).then_some(ScalarValue::Null),
            Self::Text => Some(ScalarValue::Utf8(Some(text.to_owned()))),
        }
    }
}

/// Whether a text is SQL's notation for a missing value.
pub(crate) fn is_null(text: &str) -> bool {
    text.eq_ignore_ascii_case("null")
}

/// The number of digits that a float preserves of any decimal number.
const DIGITS_OF_FLOAT: usize = 15;

/// Whether a number preserves everything in its text: no leading zeros or plus sign, and no more digits than are preserved.
fn keeps_all_as_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let whole = digits.find(|c: char| !c.is_ascii_digit()).map_or(digits, |end| &digits[..end]);
    let is_plain = !digits.starts_with('+') && (whole.len() <= 1 || !whole.starts_with('0'));
    let mantissa = digits.split(['e', 'E']).next().unwrap_or_default();
    let significant = mantissa.trim_start_matches(['0', '.']).bytes().filter(u8::is_ascii_digit).count();
    is_plain && (significant <= DIGITS_OF_FLOAT || text.parse::<i64>().is_ok())
}
