//! The tasks and stages that are open, as a beat shows them.

#![expect(clippy::disallowed_methods, reason = "an entry has the time at which it is opened")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use daglight_run_bundle::{ActiveTask, clock};

/// What is open, in the order of its start.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    open: BTreeMap<u64, (Kind, ActiveTask)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Task,
    Stage,
}

impl Board {
    /// The stage that is shown, and the tasks that run.
    pub(crate) fn state(&self) -> (Option<String>, Vec<ActiveTask>) {
        let entries = self.entries();
        let stage = entries.active(Kind::Stage).next_back().map(|stage| stage.name.clone());
        (stage, entries.active(Kind::Task).cloned().collect())
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn active(&self, kind: Kind) -> impl DoubleEndedIterator<Item = &ActiveTask> {
        self.open.values().filter(move |(of, _)| *of == kind).map(|(_, task)| task)
    }
}

/// An entry of the board, which is on it until this is dropped.
#[derive(Debug)]
pub(crate) struct Open {
    board: Arc<Board>,
    id: u64,
}

impl Open {
    pub(crate) fn new(board: &Arc<Board>, kind: Kind, name: String) -> Self {
        let task = ActiveTask { name, since: clock::utc_now() };
        let mut entries = board.entries();
        // By a number and not by the name: the same node may run twice at once, and each end takes its own entry away.
        let id = entries.next;
        entries.next += 1;
        entries.open.insert(id, (kind, task));
        drop(entries);
        Self { board: Arc::clone(board), id }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.board.entries().open.remove(&self.id);
    }
}
