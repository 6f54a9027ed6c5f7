//! What panics say: their message, and where they came from.

use std::{
    any::Any,
    backtrace::{Backtrace, BacktraceStatus},
    collections::VecDeque,
    error::Error,
    fmt,
    future::Future,
    io::{self, Write},
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    path::Path,
    sync::{
        Mutex, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use daglight_capture_policy::Redactor;
use futures::FutureExt as _;

use crate::{node_stop::Stalled, query_owner::QueryOwner};

/// Panics that are remembered until somebody asks for them.
const REMEMBERED: usize = 32;
const NO_MESSAGE: &str = "a panic without a message";

/// A panic that was caught. `Display` says where it came from; its message, in which values may stand, is its source.
#[derive(Clone, PartialEq, Eq)]
pub struct Panic {
    message: Message,
    place: Option<String>,
}

/// What a panic says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
struct Message(String);

impl Panic {
    /// What it says.
    pub fn message(&self) -> &str {
        &self.message.0
    }

    /// Where it came from, and of its message what the redactor lets be shown.
    pub fn shown_by(&self, redactor: &Redactor) -> String {
        format!("{self}: {}", redactor.error_text(self.message()))
    }

    /// Where it came from, as `file:line`, where that is known. Of a dependency it is the path below its registry.
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// The place of the panic that an error mentions, as errors of joined tasks do.
    pub(crate) fn place_mentioned_in(text: &str) -> Option<String> {
        // Nearly every error: without taking the lock.
        if !text.contains("panicked") {
            return None;
        }
        let recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
        // DataFusion passes the panic of a spawned task on as the text of a `JoinError`, which has the message and no
        // place. The newest that fits is the likeliest.
        let mentioned =
            recent.iter().rev().find(|panic| !panic.message().is_empty() && text.contains(panic.message()));
        mentioned.and_then(|panic| panic.place.clone())
    }

    /// What the payload of a panic says, with the place that the panic hook has seen.
    ///
    /// A panic in a spawned task is handed on without its place, and on another thread: it is found by its message.
    pub(crate) fn of_payload(payload: &(dyn Any + Send)) -> Self {
        let message = message_of(payload);
        let recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
        let place = recent.iter().rev().find(|recent| recent.message() == message);
        Self { place: place.and_then(|panic| panic.place.clone()), message: Message(message) }
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "panicked at {place}"),
            None => write!(f, "panicked"),
        }
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for Panic {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.message)
    }
}

/// Does work of a run, and makes a panic in it an error. [`Run::node`](crate::Run::node) has recorded it by then.
///
/// # Errors
/// When the work panics.
pub async fn catch_panic<T>(work: impl Future<Output = T>) -> Result<T, Panic> {
    // The work is dropped with its panic, and nothing of what it had borrowed is looked at again here.
    let caught = AssertUnwindSafe(work).catch_unwind().await;
    caught.map_err(|payload| Panic::of_payload(&*payload))
}

/// Keeps panics inside the spans of runs from standard error, for a program that shows the errors of nodes itself. With
/// `RUST_BACKTRACE`, place and backtrace are written. The message is not: values of user data may be in it, and the error of
/// the node has it as the policy shows it.
pub fn silence_panics_of_nodes() {
    remember_panics();
    SILENT.store(true, Ordering::Relaxed);
}

static RECENT: Mutex<VecDeque<Panic>> = Mutex::new(VecDeque::new());
static SILENT: AtomicBool = AtomicBool::new(false);

/// Remembers the place of each panic of this process, in front of the panic hook that was there.
pub(crate) fn remember_panics() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // The program's own hook stays in charge of what is shown, unless it asked for silence.
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // Also for panics that have nothing to do with a run: whether one has is known for the thread that
            // panics, and its error may come out in a node all the same.
            remember(info);
            // The run says what happened; a test or a program shows its own panics as ever.
            if SILENT.load(Ordering::Relaxed) && is_of_a_run() {
                write_backtrace(info);
            } else {
                before(info);
            }
        }));
    });
}

/// Nothing where `RUST_BACKTRACE` does not ask for it.
fn write_backtrace(info: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        let place = info.location().map_or_else(String::new, |place| format!(" at {place}"));
        // A panic hook must not panic, as `eprintln!` does where standard error is closed.
        let _ = writeln!(io::stderr(), "panicked{place}\n{backtrace}");
    }
}

fn remember(info: &PanicHookInfo<'_>) {
    let place = info.location().map(|place| format!("{}:{}", shown_file(place.file()), place.line()));
    let panic = Panic { message: Message(message_of(info.payload())), place };
    let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    if recent.len() == REMEMBERED {
        recent.pop_front();
    }
    recent.push_back(panic);
}

/// Whether the panicking code belongs to a run. A span of the program itself does not belong to a run.
fn is_of_a_run() -> bool {
    QueryOwner::current().is_some()
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    if let Some(stalled) = payload.downcast_ref::<Stalled>() {
        return stalled.to_string();
    }
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(message), _) => (*message).to_owned(),
        (None, Some(message)) => message.clone(),
        (None, None) => NO_MESSAGE.to_owned(),
    }
}

/// A source file without the folders of the machine that compiled it.
fn shown_file(file: &str) -> String {
    let below = |folder: &str| file.split_once(folder).and_then(|(_, below)| Some(below.split_once('/')?.1));
    if let Some(file) =
        // The paths of dependencies begin with a folder of the machine that built the program.
        below("/registry/src/").or_else(|| below("/git/checkouts/")).or_else(|| below("/rustc/"))
    {
        return file.to_owned();
    }
    let path = Path::new(file);
    if path.is_relative() {
        return file.to_owned();
    }
    // Enough to find the file, without the name of somebody's home.
    let last: Vec<_> = path.iter().rev().take(3).map(|part| part.to_string_lossy()).collect();
    last.into_iter().rev().collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::{Policy, Profile};
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn a_panic_says_its_message_and_its_place() {
        remember_panics();
        let thread = std::thread::spawn(|| -> u8 { panic!("{} out of luck", 7) });
        let payload = thread.join().unwrap_err();
        // As DataFusion hands on the panic of a task, on another thread than it happened.
        let handed_on = async { panic::resume_unwind(payload) };
        let Err(caught) = block_on(catch_panic::<u8>(handed_on)) else { panic!("it is caught") };
        assert_eq!(caught.message(), "7 out of luck");
        let place = caught.place().unwrap();
        assert!(place.starts_with("crates/run-session/src/panics.rs:"), "{place}");
        assert_eq!(caught.to_string(), format!("panicked at {place}"));
        for (profile, message) in
            [(Profile::Dev, "7 out of luck"), (Profile::Prod, "[message left out by the capture policy]")]
        {
            let shown = caught.shown_by(Policy::of_profile(profile).redactor());
            assert_eq!(shown, format!("panicked at {place}: {message}"));
        }
        assert_eq!(block_on(catch_panic(async { 3 })), Ok(3));
    }

    #[test]
    fn a_panic_without_a_message_is_mentioned_by_no_error() {
        remember_panics();
        std::thread::spawn(|| panic!("{}", "")).join().unwrap_err();
        assert_eq!(Panic::place_mentioned_in("the task has panicked: somewhere else"), None);
    }

    #[test]
    fn places_do_not_say_where_the_program_was_compiled() {
        for (file, shown) in [
            ("/home/me/.cargo/registry/src/registry-1949/arrow-59.0.0/src/lib.rs", "arrow-59.0.0/src/lib.rs"),
            ("/rustc/0b4a2f/library/core/src/option.rs", "library/core/src/option.rs"),
            ("/home/me/secret/project/src/main.rs", "project/src/main.rs"),
            ("src/main.rs", "src/main.rs"),
        ] {
            assert_eq!(shown_file(file), shown);
        }
    }
}
