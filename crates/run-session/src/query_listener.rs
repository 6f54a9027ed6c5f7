//! A query of a node: its spans, its plan bundle, and what the node learns from it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use daglight_capture_policy::SqlText;
use daglight_guarded_files::FileBelow;
use daglight_materializers::SummaryTap;
use daglight_otel_bridge::{
    SpanStatus, StageSpan, StageSpanBuilder,
    names::{self, Key, key},
};
use daglight_plan_diagnostics::{
    OperatorReport, PlanBundle, PlannedQuery, QueryListener, QueryOutcome, QueryReport,
};
use opentelemetry::Context;

use crate::node_scope::{NodeScope, QueryFacts};

/// Operators that a node remembers of each query.
const BUSIEST: usize = 5;

pub(crate) struct NodeQuery {
    node: Arc<NodeScope>,
    parent: Context,
    query: Arc<PlannedQuery>,
    tap: Option<SummaryTap>,
    span: Mutex<Option<StageSpan>>,
}

impl NodeQuery {
    /// To be called in the task that plans the query: its span belongs below the current one.
    pub(crate) fn new(node: Arc<NodeScope>, query: &Arc<PlannedQuery>, tap: Option<SummaryTap>) -> Self {
        let parent = Context::current();
        let observed = Self { node, parent, query: Arc::clone(query), tap, span: Mutex::default() };
        let planned = observed.span(names::span::PLAN, "plan").start_at(query.planned_at).start();
        planned.end_at(query.planned_at + query.planning_time);
        observed
    }

    fn span(&self, name: &'static str, stage: &str) -> StageSpanBuilder {
        let policy = &self.node.run.policy;
        let mut span = self
            .node
            .run
            .signals
            .span(name)
            .parent(&self.parent)
            .stage(stage)
            .node(&self.node.name)
            .attribute(Key::Dataset, self.node.dataset.clone())
            .attribute(Key::QueryId, self.query.id)
            .attribute(Key::PlanHash, policy.capture(self.query.fingerprints.plan_hash.as_str()))
            .attribute(Key::SourceTables, policy.capture(self.query.source_tables.clone()))
            .attribute(key::DB_SYSTEM_NAME, "datafusion")
            .attribute(key::DB_OPERATION_NAME, policy.capture(self.query.kind.operation()));
        if let Some(table) = self.table() {
            let table = policy.capture(table);
            span = span.attribute(Key::Table, table.clone()).attribute(key::DB_COLLECTION_NAME, table);
        }
        match &self.node.sql {
            Some(sql) => span.attribute(key::DB_QUERY_TEXT, sql.clone()),
            None => span,
        }
    }

    /// The table that the query changes, or the only one that it reads.
    fn table(&self) -> Option<&str> {
        let only_source = || match self.query.source_tables.as_slice() {
            [table] => Some(table.as_str()),
            _ => None,
        };
        self.query.kind.target_table().or_else(only_source)
    }

    fn open_span(&self) -> MutexGuard<'_, Option<StageSpan>> {
        self.span.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the plan bundle; its path relative to the bundle.
    fn write_plan(&self, report: &QueryReport) -> Option<String> {
        let run = &self.node.run;
        let bundle = run.bundle.as_ref()?;
        let path =
            bundle.plan_file(run.next_plan_number(), &self.node.name, &self.query.fingerprints.plan_hash);
        // Other texts of the plan write values in a form in which none could be told from a name.
        run.policy.redactor().learn_plan(&self.query.texts.logical);
        let with_literals = run.policy.sql_text() == SqlText::Whole;
        let plan = PlanBundle::new(report, Some(&self.node.name), with_literals)
            .with_texts(|text| run.policy.redactor().plan_text(text));
        let written = serde_json::to_vec(&plan)
            .map_err(std::io::Error::from)
            .and_then(|text| FileBelow::deep(&path, 2).replace(&text));
        match written {
            Ok(()) => path.strip_prefix(bundle.dir()).ok().map(|path| path.display().to_string()),
            Err(error) => {
                run.bundle_failed(format!("cannot write plans to {}: {error}", bundle.plans_dir().display()));
                None
            }
        }
    }
}

impl QueryListener for NodeQuery {
    fn started(&self) {
        self.node.query_started();
        self.node.run.owners.insert(self.query.id, self.node.name.clone());
        let is_write = self.query.kind.is_write();
        let (name, stage) =
            if is_write { (names::span::WRITE, "write") } else { (names::span::EXECUTE, "execute") };
        let span = self.span(name, stage).start();
        *self.open_span() = Some(span);
    }

    fn ended(&self, report: QueryReport) {
        let run = &self.node.run;
        let plan_file = self.write_plan(&report);
        let span = self.open_span().take();
        if let Some(span) = span {
            span.row_count(report.rows);
            // What a query that writes returns is a count of rows.
            if !self.query.kind.is_write() {
                span.column_count(self.query.schema.fields().len() as u64);
            }
            if let Some(bytes) = report.bytes_written.or(report.bytes_scanned).or(report.bytes_returned) {
                span.bytes(bytes);
            }
            match &report.outcome {
                QueryOutcome::Completed => {}
                QueryOutcome::Failed { message } => {
                    span.fail("DataFusionError", &run.policy.capture_error(message));
                }
                QueryOutcome::Panicked => {
                    span.fail("panic", &run.policy.capture("a thread of the query panicked"))
                }
                _ => span.finish_as(SpanStatus::Cancelled),
            }
            if let Some(hottest) = report.operators.iter().max_by_key(|operator| operator.busy) {
                span.set(Key::HottestOperator, run.policy.capture(hottest.name.as_str()));
            }
            span.end();
        }
        let is_write = self.query.kind.is_write();
        run.signals.metrics().io(report.bytes_scanned.unwrap_or(0), report.bytes_written.unwrap_or(0));

        let mut facts = self.node.facts();
        let counts = is_write || !facts.queries.iter().any(|query| query.is_write);
        if counts {
            facts.rows = Some(report.rows);
            facts.bytes = report.bytes_written.or(facts.bytes);
            if let Some(summary) = self.tap.as_ref().and_then(SummaryTap::take) {
                facts.summary = Some(summary);
            }
            facts.schema = Some(Arc::clone(&self.query.schema));
            facts.table = self.table().map(str::to_owned);
        }
        facts.queries.push(QueryFacts {
            id: self.query.id,
            operation: self.query.kind.operation().to_owned(),
            outcome: report.outcome.name(),
            is_write,
            rows: report.rows,
            bytes_written: report.bytes_written,
            bytes_scanned: report.bytes_scanned,
            planning: self.query.planning_time,
            wall_time: report.wall_time,
            plan_hash: self.query.fingerprints.plan_hash.clone(),
            source_tables: self.query.source_tables.clone(),
            busiest: busiest(&report.operators),
            plan_file,
        });
        drop(facts);
        run.owners.remove(self.query.id);
        self.node.query_ended();
    }
}

fn busiest(operators: &[OperatorReport]) -> Vec<(String, Duration)> {
    let mut busiest: Vec<_> =
        operators.iter().map(|operator| (operator.name.clone(), operator.busy)).collect();
    busiest.sort_by_key(|(_, busy)| std::cmp::Reverse(*busy));
    busiest.truncate(BUSIEST);
    busiest
}
