//! Converts events to the server's types, within its column limits and in the shapes that its page can show.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
};

use daglight_run_bundle::outbox::{
    Attribute, AttributeKind, AttributeRole, Outcome, RUN_ID_TAG, Version, VersionNode,
};
use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use serde_json::{Map, Value, json};

use crate::wire;

// The sizes of the server's columns, in characters. SQLite accepts more, PostgreSQL fails.
const MAX_NAME_CHARS: usize = 255;
const MAX_ATTRIBUTE_NAME_CHARS: usize = 63;
const MAX_PATH_CHARS: usize = 1024;

/// The output type for which the page has a view.
const OUTPUT_TYPE: &str = "python_type";

type Object = Map<String, Value>;

/// The body that creates a version, a [`wire::DagTemplateIn`].
///
/// Its nodes are created one at a time during serialisation: all together would take many times the memory of their text.
pub(crate) struct Template<'a>(pub(crate) &'a Version);

impl Template<'_> {
    pub(crate) fn name(&self) -> String {
        fit(&self.0.dag_name, MAX_NAME_CHARS)
    }
}

impl Serialize for Template<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Version { dag_name: _, dag_hash, code_hash, nodes, files, tags: own_tags } = self.0;
        let types = nodes.iter().map(|node| (node.name.as_str(), node.output_type.as_str())).collect();
        let mut body = serializer.serialize_struct("DAGTemplateIn", 10)?;
        body.serialize_field("name", &self.name())?;
        body.serialize_field("template_type", "HAMILTON")?;
        body.serialize_field("config", &Object::new())?;
        body.serialize_field("dag_hash", dag_hash)?;
        body.serialize_field("code_hash", code_hash)?;
        body.serialize_field("tags", &tags(own_tags))?;
        body.serialize_field("nodes", &Each(|| nodes.iter().map(|node| node_template(node, &types))))?;
        body.serialize_field("code_artifacts", &Each(|| nodes.iter().filter_map(code_artifact)))?;
        body.serialize_field("code_log", &code_log(files))?;
        // A version is independent of the commit it was run from: the commit is a tag of the run.
        body.serialize_field("code_version_info_type", "ad_hoc")?;
        body.end()
    }
}

/// A list whose items are created during serialisation.
struct Each<F>(F);

impl<F: Fn() -> I, I: Iterator<Item: Serialize>> Serialize for Each<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

fn code_log(files: &BTreeMap<String, String>) -> wire::CodeLog {
    let file = |(path, contents): (&String, &String)| wire::File {
        path: fit(path, MAX_PATH_CHARS),
        contents: clean(contents).into_owned(),
    };
    wire::CodeLog { files: files.iter().map(file).collect() }
}

fn node_template(node: &VersionNode, types: &HashMap<&str, &str>) -> wire::NodeTemplateIn {
    let type_name = |name: &str| json!({ "type_name": clean(types.get(name).copied().unwrap_or("table")) });
    wire::NodeTemplateIn {
        name: node_name(&node.name),
        classifications: vec![node.kind.name().into()],
        code_artifact_pointers: node.code.iter().map(|_| node_name(&node.name)).collect(),
        dependencies: Some(node_names(&node.dependencies)),
        dependency_specs: Some(node.dependencies.iter().map(|name| type_name(name)).collect()),
        dependency_specs_type: Some(OUTPUT_TYPE.to_owned()),
        dependency_specs_schema_version: Some(1),
        output: Some(Object::from_iter([("type_name".to_owned(), clean(&node.output_type).into())])),
        output_type: Some(OUTPUT_TYPE.to_owned()),
        output_schema_version: Some(1),
        documentation: node.documentation.as_deref().map(|text| clean(text).into_owned()),
        tags: Some(tags(&node.tags)),
    }
}

/// The lines of a node's code; the page counts them from 0, with an exclusive end.
fn code_artifact(node: &VersionNode) -> Option<wire::CodeArtifactIn> {
    let code = node.code.as_ref()?;
    Some(wire::CodeArtifactIn {
        name: node_name(&node.name),
        type_: "p_function".to_owned(),
        path: fit(&code.path, MAX_PATH_CHARS),
        start: code.first_line.saturating_sub(1) as i64,
        end: code.last_line as i64,
        url: String::new(),
        dag_template_id: None,
    })
}

/// A node's name, the same in templates and runs.
pub(crate) fn node_name(name: &str) -> String {
    fit(name, MAX_NAME_CHARS)
}

pub(crate) fn node_names(names: &[String]) -> Vec<Value> {
    names.iter().map(|name| node_name(name).into()).collect()
}

pub(crate) fn tags(tags: &BTreeMap<String, String>) -> Object {
    tags.iter().map(|(key, value)| (clean(key).into_owned(), clean(value).into())).collect()
}

/// The tags of a run, including its own id.
pub(crate) fn run_tags(run_id: &str, own: &BTreeMap<String, String>) -> Object {
    let mut tags = tags(own);
    tags.insert(RUN_ID_TAG.to_owned(), run_id.into());
    tags
}

/// The server's name for how a node ended.
pub(crate) const fn wire_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "SUCCESS",
        Outcome::Failure => "FAILURE",
    }
}

/// The server's name for how a run ended.
pub(crate) const fn run_status(outcome: Outcome) -> wire::DagRunUpdateRunStatus {
    match outcome {
        Outcome::Success => wire::DagRunUpdateRunStatus::Success,
        Outcome::Failure => wire::DagRunUpdateRunStatus::Failure,
    }
}

/// The attributes of one node. A number is appended to a repeated name, because the server accepts each name only once.
pub(crate) fn attributes(node: &str, attributes: Vec<Attribute<Value>>) -> Vec<wire::NodeRunAttributeIn> {
    let mut names = HashSet::new();
    attributes
        .into_iter()
        .map(|attribute| {
            let numbered = (2_u32..).map(|number| format!("{}_{number}", attribute.name));
            let name = std::iter::once(attribute.name.clone())
                .chain(numbered)
                .map(|name| fit(&name, MAX_ATTRIBUTE_NAME_CHARS))
                .find(|name| names.insert(name.clone()))
                .expect("there are more numbers than attributes");
            let Shown { type_name, version, value } = shown(attribute.kind, clean_value(attribute.value));
            wire::NodeRunAttributeIn {
                node_name: node_name(node),
                name,
                type_: type_name.to_owned(),
                schema_version: version,
                value,
                attribute_role: role_name(attribute.role).to_owned(),
            }
        })
        .collect()
}

const fn role_name(role: AttributeRole) -> &'static str {
    match role {
        AttributeRole::ResultSummary => "result_summary",
        AttributeRole::Error => "error",
        AttributeRole::ResourceUtilization => "resource_utilization",
        AttributeRole::ArtifactLink => "artifact_link",
        AttributeRole::Logs => "logs",
    }
}

/// A value in a shape for which the page has a view.
struct Shown {
    type_name: &'static str,
    version: i64,
    value: Object,
}

fn shown(kind: AttributeKind, value: Value) -> Shown {
    let object = |type_name, version, value| Shown { type_name, version, value };
    match (kind, value) {
        (AttributeKind::Dict, Value::Object(entries)) => {
            object("dict", 2, entries_of(json!({ "type": "dict", "value": entries })))
        }
        (AttributeKind::DagworksDescribe, Value::Object(columns)) => {
            object("dagworks_describe", 3, columns_only(columns, left_out_of_summary))
        }
        (AttributeKind::Schema, Value::Object(columns)) => {
            object("schema", 1, columns_only(columns, left_out_of_schema))
        }
        (AttributeKind::Error, Value::Array(lines)) => {
            let lines: Vec<String> = lines.iter().map(text).collect();
            object("error", 1, entries_of(json!({ "stack_trace": lines })))
        }
        (AttributeKind::Error, value) => {
            let text = text(&value);
            object("error", 1, entries_of(json!({ "stack_trace": text.lines().collect::<Vec<_>>() })))
        }
        (AttributeKind::Html, Value::String(html)) => object("html", 1, entries_of(json!({ "html": html }))),
        (_, value) => {
            let shown = json!({ "type": type_of(&value), "value": text(&value) });
            object("primitive", 1, entries_of(shown))
        }
    }
}

fn entries_of(value: Value) -> Object {
    match value {
        Value::Object(entries) => entries,
        other => Object::from_iter([("value".to_owned(), other)]),
    }
}

/// The page interprets every entry as a column. If the policy left columns out, the text about it becomes one, too.
fn columns_only(columns: Object, left_out: fn(&str, usize, &str) -> Value) -> Object {
    columns
        .into_iter()
        .enumerate()
        .map(|(position, (name, column))| match column {
            Value::Object(_) => (name, column),
            other => {
                let column = left_out(&name, position, &text(&other));
                (name, column)
            }
        })
        .collect()
}

fn left_out_of_summary(name: &str, position: usize, text: &str) -> Value {
    json!({
        "name": name, "pos": position, "data_type": text, "base_data_type": "unhandled", "count": 0, "missing": 0
    })
}

fn left_out_of_schema(name: &str, _position: usize, text: &str) -> Value {
    json!({ "name": name, "type": text, "nullable": true, "metadata": {} })
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

const fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

/// The text in at most `max_chars` characters. A text that is cut ends with a hash of the whole, so that it stays unique.
fn fit(text: &str, max_chars: usize) -> String {
    let text = clean(text);
    if text.chars().count() <= max_chars {
        return text.into_owned();
    }
    let hash = format!("~{:08x}", crc32fast::hash(text.as_bytes()));
    text.chars().take(max_chars - hash.len()).chain(hash.chars()).collect()
}

/// PostgreSQL does not support NUL characters in texts.
fn clean(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

fn clean_value(value: Value) -> Value {
    match value {
        Value::String(text) if text.contains('\0') => clean(&text).into(),
        Value::Array(items) => items.into_iter().map(clean_value).collect(),
        Value::Object(entries) => entries
            .into_iter()
            .map(|(key, value)| (clean(&key).into_owned(), clean_value(value)))
            .collect::<Object>()
            .into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use daglight_run_identity::{Code, Dag};

    use super::*;
    use crate::Event;

    #[track_caller]
    fn check_shown(kind: AttributeKind, value: Value, expected: (&str, i64, Value)) {
        let Shown { type_name, version, value } = shown(kind, value);
        assert_eq!((type_name, version, Value::Object(value)), expected);
    }

    #[test]
    fn values_take_the_shape_of_their_view() {
        use AttributeKind::*;
        check_shown(Primitive, json!(3), ("primitive", 1, json!({"type": "number", "value": "3"})));
        check_shown(Dict, json!({"a": 1}), ("dict", 2, json!({"type": "dict", "value": {"a": 1}})));
        check_shown(Error, json!("a\nb"), ("error", 1, json!({"stack_trace": ["a", "b"]})));
        check_shown(Error, json!(["a", 1]), ("error", 1, json!({"stack_trace": ["a", "1"]})));
        check_shown(Html, json!("<b>"), ("html", 1, json!({"html": "<b>"})));
        check_shown(Schema, json!({"a": {"name": "a"}}), ("schema", 1, json!({"a": {"name": "a"}})));
    }

    #[test]
    fn values_of_another_shape_are_shown_as_text() {
        let left_out = json!({"type": "str", "value": "[left out]"});
        for kind in [AttributeKind::Dict, AttributeKind::Schema, AttributeKind::DagworksDescribe] {
            check_shown(kind, json!("[left out]"), ("primitive", 1, left_out.clone()));
        }
    }

    #[test]
    fn columns_that_were_left_out_are_a_column() {
        let shown = shown(AttributeKind::DagworksDescribe, json!({"a": {"name": "a"}, "…": "[3 more keys]"}));
        assert_eq!(shown.value["…"]["data_type"], "[3 more keys]");
        assert_eq!(shown.value["…"]["base_data_type"], "unhandled");
    }

    #[test]
    fn long_names_fit_and_stay_different() {
        let (a, b) = (fit(&"ä".repeat(64), 63), fit(&"ä".repeat(65), 63));
        assert_eq!((a.chars().count(), b.chars().count()), (63, 63));
        assert_ne!(a, b);
        assert_eq!(fit("short\0", 63), "short\u{fffd}");
    }

    #[test]
    fn a_name_is_sent_once_for_a_node() {
        let attribute = || Attribute {
            name: "rows".into(),
            kind: AttributeKind::Primitive,
            role: AttributeRole::ResultSummary,
            value: json!("1\0"),
        };
        let sent = attributes("n", vec![attribute(), attribute()]);
        assert_eq!(
            sent.iter().map(|attribute| attribute.name.as_str()).collect::<Vec<_>>(),
            ["rows", "rows_2"]
        );
        assert_eq!(sent[0].value["value"], "1\u{fffd}");
    }

    #[test]
    fn a_template_is_what_the_server_takes() {
        let code = Code {
            path: "orders.sql".into(),
            first_line: 2,
            last_line: 3,
            text: "SELECT 1\n".into(),
            normalized: "SELECT ?".into(),
        };
        let dag = Dag::builder("shop::orders_v1").unwrap().loader("orders").code(code).tag("layer", "gold");
        let dag = dag.transform("risk", ["orders"]).documentation("Late").build().unwrap();
        let Event::Version(version) = Event::version(&dag, BTreeMap::from([("team".into(), "risk".into())]))
        else {
            unreachable!("it is a version")
        };
        let body = serde_json::to_value(Template(&version)).unwrap();
        let read: wire::DagTemplateIn = serde_json::from_value(body.clone()).unwrap();
        assert_eq!((read.nodes.len(), read.code_artifacts.len(), read.code_log.files.len()), (2, 1, 1));
        assert_eq!(read.nodes[1].dependency_specs.as_deref(), Some(&[json!({"type_name": "table"})][..]));
        assert_eq!((read.code_artifacts[0].start, read.code_artifacts[0].end), (0, 1));
        let mut again = serde_json::to_value(read).unwrap();
        again.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        assert_eq!(again, body);
    }

    #[test]
    fn the_limits_are_those_of_the_server() {
        let document: Value = serde_json::from_str(include_str!("../openapi.json")).unwrap();
        let limit = |schema: &str, property: &str| {
            document["components"]["schemas"][schema]["properties"][property]["maxLength"].as_u64().unwrap()
                as usize
        };
        assert_eq!(limit("NodeRunAttributeIn", "name"), MAX_ATTRIBUTE_NAME_CHARS);
        assert_eq!(limit("NodeRunAttributeIn", "node_name"), MAX_NAME_CHARS);
        assert_eq!(limit("NodeRunIn", "node_template_name"), MAX_NAME_CHARS);
        assert_eq!(limit("DAGTemplateIn", "name"), MAX_NAME_CHARS);
        assert_eq!(limit("CodeArtifactIn", "path"), MAX_PATH_CHARS);
    }
}
