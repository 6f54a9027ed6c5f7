//! A table of the program: what its sensors say.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::{
    arrow::{
        array::{Int64Array, RecordBatch, StringArray},
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    catalog::{MemTable, Session, TableProvider},
    datasource::TableType,
    error::Result,
    logical_expr::Expr,
    physical_plan::ExecutionPlan,
};

/// Twenty sensors at one place.
#[derive(Debug)]
pub(crate) struct Sensors {
    schema: SchemaRef,
    place: String,
}

impl Sensors {
    pub(crate) fn new(place: &str) -> Self {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("place", DataType::Utf8, false),
            Field::new("tenths", DataType::Int64, false),
        ]);
        Self { schema: Arc::new(schema), place: place.to_owned() }
    }
}

#[async_trait]
impl TableProvider for Sensors {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let readings = RecordBatch::try_new(
            self.schema(),
            vec![
                Arc::new(Int64Array::from_iter_values(0..20)),
                Arc::new(StringArray::from(vec![self.place.as_str(); 20])),
                Arc::new(Int64Array::from_iter_values(180..200)),
            ],
        )?;
        let read = MemTable::try_new(self.schema(), vec![vec![readings]])?;
        read.scan(session, projection, filters, limit).await
    }
}
