//! Removes literals from names that the engine derives from expressions, such as those of columns without an alias, like the policy
//! of the profile `prod`.

use daglight_capture_policy::{Policy, Profile, Redactor, Types, without_typed_literals};
use daglight_run_bundle::SQL_FIELDS;
use serde_json::Value;

/// Fields with such names, in plans and in artifacts.
const NAME_FIELDS: [&str; 6] = ["name", "table", "column", "type", "source_tables", "unresolved"];
/// The field of an artifact with its columns. The name of the artifact itself is a name of the run.
const SCHEMA: &str = "schema";

/// Hides literals in names.
#[derive(Debug)]
pub(crate) struct Names(Redactor);

impl Names {
    pub(crate) fn new() -> Self {
        Self(Policy::of_profile(Profile::Prod).redactor().clone())
    }

    /// Hides them in a plan. As long as its SQL is there, literals in it are also hidden in other forms.
    pub(crate) fn of_plan(&self, plan: &mut Value) {
        self.learn(plan);
        self.hide(plan, false);
    }

    /// Hides them in the columns of artifacts.
    pub(crate) fn of_artifacts(&self, artifacts: &mut Value) {
        match artifacts {
            Value::Object(fields) => {
                for (field, value) in fields.iter_mut() {
                    if field == SCHEMA { self.hide(value, false) } else { self.of_artifacts(value) }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.of_artifacts(item)),
            _ => {}
        }
    }

    fn learn(&self, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (field, value) in fields {
                    match value.as_str() {
                        Some(sql) if field == "sql" => self.0.learn(sql),
                        Some(plan) if SQL_FIELDS.contains(&&**field) => self.0.learn_plan(plan),
                        _ => self.learn(value),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.learn(item)),
            _ => {}
        }
    }

    fn hide(&self, value: &mut Value, is_name: bool) {
        match value {
            Value::String(name) if is_name => *name = self.0.name_text(name),
            Value::Array(items) => items.iter_mut().for_each(|item| self.hide(item, is_name)),
            Value::Object(fields) => {
                fields
                    .iter_mut()
                    .for_each(|(field, value)| self.hide(value, NAME_FIELDS.contains(&&**field)));
            }
            _ => {}
        }
    }
}

/// Hides typed literals in plan notation, in texts at any depth.
pub(crate) fn without_literals(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('(') => {
            *text = without_typed_literals(text, Types::Shown).into_owned();
        }
        Value::Array(items) => items.iter_mut().for_each(without_literals),
        Value::Object(fields) => fields.values_mut().for_each(without_literals),
        _ => {}
    }
}
