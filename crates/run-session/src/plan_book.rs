//! The plans of a run that its thread for plans has in hand, with the sums over their executions.

use std::{
    collections::{BTreeSet, HashMap, VecDeque, hash_map},
    error::Error as _,
    sync::Arc,
    time::{Duration, Instant},
};

use daglight_capture_policy::{Policy, SqlText};
use daglight_plan_diagnostics::{MeasuredQuery, QueryOutcome};
use daglight_run_bundle::{
    PlanBundle, PlanExecutions, PlanMetrics, PlanSource, StorageUse, Warning, WarningCode, milliseconds,
};
use daglight_settings::KeptPlans;

use crate::{
    admitted_plans::AdmittedPlans,
    cluster_spans::show_reported_tasks,
    operator_spans::show_operators,
    plan_messages::{EndedQuery, PlanKey, PlanMessage, StartedQuery},
    previous_plans::PreviousPlans,
    shown_execution::{Execution, SetAside},
    storage::QueryStorage,
};

/// How long the first file of a plan waits for the end of its query. It is there from then on, because the process may be killed
/// while the query runs; of a query that has ended by then it is written once, with what was measured.
const FIRST_WRITE_AFTER: Duration = Duration::from_millis(20);
/// Plans in memory. Beyond that, those that nothing executes are left to their files.
const MAX_IN_MEMORY: usize = 256;
/// Ids of queries that the file of a plan names.
const MAX_QUERY_IDS: usize = 100;
/// Executions of a plan whose operators have spans; of the others only those that are slower than all before.
const MAX_WITH_SPANS: u64 = 100;
/// Plans whose operators have spans.
const MAX_PLANS_WITH_SPANS: usize = 4_096;

#[derive(Default)]
pub(crate) struct PlanBook {
    plans: HashMap<PlanKey, Entry>,
    /// Those that are planned for long, by the ids of their queries.
    planned: HashMap<u64, (PlanKey, Entry)>,
    /// How often each plan was executed, for the spans of its operators.
    with_spans: HashMap<PlanKey, u64>,
    /// Those that have no file yet, and when it is written at the latest, in this order.
    without_file: VecDeque<(Instant, PlanKey)>,
}

struct Entry {
    plan: PlanBundle,
    running: BTreeSet<u64>,
    /// What those that run ask of object stores.
    asking: HashMap<u64, Asking>,
    /// What those that have ended have asked of them.
    asked: Vec<StorageUse>,
    set_aside: SetAside,
    /// The longest time of an execution that has ended.
    slowest: Option<Duration>,
    is_kept: bool,
    has_file: bool,
    is_changed: bool,
}

/// A query that runs, and asks object stores.
struct Asking {
    storage: Arc<QueryStorage>,
    /// Its scans with the locations as they are: the plan has them as the policy shows them.
    sources: Vec<PlanSource>,
}

impl PlanBook {
    /// Whether something is to be written.
    pub(crate) fn is_changed(&self) -> bool {
        self.plans.values().any(|entry| entry.is_changed)
    }

    pub(crate) fn take(&mut self, plans: &AdmittedPlans, message: PlanMessage) {
        match message {
            PlanMessage::Started(query) => self.started(plans, *query),
            PlanMessage::Ended(query) => self.ended(plans, *query),
            PlanMessage::Beat(planned) => {
                self.show_planned(plans, planned);
                self.refresh(plans);
                self.write(plans);
            }
        }
    }

    /// Brings the plans of queries that run up to date.
    pub(crate) fn refresh(&mut self, plans: &AdmittedPlans) {
        let live = &plans.context.shared.live;
        for entry in self.plans.values_mut().filter(|entry| !entry.running.is_empty()) {
            if let Some(longest) = live.report_of_longest(&entry.running) {
                entry.show(plans, &longest);
            }
            entry.show_storage(plans);
        }
    }

    /// Shows what is known of queries that are being planned, and forgets those that are not any more.
    fn show_planned(&mut self, plans: &AdmittedPlans, queries: Vec<StartedQuery>) {
        let gone: Vec<u64> = self
            .planned
            .keys()
            .copied()
            .filter(|id| queries.iter().all(|query| query.query.id != *id))
            .collect();
        gone.into_iter().for_each(|id| self.forget_planned(plans, id));
        for query in queries {
            let with_literals = plans.context.policy.sql_text() == SqlText::Whole;
            match self.planned.entry(query.query.id) {
                hash_map::Entry::Occupied(known) => {
                    let (_, entry) = known.into_mut();
                    entry.plan.planning = Some(query.query.planning_record(with_literals));
                    entry.plan.metrics.planning_ms = Some(milliseconds::of(query.query.planning.total()));
                    entry.is_changed = true;
                }
                hash_map::Entry::Vacant(place) => {
                    let entry = Entry::new(plans, &query);
                    // Its text is that of one whose planning has failed before, and which has the file.
                    if entry.has_file || self.plans.contains_key(&query.key) {
                        continue;
                    }
                    let (_, entry) = place.insert((query.key, entry));
                    entry.running.insert(query.query.id);
                    entry.plan.query_ids.push(query.query.id);
                }
            }
        }
        self.planned.values_mut().for_each(|(key, entry)| entry.write(plans, key));
    }

    /// A query is planned no more: what it is now has another file, or none.
    fn forget_planned(&mut self, plans: &AdmittedPlans, id: u64) {
        let Some((key, mut entry)) = self.planned.remove(&id) else { return };
        if !self.plans.contains_key(&key) {
            entry.running.clear();
            entry.write(plans, &key);
            plans.release(&key);
        }
    }

    /// How long the next first file of a plan may wait; `None` where none is to be written.
    pub(crate) fn first_file_in(&self) -> Option<Duration> {
        let (at, _) = self.without_file.front()?;
        Some(at.saturating_duration_since(Instant::now()))
    }

    /// Writes the first files that are due, of queries that run.
    pub(crate) fn write_first_files(&mut self, plans: &AdmittedPlans) {
        while let Some((_, key)) = self.without_file.pop_front_if(|(at, _)| *at <= Instant::now()) {
            if let Some(entry) =
                self.plans.get_mut(&key).filter(|entry| !entry.has_file && !entry.running.is_empty())
            {
                entry.write(plans, &key);
            }
        }
    }

    /// Writes what has changed, and removes what is not kept.
    pub(crate) fn write(&mut self, plans: &AdmittedPlans) {
        // Once for all that has come in since: a query of a millisecond that runs in a loop would write a file each
        // time.
        for (key, entry) in self.plans.iter_mut().filter(|(_, entry)| entry.is_changed) {
            entry.write(plans, key);
        }
        if self.plans.len() > MAX_IN_MEMORY {
            // Their files have what is needed to go on: `Entry::new` reads it back when the plan is executed again.
            self.plans.retain(|_, entry| !entry.running.is_empty());
        }
    }

    fn started(&mut self, plans: &AdmittedPlans, query: StartedQuery) {
        if plans.context.settings().plans.keep != KeptPlans::All {
            // Read beside the first query, and not when the run starts.
            plans.previous.get_or_init(|| PreviousPlans::of_dag(&plans.context));
        }
        let id = query.query.id;
        // New in memory; its file may be there.
        let is_new = !self.plans.contains_key(&query.key);
        let entry = self.plans.entry(query.key.clone()).or_insert_with(|| Entry::new(plans, &query));
        entry.running.insert(id);
        if let Some(storage) = query.storage {
            entry.asking.insert(id, Asking { storage, sources: query.query.sources() });
        }
        entry.executions().started += 1;
        if entry.plan.query_ids.len() < MAX_QUERY_IDS {
            entry.plan.query_ids.push(id);
        }
        entry.is_changed = true;
        self.forget_planned(plans, id);
        if is_new {
            self.without_file.push_back((Instant::now() + FIRST_WRITE_AFTER, query.key));
        }
    }

    fn ended(&mut self, plans: &AdmittedPlans, query: EndedQuery) {
        let EndedQuery { key, report, span, preview, storage } = query;
        let entry = self.plans.get_mut(&key);
        let is_slowest = entry
            .as_ref()
            // Before the entry takes it in, which sets the slowest.
            .is_none_or(|entry| entry.slowest.is_none_or(|slowest| report.wall_time >= slowest));
        if let Some(entry) = entry {
            entry.end(plans, &report);
            // Forgotten there and known here: what it has asked must not count twice.
            entry.asking.remove(&report.query.id);
            storage.add_to(&mut entry.asked, &report.query.sources(), &plans.context.policy);
            entry.show_storage(plans);
            if entry.plan.preview.is_none() {
                entry.plan.preview = preview.and_then(|preview| preview.shown(&plans.context.policy));
            }
            // One execution that is worth it keeps the plan.
            entry.is_kept |= plans.keeps(&key, &report);
            if !entry.is_kept && entry.running.is_empty() {
                plans.release(&key);
            }
        }
        if let Some(span) = span {
            let has_room = self.with_spans.len() < MAX_PLANS_WITH_SPANS;
            // Of more plans than these, none has spans of operators.
            if !has_room && !self.with_spans.contains_key(&key) {
                return;
            }
            let executions = self.with_spans.entry(key.clone()).or_default();
            // Counted beside the entries, which come and go with memory: a plan must not get another hundred
            // executions with spans each time.
            *executions += 1;
            if *executions <= MAX_WITH_SPANS || is_slowest {
                show_operators(&plans.context, &span, key.node.as_deref(), &report);
                show_reported_tasks(&plans.context, &span, key.node.as_deref(), &report);
            }
        }
    }
}

/// Shows the names of tables: one may be called by a file, or by a text with a credential in it.
fn show_tables(metrics: &mut PlanMetrics, policy: &Policy) {
    for table in metrics.operators.iter_mut().filter_map(|operator| operator.table.as_mut()) {
        *table = policy.redactor().name_text(table);
    }
}

impl Entry {
    fn new(plans: &AdmittedPlans, started: &StartedQuery) -> Self {
        let PlanKey { node, plan_hash } = &started.key;
        // It may have been left to its file.
        let before = plans.context.bundle.as_ref().and_then(|bundle| {
            PlanBundle::read_one(bundle, node.as_deref(), plan_hash)
                .ok()
                .filter(|plan| plan.executions.is_some())
        });
        if let Some(plan) = before {
            let slowest = Duration::try_from_secs_f64(plan.metrics.wall_ms / 1e3).ok();
            let asked = plan.storage.clone();
            return Self {
                plan,
                running: BTreeSet::new(),
                asking: HashMap::new(),
                asked,
                set_aside: SetAside::default(),
                slowest,
                // It has a file after its queries have ended, so it was kept.
                is_kept: true,
                has_file: true,
                is_changed: false,
            };
        }
        let policy = &plans.context.policy;
        // Other texts of the plan write values in a form that cannot be distinguished from a name.
        policy.redactor().learn_plan(&started.query.texts.logical);
        let mut plan = started
            .query
            .to_plan_bundle(policy.sql_text() == SqlText::Whole)
            .with_texts(|text| policy.redactor().plan_text(text));
        show_tables(&mut plan.metrics, policy);
        for table in &mut plan.source_tables {
            *table = policy.redactor().name_text(table);
        }
        plan.node.clone_from(node);
        plan.query_id = started.query.id.to_string();
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
        plan.lineage =
            plan.lineage.map(|lineage| lineage.with_names(|name| policy.redactor().name_text(name)));
        if let Some(planning) = &mut plan.planning {
            planning.parsing_ms = started.parsing.map(milliseconds::of);
        }
        Self {
            plan,
            running: BTreeSet::new(),
            asking: HashMap::new(),
            asked: Vec::new(),
            set_aside: SetAside::default(),
            slowest: None,
            is_kept: false,
            has_file: false,
            is_changed: true,
        }
    }

    fn executions(&mut self) -> &mut PlanExecutions {
        self.plan.executions.get_or_insert_default()
    }

    fn end(&mut self, plans: &AdmittedPlans, report: &MeasuredQuery) {
        let id = report.query.id;
        self.running.remove(&id);
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
        self.show(plans, report);
        self.slowest = self.slowest.max(Some(report.wall_time));
        self.is_changed = true;
    }

    /// Shows what all executions have asked of object stores so far.
    fn show_storage(&mut self, plans: &AdmittedPlans) {
        let mut storage = self.asked.clone();
        for asking in self.asking.values() {
            asking.storage.so_far().add_to(&mut storage, &asking.sources, &plans.context.policy);
        }
        if storage != self.plan.storage {
            self.plan.storage = storage;
            self.is_changed = true;
        }
    }

    /// Shows what was measured of an execution, where it is the one to be shown.
    fn show(&mut self, plans: &AdmittedPlans, report: &MeasuredQuery) {
        let (query_id, outcome) = (report.query.id.to_string(), report.recorded_outcome());
        let wall_ms = milliseconds::of(report.wall_time);
        if !self.set_aside.wants(&self.plan, &query_id, outcome.as_deref(), wall_ms) {
            return;
        }
        let policy = &plans.context.policy;
        let mut sources = self.plan.sources.clone();
        report.measure_sources(&mut sources);
        let with_literals = policy.sql_text() == SqlText::Whole;
        if let Some(plan) = report.plan_made_elsewhere(with_literals) {
            self.plan.physical_plan = Some(policy.redactor().plan_text(&plan));
        }
        let metrics = report.to_plan_metrics(with_literals);
        let mut metrics = metrics.with_details(|detail| policy.redactor().plan_text(detail));
        show_tables(&mut metrics, policy);
        self.set_aside.show(&mut self.plan, Execution { query_id, outcome, sources, metrics });
        self.is_changed = true;
    }

    fn write(&mut self, plans: &AdmittedPlans, key: &PlanKey) {
        let Some(bundle) = plans.context.bundle.as_ref().filter(|_| plans.may_write()) else { return };
        // Also where the write fails: a full disk would otherwise be tried ten times a second until the run ends.
        self.is_changed = false;
        self.plan.running = self.running.iter().take(MAX_QUERY_IDS).copied().collect();
        // Written while it runs, whatever is kept in the end: if the process dies now, this query is the one that is
        // looked for.
        if self.running.is_empty() && !self.is_kept {
            if std::mem::take(&mut self.has_file) {
                // One that stays costs its place and nothing else.
                let _ = PlanBundle::remove(bundle, key.node.as_deref(), &key.plan_hash);
            }
            return;
        }
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
