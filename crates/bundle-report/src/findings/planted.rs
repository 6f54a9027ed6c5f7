//! Plans with a planted cause, for tests of rules.

use daglight_finding_thresholds::FindingThresholds;
use daglight_run_bundle::{
    Bundle, ClusterWork, PartitionMetrics, PlanBundle, PlanOperator, PlanSource, ProcessEvidence,
};
use daglight_run_identity::RunId;

use super::{Finding, FindingKind, PlanFindings, findings};
use crate::{fixture, report::Report};

/// A plan of a query that took two seconds, operator by operator in pre-order.
pub(crate) struct Plan(PlanBundle);

impl Plan {
    pub(crate) fn new() -> Self {
        let mut plan =
            PlanBundle { query_id: "7".into(), node: Some("orders".into()), ..PlanBundle::default() };
        plan.outcome = Some("completed".into());
        plan.metrics.wall_ms = 2_000.0;
        Self(plan)
    }

    pub(crate) fn operator(self, parent: Option<u64>, name: &str, rows: u64) -> Self {
        let mut plan = self.uncounted(parent, name);
        plan.last().output_rows = Some(rows);
        plan
    }

    pub(crate) fn uncounted(mut self, parent: Option<u64>, name: &str) -> Self {
        let id = self.0.metrics.operators.len() as u64;
        self.0.metrics.operators.push(PlanOperator {
            id,
            parent,
            name: name.to_owned(),
            detail: Some(format!("{name}: planted")),
            partitions: Some(1),
            elapsed_compute_ms: Some(1.0),
            ..PlanOperator::default()
        });
        self
    }

    pub(crate) fn scan(self, parent: Option<u64>, table: &str, rows: u64) -> Self {
        let mut plan = self.operator(parent, "DataSourceExec", rows);
        plan.last().is_scan = true;
        plan.last().table = Some(table.to_owned());
        plan.last().estimated_rows = Some(rows);
        plan
    }

    pub(crate) fn compute(mut self, ms: f64) -> Self {
        self.last().elapsed_compute_ms = Some(ms);
        self
    }

    pub(crate) fn partitions(mut self, partitions: u64) -> Self {
        self.last().partitions = Some(partitions);
        self
    }

    pub(crate) fn metric(mut self, name: &str, value: u64) -> Self {
        self.last().metrics.insert(name.to_owned().into(), value);
        self
    }

    /// Sets a metric of each partition of the operator, replacing existing ones.
    pub(crate) fn in_partitions<const N: usize>(mut self, metrics: [(&str, u64); N]) -> Self {
        let partitions = metrics.into_iter().enumerate().map(|(partition, (name, value))| PartitionMetrics {
            partition: Some(partition as u64),
            task: None,
            metrics: [(name.to_owned().into(), value)].into(),
        });
        self.last().partition_metrics = partitions.collect();
        self
    }

    /// Adds a metric to each partition.
    pub(crate) fn metric_in_partitions<const N: usize>(mut self, name: &str, values: [u64; N]) -> Self {
        for (partition, value) in self.last().partition_metrics.iter_mut().zip(values) {
            partition.metrics.insert(name.to_owned().into(), value);
        }
        self
    }

    pub(crate) fn estimated(mut self, rows: Option<u64>) -> Self {
        self.last().estimated_rows = rows;
        self
    }

    /// The files of the last operator, as known to the plan before the execution.
    pub(crate) fn source(mut self, format: &str, files: u64, bytes: u64) -> Self {
        let operator = self.last().id;
        self.0.sources.push(PlanSource {
            operator,
            format: Some(format.to_owned()),
            files: Some(files),
            bytes: Some(bytes),
            ..PlanSource::default()
        });
        self
    }

    /// Has a cluster execute the plan.
    pub(crate) fn on_cluster(self) -> Self {
        self.with(|plan| plan.metrics.cluster = Some(ClusterWork::default()))
    }

    /// The tasks of the last operator, each with one partition and this computing time.
    pub(crate) fn in_tasks<const N: usize>(mut self, compute_ms: [u64; N]) -> Self {
        let tasks = compute_ms.into_iter().enumerate().map(|(task, ms)| PartitionMetrics {
            partition: Some(0),
            task: Some(task as u64),
            metrics: [("elapsed_compute".into(), ms * 1_000_000)].into(),
        });
        self.last().partition_metrics = tasks.collect();
        self.partitions(N as u64).compute(compute_ms.iter().sum::<u64>() as f64)
    }

    pub(crate) fn detail(mut self, detail: &str) -> Self {
        self.last().detail = Some(detail.to_owned());
        self
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut PlanBundle)) -> Self {
        change(&mut self.0);
        self
    }

    fn last(&mut self) -> &mut PlanOperator {
        self.0.metrics.operators.last_mut().unwrap()
    }

    pub(crate) fn bundle(self) -> PlanBundle {
        self.0
    }
}

/// A report of a run of ten seconds on four cores without problems.
pub(crate) fn report() -> Report {
    let out = tempfile::tempdir().unwrap();
    let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
    let mut manifest = fixture::manifest();
    manifest.identity.tags.insert("host.cpus".into(), "4".into());
    manifest.write(&bundle).unwrap();
    for file in [bundle.traces(), bundle.metrics(), bundle.logs()] {
        std::fs::write(file, "").unwrap();
    }
    let mut evidence = ProcessEvidence::for_self(fixture::start(), 1.0);
    (evidence.beats, evidence.longest_gap_seconds) = (9, 1.0);
    (evidence.stopped_at, evidence.cpu_seconds) = (Some(fixture::start()), Some(30.0));
    evidence.write(&bundle.heartbeat()).unwrap();
    let report = Report::from_bundle(&bundle).unwrap();
    Report { timeline: None, findings: Vec::new(), duration_ms: Some(10_000.0), ..report }
}

/// The findings of a run with these plans.
pub(crate) fn found(plans: impl IntoIterator<Item = Plan>) -> Vec<Finding> {
    found_in(&report(), plans)
}

pub(crate) fn found_in(report: &Report, plans: impl IntoIterator<Item = Plan>) -> Vec<Finding> {
    let thresholds = FindingThresholds::default();
    let mut of_plans = PlanFindings::new(thresholds.clone());
    for plan in plans {
        of_plans.add("plans/001-orders-ab.json", &plan.bundle());
    }
    findings(report, of_plans, &thresholds)
}

/// Checks that a plan has exactly this finding, which names the node and the operator.
#[track_caller]
pub(crate) fn check(plan: Plan, kind: FindingKind, operator: &str, parts_of_summary: &[&str]) {
    let found = found([plan]);
    let [finding] = &found[..] else { panic!("{found:#?}") };
    assert_eq!((finding.kind, finding.operator.as_deref()), (kind, Some(operator)));
    assert_eq!((finding.node.as_deref(), finding.query_id.as_deref()), (Some("orders"), Some("7")));
    for part in parts_of_summary {
        assert!(finding.summary.contains(part), "{part:?} is not in {:?}", finding.summary);
    }
    assert!(!finding.evidence.is_empty() && finding.share.is_some(), "{finding:#?}");
}

/// Checks that there are no findings.
#[track_caller]
pub(crate) fn check_quiet(plan: Plan) {
    assert_eq!(found([plan]), []);
}
