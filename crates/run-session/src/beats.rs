//! What a beat becomes: a span, metrics, and a record in the log.

use std::sync::Arc;

use daglight_capture_policy::{Captured, Policy};
use daglight_heartbeat::{Beat, Names};
use daglight_otel_bridge::{
    AttributeValue, BeatMeasures, StageSpan,
    names::{self, Key},
};
use daglight_run_bundle::ActiveTask;

use crate::{
    log::{field, known, log},
    on_stall,
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
    state.core.plans.beat();
    let before = state.beats.last.replace(beat.clone());
    let before = before.as_ref();
    if let Some(lineage) = &state.context.lineage {
        lineage.run_goes_on(&state.log, state.context.started_at, state.context.started.elapsed());
    }
    state.context.refresh_execution_run_id();
    let stage = stage(state, beat);
    let span = state.context.signals.span(names::span::HEARTBEAT).parent(&state.context.root.context);
    let span = span.stage(stage.as_str()).start();
    let changes = Changes::new(beat, before);
    describe(&span, &changes, &state.context.policy);
    if let Some(error) = &beat.evidence_error {
        state.log.bundle_failed(error.clone());
    }
    // What is logged here, and what is said of stalls, then stands under this beat.
    let guard = span.context().attach();
    say(state, &stage, &changes);
    stalls::announce(state, beat);
    on_stall::act(state, beat);
    drop(guard);
    span.end();
    state.context.signals.metrics().beat(&measures(beat, before));
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

/// A beat beside the one before it: a run that waits for hours would write the same names and numbers thousands of times.
struct Changes<'b> {
    beat: &'b Beat,
    /// `None` where all is said.
    before: Option<&'b Beat>,
}

impl<'b> Changes<'b> {
    fn new(beat: &'b Beat, before: Option<&'b Beat>) -> Self {
        let is_whole = beat.sequence % WHOLE_EVERY == 1;
        Self { beat, before: before.filter(|_| !is_whole) }
    }

    /// What it has, where that is known and was not the same before.
    fn of<T: PartialEq>(&self, value: impl Fn(&Beat) -> Option<T>) -> Option<T> {
        let now = value(self.beat)?;
        (self.before.and_then(value).as_ref() != Some(&now)).then_some(now)
    }

    /// The names in a list of nodes, likewise.
    fn names(&self, policy: &Policy, list: impl Fn(&Beat) -> Names) -> Option<Captured> {
        self.of(|beat| Some(list(beat))).map(|names| policy.capture(names.first))
    }
}

fn describe(span: &StageSpan, changes: &Changes<'_>, policy: &Policy) {
    let beat = changes.beat;
    // Counts stand on each beat. They are what a query over beats asks for.
    span.set(Key::ActiveTasks, beat.active_tasks.len());
    span.set(Key::PendingTasks, beat.nodes.pending.count);
    span.set(Key::CompletedTasks, beat.nodes.completed.count);
    let moved = &beat.moved;
    span.set(Key::RowsRead, moved.rows_read);
    span.set(Key::RowsWritten, moved.rows_written);
    span.set(Key::BytesRead, moved.bytes_read);
    span.set(Key::BytesWritten, moved.bytes_written);
    span.set(Key::BytesSpilled, moved.bytes_spilled);
    for (key, names) in [
        (Key::ActiveTaskNames, changes.names(policy, |beat| names_of(&beat.active_tasks))),
        (Key::PendingTaskNames, changes.names(policy, |beat| beat.nodes.pending.clone())),
        (Key::CompletedTaskNames, changes.names(policy, |beat| beat.nodes.completed.clone())),
    ] {
        if let Some(names) = names {
            span.set(key, names);
        }
    }
    let count = |of: fn(&Beat) -> Option<u64>| changes.of(of).map(AttributeValue::from);
    let number = |of: fn(&Beat) -> Option<f64>| changes.of(of).map(AttributeValue::from);
    let facts = [
        (Key::RowsReadPerSecond, number(|beat| Some(beat.rates?.rows_read))),
        (Key::RowsWrittenPerSecond, number(|beat| Some(beat.rates?.rows_written))),
        (Key::BytesReadPerSecond, number(|beat| Some(beat.rates?.bytes_read))),
        (Key::BytesWrittenPerSecond, number(|beat| Some(beat.rates?.bytes_written))),
        (Key::MemoryReserved, count(|beat| Some(beat.memory?.reserved_bytes))),
        (Key::MemoryLimit, count(|beat| beat.memory?.limit_bytes)),
        (Key::RuntimeWorkers, count(|beat| Some(beat.runtime?.workers as u64))),
        (Key::RuntimeBusyWorkers, count(|beat| Some(beat.runtime?.busy_workers? as u64))),
        (Key::RuntimeQueueDepth, count(|beat| Some(beat.runtime?.queue_depth as u64))),
        (Key::IoBytesRead, count(|beat| Some(beat.process.io?.bytes_read))),
        (Key::IoBytesWritten, count(|beat| Some(beat.process.io?.bytes_written))),
        (Key::ProcessCpuSeconds, number(|beat| beat.process.cpu_seconds)),
        (Key::ProcessResidentBytes, count(|beat| beat.process.resident_bytes)),
        (Key::ProcessThreads, count(|beat| Some(beat.process.threads? as u64))),
        (Key::ProcessOpenFiles, count(|beat| Some(beat.process.open_files? as u64))),
    ];
    for (key, value) in facts.into_iter().filter_map(|(key, value)| Some((key, value?))) {
        span.set(key, value);
    }
}

fn names_of(tasks: &[ActiveTask]) -> Names {
    let mut names = Names::default();
    tasks.iter().for_each(|task| names.add(&task.name));
    names
}

/// One record for each beat, also of a run in which nothing changes: who reads the log then knows that it waits, and not that
/// it is gone.
fn say(state: &RunState, stage: &str, changes: &Changes<'_>) {
    let policy = &state.context.policy;
    let beat = changes.beat;
    log!(
        INFO,
        "heartbeat",
        run_id = field(state.context.run_id),
        stage = field(policy.capture(stage)),
        active_tasks = field(beat.active_tasks.len()),
        active_task_names = known(changes.names(policy, |beat| names_of(&beat.active_tasks))),
        pending_tasks = field(beat.nodes.pending.count),
        pending_task_names = known(changes.names(policy, |beat| beat.nodes.pending.clone())),
        completed_tasks = field(beat.nodes.completed.count),
        completed_task_names = known(changes.names(policy, |beat| beat.nodes.completed.clone())),
        rows_read = known(changes.of(|beat| Some(beat.moved.rows_read))),
        rows_written = known(changes.of(|beat| Some(beat.moved.rows_written))),
        bytes_read = known(changes.of(|beat| Some(beat.moved.bytes_read))),
        bytes_written = known(changes.of(|beat| Some(beat.moved.bytes_written))),
        bytes_spilled = known(changes.of(|beat| Some(beat.moved.bytes_spilled))),
        rows_read_per_second = known(changes.of(|beat| Some(beat.rates?.rows_read))),
        rows_written_per_second = known(changes.of(|beat| Some(beat.rates?.rows_written))),
        bytes_read_per_second = known(changes.of(|beat| Some(beat.rates?.bytes_read))),
        bytes_written_per_second = known(changes.of(|beat| Some(beat.rates?.bytes_written))),
        memory_reserved = known(changes.of(|beat| Some(beat.memory?.reserved_bytes))),
        memory_limit = known(changes.of(|beat| beat.memory?.limit_bytes)),
        runtime_workers = known(changes.of(|beat| Some(beat.runtime?.workers))),
        runtime_busy_workers = known(changes.of(|beat| beat.runtime?.busy_workers)),
        runtime_queue_depth = known(changes.of(|beat| Some(beat.runtime?.queue_depth))),
        cpu_seconds = known(changes.of(|beat| beat.process.cpu_seconds)),
        resident_bytes = known(changes.of(|beat| beat.process.resident_bytes)),
        threads = known(changes.of(|beat| beat.process.threads)),
        open_files = known(changes.of(|beat| beat.process.open_files)),
        stalls = field(beat.stalls.len()),
    );
}

fn measures(beat: &Beat, before: Option<&Beat>) -> BeatMeasures {
    let since = |of: fn(&Beat) -> Option<u64>| {
        let now = of(beat).unwrap_or(0);
        now.saturating_sub(before.and_then(of).unwrap_or(0))
    };
    // What the process has done before the run is not of the run.
    let of_process = |of: fn(&Beat) -> Option<u64>| if before.is_some() { since(of) } else { 0 };
    let count = |count: usize| count as u64;
    BeatMeasures {
        pending_tasks: count(beat.nodes.pending.count),
        completed_tasks: count(beat.nodes.completed.count),
        io_bytes_read: of_process(|beat| Some(beat.process.io?.bytes_read)),
        io_bytes_written: of_process(|beat| Some(beat.process.io?.bytes_written)),
        rows_read: since(|beat| Some(beat.moved.rows_read)),
        rows_written: since(|beat| Some(beat.moved.rows_written)),
        bytes_read: since(|beat| Some(beat.moved.bytes_read)),
        bytes_written: since(|beat| Some(beat.moved.bytes_written)),
        bytes_spilled: since(|beat| Some(beat.moved.bytes_spilled)),
        memory_reserved: beat.memory.map(|memory| memory.reserved_bytes),
        memory_limit: beat.memory.and_then(|memory| memory.limit_bytes),
        runtime_workers: beat.runtime.map(|runtime| count(runtime.workers)),
        runtime_busy_workers: beat.runtime.and_then(|runtime| runtime.busy_workers).map(count),
        runtime_queue_depth: beat.runtime.map(|runtime| count(runtime.queue_depth)),
        cpu_seconds: before
            .and_then(|before| Some(beat.process.cpu_seconds? - before.process.cpu_seconds?))
            .unwrap_or(0.0),
        resident_bytes: beat.process.resident_bytes,
        threads: beat.process.threads.map(count),
        open_files: beat.process.open_files.map(count),
    }
}
