//! The stacks of threads on Linux: of blocked ones from the registers in `/proc` and the memory of the process, of running ones
//! from a sample of the system.
//!
//! No thread is stopped, and none gets a signal.

use std::{collections::BTreeMap, fs, time::Instant};

use daglight_run_bundle::{StackEnd, ThreadStack};

use memory::Memory;
use objects::{Object, object_at};
use registers::Registers;
use unwind::Chain;

mod frame_pointer;
mod memory;
mod objects;
mod registers;
pub(super) mod running;
mod symbols;
mod unwind;

/// The maximum depth of a stack.
const MOST_CALLS: usize = 256;

/// The stacks of these threads, as far as they are found before the deadline.
pub(super) fn of_threads(numbers: &[u64], deadline: Instant) -> BTreeMap<u64, ThreadStack> {
    of_threads_within(numbers, deadline, deadline)
}

/// Like [`of_threads`], with a separate deadline for the names of functions.
pub(super) fn of_threads_within(
    numbers: &[u64],
    deadline: Instant,
    names_until: Instant,
) -> BTreeMap<u64, ThreadStack> {
    let Ok(memory) = Memory::open() else { return BTreeMap::new() };
    let objects = objects::loaded(&memory);
    let mut samples_running = true;
    let mut chain = |number| {
        blocked_chain(&memory, &objects, number).or_else(|| {
            // What the system refuses once, it refuses for every thread.
            let place = samples_running.then(|| running::place_of(number, deadline))?;
            samples_running = place.is_ok();
            let running::Place { code, registers, stack } = place.ok()??;
            Some(unwind::chain(&memory.with_stack(stack), &objects, code, registers, MOST_CALLS))
        })
    };
    let in_time = numbers.iter().take_while(|_| Instant::now() < deadline);
    let chains: Vec<_> = in_time.filter_map(|number| Some((*number, chain(*number)?))).collect();
    let names = names(&objects, &chains, names_until);
    let stack = |chain: Chain| ThreadStack {
        frames: chain.frames.iter().filter_map(|at| names.get(at).cloned()).collect(),
        end: match (chain.is_complete, chain.frames.len() >= MOST_CALLS) {
            (true, _) => StackEnd::Whole,
            (false, true) => StackEnd::TooDeep,
            (false, false) => StackEnd::Lost,
        },
    };
    let stacks = chains.into_iter().map(|(number, chain)| (number, stack(chain)));
    // If the memory cannot be read, the position in the code is unknown.
    stacks.filter(|(_, stack)| !stack.frames.is_empty()).collect()
}

/// The call chain of a blocked thread. `None` for one that runs, or continues while its stack is read.
fn blocked_chain(memory: &Memory, objects: &[Object], number: u64) -> Option<Chain> {
    let before = Blocked::of(number)?;
    let chain = unwind::chain(memory, objects, before.code, Registers::new(before.stack), MOST_CALLS);
    // The thread must still be in the same place.
    (Blocked::of(number)? == before).then_some(chain)
}

/// The place where a thread is blocked.
#[derive(Debug, PartialEq)]
struct Blocked {
    /// The line from the system, including the arguments of the system call.
    line: String,
    code: u64,
    stack: u64,
}

impl Blocked {
    /// `None` for a thread that is running, or has ended.
    fn of(number: u64) -> Option<Self> {
        let line = fs::read_to_string(format!("/proc/self/task/{number}/syscall")).ok()?;
        let mut fields = line.split_ascii_whitespace().rev();
        let mut address = || u64::from_str_radix(fields.next()?.strip_prefix("0x")?, 16).ok();
        let (code, stack) = (address()?, address()?);
        Some(Self { line, code, stack })
    }
}

/// The text for each address of these chains: the name of its function, or the file and the offset in it.
fn names(objects: &[Object], chains: &[(u64, Chain)], deadline: Instant) -> BTreeMap<u64, String> {
    let mut names = BTreeMap::new();
    for object in objects {
        let is_here = |at: &u64| object_at(std::slice::from_ref(object), *at).is_some();
        let mut here: Vec<u64> =
            chains.iter().flat_map(|(_, chain)| &chain.frames).copied().filter(is_here).collect();
        here.sort_unstable();
        here.dedup();
        if here.is_empty() {
            continue;
        }
        let in_file: Vec<u64> = here.iter().map(|at| at.wrapping_sub(object.bias)).collect();
        let found = symbols::names(object, &in_file, deadline);
        for ((at, in_file), name) in here.into_iter().zip(in_file).zip(found) {
            let place = || format!("{}+{in_file:#x}", object.name());
            names.insert(at, name.unwrap_or_else(place));
        }
    }
    names
}
