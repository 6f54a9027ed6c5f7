//! The operators of plans that let only some rows pass, with their input and output: places where rows can be lost.
//!
//! A place is identified by what it does and by the tables below it, so that it can be found again in a plan whose sides were
//! swapped, or that uses another join algorithm.

use std::collections::{BTreeMap, BTreeSet};

use daglight_run_bundle::PlanBundle;

use super::source_files::SourceFiles;
use crate::findings::PlanView;

/// The maximum number of operators of a plan: a larger one is not inspected.
const MAX_OPERATORS: usize = 2_000;
/// The maximum number of columns of a plan's schema.
const MAX_COLUMNS: usize = 1_000;

/// The compared parts of one plan.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlanRows {
    pub(crate) node: String,
    pub(crate) query_id: String,
    /// The plan's file in the bundle.
    pub(crate) file: String,
    plan_hash: Option<String>,
    logical_hash: Option<String>,
    pub(crate) places: BTreeMap<PlaceKey, Place>,
    /// The files of its tables.
    pub(super) sources: BTreeMap<String, SourceFiles>,
    /// The columns that it returns, as `name type`.
    pub(crate) columns: BTreeSet<String>,
}

/// The key that identifies a place across plans.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PlaceKey {
    is_join: bool,
    /// The tables below it.
    tables: BTreeSet<String>,
    /// Its number among those that are otherwise the same, from the top.
    number: usize,
}

/// An operator that lets only some rows pass.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    /// Its name, with the table that it scans.
    pub(crate) operator: String,
    pub(crate) is_join: bool,
    /// The amount from each of its inputs.
    pub(crate) inputs: Vec<Amount>,
    pub(crate) rows_out: u64,
}

/// An amount of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    Rows(u64),
    /// The size of the files of a scan that filters rows itself, which is more meaningful than the number of rows that it returned.
    Bytes(u64),
}

impl PlanRows {
    /// `None` for a plan without a node, and if the result of a complete execution is unknown: a plan that ran several times has
    /// the measurements of one of them, perhaps with other parameters than in the other run.
    pub(crate) fn of(plan: &PlanBundle, file: &str) -> Option<Self> {
        let node = plan.node.clone()?;
        let ran_once = plan.executions.as_ref().is_none_or(|all| all.started == 1);
        if !ran_once || plan.outcome.as_deref() != Some("completed") {
            return None;
        }
        let columns = plan.schema.iter().take(MAX_COLUMNS);
        Some(Self {
            node,
            query_id: plan.query_id.clone(),
            file: file.to_owned(),
            plan_hash: plan.plan_hash.clone(),
            logical_hash: plan.logical_hash.clone(),
            places: places(&PlanView::new(plan, file)),
            sources: SourceFiles::of(plan),
            columns: columns.map(|column| format!("{} {}", column.name, column.data_type)).collect(),
        })
    }

    /// The number of rows at its places, for ranking plans.
    pub(crate) fn weight(&self) -> u64 {
        let inputs = self.places.values().flat_map(|place| &place.inputs);
        inputs.fold(0, |sum, input| sum.saturating_add(input.number()))
    }

    /// The plan of the same query among those of the same node in another run: the one with the same fingerprint, or with the same
    /// logical plan, or the only one. `is_only` is whether this plan is the only one of its node.
    pub(crate) fn same_of<'o>(&self, others: &[&'o Self], is_only: bool) -> Option<&'o Self> {
        let by = |hash: fn(&Self) -> Option<&String>| {
            let own = hash(self)?;
            others.iter().copied().find(|other| hash(other) == Some(own))
        };
        let only = || others.first().copied().filter(|_| is_only && others.len() == 1);
        by(|plan| plan.plan_hash.as_ref()).or_else(|| by(|plan| plan.logical_hash.as_ref())).or_else(only)
    }
}

/// The pairs of plans for the same query in both runs, with the plan of this run first.
pub(super) fn pairs<'p>(
    before: &'p [PlanRows],
    after: &'p [PlanRows],
) -> impl Iterator<Item = (&'p PlanRows, &'p PlanRows)> {
    let mut of_node: BTreeMap<&str, Vec<&PlanRows>> = BTreeMap::new();
    for plan in before {
        of_node.entry(&plan.node).or_default().push(plan);
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for plan in after {
        *counts.entry(&plan.node).or_default() += 1;
    }
    after.iter().filter_map(move |plan| {
        let others = of_node.get(&*plan.node)?;
        let is_only = counts.get(&*plan.node) == Some(&1);
        Some((plan, plan.same_of(others, is_only)?))
    })
}

impl Amount {
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Rows(number) | Self::Bytes(number) => number,
        }
    }

    /// The ratio to the earlier amount; `None` if that is zero, or the two have different units.
    pub(crate) fn ratio_to(self, before: Self) -> Option<f64> {
        match (before, self) {
            (Self::Rows(before), Self::Rows(now)) | (Self::Bytes(before), Self::Bytes(now)) => {
                (before > 0).then(|| now as f64 / before as f64)
            }
            _ => None,
        }
    }
}

fn places(plan: &PlanView<'_>) -> BTreeMap<PlaceKey, Place> {
    let count = plan.operators().count();
    let mut places = BTreeMap::new();
    if count > MAX_OPERATORS {
        return places;
    }
    let tables = tables_below(plan, count);
    for (position, operator) in plan.operators() {
        let Some(rows_out) = operator.output_rows.filter(|_| !is_cut_short(plan, position)) else { continue };
        let is_join = operator.name.contains("Join");
        let inputs: Option<Vec<Amount>> = if is_join {
            let mut sides: Vec<usize> = (0..plan.inputs(position).len()).collect();
            // By their tables, because a planner with other statistics may swap them.
            sides.sort_by_key(|side| &tables[plan.inputs(position)[*side]]);
            sides.into_iter().map(|side| input_of(plan, position, side)).collect()
        } else if operator.name == "FilterExec" {
            input_of(plan, position, 0).map(|input| vec![input])
        } else if operator.is_scan && has_filter_of_its_own(plan, position) {
            bytes_of(plan, position).map(|bytes| vec![Amount::Bytes(bytes)])
        } else {
            None
        };
        let Some(inputs) = inputs else { continue };
        let mut key = PlaceKey { is_join, tables: tables[position].clone(), number: 0 };
        while places.contains_key(&key) {
            key.number += 1;
        }
        places.insert(key, Place { operator: plan.name(position), is_join, inputs, rows_out });
    }
    places
}

/// The tables below each operator.
fn tables_below(plan: &PlanView<'_>, count: usize) -> Vec<BTreeSet<String>> {
    let mut tables = vec![BTreeSet::new(); count];
    // Parents precede their inputs.
    for position in (0..count).rev() {
        let mut below: BTreeSet<String> = plan.operator(position).table.clone().into_iter().collect();
        for input in plan.inputs(position) {
            below.extend(tables[*input].iter().cloned());
        }
        tables[position] = below;
    }
    tables
}

/// Whether an operator may have been stopped before it had read everything, so that its counts are random.
fn is_cut_short(plan: &PlanView<'_>, position: usize) -> bool {
    std::iter::once(position).chain(plan.above(position)).any(|position| {
        let operator = plan.operator(position);
        let detail = operator.detail.as_deref().unwrap_or_default();
        operator.name.contains("Limit") || detail.contains("fetch=") || detail.contains("limit=")
    })
}

/// Whether a scan filters rows according to the query. Dynamic filters from a join or a sort depend on timing.
fn has_filter_of_its_own(plan: &PlanView<'_>, position: usize) -> bool {
    let detail = plan.operator(position).detail.as_deref().unwrap_or_default();
    let has_filter_above =
        plan.above(position).next().is_some_and(|above| plan.operator(above).name == "FilterExec");
    detail.contains("predicate=") && !detail.contains("DynamicFilter") && !has_filter_above
}

fn bytes_of(plan: &PlanView<'_>, position: usize) -> Option<u64> {
    let id = plan.operator(position).id;
    plan.bundle.sources.iter().find(|source| source.operator == id)?.bytes
}

/// The amount of an input: its rows, or the size of what was scanned if a scan below it filters rows itself.
fn input_of(plan: &PlanView<'_>, position: usize, input: usize) -> Option<Amount> {
    let below = plan.through_passing(*plan.inputs(position).get(input)?);
    let operator = plan.operator(below);
    let prunes = operator.detail.as_deref().is_some_and(|detail| detail.contains("predicate="));
    if operator.is_scan && prunes {
        return bytes_of(plan, below).map(Amount::Bytes);
    }
    plan.input_rows(position, input).map(Amount::Rows)
}

#[cfg(test)]
mod tests {
    use daglight_run_bundle::PlanSource;

    use super::*;
    use crate::findings::planted::Plan;

    fn rows_of(plan: Plan) -> PlanRows {
        PlanRows::of(&plan.bundle(), "plans/a.json").unwrap()
    }

    fn join(left: &str, right: &str) -> Plan {
        let join = Plan::new().operator(None, "HashJoinExec", 5).uncounted(Some(0), "RepartitionExec");
        join.scan(Some(1), left, 30).operator(Some(0), "FilterExec", 20).scan(Some(3), right, 40)
    }

    #[test]
    fn a_place_is_known_by_the_tables_below_it() {
        let places = rows_of(join("a", "b")).places;
        let seen: Vec<_> =
            places.values().map(|place| (&*place.operator, &place.inputs[..], place.rows_out)).collect();
        assert_eq!(
            seen,
            [
                ("FilterExec", &[Amount::Rows(40)][..], 20),
                ("HashJoinExec", &[Amount::Rows(30), Amount::Rows(20)], 5)
            ]
        );
        let swapped = rows_of(join("b", "a")).places;
        let joins = |places: &BTreeMap<PlaceKey, Place>| -> Vec<PlaceKey> {
            places.keys().filter(|key| key.is_join).cloned().collect()
        };
        assert_eq!(joins(&places), joins(&swapped));
        let of_sides = |places: &BTreeMap<PlaceKey, Place>| {
            places.values().find(|place| place.is_join).map(|place| place.inputs.clone())
        };
        assert_eq!(of_sides(&swapped), Some(vec![Amount::Rows(20), Amount::Rows(30)]));
        let twice = Plan::new().operator(None, "FilterExec", 5).operator(Some(0), "FilterExec", 6);
        assert_eq!(rows_of(twice.scan(Some(1), "a", 9)).places.len(), 2);
    }

    #[test]
    fn what_may_have_been_stopped_or_ran_more_than_once_says_nothing() {
        let limited = Plan::new().operator(None, "GlobalLimitExec", 5).operator(Some(0), "FilterExec", 5);
        assert!(rows_of(limited.scan(Some(1), "a", 9)).places.is_empty());
        let top = Plan::new().operator(None, "SortExec", 5).operator(Some(0), "FilterExec", 5);
        let top = top.scan(Some(1), "a", 9).with(|plan| {
            plan.metrics.operators[0].detail = Some("SortExec: TopK(fetch=5), expr=[a@0 ASC]".into());
        });
        assert!(rows_of(top).places.is_empty());
        let failed = join("a", "b").with(|plan| plan.outcome = Some("failed".into()));
        assert_eq!(PlanRows::of(&failed.bundle(), ""), None);
        let twice = join("a", "b").with(|plan| {
            plan.executions = serde_json::from_value(serde_json::json!({"started": 2})).unwrap();
        });
        assert_eq!(PlanRows::of(&twice.bundle(), ""), None);
    }

    #[test]
    fn where_a_scan_leaves_rows_out_the_size_of_its_files_counts() {
        let scan = |detail: &str| {
            let plan = Plan::new().operator(None, "FilterExec", 5).scan(Some(0), "a", 7);
            rows_of(plan.with(|plan| {
                plan.metrics.operators[1].detail = Some(detail.to_owned());
                plan.sources = vec![PlanSource { operator: 1, bytes: Some(900), ..PlanSource::default() }];
            }))
        };
        let inputs = |rows: &PlanRows| -> Vec<Vec<Amount>> {
            rows.places.values().map(|place| place.inputs.clone()).collect()
        };
        assert_eq!(inputs(&scan("DataSourceExec: predicate=x@0 > 1")), [[Amount::Bytes(900)]]);
        assert_eq!(inputs(&scan("DataSourceExec: file_type=csv")), [[Amount::Rows(7)]]);
        let alone = |detail: &str| {
            let plan = Plan::new().scan(None, "a", 7);
            rows_of(plan.with(|plan| {
                plan.metrics.operators[0].detail = Some(detail.to_owned());
                plan.sources = vec![PlanSource { operator: 0, bytes: Some(900), ..PlanSource::default() }];
            }))
        };
        assert_eq!(inputs(&alone("DataSourceExec: predicate=x@0 > 1")), [[Amount::Bytes(900)]]);
        assert!(alone("DataSourceExec: predicate=DynamicFilter [ x@0 > 1 ]").places.is_empty());
        assert_eq!(Amount::Rows(3).ratio_to(Amount::Bytes(3)), None);
        assert_eq!(Amount::Rows(3).ratio_to(Amount::Rows(0)), None);
        assert_eq!(Amount::Bytes(3).ratio_to(Amount::Bytes(2)), Some(1.5));
    }
}
