//! Metrics as Prometheus scrapes them from a run that goes on.

use std::{
    net::{SocketAddr, TcpListener},
    process::Command,
};

use daglight_system_tests::{Checkout, Daglight, read_samples, scrape};
use serde_json::Value;

/// A node that ends, and one that waits for a named pipe into which nobody writes.
const SILENT: &str = "\
-- node: orders
CREATE TABLE orders AS SELECT value AS id FROM generate_series(1, 10);
CREATE UNBOUNDED EXTERNAL TABLE events (id BIGINT) STORED AS CSV LOCATION 'events.csv';
-- node: joined
SELECT id FROM events;
";

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}

fn run(checkout: &Checkout, address: SocketAddr) -> Daglight {
    Daglight::run(checkout, &checkout.pipeline("silent.sql", SILENT))
        .env("HAMILTON_TRACKER_ENABLED", "false")
        .env("DAGLIGHT_HEARTBEAT_SECONDS", "0.2")
        .env("OTEL_METRICS_EXPORTER", "prometheus")
        .env("OTEL_EXPORTER_PROMETHEUS_HOST", address.ip().to_string())
        .env("OTEL_EXPORTER_PROMETHEUS_PORT", address.port().to_string())
}

fn pipe(checkout: &Checkout) {
    let made = Command::new("mkfifo").arg(checkout.path().join("events.csv")).status();
    assert!(made.is_ok_and(|status| status.success()), "a named pipe cannot be made");
}

fn value(samples: &[Value], name: &str, label: [&str; 2]) -> Option<f64> {
    let sample =
        samples.iter().find(|sample| sample["name"] == name && sample["labels"][label[0]] == label[1]);
    sample?["value"].as_f64()
}

#[test]
fn prometheus_reads_the_metrics_of_a_run_that_goes_on() {
    let checkout = Checkout::new();
    pipe(&checkout);
    let address = free_address();
    let running = run(&checkout, address).start();
    let dag = ["hamilton_dag_name", "silent"];
    let mut samples = Vec::new();
    // The two that end are the tables.
    running.wait_until("nodes that have ended", || {
        samples = scrape(address).map(|text| read_samples(&text)).unwrap_or_default();
        value(&samples, "daglight_completed_tasks", dag) == Some(2.0)
    });
    assert_eq!(value(&samples, "daglight_pending_tasks", dag), Some(0.0), "{samples:#?}");
    let target = samples.iter().find(|sample| sample["name"] == "target_info").expect("the resource");
    assert!(target["labels"]["service_name"].is_string(), "{target}");
    let of = |name: &str| samples.iter().filter(|sample| sample["name"] == name).collect::<Vec<_>>();
    let ended = of("daglight_execute_duration_seconds_count");
    assert!(!ended.is_empty() && ended.iter().all(|sample| sample["type"] == "histogram"), "{samples:#?}");
    running.signal("INT");
    running.finish().ended_with(130);
    assert_eq!(scrape(address), None, "nobody listens after the end");
}

#[test]
fn a_port_that_is_taken_is_one_warning_and_the_run_goes_on() {
    let checkout = Checkout::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address");
    let pipeline = checkout.pipeline("small.sql", "SELECT 1 AS one;");
    let finished = Daglight::run(&checkout, &pipeline)
        .env("HAMILTON_TRACKER_ENABLED", "false")
        .env("OTEL_METRICS_EXPORTER", "prometheus")
        .env("OTEL_EXPORTER_PROMETHEUS_PORT", address.port().to_string())
        .env("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1")
        .finish()
        .ended_with(0);
    let warnings: Vec<&str> = finished.stderr.lines().filter(|line| line.contains("WARN")).collect();
    let [warning] = warnings[..] else { panic!("one warning: {}", finished.stderr) };
    for part in ["metrics cannot be scraped", &address.to_string(), "in use"] {
        assert!(warning.contains(part), "{part}: {warning}");
    }
}
