//! Jobs of a cluster that were given up with their queries, until the scheduler confirms that they are cancelled.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use daglight_run_bundle::ClusterWork;

/// How long a scheduler may take to confirm it, from the moment when the query ended.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(5);
/// Jobs that are kept. One scheduler that does not answer is one cause, however many there are.
const MAX_JOBS: usize = 100;

/// A job that may still be running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GivenUpJob {
    /// As `HOST:PORT`.
    pub(crate) scheduler: String,
    pub(crate) id: Option<String>,
}

/// The jobs of a run that were given up, by query.
#[derive(Default)]
pub(crate) struct GivenUpJobs {
    jobs: Mutex<BTreeMap<u64, Unconfirmed>>,
    changed: Condvar,
}

struct Unconfirmed {
    job: GivenUpJob,
    /// `None` once the scheduler is known not to answer.
    waits_until: Option<Instant>,
}

impl GivenUpJobs {
    /// A query has ended. Its job is kept if it is open.
    pub(crate) fn ended(&self, query_id: u64, work: &ClusterWork) {
        let Some(job) = work.job().filter(|_| work.job_open) else { return };
        let job = GivenUpJob { scheduler: job.scheduler.to_owned(), id: job.id.map(str::to_owned) };
        let mut jobs = self.lock();
        if jobs.len() < MAX_JOBS {
            let waits_until = Some(Instant::now() + CONFIRMED_WITHIN);
            jobs.insert(query_id, Unconfirmed { job, waits_until });
        }
    }

    /// More is known of the job of a query that has ended: that it is over, or that its scheduler does not answer.
    pub(crate) fn settled(&self, query_id: u64, work: &ClusterWork) {
        let mut jobs = self.lock();
        if !work.job_open {
            jobs.remove(&query_id);
        } else if let Some(unconfirmed) = jobs.get_mut(&query_id) {
            unconfirmed.waits_until = None;
            unconfirmed.job.id = work.job().and_then(|job| job.id.map(str::to_owned));
        }
        drop(jobs);
        self.changed.notify_all();
    }

    /// Waits until all are confirmed or have had their time, or until `is_enough` says so, which is asked at short intervals. Returns those
    /// that are not confirmed.
    pub(crate) fn unconfirmed(&self, is_enough: impl Fn() -> bool) -> Vec<GivenUpJob> {
        const INTERVAL: Duration = Duration::from_millis(20);
        let mut jobs = self.lock();
        let waits = |jobs: &BTreeMap<u64, Unconfirmed>| {
            let now = Instant::now();
            jobs.values().any(|job| job.waits_until.is_some_and(|until| until > now))
        };
        // In small steps, because nobody notifies when `is_enough` changes.
        while waits(&jobs) && !is_enough() {
            jobs = self.changed.wait_timeout(jobs, INTERVAL).unwrap_or_else(PoisonError::into_inner).0;
        }
        jobs.values().map(|unconfirmed| unconfirmed.job.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Unconfirmed>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    fn work(id: Option<&str>, job_open: bool) -> ClusterWork {
        ClusterWork {
            scheduler: Some("s:1".to_owned()),
            engine_query_id: id.map(str::to_owned),
            job_open,
            ..ClusterWork::default()
        }
    }

    fn job(id: Option<&str>) -> GivenUpJob {
        GivenUpJob { scheduler: "s:1".to_owned(), id: id.map(str::to_owned) }
    }

    #[test]
    fn what_is_confirmed_meanwhile_is_waited_for_and_is_none_of_the_others() {
        let jobs = Arc::new(GivenUpJobs::default());
        for (query, id, is_open) in [(1, Some("a"), true), (2, Some("b"), false), (3, None, true)] {
            jobs.ended(query, &work(id, is_open));
        }
        let confirming = Arc::clone(&jobs);
        let confirmed = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            confirming.settled(1, &work(Some("a"), false));
            // It was taken while nobody waited for it any longer, and the scheduler does not answer now.
            confirming.settled(3, &work(Some("c"), true));
        });
        assert_eq!(jobs.unconfirmed(|| false), [job(Some("c"))]);
        confirmed.join().unwrap();
    }

    #[test]
    fn nobody_waits_where_that_is_enough() {
        let jobs = GivenUpJobs::default();
        jobs.ended(1, &work(Some("a"), true));
        assert_eq!(jobs.unconfirmed(|| true), [job(Some("a"))]);
        jobs.settled(1, &work(Some("a"), false));
        assert_eq!(jobs.unconfirmed(|| false), []);
    }
}
