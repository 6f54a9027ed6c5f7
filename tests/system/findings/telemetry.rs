//! What Daglight itself costs, and what it has lost.

use daglight_system_tests::{Fault, OtlpReceiver, Proxy, decode_strictly};

use super::Planted;

/// Rows with many columns, of which none is computed.
fn wide(columns: usize) -> String {
    let columns: Vec<String> = (0..columns).map(|column| format!("id AS c{column}")).collect();
    format!(
        "CREATE TABLE wide AS SELECT {} FROM (SELECT CAST(value AS VARCHAR) AS id FROM generate_series(1, 20000));",
        columns.join(", ")
    )
}

#[test]
fn what_summaries_of_wide_rows_cost_is_found() {
    let planted = Planted::new("");
    // How much a run costs depends on what else the machine does: any cost is found, and no limit lies near it.
    let found_from = |statistics: bool, own_ms: f64| {
        planted.write(
            "daglight.toml",
            &format!(
                "[capture]\ndata_statistics = {statistics}\n\n[findings]\nown_ms = {own_ms:.1}\nown_share = 0.0\n"
            ),
        );
        planted.run(&wide(60))
    };
    let summaries = "data summaries, over all threads";
    let ran = found_from(true, 1.0);
    let found = ran.only("telemetry-cost", &[]).says(None, None, &["Daglight itself took "]);
    let own = ran.json("manifest.json")["own_time"].clone();
    assert_eq!(own["summaries_ms"].as_f64(), Some(found.number(summaries)), "{own:#}");
    found.costs_at_most(ran.run_ms());
    // It is the summaries that cost, and not what comes with every run.
    let without = found_from(false, 1.0);
    let least = without.only("telemetry-cost", &[]);
    assert_eq!(least.find(summaries), None);
    found_from(false, 1e9).without("telemetry-cost");
}

#[test]
fn spans_that_a_server_refuses_are_found() {
    let receiver = OtlpReceiver::start();
    let proxy = Proxy::start(&receiver.endpoint("http/protobuf"));
    proxy.spoil("POST /v1/traces", u32::MAX, Fault::Answer(400, "{}"));
    let sql = "CREATE TABLE a AS SELECT value AS id FROM generate_series(1, 10);";
    let planted = Planted::new("");
    let observed = |endpoint: &str| {
        let call = planted.call(sql).env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        planted.ran(&call.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf").finish())
    };
    let ran = observed(&proxy.url());
    // The bundle has what the server has not.
    let spans = decode_strictly(&ran.bundle.join("otel_traces.json"), "traces").len();
    let found = ran.only("telemetry-loss", &[]).says(None, None, &[&format!("Lost: {spans} spans to otlp")]);
    found.has("items lost", spans as f64);
    assert_eq!((found.level(), receiver.spans()), ("warning".to_owned(), Vec::new()));
    assert!(!receiver.metrics().is_empty(), "the rest has arrived");
    observed(&receiver.endpoint("http/protobuf")).nothing_but(&[]);
    assert!(!receiver.spans().is_empty());
}
