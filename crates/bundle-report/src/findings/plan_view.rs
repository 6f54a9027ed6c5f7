//! A plan in the form for rules: operators with their inputs and their share of the query's time.

use std::collections::{BTreeSet, HashMap};

use daglight_capture_policy::operator_name;
use daglight_run_bundle::{PlanBundle, PlanOperator, PlanSource};

use crate::{display, operator_time::OperatorTime};

/// Operators that pass rows on unchanged.
const PASSING: [&str; 5] =
    ["CoalesceBatchesExec", "CoalescePartitionsExec", "RepartitionExec", "CooperativeExec", "BufferExec"];

/// A plan with the inputs of each operator. Operators are identified by position.
#[derive(Debug)]
pub(crate) struct PlanView<'p> {
    pub(crate) bundle: &'p PlanBundle,
    /// The plan's file in the bundle.
    pub(crate) file: &'p str,
    inputs: Vec<Vec<usize>>,
    parents: Vec<Option<usize>>,
}

impl<'p> PlanView<'p> {
    pub(crate) fn new(bundle: &'p PlanBundle, file: &'p str) -> Self {
        let operators = &bundle.metrics.operators;
        let positions: HashMap<u64, usize> =
            operators.iter().enumerate().map(|(position, operator)| (operator.id, position)).collect();
        let mut inputs = vec![Vec::new(); operators.len()];
        let mut parents = vec![None; operators.len()];
        for (position, operator) in operators.iter().enumerate() {
            // In pre-order, parents precede their inputs; anything else could result in a cycle.
            if let Some(parent) = operator.parent.and_then(|parent| positions.get(&parent))
                && *parent < position
            {
                inputs[*parent].push(position);
                parents[position] = Some(*parent);
            }
        }
        Self { bundle, file, inputs, parents }
    }

    pub(crate) fn operators(&self) -> impl Iterator<Item = (usize, &'p PlanOperator)> + use<'p> {
        self.bundle.metrics.operators.iter().enumerate()
    }

    pub(crate) fn operator(&self, position: usize) -> &'p PlanOperator {
        &self.bundle.metrics.operators[position]
    }

    pub(crate) fn inputs(&self, position: usize) -> &[usize] {
        &self.inputs[position]
    }

    /// Whether an operator passes rows on unchanged.
    pub(crate) fn is_passing(&self, position: usize) -> bool {
        PASSING.contains(&&*self.operator(position).name)
    }

    /// Whether other machines executed an operator: it is below one by which rows come from them.
    pub(crate) fn is_on_cluster(&self, position: usize) -> bool {
        let work = self.bundle.metrics.cluster.as_ref();
        let is_distributed = work.is_some_and(|work| work.on_client.is_none());
        is_distributed
            && (self.tasks(position) > 0 || self.above(position).any(|above| self.is_received(above)))
    }

    /// Whether an operator passes on what comes over the network, and computes nothing else.
    pub(crate) fn is_received(&self, position: usize) -> bool {
        let name = &*self.operator(position).name;
        name.starts_with("Network")
            || ["BallistaExec", "DistributedExec", "ShuffleReaderExec"].contains(&name)
    }

    /// The tasks of a cluster that have measured an operator, as far as its file distinguishes them.
    pub(crate) fn tasks(&self, position: usize) -> u64 {
        let tasks = self.operator(position).partition_metrics.iter().filter_map(|partition| partition.task);
        tasks.collect::<BTreeSet<u64>>().len() as u64
    }

    /// The operators above one, up to the top.
    pub(crate) fn above(&self, position: usize) -> impl Iterator<Item = usize> {
        // Each precedes the one below it, so this terminates.
        std::iter::successors(self.parents[position], |position| self.parents[*position])
    }

    /// From `position` downwards, the first operator that processes rows.
    pub(crate) fn through_passing(&self, mut position: usize) -> usize {
        while self.is_passing(position) {
            match self.inputs(position) {
                [only] => position = *only,
                _ => break,
            }
        }
        position
    }

    /// From `position` downwards, the first operator with its own rows: one that only removes columns has those of its input.
    pub(crate) fn through_rows(&self, mut position: usize) -> usize {
        while !self.operator(position).is_scan && self.operator(position).name == "ProjectionExec" {
            match self.inputs(position) {
                [only] => position = *only,
                _ => break,
            }
        }
        position
    }

    /// The number of rows of one of its inputs, if counted.
    pub(crate) fn input_rows(&self, position: usize, input: usize) -> Option<u64> {
        let mut at = *self.inputs(position).get(input)?;
        loop {
            let operator = self.operator(at);
            // An operator that passes rows on may not count them.
            match (operator.output_rows, self.inputs(at)) {
                (Some(rows), _) => return Some(rows),
                (None, [only]) if PASSING.contains(&&*operator.name) => at = *only,
                _ => return None,
            }
        }
    }

    /// Bytes that a scan read of its files: the counted ones, as for Parquet, or the size of the files, which scans of other
    /// formats read completely. `None` if it reads no files.
    pub(crate) fn bytes_read(&self, position: usize) -> Option<u64> {
        let counted = self.operator(position).metric("bytes_scanned").filter(|bytes| *bytes > 0);
        counted.or_else(|| self.bytes_of_files(position))
    }

    /// The size of the files of a scan.
    pub(crate) fn bytes_of_files(&self, position: usize) -> Option<u64> {
        self.source(position)?.bytes
    }

    /// The source of a scan, if the plan has it.
    pub(crate) fn source(&self, position: usize) -> Option<&'p PlanSource> {
        let id = self.operator(position).id;
        self.bundle.sources.iter().find(|source| source.operator == id)
    }

    /// The number of rows of an input according to the plan's statistics.
    pub(crate) fn estimated_rows(&self, position: usize, input: usize) -> Option<u64> {
        self.operator(*self.inputs(position).get(input)?).estimated_rows
    }

    /// The part of the query's time that an operator took: its compute time in its longest partition, or the average if partitions
    /// are not distinguished, limited to the time of the query.
    pub(crate) fn time_ms(&self, position: usize) -> f64 {
        let time = OperatorTime::of(self.bundle, self.operator(position));
        self.within(time.map_or(0.0, OperatorTime::in_partition_ms))
    }

    /// The total compute time of an operator in all its partitions.
    pub(crate) fn total_ms(&self, position: usize) -> f64 {
        OperatorTime::of(self.bundle, self.operator(position)).map_or(0.0, |time| time.total_ms)
    }

    /// The time, limited to that of the query.
    pub(crate) fn within(&self, ms: f64) -> f64 {
        let wall_ms = self.bundle.metrics.wall_ms;
        if wall_ms > 0.0 { ms.clamp(0.0, wall_ms) } else { ms.max(0.0) }
    }

    /// The name of an operator, with the table that it scans.
    pub(crate) fn name(&self, position: usize) -> String {
        let operator = self.operator(position);
        display::name(&operator_name(&operator.name, operator.table.as_deref())).into_owned()
    }

    /// Where the query ran: `node orders`, or `query 7`.
    pub(crate) fn place(&self) -> String {
        match &self.bundle.node {
            Some(node) => format!("node {}", display::name(node)),
            None => format!("query {}", self.bundle.query_id),
        }
    }

    /// The same, for the beginning of a sentence.
    pub(crate) fn place_as_subject(&self) -> String {
        let mut place = self.place();
        if let Some(first) = place.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::planted::Plan;

    #[test]
    fn rows_are_looked_for_below_what_passes_them_on() {
        let plan = Plan::new()
            .operator(None, "HashJoinExec", 5)
            .uncounted(Some(0), "CoalescePartitionsExec")
            .operator(Some(1), "DataSourceExec", 40)
            .uncounted(Some(0), "StreamingTableExec")
            .bundle();
        let view = PlanView::new(&plan, "");
        assert_eq!(
            (view.input_rows(0, 0), view.input_rows(0, 1), view.input_rows(0, 2)),
            (Some(40), None, None)
        );
        assert_eq!(view.through_passing(1), 2);
        assert_eq!(view.above(2).collect::<Vec<_>>(), [1, 0]);
    }

    #[test]
    fn a_plan_that_is_a_circle_is_not_followed() {
        let mut plan =
            Plan::new().uncounted(None, "RepartitionExec").uncounted(Some(0), "RepartitionExec").bundle();
        plan.metrics.operators[0].parent = Some(1);
        plan.metrics.operators[1].parent = Some(1);
        let view = PlanView::new(&plan, "");
        assert_eq!((view.inputs(0).len(), view.inputs(1).len(), view.through_passing(0)), (0, 0, 0));
        assert_eq!(view.above(1).count(), 0);
    }
}
