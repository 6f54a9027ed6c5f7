//! Running a part of a pipeline.

use std::collections::BTreeSet;

use daglight_run_identity::{NodeSelector, NothingSelected};

use crate::{
    pipeline::{Pipeline, nearest},
    pipeline_error::did_you_mean,
};

/// The steps of a pipeline to run, created by [`Pipeline::part`] or [`Pipeline::rest`]. All others are left out, and their nodes
/// are shown as not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    steps: BTreeSet<usize>,
    /// Nodes of parameters and parameter tables.
    inputs: BTreeSet<String>,
}

/// Why a part of a pipeline cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartError {
    /// A term that matches no node.
    #[error("{nothing}{}", did_you_mean(.nearest))]
    NothingSelected {
        /// The term.
        nothing: NothingSelected,
        /// The most similar term that matches a node.
        nearest: Option<String>,
    },
    /// No node is left to run.
    #[error("the selection matches no node")]
    Empty,
    /// A node that reads what only another node can create, which is left out.
    #[error(
        "{node} cannot run without {needed}, which is left out: its result is kept in memory and lost when a run \
         ends; choose `+{node}`, or {needed} as well"
    )]
    LeftOut {
        /// The node that was chosen.
        node: String,
        /// The node, or the statement with its line, that it needs.
        needed: String,
    },
}

impl Part {
    pub(crate) fn has_step(&self, index: usize) -> bool {
        self.steps.contains(&index)
    }

    pub(crate) fn has_input(&self, node: &str) -> bool {
        self.inputs.contains(node)
    }
}

impl Pipeline {
    /// The nodes that `select` matches, or all without it, except those that `exclude` matches. Statements that are not nodes
    /// belong to every part, except those that refer to something that is left out.
    ///
    /// What a node reads must exist when it runs. Files exist from an earlier run; tables and views do not.
    ///
    /// # Errors
    /// When a term matches no node, no node is left, or one of them reads a table or a view that is left out.
    pub fn part(
        &self,
        select: Option<&NodeSelector>,
        exclude: Option<&NodeSelector>,
    ) -> Result<Part, PartError> {
        let nodes = |selector: &NodeSelector| {
            selector.select(self.dag()).map_err(|nothing| {
                let candidates = nothing.candidates.iter().map(String::as_str);
                let nearest = nothing.sought.as_ref().and_then(|sought| nearest_term(sought, candidates));
                PartError::NothingSelected { nothing, nearest }
            })
        };
        let excluded = exclude.map(nodes).transpose()?.unwrap_or_default();
        let mut chosen = match select {
            Some(select) => nodes(select)?,
            None => self.dag().nodes().iter().map(|node| node.name.clone()).collect(),
        };
        chosen.retain(|name| !excluded.contains(name));
        let mut steps = BTreeSet::new();
        for (index, step) in self.steps().iter().enumerate() {
            // Steps are in script order, so everything that this one needs has already been decided.
            let left_out = step.needs_in_session.iter().find(|needed| !steps.contains(*needed));
            match (&step.node, left_out) {
                // What it reads exists only in the session, and nothing creates it in this run.
                (Some(node), Some(needed)) if chosen.contains(node) => {
                    let (node, needed) = (node.clone(), self.name_of_step(*needed));
                    return Err(PartError::LeftOut { node, needed });
                }
                (Some(node), _) if !chosen.contains(node) => {}
                // Setup for something that is left out, such as an index on its table, would fail.
                (None, Some(_)) => {}
                _ => {
                    steps.insert(index);
                }
            }
        }
        self.part_of(steps, &chosen)
    }

    /// What a run has not completed: the nodes that are not in `succeeded`, and also those whose tables and views they need. Files
    /// are not written again.
    ///
    /// # Errors
    /// When every node has succeeded.
    pub fn rest(&self, succeeded: &BTreeSet<String>) -> Result<Part, PartError> {
        let is_undone = |node: &Option<String>| node.as_ref().is_some_and(|node| !succeeded.contains(node));
        let steps = self.steps();
        let mut needed: BTreeSet<usize> =
            (0..steps.len()).filter(|index| is_undone(&steps[*index].node)).collect();
        if needed.is_empty() {
            return Err(PartError::Empty);
        }
        // From the end, because a step comes after the steps that it needs, which may in turn need earlier ones.
        for index in (0..steps.len()).rev() {
            if needed.contains(&index) {
                needed.extend(&steps[index].needs_in_session);
            }
        }
        let mut taken = BTreeSet::new();
        for (index, step) in steps.iter().enumerate() {
            // A SET or a CREATE SCHEMA changed the session of the failed run, and this run has a new session.
            let is_setup = step.node.is_none() && step.needs_in_session.is_subset(&taken);
            if needed.contains(&index) || is_setup {
                taken.insert(index);
            }
        }
        self.part_of(taken, &BTreeSet::new())
    }

    /// The names of the nodes of a part.
    pub fn nodes_of(&self, part: &Part) -> BTreeSet<String> {
        let of_steps = part.steps.iter().filter_map(|index| self.steps()[*index].node.clone());
        of_steps.chain(part.inputs.iter().cloned()).collect()
    }

    /// The part with the inputs that its steps read.
    fn part_of(&self, steps: BTreeSet<usize>, chosen: &BTreeSet<String>) -> Result<Part, PartError> {
        let nodes = steps.iter().filter_map(|index| self.steps()[*index].node.as_deref());
        let nodes: Vec<&str> = nodes.collect();
        let read = nodes.iter().filter_map(|node| self.dag().node(node)).flat_map(|node| &node.dependencies);
        // Statements that are not nodes also read parameters.
        let statements = steps.iter().map(|index| self.statement(&self.steps()[*index]));
        let placeholders = statements.flat_map(|statement| &statement.placeholders);
        let of_setup = placeholders.map(|placeholder| format!("${}", placeholder.name));
        let known = self.inputs();
        let wanted = read.cloned().chain(of_setup).chain(chosen.iter().cloned());
        let inputs: BTreeSet<String> = wanted.filter(|name| known.contains_key(name)).collect();
        if nodes.is_empty() && inputs.is_empty() {
            return Err(PartError::Empty);
        }
        Ok(Part { steps, inputs })
    }

    /// The node of a step, or the line of its statement.
    fn name_of_step(&self, index: usize) -> String {
        let step = &self.steps()[index];
        let line = || format!("the statement at {}", self.script().line_of(self.statement(step)));
        step.node.clone().unwrap_or_else(line)
    }
}

/// The most similar of the terms of one method.
fn nearest_term<'a>(sought: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    // The common prefix is irrelevant for their similarity.
    let method = sought.find(':').map_or("", |colon| &sought[..=colon]);
    let rest = |term: &'a str| term.strip_prefix(method).unwrap_or(term);
    nearest(&sought[method.len()..], candidates.map(rest)).map(|nearest| format!("{method}{nearest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{pipeline::PipelineOptions, script::Script};

    const SCRIPT: &str = "\
-- param: day = 1995-01-01

SET datafusion.execution.batch_size = 4096;
CREATE EXTERNAL TABLE orders STORED AS PARQUET LOCATION 'orders.parquet';
CREATE TABLE recent AS SELECT * FROM orders WHERE day >= $day;
INSERT INTO recent SELECT * FROM orders LIMIT 1;
EXPLAIN SELECT * FROM recent;
COPY recent TO 'out/recent.parquet';
CREATE EXTERNAL TABLE written STORED AS PARQUET LOCATION 'out/recent.parquet';
-- node: total
SELECT count(*) FROM written;
DROP TABLE recent;
-- node: apart
SELECT 1;
";

    fn pipeline() -> Pipeline {
        Pipeline::new(Script::parse("a.sql", SCRIPT).unwrap(), PipelineOptions::default()).unwrap()
    }

    fn part(select: &str, exclude: &str) -> Result<Part, PartError> {
        let parse = |text: &str| (!text.is_empty()).then(|| text.parse::<NodeSelector>().unwrap());
        pipeline().part(parse(select).as_ref(), parse(exclude).as_ref())
    }

    /// The indices of the steps, and after a bar the inputs.
    fn shown(part: &Part) -> String {
        let steps: Vec<String> = part.steps.iter().map(ToString::to_string).collect();
        let inputs: Vec<&str> = part.inputs.iter().map(String::as_str).collect();
        format!("{}|{}", steps.join(" "), inputs.join(" "))
    }

    #[track_caller]
    fn check(select: &str, exclude: &str, expected: &str) {
        assert_eq!(shown(&part(select, exclude).unwrap()), expected);
    }

    #[test]
    fn setup_belongs_to_every_part_where_what_it_is_about_does() {
        check("", "", "0 1 2 3 4 5 6 7 8 9|$day");
        check("apart", "", "0 9|");
        check("+recent", "", "0 1 2 8|$day");
    }

    #[test]
    fn files_are_there_from_an_earlier_run_and_tables_are_not() {
        check("written total", "", "0 6 7|");
        check("1+total", "", "0 6 7|");
        check("", "recent_parquet", "0 1 2 3 4 6 7 8 9|$day");
        let error = part("total", "").unwrap_err().to_string();
        assert!(error.starts_with("total cannot run without written, which is left out"), "{error}");
        assert!(matches!(part("recent_parquet recent orders", ""), Err(PartError::LeftOut { .. })));
        assert!(matches!(part("", "orders"), Err(PartError::LeftOut { .. })));
    }

    #[test]
    fn what_chooses_nothing_is_refused() {
        assert_eq!(
            part("totl", "").unwrap_err().to_string(),
            "no node matches `totl`; did you mean `total`?"
        );
        for (term, expected) in [
            ("kind:data_savr+", "; did you mean `kind:data_saver`?"),
            ("tag:materialised_name", "; did you mean `tag:materialized_name`?"),
            ("tag:materialization=tabel", "; did you mean `tag:materialization=table`?"),
            ("tag:layer=gold", ""),
        ] {
            assert_eq!(
                part(term, "").unwrap_err().to_string(),
                format!("no node matches `{term}`{expected}")
            );
        }
        assert_eq!(part("apart", "apart"), Err(PartError::Empty));
    }

    #[track_caller]
    fn check_rest(succeeded: &[&str], expected: &str) {
        let succeeded = succeeded.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(shown(&pipeline().rest(&succeeded).unwrap()), expected);
    }

    #[test]
    fn the_rest_makes_the_tables_that_it_needs_and_writes_no_file_again() {
        check_rest(&[], "0 1 2 3 4 5 6 7 8 9|$day");
        let mut done =
            vec!["$day", "orders", "recent", "recent_insert", "recent_parquet", "written", "apart"];
        check_rest(&done, "0 6 7|");
        done.retain(|name| *name != "recent_parquet");
        done.push("total");
        check_rest(&done, "0 1 2 3 4 5 8|$day");
        done.push("recent_parquet");
        let succeeded: BTreeSet<String> = done.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(pipeline().rest(&succeeded), Err(PartError::Empty));
    }
}
