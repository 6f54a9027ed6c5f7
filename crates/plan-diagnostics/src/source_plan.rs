//! What is kept of the logical plan of a query as the front end made it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use arrow::datatypes::SchemaRef;
use datafusion::{
    catalog::TableProvider,
    common::tree_node::TreeNodeRecursion,
    datasource::source_as_provider,
    logical_expr::{LogicalPlan, TableSource},
};

use crate::{fingerprint::PlanTexts, lineage::Lineage, query_kind::QueryKind, source_tables::SourceTable};

/// What is kept of a plan: texts and names, so that no table of it lives longer because of us.
#[derive(Debug, Clone)]
pub(crate) struct SourcePlan {
    pub(crate) kind: QueryKind,
    /// Whether an `EXPLAIN ANALYZE` asks for it.
    pub(crate) analyzed: bool,
    /// The columns of its data: what it returns, or what it writes.
    pub(crate) schema: SchemaRef,
    pub(crate) texts: Arc<PlanTexts>,
    /// The tables that it reads, by name.
    pub(crate) tables: Arc<BTreeMap<String, SourceTable>>,
    pub(crate) data: Arc<DataPlan>,
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

/// What is kept of the plans that a session has made last: most sessions ask the same questions again, and looking through
/// a plan takes longer than running some of them.
#[derive(Debug, Default)]
pub(crate) struct KnownPlans(Mutex<VecDeque<Known>>);

#[derive(Debug)]
struct Known {
    /// The tables that it scans, where all of them are known by what provides them.
    providers: Vec<Weak<dyn TableProvider>>,
    source: SourcePlan,
}

impl KnownPlans {
    const MOST: usize = 64;
    /// Bytes of the text of a plan; of longer ones nothing is kept.
    const LONGEST: usize = 32 << 10;

    /// What is kept of a plan as the front end made it.
    pub(crate) fn of(&self, plan: &LogicalPlan) -> SourcePlan {
        if let LogicalPlan::Analyze(analyze) = plan {
            return SourcePlan { analyzed: true, ..self.of(&analyze.input) };
        }
        let text = plan.display_indent().to_string();
        let providers = providers_of(plan).filter(|_| text.len() <= Self::LONGEST);
        let Some(providers) = providers else { return SourcePlan::of(plan, text) };
        if let Some(known) = self.find(&text, &providers) {
            return known;
        }
        let source = SourcePlan::of(plan, text);
        let providers = providers.iter().map(Arc::downgrade).collect();
        let mut known = self.lock();
        if known.len() == Self::MOST {
            known.pop_front();
        }
        known.push_back(Known { providers, source: source.clone() });
        source
    }

    /// Two plans are the same where their texts are, and the tables that they scan: two tables may have one name.
    fn find(&self, text: &str, providers: &[Arc<dyn TableProvider>]) -> Option<SourcePlan> {
        let is_of = |known: &Known| {
            known.source.texts.logical == text
                && known.providers.len() == providers.len()
                && known
                    .providers
                    .iter()
                    .zip(providers)
                    .all(|(a, b)| a.upgrade().is_some_and(|a| Arc::ptr_eq(&a, b)))
        };
        // From the newest: what is asked again is mostly asked soon.
        self.lock().iter().rev().find(|known| is_of(known)).map(|known| known.source.clone())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What provides the tables that a plan scans. `None` where one of them is known by its columns alone.
fn providers_of(plan: &LogicalPlan) -> Option<Vec<Arc<dyn TableProvider>>> {
    sources_of(plan).iter().map(|source| source_as_provider(source).ok()).collect()
}

impl SourcePlan {
    /// `text` is that of the plan.
    fn of(plan: &LogicalPlan, text: String) -> Self {
        let data = Arc::new(DataPlan::of(plan, &text));
        Self {
            kind: QueryKind::of(plan),
            analyzed: false,
            schema: data_schema(plan),
            texts: Arc::new(PlanTexts::of(plan, text)),
            tables: Arc::new(SourceTable::read_by(plan)),
            data,
            lineage: Arc::new(Lineage::of(plan)),
        }
    }
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
