//! What is kept of the logical plan of a query as the front end made it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Weak},
};

use arrow::datatypes::SchemaRef;
use datafusion::{
    common::tree_node::TreeNodeRecursion,
    logical_expr::{LogicalPlan, TableSource},
};

use crate::{fingerprint::PlanTexts, lineage::Lineage, query_kind::QueryKind};

/// What is kept of a plan: texts and names, so that no table of it lives longer because of us.
#[derive(Debug, Clone)]
pub(crate) struct SourcePlan {
    pub(crate) kind: QueryKind,
    /// Whether an `EXPLAIN ANALYZE` asks for it.
    pub(crate) analyzed: bool,
    /// The columns of its data: what it returns, or what it writes.
    pub(crate) schema: SchemaRef,
    pub(crate) texts: PlanTexts,
    /// The tables that it reads, sorted, each once.
    pub(crate) tables: Vec<String>,
    pub(crate) data: DataPlan,
    pub(crate) lineage: Arc<Lineage>,
}

/// The part of a plan that makes the rows: what a query returns, or what a write takes in. It keeps no table alive.
#[derive(Debug, Clone)]
pub(crate) struct DataPlan {
    text: String,
    sources: Vec<Weak<dyn TableSource>>,
}

impl DataPlan {
    /// `text` is that of the plan.
    fn of(plan: &LogicalPlan, text: &str) -> Self {
        let (data, text) = match plan {
            LogicalPlan::Copy(copy) => (&*copy.input, copy.input.display_indent().to_string()),
            LogicalPlan::Dml(dml) => (&*dml.input, dml.input.display_indent().to_string()),
            other => (other, text.to_owned()),
        };
        Self { text, sources: sources_of(data).iter().map(Arc::downgrade).collect() }
    }

    /// Two plans are the same where they do the same with the same tables: two tables may have one name.
    pub(crate) fn is(&self, plan: &LogicalPlan) -> bool {
        let sources = sources_of(plan);
        self.sources.len() == sources.len()
            && self.sources.iter().zip(&sources).all(|(a, b)| a.upgrade().is_some_and(|a| Arc::ptr_eq(&a, b)))
            && self.text == plan.display_indent().to_string()
    }
}

fn sources_of(plan: &LogicalPlan) -> Vec<Arc<dyn TableSource>> {
    let mut sources = Vec::new();
    let visited = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            sources.push(Arc::clone(&scan.source));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(visited.is_ok(), "the visitor returns no error");
    sources
}

impl SourcePlan {
    pub(crate) fn of(plan: &LogicalPlan) -> Self {
        match plan {
            LogicalPlan::Analyze(analyze) => Self { analyzed: true, ..Self::of(&analyze.input) },
            plan => {
                let texts = PlanTexts::of(plan);
                let data = DataPlan::of(plan, &texts.logical);
                Self {
                    kind: QueryKind::of(plan),
                    analyzed: false,
                    schema: data_schema(plan),
                    texts,
                    tables: tables_of(plan),
                    data,
                    lineage: Arc::new(Lineage::of(plan)),
                }
            }
        }
    }
}

fn tables_of(plan: &LogicalPlan) -> Vec<String> {
    let mut tables = BTreeSet::new();
    let visited = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            tables.insert(scan.table_name.to_string());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(visited.is_ok(), "the visitor returns no error");
    tables.into_iter().collect()
}

/// A write returns a count, and its data are what goes in; `EXPLAIN ANALYZE` returns measurements.
pub(crate) fn data_schema(plan: &LogicalPlan) -> SchemaRef {
    match plan {
        LogicalPlan::Copy(copy) => Arc::clone(copy.input.schema().inner()),
        LogicalPlan::Dml(dml) => Arc::clone(dml.input.schema().inner()),
        LogicalPlan::Analyze(analyze) => data_schema(&analyze.input),
        other => Arc::clone(other.schema().inner()),
    }
}
