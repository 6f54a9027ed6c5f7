//! A report in which every text is the same, generated from the schema of reports: for tests of its renderings.

use daglight_run_identity::RunId;
use schemars::schema_for;
use serde_json::{Map, Value, json};

use crate::report::Report;

/// A report in which every text, list, map and optional part is present, with `planted` for each free-form text.
pub(crate) fn report(planted: &str) -> Report {
    let schema = serde_json::to_value(schema_for!(Report)).unwrap();
    let document = Planter { planted, definitions: &schema["$defs"] }.value(&schema, "report");
    serde_json::from_value(document).unwrap()
}

struct Planter<'a> {
    planted: &'a str,
    definitions: &'a Value,
}

impl Planter<'_> {
    fn value(&self, schema: &Value, name: &str) -> Value {
        if let Some(reference) = schema["$ref"].as_str() {
            let definition = reference.rsplit('/').next().unwrap();
            return self.value(&self.definitions[definition], name);
        }
        for choice in ["anyOf", "oneOf", "allOf"] {
            if let Some(first) = schema[choice].as_array().and_then(|choices| choices.first()) {
                return self.value(first, name);
            }
        }
        if let Some(only) = schema.get("const") {
            return only.clone();
        }
        if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
            return first.clone();
        }
        let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
        match kind.unwrap_or_else(|| panic!("{name}: {schema}")) {
            "object" => self.object(schema, name),
            "array" => json!([self.value(&schema["items"], name)]),
            "integer" | "number" => json!(1),
            "boolean" => json!(true),
            _ => match (schema["format"].as_str(), name) {
                (Some("date-time"), _) => json!("2026-11-21T08:00:00Z"),
                (Some("uuid"), _) | (_, "run_id") => json!(RunId::new()),
                (_, "dag_name") => json!("test::planted_v1"),
                _ => json!(self.planted),
            },
        }
    }

    fn object(&self, schema: &Value, name: &str) -> Value {
        let mut object = Map::new();
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            object.insert(name.clone(), self.value(schema, name));
        }
        if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
            object.insert(self.planted.to_owned(), self.value(values, name));
        }
        object.into()
    }
}
