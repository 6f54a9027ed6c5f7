//! Delivering the events of a run that has ended.

use std::{
    io,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use daglight_http_transport::TransportError;
use daglight_run_bundle::{
    Bundle, DeliveryCounts, LineageCursor, ReadError, WriteError, count_lineage_events, outbox::DeliveryLock,
};

use crate::{
    delivery::{Stopped, deliver},
    sending::Sender,
    target::Target,
};

/// What was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LineageSync {
    /// Events that the destination has got now.
    pub delivered: u64,
    /// The counts of all events. `last_error` says why some still wait.
    pub ledger: DeliveryCounts,
}

/// Why the events of a bundle cannot be delivered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncLineageError {
    /// The events cannot be read.
    #[error("cannot read {}", path.display())]
    Events {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process delivers them.
    #[error("another process delivers {}", path.display())]
    Busy {
        /// The file of the events.
        path: PathBuf,
    },
    /// The progress cannot be read.
    #[error(transparent)]
    Cursor(#[from] ReadError),
    /// The progress cannot be recorded.
    #[error(transparent)]
    Unrecorded(#[from] WriteError),
    /// The client cannot be made.
    #[error("cannot set up the connection to the receiver of OpenLineage")]
    Transport(#[from] TransportError),
}

/// Delivers what waits in a bundle, for up to `timeout`. `None` where its run has recorded no events. Blocks, and must not be called
/// on a thread of an asynchronous runtime.
///
/// # Errors
/// When the events or their progress cannot be read or recorded, or another process delivers them. A receiver that does not answer
/// is not an error: the counts say what waits, and why.
pub fn sync_lineage(
    bundle: &Bundle,
    target: &Target,
    timeout: Duration,
) -> Result<Option<LineageSync>, SyncLineageError> {
    let path = || bundle.lineage_events();
    let unreadable = |source| SyncLineageError::Events { path: path(), source };
    if count_lineage_events(bundle).map_err(unreadable)?.is_none() {
        return Ok(None);
    }
    let Some(_lock) = DeliveryLock::of_lineage(bundle.dir()) else {
        return Err(SyncLineageError::Busy { path: path() });
    };
    let deadline = Instant::now() + timeout;
    let left = || deadline.saturating_duration_since(Instant::now());
    let mut cursor = LineageCursor::load(bundle.dir())?;
    let mut progress = cursor.towards(&target.name());
    let before = progress.delivered;
    let stopped = deliver(
        bundle.dir(),
        &Sender::new(target)?,
        &mut progress,
        || (!left().is_zero()).then(left),
        |pause, _| {
            let goes_on = pause < left();
            if goes_on {
                thread::sleep(pause);
            }
            goes_on
        },
        |_| {},
    );
    // What was delivered is recorded before an error is said.
    cursor.set(progress.clone());
    cursor.save(bundle.dir())?;
    let last_error = match stopped.map_err(unreadable)? {
        Stopped::Done => None,
        Stopped::GivenUp(error) => error.or_else(|| Some("the time is over".to_owned())),
        Stopped::Never(error) => Some(error),
    };
    // Counted once more: a run that goes on may have added some.
    let written = count_lineage_events(bundle).map_err(unreadable)?.unwrap_or_default();
    let ledger = DeliveryCounts { last_error, ..progress.ledger(written, &cursor.unwritten) };
    Ok(Some(LineageSync { delivered: progress.delivered - before, ledger }))
}
