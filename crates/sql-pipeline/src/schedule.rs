//! Decides which step may start next.

use std::collections::{BTreeSet, VecDeque};

use crate::{part::Part, pipeline::Step};

/// The steps that have not started, and those that have ended. Starting and ending all steps takes time linear in the number of
/// steps and of their dependencies.
#[derive(Debug)]
pub(crate) struct Schedule<'a> {
    steps: &'a [Step],
    is_waiting: Vec<bool>,
    has_ended: Vec<bool>,
    /// Whether its output is missing: it has failed, or something that it needs is missing.
    is_missing: Vec<bool>,
    /// How many of the steps before it have not ended.
    pending: Vec<usize>,
    /// The steps that must wait for it.
    followers: Vec<Vec<usize>>,
    /// Nodes that wait for nothing, except for setup before them.
    ready: BTreeSet<usize>,
    /// The first step that has not ended.
    first_open: usize,
    /// The setup that has not ended, in the order of the script.
    open_setup: VecDeque<usize>,
}

impl<'a> Schedule<'a> {
    /// A schedule of the steps in `part`, or of all without one.
    pub(crate) fn new(steps: &'a [Step], part: Option<&Part>) -> Self {
        let mut schedule = Self::of_all(steps);
        let left_out = |index: &usize| part.is_some_and(|part| !part.has_step(*index));
        for index in (0..steps.len()).filter(left_out) {
            schedule.is_waiting[index] = false;
            schedule.ready.remove(&index);
            schedule.end(index);
        }
        schedule
    }

    fn of_all(steps: &'a [Step]) -> Self {
        let mut followers = vec![Vec::new(); steps.len()];
        for (index, step) in steps.iter().enumerate() {
            step.after.iter().for_each(|earlier| followers[*earlier].push(index));
        }
        let is_node = |index: &usize| steps[*index].node.is_some();
        Self {
            steps,
            is_waiting: vec![true; steps.len()],
            has_ended: vec![false; steps.len()],
            is_missing: vec![false; steps.len()],
            pending: steps.iter().map(|step| step.after.len()).collect(),
            followers,
            ready: (0..steps.len())
                .filter(|index| is_node(index) && steps[*index].after.is_empty())
                .collect(),
            first_open: 0,
            open_setup: (0..steps.len()).filter(|index| !is_node(index)).collect(),
        }
    }

    /// Takes the first waiting step that may start. If one step is taken and ended at a time, the result is script order. Steps
    /// that need something that is missing are skipped, and are never started.
    pub(crate) fn start_next(&mut self) -> Option<usize> {
        loop {
            let next = self.next()?;
            if !self.steps[next].needs.iter().any(|needed| self.is_missing[*needed]) {
                // It is taken whether or not it gets to run: see `put_back`.
                self.is_waiting[next] = false;
                return Some(next);
            }
            // It counts as missing, too, so that steps that need it are skipped in later iterations of this loop.
            self.fail(next);
        }
    }

    fn next(&mut self) -> Option<usize> {
        // Setup changes the session for all later statements, so nothing overtakes it, in either direction.
        let setup = self.open_setup.front().copied();
        let node = self.ready.first().copied().filter(|node| setup.is_none_or(|setup| *node < setup));
        // The first in script order among those that may run, so that a single job runs a script from top to bottom.
        let next = match node {
            Some(node) => {
                self.ready.remove(&node);
                node
            }
            // Setup runs when everything before it has ended.
            None => setup.filter(|setup| *setup == self.first_open && self.is_waiting[*setup])?,
        };
        Some(next)
    }

    /// Ends a step without its output.
    pub(crate) fn fail(&mut self, index: usize) {
        self.is_missing[index] = true;
        self.end(index);
    }

    /// Returns a step that did not start after all.
    pub(crate) fn put_back(&mut self, index: usize) {
        self.is_waiting[index] = true;
        if self.steps[index].node.is_some() {
            self.ready.insert(index);
        }
    }

    pub(crate) fn end(&mut self, index: usize) {
        self.has_ended[index] = true;
        // It only ever moves forward, so that all ends together visit each step once.
        while self.has_ended.get(self.first_open) == Some(&true) {
            self.first_open += 1;
        }
        if self.open_setup.front() == Some(&index) {
            self.open_setup.pop_front();
        }
        for follower in std::mem::take(&mut self.followers[index]) {
            self.pending[follower] -= 1;
            let is_waiting_node = self.is_waiting[follower] && self.steps[follower].node.is_some();
            // Setup is never in the ready set: it waits for its position in the script, not for what it names.
            if self.pending[follower] == 0 && is_waiting_node {
                self.ready.insert(follower);
            }
        }
    }

    /// The nodes that have not started, without those that are left out.
    pub(crate) fn waiting_nodes(&self) -> Vec<String> {
        let waiting = self.steps.iter().zip(&self.is_waiting).filter(|(_, is_waiting)| **is_waiting);
        waiting.filter_map(|(step, _)| step.node.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pipeline::{Pipeline, PipelineOptions},
        script::Script,
    };

    /// Starts everything that may start, ends it all, and so on; each round is one text.
    #[track_caller]
    fn check(sql: &str, expected: &[&str]) {
        let pipeline =
            Pipeline::new(Script::parse("a.sql", sql).unwrap(), PipelineOptions::default()).unwrap();
        let mut schedule = Schedule::new(pipeline.steps(), None);
        let mut rounds = Vec::new();
        loop {
            let round: Vec<usize> = std::iter::from_fn(|| schedule.start_next()).collect();
            if round.is_empty() {
                break;
            }
            round.iter().for_each(|index| schedule.end(*index));
            rounds.push(round.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        }
        assert_eq!(rounds, expected);
    }

    #[test]
    fn independent_nodes_start_together() {
        check(
            "CREATE VIEW a AS SELECT 1 AS x; CREATE VIEW b AS SELECT 2 AS x; CREATE VIEW c AS SELECT * FROM a, b;
             COPY a TO 'a.csv'; COPY c TO 'c.csv'",
            &["0 1", "2 3", "4"],
        );
    }

    #[test]
    fn nothing_passes_setup() {
        check(
            "CREATE VIEW a AS SELECT 1; SET datafusion.execution.batch_size = 1; CREATE VIEW b AS SELECT 2; SELECT 3",
            &["0", "1", "2 3"],
        );
    }

    #[test]
    fn changes_wait_for_readers() {
        check(
            "CREATE TABLE t AS SELECT 1 AS x; SELECT * FROM t; INSERT INTO t SELECT 2; SELECT * FROM t; SELECT 5",
            &["0 4", "1", "2", "3"],
        );
    }

    #[test]
    fn what_needs_a_failed_step_never_starts() {
        let sql = "CREATE TABLE a AS SELECT 1 AS x; CREATE TABLE b AS SELECT * FROM a; SELECT * FROM b; EXPLAIN SELECT * FROM a;
                   SELECT 2; DROP TABLE a; CREATE TABLE a AS SELECT 3; SELECT * FROM a";
        let pipeline =
            Pipeline::new(Script::parse("a.sql", sql).unwrap(), PipelineOptions::default()).unwrap();
        let mut schedule = Schedule::new(pipeline.steps(), None);
        assert_eq!(schedule.start_next(), Some(0));
        schedule.fail(0);
        let started: Vec<usize> = std::iter::from_fn(|| {
            let next = schedule.start_next()?;
            schedule.end(next);
            Some(next)
        })
        .collect();
        assert_eq!(started, [4, 6, 7]);
        assert_eq!(schedule.waiting_nodes(), ["b", "output_1"]);
    }

    #[test]
    fn one_at_a_time_is_the_order_of_the_script() {
        let sql = "SELECT 1; CREATE VIEW a AS SELECT 1 AS x; SET a.b = 1; SELECT * FROM a; SELECT 2";
        let pipeline =
            Pipeline::new(Script::parse("a.sql", sql).unwrap(), PipelineOptions::default()).unwrap();
        let mut schedule = Schedule::new(pipeline.steps(), None);
        for expected in 0..5 {
            assert_eq!(schedule.start_next(), Some(expected));
            schedule.end(expected);
        }
        assert_eq!(schedule.start_next(), None);
    }
}
