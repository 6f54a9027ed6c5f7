//! The endpoint for Prometheus: the current metrics, at `/metrics`.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs as _},
    sync::Arc,
    thread,
};

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
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
    pub(crate) fn start(
        target: &ScrapeTarget,
        names: &[String],
        reader: SharedReader,
        door: MetricDoor,
    ) -> io::Result<Self> {
        let addresses: Vec<SocketAddr> = (target.host.as_str(), target.port).to_socket_addrs()?.collect();
        let listener = TcpListener::bind(addresses.as_slice())?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel::<()>();
        let hosts = Hosts::of(&target.host, names);
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
                let checked = move |request: Request, next: Next| guarded(hosts.clone(), request, next);
                let routes = Router::new()
                    .route("/metrics", routing::get(metrics))
                    .layer(middleware::from_fn(checked));
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

/// The names by which the server may be asked for, in lower case. Any site can make one of its names lead here (DNS rebinding),
/// and a browser then takes what is answered for something of that page. An address leads nowhere else, whichever it is.
#[derive(Clone)]
struct Hosts(Arc<[String]>);

impl Hosts {
    fn of(listens_at: &str, names: &[String]) -> Self {
        let names = names.iter().map(String::as_str).chain([listens_at, "localhost"]);
        Self(names.map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect())
    }

    /// Whether they have the host of a request, with its port or without.
    fn have(&self, host: &str) -> bool {
        if host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok() {
            return true;
        }
        if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return address.parse::<IpAddr>().is_ok();
        }
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => name,
            Some(_) => return false,
            None => host,
        };
        self.0.contains(&name.trim_end_matches('.').to_ascii_lowercase())
    }
}

async fn guarded(hosts: Hosts, request: Request, next: Next) -> Response {
    let mut values = request.headers().get_all(header::HOST).iter().map(|value| value.to_str().ok());
    let of_header = values.next().flatten().filter(|_| values.next().is_none());
    // What stands in the first line counts, whatever the header says (RFC 9112, 3.2.2).
    let of_line = request.uri().authority().map(|host| host.as_str());
    if of_line.or(of_header).is_some_and(|host| hosts.have(host)) {
        return next.run(request).await;
    }
    let why = "metrics are not for this host: ask for an address or localhost, or add the name to otel.scrape_hosts \
               (DAGLIGHT_SCRAPE_HOSTS)\n";
    (StatusCode::FORBIDDEN, why).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_were_not_given_are_refused_and_addresses_are_not() {
        let hosts = Hosts::of("metrics.internal", &["App".to_owned()]);
        for host in [
            "localhost",
            "LOCALHOST:9464",
            "metrics.internal:9464",
            "app",
            "app.:1",
            "127.0.0.1:9464",
            "10.0.0.7",
            "[::1]:9464",
            "[::1]",
        ] {
            assert!(hosts.have(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9464",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "localhost:x",
            "app:80:80",
            "[evil.example]",
            "",
        ] {
            assert!(!hosts.have(host), "{host}");
        }
    }
}
