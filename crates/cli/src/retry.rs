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

use crate::{
    bundles::{NamedBundle, one_bundle_with, with_id},
    failure::Failure,
    say::note,
};

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
            _ => format!(
                "run {run_id} has not recorded its end: it still runs, or was killed; `daglight sync {dir}` closes a run \
                 whose process is gone"
            ),
        }));
    }
    let done_before = done_nodes(&bundle, &manifest, output_dir)?;
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
fn done_nodes(
    bundle: &NamedBundle,
    manifest: &Manifest,
    output_dir: &Path,
) -> Result<Vec<DoneNode>, Failure> {
    let mut ended: BTreeMap<(String, Option<String>), (NodeStatus, RunId)> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut next = Some(manifest.clone());
    // From the newest run to the oldest: the last attempt at a node counts.
    while let Some(manifest) = next.take() {
        let run_id = manifest.identity.run_id;
        let ran = manifest.nodes.into_iter().filter(|node| node.status != NodeStatus::NotRun);
        for node in ran {
            ended.entry((node.name, node.code_hash)).or_insert((node.status, run_id));
        }
        if let Some(retry) = manifest.retry {
            for node in retry.done {
                ended.entry((node.name, node.code_hash)).or_insert((NodeStatus::Success, node.run_id));
            }
            break;
        }
        // A retry of an earlier version has only the tag.
        seen.insert(run_id);
        let earlier = manifest.identity.tags.get(RETRY_TAG).and_then(|run_id| run_id.parse::<RunId>().ok());
        // Manifests can be edited, so two could refer to each other.
        if let Some(earlier) = earlier.filter(|earlier| !seen.contains(earlier)) {
            next = Some(manifest_of_earlier(bundle, run_id, earlier, output_dir)?);
        }
    }
    let succeeded = ended.into_iter().filter(|(_, (status, _))| *status == NodeStatus::Success);
    Ok(succeeded.map(|((name, code_hash), (_, run_id))| DoneNode { name, code_hash, run_id }).collect())
}

/// The manifest of the run that another one has retried. Without it, nodes that were done would be run again.
fn manifest_of_earlier(
    bundle: &NamedBundle,
    run_id: RunId,
    earlier: RunId,
    output_dir: &Path,
) -> Result<Manifest, Failure> {
    let place = bundle.archive().unwrap_or_else(|| bundle.dir());
    let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let found = with_id(earlier, folder).or_else(|_| with_id(earlier, output_dir));
    let manifest = found.ok().and_then(|found| Manifest::read(&found).ok());
    manifest.ok_or_else(|| {
        Failure::input(format!(
            "run {run_id} retries run {earlier}, whose bundle is neither in {} nor below {}, or cannot be read: what had been done \
             before is unknown, and nothing is run; move that bundle there, or run the pipeline without --retry",
            folder.display(),
            output_dir.display()
        ))
    })
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

    fn done_in(bundle: Bundle, output_dir: &Path) -> Result<Vec<(String, RunId)>, String> {
        let manifest = Manifest::read(&bundle).unwrap();
        let done = done_nodes(&bundle.into(), &manifest, output_dir);
        let done = done.map_err(|failure| failure.messages().join(": "))?;
        Ok(done.into_iter().map(|node| (node.name, node.run_id)).collect())
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
        assert_eq!(
            done_in(second, folder.path()).unwrap(),
            expected.map(|(name, run_id)| (name.to_owned(), run_id))
        );
    }

    #[test]
    fn the_run_before_a_retry_of_an_earlier_version_is_found_or_named() {
        let [first_dir, second_dir] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let first = bundle(first_dir.path(), &[("written", NodeStatus::Success)], None, None);
        let first_run = first.recorded_run().unwrap();
        let second = || bundle(second_dir.path(), &[("broken", NodeStatus::Failure)], None, Some(first_run));
        let found = done_in(second(), first_dir.path());
        assert_eq!(found, Ok(vec![("written".to_owned(), first_run)]));
        let missing = done_in(second(), second_dir.path()).unwrap_err();
        assert!(missing.contains(&format!("retries run {first_run}")), "{missing}");
        assert!(missing.contains("nothing is run"), "{missing}");
    }
}
