//! The open tasks and stages, for beats.

#![expect(clippy::disallowed_methods, reason = "an entry has the time at which it is opened")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use daglight_run_bundle::{ActiveTask, clock};

/// The open entries, in the order of their start.
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
    /// The current stage, and the running tasks.
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

/// An entry of the board, which is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Open {
    board: Arc<Board>,
    id: u64,
}

impl Open {
    pub(crate) fn new(board: &Arc<Board>, kind: Kind, name: String) -> Self {
        let task = ActiveTask { name, since: clock::utc_now() };
        let mut entries = board.entries();
        // By number instead of name: the same node may run twice at once, and each end removes its own entry.
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
