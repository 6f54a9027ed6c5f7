//! The names of the files in a bundle.

use daglight_guarded_files::without_temporary_ending;
use daglight_run_identity::hash_of_fields;

/// The folder in an output directory that holds the bundles.
pub const RUN_BUNDLE: &str = "run_bundle";
/// The value of `format` in every manifest: other programs also have files called `manifest.json`.
pub const MANIFEST_FORMAT: &str = "daglight_run_bundle";
/// The maximum size of a file of the bundle that is read as a whole, 64 MiB: far more than a run of 100,000 nodes writes.
pub(crate) const MAX_FILE_BYTES: u64 = 64 << 20;

/// The maximum number of bytes of a node name in a file name; most file systems allow 255 in total.
const MAX_NAME_BYTES: usize = 80;

/// The folder of the plans.
pub(crate) const PLANS: &str = "plans";
/// The folder of the tracker's outbox.
pub(crate) const TRACKER: &str = "tracker";
/// The file to read first.
pub(crate) const MANIFEST: &str = "manifest.json";
/// The spans.
pub(crate) const TRACES: &str = TRACES_FILE;
/// The name of the file with the spans, directly in a bundle.
pub const TRACES_FILE: &str = "otel_traces.json";
/// The outbox, as a path relative to the bundle.
pub const OUTBOX_FILE: &str = "tracker/outbox.jsonl";
/// The spans that have started and not yet ended.
pub(crate) const OPEN_TRACES: &str = "otel_traces.open.json";
/// The metrics.
pub(crate) const METRICS: &str = "otel_metrics.json";
/// The log records.
pub(crate) const LOGS: &str = "otel_logs.json";
/// The summaries of the nodes' data.
pub(crate) const DATA_SUMMARIES: &str = "data_summaries.jsonl";
/// The evidence that the process is alive.
pub(crate) const HEARTBEAT: &str = "heartbeat.json";
/// The progress of the nodes of a run that has not ended.
pub(crate) const NODES: &str = "nodes.jsonl";
/// The outbox of the tracker, below its folder.
pub(crate) const OUTBOX: &str = "outbox.jsonl";
/// The delivery progress of the outbox, next to it.
pub(crate) const DELIVERY_CURSOR: &str = "delivery.json";
/// The lineage events of the run.
pub(crate) const LINEAGE_EVENTS: &str = "openlineage.jsonl";
/// The delivery progress of the lineage events. It also serves as a lock between two deliverers.
pub(crate) const LINEAGE_DELIVERY: &str = "openlineage.delivery.json";
pub(crate) const LINEAGE_LOCK: &str = "openlineage.lock";
/// Reserves disk space for the end of a run; one in the bundle and one next to the outbox.
pub(crate) const RESERVE: &str = "reserve";

/// Files directly in a bundle.
const FILES: &[&str] = &[
    MANIFEST,
    "manifest.lock",
    "bundle.lock",
    RESERVE,
    TRACES,
    OPEN_TRACES,
    METRICS,
    LOGS,
    "artifacts.json",
    DATA_SUMMARIES,
    NODES,
    LINEAGE_EVENTS,
    LINEAGE_DELIVERY,
    LINEAGE_LOCK,
    HEARTBEAT,
    "run_diagnostics_report.json",
    "run_diagnostics_report.md",
    "run_diagnostics_report.html",
];
/// The possible beginnings of file names in `tracker`, up to the first dot.
const TRACKER_FILES: &[&str] = &["outbox", "delivery", RESERVE];

/// The files of the report, directly in a bundle.
pub const REPORT_FILES: [&str; 3] =
    ["run_diagnostics_report.json", "run_diagnostics_report.md", "run_diagnostics_report.html"];

/// The common beginning of the report files.
const REPORT: &str = "run_diagnostics_report.";

/// The content of a file of a bundle, determined by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BundlePart {
    /// A plan of a query.
    Plan,
    /// What is sent to a server about the run.
    Tracker,
    /// Spans.
    Traces,
    /// Metrics.
    Metrics,
    /// Records of the log.
    Logs,
    /// The outputs, with their columns.
    Artifacts,
    /// The progress of the nodes, with their outputs.
    Progress,
    /// Summaries of the data.
    DataSummaries,
    /// A report, which shows parts of all the other files.
    Report,
    /// Anything else.
    Other,
}

impl BundlePart {
    /// The part for a path relative to the bundle, with slashes.
    pub fn of(path: &str) -> Self {
        match path.split_once('/') {
            Some((PLANS, _)) => Self::Plan,
            Some((TRACKER, _)) => Self::Tracker,
            None if path.starts_with(LINEAGE_EVENTS) => Self::Tracker,
            None if [TRACES, OPEN_TRACES].contains(&path) => Self::Traces,
            None if path == METRICS => Self::Metrics,
            None if path == LOGS => Self::Logs,
            None if path == "artifacts.json" => Self::Artifacts,
            None if path == NODES => Self::Progress,
            None if path == DATA_SUMMARIES => Self::DataSummaries,
            None if path.starts_with(REPORT) => Self::Report,
            _ => Self::Other,
        }
    }
}

/// Whether a path relative to a bundle belongs to the layout.
pub(crate) fn is_known(below: &str) -> bool {
    // A process that was killed may leave a temporary file behind.
    let below = without_temporary_ending(below);
    match below.split_once('/') {
        None => FILES.contains(&below),
        Some((PLANS, name)) => is_plan(name),
        // Compares only the first part of the name, because temporary files and locks of later versions also begin with it.
        Some((TRACKER, name)) => {
            let first = name.split('.').next().unwrap_or_default();
            TRACKER_FILES.contains(&first) && !name.contains('/')
        }
        Some(_) => false,
    }
}

/// `<node>-<plan_hash>.json`, as in [`Bundle::plan_file`]. Older bundles have `<number>-<node>-<plan_hash>.json`, with any kind of
/// hash.
fn is_plan(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".json").filter(|stem| !stem.contains('/')) else { return false };
    let Some((before, hash)) = stem.rsplit_once('-') else { return false };
    let number = before.split('-').next().unwrap_or_default();
    let is_numbered = number.len() >= 3 && number.bytes().all(|byte| byte.is_ascii_digit());
    // Older versions numbered plans; newer ones use hashes.
    is_numbered || (hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// `<node>-<plan_hash>.json`, or `run-<plan_hash>.json` if no node ran the query. A hash of the node's name is appended to the name
/// if that is not a valid file name, or could be confused with another one.
pub(crate) fn plan_file_name(node: Option<&str>, plan_hash: &str) -> String {
    const WITHOUT_NODE: &str = "run";
    let plan_hash = safe(plan_hash);
    let Some(node) = node else { return format!("{WITHOUT_NODE}-{plan_hash}.json") };
    let shown = safe(node);
    // Some file systems are case-insensitive.
    let is_lower = !node.chars().any(|c| c.is_ascii_uppercase());
    // Without this, a node could be named like another node's name plus hash, and both would write the same file.
    let is_like_others = node.is_empty() || node == WITHOUT_NODE || ends_in_hash(node);
    if shown == node && is_lower && !is_like_others {
        return format!("{shown}-{plan_hash}.json");
    }
    let of_name = hash_of_fields("daglight.plan_file.v1", [node]);
    format!("{shown}-{}-{plan_hash}.json", of_name.get(..8).unwrap_or_default())
}

/// Whether a name ends with a hash.
fn ends_in_hash(name: &str) -> bool {
    name.rsplit_once('-')
        .is_some_and(|(_, end)| end.len() == 8 && end.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Keeps ASCII letters, digits, `_`, `-` and dots, except for a leading dot, which would hide the file.
fn safe(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' })
        .take(MAX_NAME_BYTES)
        .enumerate()
        .map(|(position, c)| if position == 0 && c == '.' { '_' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_known(below: &str, expected: bool) {
        assert_eq!(is_known(below), expected, "{below}");
    }

    #[test]
    fn no_plan_is_in_a_hidden_file() {
        let hash = "0123456789abcdef";
        let mut names = Vec::new();
        for node in [".", "..", ".hidden", "...", "_", "_."] {
            let name = plan_file_name(Some(node), hash);
            assert!(!name.starts_with('.') && is_known(&format!("{PLANS}/{name}")), "{name}");
            assert!(!names.contains(&name), "{name}");
            names.push(name);
        }
        assert_eq!(plan_file_name(Some("a.b"), hash), "a.b-0123456789abcdef.json");
    }

    #[test]
    fn the_layout_knows_its_files_and_no_others() {
        check_known("manifest.json", true);
        check_known("manifest.json.4711-3.tmp", true);
        check_known("manifest.json.k3J9xQ0a.tmp", true);
        check_known("notes.txt.k3J9xQ0a.tmp", false);
        check_known("heartbeat.json.tmp", true);
        check_known("plans/001-orders-ab12.json", true);
        check_known("plans/1000-a.b-ab12.json", true);
        check_known("plans/orders-0123456789abcdef.json", true);
        check_known("plans/run-0123456789abcdef.json", true);
        check_known("plans/or-ders-3f2a91bc-0123456789abcdef.json.4711-3.tmp", true);
        check_known("plans/orders-plan.json", false);
        check_known("plans/0123456789abcdef.json", false);
        check_known("plans/notes.json", false);
        check_known("plans/001/a.json", false);
        check_known("tracker/outbox.jsonl", true);
        check_known("tracker/delivery.json.7.tmp", true);
        check_known("tracker/notes.txt", false);
        check_known("notes.txt", false);
        check_known("src/manifest.json", false);
    }
}
