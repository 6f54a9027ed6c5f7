//! Runs in temporary folders, and their files read back.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use daglight_otel_bridge::{Bridge, BridgeConfig, RunScope, RunSignals, SignalFiles, SignalLedgers};
use daglight_run_bundle::DeliveryCounts;
use daglight_run_identity::RunId;
use serde_json::Value;
use tempfile::TempDir;

/// More than anything takes that takes any time at all, also on a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn bridge<const N: usize>(variables: [(&str, &str); N]) -> Bridge {
    Bridge::start(BridgeConfig { environment: self::variables(variables), ..BridgeConfig::new("test") })
}

pub(crate) fn variables<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// The counts of a destination that nothing waits for.
pub(crate) fn counts(produced: u64, delivered: u64, failed: u64) -> DeliveryCounts {
    let lost = (failed > 0).then(|| (DeliveryCounts::FAILED.to_owned(), failed));
    DeliveryCounts::of(produced, delivered, lost.into_iter().collect())
}

pub(crate) struct TestRun {
    pub(crate) signals: RunSignals,
    pub(crate) id: RunId,
    pub(crate) folder: TempDir,
}

impl TestRun {
    pub(crate) fn open(bridge: &Bridge, dag_name: &str) -> Self {
        Self::open_with(bridge, dag_name, |_| {})
    }

    pub(crate) fn open_with(bridge: &Bridge, dag_name: &str, change: impl FnOnce(&mut RunScope)) -> Self {
        let folder = TempDir::new().unwrap();
        let id = RunId::new();
        let files = SignalFiles::in_folder(folder.path());
        let mut scope = RunScope::new(id, dag_name.try_into().unwrap(), files, folder.path());
        change(&mut scope);
        Self { signals: bridge.open_run(scope), id, folder }
    }

    pub(crate) fn finish(&self) -> SignalLedgers {
        self.signals.finish(TIMEOUT)
    }

    pub(crate) fn lines(&self, file: &str) -> Vec<Value> {
        lines(&self.folder.path().join(file))
    }

    pub(crate) fn spans(&self) -> Vec<Value> {
        spans_of(&SignalFiles::in_folder(self.folder.path()))
    }

    pub(crate) fn logs(&self) -> Vec<Value> {
        logs_of(&SignalFiles::in_folder(self.folder.path()))
    }

    /// The metrics of the last snapshot, by name.
    pub(crate) fn metrics(&self) -> BTreeMap<String, Value> {
        let lines = self.lines("otel_metrics.json");
        items(&lines[lines.len() - 1..], ["resourceMetrics", "scopeMetrics", "metrics"])
            .into_iter()
            .map(|metric| (metric["name"].as_str().unwrap().to_owned(), metric))
            .collect()
    }
}

/// The spans in their file, in the order in which they ended; in a line they stand by scope.
pub(crate) fn spans_of(files: &SignalFiles) -> Vec<Value> {
    let mut spans = items(&lines(&files.traces), ["resourceSpans", "scopeSpans", "spans"]);
    spans.sort_by_key(|span| span["endTimeUnixNano"].as_str().unwrap().to_owned());
    spans
}

/// The log records in their file, in the order in which they were made.
pub(crate) fn logs_of(files: &SignalFiles) -> Vec<Value> {
    let mut logs = items(&lines(&files.logs), ["resourceLogs", "scopeLogs", "logRecords"]);
    logs.sort_by_key(|log| log["timeUnixNano"].as_str().unwrap().to_owned());
    logs
}

pub(crate) fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn items(lines: &[Value], path: [&str; 3]) -> Vec<Value> {
    path.into_iter().fold(lines.to_vec(), |values, key| {
        values.iter().flat_map(|value| value[key].as_array().unwrap().clone()).collect()
    })
}

pub(crate) fn names(spans: &[Value]) -> Vec<&str> {
    spans.iter().map(|span| span["name"].as_str().unwrap()).collect()
}

pub(crate) fn find<'a>(spans: &'a [Value], name: &str) -> &'a Value {
    spans.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("no {name} in {spans:?}"))
}

/// The attribute's value, whatever its type, as OTLP/JSON has it.
pub(crate) fn attribute<'a>(item: &'a Value, key: &str) -> Option<&'a Value> {
    let attribute = item["attributes"].as_array().unwrap().iter().find(|pair| pair["key"] == key)?;
    attribute["value"].as_object().unwrap().values().next()
}

/// Whether a call site is asked is cached for the whole process, so two subscribers at once would hide each other's
/// mistakes.
pub(crate) fn one_subscriber_at_a_time() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}
