//! How machines of a cluster are connected to. One that is gone without a word is noticed, because its system is asked for signs of life.

use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
#[cfg(feature = "distributed")]
use tokio::net::TcpListener;
#[cfg(feature = "distributed")]
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Error};
use url::Url;

/// How long a connection may take to be made.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the machine of an idle connection is asked for a sign of life, and how many answers may be missing. The system answers for a
/// process whose threads all compute.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_RETRIES: u32 = 2;
/// How long what is sent may stay unacknowledged. A connection with something on its way is not asked for signs of life, and Linux would send
/// it again for a quarter of an hour.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// A connection that is made when it is first used, and made again after it was lost.
pub(crate) fn channel(url: &Url) -> Result<Channel, Error> {
    Ok(Endpoint::from_shared(url.to_string())?.connect_with_connector_lazy(connector()))
}

/// The connections that clients make to a worker.
#[cfg(feature = "distributed")]
pub(crate) fn incoming(listener: TcpListener) -> TcpIncoming {
    // How long what is sent may stay unacknowledged is left to the system: a client that is suspended reads nothing either.
    TcpIncoming::from(listener)
        .with_nodelay(Some(true))
        .with_keepalive(Some(KEEP_ALIVE))
        .with_keepalive_interval(Some(KEEP_ALIVE))
        .with_keepalive_retries(Some(KEEP_ALIVE_RETRIES))
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_keepalive(Some(KEEP_ALIVE));
    connector.set_keepalive_interval(Some(KEEP_ALIVE));
    connector.set_keepalive_retries(Some(KEEP_ALIVE_RETRIES));
    #[cfg(target_os = "linux")]
    connector.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    connector
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::future::poll_fn;

    use socket2::SockRef;
    use tokio::net::TcpListener;
    use tonic::codegen::Service as _;

    use super::*;

    #[tokio::test]
    async fn a_machine_that_is_gone_is_noticed_whether_the_connection_is_idle_or_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut connector = connector();
        poll_fn(|context| connector.poll_ready(context)).await.unwrap();
        let connected = connector.call(url.parse().unwrap()).await.unwrap();
        let socket = SockRef::from(connected.inner());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED));
        let idle = socket.tcp_keepalive_time().unwrap();
        let probes = socket.tcp_keepalive_interval().unwrap() * socket.tcp_keepalive_retries().unwrap();
        assert_eq!(idle + probes, UNACKNOWLEDGED);
    }
}
