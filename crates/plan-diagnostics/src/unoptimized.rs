//! The logical plan of a query as the front end made it, kept from its analysis to its planning.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    sync::{Arc, Weak},
};

use datafusion::{
    common::{
        DFSchema,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNodeRecursion},
    },
    error::Result,
    execution::session_state::SessionStateBuilder,
    logical_expr::{LogicalPlan, TableSource},
    optimizer::{AnalyzerRule, OptimizerConfig, OptimizerRule},
};

use crate::{fingerprint::LogicalTexts, shield::shielded};

/// What is kept of a plan: texts and names, so that no table of it lives longer because of us.
#[derive(Debug, Clone)]
pub(crate) struct SourcePlan {
    pub(crate) texts: LogicalTexts,
    /// The tables that it reads, sorted, each once.
    pub(crate) tables: Vec<String>,
    pub(crate) data: DataPlan,
}

/// The part of a plan that makes the rows: what a query returns, or what a write takes in. It keeps no table alive.
#[derive(Debug, Clone)]
pub(crate) struct DataPlan {
    text: String,
    sources: Vec<Weak<dyn TableSource>>,
}

impl DataPlan {
    fn of(plan: &LogicalPlan) -> Self {
        let data = match plan {
            LogicalPlan::Copy(copy) => &copy.input,
            LogicalPlan::Dml(dml) => &dml.input,
            other => other,
        };
        Self {
            text: data.display_indent().to_string(),
            sources: sources_of(data).iter().map(Arc::downgrade).collect(),
        }
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
            LogicalPlan::Analyze(analyze) => Self::of(&analyze.input),
            plan => Self { texts: LogicalTexts::of(plan), tables: tables_of(plan), data: DataPlan::of(plan) },
        }
    }
}

/// Adds the rules that keep the plans of a session for [`take`].
pub(crate) fn keep_unoptimized(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    let mut analyzer = builder.analyzer().take().unwrap_or_default();
    analyzer.rules.insert(0, Arc::new(KeepUnoptimized));
    *builder.analyzer() = Some(analyzer);
    builder.with_optimizer_rule(Arc::new(NoteOptimized))
}

/// The plan that this thread has analysed last, as the front end made it.
///
/// A session analyses and optimises a plan and first polls the planner's future without an await between them, so it is
/// the one that is planned.
pub(crate) fn take() -> Option<SourcePlan> {
    ANALYZED.take().map(|analyzed| analyzed.source)
}

thread_local! {
    static ANALYZED: RefCell<Option<Analyzed>> = const { RefCell::new(None) };
}

struct Analyzed {
    source: SourcePlan,
    /// What the optimiser has made of it; `None` until it has, and for ever where it fails.
    optimized: Option<PlanIdentity>,
}

/// Tells a plan that was made by an optimiser from every other one.
struct PlanIdentity {
    schema: Weak<DFSchema>,
    first_input: Option<usize>,
}

impl PlanIdentity {
    fn of(plan: &LogicalPlan) -> Self {
        Self { schema: Arc::downgrade(plan.schema()), first_input: first_input(plan) }
    }

    fn is_of(&self, plan: &LogicalPlan) -> bool {
        // The address of a schema that is still referred to belongs to no other one.
        self.schema.as_ptr() == Arc::as_ptr(plan.schema()) && self.first_input == first_input(plan)
    }
}

fn first_input(plan: &LogicalPlan) -> Option<usize> {
    plan.inputs().first().map(|input| std::ptr::from_ref(*input).addr())
}

/// The name of the rule, by which an observed session is known.
pub(crate) const KEEP_UNOPTIMIZED: &str = "keep_unoptimized_plan";

#[derive(Debug)]
struct KeepUnoptimized;

impl AnalyzerRule for KeepUnoptimized {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        // A plan is written with the texts of a program's own nodes and functions, which may do anything.
        shielded("what keeps the plan of a query", || {
            // `CREATE TABLE AS` optimises its query, and then the result of that once more.
            let again =
                ANALYZED.take().filter(|kept| kept.optimized.as_ref().is_some_and(|made| made.is_of(&plan)));
            let source = again.map_or_else(|| SourcePlan::of(&plan), |kept| kept.source);
            ANALYZED.set(Some(Analyzed { source, optimized: None }));
        });
        Ok(plan)
    }

    fn name(&self) -> &str {
        KEEP_UNOPTIMIZED
    }
}

/// Runs behind all other rules, once in each pass.
#[derive(Debug)]
struct NoteOptimized;

impl OptimizerRule for NoteOptimized {
    fn name(&self) -> &str {
        "note_optimized_plan"
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        ANALYZED.with_borrow_mut(|kept| {
            if let Some(kept) = kept {
                kept.optimized = Some(PlanIdentity::of(&plan));
            }
        });
        Ok(Transformed::no(plan))
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
