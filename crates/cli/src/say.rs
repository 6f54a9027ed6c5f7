//! The output of the command, on standard output and standard error. Readers may disconnect at any time, as in `daglight run
//! pipeline.sql | head`: that does not end a run.
//!
//! All console output goes through this module. Nothing that is printed moves a terminal's cursor, hides or reorders text. `say!`
//! and `note!` print a single line, whatever it contains; multi-line output of ours uses `document`, `error` and `usage`.

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

/// Redacts every line on standard error according to the policy.
static REDACTOR: OnceLock<Redactor> = OnceLock::new();

/// From here on, everything on standard error is redacted according to the policy. The rows that a query returns are on standard
/// output, and their values are what the user has asked for.
pub(crate) fn hide_with(redactor: &Redactor) {
    // A command has a single policy.
    let _ = REDACTOR.set(redactor.clone());
}

/// The rows as a table with redacted headings and messages.
pub(crate) fn table(rows: &ShownRows) -> String {
    match REDACTOR.get() {
        Some(redactor) => rows.shown_by(redactor),
        None => rows.to_string(),
    }
}

/// The text in printable form. Before there is a policy, credentials are hidden.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    redactor().console_text(text).into()
}

/// The message of a DataFusion or Arrow error, which may repeat values.
pub(crate) fn shown_of_engine(text: &str) -> String {
    redactor().console_error(text)
}

/// The redactor of the policy, or before there is one, a redactor for credentials.
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

/// Writes a multi-line text of ours to standard output: a table, or a document whose format separates it from its content.
pub(crate) fn document(text: &str) {
    write_output(&printable_lines(text));
}

/// Standard output for query rows in a machine-readable format. In JSON, characters that affect a terminal are escaped, which
/// results in the same document; CSV has no escapes, and is unchanged unless it goes to a terminal.
pub(crate) fn rows_output(is_json: bool) -> Box<dyn Write + Send> {
    match is_json || stdout().is_terminal() {
        true => Box::new(PrintableOutput::new(CheckedOutput)),
        false => Box::new(CheckedOutput),
    }
}

/// Standard output, for which a write error is reported once.
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

/// Reports that some of the requested output could not be written to standard output.
pub(crate) fn incomplete(why: &str) {
    if !OUTPUT_IS_INCOMPLETE.swap(true, Ordering::Relaxed) {
        note!("error: cannot write these rows to standard output: {why}");
    }
}

/// Standard output for a JSON document of any length.
pub(crate) fn json_output() -> impl Write {
    PrintableOutput::new(stdout().lock())
}

fn write_output(text: &str) {
    // `println!` panics if nobody reads, for example after `| head`.
    check_output(writeln!(stdout(), "{text}"));
}

fn check_output(written: io::Result<()>) {
    if let Err(error) = written
        // A reader that has read enough is not a failure. A full disk behind a redirection is one, reported once and by the exit
        // code.
        && error.kind() != ErrorKind::BrokenPipe
        && !OUTPUT_IS_INCOMPLETE.swap(true, Ordering::Relaxed)
    {
        note!("error: cannot write to standard output: {error}");
    }
}

pub(crate) fn to_error(line: fmt::Arguments<'_>) {
    // An error here cannot be reported anywhere.
    let _ = writeln!(stderr(), "{}", printable(&shown(&line.to_string())));
}

/// Writes an error to standard error. It may quote lines of a script.
pub(crate) fn error(text: &str) {
    let _ = writeln!(stderr(), "{}", printable_error(&shown(text)));
}

/// Writes usage information to standard error. The lines come from the command line parser.
pub(crate) fn usage(text: &str) {
    let _ = writeln!(stderr(), "{}", printable_lines(&shown(text)));
}

/// Asks a question on the terminal. `None` if there is no answer.
pub(crate) fn ask(question: fmt::Arguments<'_>) -> Option<String> {
    let mut console = stderr();
    let mut answer = String::new();
    write!(console, "{} ", printable(&shown(&question.to_string()))).ok()?;
    console.flush().ok()?;
    io::stdin().read_line(&mut answer).ok()?;
    Some(answer.trim().to_owned())
}

/// Whether some output was lost although its destination still exists, such as a file on a full disk.
pub(crate) fn output_is_incomplete() -> bool {
    OUTPUT_IS_INCOMPLETE.load(Ordering::Relaxed)
}
