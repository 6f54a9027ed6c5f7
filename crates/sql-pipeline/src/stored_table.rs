//! Tables of `CREATE TABLE AS` that are files below a folder, where the machines of a cluster read them, and not rows in the memory
//! of this one.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use datafusion::{
    arrow::datatypes::SchemaRef,
    common::TableReference,
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
    parquet::arrow::ArrowSchemaConverter,
};

use crate::{effect::Effect, kind::StatementKind, script::Script, statement::Statement};

/// A table whose files are about to be written.
pub(crate) struct StoredTable {
    name: TableReference,
    location: String,
    schema: SchemaRef,
}

impl StoredTable {
    /// The plan that writes the files of a table in place of one that keeps its rows in memory; `Err` gives back a plan that is
    /// not of such a table: one that is changed later in the script, or with what files do not have.
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
        // Where there is one of its name, the engine says what becomes of the statement.
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

    /// Registers the table, when its files are there.
    pub(crate) fn register(self, session: &SessionContext) -> Result<()> {
        let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(".parquet");
        let config = ListingTableConfig::new(ListingTableUrl::parse(&self.location)?)
            .with_listing_options(options)
            .with_schema(self.schema);
        session.deregister_table(self.name.clone())?;
        session.register_table(self.name, Arc::new(ListingTable::try_new(config)?))?;
        Ok(())
    }
}

/// Whether the script changes the table that a statement defines, which files do not let it do.
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
    // A table that is declared without a query has nothing to be written.
    let has_rows = !matches!(&*create.input, LogicalPlan::EmptyRelation(_));
    is_plain && has_rows && !schema.fields().is_empty() && ArrowSchemaConverter::new().convert(schema).is_ok()
}

/// A folder of its own for each table: one that is replaced may still be read.
fn location(folder: &str, table: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name: String = table.chars().map(plain).take(60).collect();
    format!("{}/{name}-{number}/", folder.trim_end_matches('/'))
}
