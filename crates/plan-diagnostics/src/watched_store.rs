//! Object stores that say what is asked of them.

use std::{
    fmt,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use datafusion::{
    error::Result,
    execution::object_store::ObjectStoreRegistry,
    object_store::{
        self, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
        PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, UploadPart, path::Path,
    },
};
use futures::{FutureExt as _, stream::BoxStream};
use url::Url;

use crate::shield::shielded;

/// What is asked of an object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum StoreOperation {
    /// Bytes of an object, or its metadata.
    Get,
    /// An object, or a part of one, is written.
    Put,
    /// Which objects there are.
    List,
    /// Objects are deleted, copied or renamed.
    Change,
}

impl StoreOperation {
    /// `get`, `put`, `list` or `change`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::List => "list",
            Self::Change => "change",
        }
    }
}

/// A request to an object store that was answered.
#[derive(Debug, Clone, Copy)]
pub struct StoreRequest<'r> {
    /// The store, such as `s3://bucket` or `file://`.
    pub store: &'r str,
    /// The object, or the beginning of the names of objects. Empty for the whole store.
    pub location: &'r str,
    /// What was asked.
    pub operation: StoreOperation,
    /// Bytes that were asked for or written.
    pub bytes: u64,
    /// How long the answer took; of a list, nothing, because it is read bit by bit.
    pub time: Duration,
}

/// Learns of every request of the sessions that it watches, on the thread that has made it.
pub trait StoreObserver: Send + Sync + 'static {
    /// A request was answered, well or not.
    fn answered(&self, request: &StoreRequest<'_>);
}

/// Hands out the stores of another registry, each watched.
pub struct WatchedStores {
    inner: Arc<dyn ObjectStoreRegistry>,
    observer: Arc<dyn StoreObserver>,
}

impl WatchedStores {
    /// The stores of `inner`, watched by `observer`.
    pub fn new(inner: Arc<dyn ObjectStoreRegistry>, observer: Arc<dyn StoreObserver>) -> Self {
        Self { inner, observer }
    }
}

impl fmt::Debug for WatchedStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl ObjectStoreRegistry for WatchedStores {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.inner.register_store(url, store)
    }

    fn deregister_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        self.inner.deregister_store(url)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        // Wrapped when it is handed out and not when it is registered: the default registry makes stores of its own,
        // and a store that the program registers must come back as it was from `deregister_store`.
        let inner = self.inner.get_store(url)?;
        let name = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
        Ok(Arc::new(WatchedStore { inner, name: name.into(), observer: Arc::clone(&self.observer) }))
    }
}

#[derive(Clone)]
struct WatchedStore {
    inner: Arc<dyn ObjectStore>,
    name: Arc<str>,
    observer: Arc<dyn StoreObserver>,
}

impl WatchedStore {
    fn answered(&self, operation: StoreOperation, location: &Path, bytes: u64, time: Duration) {
        let request = StoreRequest { store: &self.name, location: location.as_ref(), operation, bytes, time };
        shielded("what watches an object store", || self.observer.answered(&request));
    }
}

impl fmt::Debug for WatchedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Display for WatchedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

type Answer<T> = object_store::Result<T>;

/// Every method is passed on, also those that the trait has a default for: the store may have a better one.
#[async_trait]
impl ObjectStore for WatchedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Answer<PutResult> {
        let (bytes, begun) = (payload.content_length() as u64, Instant::now());
        let answer = self.inner.put_opts(location, payload, options).await;
        self.answered(StoreOperation::Put, location, bytes, begun.elapsed());
        answer
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Answer<Box<dyn MultipartUpload>> {
        let begun = Instant::now();
        let answer = self.inner.put_multipart_opts(location, options).await;
        self.answered(StoreOperation::Put, location, 0, begun.elapsed());
        let (store, location) = (self.clone(), location.clone());
        Ok(Box::new(WatchedUpload { inner: answer?, store, location }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Answer<GetResult> {
        let (is_head, begun) = (options.head, Instant::now());
        let answer = self.inner.get_opts(location, options).await;
        // What was asked for, since the body is a stream that is read later, or not to its end.
        let bytes = answer.as_ref().map_or(0, |answer| answer.range.end.saturating_sub(answer.range.start));
        self.answered(StoreOperation::Get, location, if is_head { 0 } else { bytes }, begun.elapsed());
        answer
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Answer<Vec<bytes::Bytes>> {
        let begun = Instant::now();
        let answer = self.inner.get_ranges(location, ranges).await;
        let bytes = answer.as_ref().map_or(0, |parts| parts.iter().map(|part| part.len() as u64).sum());
        self.answered(StoreOperation::Get, location, bytes, begun.elapsed());
        answer
    }

    fn delete_stream(&self, locations: BoxStream<'static, Answer<Path>>) -> BoxStream<'static, Answer<Path>> {
        // One request for the whole stream: how the store bundles the deletions is its own affair, and is not seen
        // from outside.
        self.answered(StoreOperation::Change, &Path::default(), 0, Duration::ZERO);
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Answer<ObjectMeta>> {
        self.answered(StoreOperation::List, prefix.unwrap_or(&Path::default()), 0, Duration::ZERO);
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Answer<ObjectMeta>> {
        self.answered(StoreOperation::List, prefix.unwrap_or(&Path::default()), 0, Duration::ZERO);
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Answer<ListResult> {
        let begun = Instant::now();
        let answer = self.inner.list_with_delimiter(prefix).await;
        self.answered(StoreOperation::List, prefix.unwrap_or(&Path::default()), 0, begun.elapsed());
        answer
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Answer<()> {
        let begun = Instant::now();
        let answer = self.inner.copy_opts(from, to, options).await;
        self.answered(StoreOperation::Change, to, 0, begun.elapsed());
        answer
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Answer<()> {
        let begun = Instant::now();
        let answer = self.inner.rename_opts(from, to, options).await;
        self.answered(StoreOperation::Change, to, 0, begun.elapsed());
        answer
    }
}

/// An object that is written in parts, of which each is a request.
struct WatchedUpload {
    inner: Box<dyn MultipartUpload>,
    store: WatchedStore,
    location: Path,
}

impl fmt::Debug for WatchedUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl MultipartUpload for WatchedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (bytes, begun) = (data.content_length() as u64, Instant::now());
        let part = self.inner.put_part(data);
        let (store, location) = (self.store.clone(), self.location.clone());
        async move {
            let answer = part.await;
            store.answered(StoreOperation::Put, &location, bytes, begun.elapsed());
            answer
        }
        .boxed()
    }

    async fn complete(&mut self) -> Answer<PutResult> {
        let begun = Instant::now();
        let answer = self.inner.complete().await;
        self.store.answered(StoreOperation::Put, &self.location, 0, begun.elapsed());
        answer
    }

    async fn abort(&mut self) -> Answer<()> {
        self.inner.abort().await
    }
}
