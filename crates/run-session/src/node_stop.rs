//! Ending the code of a node that stands still, from outside of it.

use std::{
    future::poll_fn,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use daglight_run_bundle::StallClass;
use futures::task::AtomicWaker;
use tokio::task::AbortHandle;

/// A node made no progress, and its work was given up because `heartbeat.on_stall` is `cancel`. `Display` says for how long,
/// where it stood still and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
#[non_exhaustive]
pub struct Stalled {
    /// What kind of stall it was, where that is known.
    pub class: Option<StallClass>,
    /// In words.
    pub reason: String,
}

/// The order to a node to end.
#[derive(Debug, Default)]
pub(crate) struct NodeStop {
    /// The stall that something was done about last.
    stall: Mutex<Option<Stalled>>,
    is_ordered: AtomicBool,
    waiting: AtomicWaker,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl NodeStop {
    /// The number of tasks from which on those that have ended are looked for.
    const MANY_TASKS: usize = 64;

    /// Something is done about a stall of the node: an error that says so comes from it.
    pub(crate) fn stalls(&self, stall: Stalled) {
        *self.stall() = Some(stall);
    }

    /// The stall that an error comes from.
    pub(crate) fn stall_in(&self, error: &str) -> Option<Stalled> {
        // A query that is cancelled for a stall fails with its reason, which the code of the node passes on in an
        // error of its own.
        self.stall().clone().filter(|stall| error.contains(&stall.reason))
    }

    /// Has the code of the node dropped, and its tasks aborted, as soon as they give way.
    pub(crate) fn order(&self) {
        // Before the waker is woken and the tasks are taken: who registers from now on sees it.
        self.is_ordered.store(true, Ordering::Release);
        self.waiting.wake();
        std::mem::take(&mut *self.tasks()).iter().for_each(AbortHandle::abort);
    }

    /// Waits for the order.
    pub(crate) async fn ordered(&self) -> Stalled {
        poll_fn(|context| {
            self.waiting.register(context.waker());
            let stall = self.is_ordered.load(Ordering::Acquire).then(|| self.stall().clone()).flatten();
            stall.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// A task of the node was spawned.
    pub(crate) fn spawned(&self, task: AbortHandle) {
        if self.is_ordered.load(Ordering::Acquire) {
            task.abort();
            return;
        }
        let mut tasks = self.tasks();
        // Only before it would grow, so that a node that spawns a million tasks looks through the list a few times.
        if tasks.len() >= Self::MANY_TASKS && tasks.len() == tasks.capacity() {
            tasks.retain(|task| !task.is_finished());
        }
        tasks.push(task);
    }

    fn stall(&self) -> MutexGuard<'_, Option<Stalled>> {
        self.stall.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<AbortHandle>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn stall() -> Stalled {
        Stalled { class: Some(StallClass::Tasks), reason: "no progress for 3 s".to_owned() }
    }

    #[tokio::test]
    async fn an_order_comes_with_its_stall_and_aborts_tasks_before_and_after_it() {
        let stop = NodeStop::default();
        let (before, after) = (tokio::spawn(pending::<()>()), tokio::spawn(pending::<()>()));
        stop.spawned(before.abort_handle());
        stop.stalls(stall());
        stop.order();
        assert_eq!(stop.ordered().await, stall());
        stop.spawned(after.abort_handle());
        assert!(before.await.unwrap_err().is_cancelled() && after.await.unwrap_err().is_cancelled());
        assert_eq!(stop.stall_in("External error: no progress for 3 s"), Some(stall()));
        assert_eq!(stop.stall_in("disk on fire"), None);
    }

    #[tokio::test]
    async fn tasks_that_have_ended_are_not_kept() {
        let stop = NodeStop::default();
        for _ in 0..1_000 {
            let task = tokio::spawn(async {});
            stop.spawned(task.abort_handle());
            task.await.unwrap();
        }
        assert!(stop.tasks().len() <= 2 * NodeStop::MANY_TASKS, "{}", stop.tasks().len());
    }
}
