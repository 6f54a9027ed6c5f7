//! The columns of the tables.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// A column with the type of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// A text; structured values are JSON.
    Text(&'static str),
    /// A count.
    Count(&'static str),
    /// A number with a fraction, such as milliseconds.
    Real(&'static str),
    /// A point in time in UTC.
    Time(&'static str),
    Flag(&'static str),
}

impl Column {
    fn field(self) -> Field {
        let (name, data_type) = match self {
            Self::Text(name) => (name, DataType::Utf8),
            Self::Count(name) => (name, DataType::UInt64),
            Self::Real(name) => (name, DataType::Float64),
            Self::Time(name) => (name, DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))),
            Self::Flag(name) => (name, DataType::Boolean),
        };
        Field::new(name, data_type, true)
    }
}

/// The schema of a table: the columns that all tables have, which are used for joins, followed by its own.
pub(crate) fn schema(own: &[Column]) -> SchemaRef {
    let fields = OF_ALL.iter().chain(own).map(|column| column.field());
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The first columns of every table.
const OF_ALL: [Column; 2] = [Column::Text("run_id"), Column::Text("dag_name")];
