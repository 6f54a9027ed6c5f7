//! Connections: a limited number at the same time, each of which is closed if it stays idle for too long.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::sleep,
};

/// The maximum number of simultaneous connections: each is an open file, whose number is limited per process. A browser opens six.
const MAX_CONNECTIONS: usize = 32;
/// The timeout for the head of a request, and for waiting for the next one on a connection.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// The pause after a connection that cannot be accepted, for example because no file can be opened.
const AFTER_REFUSAL: Duration = Duration::from_millis(200);

/// The limits for connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    pub(crate) at_once: usize,
    pub(crate) head_within: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { at_once: MAX_CONNECTIONS, head_within: HEAD_WITHIN }
    }
}

/// Serves a router until `until` is ready, and then completes pending requests.
pub(crate) async fn answer(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    until: impl Future<Output = ()>,
) -> io::Result<()> {
    let (closing, is_closing) = watch::channel(());
    let free = Arc::new(Semaphore::new(limits.at_once));
    let mut connections = JoinSet::new();
    let mut until = pin!(until);
    loop {
        // First a free slot, so that waiting connections stay in the queue of the system, and take up no file.
        let accepted = async {
            let place = Arc::clone(&free).acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((listener.accept().await?.0, place))
        };
        tokio::select! {
            () = &mut until => break,
            accepted = accepted => match accepted {
                Ok((stream, place)) => {
                    connections.spawn(converse(stream, place, router.clone(), limits, is_closing.clone()));
                }
                // An error of one connection, or too many open files: connections that end make room.
                Err(_) => sleep(AFTER_REFUSAL).await,
            },
            // Removes connections that have ended.
            Some(_) = connections.join_next() => {}
        }
    }
    drop((listener, closing));
    while connections.join_next().await.is_some() {}
    Ok(())
}

async fn converse(
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
    router: Router,
    limits: ConnectionLimits,
    mut is_closing: watch::Receiver<()>,
) {
    let mut server = auto::Builder::new(TokioExecutor::new()).http1_only();
    server.http1().timer(TokioTimer::new()).header_read_timeout(limits.head_within);
    let mut connection =
        pin!(server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    // Errors of one connection are ignored: a browser may disconnect at any moment.
    tokio::select! {
        _ = connection.as_mut() => {}
        // Closing is signalled by dropping the sender, which sends no value.
        _ = is_closing.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{SocketAddr, TcpStream},
        thread,
        time::Instant,
    };

    use axum::routing::get;
    use tokio::sync::oneshot;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// Runs something while a server is running, and then stops it.
    fn beside(limits: ConnectionLimits, work: impl FnOnce(SocketAddr)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (end, ended) = oneshot::channel::<()>();
        let until = async { _ = ended.await };
        let router = Router::new().route("/", get(|| async { "hello" }));
        let server = thread::spawn(move || runtime.block_on(answer(listener, router, limits, until)));
        work(address);
        end.send(()).unwrap();
        server.join().unwrap().unwrap();
    }

    fn connect(to: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    fn ask(to: SocketAddr) -> String {
        let mut stream = connect(to);
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn who_says_nothing_is_sent_away() {
        let limits = ConnectionLimits { at_once: 8, head_within: Duration::from_millis(100) };
        beside(limits, |address| {
            for begun in ["", "GET / HTTP/1.1\r\nhost: loc"] {
                let mut silent = connect(address);
                silent.write_all(begun.as_bytes()).unwrap();
                let mut rest = Vec::new();
                silent.read_to_end(&mut rest).unwrap();
                assert!(!String::from_utf8_lossy(&rest).contains("200"), "{rest:?}");
            }
            assert!(ask(address).ends_with("hello"));
        });
    }

    #[test]
    fn who_comes_after_many_others_waits_for_a_place() {
        let limits = ConnectionLimits { at_once: 2, head_within: Duration::from_millis(300) };
        beside(limits, |address| {
            let silent: Vec<TcpStream> = (0..9).map(|_| connect(address)).collect();
            assert!(ask(address).ends_with("hello"));
            drop(silent);
        });
    }

    #[test]
    fn an_end_waits_for_no_connection_that_says_nothing() {
        let begun = Instant::now();
        let mut silent = None;
        beside(ConnectionLimits { at_once: 2, head_within: LONG * 10 }, |address| {
            silent = Some(connect(address));
            assert!(ask(address).ends_with("hello"));
        });
        assert!(begun.elapsed() < LONG * 5);
    }
}
