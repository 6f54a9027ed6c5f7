//! Which table each scan of a physical plan reads.
//!
//! A physical plan names files or batches, and no tables. Each leaf is matched with the scans of the logical plan: by its
//! files, by the schema that it shares with its table, or else by its columns, where just one table has them.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::DataType};
use datafusion::{
    catalog::TableProvider,
    common::tree_node::TreeNodeRecursion,
    datasource::{
        MemTable, listing::ListingTable, memory::MemorySourceConfig, physical_plan::FileScanConfig,
        source::DataSourceExec, source_as_provider,
    },
    logical_expr::{LogicalPlan, WriteOp},
    physical_plan::{
        ExecutionPlan, empty::EmptyExec, placeholder_row::PlaceholderRowExec, work_table::WorkTableExec,
    },
};

use crate::query_kind::QueryKind;

/// What a leaf of a physical plan is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leaf {
    /// Reads rows of a table, whose name is known or not.
    Scan(Option<String>),
    /// Changes rows of a table where they are, and returns how many. It has read this many, where that is known.
    Change(Option<u64>),
    /// Has its rows from the query itself, as `VALUES` has, or from another part of the plan.
    Inner,
}

impl Leaf {
    /// The table, as the query calls it.
    pub(crate) fn table(&self) -> Option<&str> {
        match self {
            Self::Scan(table) => table.as_deref(),
            Self::Change(_) | Self::Inner => None,
        }
    }
}

/// The leaves of a plan in pre-order. `logical` is the plan that it was made of, `rows_to_change` what that function said
/// before.
pub(crate) fn leaves(
    physical: &Arc<dyn ExecutionPlan>,
    logical: &LogicalPlan,
    rows_to_change: Option<u64>,
) -> Vec<Leaf> {
    let mut plans = Vec::new();
    collect(physical, &mut plans);
    let scans = scans(logical);
    let is_write = QueryKind::of(logical).is_write();
    let mut is_used = vec![false; scans.len()];
    let mut found: Vec<Option<Leaf>> = plans
        .iter()
        .map(|leaf| {
            if gives_no_table_rows(leaf.as_ref()) {
                return Some(Leaf::Inner);
            }
            // A table that changes itself in place, such as `MemTable`, plans UPDATE and DELETE as a leaf that returns
            // the count, with no scan below it.
            if is_write && returns_count(leaf.as_ref()) {
                return Some(Leaf::Change(rows_to_change));
            }
            let matches: Vec<usize> =
                (0..scans.len()).filter(|at| scans[*at].is_read_by(leaf.as_ref())).collect();
            // All of them: one file may be two tables, and then neither is left for others.
            matches.iter().for_each(|at| is_used[*at] = true);
            let matches = matches.iter().map(|at| &scans[*at]);
            (matches.len() > 0).then(|| Leaf::Scan(only_name(matches, leaf.as_ref())))
        })
        .collect();
    // Only among the scans that no leaf has matched, so that a table of the user's own provider gets its name by
    // elimination.
    let left: Vec<&Scan> =
        scans.iter().zip(&is_used).filter(|(_, used)| !**used).map(|(scan, _)| scan).collect();
    for (leaf, found) in plans.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
        let with_columns: Vec<&&Scan> =
            left.iter().filter(|scan| scan.has_columns_of(leaf.as_ref())).collect();
        let is_in_query = with_columns.is_empty() && memory_source(leaf.as_ref()).is_some();
        *found = Some(match is_in_query {
            true => Leaf::Inner,
            false => Leaf::Scan(only_name(with_columns.into_iter().copied(), leaf.as_ref())),
        });
    }
    found.into_iter().flatten().collect()
}

/// The rows that an `UPDATE` or a `DELETE` of a table in memory will look at, which are all that it has. To be called before
/// the plan is made: that already changes the table.
pub(crate) fn rows_to_change(logical: &LogicalPlan) -> Option<u64> {
    let dml = match logical {
        LogicalPlan::Dml(dml) => dml,
        LogicalPlan::Analyze(analyze) => return rows_to_change(&analyze.input),
        _ => return None,
    };
    if !matches!(dml.op, WriteOp::Update | WriteOp::Delete) {
        return None;
    }
    let provider = source_as_provider(&dml.target).ok()?;
    let table = provider.downcast_ref::<MemTable>()?;
    let rows_of = |batches: &[RecordBatch]| batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
    // Nobody is waited for: where somebody else writes at this moment, the number is not known.
    table.batches.iter().map(|partition| Some(rows_of(&partition.try_read().ok()?))).sum()
}

/// Whether the leaf counts the rows that it returns.
pub(crate) fn counts_rows(leaf: &dyn ExecutionPlan) -> bool {
    match leaf.downcast_ref::<DataSourceExec>() {
        Some(source) => source.data_source().downcast_ref::<FileScanConfig>().is_some(),
        None => leaf.name() == "LazyMemoryExec",
    }
}

fn collect(plan: &Arc<dyn ExecutionPlan>, leaves: &mut Vec<Arc<dyn ExecutionPlan>>) {
    let children = plan.children();
    if children.is_empty() {
        leaves.push(Arc::clone(plan));
    }
    children.into_iter().for_each(|child| collect(child, leaves));
}

fn gives_no_table_rows(leaf: &dyn ExecutionPlan) -> bool {
    leaf.is::<EmptyExec>() || leaf.is::<PlaceholderRowExec>() || leaf.is::<WorkTableExec>()
}

/// Whether it returns what writes return: one column that is called `count`.
fn returns_count(leaf: &dyn ExecutionPlan) -> bool {
    let schema = leaf.schema();
    let [column] = &schema.fields()[..] else { return false };
    column.name() == "count" && *column.data_type() == DataType::UInt64
}

/// A scan of the logical plan.
struct Scan {
    name: String,
    provider: Option<Arc<dyn TableProvider>>,
    columns: Vec<String>,
}

fn scans(plan: &LogicalPlan) -> Vec<Scan> {
    let mut scans = Vec::new();
    let visited = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            scans.push(Scan {
                name: scan.table_name.to_string(),
                provider: source_as_provider(&scan.source).ok(),
                columns: scan.source.schema().fields().iter().map(|field| field.name().clone()).collect(),
            });
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(visited.is_ok(), "the visitor returns no error");
    scans
}

impl Scan {
    /// Whether the leaf certainly reads this table, or another one that has the same files or batches.
    fn is_read_by(&self, leaf: &dyn ExecutionPlan) -> bool {
        let Some(provider) = &self.provider else { return false };
        if let Some(memory) = memory_source(leaf) {
            // By identity and not by equality: two tables may have the same columns, and a scan shares the schema of
            // its table.
            return Arc::ptr_eq(&memory.original_schema(), &provider.schema());
        }
        match (file_scan(leaf), provider.downcast_ref::<ListingTable>()) {
            (Some(files), Some(listing)) => listing.table_paths().iter().any(|path| {
                let mut files_read = files.file_groups.iter().flat_map(|group| group.iter()).peekable();
                path.object_store() == files.object_store_url
                    && files_read.peek().is_some()
                    && files_read.all(|file| path.strip_prefix(file.path()).is_some())
            }),
            // A custom provider: whether its leaf shares the schema of the table is all that both sides show.
            (None, None) => Arc::ptr_eq(&leaf.schema(), &provider.schema()),
            _ => false,
        }
    }

    fn has_columns_of(&self, leaf: &dyn ExecutionPlan) -> bool {
        leaf.schema().fields().iter().all(|field| self.columns.contains(field.name()))
    }
}

/// The name that all scans have, or the only ones with the columns of the leaf.
fn only_name<'s>(scans: impl Iterator<Item = &'s Scan> + Clone, leaf: &dyn ExecutionPlan) -> Option<String> {
    let one = |mut names: &mut dyn Iterator<Item = &'s Scan>| {
        let first = names.next()?;
        (&mut names).all(|scan| scan.name == first.name).then(|| first.name.clone())
    };
    one(&mut scans.clone()).or_else(|| one(&mut scans.filter(|scan| scan.has_columns_of(leaf))))
}

fn memory_source(leaf: &dyn ExecutionPlan) -> Option<&MemorySourceConfig> {
    leaf.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref()
}

fn file_scan(leaf: &dyn ExecutionPlan) -> Option<&FileScanConfig> {
    leaf.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref()
}
