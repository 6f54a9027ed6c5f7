//! The resource: the process from which the signals come.

use std::{collections::BTreeMap, env, fs, path::Path};

use daglight_capture_policy::{REDACTED, Redactor};
use opentelemetry::{KeyValue, Value};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::{
    Resource,
    resource::TelemetryResourceDetector,
    trace::{IdGenerator as _, RandomIdGenerator},
};
use uuid::Builder;

use crate::{
    environment::Environment,
    names::{self, Namespace, key},
    run_scope::RunScope,
};

/// The resource of this process. The variables take precedence over `attributes`, and those over detected values.
pub(crate) fn of_process(
    service_name: &str,
    detected: BTreeMap<String, Value>,
    attributes: &BTreeMap<String, String>,
    environment: &Environment,
    redactor: &Redactor,
) -> Resource {
    let mut merged = detected;
    merged.insert(key::SERVICE_NAME.to_owned(), service_name.to_owned().into());
    merged.extend(texts(attributes));
    merged.extend(
        environment.resource_attributes.iter().map(|(key, value)| (key.clone(), value.clone().into())),
    );
    if let Some(name) = &environment.service_name {
        merged.insert(key::SERVICE_NAME.to_owned(), name.clone().into());
    }
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(redacted(merged, redactor))
        .build()
}

/// The resource in the files of a run: that of the process, and the identity of the run.
pub(crate) fn of_run(
    process: &Resource,
    scope: &RunScope,
    namespace: &Namespace,
    redactor: &Redactor,
) -> Resource {
    let mut merged: BTreeMap<String, Value> = texts(&scope.attributes).collect();
    merged.insert(namespace.key(names::Key::RunId), scope.run_id.to_string().into());
    merged.insert(namespace.key(names::Key::OutputDir), scope.output_dir.display().to_string().into());
    merged.insert(key::HAMILTON_DAG_NAME.to_owned(), scope.dag_name.to_string().into());
    let process = process.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    Resource::builder_empty().with_attributes(process.chain(redacted(merged, redactor))).build()
}

/// The resource for lines of a signal file, sorted by key.
pub(crate) fn for_files(resource: &Resource) -> ResourceAttributesWithSchema {
    let mut converted = ResourceAttributesWithSchema::from(resource);
    converted.attributes.0.sort_by(|a, b| a.key.cmp(&b.key));
    converted
}

fn texts(attributes: &BTreeMap<String, String>) -> impl Iterator<Item = (String, Value)> + '_ {
    attributes.iter().map(|(key, value)| (key.clone(), value.clone().into()))
}

fn redacted(attributes: BTreeMap<String, Value>, redactor: &Redactor) -> impl Iterator<Item = KeyValue> + '_ {
    attributes.into_iter().map(|(key, value)| {
        let value = match value {
            _ if redactor.hides_key(&key) => REDACTED.into(),
            Value::String(text) => redactor.text(text.as_str()).into(),
            other => other,
        };
        KeyValue::new(redactor.text(&key), value)
    })
}

/// Detected facts about the process, and with `host` about its machine. Command line arguments are excluded: they may contain
/// anything.
pub(crate) fn detected(host: bool) -> BTreeMap<String, Value> {
    let executable = env::current_exe().ok();
    let executable = executable.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    let optional = [
        (key::PROCESS_EXECUTABLE_NAME, executable.map(str::to_owned)),
        (key::HOST_NAME, first_line("/proc/sys/kernel/hostname")),
        (key::OS_VERSION, first_line("/proc/sys/kernel/osrelease")),
        (
            "container.id",
            fs::read_to_string("/proc/self/mountinfo").ok().and_then(|text| container_id(&text)),
        ),
    ];
    let mut attributes: BTreeMap<String, Value> =
        optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.into()))).collect();
    let fixed: [(&str, Value); 6] = [
        (key::SERVICE_INSTANCE_ID, instance_id().into()),
        (key::PROCESS_PID, i64::from(std::process::id()).into()),
        (key::OS_TYPE, if env::consts::OS == "macos" { "darwin" } else { env::consts::OS }.into()),
        (key::HOST_ARCH, architecture().into()),
        (key::TELEMETRY_DISTRO_NAME, names::SCOPE.into()),
        (key::TELEMETRY_DISTRO_VERSION, env!("CARGO_PKG_VERSION").into()),
    ];
    attributes.extend(fixed.map(|(key, value)| (key.to_owned(), value)));
    attributes
        .retain(|key, _| host || !["host.", "os.", "container."].iter().any(|kind| key.starts_with(kind)));
    attributes
}

/// A UUID of version 4, as the semantic conventions recommend. Without it, a backend that identifies a series by its resource would
/// mistake each new process of a service for the previous one, with its counters reset.
fn instance_id() -> String {
    Builder::from_random_bytes(RandomIdGenerator::default().new_trace_id().to_bytes()).into_uuid().to_string()
}

/// The architecture by its name in the semantic conventions.
fn architecture() -> &'static str {
    match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "arm32",
        other => other,
    }
}

fn first_line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().next().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned)
}

/// The container id from the mounts that a container runtime creates for each container, such as `/var/lib/docker/containers/<64
/// hexadecimal characters>/hostname`.
fn container_id(mounts: &str) -> Option<String> {
    let is_id = |part: &&str| part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    mounts
        .lines()
        .filter(|line| line.contains("/containers/"))
        .find_map(|line| line.split(['/', ' ']).find(is_id))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<const N: usize>(variables: [(&str, &str); N], key: &'static str, expected: &str) {
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let attributes = BTreeMap::from([
            ("deployment.environment.name".to_owned(), "laptop".to_owned()),
            ("repository.url".to_owned(), "https://me:pw@host/x".to_owned()),
        ]);
        let environment = Environment::read(&variables.into(), &Redactor::default());
        let resource =
            of_process("daglight", detected(true), &attributes, &environment, &Redactor::default());
        assert_eq!(resource.get(&key.into()).map(|value| value.to_string()).as_deref(), Some(expected));
    }

    #[test]
    fn variables_win_and_the_service_name_has_its_own() {
        let list = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=listed,deployment.environment.name=prod");
        check([], "service.name", "daglight");
        check([list], "service.name", "listed");
        check([list, ("OTEL_SERVICE_NAME", "named")], "service.name", "named");
        check([list], "deployment.environment.name", "prod");
        check([], "deployment.environment.name", "laptop");
        check([], "telemetry.sdk.language", "rust");
    }

    #[test]
    fn the_machine_is_named_only_where_it_may_be() {
        let of_machine =
            |key: &String| ["host.", "os.", "container."].iter().any(|kind| key.starts_with(kind));
        assert!(detected(true).keys().any(of_machine));
        assert!(!detected(false).keys().any(of_machine) && detected(false).contains_key(key::PROCESS_PID));
    }

    #[test]
    fn each_process_is_an_instance_and_a_variable_names_it() {
        let id = |resource: &BTreeMap<String, Value>| resource[key::SERVICE_INSTANCE_ID].to_string();
        let (first, second) = (id(&detected(false)), id(&detected(false)));
        assert_ne!(first, second);
        assert_eq!((first.len(), &first[14..15]), (36, "4"), "a random UUID: {first}");
        check([("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=a")], "service.instance.id", "a");
    }

    #[test]
    fn credentials_in_the_resource_are_redacted() {
        check([], "repository.url", "https://[redacted]@host/x");
        check([("OTEL_RESOURCE_ATTRIBUTES", "api_key=abc")], "api_key", REDACTED);
    }

    #[test]
    fn a_container_is_recognised_by_its_mounts() {
        let id = "ab".repeat(32);
        let mounts =
            format!("1 2 0:1 / / rw\n3 4 0:2 /var/lib/docker/containers/{id}/hostname /etc/hostname rw");
        assert_eq!(container_id(&mounts), Some(id));
        assert_eq!(container_id("1 2 0:1 / / rw"), None);
    }
}
