//! Every kind of value that a signal file can hold, written by the bridge and read by a decoder of the official protos.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, SystemTime},
};

use daglight_capture_policy::{Policy, Profile, Redactor};
use daglight_otel_bridge::{
    BeatMeasures, Bridge, BridgeConfig, RunScope, RunSignals, SignalFiles, SpanStatus,
    names::{Key, span},
    replay,
};
use daglight_run_identity::{NodeKind, RunId};
use daglight_system_tests::{OtlpReceiver, attributes, decoded_values};
use opentelemetry::{
    Array, KeyValue, Value as OtelValue,
    logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity},
    trace::{
        Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
        TraceState, Tracer as _, TracerProvider as _,
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A run of a separate bridge.
struct Recording {
    bridge: Bridge,
    signals: RunSignals,
    files: SignalFiles,
    folder: TempDir,
    id: RunId,
}

impl Recording {
    fn new(variables: BTreeMap<String, String>) -> Self {
        let folder = TempDir::with_prefix("daglight-values-").expect("a temporary folder");
        let bridge = Bridge::start(BridgeConfig { environment: variables, ..BridgeConfig::new("values") });
        let (id, files) = (RunId::new(), SignalFiles::in_folder(folder.path()));
        let dag_name = "values::all_v1".try_into().expect("a name");
        let signals = bridge.open_run(RunScope::new(id, dag_name, files.clone(), folder.path()));
        Self { bridge, signals, files, folder, id }
    }

    fn finished(self) -> Finished {
        let ledgers = self.signals.finish(TIMEOUT);
        assert!(ledgers.traces.bundle.is_complete() && ledgers.logs.bundle.is_complete(), "{ledgers:?}");
        Finished { files: self.files, id: self.id.to_string(), folder: self.folder }
    }
}

struct Finished {
    files: SignalFiles,
    id: String,
    folder: TempDir,
}

impl Finished {
    /// The items of a file, after a check of what each has from its run.
    fn values(&self, file: &Path, signal: &str) -> Vec<Value> {
        let values = decoded_values(file, signal);
        assert!(!values.is_empty(), "{signal}");
        for item in &values {
            let resource = &item["resource"];
            assert_eq!(resource["daglight.run_id"], json!({"string": self.id}));
            assert_eq!(resource["daglight.output_dir"], json!({"string": self.folder.path()}));
            assert_eq!(resource["service.name"], json!({"string": "values"}));
            assert_eq!(resource["process.pid"], json!({"int": std::process::id()}));
        }
        values
    }

    /// Sends the files to a receiver, and checks that it has what they hold.
    #[track_caller]
    fn check_replayed(&self) {
        for protocol in ["grpc", "http/json"] {
            let receiver = OtlpReceiver::start();
            let variables = [
                ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), receiver.endpoint(protocol)),
                ("OTEL_EXPORTER_OTLP_PROTOCOL".to_owned(), protocol.to_owned()),
            ];
            let replayed =
                replay(&self.files, &variables.into(), &Redactor::default()).expect("the receiver takes it");
            assert_eq!(replayed.reasons, [""; 0]);
            let files = [
                ("traces", &self.files.traces),
                ("metrics", &self.files.metrics),
                ("logs", &self.files.logs),
            ];
            for (signal, file) in files {
                assert_eq!(receiver.values(signal), decoded_values(file, signal), "{signal} over {protocol}");
            }
        }
    }

    /// The attributes, without those that say which run it is.
    #[track_caller]
    fn own_attributes(&self, item: &Value) -> Value {
        let mut attributes = item["attributes"].clone();
        let fields = attributes.as_object_mut().expect("attributes");
        for (key, value) in [
            ("hamilton.run_id", &*self.id),
            ("daglight.run_id", &*self.id),
            ("hamilton.dag_name", "values::all_v1"),
        ] {
            assert_eq!(fields.remove(key), Some(json!({"string": value})), "{key} of {item}");
        }
        attributes
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970");
    u64::try_from(since.as_nanos()).expect("a time before 2554")
}

fn at(nanosecond: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(1_800_000_000_000_000_000 + nanosecond)
}

/// Every kind of attribute that a span can have, and what the protos have for it.
fn span_attributes() -> Vec<(&'static str, OtelValue, Value)> {
    let array = |values: Value| json!({"array": values});
    let text = |text: &str| json!({"string": text});
    vec![
        ("text", "grün \"quoted\" \u{1F600}\n\t\u{0}".into(), text("grün \"quoted\" \u{1F600}\n\t\u{0}")),
        ("text.empty", "".into(), text("")),
        ("truth", true.into(), json!({"bool": true})),
        ("falsehood", false.into(), json!({"bool": false})),
        ("int.least", i64::MIN.into(), json!({"int": i64::MIN})),
        ("int.greatest", i64::MAX.into(), json!({"int": i64::MAX})),
        ("int.zero", 0.into(), json!({"int": 0})),
        ("double", 0.1.into(), json!({"double": 0.1})),
        ("double.whole", 3.0.into(), json!({"double": 3.0})),
        ("double.least", f64::MIN_POSITIVE.into(), json!({"double": f64::MIN_POSITIVE})),
        ("double.greatest", f64::MAX.into(), json!({"double": f64::MAX})),
        ("double.negative_zero", (-0.0).into(), json!({"double": -0.0})),
        ("nan", f64::NAN.into(), text("NaN")),
        ("infinite", f64::INFINITY.into(), text("Infinity")),
        ("minus.infinite", f64::NEG_INFINITY.into(), text("-Infinity")),
        (
            "texts",
            OtelValue::Array(Array::String(vec!["a".into(), "".into()])),
            array(json!([text("a"), text("")])),
        ),
        (
            "truths",
            OtelValue::Array(Array::Bool(vec![true, false])),
            array(json!([{"bool": true}, {"bool": false}])),
        ),
        ("ints", OtelValue::Array(Array::I64(vec![-1, 0])), array(json!([{"int": -1}, {"int": 0}]))),
        ("doubles", OtelValue::Array(Array::F64(vec![0.5])), array(json!([{"double": 0.5}]))),
        (
            "doubles.infinite",
            OtelValue::Array(Array::F64(vec![0.5, f64::NAN])),
            array(json!([text("0.5"), text("NaN")])),
        ),
        ("texts.none", OtelValue::Array(Array::String(vec![])), array(json!([]))),
        ("doubles.none", OtelValue::Array(Array::F64(vec![])), array(json!([]))),
    ]
}

#[test]
fn spans_are_read_back_value_by_value() {
    let recording = Recording::new(BTreeMap::new());
    let state = TraceState::from_key_value([("vendor", "1"), ("other", "x")]).expect("a trace state");
    let remote = |state: TraceState| {
        SpanContext::new(TraceId::from(0x1234_u128), SpanId::from(0x56_u64), TraceFlags::SAMPLED, true, state)
    };
    let parent = recording.signals.context().with_remote_span_context(remote(state.clone()));
    let tracer = recording.bridge.tracer_provider().tracer("kinds");
    let pairs = || span_attributes().into_iter().map(|(key, value, _)| KeyValue::new(key, value));
    let mut all = tracer
        .span_builder("all")
        .with_kind(SpanKind::Consumer)
        .with_start_time(at(1))
        .with_attributes(pairs())
        .start_with_context(&tracer, &parent);
    all.add_event_with_timestamp("seen", at(2), pairs().collect());
    all.add_event_with_timestamp("bare", at(3), vec![]);
    all.add_link(remote(state), pairs().collect());
    all.add_link(remote(TraceState::default()), vec![]);
    all.set_status(Status::error("it failed"));
    all.end_with_timestamp(at(4));
    let kinds = [
        (SpanKind::Internal, 1, Status::Unset, 0),
        (SpanKind::Server, 2, Status::Ok, 1),
        (SpanKind::Client, 3, Status::error(""), 2),
        (SpanKind::Producer, 4, Status::Unset, 0),
    ];
    for (index, (kind, _, status, _)) in kinds.iter().enumerate() {
        let mut span = tracer
            .span_builder(format!("kind {index}"))
            .with_kind(kind.clone())
            .start_with_context(&tracer, &recording.signals.context());
        span.set_status(status.clone());
        span.end();
    }
    let finished = recording.finished();

    finished.check_replayed();
    let spans = finished.values(&finished.files.traces, "traces");
    assert_eq!(spans.len(), 1 + kinds.len());
    let [all, of_kinds @ ..] = &spans[..] else { panic!("no span") };
    let expected: Value =
        span_attributes().into_iter().map(|(key, _, value)| (key.to_owned(), value)).collect();
    assert_eq!(finished.own_attributes(all), expected);
    for (key, value) in [
        ("trace_id", json!(format!("{:032x}", 0x1234))),
        ("parent_span_id", json!(format!("{:016x}", 0x56))),
        ("trace_state", json!("vendor=1,other=x")),
        // Sampled; and it is known that the parent is remote, and that it is.
        ("flags", json!(0x301)),
        ("name", json!("all")),
        ("kind", json!(5)),
        ("start", json!(nanoseconds(at(1)))),
        ("end", json!(nanoseconds(at(4)))),
        ("dropped_attributes", json!(0)),
        ("status", json!({"code": 2, "message": "it failed"})),
        ("scope", json!({"name": "kinds", "version": ""})),
    ] {
        assert_eq!(all[key], value, "{key}");
    }
    assert_eq!(
        all["events"],
        json!([
            {"name": "seen", "time": nanoseconds(at(2)), "attributes": expected},
            {"name": "bare", "time": nanoseconds(at(3)), "attributes": {}},
        ])
    );
    let link = |state: &str, attributes: &Value| {
        json!({
            "trace_id": format!("{:032x}", 0x1234),
            "span_id": format!("{:016x}", 0x56),
            "trace_state": state,
            "attributes": attributes,
        })
    };
    assert_eq!(all["links"], json!([link("vendor=1,other=x", &expected), link("", &json!({}))]));
    for (span, (_, kind, _, status)) in of_kinds.iter().zip(&kinds) {
        assert_eq!((&span["kind"], &span["status"]["code"]), (&json!(kind), &json!(status)), "{span}");
        assert_eq!(span["parent_span_id"], "");
    }
}

#[test]
fn stage_spans_are_read_back_value_by_value() {
    let recording = Recording::new(BTreeMap::new());
    let policy = Policy::of_profile(Profile::Dev);
    let stage = recording.signals.span(span::STAGE).stage("write").node("risk").start_at(at(0)).start();
    stage.set(Key::RowCount, u64::MAX);
    stage.set(Key::Bytes, 7_u64);
    stage.set(Key::SourceTables, policy.capture(json!(["a", "b"])));
    stage.set("ratio", f64::NAN);
    stage.set("captured", policy.capture(json!({"a": [1, null]})));
    stage.event("noted", [("why".into(), "because".into())]);
    stage.fail("SchemaError", &policy.capture("no field x"));
    stage.end_at(at(5));
    let skipped = recording.signals.span(span::PLAN).start();
    skipped.finish_as(SpanStatus::Skipped);
    skipped.end();
    let finished = recording.finished();

    let spans = finished.values(&finished.files.traces, "traces");
    let text = |text: &str| json!({"string": text});
    assert_eq!(
        finished.own_attributes(&spans[0]),
        json!({
            "daglight.stage": text("write"),
            "daglight.node": text("risk"),
            "daglight.row_count": text("18446744073709551615"),
            "daglight.bytes": {"int": 7},
            "daglight.source_tables": {"array": [text("a"), text("b")]},
            "daglight.status": text("error"),
            "ratio": text("NaN"),
            "captured": text(r#"{"a":[1,null]}"#),
            "error.type": text("SchemaError"),
        })
    );
    assert_eq!(spans[0]["status"], json!({"code": 2, "message": "no field x"}));
    assert_eq!(spans[0]["events"][0]["attributes"], json!({"why": text("because")}));
    let exception = &spans[0]["events"][1];
    assert_eq!(exception["name"], "exception");
    assert_eq!(
        exception["attributes"],
        json!({"exception.type": text("SchemaError"), "exception.message": text("no field x")})
    );
    assert_eq!(spans[1]["attributes"]["daglight.status"], text("skipped"));
    assert_eq!(spans[0]["scope"]["name"], "daglight");
}

/// Every kind of value that a log record can have as its body or in an attribute.
fn log_values() -> Vec<(&'static str, AnyValue, Value)> {
    let text = |text: &str| json!({"string": text});
    let map = [("inner", AnyValue::from(1)), ("bytes", AnyValue::Bytes(Box::new(vec![0xff])))];
    let map = map.into_iter().map(|(key, value)| (key.into(), value)).collect();
    vec![
        ("text", "hello".into(), text("hello")),
        ("text.empty", "".into(), text("")),
        ("truth", true.into(), json!({"bool": true})),
        ("int", i64::MIN.into(), json!({"int": i64::MIN})),
        ("double", 2.5.into(), json!({"double": 2.5})),
        ("nan", f64::NAN.into(), text("NaN")),
        ("infinite", f64::NEG_INFINITY.into(), text("-Infinity")),
        ("bytes", AnyValue::Bytes(Box::new(vec![0, 1, 254, 255])), json!({"bytes": "0001feff"})),
        ("bytes.none", AnyValue::Bytes(Box::default()), json!({"bytes": ""})),
        (
            "list",
            AnyValue::ListAny(Box::new(vec![1.into(), "two".into(), f64::INFINITY.into()])),
            json!({"array": [{"int": 1}, text("two"), text("Infinity")]}),
        ),
        ("list.none", AnyValue::ListAny(Box::default()), json!({"array": []})),
        (
            "map",
            AnyValue::Map(Box::new(map)),
            json!({"map": {"inner": {"int": 1}, "bytes": {"bytes": "ff"}}}),
        ),
        ("map.none", AnyValue::Map(Box::default()), json!({"map": {}})),
    ]
}

#[test]
fn log_records_are_read_back_value_by_value() {
    let recording = Recording::new(BTreeMap::new());
    let logger = recording.bridge.logger_provider().logger("kinds");
    let root = recording.signals.root();
    {
        let _inside = root.context().attach();
        for (_, body, _) in log_values() {
            let mut record = logger.create_log_record();
            record.set_timestamp(at(1));
            record.set_observed_timestamp(at(2));
            record.set_severity_number(Severity::Warn2);
            record.set_severity_text("WARN2");
            record.set_event_name("kinds.seen");
            record.set_body(body);
            log_values().into_iter().for_each(|(key, value, _)| record.add_attribute(key, value));
            logger.emit(record);
        }
        let mut bare = logger.create_log_record();
        bare.set_observed_timestamp(at(3));
        logger.emit(bare);
    }
    let (trace_id, span_id) = (root.trace_id(), root.span_id());
    root.end();
    let finished = recording.finished();

    finished.check_replayed();
    let mut records = finished.values(&finished.files.logs, "logs");
    let bare = records.pop().expect("a record");
    assert_eq!(records.len(), log_values().len());
    let expected: Value = log_values().into_iter().map(|(key, _, value)| (key.to_owned(), value)).collect();
    for (record, (key, _, body)) in records.iter().zip(log_values()) {
        assert_eq!(record["body"], body, "{key}");
        assert_eq!(finished.own_attributes(record), expected);
        for (key, value) in [
            ("time", json!(nanoseconds(at(1)))),
            ("observed", json!(nanoseconds(at(2)))),
            ("severity_number", json!(14)),
            ("severity_text", json!("WARN2")),
            ("event_name", json!("kinds.seen")),
            ("trace_id", json!(trace_id)),
            ("span_id", json!(span_id)),
            ("flags", json!(1)),
            ("scope", json!({"name": "kinds", "version": ""})),
        ] {
            assert_eq!(record[key], value, "{key}");
        }
    }
    assert_eq!(bare["time"], nanoseconds(at(3)), "what has no time has that at which it was seen");
    assert_eq!((&bare["body"], &bare["severity_number"]), (&Value::Null, &json!(0)));
}

/// Two nodes, one of which failed, with rows, bytes and an artifact.
fn record_metrics(signals: &RunSignals) {
    for (start, end) in [(0, 2_000_000), (0, 20_000_000_000)] {
        let node = signals.span(span::NODE).node_kind(NodeKind::Transform).stage("compile");
        let node = node.start_at(at(start)).start();
        node.row_count(10);
        node.column_count(4);
        node.bytes(100);
        node.end_at(at(end));
    }
    signals.metrics().artifact("parquet");
    let measures = BeatMeasures { io_bytes_read: 1 << 40, io_bytes_written: 3, ..BeatMeasures::default() };
    signals.metrics().beat(&measures);
}

#[test]
fn metrics_are_read_back_value_by_value() {
    let recording = Recording::new(BTreeMap::new());
    record_metrics(&recording.signals);
    let open = recording.signals.span(span::NODE).start();
    recording.signals.snapshot_metrics();
    open.end();
    let before = nanoseconds(SystemTime::now());
    let finished = recording.finished();

    finished.check_replayed();
    let points = finished.values(&finished.files.metrics, "metrics");
    let of = |name: &str| points.iter().filter(|point| point["metric"] == name).collect::<Vec<_>>();
    let compiled = |point: &&&Value| point["attributes"]["daglight.stage"] == json!({"string": "compile"});
    let durations = of("daglight.task.duration");
    let [first, last] = durations.iter().filter(compiled).collect::<Vec<_>>()[..] else {
        panic!("{durations:?}")
    };
    let dag_name = json!({"string": "values::all_v1"});
    for (key, value) in [
        ("kind", json!("histogram")),
        ("unit", json!("s")),
        ("temporality", json!(2)),
        ("count", json!(2)),
        ("sum", json!(20.002)),
        ("min", json!(0.002)),
        ("max", json!(20.0)),
        (
            "bounds",
            json!([
                0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0
            ]),
        ),
        ("buckets", json!([0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0])),
        (
            "attributes",
            json!({
                "daglight.node.kind": {"string": "transform"},
                "daglight.stage": {"string": "compile"},
                "daglight.status": {"string": "ok"},
                "hamilton.dag_name": dag_name,
            }),
        ),
    ] {
        assert_eq!(first[key], value, "{key}");
        assert_eq!(last[key], value, "{key}: of the whole run");
    }
    assert!(first["time"].as_u64() < Some(before) && last["time"].as_u64() >= Some(before));
    let check_sums = |name: &str, unit: &str, monotonic: bool, expected: &[i64]| {
        let points = of(name);
        let values: Vec<i64> = points.iter().filter_map(|point| point["value"]["int"].as_i64()).collect();
        assert_eq!(values, expected, "{name}");
        for point in points {
            assert_eq!(point["kind"], "sum", "{name}");
            assert_eq!((&point["unit"], &point["temporality"]), (&json!(unit), &json!(2)), "{name}");
            assert_eq!(point["monotonic"], monotonic, "{name}");
        }
    };
    check_sums("daglight.rows", "{row}", true, &[20, 20]);
    check_sums("daglight.columns", "{column}", true, &[8, 8]);
    check_sums("daglight.bytes", "By", true, &[200, 200]);
    check_sums("daglight.io.bytes_read", "By", true, &[1 << 40, 1 << 40]);
    check_sums("daglight.artifacts", "{artifact}", true, &[1, 1]);
    check_sums("daglight.active_tasks", "{task}", false, &[1, 0]);
}

#[test]
fn metrics_leave_as_differences_where_the_variable_says_so() {
    for (preference, temporality) in [("cumulative", 2), ("delta", 1)] {
        let receiver = OtlpReceiver::start();
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*receiver.endpoint("grpc")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", preference),
        ];
        let recording =
            Recording::new(variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        for _ in 0..2 {
            record_metrics(&recording.signals);
            assert!(recording.bridge.flush(TIMEOUT));
        }
        let metrics = receiver.metrics();
        let counts: Vec<u64> = metrics
            .iter()
            .filter(|metric| metric["name"] == "daglight.task.duration")
            .map(|metric| {
                assert_eq!(metric["histogram"]["aggregationTemporality"], temporality, "{metric}");
                let point = &metric["histogram"]["dataPoints"][0];
                assert_eq!(attributes(point)["daglight.status"], "ok");
                point["count"].as_str().and_then(|count| count.parse().ok()).expect("a count")
            })
            .collect();
        assert_eq!(counts, if temporality == 1 { [2, 2] } else { [2, 4] });
        recording.signals.finish(TIMEOUT);
    }
}
