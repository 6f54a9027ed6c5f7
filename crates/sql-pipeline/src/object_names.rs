//! Names of objects as a statement writes them.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Query, SetExpr};

/// The table that a query creates with `INTO`, if DataFusion supports it: in the outermost `SELECT`.
pub(crate) fn select_into(query: &Query) -> Option<&ObjectName> {
    match &*query.body {
        SetExpr::Select(select) => select.into.as_ref().map(|into| &into.name),
        SetExpr::Query(query) => select_into(query),
        _ => None,
    }
}

/// The name of an object other than a table, such as a schema or a prepared statement.
pub(crate) fn dotted(name: &ObjectName) -> String {
    let parts = name.0.iter().map(|part| part.as_ident().map(written).unwrap_or_default());
    parts.collect::<Vec<_>>().join(".")
}

/// A part of such a name: in lower case regardless of the settings.
pub(crate) fn written(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_ascii_lowercase(),
    }
}

/// The name of a function, whose case is preserved.
pub(crate) fn as_it_stands(name: &ObjectName) -> String {
    let parts = name.0.iter().filter_map(|part| part.as_ident()).map(|part| part.value.as_str());
    parts.collect::<Vec<_>>().join(".")
}
