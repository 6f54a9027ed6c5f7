//! What the command says, on standard output and standard error. Who reads may go away at any time, as in
//! `daglight run pipeline.sql | head`: that ends no run.

use std::{
    fmt,
    io::{ErrorKind, Write, stderr, stdout},
    sync::atomic::{AtomicBool, Ordering},
};

static OUTPUT_IS_INCOMPLETE: AtomicBool = AtomicBool::new(false);

/// Writes a line to standard output.
macro_rules! say {
    ($($text:tt)*) => { $crate::say::to_output(format_args!($($text)*)) };
}

/// Writes a line to standard error.
macro_rules! note {
    ($($text:tt)*) => { $crate::say::to_error(format_args!($($text)*)) };
}

pub(crate) use {note, say};

pub(crate) fn to_output(line: fmt::Arguments<'_>) {
    if let Err(error) = writeln!(stdout(), "{line}")
        && error.kind() != ErrorKind::BrokenPipe
        && !OUTPUT_IS_INCOMPLETE.swap(true, Ordering::Relaxed)
    {
        note!("error: cannot write to standard output: {error}");
    }
}

pub(crate) fn to_error(line: fmt::Arguments<'_>) {
    // There is nowhere left to say that it failed.
    let _ = writeln!(stderr(), "{line}");
}

/// Whether some of the output is lost to a reader who is still there, such as a file on a full disk.
pub(crate) fn output_is_incomplete() -> bool {
    OUTPUT_IS_INCOMPLETE.load(Ordering::Relaxed)
}
