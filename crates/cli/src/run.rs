//! `daglight run`.

use std::{collections::BTreeMap, env, path::Path, process::ExitCode, sync::Arc};

use daglight::{
    ErrorReport, FinishReport, Interrupted, OnInterrupt, Run, RunOptions, RunStatus, Telemetry,
    follow_spawned_tasks,
    identity::{DagName, DagNameError},
    outputs::{ParamTable, Registry, RegistryError},
    policy::Policy,
    receive_signals,
    settings::{Resolved, SettingsLoader},
    silence_panics_of_nodes,
    sql::{Pipeline, PipelineEvent, PipelineOptions, RunFailure, RunScriptOptions, Script, SourceError},
};
use daglight_guarded_files::read_named_text;
use datafusion::{
    execution::SessionStateBuilder,
    prelude::{SessionConfig, SessionContext},
};
use indicatif::MultiProgress;

use crate::{
    args::RunArgs,
    config::dag_name,
    console, ending,
    failure::{Failure, at_place},
    output_dir::make_writable,
    progress::{Progress, Show},
    say::{self, note},
    service_manager,
    session_config::session_config,
    summary, threads,
};

/// The name of a DAG whose script has none that could be used.
const ANY_NAME: &str = "pipeline_v1";

/// The variable that names the output folder.
const OUTPUT_DIR_VARIABLE: &str = "DAGLIGHT_OUTPUT_DIR";

/// Bytes of a script, 64 MiB.
const MAX_SCRIPT_BYTES: u64 = 64 << 20;

pub(crate) fn run(args: RunArgs) -> Result<ExitCode, Failure> {
    let json = args.json;
    receive_signals(move |signal| ending::signal_without_run(signal, json));
    let resolved = settings(&args)?;
    let dag_name = dag_name(&resolved)?;
    let policy = resolved.settings.policy();
    say::hide_with(policy.redactor());
    let config = session_config(&policy)?.with_information_schema(true);
    let pipeline = pipeline(&args, &resolved, &policy, dag_name, &config)?;
    let tags = named_once("--tag", &args.tags)?;
    if let Some(asked_by) = output_dir_asked_by(&args) {
        let dir = &resolved.settings.bundle.output_dir;
        make_writable(dir).map_err(|error| {
            Failure::input(format!("cannot write to {asked_by} {}: {error}", dir.display()))
        })?;
    }
    let runtime = threads::runtime()?;
    let telemetry = Telemetry::of_resolved(resolved);
    let lines = MultiProgress::new();
    console::install(&telemetry, &lines);
    follow_spawned_tasks();
    silence_panics_of_nodes();

    let show = Show { nodes: !args.quiet, rows: !args.json };
    let progress = Arc::new(Progress::new(lines, pipeline.dag().nodes().len() as u64, show));
    let session = telemetry.session(SessionStateBuilder::new_with_default_features().with_config(config));
    let options = RunOptions::new().tags(tags).inputs(pipeline.inputs());
    let run = telemetry.start_interruptible_run(pipeline.dag(), options, answer(&args, &progress));
    ending::run_begins();
    let interval = telemetry.settings().heartbeat.interval();
    let following = progress.follow(run.watch(), interval);
    let notifying = service_manager::notify(run.watch(), interval);
    let ended = runtime.block_on(execute(&pipeline, &session, &run, &args, &progress));
    drop((following, notifying));
    progress.clear();
    if let Ended::Failed(failure) = &ended {
        let message = failure.error.place.quoted_by(policy.redactor(), &failure.to_string());
        say::error(&format!("error: {}", policy.redactor().console_error(&message)));
    }
    let report = runtime.block_on(run.finish());
    // What a query left running on the runtime's threads is not waited for.
    runtime.shutdown_background();
    telemetry.shutdown();

    let error = match &ended {
        Ended::Failed(failure) => Some(error_of(&failure.error, &policy)),
        Ended::Done | Ended::Interrupted(_) => None,
    };
    // A second signal may have been faster, and ends the process.
    ending::print_once(|| print(&report, error, args.json, args.quiet)).transpose()?;
    Ok(match ended {
        Ended::Interrupted(interrupted) => ExitCode::from(interrupted.exit_code()),
        Ended::Done if report.status == RunStatus::Success => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// The error of a statement with its place, its message as the policy shows it.
fn error_of(error: &SourceError, policy: &Policy) -> ErrorReport {
    let message = policy.capture_error(&error.message).to_text();
    at_place(ErrorReport::new(message).of_node(error.node.clone()), &error.place)
}

fn print(report: &FinishReport, error: Option<ErrorReport>, json: bool, quiet: bool) -> Result<(), Failure> {
    if !json {
        summary::print(report, quiet);
        return Ok(());
    }
    let mut document = serde_json::to_value(report).map_err(Failure::work)?;
    if let Some(error) = error {
        document["error"] = serde_json::to_value(error).map_err(Failure::work)?;
    }
    say::document(&format!("{document:#}"));
    Ok(())
}

/// What asks for just this output folder, on the command line or in the environment: nothing runs without it. That of a
/// file, which other machines may share, and the default are missed with a warning.
fn output_dir_asked_by(args: &RunArgs) -> Option<&'static str> {
    let is_given = |variable: &str| {
        env::var_os(variable).is_some_and(|value| !value.to_string_lossy().trim().is_empty())
    };
    match args.output_dir {
        Some(_) => Some("--output-dir"),
        None => Some(OUTPUT_DIR_VARIABLE).filter(|variable| is_given(variable)),
    }
}

fn settings(args: &RunArgs) -> Result<Resolved, Failure> {
    let mut loader = SettingsLoader::from_process();
    if let Some(profile) = &args.profile {
        loader = loader.with_value("option --profile", "profile", profile);
    }
    if let Some(dir) = &args.output_dir {
        loader = loader.with_value("option --output-dir", "bundle.output_dir", dir);
    }
    if let Some(name) = &args.dag_name {
        loader = loader.with_value("option --dag-name", "dag_name", name);
    }
    if args.strict_registry {
        loader = loader.with_value("option --strict-registry", "strict_registry", true);
    }
    Ok(loader.resolve()?)
}

fn pipeline(
    args: &RunArgs,
    resolved: &Resolved,
    policy: &Policy,
    dag_name: Option<DagName>,
    config: &SessionConfig,
) -> Result<Pipeline, Failure> {
    let settings = &resolved.settings;
    let path = args.script.display().to_string();
    let text = read_named_text(&args.script, MAX_SCRIPT_BYTES).map_err(|error| {
        Failure::input(format!("cannot read the script {path}: {error}")).in_file(&args.script, None)
    })?;
    // An error may quote it before there is a run.
    policy.redactor().learn(&text);
    let script = Script::parse_for(&path, &text, config.options())?;
    // The script has a copy of its own.
    drop(text);
    let warnings = script.warnings().to_vec();
    let parameters = named_once("--param", &args.parameters)?;
    for (name, value) in &parameters {
        // An error may quote it before there is a run.
        let _ = policy.capture_input(name, value.as_str());
    }
    let registry = Registry::new(&settings.outputs).map_err(|error| wrong_type(&error, resolved, policy))?;
    let param_tables = settings.param_tables.iter().map(|(name, table)| ParamTable::of_settings(name, table));
    let param_tables = param_tables.collect::<Result<_, _>>().map_err(Failure::of_engine)?;
    let dag_name = Some(dag_name.unwrap_or_else(|| name_of_script(&args.script)));
    let pipeline = Pipeline::new(script, PipelineOptions { dag_name, parameters, param_tables, registry });
    let pipeline = pipeline.and_then(|pipeline| {
        // The session of the run is not there yet, and has no other tables than this one.
        pipeline.check_tables(&SessionContext::new_with_config(config.clone()))?;
        Ok(pipeline)
    });
    if pipeline.is_err() {
        // No run will show them, and what is missing may stand in one of these comments.
        warnings.iter().for_each(|warning| note!("warning: {warning}"));
    }
    Ok(pipeline?)
}

/// The type of a column in the registry that there is not.
fn wrong_type(error: &RegistryError, resolved: &Resolved, policy: &Policy) -> Failure {
    let RegistryError { output, column, source } = error;
    let values = resolved.values().iter();
    let of_type = values.filter(|value| value.path == ["outputs", output, "columns", column]);
    let place = of_type.map(|value| (value.key.clone(), value.origin.to_string())).next();
    let (key, origin) =
        place.unwrap_or_else(|| (format!("outputs.{output}.columns.{column}"), "code".to_owned()));
    let found = policy.redactor().setting_value(&source.text);
    Failure::input(format!(
        "setting {key} ({origin}): expected an SQL type such as BIGINT, or an Arrow type such as Int64, found {found}"
    ))
}

/// The DAG's name by that of the script: where no DAG can have it, because it has a date in it for example, the nearest
/// one that it can have.
fn name_of_script(script: &Path) -> DagName {
    let stem = script.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
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
fn named_once(option: &str, given: &[(String, String)]) -> Result<BTreeMap<String, String>, Failure> {
    let mut values = BTreeMap::new();
    for (name, value) in given {
        if values.insert(name.clone(), value.clone()).is_some() {
            return Err(Failure::input(format!("{option} {name} is given more than once")));
        }
    }
    Ok(values)
}

/// How the run answers to a signal.
fn answer(args: &RunArgs, progress: &Arc<Progress>) -> OnInterrupt {
    let (announcing, clearing) = (Arc::clone(progress), Arc::clone(progress));
    let (json, quiet) = (args.json, args.quiet);
    OnInterrupt::new().announce(move |line| announcing.announce(line)).last_words(move |report| {
        clearing.clear();
        if let Some(Err(failure)) = ending::print_once(|| print(report, None, json, quiet)) {
            failure.print(false);
        }
    })
}

enum Ended {
    Done,
    Failed(RunFailure),
    Interrupted(Interrupted),
}

async fn execute(
    pipeline: &Pipeline,
    session: &SessionContext,
    run: &Run,
    args: &RunArgs,
    progress: &Arc<Progress>,
) -> Ended {
    let on_event = |event: PipelineEvent<'_>| match event {
        PipelineEvent::NodeStarted { node } => progress.started(node),
        PipelineEvent::NodeSucceeded { node, elapsed, rows } => {
            let kind = pipeline.dag().node(node).map(|node| node.kind);
            progress.succeeded(node, kind, rows, elapsed);
        }
        PipelineEvent::StatementFailed { error } => progress.failed(error.node.as_deref()),
        PipelineEvent::Rows { node, rows } => progress.rows(node, rows),
        _ => {}
    };
    let options = RunScriptOptions { jobs: args.jobs, rows_shown: args.rows, on_event: &on_event };
    match run.until_interrupted(pipeline.run(session, run, options)).await {
        Ok(Ok(())) => Ended::Done,
        Ok(Err(failure)) => Ended::Failed(failure),
        Err(interrupted) => Ended::Interrupted(interrupted),
    }
}
