//! The connections of an executor to others, from which it fetches rows. Ballista's own are private to it, and go only to the engine that
//! it makes itself.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use ballista_core::{
    client::BallistaClient,
    client_pool::{BallistaClientPool, PooledClient},
    error::Result,
    extension::BallistaConfigGrpcEndpoint,
    utils::GrpcClientConfig,
};
use tokio::time::sleep;

/// How often idle connections are looked at, at most.
const LOOK: Duration = Duration::from_secs(15);

/// Keeps connections for those who want the same one, until they were idle for too long.
pub(super) struct Connections {
    idle: Arc<Idle<BallistaClient>>,
    watching: Once,
}

impl Connections {
    pub(super) fn new(idle_for: Duration) -> Self {
        let idle = Idle { at_most: idle_for, kept: Mutex::default() };
        Self { idle: Arc::new(idle), watching: Once::new() }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

/// Where a connection goes, and how.
type Place = (String, u16, GrpcClientConfig);

struct Idle<C> {
    at_most: Duration,
    /// For each place since when each is idle; the last one is the newest.
    kept: Mutex<HashMap<Place, Vec<(Instant, C)>>>,
}

impl<C> Idle<C> {
    fn take(&self, place: &Place) -> Option<C> {
        self.lock().get_mut(place)?.pop().map(|(_, connection)| connection)
    }

    fn keep(&self, place: Place, connection: C) {
        self.lock().entry(place).or_default().push((Instant::now(), connection));
    }

    fn close_old(&self) {
        self.lock().retain(|_, kept| {
            kept.retain(|(since, _)| since.elapsed() < self.at_most);
            !kept.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Vec<(Instant, C)>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn close_old_ones(idle: Weak<Idle<BallistaClient>>, interval: Duration) {
    loop {
        sleep(interval).await;
        let Some(idle) = idle.upgrade() else { return };
        idle.close_old();
    }
}

#[async_trait]
impl BallistaClientPool for Connections {
    async fn acquire(
        &self,
        host: &str,
        port: u16,
        config: &GrpcClientConfig,
        customize_endpoint: Option<Arc<BallistaConfigGrpcEndpoint>>,
    ) -> Result<PooledClient> {
        // Here, because it is only now that there is a runtime for certain.
        self.watching.call_once(|| {
            tokio::spawn(close_old_ones(Arc::downgrade(&self.idle), self.idle.at_most.max(LOOK)));
        });
        let place = (host.to_owned(), port, config.clone());
        let client = match self.idle.take(&place) {
            Some(client) => client,
            None => {
                BallistaClient::try_new(
                    host,
                    port,
                    config.max_message_size,
                    config.use_tls,
                    customize_endpoint,
                    config.io_retries_times,
                    config.io_retry_wait_time_ms,
                    config.initial_connection_window_size,
                    config.initial_stream_window_size,
                )
                .await?
            }
        };
        let idle = Arc::clone(&self.idle);
        Ok(PooledClient::new(client, Box::new(move |client| idle.keep(place, client))))
    }

    async fn evict_idle(&self) {
        self.idle.close_old();
    }
}

#[cfg(test)]
mod tests {
    use ballista_core::config::BallistaConfig;

    use super::*;

    #[test]
    fn a_connection_is_used_again_by_those_who_want_the_same_one() {
        let idle = Idle { at_most: Duration::from_secs(3600), kept: Mutex::default() };
        let to = |port: u16| ("e".to_owned(), port, GrpcClientConfig::from(&BallistaConfig::default()));
        idle.keep(to(1), "old");
        idle.keep(to(1), "new");
        assert_eq!(idle.take(&to(2)), None);
        idle.close_old();
        assert_eq!(
            (idle.take(&to(1)), idle.take(&to(1)), idle.take(&to(1))),
            (Some("new"), Some("old"), None)
        );
    }

    #[test]
    fn one_that_was_idle_for_too_long_is_closed() {
        let idle = Idle { at_most: Duration::ZERO, kept: Mutex::default() };
        let place = ("e".to_owned(), 1, GrpcClientConfig::from(&BallistaConfig::default()));
        idle.keep(place.clone(), ());
        idle.close_old();
        assert_eq!(idle.take(&place), None);
        assert!(idle.lock().is_empty());
    }
}
