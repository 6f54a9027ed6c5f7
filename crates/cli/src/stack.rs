//! Room for statements that are nested deep.

use std::{fs, process::ExitCode, thread};

/// Parsing, planning and dropping a statement take stack by its depth: machine-written filters have tens of thousands of
/// terms. The system gives memory to the part of a stack that is used, so a large one costs nothing, unless the address
/// space is limited.
const MAIN_STACK_BYTES: usize = 1 << 30;

/// The part of a limited address space that this stack may take.
const SHARE_OF_LIMIT: usize = 8;

/// The exit code of a Rust program that has panicked.
const PANICKED: u8 = 101;

/// Does the work of the program on a thread with a large stack; where the system does not grant that, on this one.
pub(crate) fn with_large_stack(work: fn() -> ExitCode) -> ExitCode {
    let limit = address_space_limit().map_or(MAIN_STACK_BYTES, |limit| limit / SHARE_OF_LIMIT);
    // Only what is used of it takes memory, but all of it counts against a limit on the address space.
    let stack_bytes = MAIN_STACK_BYTES.min(limit);
    match thread::Builder::new().name("daglight".to_owned()).stack_size(stack_bytes).spawn(work) {
        // The panic hook has said why.
        Ok(thread) => thread.join().unwrap_or(ExitCode::from(PANICKED)),
        Err(_) => work(),
    }
}

/// The limit on the address space of this process, such as of `ulimit -v`. `None` without one, and where the system does
/// not say.
pub(crate) fn address_space_limit() -> Option<usize> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    limit.split_whitespace().next()?.parse().ok()
}
