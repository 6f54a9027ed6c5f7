//! The pipeline given on the command line, and the selected part of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    path::Path,
};

use daglight::{
    NodeStatus, RunStatus,
    bundle::{Bundle, Manifest, RunState},
    identity::{Dag, DagName, DagNameError, NodeSelector, RunId},
    policy::Policy,
    settings::{Resolved, SettingsLoader},
    sql::{Part, Pipeline, PipelineOptions, Script},
};
use daglight_guarded_files::read_named_text;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::{
    args::ScriptArgs, bundles::one_bundle_with, config::dag_name, failure::Failure,
    outputs::outputs_and_tables, say::note, session::register_functions,
};

/// The name of a DAG if no usable name can be derived from its script.
const ANY_NAME: &str = "pipeline_v1";

/// The tag of a run with the id of the run that it retries.
pub(crate) const RETRY_TAG: &str = "retry_of";

/// Bytes of a script, 64 MiB.
const MAX_SCRIPT_BYTES: u64 = 64 << 20;

/// Represents standard input in place of a file, and the name of its text.
const STDIN: &str = "-";
const STDIN_NAME: &str = "stdin";

/// The name of the texts of `--command`.
const COMMAND_NAME: &str = "command";

/// A pipeline whose nodes are known.
#[derive(Debug)]
pub(crate) struct NamedPipeline {
    pub(crate) pipeline: Pipeline,
    /// The part to run; all if `None`.
    pub(crate) part: Option<Part>,
    /// The run that is retried.
    pub(crate) retries: Option<RunId>,
}

/// The loader for settings, including those given together with a script.
pub(crate) fn settings_loader(args: &ScriptArgs) -> SettingsLoader {
    let mut loader = SettingsLoader::from_process();
    if let Some(profile) = &args.profile {
        loader = loader.with_value("option --profile", "profile", profile);
    }
    if let Some(name) = &args.dag_name {
        loader = loader.with_value("option --dag-name", "dag_name", name);
    }
    loader
}

pub(crate) fn pipeline(
    args: &ScriptArgs,
    resolved: &Resolved,
    policy: &Policy,
    config: &SessionConfig,
    warnings_wanted: bool,
) -> Result<NamedPipeline, Failure> {
    let dag_name = dag_name(resolved)?;
    let texts = texts(args)?;
    policy.redactor().start_in_dialect(config.options().sql_parser.dialect.as_ref());
    for (_, text) in &texts {
        // An error may quote it before there is a run.
        policy.redactor().learn(text);
    }
    let script = Script::parse_files(&texts, config.options())?;
    for check in script.statements().iter().flat_map(|statement| &statement.checks) {
        // It is SQL inside a comment, which otherwise contains none.
        policy.redactor().learn(check.check.text());
    }
    if script.statements().is_empty() {
        // Not an error, as in `datafusion-cli`: a generated script may have nothing to do today.
        note!("note: {} has no statement, so there is nothing to run", script.path());
    }
    // The script has its own copy.
    drop(texts);
    let warnings = script.warnings().to_vec();
    let parameters = named_once("--param", &args.parameters)?;
    for (name, value) in &parameters {
        // An error may quote it before there is a run.
        let _ = policy.capture_input(name, value.as_str());
    }
    let settings = &resolved.settings;
    let (registry, param_tables) = outputs_and_tables(resolved, policy)?;
    let dag_name = Some(dag_name.unwrap_or_else(|| name_of_script(script.path())));
    let pipeline = Pipeline::new(
        script,
        PipelineOptions { dag_name, parameters, param_tables, registry, reads_files: true },
    );
    let pipeline = pipeline.and_then(|pipeline| {
        // The session of the run does not exist yet, and has the same tables as this one.
        let session = SessionContext::new_with_config(config.clone());
        register_functions(&session);
        pipeline.check_tables(&session)?;
        Ok(pipeline)
    });
    if warnings_wanted || pipeline.is_err() {
        // No run will show them, and the missing part may be in one of these comments.
        warnings.iter().for_each(|warning| note!("warning: {warning}"));
    }
    with_part(args, pipeline?, &settings.bundle.output_dir)
}

/// The texts of the script with their names.
fn texts(args: &ScriptArgs) -> Result<Vec<(String, String)>, Failure> {
    let mut texts = Vec::new();
    for path in args.all_files() {
        let is_stdin = path.as_os_str() == STDIN;
        let (name, text) = match is_stdin {
            true => (STDIN_NAME.to_owned(), text_of_stdin()),
            false => (
                path.display().to_string(),
                read_named_text(path, MAX_SCRIPT_BYTES).map_err(|error| error.to_string()),
            ),
        };
        let text = text.map_err(|error| {
            Failure::input(format!("cannot read the script {name}: {error}")).in_file(path, None)
        })?;
        if is_stdin && texts.iter().any(|(other, _)| *other == name) {
            return Err(Failure::input("standard input (`-`) is given more than once"));
        }
        texts.push((name, text));
    }
    for (index, command) in args.commands.iter().enumerate() {
        let name = if args.commands.len() == 1 {
            COMMAND_NAME.to_owned()
        } else {
            format!("{COMMAND_NAME}_{}", index + 1)
        };
        texts.push((name, command.clone()));
    }
    Ok(texts)
}

fn text_of_stdin() -> Result<String, String> {
    let mut bytes = Vec::new();
    // One byte more than the limit, to recognise a text that is too long.
    let read = std::io::stdin().lock().take(MAX_SCRIPT_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_SCRIPT_BYTES {
        return Err(format!("it has more than {} MiB", MAX_SCRIPT_BYTES >> 20));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        format!("it is not valid UTF-8 in line {}", line + 1)
    })
}

fn with_part(args: &ScriptArgs, pipeline: Pipeline, output_dir: &Path) -> Result<NamedPipeline, Failure> {
    if let Some(named) = &args.retry {
        return retried(named, pipeline, output_dir);
    }
    // An option that is given several times selects the union.
    let all = |selectors: &[NodeSelector]| selectors.iter().cloned().reduce(NodeSelector::or);
    let (select, exclude) = (all(&args.select), all(&args.exclude));
    let part = match (&select, &exclude) {
        (None, None) => None,
        (select, exclude) => Some(pipeline.part(select.as_ref(), exclude.as_ref()).map_err(Failure::input)?),
    };
    Ok(NamedPipeline { pipeline, part, retries: None })
}

/// The part that a run has not completed.
fn retried(named: &Path, pipeline: Pipeline, output_dir: &Path) -> Result<NamedPipeline, Failure> {
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
    let Done { done, changed } = Done::of(dag, succeeded(&bundle, &manifest));
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
    Ok(NamedPipeline { pipeline, part: Some(part), retries: Some(run_id) })
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
    fn of(dag: &Dag, mut succeeded: Vec<Succeeded>) -> Self {
        let mut found = Self::default();
        let mut others = Vec::new();
        for node in dag.nodes() {
            let code = node.code_hash();
            // A bundle of an earlier version does not contain the code hash.
            let is_same = |known: &Option<String>| known.is_none() || code.is_none() || *known == code;
            match succeeded.iter().position(|known| known.name == node.name && is_same(&known.code)) {
                Some(known) => {
                    succeeded.remove(known);
                    found.done.insert(node.name.clone());
                }
                None => others.push((node, code)),
            }
        }
        for (node, code) in others {
            if let Some(known) = succeeded.iter().position(|known| code.is_some() && known.code == code) {
                succeeded.remove(known);
                found.done.insert(node.name.clone());
            } else if succeeded.iter().any(|known| known.name == node.name) {
                found.changed.push(node.name.clone());
            }
        }
        found
    }
}

/// A node that has succeeded, with the hash of its code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Succeeded {
    name: String,
    code: Option<String>,
}

/// The nodes that have succeeded in a run, or, if it was itself a retry and did not run them, in the run before.
fn succeeded(bundle: &Bundle, manifest: &Manifest) -> Vec<Succeeded> {
    let mut ended: BTreeMap<Succeeded, NodeStatus> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut next = Some(manifest.clone());
    while let Some(manifest) = next.take() {
        let ran = manifest.nodes.into_iter().filter(|node| node.status != NodeStatus::NotRun);
        for node in ran {
            // From the newest run to the oldest: the last attempt at a node counts.
            ended.entry(Succeeded { name: node.name, code: node.code_hash }).or_insert(node.status);
        }
        seen.insert(manifest.identity.run_id);
        let earlier = manifest.identity.tags.get(RETRY_TAG).and_then(|run_id| run_id.parse::<RunId>().ok());
        // Manifests can be edited, so two could refer to each other.
        next = earlier.filter(|run_id| !seen.contains(run_id)).and_then(|run_id| beside(bundle, run_id));
    }
    ended.into_iter().filter(|(_, status)| *status == NodeStatus::Success).map(|(node, _)| node).collect()
}

/// The manifest of another run in the same folder.
fn beside(bundle: &Bundle, run_id: RunId) -> Option<Manifest> {
    let folder = bundle.dir().parent()?;
    let bundles = Bundle::find_all(folder).ok()?;
    let found = bundles.iter().find(|bundle| bundle.recorded_run() == Some(run_id))?;
    Manifest::read(found).ok()
}

/// The DAG name for a script. If its name is invalid for a DAG, for example because it contains a date, the closest valid name.
fn name_of_script(script: &str) -> DagName {
    let stem =
        Path::new(script).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let error = match DagName::try_from(stem) {
        Ok(name) => return name,
        Err(error) => error,
    };
    let nearest = match &error {
        DagNameError::Changing { suggestion, .. } => suggestion.parse().ok(),
        _ => None,
    };
    let name: DagName = nearest.unwrap_or_else(|| ANY_NAME.parse().expect("the name is valid"));
    note!(
        "warning: {error}; the DAG of this run is called {:?}; choose another with --dag-name",
        name.as_str()
    );
    name
}

/// What an option gives, name by name.
pub(crate) fn named_once(
    option: &str,
    given: &[(String, String)],
) -> Result<BTreeMap<String, String>, Failure> {
    let mut values = BTreeMap::new();
    for (name, value) in given {
        if values.insert(name.clone(), value.clone()).is_some() {
            return Err(Failure::input(format!("{option} {name} is given more than once")));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks which nodes of a script are not run again, after an earlier run of `before` in which these nodes succeeded.
    #[track_caller]
    fn check(before: &str, succeeded: &[&str], now: &str, done: &[&str], changed: &[&str]) {
        let dag = |sql: &str| {
            let script = Script::parse("a.sql", sql).unwrap();
            Pipeline::new(script, PipelineOptions::default()).unwrap().dag().clone()
        };
        let before = dag(before);
        let node = |name: &&str| Succeeded {
            name: (*name).to_owned(),
            code: before.node(name).unwrap().code_hash(),
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
}
