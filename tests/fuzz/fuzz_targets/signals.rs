//! Whatever is in the signal files of a run whose process died, they are completed once, and sent to a backend that takes everything.
//!
//! An input is these files.

#![no_main]
#![allow(clippy::unwrap_used, reason = "a fuzz target ends at its first surprise")]

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use daglight_capture_policy::Redactor;
use daglight_fuzz::{Server, fill, json_answer, scratch};
use daglight_otel_bridge::{
    KnownNode, KnownRun, SignalFiles, complete_spans, last_sign_of_life, names::Namespace, replay,
};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

const FILES: [&str; 4] = ["otel_traces.json", "otel_traces.open.json", "otel_metrics.json", "otel_logs.json"];

thread_local! {
    static PLACE: OnceCell<(TempDir, Server, BTreeMap<String, String>)> = const { OnceCell::new() };
}

fuzz_target!(|input: &[u8]| {
    PLACE.with(|place| {
        let (folder, _, variables) = place.get_or_init(|| {
            let server = Server::start();
            server.says(|_| Some(json_answer("{}")));
            let variables = [
                ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), server.url()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL".to_owned(), "http/json".to_owned()),
            ];
            (scratch(), server, variables.into())
        });
        fill(folder.path(), &FILES, input);
        read(&SignalFiles::in_folder(folder.path()), variables);
    });
});

fn read(files: &SignalFiles, variables: &BTreeMap<String, String>) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    assert!(last_sign_of_life(files, now).is_none_or(|sign| sign <= now));
    let namespace = Namespace::default();
    complete_spans(files, &namespace, &known()).unwrap();
    assert_eq!(complete_spans(files, &namespace, &known()).unwrap(), 0);
    let replayed = replay(files, variables, &Redactor::default()).unwrap();
    assert!(replayed.spans.sent > 0 && replayed.spans.rejected == 0, "{replayed:?}");
}

fn known() -> KnownRun {
    let started_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    KnownRun {
        run_id: daglight_fuzz::run_id().to_string(),
        dag_name: "a::b_v1".to_owned(),
        trace_id: "6398ed5ed875cd298440081ff2bee534".to_owned(),
        root_span_id: "77572f55877888fb".to_owned(),
        started_at,
        end: None,
        last_seen: started_at + Duration::from_secs(3),
        nodes: [("orders".to_owned(), KnownNode { started_at, end: None })].into(),
    }
}
