//! A loopback server that follows a script, and fails on any other request.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use flate2::read::GzDecoder;
use serde_json::Value;

/// The reaction of the server to a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Responds with 200 and this body.
    Json(Value),
    /// The same, and declares that requests may be compressed.
    JsonTakingGzip(Value),
    /// Responds with 200 and an empty body.
    Empty,
    /// Responds with a status and a body.
    Status(u16, &'static str),
    /// Closes the connection without a response.
    Close,
    /// Keeps the connection open without a response.
    Hang,
    /// Closes the connection in the middle of the response.
    Truncated,
}

/// A received request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Method, path and query.
    pub(crate) line: String,
    pub(crate) headers: Vec<String>,
    pub(crate) body: Value,
}

type Script = VecDeque<(&'static str, Reply)>;

pub(crate) struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    requests: Arc<Mutex<Vec<Request>>>,
    script: Arc<Mutex<Script>>,
    thread: Option<JoinHandle<Vec<TcpStream>>>,
}

impl Server {
    /// Responds to requests in this order. Each is recognised by the beginning of its line (method, path, query).
    pub(crate) fn start(script: impl IntoIterator<Item = (&'static str, Reply)>) -> Self {
        Self::start_at(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    pub(crate) fn start_at(
        listener: TcpListener,
        script: impl IntoIterator<Item = (&'static str, Reply)>,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(Mutex::new(script.into_iter().collect::<Script>()));
        let worker = {
            let (stop, requests, script) = (Arc::clone(&stop), Arc::clone(&requests), Arc::clone(&script));
            move || {
                let mut hanging = Vec::new();
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    hanging.extend(serve(stream.unwrap(), &requests, &script));
                }
                hanging
            }
        };
        Self { address, stop, requests, script, thread: Some(thread::spawn(worker)) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until the whole script is played.
    #[track_caller]
    pub(crate) fn wait(&self) {
        let start = Instant::now();
        while !self.script.lock().unwrap().is_empty() {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "not asked for: {:?}",
                self.script.lock().unwrap()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The received requests. Fails if they were not those of the script.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Vec<Request> {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        let ended = self.thread.take().unwrap().join();
        let requests = std::mem::take(&mut *self.requests.lock().unwrap());
        assert!(ended.is_ok(), "a request was not in the script: {:?}", requests.last());
        let rest = std::mem::take(&mut *self.script.lock().unwrap());
        assert!(rest.is_empty(), "not asked for: {rest:?}");
        requests
    }
}

fn serve(stream: TcpStream, requests: &Mutex<Vec<Request>>, script: &Mutex<Script>) -> Option<TcpStream> {
    let request = read(&stream)?;
    let line = request.line.clone();
    requests.lock().unwrap().push(request);
    let (expected, reply) = script.lock().unwrap().front().cloned().expect("a script that goes on");
    assert!(line.starts_with(expected), "expected {expected:?}, got {line:?}");
    let more = if matches!(reply, Reply::JsonTakingGzip(_)) { "accept-encoding: gzip\r\n" } else { "" };
    let (status, body, kept) = match reply {
        Reply::Json(value) | Reply::JsonTakingGzip(value) => (200, value.to_string(), usize::MAX),
        Reply::Empty => (200, String::new(), usize::MAX),
        Reply::Status(status, body) => (status, body.to_owned(), usize::MAX),
        Reply::Truncated => (200, "[".repeat(100), 50),
        Reply::Close | Reply::Hang => {
            script.lock().unwrap().pop_front();
            return matches!(reply, Reply::Hang).then_some(stream);
        }
    };
    let head = format!(
        "HTTP/1.1 {status} x\r\ndate: Sat, 21 Nov 2026 08:00:00 GMT\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n{more}\r\n",
        body.len()
    );
    let mut stream = stream;
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body.as_bytes()[..body.len().min(kept)]).unwrap();
    script.lock().unwrap().pop_front();
    None
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut headers = Vec::new();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let header = header.trim_end().to_owned();
        if header.is_empty() {
            break;
        }
        if let Some(text) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
        headers.push(header);
    }
    let line = line.trim_end().strip_suffix(" HTTP/1.1")?.to_owned();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    if headers.iter().any(|header| header == "content-encoding: gzip") {
        let compressed = std::mem::take(&mut body);
        GzDecoder::new(&*compressed).read_to_end(&mut body).unwrap();
    }
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    Some(Request { line, headers, body })
}
