//! Completing the spans of a run whose process died.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use daglight_guarded_files::FileBelow;
use daglight_run_bundle::{SignalFiles, open_at_last_line};
use daglight_run_identity::hexadecimal;
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData, span::SpanKind, status::StatusCode},
};
use serde::Deserialize;

use crate::{
    lines::{ReadError, for_each_line},
    names::{self, Key, Namespace, PROCESS_ENDED, key, span},
    span_status::SpanStatus,
};

/// Why spans could not be completed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// What is known about a run whose process died, apart from its spans.
#[derive(Debug, Clone)]
pub struct KnownRun {
    /// The run's id.
    pub run_id: String,
    /// The DAG's name.
    pub dag_name: String,
    /// The trace's id, 32 hexadecimal digits.
    pub trace_id: String,
    /// The root span's id, 16 hexadecimal digits.
    pub root_span_id: String,
    /// When it started.
    pub started_at: SystemTime,
    /// How it ended, if that was recorded before the process died.
    pub end: Option<KnownEnd>,
    /// The last sign of life: used as the end of everything that is not known to have ended earlier.
    pub last_seen: SystemTime,
    /// The nodes that started, by name.
    pub nodes: BTreeMap<String, KnownNode>,
}

/// A node that started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownNode {
    /// When it started.
    pub started_at: SystemTime,
    /// How it ended, if that was recorded.
    pub end: Option<KnownEnd>,
}

/// An end that was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownEnd {
    /// The time.
    pub time: SystemTime,
    /// Whether it succeeded.
    pub succeeded: bool,
}

/// Completes the traces file of a run whose process died. Open spans are ended: those of the run and of nodes with their known end,
/// all others as errors at the time of the last sign of life. Nodes that are known to have started and have no span get one below
/// the root. Returns the number of appended spans; calling it again appends none.
///
/// It streams the files, and keeps only span ids and node names in memory. It must not be called while the run is going.
///
/// # Errors
/// When a file cannot be read or written. Damaged lines are skipped, and an incomplete last line is removed.
pub fn complete_spans(
    files: &SignalFiles,
    namespace: &Namespace,
    known: &KnownRun,
) -> Result<u64, RecoverError> {
    let recovery =
        Recovery { files, known, node_key: namespace.key(Key::Node), status_key: namespace.key(Key::Status) };
    recovery.run()
}

struct Recovery<'a> {
    files: &'a SignalFiles,
    known: &'a KnownRun,
    node_key: String,
    status_key: String,
}

impl Recovery<'_> {
    fn run(&self) -> Result<u64, RecoverError> {
        let open_spans = self.files.open_spans();
        let mut unended = HashSet::new();
        let mut missing: BTreeSet<&str> = self.known.nodes.keys().map(String::as_str).collect();
        let mut has_root = false;
        let mut see = |span: &SpanFacts| {
            has_root |= span.span_id == self.known.root_span_id;
            if span.name == span::NODE {
                span.text(&self.node_key).map(|node| missing.remove(node));
            }
        };
        // Read twice, first only for the ids and later for the spans: a killed run may have left more spans than fit into memory.
        let has_open = for_each_line(&open_spans, |line: Facts| {
            for span in line.into_spans() {
                see(&span);
                unended.insert(span.span_id);
            }
            Ok::<_, RecoverError>(())
        })?;
        for_each_line(&self.files.traces, |line: Facts| {
            for span in line.into_spans() {
                see(&span);
                // The traces file contains ended spans: the remaining ones are what the process was doing when it died.
                unended.remove(&span.span_id);
            }
            Ok::<_, RecoverError>(())
        })?;
        let mut appended = 0;
        let mut are_all_ended = true;
        if !unended.is_empty() || !missing.is_empty() || !has_root {
            // The last line may lack only its line feed: then its spans are complete.
            let is_line = |line: &[u8]| serde_json::from_slice::<Facts>(line).is_ok();
            let mut traces =
                open_at_last_line(&self.files.traces, is_line).map_err(|source| self.unwritable(source))?;
            // Appended before the removal below. If this process dies in between, the next call finds them ended and removes the
            // file.
            let ended = self.end_open(&mut traces, &unended)?;
            are_all_ended = unended.is_subset(&ended);
            appended += ended.len() as u64;
            let mut made: Vec<Span> = missing.into_iter().filter_map(|node| self.node_span(node)).collect();
            made.extend((!has_root).then(|| self.root_span()));
            appended += made.len() as u64;
            self.append_made(&mut traces, made)?;
        }
        // If a line cannot be read completely, the file is kept for a version that can.
        if has_open.is_some() && are_all_ended {
            FileBelow::at(&open_spans)
                .remove()
                .map_err(|source| RecoverError::Write { path: open_spans, source })?;
        }
        Ok(appended)
    }

    /// Appends the open spans with their ends, and returns their ids.
    fn end_open(
        &self,
        traces: &mut File,
        unended: &HashSet<String>,
    ) -> Result<HashSet<String>, RecoverError> {
        let mut ended = HashSet::new();
        for_each_line(&self.files.open_spans(), |mut data: TracesData| {
            for scope in data.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans) {
                scope.spans.retain(|span| unended.contains(&hexadecimal(&span.span_id)));
                scope.spans.iter_mut().for_each(|span| self.end(span, self.known_end(span)));
                ended.extend(scope.spans.iter().map(|span| hexadecimal(&span.span_id)));
            }
            data.resource_spans
                .retain(|resource| resource.scope_spans.iter().any(|scope| !scope.spans.is_empty()));
            if data.resource_spans.is_empty() { Ok(()) } else { self.append(traces, &data) }
        })?;
        Ok(ended)
    }

    fn known_end(&self, span: &Span) -> Option<KnownEnd> {
        if hexadecimal(&span.span_id) == self.known.root_span_id {
            return self.known.end;
        }
        let node = span.attributes.iter().find(|attribute| attribute.key == self.node_key);
        match node.and_then(|node| node.value.as_ref()?.value.as_ref()) {
            Some(any_value::Value::StringValue(node)) if span.name == span::NODE => {
                self.known.nodes.get(node)?.end
            }
            _ => None,
        }
    }

    fn end(&self, span: &mut Span, known: Option<KnownEnd>) {
        let time = known.map_or(self.known.last_seen, |end| end.time);
        // The last sign of life may be earlier than the start of the span: heartbeats are seconds apart.
        span.end_time_unix_nano = nanoseconds(time).max(span.start_time_unix_nano);
        let status = match known {
            Some(KnownEnd { succeeded: true, .. }) => {
                // JSON cannot omit the status, so an empty one is used instead.
                span.status.get_or_insert_default();
                SpanStatus::Ok
            }
            Some(_) => {
                span.status = Some(Status { message: String::new(), code: StatusCode::Error.into() });
                SpanStatus::Error
            }
            None => {
                let message = "the process ended".to_owned();
                span.status = Some(Status { message, code: StatusCode::Error.into() });
                span.attributes.push(text(key::ERROR_TYPE, PROCESS_ENDED));
                SpanStatus::Error
            }
        };
        span.attributes.push(text(&self.status_key, status.name()));
    }

    /// The span of a node that has none. Its id is derived from the run and the node.
    fn node_span(&self, node: &str) -> Option<Span> {
        let known = self.known.nodes.get(node)?;
        let trace_id = bytes_of(&self.known.trace_id);
        let mut span = Span {
            // Derived from the names instead of random: closing a run twice creates the same spans, which a backend recognises as
            // one.
            span_id: id_of(&trace_id, node).to_vec(),
            trace_id,
            parent_span_id: bytes_of(&self.known.root_span_id),
            name: span::NODE.to_owned(),
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: nanoseconds(known.started_at),
            attributes: self.run_attributes(),
            ..Span::default()
        };
        span.attributes.push(text(&self.node_key, node));
        self.end(&mut span, known.end);
        Some(span)
    }

    fn root_span(&self) -> Span {
        let mut span = Span {
            trace_id: bytes_of(&self.known.trace_id),
            span_id: bytes_of(&self.known.root_span_id),
            name: span::PIPELINE_EXECUTE.to_owned(),
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: nanoseconds(self.known.started_at),
            attributes: self.run_attributes(),
            ..Span::default()
        };
        self.end(&mut span, self.known.end);
        span
    }

    fn run_attributes(&self) -> Vec<KeyValue> {
        vec![
            text(key::HAMILTON_RUN_ID, &self.known.run_id),
            text(key::HAMILTON_DAG_NAME, &self.known.dag_name),
        ]
    }

    /// Appends newly created spans, with the same resource as the others.
    fn append_made(&self, traces: &mut File, spans: Vec<Span>) -> Result<(), RecoverError> {
        if spans.is_empty() {
            return Ok(());
        }
        // The resource of the dead process, from its own lines: this process may run elsewhere, with another version and another
        // name.
        let resource = match self.resource_of(&self.files.open_spans())? {
            Some(resource) => resource,
            None => self
                .resource_of(&self.files.traces)?
                .unwrap_or_else(|| Resource { attributes: self.run_attributes(), ..Resource::default() }),
        };
        let scope = Some(InstrumentationScope {
            name: names::SCOPE.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        });
        let scope_spans = vec![ScopeSpans { scope, spans, ..ScopeSpans::default() }];
        let resource_spans =
            vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }];
        self.append(traces, &TracesData { resource_spans })
    }

    fn resource_of(&self, path: &Path) -> Result<Option<Resource>, RecoverError> {
        let mut found = None;
        for_each_line(path, |line: Facts| {
            if found.is_none() {
                found = line.resource_spans.into_iter().find_map(|spans| spans.resource);
            }
            Ok::<_, RecoverError>(())
        })?;
        Ok(found)
    }

    fn append(&self, traces: &mut File, data: &TracesData) -> Result<(), RecoverError> {
        let line = serde_json::to_vec(data).map_err(io::Error::from);
        let written = line.and_then(|mut line| {
            line.push(b'\n');
            traces.write_all(&line)
        });
        written.map_err(|source| self.unwritable(source))
    }

    fn unwritable(&self, source: io::Error) -> RecoverError {
        RecoverError::Write { path: self.files.traces.clone(), source }
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) }),
        ..KeyValue::default()
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// The id of the span of a node: FNV-1a over the trace id and the node's name.
fn id_of(trace_id: &[u8], node: &str) -> [u8; 8] {
    // FNV-1a: the standard library does not guarantee a stable hash, and nobody gains from colliding two node names of one run.
    let hash = trace_id.iter().chain(node.as_bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // An id of zeros is invalid in OpenTelemetry.
    hash.max(1).to_be_bytes()
}

/// The bytes of hexadecimal digits; empty if they are not digits.
fn bytes_of(digits: &str) -> Vec<u8> {
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    digits.as_bytes().chunks(2).map(byte).collect::<Option<_>>().unwrap_or_default()
}

/// A line of spans, of which only the ids and the resource are read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Facts {
    resource_spans: Vec<ResourceFacts>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceFacts {
    #[serde(default)]
    resource: Option<Resource>,
    scope_spans: Vec<ScopeFacts>,
}

#[derive(Deserialize)]
struct ScopeFacts {
    spans: Vec<SpanFacts>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpanFacts {
    span_id: String,
    name: String,
    #[serde(default)]
    attributes: Vec<AttributeFacts>,
}

#[derive(Deserialize)]
struct AttributeFacts {
    key: String,
    #[serde(default)]
    value: TextFacts,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TextFacts {
    string_value: Option<String>,
}

impl Facts {
    fn into_spans(self) -> impl Iterator<Item = SpanFacts> {
        self.resource_spans
            .into_iter()
            .flat_map(|resource| resource.scope_spans)
            .flat_map(|scope| scope.spans)
    }
}

impl SpanFacts {
    fn text(&self, key: &str) -> Option<&str> {
        let attribute = self.attributes.iter().find(|attribute| attribute.key == key)?;
        attribute.value.string_value.as_deref()
    }
}
