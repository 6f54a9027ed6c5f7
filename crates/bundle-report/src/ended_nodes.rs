//! How the nodes of a running run have ended so far, without the rest of its report.

use std::{collections::HashMap, fs};

use daglight_run_bundle::{Bundle, JsonLine, JsonLines, Manifest, SignalFiles, read_lines};
use daglight_semantic_conventions::{Key, Namespace, span};
use serde::de::IgnoredAny;

use crate::otlp::{Span, TracesLine};

/// The maximum number of nodes.
const MAX_NODES: usize = 20_000;
/// How many bytes of spans are read at a time. The rest is read by the next call, so that no call has to wait for gigabytes.
const MAX_BYTES: u64 = 64 << 20;

/// The nodes of a run that have ended, according to its spans: its manifest has them only after the end. Each call reads what was
/// written since the previous one, at most 64 MiB.
#[derive(Debug)]
pub struct EndedNodes {
    /// The attribute with the node of a span.
    node: String,
    /// How many bytes of the spans were already read.
    read: u64,
    ended: HashMap<String, Ended>,
}

/// The number of nodes by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndedCounts {
    /// Nodes that succeeded.
    pub succeeded: u64,
    /// Nodes that failed, and are not being retried.
    pub failed: u64,
}

/// The last attempt of a node that ended.
#[derive(Debug)]
struct Ended {
    span_id: String,
    end: u64,
    failed: bool,
}

impl EndedNodes {
    /// For the run of a manifest, of which nothing was read yet.
    pub fn new(manifest: &Manifest) -> Self {
        let node = Namespace::new(&*manifest.namespace).key(Key::Node);
        Self { node, read: 0, ended: HashMap::new() }
    }

    /// Continues reading, and returns how many nodes have ended. Unreadable parts are ignored.
    pub fn look(&mut self, bundle: &Bundle) -> EndedCounts {
        let size = fs::symlink_metadata(bundle.traces()).map_or(0, |metadata| metadata.len());
        if size < self.read {
            // It is a different file.
            (self.read, self.ended) = (0, HashMap::new());
        }
        if size > self.read {
            self.read_on(bundle);
        }
        let again = self.tried_again(bundle);
        let ended = self.ended.iter().filter(|(name, _)| !again.contains(name));
        let (failed, succeeded): (Vec<_>, Vec<_>) = ended.partition(|(_, ended)| ended.failed);
        EndedCounts { succeeded: succeeded.len() as u64, failed: failed.len() as u64 }
    }

    fn read_on(&mut self, bundle: &Bundle) {
        let Ok(mut lines) = JsonLines::open_at(&bundle.traces(), self.read) else { return };
        let until = self.read.saturating_add(MAX_BYTES);
        while self.read < until {
            let line = lines.next_with(|line| {
                // Most lines have no span of a node. For those only completeness matters.
                if !line.contains(span::NODE) {
                    return serde_json::from_str::<IgnoredAny>(line).map(drop);
                }
                serde_json::from_str::<TracesLine<'_>>(line)?.spans().for_each(|span| self.take(span));
                Ok(())
            });
            match line {
                // The rest of a torn line has yet to be written.
                Ok(Some(line)) if line.line != JsonLine::Torn => self.read += line.bytes,
                _ => break,
            }
        }
    }

    fn take(&mut self, span: &Span<'_>) {
        let Some(node) = self.node_of(span) else { return };
        if self.ended.len() >= MAX_NODES && !self.ended.contains_key(node) {
            return;
        }
        let end = span.end_time_unix_nano;
        if self.ended.get(node).is_none_or(|before| before.end <= end) {
            let span_id = span.span_id.clone().into_owned();
            self.ended.insert(node.to_owned(), Ended { span_id, end, failed: span.is_error() });
        }
    }

    /// The nodes that had ended and were started again.
    fn tried_again(&self, bundle: &Bundle) -> Vec<String> {
        let path = SignalFiles::from(bundle).open_spans();
        let mut again = Vec::new();
        if path.symlink_metadata().is_err() {
            return again;
        }
        read_lines(&path, |line| {
            for span in serde_json::from_str::<TracesLine<'_>>(line)?.spans() {
                // The file may be older than the spans that have ended.
                let is_later =
                    |ended: &Ended| ended.span_id != span.span_id && ended.end <= span.start_time_unix_nano;
                let node = self.node_of(span).filter(|node| self.ended.get(*node).is_some_and(is_later));
                again.extend(node.map(str::to_owned));
            }
            Ok(())
        });
        again
    }

    fn node_of<'s>(&self, span: &'s Span<'_>) -> Option<&'s str> {
        (span.name == span::NODE).then(|| span.attributes.text(&self.node))?
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use daglight_run_identity::RunId;

    use super::*;
    use crate::fixture::{self, SpanLine};

    #[test]
    fn nodes_count_once_they_have_ended_and_not_while_they_are_tried_again() {
        let out = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
        let mut nodes = EndedNodes::new(&fixture::manifest());
        let counts = |succeeded, failed| EndedCounts { succeeded, failed };
        assert_eq!(nodes.look(&bundle), counts(0, 0));
        let span =
            |node, id, start, end| SpanLine::new("hamilton.node", start, end).id(id).text("node", node);
        let append = |text: &str| {
            let mut file = fs::OpenOptions::new().create(true).append(true).open(bundle.traces()).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        append(&span("a", "1", 0, 5).line());
        append(&SpanLine::new("hamilton.stage", 0, 9).text("node", "b").line());
        assert_eq!(nodes.look(&bundle), counts(1, 0));
        // In two parts, as seen while it is being written.
        let line = span("b", "2", 5, 8).failed("reset").line();
        append(&line[..100]);
        assert_eq!(nodes.look(&bundle), counts(1, 0));
        append(&line[100..]);
        assert_eq!(nodes.look(&bundle), counts(1, 1));
        // Both in its ended form and as an open span, in a file that is slightly older.
        let open = SignalFiles::from(&bundle).open_spans();
        fs::write(&open, span("a", "1", 0, 0).open().line() + &span("b", "3", 9, 9).open().line()).unwrap();
        assert_eq!(nodes.look(&bundle), counts(1, 0));
        append(&span("b", "3", 9, 12).line());
        assert_eq!(nodes.look(&bundle), counts(2, 0));
        fs::write(bundle.traces(), span("c", "4", 0, 1).line()).unwrap();
        assert_eq!(nodes.look(&bundle), counts(1, 0));
    }
}
