//! Requests to object stores, from when they are made until their last byte is there.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use datafusion::object_store;
use futures::{Stream, stream::BoxStream};

use crate::shield::shielded;

/// What is asked of an object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum StoreOperation {
    /// Bytes of an object.
    Get,
    /// The metadata of an object.
    Head,
    /// An object, or a part of one, is written.
    Put,
    /// Which objects there are.
    List,
    /// Objects are deleted, copied or renamed.
    Change,
}

impl StoreOperation {
    /// `get`, `head`, `put`, `list` or `change`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Head => "head",
            Self::Put => "put",
            Self::List => "list",
            Self::Change => "change",
        }
    }
}

/// A request to an object store.
#[derive(Debug, Clone, Copy)]
pub struct StoreRequest<'r> {
    /// The store, such as `s3://bucket`, `http://host:8080` or `file://`.
    pub store: &'r str,
    /// The object, or the beginning of the names of objects. Empty for the whole store.
    pub location: &'r str,
    /// What is asked.
    pub operation: StoreOperation,
}

/// Learns of every request of the sessions that it watches.
pub trait StoreObserver: Send + Sync + 'static {
    /// A request is made, on this thread. What is returned learns how it goes on, which may be on other threads; `None`
    /// where that is of no interest.
    fn asked(&self, request: &StoreRequest<'_>) -> Option<Arc<dyn RequestObserver>>;
}

/// Learns how a request goes on. The store is waited for several times where the body of an object comes bit by bit.
pub trait RequestObserver: Send + Sync + 'static {
    /// The store is waited for since then, which [`arrived`](Self::arrived) will end.
    fn waits(&self, since: Instant);

    /// Nothing is waited for any more; `bytes` were read or written meanwhile. None where the request has failed or was
    /// given up.
    fn arrived(&self, since: Instant, bytes: u64);
}

/// A request that is under way. One that is dropped while the store is waited for has waited until then.
pub(crate) struct OpenRequest {
    observer: Option<Arc<dyn RequestObserver>>,
    waits_since: Option<Instant>,
}

const WHAT: &str = "what watches an object store";

impl OpenRequest {
    /// Reports a request to the observer. No part of its answer is awaited yet.
    pub(crate) fn new(observer: &dyn StoreObserver, request: &StoreRequest<'_>) -> Self {
        Self { observer: shielded(WHAT, || observer.asked(request)).flatten(), waits_since: None }
    }

    /// The store is waited for from now on, unless it is already.
    pub(crate) fn wait(&mut self) {
        if self.waits_since.is_some() {
            return;
        }
        if let Some(observer) = &self.observer {
            let since = *self.waits_since.insert(Instant::now());
            shielded(WHAT, || observer.waits(since));
        }
    }

    /// The wait is over, and has brought these bytes.
    pub(crate) fn arrived(&mut self, bytes: u64) {
        if let (Some(observer), Some(since)) = (&self.observer, self.waits_since.take()) {
            shielded(WHAT, || observer.arrived(since, bytes));
        }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.arrived(0);
    }
}

/// The body of an object, as it arrives. The time that the reader takes between two parts is not that of the store.
pub(crate) struct WatchedBody {
    pub(crate) inner: BoxStream<'static, object_store::Result<Bytes>>,
    pub(crate) request: OpenRequest,
}

impl Stream for WatchedBody {
    type Item = object_store::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.request.wait();
        let polled = self.inner.as_mut().poll_next(context);
        if let Poll::Ready(part) = &polled {
            self.request.arrived(match part {
                Some(Ok(bytes)) => bytes.len() as u64,
                Some(Err(_)) | None => 0,
            });
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}
