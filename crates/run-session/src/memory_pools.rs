//! The memory pools of the sessions of a process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use daglight_heartbeat::{MemoryUse, MemoryWait};
use daglight_plan_diagnostics::PlannedQuery;
use datafusion::{
    execution::{
        SessionStateBuilder,
        memory_pool::{
            FairSpillPool, GreedyMemoryPool, MemoryLimit, MemoryPool, TrackConsumersPool, UnboundedMemoryPool,
        },
        runtime_env::RuntimeEnv,
    },
    prelude::SessionContext,
};

use crate::watched_pool::WatchedPool;

/// The pools, as long as somebody else holds them. Asking them takes no lock of a session.
#[derive(Default)]
pub(crate) struct MemoryPools(Mutex<Vec<Weak<dyn MemoryPool>>>);

impl MemoryPools {
    /// Sessions may share a pool.
    pub(crate) fn add(&self, session: &SessionContext) {
        // Weakly: a session that ends must give its memory back.
        self.add_pool(&Arc::downgrade(&session.runtime_env().memory_pool));
    }

    /// The pool of a session may be another one with each query: `SET datafusion.runtime.memory_limit` replaces it.
    pub(crate) fn add_of_query(&self, query: &PlannedQuery) {
        self.add_pool(&query.memory_pool);
    }

    fn add_pool(&self, pool: &Weak<dyn MemoryPool>) {
        let mut pools = self.lock();
        if !pools.iter().any(|known| known.ptr_eq(pool)) {
            // Here, because new pools are rare and those that are known are asked often.
            pools.retain(|pool| pool.strong_count() > 0);
            pools.push(Weak::clone(pool));
        }
    }

    /// Has the pool of the session that is built say who waits for it. Sessions of one runtime environment share it, and what
    /// watches it.
    pub(crate) fn watch(&self, builder: &mut SessionStateBuilder) {
        let runtime = builder.runtime_env().get_or_insert_default();
        // Once: the state of a session may be built from that of another one.
        if runtime.memory_pool.is::<WatchedPool>() || never_waits(&*runtime.memory_pool) {
            return;
        }
        // What is upgraded may be the last handle to a pool of the program, which is dropped without the lock.
        let known: Vec<_> = self.lock().iter().filter_map(Weak::upgrade).collect();
        let known = known.into_iter().find(|pool| {
            pool.downcast_ref::<WatchedPool>().is_some_and(|pool| pool.watches(&runtime.memory_pool))
        });
        let memory_pool =
            known.unwrap_or_else(|| Arc::new(WatchedPool::new(Arc::clone(&runtime.memory_pool))));
        *runtime = Arc::new(RuntimeEnv { memory_pool, ..RuntimeEnv::clone(runtime) });
    }

    /// Who waits for memory at this moment.
    pub(crate) fn waits(&self) -> Vec<MemoryWait> {
        let pools: Vec<_> = self.lock().iter().filter_map(Weak::upgrade).collect();
        pools
            .iter()
            .filter_map(|pool| pool.downcast_ref::<WatchedPool>())
            .flat_map(WatchedPool::waits)
            .collect()
    }

    /// What is reserved in all of them, and may be. `None` without a pool.
    pub(crate) fn used(&self) -> Option<MemoryUse> {
        let pools: Vec<_> = self.lock().iter().filter_map(Weak::upgrade).collect();
        let limit = |pool: &Arc<dyn MemoryPool>| match pool.memory_limit() {
            MemoryLimit::Finite(bytes) => Some(bytes as u64),
            _ => None,
        };
        (!pools.is_empty()).then(|| MemoryUse {
            reserved_bytes: pools.iter().map(|pool| pool.reserved() as u64).sum(),
            // None as soon as one of them has no limit, because then all together have none.
            limit_bytes: pools.iter().map(limit).sum(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<dyn MemoryPool>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is a pool of DataFusion's own, which refuses memory at once: nobody waits in it, and each growth of each
/// operator would pay for the watch.
fn never_waits(pool: &dyn MemoryPool) -> bool {
    pool.is::<UnboundedMemoryPool>()
        || pool.is::<GreedyMemoryPool>()
        || pool.is::<FairSpillPool>()
        || pool.is::<TrackConsumersPool<GreedyMemoryPool>>()
        || pool.is::<TrackConsumersPool<FairSpillPool>>()
}

#[cfg(test)]
mod tests {
    use datafusion::{
        execution::{
            memory_pool::{MemoryConsumer, MemoryReservation},
            runtime_env::RuntimeEnvBuilder,
        },
        prelude::SessionConfig,
    };

    use super::*;

    /// A pool of a program's own, of which nobody knows whether it makes others wait.
    #[derive(Debug)]
    struct Foreign(GreedyMemoryPool);

    impl std::fmt::Display for Foreign {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("foreign")
        }
    }

    impl MemoryPool for Foreign {
        fn name(&self) -> &str {
            "foreign"
        }

        fn grow(&self, reservation: &MemoryReservation, bytes: usize) {
            self.0.grow(reservation, bytes);
        }

        fn shrink(&self, reservation: &MemoryReservation, bytes: usize) {
            self.0.shrink(reservation, bytes);
        }

        fn try_grow(&self, reservation: &MemoryReservation, bytes: usize) -> datafusion::error::Result<()> {
            self.0.try_grow(reservation, bytes)
        }

        fn reserved(&self) -> usize {
            self.0.reserved()
        }

        fn memory_limit(&self) -> MemoryLimit {
            self.0.memory_limit()
        }
    }

    #[test]
    fn a_pool_that_sessions_share_is_watched_and_summed_once() {
        let pools = MemoryPools::default();
        let pool: Arc<dyn MemoryPool> = Arc::new(Foreign(GreedyMemoryPool::new(1_000)));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(&pool)).build_arc().unwrap();
        let session = || {
            let mut builder = SessionStateBuilder::new().with_runtime_env(Arc::clone(&runtime));
            pools.watch(&mut builder);
            let session = SessionContext::new_with_state(builder.build());
            pools.add(&session);
            session
        };
        let (_one, _other) = (session(), session());
        let reservation = MemoryConsumer::new("sort").register(&pool);
        reservation.grow(300);
        assert_eq!(pools.used(), Some(MemoryUse { reserved_bytes: 300, limit_bytes: Some(1_000) }));
    }

    #[test]
    fn reservations_of_all_sessions_are_summed_once() {
        let pools = MemoryPools::default();
        assert_eq!(pools.used(), None);
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1_000));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(&pool)).build_arc().unwrap();
        let session = || SessionContext::new_with_config_rt(SessionConfig::new(), Arc::clone(&runtime));
        let (one, other) = (session(), session());
        pools.add(&one);
        pools.add(&other);
        let reservation = MemoryConsumer::new("sort").register(&pool);
        reservation.grow(300);
        assert_eq!(pools.used(), Some(MemoryUse { reserved_bytes: 300, limit_bytes: Some(1_000) }));
        let unlimited = SessionContext::new();
        pools.add(&unlimited);
        assert_eq!(pools.used(), Some(MemoryUse { reserved_bytes: 300, limit_bytes: None }));
    }
}
