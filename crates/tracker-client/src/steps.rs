//! The events of an outbox as steps of a delivery.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use daglight_run_bundle::{
    ItemsByKind, WarningCode,
    outbox::{Beginning, Event, OutboxError, OutboxReader, Outcome, Read, Version, outbox_path},
};
use serde_json::Value;

use crate::{
    batch::{NodeFacts, Part, TaskBatch},
    encode::{self, run_status},
    version_to_come::VersionToCome,
    wire,
};

/// Reads an outbox step by step. Holds one batch of it in memory.
#[derive(Debug)]
pub(crate) struct Steps {
    reader: OutboxReader,
    /// The end of the last step.
    offset: u64,
    /// An event that was already read and belongs to a later step.
    ahead: Option<Next>,
    /// Events that are not in the outbox, and come after those that are.
    unwritten: VecDeque<Event<Value>>,
    tracker_dir: PathBuf,
    /// Whether the manifest was already read for the start of the run, without success.
    asked_manifest: bool,
    /// The state for the pipeline of an observed run, whose version is still incomplete.
    to_come: Option<VersionToCome>,
    /// `None` until the version was read.
    pipeline: Option<Pipeline>,
    /// The run's own id, once its start was read.
    run_id: Option<String>,
    /// The start times of running nodes.
    started: HashMap<String, DateTime<Utc>>,
    outcome: Option<Outcome>,
}

/// An event, and the end of its line. An event that is not in the outbox ends where the previous one does.
#[derive(Debug)]
struct Next {
    event: Box<Event<Value>>,
    end: u64,
    is_unwritten: bool,
}

/// The part of the version on which later events depend.
#[derive(Debug, Default)]
struct Pipeline {
    dependencies: HashMap<String, Vec<Value>>,
    outputs: Vec<Value>,
}

/// A sequence of events, and the action for them.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) action: Action,
    /// The end of its last line.
    pub(crate) end: u64,
    /// The items that it delivers.
    pub(crate) counts: ItemsByKind,
    /// Those of its events that are not in the outbox, and the items in them.
    pub(crate) unwritten: Unwritten,
    /// Whether the outbox has more to read at the moment.
    pub(crate) more: bool,
}

/// Events that are not in the outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Unwritten {
    pub(crate) events: usize,
    pub(crate) items: u64,
}

/// A request to the server.
#[derive(Debug)]
pub(crate) enum Action {
    Version(Box<Version>),
    Run {
        run_id: String,
        started: DateTime<Utc>,
        body: Box<wire::DagRunIn>,
    },
    Tasks(Part),
    Tags(Box<wire::DagRunUpdate>),
    End(Outcome, Box<wire::DagRunUpdate>),
    /// Nothing: there are only unreadable lines, or records of losses.
    Nothing,
}

impl Steps {
    /// The steps of an outbox from `offset` on, for a run with that outcome so far.
    ///
    /// # Errors
    /// When the outbox cannot be read.
    pub(crate) fn open(path: &Path, offset: u64, outcome: Option<Outcome>) -> Result<Self, OutboxError> {
        let mut reader = OutboxReader::open(path)?;
        // A delivery that continues in the middle still needs the dependencies of the nodes, which only the version has.
        let (mut pipeline, mut run_id) = Pipeline::before(path, &mut reader, offset)?;
        reader.seek(offset)?;
        let tracker_dir = path.parent().map(Path::to_owned).unwrap_or_default();
        // If earlier events were delivered, that was done with the start from the manifest.
        if offset > 0
            && (run_id.is_none() || pipeline.is_none())
            && let Some(beginning) = Beginning::from_manifest(&tracker_dir)
        {
            pipeline.get_or_insert_with(|| Pipeline::of(&beginning.version));
            run_id.get_or_insert_with(|| beginning.run_id.to_string());
        }
        Ok(Self {
            reader,
            tracker_dir,
            asked_manifest: false,
            offset,
            ahead: None,
            to_come: None,
            pipeline,
            run_id,
            started: HashMap::new(),
            outcome,
            unwritten: VecDeque::new(),
        })
    }

    /// The run's own id, once a step was its start or came after it.
    pub(crate) fn run_id(&self) -> Option<&str> {
        self.run_id.as_deref()
    }

    /// Continues with events that are not in the outbox.
    pub(crate) fn add_unwritten(&mut self, events: Vec<Event<Value>>) {
        self.unwritten.extend(events);
    }

    /// The next step; `None` if the outbox ends for now, or if the version of an observed run is still incomplete: nothing of a run
    /// can be sent before its pipeline.
    ///
    /// # Errors
    /// When the outbox cannot be read.
    pub(crate) fn next(&mut self) -> Result<Option<Step>, OutboxError> {
        let mut batch = TaskBatch::default();
        let mut end = self.offset;
        let mut unwritten = Unwritten::default();
        let mut more = true;
        while !batch.is_full() {
            let Some(mut next) = self.next_event(&mut end)? else {
                more = false;
                break;
            };
            if let Event::Observed { dag_name } = &*next.event {
                let Some(version) = self.seen_version(dag_name)? else {
                    self.ahead = Some(next);
                    return Ok(None);
                };
                *next.event = Event::Version(Box::new(version));
            }
            if let Some(event) = self.lost_beginning(&next.event) {
                // The reconstructed event is delivered first, and the actual one with the next step.
                self.ahead = Some(next);
                let (action, _) = self.single(event);
                self.offset = end;
                // It is not an item of the outbox: the line that was lost counts as dropped.
                return Ok(Some(Step { action, end, counts: ItemsByKind::default(), unwritten, more }));
            }
            let items = next.event.items();
            match self.add(*next.event, next.end - end, &mut batch) {
                None => {
                    end = next.end;
                    unwritten.count(next.is_unwritten, items);
                }
                // Alone and never in a batch: the server has separate requests for these.
                Some(other) if batch.is_empty() => {
                    unwritten.count(next.is_unwritten, items);
                    let (action, counts) = self.single(other);
                    return Ok(self.step(Step { action, end: next.end, counts, unwritten, more }));
                }
                // The batch before it goes first. The order of the outbox is the order of the run: an end that overtook its nodes
                // would result in a finished run with running nodes.
                Some(other) => {
                    self.ahead = Some(Next { event: Box::new(other), ..next });
                    break;
                }
            }
        }
        let part = batch.into_part();
        let counts = part.counts();
        let action = if part.len() == 0 { Action::Nothing } else { Action::Tasks(part) };
        Ok(self.step(Step { action, end, counts, unwritten, more }))
    }

    /// An event that must come before this one and is missing in the outbox, because its line is damaged, but can be read from the
    /// manifest. A server accepts nothing for a run that it does not know.
    fn lost_beginning(&mut self, next: &Event<Value>) -> Option<Event<Value>> {
        let lacks_version =
            self.pipeline.is_none() && !matches!(next, Event::Version(_) | Event::Lost { .. });
        let lacks_start = self.run_id.is_none()
            && !matches!(
                next,
                Event::Version(_) | Event::NodeSeen(_) | Event::RunStarted { .. } | Event::Lost { .. }
            );
        if self.asked_manifest || (!lacks_version && !lacks_start) {
            return None;
        }
        let beginning = Beginning::from_manifest(&self.tracker_dir);
        // Read only once if it has nothing, because the whole file is parsed, and this is called for each event.
        self.asked_manifest = beginning.is_none();
        let beginning = beginning?;
        // The manifest of another run does not apply.
        if let Event::RunStarted { run_id, .. } = next
            && *run_id != beginning.run_id
        {
            return None;
        }
        let Beginning { version, run_id, tags, started_at: time } = beginning;
        tracing::warn!(
            warning.code = WarningCode::BundleIncomplete.name(),
            tracker_dir = %self.tracker_dir.display(),
            "the outbox has lost the {} of its run, which the tracking server gets from the manifest",
            if lacks_version { "pipeline" } else { "start" },
        );
        Some(match lacks_version {
            true => Event::Version(Box::new(version)),
            false => Event::RunStarted { run_id, tags, inputs: BTreeMap::new(), time },
        })
    }

    /// The next event; `end` moves past unreadable lines before it.
    fn next_event(&mut self, end: &mut u64) -> Result<Option<Next>, OutboxError> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        loop {
            match self.reader.read()? {
                Read::Event { event, end } => return Ok(Some(Next { event, end, is_unwritten: false })),
                Read::Unreadable { end: line_end } => *end = line_end,
                // Only after the end of the file: events in memory are later than all that could be written.
                Read::End { .. } => {
                    let event = self.unwritten.pop_front();
                    return Ok(event.map(|event| Next {
                        event: Box::new(event),
                        end: *end,
                        is_unwritten: true,
                    }));
                }
            }
        }
    }

    /// The version of an observed run, once it has ended.
    fn seen_version(&mut self, dag_name: &str) -> Result<Option<Version>, OutboxError> {
        let to_come = match &mut self.to_come {
            Some(to_come) => to_come,
            None => self.to_come.insert(VersionToCome::open(&outbox_path(&self.tracker_dir), dag_name)?),
        };
        let version = to_come.read(&self.unwritten)?;
        if version.is_some() {
            self.to_come = None;
        }
        Ok(version)
    }

    fn step(&mut self, step: Step) -> Option<Step> {
        // A step without progress would be delivered forever. One with unreadable lines makes progress, and so does the cursor.
        let before = std::mem::replace(&mut self.offset, step.end);
        (step.end > before || step.unwritten.events > 0).then_some(step)
    }

    /// Adds an event of a node to a batch. Any other event is returned.
    fn add(&mut self, event: Event<Value>, bytes: u64, batch: &mut TaskBatch) -> Option<Event<Value>> {
        match event {
            Event::TaskStarted { node, time } => {
                self.started.insert(node.clone(), time);
                batch.start(&node, time, self.facts(&node), bytes);
            }
            Event::TaskFinished { node, time, status, attributes } => {
                let facts = self.facts(&node);
                // So the map holds only running nodes. A second attempt inserts its own start.
                self.started.remove(&node);
                batch.finish(&node, (status, time), attributes, facts, bytes);
            }
            // It is part of the version.
            Event::NodeSeen(_) => {}
            other => return Some(other),
        }
        None
    }

    fn facts(&self, node: &str) -> NodeFacts {
        NodeFacts {
            dependencies: self
                .pipeline
                .as_ref()
                .and_then(|pipeline| pipeline.dependencies.get(node))
                .cloned()
                .unwrap_or_default(),
            started: self.started.get(node).copied(),
        }
    }

    fn single(&mut self, event: Event<Value>) -> (Action, ItemsByKind) {
        let none = ItemsByKind::default();
        match event {
            Event::Version(version) => {
                self.pipeline = Some(Pipeline::of(&version));
                (Action::Version(version), ItemsByKind { versions: 1, ..none })
            }
            Event::RunStarted { run_id, tags, inputs, time } => {
                let run_id = run_id.to_string();
                self.run_id = Some(run_id.clone());
                let body = wire::DagRunIn {
                    run_start_time: Some(time),
                    run_end_time: None,
                    run_status: wire::DagRunUpdateRunStatus::Running.to_string(),
                    tags: encode::run_tags(&run_id, &tags),
                    inputs: inputs.into_iter().collect(),
                    outputs: self
                        .pipeline
                        .as_mut()
                        .map(|pipeline| std::mem::take(&mut pipeline.outputs))
                        .unwrap_or_default(),
                    launched_by_id: None,
                };
                let action = Action::Run { run_id, started: time, body: Box::new(body) };
                (action, ItemsByKind { runs: 1, ..none })
            }
            // The server accepts tags only together with a status and an end. The true end comes last.
            Event::TagsUpserted { tags, time } => {
                let running = wire::DagRunUpdateRunStatus::Running;
                let update = wire::DagRunUpdate {
                    run_status: self.outcome.map_or(running, run_status),
                    run_end_time: time,
                    upsert_tags: Some(encode::tags(&tags)),
                };
                (Action::Tags(Box::new(update)), ItemsByKind { tags: 1, ..none })
            }
            Event::RunFinished { status, time } => {
                self.outcome = Some(status);
                let run_status = run_status(status);
                let update = wire::DagRunUpdate { run_status, run_end_time: time, upsert_tags: None };
                (Action::End(status, Box::new(update)), ItemsByKind { ends: 1, ..none })
            }
            // Losses were counted with the outbox. The first two are already in a batch, and the next two in the version.
            Event::TaskStarted { .. }
            | Event::TaskFinished { .. }
            | Event::Observed { .. }
            | Event::NodeSeen(_)
            | Event::Lost { .. } => (Action::Nothing, none),
        }
    }
}

impl Unwritten {
    fn count(&mut self, is_unwritten: bool, items: u64) {
        if is_unwritten {
            self.events += 1;
            self.items += items;
        }
    }
}

impl Pipeline {
    fn of(version: &Version) -> Self {
        let nodes = &version.nodes;
        let read: HashSet<&String> = nodes.iter().flat_map(|node| &node.dependencies).collect();
        Self {
            dependencies: nodes
                .iter()
                .filter(|node| !node.dependencies.is_empty())
                .map(|node| (node.name.clone(), encode::node_names(&node.dependencies)))
                .collect(),
            outputs: nodes
                .iter()
                .filter(|node| !read.contains(&node.name))
                .map(|node| encode::node_name(&node.name).into())
                .collect(),
        }
    }

    /// The pipeline of an outbox whose events up to `offset` were already delivered, and the id of its run.
    fn before(
        path: &Path,
        reader: &mut OutboxReader,
        offset: u64,
    ) -> Result<(Option<Self>, Option<String>), OutboxError> {
        let mut pipeline = None;
        loop {
            match reader.read()? {
                Read::Event { event, end } if end <= offset => match *event {
                    Event::Version(version) => pipeline = Some(Self::of(&version)),
                    Event::Observed { dag_name } => {
                        let version = VersionToCome::open(path, &dag_name)?.read(&VecDeque::new())?;
                        pipeline = version.map(|version| Self::of(&version));
                    }
                    // The version always precedes it, so the rest of the file need not be read.
                    Event::RunStarted { run_id, .. } => return Ok((pipeline, Some(run_id.to_string()))),
                    _ => {}
                },
                Read::Unreadable { end } if end <= offset => {}
                _ => return Ok((pipeline, None)),
            }
        }
    }
}
