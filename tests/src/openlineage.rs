//! A receiver for OpenLineage, and a third-party reader of its events: the classes of its Python client.

use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    thread,
};

use dev_services::{Python, VirtualEnv};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{otlp::python_file, scratch::workspace};

/// Reads a file of events, and fails where one is not what the specification says.
///
/// # Panics
/// When an event is wrong; the message says where.
#[track_caller]
pub fn read_events(file: &Path) -> Vec<Value> {
    let workspace = workspace();
    let environment = Python::find()
        .map_err(Into::into)
        .and_then(|python| {
            VirtualEnv::prepare(&workspace, &python, "openlineage", &python_file("openlineage.txt"))
        })
        .unwrap_or_else(|error| panic!("the Python environment of OpenLineage: {error:#}"));
    let output = Command::new(environment.python())
        .arg(python_file("openlineage_events.py"))
        .arg(file)
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the reader prints a list")
}

/// A receiver that answers every event with one status, and keeps what it took.
#[derive(Debug)]
pub struct LineageReceiver {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    events: Arc<Mutex<Vec<Value>>>,
}

impl LineageReceiver {
    /// Starts one.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start(status: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let server = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = server.local_addr().expect("it listens");
        let (status, events) = (Arc::new(AtomicU16::new(status)), Arc::new(Mutex::new(Vec::new())));
        let (answer, kept) = (Arc::clone(&status), Arc::clone(&events));
        thread::spawn(move || {
            runtime.block_on(async move {
                while let Ok((stream, _)) = server.accept().await {
                    tokio::spawn(serve(stream, Arc::clone(&answer), Arc::clone(&kept)));
                }
            });
        });
        Self { address, status, events }
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers with another status from now on.
    pub fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// The events that it has taken, in their order.
    ///
    /// # Panics
    /// When one of its threads has panicked.
    pub fn events(&self) -> Vec<Value> {
        self.events.lock().expect("no thread panicked").clone()
    }
}

async fn serve(mut stream: TcpStream, status: Arc<AtomicU16>, events: Arc<Mutex<Vec<Value>>>) -> Option<()> {
    let mut received = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            (stream.read_buf(&mut received).await.ok()? > 0).then_some(())?;
        };
        let text = String::from_utf8_lossy(&received[..head]).to_ascii_lowercase();
        let length: usize =
            text.lines().find_map(|line| line.strip_prefix("content-length: "))?.trim().parse().ok()?;
        while received.len() < head + length {
            (stream.read_buf(&mut received).await.ok()? > 0).then_some(())?;
        }
        let answer = status.load(Ordering::Relaxed);
        if answer < 300 {
            events.lock().ok()?.push(serde_json::from_slice(&received[head..head + length]).ok()?);
        }
        received.drain(..head + length);
        let answer = format!("HTTP/1.1 {answer} X\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}
