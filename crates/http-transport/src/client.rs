//! Blocking HTTP clients.

use std::{io, net::IpAddr, thread, time::Duration};

use reqwest::{
    Url,
    blocking::{Client, ClientBuilder, Request, Response},
    redirect,
};

use crate::{
    error::TransportError,
    tls::{ClientIdentity, Trust},
};

/// The `User-Agent` of requests.
pub const USER_AGENT: &str = concat!("daglight/", env!("CARGO_PKG_VERSION"));

/// A builder for a client that talks to the server of `url`. It follows no redirects, and uses no proxy for a server on this
/// machine. Timeouts and headers are up to the caller.
///
/// # Errors
/// When TLS cannot be set up.
pub fn client_builder(
    url: &Url,
    trust: &Trust,
    identity: Option<&ClientIdentity>,
) -> Result<ClientBuilder, TransportError> {
    let builder = ClientBuilder::new()
        .user_agent(USER_AGENT)
        // Another server must not see the headers, and a POST would usually be redirected as a GET.
        .redirect(redirect::Policy::none())
        .tls_backend_preconfigured(trust.client_config(url.scheme(), identity)?);
    // A proxy from the variables would look for `localhost` on its own machine.
    Ok(if is_loopback(url) { builder.no_proxy() } else { builder })
}

/// The client of a builder. It must be built, used and dropped outside asynchronous code: see [`on_own_thread`].
///
/// # Errors
/// When it cannot be built.
pub fn build(builder: ClientBuilder) -> Result<Client, TransportError> {
    // The URL may contain credentials, and the error is shown.
    builder.build().map_err(|error| TransportError::Client { source: error.without_url().into() })
}

/// Sends a request with a total time limit: the response must also be read within `limit`. The timeout of a client alone restarts
/// with each part of a body, so a server that sends slowly would never time out.
///
/// # Errors
/// Like [`Client::execute`].
pub fn execute(client: &Client, mut request: Request, limit: Duration) -> reqwest::Result<Response> {
    *request.timeout_mut() = Some(limit);
    client.execute(request)
}

/// Whether reading a response timed out.
pub fn took_too_long(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<reqwest::Error>());
    error.kind() == io::ErrorKind::TimedOut || cause.is_some_and(reqwest::Error::is_timeout)
}

/// Runs `work` on a separate thread, because a blocking client cannot be built inside a runtime.
///
/// # Errors
/// When the thread cannot be started, or panics.
pub fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, TransportError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("daglight-http".to_owned()).spawn_scoped(scope, work);
        thread
            .map_err(|source| TransportError::Thread { source })?
            .join()
            .map_err(|_| TransportError::Panicked)
    })
}

/// Whether the server of this URL is on this machine. A name that merely begins like one of its addresses is not.
pub fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        // An IPv6 address in a URL has brackets, which are not part of it.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_distinguished_from_other_hosts() {
        let loopback = |url: &str| is_loopback(&Url::parse(url).unwrap());
        let here = ["http://localhost:1", "http://127.0.0.1", "http://127.9.8.7", "http://[::1]:8241/"];
        assert!(here.into_iter().all(loopback));
        assert!(loopback("http://[::ffff:127.0.0.1]/"));
        let elsewhere = ["http://localhost.example", "https://10.0.0.1", "http://127.example.com"];
        assert!(!elsewhere.into_iter().any(loopback));
    }

    #[test]
    fn a_server_that_drips_is_late_as_one_that_says_nothing() {
        use std::io::{Read as _, Write as _};

        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("http://{}/", server.local_addr().unwrap())).unwrap();
        let drip = thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n").unwrap();
            while stream.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(50));
            }
        });
        let client = build(client_builder(&url, &Trust::System, None).unwrap()).unwrap();
        let request = client.get(url).build().unwrap();
        let mut answer = execute(&client, request, Duration::from_millis(300)).unwrap();
        let error = answer.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(took_too_long(&error), "{error:?}");
        drop((answer, client));
        drip.join().unwrap();
    }

    #[test]
    fn a_panic_on_the_other_thread_is_an_error() {
        let panicked = on_own_thread(|| std::panic::resume_unwind(Box::new("gone")));
        assert!(matches!(panicked, Err::<(), _>(TransportError::Panicked)));
        assert_eq!(on_own_thread(|| 1).unwrap(), 1);
    }
}
