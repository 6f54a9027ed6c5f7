//! What a query of a node has written, where no output of this crate did: `COPY`, `INSERT`, `DataFrame::write_parquet`.

mod of_node;

use std::sync::Arc;

use daglight_materializers::{Materialization, Written, name_of_files, place_of_copy};
use daglight_plan_diagnostics::{MeasuredQuery, PlannedQuery, QueryKind};
use datafusion::{
    arrow::datatypes::SchemaRef,
    datasource::{listing::ListingTable, source_as_provider},
    logical_expr::{LogicalPlan, WriteOp},
};

/// Marks the context in which an output writes: it says itself what it has written.
pub(crate) struct OutputWrites;

/// A write that was completed.
#[derive(Clone)]
pub(crate) struct QueryWrite {
    name: String,
    materialization: Materialization,
    /// The path or URL of the files; `None` for a table that keeps its rows itself.
    location: Option<String>,
    rows: Option<u64>,
    bytes: Option<u64>,
    schema: SchemaRef,
    logical_hash: String,
}

impl QueryWrite {
    /// What the query has written, if it adds rows to something.
    pub(crate) fn of(query: &PlannedQuery, report: &MeasuredQuery, rows: Option<u64>) -> Option<Self> {
        let (name, materialization, location) = match &query.kind {
            QueryKind::Copy { target, format } => (
                name_of_files(target),
                Materialization::files(format),
                Some(place_of_copy(target).to_owned()),
            ),
            QueryKind::Dml { table, .. } => {
                // From the plan, and not from the catalog by the name: the table may be dropped or replaced by the
                // time the query ends.
                // A DELETE or an UPDATE makes no output, and what an INSERT writes to is a table in memory or files.
                let (materialization, location) = table_of(&query.optimized)?;
                (table.clone(), materialization, location)
            }
            _ => return None,
        };
        Some(Self {
            name,
            materialization,
            location,
            rows,
            bytes: report.bytes_written,
            schema: Arc::clone(&query.schema),
            logical_hash: query.fingerprints.logical_hash.clone(),
        })
    }

    /// Whether an artifact that the node's code has recorded says the same.
    pub(crate) fn is(&self, written: &Written) -> bool {
        match (&self.location, &written.location) {
            (Some(here), Some(there)) => plain(here) == plain(there),
            // A table may be called by its whole name.
            (None, None) => table_name(&self.name) == table_name(&written.name),
            _ => false,
        }
    }

    /// Adds it to others: writes to one place are one.
    pub(crate) fn merge_into(self, writes: &mut Vec<Self>) {
        // A program that appends a thousand times to one table has written one table.
        let same = |other: &&mut Self| other.name == self.name && other.location == self.location;
        match writes.iter_mut().find(same) {
            Some(earlier) => earlier.add(&self),
            None => writes.push(self),
        }
    }

    fn add(&mut self, other: &Self) {
        // Unknown once is unknown in sum: a number that lacks a part looks like a true one.
        let sum = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_add(b?));
        self.rows = sum(self.rows, other.rows);
        self.bytes = sum(self.bytes, other.bytes);
        self.logical_hash.clone_from(&other.logical_hash);
    }

    fn into_written(self) -> Written {
        let mut written = Written::new(self.name, self.materialization, self.schema);
        written.location = self.location;
        (written.rows, written.bytes) = (self.rows, self.bytes);
        written
    }
}

/// How the table that an `INSERT` goes to is kept. `None` for what changes or deletes rows.
fn table_of(plan: &LogicalPlan) -> Option<(Materialization, Option<String>)> {
    let LogicalPlan::Dml(dml) = plan else { return None };
    if !matches!(dml.op, WriteOp::Insert(_)) {
        return None;
    }
    let provider = source_as_provider(&dml.target).ok()?;
    Some(match provider.downcast_ref::<ListingTable>() {
        Some(files) => (
            Materialization::files(&files.options().format.get_ext()),
            files.table_paths().first().map(ToString::to_string),
        ),
        None => (Materialization::Table, None),
    })
}

/// The last part of a table's name.
fn table_name(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name).trim_matches('"')
}

/// A location as it can be compared: a local path may stand there as a URL, a folder with a slash behind it.
fn plain(location: &str) -> &str {
    // The engine makes URLs of paths, and a program writes either.
    location.strip_prefix("file://").unwrap_or(location).trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Schema;

    use super::*;

    fn write_to(name: &str) -> QueryWrite {
        QueryWrite {
            name: name.to_owned(),
            materialization: Materialization::Table,
            location: None,
            rows: Some(2),
            bytes: None,
            schema: Arc::new(Schema::empty()),
            logical_hash: String::new(),
        }
    }

    #[test]
    fn a_table_that_was_recorded_is_not_another_table() {
        let written = Written::new("a", Materialization::Table, Arc::new(Schema::empty()));
        assert!(write_to("a").is(&written) && write_to("datafusion.public.a").is(&written));
        assert!(!write_to("b").is(&written));
    }

    #[test]
    fn writes_to_one_place_are_one() {
        let mut writes = Vec::new();
        for name in ["a", "b", "a"] {
            write_to(name).merge_into(&mut writes);
        }
        let rows: Vec<_> = writes.iter().map(|write| (write.name.as_str(), write.rows)).collect();
        assert_eq!(rows, [("a", Some(4)), ("b", Some(2))]);
    }
}
