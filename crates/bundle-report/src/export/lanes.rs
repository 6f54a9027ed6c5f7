//! Lanes: rows on which spans are adjacent or nested, and never overlap partially.
//!
//! Viewers draw the content of a row as the calls of a stack. Spans of one node that run in parallel get separate lanes.

use std::collections::HashMap;

use daglight_run_bundle::{Bundle, FileReading, SignalFiles};
use daglight_semantic_conventions::{Key, Namespace, span};
use serde_json::{Map, Value};

use super::{Exported, unended::Unended};
use crate::{
    otlp::Span,
    trace_lines::{RunLines, read_spans},
};

/// The maximum number of exported spans: 2,000,000, with about 60 bytes each in memory.
const MAX_SPANS: usize = 2_000_000;
/// The maximum number of groups and names.
const MAX_NAMES: usize = 200_000;
/// The group of spans without a node.
const RUN: &str = "run";

/// A span without its attributes.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaidSpan {
    pub(super) start: u64,
    pub(super) end: u64,
    /// Its name, as an index into [`Lanes::names`].
    pub(super) name: u32,
    group: u32,
    pub(super) lane: u32,
}

/// The spans of a run, each on a lane.
#[derive(Debug)]
pub(super) struct Lanes {
    /// In file order, followed by those that have not ended.
    pub(super) spans: Vec<LaidSpan>,
    /// The details of spans that have not ended.
    pub(super) unended: Vec<SpanDetails>,
    /// When the first span or beat starts, in nanoseconds since 1970.
    pub(super) begin: u64,
    pub(super) names: Vec<String>,
    /// The group of each lane: a node, or the run.
    pub(super) lanes: Vec<String>,
    left_out: u64,
    file: FileReading,
    open_file: Option<FileReading>,
}

/// The details of a span.
#[derive(Debug)]
pub(super) struct SpanDetails {
    pub(super) kind: String,
    pub(super) attributes: Map<String, Value>,
}

impl SpanDetails {
    pub(super) fn of(span: &Span<'_>) -> Self {
        let attributes = span.attributes.iter();
        let mut attributes: Map<String, Value> =
            attributes.map(|(key, value)| (key.to_owned(), value.to_string().into())).collect();
        attributes.insert("span_id".into(), span.span_id.clone().into());
        if let Some(status) = span.status.as_ref().filter(|_| span.is_error()) {
            attributes.insert("error".into(), status.message.clone().into());
        }
        Self { kind: span.name.clone().into_owned(), attributes }
    }
}

/// Texts by the order in which they came.
#[derive(Default)]
struct Names {
    positions: HashMap<String, u32>,
    texts: Vec<String>,
}

impl Names {
    /// The index of a text; that of the first one if there are too many.
    fn position(&mut self, text: &str) -> u32 {
        if let Some(position) = self.positions.get(text) {
            return *position;
        }
        // The first name then replaces all others. A viewer with that many would not be usable anyway.
        if self.texts.len() >= MAX_NAMES {
            return 0;
        }
        let position = self.texts.len() as u32;
        self.positions.insert(text.to_owned(), position);
        self.texts.push(text.to_owned());
        position
    }
}

/// Whether a span is exported: beats are not, they become counters.
pub(super) fn is_exported(span: &Span<'_>) -> bool {
    span.name != span::HEARTBEAT && span.start_time_unix_nano > 0
}

/// The name of a span in a viewer: its node, operator, stage or task.
pub(super) fn name_of(span: &Span<'_>, namespace: &Namespace) -> String {
    let key = match span.name.as_ref() {
        span::NODE => Key::Node,
        span::OPERATOR => Key::Operator,
        span::STAGE => Key::Stage,
        span::TASK => Key::Task,
        _ => return span.name.clone().into_owned(),
    };
    match span.attributes.text(&namespace.key(key)) {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => span.name.clone().into_owned(),
    }
}

impl Lanes {
    pub(super) fn read(bundle: &Bundle, namespace: &Namespace, of: RunLines<'_>) -> Self {
        let mut laying = Laying::new(namespace);
        let mut unended = Unended::read(bundle, of);
        let file = read_spans(&bundle.traces(), of, |span| {
            unended.seen(span);
            laying.add(span, span.end_time_unix_nano);
        });
        let mut details = Vec::new();
        if !unended.is_empty() {
            read_spans(&SignalFiles::from(bundle).open_spans(), of, |span| {
                let end = unended.end_of(span.start_time_unix_nano);
                if unended.contains(&span.span_id) && laying.add(span, end) {
                    details.push(SpanDetails::of(span));
                }
            });
        }
        let Laying { names, groups, mut spans, left_out, begin, .. } = laying;
        // When all are known: the lane of a span depends on the spans around it, which may come after it in the file.
        let lanes = lay(&mut spans).into_iter().map(|group| groups.texts[group as usize].clone()).collect();
        Self {
            spans,
            unended: details,
            begin: begin.unwrap_or(0),
            names: names.texts,
            lanes,
            left_out,
            file,
            open_file: unended.damaged(),
        }
    }

    /// The result if everything is written.
    pub(super) fn exported(&self) -> Exported {
        Exported {
            items: self.spans.len() as u64,
            left_out: self.left_out,
            unended: self.unended.len() as u64,
            file: self.file.clone(),
            open_file: self.open_file.clone(),
        }
    }

    /// The indices of the spans, by lane, with outer spans before inner ones.
    pub(super) fn in_order(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.spans.len() as u32).collect();
        order.sort_by_key(|position| {
            let span = &self.spans[*position as usize];
            (span.lane, span.start, std::cmp::Reverse(span.end), std::cmp::Reverse(*position))
        });
        order
    }
}

/// The spans as they are read.
struct Laying<'n> {
    namespace: &'n Namespace,
    node_key: String,
    names: Names,
    groups: Names,
    spans: Vec<LaidSpan>,
    left_out: u64,
    begin: Option<u64>,
}

impl<'n> Laying<'n> {
    fn new(namespace: &'n Namespace) -> Self {
        let mut groups = Names::default();
        groups.position(RUN);
        Self {
            namespace,
            node_key: namespace.key(Key::Node),
            names: Names::default(),
            groups,
            spans: Vec::new(),
            left_out: 0,
            begin: None,
        }
    }

    /// Adds a span, and returns whether it is exported.
    fn add(&mut self, span: &Span<'_>, end: u64) -> bool {
        let start = span.start_time_unix_nano;
        if start > 0 {
            self.begin = Some(self.begin.map_or(start, |begin| begin.min(start)));
        }
        if !is_exported(span) {
            return false;
        }
        if self.spans.len() >= MAX_SPANS {
            self.left_out += 1;
            return false;
        }
        let group = self.groups.position(span.attributes.text(&self.node_key).unwrap_or(RUN));
        let name = self.names.position(&name_of(span, self.namespace));
        // An end of 0 is unknown.
        self.spans.push(LaidSpan { start, end: end.max(start), name, group, lane: 0 });
        true
    }
}

/// Assigns a lane to each span, and returns the group of each lane.
fn lay(spans: &mut [LaidSpan]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..spans.len() as u32).collect();
    // A parent ends after its children, and comes after them in the file.
    order.sort_by_key(|position| {
        let span = &spans[*position as usize];
        (span.group, span.start, std::cmp::Reverse(span.end), std::cmp::Reverse(*position))
    });
    let mut groups: Vec<u32> = Vec::new();
    let mut first = 0;
    // The ends of the open spans on each lane of the group, innermost last.
    let mut open: Vec<Vec<u64>> = Vec::new();
    for position in order {
        let span = spans[position as usize];
        if groups.last() != Some(&span.group) {
            first = groups.len();
            open.clear();
        }
        // On the first lane where it is nested in the open spans, or after all of them: viewers draw only nested spans.
        let fits = |ends: &mut Vec<u64>| {
            while ends.last().is_some_and(|end| *end <= span.start) {
                ends.pop();
            }
            ends.last().is_none_or(|end| *end >= span.end)
        };
        let lane = open.iter_mut().position(fits).unwrap_or_else(|| {
            open.push(Vec::new());
            groups.push(span.group);
            open.len() - 1
        });
        open[lane].push(span.end);
        spans[position as usize].lane = (first + lane) as u32;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(spans: &[(u32, u64, u64)]) -> (Vec<u32>, Vec<u32>) {
        let mut laid: Vec<LaidSpan> = spans
            .iter()
            .map(|(group, start, end)| LaidSpan { start: *start, end: *end, name: 0, group: *group, lane: 9 })
            .collect();
        let groups = lay(&mut laid);
        (laid.iter().map(|span| span.lane).collect(), groups)
    }

    #[test]
    fn what_crosses_has_another_lane() {
        // Nested, after, and in another group.
        assert_eq!(lanes(&[(0, 1, 3), (0, 3, 9), (0, 0, 10), (1, 0, 5)]), (vec![0, 0, 0, 1], vec![0, 1]));
        // At the same time.
        assert_eq!(lanes(&[(0, 0, 5), (0, 4, 9), (0, 6, 7)]), (vec![0, 1, 0], vec![0, 0]));
        assert_eq!(lanes(&[(3, 2, 2), (3, 2, 2), (3, 0, 2)]), (vec![0, 0, 0], vec![3]));
        assert_eq!(lanes(&[]), (vec![], vec![]));
    }
}
