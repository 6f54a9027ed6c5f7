//! Operators of a plan that an engine has made elsewhere: only what it says of them is known.

use std::{fmt, sync::Arc};

use datafusion::{
    arrow::datatypes::Schema,
    common::{not_impl_err, tree_node::TreeNodeRecursion},
    error::Result,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        metrics::MetricsSet,
    },
};

use crate::{
    planned_operators::{Estimate, PlannedOperator, visit},
    sources::Leaf,
};

/// The label of a metric that a task of a cluster has measured, whose value is the number of the task.
pub const TASK_LABEL: &str = "task_id";

/// An operator as an engine reports it that has planned a query by itself. It is shown, and never executed.
pub struct ReportedOperator {
    name: String,
    text: String,
    metrics: MetricsSet,
    children: Vec<Arc<dyn ExecutionPlan>>,
    properties: Arc<PlanProperties>,
}

impl ReportedOperator {
    /// An operator with its name, such as `HashJoinExec`, the line that a plan has for it, and what it has measured.
    pub fn plan(
        name: String,
        text: String,
        metrics: MetricsSet,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Arc<dyn ExecutionPlan> {
        let properties = PlanProperties::new(
            // Of its columns nothing is reported.
            EquivalenceProperties::new(Arc::new(Schema::empty())),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Arc::new(Self { name, text, metrics, children, properties: Arc::new(properties) })
    }
}

impl fmt::Debug for ReportedOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReportedOperator").field("name", &self.name).finish_non_exhaustive()
    }
}

impl DisplayAs for ReportedOperator {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl ExecutionPlan for ReportedOperator {
    fn name(&self) -> &str {
        &self.name
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.children.iter().collect()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        not_impl_err!("an operator that another engine reports takes no other children")
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        not_impl_err!("an operator that another engine reports is not executed")
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone())
    }
}

/// A plan that looks like `plan`, with these metrics: a set for each operator that has some, in pre-order. `None` where their number is
/// another one.
pub(crate) fn with_metrics(
    plan: &Arc<dyn ExecutionPlan>,
    metrics: Vec<MetricsSet>,
) -> Option<Arc<dyn ExecutionPlan>> {
    let mut left = metrics.into_iter();
    let measured = measured_copy(plan, &mut left)?;
    left.next().is_none().then_some(measured)
}

fn measured_copy(
    plan: &Arc<dyn ExecutionPlan>,
    left: &mut std::vec::IntoIter<MetricsSet>,
) -> Option<Arc<dyn ExecutionPlan>> {
    let metrics = if plan.metrics().is_some() { left.next()? } else { MetricsSet::new() };
    let children: Option<Vec<_>> =
        plan.children().into_iter().map(|child| measured_copy(child, left)).collect();
    Some(ReportedOperator::plan(plan.name().to_owned(), String::new(), metrics, children?))
}

/// The plan of a query as an engine has made it, in place of the one that was planned here.
#[derive(Debug, Clone)]
pub(crate) struct MadeElsewhere {
    pub(crate) operators: Vec<PlannedOperator>,
    /// For each scan of the plan that was made here, in its order, the operator that reads the same files.
    pub(crate) scans: Vec<Option<usize>>,
}

impl MadeElsewhere {
    /// `None` for a plan that is executed as it was planned.
    pub(crate) fn of(plan: &Arc<dyn ExecutionPlan>, planned: &[PlannedOperator]) -> Option<Self> {
        let (mut operators, mut is_reported) = (Vec::new(), false);
        visit(plan, None, &mut |plan, parent| {
            let reported = plan.downcast_ref::<ReportedOperator>();
            is_reported |= reported.is_some();
            let known = planned.get(operators.len()).filter(|_| reported.is_none());
            operators.push(match (known, reported) {
                (Some(known), _) => known.clone(),
                (None, reported) => PlannedOperator {
                    parent,
                    name: plan.name().to_owned(),
                    detail: reported
                        .map_or_else(|| plan.name().to_owned(), |operator| one_line(&operator.text)),
                    description: plan.name().to_owned(),
                    leaf: plan.children().is_empty().then_some(Leaf::Inner),
                    scan: None,
                    estimate: Estimate::default(),
                },
            });
        });
        if !is_reported {
            return None;
        }
        let scans = planned.iter().filter(|operator| operator.scan.is_some());
        let scans = scans.map(|scan| take_scan(scan, &mut operators)).collect();
        Some(Self { operators, scans })
    }
}

/// Finds the operator that reads the files of a scan, and says of it what is known of the scan.
fn take_scan(scan: &PlannedOperator, operators: &mut [PlannedOperator]) -> Option<usize> {
    let path = path_of(scan.scan.as_ref()?.location.as_deref()?)?;
    let reads_it = |operator: &PlannedOperator| {
        operator.leaf == Some(Leaf::Inner) && operator.name == scan.name && operator.detail.contains(path)
    };
    let position = operators.iter().position(reads_it)?;
    let operator = &mut operators[position];
    operator.leaf.clone_from(&scan.leaf);
    operator.scan.clone_from(&scan.scan);
    operator.estimate = scan.estimate;
    Some(position)
}

/// The path of a URL below its object store, as plans name files.
fn path_of(location: &str) -> Option<&str> {
    // `file:/PATH`, or `s3://BUCKET/PATH`.
    let behind = match location.split_once("://") {
        Some((_, behind)) => behind,
        None => location,
    };
    let (_, path) = behind.split_once('/')?;
    (!path.is_empty()).then_some(path)
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use datafusion::physical_plan::metrics::{Count, Metric, MetricValue};

    use super::*;
    use crate::scan_facts::ScanFacts;

    fn reported(name: &str, text: &str, children: Vec<Arc<dyn ExecutionPlan>>) -> Arc<dyn ExecutionPlan> {
        ReportedOperator::plan(name.to_owned(), text.to_owned(), MetricsSet::new(), children)
    }

    fn scan(table: &str) -> PlannedOperator {
        let location = Some(format!("file:/data/{table}.parquet"));
        PlannedOperator {
            parent: None,
            name: "DataSourceExec".to_owned(),
            detail: String::new(),
            description: String::new(),
            leaf: Some(Leaf::Scan(Some(table.to_owned()))),
            scan: Some(ScanFacts { location, ..ScanFacts::default() }),
            estimate: Estimate { rows: Some(7), is_exact: true, bytes: None },
        }
    }

    #[test]
    fn files_are_named_by_their_path_below_the_store() {
        assert_eq!(path_of("file:/data/a.parquet"), Some("data/a.parquet"));
        assert_eq!(path_of("s3://bucket/data/"), Some("data/"));
        assert_eq!(path_of("s3://bucket/"), None);
    }

    #[test]
    fn a_copy_has_the_metrics_of_each_operator_or_there_is_none() {
        let of_rows = |rows: usize| {
            let (mut metrics, count) = (MetricsSet::new(), Count::new());
            count.add(rows);
            metrics.push(Arc::new(Metric::new(MetricValue::OutputRows(count), Some(0))));
            metrics
        };
        let plan =
            reported("Join", "", vec![reported("Scan", "", Vec::new()), reported("Scan", "", Vec::new())]);
        let copy = with_metrics(&plan, vec![of_rows(1), of_rows(2), of_rows(3)]).unwrap();
        let rows = |plan: &Arc<dyn ExecutionPlan>| plan.metrics().and_then(|metrics| metrics.output_rows());
        let below: Vec<_> = copy.children().into_iter().map(rows).collect();
        assert_eq!((copy.name(), rows(&copy), below), ("Join", Some(1), vec![Some(2), Some(3)]));
        for count in [2, 4] {
            assert!(with_metrics(&plan, vec![of_rows(1); count]).is_none());
        }
    }

    #[test]
    fn what_is_known_of_a_scan_goes_to_the_operator_that_reads_its_files() {
        let files = |table: &str| {
            let text = format!("DataSourceExec: file_groups={{1 group: [[data/{table}.parquet:0..9]]}}");
            reported("DataSourceExec", &text, Vec::new())
        };
        // The engine joins in another order.
        let plan = reported("HashJoinExec", "HashJoinExec: on=1", vec![files("b"), files("a"), files("b")]);
        let made = MadeElsewhere::of(&plan, &[scan("a"), scan("b"), scan("b"), scan("c")]).unwrap();
        assert_eq!(made.scans, [Some(2), Some(1), Some(3), None]);
        let tables: Vec<_> =
            made.operators.iter().map(|operator| operator.leaf.as_ref().and_then(Leaf::table)).collect();
        assert_eq!(tables, [None, Some("b"), Some("a"), Some("b")]);
        assert_eq!((made.operators[2].estimate.rows, made.operators[2].parent), (Some(7), Some(0)));
        // Literals may be in it.
        assert_eq!(made.operators[0].description, "HashJoinExec");
        assert_eq!(made.operators[0].detail, "HashJoinExec: on=1");
    }
}
