//! The stacks of threads of this process, sampled without disturbing them.
//!
//! Only Linux on x86-64 and aarch64 provides enough information about threads for this.

use std::{
    collections::BTreeMap,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use daglight_run_bundle::{StackEnd, StalledThread, ThreadStack};

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod linux;

/// The time limit for the stacks of all stalls that begin with the same beat. Names that are not found by then are left out.
const TIME: Duration = Duration::from_secs(1);

/// How much longer to wait for a disk that does not respond.
const GRACE: Duration = Duration::from_secs(1);

/// The maximum number of frames in one stack.
const MOST_FRAMES: usize = 64;

/// The maximum number of frames in all stacks of a run: they are in a file that is rewritten with each beat.
const MOST_OF_RUN: usize = 4_000;

/// The part of a stack that is kept.
fn shown(stack: ThreadStack) -> ThreadStack {
    let mut frames = without_runtime(stack.frames);
    let is_too_deep = frames.len() > MOST_FRAMES;
    frames.truncate(MOST_FRAMES);
    ThreadStack { frames, end: if is_too_deep { StackEnd::TooDeep } else { stack.end } }
}

/// The function of the standard library that calls the code of the program.
const PROGRAM_BEGINS: &str = "std::sys::backtrace::__rust_begin_short_backtrace";

/// The functions of a runtime that lead to the running of a task.
const RUNTIME: [&str; 8] = [
    "tokio::",
    "std::panic::",
    "std::panicking::",
    "core::panic::",
    "core::ops::function::",
    "alloc::boxed::Box<",
    "std::thread::local::LocalKey<",
    "__rust_try",
];

/// The frames of a stack without the outer ones that are the same on every thread: those that start a thread, and those with which
/// the runtime runs a task. All of them if nothing else is left.
fn without_runtime(mut frames: Vec<String>) -> Vec<String> {
    let program = frames.iter().position(|frame| frame == PROGRAM_BEGINS).unwrap_or(frames.len());
    let is_runtime = |frame: &&String| {
        let path = frame.trim_start_matches('<');
        RUNTIME.iter().any(|runtime| path.starts_with(runtime))
    };
    let outer = frames[..program].iter().rev().take_while(is_runtime).count();
    let inner = program - outer;
    if inner > 0 {
        frames.truncate(inner);
    }
    frames
}

/// Samples the stacks of threads, as long as that works and there is room for them.
#[derive(Debug)]
pub(crate) struct StackSampler {
    is_on: bool,
    frames: usize,
    /// The remaining time of this beat.
    time_left: Duration,
}

impl StackSampler {
    pub(crate) fn new(is_on: bool) -> Self {
        Self { is_on, frames: 0, time_left: TIME }
    }

    /// Starts a new beat with its own time limit: if hundreds of stalls begin together, the last ones get no stacks.
    pub(crate) fn begin_beat(&mut self) {
        self.time_left = TIME;
    }

    /// Adds the stacks of these threads, as far as the platform shows them.
    pub(crate) fn sample(&mut self, threads: &mut [StalledThread]) {
        let has_room = self.frames < MOST_OF_RUN && !self.time_left.is_zero();
        if !self.is_on || !has_room || threads.is_empty() {
            return;
        }
        let numbers: Vec<u64> = threads.iter().filter_map(|thread| thread.number).collect();
        let mut stacks = self.within_time(move |deadline| stacks_of(&numbers, deadline));
        for thread in threads {
            thread.stack = thread.number.and_then(|number| stacks.remove(&number)).map(shown);
            self.frames += thread.stack.as_ref().map_or(0, |stack| stack.frames.len());
        }
    }

    /// On a separate thread, because the heartbeat must not wait for the disk with the program file. If that does not respond, it
    /// is not tried again.
    fn within_time(
        &mut self,
        look: impl FnOnce(Instant) -> BTreeMap<u64, ThreadStack> + Send + 'static,
    ) -> BTreeMap<u64, ThreadStack> {
        let (sender, stacks) = mpsc::channel();
        let (begun, time) = (Instant::now(), self.time_left);
        let work = move || {
            let found = look(begun + time);
            // Nobody is waiting any more if this took too long.
            let _ = sender.send(found);
        };
        let started = thread::Builder::new().name("daglight-stacks".into()).spawn(work);
        let found = started.map(|_| stacks.recv_timeout(time + GRACE));
        self.time_left = time.saturating_sub(begun.elapsed());
        self.is_on = !matches!(found, Ok(Err(RecvTimeoutError::Timeout)));
        found.ok().and_then(Result::ok).unwrap_or_default()
    }
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn stacks_of(numbers: &[u64], deadline: Instant) -> BTreeMap<u64, ThreadStack> {
    linux::of_threads(numbers, deadline)
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn stacks_of(_: &[u64], _: Instant) -> BTreeMap<u64, ThreadStack> {
    BTreeMap::new()
}

#[cfg(test)]
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests;
