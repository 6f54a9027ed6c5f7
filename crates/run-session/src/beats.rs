//! What a beat becomes: a span, metrics, and a record in the log.

use std::sync::Arc;

use daglight_capture_policy::Policy;
use daglight_heartbeat::{Beat, MemoryUse, Moved, Names, Nodes, ProcessFacts, RuntimeUse};
use daglight_otel_bridge::{
    AttributeValue, BeatMeasures, StageSpan,
    names::{self, Key},
};

use crate::{
    log::{field, known, log},
    on_stall,
    run_plannings::RunPlanning,
    run_state::RunState,
    stalls,
};

/// The stage of a run in which nothing is open.
const BETWEEN: &str = "run";

/// Shows a beat in the traces, the metrics and the log. A run that has ended shows none.
pub(crate) fn emit(state: &Arc<RunState>, beat: &Beat) {
    // The thread that beats may be on its way while the run ends; a span after the root would never be seen.
    if state.core.has_ended() {
        return;
    }
    // First, so that the files of the plans are as new as what is said below.
    let planned = RunPlanning::of_run(&state.context);
    state.core.plans.beat(planned.iter().filter_map(RunPlanning::for_file).collect());
    let before = state.beats.last.replace(beat.clone());
    let before = before.as_ref();
    if let Some(lineage) = &state.context.lineage {
        lineage.run_goes_on(&state.log, state.context.started_at, state.context.started.elapsed());
    }
    state.context.refresh_execution_run_id();
    let stage = stage(state, beat);
    let span = state.context.signals.span(names::span::HEARTBEAT).parent(&state.context.root.context);
    let span = span.stage(stage.as_str()).start();
    let facts = Facts::of(beat, &state.context.policy);
    let shown_before = before.filter(|_| beat.sequence % WHOLE_EVERY != 1);
    let changed = match shown_before {
        Some(before) => facts.changed_since(&Facts::of(before, &state.context.policy)),
        None => facts,
    };
    describe(&span, beat, &changed);
    state.log.has_lost_bundle();
    if let Some(error) = &beat.evidence_error {
        state.log.bundle_failed(error.clone());
    }
    // What is logged here, and what is said of stalls, then stands under this beat.
    let guard = span.context().attach();
    say(state, &stage, beat, &changed);
    stalls::announce(state, beat);
    on_stall::act(state, beat);
    drop(guard);
    span.end();
    let level = before.map(Level::of);
    state.context.signals.metrics().beat(&measures(&Level::of(beat), level.as_ref()));
    state.context.signals.snapshot_metrics();
}

/// The stage that is open, or else that of the node which started last.
fn stage(state: &RunState, beat: &Beat) -> String {
    // No stage was said: that of the node which started last.
    let of_node = || state.nodes.list().last().map(|node| node.stage().to_owned());
    beat.stage.clone().or_else(of_node).unwrap_or_else(|| BETWEEN.to_owned())
}

/// The number of beats after which one says all that is known again: who looks at the last minutes of a run has not seen
/// the first beat.
const WHOLE_EVERY: u64 = 12;

/// What is known with a beat, besides the counts of nodes.
struct Facts(Vec<(Key, AttributeValue)>);

impl Facts {
    fn of(beat: &Beat, policy: &Policy) -> Self {
        let Beat { moved, rates, memory, runtime, process, .. } = beat;
        let named = |names: &[String]| Some(policy.capture(names.to_vec()).into());
        let active: Vec<String> =
            beat.active_tasks.iter().map(|task| task.name.clone()).take(Names::MOST).collect();
        let facts: [(Key, Option<AttributeValue>); 23] = [
            (Key::ActiveTaskNames, named(&active)),
            (Key::PendingTaskNames, named(&beat.nodes.pending.first)),
            (Key::CompletedTaskNames, named(&beat.nodes.completed.first)),
            (Key::RowsRead, Some(moved.rows_read.into())),
            (Key::RowsWritten, Some(moved.rows_written.into())),
            (Key::BytesRead, Some(moved.bytes_read.into())),
            (Key::BytesWritten, Some(moved.bytes_written.into())),
            (Key::BytesSpilled, Some(moved.bytes_spilled.into())),
            (Key::RowsReadPerSecond, rates.map(|rates| rates.rows_read.into())),
            (Key::RowsWrittenPerSecond, rates.map(|rates| rates.rows_written.into())),
            (Key::BytesReadPerSecond, rates.map(|rates| rates.bytes_read.into())),
            (Key::BytesWrittenPerSecond, rates.map(|rates| rates.bytes_written.into())),
            (Key::MemoryReserved, memory.map(|memory| memory.reserved_bytes.into())),
            (Key::MemoryLimit, memory.and_then(|memory| Some(memory.limit_bytes?.into()))),
            (Key::RuntimeWorkers, runtime.map(|runtime| runtime.workers.into())),
            (Key::RuntimeBusyWorkers, runtime.and_then(|runtime| Some(runtime.busy_workers?.into()))),
            (Key::RuntimeQueueDepth, runtime.map(|runtime| runtime.queue_depth.into())),
            (Key::IoBytesRead, process.io.map(|io| io.bytes_read.into())),
            (Key::IoBytesWritten, process.io.map(|io| io.bytes_written.into())),
            (Key::ProcessCpuSeconds, process.cpu_seconds.map(Into::into)),
            (Key::ProcessResidentBytes, process.resident_bytes.map(Into::into)),
            (Key::ProcessThreads, process.threads.map(Into::into)),
            (Key::ProcessOpenFiles, process.open_files.map(Into::into)),
        ];
        Self(facts.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
    }

    /// Those that differ from what was known before: a run that waits for hours would write the same names and numbers
    /// thousands of times.
    fn changed_since(&self, before: &Self) -> Self {
        Self(self.0.iter().filter(|fact| !before.0.contains(fact)).cloned().collect())
    }

    fn get(&self, key: Key) -> Option<AttributeValue> {
        self.0.iter().find(|(known, _)| *known == key).map(|(_, value)| value.clone())
    }
}

/// Counts stand on the span of each beat, since they are what a query over beats asks for; of the rest what `changed`.
fn describe(span: &StageSpan, beat: &Beat, changed: &Facts) {
    let moved = &beat.moved;
    span.set(Key::ActiveTasks, beat.active_tasks.len());
    span.set(Key::PendingTasks, beat.nodes.pending.count);
    span.set(Key::CompletedTasks, beat.nodes.completed.count);
    span.set(Key::RowsRead, moved.rows_read);
    span.set(Key::RowsWritten, moved.rows_written);
    span.set(Key::BytesRead, moved.bytes_read);
    span.set(Key::BytesWritten, moved.bytes_written);
    span.set(Key::BytesSpilled, moved.bytes_spilled);
    let counted = [Key::RowsRead, Key::RowsWritten, Key::BytesRead, Key::BytesWritten, Key::BytesSpilled];
    for (key, value) in changed.0.iter().filter(|(key, _)| !counted.contains(key)) {
        span.set(*key, value.clone());
    }
}

/// One record for each beat, also of a run in which nothing changes: who reads the log then knows that it waits, and not that
/// it is gone.
fn say(state: &RunState, stage: &str, beat: &Beat, changed: &Facts) {
    let fact = |key| known(changed.get(key));
    log!(
        INFO,
        "heartbeat",
        run_id = field(state.context.run_id),
        stage = field(state.context.policy.capture(stage)),
        active_tasks = field(beat.active_tasks.len()),
        active_task_names = fact(Key::ActiveTaskNames),
        pending_tasks = field(beat.nodes.pending.count),
        pending_task_names = fact(Key::PendingTaskNames),
        completed_tasks = field(beat.nodes.completed.count),
        completed_task_names = fact(Key::CompletedTaskNames),
        rows_read = fact(Key::RowsRead),
        rows_written = fact(Key::RowsWritten),
        bytes_read = fact(Key::BytesRead),
        bytes_written = fact(Key::BytesWritten),
        bytes_spilled = fact(Key::BytesSpilled),
        rows_read_per_second = fact(Key::RowsReadPerSecond),
        rows_written_per_second = fact(Key::RowsWrittenPerSecond),
        bytes_read_per_second = fact(Key::BytesReadPerSecond),
        bytes_written_per_second = fact(Key::BytesWrittenPerSecond),
        memory_reserved = fact(Key::MemoryReserved),
        memory_limit = fact(Key::MemoryLimit),
        runtime_workers = fact(Key::RuntimeWorkers),
        runtime_busy_workers = fact(Key::RuntimeBusyWorkers),
        runtime_queue_depth = fact(Key::RuntimeQueueDepth),
        cpu_seconds = fact(Key::ProcessCpuSeconds),
        resident_bytes = fact(Key::ProcessResidentBytes),
        threads = fact(Key::ProcessThreads),
        open_files = fact(Key::ProcessOpenFiles),
        stalls = field(beat.stalls.len()),
    );
}

/// What counts of a run at one moment.
struct Level<'l> {
    nodes: &'l Nodes,
    moved: Moved,
    memory: Option<MemoryUse>,
    runtime: Option<RuntimeUse>,
    process: ProcessFacts,
}

impl<'l> Level<'l> {
    fn of(beat: &'l Beat) -> Self {
        let Beat { nodes, moved, memory, runtime, process, .. } = beat;
        Self { nodes, moved: *moved, memory: *memory, runtime: *runtime, process: *process }
    }
}

fn measures(now: &Level<'_>, before: Option<&Level<'_>>) -> BeatMeasures {
    let since = |of: fn(&Level<'_>) -> Option<u64>| {
        of(now).unwrap_or(0).saturating_sub(before.and_then(of).unwrap_or(0))
    };
    // What the process has done before the run is not of the run.
    let of_process = |of: fn(&Level<'_>) -> Option<u64>| if before.is_some() { since(of) } else { 0 };
    let count = |count: usize| count as u64;
    BeatMeasures {
        pending_tasks: count(now.nodes.pending.count),
        completed_tasks: count(now.nodes.completed.count),
        io_bytes_read: of_process(|level| Some(level.process.io?.bytes_read)),
        io_bytes_written: of_process(|level| Some(level.process.io?.bytes_written)),
        rows_read: since(|level| Some(level.moved.rows_read)),
        rows_written: since(|level| Some(level.moved.rows_written)),
        bytes_read: since(|level| Some(level.moved.bytes_read)),
        bytes_written: since(|level| Some(level.moved.bytes_written)),
        bytes_spilled: since(|level| Some(level.moved.bytes_spilled)),
        memory_reserved: now.memory.map(|memory| memory.reserved_bytes),
        memory_limit: now.memory.and_then(|memory| memory.limit_bytes),
        runtime_workers: now.runtime.map(|runtime| count(runtime.workers)),
        runtime_busy_workers: now.runtime.and_then(|runtime| runtime.busy_workers).map(count),
        runtime_queue_depth: now.runtime.map(|runtime| count(runtime.queue_depth)),
        cpu_seconds: before
            .and_then(|before| Some(now.process.cpu_seconds? - before.process.cpu_seconds?))
            .unwrap_or(0.0),
        resident_bytes: now.process.resident_bytes,
        threads: now.process.threads.map(count),
        open_files: now.process.open_files.map(count),
    }
}

/// Brings the metrics up to the end of the run: its last beat, `before`, is up to an interval old, and a run that is shorter than
/// that has moved nothing by it.
pub(crate) fn measure_the_end(state: &RunState, before: Option<&Beat>) {
    let nodes = state.nodes_by_state();
    let now = Level {
        nodes: &nodes,
        // Of queries that have ended, as all have that anybody waits for: those of the program are not asked any more.
        moved: state.core.queries.moved.with(std::iter::empty()),
        memory: state.context.shared.pools.used(),
        runtime: state.beats.runtime.used(),
        process: ProcessFacts::now(),
    };
    state.context.signals.metrics().beat(&measures(&now, before.map(Level::of).as_ref()));
}
