//! Object stores that say what is asked of them.

use std::{fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use datafusion::{
    error::Result,
    execution::{object_store::ObjectStoreRegistry, runtime_env::RuntimeEnv},
    object_store::{
        self, CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
        ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, UploadPart,
        path::Path,
    },
};
use futures::{FutureExt as _, StreamExt as _, stream::BoxStream};
use url::{Position, Url};

use crate::store_request::{OpenRequest, StoreObserver, StoreOperation, StoreRequest, WatchedBody};

/// Hands out the stores of another registry, each watched.
struct WatchedStores {
    inner: Arc<dyn ObjectStoreRegistry>,
    observer: Arc<dyn StoreObserver>,
}

/// The same runtime with its object stores watched by `observer`: it shares memory, disk and caches with `runtime`.
pub fn with_watched_stores(runtime: &RuntimeEnv, observer: Arc<dyn StoreObserver>) -> Arc<RuntimeEnv> {
    let stores = WatchedStores { inner: Arc::clone(&runtime.object_store_registry), observer };
    Arc::new(RuntimeEnv { object_store_registry: Arc::new(stores), ..runtime.clone() })
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
        // Wrapped when it is handed out and not when it is registered: the default registry makes its own stores,
        // and a store that the program registers must come back as it was from `deregister_store`.
        let inner = self.inner.get_store(url)?;
        // Without the name and the password of a user, which a URL may hold.
        let host = &url[Position::BeforeHost..Position::AfterPort];
        let name = format!("{}://{host}", url.scheme());
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
    /// A request that is made now, without a wait.
    fn asked(&self, operation: StoreOperation, location: &Path) -> OpenRequest {
        let request = StoreRequest { store: &self.name, location: location.as_ref(), operation };
        OpenRequest::new(&*self.observer, &request)
    }

    /// A request that is made now, whose answer is waited for.
    fn awaited(&self, operation: StoreOperation, location: &Path) -> OpenRequest {
        let mut request = self.asked(operation, location);
        request.wait();
        request
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
        let bytes = payload.content_length() as u64;
        let mut request = self.awaited(StoreOperation::Put, location);
        let answer = self.inner.put_opts(location, payload, options).await;
        request.arrived(if answer.is_ok() { bytes } else { 0 });
        answer
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Answer<Box<dyn MultipartUpload>> {
        let mut request = self.awaited(StoreOperation::Put, location);
        let answer = self.inner.put_multipart_opts(location, options).await;
        request.arrived(0);
        let (store, location) = (self.clone(), location.clone());
        Ok(Box::new(WatchedUpload { inner: answer?, store, location }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Answer<GetResult> {
        let is_head = options.head;
        let operation = if is_head { StoreOperation::Head } else { StoreOperation::Get };
        let mut request = self.awaited(operation, location);
        let mut answer = self.inner.get_opts(location, options).await?;
        match answer.payload {
            _ if is_head => request.arrived(0),
            GetResultPayload::Stream(inner) => {
                request.arrived(0);
                answer.payload = GetResultPayload::Stream(WatchedBody { inner, request }.boxed());
            }
            // An open file is read without the store. What was asked for is known of it, and no more.
            GetResultPayload::File(..) => {
                request.arrived(answer.range.end.saturating_sub(answer.range.start));
            }
        }
        Ok(answer)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Answer<Vec<bytes::Bytes>> {
        let mut request = self.awaited(StoreOperation::Get, location);
        let answer = self.inner.get_ranges(location, ranges).await;
        let bytes = answer.as_ref().map_or(0, |parts| parts.iter().map(|part| part.len() as u64).sum());
        request.arrived(bytes);
        answer
    }

    fn delete_stream(&self, locations: BoxStream<'static, Answer<Path>>) -> BoxStream<'static, Answer<Path>> {
        // One request for the whole stream: how the store bundles the deletions is its own affair, and is not seen
        // from outside.
        self.asked(StoreOperation::Change, &Path::default());
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Answer<ObjectMeta>> {
        self.asked(StoreOperation::List, prefix.unwrap_or(&Path::default()));
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Answer<ObjectMeta>> {
        self.asked(StoreOperation::List, prefix.unwrap_or(&Path::default()));
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Answer<ListResult> {
        let mut request = self.awaited(StoreOperation::List, prefix.unwrap_or(&Path::default()));
        let answer = self.inner.list_with_delimiter(prefix).await;
        request.arrived(0);
        answer
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Answer<()> {
        let mut request = self.awaited(StoreOperation::Change, to);
        let answer = self.inner.copy_opts(from, to, options).await;
        request.arrived(0);
        answer
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Answer<()> {
        let mut request = self.awaited(StoreOperation::Change, to);
        let answer = self.inner.rename_opts(from, to, options).await;
        request.arrived(0);
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
        let bytes = data.content_length() as u64;
        let mut request = self.store.awaited(StoreOperation::Put, &self.location);
        let part = self.inner.put_part(data);
        async move {
            let answer = part.await;
            request.arrived(if answer.is_ok() { bytes } else { 0 });
            answer
        }
        .boxed()
    }

    async fn complete(&mut self) -> Answer<PutResult> {
        let mut request = self.store.awaited(StoreOperation::Put, &self.location);
        let answer = self.inner.complete().await;
        request.arrived(0);
        answer
    }

    async fn abort(&mut self) -> Answer<()> {
        self.inner.abort().await
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Mutex, PoisonError},
        time::Instant,
    };

    use datafusion::{
        execution::object_store::DefaultObjectStoreRegistry,
        object_store::{ObjectStoreExt as _, local::LocalFileSystem, memory::InMemory},
    };
    use futures::{future, stream};

    use super::*;
    use crate::store_request::RequestObserver;

    /// What is known of one request.
    #[derive(Debug, Default)]
    struct Seen {
        asked: String,
        waiting: Mutex<Vec<Instant>>,
        bytes: Mutex<Vec<u64>>,
    }

    impl Seen {
        fn bytes(&self) -> u64 {
            self.bytes.lock().unwrap().iter().sum()
        }

        fn is_waiting(&self) -> bool {
            !self.waiting.lock().unwrap().is_empty()
        }
    }

    impl RequestObserver for Seen {
        fn waits(&self, since: Instant) {
            self.waiting.lock().unwrap().push(since);
        }

        fn arrived(&self, since: Instant, bytes: u64) {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            assert_eq!(waiting.pop(), Some(since));
            self.bytes.lock().unwrap().push(bytes);
        }
    }

    #[derive(Debug, Default)]
    struct Log(Mutex<Vec<Arc<Seen>>>);

    impl Log {
        fn only(&self) -> Arc<Seen> {
            let seen = self.0.lock().unwrap();
            assert_eq!(seen.len(), 1, "{seen:?}");
            Arc::clone(&seen[0])
        }
    }

    impl StoreObserver for Log {
        fn asked(&self, request: &StoreRequest<'_>) -> Option<Arc<dyn RequestObserver>> {
            let asked = format!("{} {} {}", request.operation.name(), request.store, request.location);
            let seen = Arc::new(Seen { asked, ..Seen::default() });
            self.0.lock().unwrap().push(Arc::clone(&seen));
            Some(seen)
        }
    }

    /// Sends two parts of ten bytes of each object and then nothing more, for which `fails` takes the connection;
    /// of the object `silent`, not even the headers.
    #[derive(Debug)]
    struct Slow {
        objects: InMemory,
        fails: bool,
    }

    impl fmt::Display for Slow {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("slow")
        }
    }

    #[async_trait]
    impl ObjectStore for Slow {
        async fn put_opts(
            &self,
            location: &Path,
            payload: PutPayload,
            options: PutOptions,
        ) -> Answer<PutResult> {
            match self.fails {
                true => Err(object_store::Error::NotImplemented {
                    operation: String::new(),
                    implementer: String::new(),
                }),
                false => self.objects.put_opts(location, payload, options).await,
            }
        }

        async fn put_multipart_opts(
            &self,
            location: &Path,
            options: PutMultipartOptions,
        ) -> Answer<Box<dyn MultipartUpload>> {
            self.objects.put_multipart_opts(location, options).await
        }

        async fn get_opts(&self, location: &Path, options: GetOptions) -> Answer<GetResult> {
            if location.as_ref() == "silent" {
                return future::pending().await;
            }
            let mut answer = self.objects.get_opts(location, options).await?;
            let failure = match self.fails {
                true => stream::iter([Err(object_store::Error::NotImplemented {
                    operation: String::new(),
                    implementer: String::new(),
                })])
                .boxed(),
                false => stream::pending().boxed(),
            };
            let parts = stream::iter([Ok(vec![0; 10].into()), Ok(vec![0; 10].into())]);
            answer.payload = GetResultPayload::Stream(parts.chain(failure).boxed());
            Ok(answer)
        }

        fn delete_stream(
            &self,
            locations: BoxStream<'static, Answer<Path>>,
        ) -> BoxStream<'static, Answer<Path>> {
            self.objects.delete_stream(locations)
        }

        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Answer<ObjectMeta>> {
            self.objects.list(prefix)
        }

        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Answer<ListResult> {
            self.objects.list_with_delimiter(prefix).await
        }

        async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Answer<()> {
            self.objects.copy_opts(from, to, options).await
        }
    }

    fn watched(store: Arc<dyn ObjectStore>) -> (Arc<dyn ObjectStore>, Arc<Log>) {
        let log = Arc::new(Log::default());
        let observer: Arc<dyn StoreObserver> = Arc::clone(&log) as _;
        let stores = WatchedStores { inner: Arc::new(DefaultObjectStoreRegistry::new()), observer };
        let url = Url::parse("http://me:word@127.0.0.1:9917/x.csv").unwrap();
        stores.register_store(&url, store);
        (stores.get_store(&url).unwrap(), log)
    }

    async fn slow(fails: bool) -> (Arc<dyn ObjectStore>, Arc<Log>) {
        let objects = InMemory::new();
        objects.put(&Path::from("x.csv"), vec![0; 200].into()).await.unwrap();
        watched(Arc::new(Slow { objects, fails }))
    }

    #[tokio::test]
    async fn of_a_body_that_hangs_the_bytes_are_those_that_arrived() {
        let (store, log) = slow(false).await;
        let mut body = store.get(&Path::from("x.csv")).await.unwrap().into_stream();
        let seen = log.only();
        assert_eq!(seen.asked, "get http://127.0.0.1:9917 x.csv");
        assert_eq!((seen.bytes(), seen.is_waiting()), (0, false));

        for bytes in [10, 20] {
            body.next().await.unwrap().unwrap();
            assert_eq!((seen.bytes(), seen.is_waiting()), (bytes, false));
        }
        for _ in 0..3 {
            assert!(body.next().now_or_never().is_none());
            assert_eq!((seen.bytes(), seen.is_waiting()), (20, true), "one wait for all polls");
        }
        drop(body);
        assert_eq!((seen.bytes(), seen.is_waiting()), (20, false), "the wait ends with the body");
        assert_eq!(log.only().bytes(), 20);
    }

    #[tokio::test]
    async fn of_a_body_that_breaks_off_the_bytes_are_those_that_arrived() {
        let (store, log) = slow(true).await;
        store.get(&Path::from("x.csv")).await.unwrap().bytes().await.unwrap_err();
        assert_eq!((log.only().bytes(), log.only().is_waiting()), (20, false));
    }

    #[tokio::test]
    async fn a_request_that_is_given_up_was_one() {
        let (store, log) = slow(false).await;
        let location = Path::from("silent");
        let mut asked = Box::pin(store.get(&location));
        assert!(asked.as_mut().now_or_never().is_none());
        assert_eq!((log.only().bytes(), log.only().is_waiting()), (0, true));
        drop(asked);
        assert_eq!((log.only().bytes(), log.only().is_waiting()), (0, false));
    }

    #[tokio::test]
    async fn of_a_write_that_fails_nothing_is_written() {
        let (store, log) = slow(true).await;
        store.put(&Path::from("y.csv"), vec![0; 30].into()).await.unwrap_err();
        assert_eq!((log.only().asked.as_str(), log.only().bytes()), ("put http://127.0.0.1:9917 y.csv", 0));
        let (store, log) = slow(false).await;
        store.put(&Path::from("y.csv"), vec![0; 30].into()).await.unwrap();
        assert_eq!(log.only().bytes(), 30);
    }

    #[tokio::test]
    async fn metadata_has_no_bytes() {
        let (store, log) = slow(false).await;
        assert_eq!(store.head(&Path::from("x.csv")).await.unwrap().size, 200);
        let seen = log.only();
        assert_eq!((seen.asked.as_str(), seen.bytes()), ("head http://127.0.0.1:9917 x.csv", 0));
        assert!(!seen.is_waiting());
    }

    #[tokio::test]
    async fn a_local_file_stays_a_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x.csv"), [0; 50]).unwrap();
        let (store, log) = watched(Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap()));
        let answer = store.get(&Path::from("x.csv")).await.unwrap();
        assert!(matches!(answer.payload, GetResultPayload::File(..)));
        assert_eq!((log.only().bytes(), log.only().is_waiting()), (50, false));
    }
}
