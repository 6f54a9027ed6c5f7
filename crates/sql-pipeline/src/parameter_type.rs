//! The types of the parameters of a script.

use chrono::NaiveDate;
use datafusion::common::ScalarValue;

/// What kind of value a text is.
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
    /// Everything else.
    Text,
}

impl ParameterType {
    /// The narrowest type that the text is of.
    pub fn of(text: &str) -> Self {
        [Self::Integer, Self::Float, Self::Boolean, Self::Date]
            .into_iter()
            // The narrowest first: a whole number is also a float, and all of them are texts.
            .find(|kind| kind.parse(text).is_some())
            .unwrap_or(Self::Text)
    }

    /// The name that messages and the DAG use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Text => "text",
        }
    }

    /// The value of a text as this type; `None` where it is not valid for it.
    pub(crate) fn parse(self, text: &str) -> Option<ScalarValue> {
        match self {
            Self::Integer => text.parse().ok().map(|value| ScalarValue::Int64(Some(value))),
            // Rust reads `nan` and `inf` as numbers; SQL has no such literals.
            Self::Float if text.contains(|c: char| c.is_alphabetic() && !matches!(c, 'e' | 'E')) => None,
            Self::Float => text.parse().ok().map(|value| ScalarValue::Float64(Some(value))),
            Self::Boolean => match text {
                "true" | "TRUE" => Some(ScalarValue::Boolean(Some(true))),
                "false" | "FALSE" => Some(ScalarValue::Boolean(Some(false))),
                _ => None,
            },
            Self::Date => {
                let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
                // The default is the first of January 1970, from which Arrow counts.
                let days = (date - NaiveDate::default()).num_days();
                Some(ScalarValue::Date32(Some(days.try_into().ok()?)))
            }
            Self::Text => Some(ScalarValue::Utf8(Some(text.to_owned()))),
        }
    }
}
