//! Asks the scheduler how far a job is, beside waiting for its end.

use std::{sync::Arc, time::Duration};

use daglight_plan_diagnostics::Travelling;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::Code;

use super::{
    job::JobWork,
    presence::now,
    rest::{Executor, Stages},
    scheduler::Scheduler,
};

/// How often it is asked, and how long an answer may take.
const INTERVAL: Duration = Duration::from_secs(2);

/// How soon it is asked for its executors: only those that were connected to once are missed by their connections. Most queries take less time.
const FIRST: Duration = Duration::from_millis(300);

/// Asks for as long as this lives.
pub(super) struct Watching(JoinHandle<()>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Watches a job that goes on, and tells its query of executors that are lost. To be called in a runtime.
pub(super) fn watch(
    scheduler: &Scheduler,
    job_id: &str,
    work: &Arc<JobWork>,
    travelling: Option<Arc<Travelling>>,
) -> Watching {
    let (scheduler, job_id, work) = (scheduler.clone(), job_id.to_owned(), Arc::clone(work));
    Watching(tokio::spawn(async move {
        sleep(FIRST).await;
        look_for_executors(&scheduler, &work).await;
        scheduler.presence.probe().await;
        loop {
            sleep(INTERVAL).await;
            look(&scheduler, &job_id, &work, INTERVAL).await;
            scheduler.presence.probe().await;
            let now = now();
            let lost = work.set_lost(scheduler.presence.lost(now), now);
            for (worker, message) in lost {
                if let Some(travelling) = &travelling {
                    travelling.has_lost(&worker, &message);
                }
            }
        }
    }))
}

/// What the scheduler says of the stages and of its executors right now. A task that runs has computed for `since`.
pub(super) async fn look(scheduler: &Scheduler, job_id: &str, work: &JobWork, since: Duration) {
    // First, because they tell who makes the spans of the tasks.
    look_for_executors(scheduler, work).await;
    let path = format!("/api/job/{job_id}/stages");
    match timeout(INTERVAL, scheduler.get::<Stages>(&path)).await {
        Ok(Ok(stages)) => work.set_stages(stages.stages, since),
        // Its web interface is switched off: nobody knows whether somebody computes.
        Ok(Err(status)) if status.code() == Code::Unimplemented => work.add_busy(since),
        Ok(Err(_)) | Err(_) => {}
    }
}

async fn look_for_executors(scheduler: &Scheduler, work: &JobWork) {
    if let Ok(Ok(executors)) = timeout(INTERVAL, scheduler.get::<Vec<Executor>>("/api/executors")).await {
        scheduler.presence.listed(&executors, now());
        work.set_executors(executors);
    }
}
