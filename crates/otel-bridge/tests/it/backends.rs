//! The configurations of backends in the documentation, beside the files of a run and beside each other.

use std::{fs, path::Path};

use daglight_otel_bridge::{
    SignalFiles,
    names::{Key, Namespace, event, key, span},
};
use daglight_run_bundle::RUN_BUNDLE;
use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde_json::{Map, Value, json};

use crate::support::{TestRun, bridge};

/// A file of the folder `docs`.
pub(crate) fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A configuration.
fn yaml(name: &str) -> Value {
    let text = document(&format!("backends/{name}"));
    let documents = Yaml::load_from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let [document] = &documents[..] else { panic!("{name} is not one document") };
    json_of(document)
}

fn json_of(node: &Yaml<'_>) -> Value {
    match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(flag)) => (*flag).into(),
        Yaml::Value(Scalar::Integer(number)) => (*number).into(),
        Yaml::Value(Scalar::String(text)) => text.as_ref().into(),
        Yaml::Sequence(items) => items.iter().map(json_of).collect(),
        Yaml::Mapping(entries) => {
            let entry =
                |(key, value): (&Yaml<'_>, &Yaml<'_>)| (key.as_str().unwrap().to_owned(), json_of(value));
            Value::Object(entries.iter().map(entry).collect())
        }
        other => panic!("{other:?} is not in a configuration"),
    }
}

fn keys(value: &Value) -> Vec<&String> {
    value.as_object().map(Map::keys).into_iter().flatten().collect()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn the_collector_reads_the_files_of_each_signal_in_its_pipeline() {
    let collector = yaml("collector.yaml");
    let files = SignalFiles::in_folder(&Path::new("/bundles").join(RUN_BUNDLE).join("*"));
    let of_signals = [("traces", files.traces), ("metrics", files.metrics), ("logs", files.logs)];
    for (signal, file) in of_signals {
        let receiver = format!("otlpjsonfile/{signal}");
        let settings = &collector["receivers"][&receiver];
        assert_eq!(settings["include"], json!([file]), "{receiver}");
        assert_eq!(settings["start_at"], "beginning", "{receiver}: what is there already is skipped");
        let receivers = texts(&collector["service"]["pipelines"][signal]["receivers"]);
        assert_eq!(receivers, ["otlp", &receiver]);
    }
    for part in ["receivers", "processors", "exporters"] {
        let pipelines = collector["service"]["pipelines"].as_object().unwrap().values();
        let mut used: Vec<&str> = pipelines.flat_map(|pipeline| texts(&pipeline[part])).collect();
        used.sort_unstable();
        used.dedup();
        let mut defined = keys(&collector[part]);
        defined.sort();
        assert_eq!(used, defined, "{part}");
    }
}

#[test]
fn a_file_reader_knows_the_files_of_two_runs_apart() {
    // By the first bytes of a file, as many as the collector's receivers compare by default.
    const FINGERPRINT: usize = 1_000;
    let bridge = bridge([]);
    for _ in 0..2 {
        let run = TestRun::open(&bridge, "t");
        run.signals.root().end();
        run.signals.span(span::NODE).start().end();
        run.finish();
        for (file, key) in [("otel_traces.json", "resourceSpans"), ("otel_metrics.json", "resourceMetrics")] {
            let text = fs::read_to_string(run.folder.path().join(file)).unwrap();
            let beginning = &text[..FINGERPRINT.min(text.len())];
            assert!(beginning.contains(&run.id.to_string()), "{file}: {beginning}");
            for line in run.lines(file) {
                assert_eq!(keys(&line), [key], "a line is of one signal");
            }
        }
    }
}

#[test]
fn the_services_reach_each_other_and_nobody_else_reaches_them() {
    let services = &yaml("compose.yaml")["services"];
    let hosts = keys(services);
    let collector = yaml("collector.yaml");
    let exporters =
        collector["exporters"].as_object().unwrap().values().map(|exporter| &exporter["endpoint"]);
    let sources = yaml("grafana-datasources.yaml");
    let sources = sources["datasources"].as_array().unwrap();
    for address in exporters.chain(sources.iter().map(|source| &source["url"])) {
        let address = address.as_str().unwrap();
        let host = address.trim_start_matches("http://").split(':').next().unwrap();
        assert!(hosts.iter().any(|known| *known == host), "{address} is not one of {hosts:?}");
    }
    for host in hosts {
        let service = &services[host];
        let ports = service["ports"].as_array().into_iter().flatten();
        for port in ports.map(|port| port.as_str().unwrap()) {
            assert!(port.starts_with("127.0.0.1:"), "{host}: {port} is open to the network");
        }
        let volumes = service["volumes"].as_array().into_iter().flatten();
        for volume in volumes.filter_map(|volume| volume.as_str().unwrap().strip_prefix("./")) {
            document(&format!("backends/{}", volume.split(':').next().unwrap()));
        }
    }
    let ports = texts(&services["collector"]["ports"]);
    let protocols = collector["receivers"]["otlp"]["protocols"].as_object().unwrap().values();
    for endpoint in protocols.map(|protocol| protocol["endpoint"].as_str().unwrap()) {
        let port = endpoint.rsplit(':').next().unwrap();
        assert!(ports.contains(&format!("127.0.0.1:{port}:{port}").as_str()), "{endpoint}: {ports:?}");
    }
    let tempo = yaml("tempo.yaml");
    let tempo = tempo["distributor"]["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].as_str().unwrap();
    let at_tempo = collector["exporters"]["otlp/tempo"]["endpoint"].as_str().unwrap();
    assert_eq!(tempo.rsplit(':').next(), at_tempo.rsplit(':').next());
    yaml("prometheus.yml");
    yaml("grafana-dashboards.yaml");
}

#[test]
fn the_page_names_the_versions_that_the_services_have() {
    let page = document("backends.md");
    let services = &yaml("compose.yaml")["services"];
    for service in services.as_object().unwrap().values() {
        let image = service["image"].as_str().unwrap();
        let version = image.rsplit(':').next().unwrap().trim_start_matches('v');
        let (minor, _) = version.rsplit_once('.').unwrap();
        assert!(page.contains(&format!(" {minor}")), "{image} is not named in the page");
    }
}

#[test]
fn every_way_from_one_signal_to_another_leads_to_a_source_that_exists() {
    let sources = yaml("grafana-datasources.yaml");
    let sources = sources["datasources"].as_array().unwrap();
    let ids: Vec<_> = sources.iter().map(|source| source["uid"].as_str().unwrap()).collect();
    for source in sources {
        let settings = &source["jsonData"];
        let lists = ["exemplarTraceIdDestinations", "derivedFields"].map(|list| &settings[list]);
        let listed = lists.into_iter().filter_map(Value::as_array).flatten();
        let targets = listed.chain([&settings["tracesToLogsV2"]]).filter(|target| target.is_object());
        for target in targets {
            assert!(ids.contains(&target["datasourceUid"].as_str().unwrap()), "{target}");
        }
    }
}

/// The lines of the blocks of the page in a language.
pub(crate) fn queries_of_page(language: &str) -> Vec<String> {
    let page = document("backends.md");
    let beginning = format!("```{language}\n");
    let blocks = page.split(&beginning).skip(1);
    blocks.flat_map(|block| block.split("```").next().unwrap().lines()).map(str::to_owned).collect()
}

/// The queries of the dashboard to a source, by the field that they stand in.
pub(crate) fn queries_of_dashboard(source: &str, field: &str) -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&document("backends/grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let of_source = targets.filter(|target| target["datasource"]["type"] == source);
    of_source.map(|target| target[field].as_str().unwrap().to_owned()).collect()
}

#[test]
fn queries_of_traces_name_spans_and_attributes_that_there_are() {
    let attributes: Vec<String> = Key::ALL
        .iter()
        .map(|key| Namespace::default().key(*key))
        .chain(key::ALL.iter().map(|key| key.name.to_owned()))
        .collect();
    let names: Vec<&str> = span::ALL.iter().chain(event::ALL).map(|name| name.name).collect();
    let queries = [queries_of_page("traceql"), queries_of_dashboard("tempo", "query")].concat();
    assert!(queries.len() > 5, "{queries:?}");
    for query in queries {
        let is_of_word = |c: char| c.is_ascii_alphanumeric() || "._:".contains(c);
        for word in query.split(|c| !is_of_word(c)) {
            let Some((_, attribute)) = word.split_once('.').filter(|(of, _)| ["span", "event"].contains(of))
            else {
                continue;
            };
            assert!(attributes.iter().any(|known| known == attribute), "{query}: there is no {attribute}");
        }
        for name in query.split("name = \"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(names.contains(&name), "{query}: nothing is called {name}");
        }
    }
}

#[test]
fn queries_of_logs_name_codes_of_warnings_that_there_are() {
    let codes = document("warnings.md");
    for query in queries_of_page("logql") {
        let (_, wanted) = query.split_once("warning_code").unwrap();
        for code in wanted.trim_matches(['=', '~', '"']).split('|') {
            assert!(codes.contains(&format!("| `{code}` |")), "{query}: there is no warning {code}");
        }
    }
}
