//! The queries of the report: their durations from spans, and the work of their operators from plan bundles.

use std::collections::HashMap;

use daglight_run_bundle::{PlanBundle, milliseconds};

use crate::{
    largest::Largest,
    operator_time::OperatorTime,
    report::{OperatorReport, QueryReport},
    signals::{SLOWEST_QUERIES, SeenQuery, SeenReads},
};

/// The maximum number of nodes whose queries are counted separately.
const MAX_NODES: usize = 20_000;
/// The maximum number of plans whose files are looked up by fingerprint.
const MAX_PLANS: usize = 20_000;
/// The number of operators kept for a query.
const HOTTEST_OPERATORS: usize = 5;
/// The share of a query's time that counts as most of it.
const MOST: f64 = 0.5;
/// Characters of an operator's detail that are kept.
const MAX_DETAIL_CHARS: usize = 200;

/// The plan bundles of a run, in bounded memory.
#[derive(Debug)]
pub(crate) struct PlannedQueries {
    slowest: Largest<QueryReport>,
    nodes: HashMap<String, QueryTotals>,
    /// The file of each plan, by node and fingerprint.
    files: HashMap<(Option<String>, String), String>,
    pub(crate) totals: QueryTotals,
}

/// Sums over queries.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct QueryTotals {
    pub(crate) queries: u64,
    pub(crate) rows_read: u64,
    /// Queries with a source that does not count its rows.
    pub(crate) uncounted: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_spilled: u64,
}

impl Default for PlannedQueries {
    fn default() -> Self {
        // More than are shown: a query that is slow according to its span is not always among the slowest according to its plan.
        let slowest = Largest::new(2 * SLOWEST_QUERIES);
        Self { slowest, nodes: HashMap::new(), files: HashMap::new(), totals: QueryTotals::default() }
    }
}

impl PlannedQueries {
    /// `file` is relative to the bundle's folder.
    pub(crate) fn add(&mut self, file: String, plan: PlanBundle) {
        let metrics = &plan.metrics;
        let rows_read = metrics.rows_read();
        let measured = QueryTotals {
            queries: 1,
            rows_read: rows_read.counted,
            uncounted: u64::from(!rows_read.all_counted),
            bytes_read: metrics.total("bytes_scanned"),
            bytes_spilled: metrics.total("spilled_bytes"),
        };
        let totals = match &plan.executions {
            // In bundles from before plans had sums over their executions, each file was one execution.
            None => measured,
            Some(all) => {
                let mut totals = QueryTotals {
                    queries: all.started,
                    rows_read: all.rows_read,
                    uncounted: all.uncounted,
                    bytes_read: all.bytes_scanned,
                    bytes_spilled: all.bytes_spilled,
                };
                if plan.outcome.is_none() {
                    // The sums do not include an execution that never ended.
                    totals.add(QueryTotals { queries: 0, ..measured });
                }
                totals
            }
        };
        self.totals.add(totals);
        if let Some(hash) = plan.plan_hash.clone().filter(|_| self.files.len() < MAX_PLANS) {
            self.files.insert((plan.node.clone(), hash), file.clone());
        }
        if let Some(node) = &plan.node
            && (self.nodes.len() < MAX_NODES || self.nodes.contains_key(node))
        {
            self.nodes.entry(node.clone()).or_default().add(totals);
        }
        let (hottest_operators, untimed_ms) = (hottest_operators(&plan), untimed_ms(&plan));
        let planning_ms = plan.planning_ms();
        let metrics = plan.metrics;
        self.slowest.offer((metrics.wall_ms.max(0.0) * 1e6) as u64, || QueryReport {
            query_id: plan.query_id,
            node: plan.node,
            plan_hash: plan.plan_hash,
            source_tables: plan.source_tables,
            duration_ms: metrics.wall_ms,
            planning_ms,
            rows_in: rows_read.all_counted.then_some(rows_read.counted),
            rows_out: metrics.rows,
            failed: plan.outcome.is_some_and(|outcome| outcome != "completed"),
            hottest_operators,
            untimed_ms,
            plan_file: Some(file),
        });
    }

    /// The sums over the queries of a node.
    pub(crate) fn of_node(&self, node: &str) -> QueryTotals {
        self.nodes.get(node).copied().unwrap_or_default()
    }
}

impl QueryTotals {
    fn add(&mut self, other: Self) {
        self.queries = self.queries.saturating_add(other.queries);
        self.rows_read = self.rows_read.saturating_add(other.rows_read);
        self.uncounted = self.uncounted.saturating_add(other.uncounted);
        self.bytes_read = self.bytes_read.saturating_add(other.bytes_read);
        self.bytes_spilled = self.bytes_spilled.saturating_add(other.bytes_spilled);
    }

    /// What was read, for cases in which the spans of `seen` queries do not contain it.
    pub(crate) fn reads(&self, seen: u64) -> SeenReads {
        SeenReads {
            says_reads: true,
            queries: self.queries.max(seen),
            rows_read: self.rows_read,
            // A query without a plan is not counted, either.
            uncounted: self.uncounted.saturating_add(seen.saturating_sub(self.queries)),
            bytes_read: self.bytes_read,
            bytes_spilled: self.bytes_spilled,
        }
    }
}

fn hottest_operators(plan: &PlanBundle) -> Vec<OperatorReport> {
    let timed = || {
        let times = plan.metrics.operators.iter();
        let times = times.filter_map(|operator| Some((operator, OperatorTime::of(plan, operator)?)));
        times.filter(|(_, time)| time.total_ms > 0.0)
    };
    let total_ms: f64 = timed().map(|(_, time)| time.total_ms).sum();
    let mut hottest = Largest::new(HOTTEST_OPERATORS);
    for (operator, time) in timed() {
        let ms = time.total_ms;
        hottest.offer((ms * 1e6) as u64, || OperatorReport {
            name: operator.name.clone(),
            table: operator.table.clone(),
            detail: operator.detail.iter().flat_map(|detail| detail.chars()).take(MAX_DETAIL_CHARS).collect(),
            compute_ms: ms,
            partitions: operator.partitions,
            per_partition_ms: operator.partitions.map(|partitions| ms / partitions.max(1) as f64),
            longest_partition_ms: time.longest_ms,
            is_at_least: time.is_at_least,
            share: ms / total_ms,
            rows: operator.output_rows,
        });
    }
    hottest.into_items().collect()
}

/// For a query that did not come to its end, the time that no operator's timer covers, if that is most of it.
fn untimed_ms(plan: &PlanBundle) -> Option<f64> {
    let times: Vec<OperatorTime> =
        plan.metrics.operators.iter().filter_map(|operator| OperatorTime::of(plan, operator)).collect();
    // Operators that pass rows to each other take turns in a partition, so that their times add up to at most that of the
    // partition.
    let timed_ms: f64 = times.iter().map(|time| time.in_partition_ms()).sum();
    let wall_ms = plan.metrics.wall_ms;
    let is_open = times.iter().any(|time| time.is_at_least);
    Some(wall_ms - timed_ms).filter(|ms| is_open && *ms > MOST * wall_ms)
}

/// The slowest queries, combined from their spans and their plans. `node_of` returns the node of the parent span.
pub(crate) fn query_reports(
    seen: Largest<SeenQuery>,
    planned: PlannedQueries,
    node_of: &dyn Fn(&str) -> Option<String>,
) -> Vec<QueryReport> {
    let files = planned.files;
    let mut plans: HashMap<String, QueryReport> =
        planned.slowest.into_items().map(|query| (query.query_id.clone(), query)).collect();
    let mut queries: Vec<QueryReport> = seen
        .into_items()
        .map(|seen| {
            // Removed, so that the remaining ones are queries without a span: those of a killed process.
            let plan = plans.remove(&seen.query_id);
            let node = seen.node.clone().or_else(|| node_of(&seen.parent_span_id));
            let mut query = query_report(seen, node, plan);
            // For a plan with several executions, the file has measurements only of the slowest.
            if let (None, Some(hash)) = (&query.plan_file, query.plan_hash.clone()) {
                query.plan_file = files.get(&(query.node.clone(), hash)).cloned();
            }
            query
        })
        .collect();
    queries.extend(plans.into_values());
    queries.sort_by(|a, b| b.duration_ms.total_cmp(&a.duration_ms).then_with(|| a.query_id.cmp(&b.query_id)));
    queries.truncate(SLOWEST_QUERIES);
    queries
}

fn query_report(seen: SeenQuery, node: Option<String>, plan: Option<QueryReport>) -> QueryReport {
    let milliseconds = |nanoseconds| nanoseconds as f64 / 1e6;
    let plan = plan.unwrap_or_default();
    QueryReport {
        query_id: seen.query_id,
        node: node.or(plan.node),
        plan_hash: seen.plan_hash.or(plan.plan_hash),
        source_tables: if seen.source_tables.is_empty() { plan.source_tables } else { seen.source_tables },
        duration_ms: milliseconds::of_nanoseconds(seen.duration),
        planning_ms: seen.planning.map(milliseconds).or(plan.planning_ms),
        rows_in: seen.rows_read.or(plan.rows_in),
        rows_out: seen.rows.or(plan.rows_out),
        failed: seen.failed || plan.failed,
        hottest_operators: plan.hottest_operators,
        untimed_ms: plan.untimed_ms,
        plan_file: plan.plan_file,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(query_id: u64, node: &str, wall_ms: f64) -> PlanBundle {
        serde_json::from_value(json!({
            "query_id": query_id, "node": node, "outcome": "completed",
            "metrics": {"wall_ms": wall_ms, "rows": 3, "operators": [
                {"id": 0, "name": "SortExec", "elapsed_compute_ms": 1.0, "output_rows": 3},
                {"id": 1, "parent": 0, "name": "HashJoinExec", "detail": "HashJoinExec: on=[a]", "elapsed_compute_ms": 3.0},
                {"id": 2, "parent": 1, "name": "DataSourceExec", "output_rows": 50, "metrics": {"bytes_scanned": 400}},
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn plans_are_summed_by_node_and_the_slowest_kept() {
        let mut planned = PlannedQueries::default();
        for number in 0..100 {
            planned.add(
                "plans/001-a-b.json".into(),
                plan(number, if number < 30 { "a" } else { "b" }, number as f64),
            );
        }
        assert_eq!((planned.of_node("a").queries, planned.of_node("b").rows_read), (30, 3_500));
        assert_eq!((planned.totals.queries, planned.totals.bytes_read), (100, 40_000));
        let slowest: Vec<_> = planned.slowest.into_items().map(|query| query.query_id).collect();
        assert_eq!((slowest.len(), slowest[0].as_str()), (40, "99"));
    }

    #[test]
    fn absurd_counts_of_damaged_files_overflow_nothing() {
        let mut planned = PlannedQueries::default();
        for number in 0..2 {
            let mut absurd = plan(number, "a", 1.0);
            let most = u64::MAX;
            absurd.executions = serde_json::from_value(json!({
                "started": most, "rows_read": most, "uncounted": most, "bytes_scanned": most, "bytes_spilled": most
            }))
            .unwrap();
            for operator in &mut absurd.metrics.operators {
                operator.output_rows = Some(most);
                operator.metrics.insert("spilled_bytes".into(), most);
            }
            planned.add("plans/a-b.json".into(), absurd);
        }
        assert_eq!((planned.totals.queries, planned.totals.bytes_spilled), (u64::MAX, u64::MAX));
        assert_eq!(planned.totals.reads(1).uncounted, u64::MAX);
    }

    /// A query that was killed in a join, of which only its time is known.
    fn killed(join: serde_json::Value) -> QueryReport {
        let plan = json!({
            "query_id": 1, "node": "a", "running": [1],
            "metrics": {"wall_ms": 5_000.0, "operators": [
                {"id": 0, "name": "AggregateExec", "elapsed_compute_ms": 300.0, "end_ms": 5_000.0, "output_rows": 0},
                join,
                {"id": 2, "parent": 1, "name": "SortExec", "elapsed_compute_ms": 20.0, "end_ms": 700.0},
            ]},
        });
        let mut planned = PlannedQueries::default();
        planned.add("plans/a.json".into(), serde_json::from_value(plan).unwrap());
        planned.slowest.into_items().next().unwrap()
    }

    #[test]
    fn the_hottest_operator_of_a_killed_query_has_the_timers_that_run() {
        let query = killed(json!({
            "id": 1, "parent": 0, "name": "NestedLoopJoinExec", "elapsed_compute_ms": 0.0, "end_ms": 5_000.0,
            "partitions": 2, "metrics": {"join_time": 9_000_000_000_u64, "build_time": 1_000_000},
        }));
        let shown: Vec<_> =
            query.hottest_operators.iter().map(|op| (op.name.as_str(), op.time_in_words(5_000.0))).collect();
        let expected = [
            ("NestedLoopJoinExec", "at least 4.50 s on average in each of 2 partitions"),
            ("AggregateExec", "at least 300 ms"),
            ("SortExec", "20 ms"),
        ];
        assert_eq!(shown, expected.map(|(name, time)| (name, time.to_owned())));
        assert_eq!(query.untimed_ms, None);
    }

    #[test]
    fn where_no_timer_of_a_killed_query_has_counted_yet_it_is_not_known_what_took_its_time() {
        let query = killed(
            json!({"id": 1, "parent": 0, "name": "UserExec", "elapsed_compute_ms": 0.0, "end_ms": 5_000.0}),
        );
        assert_eq!(query.untimed_ms, Some(4_680.0));
    }

    #[test]
    fn the_hottest_operator_comes_first_with_its_share() {
        let mut planned = PlannedQueries::default();
        planned.add("plans/001-a-b.json".into(), plan(1, "a", 5.0));
        let query = planned.slowest.into_items().next().unwrap();
        let shown: Vec<_> = query.hottest_operators.iter().map(|op| (op.name.as_str(), op.share)).collect();
        assert_eq!(shown, [("HashJoinExec", 0.75), ("SortExec", 0.25)]);
        assert_eq!((query.rows_in, query.rows_out), (Some(50), Some(3)));
    }
}
