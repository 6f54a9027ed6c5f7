//! Giving a scheduler a job, and taking it back.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ballista_core::{
    BALLISTA_VERSION,
    serde::protobuf::{
        ExecuteQueryParams, execute_query_failure_result::Failure, execute_query_result::Result as Submitted,
    },
    version,
};
use datafusion::{
    common::exec_datafusion_err,
    error::{DataFusionError, Result},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
};

use super::scheduler::{Scheduler, in_short};

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

/// A job that goes on. Dropped, it is cancelled.
pub(super) struct RunningJob {
    pub(super) id: String,
    scheduler: Scheduler,
    cancels: Cancels,
    runtime: Handle,
    has_ended: bool,
}

impl RunningJob {
    /// There is nothing to cancel any more.
    pub(super) const fn ended(&mut self) {
        self.has_ended = true;
    }
}

impl Drop for RunningJob {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let (id, scheduler, open) =
            (std::mem::take(&mut self.id), self.scheduler.clone(), self.cancels.open());
        self.runtime.spawn(async move {
            // One that does not answer has lost the job anyway, or goes on with it: there is nobody to be told.
            let _ = scheduler.cancel(&id).await;
            drop(open);
        });
    }
}

/// Submits a query. Where nobody waits for the answer any more, the job is cancelled when it comes.
///
/// # Errors
/// When the scheduler takes no job, or is of another version.
pub(super) async fn submit(
    scheduler: &Scheduler,
    cancels: &Cancels,
    query: ExecuteQueryParams,
    headers: Vec<(&'static str, String)>,
) -> Result<RunningJob> {
    let (answer, answered) = oneshot::channel();
    let (scheduler, cancels) = (scheduler.clone(), cancels.clone());
    let open = cancels.open();
    tokio::spawn(async move {
        let job = submitted(&scheduler, &cancels, query, &headers).await;
        // Where it comes back, it is dropped, which cancels it.
        let _ = answer.send(job);
        drop(open);
    });
    answered.await.map_err(|_| exec_datafusion_err!("the submission of the query has ended"))?
}

async fn submitted(
    scheduler: &Scheduler,
    cancels: &Cancels,
    query: ExecuteQueryParams,
    headers: &[(&'static str, String)],
) -> Result<RunningJob> {
    let at = &scheduler.address;
    let (result, metadata) = scheduler
        .submit(query, headers)
        .await
        .map_err(|status| exec_datafusion_err!("the scheduler {at} takes no query: {}", in_short(&status)))?;
    let job = match result.result {
        Some(Submitted::Success(success)) => RunningJob {
            id: success.job_id,
            scheduler: scheduler.clone(),
            cancels: cancels.clone(),
            runtime: Handle::current(),
            has_ended: false,
        },
        Some(Submitted::Failure(failure)) => {
            let said = failure.failure.map(|failure| match failure {
                Failure::SessionNotFound(said)
                | Failure::PlanParsingFailure(said)
                | Failure::SqlParsingFailure(said) => said,
            });
            return Err(refused(scheduler, &said.unwrap_or_default()));
        }
        None => return Err(refused(scheduler, "it does not say why")),
    };
    // An older one has taken the job without a look at the version.
    version::check_compatibility(Some(BALLISTA_VERSION), version::version_from_metadata(&metadata))
        .map_err(DataFusionError::Execution)?;
    Ok(job)
}

fn refused(scheduler: &Scheduler, said: &str) -> DataFusionError {
    exec_datafusion_err!("the scheduler {} does not take the query: {said}", scheduler.address)
}
