//! The pipeline that the command line names, and the part of it that is meant.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    path::Path,
};

use daglight::{
    NodeStatus, RunStatus,
    bundle::{Bundle, Manifest},
    identity::{DagName, DagNameError, NodeSelector, RunId},
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

/// The name of a DAG whose script has none that could be used.
const ANY_NAME: &str = "pipeline_v1";

/// The tag of a run with the run that it goes on with.
pub(crate) const RETRY_TAG: &str = "retry_of";

/// Bytes of a script, 64 MiB.
const MAX_SCRIPT_BYTES: u64 = 64 << 20;

/// What stands for standard input in place of a file, and what its text is called.
const STDIN: &str = "-";
const STDIN_NAME: &str = "stdin";

/// What the texts of `--command` are called.
const COMMAND_NAME: &str = "command";

/// A pipeline whose nodes are known.
#[derive(Debug)]
pub(crate) struct NamedPipeline {
    pub(crate) pipeline: Pipeline,
    /// What is run of it; all without.
    pub(crate) part: Option<Part>,
    /// The run that is tried again.
    pub(crate) retries: Option<RunId>,
}

/// The loader of settings, with those that are given beside a script.
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
        // It is SQL in a comment, where nothing else is.
        policy.redactor().learn(check.check.text());
    }
    // The script has a copy of its own.
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
        // The session of the run is not there yet, and has no other tables than this one.
        let session = SessionContext::new_with_config(config.clone());
        register_functions(&session);
        pipeline.check_tables(&session)?;
        Ok(pipeline)
    });
    if warnings_wanted || pipeline.is_err() {
        // No run will show them, and what is missing may stand in one of these comments.
        warnings.iter().for_each(|warning| note!("warning: {warning}"));
    }
    with_part(args, pipeline?, &settings.bundle.output_dir)
}

/// The texts of the script with what each is called.
fn texts(args: &ScriptArgs) -> Result<Vec<(String, String)>, Failure> {
    let mut texts = Vec::new();
    for path in &args.scripts {
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
    // One byte more than is taken, by which a longer one is recognised.
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
    // An option that is given twice chooses what either does.
    let all = |selectors: &[NodeSelector]| selectors.iter().cloned().reduce(NodeSelector::or);
    let (select, exclude) = (all(&args.select), all(&args.exclude));
    let part = match (&select, &exclude) {
        (None, None) => None,
        (select, exclude) => Some(pipeline.part(select.as_ref(), exclude.as_ref()).map_err(Failure::input)?),
    };
    Ok(NamedPipeline { pipeline, part, retries: None })
}

/// What a run has left undone.
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
    // What has not ended may still succeed.
    if manifest.status == RunStatus::Running {
        return Err(Failure::input(format!(
            "run {run_id} has not recorded its end: it still runs, or was killed; `daglight sync {}` closes a run whose \
             process is gone",
            bundle.dir().display()
        )));
    }
    if run.dag_hash != dag.dag_hash() || run.code_hash != dag.code_hash() {
        note!("warning: the pipeline has changed since run {run_id}: what succeeded there is not run again");
    }
    let part = pipeline.rest(&succeeded(&bundle, &manifest)).map_err(|_| {
        Failure::input(format!("there is nothing to run: every node of run {run_id} has succeeded"))
    })?;
    Ok(NamedPipeline { pipeline, part: Some(part), retries: Some(run_id) })
}

/// The nodes that have succeeded in a run, or, where it did not run them because it was itself a retry, in the run before.
fn succeeded(bundle: &Bundle, manifest: &Manifest) -> BTreeSet<String> {
    let mut ended: BTreeMap<String, NodeStatus> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut next = Some(manifest.clone());
    while let Some(manifest) = next.take() {
        let ran = manifest.nodes.into_iter().filter(|node| node.status != NodeStatus::NotRun);
        for node in ran {
            // From the newest run to the oldest: the last attempt at a node counts.
            ended.entry(node.name).or_insert(node.status);
        }
        seen.insert(manifest.identity.run_id);
        let earlier = manifest.identity.tags.get(RETRY_TAG).and_then(|run_id| run_id.parse::<RunId>().ok());
        // Manifests can be edited, and two could name each other.
        next = earlier.filter(|run_id| !seen.contains(run_id)).and_then(|run_id| beside(bundle, run_id));
    }
    ended.into_iter().filter(|(_, status)| *status == NodeStatus::Success).map(|(name, _)| name).collect()
}

/// The manifest of another run in the same folder.
fn beside(bundle: &Bundle, run_id: RunId) -> Option<Manifest> {
    let folder = bundle.dir().parent()?;
    let bundles = Bundle::find_all(folder).ok()?;
    let found = bundles.iter().find(|bundle| bundle.recorded_run() == Some(run_id))?;
    Manifest::read(found).ok()
}

/// The DAG's name by that of the script: where no DAG can have it, because it has a date in it for example, the nearest
/// one that it can have.
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
