//! The rows of a job, which its executors keep.

use ballista_core::{
    client::BallistaClient,
    config::BallistaConfig,
    serde::protobuf::{PartitionLocation, get_job_status_result::FlightProxy},
};
use datafusion::{
    arrow::array::RecordBatch,
    common::exec_datafusion_err,
    error::{DataFusionError, Result},
};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};

use crate::address::WorkerAddress;

/// Where rows are asked for, and how.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) job_id: String,
    pub(super) scheduler: WorkerAddress,
    pub(super) proxy: Option<FlightProxy>,
    pub(super) config: BallistaConfig,
}

/// The rows of the partitions, one after the other.
pub(super) fn rows(
    source: Source,
    partitions: Vec<PartitionLocation>,
) -> BoxStream<'static, Result<RecordBatch>> {
    let partitions = stream::iter(partitions).map(move |partition| {
        let source = source.clone();
        stream::once(async move { of_partition(&source, partition).await }).try_flatten()
    });
    partitions.flatten().boxed()
}

async fn of_partition(
    source: &Source,
    location: PartitionLocation,
) -> Result<impl Stream<Item = Result<RecordBatch>> + use<>> {
    let layout = location.layout();
    let said_nothing =
        |what: &str| exec_datafusion_err!("the scheduler {} does not say {what}", source.scheduler);
    let executor = location.executor_meta.ok_or_else(|| said_nothing("which executor has rows"))?;
    let partition = location.partition_id.ok_or_else(|| said_nothing("which rows there are"))?;
    let port = u16::try_from(executor.port).map_err(|_| said_nothing("at which port rows are"))?;
    let (from_host, from_port) = asked(source, &executor.host, port)?;
    let place = format!("rows of job {} from {from_host}:{from_port}", source.job_id);
    let at_place = move |error: DataFusionError| error.context(place.clone());
    let config = &source.config;
    let client = BallistaClient::try_new(
        &from_host,
        from_port,
        config.grpc_client_max_message_size(),
        false,
        None,
        u8::try_from(config.io_retries_times()).unwrap_or(u8::MAX),
        config.io_retry_wait_time_ms() as u64,
        0,
        0,
    );
    let mut client = client.await.map_err(|error| at_place(error.into_datafusion()))?;
    let rows = client
        .fetch_partition_proxied(
            &executor.id,
            &partition.into(),
            location.file_id,
            layout,
            &executor.host,
            port,
            true,
        )
        .await
        .map_err(|error| at_place(error.into_datafusion()))?;
    Ok(rows.map_err(at_place))
}

/// Who is asked for rows: the executor, or who speaks for all of them.
fn asked(source: &Source, host: &str, port: u16) -> Result<(String, u16)> {
    let of_url = |address: &WorkerAddress| {
        let url = address.url();
        (url.host_str().unwrap_or_default().to_owned(), url.port_or_known_default().unwrap_or_default())
    };
    match &source.proxy {
        Some(FlightProxy::External(proxy)) => {
            let proxy = proxy.parse::<WorkerAddress>();
            let proxy = proxy.map_err(|error| exec_datafusion_err!("the proxy of the executors: {error}"))?;
            Ok(of_url(&proxy))
        }
        Some(FlightProxy::Local(true)) => Ok(of_url(&source.scheduler)),
        Some(FlightProxy::Local(false)) | None => Ok((host.to_owned(), port)),
    }
}
