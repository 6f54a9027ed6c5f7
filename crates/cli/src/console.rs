//! How the log is shown to the user, and the other destinations of the log.

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

/// The default for `RUST_LOG`: the pipeline and its engine, but not the internals of exporters.
const DEFAULT_FILTER: &str = "warn,daglight=info";

/// The maximum length shown of a message or value.
const MESSAGE_COLUMNS: usize = 4_000;

/// Whether warnings on standard error are coloured: on a terminal, unless `NO_COLOR` (<https://no-color.org>) asks for none.
fn has_colors() -> bool {
    io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes warnings and errors to standard error, above the progress display, and the whole log to `telemetry`.
pub(crate) fn install(telemetry: &Telemetry, progress: &MultiProgress) {
    let chosen = chosen_filter();
    let by_choice = chosen.is_some();
    // The command itself shows how nodes and runs end.
    let on_console = filter_fn(move |event| {
        by_choice
            || event.target() == NOTE_TARGET
            || (*event.level() <= Level::WARN && event.target() != LIFECYCLE_TARGET)
    });
    let line = fmt::format().with_target(by_choice).with_ansi(has_colors()).without_time();
    let redactor = telemetry.policy().redactor().clone();
    let fields = debug_fn(move |writer, field, value| {
        let value = format!("{value:?}");
        // `FormatFields` gets the fields but not the event, so the target is passed in a thread-local.
        let value = ENGINE.with_borrow(|engine| match engine {
            Some(target) => engine_text(&redactor, target, &value),
            None => value,
        });
        let value = printable_message(&value, MESSAGE_COLUMNS);
        match field.name() {
            "message" => write!(writer, "{value}"),
            // The source location that `tracing-log` adds to each record, and the code by which the bundle groups warnings: neither
            // is for users.
            name if name.starts_with("log.") || name == "warning.code" => Ok(()),
            // The message already contains it.
            name if name.starts_with(STALL_FIELDS) && !by_choice => Ok(()),
            name => write!(writer, "{}={value}", name.trim_start_matches("r#")),
        }
    });
    let console = fmt::layer()
        .event_format(WithTraceIds::new(ByTarget(line)).shown(by_choice))
        .fmt_fields(fields.delimited(" "))
        .with_writer(AboveProgress(progress.clone()))
        .with_ansi(has_colors())
        .with_filter(on_console);
    let subscriber = tracing_subscriber::registry()
        .with(chosen.unwrap_or_else(|| EnvFilter::new(DEFAULT_FILTER)))
        .with(console)
        .with(telemetry.bridge().layer_with_filter(EnvFilter::new(recorded(telemetry.policy()))));
    // This also captures the records of the `log` crate, which the query engine writes. If there already is a subscriber, it
    // belongs to the program, as in tests: the run goes on without that of the console.
    if let Err(error) = subscriber.try_init() {
        note!("warning: the log is not captured in full: {error}");
    }
}

thread_local! {
    /// The target of the record that is being written on this thread, if it comes from the engine.
    static ENGINE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A text logged by the engine, as far as the policy allows: it repeats values from the data. Hidden parts are replaced by the name
/// of the source.
fn engine_text(redactor: &Redactor, target: &str, text: &str) -> String {
    let shown = redactor.error_text(text);
    if shown == text { shown } else { format!("{target}: {shown}") }
}

/// Tells the field formatter whose record it is, which is not passed to it.
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
        // Set and reset around the formatting of one event, which happens on one thread.
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

/// The filter from `RUST_LOG`.
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

/// Which part of that is also recorded in the bundle and exported: all, unless the policy hides literals. At detailed levels,
/// libraries log plans and statements in which literals cannot be recognised.
fn recorded(policy: &Policy) -> &'static str {
    match policy.sql_text() {
        SqlText::Whole => "trace",
        _ => "warn,daglight=trace",
    }
}

/// Writes lines to standard error without disrupting the progress display.
#[derive(Clone)]
struct AboveProgress(MultiProgress);

impl Write for AboveProgress {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The subscriber would report an error to the same stream that just failed, and panic.
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
