//! Signs of life of workers while they execute: they say what they have measured only at the end, and a query of which nothing is heard
//! until then would look as if it stood still.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use datafusion::physical_plan::metrics::{Metric, MetricValue, Time};
use datafusion_distributed::GetWorkerInfoRequest;
use futures::future::join_all;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::channels::Channels;
use crate::address::WorkerAddress;

/// How often the workers are asked, and how long the answer may take.
const INTERVAL: Duration = Duration::from_secs(5);

/// How long all workers have answered during executions that go on, in nanoseconds.
#[derive(Default)]
pub(super) struct SignsOfLife(AtomicU64);

impl SignsOfLife {
    /// The time as one that is computed in; `None` where nothing was heard, or nothing goes on.
    pub(super) fn metric(&self) -> Option<Arc<Metric>> {
        let nanoseconds = self.0.load(Ordering::Relaxed);
        let time = Time::new();
        time.add_duration(Duration::from_nanos(nanoseconds));
        (nanoseconds > 0).then(|| Arc::new(Metric::new(MetricValue::ElapsedCompute(time), None)))
    }
}

/// Asks the workers for as long as this lives.
pub(super) struct Watching {
    signs: Arc<SignsOfLife>,
    task: JoinHandle<()>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
        // What is measured in the end is what the workers say.
        self.signs.0.store(0, Ordering::Relaxed);
    }
}

/// Watches the workers of an execution. To be called in a runtime.
pub(super) fn watch(signs: &Arc<SignsOfLife>, channels: Channels, workers: Arc<[WorkerAddress]>) -> Watching {
    let heard = Arc::clone(signs);
    let task = tokio::spawn(async move {
        loop {
            sleep(INTERVAL).await;
            let asked = workers.iter().map(|worker| async {
                let asked =
                    async { channels.client(worker.url())?.get_worker_info(GetWorkerInfoRequest {}).await };
                matches!(timeout(INTERVAL, asked).await, Ok(Ok(_)))
            });
            // One that is silent may be the one that the query waits for.
            if join_all(asked).await.into_iter().all(|answers| answers) {
                heard.0.fetch_add(INTERVAL.as_nanos() as u64, Ordering::Relaxed);
            }
        }
    });
    Watching { signs: Arc::clone(signs), task }
}
