//! Events that are on their way at once, and in which order they may be.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use daglight_run_bundle::{
    EVENT_OF_ANOTHER_RUN, LineageLine, LineageProgress, LineageReader, LineageRuns, UNREADABLE_EVENT,
    WarningCode, count_items,
};
use daglight_run_identity::RunId;

use crate::{answer::Answer, sending::Sender};

/// Events of a wave.
const MAX_EVENTS: usize = 128;
/// Bytes of the events of a wave, from which on it gets no more.
const MAX_BYTES: usize = 4 << 20;

/// Reasons up to which each has the receiver's own words.
const MAX_EXPLAINED: usize = 8;

/// Reads a file in waves.
pub(crate) struct Waves {
    reader: LineageReader,
    run_id: Option<RunId>,
    /// What was read and did not fit in.
    next: Option<Event>,
}

/// Events that follow each other in the file, none of which is of a run whose parent is another's run: so no run begins before, or ends
/// after the run that it is a part of.
#[derive(Default)]
pub(crate) struct Wave {
    events: Vec<Event>,
    /// What became of each.
    outcomes: Vec<Option<Outcome>>,
    /// The first ones, which the progress counts.
    counted: usize,
}

struct Event {
    text: Vec<u8>,
    /// `None` if it is not an event of a run.
    runs: Option<LineageRuns>,
    /// Why it is not sent.
    unfit: Option<&'static str>,
    /// Where in the file the next one starts.
    end: u64,
}

/// What became of an event that is done.
enum Outcome {
    Taken,
    Dropped { reason: String, said: String },
}

/// Why the sending of a wave ended.
#[derive(Debug)]
pub(crate) enum Sent {
    /// What was to be sent is done.
    Done,
    /// Nobody waits for it any more.
    OutOfTime,
    /// Some of it may be sent again.
    Later { error: String, after: Option<Duration> },
    /// Nothing can be sent as things are.
    Never { error: String },
}

impl Waves {
    /// The events of a reader. `run_id` is the run that they have to be of.
    pub(crate) fn new(reader: LineageReader, run_id: Option<RunId>) -> Self {
        Self { reader, run_id, next: None }
    }

    /// The next events; none at the end of the file. Without `is_wide` it is one at most.
    pub(crate) fn next(&mut self, is_wide: bool) -> io::Result<Wave> {
        let (mut wave, mut bytes) = (Wave::default(), 0);
        let (mut runs, mut parents) = (HashSet::new(), HashSet::new());
        let most = if is_wide { MAX_EVENTS } else { 1 };
        while wave.events.len() < most && bytes < MAX_BYTES {
            let Some(event) = self.event()? else { break };
            // What says of no run what it is may be anything.
            let is_related = event.runs.as_ref().is_none_or(|LineageRuns { run, parent }| {
                parents.contains(run) || parent.as_ref().is_some_and(|parent| runs.contains(parent))
            });
            if is_related && !wave.events.is_empty() {
                self.next = Some(event);
                break;
            }
            let is_alone = event.runs.is_none();
            if let Some(LineageRuns { run, parent }) = event.runs.clone() {
                runs.insert(run);
                parents.extend(parent);
            }
            bytes += event.text.len();
            wave.events.push(event);
            if is_alone {
                break;
            }
        }
        wave.outcomes.resize_with(wave.events.len(), || None);
        Ok(wave)
    }

    fn event(&mut self) -> io::Result<Option<Event>> {
        if let Some(event) = self.next.take() {
            return Ok(Some(event));
        }
        let (text, end) = match self.reader.next()? {
            LineageLine::End => return Ok(None),
            LineageLine::TooLong { end } => (&[][..], end),
            LineageLine::Event { text, end } => (text, end),
        };
        let runs = LineageRuns::of(text).ok();
        let is_of_another = self.run_id.zip(runs.as_ref()).is_some_and(|(run_id, runs)| !runs.is_of(run_id));
        let unfit = match is_event(text) {
            false => Some(UNREADABLE_EVENT),
            true => is_of_another.then_some(EVENT_OF_ANOTHER_RUN),
        };
        Ok(Some(Event { text: text.to_vec(), runs, unfit, end }))
    }
}

/// Whether a line is an event, and not what is left of one.
fn is_event(text: &[u8]) -> bool {
    serde_json::from_slice::<BTreeMap<&str, &serde_json::value::RawValue>>(text)
        .is_ok_and(|event| event.contains_key("eventTime"))
}

impl Wave {
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.counted == self.events.len()
    }

    /// How many events are done.
    pub(crate) fn done(&self) -> usize {
        self.outcomes.iter().flatten().count()
    }

    /// Sends what is not done yet, by so many requests at once, or the first of it where that is one. Events of one run are sent one
    /// after the other. The progress moves over an event once that and all before it are done; `done` sees it each time.
    pub(crate) fn send(
        &mut self,
        sender: &Sender,
        at_once: usize,
        limit: &(impl Fn() -> Option<Duration> + Sync),
        progress: &mut LineageProgress,
        done: &mut (impl FnMut(&LineageProgress) + Send),
    ) -> Sent {
        let mut lanes = self.lanes();
        if at_once <= 1 {
            lanes.truncate(1);
            lanes.iter_mut().for_each(|lane| lane.truncate(1));
        }
        let workers = lanes.len().min(at_once);
        let events = &self.events;
        let sending = Mutex::new(Sending {
            events,
            outcomes: &mut self.outcomes,
            counted: &mut self.counted,
            progress,
            done,
            lanes,
            ended: Sent::Done,
        });
        lock(&sending).settle_unfit();
        let work = || {
            loop {
                let Some(lane) = lock(&sending).next_lane() else { return };
                for index in lane {
                    let Some(limit) = limit() else { return lock(&sending).end(Sent::OutOfTime) };
                    let answer = sender.send(&events[index].text, limit);
                    if !lock(&sending).answered(index, answer) {
                        return;
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..workers {
                // Where there is no thread to be had, the others do its work.
                let _ = thread::Builder::new().name("daglight-lineage".into()).spawn_scoped(scope, work);
            }
            work();
        });
        sending.into_inner().unwrap_or_else(PoisonError::into_inner).ended
    }

    /// The events that are not done, those of each run together.
    fn lanes(&self) -> VecDeque<Vec<usize>> {
        let mut lanes: VecDeque<Vec<usize>> = VecDeque::new();
        let mut of_run = HashMap::new();
        for (index, event) in self.events.iter().enumerate().skip(self.counted) {
            if event.unfit.is_some() || self.outcomes[index].is_some() {
                continue;
            }
            let lane = *of_run.entry(event.runs.as_ref().map(|runs| &runs.run)).or_insert(lanes.len());
            match lanes.get_mut(lane) {
                Some(lane) => lane.push(index),
                None => lanes.push_back(vec![index]),
            }
        }
        lanes
    }
}

/// What the threads of a wave share.
struct Sending<'w, D> {
    events: &'w [Event],
    outcomes: &'w mut [Option<Outcome>],
    counted: &'w mut usize,
    progress: &'w mut LineageProgress,
    done: &'w mut D,
    lanes: VecDeque<Vec<usize>>,
    ended: Sent,
}

fn lock<'m, 'w, D>(sending: &'m Mutex<Sending<'w, D>>) -> MutexGuard<'m, Sending<'w, D>> {
    sending.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<D: FnMut(&LineageProgress)> Sending<'_, D> {
    fn next_lane(&mut self) -> Option<Vec<usize>> {
        matches!(self.ended, Sent::Done).then(|| self.lanes.pop_front()).flatten()
    }

    fn settle_unfit(&mut self) {
        for (event, outcome) in self.events.iter().zip(self.outcomes.iter_mut()) {
            if let Some(reason) = event.unfit {
                *outcome = Some(Outcome::Dropped { reason: reason.to_owned(), said: String::new() });
            }
        }
        self.count();
    }

    /// Takes an answer in. Whether the next event of that run may be sent.
    fn answered(&mut self, index: usize, answer: Answer) -> bool {
        let outcome = match answer {
            Answer::Taken => Outcome::Taken,
            Answer::Refused { reason, said } => Outcome::Dropped { reason, said },
            Answer::Later { error, after } => {
                self.end(Sent::Later { error, after });
                return false;
            }
            Answer::Never { error } => {
                self.end(Sent::Never { error });
                return false;
            }
        };
        self.outcomes[index] = Some(outcome);
        self.count();
        matches!(self.ended, Sent::Done)
    }

    /// No more requests are begun.
    fn end(&mut self, why: Sent) {
        self.ended = match (std::mem::replace(&mut self.ended, Sent::Done), why) {
            (Sent::Never { error }, _) | (_, Sent::Never { error }) => Sent::Never { error },
            (Sent::Later { error, after }, Sent::Later { after: other, .. }) => {
                Sent::Later { error, after: after.max(other) }
            }
            (later @ Sent::Later { .. }, _) => later,
            (_, why) => why,
        };
    }

    /// Moves the progress over what is done.
    fn count(&mut self) {
        while let Some(Some(outcome)) = self.outcomes.get(*self.counted) {
            match outcome {
                Outcome::Taken => self.progress.delivered = self.progress.delivered.saturating_add(1),
                Outcome::Dropped { reason, said } => count_dropped(self.progress, reason, said),
            }
            self.progress.offset = self.events[*self.counted].end;
            *self.counted += 1;
            (self.done)(self.progress);
        }
    }
}

fn count_dropped(progress: &mut LineageProgress, reason: &str, said: &str) {
    let reason = with_explanation(reason, said, &progress.dropped);
    if !said.is_empty() && !progress.dropped.contains_key(&reason) {
        let code = WarningCode::LineageEventsLost.name();
        tracing::warn!(warning.code = code, answer = said, "the receiver of OpenLineage rejected an event");
    }
    count_items(&mut progress.dropped, &reason, 1);
}

/// The reason with what the destination says, while there are few of them: it may say something else of each event.
fn with_explanation(reason: &str, said: &str, known: &BTreeMap<String, u64>) -> String {
    if said.is_empty() {
        return reason.to_owned();
    }
    let explained = format!("{reason}: {said}");
    let is_one_more = known.len() >= MAX_EXPLAINED && !known.contains_key(&explained);
    if is_one_more { reason.to_owned() } else { explained }
}
