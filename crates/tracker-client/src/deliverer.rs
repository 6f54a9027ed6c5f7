//! One step of a delivery at a time: from the outbox to the server, each thing once.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    CallError, Client, Counts, CursorError, OutboxError, Version,
    batch::Part,
    cursor::{Cursor, MAX_SETTLING, SetAside, is_settling},
    outbox,
    steps::{Action, Step, Steps},
    wire,
};

/// How long the server may still be at a request that was cut off.
const SETTLING: TimeDelta = TimeDelta::seconds(4);

/// Why a delivery stopped, or waits.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// The outbox cannot be read.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The progress of an earlier delivery cannot be read.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// The server does not answer, or refuses.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The run's version or start is missing in the outbox, or its line cannot be read.
    #[error("the outbox {} has events of a run, but not its version and start", path.display())]
    NoRun {
        /// The outbox.
        path: PathBuf,
    },
    /// A request was cut off, and what comes next would be undone if the server is still at it.
    #[error("waiting whether the server is still at a request that was cut off")]
    Settling,
}

impl DeliveryError {
    /// Whether the same step may succeed later.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Call(error) => error.is_temporary(),
            Self::Settling => true,
            Self::Outbox(_) | Self::Cursor(_) | Self::NoRun { .. } => false,
        }
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Call(error) => error.retry_after(),
            _ => None,
        }
    }

    /// Whether there is a server that answers at all.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self, Self::Call(CallError::ServerFailed { .. } | CallError::Busy { .. }))
    }

    pub(crate) fn timed_out(&self) -> bool {
        matches!(self, Self::Call(error) if error.timed_out())
    }
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It delivered something. `more`: the outbox has more to read right now.
    Delivered { more: bool },
    /// There was nothing to deliver.
    UpToDate,
}

/// Delivers one outbox. Holds one batch of it.
#[derive(Debug)]
pub(crate) struct Deliverer {
    tracker_dir: PathBuf,
    client: Client,
    steps: Steps,
    cursor: Cursor,
    /// The step that is to be done, from its first attempt on.
    pending: Option<Step>,
    /// Whether the pending step was tried.
    tried: bool,
    /// What is left of its batch.
    parts: VecDeque<Part>,
    /// The version was created just now, so that nobody can have created a run of it.
    version_is_new: bool,
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
        let cursor = Cursor::load(tracker_dir)?
            .filter(|cursor| cursor.server == server)
            .unwrap_or_else(|| Cursor::new(server));
        let steps = Steps::open(&tracker_dir.join(outbox::FILE_NAME), cursor.offset, cursor.outcome)?;
        Ok(Self {
            tracker_dir: tracker_dir.to_owned(),
            client,
            steps,
            cursor,
            pending: None,
            tried: false,
            parts: VecDeque::new(),
            version_is_new: false,
            known_task: None,
            warned_of_cursor: false,
        })
    }

    pub(crate) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Delivers what comes next. After an error, the next call tries the same again.
    ///
    /// # Errors
    /// When the outbox cannot be read, or the server does not answer or refuses.
    pub(crate) fn step(&mut self) -> Result<Progress, DeliveryError> {
        let mut step = match self.pending.take() {
            Some(step) => step,
            None => {
                self.tried = false;
                match self.steps.next()? {
                    Some(step) => step,
                    None => return Ok(Progress::UpToDate),
                }
            }
        };
        let result = match self.must_wait_for(&step.action) {
            true => Err(DeliveryError::Settling),
            false => {
                self.tried = true;
                self.deliver(&mut step)
            }
        };
        if let Err(error) = result {
            self.pending = Some(step);
            return Err(error);
        }
        self.advance(&step);
        Ok(Progress::Delivered { more: step.more })
    }

    /// A status that the server is told too late replaces a newer one. So while it may still be at a request that was cut
    /// off, the same can be sent again, but nothing newer.
    fn must_wait_for(&self, next: &Action) -> bool {
        let until = match next {
            Action::Tasks(_) => self.cursor.tasks_settle,
            Action::Tags(_) | Action::End(..) => self.cursor.run_settles,
            Action::Version(_) | Action::Run { .. } | Action::Nothing => None,
        };
        !self.tried && is_settling(until, Utc::now())
    }

    /// Until when the server may be at a request that failed so.
    fn settles(&self, error: &CallError) -> Option<DateTime<Utc>> {
        let slow = TimeDelta::from_std(self.client.request_timeout() / 2).unwrap_or(MAX_SETTLING);
        let patience = if error.timed_out() { slow.clamp(SETTLING, MAX_SETTLING) } else { SETTLING };
        error.may_go_on().then(|| Utc::now() + patience)
    }

    fn deliver(&mut self, step: &mut Step) -> Result<(), DeliveryError> {
        match &mut step.action {
            Action::Version(version) => self.deliver_version(version),
            Action::Run { run_id, started, body } => self.deliver_run(run_id, *started, body),
            Action::Tasks(part) => {
                let dag_run_id = self.dag_run_id()?;
                // Parts are counted one by one.
                step.counts = Counts::default();
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
        let project_id = match self.cursor.project_id {
            Some(id) => id,
            None => self.client.resolve_project()?.id,
        };
        self.cursor.project_id = Some(project_id);
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
        let found = match self.version_is_new {
            true => None,
            false => self.client.find_run(template_id, run_id, started)?,
        };
        let dag_run_id = match found {
            Some(id) => id,
            None if is_settling(self.cursor.run_settles, Utc::now()) => return Err(DeliveryError::Settling),
            None => self.create_run(template_id, body)?,
        };
        self.cursor.run_settles = None;
        self.cursor.link = Some(self.client.link(project_id, template_id, dag_run_id));
        Ok(())
    }

    fn create_run(&mut self, template_id: i64, body: &wire::DagRunIn) -> Result<i64, CallError> {
        self.version_is_new = false;
        // Written down first, for whoever goes on when this process does not.
        self.cursor.run_settles = Some(Utc::now() + SETTLING);
        self.save_cursor();
        let created = self.client.create_run(template_id, body);
        self.cursor.run_settles = created.as_ref().err().and_then(|error| self.settles(error));
        created
    }

    /// Sends one part of a batch. What is left of it goes back to the front.
    fn deliver_part(&mut self, dag_run_id: i64, mut part: Part) -> Result<(), DeliveryError> {
        let Err(error) = self.try_part(dag_run_id, &mut part) else {
            self.cursor.delivered.add(part.counts());
            self.known_task = part.body.task_updates.pop().or(self.known_task.take());
            return Ok(());
        };
        if let Some(settle) = self.settles(&error) {
            self.cursor.tasks_settle = Some(settle);
            self.save_cursor();
        }
        let mut suspect = error.is_about_payload();
        part.uncertain |= error.is_ambiguous();
        if error.may_be_about_payload() {
            part.failures += 1;
            let patience = if part.len() == 1 { 4 } else { 2 };
            suspect = part.failures >= patience && self.is_working(dag_run_id);
        }
        if !suspect {
            self.parts.push_front(part);
            return Err(error.into());
        }
        match part.split() {
            Ok((first, second)) => {
                self.parts.push_front(second);
                self.parts.push_front(first);
            }
            Err(part) => self.set_aside(&part, &error),
        }
        Ok(())
    }

    fn try_part(&mut self, dag_run_id: i64, part: &mut Part) -> Result<(), CallError> {
        if part.uncertain {
            let (nodes, types) = (part.attribute_nodes(), part.attribute_types());
            let there =
                self.client.attributes_of(dag_run_id, &nodes, &types, self.cursor.delivered.attributes)?;
            self.cursor.delivered.attributes += part.remove_delivered(&there);
            part.uncertain = false;
        }
        if part.len() == 0 { Ok(()) } else { self.client.log(dag_run_id, &part.body) }
    }

    /// Whether the server takes what it has taken before.
    fn is_working(&self, dag_run_id: i64) -> bool {
        let task_updates = self.known_task.iter().cloned().collect();
        let probe = wire::DagRunsBulkRequest { task_updates, attributes: Vec::new() };
        self.client.log(dag_run_id, &probe).is_ok()
    }

    fn set_aside(&mut self, part: &Part, error: &CallError) {
        let Counts { task_updates, attributes, .. } = part.counts();
        self.cursor.drop_items("task update refused by the server", task_updates);
        self.cursor.drop_items("attribute refused by the server", attributes);
        let nodes = part.body.task_updates.iter().map(|task| (&task.node_name, None));
        let attributes =
            part.body.attributes.iter().map(|attribute| (&attribute.node_name, Some(&attribute.name)));
        for (node, attribute) in nodes.chain(attributes) {
            tracing::warn!(node, attribute, %error, "the tracking server refuses a part of this run: it is set aside");
            self.cursor.set_aside(SetAside {
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
        counts: &mut Counts,
    ) -> Result<(), DeliveryError> {
        match self.update_run(update) {
            Err(DeliveryError::Call(error)) if error.is_about_payload() => {
                tracing::warn!(%error, "the tracking server refuses tags of this run: they are left out");
                self.cursor.drop_items("tags refused by the server", std::mem::take(&mut counts.tags));
                Ok(())
            }
            result => result,
        }
    }

    fn update_run(&mut self, update: &wire::DagRunUpdate) -> Result<(), DeliveryError> {
        let updated = self.client.update_run(self.dag_run_id()?, update);
        if let Some(settle) = updated.as_ref().err().and_then(|error| self.settles(error)) {
            self.cursor.run_settles = Some(settle);
            self.save_cursor();
        }
        Ok(updated?)
    }

    fn advance(&mut self, done: &Step) {
        self.cursor.offset = done.end;
        if let Action::End(outcome, _) = done.action {
            self.cursor.outcome = Some(outcome);
        }
        self.cursor.delivered.add(done.counts);
        self.cursor.drop_items("unreadable line of the outbox", done.unreadable);
        self.save_cursor();
    }

    /// Without a cursor, a delivery that is interrupted asks the server again what it has.
    fn save_cursor(&mut self) {
        if let Err(error) = self.cursor.save(&self.tracker_dir)
            && !std::mem::replace(&mut self.warned_of_cursor, true)
        {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the progress of the delivery cannot be saved");
        }
    }

    fn dag_run_id(&self) -> Result<i64, DeliveryError> {
        self.cursor.link.as_ref().map(|link| link.dag_run_id).ok_or_else(|| self.no_run())
    }

    fn no_run(&self) -> DeliveryError {
        DeliveryError::NoRun { path: self.tracker_dir.join(outbox::FILE_NAME) }
    }
}
