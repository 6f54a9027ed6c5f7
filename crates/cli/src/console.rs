//! What the user sees of the log, and where the log goes besides.

use std::{
    cell::RefCell,
    env,
    fmt::Debug,
    io::{self, IsTerminal as _, Write},
};

use daglight::{
    LIFECYCLE_TARGET, NOTE_TARGET, STALL_FIELDS, Telemetry,
    otel::WithTraceIds,
    policy::{Policy, Redactor, SqlText, is_engine, printable_message},
};
use indicatif::MultiProgress;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    field::MakeExt as _,
    filter::filter_fn,
    fmt::{
        self, FmtContext, FormatEvent, FormatFields, MakeWriter,
        format::{Writer, debug_fn},
    },
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use crate::say::{note, shown};

/// What is logged at all, unless `RUST_LOG` says otherwise: the pipeline and its engine, not the plumbing of exporters.
const DEFAULT_FILTER: &str = "warn,daglight=info";

/// How much of a message or value is shown.
const MESSAGE_COLUMNS: usize = 4_000;

/// Sends warnings and errors to standard error, above the progress display, and the whole log to `telemetry`.
pub(crate) fn install(telemetry: &Telemetry, progress: &MultiProgress) {
    let chosen = chosen_filter();
    let by_choice = chosen.is_some();
    // The command itself shows how nodes and runs end.
    let on_console = filter_fn(move |event| {
        by_choice
            || event.target() == NOTE_TARGET
            || (*event.level() <= Level::WARN && event.target() != LIFECYCLE_TARGET)
    });
    let line = fmt::format().with_target(by_choice).with_ansi(io::stderr().is_terminal()).without_time();
    let redactor = telemetry.policy().redactor().clone();
    let fields = debug_fn(move |writer, field, value| {
        let value = format!("{value:?}");
        // `FormatFields` is given the fields and not the event, so the target comes by way of the thread.
        let value = ENGINE.with_borrow(|engine| match engine {
            Some(target) => engine_text(&redactor, target, &value),
            None => value,
        });
        let value = printable_message(&value, MESSAGE_COLUMNS);
        match field.name() {
            "message" => write!(writer, "{value}"),
            // The place in the source that `tracing-log` adds to each record, and what the bundle groups warnings by:
            // neither is for people.
            name if name.starts_with("log.") || name == "warning.code" => Ok(()),
            // The sentence says it.
            name if name.starts_with(STALL_FIELDS) && !by_choice => Ok(()),
            name => write!(writer, "{}={value}", name.trim_start_matches("r#")),
        }
    });
    let console = fmt::layer()
        .event_format(WithTraceIds::new(ByTarget(line)).shown(by_choice))
        .fmt_fields(fields.delimited(" "))
        .with_writer(AboveProgress(progress.clone()))
        .with_ansi(io::stderr().is_terminal())
        .with_filter(on_console);
    let subscriber = tracing_subscriber::registry()
        .with(chosen.unwrap_or_else(|| EnvFilter::new(DEFAULT_FILTER)))
        .with(console)
        .with(telemetry.bridge().layer_with_filter(EnvFilter::new(recorded(telemetry.policy()))));
    // Takes in the records of the `log` crate too, which the query engine writes.
    // A subscriber that is there already is the program's, as in tests: the run goes on without the console's.
    if let Err(error) = subscriber.try_init() {
        note!("warning: the log is not captured in full: {error}");
    }
}

thread_local! {
    /// The target of the record that is written on this thread, where it is one of the engine.
    static ENGINE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What the engine logs, as far as the policy shows it: it repeats values of the data. What is left out has the name of who
/// said it instead.
fn engine_text(redactor: &Redactor, target: &str, text: &str) -> String {
    let shown = redactor.error_text(text);
    if shown == text { shown } else { format!("{target}: {shown}") }
}

/// Lets the format of fields know whose record it is, which is not passed to it.
struct ByTarget<F>(F);

impl<S, N, F> FormatEvent<S, N> for ByTarget<F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        // A record of the `log` crate has its target in a field.
        let mut target = Target(event.metadata().target().to_owned());
        event.record(&mut target);
        // Set and taken back around the formatting of one event, which happens on one thread.
        ENGINE.set(Some(target.0).filter(|target| is_engine(target)));
        let written = self.0.format_event(context, writer, event);
        ENGINE.set(None);
        written
    }
}

struct Target(String);

impl Visit for Target {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "log.target" {
            value.clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

/// What `RUST_LOG` says.
fn chosen_filter() -> Option<EnvFilter> {
    let directives =
        env::var(EnvFilter::DEFAULT_ENV).ok().filter(|directives| !directives.trim().is_empty())?;
    match EnvFilter::try_new(&directives) {
        Ok(filter) => Some(filter),
        Err(error) => {
            note!("warning: {} is not used: {error}", EnvFilter::DEFAULT_ENV);
            None
        }
    }
}

/// What of that is in the bundle and exported too: all, unless the policy hides literals. In detail, libraries print plans
/// and statements, in which literals have no shape by which they could be found.
fn recorded(policy: &Policy) -> &'static str {
    match policy.sql_text() {
        SqlText::Whole => "trace",
        _ => "warn,daglight=trace",
    }
}

/// Writes lines to standard error without tearing the progress display.
#[derive(Clone)]
struct AboveProgress(MultiProgress);

impl Write for AboveProgress {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The subscriber would report a failure there, where it just failed, and panic.
        let _ = self.0.suspend(|| io::stderr().write_all(shown(&String::from_utf8_lossy(bytes)).as_bytes()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for AboveProgress {
    type Writer = Self;

    fn make_writer(&'a self) -> Self::Writer {
        self.clone()
    }
}
