//! `daglight run`.

use std::{
    collections::BTreeMap, env, num::NonZeroUsize, path::Path, process::ExitCode, sync::Arc, time::Duration,
};

use daglight::{
    ErrorReport, FinishReport, Interrupted, OnInterrupt, Run, RunOptions, RunStatus, Telemetry,
    bundle::output_dir::{make_folder, make_writable},
    cluster::{Cluster, Unreachable},
    follow_spawned_tasks,
    identity::{NodeSelector, RunId},
    policy::Policy,
    settings::{Resolved, Settings},
    silence_panics_of_nodes,
    sql::{
        Part, Pipeline, PipelineEvent, RowsWanted, RunFailure, RunScriptOptions, SourceError, remove_scratch,
    },
};
use datafusion::{
    execution::{
        SessionStateBuilder,
        memory_pool::{GreedyMemoryPool, TrackConsumersPool},
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    prelude::SessionContext,
};
use indicatif::MultiProgress;
use signal_hook::low_level;
use tokio::time::timeout;

use crate::{
    advice::advice,
    args::{RowFormat, RunArgs, ScriptArgs},
    console, ending,
    failure::{Failure, at_place},
    progress::{Progress, Show},
    retry::RETRY_TAG,
    row_writer::RowWriter,
    say::{self, note},
    script::{self, NamedPipeline, named_once},
    service_manager,
    session::session,
    session_config::{session_config, warn_of_misspelled_variables},
    spill,
    statement_errors::StatementErrors,
    stdin_tables::with_use_of_stdin,
    stores::{ObjectStores, hide_credentials},
    summary, threads,
};

/// The variable for the output folder.
const OUTPUT_DIR_VARIABLE: &str = "DAGLIGHT_OUTPUT_DIR";

/// Tags of a run of only a part of its pipeline.
const SELECT_TAG: &str = "select";
const EXCLUDE_TAG: &str = "exclude";

/// Tags for how a run was started: options that affect its speed, and its parameters by name.
const JOBS_TAG: &str = "option.jobs";
const THREADS_TAG: &str = "option.threads";
const MEMORY_LIMIT_TAG: &str = "option.memory_limit";
const PARAMETER_TAGS: &str = "param.";

/// How long a scheduler may take to confirm that the jobs of queries that were given up are cancelled, and when a line says that it is
/// waited for.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);
const SAY_AFTER: Duration = Duration::from_millis(500);
/// The time limit for removing the tables of a run.
const REMOVE_WITHIN: Duration = Duration::from_secs(60);

/// The maximum number of rows of each query in a table.
pub(crate) const TABLE_ROWS: usize = 20;

/// How many of the largest memory consumers are named in an out-of-memory error.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::new(5).expect("5 is not 0");

pub(crate) fn run(args: RunArgs) -> Result<ExitCode, Failure> {
    let looking = threads::look_for_room(args.threads, make_functions);
    let resolved = settings(&args)?;
    let policy = resolved.settings.policy();
    // As soon as there is a policy: later errors may quote the script.
    say::hide_with(policy.redactor());
    hide_credentials(policy.redactor());
    let config = session_config(&policy)?.with_information_schema(true);
    let mut config = with_use_of_stdin(config, &args.script);
    if let Some(threads) = args.threads {
        config = config.with_target_partitions(threads.get());
    }
    let NamedPipeline { pipeline, part, retry } =
        script::pipeline(&args.script, &resolved, &policy, &config, false)?;
    let tags = tags(&args, retry.as_ref().map(|retry| retry.of))?;
    if let Some(asked_by) = output_dir_asked_by(&args) {
        let dir = &resolved.settings.bundle.output_dir;
        make_writable(dir).map_err(|error| {
            Failure::input(format!("cannot write to {asked_by} {}: {error}", dir.display()))
        })?;
    }
    let runtime = threads::runtime(looking)?;
    let cluster = args.cluster.clone().map(Cluster::new).transpose();
    let cluster = cluster.map_err(|error| Failure::input(error.to_string()))?;
    if let Some(cluster) = &cluster {
        runtime.block_on(cluster.check()).map_err(no_cluster)?;
    }
    // Last: it creates a folder, which only a run deletes.
    let runtime_env = runtime_env(args.memory_limit, args.spill_dir.as_deref())?;
    // After everything that can prevent the start: until here no bundle, span or request shows that there was a run.
    let telemetry = Telemetry::of_resolved_with(resolved, policy.clone());
    let lines = MultiProgress::new();
    console::install(&telemetry, &lines);
    warn_of_misspelled_variables();
    follow_spawned_tasks();
    silence_panics_of_nodes();

    let show = Show { nodes: !args.quiet, rows: !args.json };
    let count = part.as_ref().map_or(pipeline.dag().nodes().len(), |part| pipeline.nodes_of(part).len());
    let progress = Arc::new(Progress::new(lines, count as u64, show));
    let errors = Arc::new(StatementErrors::default());
    let reset_values = reset_values(&args);
    let session = session(&telemetry, config, runtime_env, pipeline.tables(), cluster.as_ref());
    let tags = tags.into_iter().chain(parameter_tags(&pipeline, &policy));
    let mut options = RunOptions::new().tags(tags).inputs(pipeline.inputs());
    options.retry = retry;
    let run = telemetry.start_interruptible_run(pipeline.dag(), options, answer(&args, &progress, &errors));
    ending::run_begins();
    let interval = telemetry.settings().heartbeat.interval();
    let following = progress.follow(run.watch(), interval);
    let notifying = service_manager::notify(run.watch(), interval);
    let scratch = cluster.as_ref().and_then(|_| scratch(telemetry.settings(), &run));
    let given = (&args, &reset_values, scratch.as_deref());
    let executing = execute(&pipeline, part.as_ref(), &session, &run, given, (&progress, &errors));
    let ended = runtime.block_on(executing);
    // Before the console is cleared: a thread that is still drawing would restore its line.
    drop(following);
    progress.clear();
    errors.print();
    runtime.block_on(async {
        if let Some(cluster) = &cluster {
            settle(cluster).await;
        }
        // A job that goes on may still write there.
        if let Some(scratch) = scratch.filter(|_| !telemetry.settings().cluster.keep_scratch) {
            remove(&session, &scratch).await;
        }
    });
    drop(notifying);
    if let Ended::Failed(failure) = &ended
        && let Some(advice) = advice(&failure.error, &args, spill::folder().as_deref())
    {
        note!("  {advice}");
    }
    let report = runtime.block_on(run.finish());
    // Remaining work of queries on the runtime's threads is not waited for.
    runtime.shutdown_background();

    let error = match &ended {
        // If a signal has ended the run, that is the reason, whatever failed as a result.
        Ended::Failed(failure) if report.status != RunStatus::Interrupted => {
            Some(error_of(&failure.error, &policy))
        }
        _ => None,
    };
    let exit_code = match &ended {
        Ended::Interrupted(interrupted) => interrupted.exit_code(),
        Ended::Done | Ended::Failed(_) => report.exit_code(),
    };
    let document = document(&report, error, args.json)?;
    // Before the exports are shut down, which may take seconds. A second signal may be faster, and end the process.
    let exit_code = ending::end_with(exit_code, || print(&report, document.as_deref(), args.quiet));
    spill::remove();
    telemetry.shutdown();
    Ok(exit_code)
}

/// Creates DataFusion's functions, which all sessions of a process share, while settings and scripts are being read.
fn make_functions() {
    drop(SessionStateBuilder::new_with_default_features());
}

/// The error of a statement with its place and its message, as the policy allows.
fn error_of(error: &SourceError, policy: &Policy) -> ErrorReport {
    let message = policy.capture(error.message_shown_by(policy.redactor())).to_text();
    at_place(ErrorReport::new(message).of_node(error.node.clone()), &error.place)
}

/// The output of `--json`.
fn document(
    report: &FinishReport,
    error: Option<ErrorReport>,
    json: bool,
) -> Result<Option<String>, Failure> {
    if !json {
        return Ok(None);
    }
    let mut document = serde_json::to_value(report).map_err(Failure::work)?;
    if let Some(error) = error {
        document["error"] = serde_json::to_value(error).map_err(Failure::work)?;
    }
    Ok(Some(format!("{document:#}")))
}

fn print(report: &FinishReport, document: Option<&str>, quiet: bool) {
    match document {
        Some(document) => say::document(document),
        None => summary::print(report, quiet),
    }
}

/// The source of an explicit request for this output folder, on the command line or in the environment: nothing runs without it. If
/// it comes from a file, which other machines may share, or is the default, there is only a warning.
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
    let mut loader = script::settings_loader(&args.script);
    if let Some(dir) = &args.output_dir {
        loader = loader.with_value("option --output-dir", "bundle.output_dir", dir);
    }
    if args.strict_registry {
        loader = loader.with_value("option --strict-registry", "strict_registry", true);
    }
    Ok(loader.resolve()?)
}

/// The tags of the run: the given ones, and which part of the pipeline it is.
fn tags(args: &RunArgs, retries: Option<RunId>) -> Result<BTreeMap<String, String>, Failure> {
    let mut tags = named_once("--tag", &args.tags)?;
    let all =
        |selectors: &[NodeSelector]| selectors.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let ScriptArgs { select, exclude, .. } = &args.script;
    let of_part = [
        (SELECT_TAG, Some(all(select)).filter(|text| !text.is_empty())),
        (EXCLUDE_TAG, Some(all(exclude)).filter(|text| !text.is_empty())),
        (RETRY_TAG, retries.map(|run_id| run_id.to_string())),
        (JOBS_TAG, Some(args.jobs.to_string())),
        (THREADS_TAG, args.threads.map(|threads| threads.to_string())),
        (MEMORY_LIMIT_TAG, args.memory_limit.map(|bytes| bytes.to_string())),
    ];
    for (name, value) in of_part {
        if let Some(value) = value {
            tags.entry(name.to_owned()).or_insert(value);
        }
    }
    Ok(tags)
}

/// The values of the parameters, as the policy allows for inputs.
fn parameter_tags(pipeline: &Pipeline, policy: &Policy) -> BTreeMap<String, String> {
    let named = pipeline.parameters().iter();
    named
        .map(|(name, parameter)| {
            let value = policy.capture_input(name, parameter.text.clone());
            (format!("{PARAMETER_TAGS}{name}"), value.to_text())
        })
        .collect()
}

/// The folder for tables of a run that the machines of a cluster read.
fn scratch(settings: &Settings, run: &Run) -> Option<String> {
    let folder = settings.cluster.scratch.as_deref()?;
    Some(format!("{}/{}/", folder.trim_end_matches('/'), run.id()))
}

/// Waits until the scheduler of a cluster has confirmed that jobs are cancelled. If it does not, the end of the run names them.
async fn settle(cluster: &Cluster) {
    if !cluster.settle(SAY_AFTER).await {
        let limit = SETTLE_WITHIN.as_secs();
        note!("  waiting up to {limit} s for {} to confirm that jobs are cancelled", cluster.address());
        cluster.settle(SETTLE_WITHIN - SAY_AFTER).await;
    }
}

/// Removes the tables of a run. Failures are reported, but do not make the run fail.
async fn remove(session: &SessionContext, scratch: &str) {
    let problem = match timeout(REMOVE_WITHIN, remove_scratch(session, scratch)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => say::shown_of_engine(&error.to_string()),
        Err(_) => format!("it takes longer than {} s", REMOVE_WITHIN.as_secs()),
    };
    note!("warning: the tables of this run stay in {scratch}: {problem}");
}

/// Nothing runs without the whole cluster: each machine that is missing is named.
fn no_cluster(missing: Vec<Unreachable>) -> Failure {
    let named: Vec<String> = missing.iter().map(ToString::to_string).collect();
    Failure::input(named.join("; "))
}

/// The resources for queries: the memory limit, and the folder for what does not fit.
pub(crate) fn runtime_env(
    memory_limit: Option<usize>,
    spill_dir: Option<&Path>,
) -> Result<Arc<RuntimeEnv>, Failure> {
    let mut builder = RuntimeEnvBuilder::new().with_object_store_registry(Arc::<ObjectStores>::default());
    if let Some(bytes) = memory_limit {
        // Errors then name the largest consumers.
        let pool = TrackConsumersPool::new(GreedyMemoryPool::new(bytes), NAMED_CONSUMERS);
        builder = builder.with_memory_pool(Arc::new(pool));
    }
    let made = match spill_dir {
        Some(dir) => {
            let made = make_folder(dir).and_then(|()| spill::make(Some(dir)));
            Some(made.map_err(|error| {
                Failure::input(format!("cannot write to --spill-dir {}: {error}", dir.display()))
            })?)
        }
        // Most runs write nothing there: errors are reported by the query that needs it.
        None => spill::make(None).ok(),
    };
    if let Some(dir) = made {
        builder = builder.with_temp_file_path(dir);
    }
    builder.build_arc().map_err(Failure::of_engine)
}

/// The values that a `RESET` restores: settings from command line options, and the temporary folder of the run.
fn reset_values(args: &RunArgs) -> BTreeMap<String, String> {
    let of_options = [
        ("datafusion.execution.target_partitions", args.threads.map(|threads| threads.to_string())),
        // The smallest unit that DataFusion accepts.
        (
            "datafusion.runtime.memory_limit",
            args.memory_limit.map(|bytes| format!("{}K", bytes as f64 / 1024.0)),
        ),
        ("datafusion.runtime.temp_directory", spill::folder().map(|folder| folder.display().to_string())),
    ];
    of_options.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// How the run reacts to a signal.
fn answer(args: &RunArgs, progress: &Arc<Progress>, errors: &Arc<StatementErrors>) -> OnInterrupt {
    let (announcing, clearing) = (Arc::clone(progress), Arc::clone(progress));
    let errors = Arc::clone(errors);
    let (json, quiet) = (args.json, args.quiet);
    let announce = move |line: &str| ending::announce(|| announcing.announce(line));
    OnInterrupt::new().announce(announce).last_words(move |report| {
        clearing.clear();
        ending::print_once(report.exit_code(), || {
            errors.print();
            match document(report, None, json) {
                Ok(document) => print(report, document.as_deref(), quiet),
                Err(failure) => _ = failure.print(false),
            }
        });
        // Last: a disk may take longer than there is time.
        spill::remove();
        if report.status == RunStatus::Success {
            // The work was done, and the output says so. The signals have only ended the wait for servers.
            low_level::exit(say::output_is_incomplete().into());
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
    part: Option<&Part>,
    session: &SessionContext,
    run: &Run,
    (args, reset_values, scratch): (&RunArgs, &BTreeMap<String, String>, Option<&str>),
    (progress, errors): (&Progress, &StatementErrors),
) -> Ended {
    let writer = RowWriter::new(args.format);
    let on_event = |event: PipelineEvent<'_>| match event {
        PipelineEvent::NodeStarted { node } => progress.started(node),
        PipelineEvent::NodeSucceeded { node, elapsed, rows } => {
            let kind = pipeline.dag().node(node).map(|node| node.kind);
            progress.succeeded(node, kind, rows, elapsed);
        }
        PipelineEvent::StatementFailed { error } => {
            progress.failed(error.node.as_deref());
            errors.add(error);
        }
        PipelineEvent::Rows { node, rows } => progress.rows(node, rows),
        PipelineEvent::RowsStarted { schema, .. } => writer.start(schema),
        PipelineEvent::RowsBatch { batch } => writer.batch(batch),
        PipelineEvent::RowsEnded => writer.end(),
        _ => {}
    };
    let rows = match args.format {
        RowFormat::Table => RowsWanted::Shown { most: args.max_rows.unwrap_or(TABLE_ROWS) },
        RowFormat::Csv | RowFormat::Json | RowFormat::Ndjson => RowsWanted::Streamed { most: args.max_rows },
    };
    let options = RunScriptOptions {
        jobs: args.jobs,
        rows,
        part,
        keep_going: args.keep_going,
        reset_values,
        scratch,
        on_event: &on_event,
    };
    match run.until_interrupted(pipeline.run(session, run, options)).await {
        Ok(Ok(())) => Ended::Done,
        Ok(Err(failure)) => Ended::Failed(failure),
        Err(interrupted) => Ended::Interrupted(interrupted),
    }
}
