//! Asks the workers of a query how far its tasks are while they run, because the engine says what they have measured only at the end.

use std::sync::Arc;

use futures::future::join_all;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::Code;

use super::{
    channels::Channels,
    live_tasks::{INTERVAL, LiveTasks},
    so_far::Answer,
};
use crate::address::WorkerAddress;

/// Asks the workers for as long as this lives.
pub(super) struct Watching(JoinHandle<()>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Watches the workers of an execution, whose query the engine names when it sends the first task. To be called in a runtime.
pub(super) fn watch(
    live: &Arc<LiveTasks>,
    query: impl Fn() -> Option<String> + Send + Sync + 'static,
    channels: Channels,
    workers: Arc<[WorkerAddress]>,
) -> Watching {
    let live = Arc::clone(live);
    Watching(tokio::spawn(async move {
        loop {
            sleep(INTERVAL).await;
            let Some(query) = query() else { continue };
            let asked = workers.iter().map(async |worker| {
                let answer = timeout(INTERVAL, channels.so_far(worker.url(), query.clone())).await;
                let answer = match answer {
                    Ok(Ok(answer)) => Some(answer),
                    // A worker that has only the methods of the engine answers too.
                    Ok(Err(status)) if status.code() == Code::Unimplemented => Some(Answer::default()),
                    Ok(Err(_)) | Err(_) => None,
                };
                (worker, answer)
            });
            let answers = join_all(asked).await;
            live.take(answers);
        }
    }))
}
