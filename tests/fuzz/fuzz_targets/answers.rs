//! Whatever a server answers, its clients come to an end, show no key that they have sent, and count what became of each item.
//!
//! An input is the answers that one or more clients get, each below the name of its client: `tracker`, `project`, `lineage` or
//! `otlp`. Answers are as HTTP/1.1 has them, with a line `--` between two; after the last the connection is closed without one.

#![no_main]
#![allow(clippy::unwrap_used, reason = "a fuzz target ends at its first surprise")]

use std::{cell::OnceCell, collections::BTreeMap, fmt::Debug, fs, time::Duration};

use daglight_capture_policy::{Profile, Redactor, Secret};
use daglight_fuzz::{MANIFEST, Server, bundle_with, fill_tracker, scratch, sections};
use daglight_openlineage::{Target, sync_lineage};
use daglight_otel_bridge::check_endpoints;
use daglight_run_bundle::Bundle;
use daglight_settings::OpenLineageSettings;
use daglight_tracker_client::{Client, Connection, ProjectRef, Sighting, sync_bundle};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// What clients send to be known.
const KEY: &str = "zqmk-77441-one";
/// A run with a node, whole.
const OUTBOX: &[u8] = include_bytes!("../seeds/replay/whole");
const EVENTS: &str = "{\"eventTime\":\"2026-11-21T08:00:00Z\",\"eventType\":\"START\"}\n\
                      {\"eventTime\":\"2026-11-21T08:00:01Z\",\"eventType\":\"COMPLETE\"}\n";

struct Place {
    _out: TempDir,
    bundle: Bundle,
    server: Server,
}

thread_local! {
    static PLACE: OnceCell<Place> = const { OnceCell::new() };
}

fuzz_target!(|input: &[u8]| {
    PLACE.with(|place| {
        let place = place.get_or_init(|| {
            let out = scratch();
            Place { bundle: bundle_with(out.path(), MANIFEST), _out: out, server: Server::start() }
        });
        for (client, answers) in sections(input) {
            place.answer(answers);
            match client {
                b"tracker" => place.deliver(),
                b"project" => place.find_project(),
                b"lineage" => place.deliver_lineage(),
                b"otlp" => place.check_otlp(),
                _ => {}
            }
        }
    });
});

impl Place {
    fn answer(&self, answers: &[u8]) {
        let mut answers: Vec<Vec<u8>> = split(answers).map(<[u8]>::to_vec).collect();
        answers.reverse();
        self.server.says(move |_| answers.pop());
    }

    fn connection(&self, project: ProjectRef) -> Connection {
        let connection = Connection::new(&self.server.url(), "me@example.com", project).unwrap();
        connection
            .with_timeouts(Duration::from_secs(2), Duration::from_secs(2))
            .with_api_key(Secret::new(KEY))
            .unwrap()
    }

    fn deliver(&self) {
        fill_tracker(&self.bundle.tracker_dir(), OUTBOX);
        let connection = self.connection(ProjectRef::Id(1));
        let outcome = sync_bundle(&self.bundle.tracker_dir(), &connection, Sighting::UNKNOWN, Duration::ZERO);
        check_no_key(&outcome);
        if let Ok(outcome) = outcome {
            assert!(outcome.ledger.is_balanced(), "{:?}", outcome.ledger);
        }
    }

    fn find_project(&self) {
        let connection = self.connection(ProjectRef::Name { name: "p".to_owned(), create: true });
        let client = Client::new(&connection).unwrap();
        check_no_key(&client.server_time());
        check_no_key(&client.phone_home());
        check_no_key(&client.resolve_project());
    }

    fn deliver_lineage(&self) {
        fs::write(self.bundle.lineage_events(), EVENTS).unwrap();
        let _ = fs::remove_file(self.bundle.dir().join("openlineage.delivery.json"));
        let mut settings = OpenLineageSettings::of_profile(Profile::Dev);
        settings.url = Some(self.server.url());
        settings.api_key = Some(Secret::new(KEY));
        let target = Target::from_settings(&settings).unwrap().unwrap();
        // Shorter than the first pause.
        let sync = sync_lineage(&self.bundle, &target, Duration::from_millis(150)).unwrap().unwrap();
        check_no_key(&sync);
        assert!(sync.ledger.is_balanced(), "{:?}", sync.ledger);
    }

    fn check_otlp(&self) {
        let variables = [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", self.server.url()),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", self.server.url()),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json".to_owned()),
            ("OTEL_EXPORTER_OTLP_HEADERS", format!("x-api-key={KEY}")),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000".to_owned()),
        ];
        let variables: BTreeMap<_, _> = variables.map(|(name, text)| (name.to_owned(), text)).into();
        let check = check_endpoints(&variables, &Redactor::default());
        assert_eq!(check.endpoints.len(), 2, "{:?}", check.warnings);
        check_no_key(&check);
    }
}

fn check_no_key(outcome: &impl Debug) {
    let shown = format!("{outcome:?}");
    assert!(!shown.contains(KEY), "{shown}");
}

fn split(answers: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(answers);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = text.windows(4).position(|window| window == b"\n--\n");
        rest = end.map(|end| &text[end + 4..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
}
