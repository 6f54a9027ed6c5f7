//! How an input of the fuzz target holds the files of a bundle; the seeds are read by a test as well.

/// The files of a bundle, with the names by which an input lists them. The plan has the name by which the next run looks for it.
pub(crate) const FILES: [(&str, &str); 9] = [
    ("manifest", "manifest.json"),
    ("artifacts", "artifacts.json"),
    ("heartbeat", "heartbeat.json"),
    ("traces", "otel_traces.json"),
    ("metrics", "otel_metrics.json"),
    ("logs", "otel_logs.json"),
    ("plan", "plans/o_parquet-b292a1cf3f9d3255.json"),
    ("data", "data_summaries.jsonl"),
    ("outbox", "tracker/outbox.jsonl"),
];
