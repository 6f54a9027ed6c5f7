//! What the queries of a run have moved.

use std::sync::{Mutex, MutexGuard, PoisonError};

use daglight_heartbeat::Moved;
use daglight_plan_diagnostics::{LiveQuery, MeasuredQuery};

/// The sums over queries that have ended, and what was last said with those that run.
#[derive(Default)]
pub(crate) struct MovedSoFar(Mutex<Sums>);

#[derive(Default)]
struct Sums {
    ended: Moved,
    said: Moved,
}

impl MovedSoFar {
    /// Takes in a query that has ended.
    pub(crate) fn add(&self, report: &MeasuredQuery) {
        let is_write = report.query.kind.is_write();
        let mut sums = self.lock();
        sums.ended = sums.ended.plus(Moved {
            rows_read: report.rows_read.unwrap_or(0),
            // The rows of any other query are its result, which is handed out and not written.
            rows_written: report.rows.filter(|_| is_write).unwrap_or(0),
            bytes_read: report.bytes_scanned.unwrap_or(0),
            bytes_written: report.bytes_written.unwrap_or(0),
            bytes_spilled: report.bytes_spilled,
        });
    }

    /// The sums with the queries that run. They never fall: a query may be on its way from the ones to the others.
    pub(crate) fn with<'q>(&self, running: impl Iterator<Item = &'q LiveQuery>) -> Moved {
        let mut sums = self.lock();
        // Under the lock, so that no query ends between the two sums and is in both.
        let now = running.map(of_live).fold(sums.ended, Moved::plus);
        let said = sums.said;
        sums.said = Moved {
            rows_read: now.rows_read.max(said.rows_read),
            rows_written: now.rows_written.max(said.rows_written),
            bytes_read: now.bytes_read.max(said.bytes_read),
            bytes_written: now.bytes_written.max(said.bytes_written),
            bytes_spilled: now.bytes_spilled.max(said.bytes_spilled),
        };
        sums.said
    }

    fn lock(&self) -> MutexGuard<'_, Sums> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn of_live(query: &LiveQuery) -> Moved {
    Moved {
        rows_read: query.rows_read,
        rows_written: query.rows_written,
        bytes_read: query.bytes_read,
        bytes_written: query.bytes_written,
        bytes_spilled: query.bytes_spilled,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn a_query_that_has_just_ended_takes_nothing_back() {
        let moved = MovedSoFar::default();
        let live = LiveQuery {
            id: 1,
            started_at: SystemTime::UNIX_EPOCH,
            runs_for: Duration::ZERO,
            rows: 1,
            rows_read: 70,
            rows_to_read: None,
            is_streamed: false,
            rows_written: 0,
            bytes_read: 900,
            bytes_written: 0,
            bytes_spilled: 0,
            is_asked: false,
            polls: Vec::new(),
            busy: Duration::ZERO,
            waits_for_worker: None,
            operators: Vec::new(),
        };
        let said = moved.with([&live].into_iter());
        assert_eq!((said.rows_read, said.bytes_read), (70, 900));
        assert_eq!(moved.with(std::iter::empty()), said);
    }
}
