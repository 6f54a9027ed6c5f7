//! What a session contains before a script runs, as far as it can be known without asking a remote catalog.

use std::sync::Arc;

use datafusion::{
    catalog::{
        CatalogProvider, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider,
        SchemaProvider, TableProvider,
        information_schema::{INFORMATION_SCHEMA, INFORMATION_SCHEMA_TABLES},
    },
    common::ResolvedTableReference,
    datasource::{MemTable, ViewTable, listing::ListingTable},
    execution::{SessionState, context::SessionContext},
    logical_expr::{Deallocate, LogicalPlan, Statement as PlannedStatement, TableType},
};
use futures::FutureExt;

use crate::script_names::{RelationKind, schema_of};

/// Whether the session has a table or may get it: only in-memory schemas are certain not to.
pub(crate) fn may_have(state: &SessionState, relation: &ResolvedTableReference) -> bool {
    if !may_have_schema(state, schema_of(relation)) {
        return false;
    }
    let catalog = state.catalog_list().catalog(&relation.catalog);
    let Some(schema) = catalog.and_then(|catalog| catalog.schema(&relation.schema)) else {
        // This is the only schema that no catalog lists. It always has the same views.
        return &*relation.schema != INFORMATION_SCHEMA
            || INFORMATION_SCHEMA_TABLES.contains(&&*relation.table);
    };
    // Only an in-memory schema can be asked without contacting a server; any other may have the table.
    !schema.is::<MemorySchemaProvider>() || schema.table_exist(&relation.table)
}

/// Whether the session has a schema, named with its catalog, or may get it.
pub(crate) fn may_have_schema(state: &SessionState, (catalog, schema): (&str, &str)) -> bool {
    let list = state.catalog_list();
    // The engine provides it for every catalog, and lists it in none.
    if schema == INFORMATION_SCHEMA || !list.is::<MemoryCatalogProviderList>() {
        return true;
    }
    match list.catalog(catalog) {
        Some(catalog) => !catalog.is::<MemoryCatalogProvider>() || catalog.schema(schema).is_some(),
        None => false,
    }
}

/// Whether the session has a prepared statement. There is no query for that, but deallocating succeeds only for existing ones, so
/// that is tried in a copy.
pub(crate) fn has_prepared(state: &SessionState, name: &str) -> bool {
    // A session does not list its prepared statements. Freeing one in a copy succeeds exactly if there is one, and
    // leaves the session as it is.
    let copy = SessionContext::new_with_state(state.clone());
    let free = LogicalPlan::Statement(PlannedStatement::Deallocate(Deallocate { name: name.to_owned() }));
    matches!(copy.execute_logical_plan(free).now_or_never(), Some(Ok(_)))
}

/// The catalog with this name, if it contains only what is registered in it.
pub(crate) fn plain_catalog(state: &SessionState, catalog: &str) -> Option<Arc<dyn CatalogProvider>> {
    let list = state.catalog_list();
    let catalog = list.is::<MemoryCatalogProviderList>().then(|| list.catalog(catalog)).flatten();
    catalog.filter(|catalog| catalog.is::<MemoryCatalogProvider>())
}

/// The schema with this name, if it contains only what is registered in it.
pub(crate) fn plain_schema(
    state: &SessionState,
    (catalog, schema): (&str, &str),
) -> Option<Arc<dyn SchemaProvider>> {
    let schema = plain_catalog(state, catalog)?.schema(schema);
    schema.filter(|schema| schema.is::<MemorySchemaProvider>())
}

/// Whether the session's factory for external tables of this format is DataFusion's own. The concrete type of a factory is not
/// accessible, but its debug output contains the type name.
pub(crate) fn makes_files(state: &SessionState, format: &str) -> bool {
    let factory = state.table_factories().get(&format.to_uppercase());
    factory.is_some_and(|factory| {
        let name = format!("{factory:?}");
        ["DefaultTableFactory {", "ListingTableFactory"].iter().any(|known| name.starts_with(known))
    })
}

/// Whether the session can read files of this format. It has a factory for `NDJSON`, but that finds no format with that name.
pub(crate) fn may_have_format(state: &SessionState, format: &str) -> bool {
    state.table_factories().contains_key(&format.to_uppercase())
        && (!makes_files(state, format) || state.get_file_format_factory(&format.to_lowercase()).is_some())
}

/// Whether the session may have a catalog.
pub(crate) fn may_have_catalog(state: &SessionState, catalog: &str) -> bool {
    let list = state.catalog_list();
    !list.is::<MemoryCatalogProviderList>() || list.catalog(catalog).is_some()
}

/// The kind of a table of the session; `None` if it has none with this name, or does not reveal it.
pub(crate) fn kind_of(state: &SessionState, relation: &ResolvedTableReference) -> Option<RelationKind> {
    let schema = plain_schema(state, schema_of(relation))?;
    // An in-memory schema answers at once; if the answer is not ready, it is unknown.
    let table: Arc<dyn TableProvider> = schema.table(&relation.table).now_or_never()?.ok()??;
    Some(match table.table_type() {
        TableType::View if table.is::<ViewTable>() => RelationKind::View,
        TableType::View => RelationKind::ForeignView,
        TableType::Base if table.is::<MemTable>() => RelationKind::Table,
        TableType::Base if table.is::<ListingTable>() => RelationKind::Files,
        TableType::Base => RelationKind::ForeignTable,
        TableType::Temporary => return None,
    })
}
