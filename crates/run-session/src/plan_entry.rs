//! One plan of a run, from the start of its first query to the last time that its file is written.
//!
//! What happens to it is taken in as it comes; what the file says is made when the file is written: most queries have ended by
//! then, and a plan that is executed a hundred times in between is described once.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error as _,
    sync::Arc,
    time::{Duration, Instant},
};

use daglight_capture_policy::{Policy, SqlText};
use daglight_plan_diagnostics::{MeasuredQuery, PlannedQuery, QueryOutcome};
use daglight_run_bundle::{
    ClusterWork, PlanBundle, PlanExecutions, PlanMetrics, PlanSource, StorageUse, Warning, WarningCode,
    milliseconds,
};

use crate::{
    admitted_plans::AdmittedPlans,
    plan_messages::{EndedQuery, PlanKey, StartedQuery},
    preview::Preview,
    shown_execution::{Execution, Measured, SetAside},
    storage::{QueryStorage, Storage},
};

/// Ids of queries that the file of a plan names.
const MAX_QUERY_IDS: usize = 100;
/// Executions whose requests to object stores wait to be added.
const MAX_UNADDED: usize = 16;

/// A plan that is executed, or was.
pub(crate) struct PlanEntry {
    /// What its file says, but for what is not described yet.
    plan: PlanBundle,
    /// Its first query, until that is described.
    undescribed: Option<StartedQuery>,
    /// What is shown of the executions, until it is described.
    shown: SetAside,
    /// The queries that run, and since when.
    running: BTreeMap<u64, Instant>,
    /// What those that run ask of object stores.
    asking: HashMap<u64, Asking>,
    /// What those that have ended have asked of them.
    asked: Vec<StorageUse>,
    /// The same of the last ones.
    unadded: Vec<(Storage, Arc<PlannedQuery>)>,
    preview: Option<Arc<Preview>>,
    /// The longest time of an execution that has ended.
    slowest: Option<Duration>,
    is_kept: bool,
    has_file: bool,
    is_changed: bool,
    is_described: bool,
    /// Whether somebody looks at it again when its first file is due.
    pub(crate) is_due: bool,
}

/// A query that runs, and asks object stores.
struct Asking {
    storage: Arc<QueryStorage>,
    /// Its scans with the locations as they are: the plan has them as the policy shows them.
    sources: Vec<PlanSource>,
}

impl PlanEntry {
    /// Of the first query that is known of it.
    pub(crate) fn new(plans: &AdmittedPlans, started: &StartedQuery) -> Self {
        // Other texts of the run write values in a form that cannot be distinguished from a name.
        plans.context.policy.redactor().learn_plan(&started.query.texts.logical);
        let plan = PlanBundle {
            node: started.key.node.clone(),
            plan_hash: Some(started.key.plan_hash.clone()),
            query_id: started.query.id.to_string(),
            ..PlanBundle::default()
        };
        Self::of(plan)
    }

    fn of(plan: PlanBundle) -> Self {
        Self {
            plan,
            undescribed: None,
            shown: SetAside::default(),
            running: BTreeMap::new(),
            asking: HashMap::new(),
            asked: Vec::new(),
            unadded: Vec::new(),
            preview: None,
            slowest: None,
            is_kept: false,
            has_file: false,
            is_changed: true,
            is_described: false,
            is_due: false,
        }
    }

    /// Of a plan that was left to its file, if that is there.
    pub(crate) fn of_file(plans: &AdmittedPlans, key: &PlanKey) -> Option<Self> {
        let bundle = plans.context.bundle.as_ref()?;
        let plan = PlanBundle::read_one(bundle, key.node.as_deref(), &key.plan_hash).ok()?;
        plan.executions.as_ref()?;
        Some(Self {
            slowest: Duration::try_from_secs_f64(plan.metrics.wall_ms / 1e3).ok(),
            asked: plan.storage.clone(),
            // It has a file after its queries have ended, so it was kept.
            is_kept: true,
            has_file: true,
            is_changed: false,
            is_described: true,
            ..Self::of(plan)
        })
    }

    pub(crate) fn is_changed(&self) -> bool {
        self.is_changed
    }

    pub(crate) fn has_file(&self) -> bool {
        self.has_file
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    pub(crate) fn runs(&self, query_id: u64) -> bool {
        self.running.contains_key(&query_id)
    }

    /// Since when the query runs that has begun first.
    pub(crate) fn runs_since(&self) -> Option<Instant> {
        self.running.values().min().copied()
    }

    /// Whether no execution that has ended was slower.
    pub(crate) fn is_slowest(&self, wall_time: Duration) -> bool {
        self.slowest.is_none_or(|slowest| wall_time >= slowest)
    }

    /// A query of it is being planned.
    pub(crate) fn planned(&mut self, query: StartedQuery) {
        let id = query.query.id;
        self.running.insert(id, query.at);
        self.plan.query_ids.push(id);
        self.undescribed = Some(query);
        self.is_changed = true;
    }

    /// It is being planned still.
    pub(crate) fn still_planned(&mut self, plans: &AdmittedPlans, query: &PlannedQuery) {
        self.describe(plans);
        self.plan.planning = Some(query.planning_record(shows_literals(plans)));
        self.plan.metrics.planning_ms = Some(milliseconds::of(query.planning.total()));
        self.is_changed = true;
    }

    /// It is planned no more, and nothing else is known of it.
    pub(crate) fn forget_running(&mut self) {
        self.running.clear();
    }

    pub(crate) fn started(&mut self, mut query: StartedQuery) {
        let id = query.query.id;
        self.running.insert(id, query.at);
        if let Some(storage) = query.storage.take() {
            self.asking.insert(id, Asking { storage, sources: query.query.sources() });
        }
        self.executions().started += 1;
        if self.plan.query_ids.len() < MAX_QUERY_IDS {
            self.plan.query_ids.push(id);
        }
        // Of one that was not kept so far, the first query may be forgotten.
        if !self.is_described && self.undescribed.is_none() {
            self.undescribed = Some(query);
        }
        self.is_changed = true;
    }

    pub(crate) fn ended(&mut self, plans: &AdmittedPlans, key: &PlanKey, query: EndedQuery) {
        let EndedQuery { report, preview, storage, .. } = query;
        self.running.remove(&report.query.id);
        // Forgotten there and known here: what it has asked must not count twice.
        self.asking.remove(&report.query.id);
        self.unadded.push((storage, Arc::clone(&report.query)));
        if self.unadded.len() >= MAX_UNADDED {
            self.add_storage(plans);
        }
        if self.plan.preview.is_none() && self.preview.is_none() {
            self.preview = preview.filter(|preview| preview.has_rows());
        }
        self.count(&report);
        self.slowest = self.slowest.max(Some(report.wall_time));
        // One execution that is worth it keeps the plan.
        self.is_kept |= plans.keeps(key, &report);
        self.show(report);
        self.is_changed = true;
    }

    /// More is known of the work on other machines of a query that has ended, if that is shown.
    pub(crate) fn remote_work_settled(&mut self, query_id: u64, work: ClusterWork) {
        self.is_changed |= self.shown.set_cluster(&mut self.plan, &query_id.to_string(), work);
    }

    /// Whether it needs no place among the plans of its node any more.
    pub(crate) fn is_over(&self) -> bool {
        !self.is_kept && self.running.is_empty()
    }

    /// Brings it up to date with a query of it that runs.
    pub(crate) fn refresh(&mut self, plans: &AdmittedPlans, longest: Option<MeasuredQuery>) {
        if let Some(longest) = longest {
            self.show(longest);
        }
        self.show_storage(plans);
    }

    fn executions(&mut self) -> &mut PlanExecutions {
        self.plan.executions.get_or_insert_default()
    }

    fn count(&mut self, report: &MeasuredQuery) {
        let executions = self.executions();
        let PlanExecutions { completed, failed, cancelled, panicked, .. } = executions;
        let is_first = *completed + *failed + *cancelled + *panicked == 0;
        *match report.outcome {
            QueryOutcome::Completed => &mut executions.completed,
            QueryOutcome::Failed { .. } => &mut executions.failed,
            QueryOutcome::Panicked => &mut executions.panicked,
            _ => &mut executions.cancelled,
        } += 1;
        executions.wall_ms += milliseconds::of(report.wall_time);
        executions.planning_ms += milliseconds::of(report.query.planning.total());
        executions.rows += report.rows.unwrap_or(0);
        executions.rows_read += report.rows_read.unwrap_or(0);
        // So that a reader can distinguish a sum that lacks something from a complete one.
        executions.uncounted += u64::from(report.rows_read.is_none());
        // Unknown once is unknown in sum.
        executions.bytes_written = match is_first {
            true => report.bytes_written,
            false => executions.bytes_written.zip(report.bytes_written).map(|(sum, more)| sum + more),
        };
        executions.bytes_scanned += report.bytes_scanned.unwrap_or(0);
        executions.bytes_spilled += report.bytes_spilled;
    }

    /// Shows what was measured of an execution, where it is the one to be shown.
    fn show(&mut self, report: MeasuredQuery) {
        let execution = Execution {
            query_id: report.query.id.to_string(),
            outcome: report.recorded_outcome(),
            wall_ms: milliseconds::of(report.wall_time),
            measured: Measured::Undescribed(Box::new(report)),
        };
        if self.shown.wants(&self.plan, &execution) {
            self.shown.show(&mut self.plan, execution);
            self.is_changed = true;
        }
    }

    /// Shows what all executions have asked of object stores so far.
    fn show_storage(&mut self, plans: &AdmittedPlans) {
        self.add_storage(plans);
        let mut storage = self.asked.clone();
        for asking in self.asking.values() {
            asking.storage.so_far().add_to(&mut storage, &asking.sources, &plans.context.policy);
        }
        if storage != self.plan.storage {
            self.plan.storage = storage;
            self.is_changed = true;
        }
    }

    fn add_storage(&mut self, plans: &AdmittedPlans) {
        for (storage, query) in self.unadded.drain(..) {
            storage.add_to(&mut self.asked, &query.sources(), &plans.context.policy);
        }
    }

    /// Writes out what its file says.
    fn describe(&mut self, plans: &AdmittedPlans) {
        let mut measured = self.shown.take_undescribed();
        if let Some(started) = self.undescribed.take() {
            // Another execution of the same plan may have its own operators, and so has one that another engine has planned.
            let of_it = measured.take_if(|measured| {
                Arc::ptr_eq(&measured.query, &started.query) && measured.is_executed_as_planned()
            });
            let described = described(plans, &started, of_it.as_deref());
            let before = std::mem::replace(&mut self.plan, described);
            // What is known without a description.
            self.plan.query_ids = before.query_ids;
            self.plan.executions = before.executions;
            (self.plan.query_id, self.plan.outcome) = (before.query_id, before.outcome);
            self.plan.metrics.wall_ms = before.metrics.wall_ms;
            self.is_described = true;
        }
        if let Some(report) = measured {
            let mut metrics = report.to_plan_metrics(shows_literals(plans));
            let policy = &plans.context.policy;
            metrics = metrics.with_details(|detail| policy.redactor().plan_text(detail));
            show_tables(&mut metrics, policy);
            if let Some(plan) = report.plan_made_elsewhere(shows_literals(plans)) {
                self.plan.physical_plan = Some(policy.redactor().plan_text(&plan));
            }
            report.measure_sources(&mut self.plan.sources);
            self.plan.metrics = metrics;
        }
        if let Some(preview) = self.preview.take() {
            self.plan.preview = preview.shown(&plans.context.policy);
        }
        self.show_storage(plans);
    }

    /// What is held for a description that nobody needs: it may hold the tables of a query.
    fn drop_undescribed(&mut self) {
        self.undescribed = None;
        self.shown.forget();
        self.preview = None;
    }

    pub(crate) fn write(&mut self, plans: &AdmittedPlans, key: &PlanKey) {
        let Some(bundle) = plans.context.bundle.as_ref().filter(|_| plans.may_write()) else { return };
        // Written while it runs, whatever is kept in the end: if the process dies now, this query is the one that is
        // looked for.
        if self.is_over() {
            self.add_storage(plans);
            self.drop_undescribed();
            self.is_changed = false;
            if std::mem::take(&mut self.has_file) {
                // One that stays costs its place and nothing else.
                let _ = PlanBundle::remove(bundle, key.node.as_deref(), &key.plan_hash);
            }
            return;
        }
        self.describe(plans);
        self.plan.running = self.running.keys().take(MAX_QUERY_IDS).copied().collect();
        // Also where the write fails: a full disk would otherwise be tried ten times a second until the run ends.
        self.is_changed = false;
        match self.plan.write(bundle) {
            Ok(()) => self.has_file = true,
            Err(error) => {
                let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
                let folder = bundle.plans_dir();
                plans.log.records().not_written.insert("plans of queries");
                let code = WarningCode::of_error(&error, WarningCode::PlansNotWritten);
                let warning = format!("cannot write plans to {}: {cause}", folder.display());
                plans.log.bundle_failed(Warning::new(code, warning));
            }
        }
    }
}

fn shows_literals(plans: &AdmittedPlans) -> bool {
    plans.context.policy.sql_text() == SqlText::Whole
}

/// What is known of a plan, as the policy shows it; with what was measured of an execution, if there is one.
fn described(plans: &AdmittedPlans, started: &StartedQuery, measured: Option<&MeasuredQuery>) -> PlanBundle {
    let policy = &plans.context.policy;
    let with_literals = shows_literals(plans);
    let plan = match measured {
        Some(measured) => measured.to_plan_bundle(with_literals),
        None => started.query.to_plan_bundle(with_literals),
    };
    let mut plan = plan.with_texts(|text| policy.redactor().plan_text(text));
    show_tables(&mut plan.metrics, policy);
    for table in &mut plan.source_tables {
        *table = policy.redactor().name_text(table);
    }
    plan.node.clone_from(&started.key.node);
    plan.sql = started.sql.as_ref().map(|sql| sql.to_text());
    for source in &mut plan.sources {
        let location = source.location.take();
        source.table = source.table.take().map(|table| policy.redactor().name_text(&table));
        source.location =
            location.and_then(|location| policy.capture_path(&location)).map(|path| path.to_text());
    }
    for (key, value) in &mut plan.settings {
        *value = policy.capture_named(key, value.as_str()).to_text();
    }
    for column in &mut plan.schema {
        column.name = policy.redactor().name_text(&column.name);
        // The names of fields and the zone of a timestamp may be literals of the query.
        column.data_type = policy.redactor().name_text(&column.data_type);
    }
    plan.lineage = plan.lineage.map(|lineage| lineage.with_names(|name| policy.redactor().name_text(name)));
    if let Some(planning) = &mut plan.planning {
        planning.parsing_ms = started.parsing.map(milliseconds::of);
    }
    plan
}

/// Shows the names of tables: one may be called by a file, or by a text with a credential in it.
fn show_tables(metrics: &mut PlanMetrics, policy: &Policy) {
    for table in metrics.operators.iter_mut().filter_map(|operator| operator.table.as_mut()) {
        *table = policy.redactor().name_text(table);
    }
}
