//! Bundles made in code, for tests.

use std::fmt::Write;

use chrono::{DateTime, Utc};
use daglight_run_bundle::{
    Delivery, DeliveryCounts, Identity, LedgerDestination, LedgerSignal, Links, MANIFEST_FORMAT,
    MANIFEST_VERSION, Manifest, NodeRecord, NodeStatus, RunStatus, SignalLedger, Tracking,
};
use daglight_run_identity::{NodeKind, RunId};

/// The time at which every run of a test starts.
pub(crate) const START_NANOSECONDS: u64 = 1_795_237_787_000_000_000;

pub(crate) fn start() -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(START_NANOSECONDS as i64)
}

/// A span of a test; times are milliseconds from the start.
pub(crate) struct SpanLine {
    name: &'static str,
    start: u64,
    end: Option<u64>,
    id: String,
    parent: String,
    attributes: Vec<String>,
    status: String,
}

impl SpanLine {
    pub(crate) fn new(name: &'static str, start: u64, end: u64) -> Self {
        Self {
            name,
            start,
            end: Some(end),
            id: "f6cb8cb4af14d0f2".into(),
            parent: String::new(),
            attributes: Vec::new(),
            status: "{}".into(),
        }
    }

    /// Makes it a span without an end.
    pub(crate) fn open(mut self) -> Self {
        self.end = None;
        self
    }

    pub(crate) fn id(mut self, id: &str) -> Self {
        self.id = id.into();
        self
    }

    pub(crate) fn parent(mut self, parent: &str) -> Self {
        self.parent = parent.into();
        self
    }

    pub(crate) fn text(mut self, key: &str, value: &str) -> Self {
        let value = serde_json::to_string(value).unwrap();
        self.attributes.push(format!(r#"{{"key":"daglight.{key}","value":{{"stringValue":{value}}}}}"#));
        self
    }

    pub(crate) fn count(mut self, key: &str, value: u64) -> Self {
        self.attributes.push(format!(r#"{{"key":"daglight.{key}","value":{{"intValue":"{value}"}}}}"#));
        self
    }

    pub(crate) fn failed(mut self, message: &str) -> Self {
        let message = serde_json::to_string(message).unwrap();
        self.status = format!(r#"{{"message":{message},"code":2}}"#);
        self
    }

    pub(crate) fn line(self) -> String {
        let nanoseconds = |milliseconds| START_NANOSECONDS + milliseconds * 1_000_000;
        let mut line = String::new();
        writeln!(
            line,
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[]}},"scopeSpans":[{{"scope":{{"name":"daglight"}},"spans":[{{"traceId":"c3a07f31abd3815bc05dbc18c64c3890","spanId":"{}","parentSpanId":"{}","name":"{}","startTimeUnixNano":"{}","endTimeUnixNano":"{}","attributes":[{}],"status":{}}}]}}]}}]}}"#,
            self.id,
            self.parent,
            self.name,
            nanoseconds(self.start),
            self.end.map_or(0, nanoseconds),
            self.attributes.join(","),
            self.status,
        )
        .unwrap();
        line
    }
}

pub(crate) fn log_line(severity: u8, body: &str) -> String {
    let body = serde_json::to_string(body).unwrap();
    format!(
        r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"timeUnixNano":"{START_NANOSECONDS}","severityNumber":{severity},"body":{{"stringValue":{body}}}}}]}}]}}]}}"#
    ) + "\n"
}

pub(crate) fn node(name: &str, dependencies: &[&str], start_ms: i64, duration_ms: f64) -> NodeRecord {
    NodeRecord {
        kind: NodeKind::Transform.into(),
        dependencies: dependencies.iter().map(|&name| name.to_owned()).collect(),
        status: NodeStatus::Success,
        started_at: Some(start() + chrono::TimeDelta::milliseconds(start_ms)),
        duration_ms: Some(duration_ms),
        rows: Some(1_000),
        attempts: 1,
        ..NodeRecord::not_run(name)
    }
}

pub(crate) fn manifest() -> Manifest {
    Manifest {
        format: MANIFEST_FORMAT.to_owned(),
        format_version: MANIFEST_VERSION,
        daglight_version: "0.1.0".into(),
        identity: Identity {
            run_id: "0198c5f0-7a0e-7d5f-8a53-0c9f9f4c2b11".parse::<RunId>().unwrap(),
            dag_name: "sales::daily_v1".into(),
            dag_hash: "d".repeat(64),
            code_hash: "c".repeat(64),
            trace_id: Some("c3a07f31abd3815bc05dbc18c64c3890".into()),
            root_span_id: Some("f6cb8cb4af14d0f2".into()),
            execution_run_id: Some("17".into()),
            project_id: Some("1".into()),
            tags: [("environment".into(), "dev".into())].into(),
        },
        namespace: "daglight".into(),
        profile: "dev".into(),
        policy: serde_json::json!({"values": true}),
        retry: None,
        status: RunStatus::Success,
        started_at: start(),
        ended_at: Some(start() + chrono::TimeDelta::milliseconds(100)),
        interrupted_at: None,
        process_ended_at: None,
        error: None,
        nodes: vec![
            node("orders", &[], 0, 20.0),
            node("lines", &[], 20, 30.0),
            node("totals", &["orders", "lines"], 60, 40.0),
        ],
        files: Vec::new(),
        delivery: Delivery {
            tracker: Some(DeliveryCounts { produced: 8, delivered: 8, ..DeliveryCounts::default() }),
            signals: vec![SignalLedger {
                signal: LedgerSignal::Traces,
                destination: LedgerDestination::Bundle,
                ledger: DeliveryCounts { produced: 4, delivered: 4, ..DeliveryCounts::default() },
            }],
        },
        tracking: Tracking::Server,
        warnings: Vec::new(),
        links: Links {
            hamilton_run: Some("http://127.0.0.1:8241/dashboard/project/1/runs/17".into()),
            trace: None,
        },
        own_time: None,
        observed: false,
    }
}
