//! Tables of `CREATE TABLE AS` that are stored as files below a folder, where the machines of a cluster can read them, instead of
//! in the memory of this process.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use datafusion::{
    arrow::{
        array::{AsArray as _, RecordBatch, new_null_array},
        datatypes::{Schema, SchemaRef, UInt64Type},
    },
    common::{TableReference, exec_err, stats::Precision},
    datasource::{
        file_format::{
            format_as_file_type,
            parquet::{ParquetFormat, ParquetFormatFactory},
        },
        listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl},
    },
    error::Result,
    execution::context::SessionContext,
    logical_expr::{CreateMemoryTable, DdlStatement, LogicalPlan, LogicalPlanBuilder},
    parquet::{
        arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
        errors::ParquetError,
    },
};

use crate::{effect::Effect, kind::StatementKind, script::Script, statement::Statement};

/// A table whose files have yet to be written.
pub(crate) struct StoredTable {
    name: TableReference,
    location: String,
    schema: SchemaRef,
}

impl StoredTable {
    /// The plan that writes the files of a table, in place of one that keeps its rows in memory. `Err` returns the plan unchanged
    /// if this is not possible: another kind of statement, a table that the script changes later, or one with properties that files
    /// cannot preserve.
    pub(crate) async fn of(
        plan: LogicalPlan,
        folder: &str,
        script: &Script,
        statement: &Statement,
        session: &SessionContext,
    ) -> Result<std::result::Result<(LogicalPlan, Self), LogicalPlan>> {
        let is_changed = is_changed(script, statement);
        let create = match plan {
            LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(create))
                if !is_changed && can_be_files(&create) =>
            {
                create
            }
            other => return Ok(Err(other)),
        };
        // If one with its name exists, the engine decides what happens.
        if session.table_exist(create.name.clone())? && !create.or_replace {
            return Ok(Err(LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(create))));
        }
        let location = location(folder, create.name.table());
        let schema: SchemaRef = Arc::new(create.input.schema().as_arrow().clone());
        let format = format_as_file_type(Arc::new(ParquetFormatFactory::new()));
        let input = Arc::unwrap_or_clone(create.input);
        let copy = LogicalPlanBuilder::copy_to(input, location.clone(), format, HashMap::new(), Vec::new())?;
        Ok(Ok((copy.build()?, Self { name: create.name, location, schema })))
    }

    /// Registers the table when its files are written. `counted` is the result of the plan that wrote them.
    ///
    /// # Errors
    /// When the number of rows differs from what was written: machines that do not share the folder keep their files to themselves.
    pub(crate) async fn register(self, session: &SessionContext, counted: &[RecordBatch]) -> Result<()> {
        let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(".parquet");
        let config = ListingTableConfig::new(ListingTableUrl::parse(&self.location)?)
            .with_listing_options(options)
            .with_schema(self.schema);
        let table = ListingTable::try_new(config)?;
        let there = table.list_files_for_scan(&session.state(), &[], None).await?.statistics.num_rows;
        if let (Some(written), Precision::Exact(there)) = (rows_written(counted), there)
            && written != there as u64
        {
            return exec_err!(
                "{written} rows were written below {}, and {there} of them are there for the client: the folder (cluster.scratch) has to \
                 be the same for all machines",
                self.location
            );
        }
        session.deregister_table(self.name.clone())?;
        session.register_table(self.name, Arc::new(table))?;
        Ok(())
    }
}

/// The count that a `COPY` returns.
fn rows_written(counted: &[RecordBatch]) -> Option<u64> {
    let count = counted.first()?.columns().first()?.as_primitive_opt::<UInt64Type>()?;
    count.iter().flatten().next()
}

/// Whether the script changes the table that a statement defines, which is not possible with files.
fn is_changed(script: &Script, statement: &Statement) -> bool {
    let (StatementKind::Table, Effect::Define { relation, .. }) =
        (statement.kind, &statement.relations.effect)
    else {
        return true;
    };
    let changes = script.statements().iter().map(|statement| &statement.relations.effect);
    changes
        .into_iter()
        .any(|effect| matches!(effect, Effect::Change { relation: changed } if changed == relation))
}

fn can_be_files(create: &CreateMemoryTable) -> bool {
    let is_plain = create.constraints.is_empty() && create.column_defaults.is_empty() && !create.temporary;
    let schema = create.input.schema().as_arrow();
    // A table without a query has nothing to be written.
    let has_rows = !matches!(&*create.input, LogicalPlan::EmptyRelation(_));
    is_plain && has_rows && !schema.fields().is_empty() && survives(schema).unwrap_or(false)
}

/// Whether columns are unchanged when they are written to a file and read back. For some types, the writer reports only at the
/// first row that it does not support them.
fn survives(schema: &Schema) -> std::result::Result<bool, ParquetError> {
    let fields: Vec<_> =
        schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let nullable: SchemaRef = Arc::new(Schema::new(fields));
    let nulls = nullable.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, Arc::clone(&nullable), None)?;
    writer.write(&RecordBatch::try_new(nullable, nulls)?)?;
    writer.close()?;
    let read = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file))?;
    let types =
        |schema: &Schema| schema.fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>();
    Ok(types(read.schema()) == types(schema))
}

/// A separate folder for each table: one that is replaced may still be in use.
fn location(folder: &str, table: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name: String = table.chars().map(plain).take(60).collect();
    format!("{}/{name}-{number}/", folder.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::{
        array::{ArrayRef, UInt64Array},
        datatypes::{DataType, Field, IntervalUnit, TimeUnit},
    };

    use super::*;

    #[track_caller]
    fn check(data_type: DataType, expected: bool) {
        let schema = Schema::new(vec![Field::new("a", data_type, false)]);
        assert_eq!(survives(&schema).unwrap_or(false), expected, "{schema}");
    }

    #[test]
    fn what_files_do_not_keep_stays_in_memory() {
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Berlin".into()));
        let structure = DataType::Struct(vec![Field::new("b", DataType::Utf8View, false)].into());
        for kept in [DataType::Decimal128(15, 2), DataType::Utf8View, dictionary, zoned, structure] {
            check(kept.clone(), true);
            check(DataType::List(Arc::new(Field::new("item", kept, true))), true);
        }
        check(DataType::Interval(IntervalUnit::MonthDayNano), false);
        check(DataType::Struct(Vec::<Field>::new().into()), false);
    }

    #[tokio::test]
    async fn rows_that_are_somewhere_else_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let session = SessionContext::new();
        let location = format!("{}/", folder.path().display());
        let copy = format!("COPY (SELECT 1 AS a UNION ALL SELECT 2) TO '{location}' STORED AS PARQUET");
        let counted = session.sql(&copy).await.unwrap().collect().await.unwrap();
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
        let table =
            || StoredTable { name: "t".into(), location: location.clone(), schema: Arc::clone(&schema) };
        table().register(&session, &counted).await.unwrap();
        assert_eq!(session.table("t").await.unwrap().count().await.unwrap(), 2);
        // Another machine has written the third row, into a folder with the same name.
        let three: ArrayRef = Arc::new(UInt64Array::from(vec![3]));
        let counted = [RecordBatch::try_from_iter([("count", three)]).unwrap()];
        let error = table().register(&session, &counted).await.unwrap_err().to_string();
        assert!(
            error.contains("3 rows were written") && error.contains("and 2 of them are there"),
            "{error}"
        );
    }
}
