//! Which queries make no progress, and which of their operators is the likely cause.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use daglight_run_bundle::{Stall, StallEpisode, StallLog};
use serde::{Deserialize, Serialize};

use crate::{OperatorProgress, QueryProgress};

/// Compares each sample with the one before. It has no clock: the moment is a parameter.
#[derive(Debug)]
pub struct StallDetector {
    stall_after: TimeDelta,
    queries: HashMap<String, Seen>,
}

#[derive(Debug)]
struct Seen {
    counters: Counters,
    changed: DateTime<Utc>,
}

/// All that moves while a query progresses.
type Counters = (u64, Vec<(Option<u64>, u64, Duration, Option<bool>)>);

impl StallDetector {
    /// A detector for which a query stalls when nothing has changed for `stall_after`.
    pub fn new(stall_after: Duration) -> Self {
        let stall_after = TimeDelta::from_std(stall_after).unwrap_or(TimeDelta::MAX);
        Self { stall_after, queries: HashMap::new() }
    }

    /// Takes a sample of `now` and says what stalls. Queries that are not in the sample are forgotten.
    pub fn observe(&mut self, now: DateTime<Utc>, sample: &[QueryProgress]) -> Vec<Stall> {
        let mut before = std::mem::take(&mut self.queries);
        let mut stalls = Vec::new();
        for query in sample {
            let counters = counters(query);
            let changed = match before.remove(&query.query_id) {
                Some(seen) if seen.counters == counters => seen.changed,
                _ => now,
            };
            if now - changed >= self.stall_after {
                let operator = stalled_operator(query);
                stalls.push(Stall {
                    query_id: query.query_id.clone(),
                    node: query.node.clone(),
                    operator: operator.map(|operator| operator.name.clone()),
                    detail: operator.map(|operator| operator.detail.clone()),
                    since: changed,
                });
            }
            self.queries.insert(query.query_id.clone(), Seen { counters, changed });
        }
        stalls
    }
}

fn counters(query: &QueryProgress) -> Counters {
    let operators = query.operators.iter();
    (query.rows_output, operators.map(|op| (op.rows, op.bytes, op.elapsed_compute, op.finished)).collect())
}

/// The operator that a plan without progress most likely waits for.
///
/// The walk goes from the root into the input that has not finished. It stops at an operator that gives out as many
/// rows as it takes and whose input has given more: those rows are in its hands. Otherwise it ends at the deepest
/// operator. Of several open inputs the first is taken, which for a hash join is the side that it builds first.
///
/// A leaf that is not polled looks like a leaf that hangs, and an operator that consumes without output (a filter, an
/// aggregate, a sort) looks like its input: there the answer is the lower of the two.
pub fn stalled_operator(query: &QueryProgress) -> Option<&OperatorProgress> {
    let operators = &query.operators;
    let finished = finished(operators);
    let mut at = operators.iter().position(|operator| operator.parent.is_none())?;
    loop {
        let open = || {
            let inputs = operators.iter().enumerate().skip(at + 1);
            inputs.filter(|(position, input)| input.parent == Some(at) && !finished[*position])
        };
        // An input that measures itself is known to be open; one that does not may be.
        let measured = open().find(|(_, input)| input.finished.is_some());
        let Some((position, input)) = measured.or_else(|| open().next()) else { return operators.get(at) };
        if keeps_rows(&operators[at].name) && input.rows > operators[at].rows {
            return operators.get(at);
        }
        at = position;
    }
}

/// Which operators have ended together with all of their inputs. Without a measurement, an operator has ended when its
/// inputs have, and a leaf when it holds its rows in memory, because such a leaf never waits.
fn finished(operators: &[OperatorProgress]) -> Vec<bool> {
    let mut inputs_finished: Vec<Option<bool>> = vec![None; operators.len()];
    let mut finished = vec![false; operators.len()];
    for (position, operator) in operators.iter().enumerate().rev() {
        let is_finished = match (operator.finished, inputs_finished[position]) {
            (Some(own), inputs) => own && inputs.unwrap_or(true),
            (None, Some(inputs)) => inputs,
            (None, None) => holds_rows(&operator.name),
        };
        finished[position] = is_finished;
        if let Some(parent) = operator.parent.filter(|parent| *parent < position) {
            inputs_finished[parent] = Some(inputs_finished[parent].unwrap_or(true) && is_finished);
        }
    }
    finished
}

fn keeps_rows(name: &str) -> bool {
    matches!(name, "ProjectionExec" | "WindowAggExec" | "BoundedWindowAggExec" | "CoalescePartitionsExec")
}

/// Sources that have no measurements only when they are tables in memory.
fn holds_rows(name: &str) -> bool {
    matches!(name, "DataSourceExec" | "EmptyExec" | "PlaceholderRowExec" | "WorkTableExec")
}

/// The stalls that last, of which a [`StallLog`] is kept in bounded memory.
#[derive(Debug, Default)]
pub(crate) struct OpenStalls(Vec<Stall>);

impl OpenStalls {
    const MAX_EPISODES: usize = 100;

    /// Takes in the stalls that last at this moment, and returns those that began or ended with it: what lasts is not
    /// reported again.
    pub(crate) fn record(
        &mut self,
        log: &mut StallLog,
        now: DateTime<Utc>,
        stalls: &[Stall],
    ) -> StallChanges {
        let (began, ended) = (
            stalls.iter().filter(|stall| !is_among(stall, &self.0)).cloned().collect::<Vec<_>>(),
            self.0.iter().filter(|stall| !is_among(stall, stalls)).cloned().collect::<Vec<_>>(),
        );
        for episode in log.episodes.iter_mut().filter(|episode| episode.ended.is_none()) {
            if is_among(&episode.stall, &ended) {
                episode.ended = Some(now);
            }
        }
        log.count += began.len() as u64;
        let kept = began.iter().take(Self::MAX_EPISODES.saturating_sub(log.episodes.len()));
        log.episodes.extend(kept.map(|stall| StallEpisode { stall: stall.clone(), ended: None }));
        self.0 = stalls.to_vec();
        StallChanges { began, ended }
    }
}

fn is_among(stall: &Stall, others: &[Stall]) -> bool {
    others.iter().any(|other| other.query_id == stall.query_id && other.since == stall.since)
}

/// What changed between two beats.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StallChanges {
    /// Stalls that the beat before did not have.
    pub began: Vec<Stall>,
    /// Stalls that the beat before had: the query goes on, or has ended.
    pub ended: Vec<Stall>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + second, 0).unwrap()
    }

    fn operator(name: &str, parent: Option<usize>, rows: Option<u64>, finished: bool) -> OperatorProgress {
        // What counts rows also measures its end.
        let finished = rows.map(|_| finished);
        OperatorProgress {
            name: name.into(),
            detail: String::new(),
            parent,
            rows,
            bytes: 0,
            elapsed_compute: Duration::ZERO,
            finished,
        }
    }

    fn query(operators: Vec<OperatorProgress>) -> QueryProgress {
        QueryProgress {
            query_id: "q1".into(),
            node: Some("orders".into()),
            started: at(0),
            rows_output: 0,
            operators,
        }
    }

    #[track_caller]
    fn check_cause(operators: Vec<OperatorProgress>, expected: Option<&str>) {
        let query = query(operators);
        assert_eq!(stalled_operator(&query).map(|operator| operator.name.as_str()), expected);
    }

    #[test]
    fn a_source_that_hangs_is_named() {
        check_cause(
            vec![
                operator("SortExec", None, Some(0), false),
                operator("FilterExec", Some(0), Some(10), false),
                operator("StreamingTableExec", Some(1), None, false),
            ],
            Some("StreamingTableExec"),
        );
    }

    #[test]
    fn a_projection_that_holds_rows_is_named() {
        check_cause(
            vec![
                operator("CoalescePartitionsExec", None, Some(8), false),
                operator("ProjectionExec", Some(0), Some(8), false),
                operator("DataSourceExec", Some(1), Some(16), false),
            ],
            Some("ProjectionExec"),
        );
    }

    #[test]
    fn the_walk_follows_the_side_of_a_join_that_has_not_finished() {
        let join = |build_finished| {
            vec![
                operator("HashJoinExec", None, Some(0), false),
                operator("ProjectionExec", Some(0), Some(8), build_finished),
                operator("DataSourceExec", Some(1), Some(16), build_finished),
                operator("DataSourceExec", Some(0), Some(0), false),
            ]
        };
        check_cause(join(false), Some("ProjectionExec"));
        check_cause(join(true), Some("DataSourceExec"));
    }

    #[test]
    fn a_table_in_memory_is_never_the_cause() {
        check_cause(
            vec![
                operator("FilterExec", None, Some(0), false),
                operator("DataSourceExec", Some(0), None, false),
            ],
            Some("FilterExec"),
        );
    }

    #[test]
    fn a_plan_that_is_not_a_tree_ends_the_walk() {
        check_cause(Vec::new(), None);
        check_cause(vec![operator("A", Some(0), None, false)], None);
        check_cause(vec![operator("A", None, None, false), operator("B", Some(9), None, false)], Some("A"));
    }

    #[test]
    fn a_stall_begins_at_the_last_change() {
        let mut detector = StallDetector::new(Duration::from_secs(10));
        let plan = |rows| query(vec![operator("FilterExec", None, Some(rows), false)]);
        let mut observe = |second, rows| detector.observe(at(second), &[plan(rows)]);
        assert_eq!(observe(0, 1), []);
        assert_eq!(observe(8, 2), []);
        assert_eq!(observe(17, 2), []);
        let stalls = observe(18, 2);
        assert_eq!((stalls.len(), stalls[0].since), (1, at(8)));
        assert_eq!(stalls[0].operator.as_deref(), Some("FilterExec"));
        assert_eq!(observe(20, 3), []);
    }

    #[test]
    fn a_query_that_ended_is_forgotten() {
        let mut detector = StallDetector::new(Duration::ZERO);
        detector.observe(at(0), &[query(Vec::new())]);
        assert_eq!(detector.observe(at(5), &[]), []);
        assert!(detector.queries.is_empty());
    }

    #[test]
    fn the_log_counts_each_stall_once_and_notes_its_end() {
        let stall = |query: usize| Stall {
            query_id: query.to_string(),
            node: None,
            operator: None,
            detail: None,
            since: at(0),
        };
        let mut log = StallLog::default();
        let mut open = OpenStalls::default();
        let mut changes = |second, stalls: &[Stall]| {
            let changes = open.record(&mut log, at(second), stalls);
            let ids = |stalls: Vec<Stall>| stalls.into_iter().map(|stall| stall.query_id).collect::<Vec<_>>();
            (ids(changes.began).join(" "), ids(changes.ended).join(" "))
        };
        let pair = |began: &str, ended: &str| (began.to_owned(), ended.to_owned());
        assert_eq!(changes(10, &[stall(0)]), pair("0", ""));
        assert_eq!(changes(11, &[stall(0), stall(1)]), pair("1", ""));
        assert_eq!(changes(12, &[stall(1)]), pair("", "0"));
        let ends: Vec<_> = log.episodes.iter().map(|episode| episode.ended).collect();
        assert_eq!((log.count, ends), (2, vec![Some(at(12)), None]));

        let many: Vec<_> = (0..150).map(stall).collect();
        open.record(&mut log, at(13), &many);
        open.record(&mut log, at(14), &many);
        assert_eq!((log.count, log.episodes.len()), (151, 100));
    }
}
