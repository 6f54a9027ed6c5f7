//! What a program wants to say of its run where its own code does not come to it.

use std::{
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use crate::finish_report::FinishReport;

pub(crate) type LastWords = Box<dyn FnOnce(&FinishReport) + Send>;

/// How long a process that is about to end waits for what the program says of it.
const LIMIT: Duration = Duration::from_secs(2);

/// Last words that are printed once, by the first caller. Later callers wait until they are printed.
pub(crate) struct LastWordsOnce(Mutex<Option<LastWords>>);

impl LastWordsOnce {
    pub(crate) fn new(last_words: Option<LastWords>) -> Self {
        Self(Mutex::new(last_words))
    }

    /// Says them, in bounded time: who reads the output may have stopped to.
    pub(crate) fn say(&self, report: &FinishReport) {
        let mut last_words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last_words) = last_words.take() else { return };
        let report = report.clone();
        say_within(LIMIT, move || last_words(&report));
    }
}

/// Says something of the program's on a separate thread, and waits for that in bounded time: it may block, for example on a
/// pipe that nobody reads, while the process is to end. Without a thread nothing is said, which is the lesser harm.
pub(crate) fn say_within(limit: Duration, say: impl FnOnce() + Send + 'static) {
    let (said, is_said) = mpsc::channel::<()>();
    let say = move || {
        say();
        drop(said);
    };
    if thread::Builder::new().name("daglight-says".into()).spawn(say).is_ok() {
        // It ends when the words are said, also by a panic. What is not said by then is not said.
        let _ = is_said.recv_timeout(limit);
    }
}
