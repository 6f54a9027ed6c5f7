//! The plans of a run that its thread for plans has in hand, with the sums over their executions.

use std::{
    collections::{HashMap, HashSet, VecDeque, hash_map},
    time::{Duration, Instant},
};

use daglight_settings::KeptPlans;

use crate::{
    admitted_plans::AdmittedPlans,
    cluster_spans::show_reported_tasks,
    operator_spans::show_operators,
    plan_entry::PlanEntry,
    plan_messages::{EndedQuery, PlanKey, PlanMessage, StartedQuery},
    previous_plans::PreviousPlans,
};

/// How long the first file of a plan waits for the end of a query that runs. It is there from then on, because the process may be
/// killed while the query runs; of a query that has ended by then it is written later, with what was measured.
const FIRST_WRITE_AFTER: Duration = Duration::from_millis(20);
/// Plans in memory. Beyond that, those that nothing executes are left to their files.
const MAX_IN_MEMORY: usize = 256;
/// Plans of which it is known that they were left to their files. Beyond that it is looked for the file of each.
const MAX_LEFT: usize = 16_384;
/// Executions of a plan whose operators have spans; of the others only those that are slower than all before.
const MAX_WITH_SPANS: u64 = 100;
/// Plans whose operators have spans.
const MAX_PLANS_WITH_SPANS: usize = 4_096;

#[derive(Default)]
pub(crate) struct PlanBook {
    plans: HashMap<PlanKey, PlanEntry>,
    /// Those that are planned for long, by the ids of their queries.
    planned: HashMap<u64, (PlanKey, PlanEntry)>,
    /// How often each plan was executed, for the spans of its operators.
    with_spans: HashMap<PlanKey, u64>,
    /// Those that run and have no file yet, and when it is written at the latest, in this order.
    without_file: VecDeque<(Instant, PlanKey)>,
    /// Those that are not in memory any more.
    left: HashSet<PlanKey>,
    /// There are more of those.
    others_left: bool,
}

impl PlanBook {
    /// Whether something is to be written.
    pub(crate) fn is_changed(&self) -> bool {
        self.plans.values().any(PlanEntry::is_changed)
    }

    pub(crate) fn take(&mut self, plans: &AdmittedPlans, message: PlanMessage) {
        match message {
            PlanMessage::Started(query) => self.started(plans, *query),
            PlanMessage::Ended(query) => self.ended(plans, *query),
            PlanMessage::HasRemoteId(key) => {
                if let Some(entry) = self.plans.get_mut(&key).filter(|entry| entry.is_running()) {
                    refresh(plans, entry);
                    // At once, and not with others: nobody finds the work on other machines without it.
                    entry.write(plans, &key);
                }
            }
            PlanMessage::RemoteWorkSettled { key, query_id, work } => {
                self.load(plans, &key);
                if let Some(entry) = self.plans.get_mut(&key) {
                    entry.remote_work_settled(query_id, *work);
                }
            }
            PlanMessage::Beat(planned) => {
                self.show_planned(plans, planned);
                self.refresh(plans);
                self.write(plans);
            }
        }
    }

    /// Brings the plans of queries that run up to date.
    pub(crate) fn refresh(&mut self, plans: &AdmittedPlans) {
        let running = self.plans.values_mut().filter(|entry| entry.is_running());
        running.for_each(|entry| refresh(plans, entry));
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
            match self.planned.entry(query.query.id) {
                hash_map::Entry::Occupied(known) => known.into_mut().1.still_planned(plans, &query.query),
                hash_map::Entry::Vacant(place) => {
                    // Its text is that of one whose planning has failed before, and which has the file.
                    if self.plans.contains_key(&query.key) || self.left.contains(&query.key) {
                        continue;
                    }
                    let mut entry = PlanEntry::new(plans, &query);
                    let key = query.key.clone();
                    entry.planned(query);
                    place.insert((key, entry));
                }
            }
        }
        self.planned.values_mut().for_each(|(key, entry)| entry.write(plans, key));
    }

    /// A query is planned no more: what it is now has another file, or none.
    fn forget_planned(&mut self, plans: &AdmittedPlans, id: u64) {
        let Some((key, mut entry)) = self.planned.remove(&id) else { return };
        if !self.plans.contains_key(&key) {
            entry.forget_running();
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
            let Some(entry) = self.plans.get_mut(&key) else { continue };
            entry.is_due = false;
            // Of several in a row the one that runs now may have begun a moment ago, and the others are written with it.
            match entry.runs_since().filter(|_| !entry.has_file()) {
                Some(since) if since.elapsed() >= FIRST_WRITE_AFTER => entry.write(plans, &key),
                Some(since) => self.file_is_due(since, key),
                None => {}
            }
        }
    }

    /// The plan needs a file, if it is executed for long.
    fn file_is_due(&mut self, since: Instant, key: PlanKey) {
        let Some(entry) = self.plans.get_mut(&key).filter(|entry| !entry.has_file() && !entry.is_due) else {
            return;
        };
        entry.is_due = true;
        let at = since + FIRST_WRITE_AFTER;
        let place = self.without_file.partition_point(|(earlier, _)| *earlier <= at);
        self.without_file.insert(place, (at, key));
    }

    /// Writes what has changed, and removes what is not kept.
    pub(crate) fn write(&mut self, plans: &AdmittedPlans) {
        // Once for all that has come in since: a query of a millisecond that runs in a loop would write a file each
        // time.
        for (key, entry) in self.plans.iter_mut().filter(|(_, entry)| entry.is_changed()) {
            entry.write(plans, key);
        }
        if self.plans.len() > MAX_IN_MEMORY {
            // Their files have what is needed to go on: it is read back when the plan is executed again.
            for (key, _) in self.plans.extract_if(|_, entry| !entry.is_running()) {
                if self.left.len() < MAX_LEFT {
                    self.left.insert(key);
                } else {
                    self.others_left = true;
                }
            }
        }
    }

    fn started(&mut self, plans: &AdmittedPlans, query: StartedQuery) {
        if plans.context.settings().plans.keep != KeptPlans::All {
            // Read beside the first query, and not when the run starts.
            plans.previous.get_or_init(|| PreviousPlans::of_dag(&plans.context));
        }
        let (id, at, key) = (query.query.id, query.at, query.key.clone());
        self.load(plans, &key);
        self.plans.entry(key.clone()).or_insert_with(|| PlanEntry::new(plans, &query)).started(query);
        self.forget_planned(plans, id);
        self.file_is_due(at, key);
    }

    /// Reads a plan back that was left to its file.
    fn load(&mut self, plans: &AdmittedPlans, key: &PlanKey) {
        // Looked for only where there may be one: every plan is new once.
        if !self.plans.contains_key(key)
            && (self.left.remove(key) || self.others_left)
            && let Some(entry) = PlanEntry::of_file(plans, key)
        {
            self.plans.insert(key.clone(), entry);
        }
    }

    fn ended(&mut self, plans: &AdmittedPlans, query: EndedQuery) {
        let EndedQuery { key, report, span, .. } = &query;
        let entry = self.plans.get_mut(key);
        let is_slowest = entry.as_ref().is_none_or(|entry| entry.is_slowest(report.wall_time));
        if let Some(span) = span
            && self.has_spans(key, is_slowest)
        {
            show_operators(&plans.context, span, key.node.as_deref(), report);
            show_reported_tasks(&plans.context, span, key.node.as_deref(), report);
        }
        let key = key.clone();
        if let Some(entry) = self.plans.get_mut(&key) {
            entry.ended(plans, &key, query);
            if entry.is_over() {
                plans.release(&key);
            }
        }
    }

    /// Whether the operators of one more execution have spans.
    fn has_spans(&mut self, key: &PlanKey, is_slowest: bool) -> bool {
        // Of more plans than these, none has spans of operators.
        if self.with_spans.len() >= MAX_PLANS_WITH_SPANS && !self.with_spans.contains_key(key) {
            return false;
        }
        // Counted beside the entries, which come and go with memory: a plan must not get another hundred executions
        // with spans each time.
        let executions = self.with_spans.entry(key.clone()).or_default();
        *executions += 1;
        *executions <= MAX_WITH_SPANS || is_slowest
    }
}

fn refresh(plans: &AdmittedPlans, entry: &mut PlanEntry) {
    let longest = plans.context.shared.live.report_of_longest(|id| entry.runs(id));
    entry.refresh(plans, longest);
}
