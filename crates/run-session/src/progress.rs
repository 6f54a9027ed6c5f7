//! How far a run is, for a program that shows it while it goes on.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use daglight_bundle_report::display::elapsed;
use daglight_heartbeat::{Beat, Moved};
use daglight_plan_diagnostics::LiveQuery;

use crate::{last_beat::longest_pause, moved::of_live, run::Run, run_state::RunState, stalls};

/// How long the heart must be known to be silent before that is said to who watches: one that goes on beats within it.
const CONFIRMED_AFTER: Duration = Duration::from_secs(1);

/// Asks how far a run is, as often as one likes and from any thread. It keeps no run open.
#[derive(Clone)]
pub struct RunWatch(Weak<RunState>);

/// How far a run is.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct RunProgress {
    /// The nodes that run, in the order of their start.
    pub running: Vec<RunningNode>,
    /// How many wait for their turn.
    pub pending: usize,
    /// How many have ended, in whatever way.
    pub completed: usize,
    /// Whether anything that runs moves: false where the last beat has found that all of it stands still, or is too long ago.
    pub is_moving: bool,
}

/// How far a node is that runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunningNode {
    /// Its name.
    pub name: String,
    /// How long it has run.
    pub elapsed: Duration,
    /// Rows that scans of its queries have returned, of those that have ended too.
    pub rows_read: u64,
    /// Rows that its queries have written, as far as their sinks count while they write.
    pub rows_written: u64,
    /// Bytes that scans have read from storage, where they say.
    pub bytes_read: u64,
    /// Bytes that were written to storage, where a sink says.
    pub bytes_written: u64,
    /// How far its only query is with what it reads.
    pub reading: Option<Reading>,
    /// For how long it has stood still, where and why, as the last beat has found it.
    pub stall: Option<String>,
}

/// How much a query has read of all that it will read. Known where the statistics of every table are exact and nothing in the
/// plan leaves rows out while it reads, such as a filter of a scan or a limit; not known any more when all is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// From 0 to less than 1.
    pub share: f64,
    /// How long the rest takes at the speed so far. `None` while too little was read to say, and for a query that does more than
    /// pass rows on while it reads them, such as a join, a sort or an aggregate: its speed changes, and its end is not that of
    /// reading.
    pub left: Option<Duration>,
}

impl Reading {
    /// A share, and a time of reading, from which on the rest can be estimated.
    const LEAST_SHARE: f64 = 0.02;
    const LEAST_TIME: Duration = Duration::from_secs(2);

    fn of(rows_read: u64, rows_to_read: u64, time: Duration, is_streamed: bool) -> Option<Self> {
        // All was read, and what the query does from now on, such as to sort, nobody can say the end of. With more rows than there
        // are, the statistics are old, or a scan reads them twice.
        if rows_read >= rows_to_read {
            return None;
        }
        let share = rows_read as f64 / rows_to_read as f64;
        let is_known = is_streamed && share >= Self::LEAST_SHARE && time >= Self::LEAST_TIME;
        // As fast as until now. At the very beginning that says nothing.
        let left = is_known.then(|| time.mul_f64((1.0 - share) / share));
        Some(Self { share, left })
    }
}

impl Run {
    /// How far the run is, for a program that shows it.
    pub fn watch(&self) -> RunWatch {
        RunWatch(Arc::downgrade(self.state()))
    }
}

impl RunWatch {
    /// Whether the run has come to its end.
    pub fn is_over(&self) -> bool {
        self.0.upgrade().is_none_or(|run| run.is_ending())
    }

    /// A warning that the heartbeat is silent: for three beats, and three seconds at least. The first caller gets it, once
    /// for each time that it falls silent; it stands in the report of the run as well. Nothing
    /// else detects a heartbeat that is blocked, because it is the heartbeat that looks.
    pub fn silence(&self) -> Option<String> {
        let run = self.0.upgrade().filter(|run| !run.is_ending())?;
        let warning = run.beats.silence(&run.context, CONFIRMED_AFTER)?;
        let message = warning.message.clone();
        // On a separate thread: what the heart waits for may be what this asks for.
        let note = move || _ = run.log.note(warning);
        let _ = thread::Builder::new().name("daglight-silence".into()).spawn(note);
        Some(message)
    }

    /// The state of this moment. `None` when the run is over.
    pub fn progress(&self) -> Option<RunProgress> {
        let run = self.0.upgrade().filter(|run| !run.is_ending())?;
        let nodes = run.nodes_by_state();
        let mut queries: BTreeMap<String, Vec<LiveQuery>> = BTreeMap::new();
        for query in run.context.shared.live.sample() {
            if let Some(node) = run.core.queries.owners.node_of(query.id).flatten() {
                queries.entry(node).or_default().push(query);
            }
        }
        // Stalls are found by the heartbeat. Looking for them here too would have two answers.
        let last_beat = run.beats.last.shown();
        let stalls =
            last_beat.iter().flat_map(|(_, beat)| beat.stalls.iter().map(move |stall| (beat, stall)));
        let stalls: BTreeMap<&str, String> = stalls
            .filter_map(|(beat, stall)| {
                let lasts = elapsed((beat.at - stall.since).to_std().unwrap_or_default());
                Some((stall.node.as_deref()?, format!("no progress for {lasts}{}", stalls::place(stall))))
            })
            .collect();
        let running = run.nodes.list().into_iter().map(|node| {
            // What its ended queries have moved is with the node, and here are those that run.
            let live = queries.remove(node.name()).unwrap_or_default();
            let moved = live.iter().map(of_live).fold(node.scope().facts().queries.moved(), Moved::plus);
            let policy = &run.context.policy;
            RunningNode {
                elapsed: node.elapsed(),
                rows_read: moved.rows_read,
                rows_written: moved.rows_written,
                bytes_read: moved.bytes_read,
                bytes_written: moved.bytes_written,
                reading: reading(&live),
                stall: stalls.get(node.name()).map(|stall| policy.capture(stall.as_str()).to_text()),
                name: node.name().to_owned(),
            }
        });
        Some(RunProgress {
            running: running.collect(),
            pending: nodes.pending.count,
            completed: nodes.completed.count,
            is_moving: is_moving(&run, last_beat.as_ref()),
        })
    }
}

impl fmt::Debug for RunWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunWatch").finish_non_exhaustive()
    }
}

fn is_moving(run: &RunState, last_beat: Option<&(Instant, Beat)>) -> bool {
    let pause = longest_pause(run.context.settings().heartbeat.interval());
    match last_beat {
        Some((shown, beat)) => beat.is_moving && shown.elapsed() < pause,
        // Its first beat may be the one that hangs. Where it has no thread, nobody knows.
        None => !run.beats.has_heart() || run.context.started.elapsed() < pause,
    }
}

fn reading(queries: &[LiveQuery]) -> Option<Reading> {
    // Of several queries nobody knows which comes next, and a share would jump back.
    let [query] = queries else { return None };
    Reading::of(query.rows_read, query.rows_to_read?, query.runs_for, query.is_streamed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_estimated_once_enough_was_read() {
        let of = |read, all, seconds| {
            let reading = Reading::of(read, all, Duration::from_secs(seconds), true)?;
            Some((reading.share, reading.left.map(|left| left.as_secs())))
        };
        assert_eq!(of(25, 100, 10), Some((0.25, Some(30))));
        assert_eq!(of(99, 100, 10), Some((0.99, Some(0))));
        // Nothing is left to read, and the query goes on.
        assert_eq!(of(100, 100, 10), None);
        assert_eq!(of(25, 100, 1), Some((0.25, None)));
        assert_eq!(of(1, 100, 10), Some((0.01, None)));
        // Statistics that were wrong say nothing.
        assert_eq!(of(101, 100, 10), None);
        assert_eq!(of(0, 0, 10), None);
        // Behind a join it is known how much is read, and not for how long.
        let joined = Reading::of(25, 100, Duration::from_secs(10), false);
        assert_eq!(joined, Some(Reading { share: 0.25, left: None }));
    }
}
