//! Determines how many threads a run can have, before it starts: a runtime that cannot start one of its threads panics, and one
//! without a thread for blocking work waits forever.

use std::{
    io, iter,
    num::NonZero,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::runtime::{Builder, Runtime};

use crate::{failure::Failure, say::note, stack::address_space_limit};

/// Stack sizes for the runtime's threads; the first one that fits is used. They evaluate expressions as deep as those that were
/// planned. The system allocates only the used part of a stack, so a large one costs nothing, unless the address space is limited.
const STACKS_BYTES: [usize; 4] = [256 << 20, 64 << 20, 16 << 20, 4 << 20];

/// The number of threads of Daglight itself and of exporters, with the default stack size.
const OWN_THREADS: usize = 16;
const OWN_STACK_BYTES: usize = 2 << 20;

/// The minimum number of threads for blocking work, such as reading files.
const BLOCKING_THREADS: usize = 2;

/// The number of files that the runtime opens at its start, including an essential pair of sockets.
#[cfg(unix)]
const RUNTIME_FILES: usize = 7;

/// Address space that must remain in addition to all stacks: for data, and for what the allocator reserves for each thread.
const LEAST_DATA_BYTES: usize = 512 << 20;

/// An idle thread is kept, so that there is always one for blocking work.
const KEEP_ALIVE: Duration = Duration::from_secs(24 * 60 * 60);

/// The environment variable for tokio's number of workers, which is otherwise the number of processors.
const WORKERS: &str = "TOKIO_WORKER_THREADS";

/// The number of workers for which there is room, and the stack size of each.
type Room = io::Result<(usize, usize)>;

/// The result, which is determined in the background.
pub(crate) struct Looking {
    wanted: usize,
    found: Option<JoinHandle<Room>>,
}

/// Determines in the background how many workers a runtime can have, by default as many as there are processors. `first` is called
/// there before that.
pub(crate) fn look_for_room(threads: Option<NonZero<usize>>, first: fn()) -> Looking {
    let wanted = threads.map_or_else(wanted_workers, NonZero::get);
    let look = move || {
        first();
        // The slot of this thread becomes free afterwards.
        room(wanted, OWN_THREADS - 1)
    };
    // All of the room is taken for a moment. If the address space is limited, no other thread could allocate anything then.
    let found = address_space_limit()
        .is_none()
        .then(|| thread::Builder::new().name("daglight-ahead".into()).spawn(look));
    Looking { wanted, found: found.and_then(Result::ok) }
}

impl Looking {
    fn end(self) -> (usize, Room) {
        let found = self.found.and_then(|looking| looking.join().ok());
        (self.wanted, found.unwrap_or_else(|| room(self.wanted, OWN_THREADS)))
    }
}

fn room(wanted: usize, own_threads: usize) -> Room {
    let room = |workers: usize, stack_bytes| {
        let stacks = [(workers + BLOCKING_THREADS, stack_bytes), (own_threads, OWN_STACK_BYTES)];
        has_room_for(&stacks)
    };
    // Smaller stacks are preferred to fewer threads: plans that are deep enough to need the stack are rare, but slowness affects
    // every run.
    let as_wanted = STACKS_BYTES.into_iter().map(|stack_bytes| (wanted, stack_bytes));
    let fewer = iter::successors(Some(wanted / 2), |workers| Some(workers / 2));
    let fewer = fewer.take_while(|workers| *workers > 0);
    let fewer = fewer.map(|workers| (workers, STACKS_BYTES[STACKS_BYTES.len() - 1]));
    let mut error = io::Error::from(io::ErrorKind::WouldBlock);
    for (workers, stack_bytes) in as_wanted.chain(fewer) {
        match room(workers, stack_bytes) {
            Ok(()) => return Ok((workers, stack_bytes)),
            Err(no_room) => error = no_room,
        }
    }
    Err(error)
}

/// The runtime of a pipeline, with as many workers as there is room for.
pub(crate) fn runtime(looking: Looking) -> Result<Runtime, Failure> {
    let (wanted, room) = looking.end();
    // Tokio opens these itself, and panics if that fails.
    has_room_for_files()?;
    let (workers, stack_bytes) = room.map_err(|error| no_room(&error))?;
    if workers < wanted {
        note!("warning: the system has room for {workers} of {wanted} worker threads: the run may be slower");
    }
    start(workers, stack_bytes).map_err(|error| no_runtime(&error))
}

fn no_room(error: &io::Error) -> Failure {
    let least = 1 + BLOCKING_THREADS + OWN_THREADS;
    Failure::input(format!(
        "cannot start the {least} threads that a run needs at the least: {error}; raise the limit on processes \
         (ulimit -u) or on memory (ulimit -v)"
    ))
}

fn no_runtime(error: &io::Error) -> Failure {
    Failure::input(format!(
        "cannot start the threads of a run: {error}; raise the limit on open files (ulimit -n), on processes (ulimit -u) \
         or on memory (ulimit -v)"
    ))
}

/// Checks that the runtime can open its files: it panics if it cannot open all of them.
#[cfg(unix)]
fn has_room_for_files() -> Result<(), Failure> {
    use std::os::fd::AsFd as _;

    let console = io::stderr();
    let opened: io::Result<Vec<_>> =
        (0..RUNTIME_FILES).map(|_| console.as_fd().try_clone_to_owned()).collect();
    opened.map(drop).map_err(|error| no_runtime(&error))
}

#[cfg(not(unix))]
fn has_room_for_files() -> Result<(), Failure> {
    Ok(())
}

fn start(workers: usize, stack_bytes: usize) -> io::Result<Runtime> {
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .worker_threads(workers)
        .thread_stack_size(stack_bytes)
        .thread_keep_alive(KEEP_ALIVE)
        .build()?;
    // The first thread for blocking work, while there is room for it. Without that room the runtime panics, so a thread of the same
    // size is tried first.
    can_start(&[(1, stack_bytes)])?;
    // Kept alive from now on, so that a query that reads a file always finds a thread.
    drop(runtime.spawn_blocking(|| ()));
    Ok(runtime)
}

fn wanted_workers() -> usize {
    let chosen = std::env::var(WORKERS).ok().and_then(|workers| workers.parse::<NonZero<usize>>().ok());
    chosen.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZero::get)
}

/// Whether that many threads with these stack sizes can exist at once, with address space left for data.
fn has_room_for(stacks: &[(usize, usize)]) -> io::Result<()> {
    // Requested at once, because nothing can be allocated any more when threads have taken everything.
    let of_stacks = stacks.iter().map(|(count, stack_bytes)| count.saturating_mul(*stack_bytes));
    let whole = of_stacks.fold(LEAST_DATA_BYTES, usize::saturating_add);
    Vec::<u8>::new().try_reserve_exact(whole).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    can_start(stacks)
}

/// Whether that many threads with these stack sizes can run at once. They have ended when this returns.
fn can_start(stacks: &[(usize, usize)]) -> io::Result<()> {
    let mut waiting = Vec::new();
    let mut each = stacks.iter().flat_map(|(count, stack_bytes)| iter::repeat_n(*stack_bytes, *count));
    let started = each.try_for_each(|stack_bytes| {
        let (release, released) = mpsc::channel::<()>();
        // It ends when the sender is dropped.
        let wait = move || _ = released.recv();
        let thread =
            thread::Builder::new().name("daglight-room".into()).stack_size(stack_bytes).spawn(wait)?;
        waiting.push((release, thread));
        Ok(())
    });
    for (release, thread) in waiting {
        drop(release);
        // It only waits, and cannot panic.
        let _ = thread.join();
    }
    started
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_some_threads_and_not_for_all_that_one_may_think_of() {
        has_room_for(&[(2, 1 << 20), (1, 2 << 20)]).unwrap();
        assert!(has_room_for(&[(1, 1 << 60)]).is_err());
    }
}
