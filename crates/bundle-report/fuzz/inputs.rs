//! How an input of the fuzz target holds the files of a bundle; the seeds are read by a test as well.

/// The files of a bundle, with the names by which an input lists them.
pub(crate) const FILES: [(&str, &str); 9] = [
    ("manifest", "manifest.json"),
    ("artifacts", "artifacts.json"),
    ("heartbeat", "heartbeat.json"),
    ("traces", "otel_traces.json"),
    ("metrics", "otel_metrics.json"),
    ("logs", "otel_logs.json"),
    ("plan", "plans/a-0123456789abcdef.json"),
    ("data", "data_summaries.jsonl"),
    ("outbox", "tracker/outbox.jsonl"),
];
