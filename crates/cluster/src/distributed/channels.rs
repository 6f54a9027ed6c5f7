//! The connections to workers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use datafusion::{common::exec_datafusion_err, error::Result};
use datafusion_distributed::{
    ChannelResolver, WorkerChannel,
    grpc::{BoxCloneSyncChannel, create_worker_client},
};
use tonic::{Request, Status, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;
use url::Url;

use super::{
    query::QueryWork,
    so_far::{Answer, METHOD, Question},
    task_channel::TaskChannel,
};
use crate::{address::WorkerAddress, endpoint::channel};

/// Connections to workers, each made when it is first asked for. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Channels(Arc<Mutex<HashMap<Url, Channel>>>);

impl Channels {
    pub(crate) fn client(&self, url: &Url) -> Result<Box<dyn WorkerChannel>> {
        Ok(create_worker_client(BoxCloneSyncChannel::new(self.channel(url)?)))
    }

    /// The same, with errors that name the worker and the task. `work` learns what becomes of the tasks.
    fn task_client(&self, url: &Url, work: Option<Arc<QueryWork>>) -> Result<Box<dyn WorkerChannel>> {
        Ok(Box::new(TaskChannel { inner: self.client(url)?, worker: WorkerAddress::of_url(url), work }))
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
        let channel = channel(url)
            .map_err(|error| exec_datafusion_err!("{url} is not the address of a worker: {error}"))?;
        known.insert(url.clone(), channel.clone());
        Ok(channel)
    }
}

/// Whether a worker of this crate answers at an address.
pub(crate) async fn is_worker(address: &WorkerAddress) -> bool {
    Channels::default().so_far(address.url(), String::new()).await.is_ok()
}

#[async_trait]
impl ChannelResolver for Channels {
    async fn get_worker_client_for_url(&self, url: &Url) -> Result<Box<dyn WorkerChannel>> {
        self.task_client(url, None)
    }
}

/// The connections of one execution, which are watched.
pub(super) struct QueryChannels {
    pub(super) channels: Channels,
    pub(super) work: Arc<QueryWork>,
}

#[async_trait]
impl ChannelResolver for QueryChannels {
    async fn get_worker_client_for_url(&self, url: &Url) -> Result<Box<dyn WorkerChannel>> {
        self.channels.task_client(url, Some(Arc::clone(&self.work)))
    }
}
