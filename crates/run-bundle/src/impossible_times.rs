//! Times and counts of a manifest that its run cannot have had: the file was edited, or the disk is broken.

use chrono::{DateTime, Utc};

use crate::{
    delivery_counts::DeliveryCounts,
    manifest::Manifest,
    milliseconds,
    possible::{AHEAD, AROUND_RUN, MAX_ITEMS, Times, in_short, shown, take_count},
};

/// How many nodes are named individually.
const MAX_NAMED: usize = 3;

/// Removes the impossible times and counts from a manifest, so that nothing is computed from them, and returns which they were. A
/// start is replaced by the time in the run id. `written` is when the file was written.
pub(crate) fn take_impossible_values(manifest: &mut Manifest, written: Option<DateTime<Utc>>) -> Vec<String> {
    let created = manifest.identity.run_id.created_at();
    let latest = written.map_or(created, |written| written.max(created)).checked_add_days(AHEAD);
    let latest = latest.unwrap_or(DateTime::<Utc>::MAX_UTC);
    let mut found = Vec::new();
    take_start(manifest, created, latest, &mut found);
    let started = manifest.started_at;
    let of_run = between(started, latest);
    of_run.take(&mut manifest.ended_at, "ended_at", &mut found);
    of_run.take(&mut manifest.interrupted_at, "interrupted_at", &mut found);
    let process_ended = manifest.process_ended_at.is_some();
    of_run.take(&mut manifest.process_ended_at, "process_ended_at", &mut found);
    if process_ended && manifest.process_ended_at.is_none() {
        // It is still known that the process ended.
        manifest.process_ended_at = Some(manifest.ended_at.unwrap_or(started));
    }
    found.extend(take_times_of_nodes(manifest, latest));
    let longest_ms = milliseconds::between(started, end_of_nodes(manifest, latest));
    if manifest.own_time.as_ref().is_some_and(|own| !own.all().iter().all(|ms| is_of(*ms, longest_ms))) {
        manifest.own_time = None;
        found.push("own_time is more than the run can have taken".to_owned());
    }
    found.extend(take_ledgers(manifest));
    found
}

/// Removes counts of a delivery that do not add up: it is unknown which of them is wrong.
fn take_ledgers(manifest: &mut Manifest) -> Vec<String> {
    let problem = |counts: &DeliveryCounts| {
        (!counts.is_balanced()).then(|| {
            let (produced, accounted) = (counts.produced, counts.accounted());
            format!("{produced} recorded, but {accounted} delivered, waiting or dropped")
        })
    };
    let mut found = Vec::new();
    let delivery = &mut manifest.delivery;
    if let Some(problem) = delivery.tracker.as_ref().and_then(problem) {
        found.push(format!("the counts of tracker are wrong: {problem}"));
        delivery.tracker = None;
    }
    delivery.signals.retain(|account| {
        let problem = problem(&account.ledger);
        found.extend(problem.as_ref().map(|problem| {
            format!("the counts of {} to {} are wrong: {problem}", account.signal, account.destination)
        }));
        problem.is_none()
    });
    found
}

fn take_start(
    manifest: &mut Manifest,
    created: DateTime<Utc>,
    latest: DateTime<Utc>,
    found: &mut Vec<String>,
) {
    let started = manifest.started_at;
    let problem =
        between(DateTime::<Utc>::MIN_UTC, latest).problem(started).map(str::to_owned).or_else(|| {
            // The run id contains a time as well, which shows which of the two is wrong.
            let ended = manifest.ended_at.filter(|ended| (created..started).contains(ended))?;
            Some(format!("is behind ended_at, {}", shown(ended)))
        });
    if let Some(problem) = problem {
        found.push(format!("started_at, {}, {problem}", shown(started)));
        manifest.started_at = created;
    }
}

/// All problems with the times of nodes, in one text.
fn take_times_of_nodes(manifest: &mut Manifest, latest: DateTime<Utc>) -> Option<String> {
    let first = manifest.started_at.checked_sub_signed(AROUND_RUN).unwrap_or(manifest.started_at);
    let last = end_of_nodes(manifest, latest);
    let of_nodes = between(first, last);
    let longest_ms = milliseconds::between(first, last);
    let mut named = Vec::new();
    for node in &mut manifest.nodes {
        let mut found = Vec::new();
        of_nodes.take(&mut node.started_at, "started_at", &mut found);
        take_duration(&mut node.duration_ms, longest_ms, &mut found);
        take_count(&mut node.rows, "rows", MAX_ITEMS, &mut found);
        take_count(&mut node.bytes, "bytes", MAX_ITEMS, &mut found);
        for attempt in &mut node.earlier_attempts {
            of_nodes.take(&mut attempt.started_at, "started_at", &mut found);
            take_duration(&mut attempt.duration_ms, longest_ms, &mut found);
        }
        if !found.is_empty() {
            named.push(format!("of the node {:?}: {}", node.name, found.join("; ")));
        }
    }
    let more = named.len().saturating_sub(MAX_NAMED);
    named.truncate(MAX_NAMED);
    if more > 0 {
        named.push(format!("and of {more} more nodes"));
    }
    (!named.is_empty()).then(|| named.join("; "))
}

fn end_of_nodes(manifest: &Manifest, latest: DateTime<Utc>) -> DateTime<Utc> {
    manifest.ended_at.and_then(|ended| ended.checked_add_signed(AROUND_RUN)).unwrap_or(latest)
}

fn take_duration(duration_ms: &mut Option<f64>, longest_ms: f64, found: &mut Vec<String>) {
    let impossible = duration_ms.take_if(|ms| !is_of(*ms, longest_ms));
    found.extend(impossible.map(|ms| format!("duration_ms, {}, is not of this run", in_short(ms))));
}

/// The possible times of a run.
fn between(first: DateTime<Utc>, last: DateTime<Utc>) -> Times {
    let (too_early, too_late) = ("is before the start of the run", "is behind the end of the run");
    Times { first, last, too_early, too_late }
}

fn is_of(ms: f64, longest_ms: f64) -> bool {
    (0.0..=longest_ms).contains(&ms)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::{fixture, manifest::NodeRecord, own_time::OwnTime};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// A run of two seconds, whose id has the time of its start.
    fn manifest() -> Manifest {
        let mut manifest = fixture::manifest();
        manifest.started_at = manifest.identity.run_id.created_at();
        manifest.ended_at = Some(manifest.started_at + TimeDelta::seconds(2));
        manifest
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Manifest), expected: &[&str], restored: impl FnOnce(&mut Manifest)) {
        let (mut changed, mut as_it_counts) = (manifest(), manifest());
        change(&mut changed);
        restored(&mut as_it_counts);
        let found = take_impossible_values(&mut changed, Some(manifest().started_at));
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{expected:?} is not in {found:?}");
        }
        assert_eq!(changed, as_it_counts);
        assert_eq!(take_impossible_values(&mut changed, Some(manifest().started_at)), [""; 0]);
    }

    #[test]
    fn times_that_a_run_can_have_are_left_alone() {
        let possible = |manifest: &mut Manifest| {
            let start = manifest.started_at;
            manifest.nodes[0].started_at = Some(start + TimeDelta::milliseconds(1));
            manifest.nodes[0].duration_ms = Some(1_999.0);
            manifest.process_ended_at = manifest.ended_at;
            manifest.own_time = Some(OwnTime { nodes_ms: 3.0, ..OwnTime::default() });
        };
        check(possible, &[], possible);
        // The clock of the machine is a month ahead of that of its files.
        let ahead = |manifest: &mut Manifest| manifest.started_at += TimeDelta::days(30);
        let later = |manifest: &mut Manifest| {
            ahead(manifest);
            manifest.ended_at = None;
        };
        check(later, &[], later);
    }

    #[test]
    fn a_start_that_cannot_be_is_that_of_the_id() {
        for start in ["9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z", "1970-01-01T00:00:00Z"] {
            check(|manifest| manifest.started_at = at(start), &["started_at, "], |_| ());
        }
        let later = |manifest: &mut Manifest| manifest.started_at += TimeDelta::hours(1);
        check(later, &["is behind ended_at"], |_| ());
    }

    #[test]
    fn an_end_that_cannot_be_is_none() {
        for end in ["9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z"] {
            check(
                |manifest| manifest.ended_at = Some(at(end)),
                &["ended_at, "],
                |manifest| manifest.ended_at = None,
            );
        }
        check(
            |manifest| manifest.ended_at = Some(manifest.started_at - TimeDelta::seconds(1)),
            &["is before the start of the run"],
            |manifest| manifest.ended_at = None,
        );
        // If only the time is unknown, it is still known that the process ended.
        check(
            |manifest| manifest.process_ended_at = Some(at("0000-01-01T00:00:00Z")),
            &["process_ended_at, "],
            |manifest| manifest.process_ended_at = manifest.ended_at,
        );
    }

    #[test]
    fn counts_that_cannot_be_are_none() {
        check(
            |manifest| manifest.nodes[0].rows = Some(u64::MAX),
            &["of the node \"orders\": rows, 18446744073709551615, cannot be"],
            |_| (),
        );
        check(
            |manifest| manifest.delivery.signals[0].ledger.delivered = 9,
            &["the counts of traces to bundle are wrong: 4 recorded, but 9 delivered, waiting or dropped"],
            |manifest| manifest.delivery.signals.clear(),
        );
        check(
            |manifest| manifest.delivery.tracker.as_mut().unwrap().produced = 9,
            &["the counts of tracker are wrong: 9 recorded, but 8 delivered, waiting or dropped"],
            |manifest| manifest.delivery.tracker = None,
        );
    }

    #[test]
    fn times_of_nodes_are_within_the_run() {
        for ms in [-5.0, 1e300, f64::NAN] {
            check(
                |manifest| manifest.nodes[0].duration_ms = Some(ms),
                &["of the node \"orders\": duration_ms, "],
                |_| (),
            );
        }
        let centuries_ago = |manifest: &mut Manifest| {
            manifest.nodes = (0..9).map(|n| NodeRecord::not_run(n.to_string())).collect();
            for node in &mut manifest.nodes {
                node.started_at = Some(at("1600-01-01T00:00:00Z"));
            }
        };
        check(centuries_ago, &["; and of 6 more nodes"], |manifest| {
            manifest.nodes = (0..9).map(|n| NodeRecord::not_run(n.to_string())).collect();
        });
        check(
            |manifest| manifest.nodes[0].duration_ms = Some(1e308),
            &["of the node \"orders\": duration_ms, 1e308, is not of this run"],
            |_| (),
        );
        check(
            |manifest| manifest.own_time = Some(OwnTime { plans_ms: -1.0, ..OwnTime::default() }),
            &["own_time"],
            |_| (),
        );
    }
}
