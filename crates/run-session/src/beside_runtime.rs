//! Blocking work, and clocks, beside whatever runtime polls, or none.

use std::{future::Future, pin::pin, sync::mpsc, thread, time::Duration};

use futures::{
    channel::oneshot,
    future::{Either, select},
};

/// Does blocking work on a separate thread. `None` where that cannot be started, or panics.
pub(crate) async fn on_own_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new().name(name.into()).spawn(move || sender.send(work()).is_ok()).ok()?;
    receiver.await.ok()
}

/// What the work returns, unless it takes longer than `limit`: then it is dropped.
///
/// The timers of a runtime cannot be used for this: asking one that has none is a panic. Work that is done at once needs no
/// clock.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let (_ends_clock, work_ended) = mpsc::channel::<()>();
    let clock = on_own_thread("daglight-clock", move || work_ended.recv_timeout(limit));
    match select(pin!(work), pin!(clock)).await {
        Either::Left((result, _)) => Some(result),
        Either::Right(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::executor::block_on;

    use super::*;

    #[test]
    fn no_runtime_is_needed_to_wait() {
        let short = Duration::from_millis(1);
        assert_eq!(block_on(within(short, pending::<u8>())), None);
        assert_eq!(block_on(within(short, ready(1))), Some(1));
        let slow = on_own_thread("test", || 2);
        assert_eq!(block_on(within(Duration::from_mins(1), slow)), Some(Some(2)));
    }
}
