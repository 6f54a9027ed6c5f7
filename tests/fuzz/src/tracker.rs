//! The files of a `tracker` folder, and a tracking server that takes everything.

use std::{fs, path::Path};

use crate::{
    sections::{fill, sections},
    server::json_answer,
};

const OUTBOX: &str = "outbox.jsonl";
const FILES: [&str; 2] = [OUTBOX, "delivery.json"];

const PROJECT: &str = r#"{"id":1,"name":"p","description":"","tags":{},"role":"write","attributes":[],
"visibility":{"users_visible":[],"users_writable":[],"teams_visible":[],"teams_writable":[]},
"created_at":"2026-11-21T08:00:00Z","updated_at":"2026-11-21T08:00:00Z"}"#;
const VERSION: &str = r#"{"id":5,"project":null,"name":"a::b_v1","template_type":"HAMILTON","config":{},"tags":{},
"dag_hash":"a","code_hash":"b","code_version_info_type":"ad_hoc","code_log_store":"local",
"created_at":"2026-11-21T08:00:00Z","updated_at":"2026-11-21T08:00:00Z"}"#;
const RUN: &str = r#"{"id":7,"dag_template_id":5,"run_status":"RUNNING","tags":{},"inputs":{},"outputs":[],
"created_at":"2026-11-21T08:00:00Z","updated_at":"2026-11-21T08:00:00Z"}"#;

/// What it answers to a request with this line.
pub fn tracker_answer(line: &str) -> Option<Vec<u8>> {
    let (method, path) = line.split_once(' ')?;
    let path = path.strip_prefix("/api/v1/")?;
    let is = |wanted: &str, beginning: &str| method == wanted && path.starts_with(beginning);
    Some(json_answer(match () {
        () if is("GET", "projects/") => PROJECT,
        () if is("GET", "dag_templates/exists/") => "null",
        () if is("POST", "dag_templates") => VERSION,
        () if is("GET", "dag_runs/latest/") => "[]",
        () if is("GET", "node_runs/by_run_ids/") => "[null]",
        () if is("PUT", "dag_runs_bulk") => "",
        () => RUN,
    }))
}

/// Writes the files of a `tracker` folder. Each line of `records` becomes a line of an outbox: it gets its checksum.
pub fn fill_tracker(folder: &Path, input: &[u8]) {
    fill(folder, &FILES, input);
    if let Some((_, records)) = sections(input).into_iter().find(|(name, _)| *name == b"records") {
        let records = records.split(|byte| *byte == b'\n').filter(|record| !record.is_empty());
        fs::write(folder.join(OUTBOX), records.flat_map(line).collect::<Vec<_>>()).expect("an outbox");
    }
    if !folder.join(OUTBOX).exists() {
        fs::write(folder.join(OUTBOX), "").expect("an outbox");
    }
}

/// A record as a line of an outbox.
fn line(record: &[u8]) -> Vec<u8> {
    let checksum = format!("{{\"crc32\":\"{:08x}\",\"record\":", crc32fast::hash(record));
    [checksum.as_bytes(), record, b"}\n"].concat()
}
