//! The endpoint for Prometheus: the current metrics, at `/metrics`.

use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs as _},
    thread,
};

use axum::{
    Router,
    http::{HeaderMap, header},
    response::IntoResponse as _,
    routing,
};
use opentelemetry::Context;
use tokio::{net::TcpListener as AsyncListener, runtime, sync::oneshot};

use crate::{
    metric_door::MetricDoor, metric_reader::SharedReader, prometheus_text::Format,
    signal_export::ScrapeTarget,
};

/// A server that stops when this is dropped.
#[derive(Debug)]
pub(crate) struct ScrapeServer {
    address: SocketAddr,
    _end: oneshot::Sender<()>,
}

impl ScrapeServer {
    /// Listens, and answers on its own thread.
    pub(crate) fn start(target: &ScrapeTarget, reader: SharedReader, door: MetricDoor) -> io::Result<Self> {
        let addresses: Vec<SocketAddr> = (target.host.as_str(), target.port).to_socket_addrs()?.collect();
        let listener = TcpListener::bind(addresses.as_slice())?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel::<()>();
        thread::Builder::new().name("daglight-scrape".to_owned()).spawn(move || {
            let _suppressed = Context::enter_telemetry_suppressed_scope();
            runtime.block_on(async move {
                let Ok(listener) = AsyncListener::from_std(listener) else { return };
                let metrics = move |headers: HeaderMap| {
                    let accept =
                        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
                    let format = Format::accepted(&accept.collect::<Vec<_>>().join(","));
                    let metrics = reader.snapshot().map(|(metrics, _)| door.metrics(&metrics));
                    let text = format.text(metrics.as_ref());
                    async move { ([(header::CONTENT_TYPE, format.content_type())], text).into_response() }
                };
                let routes = Router::new().route("/metrics", routing::get(metrics));
                let served = axum::serve(listener, routes);
                // Without a graceful shutdown: a scraper keeps its connection open, and must not keep the process alive.
                tokio::select! {
                    _ = served => {}
                    _ = ended => {}
                }
            });
        })?;
        Ok(Self { address, _end: end })
    }

    /// The address on which it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
