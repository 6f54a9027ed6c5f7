//! The part of a pipeline that an earlier run, and those that it retried, have not completed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use daglight::{
    NodeStatus, RunStatus,
    bundle::{DoneNode, Manifest, Retry, RunState},
    identity::{Dag, RunId},
    sql::{Part, Pipeline},
};

use crate::{bundles::one_bundle_with, failure::Failure, say::note};

/// The tag of a run with the id of the run that it retries.
pub(crate) const RETRY_TAG: &str = "retry_of";

/// The part of a pipeline that a run has not completed, and what had been done before.
pub(crate) fn retried(
    named: &Path,
    pipeline: &Pipeline,
    output_dir: &Path,
) -> Result<(Part, Retry), Failure> {
    let bundle = one_bundle_with(named, output_dir)?;
    let manifest = Manifest::read(&bundle).map_err(Failure::input)?;
    let (run, dag) = (&manifest.identity, pipeline.dag());
    let run_id = run.run_id;
    if run.dag_name != dag.name().as_str() {
        return Err(Failure::input(format!(
            "run {run_id} is a run of the pipeline {:?}, and this is {:?}: expected a run of the same pipeline",
            run.dag_name,
            dag.name().as_str()
        )));
    }
    // A node that has not ended may still succeed.
    if manifest.status == RunStatus::Running {
        let dir = bundle.dir().display();
        return Err(Failure::input(match bundle.state(&manifest) {
            RunState::Running => format!("run {run_id} still runs: expected one that has ended"),
            RunState::ProcessEnded => format!(
                "run {run_id} was killed, and its end is not recorded yet; `daglight sync {dir}` closes it as a failure"
            ),
            ended @ (RunState::Success | RunState::Failure | RunState::Interrupted) => format!(
                "run {run_id} ended ({}), and its manifest does not say so yet; `daglight sync {dir}` closes it",
                ended.in_words()
            ),
            RunState::Unknown => format!(
                "run {run_id} has not recorded its end: it still runs, or was killed; `daglight sync {dir}` closes a run \
                 whose process is gone"
            ),
        }));
    }
    let done_before = done_nodes(&manifest);
    let Done { done, changed } = Done::of(dag, done_before.clone());
    if run.dag_hash != dag.dag_hash() || run.code_hash != dag.code_hash() {
        note!(
            "warning: the pipeline has changed since run {run_id}: what succeeded there with the same code is not run again"
        );
        if !changed.is_empty() {
            note!("warning: their code has changed, and they are run again: {}", changed.join(", "));
        }
    }
    let part = pipeline.rest(&done).map_err(|_| {
        Failure::input(format!("there is nothing to run: every node of run {run_id} has succeeded"))
    })?;
    Ok((part, Retry { of: run_id, done: done_before }))
}

/// The nodes that a retry does not run again.
#[derive(Debug, Default, PartialEq, Eq)]
struct Done {
    /// The nodes of the pipeline that have succeeded with their current code.
    done: BTreeSet<String>,
    /// Those that have succeeded with different code.
    changed: Vec<String>,
}

impl Done {
    /// By name and code. Statements without an explicit name are numbered, and the number changes when another one is inserted
    /// before them: they are recognised only by their code.
    fn of(dag: &Dag, mut succeeded: Vec<DoneNode>) -> Self {
        let mut found = Self::default();
        let mut others = Vec::new();
        for node in dag.nodes() {
            let code = node.code_hash();
            // A bundle of an earlier version does not contain the code hash.
            let is_same = |known: &Option<String>| known.is_none() || code.is_none() || *known == code;
            match succeeded.iter().position(|known| known.name == node.name && is_same(&known.code_hash)) {
                Some(known) => {
                    succeeded.remove(known);
                    found.done.insert(node.name.clone());
                }
                None => others.push((node, code)),
            }
        }
        for (node, code) in others {
            if let Some(known) = succeeded.iter().position(|known| code.is_some() && known.code_hash == code)
            {
                succeeded.remove(known);
                found.done.insert(node.name.clone());
            } else if succeeded.iter().any(|known| known.name == node.name) {
                found.changed.push(node.name.clone());
            }
        }
        found
    }
}

/// The nodes that have succeeded in a run, or, if it was itself a retry and did not run them, in the runs before.
fn done_nodes(manifest: &Manifest) -> Vec<DoneNode> {
    let mut ended: BTreeMap<(String, Option<String>), (NodeStatus, RunId)> = BTreeMap::new();
    let ran = manifest.nodes.iter().filter(|node| node.status != NodeStatus::NotRun);
    for node in ran {
        let key = (node.name.clone(), node.code_hash.clone());
        ended.insert(key, (node.status, manifest.identity.run_id));
    }
    // Not by the tag: anybody can give a run a tag of any name.
    for node in manifest.retry.iter().flat_map(|retry| &retry.done) {
        let key = (node.name.clone(), node.code_hash.clone());
        ended.entry(key).or_insert((NodeStatus::Success, node.run_id));
    }
    let succeeded = ended.into_iter().filter(|(_, (status, _))| *status == NodeStatus::Success);
    succeeded.map(|((name, code_hash), (_, run_id))| DoneNode { name, code_hash, run_id }).collect()
}

#[cfg(test)]
mod tests {
    use daglight::{
        bundle::{Bundle, NodeRecord},
        sql::{PipelineOptions, Script},
    };

    use super::*;

    /// Checks which nodes of a script are not run again, after an earlier run of `before` in which these nodes succeeded.
    #[track_caller]
    fn check(before: &str, succeeded: &[&str], now: &str, done: &[&str], changed: &[&str]) {
        let dag = |sql: &str| {
            let script = Script::parse("a.sql", sql).unwrap();
            Pipeline::new(script, PipelineOptions::default()).unwrap().dag().clone()
        };
        let before = dag(before);
        let node = |name: &&str| DoneNode {
            name: (*name).to_owned(),
            code_hash: before.node(name).unwrap().code_hash(),
            run_id: RunId::new(),
        };
        let found = Done::of(&dag(now), succeeded.iter().map(node).collect());
        let done = done.iter().map(ToString::to_string).collect();
        let changed = changed.iter().map(ToString::to_string).collect();
        assert_eq!(found, Done { done, changed });
    }

    #[test]
    fn what_succeeded_is_known_by_its_code() {
        let table = "CREATE TABLE d AS SELECT 0 AS a";
        let before = format!("{table}; INSERT INTO d VALUES (1); SELECT 1 / 0");
        check(&before, &["d", "d_insert"], &before, &["d", "d_insert"], &[]);
        let now = format!("{table}; INSERT INTO d VALUES (0); INSERT INTO d VALUES (1); SELECT 1");
        check(&before, &["d", "d_insert"], &now, &["d", "d_insert_2"], &["d_insert"]);
        let now = format!("SELECT 5; {table}; INSERT INTO d VALUES (1); INSERT INTO d VALUES (1)");
        check(&before, &["d", "d_insert"], &now, &["d", "d_insert"], &[]);
        check(&before, &["d"], "CREATE TABLE d AS SELECT 7 AS a", &[], &["d"]);
    }

    /// The bundle of a run with these nodes.
    fn bundle(
        folder: &Path,
        nodes: &[(&str, NodeStatus)],
        retry: Option<Retry>,
        tag: Option<RunId>,
    ) -> Bundle {
        let run_id = RunId::new();
        let bundle = Bundle::create(folder, run_id).unwrap();
        let mut manifest = Manifest::of_start(run_id, "a", chrono::Utc::now());
        manifest.nodes = nodes
            .iter()
            .map(|(name, status)| NodeRecord { status: *status, ..NodeRecord::not_run(*name) })
            .collect();
        manifest.retry = retry;
        manifest.identity.tags.extend(tag.map(|run_id| (RETRY_TAG.to_owned(), run_id.to_string())));
        manifest.write(&bundle).unwrap();
        bundle
    }

    fn done_in(bundle: &Bundle) -> Vec<(String, RunId)> {
        let done = done_nodes(&Manifest::read(bundle).unwrap());
        done.into_iter().map(|node| (node.name, node.run_id)).collect()
    }

    #[test]
    fn a_retry_knows_what_was_done_before_without_the_earlier_bundles() {
        let folder = tempfile::tempdir().unwrap();
        let first = RunId::new();
        let before = |name: &str| DoneNode { name: name.to_owned(), code_hash: None, run_id: first };
        let retry = Retry { of: first, done: ["loaded", "tables", "written"].map(before).into() };
        let nodes = [
            ("broken", NodeStatus::Failure),
            ("loaded", NodeStatus::NotRun),
            ("other", NodeStatus::Success),
            // It was needed again, and did not come to its end.
            ("tables", NodeStatus::Unfinished),
        ];
        let second = bundle(folder.path(), &nodes, Some(retry), Some(first));
        let second_run = second.recorded_run().unwrap();
        let expected = [("loaded", first), ("other", second_run), ("written", first)];
        assert_eq!(done_in(&second), expected.map(|(name, run_id)| (name.to_owned(), run_id)));
    }

    #[test]
    fn a_tag_that_was_given_by_hand_makes_no_retry() {
        let folder = tempfile::tempdir().unwrap();
        let first = bundle(folder.path(), &[("written", NodeStatus::Success)], None, None);
        let tag = first.recorded_run();
        let second = bundle(folder.path(), &[("loaded", NodeStatus::Success)], None, tag);
        assert_eq!(done_in(&second), [("loaded".to_owned(), second.recorded_run().unwrap())]);
    }
}
