//! How the nodes share the time of a run: busy, setup, idle, at once, and the longest chain of dependencies.

use std::collections::HashMap;

use crate::{IdleGap, NodeReport, Timeline, coverage::Coverage};

/// A time without a node is worth a word from this length on. Shorter ones are between any two nodes.
pub(crate) const LONG_GAP_MS: f64 = 100.0;

/// The timeline of nodes within a run of `duration_ms`, which a signal has told to end after `interrupted_ms`, if one has; marks the nodes on the critical path. `None` when neither they nor setup ran.
/// `setup` is when work of the run ran that belongs to no node, in milliseconds from its start.
pub(crate) fn timeline(
    nodes: &mut [NodeReport],
    setup: &[(f64, f64)],
    duration_ms: f64,
    interrupted_ms: Option<f64>,
) -> Option<Timeline> {
    let until_ms =
        interrupted_ms.map_or(duration_ms, |interrupted_ms| interrupted_ms.clamp(0.0, duration_ms));
    let ending_ms = duration_ms - until_ms;
    let mut coverage = Coverage::default();
    let mut sum_ms = 0.0;
    for (start_ms, node_ms) in nodes.iter().filter_map(extent) {
        let end_ms = within(start_ms + node_ms, interrupted_ms);
        coverage.add(microseconds(start_ms), microseconds(end_ms));
        sum_ms += (end_ms - start_ms).max(0.0);
    }
    // What is told below is told of the time before.
    let duration_ms = until_ms;
    let intervals = coverage.intervals();
    if intervals.is_empty() && setup.is_empty() {
        return None;
    }
    let busy_ms = total(intervals.iter().map(|(start, end)| milliseconds(end - start)));
    let mut worked = coverage;
    for (start_ms, end_ms) in setup {
        let end_ms = within(end_ms.max(0.0), interrupted_ms);
        worked.add(microseconds(start_ms.max(0.0)), microseconds(end_ms));
    }
    let intervals = worked.intervals();
    let worked_ms = total(intervals.iter().map(|(start, end)| milliseconds(end - start)));
    let longest_idle = longest_idle(nodes, intervals, duration_ms);
    let long_gaps = gaps(intervals, duration_ms)
        .map(|(from, until)| milliseconds(until.saturating_sub(from)))
        .filter(|gap_ms| *gap_ms >= LONG_GAP_MS);
    let long_idle_ms = total(long_gaps);
    let path = critical_path(nodes);
    let critical_path_ms = total(path.iter().filter_map(|position| nodes[*position].duration_ms));
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

fn extent(node: &NodeReport) -> Option<(f64, f64)> {
    Some((node.start_ms?.max(0.0), node.duration_ms?.max(0.0)))
}

fn microseconds(milliseconds: f64) -> u64 {
    (milliseconds * 1e3) as u64
}

fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e3
}

/// The times between the intervals, from the start of the run to its end.
fn gaps(intervals: &[(u64, u64)], duration_ms: f64) -> impl Iterator<Item = (u64, u64)> {
    let starts = intervals.iter().map(|(start, _)| *start).chain([microseconds(duration_ms)]);
    [0].into_iter().chain(intervals.iter().map(|(_, end)| *end)).zip(starts)
}

fn longest_idle(nodes: &[NodeReport], intervals: &[(u64, u64)], duration_ms: f64) -> Option<IdleGap> {
    let (idle, from, until) = gaps(intervals, duration_ms)
        .map(|(from, until)| (until.saturating_sub(from), from, until))
        .max_by_key(|gap| gap.0)?;
    if idle == 0 {
        return None;
    }
    let named = |at: u64, moment: fn((f64, f64)) -> f64| {
        let found =
            nodes.iter().find(|node| extent(node).is_some_and(|extent| microseconds(moment(extent)) == at));
        found.map(|node| node.name.clone())
    };
    Some(IdleGap {
        after: named(from, |(start, duration)| start + duration),
        before: named(until, |(start, _)| start),
        start_ms: milliseconds(from),
        duration_ms: milliseconds(idle),
    })
}

/// The positions of the chain of dependencies whose durations add up to most, from its beginning. Nodes that did not
/// run take no time.
fn critical_path(nodes: &[NodeReport]) -> Vec<usize> {
    let positions: HashMap<&str, usize> =
        nodes.iter().enumerate().map(|(position, node)| (node.name.as_str(), position)).collect();
    let dependencies: Vec<Vec<usize>> = nodes
        .iter()
        .map(|node| {
            node.dependencies.iter().filter_map(|name| positions.get(name.as_str()).copied()).collect()
        })
        .collect();
    let mut longest: Vec<Option<(f64, Option<usize>)>> = vec![None; nodes.len()];
    let mut entered = vec![false; nodes.len()];
    for position in 0..nodes.len() {
        // A stack of its own, because a pipeline may be a chain of thousands.
        let mut stack = vec![position];
        while let Some(&at) = stack.last() {
            if !entered[at] {
                entered[at] = true;
                stack.extend(dependencies[at].iter().filter(|dependency| !entered[**dependency]));
                continue;
            }
            stack.pop();
            if longest[at].is_some() {
                continue;
            }
            let before = dependencies[at]
                .iter()
                .filter_map(|dependency| Some((longest[*dependency]?.0, *dependency)))
                .max_by(|a, b| a.0.total_cmp(&b.0));
            let own_ms = nodes[at].duration_ms.unwrap_or(0.0);
            longest[at] =
                Some((own_ms + before.map_or(0.0, |(ms, _)| ms), before.map(|(_, position)| position)));
        }
    }
    let last = (0..nodes.len()).max_by(|a, b| {
        longest[*a].map_or(0.0, |(ms, _)| ms).total_cmp(&longest[*b].map_or(0.0, |(ms, _)| ms))
    });
    let mut path: Vec<usize> = std::iter::successors(last, |at| longest[*at].and_then(|(_, before)| before))
        .take(nodes.len())
        .filter(|position| nodes[*position].duration_ms.is_some())
        .collect();
    path.reverse();
    path
}

#[cfg(test)]
mod tests {
    use daglight_run_bundle::NodeStatus;

    use super::*;

    fn node(name: &str, dependencies: &[&str], extent: Option<(f64, f64)>) -> NodeReport {
        NodeReport {
            name: name.into(),
            kind: None,
            dependencies: dependencies.iter().map(|&name| name.to_owned()).collect(),
            status: if extent.is_some() { NodeStatus::Success } else { NodeStatus::NotRun },
            start_ms: extent.map(|(start, _)| start),
            duration_ms: extent.map(|(_, duration)| duration),
            rows_in: None,
            rows_out: None,
            bytes: None,
            queries: 0,
            queries_summed: 0,
            error: None,
            attempts: 1,
            earlier_attempts: Vec::new(),
            recovered: false,
            on_critical_path: false,
        }
    }

    #[test]
    fn busy_and_idle_time_add_up_to_the_run() {
        let mut nodes = [
            node("a", &[], Some((0.0, 20.0))),
            node("b", &[], Some((10.0, 20.0))),
            node("c", &["a", "b"], Some((60.0, 30.0))),
        ];
        let timeline = timeline(&mut nodes, &[], 100.0, None).unwrap();
        assert_eq!((timeline.busy_ms, timeline.idle_ms), (60.0, 40.0));
        assert!((timeline.parallelism - 70.0 / 60.0).abs() < 1e-9);
        let gap = timeline.longest_idle.unwrap();
        assert_eq!((gap.after.as_deref(), gap.before.as_deref()), (Some("b"), Some("c")));
        assert_eq!((gap.start_ms, gap.duration_ms), (30.0, 30.0));
        assert_eq!(timeline.long_idle_ms, 0.0);
    }

    #[test]
    fn setup_is_neither_busy_nor_idle() {
        let mut nodes = [node("a", &[], Some((20.0, 20.0))), node("b", &["a"], Some((80.0, 10.0)))];
        let timeline = timeline(&mut nodes, &[(0.0, 20.0), (30.0, 60.0), (85.0, 90.0)], 100.0, None).unwrap();
        assert_eq!((timeline.busy_ms, timeline.setup_ms, timeline.idle_ms), (30.0, 40.0, 30.0));
        let gap = timeline.longest_idle.unwrap();
        assert_eq!((gap.after.as_deref(), gap.before.as_deref()), (None, Some("b")));
        assert_eq!((gap.start_ms, gap.duration_ms), (60.0, 20.0));
    }

    #[track_caller]
    fn check_path(mut nodes: Vec<NodeReport>, expected: &[&str], expected_ms: f64) {
        let timeline = timeline(&mut nodes, &[], 1000.0, None).unwrap();
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
        assert_eq!(timeline(&mut nodes, &[], 1.0, None).unwrap().critical_path.len(), 20_000);
    }

    #[test]
    fn no_time_is_not_a_negative_one() {
        let timeline = timeline(&mut [], &[(0.0, 5.0)], 10.0, None).unwrap();
        let times = [timeline.busy_ms, timeline.idle_ms, timeline.long_idle_ms, timeline.critical_path_ms];
        assert!(times.iter().all(|time| time.is_sign_positive()), "{times:?}");
    }

    #[test]
    fn the_time_after_an_interrupt_is_neither_busy_nor_idle() {
        let mut nodes = [node("a", &[], Some((10.0, 30.0))), node("b", &["a"], Some((50.0, 60.0)))];
        let timeline = timeline(&mut nodes, &[(0.0, 5.0), (70.0, 2_000.0)], 2_100.0, Some(100.0)).unwrap();
        assert_eq!((timeline.busy_ms, timeline.setup_ms, timeline.idle_ms), (80.0, 5.0, 15.0));
        assert_eq!((timeline.ending_ms, timeline.long_idle_ms), (2_000.0, 0.0));
        let gap = timeline.longest_idle.clone().unwrap();
        assert_eq!((gap.start_ms, gap.duration_ms), (40.0, 10.0));
        let said = crate::display::time_spent(&timeline);
        assert!(said.contains("idle 15 ms, ending after the interrupt 2.00 s"), "{said}");
    }

    #[test]
    fn without_nodes_there_is_no_timeline() {
        assert_eq!(timeline(&mut [node("a", &[], None)], &[], 10.0, None), None);
    }
}
