//! A query of a run: its spans, its plan bundle, and what the node learns from it that it belongs to.

mod data_tap;
mod results;

use std::{
    any::Any,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::{Duration, Instant},
};

use daglight_materializers::{CheckTap, SummaryTap};
use daglight_otel_bridge::{
    SpanStatus, StageSpan, StageSpanBuilder,
    names::{self, Key, key},
};
use daglight_plan_diagnostics::{MeasuredQuery, PlannedQuery, PlanningTimes, QueryListener, QueryOutcome};
use daglight_run_bundle::{ClusterWork, WarningCode};
use opentelemetry::Context;

use self::results::Results;
use crate::{
    log::{known, warn_of_node},
    node_checks::CheckReads,
    node_run::NodeRun,
    observed_session::ObservedSession,
    open_runs::OpenRuns,
    own_time::Own,
    parsed_statement::ParsedStatement,
    plan_messages::{EndedQuery, PlanKey, StartedQuery},
    preview::Preview,
    query_owner::QueryOwner,
    query_place::QueryPlace,
    query_write::OutputWrites,
    run_error::RecordedError,
    run_state::RunState,
    secret_columns::SecretColumns,
    session_tables::FirstColumn,
    shared::Shared,
    sight::columns_read,
    storage::QueryStorage,
    travelling,
};

/// A query of an instrumented session.
pub(crate) struct RunQuery {
    open_runs: Weak<OpenRuns<RunState>>,
    query: Arc<PlannedQuery>,
    tap: Option<SummaryTap>,
    first_column: FirstColumn,
    /// Its columns whose values are made of secret ones.
    secrets: Option<Arc<SecretColumns>>,
    /// Its first rows, where the policy shows some.
    preview: Option<Arc<Preview>>,
    /// What it asks of object stores, where it uses some.
    storage: Option<Arc<QueryStorage>>,
    /// An output writes by it, and says itself what it has written.
    is_of_output: bool,
    /// It reads a table for the checks of its node alone.
    is_of_checks: bool,
    /// The checks of the node whose result its rows may be.
    checks: OnceLock<Option<CheckTap>>,
    /// As far as it is known when the query is planned.
    planned_in: Option<QueryPlace>,
    /// As it is known when the query starts.
    place: OnceLock<Option<QueryPlace>>,
    /// The node that is this query, in a run whose DAG is seen.
    own_node: Mutex<Option<NodeRun>>,
    /// The session that it is of, where that is observed without a DAG.
    session: Option<Weak<ObservedSession>>,
    span: Mutex<Option<StageSpan>>,
    /// How long its text was parsed, where a front end has said so.
    parsing: Option<Duration>,
}

impl RunQuery {
    /// To be called in the task that plans the query.
    pub(crate) fn new(
        shared: &Shared,
        open_runs: Weak<OpenRuns<RunState>>,
        session: Option<Weak<ObservedSession>>,
        query: &Arc<PlannedQuery>,
        tap: Option<SummaryTap>,
        preview_rows: usize,
    ) -> Self {
        let (tables, redactor) = (&shared.secret_tables, shared.policy.redactor());
        let secrets = SecretColumns::of(&query.lineage, tables, redactor);
        if let (Some(secrets), Some(target)) = (&secrets, query.kind.target()) {
            // Before it runs: another query may read what it writes as soon as it has ended.
            tables.add(target, secrets);
        }
        // Looked up while it is planned, in the task of whoever asks. A plan may be executed elsewhere, by a thread
        // that knows no node.
        let planned_in = QueryPlace::of_planning(&open_runs, query, session.is_some());
        // An output says itself what it has written, with more than a query knows of it.
        let is_of_output = Context::map_current(|context| context.get::<OutputWrites>().is_some());
        let is_of_checks = Context::map_current(|context| context.get::<CheckReads>().is_some());
        let observed = Self {
            open_runs,
            query: Arc::clone(query),
            tap: tap.filter(|_| !is_of_checks),
            first_column: FirstColumn::default(),
            preview: (preview_rows > 0 && !is_of_checks)
                .then(|| Arc::new(Preview::new(preview_rows, secrets.clone()))),
            secrets,
            storage: query.uses_storage().then(Arc::default),
            is_of_output,
            is_of_checks,
            checks: OnceLock::new(),
            planned_in,
            place: OnceLock::new(),
            own_node: Mutex::default(),
            session,
            span: Mutex::default(),
            parsing: ParsedStatement::current(),
        };
        if let Some(place) = observed.planned_in.as_ref().filter(|place| place.owner.node().is_some()) {
            observed.show_planning(place);
        }
        observed
    }

    /// What the query belongs to. A plan that was made outside of nodes belongs to the node that executes it.
    fn place(&self) -> Option<&QueryPlace> {
        let place = self.place.get_or_init(|| match &self.planned_in {
            // A node that has planned a query is its owner, also where another code executes it: the work was asked
            // for there.
            Some(place) if place.owner.node().is_some() => Some(self.as_node(place.clone())),
            planned_in => {
                let place = self.executed_in();
                let place = match (place, planned_in) {
                    (Some(here), Some(planned)) if here.owner.node().is_none() => Some(planned.clone()),
                    (here, planned) => here.or_else(|| planned.clone()),
                };
                let place = place.map(|place| self.as_node(place));
                match &place {
                    Some(place) => self.show_planning(place),
                    None => self.count_as_unowned(),
                }
                place
            }
        });
        place.as_ref()
    }

    /// What the query belongs to as it is executed.
    fn executed_in(&self) -> Option<QueryPlace> {
        let run = || self.session.as_ref().and_then(Weak::upgrade)?.run();
        match &self.session {
            Some(_) => QueryPlace::of_execution(&self.open_runs, &self.query, run),
            None => QueryPlace::here(&self.open_runs, &self.query),
        }
    }

    /// In a run whose DAG is seen, a query that belongs to no node is one.
    fn as_node(&self, place: QueryPlace) -> QueryPlace {
        let run = place.run();
        if self.is_of_checks || !run.context.dag.is_observed() {
            return place;
        }
        if let Some(node) = place.owner.node() {
            run.see_in(&node.name, &self.query);
            return place;
        }
        let open = self.open_runs.upgrade().and_then(|open_runs| open_runs.get(run.context.run_id));
        let Some((run, name)) = open.and_then(|open| Some((open, run.see_query(&self.query)?))) else {
            return place;
        };
        let node = NodeRun::start(&run, &name);
        let (owner, parent) = (QueryOwner::Node(Arc::clone(node.scope())), node.context());
        *self.own_node() = Some(node);
        QueryPlace { owner, parent, ..place }
    }

    /// Ends the node that is this query.
    fn end_own_node(&self, outcome: &QueryOutcome) {
        // Taken out first: the end of a node calls the span processors of the program.
        let node = self.own_node().take();
        let Some(node) = node else { return };
        match outcome {
            QueryOutcome::Failed { message } => node.fail(&RecordedError::new("DataFusionError", message)),
            QueryOutcome::Panicked => {
                node.fail(&RecordedError::new("panic", "a thread of the query panicked"));
            }
            // One that is dropped early is what every reader that has seen enough looks like.
            _ => node.succeed(),
        }
    }

    fn own_node(&self) -> MutexGuard<'_, Option<NodeRun>> {
        self.own_node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show_planning(&self, place: &QueryPlace) {
        let PlanningTimes { started_at, analysis, optimization, physical, .. } = self.query.planning;
        let (analyzed_at, planned_at) = (started_at + analysis, started_at + self.query.planning.total());
        let planned = self.span(place, names::span::PLAN, "plan").start_at(started_at).past().start();
        if let Some(parsing) = self.parsing {
            planned.set(Key::ParsingSeconds, parsing.as_secs_f64());
        }
        let part = |name, stage| {
            let span = place.run().context.signals.span(name).parent(&planned.context()).stage(stage);
            let span = span.attribute(Key::QueryId, self.query.id);
            place.owner.node().into_iter().fold(span, |span, node| span.node(&node.name))
        };
        part(names::span::NORMALIZE, "normalize").start_at(started_at).past().start().end_at(analyzed_at);
        let compiled = part(names::span::COMPILE, "compile").start_at(analyzed_at).past().start();
        compiled.set(Key::OptimizationSeconds, optimization.as_secs_f64());
        compiled.set(Key::PhysicalPlanningSeconds, physical.as_secs_f64());
        compiled.end_at(planned_at);
        if let Some(failure) = self.query.failure() {
            let policy = &place.run().context.policy;
            // The message may hold values of the plan.
            policy.redactor().learn_plan(&self.query.texts.logical);
            planned.fail("DataFusionError", &policy.capture_error(&failure.message));
        }
        planned.end_at(planned_at);
    }

    /// Each of the open runs says that there were such queries: it may be one of them.
    fn count_as_unowned(&self) {
        let open = self.open_runs.upgrade().map(|open_runs| open_runs.list()).unwrap_or_default();
        // With one run open there is no doubt: it belongs to that.
        if QueryOwner::current().is_none() && open.len() > 1 {
            open.iter().for_each(|run| run.log.records().queries_without_run += 1);
        }
    }

    fn span(&self, place: &QueryPlace, name: &'static str, stage: &str) -> StageSpanBuilder {
        let policy = &place.run().context.policy;
        let mut span = place.run().context.signals.span(name).parent(&place.parent).stage(stage);
        if let Some(node) = place.owner.node() {
            span = span.node(&node.name).attribute(Key::Dataset, node.dataset.clone());
        }
        span = span
            .attribute(Key::QueryId, self.query.id)
            .attribute(Key::PlanHash, policy.capture(self.query.fingerprints.plan_hash.as_str()))
            .attribute(Key::LogicalHash, policy.capture(self.query.fingerprints.logical_hash.as_str()))
            .attribute(Key::SourceTables, policy.capture(self.query.source_tables.clone()))
            .attribute(key::DB_SYSTEM_NAME, "datafusion")
            .attribute(key::DB_OPERATION_NAME, policy.capture(self.query.kind.operation()));
        if let Some(table) = self.table() {
            let table = policy.capture(table);
            span = span.attribute(Key::Table, table.clone()).attribute(key::DB_COLLECTION_NAME, table);
        }
        match place.sql.as_deref() {
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

    fn plan_key(&self, place: &QueryPlace) -> PlanKey {
        PlanKey {
            node: place.node_name().map(str::to_owned),
            plan_hash: self.query.fingerprints.plan_hash.clone(),
        }
    }
}

impl QueryListener for RunQuery {
    fn started(&self) {
        let Some(place) = self.place() else { return };
        let run = place.run();
        run.queries.open.started();
        // In front of the span: the heartbeat asks for the owner from its own thread, and a query without one would be
        // left out of its first beat.
        run.queries.owners.insert(self.query.id, place.node_name().map(str::to_owned));
        match place.owner.node() {
            Some(node) => node.query_started(),
            None => run.log.records().queries_without_node += 1,
        }
        let is_write = self.query.kind.is_write();
        let (name, stage) =
            if is_write { (names::span::WRITE, "write") } else { (names::span::EXECUTE, "execute") };
        // One whose planning has failed is never executed.
        if self.query.failure().is_none() {
            let span = self.span(place, name, stage).start();
            *self.open_span() = Some(span);
        }
        run.plans.started(StartedQuery {
            key: self.plan_key(place),
            at: Instant::now(),
            query: Arc::clone(&self.query),
            sql: place.sql.clone(),
            parsing: self.parsing,
            storage: self.storage.clone(),
        });
    }

    fn travels_with(&self) -> Vec<(&'static str, String)> {
        let Some(place) = self.place() else { return Vec::new() };
        let below = self.open_span().as_ref().map_or_else(|| place.parent.clone(), StageSpan::context);
        travelling::headers(place, &below)
    }

    fn has_remote_id(&self) {
        if let Some(place) = self.place() {
            place.run().plans.has_remote_id(self.plan_key(place));
        }
    }

    fn lost_worker(&self, worker: &str, message: &str) {
        let Some(place) = self.place() else { return };
        if place.run().log.is_new_loss(worker) {
            let below = self.open_span().as_ref().map_or_else(|| place.parent.clone(), StageSpan::context);
            let _guard = below.attach();
            let policy = &place.run().context.policy;
            let node = known(place.node_name().map(|name| policy.capture(name)));
            warn_of_node(&WarningCode::WorkerLost, &node, &policy.capture(message));
        }
    }

    fn remote_work_settled(&self, work: ClusterWork) {
        let Some(place) = self.place.get().and_then(Option::as_ref) else { return };
        let run = place.run();
        run.queries.given_up_jobs.settled(self.query.id, &work);
        run.plans.remote_work_settled(self.plan_key(place), self.query.id, work);
    }

    fn entered(&self) -> Option<Box<dyn Any>> {
        self.storage.as_ref().map(QueryStorage::enter)
    }

    fn ended(&self, report: MeasuredQuery) {
        // Not looked up here: a query that never started belongs to nobody, and this may run on any thread.
        let Some(place) = self.place.get().and_then(Option::as_ref) else { return };
        let run = place.run();
        // The bundle of a run that is over stays as it is.
        let is_recorded = !run.has_ended();
        if report.outcome != QueryOutcome::Completed {
            // The message of the error may hold values of the plan.
            run.context.policy.redactor().learn_plan(&self.query.texts.logical);
        }
        let storage = self.storage.as_ref().map(|storage| storage.take()).unwrap_or_default();
        storage.count(run.context.signals.metrics());
        // Taken out, so that the lock is free while the span ends: processors of the program run then, and may ask for
        // anything.
        let span = self.open_span().take();
        let of_span = span.as_ref().map(StageSpan::context);
        if let Some(span) = span {
            if let Some(rows) = report.rows {
                span.row_count(rows);
            }
            // What a query that writes returns is a count of rows.
            if !self.query.kind.is_write() {
                span.column_count(self.query.schema.fields().len() as u64);
            }
            let bytes = if self.query.kind.is_write() {
                report.bytes_written
            } else {
                report.bytes_scanned.or(report.bytes_returned)
            };
            if let Some(bytes) = bytes {
                span.bytes(bytes);
            }
            match &report.outcome {
                QueryOutcome::Completed => {}
                QueryOutcome::Failed { message } => {
                    span.fail("DataFusionError", &run.context.policy.capture_error(message));
                }
                QueryOutcome::Panicked => {
                    span.fail("panic", &run.context.policy.capture("a thread of the query panicked"))
                }
                // Not a failure: a query that is dropped early is what `LIMIT` without a sort, and every reader that
                // has seen enough, looks like.
                _ => span.finish_as(SpanStatus::Cancelled),
            }
            if let Some(hottest) = report.operators.iter().max_by_key(|operator| operator.busy) {
                span.set(Key::HottestOperator, run.context.policy.capture(hottest.shown_name()));
            }
            if let Some(rows) = report.rows_read {
                span.set(Key::RowsRead, rows);
            }
            if let Some(bytes) = report.bytes_scanned {
                span.set(Key::BytesRead, bytes);
            }
            if report.bytes_spilled > 0 {
                span.set(Key::BytesSpilled, report.bytes_spilled);
            }
            storage.show(&span);
            span.end();
        }
        run.queries.moved.add(&report);

        let summary = self.tap.as_ref().and_then(SummaryTap::take);
        // The rows of a query that ended early are not those of the node.
        let measured = self.checks.get().and_then(Option::as_ref).and_then(CheckTap::take);
        let measured = measured.filter(|_| report.outcome == QueryOutcome::Completed);
        if let Some(tap) = &self.tap {
            run.own_time.add(Own::Summaries, tap.time_taken());
        }
        if let Some(node) = place.handed_out_by.as_ref().filter(|_| is_recorded) {
            self.record_in_frame(node, &report, summary.clone(), measured.clone());
        }
        let outcome = report.outcome.clone();
        let key = self.plan_key(place);
        if let Some(node) = place.owner.node().filter(|_| is_recorded && !self.is_of_checks) {
            let plan_file = run.plans.admitted().file_of(&key, &report);
            self.record_in_node(node, &report, Results { summary, measured }, plan_file);
        }
        if let Some(work) = report.cluster.as_ref().filter(|_| is_recorded) {
            run.queries.given_up_jobs.ended(self.query.id, work);
        }
        if is_recorded {
            let span = of_span.filter(|_| run.context.settings().otel.operator_spans);
            run.plans.ended(EndedQuery { key, report, span, preview: self.preview.clone(), storage });
        }
        if let Some(node) = place.owner.node() {
            if run.context.dag.is_observed() && !self.query.kind.is_write() {
                let (column, read) = (self.first_column.get(), columns_read(&self.query));
                run.context.dag.returned(&node.name, column, &read);
            }
            node.query_ended();
        }
        self.end_own_node(&outcome);
        if let Some(node) = &place.handed_out_by {
            node.complete_if_done();
        }
        run.queries.owners.remove(self.query.id);
        // Last: the end of the run waits for this, and then closes what is written above.
        run.queries.open.ended();
    }
}
