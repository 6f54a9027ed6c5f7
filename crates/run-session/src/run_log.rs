//! What has happened in a run so far: its nodes, outputs, warnings and failures.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    error::Error,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use chrono::{DateTime, Utc};
use daglight_capture_policy::{Captured, Policy};
use daglight_materializers::Produced;
use daglight_run_bundle::{Artifact, AttemptRecord, Bundle, NodeRecord, NodeStatus, Warning, WarningCode};
use daglight_run_identity::{Dag, Node};

use crate::log::warn_that;

/// Earlier attempts that are kept of a node, the last ones.
const MAX_ATTEMPTS: usize = 20;

/// The log of a run, which its nodes and queries write from any thread.
pub(crate) struct RunLog {
    policy: Policy,
    records: Mutex<Records>,
    /// Whether the console shows already that something of the run cannot be recorded. The tracker's outbox shares it, because
    /// one full disk is one cause.
    bundle_has_failed: Arc<AtomicBool>,
    bundle: Option<Bundle>,
}

/// What is known of a run.
#[derive(Default)]
pub(crate) struct Records {
    pub(crate) nodes: BTreeMap<String, NodeRecord>,
    pub(crate) artifacts: Vec<Artifact>,
    /// The same outputs, to be compared with the registry.
    pub(crate) produced: Vec<Produced>,
    pub(crate) warnings: Vec<Warning>,
    /// The texts of the same, to find out whether one is new.
    warned: HashSet<String>,
    /// The workers of a cluster that were lost.
    lost_workers: BTreeSet<String>,
    /// Why the run failed, in the order in which it happened; one reason for each part of the run.
    failures: Vec<(FailedPart, Captured)>,
    /// Queries that belong to the run and to none of its nodes.
    pub(crate) queries_without_node: u64,
    /// Queries that ran while several runs were open, in the code of none of them.
    pub(crate) queries_without_run: u64,
    /// What each node's queries have asked, as hashes, in the order in which they were planned.
    pub(crate) plans: BTreeMap<String, Vec<String>>,
    /// What of the run could not be written to its bundle, besides signals and events, which are counted.
    pub(crate) not_written: BTreeSet<&'static str>,
    /// Tags that were not known when the run started, or have another value now.
    pub(crate) late_tags: BTreeMap<String, String>,
}

/// What has failed of a run. A part that is done again, and well, has not failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FailedPart {
    Node(String),
    Stage(String),
    /// The run itself.
    Run,
    /// Nothing: a signal asked the run to end.
    Interrupted,
}

impl Records {
    /// Why the run failed, the first reason where there are several.
    pub(crate) fn failure(&self) -> Option<&Captured> {
        self.failures.first().map(|(_, reason)| reason)
    }

    /// What of the run failed for the reason that is shown.
    pub(crate) fn failed_part(&self) -> Option<&FailedPart> {
        self.failures.first().map(|(part, _)| part)
    }

    /// Whether the run ended because of a signal, and not of a failure before it.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.failed_part() == Some(&FailedPart::Interrupted)
    }

    /// Takes back that a part has failed. False where it has not.
    pub(crate) fn recover(&mut self, recovered: &FailedPart) -> bool {
        let before = self.failures.len();
        self.failures.retain(|(part, _)| part != recovered);
        self.failures.len() < before
    }
}

/// What a first failure to write the bundle means for the rest, and what to do, where there is no space for it.
fn advice(code: &WarningCode) -> &'static str {
    match code {
        WarningCode::DiskFull => {
            ". The run and its delivery to servers go on; what cannot be written is not in the bundle; the finish report \
             counts it. Free space there, or choose another folder (--output-dir, DAGLIGHT_OUTPUT_DIR)"
        }
        _ => "",
    }
}

impl RunLog {
    /// An empty log. `bundle_has_failed` is shared with the tracker's outbox, which may fail first.
    pub(crate) fn new(policy: Policy, bundle: Option<Bundle>, bundle_has_failed: Arc<AtomicBool>) -> Self {
        Self { policy, records: Mutex::default(), bundle_has_failed, bundle }
    }

    pub(crate) fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has gone wrong with telemetry so far.
    pub(crate) fn warnings(&self) -> Vec<Warning> {
        self.records().warnings.clone()
    }

    /// Warns once, on the console and in the finish report, that some of the telemetry is missing.
    pub(crate) fn warn(&self, code: WarningCode, message: impl Into<String>) {
        if let Some(warning) = self.note(Warning::new(code.clone(), message)) {
            warn_that(&code, &warning);
        }
    }

    /// Whether it is the first time that this is asked of a worker of a cluster: each is missed once, also by several queries.
    pub(crate) fn is_new_loss(&self, worker: &str) -> bool {
        self.records().lost_workers.insert(worker.to_owned())
    }

    /// As [`RunLog::warn`] for what the console has shown already. Returns the text where it is new.
    pub(crate) fn note(&self, warning: Warning) -> Option<Captured> {
        let Warning { code, message } = warning;
        let warning = self.policy.capture(message);
        let text = warning.to_text();
        let mut records = self.records();
        // By its text as it is shown, so that two values which the policy hides alike are one warning.
        let first = records.warned.insert(text.clone());
        if first {
            records.warnings.push(Warning::new(code, text));
        }
        first.then_some(warning)
    }

    /// As [`RunLog::warn`], but silent on the console where it has shown that already.
    pub(crate) fn warn_unless(&self, shown: bool, warning: Warning) {
        if shown {
            self.note(warning);
        } else {
            self.warn(warning.code, warning.message);
        }
    }

    /// Warns that something is missing in the bundle. A full disk has many such consequences: the console shows the first,
    /// with what to do about it, and the finish report has all.
    pub(crate) fn bundle_failed(&self, warning: Warning) {
        self.has_lost_bundle();
        let first = !self.bundle_has_failed.swap(true, Ordering::Relaxed);
        let code = warning.code.clone();
        if let Some(noted) = self.note(warning).filter(|_| first) {
            warn_that(&code, &self.policy.capture(format!("{}{}", noted.to_text(), advice(&code))));
        }
    }

    /// Whether the folder of the bundle was removed or moved since the run began. The first time, this warns.
    pub(crate) fn has_lost_bundle(&self) -> bool {
        let Some(bundle) = self.bundle.as_ref().filter(|bundle| bundle.has_gone()) else { return false };
        // All failures to write that follow have this cause.
        self.bundle_has_failed.store(true, Ordering::Relaxed);
        let warning = format!(
            "the folder of the bundle, {}, was removed or moved while the run was going. The run and its delivery to \
             servers go on; the rest of it is not recorded there",
            bundle.dir().display()
        );
        self.warn(WarningCode::BundleGone, warning);
        true
    }

    /// [`RunLog::bundle_failed`] because of an error.
    pub(crate) fn bundle_error(&self, error: &(dyn Error + 'static)) {
        self.bundle_failed(Warning::of_error(WarningCode::BundleIncomplete, error));
    }

    /// Marks a part of the run as failed, and so the run. Of a node the last attempt counts, of every other part the first
    /// reason stays.
    pub(crate) fn fail(&self, part: FailedPart, reason: Captured) {
        let mut records = self.records();
        if matches!(part, FailedPart::Node(_)) {
            // The reason of the attempt that counts, and that is the last one.
            records.recover(&part);
        }
        // Of the run and of a stage the first reason stays: what follows it mostly comes from it.
        if !records.failures.iter().any(|(failed, _)| *failed == part) {
            records.failures.push((part, reason));
        }
    }

    /// Records that a node starts, and returns which attempt this is, from 1. The last attempt decides over node and run;
    /// what the earlier ones came to is kept. One of a run that is observed is a query, which may come as often as it likes.
    pub(crate) fn begin_attempt(&self, node: &Node, started_at: DateTime<Utc>, is_observed: bool) -> u64 {
        let mut records = self.records();
        let record = records.nodes.entry(node.name.clone()).or_insert_with(|| not_run(node));
        let before = (record.attempts > 0).then_some(record.status);
        if let Some(status) = before {
            let earlier = AttemptRecord {
                attempt: record.attempts,
                status,
                started_at: record.started_at,
                duration_ms: record.duration_ms.take(),
                error: record.error.take(),
            };
            if record.earlier_attempts.len() == MAX_ATTEMPTS {
                // Of a node that is tried for hours, the last attempts are the ones that say something.
                record.earlier_attempts.remove(0);
            }
            record.earlier_attempts.push(earlier);
        }
        // With the record in one step, so that two attempts at the same time have two numbers.
        record.attempts += 1;
        record.status = NodeStatus::Unfinished;
        record.started_at = Some(started_at);
        // They were those of the attempt before.
        (record.rows, record.bytes, record.recovered) = (None, None, false);
        record.checks.clear();
        let attempt = record.attempts;
        // The warnings below take the same lock.
        drop(records);
        let name = &node.name;
        match before.filter(|_| !is_observed) {
            Some(NodeStatus::Success) => {
                let warning = "runs again after it has succeeded: the last time counts";
                self.warn(WarningCode::NodeRepeated, format!("node {name:?} {warning}"));
            }
            Some(NodeStatus::Unfinished) => {
                let warning = "runs twice at the same time: the one that started last counts";
                self.warn(WarningCode::NodeRepeated, format!("node {name:?} {warning}"));
            }
            _ => {}
        }
        attempt
    }

    /// Every node of the DAG in running order; those that never started are `not_run`.
    pub(crate) fn node_records(&self, dag: &Dag) -> Vec<NodeRecord> {
        let records = self.records();
        let record = |node: &Node| records.nodes.get(&node.name).cloned().unwrap_or_else(|| not_run(node));
        dag.nodes().iter().map(record).collect()
    }
}

/// A node that has not started.
pub(crate) fn not_run(node: &Node) -> NodeRecord {
    NodeRecord {
        kind: node.kind.into(),
        dependencies: node.dependencies.clone(),
        code_hash: node.code_hash(),
        ..NodeRecord::not_run(node.name.clone())
    }
}
