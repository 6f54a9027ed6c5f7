//! Values over the time of a run: processor, memory, storage and parallel nodes.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use crate::{
    display,
    report::{NodeReport, ResourceSample},
    timeline::extents,
};

/// A chart with fewer points is not useful.
const MIN_POINTS: usize = 3;
/// The size of the drawing, which is stretched to its column.
const WIDTH: f64 = 1_000.0;
const HEIGHT: f64 = 100.0;

/// A value over time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    /// Milliseconds from the start of the run, and the value.
    points: Vec<(f64, f64)>,
    /// The maximum, as text.
    pub(crate) most: String,
}

/// The charts with something to see.
pub(crate) fn charts(
    samples: &[ResourceSample],
    nodes: &[NodeReport],
    started_at: Option<DateTime<Utc>>,
    duration_ms: f64,
) -> Vec<Chart> {
    let bytes = |bytes: f64| display::bytes(bytes as u64);
    let per_second = |bytes: f64| format!("{} per second", display::bytes(bytes as u64));
    let all = [
        chart("processor", rates(samples, |sample| sample.cpu_seconds), |cores| format!("{cores:.1} cores")),
        chart("memory of the process", levels(samples, |sample| sample.resident_bytes), bytes),
        chart("memory given out by DataFusion", levels(samples, |sample| sample.reserved_bytes), bytes),
        chart("read from storage", rates(samples, |sample| Some(sample.io_bytes_read? as f64)), per_second),
        chart(
            "written to storage",
            rates(samples, |sample| Some(sample.io_bytes_written? as f64)),
            per_second,
        ),
        chart("nodes at once", at_once(nodes, started_at, duration_ms), |nodes| format!("{nodes:.0}")),
    ];
    all.into_iter().flatten().collect()
}

fn chart(title: &'static str, points: Vec<(f64, f64)>, words: impl Fn(f64) -> String) -> Option<Chart> {
    let most = points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    // A line with two points is not useful, nor is a flat one at the bottom.
    (points.len() >= MIN_POINTS && most > 0.0).then(|| Chart { title, points, most: words(most) })
}

/// How many nodes ran in parallel, over the time of the run: computed from their starts and ends, which is more precise than the
/// samples of the heartbeat.
fn at_once(nodes: &[NodeReport], started_at: Option<DateTime<Utc>>, duration_ms: f64) -> Vec<(f64, f64)> {
    /// The number of intervals into which the run is divided; each has the maximum number of nodes in it.
    const PARTS: usize = 240;
    let mut changes: Vec<(f64, i64)> = nodes
        .iter()
        .flat_map(|node| extents(node, started_at))
        .flat_map(|(start, duration)| [(start, 1), (start + duration, -1)])
        .collect();
    // A pipeline with a single node is that node.
    if changes.len() < 4 || !(duration_ms > 0.0 && duration_ms.is_finite()) {
        return Vec::new();
    }
    // At the same time an end sorts before a start, so that two consecutive nodes are not parallel.
    changes.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut changes = changes.into_iter().peekable();
    let (mut running, mut points) = (0_i64, Vec::with_capacity(PARTS));
    for part in 1..=PARTS {
        let until = duration_ms * part as f64 / PARTS as f64;
        let mut most = running;
        while let Some((_, change)) = changes.next_if(|(at, _)| *at <= until) {
            running += change;
            most = most.max(running);
        }
        points.push((until, most as f64));
    }
    points
}

fn levels(samples: &[ResourceSample], value: impl Fn(&ResourceSample) -> Option<u64>) -> Vec<(f64, f64)> {
    samples.iter().filter_map(|sample| Some((sample.at_ms, value(sample)? as f64))).collect()
}

/// The growth of a counter per second, between each two samples.
fn rates(samples: &[ResourceSample], value: impl Fn(&ResourceSample) -> Option<f64>) -> Vec<(f64, f64)> {
    let pairs = samples.iter().zip(samples.iter().skip(1));
    let rates = pairs.filter_map(|(before, after)| {
        let seconds = (after.at_ms - before.at_ms) / 1e3;
        let grown = value(after)? - value(before)?;
        // A counter that decreases was reset, for example because a run was continued; a rate is never negative.
        (seconds > 0.0).then(|| (after.at_ms, (grown / seconds).max(0.0)))
    });
    rates.collect()
}

impl Chart {
    /// The title and the maximum.
    pub(crate) fn in_words(&self) -> String {
        format!("{}, up to {}", self.title, self.most)
    }

    /// The chart as a line of text.
    pub(crate) fn sparkline(&self) -> String {
        const MAX_BARS: usize = 60;
        let every = self.points.len().div_ceil(MAX_BARS);
        let highest = |points: &[(f64, f64)]| points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        let values: Vec<Option<f64>> =
            self.points.chunks(every).map(|points| Some(highest(points))).collect();
        display::sparkline(&values)
    }

    /// The chart as an image, over a run of `duration_ms`.
    pub(crate) fn drawn(&self, duration_ms: f64) -> Markup {
        let most = self.points.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
        let x = |ms: f64| (ms / duration_ms.max(0.001) * WIDTH).clamp(0.0, WIDTH);
        let first = self.points.first().map_or(0.0, |(ms, _)| x(*ms));
        let mut path = format!("M{first:.1} {HEIGHT}");
        for (ms, value) in &self.points {
            path.push_str(&format!("L{:.1} {:.1}", x(*ms), HEIGHT - value / most * HEIGHT * 0.95));
        }
        let last = self.points.last().map_or(0.0, |(ms, _)| x(*ms));
        path.push_str(&format!("L{last:.1} {HEIGHT}Z"));
        html! {
            svg.series viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="presentation" {
                path d=(path) {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_ms: f64, cpu_seconds: f64, resident_bytes: u64) -> ResourceSample {
        ResourceSample {
            at_ms,
            cpu_seconds: Some(cpu_seconds),
            resident_bytes: Some(resident_bytes),
            io_bytes_read: Some(0),
            ..ResourceSample::default()
        }
    }

    #[test]
    fn what_grows_is_shown_as_a_rate_and_what_never_was_is_not_shown() {
        let samples = [
            sample(0.0, 0.0, 1_000),
            sample(1_000.0, 2.0, 5_000_000),
            sample(2_000.0, 3.0, 0),
            sample(4_000.0, 3.0, 10),
        ];
        let charts = charts(&samples, &[], None, 4_000.0);
        let said: Vec<String> = charts.iter().map(Chart::in_words).collect();
        assert_eq!(said, ["processor, up to 2.0 cores", "memory of the process, up to 5.0 MB"]);
        assert_eq!(charts[0].points, [(1_000.0, 2.0), (2_000.0, 1.0), (4_000.0, 0.0)]);
        assert_eq!(charts[0].sparkline(), "█▅▁");
        let drawn = charts[0].drawn(4_000.0).into_string();
        assert!(drawn.contains("M250.0 100L250.0 5.0L500.0 52.5L1000.0 100.0L1000.0 100Z"), "{drawn}");
    }

    #[test]
    fn nodes_at_once_are_seen_without_any_beat() {
        let node = |start_ms: f64, duration_ms: f64| NodeReport {
            start_ms: Some(start_ms),
            duration_ms: Some(duration_ms),
            ..NodeReport::of_name("a")
        };
        let nodes = [node(0.0, 50.0), node(25.0, 25.0), node(50.0, 10.0), node(90.0, 10.0)];
        let charts = charts(&[], &nodes, None, 100.0);
        assert_eq!(charts.len(), 1);
        assert_eq!(charts[0].in_words(), "nodes at once, up to 2");
        let at = |ms: f64| charts[0].points.iter().find(|(at, _)| *at >= ms).unwrap().1;
        assert_eq!([at(10.0), at(40.0), at(55.0), at(80.0), at(95.0)], [1.0, 2.0, 1.0, 0.0, 1.0]);
        assert_eq!(super::charts(&[], &nodes[..1], None, 100.0), []);
    }

    #[test]
    fn two_beats_make_no_chart() {
        assert_eq!(charts(&[sample(0.0, 0.0, 1), sample(1.0, 1.0, 1)], &[], None, 1.0), []);
    }
}
