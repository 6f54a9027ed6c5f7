//! Where everything stands on the timeline of the page: lanes of nodes, stages, queries and operators.

use std::borrow::Cow;

use daglight_capture_policy::printable;
use daglight_run_bundle::NodeStatus;
use serde_json::{Value, json};

use crate::{
    coverage::Coverage,
    display,
    report::{Report, TimelineSpanKind},
    shown_spans::Crowd,
};

/// Lanes of a kind. What finds no room in them is a band.
const MAX_LANES: usize = 150;
const NANOSECONDS: f64 = 1e6;

/// How a bar is coloured: the numbers that the script knows.
const PLAIN: u8 = 0;
const ON_PATH: u8 = 1;
const FAILED: u8 = 2;
const UNFINISHED: u8 = 3;

/// The timeline, lane by lane.
#[derive(Debug, Default)]
pub(crate) struct TimelineLanes<'r> {
    /// What the lanes from one on are of.
    heads: Vec<(&'static str, usize)>,
    lanes: usize,
    bars: Vec<(usize, Bar<'r>)>,
    bands: Vec<(usize, Band)>,
}

#[derive(Debug, Clone)]
struct Bar<'r> {
    name: Cow<'r, str>,
    node: Option<&'r str>,
    start_ms: f64,
    duration_ms: f64,
    state: u8,
}

/// Several that are not drawn one by one.
#[derive(Debug)]
struct Band {
    start_ms: f64,
    duration_ms: f64,
    crowd: Crowd,
}

impl<'r> TimelineLanes<'r> {
    pub(crate) fn of(report: &'r Report) -> Self {
        let mut lanes = Self::default();
        lanes.add("nodes", nodes(report), Coverage::default());
        for (title, kind) in [
            ("stages", TimelineSpanKind::Stage),
            ("queries", TimelineSpanKind::Query),
            ("operators", TimelineSpanKind::Operator),
        ] {
            let mut crowds = Coverage::default();
            for band in report.span_bands.iter().filter(|band| band.kind == kind) {
                let longest = (band.longest_ms * NANOSECONDS) as u64;
                let crowd = Crowd { spans: band.spans, failed: band.failed, longest };
                add(&mut crowds, band.start_ms, band.duration_ms, crowd);
            }
            lanes.add(title, spans(report, kind), crowds);
        }
        lanes
    }

    /// Bars that overlap are put into separate lanes, and what is not drawn one by one into one behind them.
    fn add(&mut self, title: &'static str, mut bars: Vec<Bar<'r>>, mut crowds: Coverage<Crowd>) {
        bars.sort_by(|a, b| a.start_ms.total_cmp(&b.start_ms));
        let head = self.lanes;
        let mut ends_ms: Vec<f64> = Vec::new();
        for bar in bars {
            let end_ms = bar.start_ms + bar.duration_ms;
            let free = ends_ms.iter().position(|end_ms| bar.start_ms >= *end_ms);
            if free.is_none() && ends_ms.len() == MAX_LANES {
                let longest = (bar.duration_ms * NANOSECONDS) as u64;
                let crowd = Crowd { longest, ..Crowd::of_one(longest, bar.state == FAILED) };
                add(&mut crowds, bar.start_ms, bar.duration_ms, crowd);
                continue;
            }
            let lane = free.unwrap_or_else(|| {
                ends_ms.push(0.0);
                ends_ms.len() - 1
            });
            ends_ms[lane] = end_ms;
            self.bars.push((head + 1 + lane, bar));
        }
        let crowds = crowds.intervals();
        let used = ends_ms.len() + usize::from(!crowds.is_empty());
        if used == 0 {
            return;
        }
        let last = head + used;
        self.bands.extend(crowds.iter().map(|interval| {
            let band = Band {
                start_ms: interval.start as f64 / NANOSECONDS,
                duration_ms: interval.length() as f64 / NANOSECONDS,
                crowd: interval.content,
            };
            (last, band)
        }));
        self.heads.push((title, head));
        self.lanes = last + 1;
    }

    /// What the script draws.
    pub(crate) fn data(&self, duration_ms: f64) -> Value {
        let bars = self.bars.iter().map(|(lane, bar)| {
            let node = bar.node.map(printable);
            json!([
                lane,
                printable(&display::name(&bar.name)),
                node,
                ms(bar.start_ms),
                ms(bar.duration_ms),
                bar.state
            ])
        });
        let bands = self.bands.iter().map(|(lane, band)| {
            let Crowd { spans, failed, longest } = band.crowd;
            let longest_ms = ms(longest as f64 / NANOSECONDS);
            json!([lane, ms(band.start_ms), ms(band.duration_ms), spans, failed, longest_ms])
        });
        json!({
            "duration": ms(duration_ms),
            "lanes": self.lanes,
            "heads": self.heads,
            "bars": bars.collect::<Vec<Value>>(),
            "bands": bands.collect::<Vec<Value>>(),
        })
    }
}

fn nodes(report: &Report) -> Vec<Bar<'_>> {
    let whole_ms = report.duration_ms.unwrap_or(0.0);
    let bars = report.nodes.iter().filter_map(|node| {
        let start_ms = node.start_ms?;
        Some(Bar {
            name: node.name.as_str().into(),
            node: Some(&node.name),
            start_ms,
            duration_ms: node.duration_ms.unwrap_or(whole_ms - start_ms).max(0.0),
            state: match node.status {
                NodeStatus::Failure | NodeStatus::Interrupted => FAILED,
                NodeStatus::Unfinished => UNFINISHED,
                _ if node.on_critical_path => ON_PATH,
                _ => PLAIN,
            },
        })
    });
    bars.collect()
}

fn spans(report: &Report, kind: TimelineSpanKind) -> Vec<Bar<'_>> {
    let spans = report.spans.iter().filter(|span| span.kind == kind);
    let bars = spans.map(|span| Bar {
        name: match kind {
            TimelineSpanKind::Query => format!("query {}", span.name).into(),
            _ => span.name.as_str().into(),
        },
        node: span.node.as_deref(),
        start_ms: span.start_ms,
        duration_ms: span.duration_ms,
        state: match (span.failed, span.open) {
            (true, _) => FAILED,
            (false, true) => UNFINISHED,
            (false, false) => PLAIN,
        },
    });
    bars.collect()
}

fn add(crowds: &mut Coverage<Crowd>, start_ms: f64, duration_ms: f64, crowd: Crowd) {
    let at = |ms: f64| (ms * NANOSECONDS) as u64;
    crowds.add_with(at(start_ms), at(start_ms + duration_ms), crowd);
}

/// As short as it can be said to the microsecond.
fn ms(ms: f64) -> f64 {
    if ms.is_finite() { (ms * 1e3).round() / 1e3 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::{
        planted,
        report::NodeReport,
        shown_spans::{ShownSpan, ShownSpans},
    };

    /// As many as the page is wide, in pixels.
    const PIXELS: u64 = 1_100;

    /// The report of a run with these operators, in nanoseconds from its start.
    fn report_of(operators: &[(u64, u64)]) -> Report {
        let kind = TimelineSpanKind::Operator;
        let mut shown = ShownSpans::default();
        for &(start, end) in operators {
            shown.offer(kind, (start, end), false, || ShownSpan {
                kind,
                name: "Filter".into(),
                node: None,
                parent_span_id: String::new(),
                start,
                end,
                failed: false,
                is_open: false,
            });
        }
        let (spans, span_bands) = shown.into_spans(&|_| None, &|at| at as f64 / NANOSECONDS);
        Report { spans, span_bands, nodes: Vec::new(), ..planted::report("x") }
    }

    /// What is drawn, lane by lane, in nanoseconds.
    fn drawn(lanes: &TimelineLanes<'_>) -> Vec<(usize, u64, u64)> {
        let at = |ms: f64| (ms * NANOSECONDS).round() as u64;
        let bars = lanes.bars.iter().map(|(lane, bar)| (*lane, bar.start_ms, bar.duration_ms));
        let bands = lanes.bands.iter().map(|(lane, band)| (*lane, band.start_ms, band.duration_ms));
        let mut drawn: Vec<_> =
            bars.chain(bands).map(|(lane, start, took)| (lane, at(start), at(start + took))).collect();
        drawn.sort_unstable();
        drawn
    }

    fn union(times: impl IntoIterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
        let mut times: Vec<_> = times.into_iter().collect();
        times.sort_unstable();
        times.dedup_by(|next, kept| {
            let joins = next.0 <= kept.1;
            if joins {
                kept.1 = kept.1.max(next.1);
            }
            joins
        });
        times
    }

    /// Whether each moment of `times` is in `cover`, or no farther from it than `slack`.
    #[track_caller]
    fn is_covered(times: &[(u64, u64)], cover: &[(u64, u64)], slack: u64) {
        for &(start, end) in times {
            let mut reached = start;
            let first = cover.partition_point(|(_, until)| until + slack < start);
            for &(from, until) in &cover[first..] {
                if from > reached.saturating_add(2 * slack + 1) || reached >= end {
                    break;
                }
                reached = reached.max(until);
            }
            assert!(reached.saturating_add(slack + 1) >= end, "{start}..{end} only up to {reached}");
        }
    }

    #[track_caller]
    fn check(operators: &[(u64, u64)]) {
        let report = report_of(operators);
        let lanes = TimelineLanes::of(&report);
        let crowded: u64 = lanes.bands.iter().map(|(_, band)| band.crowd.spans).sum();
        assert_eq!(lanes.bars.len() as u64 + crowded, operators.len() as u64);
        let drawn = drawn(&lanes);
        assert!(drawn.windows(2).all(|pair| pair[0].0 < pair[1].0 || pair[0].2 <= pair[1].1 + 1));
        assert!(drawn.iter().all(|(lane, ..)| (1..lanes.lanes).contains(lane)));

        let ran = union(operators.iter().copied());
        let shown = union(drawn.into_iter().map(|(_, start, end)| (start, end)));
        let whole = ran.last().unwrap().1 - ran[0].0;
        // Nothing that ran is missing, and nothing is drawn farther than a pixel from where something ran.
        is_covered(&ran, &shown, 0);
        is_covered(&shown, &ran, whole / PIXELS);
    }

    #[test]
    fn whatever_ran_is_drawn_and_nothing_that_did_not() {
        // More than are kept: short ones with pauses between them, after a time of long ones.
        check(&(0..30_000).map(|number| (number * 1_000, number * 1_000 + 400)).collect::<Vec<_>>());
        let long = (0..9_000).map(|number| (number * 100, number * 100 + 50_000));
        let short = (0..60_000).map(|number| (2_000_000 + number * 900, 2_000_000 + number * 900 + 10));
        check(&long.chain(short).collect::<Vec<_>>());
        // More at once than there are lanes.
        check(&(0..2_000).map(|number| (number, 1_000_000 + number * 3)).collect::<Vec<_>>());
        for seed in 0..20 {
            let mut rng = Rng::with_seed(seed);
            let bursts: Vec<u64> = (0..rng.usize(1..40)).map(|_| rng.u64(0..1_000_000_000)).collect();
            let (most, wide) = (rng.u64(1..2_000_000), rng.u64(1..50_000_000));
            let operators = (0..rng.usize(1..50_000)).map(|_| {
                let start = bursts[rng.usize(0..bursts.len())] + rng.u64(0..wide);
                (start, start + rng.u64(0..most))
            });
            check(&operators.collect::<Vec<_>>());
        }
    }

    #[test]
    fn nodes_that_find_no_lane_are_counted_in_a_band_with_those_that_failed() {
        let node = |number: usize| NodeReport {
            start_ms: Some(0.0),
            duration_ms: Some(5.0),
            status: if number.is_multiple_of(2) { NodeStatus::Failure } else { NodeStatus::Success },
            ..NodeReport::of_name(&format!("node_{number}"))
        };
        let nodes = (0..MAX_LANES + 10).map(node).collect();
        let report = Report { nodes, spans: Vec::new(), span_bands: Vec::new(), ..planted::report("x") };
        let data = TimelineLanes::of(&report).data(10.0);
        assert_eq!(data["bars"].as_array().map(Vec::len), Some(MAX_LANES));
        assert_eq!(data["bands"], json!([[MAX_LANES + 1, 0.0, 5.0, 10, 5, 5.0]]));
        assert_eq!((&data["heads"], &data["lanes"]), (&json!([["nodes", 0]]), &json!(MAX_LANES + 2)));
    }
}
