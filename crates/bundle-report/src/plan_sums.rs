//! Sums over the plans of a run, in bounded memory: tables that were read, operators, and lineage of columns.

use std::collections::{BTreeMap, HashMap};

use daglight_capture_policy::operator_name;
use daglight_run_bundle::{ColumnSources, DirectSource, PlanBundle, PlanLineage, PlanSource};

use crate::{
    operator_time::OperatorTime,
    report::{ColumnLineageReport, LineageReport, OperatorTotal, TableReport},
    signals::entry,
};

/// The maximum number of tables and operators, each with its node.
const MAX_KEPT: usize = 20_000;
/// The maximum number of tables in a report: those from which most was read.
const MAX_TABLES: usize = 500;
/// The maximum number of operators in a report: those that computed longest.
const MAX_OPERATORS: usize = 100;
/// The term in a plan for a column that affects a window.
const WINDOW: &str = "window";
/// The term for a column that only decides which of several values another one has.
const CONDITIONAL: &str = "conditional";
/// The maximum number of nodes whose lineage is in a report.
const MAX_LINEAGES: usize = 200;
/// The maximum number of columns for each of them.
const MAX_COLUMNS: usize = 50;
/// The maximum number of source columns for a column, or for the rows of a node.
const MAX_SOURCES: usize = 20;

/// A node, if any, and the table or operator.
type Key = (Option<String>, String);

/// The number of files, and their size.
type FilesAndBytes = (Option<u64>, Option<u64>);

/// The sums so far.
#[derive(Debug, Default)]
pub(crate) struct PlanSums {
    tables: HashMap<Key, TableReport>,
    /// The files and bytes of each location of a table; `None` for unknown locations.
    files: HashMap<(Key, Option<String>), FilesAndBytes>,
    /// Bytes of a table that requests to object stores have returned.
    requested: HashMap<Key, u64>,
    operators: HashMap<Key, OperatorTotal>,
    /// By node, with the time of the query to which it belongs.
    lineages: BTreeMap<String, (f64, LineageReport)>,
}

/// The part of the sums in a report.
#[derive(Debug, Default)]
pub(crate) struct Summed {
    pub(crate) tables: Vec<TableReport>,
    pub(crate) operators: Vec<OperatorTotal>,
    pub(crate) lineages: Vec<LineageReport>,
    /// Bytes of all tables whose scans do not count them, as far as known from requests to object stores.
    pub(crate) uncounted_bytes: u64,
    /// Whether there are tables in files for which it is unknown how much was read.
    pub(crate) has_unknown_bytes: bool,
}

impl Summed {
    /// All bytes that were read, given the number that scans have counted; `None` if an unknown number was read from files.
    pub(crate) fn bytes_read(&self, counted: u64) -> Option<u64> {
        let bytes = counted.saturating_add(self.uncounted_bytes);
        (bytes > 0 || !self.has_unknown_bytes).then_some(bytes)
    }
}

impl PlanSums {
    pub(crate) fn add(&mut self, plan: &PlanBundle) {
        for source in &plan.sources {
            let Some(table) = source.table.as_ref().or(source.location.as_ref()) else { continue };
            let key = (plan.node.clone(), table.clone());
            let Some(sum) = entry(&mut self.tables, &key, MAX_KEPT) else { continue };
            (sum.node, sum.table) = key;
            sum.scans += 1;
            sum.format = sum.format.take().or_else(|| source.format.clone());
            for (sum, value) in [
                (&mut sum.rows, source.rows),
                (&mut sum.bytes_read, source.bytes_scanned),
                (&mut sum.row_groups_read, source.row_groups_read),
                (&mut sum.row_groups_pruned, source.row_groups_pruned),
                (&mut sum.pages_read, source.pages_read),
                (&mut sum.pages_pruned, source.pages_pruned),
            ] {
                *sum = plus(*sum, value);
            }
            self.add_files(plan.node.clone(), table.clone(), source);
        }
        for used in &plan.storage {
            let Some(table) = &used.table else { continue };
            let key = (plan.node.clone(), table.clone());
            if let Some(sum) = self.tables.get_mut(&key) {
                sum.requests = sum.requests.saturating_add(used.requests);
                if used.operation == "get" {
                    let sum = self.requested.entry(key).or_default();
                    *sum = sum.saturating_add(used.bytes);
                }
            }
        }
        for operator in &plan.metrics.operators {
            let key = (plan.node.clone(), operator_name(&operator.name, operator.table.as_deref()));
            let Some(sum) = entry(&mut self.operators, &key, MAX_KEPT) else { continue };
            (sum.node, sum.operator) = key;
            sum.count += 1;
            let time = OperatorTime::of(plan, operator);
            sum.compute_ms += time.map_or(0.0, |time| time.total_ms);
            if let Some(waited_ms) = time.and_then(|time| time.waited_ms) {
                *sum.waited_ms.get_or_insert(0.0) += waited_ms;
            }
            sum.rows = sum.rows.saturating_add(operator.output_rows.unwrap_or(0));
            sum.memory_bytes = sum.memory_bytes.max(operator.memory_bytes);
            sum.spilled_bytes = sum.spilled_bytes.saturating_add(operator.spilled_bytes.unwrap_or(0));
        }
        self.add_lineage(plan);
    }

    /// Files that are scanned again count once: of the scans of a location, the one with the most files is used.
    fn add_files(&mut self, node: Option<String>, table: String, source: &PlanSource) {
        let place = ((node, table), source.location.clone());
        if let Some((files, bytes)) = entry(&mut self.files, &place, MAX_KEPT) {
            *files = (*files).max(source.files);
            *bytes = (*bytes).max(source.bytes);
        }
    }

    fn add_lineage(&mut self, plan: &PlanBundle) {
        let (Some(node), Some(lineage)) = (&plan.node, &plan.lineage) else { return };
        if lineage.columns.iter().all(|column| column.sources.is_empty()) {
            return;
        }
        let before = self.lineages.get(node).map(|(ms, _)| *ms);
        let has_room = self.lineages.len() < MAX_LINEAGES || before.is_some();
        if has_room && before.is_none_or(|before| plan.metrics.wall_ms > before) {
            self.lineages.insert(node.clone(), (plan.metrics.wall_ms, lineage_of(node, lineage)));
        }
    }

    pub(crate) fn into_summed(mut self) -> Summed {
        for ((table, _), (files, bytes)) in self.files {
            if let Some(sum) = self.tables.get_mut(&table) {
                sum.files = plus(sum.files, files);
                sum.file_bytes = plus(sum.file_bytes, bytes);
            }
        }
        let mut uncounted_bytes = 0_u64;
        for (table, bytes) in self.requested {
            // Scans of CSV and JSON do not count what they read.
            if let Some(sum) = self.tables.get_mut(&table).filter(|sum| sum.bytes_read.is_none()) {
                sum.bytes_read = Some(bytes);
                uncounted_bytes = uncounted_bytes.saturating_add(bytes);
            }
        }
        let is_unknown = |table: &TableReport| table.bytes_read.is_none() && table.files.is_some();
        let has_unknown_bytes = self.tables.values().any(is_unknown);
        let mut tables: Vec<TableReport> = self.tables.into_values().collect();
        tables.sort_by(|a, b| {
            let read = |table: &TableReport| (table.bytes_read, table.rows);
            read(b).cmp(&read(a)).then_with(|| (&a.table, &a.node).cmp(&(&b.table, &b.node)))
        });
        tables.truncate(MAX_TABLES);
        let mut operators: Vec<OperatorTotal> = self.operators.into_values().collect();
        operators.sort_by(|a, b| {
            let names = (&a.operator, &a.node).cmp(&(&b.operator, &b.node));
            b.compute_ms.total_cmp(&a.compute_ms).then(names)
        });
        operators.truncate(MAX_OPERATORS);
        let lineages = self.lineages.into_values().map(|(_, lineage)| lineage).collect();
        Summed { tables, operators, lineages, uncounted_bytes, has_unknown_bytes }
    }
}

/// If no scan counts it, the sum is unknown instead of zero.
pub(crate) fn plus(sum: Option<u64>, more: Option<u64>) -> Option<u64> {
    more.map_or(sum, |more| Some(sum.unwrap_or(0).saturating_add(more)))
}

fn lineage_of(node: &str, lineage: &PlanLineage) -> LineageReport {
    let columns = lineage.columns.iter().take(MAX_COLUMNS);
    let column = |table: &str, column: &str| format!("{table}.{column}");
    let by_window =
        lineage.indirect.iter().filter(|source| source.influences.iter().any(|how| how == WINDOW));
    let window: Vec<String> =
        by_window.take(MAX_SOURCES).map(|source| column(&source.table, &source.column)).collect();
    let of_column = |of: &ColumnSources| {
        let (conditions, values): (Vec<_>, Vec<_>) =
            of.sources.iter().partition(|source| source.derivation == CONDITIONAL);
        let first = |sources: &[&DirectSource]| -> Vec<String> {
            sources.iter().take(MAX_SOURCES).map(|source| column(&source.table, &source.column)).collect()
        };
        ColumnLineageReport {
            name: of.name.clone(),
            from: first(&values),
            chosen_by: first(&conditions),
            window: if of.sources.is_empty() { window.clone() } else { Vec::new() },
            derivation: furthest(values.iter().map(|source| source.derivation.as_str())),
        }
    };
    LineageReport {
        node: node.to_owned(),
        columns: columns.map(of_column).collect(),
        columns_left_out: lineage.columns.len().saturating_sub(MAX_COLUMNS) as u64,
        rows_by: lineage
            .indirect
            .iter()
            .take(MAX_SOURCES)
            .map(|source| {
                let how = source.influences.join(" and ").replace('_', " ");
                format!("{}: {how}", column(&source.table, &source.column))
            })
            .collect(),
        unresolved: lineage.unresolved.iter().take(MAX_SOURCES).cloned().collect(),
    }
}

/// The most significant derivation: an aggregate of copies is an aggregate.
fn furthest<'d>(derivations: impl Iterator<Item = &'d str>) -> Option<String> {
    let rank = |derivation: &&str| match *derivation {
        "aggregation" => 2,
        "transformation" => 1,
        _ => 0,
    };
    derivations.max_by_key(rank).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use daglight_run_bundle::IndirectSource;
    use serde_json::json;

    use super::*;

    fn plan(node: &str, wall_ms: f64, rows: u64) -> PlanBundle {
        serde_json::from_value(json!({
            "node": node,
            "sources": [
                {"table": "orders", "format": "parquet", "rows": rows, "bytes_scanned": 100, "files": 2, "bytes": 900,
                    "row_groups_read": 1, "row_groups_pruned": 3},
                {"location": "/data/x.csv", "rows": null},
            ],
            "storage": [{"store": "file://", "table": "orders", "operation": "get", "requests": 4}],
            "lineage": {
                "columns": [{"name": "total", "sources": [
                    {"table": "orders", "column": "price", "derivation": "identity"},
                    {"table": "orders", "column": "status", "derivation": "conditional"},
                    {"table": "orders", "column": "tax", "derivation": "aggregation"}]}],
                "indirect": [{"table": "orders", "column": "day", "influences": ["filter", "group_by"]}],
            },
            "metrics": {"wall_ms": wall_ms, "operators": [
                {"name": "SortExec", "elapsed_compute_ms": 5.0, "output_rows": rows, "memory_bytes": 7, "spilled_bytes": 9},
                {"name": "DataSourceExec", "table": "orders", "elapsed_compute_ms": 50.0, "output_rows": rows}]},
        }))
        .unwrap()
    }

    #[test]
    fn plans_of_a_node_add_up() {
        let mut sums = PlanSums::default();
        for plan in [plan("a", 1.0, 10), plan("a", 2.0, 20), plan("b", 1.0, 5), PlanBundle::default()] {
            sums.add(&plan);
        }
        let summed = sums.into_summed();
        let tables: Vec<_> = summed
            .tables
            .iter()
            .map(|table| (&*table.table, table.node.as_deref(), table.rows, table.bytes_read, table.requests))
            .collect();
        assert_eq!(
            tables,
            [
                ("orders", Some("a"), Some(30), Some(200), 8),
                ("orders", Some("b"), Some(5), Some(100), 4),
                ("/data/x.csv", Some("a"), None, None, 0),
                ("/data/x.csv", Some("b"), None, None, 0),
            ]
        );
        assert_eq!(
            (summed.tables[0].row_groups_read, summed.tables[0].row_groups_pruned),
            (Some(2), Some(6))
        );
        let first = &summed.operators[0];
        assert_eq!((&*first.operator, first.count, first.compute_ms), ("DataSourceExec (orders)", 2, 100.0));
        let sort = summed.operators.iter().find(|operator| operator.operator == "SortExec").unwrap();
        assert_eq!((sort.memory_bytes, sort.spilled_bytes, sort.rows), (Some(7), 18, 30));
        let lineage = &summed.lineages[0];
        assert_eq!(
            (&*lineage.node, &*lineage.columns[0].from),
            ("a", ["orders.price", "orders.tax"].map(str::to_owned).as_slice())
        );
        assert_eq!(lineage.columns[0].chosen_by, ["orders.status"]);
        assert_eq!(lineage.columns[0].derivation.as_deref(), Some("aggregation"));
        assert_eq!(lineage.rows_by, ["orders.day: filter and group by"]);
        let numbered = PlanLineage {
            columns: vec![ColumnSources { name: "n".into(), ..ColumnSources::default() }],
            indirect: vec![IndirectSource {
                table: "orders".into(),
                column: "day".into(),
                influences: vec!["window".into()],
            }],
            ..PlanLineage::default()
        };
        assert_eq!(lineage_of("a", &numbered).columns[0].window, ["orders.day"]);
    }

    #[test]
    fn files_of_a_table_count_once_however_often_they_are_scanned() {
        let scan = |location: Option<&str>, bytes: u64| json!({"table": "orders", "location": location, "files": 1, "bytes": bytes, "bytes_scanned": 100});
        let plan = |sources: &[serde_json::Value]| -> PlanBundle {
            serde_json::from_value(json!({"node": "a", "sources": sources})).unwrap()
        };
        let check = |plans: &[PlanBundle], files, file_bytes, bytes_read| {
            let mut sums = PlanSums::default();
            plans.iter().for_each(|plan| sums.add(plan));
            let table = &sums.into_summed().tables[0];
            assert_eq!(
                (table.files, table.file_bytes, table.bytes_read),
                (Some(files), Some(file_bytes), Some(bytes_read))
            );
        };
        let (first, second) = (scan(Some("/data/1.csv"), 900), scan(Some("/data/2.csv"), 50));
        let self_join = plan(&[first.clone(), first.clone()]);
        check(std::slice::from_ref(&self_join), 1, 900, 200);
        check(&[self_join.clone(), self_join], 1, 900, 400);
        check(&[plan(&[first, second])], 2, 950, 200);
        // If the policy hides their locations, only the files of a single scan are certain.
        check(&[plan(&[scan(None, 900), scan(None, 50)])], 1, 900, 200);
    }

    #[test]
    fn bytes_of_a_table_that_no_scan_counts_are_those_of_its_requests() {
        let table = |scanned: Option<u64>| {
            let plan: PlanBundle = serde_json::from_value(json!({
                "sources": [{"table": "t", "format": "csv", "bytes_scanned": scanned}],
                "storage": [
                    {"table": "t", "operation": "get", "requests": 2, "bytes": 700},
                    {"table": "t", "operation": "head", "requests": 1, "bytes": 9},
                    {"table": "other", "operation": "get", "requests": 1, "bytes": 5},
                ],
            }))
            .unwrap();
            let mut sums = PlanSums::default();
            sums.add(&plan);
            sums.add(&plan);
            sums.into_summed().tables.remove(0).bytes_read
        };
        assert_eq!((table(None), table(Some(50))), (Some(1_400), Some(100)));
    }

    #[test]
    fn bytes_of_a_run_are_those_of_its_tables() {
        let bytes = |format: &str, files: Option<u64>, scanned: Option<u64>, requested: u64| {
            let plan: PlanBundle = serde_json::from_value(json!({
                "sources": [{"table": "t", "format": format, "files": files, "bytes_scanned": scanned}],
                "storage": [{"table": "t", "operation": "get", "requests": 2, "bytes": requested}],
            }))
            .unwrap();
            let mut sums = PlanSums::default();
            sums.add(&plan);
            sums.into_summed().bytes_read(scanned.unwrap_or(0))
        };
        assert_eq!(bytes("parquet", Some(1), Some(1_727_610), 1_800_000), Some(1_727_610));
        assert_eq!(bytes("csv", Some(6), None, 14_228_345), Some(14_228_345));
        assert_eq!(bytes("memory", None, None, 0), Some(0));
        let mut sums = PlanSums::default();
        let unasked: PlanBundle =
            serde_json::from_value(json!({"sources": [{"table": "t", "format": "csv", "files": 6}]}))
                .unwrap();
        sums.add(&unasked);
        assert_eq!(sums.into_summed().bytes_read(0), None);
    }

    #[test]
    fn a_run_of_many_plans_stays_bounded() {
        let mut sums = PlanSums::default();
        for number in 0..MAX_KEPT + 100 {
            sums.add(&plan(&format!("n{number}"), 1.0, 1));
        }
        assert!(sums.tables.len() <= MAX_KEPT && sums.operators.len() <= MAX_KEPT);
        let summed = sums.into_summed();
        assert_eq!((summed.tables.len(), summed.operators.len(), summed.lineages.len()), (500, 100, 200));
    }
}
