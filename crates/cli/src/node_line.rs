//! A line about a running node.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use daglight::{
    RunningNode,
    bundle::display::{bytes, elapsed, exact, exact_plural},
    policy::printable_within,
};

/// The maximum length shown of a node's name, and of the reason of a stall.
const NAME_COLUMNS: usize = 60;
const STALL_COLUMNS: usize = 200;

/// The period over which speeds are measured.
const WINDOW: Duration = Duration::from_secs(3);

/// The last counts of running nodes, for their speeds.
#[derive(Default)]
pub(crate) struct Speeds(HashMap<String, VecDeque<(Instant, Counts)>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    rows: u64,
    bytes: u64,
}

/// How much a node moves each second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Speed {
    rows: f64,
    bytes: f64,
}

impl Speeds {
    /// The speeds of the running nodes. Nodes that are no longer running are forgotten.
    pub(crate) fn of(&mut self, now: Instant, running: &[RunningNode]) -> Vec<Option<Speed>> {
        // A node that runs again starts without a speed.
        self.0.retain(|name, _| running.iter().any(|node| node.name == *name));
        running.iter().map(|node| self.of_node(now, node)).collect()
    }

    fn of_node(&mut self, now: Instant, node: &RunningNode) -> Option<Speed> {
        let counts = counts(node);
        let known = self.0.entry(node.name.clone()).or_default();
        known.push_back((now, counts));
        // The first entry is the last one that is at least as old as the period.
        while known.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            known.pop_front();
        }
        let (at, before) = known.front()?;
        let seconds = now.duration_since(*at).as_secs_f64();
        let speed = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
        (seconds > 0.0).then(|| Speed {
            rows: speed(before.rows, counts.rows),
            bytes: speed(before.bytes, counts.bytes),
        })
    }
}

fn counts(node: &RunningNode) -> Counts {
    Counts { rows: node.rows_read + node.rows_written, bytes: node.bytes_read + node.bytes_written }
}

/// Name, time, rows, bytes, their speed, and progress; or the reason of a stall.
pub(crate) fn node_line(node: &RunningNode, speed: Option<Speed>) -> String {
    let name = printable_within(&node.name, NAME_COLUMNS);
    let mut parts = vec![format!("{name} {}", elapsed(node.elapsed))];
    let rows = [(node.rows_read, "read"), (node.rows_written, "written")];
    parts.extend(
        rows.iter().filter(|(rows, _)| *rows > 0).map(|(rows, what)| exact_plural(*rows, "row") + " " + what),
    );
    let sizes = [(node.bytes_read, "read"), (node.bytes_written, "written")];
    parts.extend(sizes.iter().filter(|(size, _)| *size > 0).map(|(size, what)| bytes(*size) + " " + what));
    if let Some(stall) = &node.stall {
        // Its speed is that from before the stall, and an estimate of the remaining time is meaningless.
        parts.push(format!("STALLED, {}", printable_within(stall, STALL_COLUMNS)));
        return parts.join(", ");
    }
    let per_second = |part: Option<String>| part.map(|part| format!("{part}/s"));
    let rows = speed.filter(|speed| speed.rows >= 1.0).map(|speed| exact(speed.rows as u64) + " rows");
    let size = speed.filter(|speed| speed.bytes >= 1.0).map(|speed| bytes(speed.bytes as u64));
    parts.extend(per_second(rows).into_iter().chain(per_second(size)));
    if let Some(reading) = node.reading {
        // Rounded down, so that nothing shows 100 % too early.
        parts.push(format!("{:.0} % read", (reading.share * 100.0).floor()));
        parts.extend(reading.left.map(|left| format!("{} to read", elapsed(left))));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use daglight::Reading;

    use super::*;

    fn node(rows: u64) -> RunningNode {
        RunningNode {
            name: "risk".to_owned(),
            elapsed: Duration::from_secs(12),
            rows_read: rows,
            ..RunningNode::default()
        }
    }

    #[test]
    fn a_line_has_what_is_known() {
        assert_eq!(node_line(&node(0), None), "risk 12.0 s");
        let speed = Speed { rows: 103_000.4, bytes: 3_800_000.0 };
        let reading = Reading { share: 0.389, left: Some(Duration::from_secs(20)) };
        let busy = RunningNode {
            rows_written: 1,
            bytes_read: 45_000_000,
            reading: Some(reading),
            ..node(1_234_567)
        };
        assert_eq!(
            node_line(&busy, Some(speed)),
            "risk 12.0 s, 1,234,567 rows read, 1 row written, 45.0 MB read, 103,000 rows/s, 3.8 MB/s, 38 % read, \
             20.0 s to read"
        );
        let stall = Some("no progress for 31.0 s, waits for a source".to_owned());
        assert_eq!(
            node_line(&RunningNode { stall, ..busy }, Some(speed)),
            "risk 12.0 s, 1,234,567 rows read, 1 row written, 45.0 MB read, STALLED, no progress for 31.0 s, waits for \
             a source"
        );
    }

    #[test]
    fn speeds_are_those_of_the_last_seconds() {
        let (mut speeds, begun) = (Speeds::default(), Instant::now());
        let mut at = |second: u64, rows| {
            let speed = speeds.of(begun + Duration::from_secs(second), &[node(rows)])[0];
            speed.map(|speed| speed.rows)
        };
        assert_eq!(at(0, 0), None);
        assert_eq!(at(1, 50), Some(50.0));
        assert_eq!(at(4, 100), Some(50.0 / 3.0));
        assert_eq!(at(7, 100), Some(0.0));
        assert_eq!(speeds.of(begun, &[]), []);
        assert!(speeds.0.is_empty());
    }
}
