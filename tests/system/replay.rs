//! The signals of a bundle, sent to receivers of OTLP after the run, and what becomes of what they refuse.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use daglight_system_tests::{
    Checkout, Daglight, Finished, OtelTap, OtlpReceiver, decode_strictly, decoded_values,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::Value;
use tempfile::TempDir;

use crate::pipelines::SHOP;

const FILES: [(&str, &str); 3] =
    [("traces", "otel_traces.json"), ("metrics", "otel_metrics.json"), ("logs", "otel_logs.json")];

/// A run that sent its signals nowhere.
struct Recorded {
    checkout: Checkout,
    bundle: PathBuf,
}

fn recorded() -> &'static Recorded {
    static RECORDED: OnceLock<Recorded> = OnceLock::new();
    RECORDED.get_or_init(|| {
        let checkout = Checkout::kept("replay");
        let pipeline = checkout.pipeline("shop.sql", SHOP);
        let report = Daglight::run(&checkout, &pipeline).finish().report(0);
        let bundle = checkout.path().join(report["bundle"].as_str().expect("a run has a bundle"));
        Recorded { checkout, bundle }
    })
}

impl Recorded {
    /// What the file of a signal holds.
    fn values(&self, signal: &str) -> Vec<Value> {
        let (_, name) = FILES.iter().find(|(of, _)| *of == signal).expect("a signal");
        decoded_values(&self.bundle.join(name), signal)
    }

    fn replay(&self, endpoint: &str, protocol: &str, variables: &[(&str, &Path)]) -> Finished {
        let command =
            Daglight::new(&self.checkout, ["replay", "--endpoint", endpoint, "--protocol", protocol])
                .args([&self.bundle]);
        variables.iter().fold(command, |command, (name, value)| command.env(name, value)).finish()
    }
}

#[track_caller]
fn check_same(signal: &str, received: Vec<Value>, recorded: Vec<Value>) {
    let sorted = |items: Vec<Value>| {
        let mut items: Vec<String> = items.iter().map(Value::to_string).collect();
        items.sort_unstable();
        items
    };
    assert!(!recorded.is_empty(), "{signal}");
    let (received, recorded) = (sorted(received), sorted(recorded));
    for (received, recorded) in received.iter().zip(&recorded) {
        assert_eq!(received, recorded, "{signal}");
    }
    assert_eq!(received.len(), recorded.len(), "{signal}");
}

#[track_caller]
fn check_all_arrived(receiver: &OtlpReceiver) {
    for (signal, _) in FILES {
        check_same(signal, receiver.values(signal), recorded().values(signal));
    }
}

#[test]
fn a_bundle_arrives_as_it_was_written_over_every_protocol() {
    for protocol in ["grpc", "http/protobuf", "http/json"] {
        let receiver = OtlpReceiver::start();
        let finished = recorded().replay(&receiver.endpoint(protocol), protocol, &[]).ended_with(0);
        let spans = recorded().values("traces").len();
        assert!(finished.stdout.starts_with(&format!("sent: {spans} spans, ")), "{}", finished.stdout);
        check_all_arrived(&receiver);
    }
}

#[test]
fn a_receiver_that_is_busy_for_a_moment_is_asked_again() {
    for protocol in ["grpc", "http/protobuf"] {
        let receiver = OtlpReceiver::start();
        receiver.answer(2, 0, "");
        recorded().replay(&receiver.endpoint(protocol), protocol, &[]).ended_with(0);
        check_all_arrived(&receiver);
    }
}

#[test]
fn what_a_receiver_rejects_is_reported() {
    for protocol in ["grpc", "http/protobuf", "http/json"] {
        let receiver = OtlpReceiver::start();
        receiver.answer(0, 1, "older than a day");
        let finished = recorded().replay(&receiver.endpoint(protocol), protocol, &[]).ended_with(1);
        let lines = |file: &str| {
            fs::read_to_string(recorded().bundle.join(file)).expect("a signal file").lines().count()
        };
        let [spans, data_points, log_records] = FILES.map(|(_, file)| lines(file));
        let rejected =
            format!("rejected: {spans} spans, {data_points} data points, {log_records} log records\n");
        assert!(finished.stdout.ends_with(&rejected), "{}", finished.stdout);
        assert_eq!(finished.stderr, "warning: older than a day\n");
    }
}

#[test]
fn what_a_receiver_rejects_during_a_run_has_failed() {
    for protocol in ["grpc", "http/json"] {
        let checkout = Checkout::new();
        let pipeline = checkout.pipeline("shop.sql", SHOP);
        let receiver = OtlpReceiver::start();
        receiver.answer(0, 1, "older than a day");
        let report = Daglight::run(&checkout, &pipeline).observed_by(&receiver, protocol).finish().report(0);
        let accounts = report["ledger"]["signals"].as_array().expect("a list");
        let lossy = accounts.iter().filter(|account| account["produced"] != account["delivered"]);
        assert!(lossy.count() >= FILES.len(), "{accounts:#?}");
        let warnings = report["warnings"].to_string();
        assert!(warnings.contains("rejected 1 of") && warnings.contains("older than a day"), "{warnings}");
    }
}

#[test]
fn a_receiver_of_other_peoples_making_takes_a_bundle() {
    let mut tap = OtelTap::new();
    recorded().replay(&tap.endpoint(), "http/protobuf", &[]).ended_with(0);
    for (signal, file) in FILES {
        // It holds spans, metrics and records, without what they stand under.
        let bare = |mut items: Vec<Value>| {
            for item in &mut items {
                let fields = item.as_object_mut().expect("an item");
                fields.retain(|name, _| name != "resource" && name != "scope");
            }
            items
        };
        let count = decode_strictly(&recorded().bundle.join(file), signal).len();
        check_same(signal, bare(tap.values(signal, count)), bare(recorded().values(signal)));
    }
}

/// An authority, and two certificates of it, as files.
struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn new() -> Self {
        let folder = TempDir::with_prefix("daglight-tls-").expect("a temporary folder");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file");
        let named = |name: &str| {
            let hosts = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
            let mut certificate = CertificateParams::new(hosts).expect("names of hosts");
            certificate.distinguished_name.push(DnType::CommonName, name);
            certificate
        };
        let mut of_authority = named("authority");
        of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = || KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(of_authority, key()).expect("a certificate");
        write("authority.pem", &authority.pem());
        for name in ["server", "client"] {
            let key = key();
            let certificate = named(name).signed_by(&key, &authority).expect("a certificate");
            write(&format!("{name}.pem"), &certificate.pem());
            write(&format!("{name}.key"), &key.serialize_pem());
        }
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[test]
fn certificates_are_shown_and_trusted_as_the_variables_say() {
    let files = Certificates::new();
    let [authority, certificate, key] =
        ["authority.pem", "client.pem", "client.key"].map(|name| files.file(name));
    let trusting = ("OTEL_EXPORTER_OTLP_CERTIFICATE", &*authority);
    let showing =
        [("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &*certificate), ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &*key)];
    // What does not do: to be trusted without showing anything, and to show it to nobody that is trusted.
    for (protocol, too_little) in [("grpc", &[trusting][..]), ("http/protobuf", &showing)] {
        let receiver =
            OtlpReceiver::start_with_tls(&files.file("server.pem"), &files.file("server.key"), &authority);
        let endpoint = receiver.endpoint(protocol);
        recorded().replay(&endpoint, protocol, &[&[trusting][..], &showing].concat()).ended_with(0);
        check_all_arrived(&receiver);
        recorded().replay(&endpoint, protocol, too_little).ended_with(1);
    }
}

#[test]
fn a_certificate_that_cannot_be_read_is_one_warning() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("shop.sql", SHOP);
    let finished = Daglight::run(&checkout, &pipeline)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1")
        .env("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem")
        .finish();
    let report = finished.report(0);
    let warnings = report["warnings"].as_array().expect("a list").iter();
    let warnings = warnings.filter_map(|warning| warning["message"].as_str());
    let of_variable: Vec<&str> =
        warnings.filter(|warning| warning.contains("OTEL_EXPORTER_OTLP_CERTIFICATE")).collect();
    let [warning] = of_variable[..] else { panic!("{of_variable:?} in {report}") };
    assert!(warning.contains("/nowhere/ca.pem"), "{warning}");
}
