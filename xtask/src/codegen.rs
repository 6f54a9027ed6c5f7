//! `cargo xtask codegen`: the wire types of the Hamilton tracking API, from the server's own OpenAPI document, and the dashboard
//! for Grafana.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

use crate::dashboard;

const COMMAND: &str = "cargo xtask codegen";

const LINTS: &str = "\
#![allow(missing_docs, reason = \"the document says what it says\")]
#![allow(dead_code, unreachable_pub, clippy::all, reason = \"generated\")]
";

/// What the client calls. Only these, and the schemas they reach, are kept of a server's document.
const OPERATIONS: [(&str, &str); 13] = [
    ("get", "/api/v1/phone_home"),
    ("get", "/api/v1/whoami"),
    ("get", "/api/v1/projects"),
    ("post", "/api/v1/projects"),
    ("get", "/api/v1/projects/{project_id}"),
    ("get", "/api/v1/dag_templates/exists/"),
    ("post", "/api/v1/dag_templates"),
    ("post", "/api/v1/dag_runs"),
    ("get", "/api/v1/dag_runs/latest/"),
    ("get", "/api/v1/dag_runs/{dag_run_ids}"),
    ("put", "/api/v1/dag_runs/{dag_run_id}/"),
    ("put", "/api/v1/dag_runs_bulk"),
    ("get", "/api/v1/node_runs/by_run_ids/{dag_run_ids}"),
];

/// Writes `wire.rs` from the document that is checked in, and the dashboard; with `check`, fails where that would change them.
pub(crate) fn run(check: bool) -> anyhow::Result<()> {
    let document = read(&document_path())?;
    let document: Value = serde_json::from_str(&document).context("openapi.json is not JSON")?;
    write(&wire_path(), &wire(&document)?, check)?;
    write(&dashboard_path(), &dashboard::json(), check)
}

/// Replaces the document that is checked in by what the client uses of `document`, a server's `/api/openapi.json`, and
/// writes `wire.rs` from it; with `check`, fails where either would change.
pub(crate) fn run_with_document(document: &str, check: bool) -> anyhow::Result<()> {
    let document: Value = serde_json::from_str(document).context("the server's document is not JSON")?;
    let trimmed = trim(&document)?;
    let mut text = serde_json::to_string_pretty(&trimmed)?;
    text.push('\n');
    write(&document_path(), &text, check)?;
    write(&wire_path(), &wire(&trimmed)?, check)
}

/// The part of a server's document that the client uses. Nothing in it is changed, so that it can be compared with
/// that of another server.
fn trim(document: &Value) -> anyhow::Result<Value> {
    let mut paths = Map::new();
    for (method, path) in OPERATIONS {
        let operation = &document["paths"][path][method];
        if operation.is_null() {
            // Better here than as a request that the server refuses.
            bail!("the server has no {method} {path}: the client would have to be changed");
        }
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[method] = operation.clone();
    }
    let mut schemas = Map::new();
    let mut wanted = references(&Value::Object(paths.clone()));
    // Schemas refer to each other; only those that are reached from our operations are kept.
    while let Some(name) = wanted.pop_first() {
        let schema = &document["components"]["schemas"][&name];
        if schema.is_null() {
            bail!("the server's document refers to {name}, and does not have it");
        }
        wanted.extend(references(schema).into_iter().filter(|name| !schemas.contains_key(name)));
        schemas.insert(name, schema.clone());
    }
    Ok(sorted(json!({
        "openapi": document["openapi"],
        "info": document["info"],
        "paths": paths,
        "components": { "schemas": schemas },
    })))
}

/// The same value with its keys in order, so that the file is the same whatever order the server has them in.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(entries) => {
            let entries: BTreeMap<String, Value> =
                entries.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            // Sorted, because a map of JSON may keep the order in which the server wrote it, and each release of it
            // has another.
            entries.into_iter().collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

const SCHEMA_PREFIX: &str = "#/components/schemas/";

fn references(value: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    visit(value, &mut |entries| {
        if let Some(name) = entries.get("$ref").and_then(Value::as_str) {
            names.extend(name.strip_prefix(SCHEMA_PREFIX).map(str::to_owned));
        }
    });
    names
}

fn visit(value: &Value, seen: &mut impl FnMut(&Map<String, Value>)) {
    match value {
        Value::Object(entries) => {
            seen(entries);
            entries.values().for_each(|value| visit(value, seen));
        }
        Value::Array(items) => items.iter().for_each(|value| visit(value, seen)),
        _ => {}
    }
}

/// The Rust types of a document's schemas.
fn wire(document: &Value) -> anyhow::Result<String> {
    let definitions = as_definitions(sorted(document["components"]["schemas"].clone()));
    let schema = serde_json::from_value(json!({ "definitions": definitions }))
        .context("openapi.json has a schema that is not a JSON schema")?;
    let mut types = typify::TypeSpace::new(typify::TypeSpaceSettings::default().with_struct_builder(false));
    types.add_root_schema(schema).context("typify cannot express a schema of openapi.json")?;
    let file: syn::File = syn::parse2(types.to_stream()).context("typify made no valid Rust")?;
    Ok(format!(
        "//! Made by `{COMMAND}` from openapi.json; not edited by hand.\n\n{LINTS}\n{}",
        prettyplease::unparse(&file)
    ))
}

/// References point into `definitions`. Titles go, for they are labels for people and typify takes them for names. So do
/// lengths: each would make another type, which refuses where the client has to truncate.
fn as_definitions(value: Value) -> Value {
    match value {
        Value::Object(entries) => entries
            .into_iter()
            // Titles would become the names of types, and a limit of length another type for each text.
            .filter(|(key, value)| !(key == "title" && value.is_string()) && key != "maxLength")
            .map(|(key, value)| match value {
                Value::String(text) if key == "$ref" => {
                    (key, text.replace(SCHEMA_PREFIX, "#/definitions/").into())
                }
                value => (key, as_definitions(value)),
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.into_iter().map(as_definitions).collect(),
        other => other,
    }
}

fn write(path: &Path, text: &str, check: bool) -> anyhow::Result<()> {
    if !check {
        return fs::write(path, text).with_context(|| format!("cannot write {}", path.display()));
    }
    let current = read(path)?;
    if current == text {
        return Ok(());
    }
    // The first line that differs says enough: the files have thousands.
    let line = current.lines().zip(text.lines()).take_while(|(old, new)| old == new).count();
    bail!(
        "{} is stale from line {}\n- {}\n+ {}\nrun `{COMMAND}` and commit what changed",
        path.display(),
        line + 1,
        current.lines().nth(line).unwrap_or("(end of file)"),
        text.lines().nth(line).unwrap_or("(end of file)"),
    )
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn crate_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/tracker-client")
}

fn document_path() -> PathBuf {
    crate_dir().join("openapi.json")
}

fn wire_path() -> PathBuf {
    crate_dir().join("src/wire.rs")
}

fn dashboard_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/backends/grafana-dashboard.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_generated_is_current() {
        run(true).unwrap();
    }

    #[test]
    fn the_document_and_the_wire_types_are_those_of_the_running_server() {
        run_with_document(&crate::server_document().unwrap(), true).unwrap();
    }

    #[test]
    fn the_document_has_nothing_that_is_not_used() {
        let document: Value = serde_json::from_str(&read(&document_path()).unwrap()).unwrap();
        assert_eq!(trim(&document).unwrap(), document);
    }
}
