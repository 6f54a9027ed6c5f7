//! Delivering later what a run left in its bundle.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use daglight_capture_policy::{Policy, Profile, in_one_line};
use daglight_run_bundle::{
    DeliveryCounts, Durability, Liveness, ReadError, Sighting,
    outbox::{
        Attribute, Cursor, DeliveryLock, Event, LastLine, Outbox, OutboxError, OutboxStatus, Outcome,
        Recorded, RunLink, StatusError, outbox_path, outbox_status, remove_reserve,
    },
};

use crate::{
    call::{CallError, new_backoff},
    client::Client,
    connection::{Connection, ConnectionError},
    deliverer::Deliverer,
    step_outcome::{DeliveryError, Progress},
    tracker::record,
};

/// The result of a synchronisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncOutcome {
    /// Items that were delivered now.
    pub delivered: u64,
    /// Whether the run was closed as FAILURE, because its process had ended.
    pub closed: bool,
    /// How the run ended according to the server; `None` while it does not know.
    pub status: Option<Outcome>,
    /// What became of every item, with the last error if something is still waiting.
    pub ledger: DeliveryCounts,
    /// The run on the server.
    pub link: Option<RunLink>,
}

/// Why an outbox was not synchronised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The outbox or the progress of its delivery cannot be read.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// The outbox cannot be written to close its run.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The manifest of the bundle has a newer format.
    #[error(transparent)]
    Newer(#[from] ReadError),
    /// A connection is not possible.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The server rejects the delivery, or the outbox does not contain a run.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    /// Another process, perhaps the run itself, is delivering this outbox.
    #[error("{} is being delivered by another process", tracker_dir.display())]
    Busy {
        /// The folder.
        tracker_dir: PathBuf,
    },
}

impl SyncError {
    /// Whether the address is not that of a Hamilton server, so that no other run can be delivered there either.
    pub fn is_of_other_server(&self) -> bool {
        matches!(self, Self::Delivery(DeliveryError::Call(CallError::OtherServer { .. })))
    }
}

/// Delivers what is waiting in the `tracker` folder of a bundle, trying for `timeout`. Repeating it has no effect.
///
/// A run that has not ended, and whose process is [gone](Liveness::Gone), is closed first: its open nodes and the run
/// itself become FAILURE with the error "process ended", at the time it was last seen.
///
/// It blocks, and can be called on any thread.
///
/// # Errors
/// When the folder cannot be read, another process is delivering it, or the server rejects the delivery. A server that does not
/// respond is not an error: the ledger shows what is waiting, and why.
pub fn sync_bundle(
    tracker_dir: &Path,
    connection: &Connection,
    process: Sighting,
    timeout: Duration,
) -> Result<SyncOutcome, SyncError> {
    let Some(_lock) = DeliveryLock::acquire(tracker_dir) else {
        return Err(SyncError::Busy { tracker_dir: tracker_dir.to_owned() });
    };
    // After locking: another delivery may have closed the run a moment ago.
    let mut status = outbox_status(tracker_dir)?;
    let mut closed = false;
    if status.writer_alive != Some(true) {
        // A process that was killed leaves it behind. If files cannot be locked, the writer may still need it.
        if status.writer_alive == Some(false) || process.liveness == Liveness::Gone {
            remove_reserve(tracker_dir);
        }
        // Nobody is writing it any more. If it stayed incomplete, the next appended line would become part of it.
        if status.unfinished {
            // Opening it completes the line.
            drop(Outbox::open(tracker_dir, Durability::Process)?);
            status = outbox_status(tracker_dir)?;
        }
    }
    // Both heartbeat and lock must agree: a process id may have been reused by another program, and some file systems have no
    // locks.
    if process.liveness == Liveness::Gone && status.is_open() && status.writer_alive != Some(true) {
        close(tracker_dir, &status, process.last_seen)?;
        status = outbox_status(tracker_dir)?;
        // A full disk may have no space for the end.
        closed = status.outcome.is_some();
    }
    // The HTTP client creates its own runtime, which must not be nested in another one.
    let delivery = || deliver(tracker_dir, connection, timeout);
    let outcome = thread::scope(|scope| scope.spawn(delivery).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    Ok(SyncOutcome { closed, ..outcome })
}

/// Records what the process could not: that it ended.
#[expect(clippy::disallowed_methods, reason = "a run that was never seen ended when it was found")]
fn close(
    tracker_dir: &Path,
    status: &OutboxStatus,
    last_seen: Option<DateTime<Utc>>,
) -> Result<(), OutboxError> {
    let outbox = Outbox::open(tracker_dir, Durability::Process)?;
    // The current time only if nothing else is known: a run that died at night and is found in the morning did not take all night.
    let time = last_seen.max(status.last_event).unwrap_or_else(Utc::now);
    let evidence = match last_seen {
        Some(last_seen) => format!("last seen at {}", last_seen.to_rfc3339()),
        None => "nothing was heard of it after the last event".to_owned(),
    };
    // Our own facts: no policy hides them.
    let stack = Policy::of_profile(Profile::Dev).capture_stack(["process ended", &evidence]);
    let running: Vec<&str> = status.open_nodes().collect();
    let cause = format!("process ended: {evidence}, {}", running_then(&running));
    // Before the end of the run, as in a run that ends normally: otherwise the server shows open nodes of a finished run as running
    // forever.
    for node in running {
        let (node, attributes) = (node.to_owned(), vec![Attribute::error(stack.clone())]);
        record(&outbox, &Event::TaskFinished { node, time, status: Outcome::Failure, attributes });
    }
    // The page of a run shows its tags, but nothing else unless a node has failed.
    let tags = BTreeMap::from([(status.error_tag().to_owned(), cause)]);
    record(&outbox, &Event::TagsUpserted { tags, time });
    record(&outbox, &Event::RunFinished { status: Outcome::Failure, time });
    Ok(())
}

/// The nodes that had started and not ended.
fn running_then(nodes: &[&str]) -> String {
    const MAX_NAMED: usize = 5;
    let named = nodes.iter().take(MAX_NAMED).copied().collect::<Vec<_>>().join(", ");
    match nodes.len() {
        0 => "while no node ran".to_owned(),
        1..=MAX_NAMED => format!("while {named} ran"),
        count => format!("while {named} and {} more ran", count - MAX_NAMED),
    }
}

/// How long a delivery continues after its deadline, to get a run to the server at all.
const GRACE: Duration = Duration::from_secs(1);

fn deliver(tracker_dir: &Path, connection: &Connection, timeout: Duration) -> Result<SyncOutcome, SyncError> {
    let begun = Instant::now();
    let connection = connection.clone().until(begun.checked_add(timeout));
    let mut deliverer = Deliverer::open(tracker_dir, Client::new(&connection)?)?;
    // False if another server had it.
    let ever_delivered = |cursor: &Cursor| cursor.delivered.total().saturating_add(cursor.redelivered);
    let before = ever_delivered(deliverer.cursor());
    let mut backoff = new_backoff();
    let mut last_error = None;
    loop {
        // Before it is tried again: the address of another server does not become right while somebody waits.
        match deliverer.step().map_err(|error| deliverer.explained(error)) {
            Ok(Progress::UpToDate) => break,
            Ok(Progress::Delivered { .. }) => {
                backoff.reset();
                last_error = None;
            }
            Err(error) if error.is_temporary() => {
                last_error = Some(in_one_line(&error));
                let pause = backoff.next_pause(error.retry_after());
                // A pause that would end after the deadline is not started.
                if begun.elapsed() + pause >= timeout {
                    break;
                }
                thread::sleep(pause);
            }
            Err(error) => return Err(error.into()),
        }
        // Until the server has the run, no progress is permanent.
        let late = begun.elapsed().saturating_sub(timeout);
        if begun.elapsed() >= timeout && (deliverer.cursor().link.is_some() || late > GRACE) {
            break;
        }
    }
    let cursor = deliverer.cursor();
    // Counted again at the end, because the run itself may have continued during the delivery.
    let recorded = Recorded::read(&outbox_path(tracker_dir), LastLine::MayGrow, |_| {})?;
    let ledger = DeliveryCounts { last_error, ..cursor.ledger(recorded) };
    let delivered = ever_delivered(cursor).saturating_sub(before);
    Ok(SyncOutcome { delivered, closed: false, status: cursor.outcome, ledger, link: cursor.link.clone() })
}
