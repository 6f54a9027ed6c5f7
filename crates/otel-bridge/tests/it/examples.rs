//! The example programs, run as their users run them.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use daglight_otel_bridge::{SignalFiles, names::span};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{attribute, find, lines, logs_of, names, spans_of};

/// An example's binary, which `cargo test` builds beside the tests, with no OpenTelemetry variable set.
fn example(name: &str) -> Command {
    let tests = env::current_exe().unwrap();
    let path = tests.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is not built: run `cargo test -p daglight-otel-bridge`", path.display());
    let mut command = Command::new(path);
    command.env_remove("TRACEPARENT").stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OTEL_")) {
        command.env_remove(name);
    }
    command
}

fn run(command: &mut Command) -> (String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{stderr}");
    (stdout, stderr)
}

#[test]
fn a_plain_program_records_its_run() {
    let folder = TempDir::new().unwrap();
    let (stdout, stderr) = run(example("plain").arg(folder.path()));
    let ledgers: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(ledgers["traces"]["bundle"]["delivered"], 3);
    let files = SignalFiles::in_folder(folder.path());
    let (spans, logs) = (spans_of(&files), logs_of(&files));
    assert_eq!(names(&spans), [span::NODE, span::NODE, span::PIPELINE_EXECUTE]);
    assert_eq!(logs.len(), 1);
    let trace_id = spans[0]["traceId"].as_str().unwrap();
    assert!(stderr.contains(&format!("trace_id={trace_id}")), "{stderr}");
    assert!(!lines(&files.metrics).is_empty());
}

#[test]
fn the_console_can_be_a_destination() {
    let folder = TempDir::new().unwrap();
    let (_, stderr) = run(example("plain").arg(folder.path()).env("OTEL_TRACES_EXPORTER", "console"));
    let shown = stderr.lines().find(|line| line.starts_with("{\"resourceSpans\"")).unwrap();
    let shown: Value = serde_json::from_str(shown).unwrap();
    assert_eq!(shown["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().len(), 3);
    assert!(!stderr.contains("resourceLogs"));
}

#[test]
fn a_service_keeps_its_requests_apart_and_its_traces_whole() {
    let folder = TempDir::new().unwrap();
    let (_, stderr) = run(example("service").arg(folder.path()).arg("8"));
    let runs: Vec<PathBuf> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(runs.len(), 8);
    let mut traces = BTreeSet::new();
    for run in runs {
        let files = SignalFiles::in_folder(&run);
        let (spans, logs) = (spans_of(&files), logs_of(&files));
        let id = json!(run.file_name().unwrap().to_str());
        assert_eq!(
            names(&spans),
            ["compute", span::NODE, "compute", span::NODE, span::PIPELINE_EXECUTE],
            "{stderr}"
        );
        assert!(spans.iter().chain(&logs).all(|item| attribute(item, "daglight.run_id") == Some(&id)));
        let root = find(&spans, span::PIPELINE_EXECUTE);
        assert_ne!(root["parentSpanId"], "", "the root is a child of the request");
        assert!(spans.iter().chain(&logs).all(|item| item["traceId"] == root["traceId"]));
        assert_eq!(logs.len(), 4, "two of `tracing`, two of `log`");
        assert_eq!(logs[0]["spanId"], spans[0]["spanId"]);
        traces.insert(root["traceId"].to_string());
    }
    assert_eq!(traces.len(), 8);
}

#[test]
fn a_killed_process_leaves_whole_lines() {
    let folder = TempDir::new().unwrap();
    let mut child = example("service").arg(folder.path()).arg("1000000").spawn().unwrap();
    let runs = || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let has_spans =
        |run: &PathBuf| fs::metadata(SignalFiles::in_folder(run).traces).is_ok_and(|traces| traces.len() > 0);
    while runs().filter(has_spans).count() < 20 {
        assert_eq!(child.try_wait().unwrap(), None);
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Only the last line may be cut: the kernel may end a write between two pages.
    let whole_lines = |run: PathBuf| {
        let text = fs::read_to_string(SignalFiles::in_folder(&run).traces).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let spans: usize = runs().filter(has_spans).map(|run| whole_lines(run).len()).sum();
    assert!(spans >= 20, "{spans}");
}
