//! One step of a delivery at a time: from the outbox to the server, each thing once.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::{
    CallError, Client, Counts, CursorError, Event, OutboxError, Outcome, Version,
    batch::{NodeFacts, Part, TaskBatch},
    cursor::{Cursor, SetAside},
    encode, outbox,
    reader::{OutboxReader, Read},
    wire,
};

/// How long a run may still appear on the server after the request that creates it was cut off.
const SETTLING: TimeDelta = TimeDelta::seconds(2);

/// The same after that request has timed out, for then the server is slow.
const SLOW_SETTLING: TimeDelta = TimeDelta::seconds(10);

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
    /// The request that creates the run was cut off, and the server may still be at it.
    #[error("create the run: waiting whether a request that was cut off has created it")]
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
    reader: OutboxReader,
    cursor: Cursor,
    /// An event that was read and belongs to a later step, with its lines' end.
    ahead: Option<(Box<Event<Value>>, u64)>,
    /// The step that is to be done, from its first attempt on.
    pending: Option<Pending>,
    pipeline: Pipeline,
    /// Starts of the nodes that are running.
    started: HashMap<String, DateTime<Utc>>,
    /// The version was created just now, so that nobody can have created a run of it.
    version_is_new: bool,
    /// A task update that the server has taken.
    known_task: Option<wire::NodeRunIn>,
    warned_of_cursor: bool,
}

/// What the version says that later events depend on.
#[derive(Debug, Default)]
struct Pipeline {
    dependencies: HashMap<String, Vec<Value>>,
    outputs: Vec<Value>,
}

#[derive(Debug)]
struct Pending {
    step: Step,
    end: u64,
    /// What it delivers, besides the parts of a batch, which are counted one by one.
    counts: Counts,
    unreadable: u64,
    more: bool,
}

#[derive(Debug)]
enum Step {
    Version(Box<wire::DagTemplateIn>),
    Run {
        run_id: String,
        started: DateTime<Utc>,
        body: Box<wire::DagRunIn>,
    },
    Tasks(VecDeque<Part>),
    Update(Box<wire::DagRunUpdate>),
    /// Lines that cannot be read, and nothing else.
    Skip,
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
        let reader = OutboxReader::open(&tracker_dir.join(outbox::FILE_NAME))?;
        let mut deliverer = Self {
            tracker_dir: tracker_dir.to_owned(),
            client,
            reader,
            cursor,
            ahead: None,
            pending: None,
            pipeline: Pipeline::default(),
            started: HashMap::new(),
            version_is_new: false,
            known_task: None,
            warned_of_cursor: false,
        };
        deliverer.recall_pipeline()?;
        Ok(deliverer)
    }

    pub(crate) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Reads the version again, where it was delivered before.
    fn recall_pipeline(&mut self) -> Result<(), DeliveryError> {
        while let Read::Event { event, end } = self.reader.read()?
            && end <= self.cursor.offset
        {
            match *event {
                Event::Version(version) => self.pipeline = Pipeline::of(&version),
                Event::RunStarted { .. } => break,
                _ => {}
            }
        }
        Ok(self.reader.seek(self.cursor.offset)?)
    }

    /// Delivers what comes next. After an error, the next call tries the same again.
    ///
    /// # Errors
    /// When the outbox cannot be read, or the server does not answer or refuses.
    pub(crate) fn step(&mut self) -> Result<Progress, DeliveryError> {
        let Some(mut pending) = (match self.pending.take() {
            Some(pending) => Some(pending),
            None => self.read_step()?,
        }) else {
            return Ok(Progress::UpToDate);
        };
        if let Err(error) = self.deliver(&mut pending) {
            self.pending = Some(pending);
            return Err(error);
        }
        self.advance(&pending);
        Ok(Progress::Delivered { more: pending.more })
    }

    fn read_step(&mut self) -> Result<Option<Pending>, DeliveryError> {
        let mut batch = TaskBatch::default();
        let mut end = self.cursor.offset;
        let (mut unreadable, mut more) = (0, true);
        while !batch.is_full() {
            let (event, event_end) = match self.ahead.take() {
                Some(ahead) => ahead,
                None => match self.reader.read()? {
                    Read::Event { event, end } => (event, end),
                    Read::Unreadable { end: line_end } => {
                        (unreadable, end) = (unreadable + 1, line_end);
                        continue;
                    }
                    Read::End { .. } => {
                        more = false;
                        break;
                    }
                },
            };
            let bytes = event_end - end;
            match *event {
                Event::TaskStarted { node, time } => {
                    self.started.insert(node.clone(), time);
                    batch.start(&node, time, self.facts(&node), bytes);
                }
                Event::TaskFinished { node, time, status, attributes } => {
                    let facts = self.facts(&node);
                    self.started.remove(&node);
                    batch.finish(&node, (status, time), attributes, facts, bytes);
                }
                other if batch.is_empty() => {
                    let (step, counts) = self.single_step(other);
                    return Ok(Some(Pending { step, end: event_end, counts, unreadable, more }));
                }
                other => {
                    self.ahead = Some((Box::new(other), event_end));
                    break;
                }
            }
            end = event_end;
        }
        if end == self.cursor.offset {
            return Ok(None);
        }
        let step =
            if batch.is_empty() { Step::Skip } else { Step::Tasks(VecDeque::from([batch.into_part()])) };
        Ok(Some(Pending { step, end, counts: Counts::default(), unreadable, more }))
    }

    fn facts(&self, node: &str) -> NodeFacts {
        NodeFacts {
            dependencies: self.pipeline.dependencies.get(node).cloned().unwrap_or_default(),
            started: self.started.get(node).copied(),
        }
    }

    fn single_step(&mut self, event: Event<Value>) -> (Step, Counts) {
        let none = Counts::default();
        match event {
            Event::Version(version) => {
                self.pipeline = Pipeline::of(&version);
                (Step::Version(Box::new(encode::version(&version))), Counts { versions: 1, ..none })
            }
            Event::RunStarted { run_id, tags, time } => {
                let run_id = run_id.to_string();
                let body = Box::new(wire::DagRunIn {
                    run_start_time: Some(time),
                    run_end_time: None,
                    run_status: wire::DagRunUpdateRunStatus::Running.to_string(),
                    tags: encode::run_tags(&run_id, &tags),
                    inputs: Default::default(),
                    outputs: self.pipeline.outputs.clone(),
                    launched_by_id: None,
                });
                (Step::Run { run_id, started: time, body }, Counts { runs: 1, ..none })
            }
            // The server takes tags only together with a status and an end. The true end comes last.
            Event::TagsUpserted { tags, time } => {
                let run_status =
                    self.cursor.outcome.map_or(wire::DagRunUpdateRunStatus::Running, Outcome::run_status);
                let upsert_tags = Some(encode::tags(&tags));
                let update = wire::DagRunUpdate { run_status, run_end_time: time, upsert_tags };
                (Step::Update(Box::new(update)), Counts { tags: 1, ..none })
            }
            Event::RunFinished { status, time } => {
                self.cursor.outcome = Some(status);
                let run_status = status.run_status();
                let update = wire::DagRunUpdate { run_status, run_end_time: time, upsert_tags: None };
                (Step::Update(Box::new(update)), Counts { ends: 1, ..none })
            }
            Event::TaskStarted { .. } | Event::TaskFinished { .. } => (Step::Skip, none),
        }
    }

    fn deliver(&mut self, pending: &mut Pending) -> Result<(), DeliveryError> {
        match &mut pending.step {
            Step::Version(version) => self.deliver_version(version),
            Step::Run { run_id, started, body } => self.deliver_run(run_id, *started, body),
            Step::Tasks(parts) => {
                let dag_run_id = self.dag_run_id()?;
                while let Some(part) = parts.pop_front() {
                    self.deliver_part(dag_run_id, part, parts)?;
                }
                Ok(())
            }
            Step::Update(update) => self.deliver_update(update, &mut pending.counts),
            Step::Skip => Ok(()),
        }
    }

    /// The server's version is found or created. Where another process creates the same one at this moment the server
    /// fails, and the next attempt finds it.
    fn deliver_version(&mut self, version: &wire::DagTemplateIn) -> Result<(), DeliveryError> {
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
            None if self.cursor.may_appear(Utc::now()) => return Err(DeliveryError::Settling),
            None => self.create_run(template_id, body)?,
        };
        self.cursor.link = Some(self.client.link(project_id, template_id, dag_run_id));
        Ok(())
    }

    fn create_run(&mut self, template_id: i64, body: &wire::DagRunIn) -> Result<i64, CallError> {
        self.version_is_new = false;
        // Written down first, for whoever goes on when this process does not.
        self.cursor.run_settles = Some(Utc::now() + SETTLING);
        self.save_cursor();
        let created = self.client.create_run(template_id, body);
        self.cursor.run_settles = match &created {
            Err(error) if error.timed_out() => Some(Utc::now() + SLOW_SETTLING),
            Err(CallError::NoAnswer { .. }) => self.cursor.run_settles,
            _ => None,
        };
        created
    }

    /// Sends one part of a batch. What is left of it goes back to the front of `parts`.
    fn deliver_part(
        &mut self,
        dag_run_id: i64,
        mut part: Part,
        parts: &mut VecDeque<Part>,
    ) -> Result<(), DeliveryError> {
        let Err(error) = self.try_part(dag_run_id, &mut part) else {
            self.cursor.delivered.add(part.counts());
            self.known_task = part.body.task_updates.pop().or(self.known_task.take());
            return Ok(());
        };
        let mut suspect = error.is_about_payload();
        part.uncertain |= error.is_ambiguous();
        if error.may_be_about_payload() {
            part.failures += 1;
            let patience = if part.len() == 1 { 4 } else { 2 };
            suspect = part.failures >= patience && self.is_working(dag_run_id);
        }
        if !suspect {
            parts.push_front(part);
            return Err(error.into());
        }
        match part.split() {
            Ok((first, second)) => {
                parts.push_front(second);
                parts.push_front(first);
            }
            Err(part) => self.set_aside(&part, &error),
        }
        Ok(())
    }

    fn try_part(&mut self, dag_run_id: i64, part: &mut Part) -> Result<(), CallError> {
        if part.uncertain {
            let (nodes, types) = (part.attribute_nodes(), part.attribute_types());
            let there = self.client.attributes_of(dag_run_id, &nodes, &types)?;
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
    fn deliver_update(
        &mut self,
        update: &wire::DagRunUpdate,
        counts: &mut Counts,
    ) -> Result<(), DeliveryError> {
        let dag_run_id = self.dag_run_id()?;
        match self.client.update_run(dag_run_id, update) {
            Err(error) if error.is_about_payload() && update.upsert_tags.is_some() => {
                tracing::warn!(%error, "the tracking server refuses tags of this run: they are left out");
                self.cursor.drop_items("tags refused by the server", std::mem::take(&mut counts.tags));
                Ok(())
            }
            result => Ok(result?),
        }
    }

    fn advance(&mut self, done: &Pending) {
        self.cursor.offset = done.end;
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

impl Pipeline {
    fn of(version: &Version) -> Self {
        let nodes = &version.nodes;
        let read: HashSet<&String> = nodes.iter().flat_map(|node| &node.dependencies).collect();
        Self {
            dependencies: nodes
                .iter()
                .map(|node| (node.name.clone(), encode::node_names(&node.dependencies)))
                .collect(),
            outputs: nodes
                .iter()
                .filter(|node| !read.contains(&node.name))
                .map(|node| encode::node_name(&node.name).into())
                .collect(),
        }
    }
}
