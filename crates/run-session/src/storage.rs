//! What queries ask of object stores.

use std::{
    any::Any,
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use daglight_capture_policy::Policy;
use daglight_plan_diagnostics::{StoreObserver, StoreOperation, StoreRequest, WatchedStores};
use daglight_run_bundle::{PlanSource, StorageUse};
use datafusion::execution::{SessionStateBuilder, runtime_env::RuntimeEnv};
use opentelemetry::Context;

/// Objects of a query that are counted separately; what comes later is counted for its store.
const MAX_PLACES: usize = 1_000;

/// The requests of one query, while it runs.
#[derive(Debug, Default)]
pub(crate) struct QueryStorage(Mutex<BTreeMap<Place, Requests>>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    store: String,
    location: String,
    operation: StoreOperation,
}

/// How many requests there were, of how many bytes, and how long all of them took. They are made at the same time.
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

/// Marks the query whose code runs in an OpenTelemetry context, and in the tasks that it spawns there.
struct Current(Arc<QueryStorage>);

impl QueryStorage {
    /// What runs on this thread, and is spawned on it, is of this query until the answer is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Box<dyn Any> {
        Box::new(Context::map_current(|context| context.with_value(Current(Arc::clone(self)))).attach())
    }

    fn add(&self, request: &StoreRequest<'_>) {
        let place = |location: &str| Place {
            store: request.store.to_owned(),
            location: location.to_owned(),
            operation: request.operation,
        };
        let requests = Requests { count: 1, bytes: request.bytes, time: request.time };
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = place(request.location);
        let has_room = places.len() < MAX_PLACES || places.contains_key(&own);
        places.entry(if has_room { own } else { place("") }).or_default().add(requests);
    }

    /// The requests so far.
    pub(crate) fn so_far(&self) -> Storage {
        Storage(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// The requests so far, which are forgotten here.
    pub(crate) fn take(&self) -> Storage {
        Storage(mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// The requests that a query has made.
#[derive(Debug, Default)]
pub(crate) struct Storage(BTreeMap<Place, Requests>);

impl Storage {
    /// All of them; `None` where no request was made.
    pub(crate) fn total(&self) -> Option<Requests> {
        self.0.values().copied().reduce(|mut sum, requests| {
            sum.add(requests);
            sum
        })
    }

    /// The requests by what was asked.
    pub(crate) fn by_operation(&self) -> BTreeMap<StoreOperation, Requests> {
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
        let scheme = self.store.split_once("://").map_or("", |(scheme, _)| scheme);
        let path = match location.strip_prefix(&self.store) {
            Some(path) => path,
            None => match location.strip_prefix(scheme).and_then(|rest| rest.strip_prefix(':')) {
                Some(path) => path,
                None => return false,
            },
        };
        let path = path.trim_matches('/');
        self.location.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Has the object stores of the session that is built say what is asked of them.
pub(crate) fn watch(builder: &mut SessionStateBuilder) {
    let runtime = builder.runtime_env().get_or_insert_default();
    let inner = Arc::clone(&runtime.object_store_registry);
    let stores = {
        let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|stores| stores.strong_count() > 0);
        if watched.iter().any(|known| std::ptr::addr_eq(known.as_ptr(), Arc::as_ptr(&inner))) {
            return;
        }
        let stores = Arc::new(WatchedStores::new(inner, Arc::new(StoreWatch)));
        watched.push(Arc::downgrade(&stores));
        stores
    };
    // Without the lock: what is replaced may be the last handle to stores of the program.
    *runtime = Arc::new(RuntimeEnv { object_store_registry: stores, ..RuntimeEnv::clone(runtime) });
}

/// The stores that are watched already: a session may be made of another one, and no registry says what it is.
static WATCHED: Mutex<Vec<Weak<WatchedStores>>> = Mutex::new(Vec::new());

/// Counts the requests of queries.
pub(crate) struct StoreWatch;

impl StoreObserver for StoreWatch {
    fn answered(&self, request: &StoreRequest<'_>) {
        let query =
            Context::map_current(|context| context.get::<Current>().map(|current| Arc::clone(&current.0)));
        if let Some(query) = query {
            query.add(request);
        }
    }
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::Profile;

    use super::*;

    fn source(table: &str, location: &str) -> PlanSource {
        PlanSource {
            table: Some(table.to_owned()),
            location: Some(location.to_owned()),
            ..PlanSource::default()
        }
    }

    fn request(store: &str, location: &str, bytes: u64) {
        let (operation, time) = (StoreOperation::Get, Duration::from_millis(2));
        StoreWatch.answered(&StoreRequest { store, location, operation, bytes, time });
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
            .map(|use_| (use_.store.as_str(), use_.table.as_deref(), use_.requests, use_.bytes, use_.ms))
            .collect();
        assert_eq!(
            known,
            [
                ("file://", Some("orders"), 4, 60, 8.0),
                ("file://", None, 2, 80, 4.0),
                ("s3://lake", Some("lines"), 2, 160, 4.0),
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
}
