//! The async runtime that a run's code is on.

use std::sync::OnceLock;

use daglight_heartbeat::RuntimeUse;
use tokio::runtime::Handle;

/// The runtime on which a node of the run was first seen.
#[derive(Default)]
pub(crate) struct RuntimeWatch(OnceLock<Handle>);

impl RuntimeWatch {
    /// To be called on a thread of the run. A run outside of every tokio runtime has none.
    pub(crate) fn look(&self) {
        if self.0.get().is_none()
            && let Ok(handle) = Handle::try_current()
        {
            // Where another thread was faster, that one counts.
            let _ = self.0.set(handle);
        }
    }

    pub(crate) fn used(&self) -> Option<RuntimeUse> {
        // The thread of the heartbeat belongs to no runtime, and has to be given that of the nodes.
        let metrics = self.0.get()?.metrics();
        let workers = metrics.num_workers();
        Some(RuntimeUse {
            workers,
            busy_workers: busy_workers(&metrics, workers),
            queue_depth: metrics.global_queue_depth(),
        })
    }
}

/// A thread counts each time that it parks and each time that it is unparked: it runs tasks while the sum is even.
#[cfg(target_has_atomic = "64")]
fn busy_workers(metrics: &tokio::runtime::RuntimeMetrics, workers: usize) -> Option<usize> {
    // The counter rises with each parking and each waking, and begins with a worker that is awake.
    Some((0..workers).filter(|worker| metrics.worker_park_unpark_count(*worker).is_multiple_of(2)).count())
}

#[cfg(not(target_has_atomic = "64"))]
fn busy_workers(_: &tokio::runtime::RuntimeMetrics, _: usize) -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_worker_that_is_held_is_busy() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let watch = RuntimeWatch::default();
        watch.look();
        assert_eq!(watch.used(), None);
        let _inside = runtime.enter();
        watch.look();
        let (started, has_started) = mpsc::channel();
        let (go_on, waiting) = mpsc::channel::<()>();
        runtime.spawn(async move {
            started.send(()).unwrap();
            waiting.recv().unwrap_err();
        });
        has_started.recv().unwrap();
        let used = watch.used().unwrap();
        assert_eq!((used.workers, used.queue_depth), (2, 0));
        assert!(used.busy_workers >= Some(1), "{used:?}");
        drop(go_on);
    }
}
