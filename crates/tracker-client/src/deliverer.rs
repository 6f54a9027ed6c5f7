//! Delivery in single steps: from the outbox to the server, each item once.

#![expect(
    clippy::disallowed_methods,
    reason = "what a server may still do is over at a time of the clock, which outlives the process"
)]

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};

use chrono::{DateTime, TimeDelta, Utc};
use daglight_run_bundle::{
    ItemsByKind, WarningCode,
    outbox::{Cursor, OutboxError, Outcome, Skipped, Unwritten, Version, outbox_path},
};

use crate::{
    batch::Part,
    call::CallError,
    client::Client,
    encode::wire_name,
    in_flight::{IN_FLIGHT, LATEST_COMMIT, MAX_IN_FLIGHT, is_in_flight},
    step_outcome::{DeliveryError, Progress},
    steps::{Action, Step, Steps},
    verify::{Expected, Verified, verify},
    wire,
};

/// Delivers one outbox. Holds one batch of it in memory.
#[derive(Debug)]
pub(crate) struct Deliverer {
    tracker_dir: PathBuf,
    client: Client,
    steps: Steps,
    /// Events that do not fit into the outbox.
    unwritten: Unwritten,
    cursor: Cursor,
    /// The current step, from its first attempt on.
    pending: Option<Step>,
    /// Whether the pending step was attempted.
    tried: bool,
    /// The remaining parts of its batch.
    parts: VecDeque<Part>,
    /// Whether this delivery has just created the version, so that it cannot have any runs yet.
    version_is_new: bool,
    /// Whether the server has confirmed that the stored run is the one of this outbox.
    is_own_run: bool,
    /// When the server was last asked about requests with an unknown outcome.
    verified_at: Option<DateTime<Utc>>,
    /// A task update that the server has accepted.
    known_task: Option<wire::NodeRunIn>,
    warned_of_cursor: bool,
    /// Whether the server has carried out a step, as only a Hamilton server can.
    has_delivered: bool,
}

impl Deliverer {
    /// Continues the delivery of a `tracker` folder.
    ///
    /// # Errors
    /// When the outbox or the cursor cannot be read.
    pub(crate) fn open(tracker_dir: &Path, client: Client) -> Result<Self, DeliveryError> {
        let server = client.server().to_owned();
        let mut cursor = match Cursor::load(tracker_dir)? {
            Some(cursor) => cursor.towards(server),
            None => Cursor::new(server),
        };
        // If the server had the run, its ids are kept: `is_gone` asks whether they are still valid. Otherwise there is nothing to
        // ask about.
        if cursor.link.is_none() {
            // The ids of project and version may belong to others by now. They are requested again.
            cursor = cursor.without_ids();
        }
        let steps = Steps::open(&outbox_path(tracker_dir), cursor.offset, cursor.outcome)?;
        Ok(Self {
            tracker_dir: tracker_dir.to_owned(),
            client,
            steps,
            unwritten: Unwritten::none(),
            cursor,
            pending: None,
            tried: false,
            parts: VecDeque::new(),
            version_is_new: false,
            is_own_run: false,
            verified_at: None,
            known_task: None,
            warned_of_cursor: false,
            has_delivered: false,
        })
    }

    /// Also delivers events that an outbox of this process cannot write, once its run has ended.
    pub(crate) fn with_unwritten(self, unwritten: Unwritten) -> Self {
        Self { unwritten, ..self }
    }

    pub(crate) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Delivers the next step. After an error, the next call tries the same step again.
    ///
    /// # Errors
    /// When the outbox cannot be read, or the server does not respond or rejects the request.
    pub(crate) fn step(&mut self) -> Result<Progress, DeliveryError> {
        let step = match self.pending.take() {
            Some(step) => step,
            None => {
                self.tried = false;
                match self.next_step()? {
                    Some(step) => step,
                    None => return self.verify(),
                }
            }
        };
        match self.try_step(step)? {
            Some(progress) => Ok(progress),
            None => self.start_again(),
        }
    }

    /// What is behind an error: servers of other kinds answer with errors that also have other reasons.
    pub(crate) fn explained(&self, error: DeliveryError) -> DeliveryError {
        match &error {
            DeliveryError::Call(call) if !self.has_delivered && call.may_be_of_other_server() => {
                match self.client.phone_home() {
                    Err(other @ CallError::OtherServer { .. }) => other.into(),
                    _ => error,
                }
            }
            _ => error,
        }
    }

    fn next_step(&mut self) -> Result<Option<Step>, OutboxError> {
        if let Some(step) = self.steps.next()? {
            return Ok(Some(step));
        }
        let unwritten = self.unwritten.hand_out();
        if unwritten.is_empty() {
            return Ok(None);
        }
        // Only when the file has nothing more: events in memory were recorded after all that could be written.
        self.steps.add_unwritten(unwritten);
        self.steps.next()
    }

    /// Delivers a step, or keeps it for the next attempt. `None` if the server no longer has the run.
    fn try_step(&mut self, mut step: Step) -> Result<Option<Progress>, DeliveryError> {
        let result = self.attempt(&mut step);
        // The cursor moves after the response and never before it. After a crash in between, the step is sent again, which the
        // server either recognises as the same or is asked about first (`Part::uncertain`, `find_run`); the opposite order would
        // lose it.
        if let Ok(true) = result {
            self.advance(&step);
            self.has_delivered = true;
            return Ok(Some(Progress::Delivered { more: step.more }));
        }
        // Later operations may also fail, and nothing after the step must be sent before it.
        self.pending = Some(step);
        result.map(|_| None)
    }

    /// Delivers a step. Returns false if the server no longer has the run.
    fn attempt(&mut self, step: &mut Step) -> Result<bool, DeliveryError> {
        let was_own_run = self.is_own_run;
        // Ids are per database, and the API has no unique key for a run. After a restore, or behind a proxy that now leads
        // elsewhere, the stored id may belong to another run, and a bulk update would modify it without an error.
        if self.is_gone(&step.action)? {
            return Ok(false);
        }
        if self.must_wait_for(&step.action) {
            return Err(DeliveryError::InFlight);
        }
        self.tried = true;
        let Err(error) = self.deliver(step) else { return Ok(true) };
        if let DeliveryError::Call(error) = &error {
            // A server that appears where none was reachable may be another one. A server that only failed is still the same.
            self.is_own_run &= !error.was_away() && !error.is_not_found();
            // Checked only if the run was there before: a 404 to the very first request is a wrong project or path, and sending
            // everything again would result in the same response forever.
            if error.is_not_found() && was_own_run && self.is_gone(&step.action)? {
                return Ok(false);
            }
        }
        Err(error)
    }

    /// Whether the id of the run now belongs to another run, or to none: the server's database may have been replaced, or its
    /// project deleted. Checked before anything is sent under a stored id, and again if the server was unreachable.
    fn is_gone(&mut self, next: &Action) -> Result<bool, CallError> {
        let Some(link) = &self.cursor.link else { return Ok(false) };
        let Some(run_id) = self.steps.run_id() else { return Ok(false) };
        if self.is_own_run || matches!(next, Action::Version(_) | Action::Run { .. } | Action::Nothing) {
            return Ok(false);
        }
        self.is_own_run = self.client.run_on_server(link.dag_run_id, run_id)?.is_some();
        Ok(!self.is_own_run)
    }

    /// Delivers everything again, to a server that has lost it. If the server has no project for it, the progress so far is kept.
    fn start_again(&mut self) -> Result<Progress, DeliveryError> {
        // First, and before anything is forgotten: a server that starts up empty may get its projects back in a minute.
        let project_id = self.client.resolve_project()?.id;
        let dag_run_id = self.dag_run_id()?;
        tracing::warn!(
            warning.code = WarningCode::Redelivered.name(),
            dag_run_id,
            "the tracking server no longer has this run, or has another one under its id: sending everything again"
        );
        self.cursor = self.cursor.anew(project_id);
        self.steps = Steps::open(&outbox_path(&self.tracker_dir), 0, None)?;
        self.parts.clear();
        // They are read again from the outbox if they are in it by then, or handed out again if not.
        self.unwritten.give_back();
        (self.pending, self.known_task, self.verified_at) = (None, None, None);
        self.save_cursor();
        Ok(Progress::Delivered { more: true })
    }

    /// When everything is delivered, asks the server about requests with an unknown outcome: once as soon as possible, and once
    /// when they can no longer take effect.
    fn verify(&mut self) -> Result<Progress, DeliveryError> {
        let now = Utc::now();
        let Some(until) = self.cursor.unverified_until else { return Ok(Progress::UpToDate) };
        let is_final = now >= until;
        let (Some(link), Some(_)) = (&self.cursor.link, self.cursor.outcome) else {
            return Ok(Progress::UpToDate);
        };
        // The server responds with the whole run including all nodes, so it is not asked with each flush.
        if self.verified_at.is_some() && !is_final {
            return Ok(Progress::UpToDate);
        }
        // Read from the file instead of kept while delivering: a run of 100,000 nodes would hold them all in memory for a rare
        // case.
        let Some(expected) = Expected::read(&outbox_path(&self.tracker_dir))? else {
            return Ok(Progress::UpToDate);
        };
        match verify(&self.client, link, &expected, &self.cursor.skipped) {
            Err(error) if error.is_temporary() => return Err(error.into()),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    warning.code = WarningCode::Unverified.name(),
                    error,
                    "it cannot be verified what the tracking server has of this run"
                );
                self.verified_at = Some(now);
                return Ok(Progress::UpToDate);
            }
            Ok(Verified::Gone) => return self.start_again(),
            Ok(Verified::AsRecorded { duplicates, mended }) => {
                if duplicates > 0 || mended {
                    tracing::info!(
                        duplicates,
                        mended,
                        "the tracking server carried out requests late: the records were corrected"
                    );
                }
            }
        }
        self.verified_at = Some(now);
        if is_final {
            self.cursor.unverified_until = None;
        }
        self.save_cursor();
        Ok(Progress::UpToDate)
    }

    /// Sends a request that would do harm if the server carried it out late. Until that is impossible, the delivery is unverified,
    /// even if this process ends before the response.
    fn risk<T>(
        &mut self,
        deadline: fn(&mut Cursor) -> &mut Option<DateTime<Utc>>,
        request: impl FnOnce(&mut Self) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        // Written before the request is sent, so that it also holds for a process that is killed while it waits for the response:
        // the process that continues knows about a request with an unknown outcome.
        let before = (self.cursor.unverified_until, *deadline(&mut self.cursor));
        let begun = Utc::now();
        self.cursor.unverified_until = Some(begun + LATEST_COMMIT);
        *deadline(&mut self.cursor) = Some(begun + IN_FLIGHT);
        self.save_cursor();
        let result = request(self);
        match &result {
            // Counted from now and not from its start: the duration of the request has shown how slow this server can be.
            Err(error) if error.may_commit_late() => {
                self.cursor.unverified_until = Some(Utc::now() + LATEST_COMMIT);
                *deadline(&mut self.cursor) = self.in_flight_until(error);
                self.save_cursor();
            }
            _ => (self.cursor.unverified_until, *deadline(&mut self.cursor)) = before,
        }
        result
    }

    /// A status that reaches the server too late would replace a newer one. So while it may still be processing a request that was
    /// cut off, the same request can be sent again, but nothing newer.
    fn must_wait_for(&self, next: &Action) -> bool {
        let until = match next {
            Action::Tasks(_) => self.cursor.tasks_in_flight_until,
            Action::Tags(_) | Action::End(..) => self.cursor.run_in_flight_until,
            Action::Version(_) | Action::Run { .. } | Action::Nothing => None,
        };
        // A retry is the same request again, which the server may carry out in any order with the first one.
        !self.tried && is_in_flight(until, Utc::now())
    }

    /// Until when the server may still process a request that failed in this way.
    fn in_flight_until(&self, error: &CallError) -> Option<DateTime<Utc>> {
        // A server that let the whole timeout pass is slow, and has the request in its queue; one that hung up early has most
        // likely dropped it.
        let slow = TimeDelta::from_std(self.client.request_timeout() / 2).unwrap_or(MAX_IN_FLIGHT);
        let longest = if error.timed_out() { slow.clamp(IN_FLIGHT, MAX_IN_FLIGHT) } else { IN_FLIGHT };
        error.may_go_on().then(|| Utc::now() + longest)
    }

    fn deliver(&mut self, step: &mut Step) -> Result<(), DeliveryError> {
        match &mut step.action {
            Action::Version(version) => self.deliver_version(version),
            Action::Run { run_id, started, body } => self.deliver_run(run_id, *started, body),
            Action::Tasks(part) => {
                let dag_run_id = self.dag_run_id()?;
                // Parts are counted one by one; `advance` would count them a second time.
                step.counts = ItemsByKind::default();
                self.parts.extend(part.take());
                while let Some(part) = self.parts.pop_front() {
                    self.deliver_part(dag_run_id, part)?;
                }
                Ok(())
            }
            Action::Tags(update) => self.deliver_tags(update, &mut step.counts),
            Action::End(_, update) => Ok(self.update_run(update)?),
            Action::Nothing => Ok(()),
        }
    }

    /// Finds or creates the server's version. If another process creates the same one at this moment, the server fails, and the
    /// next attempt finds it.
    fn deliver_version(&mut self, version: &Version) -> Result<(), DeliveryError> {
        // Resolved once and kept: project names are not unique, and a second project with the name that is created in the meantime
        // must not split a run over two.
        let project_id = match self.cursor.project_id {
            Some(id) => id,
            None => self.client.resolve_project()?.id,
        };
        self.cursor.project_id = Some(project_id);
        // Checked before it is created, because the server responds to a second version with the same hashes with a failure, which
        // looks like any other failure.
        let template_id = match self.client.find_version(project_id, version)? {
            Some(id) => id,
            None => {
                let id = self.client.create_version(project_id, version)?;
                self.version_is_new = true;
                id
            }
        };
        self.cursor.template_id = Some(template_id);
        Ok(())
    }

    /// Creating a run is not idempotent, so the server is asked for it first, unless nobody can have tried.
    fn deliver_run(
        &mut self,
        run_id: &str,
        started: DateTime<Utc>,
        body: &wire::DagRunIn,
    ) -> Result<(), DeliveryError> {
        let (project_id, template_id) =
            self.cursor.project_id.zip(self.cursor.template_id).ok_or_else(|| self.no_run())?;
        // A version that this delivery has just created has no runs, so searching through the pages of all runs is unnecessary.
        let found = match self.version_is_new {
            true => None,
            false => self.client.find_run(template_id, run_id, started)?,
        };
        let dag_run_id = match found {
            Some((id, several)) => {
                if several {
                    // One of them results from a request that was carried out late. `verify` marks it, immediately because no
                    // deadline lies ahead.
                    self.cursor.unverified_until.get_or_insert_with(Utc::now);
                }
                id
            }
            // The server may have the create in its queue: another one now would create a second run, which nothing prevents.
            None if is_in_flight(self.cursor.run_in_flight_until, Utc::now()) => {
                return Err(DeliveryError::InFlight);
            }
            None => self.create_run(template_id, body)?,
        };
        self.cursor.run_in_flight_until = None;
        self.cursor.link = Some(self.client.link(project_id, template_id, dag_run_id));
        self.is_own_run = true;
        Ok(())
    }

    fn create_run(&mut self, template_id: i64, body: &wire::DagRunIn) -> Result<i64, CallError> {
        // Whatever the result, a run may exist from here on.
        self.version_is_new = false;
        self.risk(|cursor| &mut cursor.run_in_flight_until, |own| own.client.create_run(template_id, body))
    }

    /// Sends one part of a batch. The remaining content is put back at the front.
    fn deliver_part(&mut self, dag_run_id: i64, mut part: Part) -> Result<(), DeliveryError> {
        let Err(error) = self.try_part(dag_run_id, &mut part) else {
            self.cursor.delivered.add(part.counts());
            // Kept as a probe: the server has accepted it, so if it now fails, the problem is the server itself.
            self.known_task = part.body.task_updates.pop().or(self.known_task.take());
            return Ok(());
        };
        let mut suspect = error.is_about_payload();
        part.uncertain |= error.is_ambiguous();
        if error.may_be_about_payload() {
            part.failures += 1;
            // Hamilton responds with 500 to a NaN, to a name that is too long for PostgreSQL and to a locked SQLite alike. After
            // two failures the culprit is searched for by halving, which loses nothing; a single remaining item would be skipped
            // for good, so it gets more chances.
            let attempts = if part.len() == 1 { 4 } else { 2 };
            suspect = part.failures >= attempts && self.is_working(dag_run_id);
        }
        if !suspect {
            self.parts.push_front(part);
            return Err(error.into());
        }
        match part.split() {
            Ok((first, second)) => {
                // In the order of the outbox, so that of two updates of a node the later one comes last.
                self.parts.push_front(second);
                self.parts.push_front(first);
            }
            Err(part) => self.skip(&part, &error),
        }
        Ok(())
    }

    fn try_part(&mut self, dag_run_id: i64, part: &mut Part) -> Result<(), CallError> {
        if part.uncertain {
            // Task updates are upserts and can be repeated. Attributes are inserts that are unique by run, node and name: if one
            // was inserted, the whole request becomes a 500, and so does every retry.
            let (nodes, types) = (part.attribute_nodes(), part.attribute_types());
            // Outside `risk`: reading changes nothing.
            let there =
                self.client.attributes_of(dag_run_id, &nodes, &types, self.cursor.delivered.attributes)?;
            let attributes = part.remove_delivered(&there);
            self.cursor.delivered.add(ItemsByKind { attributes, ..ItemsByKind::default() });
            part.uncertain = false;
        }
        // It is harmless if a success of a node arrives late.
        let is_final = part.body.task_updates.iter().all(|task| task.status == wire_name(Outcome::Success));
        match part.len() {
            0 => Ok(()),
            _ if is_final => {
                // Late or repeated, the result is the same. It only must not overtake later updates of these nodes.
                let sent = self.client.log(dag_run_id, &part.body);
                if let Some(deadline) = sent.as_ref().err().and_then(|error| self.in_flight_until(error)) {
                    self.cursor.tasks_in_flight_until = Some(deadline);
                    self.save_cursor();
                }
                sent
            }
            _ => self.risk(
                |cursor| &mut cursor.tasks_in_flight_until,
                |own| own.client.log(dag_run_id, &part.body),
            ),
        }
    }

    /// Whether the server accepts what it has accepted before.
    fn is_working(&self, dag_run_id: i64) -> bool {
        let task_updates = self.known_task.iter().cloned().collect();
        // Before the first success it is an empty request, which shows at least that server and run exist.
        let probe = wire::DagRunsBulkRequest { task_updates, attributes: Vec::new() };
        self.client.log(dag_run_id, &probe).is_ok()
    }

    fn skip(&mut self, part: &Part, error: &CallError) {
        let ItemsByKind { task_updates, attributes, .. } = part.counts();
        self.cursor.drop_items("task update refused by the server", task_updates);
        self.cursor.drop_items("attribute refused by the server", attributes);
        let nodes = part.body.task_updates.iter().map(|task| (&task.node_name, None));
        let attributes =
            part.body.attributes.iter().map(|attribute| (&attribute.node_name, Some(&attribute.name)));
        for (node, attribute) in nodes.chain(attributes) {
            tracing::warn!(
                warning.code = WarningCode::TrackerRejected.name(),
                node,
                attribute,
                %error,
                "the tracking server rejected a part of this run; it is left out"
            );
            self.cursor.skip(Skipped {
                node: node.clone(),
                attribute: attribute.cloned(),
                reason: error.to_string(),
            });
        }
    }

    /// Tags that the server rejects must not block the end of a run.
    fn deliver_tags(
        &mut self,
        update: &wire::DagRunUpdate,
        counts: &mut ItemsByKind,
    ) -> Result<(), DeliveryError> {
        match self.update_run(update) {
            Err(DeliveryError::Call(error)) if error.is_about_payload() => {
                tracing::warn!(
                    warning.code = WarningCode::TrackerRejected.name(),
                    %error,
                    "the tracking server rejected tags of this run; they are left out"
                );
                self.cursor.drop_items("tags refused by the server", std::mem::take(&mut counts.tags));
                Ok(())
            }
            result => result,
        }
    }

    fn update_run(&mut self, update: &wire::DagRunUpdate) -> Result<(), DeliveryError> {
        let dag_run_id = self.dag_run_id()?;
        // It is harmless if the end of the run arrives late.
        if update.run_status != wire::DagRunUpdateRunStatus::Running {
            return Ok(self.client.update_run(dag_run_id, update)?);
        }
        let updated = self
            .risk(|cursor| &mut cursor.run_in_flight_until, |own| own.client.update_run(dag_run_id, update));
        Ok(updated?)
    }

    fn advance(&mut self, done: &Step) {
        self.cursor.offset = done.end;
        if let Action::End(outcome, _) = done.action {
            self.cursor.outcome = Some(outcome);
        }
        self.cursor.delivered.add(done.counts);
        if done.unwritten.events > 0 {
            self.cursor.unwritten = self.cursor.unwritten.saturating_add(done.unwritten.items);
            self.unwritten.taken(done.unwritten.events);
        }
        self.save_cursor();
    }

    /// Without a cursor, a delivery that is interrupted asks the server again what it has.
    fn save_cursor(&mut self) {
        if let Err(error) = self.cursor.save(&self.tracker_dir)
            && !std::mem::replace(&mut self.warned_of_cursor, true)
            // If the disk is full, the outbox on the same disk has already warned: one cause, one warning.
            && self.unwritten.may_warn()
        {
            let error = &error as &dyn std::error::Error;
            let code = WarningCode::DeliveryNotSaved.name();
            tracing::warn!(warning.code = code, error, "the progress of the delivery cannot be saved");
        }
    }

    fn dag_run_id(&self) -> Result<i64, DeliveryError> {
        self.cursor.link.as_ref().map(|link| link.dag_run_id).ok_or_else(|| self.no_run())
    }

    fn no_run(&self) -> DeliveryError {
        DeliveryError::NoRun { path: outbox_path(&self.tracker_dir) }
    }
}
