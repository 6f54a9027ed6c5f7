//! What the command says, on standard output and standard error. Who reads may go away at any time, as in
//! `daglight run pipeline.sql | head`: that ends no run.
//!
//! This is the one door to the console. Nothing that is printed moves a terminal's cursor, hides or reorders text. `say!`
//! and `note!` print one line, whatever is in it; what has lines of ours says so by `document`, `error` and `usage`.

use std::{
    borrow::Cow,
    fmt,
    io::{self, ErrorKind, IsTerminal as _, Write, stderr, stdout},
    sync::{
        LazyLock, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use daglight::{
    policy::{Redactor, printable, printable_error, printable_lines},
    sql::ShownRows,
};

use crate::printable_output::PrintableOutput;

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

/// The text as it may be printed. Before there is a policy, credentials are hidden.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    redactor().console_text(text).into()
}

/// The message of an error that DataFusion or Arrow has made, which may repeat values.
pub(crate) fn shown_of_engine(text: &str) -> String {
    redactor().console_error(text)
}

/// What hides what the policy hides. Before there is a policy, that is credentials.
pub(crate) fn redactor() -> &'static Redactor {
    static WITHOUT_POLICY: LazyLock<Redactor> = LazyLock::new(|| Redactor::new::<&str>([]));
    REDACTOR.get().unwrap_or(&WITHOUT_POLICY)
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
    write_output(&printable(&line.to_string()));
}

/// Writes a text to standard output whose lines are ours: a table, or a document that its format keeps apart from what is
/// in it.
pub(crate) fn document(text: &str) {
    write_output(&printable_lines(text));
}

/// Standard output for the rows of a query in a format for programs. JSON has what a terminal would act on written out, and is
/// the same document; CSV has no such form, and is as it is unless it goes to a terminal.
pub(crate) fn rows_output(is_json: bool) -> Box<dyn Write + Send> {
    match is_json || stdout().is_terminal() {
        true => Box::new(PrintableOutput::new(CheckedOutput)),
        false => Box::new(CheckedOutput),
    }
}

/// Standard output, of which it is said once that it cannot be written.
struct CheckedOutput;

impl Write for CheckedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        check_output(stdout().lock().write_all(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Says that some of what was asked for cannot be written to standard output.
pub(crate) fn incomplete(why: &str) {
    if !OUTPUT_IS_INCOMPLETE.swap(true, Ordering::Relaxed) {
        note!("error: cannot write these rows to standard output: {why}");
    }
}

/// Standard output for a document in JSON, of any length.
pub(crate) fn json_output() -> impl Write {
    PrintableOutput::new(stdout().lock())
}

fn write_output(text: &str) {
    // `println!` panics where nobody reads, as behind `| head`.
    check_output(writeln!(stdout(), "{text}"));
}

fn check_output(written: io::Result<()>) {
    if let Err(error) = written
        // A reader that has read enough is not a failure. A full disk behind a redirection is one, said once and by the exit
        // code.
        && error.kind() != ErrorKind::BrokenPipe
        && !OUTPUT_IS_INCOMPLETE.swap(true, Ordering::Relaxed)
    {
        note!("error: cannot write to standard output: {error}");
    }
}

pub(crate) fn to_error(line: fmt::Arguments<'_>) {
    // There is nowhere left to say that it failed.
    let _ = writeln!(stderr(), "{}", printable(&shown(&line.to_string())));
}

/// Writes an error to standard error, which may quote lines of a script.
pub(crate) fn error(text: &str) {
    let _ = writeln!(stderr(), "{}", printable_error(&shown(text)));
}

/// Writes to standard error how the command is used. The lines are those of the parser of the command line.
pub(crate) fn usage(text: &str) {
    let _ = writeln!(stderr(), "{}", printable_lines(&shown(text)));
}

/// Asks something on the terminal. `None` where nobody answers.
pub(crate) fn ask(question: fmt::Arguments<'_>) -> Option<String> {
    let mut console = stderr();
    let mut answer = String::new();
    write!(console, "{} ", printable(&shown(&question.to_string()))).ok()?;
    console.flush().ok()?;
    io::stdin().read_line(&mut answer).ok()?;
    Some(answer.trim().to_owned())
}

/// Whether some of the output is lost to a reader who is still there, such as a file on a full disk.
pub(crate) fn output_is_incomplete() -> bool {
    OUTPUT_IS_INCOMPLETE.load(Ordering::Relaxed)
}
