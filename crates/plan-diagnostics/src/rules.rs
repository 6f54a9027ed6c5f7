//! The rules of a session, each in a wrapper that keeps what planning needs to know and changes nothing.
//!
//! A rule of our own would show in `EXPLAIN VERBOSE`, which prints the plan behind each rule by its name. The wrappers have the
//! names of the rules inside.

use std::sync::Arc;

use datafusion::{
    common::{config::ConfigOptions, tree_node::Transformed},
    error::{DataFusionError, Result},
    execution::session_state::SessionStateBuilder,
    logical_expr::LogicalPlan,
    optimizer::{AnalyzerRule, ApplyOrder, OptimizerConfig, OptimizerRule},
    physical_optimizer::{PhysicalOptimizerContext, PhysicalOptimizerRule},
    physical_plan::ExecutionPlan,
};

use crate::{
    failed_planning::FailedPlanning,
    planning::{PlanningPart, Rule},
    planning_scope::{Entered, enter},
    rule_differences::TextBefore,
    shield::{OBSERVING, message_of, shielded},
    watched_session::WatchedSession,
};

type Analyzing = Arc<dyn AnalyzerRule + Send + Sync>;
type Optimizing = Arc<dyn OptimizerRule + Send + Sync>;
type Physical = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// Wraps every rule that the builder has; the observer of the session learns of queries whose planning a rule ends. True where the session analyses its plans by rules.
pub(crate) fn wrap_rules(builder: &mut SessionStateBuilder, session: &Arc<WatchedSession>) -> bool {
    // The builder keeps rules that were added apart from those of the lists, and appends them when it builds.
    let mut analyzer = builder.analyzer().take().unwrap_or_default();
    analyzer.rules.extend(builder.analyzer_rules().take().into_iter().flatten());
    analyzer.rules = wrapped(
        analyzer.rules,
        PlanningPart::Analysis,
        session,
        |inner| inner.name().into(),
        |w| Arc::new(w),
    );
    // A session without rules of analysis is planned all the same, and then nothing is kept of what the front end
    // made.
    let is_analyzed = !analyzer.rules.is_empty();
    *builder.analyzer() = Some(analyzer);

    let mut optimizer = builder.optimizer().take().unwrap_or_default();
    optimizer.rules.extend(builder.optimizer_rules().take().into_iter().flatten());
    optimizer.rules = wrapped(
        optimizer.rules,
        PlanningPart::Optimization,
        session,
        |inner| inner.name().into(),
        |w| Arc::new(w),
    );
    *builder.optimizer() = Some(optimizer);

    let mut physical = builder.physical_optimizers().take().unwrap_or_default();
    physical.rules.extend(builder.physical_optimizer_rules().take().into_iter().flatten());
    physical.rules = wrapped(
        physical.rules,
        PlanningPart::Physical,
        session,
        |inner| inner.name().into(),
        |w| Arc::new(w),
    );
    *builder.physical_optimizers() = Some(physical);
    is_analyzed
}

/// Each rule in its wrapper, which knows its place.
fn wrapped<R>(
    rules: Vec<R>,
    part: PlanningPart,
    session: &Arc<WatchedSession>,
    name: impl Fn(&R) -> Arc<str>,
    finish: impl Fn(Wrapped<R>) -> R,
) -> Vec<R> {
    let last = rules.len().saturating_sub(1);
    let of_rule = |(place, inner)| {
        let rule = Rule { name: name(&inner), part, place, is_last: place == last };
        finish(Wrapped { inner, rule, session: Arc::clone(session) })
    };
    rules.into_iter().enumerate().map(of_rule).collect()
}

/// A rule, and what stands in front of it.
struct Wrapped<R> {
    inner: R,
    rule: Rule,
    session: Arc<WatchedSession>,
}

impl<R> Wrapped<R> {
    /// The rule has returned the error, with which the planning ends.
    fn failed(&self, entered: Entered, error: &DataFusionError, options: &ConfigOptions) {
        shielded(OBSERVING, || {
            let Some((open, planning)) = entered.failed() else { return };
            let Some(source) = open.source.clone() else { return };
            let Rule { part, name, .. } = &self.rule;
            FailedPlanning {
                id: open.query_id(),
                part: *part,
                rule: Some(Arc::clone(name)),
                source,
                optimized: None,
                planning,
                options: Arc::new(options.clone()),
            }
            .report(self.session.observer.as_ref(), message_of(error));
        });
    }
}

impl<R: std::fmt::Debug> std::fmt::Debug for Wrapped<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl AnalyzerRule for Wrapped<Analyzing> {
    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let entered = enter(&self.rule, Some((&plan, &self.session)));
        let before = TextBefore::of(&plan, self.session.with_differences);
        let analyzed = self.inner.analyze(plan, config);
        match &analyzed {
            Ok(analyzed) => {
                entered.differs(before.difference_to(analyzed));
                entered.analyzed();
            }
            Err(error) => self.failed(entered, error, config),
        }
        analyzed
    }

    fn name(&self) -> &str {
        self.inner.name()
    }
}

impl OptimizerRule for Wrapped<Optimizing> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.inner.apply_order()
    }

    #[expect(deprecated, reason = "whoever still asks gets the answer of the rule")]
    fn supports_rewrite(&self) -> bool {
        self.inner.supports_rewrite()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let entered = enter(&self.rule, None);
        let before = TextBefore::of(&plan, self.session.with_differences);
        let rewritten = match self.inner.rewrite(plan, config) {
            Ok(rewritten) => rewritten,
            Err(error) => {
                let options = config.options();
                // Else the optimiser goes on without the rule.
                if !options.optimizer.skip_failed_rules {
                    self.failed(entered, &error, &options);
                }
                return Err(error);
            }
        };
        if rewritten.transformed {
            entered.changed();
            entered.differs(before.difference_to(&rewritten.data));
        }
        // Top down, the root comes first; bottom up it comes last; without an order there is only the root.
        if self.rule.is_last
            && (entered.is_first_call || self.inner.apply_order() != Some(ApplyOrder::TopDown))
        {
            entered.optimized(&rewritten.data);
        }
        Ok(rewritten)
    }
}

impl PhysicalOptimizerRule for Wrapped<Physical> {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.observed(plan, |plan| self.inner.optimize(plan, config))
    }

    fn optimize_with_context(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: &dyn PhysicalOptimizerContext,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.observed(plan, |plan| self.inner.optimize_with_context(plan, context))
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn schema_check(&self) -> bool {
        self.inner.schema_check()
    }
}

impl Wrapped<Physical> {
    fn observed(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        optimize: impl FnOnce(Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // Only its address: a second handle would keep rules from changing the plan in place.
        let before = Arc::as_ptr(&plan).addr();
        let entered = enter(&self.rule, None);
        let text_before = TextBefore::of(&plan, self.session.with_differences);
        let optimized = optimize(plan)?;
        if Arc::as_ptr(&optimized).addr() != before {
            entered.changed();
            entered.differs(text_before.difference_to(&optimized));
        }
        Ok(optimized)
    }
}
