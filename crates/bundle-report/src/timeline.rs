//! How the nodes share the time of a run: busy, setup, idle, at once, and the longest chain of dependencies.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use daglight_run_bundle::milliseconds;

use crate::{
    coverage::{Coverage, Interval},
    report::{Concurrency, CriticalStep, IdleGap, NodeReport, Timeline},
};

/// A time without a node is worth a word from this length on. Shorter ones are between any two nodes.
pub(crate) const LONG_GAP_MS: f64 = 100.0;
/// Gaps that are listed.
const MAX_GAPS: usize = 20;
/// Steps of the longest chain of which it is said what they decide: each takes a look at the whole DAG.
const MAX_STEPS: usize = 50;

/// The timeline of nodes within a run of `duration_ms`, which a signal has asked to end after `interrupted_ms`, if one has; marks the nodes on the critical path. `None` when neither they nor setup ran.
/// `setup` is when work of the run ran that belongs to no node, in milliseconds from its start.
pub(crate) fn timeline(
    nodes: &mut [NodeReport],
    started_at: Option<DateTime<Utc>>,
    setup: &[(f64, f64)],
    duration_ms: f64,
    interrupted_ms: Option<f64>,
) -> Option<Timeline> {
    // What comes after the signal is neither work nor idleness: the run was asked to stop.
    let until_ms =
        interrupted_ms.map_or(duration_ms, |interrupted_ms| interrupted_ms.clamp(0.0, duration_ms));
    let ending_ms = duration_ms - until_ms;
    let mut coverage = Coverage::default();
    let mut sum_ms = 0.0;
    for (start_ms, node_ms) in nodes.iter().flat_map(|node| extents(node, started_at)) {
        let end_ms = within(start_ms + node_ms, interrupted_ms);
        coverage.add(microseconds(start_ms), microseconds(end_ms));
        sum_ms += (end_ms - start_ms).max(0.0);
    }
    // What follows is about the time before.
    let duration_ms = until_ms;
    let intervals = coverage.intervals();
    if intervals.is_empty() && setup.is_empty() {
        return None;
    }
    let length_ms = |interval: &Interval| milliseconds::of_microseconds(interval.length());
    let busy_ms = total(intervals.iter().map(length_ms));
    let mut worked = coverage;
    for (start_ms, end_ms) in setup {
        let end_ms = within(end_ms.max(0.0), interrupted_ms);
        worked.add(microseconds(start_ms.max(0.0)), microseconds(end_ms));
    }
    let intervals = worked.intervals();
    let worked_ms = total(intervals.iter().map(length_ms));
    let idle_gaps = idle_gaps(nodes, started_at, intervals, duration_ms);
    let longest_idle = idle_gaps.first().cloned();
    let gaps = gaps(intervals, duration_ms)
        .map(|(from, until)| milliseconds::of_microseconds(until.saturating_sub(from)))
        .filter(|gap_ms| *gap_ms > 0.0);
    let (long_gaps, short_gaps): (Vec<f64>, Vec<f64>) = gaps.partition(|gap_ms| *gap_ms >= LONG_GAP_MS);
    let long_idle_ms = total(long_gaps.into_iter());
    let concurrency = concurrency(nodes, started_at, duration_ms);
    // The chain that decided the run's time is by dependencies, and not by what happened to follow what.
    let dag = Dag::of(nodes);
    let path = dag.longest_chain(None);
    let critical_path_ms = total(path.iter().filter_map(|position| nodes[*position].duration_ms));
    let alone = alone(nodes, started_at, duration_ms);
    let critical_steps = critical_steps(nodes, &dag, &path, &alone);
    let critical_path = path.iter().map(|position| nodes[*position].name.clone()).collect();
    for position in path {
        nodes[position].on_critical_path = true;
    }
    Some(Timeline {
        busy_ms,
        setup_ms: (worked_ms - busy_ms).max(0.0),
        idle_ms: (duration_ms - worked_ms).max(0.0),
        ending_ms,
        long_idle_ms,
        longest_idle,
        parallelism: if busy_ms > 0.0 { sum_ms / busy_ms } else { 1.0 },
        critical_path,
        critical_path_ms,
        critical_steps,
        concurrency,
        idle_gaps: idle_gaps.into_iter().filter(|gap| gap.duration_ms >= LONG_GAP_MS).collect(),
        short_gaps: short_gaps.len() as u64,
    })
}

/// The sum. Rust's own of no floats is a negative zero, which would be shown as one.
fn total(milliseconds: impl Iterator<Item = f64>) -> f64 {
    milliseconds.fold(0.0, |sum, milliseconds| sum + milliseconds)
}

/// The moment, or that of the interrupt where it is later.
fn within(moment_ms: f64, interrupted_ms: Option<f64>) -> f64 {
    interrupted_ms.map_or(moment_ms, |interrupted_ms| moment_ms.min(interrupted_ms))
}

/// When each attempt at a node began, in milliseconds from the start of the run, and for how long it ran.
pub(crate) fn extents(
    node: &NodeReport,
    started_at: Option<DateTime<Utc>>,
) -> impl Iterator<Item = (f64, f64)> {
    let last = node.start_ms.zip(node.duration_ms);
    let earlier = node.earlier_attempts.iter().filter_map(move |attempt| {
        Some((milliseconds::between(started_at?, attempt.started_at?), attempt.duration_ms?))
    });
    earlier.chain(last).map(|(start_ms, duration_ms)| (start_ms.max(0.0), duration_ms.max(0.0)))
}

fn microseconds(milliseconds: f64) -> u64 {
    (milliseconds * 1e3) as u64
}

/// The times between the intervals, from the start of the run to its end.
fn gaps(intervals: &[Interval], duration_ms: f64) -> impl Iterator<Item = (u64, u64)> {
    let starts = intervals.iter().map(|interval| interval.start).chain([microseconds(duration_ms)]);
    [0].into_iter().chain(intervals.iter().map(|interval| interval.end)).zip(starts)
}

/// The times in which nothing ran, the longest first; of equal ones the last.
fn idle_gaps(
    nodes: &[NodeReport],
    started_at: Option<DateTime<Utc>>,
    intervals: &[Interval],
    duration_ms: f64,
) -> Vec<IdleGap> {
    let mut found: Vec<(u64, u64)> =
        gaps(intervals, duration_ms).filter(|(from, until)| until > from).collect();
    found.sort_by_key(|(from, until)| std::cmp::Reverse((until - from, *from)));
    found.truncate(MAX_GAPS);
    // Not those at the very moment alone: setup may stand between them.
    let attempts = || {
        nodes
            .iter()
            .flat_map(|node| extents(node, started_at).map(move |(start, length)| (start, length, node)))
    };
    let ended_before = |at: u64| {
        let ends = attempts().map(|(start, length, node)| (microseconds(start + length), node));
        ends.filter(|(end, _)| *end <= at).max_by_key(|(end, _)| *end).map(|(_, node)| node.name.clone())
    };
    let started_behind = |at: u64| {
        let starts = attempts().map(|(start, _, node)| (microseconds(start), node));
        starts
            .filter(|(start, _)| *start >= at)
            .min_by_key(|(start, _)| *start)
            .map(|(_, node)| node.name.clone())
    };
    let gap = |(from, until): (u64, u64)| IdleGap {
        after: ended_before(from),
        before: started_behind(until),
        start_ms: milliseconds::of_microseconds(from),
        duration_ms: milliseconds::of_microseconds(until - from),
    };
    found.into_iter().map(gap).collect()
}

/// For how long how many nodes ran at once.
fn concurrency(
    nodes: &[NodeReport],
    started_at: Option<DateTime<Utc>>,
    duration_ms: f64,
) -> Vec<Concurrency> {
    let end = microseconds(duration_ms);
    let attempts = nodes.iter().flat_map(|node| extents(node, started_at));
    let mut changes: Vec<(u64, i64)> = attempts
        .flat_map(|(start, duration)| [(microseconds(start), 1), (microseconds(start + duration), -1)])
        .map(|(at, change)| (at.min(end), change))
        .chain([(0, 0), (end, 0)])
        .collect();
    // At the same moment an end (-1) sorts before a start (+1), so that two nodes in a row never count as two at
    // once.
    changes.sort_unstable();
    let mut times: Vec<u64> = Vec::new();
    let mut running = 0_i64;
    for pair in changes.windows(2) {
        running += pair[0].1;
        let count = usize::try_from(running).unwrap_or(0);
        if times.len() <= count {
            times.resize(count + 1, 0);
        }
        times[count] += pair[1].0 - pair[0].0;
    }
    let times = times.into_iter().enumerate().filter(|(_, time)| *time > 0);
    times
        .map(|(count, time)| Concurrency {
            nodes: count as u64,
            duration_ms: milliseconds::of_microseconds(time),
        })
        .collect()
}

/// For how many microseconds each node was the only one that ran.
fn alone(nodes: &[NodeReport], started_at: Option<DateTime<Utc>>, duration_ms: f64) -> Vec<u64> {
    let end = microseconds(duration_ms);
    let mut changes: Vec<(u64, bool, usize)> = Vec::new();
    for (position, node) in nodes.iter().enumerate() {
        for (start, duration) in extents(node, started_at) {
            let (from, until) = (microseconds(start).min(end), microseconds(start + duration).min(end));
            // One that took no time would end before it started, as ends sort before starts.
            if from < until {
                changes.extend([(from, true, position), (until, false, position)]);
            }
        }
    }
    changes.sort_unstable();
    // Of the nodes that run their number and the sum of their positions: where it is one node, the sum is its position.
    let (mut running, mut sum, mut alone) = (0_usize, 0_usize, vec![0; nodes.len()]);
    for (change, next) in changes.iter().zip(changes.iter().skip(1)) {
        let (at, starts, position) = *change;
        (running, sum) = if starts { (running + 1, sum + position) } else { (running - 1, sum - position) };
        if running == 1 {
            alone[sum] += next.0 - at;
        }
    }
    alone
}

/// The steps of a chain that take longest, with what each of them decides.
fn critical_steps(nodes: &[NodeReport], dag: &Dag, path: &[usize], alone: &[u64]) -> Vec<CriticalStep> {
    let whole_ms = total(path.iter().filter_map(|position| nodes[*position].duration_ms));
    let duration = |position: &usize| nodes[*position].duration_ms.unwrap_or(0.0);
    let mut longest: Vec<usize> = path.to_vec();
    longest.sort_by(|a, b| duration(b).total_cmp(&duration(a)));
    longest.truncate(MAX_STEPS);
    longest
        .into_iter()
        .map(|position| {
            // Computed anew for each step: without it, another chain may be the longest, so what is gained is less
            // than the step took.
            let without = dag.longest_chain(Some(position));
            let without_ms = total(without.iter().filter(|at| **at != position).map(duration));
            CriticalStep {
                node: nodes[position].name.clone(),
                duration_ms: duration(&position),
                gain_ms: (whole_ms - without_ms).max(0.0),
                alone_ms: Some(milliseconds::of_microseconds(alone[position])),
            }
        })
        .collect()
}

/// The nodes by position, in an order in which each comes behind those that it reads.
struct Dag {
    dependencies: Vec<Vec<usize>>,
    order: Vec<usize>,
    durations_ms: Vec<Option<f64>>,
}

impl Dag {
    fn of(nodes: &[NodeReport]) -> Self {
        let positions: HashMap<&str, usize> =
            nodes.iter().enumerate().map(|(position, node)| (node.name.as_str(), position)).collect();
        let dependencies: Vec<Vec<usize>> = nodes
            .iter()
            .map(|node| {
                node.dependencies.iter().filter_map(|name| positions.get(name.as_str()).copied()).collect()
            })
            .collect();
        let (mut entered, mut left) = (vec![false; nodes.len()], vec![false; nodes.len()]);
        let mut order = Vec::with_capacity(nodes.len());
        for position in 0..nodes.len() {
            // An explicit stack, because a pipeline may be a chain of thousands.
            let mut stack = vec![position];
            while let Some(&at) = stack.last() {
                if !entered[at] {
                    entered[at] = true;
                    stack.extend(dependencies[at].iter().filter(|dependency| !entered[**dependency]));
                    continue;
                }
                stack.pop();
                if !left[at] {
                    left[at] = true;
                    order.push(at);
                }
            }
        }
        Self { dependencies, order, durations_ms: nodes.iter().map(|node| node.duration_ms).collect() }
    }

    /// The positions of the chain of dependencies whose durations add up to most, from its beginning. Nodes that did not run take
    /// no time, and neither does the one at `free`.
    fn longest_chain(&self, free: Option<usize>) -> Vec<usize> {
        let mut longest: Vec<Option<(f64, Option<usize>)>> = vec![None; self.order.len()];
        for &at in &self.order {
            let before = self.dependencies[at]
                .iter()
                .filter_map(|dependency| Some((longest[*dependency]?.0, *dependency)))
                .max_by(|a, b| a.0.total_cmp(&b.0));
            let own_ms = if free == Some(at) { 0.0 } else { self.durations_ms[at].unwrap_or(0.0) };
            longest[at] =
                Some((own_ms + before.map_or(0.0, |(ms, _)| ms), before.map(|(_, position)| position)));
        }
        let chain_ms = |at: usize| longest[at].map_or(0.0, |(ms, _)| ms);
        let last = (0..self.order.len()).max_by(|a, b| chain_ms(*a).total_cmp(&chain_ms(*b)));
        let mut path: Vec<usize> =
            std::iter::successors(last, |at| longest[*at].and_then(|(_, before)| before))
                // A manifest may come from anywhere, and name a circle.
                .take(self.order.len())
                .filter(|position| self.durations_ms[*position].is_some())
                .collect();
        path.reverse();
        path
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use daglight_run_bundle::{AttemptRecord, NodeStatus};

    use super::*;
    use crate::fixture;

    fn node(name: &str, dependencies: &[&str], extent: Option<(f64, f64)>) -> NodeReport {
        NodeReport {
            dependencies: dependencies.iter().map(|&name| name.to_owned()).collect(),
            status: if extent.is_some() { NodeStatus::Success } else { NodeStatus::NotRun },
            start_ms: extent.map(|(start, _)| start),
            duration_ms: extent.map(|(_, duration)| duration),
            ..NodeReport::of_name(name)
        }
    }

    #[test]
    fn busy_and_idle_time_add_up_to_the_run() {
        let mut nodes = [
            node("a", &[], Some((0.0, 20.0))),
            node("b", &[], Some((10.0, 20.0))),
            node("c", &["a", "b"], Some((60.0, 30.0))),
        ];
        let timeline = timeline(&mut nodes, None, &[], 100.0, None).unwrap();
        assert_eq!((timeline.busy_ms, timeline.idle_ms), (60.0, 40.0));
        assert!((timeline.parallelism - 70.0 / 60.0).abs() < 1e-9);
        let gap = timeline.longest_idle.unwrap();
        assert_eq!((gap.after.as_deref(), gap.before.as_deref()), (Some("b"), Some("c")));
        assert_eq!((gap.start_ms, gap.duration_ms), (30.0, 30.0));
        assert_eq!(timeline.long_idle_ms, 0.0);
    }

    #[test]
    fn a_run_is_not_idle_during_an_earlier_attempt_at_a_node() {
        let attempt = |number, start_ms, duration_ms| AttemptRecord {
            attempt: number,
            status: NodeStatus::Failure,
            started_at: Some(fixture::start() + TimeDelta::milliseconds(start_ms)),
            duration_ms: Some(duration_ms),
            error: None,
        };
        let retried = NodeReport {
            attempts: 3,
            earlier_attempts: vec![attempt(1, 20, 20.0), attempt(2, 50, 10.0)],
            ..node("b", &["a"], Some((80.0, 20.0)))
        };
        let mut nodes = [node("a", &[], Some((0.0, 20.0))), retried];
        let timeline = timeline(&mut nodes, Some(fixture::start()), &[], 100.0, None).unwrap();
        assert_eq!((timeline.busy_ms, timeline.idle_ms, timeline.parallelism), (70.0, 30.0, 1.0));
        let at_once: Vec<_> = timeline.concurrency.iter().map(|at| (at.nodes, at.duration_ms)).collect();
        assert_eq!(at_once, [(0, 30.0), (1, 70.0)]);
        // Between two attempts.
        let gap = timeline.longest_idle.unwrap();
        assert_eq!((gap.after.as_deref(), gap.before.as_deref()), (Some("b"), Some("b")));
        assert_eq!((gap.start_ms, gap.duration_ms), (60.0, 20.0));
        assert_eq!(timeline.critical_steps[1].alone_ms, Some(50.0));
    }

    #[test]
    fn setup_is_neither_busy_nor_idle() {
        let mut nodes = [node("a", &[], Some((20.0, 20.0))), node("b", &["a"], Some((80.0, 10.0)))];
        let timeline =
            timeline(&mut nodes, None, &[(0.0, 20.0), (30.0, 60.0), (85.0, 90.0)], 100.0, None).unwrap();
        assert_eq!((timeline.busy_ms, timeline.setup_ms, timeline.idle_ms), (30.0, 40.0, 30.0));
        let gap = timeline.longest_idle.unwrap();
        // With setup in between.
        assert_eq!((gap.after.as_deref(), gap.before.as_deref()), (Some("a"), Some("b")));
        assert_eq!((gap.start_ms, gap.duration_ms), (60.0, 20.0));
    }

    #[track_caller]
    fn check_path(mut nodes: Vec<NodeReport>, expected: &[&str], expected_ms: f64) {
        let timeline = timeline(&mut nodes, None, &[], 1000.0, None).unwrap();
        assert_eq!(
            (&*timeline.critical_path, timeline.critical_path_ms),
            (&*expected.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), expected_ms)
        );
        let marked = nodes.iter().filter(|node| node.on_critical_path).count();
        assert_eq!(marked, expected.len());
    }

    #[test]
    fn the_critical_path_is_the_longest_chain_and_not_the_last() {
        check_path(
            vec![
                node("d", &["b", "c"], Some((90.0, 5.0))),
                node("a", &[], Some((0.0, 10.0))),
                node("b", &["a"], Some((10.0, 50.0))),
                node("c", &["a"], Some((60.0, 30.0))),
                node("other", &[], Some((95.0, 40.0))),
                node("never", &["d"], None),
            ],
            &["a", "b", "d"],
            65.0,
        );
    }

    #[test]
    fn dependencies_that_do_not_make_sense_do_no_harm() {
        check_path(
            vec![node("a", &["b", "nobody"], Some((0.0, 1.0))), node("b", &["a"], Some((1.0, 2.0)))],
            &["b", "a"],
            3.0,
        );
    }

    #[test]
    fn a_long_chain_does_not_exhaust_the_stack() {
        let names: Vec<String> = (0..20_000).map(|number| format!("n{number:05}")).collect();
        let mut nodes: Vec<NodeReport> = names
            .iter()
            .enumerate()
            .map(|(number, name)| {
                let next: Vec<&str> = names.get(number + 1).map(String::as_str).into_iter().collect();
                node(name, &next, Some((0.0, 1.0)))
            })
            .collect();
        assert_eq!(timeline(&mut nodes, None, &[], 1.0, None).unwrap().critical_path.len(), 20_000);
    }

    #[test]
    fn no_time_is_not_a_negative_one() {
        let timeline = timeline(&mut [], None, &[(0.0, 5.0)], 10.0, None).unwrap();
        let times = [timeline.busy_ms, timeline.idle_ms, timeline.long_idle_ms, timeline.critical_path_ms];
        assert!(times.iter().all(|time| time.is_sign_positive()), "{times:?}");
    }

    #[test]
    fn the_time_after_an_interrupt_is_neither_busy_nor_idle() {
        let mut nodes = [node("a", &[], Some((10.0, 30.0))), node("b", &["a"], Some((50.0, 60.0)))];
        let timeline =
            timeline(&mut nodes, None, &[(0.0, 5.0), (70.0, 2_000.0)], 2_100.0, Some(100.0)).unwrap();
        assert_eq!((timeline.busy_ms, timeline.setup_ms, timeline.idle_ms), (80.0, 5.0, 15.0));
        assert_eq!((timeline.ending_ms, timeline.long_idle_ms), (2_000.0, 0.0));
        let gap = timeline.longest_idle.clone().unwrap();
        assert_eq!((gap.start_ms, gap.duration_ms), (40.0, 10.0));
        let said = crate::display::time_spent(&timeline);
        assert!(said.contains("idle 15 ms, ending after the interrupt 2.00 s"), "{said}");
    }

    /// Every chain of dependencies, by trying all.
    fn longest_by_trying(nodes: &[NodeReport], at: usize, free: Option<usize>) -> f64 {
        let own = if free == Some(at) { 0.0 } else { nodes[at].duration_ms.unwrap_or(0.0) };
        let before = nodes[at].dependencies.iter().map(|name| {
            let position = nodes.iter().position(|node| node.name == *name).unwrap();
            longest_by_trying(nodes, position, free)
        });
        own + before.fold(0.0, f64::max)
    }

    #[test]
    fn the_chain_its_steps_and_the_concurrency_are_those_that_trying_all_finds() {
        for seed in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut next = |below: u64| random.u64(..below);
            let count = 1 + next(9) as usize;
            let names: Vec<String> = (0..count).map(|number| format!("n{number}")).collect();
            let mut nodes: Vec<NodeReport> = (0..count)
                .map(|position| {
                    let reads: Vec<&str> =
                        names[..position].iter().filter(|_| next(3) == 0).map(String::as_str).collect();
                    // Whole milliseconds: their sums are exact.
                    node(&names[position], &reads, Some((next(50) as f64, 1.0 + next(40) as f64)))
                })
                .collect();
            let all = |free| (0..count).map(|at| longest_by_trying(&nodes, at, free)).fold(0.0, f64::max);
            let (whole_ms, without): (f64, Vec<f64>) =
                (all(None), (0..count).map(|at| all(Some(at))).collect());
            let extents: Vec<(f64, f64)> = nodes.iter().flat_map(|node| extents(node, None)).collect();
            let running = |at: f64| {
                extents.iter().filter(|(start, duration)| *start <= at && at < start + duration).count()
                    as u64
            };
            let mut expected: std::collections::BTreeMap<u64, f64> = std::collections::BTreeMap::new();
            (0..120).for_each(|ms| *expected.entry(running(ms as f64)).or_default() += 1.0);
            let timeline = timeline(&mut nodes, None, &[], 120.0, None).unwrap();
            assert_eq!(timeline.critical_path_ms, whole_ms, "{seed}");
            for step in &timeline.critical_steps {
                let position = names.iter().position(|name| *name == step.node).unwrap();
                assert_eq!(step.gain_ms, whole_ms - without[position], "{seed} {}", step.node);
                let (start, duration) = extents[position];
                let is_alone = |ms: f64| start <= ms && ms < start + duration && running(ms) == 1;
                let alone_ms = (0..120).filter(|ms| is_alone(f64::from(*ms))).count() as f64;
                assert_eq!(step.alone_ms, Some(alone_ms), "{seed} {}", step.node);
            }
            assert_eq!(timeline.critical_steps.len(), timeline.critical_path.len());
            let found: std::collections::BTreeMap<u64, f64> =
                timeline.concurrency.iter().map(|at| (at.nodes, at.duration_ms)).collect();
            assert_eq!(found, expected, "{seed}");
        }
    }

    #[test]
    fn gaps_are_listed_with_what_was_before_and_after() {
        let mut nodes = [
            node("a", &[], Some((0.0, 100.0))),
            node("b", &[], Some((250.0, 100.0))),
            node("c", &[], Some((700.0, 50.0))),
        ];
        let timeline = timeline(&mut nodes, None, &[], 840.0, None).unwrap();
        let gaps: Vec<_> = timeline
            .idle_gaps
            .iter()
            .map(|gap| (gap.after.as_deref(), gap.before.as_deref(), gap.duration_ms))
            .collect();
        assert_eq!(gaps, [(Some("b"), Some("c"), 350.0), (Some("a"), Some("b"), 150.0)]);
        // What is left of 590 ms is behind the last one.
        assert_eq!((timeline.idle_ms, timeline.long_idle_ms, timeline.short_gaps), (590.0, 500.0, 1));
        assert_eq!(timeline.longest_idle.as_ref(), timeline.idle_gaps.first());
    }

    #[test]
    fn without_nodes_there_is_no_timeline() {
        assert_eq!(timeline(&mut [node("a", &[], None)], None, &[], 10.0, None), None);
    }
}
