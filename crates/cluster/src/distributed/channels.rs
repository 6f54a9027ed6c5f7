//! The connections to workers. A machine that is gone without a word is noticed, because it is asked for signs of life.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use datafusion::{common::exec_datafusion_err, error::Result};
use datafusion_distributed::{
    ChannelResolver, WorkerChannel,
    grpc::{BoxCloneSyncChannel, create_worker_client},
};
use tonic::{
    Request, Status,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use url::Url;

use super::so_far::{Answer, METHOD, Question};

/// How long a connection may take to be made.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the machine of an idle connection is asked for a sign of life, and how many answers may be missing. The system answers for a
/// worker whose threads all compute.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_RETRIES: u32 = 2;

/// Connections to workers, each made when it is first asked for. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Channels(Arc<Mutex<HashMap<Url, Channel>>>);

impl Channels {
    pub(crate) fn client(&self, url: &Url) -> Result<Box<dyn WorkerChannel>> {
        Ok(create_worker_client(BoxCloneSyncChannel::new(self.channel(url)?)))
    }

    /// How far the tasks of a query are on a worker.
    pub(super) async fn so_far(&self, url: &Url, query: String) -> std::result::Result<Answer, Status> {
        let channel = self.channel(url).map_err(|error| Status::internal(error.to_string()))?;
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<Question, Answer>::default();
        let answer = grpc.unary(Request::new(Question { query }), METHOD, codec).await?;
        Ok(answer.into_inner())
    }

    fn channel(&self, url: &Url) -> Result<Channel> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = known.get(url) {
            return Ok(channel.clone());
        }
        // It connects once more by itself, where the connection was lost.
        let channel = endpoint(url)?.connect_lazy();
        known.insert(url.clone(), channel.clone());
        Ok(channel)
    }
}

fn endpoint(url: &Url) -> Result<Endpoint> {
    let endpoint = Channel::from_shared(url.to_string())
        .map_err(|error| exec_datafusion_err!("{url} is not the address of a worker: {error}"))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_keepalive(Some(KEEP_ALIVE))
        .tcp_keepalive_interval(Some(KEEP_ALIVE))
        .tcp_keepalive_retries(Some(KEEP_ALIVE_RETRIES)))
}

#[async_trait]
impl ChannelResolver for Channels {
    async fn get_worker_client_for_url(&self, url: &Url) -> Result<Box<dyn WorkerChannel>> {
        self.client(url)
    }
}
