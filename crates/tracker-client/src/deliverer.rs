//! One step of a delivery at a time: from the outbox to the server, each thing once.

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

/// Delivers one outbox. Holds one batch of it.
#[derive(Debug)]
pub(crate) struct Deliverer {
    tracker_dir: PathBuf,
    client: Client,
    steps: Steps,
    /// What the outbox has no space for.
    unwritten: Unwritten,
    cursor: Cursor,
    /// The step that is to be done, from its first attempt on.
    pending: Option<Step>,
    /// Whether the pending step was tried.
    tried: bool,
    /// What is left of its batch.
    parts: VecDeque<Part>,
    /// The version was created just now, so that nobody can have created a run of it.
    version_is_new: bool,
    /// Whether the server was asked if the stored run is the one of this outbox, and said yes.
    is_own_run: bool,
    /// When the server was last asked what came of requests whose fate is not known.
    verified_at: Option<DateTime<Utc>>,
    /// A task update that the server has taken.
    known_task: Option<wire::NodeRunIn>,
    warned_of_cursor: bool,
}

impl Deliverer {
    /// Continues the delivery of a `tracker` folder where it stands.
    ///
    /// # Errors
    /// When the outbox or the cursor cannot be read.
    pub(crate) fn open(tracker_dir: &Path, client: Client) -> Result<Self, DeliveryError> {
        let server = client.server().to_owned();
        let mut cursor = match Cursor::load(tracker_dir)? {
            Some(cursor) => cursor.towards(server),
            None => Cursor::new(server),
        };
        // A run that the server has keeps its ids: `is_gone` asks whether they still mean it. Without one there is
        // nothing to ask about.
        if cursor.link.is_none() {
            // The ids of project and version can be those of others by now. They are asked for again.
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
        })
    }

    /// Delivers events, too, that an outbox of this process cannot write, once its run has ended.
    pub(crate) fn with_unwritten(self, unwritten: Unwritten) -> Self {
        Self { unwritten, ..self }
    }

    pub(crate) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Delivers what comes next. After an error, the next call tries the same again.
    ///
    /// # Errors
    /// When the outbox cannot be read, or the server does not answer or refuses.
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

    fn next_step(&mut self) -> Result<Option<Step>, OutboxError> {
        if let Some(step) = self.steps.next()? {
            return Ok(Some(step));
        }
        let unwritten = self.unwritten.hand_out();
        if unwritten.is_empty() {
            return Ok(None);
        }
        // Only when the file has nothing more: what is in memory was recorded after all that could be written.
        self.steps.add_unwritten(unwritten);
        self.steps.next()
    }

    /// Delivers a step, or keeps it for the next attempt. `None` where the server does not have the run any more.
    fn try_step(&mut self, mut step: Step) -> Result<Option<Progress>, DeliveryError> {
        let result = self.attempt(&mut step);
        // The cursor moves behind the answer and never before it. A crash in between sends the step once more, which
        // the server either takes as the same or is asked about first (`Part::uncertain`, `find_run`); the other
        // order would lose it.
        if let Ok(true) = result {
            self.advance(&step);
            return Ok(Some(Progress::Delivered { more: step.more }));
        }
        // Whatever comes next may fail as well, and what follows the step must not be sent before it.
        self.pending = Some(step);
        result.map(|_| None)
    }

    /// Delivers a step. False where the server does not have the run any more.
    fn attempt(&mut self, step: &mut Step) -> Result<bool, DeliveryError> {
        let was_own_run = self.is_own_run;
        // Ids are per database, and the API has no key of its own for a run. After a restore, or behind a proxy that
        // leads elsewhere by now, the stored id can be somebody else's run, and a bulk update would write into it
        // without an error.
        if self.is_gone(&step.action)? {
            return Ok(false);
        }
        if self.must_wait_for(&step.action) {
            return Err(DeliveryError::InFlight);
        }
        self.tried = true;
        let Err(error) = self.deliver(step) else { return Ok(true) };
        if let DeliveryError::Call(error) = &error {
            // What comes up at an address where nothing was can be another server. One that only failed is still the
            // same.
            self.is_own_run &= !error.was_away() && !error.is_not_found();
            // Asked only where the run was there before: a 404 to the very first request is a wrong project or path,
            // and sending everything anew would end in the same answer for ever.
            if error.is_not_found() && was_own_run && self.is_gone(&step.action)? {
                return Ok(false);
            }
        }
        Err(error)
    }

    /// Whether the run that is delivered to is another one by now, or gone: the server's database may have been replaced,
    /// or its project deleted. It is asked before anything is sent under an id that was stored, and once it was away.
    fn is_gone(&mut self, next: &Action) -> Result<bool, CallError> {
        let Some(link) = &self.cursor.link else { return Ok(false) };
        let Some(run_id) = self.steps.run_id() else { return Ok(false) };
        if self.is_own_run || matches!(next, Action::Version(_) | Action::Run { .. } | Action::Nothing) {
            return Ok(false);
        }
        self.is_own_run = self.client.run_on_server(link.dag_run_id, run_id)?.is_some();
        Ok(!self.is_own_run)
    }

    /// Delivers everything once more, to a server that has lost it. Where it has no project for it the progress so far is
    /// kept.
    fn start_again(&mut self) -> Result<Progress, DeliveryError> {
        // First, and before anything is forgotten: a server that comes up empty may get its projects back in a
        // minute.
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
        // They are read again from the outbox once they are in it, and handed out again where they are not.
        self.unwritten.give_back();
        (self.pending, self.known_task, self.verified_at) = (None, None, None);
        self.save_cursor();
        Ok(Progress::Delivered { more: true })
    }

    /// Once everything is delivered, asks the server what came of requests whose fate is not known: once as soon as
    /// possible, and once when they can no longer take effect.
    fn verify(&mut self) -> Result<Progress, DeliveryError> {
        let now = Utc::now();
        let Some(until) = self.cursor.unverified_until else { return Ok(Progress::UpToDate) };
        let is_final = now >= until;
        let (Some(link), Some(_)) = (&self.cursor.link, self.cursor.outcome) else {
            return Ok(Progress::UpToDate);
        };
        // The server answers with the whole run, all of its nodes: it is not asked again with each flush.
        if self.verified_at.is_some() && !is_final {
            return Ok(Progress::UpToDate);
        }
        // Read from the file and not kept while delivering: a run of 100,000 nodes would hold them all in memory for
        // a case that is rare.
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

    /// Sends a request that would do harm if the server carried it out late. Until that is out of the question, also when
    /// this process ends before the answer, the delivery is unverified.
    fn risk<T>(
        &mut self,
        deadline: fn(&mut Cursor) -> &mut Option<DateTime<Utc>>,
        request: impl FnOnce(&mut Self) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        // Written before the request leaves, so that the promise holds for a process that is killed while it waits
        // for the answer: whoever continues finds that a request of unknown fate is on its way.
        let before = (self.cursor.unverified_until, *deadline(&mut self.cursor));
        let begun = Utc::now();
        self.cursor.unverified_until = Some(begun + LATEST_COMMIT);
        *deadline(&mut self.cursor) = Some(begun + IN_FLIGHT);
        self.save_cursor();
        let result = request(self);
        match &result {
            // Counted from now and not from its start: the time that the request took has shown how slow this server
            // can be.
            Err(error) if error.may_commit_late() => {
                self.cursor.unverified_until = Some(Utc::now() + LATEST_COMMIT);
                *deadline(&mut self.cursor) = self.in_flight_until(error);
                self.save_cursor();
            }
            _ => (self.cursor.unverified_until, *deadline(&mut self.cursor)) = before,
        }
        result
    }

    /// A status that reaches the server too late replaces a newer one. So while it may still be at a request that was cut
    /// off, the same can be sent again, but nothing newer.
    fn must_wait_for(&self, next: &Action) -> bool {
        let until = match next {
            Action::Tasks(_) => self.cursor.tasks_in_flight_until,
            Action::Tags(_) | Action::End(..) => self.cursor.run_in_flight_until,
            Action::Version(_) | Action::Run { .. } | Action::Nothing => None,
        };
        // A retry is the same request once more, which the server may carry out in any order with the first one.
        !self.tried && is_in_flight(until, Utc::now())
    }

    /// Until when the server may be at a request that failed so.
    fn in_flight_until(&self, error: &CallError) -> Option<DateTime<Utc>> {
        // A server that let the whole timeout pass is slow, and has the request in its queue; one that hung up early
        // has most likely dropped it.
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
                // Parts are counted one by one.
                // `advance` would count them a second time.
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

    /// The server's version is found or created. Where another process creates the same one at this moment the server
    /// fails, and the next attempt finds it.
    fn deliver_version(&mut self, version: &Version) -> Result<(), DeliveryError> {
        // Resolved once and kept: names of projects are not unique, and a second project of the name that is made
        // meanwhile must not split a run over two.
        let project_id = match self.cursor.project_id {
            Some(id) => id,
            None => self.client.resolve_project()?.id,
        };
        self.cursor.project_id = Some(project_id);
        // Asked before it is created, because the server answers a second version with the same hashes with a failure,
        // which looks like any other failure of it.
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

    /// Creating a run is not idempotent, so the server is asked for it first unless nobody can have tried.
    fn deliver_run(
        &mut self,
        run_id: &str,
        started: DateTime<Utc>,
        body: &wire::DagRunIn,
    ) -> Result<(), DeliveryError> {
        let (project_id, template_id) =
            self.cursor.project_id.zip(self.cursor.template_id).ok_or_else(|| self.no_run())?;
        // A version that this delivery has just created has no runs, which saves the search through the pages of all
        // runs.
        let found = match self.version_is_new {
            true => None,
            false => self.client.find_run(template_id, run_id, started)?,
        };
        let dag_run_id = match found {
            Some((id, several)) => {
                if several {
                    // One of them is a request that was carried out late. `verify` marks it, at once because no
                    // deadline lies ahead.
                    self.cursor.unverified_until.get_or_insert_with(Utc::now);
                }
                id
            }
            // The server may have the create in its queue: another one now would make a second run, which nothing
            // prevents.
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
        // Whatever comes of it, from here on somebody has tried.
        self.version_is_new = false;
        self.risk(|cursor| &mut cursor.run_in_flight_until, |own| own.client.create_run(template_id, body))
    }

    /// Sends one part of a batch. What is left of it goes back to the front.
    fn deliver_part(&mut self, dag_run_id: i64, mut part: Part) -> Result<(), DeliveryError> {
        let Err(error) = self.try_part(dag_run_id, &mut part) else {
            self.cursor.delivered.add(part.counts());
            // Kept as a probe: something that this server took, so that a failure with it is the server's own.
            self.known_task = part.body.task_updates.pop().or(self.known_task.take());
            return Ok(());
        };
        let mut suspect = error.is_about_payload();
        part.uncertain |= error.is_ambiguous();
        if error.may_be_about_payload() {
            part.failures += 1;
            // A 500 is what Hamilton answers to a NaN, to a name that is too long for PostgreSQL and to a locked
            // SQLite alike. Twice is enough to look for the culprit by halving, since halving loses nothing; what is
            // left alone is skipped for good, and gets more chances.
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
            // Task updates are upserts and can be repeated. Attributes are inserts that are unique by run, node and
            // name: one that got in makes the whole request a 500, and so every retry of it.
            let (nodes, types) = (part.attribute_nodes(), part.attribute_types());
            // Outside of `risk`: asking changes nothing.
            let there =
                self.client.attributes_of(dag_run_id, &nodes, &types, self.cursor.delivered.attributes)?;
            let attributes = part.remove_delivered(&there);
            self.cursor.delivered.add(ItemsByKind { attributes, ..ItemsByKind::default() });
            part.uncertain = false;
        }
        // That a node has succeeded can be said as late as one likes.
        let is_final = part.body.task_updates.iter().all(|task| task.status == wire_name(Outcome::Success));
        match part.len() {
            0 => Ok(()),
            _ if is_final => {
                // Late or twice, the outcome is the same. It only must not overtake what comes next for these nodes.
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

    /// Whether the server takes what it has taken before.
    fn is_working(&self, dag_run_id: i64) -> bool {
        let task_updates = self.known_task.iter().cloned().collect();
        // Before the first success it is an empty request, which says at least that server and run are there.
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

    /// Tags that the server refuses do not hold back the end of a run.
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
        // How the run ended can be said as late as one likes.
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
            // The outbox on the same disk has warned already when there is no space: one cause, one warning.
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
