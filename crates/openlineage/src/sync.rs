//! Delivering the events of a run that has ended.

use std::{
    io,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use daglight_http_transport::TransportError;
use daglight_run_bundle::{
    Bundle, DeliveryCounts, LedgerDestination, LedgerSignal, LineageCursor, MISSING_EVENT, Manifest,
    ReadError, WriteError, count_items, count_lineage_events, outbox::DeliveryLock,
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

/// Delivers what waits in a bundle, for up to `timeout`. `None` where its run has recorded no events. An event
/// that the manifest counts and the file lacks is dropped. Blocks, and must not be called
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
    let manifest = Manifest::read(bundle).ok();
    let recorded = manifest.as_ref().map_or(0, recorded_events);
    if count_lineage_events(bundle).map_err(unreadable)?.is_none() && recorded == 0 {
        return Ok(None);
    }
    let run_id = manifest.map(|manifest| manifest.identity.run_id).or_else(|| bundle.run_id());
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
        run_id,
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
        // Whatever the request that was under way ended with, the limit has ended it.
        Stopped::GivenUp(_) if left().is_zero() => Some(format!(
            "{}: the time was over before the receiver had answered: run it again",
            target.name()
        )),
        Stopped::GivenUp(error) => error.or_else(|| Some("the time is over".to_owned())),
        Stopped::Never(error) => Some(error),
    };
    // Counted once more: a run that goes on may have added some.
    let written = count_lineage_events(bundle).map_err(unreadable)?.unwrap_or_default();
    let delivered = progress.delivered - before;
    let done = progress.dropped.values().fold(progress.delivered, |sum, count| sum.saturating_add(*count));
    let missing = recorded.saturating_sub(written.max(done));
    if missing > 0 {
        // Counted anew each time, and therefore not a part of the progress that is recorded.
        count_items(&mut progress.dropped, MISSING_EVENT, missing);
    }
    let ledger = DeliveryCounts { last_error, ..progress.ledger(written.max(recorded), &cursor.unwritten) };
    Ok(Some(LineageSync { delivered, ledger }))
}

/// Events that the run has written into the file, as its manifest says.
fn recorded_events(manifest: &Manifest) -> u64 {
    let mut accounts = manifest.delivery.signals.iter();
    let of_file = accounts.find(|account| {
        account.signal == LedgerSignal::Lineage && account.destination == LedgerDestination::Bundle
    });
    of_file.map_or(0, |account| account.ledger.delivered)
}
