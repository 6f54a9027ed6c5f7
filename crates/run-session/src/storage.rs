//! What queries ask of object stores.

use std::{
    any::Any,
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use daglight_capture_policy::Policy;
use daglight_otel_bridge::{RunMetrics, StageSpan, names::Key};
use daglight_plan_diagnostics::{
    RequestObserver, StoreObserver, StoreOperation, StoreRequest, with_watched_stores,
};
use daglight_run_bundle::{PlanSource, StorageUse};
use datafusion::execution::{SessionStateBuilder, object_store::ObjectStoreRegistry};
use opentelemetry::Context;

/// Objects of a query that are counted separately; what comes later is counted for its store.
const MAX_PLACES: usize = 1_000;

/// The requests of one query, or of one task of a query of another machine, while it runs.
#[derive(Debug, Default)]
pub(crate) struct QueryStorage(Mutex<BTreeMap<Place, Counted>>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    store: String,
    location: String,
    operation: StoreOperation,
}

/// How many requests there were, of how many bytes, and how long the store was waited for. They are made at the same time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Requests {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
}

impl Requests {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.time += other.time;
    }
}

/// The requests of a place, and since when the store is waited for by each that is under way.
#[derive(Debug, Default)]
struct Counted {
    requests: Requests,
    waits: Vec<Instant>,
}

impl Counted {
    /// With the time of what is waited for still.
    fn so_far(&self) -> Requests {
        let waited = self.waits.iter().map(Instant::elapsed).sum();
        let mut requests = self.requests;
        requests.add(Requests { time: waited, ..Requests::default() });
        requests
    }
}

/// Marks the query whose code runs in an OpenTelemetry context, and in the tasks that it spawns there.
struct Current(Arc<QueryStorage>);

impl QueryStorage {
    /// What runs on this thread, and is spawned on it, is of this query until the answer is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Box<dyn Any> {
        Box::new(Context::map_current(|context| context.with_value(Current(Arc::clone(self)))).attach())
    }

    /// What counts the requests of a session that executes nothing else.
    pub(crate) fn observer(self: &Arc<Self>) -> Arc<dyn StoreObserver> {
        Arc::new(Counting(Arc::clone(self)))
    }

    /// Counts a request, and says under which place.
    fn add(&self, request: &StoreRequest<'_>) -> Place {
        let place = |location: &str| Place {
            store: request.store.to_owned(),
            location: location.to_owned(),
            operation: request.operation,
        };
        let mut places = self.places();
        let own = place(request.location);
        let has_room = places.len() < MAX_PLACES || places.contains_key(&own);
        let place = if has_room { own } else { place("") };
        places.entry(place.clone()).or_default().requests.count += 1;
        place
    }

    /// The requests so far, with what has arrived of those that are under way.
    pub(crate) fn so_far(&self) -> Storage {
        Storage::of(&self.places())
    }

    /// The requests so far, which are forgotten here, as is what arrives of them later.
    pub(crate) fn take(&self) -> Storage {
        Storage::of(&mem::take(&mut *self.places()))
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<Place, Counted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The requests that a query has made.
#[derive(Debug, Default)]
pub(crate) struct Storage(BTreeMap<Place, Requests>);

impl Storage {
    fn of(places: &BTreeMap<Place, Counted>) -> Self {
        Self(places.iter().map(|(place, counted)| (place.clone(), counted.so_far())).collect())
    }

    /// All of them; `None` where no request was made.
    fn total(&self) -> Option<Requests> {
        self.0.values().copied().reduce(|mut sum, requests| {
            sum.add(requests);
            sum
        })
    }

    /// Counts them in the metrics of their run.
    pub(crate) fn count(&self, metrics: &RunMetrics) {
        for (operation, requests) in self.by_operation() {
            metrics.storage(operation.name(), requests.count, requests.bytes, requests.time);
        }
    }

    /// Shows them on the span of what made them.
    pub(crate) fn show(&self, span: &StageSpan) {
        if let Some(requests) = self.total() {
            span.set(Key::StorageRequests, requests.count);
            span.set(Key::StorageBytes, requests.bytes);
            span.set(Key::StorageSeconds, requests.time.as_secs_f64());
        }
    }

    /// The requests by what was asked.
    fn by_operation(&self) -> BTreeMap<StoreOperation, Requests> {
        let mut sums: BTreeMap<StoreOperation, Requests> = BTreeMap::new();
        for (place, requests) in &self.0 {
            sums.entry(place.operation).or_default().add(*requests);
        }
        sums
    }

    /// Adds them to what is known of a plan: by store, as far as the policy shows paths, by table and by what was asked.
    /// `sources` are the scans of the plan.
    pub(crate) fn add_to(&self, known: &mut Vec<StorageUse>, sources: &[PlanSource], policy: &Policy) {
        for (place, requests) in &self.0 {
            let store = policy.capture_path(&place.store).map(|store| store.to_text()).unwrap_or_default();
            let source = sources
                .iter()
                .find(|source| source.location.as_deref().is_some_and(|location| place.is_below(location)));
            let table = source.and_then(|source| source.table.as_deref());
            let table = table.map(|table| policy.redactor().name_text(table));
            let operation = place.operation.name();
            let is_same = |known: &StorageUse| {
                known.store == store && known.table == table && known.operation == operation
            };
            let position = known.iter().position(is_same).unwrap_or_else(|| {
                let (store, operation) = (store.clone(), operation.to_owned());
                known.push(StorageUse { store, table: table.clone(), operation, ..StorageUse::default() });
                known.len() - 1
            });
            let sum = &mut known[position];
            sum.requests += requests.count;
            sum.bytes = sum.bytes.saturating_add(requests.bytes);
            sum.ms += requests.time.as_secs_f64() * 1e3;
        }
    }
}

impl Place {
    /// Whether it is an object of a source, whose location is the URL of a file or a folder.
    fn is_below(&self, location: &str) -> bool {
        // `file:///a/b` and `s3://bucket/a/b`; the names of objects have no slash in front.
        let Some((scheme, authority)) = self.store.split_once("://") else { return false };
        let Some(rest) = location.strip_prefix(scheme).and_then(|rest| rest.strip_prefix(':')) else {
            return false;
        };
        let path = match rest.strip_prefix("//") {
            Some(rest) => {
                let (named, path) = rest.split_once('/').unwrap_or((rest, ""));
                // The store is named without the user, whom the URL of a source may have.
                if named.rsplit_once('@').map_or(named, |(_, host)| host) != authority {
                    return false;
                }
                path
            }
            None => rest,
        };
        let path = path.trim_matches('/');
        self.location.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Has the object stores of the session that is built say what is asked of them.
pub(crate) fn watch(builder: &mut SessionStateBuilder) {
    let runtime = builder.runtime_env().get_or_insert_default();
    let with_watched = {
        let stores = Arc::as_ptr(&runtime.object_store_registry);
        let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|stores| stores.strong_count() > 0);
        if watched.iter().any(|known| std::ptr::addr_eq(known.as_ptr(), stores)) {
            return;
        }
        let with_watched = with_watched_stores(runtime, Arc::new(StoreWatch));
        watched.push(Arc::downgrade(&with_watched.object_store_registry));
        with_watched
    };
    // Without the lock: what is replaced may be the last handle to stores of the program.
    *runtime = with_watched;
}

/// The stores that are watched already: a session may be made of another one, and no registry says what it is.
static WATCHED: Mutex<Vec<Weak<dyn ObjectStoreRegistry>>> = Mutex::new(Vec::new());

/// Counts the requests of queries.
pub(crate) struct StoreWatch;

impl StoreObserver for StoreWatch {
    fn asked(&self, request: &StoreRequest<'_>) -> Option<Arc<dyn RequestObserver>> {
        let query =
            Context::map_current(|context| context.get::<Current>().map(|current| Arc::clone(&current.0)))?;
        Counting(query).asked(request)
    }
}

/// Counts all requests for one query.
struct Counting(Arc<QueryStorage>);

impl StoreObserver for Counting {
    fn asked(&self, request: &StoreRequest<'_>) -> Option<Arc<dyn RequestObserver>> {
        let place = self.0.add(request);
        Some(Arc::new(QueryRequest { query: Arc::clone(&self.0), place }))
    }
}

/// A request of a query. Its body may arrive on threads that know nothing of the query.
struct QueryRequest {
    query: Arc<QueryStorage>,
    place: Place,
}

impl RequestObserver for QueryRequest {
    fn waits(&self, since: Instant) {
        if let Some(counted) = self.query.places().get_mut(&self.place) {
            counted.waits.push(since);
        }
    }

    fn arrived(&self, since: Instant, bytes: u64) {
        // Nothing is known of the place once the query is over.
        let mut places = self.query.places();
        let Some(counted) = places.get_mut(&self.place) else { return };
        if let Some(position) = counted.waits.iter().position(|wait| *wait == since) {
            counted.waits.swap_remove(position);
        }
        counted.requests.add(Requests { count: 0, bytes, time: since.elapsed() });
    }
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::Profile;
    use datafusion::{
        execution::object_store::ObjectStoreUrl,
        object_store::{
            ObjectStore, ObjectStoreExt as _, chunked::ChunkedStore, memory::InMemory, path::Path,
        },
    };
    use futures::{FutureExt as _, StreamExt as _};

    use super::*;

    fn source(table: &str, location: &str) -> PlanSource {
        PlanSource {
            table: Some(table.to_owned()),
            location: Some(location.to_owned()),
            ..PlanSource::default()
        }
    }

    fn request(store: &str, location: &str, bytes: u64) {
        if let Some(request) = ask(store, location) {
            request.arrived(Instant::now(), bytes);
        }
    }

    fn ask(store: &str, location: &str) -> Option<Arc<dyn RequestObserver>> {
        StoreWatch.asked(&StoreRequest { store, location, operation: StoreOperation::Get })
    }

    #[test]
    fn requests_are_those_of_the_query_whose_code_runs_and_of_its_tables() {
        let storage = Arc::new(QueryStorage::default());
        request("file://", "data/orders.parquet", 1);
        let entered = storage.enter();
        request("file://", "data/orders.parquet", 10);
        request("file://", "data/orders.parquet", 20);
        request("file://", "data/orders.parquet2", 40);
        request("s3://lake", "lines/day=1/a.parquet", 80);
        drop(entered);
        request("s3://lake", "lines/day=1/a.parquet", 160);

        let taken = storage.take();
        assert_eq!(taken.total().map(|total| (total.count, total.bytes)), Some((4, 150)));
        let sources = [source("orders", "file:/data/orders.parquet"), source("lines", "s3://lake/lines/")];
        let mut known = Vec::new();
        let policy = Policy::of_profile(Profile::Dev);
        taken.add_to(&mut known, &sources, &policy);
        taken.add_to(&mut known, &sources, &policy);
        let known: Vec<_> = known
            .iter()
            .map(|use_| (use_.store.as_str(), use_.table.as_deref(), use_.requests, use_.bytes))
            .collect();
        assert_eq!(
            known,
            [
                ("file://", Some("orders"), 4, 60),
                ("file://", None, 2, 80),
                ("s3://lake", Some("lines"), 2, 160),
            ]
        );
        assert_eq!(storage.take().total(), None);
    }

    #[test]
    fn objects_without_number_are_counted_for_their_store() {
        let storage = Arc::new(QueryStorage::default());
        let _entered = storage.enter();
        (0..5_000).for_each(|file| request("file://", &format!("data/{file}.parquet"), 1));
        let taken = storage.take();
        assert!(taken.0.len() <= MAX_PLACES + 1, "{}", taken.0.len());
        assert_eq!(taken.total().map(|total| total.count), Some(5_000));
    }

    #[test]
    fn a_store_is_known_by_its_port_and_not_by_its_user() {
        let place = |store: &str, location: &str| Place {
            store: store.to_owned(),
            location: location.to_owned(),
            operation: StoreOperation::Get,
        };
        let served = place("http://127.0.0.1:9917", "x.csv");
        assert!(served.is_below("http://127.0.0.1:9917/x.csv"));
        assert!(served.is_below("http://me:word@127.0.0.1:9917/x.csv"));
        assert!(!served.is_below("http://127.0.0.1:991/x.csv"));
        assert!(!served.is_below("http://127.0.0.1:99170/x.csv"));
        assert!(!served.is_below("https://127.0.0.1:9917/x.csv"));
        assert!(place("file://", "data/a.csv").is_below("file:///data"));
        assert!(!place("s3://lake", "a.csv").is_below("s3://lake2"));
    }

    #[test]
    fn what_is_waited_for_is_seen_before_it_is_there() {
        let storage = Arc::new(QueryStorage::default());
        let entered = storage.enter();
        let request = ask("http://127.0.0.1:9917", "x.csv").unwrap();
        drop(entered);
        let total = || storage.so_far().total().unwrap();
        assert_eq!(total(), Requests { count: 1, ..Requests::default() });

        let (wait, minute) = (Instant::now(), Duration::from_secs(60));
        let long_ago = wait.checked_sub(minute).unwrap();
        request.waits(long_ago);
        request.waits(wait);
        assert!(total().time >= minute && total().time < 2 * minute, "{total:?}", total = total());
        request.arrived(long_ago, 7);
        assert_eq!((total().count, total().bytes), (1, 7));
        assert!(total().time >= minute && total().time < 2 * minute, "{total:?}", total = total());

        let taken = storage.take().total().unwrap();
        assert!(taken.time >= minute && taken.time < 2 * minute, "{taken:?}");
        request.arrived(wait, 7);
        assert_eq!(storage.so_far().total(), None, "the query is over");
    }

    /// A session whose queries are watched, and a store of 20 bytes that come two by two.
    async fn served(url: &str) -> Arc<dyn ObjectStore> {
        let memory = InMemory::new();
        memory.put(&Path::from("x.csv"), vec![b'1'; 20].into()).await.unwrap();
        let mut builder = SessionStateBuilder::new();
        watch(&mut builder);
        let runtime = Arc::clone(builder.build().runtime_env());
        let url = ObjectStoreUrl::parse(url).unwrap();
        runtime.register_object_store(url.as_ref(), Arc::new(ChunkedStore::new(Arc::new(memory), 2)));
        runtime.object_store(url).unwrap()
    }

    #[tokio::test]
    async fn bytes_are_those_that_arrived_wherever_they_are_read() {
        let storage = Arc::new(QueryStorage::default());
        let store = served("http://me:word@127.0.0.1:9917").await;
        let entered = storage.enter();
        let mut body = store.get(&Path::from("x.csv")).now_or_never().unwrap().unwrap().into_stream();
        drop(entered);
        let bytes = || storage.so_far().total().map(|total| (total.count, total.bytes));
        assert_eq!(bytes(), Some((1, 0)));
        let read = tokio::spawn(async move {
            body.next().await.unwrap().unwrap();
            body.next().await.unwrap().unwrap();
            body
        });
        let body = read.await.unwrap();
        assert_eq!(bytes(), Some((1, 4)), "of a body that is read still");
        drop(body);

        let mut known = Vec::new();
        let sources = [source("x", "http://me:word@127.0.0.1:9917/x.csv")];
        storage.take().add_to(&mut known, &sources, &Policy::of_profile(Profile::Dev));
        let known: Vec<_> = known
            .iter()
            .map(|use_| (&*use_.store, use_.table.as_deref(), &*use_.operation, use_.requests, use_.bytes))
            .collect();
        assert_eq!(known, [("http://127.0.0.1:9917", Some("x"), "get", 1, 4)]);
    }

    #[tokio::test]
    async fn metadata_has_an_operation_of_its_own() {
        let storage = Arc::new(QueryStorage::default());
        let store = served("http://127.0.0.1:9917").await;
        let entered = storage.enter();
        let meta = store.head(&Path::from("x.csv")).now_or_never().unwrap().unwrap();
        drop(entered);
        assert_eq!(meta.size, 20);
        let operations = storage.take().by_operation();
        let operations: Vec<_> =
            operations.iter().map(|(operation, sum)| (operation.name(), sum.count, sum.bytes)).collect();
        assert_eq!(operations, [("head", 1, 0)]);
    }
}
