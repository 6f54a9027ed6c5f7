//! Ending the spans of a run whose process died before it could.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use daglight_guarded_files::{FileBelow, Line, Lines};
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value},
    trace::v1::{Span, Status, TracesData, status::StatusCode},
};
use serde::Deserialize;

use crate::{
    ReadError, SignalFiles, SpanStatus,
    lines::{MAX_LINE_BYTES, for_each_line},
    names::{Key, Namespace, key},
};

/// The `error.type` of a span that was open when its process died.
const PROCESS_ENDED: &str = "process_ended";

/// Why spans could not be ended.
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
        /// Why not.
        source: io::Error,
    },
}

/// Ends the spans that were open when the process of a run died: they are appended to the traces file as errors that
/// ended at `ended_at`, the time of the last sign of life. Gives their number; a run that ended by itself has none.
///
/// It reads the files as a stream, and keeps the ids of spans only. It must not be called while the run is going on.
///
/// # Errors
/// When a file cannot be read or written. Damaged lines are passed over, and a half-written last line is removed.
pub fn end_open_spans(
    files: &SignalFiles,
    namespace: &Namespace,
    ended_at: SystemTime,
) -> Result<u64, RecoverError> {
    let open_spans = files.open_spans();
    let mut unended = HashSet::new();
    let started = for_each_line(&open_spans, |line: SpanIds| {
        unended.extend(line.into_ids());
        Ok::<_, RecoverError>(())
    })?;
    if started.is_none() {
        return Ok(0);
    }
    for_each_line(&files.traces, |line: SpanIds| {
        for id in line.into_ids() {
            unended.remove(&id);
        }
        Ok::<_, RecoverError>(())
    })?;
    let ended = if unended.is_empty() { 0 } else { append(files, namespace, ended_at, &unended)? };
    FileBelow::at(&open_spans).remove().map_err(|source| RecoverError::Write { path: open_spans, source })?;
    Ok(ended)
}

fn append(
    files: &SignalFiles,
    namespace: &Namespace,
    ended_at: SystemTime,
    unended: &HashSet<String>,
) -> Result<u64, RecoverError> {
    let written = |source| RecoverError::Write { path: files.traces.clone(), source };
    let mut traces = open_at_last_line(&files.traces).map_err(written)?;
    let status = namespace.key(Key::Status);
    let ended_at = ended_at
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    let mut count = 0;
    for_each_line(&files.open_spans(), |mut data: TracesData| {
        for scope in data.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans) {
            scope.spans.retain(|span| unended.contains(&hexadecimal(&span.span_id)));
            scope.spans.iter_mut().for_each(|span| end(span, ended_at, &status));
            count += scope.spans.len() as u64;
        }
        data.resource_spans
            .retain(|resource| resource.scope_spans.iter().any(|scope| !scope.spans.is_empty()));
        if data.resource_spans.is_empty() {
            return Ok(());
        }
        let line = serde_json::to_vec(&data).map_err(io::Error::from);
        line.and_then(|mut line| {
            line.push(b'\n');
            traces.write_all(&line)
        })
        .map_err(written)
    })?;
    Ok(count)
}

fn end(span: &mut Span, ended_at: u64, status_key: &str) {
    let text = |key: &str, value: &str| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) }),
        ..KeyValue::default()
    };
    span.end_time_unix_nano = ended_at.max(span.start_time_unix_nano);
    span.status = Some(Status { message: "the process ended".to_owned(), code: StatusCode::Error.into() });
    span.attributes.push(text(key::ERROR_TYPE, PROCESS_ENDED));
    span.attributes.push(text(status_key, SpanStatus::Error.name()));
}

/// Opens the file for appending whole lines. The part of a line that may stand at its end is removed, unless only its
/// line feed is missing.
fn open_at_last_line(path: &Path) -> io::Result<File> {
    let mut file = FileBelow::at(path).append()?;
    let mut whole_bytes = 0;
    let mut lines = Lines::new(&file, MAX_LINE_BYTES);
    let ends_with_line_feed = loop {
        match lines.next()? {
            None => break true,
            Some(Line::Whole(line)) => whole_bytes += line.len() as u64 + 1,
            Some(Line::TooLong { bytes, ended: true }) => whole_bytes += bytes,
            Some(Line::TooLong { ended: false, .. }) => break false,
            Some(Line::Torn(line)) if serde_json::from_slice::<SpanIds>(line).is_ok() => break false,
            Some(Line::Torn(_)) => {
                file.set_len(whole_bytes)?;
                break true;
            }
        }
    };
    if !ends_with_line_feed {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A line of spans, of which only the ids are read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpanIds {
    resource_spans: Vec<ResourceSpanIds>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpanIds {
    scope_spans: Vec<ScopeSpanIds>,
}

#[derive(Deserialize)]
struct ScopeSpanIds {
    spans: Vec<SpanId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpanId {
    span_id: String,
}

impl SpanIds {
    fn into_ids(self) -> impl Iterator<Item = String> {
        self.resource_spans
            .into_iter()
            .flat_map(|resource| resource.scope_spans)
            .flat_map(|scope| scope.spans)
            .map(|span| span.span_id)
    }
}
