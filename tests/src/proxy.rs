//! A proxy on loopback that passes requests on to a real server, and spoils some of them.
//!
//! It stands in the place of the server, and is a forward proxy to those who take it for one: whatever host they ask for,
//! it is that server.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// How long a request whose answer never comes is held.
const HANG: Duration = Duration::from_secs(20);

/// What the proxy does to a request.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Answers in the place of the server, which does not see it.
    Answer(u16, &'static str),
    /// Answers this although the server has done what was asked.
    AnswerAfter(u16, &'static str),
    /// Resets the connection; the server does not see it.
    ResetBefore,
    /// Cuts both connections when the server has one half of it.
    ResetHalfway,
    /// Answers this at once, and lets the server do what was asked so much later.
    AnswerEarly(u16, &'static str, Duration),
    /// Resets the connection, and lets the server do what was asked so much later.
    ResetDuring(Duration),
    /// Resets the connection when the server has done what was asked.
    ResetAfter,
    /// Never answers; the server does not see it.
    Hang,
    /// Never answers; the server has done what was asked.
    HangAfter,
    /// Answers late.
    Slow(Duration),
    /// Ends the answer before its end.
    Truncate,
    /// Answers with success and another body; the server has done what was asked.
    Garbage(&'static str),
    /// Says another time in the header of the answer, such as `Sat, 01 Jan 2022 00:00:00 GMT`.
    Dated(&'static str),
}

/// The requests that a [`Fault`] happens to.
#[derive(Debug, Clone)]
struct Rule {
    fault: Fault,
    /// How a request starts: method and path.
    start: String,
    /// How many requests it still happens to.
    left: u32,
}

/// Stands between a client and a server until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: Mutex<String>,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Proxy {
    /// A proxy for the server at `upstream`, on a free port.
    ///
    /// # Panics
    /// When there is none.
    pub fn start(upstream: &str) -> Self {
        Self::start_at(TcpListener::bind("127.0.0.1:0").expect("a free port"), upstream)
    }

    /// The same on a port that the caller chose.
    ///
    /// # Panics
    /// When the listener has no address.
    pub fn start_at(listener: TcpListener, upstream: &str) -> Self {
        let address = listener.local_addr().expect("the address of a listener");
        let shared = Arc::new(Shared::to(upstream));
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if own.stop.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&own);
                // A connection that breaks is what is wanted of it.
                thread::spawn(move || client.and_then(|client| shared.serve(client)));
            }
        });
        Self { address, shared }
    }

    /// One that does not listen yet, at an address that nothing listens on.
    pub fn unreachable(address: SocketAddr) -> Self {
        Self { address, shared: Arc::new(Shared::to("")) }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The server is at another address now.
    pub fn set_upstream(&self, upstream: &str) {
        *lock(&self.shared.upstream) = authority(upstream);
    }

    /// Spoils the next `times` requests that start so, such as `POST /api/v1/dag_runs?`. Of several rules for a request
    /// the first counts.
    pub fn spoil(&self, start: &str, times: u32, fault: Fault) {
        lock(&self.shared.rules).push(Rule { fault, start: start.to_owned(), left: times });
    }

    /// Passes everything on from now on.
    pub fn heal(&self) {
        lock(&self.shared.rules).clear();
    }

    /// What was asked, and what happened to it, in order. A forward proxy is asked for whole URLs.
    pub fn seen(&self) -> Vec<String> {
        lock(&self.shared.seen).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn to(upstream: &str) -> Self {
        Self {
            upstream: Mutex::new(authority(upstream)),
            rules: Mutex::default(),
            seen: Mutex::default(),
            stop: AtomicBool::new(false),
        }
    }

    fn fault_of(&self, request_line: &str) -> Option<Fault> {
        let mut rules = lock(&self.rules);
        let rule = rules.iter_mut().find(|rule| rule.left > 0 && request_line.starts_with(&rule.start));
        let fault = rule.map(|rule| {
            rule.left -= 1;
            rule.fault
        });
        let line = request_line.trim_end().trim_end_matches(" HTTP/1.1");
        lock(&self.seen).push(fault.map_or_else(|| line.to_owned(), |fault| format!("{line} ! {fault:?}")));
        fault
    }

    /// One request, and its end.
    fn serve(&self, client: TcpStream) -> io::Result<()> {
        let mut client = BufReader::new(client);
        let mut request = Request::head(&mut client)?;
        let fault = self.fault_of(&request.line);
        if let Some(Fault::ResetBefore) = fault {
            // Closing a socket with unread bytes sends a reset.
            return Ok(());
        }
        request.body(&mut client)?;
        let mut client = client.into_inner();
        match fault {
            None => client.write_all(&self.ask(&request)?),
            Some(Fault::Answer(status, body)) => client.write_all(&answer(status, body)),
            Some(Fault::AnswerAfter(status, body)) => {
                self.ask(&request)?;
                client.write_all(&answer(status, body))
            }
            Some(Fault::AnswerEarly(status, body, delay)) => {
                client.write_all(&answer(status, body))?;
                client.shutdown(Shutdown::Both)?;
                thread::sleep(delay);
                self.ask(&request).map(drop)
            }
            Some(Fault::ResetBefore) => Ok(()),
            Some(Fault::ResetHalfway) => {
                let mut server = self.connect()?;
                server.write_all(&request.bytes[..request.bytes.len() / 2])?;
                server.shutdown(Shutdown::Both)
            }
            Some(Fault::ResetDuring(delay)) => {
                client.shutdown(Shutdown::Both)?;
                thread::sleep(delay);
                self.ask(&request).map(drop)
            }
            Some(Fault::ResetAfter) => self.ask(&request).map(drop),
            Some(Fault::Hang) => self.hang(),
            Some(Fault::HangAfter) => {
                self.ask(&request)?;
                self.hang()
            }
            Some(Fault::Slow(delay)) => {
                let answer = self.ask(&request)?;
                thread::sleep(delay);
                client.write_all(&answer)
            }
            Some(Fault::Truncate) => {
                let answer = self.ask(&request)?;
                client.write_all(&answer[..answer.len() - 1])
            }
            Some(Fault::Dated(date)) => {
                let answer = String::from_utf8(self.ask(&request)?).map_err(io::Error::other)?;
                let lines = answer.split_inclusive("\r\n").map(|line| match line.starts_with("Date:") {
                    true => format!("Date: {date}\r\n"),
                    false => line.to_owned(),
                });
                client.write_all(lines.collect::<String>().as_bytes())
            }
            Some(Fault::Garbage(body)) => {
                self.ask(&request)?;
                client.write_all(&answer(200, body))
            }
        }
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let upstream = lock(&self.upstream).clone();
        TcpStream::connect(upstream)
    }

    /// The server's whole answer.
    fn ask(&self, request: &Request) -> io::Result<Vec<u8>> {
        let mut server = self.connect()?;
        server.write_all(&request.bytes)?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        if answer.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
    }

    fn hang(&self) -> io::Result<()> {
        let step = Duration::from_millis(50);
        for _ in 0..HANG.as_millis() / step.as_millis() {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            thread::sleep(step);
        }
        Ok(())
    }
}

/// A request as the server gets it, with the wish that the connection ends after it.
struct Request {
    line: String,
    bytes: Vec<u8>,
    body_bytes: u64,
}

impl Request {
    fn head(client: &mut impl BufRead) -> io::Result<Self> {
        let mut line = String::new();
        if client.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut request = Self { bytes: in_origin_form(&line).into_bytes(), line, body_bytes: 0 };
        loop {
            let mut header = String::new();
            client.read_line(&mut header)?;
            let lower = header.to_ascii_lowercase();
            if let Some(length) = lower.strip_prefix("content-length:") {
                request.body_bytes = length.trim().parse().map_err(io::Error::other)?;
            }
            if header.trim().is_empty() {
                request.bytes.extend_from_slice(b"connection: close\r\n\r\n");
                return Ok(request);
            }
            if !lower.starts_with("connection:") {
                request.bytes.extend_from_slice(header.as_bytes());
            }
        }
    }

    fn body(&mut self, client: &mut impl Read) -> io::Result<()> {
        client.take(self.body_bytes).read_to_end(&mut self.bytes).map(drop)
    }
}

/// The request line as a server takes it: a forward proxy is asked for whole URLs.
fn in_origin_form(line: &str) -> String {
    match line.split_once(" http://").and_then(|(method, rest)| Some((method, rest.split_once('/')?.1))) {
        Some((method, path)) => format!("{method} /{path}"),
        None => line.to_owned(),
    }
}

fn answer(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} Spoilt\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
        .into_bytes()
}

fn authority(url: &str) -> String {
    url.trim_start_matches("http://").trim_end_matches('/').to_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
