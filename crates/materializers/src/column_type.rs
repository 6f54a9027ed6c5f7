//! The type of a column in the notation of users.

use std::{fmt, str::FromStr};

use arrow::datatypes::DataType;
use datafusion::{
    common::{DFSchema, types::NativeType},
    execution::SessionStateBuilder,
    logical_expr::{Expr, ExprSchemable as _},
    prelude::SessionConfig,
};

/// The expected type of a column, in SQL notation (`BIGINT`) or Arrow notation (`Int64`).
///
/// The memory layout does not matter: a text is a text, whether it is `Utf8`, `Utf8View` or a dictionary. An SQL `TIMESTAMP` may
/// have any unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnType {
    text: String,
    data_type: DataType,
    any_unit: bool,
}

/// A text that is not a valid type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is not a type: use an SQL name such as BIGINT, or an Arrow name such as Int64")]
pub struct UnknownType {
    /// The text.
    pub text: String,
}

impl ColumnType {
    /// Whether a column with that Arrow type is as expected.
    pub fn matches(&self, found: &DataType) -> bool {
        match (&self.data_type, found) {
            (DataType::Timestamp(_, expected), DataType::Timestamp(_, found)) if self.any_unit => {
                expected.is_some() == found.is_some()
            }
            (expected, found) => NativeType::from(expected) == NativeType::from(found),
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for ColumnType {
    type Err = UnknownType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownType { text: text.to_owned() };
        let (data_type, any_unit) = match text.parse() {
            Ok(of_arrow) => (of_arrow, false),
            Err(_) => (of_sql(text).ok_or_else(unknown)?, true),
        };
        Ok(Self { text: text.to_owned(), data_type, any_unit })
    }
}

/// The result type of a cast to it.
fn of_sql(text: &str) -> Option<DataType> {
    // Without a default zone, a `TIMESTAMP WITH TIME ZONE` would have none.
    let config = SessionConfig::new().set_str("datafusion.execution.time_zone", "UTC");
    let state = SessionStateBuilder::new().with_config(config).build();
    let schema = DFSchema::empty();
    match state.create_logical_expr(&format!("CAST(NULL AS {text})"), &schema) {
        Ok(cast @ Expr::Cast(_)) => cast.get_type(&schema).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;

    #[track_caller]
    fn check(text: &str, found: &DataType, expected: bool) {
        assert_eq!(text.parse::<ColumnType>().unwrap().matches(found), expected, "{text} and {found}");
    }

    #[test]
    fn sql_and_arrow_name_types() {
        check("BIGINT", &DataType::Int64, true);
        check("Int64", &DataType::Int64, true);
        check("bigint", &DataType::Int32, false);
        check("double precision", &DataType::Float64, true);
        check("DECIMAL(15, 2)", &DataType::Decimal128(15, 2), true);
        check("Decimal128(15, 2)", &DataType::Decimal128(15, 3), false);
        check("DATE", &DataType::Date32, true);
        check("BOOLEAN", &DataType::Boolean, true);
    }

    #[test]
    fn the_layout_of_texts_does_not_matter() {
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        for text in ["TEXT", "VARCHAR", "STRING", "Utf8"] {
            for found in [&DataType::Utf8, &DataType::Utf8View, &DataType::LargeUtf8, &dictionary] {
                check(text, found, true);
            }
        }
        check("TEXT", &DataType::Binary, false);
    }

    #[test]
    fn a_timestamp_of_sql_is_of_any_unit() {
        let milliseconds =
            |zone: Option<&str>| DataType::Timestamp(TimeUnit::Millisecond, zone.map(Into::into));
        check("TIMESTAMP", &milliseconds(None), true);
        check("TIMESTAMP", &milliseconds(Some("UTC")), false);
        check("TIMESTAMP WITH TIME ZONE", &milliseconds(Some("UTC")), true);
        check("Timestamp(Nanosecond, None)", &milliseconds(None), false);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["BIGTINT", "", "INT) + (1", "INT AS x"] {
            let error = text.parse::<ColumnType>().unwrap_err();
            assert!(error.to_string().contains("BIGINT"), "{error}");
        }
    }
}
