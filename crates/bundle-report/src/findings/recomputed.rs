//! Repeated computations in several queries: a part of their plans with a join, an aggregate or similar over the same data, such as
//! a view that is evaluated by each query that reads it.

use std::{
    collections::{BTreeSet, HashMap, HashSet, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
};

use daglight_finding_thresholds::FindingThresholds;

use super::{Finding, FindingKind, again::Again, plan_view::PlanView};
use crate::{display, level::Level, report::Report};

/// The maximum number of plan parts; in a run with more, the others are ignored.
const MAX_PARTS: usize = 10_000;
/// The maximum number of tables named.
const MAX_NAMED: usize = 3;
/// Operators with little cost per row. A part that consists only of these is a repeated scan.
const CHEAP: [&str; 6] = [
    "ProjectionExec",
    "FilterExec",
    "GlobalLimitExec",
    "LocalLimitExec",
    "SortPreservingMergeExec",
    "DataSinkExec",
];

/// All parts of plans, by what they compute from which data.
#[derive(Debug, Default)]
pub(crate) struct RecomputedParts {
    parts: HashMap<u64, Part>,
    plans: u64,
}

#[derive(Debug)]
struct Part {
    operator: String,
    tables: BTreeSet<String>,
    /// The number of plans that contain it, and the last of them that was counted.
    queries: u64,
    last_plan: u64,
    rows: u64,
    again: Again,
    above: Above,
    /// The parts directly within it.
    within: Vec<u64>,
}

/// The part that contains a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Above {
    /// Always the same one, so that reporting the larger one is sufficient.
    One(u64),
    /// None, or different ones.
    Several,
}

/// A part in a single plan.
struct Computed {
    key: u64,
    ms: f64,
    tables: BTreeSet<String>,
    /// Whether a part begins here: an expensive operator with a known number of rows.
    is_root: bool,
    /// The nearest roots below.
    within: Vec<u64>,
}

impl RecomputedParts {
    pub(crate) fn add(&mut self, plan: &PlanView<'_>) {
        self.plans += 1;
        let computed = computed(plan);
        for (position, part) in computed.iter().enumerate() {
            let Some(part) = part.as_ref().filter(|part| part.is_root) else { continue };
            if self.parts.len() >= MAX_PARTS && !self.parts.contains_key(&part.key) {
                continue;
            }
            let mut above = plan.above(position).filter_map(|above| computed[above].as_ref());
            let above =
                above.find(|above| above.is_root).map_or(Above::Several, |above| Above::One(above.key));
            let known = self.parts.entry(part.key).or_insert_with(|| Part {
                operator: plan.name(position),
                tables: part.tables.clone(),
                queries: 0,
                last_plan: 0,
                rows: plan.operator(position).output_rows.unwrap_or(0),
                again: Again::default(),
                above,
                within: part.within.clone(),
            });
            if known.above != above {
                known.above = Above::Several;
            }
            known.queries += u64::from(known.last_plan != self.plans);
            known.last_plan = self.plans;
            known.again.add(plan, part.ms);
        }
    }

    /// The findings, and the tables to which they apply.
    pub(crate) fn findings(
        self,
        report: &Report,
        thresholds: &FindingThresholds,
    ) -> (Vec<Finding>, HashSet<String>) {
        let again_ms = |part: &Part| part.again.spare_ms();
        let matters = |part: &&Part| {
            part.above == Above::Several
                && part.queries >= thresholds.recomputed_queries.max(2)
                && part.again.matters(report, thresholds, thresholds.recomputed_share)
        };
        let mut again: Vec<(u64, &Part)> =
            self.parts.iter().map(|(key, part)| (*key, part)).filter(|(_, part)| matters(part)).collect();
        again.sort_by(|(a_key, a), (b_key, b)| {
            again_ms(b).total_cmp(&again_ms(a)).then_with(|| a_key.cmp(b_key))
        });
        // Of nested parts, only the one with most at stake: the time of the inner one is included in both.
        let mut said: Vec<(u64, HashSet<u64>)> = Vec::new();
        let mut found = Vec::new();
        let mut tables = HashSet::new();
        for (key, part) in again {
            let within = self.all_within(part);
            if said.iter().any(|(other, inner)| inner.contains(&key) || within.contains(other)) {
                continue;
            }
            said.push((key, within));
            tables.extend(part.tables.iter().cloned());
            found.push(finding(part));
        }
        (Finding::listed(found, thresholds.max_per_kind, 0), tables)
    }

    /// The parts within a part, at any depth.
    fn all_within(&self, part: &Part) -> HashSet<u64> {
        let (mut found, mut next) = (HashSet::new(), part.within.clone());
        while let Some(key) = next.pop() {
            if found.insert(key) {
                next.extend(self.parts.get(&key).into_iter().flat_map(|part| &part.within));
            }
        }
        found
    }
}

/// What each operator of a plan computes including everything below it, if known.
fn computed(plan: &PlanView<'_>) -> Vec<Option<Computed>> {
    let count = plan.operators().count();
    let mut computed: Vec<Option<Computed>> = (0..count).map(|_| None).collect();
    // Parents precede their inputs.
    for position in (0..count).rev() {
        let operator = plan.operator(position);
        let inputs: Option<Vec<&Computed>> =
            plan.inputs(position).iter().map(|input| computed[*input].as_ref()).collect();
        // A part is the same only if all of it is known to be.
        let Some(inputs) = inputs.filter(|inputs| !inputs.is_empty() || operator.table.is_some()) else {
            continue;
        };
        let (key, is_root) = if plan.is_passing(position) {
            let [only] = &inputs[..] else { continue };
            (only.key, false)
        } else {
            let Some(detail) = &operator.detail else { continue };
            let mut hasher = DefaultHasher::new();
            // If the policy hides literals, plans that differ only in literals differ in their numbers of rows.
            (&operator.name, detail, &operator.table, operator.output_rows).hash(&mut hasher);
            inputs.iter().for_each(|input| input.key.hash(&mut hasher));
            let is_costly = !operator.is_scan && !CHEAP.contains(&&*operator.name);
            (hasher.finish(), is_costly && operator.output_rows.is_some())
        };
        let below_ms: f64 = inputs.iter().map(|input| input.ms).sum();
        let part = Computed {
            key,
            ms: plan.within(plan.time_ms(position) + below_ms),
            tables: inputs
                .iter()
                .flat_map(|input| input.tables.iter().cloned())
                .chain(operator.table.clone())
                .collect(),
            is_root,
            within: inputs
                .iter()
                .flat_map(|input| if input.is_root { vec![input.key] } else { input.within.clone() })
                .collect(),
        };
        computed[position] = Some(part);
    }
    computed
}

fn finding(part: &Part) -> Finding {
    let again = &part.again;
    let summary = format!(
        "The same {} over {} was computed by {} queries{}: {} in all.",
        part.operator,
        display::first_of(&part.tables, MAX_NAMED),
        display::count(part.queries),
        again.in_nodes("in"),
        display::duration(again.sum_ms)
    );
    let finding = Finding::new(FindingKind::RecomputedView, Level::Note, summary);
    let finding = finding.node(again.first_node()).count("queries", part.queries);
    let finding = finding.count("times computed", again.count).count("rows", part.rows);
    let finding = finding.at_stake(again.spare_ms());
    Finding { operator: Some(part.operator.clone()), ..finding }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::planted::{Plan, found};

    /// A query that sorts or counts the rows of a view that joins two tables, in so many milliseconds.
    fn query(node: &str, top: &str, condition: &str, ms: f64) -> Plan {
        let detail = format!("HashJoinExec: {condition}");
        let plan = Plan::new().operator(None, top, 100).uncounted(Some(0), "RepartitionExec");
        let plan = plan.operator(Some(1), "HashJoinExec", 5_000).compute(2.0 * ms).partitions(2);
        let plan = plan.with(|plan| plan.metrics.operators[2].detail = Some(detail));
        plan.scan(Some(2), "orders", 4_000).scan(Some(2), "customers", 9_000).with(|plan| {
            plan.node = Some(node.to_owned());
            plan.metrics.operators[0].detail = Some(format!("{top} of {node}"));
        })
    }

    fn kinds(plans: Vec<Plan>) -> Vec<FindingKind> {
        found(plans).into_iter().map(|finding| finding.kind).collect()
    }

    #[test]
    fn a_view_that_several_queries_compute_is_found_once_with_what_it_reads() {
        let plans = || {
            vec![
                query("a", "SortExec", "a = b", 1_900.0),
                query("b", "AggregateExec", "a = b", 2_000.0),
                query("c", "SortExec", "a = b", 1_900.0),
            ]
        };
        let found = found(plans());
        let [finding] = &found[..] else { panic!("{found:#?}") };
        assert_eq!(
            (finding.kind, finding.operator.as_deref()),
            (FindingKind::RecomputedView, Some("HashJoinExec"))
        );
        assert!(finding.at_stake_ms.is_some_and(|ms| (3_790.0..3_900.0).contains(&ms)), "{finding:#?}");
        assert!(
            finding.summary.contains(
                "The same HashJoinExec over customers, orders was computed by 3 queries, in a, b, c: 5."
            ),
            "{}",
            finding.summary
        );
        assert_eq!(finding.evidence[0].value, 3.0);
    }

    #[test]
    fn another_condition_other_rows_or_little_time_is_nothing_computed_again() {
        assert_eq!(
            kinds(vec![query("a", "SortExec", "a = b", 1_900.0), query("b", "SortExec", "a = c", 1_900.0)]),
            []
        );
        let other = query("b", "SortExec", "a = b", 1_900.0)
            .with(|plan| plan.metrics.operators[2].output_rows = Some(5_001));
        assert_eq!(kinds(vec![query("a", "SortExec", "a = b", 1_900.0), other]), []);
        assert_eq!(
            kinds(vec![query("a", "SortExec", "a = b", 90.0), query("b", "SortExec", "a = b", 90.0)]),
            []
        );
        assert_eq!(kinds(vec![query("a", "SortExec", "a = b", 1_900.0)]), []);
    }

    #[test]
    fn of_parts_within_each_other_the_one_with_most_at_stake_is_said() {
        // Three queries join in the same way, and two of them also aggregate in the same way.
        let queries = ["a", "b", "c"].map(|node| {
            let detail = if node == "c" { "AggregateExec: y" } else { "AggregateExec: x" };
            query(node, "AggregateExec", "a = b", 1_900.0)
                .with(|plan| plan.metrics.operators[0].detail = Some(detail.into()))
        });
        let found = found(queries);
        let [finding] = &found[..] else { panic!("{found:#?}") };
        assert_eq!((finding.operator.as_deref(), finding.evidence[0].value), (Some("HashJoinExec"), 3.0));
    }

    #[test]
    fn what_is_the_same_up_to_a_larger_part_is_said_of_that() {
        // The aggregate above is also the same.
        let same = |node: &str| {
            query(node, "AggregateExec", "a = b", 1_900.0)
                .with(|plan| plan.metrics.operators[0].detail = Some("AggregateExec: x".into()))
        };
        let found = found([same("a"), same("b")]);
        let [finding] = &found[..] else { panic!("{found:#?}") };
        assert_eq!(finding.operator.as_deref(), Some("AggregateExec"));
    }
}
