//! Giving a scheduler a job, and taking it back.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ballista_core::{
    BALLISTA_VERSION,
    serde::protobuf::{
        ExecuteQueryParams, execute_query_failure_result::Failure, execute_query_result::Result as Submitted,
    },
    version,
};
use daglight_plan_diagnostics::Travelling;
use datafusion::{
    common::exec_datafusion_err,
    error::{DataFusionError, Result},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
    time::{Instant, sleep},
};
use tonic::{ConnectError, Status};

use super::{
    job::JobWork,
    scheduler::{Scheduler, in_short},
};

/// How long a scheduler that cannot be reached is told again that a job is given up, and the first and the longest pause in between.
const TELL_FOR: Duration = Duration::from_secs(600);
const TELL_AGAIN_AFTER: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What has still to be said to a scheduler: that jobs are given up. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Cancels(Arc<Open>);

#[derive(Default)]
struct Open {
    count: AtomicUsize,
    closed: Notify,
}

impl Cancels {
    /// Waits until all is said.
    pub(super) async fn sent(&self) {
        loop {
            let closed = self.0.closed.notified();
            if self.0.count.load(Ordering::Acquire) == 0 {
                return;
            }
            closed.await;
        }
    }

    fn open(&self) -> OpenCancel {
        self.0.count.fetch_add(1, Ordering::AcqRel);
        OpenCancel(Arc::clone(&self.0))
    }
}

/// Something to be said. It is over when this is dropped.
struct OpenCancel(Arc<Open>);

impl Drop for OpenCancel {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
        self.0.closed.notify_waiters();
    }
}

/// A query whose job it is.
#[derive(Clone)]
pub(super) struct JobOwner {
    pub(super) work: Arc<JobWork>,
    pub(super) travelling: Option<Arc<Travelling>>,
}

impl JobOwner {
    /// Nothing of the job goes on.
    fn is_over(&self) {
        self.work.set_cancelled();
        self.has_settled();
    }

    fn has_settled(&self) {
        if let Some(travelling) = &self.travelling {
            travelling.has_settled();
        }
    }
}

/// A job that goes on. Dropped, it is cancelled.
pub(super) struct RunningJob {
    pub(super) id: String,
    scheduler: Scheduler,
    cancels: Cancels,
    owner: JobOwner,
    runtime: Handle,
    has_ended: bool,
}

impl RunningJob {
    /// There is nothing to cancel any more.
    pub(super) const fn ended(&mut self) {
        self.has_ended = true;
    }

    /// Whether the scheduler has said how it ended.
    pub(super) const fn has_ended(&self) -> bool {
        self.has_ended
    }
}

impl Drop for RunningJob {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let (id, scheduler) = (std::mem::take(&mut self.id), self.scheduler.clone());
        let (owner, open) = (self.owner.clone(), self.cancels.open());
        self.runtime.spawn(cancel(scheduler, id, owner, open));
    }
}

/// Tells the scheduler that a job is given up. A request waits for a scheduler that is stopped, and goes out again to one that cannot be reached.
async fn cancel(scheduler: Scheduler, id: String, owner: JobOwner, open: OpenCancel) {
    let (begun, mut pause, mut open) = (Instant::now(), TELL_AGAIN_AFTER, Some(open));
    while scheduler.cancel(&id).await.is_err() {
        // Nobody waits any longer for one that cannot be reached.
        if open.take().is_some() {
            owner.has_settled();
        }
        if begun.elapsed() >= TELL_FOR {
            return;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    owner.is_over();
}

/// Submits a query. Where nobody waits for the answer any more, the job is cancelled when it comes.
///
/// # Errors
/// When the scheduler takes no job, or is of another version.
pub(super) async fn submit(
    scheduler: &Scheduler,
    cancels: &Cancels,
    owner: JobOwner,
    query: ExecuteQueryParams,
    headers: Vec<(&'static str, String)>,
) -> Result<RunningJob> {
    let (answer, answered) = oneshot::channel();
    let (scheduler, cancels) = (scheduler.clone(), cancels.clone());
    let open = cancels.open();
    tokio::spawn(async move {
        let job = submitted(&scheduler, &cancels, &owner, query, &headers).await;
        // Where it comes back, it is dropped, which cancels it.
        let _ = answer.send(job);
        drop(open);
    });
    answered.await.map_err(|_| exec_datafusion_err!("the submission of the query has ended"))?
}

async fn submitted(
    scheduler: &Scheduler,
    cancels: &Cancels,
    owner: &JobOwner,
    query: ExecuteQueryParams,
    headers: &[(&'static str, String)],
) -> Result<RunningJob> {
    let at = &scheduler.address;
    let (result, metadata) = scheduler.submit(query, headers).await.map_err(|status| {
        match may_have_arrived(&status) {
            true => owner.has_settled(),
            false => owner.is_over(),
        }
        exec_datafusion_err!("the scheduler {at} takes no query: {}", in_short(&status))
    })?;
    let job = match result.result {
        Some(Submitted::Success(success)) => RunningJob {
            id: success.job_id,
            scheduler: scheduler.clone(),
            cancels: cancels.clone(),
            owner: owner.clone(),
            runtime: Handle::current(),
            has_ended: false,
        },
        Some(Submitted::Failure(failure)) => {
            owner.is_over();
            let said = failure.failure.map(|failure| match failure {
                Failure::SessionNotFound(said)
                | Failure::PlanParsingFailure(said)
                | Failure::SqlParsingFailure(said) => said,
            });
            return Err(refused(scheduler, &said.unwrap_or_default()));
        }
        None => {
            owner.is_over();
            return Err(refused(scheduler, "it does not say why"));
        }
    };
    // An older one has taken the job without a look at the version.
    version::check_compatibility(Some(BALLISTA_VERSION), version::version_from_metadata(&metadata))
        .map_err(DataFusionError::Execution)?;
    Ok(job)
}

/// Whether a scheduler may have received a request that has ended with this status: the connection was lost after it was made, and the scheduler
/// has not answered.
fn may_have_arrived(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return false;
        }
        cause = error.source();
    }
    status.source().is_some()
}

fn refused(scheduler: &Scheduler, said: &str) -> DataFusionError {
    exec_datafusion_err!("the scheduler {} does not take the query: {said}", scheduler.address)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_request_may_have_arrived_unless_it_was_answered_or_there_was_no_connection() {
        let lost = |cause: Box<dyn Error + Send + Sync>| Status::from_error(cause);
        assert!(may_have_arrived(&lost(Box::new(io::Error::from(io::ErrorKind::ConnectionReset)))));
        let refused = ConnectError(Box::new(io::Error::from(io::ErrorKind::ConnectionRefused)));
        assert!(!may_have_arrived(&lost(Box::new(refused))));
        assert!(!may_have_arrived(&Status::internal("no such session")));
    }
}
