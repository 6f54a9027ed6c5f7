//! An OTLP receiver in Python, independent of the Rust implementation, and its strict decoder for files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use reqwest::blocking::Client;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use xtask::{Background, Python, VirtualEnv, http_client};

use crate::daglight::workspace;

fn environment() -> VirtualEnv {
    let workspace = workspace();
    let requirements = python_file("requirements.txt");
    Python::find()
        .map_err(Into::into)
        .and_then(|python| VirtualEnv::prepare(&workspace, &python, "otlp", &requirements))
        .unwrap_or_else(|error| panic!("the Python environment of the OTLP receiver: {error:#}"))
}

fn python_file(name: &str) -> PathBuf {
    workspace().root().join("tests/python").join(name)
}

/// A receiver of traces, metrics and logs over gRPC and HTTP, on free ports of 127.0.0.1.
#[derive(Debug)]
pub struct OtlpReceiver {
    grpc_port: u64,
    http_port: u64,
    client: Client,
    _process: Background,
    _folder: TempDir,
}

impl OtlpReceiver {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start() -> Self {
        let folder = TempDir::with_prefix("daglight-otlp-").expect("a temporary folder");
        let log = folder.path().join("log");
        let mut command = Command::new(environment().python());
        command.arg(python_file("otlp_receiver.py")).arg("--until-stdin-closes");
        let mut process = Background::start(&mut command, &log).unwrap_or_else(|error| panic!("{error:#}"));
        let announced = || -> Option<Value> {
            let text = fs::read_to_string(&log).ok()?;
            text.lines().find_map(|line| serde_json::from_str(line).ok())
        };
        process
            .wait_until(Duration::from_secs(60), || announced().is_some())
            .unwrap_or_else(|error| panic!("the OTLP receiver: {error:#}"));
        let ports = announced().expect("it has said its ports");
        let port = |name: &str| ports[name].as_u64().unwrap_or_else(|| panic!("no port {name} in {ports}"));
        Self {
            grpc_port: port("grpc"),
            http_port: port("http"),
            client: http_client().expect("an HTTP client"),
            _process: process,
            _folder: folder,
        }
    }

    /// The endpoint for a value of `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub fn endpoint(&self, protocol: &str) -> String {
        let port = if protocol == "grpc" { self.grpc_port } else { self.http_port };
        format!("http://127.0.0.1:{port}")
    }

    /// All spans that have arrived, each with its resource's attributes under `resource`.
    pub fn spans(&self) -> Vec<Value> {
        records(&self.dump(), "traces")
    }

    /// All metrics that have arrived, as the spans.
    pub fn metrics(&self) -> Vec<Value> {
        records(&self.dump(), "metrics")
    }

    /// All log records that have arrived, as the spans.
    pub fn logs(&self) -> Vec<Value> {
        records(&self.dump(), "logs")
    }

    fn dump(&self) -> Value {
        let answer = self.client.get(format!("http://127.0.0.1:{}/dump", self.http_port)).send();
        answer.expect("the receiver answers").json().expect("the dump is JSON")
    }
}

/// The records of one signal out of OTLP/JSON messages, flattened.
fn records(dump: &Value, signal: &str) -> Vec<Value> {
    let [resources, scopes, items] = match signal {
        "traces" => ["resourceSpans", "scopeSpans", "spans"],
        "metrics" => ["resourceMetrics", "scopeMetrics", "metrics"],
        "logs" => ["resourceLogs", "scopeLogs", "logRecords"],
        other => panic!("no such signal: {other}"),
    };
    let mut found = Vec::new();
    for message in dump[signal].as_array().into_iter().flatten() {
        for resource in message[resources].as_array().into_iter().flatten() {
            for scope in resource[scopes].as_array().into_iter().flatten() {
                for item in scope[items].as_array().into_iter().flatten() {
                    let mut item = item.clone();
                    item["resource"] = Value::Object(attributes(&resource["resource"]));
                    found.push(item);
                }
            }
        }
    }
    found
}

/// The attributes of a span, a log record, a data point or a resource, as plain JSON: `intValue` becomes a number.
pub fn attributes(owner: &Value) -> Map<String, Value> {
    let mut plain = Map::new();
    for attribute in owner["attributes"].as_array().into_iter().flatten() {
        let key = attribute["key"].as_str().expect("an attribute has a key");
        let duplicate = plain.insert(key.to_owned(), plain_value(&attribute["value"]));
        assert_eq!(duplicate, None, "the attribute {key} is there twice in {owner}");
    }
    plain
}

fn plain_value(value: &Value) -> Value {
    let Some((kind, inner)) = value.as_object().and_then(|object| object.iter().next()) else {
        return Value::Null;
    };
    match (kind.as_str(), inner) {
        ("intValue", Value::String(digits)) => digits.parse::<i64>().expect("an integer").into(),
        ("arrayValue", list) => list["values"].as_array().into_iter().flatten().map(plain_value).collect(),
        _ => inner.clone(),
    }
}

/// Has a signal file of a bundle decoded against the OTLP protos, which refuses anything that they do not have, and
/// gives back its records as [`OtlpReceiver::spans`] and its like do.
///
/// # Panics
/// When a line is not what the protos say.
#[track_caller]
pub fn decode_strictly(file: &Path, signal: &str) -> Vec<Value> {
    let output = Command::new(environment().python())
        .arg(python_file("otlp_receiver.py"))
        .args(["--decode", signal])
        .arg(file)
        .output()
        .expect("the decoder starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(file).expect("the file is text");
    let lines: Value = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")).collect();
    records(&json!({ signal: lines }), signal)
}
