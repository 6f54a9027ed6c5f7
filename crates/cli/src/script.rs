//! The pipeline given on the command line, and the selected part of it.

use std::{collections::BTreeMap, io::Read as _, path::Path};

use daglight::{
    bundle::Retry,
    identity::{DagName, DagNameError, NodeSelector},
    policy::Policy,
    settings::{Resolved, SettingsLoader},
    sql::{Part, Pipeline, PipelineOptions, Script},
};
use daglight_guarded_files::read_named_text;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::{
    args::ScriptArgs, config::dag_name, failure::Failure, outputs::outputs_and_tables, retry::retried,
    say::note, session::register_functions,
};

/// The name of a DAG if no usable name can be derived from its script.
const ANY_NAME: &str = "pipeline_v1";

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
    /// The run that is retried, and what had been done before.
    pub(crate) retry: Option<Retry>,
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
        let (part, retry) = retried(named, &pipeline, output_dir)?;
        return Ok(NamedPipeline { pipeline, part: Some(part), retry: Some(retry) });
    }
    // An option that is given several times selects the union.
    let all = |selectors: &[NodeSelector]| selectors.iter().cloned().reduce(NodeSelector::or);
    let (select, exclude) = (all(&args.select), all(&args.exclude));
    let part = match (&select, &exclude) {
        (None, None) => None,
        (select, exclude) => Some(pipeline.part(select.as_ref(), exclude.as_ref()).map_err(Failure::input)?),
    };
    Ok(NamedPipeline { pipeline, part, retry: None })
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
