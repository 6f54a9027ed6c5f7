//! What a query shows of the node that it is, in a run whose DAG is seen: its name, what it reads, and what it makes.

use std::{collections::BTreeSet, ptr};

use daglight_capture_policy::{Policy, without_credentials};
use daglight_materializers::{name_of_files, place_of_copy};
use daglight_plan_diagnostics::{PlannedQuery, QueryKind};
use datafusion::{
    arrow::array::Array,
    common::tree_node::TreeNodeRecursion,
    datasource::{
        MemTable,
        listing::{ListingTable, ListingTableUrl},
        source_as_provider,
    },
    logical_expr::{LogicalPlan, TableScan, TableSource},
};
use std::sync::Arc;

use crate::run_dag::{Sight, Thing};

/// Tables that are in the name of a query, the first ones.
const MAX_NAMED: usize = 2;

/// Characters of a hash in a name: of a million queries of the same tables, two alike have odds of 1 to 9.
const HASH_CHARACTERS: usize = 8;

/// Characters of a name that come from one table or file.
const MAX_NAME: usize = 60;

/// The table of a `DataFrame` that was read from files.
const UNNAMED: &str = "?table?";

/// The name of the node that a query is, which is the same in each run of the same program: it depends on nothing but the query.
/// It is called after what it writes, or else after what it reads and a short part of the hash of its plan.
pub(crate) fn name_of(query: &PlannedQuery) -> String {
    let read = names_read(query);
    match &query.kind {
        QueryKind::Copy { target, format } => {
            let name = short(&name_of_files(place_of_copy(target)));
            // The table itself is what `CREATE TABLE` or `INSERT` has made.
            if read.contains(&name) { format!("{name}_{}", short(format)) } else { name }
        }
        QueryKind::Dml { table, operation } => {
            let name = short(table_name(table));
            if operation == "insert" { name } else { format!("{name}_{}", short(operation)) }
        }
        _ => {
            let hash: String = query.fingerprints.logical_hash.chars().take(HASH_CHARACTERS).collect();
            let named: Vec<&str> = read.iter().map(String::as_str).take(MAX_NAMED).collect();
            if named.is_empty() { format!("query_{hash}") } else { format!("{}_{hash}", named.join("_")) }
        }
    }
}

/// The name of the node that makes a table.
pub(crate) fn name_of_table(table: &str) -> String {
    short(table_name(table))
}

/// The table, as what reads it calls it.
pub(crate) fn table(name: &str) -> Thing {
    Thing::Table(table_name(name).to_owned())
}

/// What a query reads and makes.
pub(crate) fn sight_of(query: &PlannedQuery, policy: &Policy, with_text: bool) -> Sight {
    let mut reads: Vec<Thing> = query.source_tables.iter().map(|name| table(name)).collect();
    scans(&query.optimized, |scan| {
        reads.push(table(&scan.table_name.to_string()));
        reads.extend(places(&scan.source).into_iter().map(Thing::Place));
    });
    reads.extend(columns_read(query));
    // Every `DataFrame` that was read from files calls its table so.
    reads.retain(|thing| *thing != Thing::Table(UNNAMED.to_owned()));
    let (makes, is_saver, output_type) = match &query.kind {
        QueryKind::Copy { target, format } => (vec![Thing::Place(place_of(target))], true, format.clone()),
        QueryKind::Dml { table: name, .. } => (made_by_dml(query, name), false, "table".to_owned()),
        _ => (Vec::new(), false, "table".to_owned()),
    };
    let text = || policy.capture_sql(&query.texts.logical_without_literals).map(|text| text.to_text());
    Sight {
        reads,
        makes,
        is_saver,
        output_type,
        logical_hash: query.fingerprints.logical_hash.clone(),
        text: with_text.then(text).flatten(),
    }
}

/// The tables in memory that a query reads.
pub(crate) fn columns_read(query: &PlannedQuery) -> Vec<Thing> {
    let mut read = Vec::new();
    scans(&query.optimized, |scan| {
        let name = table_name(&scan.table_name.to_string()).to_owned();
        let of_table = |column| Thing::Column(name.clone(), column);
        read.extend(first_columns(&scan.source).into_iter().map(of_table));
    });
    read
}

fn made_by_dml(query: &PlannedQuery, name: &str) -> Vec<Thing> {
    let mut made = vec![table(name)];
    if let LogicalPlan::Dml(dml) = &query.optimized {
        made.extend(places(&dml.target).into_iter().map(Thing::Place));
    }
    made
}

/// What a query reads, as it stands in names.
fn names_read(query: &PlannedQuery) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for name in query.source_tables.iter().filter(|name| *name != UNNAMED) {
        let is_place = name.contains('/');
        names.insert(short(&if is_place { name_of_files(name) } else { table_name(name).to_owned() }));
    }
    if query.source_tables.iter().any(|name| name == UNNAMED) {
        scans(&query.optimized, |scan| {
            if scan.table_name.table() == UNNAMED {
                names.extend(places(&scan.source).iter().map(|place| short(&name_of_files(place))));
            }
        });
    }
    names
}

fn scans(plan: &LogicalPlan, mut each: impl FnMut(&TableScan)) {
    // It only fails where what it does with a plan fails.
    let _ = plan.apply_with_subqueries(|plan| {
        if let LogicalPlan::TableScan(scan) = plan {
            each(scan);
        }
        Ok(TreeNodeRecursion::Continue)
    });
}

/// Where the files of a table are.
fn places(source: &Arc<dyn TableSource>) -> Vec<String> {
    let provider = source_as_provider(source).ok();
    let files = provider.as_ref().and_then(|provider| provider.downcast_ref::<ListingTable>());
    files
        .map(|files| files.table_paths().iter().map(|path| plain(path.as_str())).collect())
        .unwrap_or_default()
}

/// With which columns a table in memory begins, one for each of its partitions.
fn first_columns(source: &Arc<dyn TableSource>) -> Vec<usize> {
    let provider = source_as_provider(source).ok();
    let Some(table) = provider.as_ref().and_then(|provider| provider.downcast_ref::<MemTable>()) else {
        return Vec::new();
    };
    // A table that is being written to is not waited for.
    let partitions = table.batches.iter().filter_map(|partition| partition.try_read().ok());
    let first = |batches: &Vec<datafusion::arrow::array::RecordBatch>| {
        let batch = batches.iter().find(|batch| batch.num_rows() > 0)?;
        batch.columns().first().map(|column| ptr::from_ref::<dyn Array>(column.as_ref()).addr())
    };
    partitions.filter_map(|batches| first(&batches)).collect()
}

/// The place of a `COPY`, as a table of the files in it has it.
fn place_of(target: &str) -> String {
    let place = place_of_copy(target);
    plain(&ListingTableUrl::parse(place).map_or_else(|_| place.to_owned(), |url| url.as_str().to_owned()))
}

fn plain(place: &str) -> String {
    place.strip_prefix("file://").unwrap_or(place).trim_end_matches('/').to_owned()
}

/// Without the default catalog and schema.
fn table_name(name: &str) -> &str {
    let name = name.strip_prefix("datafusion.").unwrap_or(name);
    name.strip_prefix("public.").unwrap_or(name)
}

/// Letters and digits of a name, for names of nodes.
fn short(name: &str) -> String {
    let shown = without_credentials(name);
    let words = shown.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty());
    let name: String = words.collect::<Vec<_>>().join("_").chars().take(MAX_NAME).collect();
    if name.is_empty() { "output".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_without_what_is_secret() {
        let names = [
            "datafusion.public.orders",
            "raw.\"late orders\"",
            "größe-2024",
            "?",
            "postgres://me:secret@host/db",
        ];
        let short: Vec<String> = names.iter().map(|name| name_of_table(name)).collect();
        assert_eq!(short[..4], ["orders", "raw_late_orders", "größe_2024", "output"]);
        assert!(!short[4].contains("secret"), "{}", short[4]);
        assert_eq!(name_of_table(&"a".repeat(500)).len(), MAX_NAME);
    }

    #[test]
    fn places_are_compared_as_paths() {
        assert_eq!(place_of("/tmp/x/orders.parquet"), plain("file:///tmp/x/orders.parquet"));
        assert_eq!(place_of("/tmp/x/"), "/tmp/x");
        assert_eq!(place_of("s3://bucket/x/"), "s3://bucket/x");
    }
}
