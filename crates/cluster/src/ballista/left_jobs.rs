//! Jobs that a client has left behind, because it was killed.

use std::{collections::BTreeSet, time::Duration};

use ballista_core::serde::protobuf::job_status::Status as JobStatus;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

use super::{rest::ListedJob, scheduler::Scheduler, travels::is_of_run};
use crate::left_job::{JobEnd, LeftJob};

/// How long a job may take to end, once it is cancelled, and how often the scheduler is asked whether it has.
const END_WITHIN: Duration = Duration::from_secs(3);
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Cancels the jobs of a run that go on: those of these ids, and others that nobody has written down.
///
/// # Errors
/// When the scheduler does not answer.
pub(super) async fn end_all(
    scheduler: &Scheduler,
    run_id: &str,
    known: &[String],
) -> Result<Vec<LeftJob>, Status> {
    let mut ids: BTreeSet<String> = known.iter().cloned().collect();
    match scheduler.get::<Vec<ListedJob>>("/api/jobs").await {
        Ok(jobs) => {
            let open = jobs.into_iter().filter(|job| job.is_open() && is_of_run(&job.job_name, run_id));
            ids.extend(open.map(|job| job.job_id));
        }
        // Its web interface is switched off.
        Err(status) if status.code() == Code::Unimplemented => {}
        Err(status) => return Err(status),
    }
    let mut ended = Vec::with_capacity(ids.len());
    for id in ids {
        let end = end(scheduler, run_id, &id).await?;
        ended.push(LeftJob { id, end });
    }
    Ok(ended)
}

async fn end(scheduler: &Scheduler, run_id: &str, id: &str) -> Result<JobEnd, Status> {
    match state(scheduler, run_id, id).await? {
        State::Over(end) => return Ok(end),
        State::Open => scheduler.cancel(id).await?,
    }
    let cancelled = timeout(END_WITHIN, async {
        loop {
            match state(scheduler, run_id, id).await? {
                // It has ended by itself meanwhile.
                State::Over(JobEnd::Completed) => return Ok(JobEnd::Completed),
                State::Over(_) => return Ok(JobEnd::Cancelled),
                State::Open => sleep(ASK_EVERY).await,
            }
        }
    });
    cancelled.await.unwrap_or(Ok(JobEnd::StillRunning))
}

enum State {
    Open,
    Over(JobEnd),
}

async fn state(scheduler: &Scheduler, run_id: &str, id: &str) -> Result<State, Status> {
    let status = scheduler.status(id).await?.status;
    // The id comes from a file, and may be that of somebody else.
    let Some(job) = status.filter(|job| is_of_run(&job.job_name, run_id)) else {
        return Ok(State::Over(JobEnd::Unknown));
    };
    Ok(match job.status {
        Some(JobStatus::Successful(_)) => State::Over(JobEnd::Completed),
        Some(JobStatus::Failed(_)) => State::Over(JobEnd::Failed),
        Some(JobStatus::Queued(_) | JobStatus::Running(_)) | None => State::Open,
    })
}
