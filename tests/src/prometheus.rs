//! Reading scraped metrics with Prometheus's own reader.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::otlp::{environment, python_file};

/// Asks for metrics. `None` while nobody listens, or nothing was measured.
///
/// # Panics
/// When the answer is not one.
pub fn scrape(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, text) = answer.split_once("\r\n\r\n").expect("an answer of HTTP");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    (!text.is_empty()).then(|| text.to_owned())
}

/// The samples that the reader of Prometheus finds in a text: `name`, `type`, `labels` and `value`.
///
/// # Panics
/// When it refuses the text.
#[track_caller]
pub fn read_samples(text: &str) -> Vec<Value> {
    let mut reader = Command::new(environment().python())
        .arg(python_file("prometheus_text.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the reader starts");
    reader.stdin.take().expect("its input").write_all(text.as_bytes()).expect("it reads");
    let output = reader.wait_with_output().expect("it ends");
    assert!(output.status.success(), "Prometheus does not read\n{text}");
    serde_json::from_slice(&output.stdout).expect("a list of samples")
}
