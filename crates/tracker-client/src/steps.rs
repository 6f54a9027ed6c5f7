//! The events of an outbox as steps of a delivery.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    path::Path,
};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{
    Counts, Event, OutboxError, Outcome, Version,
    batch::{NodeFacts, Part, TaskBatch},
    encode,
    reader::{OutboxReader, Read},
    wire,
};

/// Reads an outbox step by step. Holds one batch of it.
#[derive(Debug)]
pub(crate) struct Steps {
    reader: OutboxReader,
    /// Where the last step ended.
    offset: u64,
    /// An event that was read and belongs to a later step.
    ahead: Option<Next>,
    /// Events that are not in the outbox, and come after those that are.
    unwritten: VecDeque<Event<Value>>,
    pipeline: Pipeline,
    /// The run's own id, once its start was read.
    run_id: Option<String>,
    /// Starts of the nodes that are running.
    started: HashMap<String, DateTime<Utc>>,
    outcome: Option<Outcome>,
}

/// An event, and where its line ends. One that is not in the outbox ends where the one before it does.
#[derive(Debug)]
struct Next {
    event: Box<Event<Value>>,
    end: u64,
    is_unwritten: bool,
}

/// What the version says that later events depend on.
#[derive(Debug, Default)]
struct Pipeline {
    dependencies: HashMap<String, Vec<Value>>,
    outputs: Vec<Value>,
}

/// Some events in a row, and what is to be done about them.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) action: Action,
    /// Where its last line ends.
    pub(crate) end: u64,
    /// The items that it delivers.
    pub(crate) counts: Counts,
    /// Events among its own that are not in the outbox, and the items in them.
    pub(crate) unwritten: Unwritten,
    /// Whether the outbox has more to read right now.
    pub(crate) more: bool,
}

/// Events that are not in the outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Unwritten {
    pub(crate) events: usize,
    pub(crate) items: u64,
}

/// What the server is asked to do.
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
    /// Nothing: there are only lines that cannot be read, or say what is lost.
    Nothing,
}

impl Steps {
    /// The steps of an outbox from `offset` on, of a run with that outcome so far.
    ///
    /// # Errors
    /// When the outbox cannot be read.
    pub(crate) fn open(path: &Path, offset: u64, outcome: Option<Outcome>) -> Result<Self, OutboxError> {
        let mut reader = OutboxReader::open(path)?;
        let (pipeline, run_id) = Pipeline::before(&mut reader, offset)?;
        reader.seek(offset)?;
        Ok(Self {
            reader,
            offset,
            ahead: None,
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

    /// Goes on with events that are not in the outbox.
    pub(crate) fn add_unwritten(&mut self, events: Vec<Event<Value>>) {
        self.unwritten.extend(events);
    }

    /// The next step; `None` where the outbox ends for now.
    ///
    /// # Errors
    /// When the outbox cannot be read.
    pub(crate) fn next(&mut self) -> Result<Option<Step>, OutboxError> {
        let mut batch = TaskBatch::default();
        let mut end = self.offset;
        let mut unwritten = Unwritten::default();
        let mut more = true;
        while !batch.is_full() {
            let Some(next) = self.next_event(&mut end)? else {
                more = false;
                break;
            };
            let items = next.event.items();
            match self.add(*next.event, next.end - end, &mut batch) {
                None => {
                    end = next.end;
                    unwritten.count(next.is_unwritten, items);
                }
                Some(other) if batch.is_empty() => {
                    unwritten.count(next.is_unwritten, items);
                    let (action, counts) = self.single(other);
                    return Ok(self.step(Step { action, end: next.end, counts, unwritten, more }));
                }
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

    /// The next event; `end` moves behind lines in front of it that cannot be read.
    fn next_event(&mut self, end: &mut u64) -> Result<Option<Next>, OutboxError> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        loop {
            match self.reader.read()? {
                Read::Event { event, end } => return Ok(Some(Next { event, end, is_unwritten: false })),
                Read::Unreadable { end: line_end } => *end = line_end,
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

    fn step(&mut self, step: Step) -> Option<Step> {
        let before = std::mem::replace(&mut self.offset, step.end);
        (step.end > before || step.unwritten.events > 0).then_some(step)
    }

    /// Adds an event of a node to a batch. Any other comes back.
    fn add(&mut self, event: Event<Value>, bytes: u64, batch: &mut TaskBatch) -> Option<Event<Value>> {
        match event {
            Event::TaskStarted { node, time } => {
                self.started.insert(node.clone(), time);
                batch.start(&node, time, self.facts(&node), bytes);
            }
            Event::TaskFinished { node, time, status, attributes } => {
                let facts = self.facts(&node);
                self.started.remove(&node);
                batch.finish(&node, (status, time), attributes, facts, bytes);
            }
            other => return Some(other),
        }
        None
    }

    fn facts(&self, node: &str) -> NodeFacts {
        NodeFacts {
            dependencies: self.pipeline.dependencies.get(node).cloned().unwrap_or_default(),
            started: self.started.get(node).copied(),
        }
    }

    fn single(&mut self, event: Event<Value>) -> (Action, Counts) {
        let none = Counts::default();
        match event {
            Event::Version(version) => {
                self.pipeline = Pipeline::of(&version);
                (Action::Version(version), Counts { versions: 1, ..none })
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
                    outputs: std::mem::take(&mut self.pipeline.outputs),
                    launched_by_id: None,
                };
                let action = Action::Run { run_id, started: time, body: Box::new(body) };
                (action, Counts { runs: 1, ..none })
            }
            // The server takes tags only together with a status and an end. The true end comes last.
            Event::TagsUpserted { tags, time } => {
                let running = wire::DagRunUpdateRunStatus::Running;
                let update = wire::DagRunUpdate {
                    run_status: self.outcome.map_or(running, Outcome::run_status),
                    run_end_time: time,
                    upsert_tags: Some(encode::tags(&tags)),
                };
                (Action::Tags(Box::new(update)), Counts { tags: 1, ..none })
            }
            Event::RunFinished { status, time } => {
                self.outcome = Some(status);
                let run_status = status.run_status();
                let update = wire::DagRunUpdate { run_status, run_end_time: time, upsert_tags: None };
                (Action::End(status, Box::new(update)), Counts { ends: 1, ..none })
            }
            // What is lost was counted when the outbox was.
            Event::TaskStarted { .. } | Event::TaskFinished { .. } | Event::Lost { .. } => {
                (Action::Nothing, none)
            }
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

    /// The pipeline of an outbox whose events up to `offset` were delivered before, and its run's id.
    fn before(reader: &mut OutboxReader, offset: u64) -> Result<(Self, Option<String>), OutboxError> {
        let mut pipeline = Self::default();
        loop {
            match reader.read()? {
                Read::Event { event, end } if end <= offset => match *event {
                    Event::Version(version) => pipeline = Self::of(&version),
                    Event::RunStarted { run_id, .. } => return Ok((pipeline, Some(run_id.to_string()))),
                    _ => {}
                },
                Read::Unreadable { end } if end <= offset => {}
                _ => return Ok((pipeline, None)),
            }
        }
    }
}
