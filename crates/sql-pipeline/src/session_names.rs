//! What a session has before a script runs, as far as it can be known without asking a remote catalog.

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

/// Whether the session has a table or may come to have it: only what keeps its tables in memory is sure not to.
pub(crate) fn may_have(state: &SessionState, relation: &ResolvedTableReference) -> bool {
    if !may_have_schema(state, schema_of(relation)) {
        return false;
    }
    let catalog = state.catalog_list().catalog(&relation.catalog);
    let Some(schema) = catalog.and_then(|catalog| catalog.schema(&relation.schema)) else {
        // Of the schemas that no catalog lists, this one has always the same views.
        return &*relation.schema != INFORMATION_SCHEMA
            || INFORMATION_SCHEMA_TABLES.contains(&&*relation.table);
    };
    // Only a schema in memory can be asked without reaching a server; any other may have the table.
    !schema.is::<MemorySchemaProvider>() || schema.table_exist(&relation.table)
}

/// Whether the session has a schema, named with its catalog, or may come to have it.
pub(crate) fn may_have_schema(state: &SessionState, (catalog, schema): (&str, &str)) -> bool {
    let list = state.catalog_list();
    // The engine makes it up for every catalog, and lists it in none.
    if schema == INFORMATION_SCHEMA || !list.is::<MemoryCatalogProviderList>() {
        return true;
    }
    match list.catalog(catalog) {
        Some(catalog) => !catalog.is::<MemoryCatalogProvider>() || catalog.schema(schema).is_some(),
        None => false,
    }
}

/// Whether the session has a prepared statement. It does not say so, but it frees only what it has; a copy of it is asked.
pub(crate) fn has_prepared(state: &SessionState, name: &str) -> bool {
    // A session does not list its prepared statements. Freeing one in a copy succeeds exactly if there is one, and
    // leaves the session as it is.
    let copy = SessionContext::new_with_state(state.clone());
    let free = LogicalPlan::Statement(PlannedStatement::Deallocate(Deallocate { name: name.to_owned() }));
    matches!(copy.execute_logical_plan(free).now_or_never(), Some(Ok(_)))
}

/// The catalog of a name where it only holds what is registered in it.
pub(crate) fn plain_catalog(state: &SessionState, catalog: &str) -> Option<Arc<dyn CatalogProvider>> {
    let list = state.catalog_list();
    let catalog = list.is::<MemoryCatalogProviderList>().then(|| list.catalog(catalog)).flatten();
    catalog.filter(|catalog| catalog.is::<MemoryCatalogProvider>())
}

/// The schema of a name where it only holds what is registered in it.
pub(crate) fn plain_schema(
    state: &SessionState,
    (catalog, schema): (&str, &str),
) -> Option<Arc<dyn SchemaProvider>> {
    let schema = plain_catalog(state, catalog)?.schema(schema);
    schema.filter(|schema| schema.is::<MemorySchemaProvider>())
}

/// Whether the session's factory of external tables of this format is DataFusion's own. A factory has no type that could be
/// asked for; what it is called is in its debug output.
pub(crate) fn makes_files(state: &SessionState, format: &str) -> bool {
    let factory = state.table_factories().get(&format.to_uppercase());
    factory.is_some_and(|factory| {
        let name = format!("{factory:?}");
        ["DefaultTableFactory {", "ListingTableFactory"].iter().any(|known| name.starts_with(known))
    })
}

/// Whether the session may be able to read files of this format. It has a factory for `NDJSON`, which finds no format of that name.
pub(crate) fn may_have_format(state: &SessionState, format: &str) -> bool {
    state.table_factories().contains_key(&format.to_uppercase())
        && (!makes_files(state, format) || state.get_file_format_factory(&format.to_lowercase()).is_some())
}

/// Whether the session may have a catalog.
pub(crate) fn may_have_catalog(state: &SessionState, catalog: &str) -> bool {
    let list = state.catalog_list();
    !list.is::<MemoryCatalogProviderList>() || list.catalog(catalog).is_some()
}

/// What a table of the session is; `None` where it has none of this name, or does not say so.
pub(crate) fn kind_of(state: &SessionState, relation: &ResolvedTableReference) -> Option<RelationKind> {
    let schema = plain_schema(state, schema_of(relation))?;
    // A schema in memory answers at once; what would have to be waited for is not known here.
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
