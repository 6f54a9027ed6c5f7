//! An OTLP receiver in Python, independent of the Rust implementation, its strict decoder for files, and a third-party receiver.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use dev_services::{Background, Python, VirtualEnv, http_client};
use reqwest::blocking::Client;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::scratch::workspace;

pub(crate) fn environment() -> VirtualEnv {
    let workspace = workspace();
    let requirements = python_file("requirements.txt");
    Python::find()
        .map_err(Into::into)
        .and_then(|python| VirtualEnv::prepare(&workspace, &python, "otlp", &requirements))
        .unwrap_or_else(|error| panic!("the Python environment of the OTLP receiver: {error:#}"))
}

pub(crate) fn python_file(name: &str) -> PathBuf {
    workspace().root().join("tests/python").join(name)
}

/// A receiver of traces, metrics and logs over gRPC and HTTP, on free ports of 127.0.0.1.
#[derive(Debug)]
pub struct OtlpReceiver {
    program: PythonProgram,
    scheme: &'static str,
    client: Client,
}

impl OtlpReceiver {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start() -> Self {
        Self::start_with("http", &[])
    }

    /// Starts one that speaks TLS with a certificate and its key, to clients whose certificate is of the authority; all
    /// are files of PEM.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_with_tls(certificate: &Path, key: &Path, authority: &Path) -> Self {
        let files = [certificate, key, authority].map(Path::as_os_str);
        Self::start_with("https", &[&[OsStr::new("--tls")][..], &files].concat())
    }

    fn start_with(scheme: &'static str, arguments: &[&OsStr]) -> Self {
        let arguments = [&[OsStr::new("--until-stdin-closes")][..], arguments].concat();
        let program = PythonProgram::start("otlp_receiver.py", &arguments);
        Self { program, scheme, client: http_client().expect("an HTTP client") }
    }

    /// The endpoint for a value of `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub fn endpoint(&self, protocol: &str) -> String {
        let port = self.program.port(if protocol == "grpc" { "grpc" } else { "http" });
        format!("{}://127.0.0.1:{port}", self.scheme)
    }

    /// Has it refuse the next requests as one that is busy for a moment, and say of all others that it rejected some of
    /// their items.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn answer(&self, refused_requests: u64, rejected_items: u64, reason: &str) {
        let script = json!({"refuse": refused_requests, "rejected": rejected_items, "reason": reason});
        let answer = self.client.post(self.control("answer")).json(&script).send();
        assert!(answer.is_ok_and(|answer| answer.status().is_success()), "the receiver takes a script");
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

    /// What has arrived of a signal, as [`decoded_values`] has it.
    ///
    /// # Panics
    /// When it is not what the protos say.
    #[track_caller]
    pub fn values(&self, signal: &str) -> Vec<Value> {
        values_of(signal, self.dump()[signal].as_array().expect("a list"))
    }

    fn dump(&self) -> Value {
        let answer = self.client.get(self.control("dump")).send();
        answer.expect("the receiver answers").json().expect("the dump is JSON")
    }

    fn control(&self, what: &str) -> String {
        format!("http://127.0.0.1:{}/{what}", self.program.port("control"))
    }
}

/// OtelTap: a receiver of traces, metrics and logs over OTLP/HTTP that is not ours.
#[derive(Debug)]
pub struct OtelTap {
    program: PythonProgram,
}

impl OtelTap {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not come up.
    #[expect(clippy::new_without_default, reason = "it starts a process")]
    pub fn new() -> Self {
        Self { program: PythonProgram::start("otlp_tap.py", &[]) }
    }

    /// The endpoint.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.program.port("http"))
    }

    /// What it has received, as [`decoded_values`] has it but for scopes and resources, when there are as many spans,
    /// metrics or log records as there should be.
    ///
    /// # Panics
    /// When they do not come.
    pub fn values(&mut self, signal: &str, count: usize) -> Vec<Value> {
        self.program.wait_until(|lines| of_signal(lines, signal).count() >= count);
        let items: Vec<Value> = of_signal(&self.program.lines(), signal).cloned().collect();
        let [resources, scopes, of_scope] = nesting(signal);
        values_of(signal, &[json!({resources: [{scopes: [{of_scope: items}]}]})])
    }
}

/// Has messages decoded as the lines of a signal file are.
#[track_caller]
fn values_of(signal: &str, messages: &[Value]) -> Vec<Value> {
    let folder = TempDir::with_prefix("daglight-otlp-").expect("a temporary folder");
    let file = folder.path().join("received.json");
    let lines: String = messages.iter().map(|message| format!("{message}\n")).collect();
    fs::write(&file, lines).expect("a file");
    decoded_values(&file, signal)
}

fn of_signal<'a>(lines: &'a [Value], signal: &'a str) -> impl Iterator<Item = &'a Value> {
    lines.iter().filter_map(move |line| line.get(signal))
}

/// A program in the tests' Python environment that prints JSON, first of all its ports, and ends with its standard input.
#[derive(Debug)]
struct PythonProgram {
    ports: Value,
    process: Background,
    log: PathBuf,
    _folder: TempDir,
}

impl PythonProgram {
    fn start(name: &str, arguments: &[&OsStr]) -> Self {
        let folder = TempDir::with_prefix("daglight-otlp-").expect("a temporary folder");
        let log = folder.path().join("log");
        let mut command = Command::new(environment().python());
        command.arg(python_file(name)).args(arguments);
        let process = Background::start(&mut command, &log).unwrap_or_else(|error| panic!("{error:#}"));
        let mut program = Self { ports: Value::Null, process, log, _folder: folder };
        program.wait_until(|lines| !lines.is_empty());
        program.ports = program.lines().swap_remove(0);
        program
    }

    fn port(&self, name: &str) -> u64 {
        self.ports[name].as_u64().unwrap_or_else(|| panic!("no port {name} in {}", self.ports))
    }

    /// What it has printed, as far as it is JSON.
    fn lines(&self) -> Vec<Value> {
        read_lines(&self.log)
    }

    fn wait_until(&mut self, done: impl Fn(&[Value]) -> bool) {
        let log = &self.log;
        self.process
            .wait_until(Duration::from_secs(60), || done(&read_lines(log)))
            .unwrap_or_else(|error| panic!("the OTLP receiver: {error:#}"));
    }
}

fn read_lines(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The keys that lead to the items of a signal.
fn nesting(signal: &str) -> [&'static str; 3] {
    match signal {
        "traces" => ["resourceSpans", "scopeSpans", "spans"],
        "metrics" => ["resourceMetrics", "scopeMetrics", "metrics"],
        "logs" => ["resourceLogs", "scopeLogs", "logRecords"],
        other => panic!("no such signal: {other}"),
    }
}

/// The records of one signal out of OTLP/JSON messages, flattened.
fn records(dump: &Value, signal: &str) -> Vec<Value> {
    let [resources, scopes, items] = nesting(signal);
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
    decoder(file, signal, &[]);
    let text = fs::read_to_string(file).expect("the file is text");
    let lines: Value = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")).collect();
    records(&json!({ signal: lines }), signal)
}

/// What a signal file holds, as the messages of the OTLP protos have it: each item on its own, with values that name their
/// kind.
///
/// # Panics
/// When a line is not what the protos say.
#[track_caller]
pub fn decoded_values(file: &Path, signal: &str) -> Vec<Value> {
    let shown = decoder(file, signal, &["--values"]);
    shown.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[track_caller]
fn decoder(file: &Path, signal: &str, arguments: &[&str]) -> String {
    let output = Command::new(environment().python())
        .arg(python_file("otlp_receiver.py"))
        .args(["--decode", signal])
        .arg(file)
        .args(arguments)
        .output()
        .expect("the decoder starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}
