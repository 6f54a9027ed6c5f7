//! What the report takes from the signal files, one line at a time.

mod last_seen;

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

use daglight_run_bundle::{Bundle, FileReading, SignalFiles, milliseconds, read_lines};
use daglight_semantic_conventions::{Key, Namespace, PROCESS_ENDED, key, span};

use crate::{
    coverage::Coverage,
    largest::Largest,
    open_spans::{OpenSpan, OpenSpans},
    otlp::Span,
    otlp_metrics::MetricsLine,
    problems::Problems,
    report::{ResourceSample, SpanReport, TimelineSpanKind},
    samples::Samples,
    seen_statement::SeenStatement,
    self_time::SelfTimes,
    shown_spans::{ShownSpan, ShownSpans},
    slow_span::SlowSpan,
    trace_lines::{RunLines, read_records, read_spans},
};

/// Nodes, stages and open plannings that are kept apart; a run with more is reported without the rest.
const MAX_NODES: usize = 20_000;
const MAX_STAGES: usize = 500;
const MAX_PLANNINGS: usize = 10_000;
const SLOWEST_SPANS: usize = 20;
pub(crate) const SLOWEST_QUERIES: usize = 20;

/// The signals of a run, in bounded memory.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Whether the root span was ended by who found the run killed.
    pub(crate) root_is_closed_for_it: bool,
    pub(crate) nodes: HashMap<String, SeenNode>,
    /// The node that each span of a node is of.
    pub(crate) node_of_span: HashMap<String, String>,
    pub(crate) stages: HashMap<String, SeenStage>,
    /// When stages ran that belong to no node.
    pub(crate) setup: Coverage,
    /// The statement without a node that took longest, with its nanoseconds.
    pub(crate) longest_setup: Option<(u64, SeenStatement)>,
    pub(crate) slowest: Largest<SlowSpan>,
    pub(crate) queries: Largest<SeenQuery>,
    pub(crate) query_count: u64,
    /// What the queries of each node have read, and of all queries.
    pub(crate) reads: HashMap<String, SeenReads>,
    pub(crate) all_reads: SeenReads,
    plannings: HashMap<String, u64>,
    /// What the timeline shows.
    pub(crate) shown: ShownSpans,
    /// Spans that have not ended.
    pub(crate) open: OpenSpans<OpenSpan>,
    self_times: SelfTimes,
    /// The process at each beat, with the nanoseconds of the beat.
    pub(crate) resources: Samples<(u64, ResourceSample)>,
    /// The latest known values of the process: a beat leaves out the values that did not change since an earlier one.
    last_sample: ResourceSample,
    pub(crate) span_count: u64,
    pub(crate) record_count: u64,
    /// When the first span started and the last ended.
    pub(crate) extent: Option<(u64, u64)>,
    pub(crate) problems: Problems,
    pub(crate) files: Vec<FileReading>,
}

/// A span's time and outcome.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SeenSpan {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) failed: bool,
}

/// A node, over all its spans.
#[derive(Debug, Default)]
pub(crate) struct SeenNode {
    pub(crate) span: Option<SeenSpan>,
    /// When it started, if it has not ended.
    pub(crate) open_since: Option<u64>,
    /// Whether its last span was ended by who found the run killed, because nothing proves that the run ended it itself.
    pub(crate) is_closed_for_it: bool,
    pub(crate) rows: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) error: Option<String>,
}

/// What queries have read, over all their spans.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct SeenReads {
    /// Whether any of the spans says it; older ones do not.
    pub(crate) says_reads: bool,
    pub(crate) queries: u64,
    pub(crate) rows_read: u64,
    /// Queries of which not every scan counts its rows.
    pub(crate) uncounted: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_spilled: u64,
}

impl SeenReads {
    fn add(&mut self, rows_read: Option<u64>, bytes_read: u64, bytes_spilled: u64) {
        self.says_reads |= rows_read.is_some();
        self.queries += 1;
        self.uncounted += u64::from(rows_read.is_none());
        self.rows_read = self.rows_read.saturating_add(rows_read.unwrap_or(0));
        self.bytes_read = self.bytes_read.saturating_add(bytes_read);
        self.bytes_spilled = self.bytes_spilled.saturating_add(bytes_spilled);
    }
}

/// A stage, over all its spans.
#[derive(Debug, Default)]
pub(crate) struct SeenStage {
    pub(crate) coverage: Coverage,
    pub(crate) longest: u64,
    pub(crate) spans: u64,
    pub(crate) slow: u64,
    pub(crate) errors: u64,
    /// Spans that have not ended.
    pub(crate) open: u64,
}

impl SeenStage {
    fn add(&mut self, start: u64, end: u64) {
        self.coverage.add(start, end);
        self.longest = self.longest.max(end - start);
        self.spans += 1;
    }
}

/// A query's execution.
#[derive(Debug)]
pub(crate) struct SeenQuery {
    pub(crate) query_id: String,
    pub(crate) node: Option<String>,
    pub(crate) parent_span_id: String,
    pub(crate) plan_hash: Option<String>,
    pub(crate) source_tables: Vec<String>,
    pub(crate) duration: u64,
    pub(crate) planning: Option<u64>,
    pub(crate) rows: Option<u64>,
    pub(crate) rows_read: Option<u64>,
    pub(crate) failed: bool,
}

/// The attribute keys under the run's namespace, joined once.
struct Keys {
    prefix: String,
    node: String,
    stage: String,
    row_count: String,
    bytes: String,
    query_id: String,
    plan_hash: String,
    source_tables: String,
    rows_read: String,
    bytes_read: String,
    bytes_spilled: String,
    slow: String,
    task: String,
    operator: String,
    cpu_seconds: String,
    resident_bytes: String,
    memory_reserved: String,
    io_bytes_read: String,
    io_bytes_written: String,
    active_tasks: String,
}

impl Keys {
    fn of(namespace: &Namespace) -> Self {
        Self {
            prefix: namespace.join(""),
            node: namespace.key(Key::Node),
            stage: namespace.key(Key::Stage),
            row_count: namespace.key(Key::RowCount),
            bytes: namespace.key(Key::Bytes),
            query_id: namespace.key(Key::QueryId),
            plan_hash: namespace.key(Key::PlanHash),
            source_tables: namespace.key(Key::SourceTables),
            rows_read: namespace.key(Key::RowsRead),
            bytes_read: namespace.key(Key::BytesRead),
            bytes_spilled: namespace.key(Key::BytesSpilled),
            slow: namespace.key(Key::Slow),
            task: namespace.key(Key::Task),
            operator: namespace.key(Key::Operator),
            cpu_seconds: namespace.key(Key::ProcessCpuSeconds),
            resident_bytes: namespace.key(Key::ProcessResidentBytes),
            memory_reserved: namespace.key(Key::MemoryReserved),
            io_bytes_read: namespace.key(Key::IoBytesRead),
            io_bytes_written: namespace.key(Key::IoBytesWritten),
            active_tasks: namespace.key(Key::ActiveTasks),
        }
    }
}

impl Signals {
    /// Reads the three files of a bundle. What cannot be of the run is damaged.
    pub(crate) fn read(bundle: &Bundle, namespace: &Namespace, of: RunLines<'_>) -> Self {
        let keys = Keys::of(namespace);
        let mut signals = Self {
            root_is_closed_for_it: false,
            nodes: HashMap::new(),
            node_of_span: HashMap::new(),
            stages: HashMap::new(),
            setup: Coverage::default(),
            longest_setup: None,
            slowest: Largest::new(SLOWEST_SPANS),
            queries: Largest::new(SLOWEST_QUERIES),
            query_count: 0,
            reads: HashMap::new(),
            all_reads: SeenReads::default(),
            plannings: HashMap::new(),
            shown: ShownSpans::default(),
            open: OpenSpans::default(),
            self_times: SelfTimes::default(),
            resources: Samples::default(),
            last_sample: ResourceSample::default(),
            span_count: 0,
            record_count: 0,
            extent: None,
            problems: Problems::default(),
            files: Vec::new(),
        };
        // First, because in the other file a span stands when it has ended.
        let (open, unreadable) =
            OpenSpans::read(&SignalFiles::from(bundle).open_spans(), of, |span| open_span(span, &keys));
        signals.open = open;
        let traces = read_spans(&bundle.traces(), of, |span| signals.take_span(span, &keys));
        let metrics =
            // Nothing of the report is made of metrics. They are read for their damages alone, which the list of files
            // shows.
            read_lines(&bundle.metrics(), |line| of.check_metrics(&serde_json::from_str::<MetricsLine<'_>>(line)?));
        let logs = read_records(&bundle.logs(), of, |record| {
            signals.record_count += 1;
            signals.problems.add_record(record, &keys.node, |key| keys.is_context(key));
        });
        signals.files = [traces, metrics, logs].into_iter().chain(unreadable).collect();
        signals
    }

    fn take_span(&mut self, span: &Span<'_>, keys: &Keys) {
        self.span_count += 1;
        self.open.ended(&span.span_id);
        let seen = SeenSpan {
            start: span.start_time_unix_nano,
            end: span.end_time_unix_nano.max(span.start_time_unix_nano),
            failed: span.is_error(),
        };
        if seen.start > 0 {
            // A start of 0 is an unknown one, and would move the beginning of the run to 1970.
            let (start, end) = self.extent.unwrap_or((seen.start, seen.end));
            self.extent = Some((start.min(seen.start), end.max(seen.end)));
        }
        let node = span.attributes.text(&keys.node);
        if seen.failed {
            self.problems.add_span(span, node, key::ERROR_TYPE);
        }
        self.take_shown(span, node, seen, keys);
        if span.name == span::HEARTBEAT {
            let sample = keys.sample(span).after(&self.last_sample);
            self.last_sample = sample.clone();
            self.resources.add((seen.start, sample));
        }
        if !is_timed(span) {
            return;
        }
        let self_nanoseconds =
            self.self_times.take(&span.span_id, &span.parent_span_id, seen.start, seen.end);
        self.take_stage(span, seen, keys);
        if is_setup(span, node) {
            self.setup.add(seen.start, seen.end);
        }
        self.take_statement(seen.end - seen.start, SeenStatement::of(span, node, &keys.stage));
        match span.name.as_ref() {
            span::PIPELINE_EXECUTE => {
                self.root_is_closed_for_it = is_closed_for_it(span);
                return;
            }
            span::NODE => self.take_node(span, node, seen, keys),
            span::PLAN => self.take_planning(span, keys),
            span::EXECUTE | span::WRITE => self.take_query(span, node, seen, keys),
            _ => {}
        }
        self.slowest.offer(span.duration_nanoseconds(), || {
            let slow = slow_span(span, node, keys);
            let report = SpanReport {
                duration_ms: milliseconds::of_nanoseconds(span.duration_nanoseconds()),
                self_ms: self_nanoseconds.map(milliseconds::of_nanoseconds),
                rows: span.attributes.count(&keys.row_count),
                failed: seen.failed,
                open: false,
                ..slow.report
            };
            SlowSpan { report, ..slow }
        });
    }

    fn take_statement(&mut self, nanoseconds: u64, statement: Option<SeenStatement>) {
        let is_longest = self.longest_setup.as_ref().is_none_or(|(longest, _)| *longest < nanoseconds);
        if let Some(statement) = statement.filter(|_| is_longest) {
            self.longest_setup = Some((nanoseconds, statement));
        }
    }

    /// What the timeline shows, besides the nodes: they are in the manifest as well.
    fn take_shown(&mut self, span: &Span<'_>, node: Option<&str>, seen: SeenSpan, keys: &Keys) {
        // Nobody knows where on the timeline it stands.
        if seen.start == 0 {
            return;
        }
        let Some((kind, key)) = shown_kind(span, keys) else { return };
        self.shown.offer(kind, (seen.start, seen.end), seen.failed, || ShownSpan {
            end: seen.end,
            failed: seen.failed,
            ..shown_span(span, kind, key, node)
        });
    }

    fn take_stage(&mut self, span: &Span<'_>, seen: SeenSpan, keys: &Keys) {
        let Some(stage) = span.attributes.text(&keys.stage) else { return };
        let Some(stage) = entry(&mut self.stages, stage, MAX_STAGES) else { return };
        stage.add(seen.start, seen.end);
        stage.slow += u64::from(span.attributes.flag(&keys.slow));
        stage.errors += u64::from(seen.failed);
    }

    fn take_node(&mut self, span: &Span<'_>, node: Option<&str>, seen: SeenSpan, keys: &Keys) {
        let Some(node) = node else { return };
        if self.node_of_span.len() < MAX_NODES {
            self.node_of_span.insert(span.span_id.clone().into_owned(), node.to_owned());
        }
        let Some(known) = entry(&mut self.nodes, node, MAX_NODES) else { return };
        // A node that ran twice was running from its first start to its last end, and ended as it ended last.
        let before = known.span.unwrap_or(seen);
        known.span = Some(SeenSpan {
            start: before.start.min(seen.start),
            end: before.end.max(seen.end),
            failed: if seen.end >= before.end { seen.failed } else { before.failed },
        });
        if seen.end >= before.end {
            known.is_closed_for_it = is_closed_for_it(span);
        }
        known.rows = span.attributes.count(&keys.row_count).or(known.rows);
        known.bytes = span.attributes.count(&keys.bytes).or(known.bytes);
        if seen.failed {
            known.error = span.status.as_ref().map(|status| status.message.clone().into_owned());
        }
    }

    fn take_planning(&mut self, span: &Span<'_>, keys: &Keys) {
        if let Some(query_id) = span.attributes.get(&keys.query_id)
            && self.plannings.len() < MAX_PLANNINGS
        {
            self.plannings.insert(query_id.to_string(), span.duration_nanoseconds());
        }
    }

    fn take_query(&mut self, span: &Span<'_>, node: Option<&str>, seen: SeenSpan, keys: &Keys) {
        self.query_count += 1;
        let attributes = &span.attributes;
        let query_id = attributes.get(&keys.query_id).map(ToString::to_string).unwrap_or_default();
        // Taken out, so that the map holds the queries that were planned and have not ended: its bound then suffices
        // for runs of any length.
        let planning = self.plannings.remove(&query_id);
        let rows_read = attributes.count(&keys.rows_read);
        let bytes_read = attributes.count(&keys.bytes_read).unwrap_or(0);
        let bytes_spilled = attributes.count(&keys.bytes_spilled).unwrap_or(0);
        self.all_reads.add(rows_read, bytes_read, bytes_spilled);
        if let Some(reads) = node.and_then(|node| entry(&mut self.reads, node, MAX_NODES)) {
            reads.add(rows_read, bytes_read, bytes_spilled);
        }
        self.queries.offer(span.duration_nanoseconds(), || SeenQuery {
            query_id,
            node: node.map(str::to_owned),
            parent_span_id: span.parent_span_id.clone().into_owned(),
            plan_hash: attributes.text(&keys.plan_hash).map(str::to_owned),
            source_tables: attributes.texts(&keys.source_tables),
            duration: span.duration_nanoseconds(),
            planning,
            rows: attributes.count(&keys.row_count),
            rows_read,
            failed: seen.failed,
        });
    }
}

impl Keys {
    /// What a beat says of its process. When it was is filled in where the start of the run is known.
    fn sample(&self, beat: &Span<'_>) -> ResourceSample {
        let attributes = &beat.attributes;
        ResourceSample {
            at_ms: 0.0,
            cpu_seconds: attributes.number(&self.cpu_seconds).filter(|seconds| seconds.is_finite()),
            resident_bytes: attributes.count(&self.resident_bytes),
            reserved_bytes: attributes.count(&self.memory_reserved),
            io_bytes_read: attributes.count(&self.io_bytes_read),
            io_bytes_written: attributes.count(&self.io_bytes_written),
            active_tasks: attributes.count(&self.active_tasks),
        }
    }

    /// Attributes of a log record that say where it comes from, and not what happened.
    fn is_context(&self, key: &str) -> bool {
        key.starts_with(&self.prefix)
            || ["code.", "thread.", "hamilton.", "log.", "exception."]
                .iter()
                .any(|prefix| key.starts_with(prefix))
            || key == "target"
    }
}

/// What a span is on the timeline, and the key of its name there.
fn shown_kind<'k>(span: &Span<'_>, keys: &'k Keys) -> Option<(TimelineSpanKind, &'k str)> {
    Some(match span.name.as_ref() {
        span::STAGE => (TimelineSpanKind::Stage, &keys.stage),
        span::TASK => (TimelineSpanKind::Stage, &keys.task),
        span::EXECUTE | span::WRITE => (TimelineSpanKind::Query, &keys.query_id),
        span::OPERATOR => (TimelineSpanKind::Operator, &keys.operator),
        _ => return None,
    })
}

/// A span on the timeline, without its end.
fn shown_span(span: &Span<'_>, kind: TimelineSpanKind, key: &str, node: Option<&str>) -> ShownSpan {
    let name = span.attributes.get(key).map(ToString::to_string);
    ShownSpan {
        kind,
        name: name.filter(|name| !name.is_empty()).unwrap_or_else(|| span.name.clone().into_owned()),
        node: node.map(str::to_owned),
        parent_span_id: span.parent_span_id.clone().into_owned(),
        start: span.start_time_unix_nano,
        end: span.start_time_unix_nano,
        failed: false,
        is_open: false,
    }
}

/// What is kept of a span that has not ended.
fn open_span(span: &Span<'_>, keys: &Keys) -> Option<OpenSpan> {
    let node = span.attributes.text(&keys.node);
    let shown = shown_kind(span, keys);
    let shown = shown.map(|(kind, key)| ShownSpan { is_open: true, ..shown_span(span, kind, key, node) });
    let is_ranked = is_timed(span) && span.name != span::PIPELINE_EXECUTE;
    let slow = is_ranked.then(|| slow_span(span, node, keys));
    (shown.is_some() || slow.is_some()).then(|| OpenSpan {
        start: span.start_time_unix_nano,
        node: node.filter(|_| span.name == span::NODE).map(str::to_owned),
        is_setup: is_setup(span, node),
        statement: SeenStatement::of(span, node, &keys.stage),
        shown,
        slow,
    })
}

/// A span among the slowest, without its end.
fn slow_span(span: &Span<'_>, node: Option<&str>, keys: &Keys) -> SlowSpan {
    SlowSpan {
        parent_span_id: span.parent_span_id.clone().into_owned(),
        start: span.start_time_unix_nano,
        report: SpanReport {
            name: span.name.clone().into_owned(),
            span_id: span.span_id.clone().into_owned(),
            node: node.map(str::to_owned),
            stage: span.attributes.text(&keys.stage).map(str::to_owned),
            start_ms: 0.0,
            duration_ms: 0.0,
            self_ms: None,
            rows: None,
            failed: false,
            open: true,
        },
    }
}

/// Whether the time of a span says something. Operators are a part of their query, and how long they lived says little.
fn is_timed(span: &Span<'_>) -> bool {
    ![span::HEARTBEAT, span::OPERATOR].contains(&span.name.as_ref())
}

/// Whether a span is work of the run: stages and queries that belong to no node are.
fn is_setup(span: &Span<'_>, node: Option<&str>) -> bool {
    node.is_none() && [span::STAGE, span::PLAN, span::EXECUTE, span::WRITE].contains(&span.name.as_ref())
}

/// Whether a span was ended later, because its process had died.
fn is_closed_for_it(span: &Span<'_>) -> bool {
    span.attributes.text(key::ERROR_TYPE) == Some(PROCESS_ENDED)
}

/// The entry of a key, made when there is room for one more.
pub(crate) fn entry<'m, K, Q, T>(map: &'m mut HashMap<K, T>, key: &Q, limit: usize) -> Option<&'m mut T>
where
    K: Borrow<Q> + Eq + Hash,
    Q: ToOwned<Owned = K> + Eq + Hash + ?Sized,
    T: Default,
{
    if !map.contains_key(key) {
        // The first ones are kept and not the largest: which ones those will be is known only at the end.
        if map.len() >= limit {
            return None;
        }
        map.insert(key.to_owned(), T::default());
    }
    map.get_mut(key)
}

#[cfg(test)]
mod tests {
    use daglight_run_identity::RunId;

    use super::*;
    use crate::fixture::{self, SpanLine};

    fn of_run() -> RunLines<'static> {
        RunLines::new(crate::trace_lines::RunTimes::of(None, fixture::start()), None, "")
    }

    fn read(lines: &[String]) -> Signals {
        let out = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
        std::fs::write(bundle.traces(), lines.concat()).unwrap();
        std::fs::write(bundle.logs(), fixture::log_line(17, "disk is full")).unwrap();
        std::fs::write(bundle.metrics(), "{\"resourceMetrics\":[]}\n").unwrap();
        Signals::read(&bundle, &Namespace::default(), of_run())
    }

    #[test]
    fn nodes_stages_and_queries_are_distinguished() {
        let signals = read(&[
            SpanLine::new("datafusion.plan", 1, 2).text("query_id", "q1").line(),
            SpanLine::new("datafusion.execute", 2, 8).text("query_id", "q1").parent("n1").line(),
            SpanLine::new("hamilton.node", 0, 10)
                .id("n1")
                .text("node", "orders")
                .count("row_count", 7)
                .line(),
            SpanLine::new("hamilton.stage", 20, 30).text("stage", "write").line(),
            SpanLine::new("hamilton.stage", 25, 40).text("stage", "write").failed("disk full").line(),
            SpanLine::new("build.heartbeat", 0, 50).line(),
            SpanLine::new("pipeline.execute", 0, 45).line(),
        ]);
        assert_eq!((signals.span_count, signals.record_count, signals.query_count), (7, 1, 1));
        assert_eq!(signals.nodes["orders"].rows, Some(7));
        assert_eq!(signals.node_of_span.get("n1").map(String::as_str), Some("orders"));
        let query = signals.queries.into_items().next().unwrap();
        assert_eq!((query.planning, query.duration), (Some(1_000_000), 6_000_000));
        let mut stages = signals.stages;
        let write = stages.get_mut("write").unwrap();
        assert_eq!((write.coverage.total(), write.spans, write.errors), (20_000_000, 2, 1));
        let slowest: Vec<_> = signals.slowest.into_items().map(|slow| slow.report.name).collect();
        assert_eq!(slowest[..2], ["hamilton.stage", "hamilton.node"]);
        assert!(!slowest.iter().any(|name| name == "pipeline.execute" || name == "build.heartbeat"));
        assert_eq!(signals.problems.errors, 2);
        assert!(signals.files.iter().all(FileReading::is_whole));
    }

    #[test]
    fn a_node_that_was_run_again_ends_as_it_ended_last() {
        let attempt = |start, end| SpanLine::new("hamilton.node", start, end).text("node", "orders");
        let signals = read(&[attempt(0, 2).failed("reset").line(), attempt(3, 9).line()]);
        let span = signals.nodes["orders"].span.unwrap();
        assert_eq!((span.end - span.start, span.failed), (9_000_000, false));
    }

    #[test]
    fn a_file_cut_at_any_byte_is_read_up_to_there() {
        let out = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
        let node = |name| SpanLine::new("hamilton.node", 0, 10).text("node", name).failed("reset").line();
        let whole = [node("orders"), node("Größe \"x\""), node("lines")].concat().into_bytes();
        for length in 0..=whole.len() {
            std::fs::write(bundle.traces(), &whole[..length]).unwrap();
            let signals = Signals::read(&bundle, &Namespace::default(), of_run());
            let whole_lines = whole[..length].iter().filter(|byte| **byte == b'\n').count() as u64;
            let reading = &signals.files[0];
            assert_eq!((reading.size_bytes, reading.unreadable_lines), (length as u64, 0));
            assert!((whole_lines..=whole_lines + 1).contains(&reading.lines), "cut at {length}: {reading:?}");
            assert_eq!(reading.is_whole(), reading.torn_bytes == 0, "cut at {length}: {reading:?}");
            assert_eq!(signals.span_count, reading.lines);
        }
    }
}
