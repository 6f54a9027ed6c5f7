//! Room for statements that are nested deep.

use std::{process::ExitCode, thread};

/// Parsing, planning and dropping a statement take stack by its depth: machine-written filters have tens of thousands of
/// terms. The system gives memory to the part of a stack that is used, so a large one costs nothing.
const MAIN_STACK_BYTES: usize = 1 << 30;

/// The threads of the runtime evaluate expressions as deep as those that were planned.
pub(crate) const WORKER_STACK_BYTES: usize = 256 << 20;

/// The exit code of a Rust program that has panicked.
const PANICKED: u8 = 101;

/// Does the work of the program on a thread with a large stack; where the system does not grant that, on this one.
pub(crate) fn with_large_stack(work: fn() -> ExitCode) -> ExitCode {
    match thread::Builder::new().name("daglight".to_owned()).stack_size(MAIN_STACK_BYTES).spawn(work) {
        // The panic hook has said why.
        Ok(thread) => thread.join().unwrap_or(ExitCode::from(PANICKED)),
        Err(_) => work(),
    }
}
