//! `daglight run`.

use std::{collections::BTreeMap, process::ExitCode};

use daglight::{
    Run, RunOptions, RunStatus, Telemetry, follow_spawned_tasks,
    identity::DagName,
    outputs::{ParamTable, Registry},
    policy::{Policy, Resolved, Settings, SettingsLoader},
    sql::{Pipeline, PipelineEvent, PipelineOptions, RunScriptOptions, Script},
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
    console,
    failure::Failure,
    progress::{Progress, Show},
    say::{self, note, say},
    summary,
};

/// Rows of a bare query that are shown.
const ROWS_SHOWN: usize = 20;
/// Bytes of a script, 64 MiB.
const MAX_SCRIPT_BYTES: u64 = 64 << 20;

pub(crate) fn run(args: RunArgs) -> Result<ExitCode, Failure> {
    let resolved = settings(&args)?;
    let dag_name = dag_name(&resolved)?;
    let config = SessionConfig::from_env().map_err(Failure::input)?.with_information_schema(true);
    let policy = Policy::new(&resolved.settings);
    say::hide_with(policy.redactor());
    let pipeline = pipeline(&args, &resolved.settings, &policy, dag_name, &config)?;
    let tags = named_once("--tag", &args.tags)?;
    let telemetry = Telemetry::of_resolved(resolved);
    let lines = MultiProgress::new();
    console::install(&telemetry, &lines);
    follow_spawned_tasks();

    let show = Show { nodes: !args.quiet, rows: !args.json };
    let progress = Progress::new(lines, pipeline.dag().nodes().len() as u64, show);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::work)?;
    let session = telemetry.session(SessionStateBuilder::new_with_default_features().with_config(config));
    let run = telemetry.start_run(pipeline.dag(), RunOptions::new().tags(tags));
    let ended = runtime.block_on(execute(&pipeline, &session, &run, &args, &policy, &progress));
    progress.clear();
    if let Ended::Failed(message) = &ended {
        note!("error: {message}");
    }
    let report = runtime.block_on(run.finish());
    // What a query left running on the runtime's threads is not waited for.
    runtime.shutdown_background();
    telemetry.shutdown();

    if args.json {
        say!("{}", serde_json::to_string_pretty(&report).map_err(Failure::work)?);
    } else {
        summary::print(&report, args.quiet);
    }
    Ok(match ended {
        Ended::Interrupted => ExitCode::from(130),
        Ended::Done if report.status == RunStatus::Success => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
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
    loader.resolve().map_err(Failure::input)
}

fn pipeline(
    args: &RunArgs,
    settings: &Settings,
    policy: &Policy,
    dag_name: Option<DagName>,
    config: &SessionConfig,
) -> Result<Pipeline, Failure> {
    let path = args.script.display().to_string();
    let text = read_named_text(&args.script, MAX_SCRIPT_BYTES)
        .map_err(|error| Failure::input(format!("cannot read the script {path}: {error}")))?;
    // An error may quote it before there is a run.
    policy.redactor().learn(&text);
    let script = Script::parse_for(&path, &text, config.options()).map_err(Failure::input)?;
    let warnings = script.warnings().to_vec();
    let parameters = named_once("--param", &args.parameters)?;
    for (name, value) in &parameters {
        // An error may quote it before there is a run.
        let _ = policy.capture_input(name, value.as_str());
    }
    let registry = Registry::new(&settings.outputs).map_err(Failure::input)?;
    let param_tables = settings.param_tables.iter().map(|(name, table)| ParamTable::of_settings(name, table));
    let param_tables = param_tables.collect::<Result<_, _>>().map_err(Failure::input)?;
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
    pipeline.map_err(Failure::input)
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

enum Ended {
    Done,
    Failed(String),
    Interrupted,
}

async fn execute(
    pipeline: &Pipeline,
    session: &SessionContext,
    run: &Run,
    args: &RunArgs,
    policy: &Policy,
    progress: &Progress,
) -> Ended {
    let on_event = |event: PipelineEvent<'_>| match event {
        PipelineEvent::NodeStarted { node } => progress.started(node),
        PipelineEvent::NodeSucceeded { node, elapsed } => {
            progress.succeeded(node, elapsed, run.node_record(node).as_ref());
        }
        PipelineEvent::StatementFailed { error } => progress.failed(error.node.as_deref()),
        PipelineEvent::Rows { node, rows } => progress.rows(node, rows),
        _ => {}
    };
    let options = RunScriptOptions { jobs: args.jobs, rows_shown: ROWS_SHOWN, on_event: &on_event };
    match run.until_interrupted(pipeline.run(session, run, options)).await {
        Some(Ok(())) => Ended::Done,
        Some(Err(failure)) => Ended::Failed(policy.redactor().console_error(&failure.to_string())),
        None => Ended::Interrupted,
    }
}
