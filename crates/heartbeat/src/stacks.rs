//! The stacks of threads of this process that are blocked, sampled without disturbing them.
//!
//! Only Linux on x86-64 and aarch64 says enough of a thread for this.

use std::{
    collections::BTreeMap,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use daglight_run_bundle::{StackEnd, StalledThread, ThreadStack};

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod linux;

/// The time for the stacks of all stalls that begin with one beat. Names that are not found by then are left out.
const TIME: Duration = Duration::from_secs(1);

/// How much longer than that is waited, for a disk that does not answer.
const GRACE: Duration = Duration::from_secs(1);

/// Frames of one stack.
const MOST_FRAMES: usize = 64;

/// Frames of all stacks of a run: they stand in a file that is written anew with each beat.
const MOST_OF_RUN: usize = 4_000;

/// What is kept of a stack.
fn shown(stack: ThreadStack) -> ThreadStack {
    let mut frames = without_runtime(stack.frames);
    let is_too_deep = frames.len() > MOST_FRAMES;
    frames.truncate(MOST_FRAMES);
    ThreadStack { frames, end: if is_too_deep { StackEnd::TooDeep } else { stack.end } }
}

/// The function of the standard library within which code of the program runs.
const PROGRAM_BEGINS: &str = "std::sys::backtrace::__rust_begin_short_backtrace";

/// What runs tasks, and the calls of functions by which it does.
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

/// The frames of a stack without the outer ones, of the same on every thread: those that begin a thread, and those by which the
/// runtime has come to the task. All of them where there is nothing else.
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

/// Samples the stacks of threads, for as long as that works and there is room for them.
#[derive(Debug)]
pub(crate) struct StackSampler {
    is_on: bool,
    frames: usize,
    /// Of the time of this beat.
    time_left: Duration,
}

impl StackSampler {
    pub(crate) fn new(is_on: bool) -> Self {
        Self { is_on, frames: 0, time_left: TIME }
    }

    /// Another beat begins, with time of its own: of hundreds of stalls that begin together, the last ones have no stacks.
    pub(crate) fn begin_beat(&mut self) {
        self.time_left = TIME;
    }

    /// Gives each of these threads that is blocked its stack.
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

    /// Beside the heart, which must not wait for a disk from which the program itself is read. Where that does not answer, it
    /// is not asked again.
    fn within_time(
        &mut self,
        look: impl FnOnce(Instant) -> BTreeMap<u64, ThreadStack> + Send + 'static,
    ) -> BTreeMap<u64, ThreadStack> {
        let (sender, stacks) = mpsc::channel();
        let (begun, time) = (Instant::now(), self.time_left);
        let work = move || {
            let found = look(begun + time);
            // Nobody waits any more where this took too long.
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
