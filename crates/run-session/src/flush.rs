//! What the end of a run waits for: tracker, exporters and files at once, within one time.

use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use daglight_otel_bridge::{KnownEnd, KnownRun, Signal, SignalLedgers, complete_spans, names::Namespace};
use daglight_run_bundle::{DeliveryCounts, SignalFiles};

use crate::run_state::RunState;

/// How long the root span waits for the id that the tracking server gives a short run, so that it can refer to it.
const LINK_TIMEOUT: Duration = Duration::from_secs(3);
/// The same where the export waits for the root span, and takes its own time after that.
const LINK_TIMEOUT_OF_EXPORT: Duration = Duration::from_secs(1);

/// What those who bring signals and records away may take longer than they were given, before the wait for them ends.
const SLACK: Duration = Duration::from_millis(500);

/// What was delivered by the end of the run.
pub(crate) struct Flushed {
    pub(crate) tracker: Option<DeliveryCounts>,
    pub(crate) signals: SignalLedgers,
}

/// Ends the root span at `ended_at`, completes the files, and delivers and exports what waits. In all it takes as long as
/// the longest one of `tracker.flush_seconds`, `otel.shutdown_seconds` and, with OpenLineage, `openlineage.flush_seconds`, or until a signal says that it is enough.
pub(crate) fn flush(state: &Arc<RunState>, ended_at: SystemTime) -> Flushed {
    let settings = state.context.settings();
    let started = Instant::now();
    let (tracker_time, signals_time) = (settings.tracker.flush_timeout(), settings.otel.shutdown_timeout());

    let flush_tracker = move |state: &RunState| {
        if let Some(tracker) = &state.context.tracker {
            tracker.flush(tracker_time);
            tracker.stop();
        }
        state.ending.progress.tracker_flushed();
    };
    // Both at once: they are of different servers, and the one that does not answer must not take the time of the
    // other.
    beside(state, "daglight-deliver", flush_tracker);
    let lineage_time = settings.openlineage.flush_timeout();
    match &state.context.lineage {
        None => state.ending.progress.lineage_flushed(),
        Some(_) => beside(state, "daglight-lineage-end", move |state| {
            if let Some(lineage) = &state.context.lineage {
                lineage.flush(lineage_time);
            }
            state.ending.progress.lineage_flushed();
        }),
    }
    let exports = Signal::ALL.into_iter().any(|signal| state.context.shared.bridge.exports(signal));
    let link_timeout = match exports {
        // An export needs the rest of its time. Files do not.
        true => LINK_TIMEOUT_OF_EXPORT.min(signals_time / 2),
        false => LINK_TIMEOUT.min(tracker_time),
    };
    let is_linked = || state.context.tracker.as_ref().is_some_and(|tracker| tracker.link().is_some());
    // The spans say which run of the tracker they belong to, which is known when it has answered.
    state.ending.progress.wait_for_tracker(started + link_timeout, is_linked);
    state.context.refresh_execution_run_id();
    state.context.root.end_at(ended_at);

    let signals_time = match exports {
        true => signals_time.saturating_sub(started.elapsed()),
        // Files are on the disk of this machine: what the tracker has taken of the time is not theirs.
        false => signals_time,
    };
    beside(state, "daglight-export", move |state| {
        state.ending.progress.signals_flushed(state.context.signals.finish(signals_time));
    });
    let of_lineage = state.context.lineage.as_ref().map_or(Duration::ZERO, |_| lineage_time);
    let longest = tracker_time.max(link_timeout + signals_time).max(of_lineage);
    let signals = state.ending.progress.wait_for_all(started + longest + SLACK);
    // Not finished within all that: what has been counted by now is said.
    let signals = signals.unwrap_or_else(|| state.context.signals.ledgers());
    let waits = |signal: &Signal| signals.of(*signal).otlp.as_ref().is_some_and(|otlp| otlp.waiting > 0);
    if Signal::ALL.iter().any(waits) {
        // The next end in this process need not wait for the same server as long.
        state.context.shared.ends.gave_up();
    }
    if state.ending.progress.is_beside_the_work() {
        close_open_spans(state, ended_at);
    }
    let tracker = state.context.tracker.as_ref().map(|tracker| tracker.ledger());
    Flushed { tracker, signals }
}

/// On a separate thread, or where that cannot be, here and now.
fn beside(state: &Arc<RunState>, name: &str, work: impl Fn(&RunState) + Clone + Send + 'static) {
    let (of_thread, own) = (work.clone(), Arc::clone(state));
    let started = thread::Builder::new().name(name.to_owned()).spawn(move || of_thread(&own));
    // No thread can be had: then one after the other.
    if started.is_err() {
        work(state);
    }
}

/// Spans of work that will not come to its end, such as those of the query that computes.
fn close_open_spans(state: &RunState, ended_at: SystemTime) {
    let Some(bundle) = &state.context.bundle else { return };
    let namespace = Namespace::new(state.context.settings().otel.namespace.as_str());
    let succeeded = state.log.records().failure().is_none();
    let known = KnownRun {
        run_id: state.context.run_id.to_string(),
        dag_name: state.context.dag.name().to_string(),
        trace_id: state.context.root.trace_id.clone(),
        root_span_id: state.context.root.span_id.clone(),
        started_at: state.context.started_at.into(),
        end: Some(KnownEnd { time: ended_at, succeeded }),
        last_seen: ended_at,
        nodes: BTreeMap::new(),
    };
    if let Err(error) = complete_spans(&SignalFiles::from(bundle), &namespace, &known) {
        state.log.bundle_error(&error);
    }
}
