//! Which step may start next.

use std::collections::BTreeSet;

use crate::Step;

/// The steps that have not started, and those that have ended.
#[derive(Debug)]
pub(crate) struct Schedule<'a> {
    steps: &'a [Step],
    waiting: BTreeSet<usize>,
    ended: BTreeSet<usize>,
}

impl<'a> Schedule<'a> {
    pub(crate) fn new(steps: &'a [Step]) -> Self {
        Self { steps, waiting: (0..steps.len()).collect(), ended: BTreeSet::new() }
    }

    /// Takes the first waiting step that may start. When one at a time is taken and ended, that is the script's order.
    pub(crate) fn start_next(&mut self) -> Option<usize> {
        let next = self.waiting.iter().copied().find(|index| self.may_start(*index))?;
        self.waiting.remove(&next);
        Some(next)
    }

    /// Takes back a step that did not start after all.
    pub(crate) fn put_back(&mut self, index: usize) {
        self.waiting.insert(index);
    }

    pub(crate) fn end(&mut self, index: usize) {
        self.ended.insert(index);
    }

    /// The nodes that have not started.
    pub(crate) fn waiting_nodes(&self) -> Vec<String> {
        self.waiting.iter().filter_map(|index| self.steps[*index].node.clone()).collect()
    }

    fn may_start(&self, index: usize) -> bool {
        let has_ended = |index: &usize| self.ended.contains(index);
        let step = &self.steps[index];
        match step.node {
            // Setup changes the session for all that follows, so nothing passes it, in either direction.
            None => (0..index).all(|earlier| has_ended(&earlier)),
            Some(_) => {
                let mut setup_before = (0..index).filter(|earlier| self.steps[*earlier].node.is_none());
                step.after.iter().all(has_ended) && setup_before.all(|setup| has_ended(&setup))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Pipeline, PipelineOptions, Script};

    /// Starts all that may start, ends it all, and so on; each round is one text.
    #[track_caller]
    fn check(sql: &str, expected: &[&str]) {
        let pipeline =
            Pipeline::new(Script::parse("a.sql", sql).unwrap(), PipelineOptions::default()).unwrap();
        let mut schedule = Schedule::new(pipeline.steps());
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
    fn one_at_a_time_is_the_order_of_the_script() {
        let sql = "SELECT 1; CREATE VIEW a AS SELECT 1 AS x; SET a.b = 1; SELECT * FROM a; SELECT 2";
        let pipeline =
            Pipeline::new(Script::parse("a.sql", sql).unwrap(), PipelineOptions::default()).unwrap();
        let mut schedule = Schedule::new(pipeline.steps());
        for expected in 0..5 {
            assert_eq!(schedule.start_next(), Some(expected));
            schedule.end(expected);
        }
        assert_eq!(schedule.start_next(), None);
    }
}
