//! The environment variables that are honoured, as one table.

use figment::{
    Error, Metadata, Profile as FigmentProfile, Provider,
    value::{Dict, Map, Value},
};

/// How the text of a variable becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariableKind {
    /// Taken as it is.
    Text,
    /// `true`, `1`, `yes`, `on` or `false`, `0`, `no`, `off`.
    Flag,
    /// A whole number.
    Integer,
    /// A number.
    Number,
}

/// An environment variable and the setting it gives.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// The variable's name.
    pub name: &'static str,
    /// The setting, as a dotted path into [`crate::Settings`].
    pub key: &'static str,
    /// How its text is read.
    pub kind: VariableKind,
}

const fn variable(name: &'static str, key: &'static str, kind: VariableKind) -> Variable {
    Variable { name, key, kind }
}

/// Every environment variable that gives a setting. The `HAMILTON_*` names are those of the Python SDK. The `OTEL_*`
/// variables of the OpenTelemetry specification are read by `daglight-otel-bridge`.
pub const VARIABLES: &[Variable] = &[
    variable("HAMILTON_TELEMETRY_PROFILE", "profile", VariableKind::Text),
    variable("HAMILTON_DAG_NAME", "dag_name", VariableKind::Text),
    variable("HAMILTON_API_URL", "tracker.api_url", VariableKind::Text),
    variable("HAMILTON_UI_URL", "tracker.ui_url", VariableKind::Text),
    variable("HAMILTON_PROJECT_ID", "tracker.project_id", VariableKind::Integer),
    variable("DAGLIGHT_PROJECT", "tracker.project", VariableKind::Text),
    variable("DAGLIGHT_CREATE_PROJECT", "tracker.create_project", VariableKind::Flag),
    variable("HAMILTON_USERNAME", "tracker.username", VariableKind::Text),
    variable("HAMILTON_API_KEY", "tracker.api_key", VariableKind::Text),
    variable("HAMILTON_TRACKER_ENABLED", "tracker.enabled", VariableKind::Flag),
    variable("HAMILTON_CAPTURE_DATA_STATISTICS", "capture.data_statistics", VariableKind::Flag),
    variable("HAMILTON_MAX_LIST_LENGTH_CAPTURE", "capture.max_list_length", VariableKind::Integer),
    variable("HAMILTON_MAX_DICT_LENGTH_CAPTURE", "capture.max_dict_length", VariableKind::Integer),
    variable("DAGLIGHT_OUTPUT_DIR", "bundle.output_dir", VariableKind::Text),
    variable("DAGLIGHT_ENVIRONMENT", "environment", VariableKind::Text),
    variable("DAGLIGHT_TEAM", "team", VariableKind::Text),
    variable("DAGLIGHT_STRICT_REGISTRY", "strict_registry", VariableKind::Flag),
    variable("DAGLIGHT_NAMESPACE", "otel.namespace", VariableKind::Text),
    variable("DAGLIGHT_TRACE_URL", "otel.trace_url", VariableKind::Text),
    variable("DAGLIGHT_HEARTBEAT_SECONDS", "heartbeat.interval_seconds", VariableKind::Number),
    variable("DAGLIGHT_FLUSH_SECONDS", "tracker.flush_seconds", VariableKind::Number),
];

/// One variable that is set, as a layer of the configuration with its own origin.
pub(crate) struct VariableProvider {
    pub(crate) variable: Variable,
    pub(crate) text: String,
}

impl Provider for VariableProvider {
    fn metadata(&self) -> Metadata {
        Metadata::named(format!("environment variable {}", self.variable.name))
    }

    fn data(&self) -> Result<Map<FigmentProfile, Dict>, Error> {
        let value = self.value().map_err(|expected| {
            Error::from(format!("{}={:?}: expected {expected}", self.variable.name, self.text))
        })?;
        Ok(FigmentProfile::Default.collect(nest(self.variable.key, value)))
    }
}

impl VariableProvider {
    fn value(&self) -> Result<Value, &'static str> {
        let text = self.text.trim();
        match self.variable.kind {
            VariableKind::Text => Ok(Value::from(text.to_owned())),
            VariableKind::Integer => text.parse::<i64>().map(Value::from).map_err(|_| "a whole number"),
            VariableKind::Number => text.parse::<f64>().map(Value::from).map_err(|_| "a number"),
            VariableKind::Flag => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Ok(Value::from(true)),
                "false" | "0" | "no" | "off" => Ok(Value::from(false)),
                _ => Err("true or false"),
            },
        }
    }
}

fn nest(key: &str, value: Value) -> Dict {
    match key.split_once('.') {
        None => Dict::from([(key.to_owned(), value)]),
        Some((section, rest)) => Dict::from([(section.to_owned(), Value::from(nest(rest, value)))]),
    }
}
