//! What a scheduler is asked.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, OnceLock},
};

use ballista_core::{
    serde::protobuf::{
        CancelJobParams, ExecuteQueryParams, ExecuteQueryResult, GetJobMetricsParams, GetJobMetricsResult,
        GetJobStatusParams, GetJobStatusResult, scheduler_grpc_client::SchedulerGrpcClient,
    },
    version,
};
use serde::de::DeserializeOwned;
use tonic::{
    Code, Request, Status,
    body::Body as TonicBody,
    codegen::{Body, Service, http},
    metadata::{MetadataMap, MetadataValue},
    transport::Channel,
};

use super::presence::Presence;
use crate::{address::WorkerAddress, endpoint::channel};

/// Bytes of an answer about a job: some of each metric of each operator of each partition.
const LONGEST_ANSWER: usize = 256 << 20;

/// How a scheduler calls itself, in front of its version.
const SERVER: &str = "ballista/";

/// A scheduler. Clones share its connection, which is made when it is first asked, and once more where it was lost.
#[derive(Clone)]
pub(super) struct Scheduler {
    pub(super) address: WorkerAddress,
    channel: Arc<OnceLock<Channel>>,
    /// Its executors, as far as jobs of this client are watched.
    pub(super) presence: Arc<Presence>,
}

impl Scheduler {
    pub(super) fn new(address: WorkerAddress) -> Self {
        Self { address, channel: Arc::default(), presence: Arc::default() }
    }

    fn channel(&self) -> Result<Channel, Status> {
        if let Some(channel) = self.channel.get() {
            return Ok(channel.clone());
        }
        let channel = channel(self.address.url()).map_err(|error| Status::internal(error.to_string()))?;
        Ok(self.channel.get_or_init(|| channel).clone())
    }

    fn client(&self) -> Result<SchedulerGrpcClient<Channel>, Status> {
        let client = SchedulerGrpcClient::new(self.channel()?);
        Ok(client.max_decoding_message_size(LONGEST_ANSWER).max_encoding_message_size(LONGEST_ANSWER))
    }

    /// What its web server says that it is, such as `ballista/55.0.0`.
    pub(super) async fn server(&self) -> Result<Option<String>, Status> {
        // That of no job: a scheduler answers that it knows none.
        let answer = self.client()?.get_job_status(GetJobStatusParams { job_id: String::new() }).await;
        let metadata = match answer {
            Ok(answer) => answer.metadata().clone(),
            Err(status) if status.code() == Code::Internal => status.metadata().clone(),
            Err(status) => return Err(status),
        };
        let server = metadata.get(http::header::SERVER.as_str());
        Ok(server.and_then(|server| server.to_str().ok()).map(str::to_owned))
    }

    pub(super) async fn submit(
        &self,
        query: ExecuteQueryParams,
        headers: &[(&'static str, String)],
    ) -> Result<(ExecuteQueryResult, MetadataMap), Status> {
        let mut request = Request::new(query);
        version::insert_version_header(request.metadata_mut());
        for (name, value) in headers {
            if let Ok(value) = MetadataValue::try_from(value) {
                request.metadata_mut().insert(*name, value);
            }
        }
        let (metadata, result, _) = self.client()?.execute_query(request).await?.into_parts();
        Ok((result, metadata))
    }

    pub(super) async fn status(&self, job_id: &str) -> Result<GetJobStatusResult, Status> {
        let answer = self.client()?.get_job_status(GetJobStatusParams { job_id: job_id.to_owned() }).await?;
        Ok(answer.into_inner())
    }

    /// What the operators of the stages that have ended have measured.
    pub(super) async fn metrics(&self, job_id: &str) -> Result<GetJobMetricsResult, Status> {
        let answer =
            self.client()?.get_job_metrics(GetJobMetricsParams { job_id: job_id.to_owned() }).await?;
        Ok(answer.into_inner())
    }

    pub(super) async fn cancel(&self, job_id: &str) -> Result<(), Status> {
        self.client()?.cancel_job(CancelJobParams { job_id: job_id.to_owned() }).await?;
        Ok(())
    }

    /// What its web interface says at a path. It is on the same port, unless it is switched off.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Status> {
        let mut channel = self.channel()?;
        let request = http::Request::get(path)
            .body(TonicBody::empty())
            .map_err(|error| Status::internal(error.to_string()))?;
        let unavailable = |error: tonic::transport::Error| Status::unavailable(error.to_string());
        poll_fn(|context| channel.poll_ready(context)).await.map_err(unavailable)?;
        let answer = channel.call(request).await.map_err(unavailable)?;
        if !answer.status().is_success() {
            return Err(Status::unimplemented(format!("{path} is answered with {}", answer.status())));
        }
        let text = text_of(answer.into_body()).await?;
        serde_json::from_slice(&text).map_err(|error| Status::internal(error.to_string()))
    }
}

/// Whether a scheduler answers at an address, of whatever version.
pub(crate) async fn is_scheduler(address: &WorkerAddress) -> bool {
    let server = Scheduler::new(address.clone()).server().await;
    server.is_ok_and(|server| version_of(server.as_deref()).is_some())
}

/// The version of a scheduler; `None` for another server.
pub(super) fn version_of(server: Option<&str>) -> Option<&str> {
    server.and_then(|server| server.strip_prefix(SERVER))
}

async fn text_of(body: TonicBody) -> Result<Vec<u8>, Status> {
    let (mut body, mut text) = (pin!(body), Vec::new());
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        if let Ok(part) = frame?.into_data() {
            text.extend_from_slice(&part);
        }
        if text.len() > LONGEST_ANSWER {
            return Err(Status::out_of_range("the answer is too long"));
        }
    }
    Ok(text)
}

/// The last cause of an answer, which says what happened, in one line.
pub(super) fn in_short(status: &Status) -> String {
    let mut cause: &dyn std::error::Error = status;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let said = match status.code() {
        Code::Unimplemented => "it has no such method".to_owned(),
        _ if std::ptr::eq(cause, status as &dyn std::error::Error) => status.message().to_owned(),
        _ => cause.to_string(),
    };
    said.lines().next().unwrap_or_default().to_owned()
}
