//! What happens when a run starts: it gets its folder, its signals, its outbox and its heartbeat.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Instant};

use daglight_bundle_report::display::command;
use daglight_capture_policy::{Policy, in_one_line};
use daglight_guarded_files::FileBelow;
use daglight_heartbeat::{Heartbeat, HeartbeatConfig, StallAfter};
use daglight_otel_bridge::{
    RunScope, SignalFiles, StageSpan,
    names::{Key, key},
};
use daglight_run_bundle::{
    Bundle, BundleError, ProcessEvidence, RUN_BUNDLE, Reserve, Warning, WarningCode, clock,
    output_dir::not_a_folder,
};
use daglight_run_identity::{Dag, DagName, RunId};
use daglight_tracker_client::{Event, Tracker};
use serde_json::Value;

use crate::{
    beats::emit,
    lineage::RunLineage,
    live_progress::LiveProgress,
    log::{field, log},
    manifest_file::write_manifest,
    open_runs::OpenRuns,
    options::RunOptions,
    run_context::{RootSpan, RunContext},
    run_dag::RunDag,
    run_state::RunState,
    run_tags::{policy_hash, run_tags, shown_rules, warn_of_replaced_tags},
    shared::Shared,
    shown_dag::{shown_name, shown_tag, with_shown_names},
    trace_link::trace_url,
};

pub(crate) fn start(
    shared: &Arc<Shared>,
    open_runs: &Arc<OpenRuns<RunState>>,
    dag: &Dag,
    options: RunOptions,
) -> Arc<RunState> {
    // Before anything of the run leaves.
    dag.files().values().for_each(|text| shared.policy.redactor().learn(text));
    start_of(shared, open_runs, dag.name(), RunDag::declared(with_shown_names(dag)), options)
}

/// Starts a run whose DAG is what is seen of it.
pub(crate) fn start_observed(
    shared: &Arc<Shared>,
    open_runs: &Arc<OpenRuns<RunState>>,
    name: &DagName,
    options: RunOptions,
) -> Arc<RunState> {
    start_of(shared, open_runs, name, RunDag::observed(shown_name(name)), options)
}

#[expect(clippy::disallowed_methods, reason = "a run has the time at which it starts")]
fn start_of(
    shared: &Arc<Shared>,
    open_runs: &Arc<OpenRuns<RunState>>,
    given_name: &DagName,
    dag: RunDag,
    options: RunOptions,
) -> Arc<RunState> {
    let settings = &shared.settings;
    let open = clock::OpenRun::new();
    let run_id = RunId::new();
    let git = shared.git(options.source_dir.clone());
    let mut tags = run_tags(shared, run_id, &git, &options.tags);

    let (bundle, no_bundle) = match Bundle::create(&settings.bundle.output_dir, run_id) {
        Ok(bundle) => (Some(bundle.durable(settings.bundle.durability)), None),
        Err(error) => (
            None,
            Some(Warning::new(
                WarningCode::of_error(&error, WarningCode::BundleNotCreated),
                format!(
                    "cannot create the bundle; nothing of this run will be recorded or delivered: {}",
                    why_no_bundle(&settings.bundle.output_dir, &error)
                ),
            )),
        ),
    };
    if let Some(bundle) = &bundle {
        // Before the manifest, so that a run that is killed before its first beat is known to be dead. If it fails, so does that beat,
        // which reports it.
        let evidence =
            ProcessEvidence::for_self(clock::utc_now(), settings.heartbeat.interval().as_secs_f64());
        let _ = evidence.write(&bundle.heartbeat());
    }
    let files = bundle.as_ref().map(SignalFiles::from);
    let signals = shared.bridge.open_run(RunScope {
        durability: settings.bundle.durability,
        ..RunScope::new(run_id, dag.name().clone(), files, &settings.bundle.output_dir)
    });
    let root = signals.root();
    root.set(Key::Stage, "run");
    show_policy(&root, shared);
    tags.insert(key::OTEL_TRACE_ID.to_owned(), root.trace_id());
    tags.insert(key::OTEL_SPAN_ID.to_owned(), root.span_id());
    let shown_url = trace_url(settings, &root).map(|url| shared.policy.redactor().text(&url));
    tags.extend(shown_url.map(|url| ("trace_url".to_owned(), url)));
    let tracker = bundle.as_ref().filter(|_| settings.tracker.enabled).map(|bundle| {
        let advice = format!("to deliver it later: {}", command("sync", bundle.dir()));
        let connection = shared.connection.clone();
        let connection = connection.map(|connection| connection.with_advice(&advice));
        Tracker::start(&bundle.tracker_dir(), settings.bundle.durability, connection)
    });
    let mut lineage_warnings = Vec::new();
    let lineage = bundle.as_ref().zip(shared.lineage.as_ref()).map(|(bundle, setup)| {
        RunLineage::start(shared, setup, bundle, (dag.name(), run_id, &git), &options, &mut lineage_warnings)
    });
    let (lineage, no_lineage) = match lineage {
        Some(Ok(lineage)) => (Some(lineage), None),
        Some(Err(error)) => (None, Some(Warning::of_error(WarningCode::BundleIncomplete, &error))),
        None => (None, None),
    };
    let bundle_has_failed = tracker.as_ref().map(Tracker::warned).unwrap_or_default();
    let context = RunContext {
        shared: Arc::clone(shared),
        run_id,
        dag,
        policy: shared.policy.clone(),
        started_at: clock::utc_now(),
        started: Instant::now(),
        _open: open,
        tags,
        retry: options.retry.clone(),
        bundle,
        tracker,
        lineage,
        signals,
        root: RootSpan::new(root),
    };
    let state = Arc::new(RunState::new(context, Arc::clone(open_runs), bundle_has_failed));
    // In the list before anything can plan a query for it: with one run open, a query without a node belongs to that.
    open_runs.insert(run_id, &state);
    shared.ends.run_started();
    shared.warn_of_setup(&state.log);
    warn_of_replaced_tags(&state, &options.tags);
    let name = state.context.dag.name();
    if name != given_name {
        let warning = format!(
            "the name of the DAG contains a credential: the run is recorded under {:?}; choose a name without one",
            name.as_str()
        );
        state.log.warn(WarningCode::DagNameMasked, warning);
    }
    no_bundle.into_iter().for_each(|warning| state.log.bundle_failed(warning));
    no_lineage.into_iter().for_each(|warning| state.log.bundle_failed(warning));
    lineage_warnings.into_iter().for_each(|warning| state.log.warn(WarningCode::LineageSetup, warning));
    announce(&state, &options.inputs);
    let heartbeat = beat(&state);
    if let Some(error) = heartbeat.problem() {
        state.log.warn(
            WarningCode::HeartbeatFailed,
            format!(
                "cannot start the heartbeat thread: stalls and killed processes will not be detected: {error}"
            ),
        );
    }
    state.beats.start(heartbeat);
    state
}

fn why_no_bundle(output_dir: &Path, error: &BundleError) -> String {
    not_a_folder(&output_dir.join(RUN_BUNDLE)).map_or_else(|| in_one_line(error), |why| why.to_string())
}

fn show_policy(root: &StageSpan, shared: &Shared) {
    let policy = &shared.policy;
    root.set(Key::PolicyHash, policy.capture(policy_hash(policy)));
    for (key, rule) in shown_rules(policy) {
        root.set(key, rule);
    }
}

/// Records for the tracker, the bundle and the log that the run has started.
fn announce(state: &RunState, inputs: &BTreeMap<String, Value>) {
    if let Some(tracker) = &state.context.tracker {
        tracker.record(&version(state));
        let RunContext { run_id, started_at, .. } = *state.context;
        let shown = |(name, value): (&String, &Value)| {
            (name.clone(), state.context.policy.capture_input(name, value.clone()))
        };
        let inputs = inputs.iter().map(shown).collect();
        tracker.record(&Event::RunStarted {
            run_id,
            tags: state.context.tags.clone(),
            inputs,
            time: started_at,
        });
    }
    if let Some(lineage) = &state.context.lineage {
        lineage.run_started(&state.log, state.context.started_at);
    }
    // At once, so that a process that is killed in its first second leaves a folder that is known as a run.
    write_manifest(state, None);
    keep_reserve(state);
    let _guard = state.context.root.context.clone().attach();
    log!(INFO, "run started", run_id = field(state.context.run_id), dag = field(state.context.dag.name()));
}

/// The pipeline for the tracker, as the policy shows it.
fn version(state: &RunState) -> Event {
    let RunContext { policy, dag, .. } = &*state.context;
    if dag.is_observed() {
        return Event::Observed { dag_name: dag.name().to_string() };
    }
    let documentation = |text: &str| policy.capture_documentation(text).map(|shown| shown.to_text());
    let shown = Dag::clone(&dag.get()).with_code_text(|text| shown_code(text, policy));
    Event::version(&shown.with_notes(documentation, shown_tag(policy)), BTreeMap::new())
}

/// Takes up disk space for the manifest that says how the run ended, which is longer than the one of its start. Best effort:
/// on a disk that is full already there is nothing to take.
fn keep_reserve(state: &RunState) {
    const MANIFEST_GROWTH: usize = 3;
    const LEAST_BYTES: usize = 64 << 10;
    let Some(bundle) = &state.context.bundle else { return };
    // The last manifest has times, rows and errors for each node that the first one only names.
    let manifest_bytes = fs::metadata(bundle.manifest()).map_or(0, |manifest| manifest.len());
    let bytes = LEAST_BYTES + MANIFEST_GROWTH * usize::try_from(manifest_bytes).unwrap_or(0);
    // A smaller one is better than none.
    let sizes =
        std::iter::successors(Some(bytes), |bytes| Some(bytes / 2)).take_while(|bytes| *bytes >= 4096);
    let taken = sizes.filter_map(|bytes| Reserve::take(FileBelow::at(&bundle.reserve()), bytes).ok()).next();
    *state.ending.reserve() = taken;
}

fn shown_code(text: &str, policy: &Policy) -> String {
    let shown = policy.capture_sql(text);
    shown.map(|shown| shown.to_text()).unwrap_or_default()
}

/// Starts the heartbeat of a run.
fn beat(state: &Arc<RunState>) -> Heartbeat {
    let settings = &state.context.settings().heartbeat;
    let config = HeartbeatConfig {
        interval: settings.interval(),
        stall_after: StallAfter { idle: settings.stall_after(), busy: settings.busy_after() },
        stacks: settings.stacks,
        evidence: state.context.bundle.as_ref().map(Bundle::heartbeat),
    };
    let progress = LiveProgress { run: Arc::clone(state) };
    let state = Arc::clone(state);
    Heartbeat::start(config, Arc::new(progress), Box::new(move |beat| emit(&state, beat)))
}
