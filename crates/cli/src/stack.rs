//! A large stack for deeply nested statements.

use std::{fs, process::ExitCode, thread};

/// Parsing, planning and dropping a statement need stack in proportion to its depth: machine-written filters have tens of thousands
/// of terms. The system allocates only the used part of a stack, so a large one costs nothing, unless the address space is limited.
const MAIN_STACK_BYTES: usize = 1 << 30;

/// The share of a limited address space that this stack may take is one divided by this.
const SHARE_OF_LIMIT: usize = 8;

/// The exit code of a Rust program that has panicked.
const PANICKED: u8 = 101;

/// Runs the program on a thread with a large stack; if the system does not allow that, on this one.
pub(crate) fn with_large_stack(work: fn() -> ExitCode) -> ExitCode {
    let limit = address_space_limit().map_or(MAIN_STACK_BYTES, |limit| limit / SHARE_OF_LIMIT);
    // Only the used part takes memory, but all of it counts towards a limit on the address space.
    let stack_bytes = MAIN_STACK_BYTES.min(limit);
    match thread::Builder::new().name("daglight".to_owned()).stack_size(stack_bytes).spawn(work) {
        // The panic hook has already printed the reason.
        Ok(thread) => thread.join().unwrap_or(ExitCode::from(PANICKED)),
        Err(_) => work(),
    }
}

/// The limit on the address space of this process, such as from `ulimit -v`. `None` without a limit, or if the system does not
/// provide it.
pub(crate) fn address_space_limit() -> Option<usize> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    limit.split_whitespace().next()?.parse().ok()
}
