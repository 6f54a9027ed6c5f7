//! Which threads poll something at this moment, and for how long such polls have taken.

use std::{
    fs,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The polls of one thing, such as a query. Any thread may begin one, and each has its own end.
#[derive(Debug, Default)]
pub struct Polls(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The id of the next poll.
    next: u64,
    active: Vec<Active>,
    /// How long those took that have returned.
    busy: Duration,
}

#[derive(Debug)]
struct Active {
    id: u64,
    thread: Option<u64>,
    may_block: bool,
    began: Instant,
}

/// A poll that has not returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActivePoll {
    /// The thread that it is on, as the operating system calls it; `None` where that is not known.
    pub thread: Option<u64>,
    /// How long it has taken so far.
    pub lasts: Duration,
    /// Whether it is on a thread that is made for calls that block.
    pub may_block: bool,
}

/// A poll that ends when this is dropped.
#[derive(Debug)]
#[must_use = "the poll ends when this is dropped"]
pub struct Polling<'p> {
    polls: &'p Polls,
    id: u64,
}

impl Polls {
    /// A poll begins on this thread.
    pub fn begin(&self) -> Polling<'_> {
        Polling { polls: self, id: self.begin_by_id() }
    }

    /// As [`Polls::begin`], on a thread that is made for calls that block, as those of `spawn_blocking` are.
    pub fn begin_blocking(&self) -> Polling<'_> {
        Polling { polls: self, id: self.begin_on(true) }
    }

    /// The polls that have not returned.
    pub fn active(&self) -> Vec<ActivePoll> {
        let state = self.lock();
        let active = state.active.iter();
        let active = active.map(|poll| ActivePoll {
            thread: poll.thread,
            lasts: poll.began.elapsed(),
            may_block: poll.may_block,
        });
        active.collect()
    }

    /// How long the polls took that have returned, taken together.
    pub fn busy(&self) -> Duration {
        self.lock().busy
    }

    /// As [`Polls::begin`], for who ends it with [`Polls::end`].
    pub(crate) fn begin_by_id(&self) -> u64 {
        self.begin_on(false)
    }

    fn begin_on(&self, may_block: bool) -> u64 {
        let (thread, began) = (this_thread(), Instant::now());
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        // A list and not a map: as many polls as there are threads, a handful.
        state.active.push(Active { id, thread, may_block, began });
        id
    }

    pub(crate) fn end(&self, id: u64) {
        let mut state = self.lock();
        if let Some(position) = state.active.iter().position(|poll| poll.id == id) {
            let poll = state.active.swap_remove(position);
            state.busy += poll.began.elapsed();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.polls.end(self.id);
    }
}

/// The number of this thread. Linux says it as the name of a link, which is read once for each thread.
pub fn this_thread() -> Option<u64> {
    thread_local! {
        static NUMBER: Option<u64> =
            // The kernel's number, by which `/proc` lists the thread, and which `std::thread::ThreadId` is not. Read
            // once for each thread.
            fs::read_link("/proc/thread-self").ok().and_then(|link| link.file_name()?.to_str()?.parse().ok());
    }
    NUMBER.try_with(|number| *number).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_are_known_until_they_return() {
        let polls = Polls::default();
        let outer = polls.begin();
        let inner = polls.begin_blocking();
        let active = polls.active();
        assert_eq!(active.len(), 2);
        assert!(active.iter().all(|poll| poll.thread == this_thread()));
        assert_eq!((active[0].may_block, active[1].may_block), (false, true));
        assert_eq!(this_thread().is_some(), cfg!(target_os = "linux"));
        drop(outer);
        assert_eq!(polls.active().len(), 1);
        drop(inner);
        assert!(polls.active().is_empty() && polls.busy() > Duration::ZERO);
    }
}
