//! The comparison of a run with one or more earlier ones.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use daglight_finding_thresholds::FindingThresholds;
use daglight_run_bundle::NodeStatus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ComparedRun, Measured,
    against::findings_against,
    drift::{ValueDrift, drifts},
    outputs::{OutputComparison, of_whole_nodes, outputs},
    plan_shapes::PlanChange,
    renamed::key_before,
    sources::{SourceMoved, sources_moved},
};
use crate::{
    display,
    findings::Finding,
    report::{NodeReport, Report, ReportStatus, by_name},
};

/// The version of the JSON of a comparison.
///
/// - 1: the fields of [`Comparison`]. Added later: `drifts`, `named_from_share` and `named_from_ms`, `nodes[].renamed_from`,
///   `not_compared` and its part `nodes`, the settings of sessions among the differences, `usual` of numbers, `cpu_ms` and
///   `others_share`, `was_busy` and `sources`.
pub const COMPARISON_VERSION: u32 = 1;

/// The maximum number of operators listed: those whose time changed most.
const MAX_OPERATORS: usize = 20;
/// The maximum number of missing and of new nodes that are searched for renamed ones.
const MAX_RENAMED: usize = 200;
/// The maximum number of nodes named in one sentence.
const MAX_NAMED: usize = 5;
/// Tags that differ in every run, or that repeat facts which are compared elsewhere.
const TAGS_OF_A_RUN: [&str; 8] = [
    "run_id",
    "otel.trace_id",
    "otel.span_id",
    "error",
    "interrupted_by",
    "plan_signature",
    "daglight.version",
    "runtime_profile",
];

/// What changed between runs. Numbers are beside the median of the baselines; all else is compared with the last of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Comparison {
    /// The version of this format: [`COMPARISON_VERSION`].
    pub format_version: u32,
    /// The runs that it is compared with, in the order given.
    pub baselines: Vec<RunOfComparison>,
    /// The run.
    pub run: RunOfComparison,
    /// The time of the run, in milliseconds, beside that of the baselines that succeeded. `None` without one of them, and for a run that
    /// did not succeed and took no longer: how long it would have taken is not known.
    pub duration_ms: Option<Measured>,
    /// Processor time of the process, in milliseconds.
    #[serde(default)]
    pub cpu_ms: Option<Measured>,
    /// The part of the machine's processor time that other processes used, from 0 to 1.
    #[serde(default)]
    pub others_share: Option<Measured>,
    /// Whether that is so much, in a run that is long enough, that the run may have waited for it.
    #[serde(default)]
    pub was_busy: bool,
    /// The nodes of either, in the order of the run; those that are gone at the end.
    pub nodes: Vec<NodeComparison>,
    /// The time of each stage, in milliseconds.
    pub stages: Vec<TimeComparison>,
    /// The time of the operators whose time changed most, in one partition on average, in milliseconds.
    pub operators: Vec<TimeComparison>,
    /// Sources with other files: those of queries that ran once in the run and in the last of the baselines.
    #[serde(default)]
    pub sources: Vec<SourceMoved>,
    /// The outputs of either.
    pub outputs: Vec<OutputComparison>,
    /// Columns of outputs whose values have moved by more than the thresholds, those that moved most first.
    #[serde(default)]
    pub drifts: Vec<ValueDrift>,
    /// Plans that are another.
    pub plan_changes: Vec<PlanChange>,
    /// Findings that the baseline did not have, and was not near to: half as far from the threshold is.
    pub findings_came: Vec<Finding>,
    /// Findings that only the baseline had, and to which the run is not near: not those of nodes that did not end well in the run.
    pub findings_went: Vec<Finding>,
    /// Versions, settings and the environment, where they differ.
    pub differences: Vec<Difference>,
    /// What could not be compared, and why: criteria on it are not met, and say nothing.
    #[serde(default)]
    pub not_compared: Vec<NotCompared>,
    /// The text of the comparison names a time that changed by this part,
    #[serde(default = "default_share")]
    pub named_from_share: f64,
    /// and by this many milliseconds.
    #[serde(default = "default_ms")]
    pub named_from_ms: f64,
}

fn default_share() -> f64 {
    FindingThresholds::default().compared_share
}

fn default_ms() -> f64 {
    FindingThresholds::default().compared_ms
}

/// A run of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunOfComparison {
    /// Its id; `None` without a manifest.
    pub run_id: Option<String>,
    /// The pipeline.
    pub dag_name: Option<String>,
    /// How it ended.
    pub status: ReportStatus,
    /// When it started.
    pub started_at: Option<DateTime<Utc>>,
    /// How long it took.
    pub duration_ms: Option<f64>,
    /// Whether its manifest is damaged or was changed, so that how it ended is not certain.
    #[serde(default)]
    pub manifest_is_damaged: bool,
}

/// A node in both runs, or in one of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeComparison {
    /// Its name.
    pub name: String,
    /// What it was called before, where only its name is another: a node that is gone has the same plans, and no other one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<String>,
    /// How it ended before; `None` for a new one.
    pub status_before: Option<NodeStatus>,
    /// How it ended; `None` for one that is gone.
    pub status_after: Option<NodeStatus>,
    /// Its time, in milliseconds.
    pub duration_ms: Option<Measured>,
    /// Rows that it read.
    pub rows_in: Option<Measured>,
    /// Rows that it gave out.
    pub rows_out: Option<Measured>,
    /// Bytes that it gave out.
    pub bytes: Option<Measured>,
}

/// The time of something in both runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimeComparison {
    /// The node, of an operator.
    pub node: Option<String>,
    /// The stage or the operator.
    pub name: String,
    /// Its time, in milliseconds.
    pub duration_ms: Measured,
}

/// A part of two runs that could not be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotCompared {
    /// Which one.
    pub part: ComparedPart,
    /// Why.
    pub why: String,
}

/// A part of a comparison that needs something of both runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ComparedPart {
    /// The time of the runs.
    Time,
    /// Plans.
    Plans,
    /// The values of columns.
    Values,
    /// Outputs.
    Outputs,
    /// Nodes that ended well in one of the runs alone.
    Nodes,
    /// A part that a newer version has.
    #[serde(other)]
    Other,
}

/// Something that is said of both runs and differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// What it is.
    pub name: String,
    /// What it was; `None` where it was not there.
    pub before: Option<String>,
    /// What it is now.
    pub after: Option<String>,
}

impl Comparison {
    /// Compares a run with earlier ones; for values without a median only the last of them is used. `None` if there are none.
    pub fn new(baselines: &[ComparedRun], run: &ComparedRun) -> Option<Self> {
        let last = baselines.last()?;
        // Numbers are compared with all baselines, everything else with the last of them.
        let (before, after) = (&last.report, &run.report);
        let of_baselines = |value: &dyn Fn(&Report) -> Option<f64>| -> Vec<f64> {
            baselines.iter().filter_map(|baseline| value(&baseline.report)).collect()
        };
        let measured = |value: &dyn Fn(&Report) -> Option<f64>| {
            value(after).and_then(|after| Measured::new(&of_baselines(value), after))
        };
        // The resource use and the duration of a run that did not come to its end are not meaningful.
        let measured_whole = |value: &dyn Fn(&Report) -> Option<f64>| {
            measured(&|report| value(report).filter(|_| is_whole(report)))
        };
        let duration_ms = duration(baselines, after);
        let changes = last.plans.changes(&run.plans).into_iter();
        let renamed = renamed(last, run);
        let (mut findings_came, findings_went) = findings(last, run, &renamed);
        findings_came.extend(findings_against(last, run));
        Some(Self {
            format_version: COMPARISON_VERSION,
            baselines: baselines.iter().map(|baseline| summary(&baseline.report)).collect(),
            run: summary(after),
            duration_ms,
            cpu_ms: measured_whole(&|report| Some(report.heartbeat.as_ref()?.cpu_seconds? * 1e3)),
            others_share: measured_whole(&Report::others_share),
            was_busy: is_whole(after) && after.share_of_busy_machine().is_some(),
            nodes: nodes(baselines, before, after, &renamed),
            stages: stages(after, &measured),
            operators: operators(baselines, run, &renamed),
            sources: sources_moved(&last.rows, &run.rows),
            // If the outputs of one run are unknown, a missing output cannot be told from one that was not recorded.
            outputs: if last.knows_outputs && run.knows_outputs {
                let (old, new) = (by_name(&before.nodes), by_name(&after.nodes));
                let statuses = |node: &str| [&old, &new].map(|nodes| nodes.get(node).map(|node| node.status));
                let of = |report| of_whole_nodes(report, statuses).collect::<Vec<_>>();
                let artifacts: Vec<_> = baselines.iter().map(|run| of(&run.report.artifacts)).collect();
                outputs(&artifacts, &of(&after.artifacts))
            } else {
                Vec::new()
            },
            plan_changes: changes
                .map(|(node, tree)| PlanChange { node: Some(node).filter(|node| !node.is_empty()), tree })
                .collect(),
            drifts: drifts(&last.summaries, &run.summaries, &renamed, &run.thresholds),
            findings_came,
            findings_went,
            named_from_share: run.thresholds.compared_share,
            named_from_ms: run.thresholds.compared_ms,
            differences: differences(last, run),
            not_compared: not_compared(last, run, duration_ms.is_some()),
        })
    }
}

impl Comparison {
    /// The statement that something was slower and may have waited for other processes, which used the processors; `None` if
    /// nothing was slower, or if that is unknown.
    pub(super) fn busy_machine(&self) -> Option<String> {
        let others = self.others_share?;
        let took_more = others.after - others.before > self.named_from_share;
        let is_so =
            self.waited_for_processors() && took_more || self.was_busy && self.names_something_slower();
        is_so.then(|| {
            format!(
                "other processes used {} of the processors, {} before: nodes that take longer may have waited for them",
                display::percent(others.after),
                display::percent(others.before)
            )
        })
    }

    /// Whether the run took longer by more than its processor time explains.
    fn waited_for_processors(&self) -> bool {
        let Some((time, cpu)) = self.duration_ms.zip(self.cpu_ms) else { return false };
        let waited_ms = (time.after - time.before) - (cpu.after - cpu.before).max(0.0);
        time.grew_by(self.named_from_share, self.named_from_ms) && waited_ms > (cpu.after - cpu.before)
    }

    fn names_something_slower(&self) -> bool {
        let nodes = self.nodes.iter().filter_map(|node| node.duration_ms);
        let others = self.stages.iter().chain(&self.operators).map(|compared| compared.duration_ms);
        self.duration_ms
            .into_iter()
            .chain(nodes)
            .chain(others)
            .any(|ms| ms.grew_by(self.named_from_share, self.named_from_ms))
    }

    /// Whether a time changed enough to be listed.
    pub(super) fn is_named(&self, ms: &Measured) -> bool {
        (ms.after - ms.before).abs() >= self.named_from_ms && ms.changed_by(self.named_from_share)
    }
}

/// Whether a run came to its end, so that its numbers cover all of it.
fn is_whole(report: &Report) -> bool {
    report.status == ReportStatus::Success
}

/// The time of a run compared with the baselines that came to their end. A run that did not would have taken at least as long as it
/// did, so it is compared if that is already longer.
fn duration(baselines: &[ComparedRun], after: &Report) -> Option<Measured> {
    let whole = baselines.iter().map(|run| &run.report).filter(|report| is_whole(report));
    let before: Vec<f64> = whole.filter_map(|report| report.duration_ms).collect();
    Measured::new(&before, after.duration_ms?).filter(|ms| is_whole(after) || ms.after > ms.before)
}

fn summary(report: &Report) -> RunOfComparison {
    let identity = report.identity.as_ref();
    RunOfComparison {
        run_id: identity.map(|identity| identity.run_id.to_string()),
        dag_name: identity.map(|identity| identity.dag_name.clone()),
        status: report.status,
        started_at: report.started_at,
        duration_ms: report.duration_ms,
        manifest_is_damaged: report.unreadable.iter().any(|damage| damage.file == MANIFEST),
    }
}

/// The file with the outcome of the run.
const MANIFEST: &str = "manifest.json";

type Measure<'m> = dyn Fn(&dyn Fn(&Report) -> Option<f64>) -> Option<Measured> + 'm;

/// The nodes that were only renamed, with their old names: a missing node and a new one with the same plans and the same kind, if
/// no other pair has these.
fn renamed(before: &ComparedRun, after: &ComparedRun) -> HashMap<String, String> {
    let (old, new) = (by_name(&before.report.nodes), by_name(&after.report.nodes));
    let gone: Vec<&NodeReport> =
        before.report.nodes.iter().filter(|node| !new.contains_key(&*node.name)).take(MAX_RENAMED).collect();
    let came: Vec<&NodeReport> =
        after.report.nodes.iter().filter(|node| !old.contains_key(&*node.name)).take(MAX_RENAMED).collect();
    let is_like = |new: &NodeReport, old: &NodeReport| {
        new.kind == old.kind && before.plans.node_is_like(&old.name, &after.plans, &new.name)
    };
    let only = |mut found: Vec<&NodeReport>| {
        if found.len() == 1 { found.pop().map(|node| node.name.clone()) } else { None }
    };
    let pairs = came.iter().filter_map(|new| {
        let old = only(gone.iter().copied().filter(|old| is_like(new, old)).collect())?;
        let of_old = gone.iter().find(|node| node.name == old)?;
        let back = only(came.iter().copied().filter(|new| is_like(new, of_old)).collect())?;
        (back == new.name).then_some((back, old))
    });
    pairs.collect()
}

fn nodes(
    baselines: &[ComparedRun],
    before: &Report,
    after: &Report,
    renamed: &HashMap<String, String>,
) -> Vec<NodeComparison> {
    let indexed: Vec<HashMap<&str, &NodeReport>> =
        baselines.iter().map(|run| by_name(&run.report.nodes)).collect();
    let (old, new) = (by_name(&before.nodes), by_name(&after.nodes));
    // After the existing ones: a missing node is a row of the table as well.
    let has_gone = |node: &&NodeReport| {
        !new.contains_key(&*node.name) && !renamed.values().any(|before| *before == node.name)
    };
    let gone = before.nodes.iter().filter(has_gone);
    let all = after.nodes.iter().chain(gone);
    all.map(|node| {
        let name = node.name.as_str();
        let name_before = renamed.get(name).map_or(name, String::as_str);
        let measured = |value: fn(&NodeReport) -> Option<f64>| {
            let of_baseline =
                |nodes: &HashMap<&str, &NodeReport>| nodes.get(name_before).and_then(|node| value(node));
            let before: Vec<f64> = indexed.iter().filter_map(of_baseline).collect();
            new.get(name).and_then(|node| value(node)).and_then(|after| Measured::new(&before, after))
        };
        NodeComparison {
            name: node.name.clone(),
            renamed_from: renamed.get(name).cloned(),
            status_before: old.get(name_before).map(|node| node.status),
            status_after: new.get(name).map(|node| node.status),
            // The duration of a node that did not end is not meaningful.
            duration_ms: measured(|node| node.duration_ms.filter(|_| node.has_ended_by_itself())),
            // Nor do the rows that it had come to.
            rows_in: measured(|node| of_whole(node, node.rows_in)),
            rows_out: measured(|node| of_whole(node, node.rows_out)),
            bytes: measured(|node| of_whole(node, node.bytes)),
        }
    })
    .collect()
}

/// A count of a node that ended well: another one has not counted all.
fn of_whole(node: &NodeReport, count: Option<u64>) -> Option<f64> {
    count.filter(|_| node.status == NodeStatus::Success).map(|count| count as f64)
}

fn stages(after: &Report, measured: &Measure<'_>) -> Vec<TimeComparison> {
    let stages = after.stages.iter().filter_map(|stage| {
        let of = |report: &Report| {
            let stage = report.stages.iter().find(|other| other.stage == stage.stage)?;
            // The duration of a stage that did not end is not meaningful.
            (stage.open == 0).then_some(stage.wall_ms)
        };
        Some(TimeComparison { node: None, name: stage.stage.clone(), duration_ms: measured(&of)? })
    });
    stages.collect()
}

fn operators(
    baselines: &[ComparedRun],
    run: &ComparedRun,
    renamed: &HashMap<String, String>,
) -> Vec<TimeComparison> {
    let mut compared: Vec<TimeComparison> = run
        .plans
        .operators
        .iter()
        .filter_map(|(key, ms)| {
            let key_before = key_before(key, renamed);
            let before: Vec<f64> =
                baselines.iter().filter_map(|run| run.plans.operators.get(&*key_before).copied()).collect();
            let (node, name) = key.clone();
            let node = Some(node).filter(|node| !node.is_empty());
            Some(TimeComparison { node, name, duration_ms: Measured::new(&before, *ms)? })
        })
        .collect();
    let changed =
        |compared: &TimeComparison| (compared.duration_ms.after - compared.duration_ms.before).abs();
    // By milliseconds instead of shares: an operator that takes twice as long as almost nothing is not interesting.
    compared.sort_by(|a, b| changed(b).total_cmp(&changed(a)));
    compared.truncate(MAX_OPERATORS);
    compared
}

/// The findings that are new, and those that are gone. Findings are the same if they have the same kind, node and operator. A
/// finding that the other run almost had is neither new nor gone: it is close to its threshold, or its cause is unchanged and only
/// the rest of the run took another time.
fn findings(
    before: &ComparedRun,
    after: &ComparedRun,
    renamed: &HashMap<String, String>,
) -> (Vec<Finding>, Vec<Finding>) {
    // Not by their evidence, whose numbers differ in every run.
    let is_same = |after: &Finding, before: &Finding| {
        let node_before = after.node.as_ref().map(|node| renamed.get(node).unwrap_or(node));
        (after.kind, node_before, &after.operator) == (before.kind, before.node.as_ref(), &before.operator)
    };
    // Findings of a report relative to its own last run are computed relative to the baseline here, by another function.
    let of_run_alone = |finding: &&Finding| !finding.kind.is_against_last_run();
    // A run without plans may have it unseen.
    let is_known_of =
        |run: &ComparedRun, finding: &Finding| !finding.kind.is_of_plans() || !run.plans.is_empty();
    let had = |after: &Finding| {
        let is_same = |before: &Finding| is_same(after, before);
        before.report.findings.iter().any(is_same) || before.near.has(after, is_same)
    };
    let has = |before: &Finding| {
        let is_same = |after: &Finding| is_same(after, before);
        after.report.findings.iter().any(is_same) || after.near.has(before, is_same)
    };
    // A node that did not come to its end may still get it.
    let has_ended = |finding: &&Finding| match &finding.node {
        None => is_whole(&after.report),
        Some(before) => {
            let is_of = |node: &NodeReport| renamed.get(&node.name).unwrap_or(&node.name) == before;
            let node = after.report.nodes.iter().find(|node| is_of(node));
            node.is_none_or(|node| node.status == NodeStatus::Success)
        }
    };
    let came = after.report.findings.iter().filter(of_run_alone).filter(|after| !had(after));
    let went = before.report.findings.iter().filter(of_run_alone).filter(|before| !has(before));
    (
        came.filter(|finding| is_known_of(before, finding)).cloned().collect(),
        went.filter(has_ended).filter(|finding| is_known_of(after, finding)).cloned().collect(),
    )
}

/// The parts that cannot be compared, because one of the runs has nothing of them.
fn not_compared(before: &ComparedRun, after: &ComparedRun, has_times: bool) -> Vec<NotCompared> {
    let missing = |part, what: &str, has: &dyn Fn(&ComparedRun) -> bool| {
        let which = match (has(before), has(after)) {
            (true, true) => return None,
            (false, true) => "the baseline has no",
            (true, false) => "the run has no",
            (false, false) => "neither run has",
        };
        Some(NotCompared { part, why: format!("{which} {what}") })
    };
    let parts = [
        missing(ComparedPart::Time, "known end", &|run| run.report.duration_ms.is_some()),
        not_whole(before, after).filter(|_| !has_times),
        not_ended(before, after),
        missing(ComparedPart::Plans, "plans (plans.keep)", &|run| !run.plans.is_empty()),
        missing(ComparedPart::Values, "data summaries (capture.data_statistics)", &|run| {
            !run.summaries.is_empty()
        }),
        missing(ComparedPart::Outputs, "readable catalog of outputs (artifacts.json)", &|run| {
            run.knows_outputs
        }),
    ];
    parts.into_iter().flatten().collect()
}

/// The note that one of the runs did not come to its end, so that its full duration is unknown.
fn not_whole(before: &ComparedRun, after: &ComparedRun) -> Option<NotCompared> {
    let why = match (is_whole(&before.report), is_whole(&after.report)) {
        (true, true) => return None,
        (false, true) => "the baseline did not end well",
        (true, false) => "the run did not end well",
        (false, false) => "neither run ended well",
    };
    Some(NotCompared { part: ComparedPart::Time, why: why.to_owned() })
}

/// The nodes that succeeded in one of the runs and not in the other.
fn not_ended(before: &ComparedRun, after: &ComparedRun) -> Option<NotCompared> {
    let (old, new) = (&before.report.nodes, by_name(&after.report.nodes));
    let of_one = old.iter().filter(|old| {
        let status = new.get(&*old.name).map(|node| node.status);
        status.is_some_and(|new| (new == NodeStatus::Success) != (old.status == NodeStatus::Success))
    });
    let names: BTreeSet<&str> = of_one.map(|node| &*node.name).collect();
    (!names.is_empty()).then(|| NotCompared {
        part: ComparedPart::Nodes,
        why: format!(
            "nodes that ended well in one of the runs alone: {}",
            display::first_of(&names, MAX_NAMED)
        ),
    })
}

fn differences(before: &ComparedRun, after: &ComparedRun) -> Vec<Difference> {
    // Plans have the settings of their sessions. A setting that a run without plans does not have may be as it was.
    let knows_settings = !before.plans.is_empty() && !after.plans.is_empty();
    let facts = |run: &ComparedRun| -> BTreeMap<String, String> {
        let report = &run.report;
        let identity = report.identity.as_ref();
        let tags = identity.into_iter().flat_map(|identity| &identity.tags);
        let mut facts: BTreeMap<String, String> = tags
            .filter(|(name, _)| !TAGS_OF_A_RUN.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let of_run = [
            ("DAG name", identity.map(|identity| identity.dag_name.clone())),
            ("DAG hash", identity.map(|identity| identity.dag_hash.clone())),
            ("code hash", identity.map(|identity| identity.code_hash.clone())),
            ("profile", report.profile.clone()),
            ("Daglight", report.daglight_version.clone()),
        ];
        facts.extend(of_run.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        if knows_settings {
            facts.extend(run.plans.settings.clone());
        }
        facts
    };
    let (old, new) = (facts(before), facts(after));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differing = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    differing
        .map(|name| Difference {
            name: name.clone(),
            before: old.get(name).cloned(),
            after: new.get(name).cloned(),
        })
        .collect()
}
