//! What code of a program writes on the spans of a run, and records beside them, on its way out.

use std::{fs, path::Path};

use daglight_capture_policy::Profile;
use daglight_otel_bridge::{
    Bridge, BridgeConfig, ProgramProviders, SpanStatus,
    names::{Key, key, span},
};
use daglight_settings::Settings;
use opentelemetry::{
    Context, KeyValue,
    logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _},
    trace::{Status, TraceContextExt as _},
};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData};
use serde_json::json;

use crate::{
    attach::Exported,
    support::{TIMEOUT, TestRun, attribute, find, variables},
};

/// Credentials in every form in which one may be written on a span.
const SECRETS: [&str; 4] =
    ["hunter2secret", "ghp_0123456789abcdefghijABCDEFGHIJ012345", "abc.def.ghi", "pw4711"];

fn bridge_of(profile: Profile, attach_to: ProgramProviders) -> Bridge {
    let policy = Settings::of_profile(profile).policy();
    Bridge::start(BridgeConfig {
        environment: variables([]),
        redactor: policy.redactor().clone(),
        attach_to,
        ..BridgeConfig::new("test")
    })
}

/// What code inside a node can do with the span that is active.
fn write_on_active_span() {
    let context = Context::current();
    let active = context.span();
    active.set_attribute(KeyValue::new("db.password", SECRETS[0]));
    active.set_attribute(KeyValue::new("daglight.dataset", format!("password={}", SECRETS[0])));
    active.set_attribute(KeyValue::new("daglight.status", format!("token {}", SECRETS[1])));
    active.set_attribute(KeyValue::new("url", format!("postgres://ann:{}@db/x", SECRETS[3])));
    active.add_event(
        format!("sent {}", SECRETS[1]),
        vec![KeyValue::new("header", format!("Bearer {}", SECRETS[2]))],
    );
    active.record_error(&std::io::Error::other(format!("login with {} for 'Quendolin' failed", SECRETS[1])));
    active.set_status(Status::error(format!("password={} of 'Quendolin'", SECRETS[0])));
    active.update_name(format!("node {}", SECRETS[1]));
}

fn run_with(bridge: &Bridge) -> TestRun {
    let run = TestRun::open(bridge, "t");
    let root = run.signals.root();
    let node = run.signals.span(span::NODE).node("risk").stage("compile").start();
    {
        let _inside = node.context().attach();
        write_on_active_span();
        let logger = bridge.logger_provider().logger("program");
        let mut record = logger.create_log_record();
        record.set_body(AnyValue::from(format!("sent Bearer {}", SECRETS[2])));
        record.add_attribute("api_key", SECRETS[0]);
        logger.emit(record);
    }
    node.end();
    root.end();
    run.finish();
    run
}

#[track_caller]
fn check_text(text: &str, place: &str, profile: Profile) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} in {place} under {profile}: {text}");
    }
    let shows_values = profile != Profile::Prod;
    assert!(shows_values || !text.contains("Quendolin"), "{place} under {profile}: {text}");
}

#[track_caller]
fn check_files(folder: &Path, profile: Profile) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        check_text(&fs::read_to_string(&path).unwrap(), &path.display().to_string(), profile);
    }
}

#[test]
fn what_a_program_writes_on_our_spans_is_redacted() {
    for profile in [Profile::Dev, Profile::Ci, Profile::Prod] {
        let run = run_with(&bridge_of(profile, ProgramProviders::default()));
        check_files(run.folder.path(), profile);
        let spans = run.spans();
        let node = find(&spans, span::NODE);
        assert_eq!(attribute(node, "daglight.status"), Some(&json!("ok")), "what a span records itself wins");
        assert_eq!(attribute(node, "db.password"), Some(&json!("[redacted]")));
        assert_eq!(attribute(node, "url"), Some(&json!("postgres://[redacted]@db/x")));
        assert_eq!(node["droppedAttributesCount"], 1);
        assert_eq!(node["events"].as_array().unwrap().len(), 2, "{node}");
    }
}

#[test]
fn the_mirrored_span_of_a_program_is_redacted_too() {
    let exporter = Exported::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    run_with(&bridge_of(Profile::Prod, ProgramProviders::default().with_tracers(provider.clone())));
    let exported: Vec<SpanData> = exporter.take();
    assert!(exported.iter().any(|exported| exported.name == span::NODE), "{exported:?}");
    check_text(&format!("{exported:?}"), "the program's exporter", Profile::Prod);
}

#[test]
fn a_span_that_is_still_open_is_redacted_too() {
    let bridge = bridge_of(Profile::Prod, ProgramProviders::default());
    let run = TestRun::open(&bridge, "t");
    let named = run.signals.span(span::STAGE).stage(format!("token={}", SECRETS[0])).start();
    assert!(run.signals.flush_files(TIMEOUT));
    let open = fs::read_to_string(run.folder.path().join("otel_traces.open.json")).unwrap();
    assert!(open.contains("token=[redacted]"), "{open}");
    check_text(&open, "the open spans", Profile::Prod);
    named.finish_as(SpanStatus::Skipped);
    named.end();
    run.finish();
    check_files(run.folder.path(), Profile::Prod);
}

#[test]
fn limits_hold_for_both_together() {
    let config = BridgeConfig {
        environment: variables([
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "4"),
            ("OTEL_SPAN_EVENT_COUNT_LIMIT", "3"),
        ]),
        ..BridgeConfig::new("test")
    };
    let run = TestRun::open(&Bridge::start(config), "t");
    let node = run.signals.span(span::NODE).node("risk").stage("compile").start();
    let context = node.context();
    for n in 0..4 {
        context.span().set_attribute(KeyValue::new(format!("n{n}"), n));
        context.span().add_event(format!("e{n}"), vec![]);
    }
    node.set(Key::Table, "t");
    node.event("seen", []);
    node.end();
    run.finish();
    let spans = run.spans();
    let node = find(&spans, span::NODE);
    let ids = [key::HAMILTON_RUN_ID, key::HAMILTON_DAG_NAME, "daglight.run_id"];
    assert_eq!(node["attributes"].as_array().unwrap().len(), 4 + ids.len(), "{node}");
    assert!(
        ids.iter().all(|id| attribute(node, id).is_some()) && attribute(node, "daglight.status").is_some()
    );
    assert_eq!(
        (node["droppedAttributesCount"].as_u64(), node["droppedEventsCount"].as_u64()),
        (Some(4), Some(2))
    );
}
