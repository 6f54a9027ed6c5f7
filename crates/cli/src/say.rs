//! What the command says, on standard output and standard error. Who reads may go away at any time, as in
//! `daglight run pipeline.sql | head`: that ends no run.
//!
//! Nothing that is printed moves a terminal's cursor, hides or reorders text: every line passes `printable_lines`. Texts of
//! users within a line pass `printable` before, so that they bring no line of their own.

use std::{
    borrow::Cow,
    fmt,
    io::{ErrorKind, Write, stderr, stdout},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use daglight::{
    policy::{Redactor, printable_lines},
    sql::ShownRows,
};

/// What hides in every line on standard error what the policy hides.
static REDACTOR: OnceLock<Redactor> = OnceLock::new();

/// From here on, nothing that the policy hides is printed on standard error. The rows that a query returns are on standard
/// output, and their values are what the user has asked for.
pub(crate) fn hide_with(redactor: &Redactor) {
    // A command has one policy.
    let _ = REDACTOR.set(redactor.clone());
}

/// The rows as a table, whose headings and messages hide what the policy hides.
pub(crate) fn table(rows: &ShownRows) -> String {
    match REDACTOR.get() {
        Some(redactor) => rows.shown_by(redactor),
        None => rows.to_string(),
    }
}

/// The text as it may be printed.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    match REDACTOR.get() {
        Some(redactor) => redactor.console_text(text).into(),
        None => text.into(),
    }
}

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
    if let Err(error) = writeln!(stdout(), "{}", printable_lines(&line.to_string()))
        && error.kind() != ErrorKind::BrokenPipe
        && !OUTPUT_IS_INCOMPLETE.swap(true, Ordering::Relaxed)
    {
        note!("error: cannot write to standard output: {error}");
    }
}

pub(crate) fn to_error(line: fmt::Arguments<'_>) {
    // There is nowhere left to say that it failed.
    let _ = writeln!(stderr(), "{}", printable_lines(&shown(&line.to_string())));
}

/// Whether some of the output is lost to a reader who is still there, such as a file on a full disk.
pub(crate) fn output_is_incomplete() -> bool {
    OUTPUT_IS_INCOMPLETE.load(Ordering::Relaxed)
}
