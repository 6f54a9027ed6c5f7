//! Metrics that Prometheus scrapes.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use daglight_otel_bridge::Bridge;

use crate::support::{TestRun, bridge};

fn ask(bridge: &Bridge, request: &str) -> String {
    let mut stream = TcpStream::connect(bridge.scrape_address().unwrap()).unwrap();
    stream
        .write_all(format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The metrics of this moment.
pub(crate) fn scrape(bridge: &Bridge) -> String {
    let answer = ask(bridge, "GET /metrics");
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    text.to_owned()
}

#[test]
fn metrics_of_all_runs_are_scraped_while_the_bridge_lives() {
    let bridge = bridge([
        ("OTEL_METRICS_EXPORTER", "prometheus"),
        ("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1"),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "0"),
    ]);
    assert_eq!(bridge.warnings(), Vec::<String>::new());
    for dag in ["first", "second"] {
        let run = TestRun::open(&bridge, dag);
        run.signals.metrics().artifact("parquet");
        run.finish();
    }
    let answer = ask(&bridge, "GET /metrics");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for dag in ["first", "second"] {
        let label = format!("hamilton_dag_name=\"{dag}\"");
        assert!(answer.lines().any(|line| line.contains(&label)), "{answer}");
    }
    assert!(ask(&bridge, "GET /").starts_with("HTTP/1.1 404"));
    assert!(ask(&bridge, "POST /metrics").starts_with("HTTP/1.1 405"));
    let address = bridge.scrape_address().unwrap();
    drop(bridge);
    // The thread of the server ends on its own.
    let started = std::time::Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(started.elapsed() < crate::support::TIMEOUT, "it still listens");
    }
}

#[test]
fn nothing_listens_where_nobody_asked_for_it() {
    assert_eq!(bridge([("OTEL_METRICS_EXPORTER", "console")]).scrape_address(), None);
}
