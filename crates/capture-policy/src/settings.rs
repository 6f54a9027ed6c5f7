//! Every setting of Daglight, its defaults by profile, and the layers that give it a value.
//!
//! Layers, later ones win: the profile's defaults, `daglight.toml` found upward from the working directory, environment
//! variables ([`crate::VARIABLES`]), code (options of the command line among it).

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use figment::{
    Figment,
    error::Kind,
    providers::{Format, Serialized, Toml},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{OutputSettings, ParamTableSettings, Profile, Secret, VARIABLES, variables::VariableProvider};

/// The name of the configuration file.
const FILE_NAME: &str = "daglight.toml";

/// All settings, resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The profile that decides the defaults of all others.
    pub profile: Profile,
    /// The DAG's name where neither code nor option gives one.
    pub dag_name: Option<String>,
    /// Where the run takes place, such as `laptop`, `staging` or `production`. Default: the profile's name.
    pub environment: String,
    /// The team that owns the run.
    pub team: Option<String>,
    /// What may be captured.
    pub capture: CaptureSettings,
    /// The Hamilton tracking server.
    pub tracker: TrackerSettings,
    /// OpenTelemetry.
    pub otel: OtelSettings,
    /// The run bundle.
    pub bundle: BundleSettings,
    /// The heartbeat.
    pub heartbeat: HeartbeatSettings,
    /// The semantic registry: what is expected of outputs, by external name.
    pub outputs: BTreeMap<String, OutputSettings>,
    /// Whether a run fails when its outputs are not as the registry says. Default: no, it warns.
    pub strict_registry: bool,
    /// Sets of parameters that scripts read as tables, by name.
    pub param_tables: BTreeMap<String, ParamTableSettings>,
}

/// What may be captured, and how much of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaptureSettings {
    /// Whether data summaries are computed.
    pub data_statistics: bool,
    /// Items kept of a list.
    pub max_list_length: usize,
    /// Keys kept of an object.
    pub max_dict_length: usize,
    /// Characters kept of a text.
    pub max_string_length: usize,
    /// Levels of nesting kept.
    pub max_depth: usize,
    /// Bytes of JSON that one attribute may have.
    pub max_attribute_bytes: usize,
    /// Lines kept of a stack trace.
    pub max_stack_lines: usize,
    /// How SQL texts are captured.
    pub sql_text: SqlText,
    /// Whether single values of user data are shown: examples, most frequent values, least and greatest texts.
    pub values: bool,
    /// Names whose values are hidden, besides the built-in ones.
    pub redact_keys: Vec<String>,
}

/// How much of an SQL text is captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SqlText {
    /// The text as it was written.
    Whole,
    /// The text with every literal replaced by `?`.
    WithoutLiterals,
    /// No text.
    None,
}

impl SqlText {
    /// The name that configuration files use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::WithoutLiterals => "without_literals",
            Self::None => "none",
        }
    }
}

/// Where the Hamilton tracking server is, and as whom to talk to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrackerSettings {
    /// Whether runs are recorded for the tracker at all.
    pub enabled: bool,
    /// The server's base URL. Without one, runs wait in their bundles.
    pub api_url: Option<String>,
    /// The base URL of the page, where it differs from `api_url`.
    pub ui_url: Option<String>,
    /// The project's id.
    pub project_id: Option<i64>,
    /// The project's name, where the id is not known.
    pub project: Option<String>,
    /// Whether a project that does not exist is created. Default: no.
    pub create_project: bool,
    /// The user's e-mail address.
    pub username: Option<String>,
    /// The user's key.
    pub api_key: Option<Secret>,
    /// How long the end of a run waits for delivery, in seconds. Default: 10.
    pub flush_seconds: f64,
}

/// OpenTelemetry settings that the specification's own variables do not cover.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtelSettings {
    /// What Daglight's own attribute names start with. Default: `daglight`.
    pub namespace: String,
    /// The page of a trace in one's tracing backend, with `{trace_id}` where the id goes.
    pub trace_url: Option<String>,
    /// A stage that takes longer is marked `slow`, in seconds. Default: 10.
    pub slow_seconds: f64,
    /// How long the end of a run waits for the exporters, in seconds. Default: 5.
    pub shutdown_seconds: f64,
}

/// The run bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BundleSettings {
    /// The folder that holds `run_bundle/<run_id>`. Default: `out`.
    pub output_dir: PathBuf,
    /// What an acknowledged event survives. Default: `process`.
    pub durability: Durability,
}

/// What an acknowledged event survives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The death of the process.
    #[default]
    Process,
    /// Also the loss of power.
    Disk,
}

/// The heartbeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatSettings {
    /// Seconds between two beats. Default: 5.
    pub interval_seconds: f64,
    /// Seconds without progress after which a query counts as stalled. Default: 30.
    pub stall_seconds: f64,
}

impl HeartbeatSettings {
    /// The time between two beats.
    pub fn interval(&self) -> Duration {
        seconds(self.interval_seconds)
    }

    /// The time without progress after which a query counts as stalled.
    pub fn stall_after(&self) -> Duration {
        seconds(self.stall_seconds)
    }
}

impl OtelSettings {
    /// The duration past which a stage is slow.
    pub fn slow_after(&self) -> Duration {
        seconds(self.slow_seconds)
    }

    /// How long the end of a run waits for the exporters.
    pub fn shutdown_timeout(&self) -> Duration {
        seconds(self.shutdown_seconds)
    }
}

impl TrackerSettings {
    /// How long the end of a run waits for delivery.
    pub fn flush_timeout(&self) -> Duration {
        seconds(self.flush_seconds)
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

impl Settings {
    /// The defaults of a profile.
    pub fn of_profile(profile: Profile) -> Self {
        let (enabled, data_statistics, max_list_length, max_dict_length) = match profile {
            Profile::Dev => (true, true, 200, 200),
            Profile::Ci => (false, false, 5, 10),
            Profile::Prod => (true, false, 20, 50),
        };
        let in_prod = profile == Profile::Prod;
        Self {
            profile,
            dag_name: None,
            environment: profile.name().to_owned(),
            team: None,
            capture: CaptureSettings {
                data_statistics,
                max_list_length,
                max_dict_length,
                max_string_length: 20_000,
                max_depth: 8,
                max_attribute_bytes: 1 << 20,
                max_stack_lines: 60,
                sql_text: if in_prod { SqlText::WithoutLiterals } else { SqlText::Whole },
                values: !in_prod,
                redact_keys: Vec::new(),
            },
            tracker: TrackerSettings {
                enabled,
                api_url: None,
                ui_url: None,
                project_id: None,
                project: None,
                create_project: false,
                username: None,
                api_key: None,
                flush_seconds: 10.0,
            },
            otel: OtelSettings {
                namespace: "daglight".to_owned(),
                trace_url: None,
                slow_seconds: 10.0,
                shutdown_seconds: 5.0,
            },
            bundle: BundleSettings { output_dir: PathBuf::from("out"), durability: Durability::Process },
            heartbeat: HeartbeatSettings { interval_seconds: 5.0, stall_seconds: 30.0 },
            outputs: BTreeMap::new(),
            strict_registry: false,
            param_tables: BTreeMap::new(),
        }
    }

    fn validate(self) -> Result<Self, SettingsError> {
        let invalid =
            |setting: &'static str, expected: &'static str| Err(SettingsError::Invalid { setting, expected });
        let positive = |value: f64| value.is_finite() && value > 0.0;
        if !positive(self.heartbeat.interval_seconds) {
            return invalid("heartbeat.interval_seconds", "a number of seconds above 0");
        }
        if !positive(self.heartbeat.stall_seconds) {
            return invalid("heartbeat.stall_seconds", "a number of seconds above 0");
        }
        if !positive(self.tracker.flush_seconds) {
            return invalid("tracker.flush_seconds", "a number of seconds above 0");
        }
        if !positive(self.otel.shutdown_seconds) {
            return invalid("otel.shutdown_seconds", "a number of seconds above 0");
        }
        if !positive(self.otel.slow_seconds) {
            return invalid("otel.slow_seconds", "a number of seconds above 0");
        }
        let namespace = &self.otel.namespace;
        if namespace.is_empty() || !namespace.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        {
            return invalid("otel.namespace", "letters, digits, dots, dashes and underscores");
        }
        if self.tracker.api_url.as_deref().is_some_and(|url| !is_http(url)) {
            return invalid("tracker.api_url", "a URL that starts with http:// or https://");
        }
        if self.tracker.ui_url.as_deref().is_some_and(|url| !is_http(url)) {
            return invalid("tracker.ui_url", "a URL that starts with http:// or https://");
        }
        Ok(self)
    }
}

fn is_http(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

impl Default for Settings {
    fn default() -> Self {
        Self::of_profile(Profile::default())
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Collects the layers of the configuration.
///
/// ```
/// use daglight_capture_policy::{Profile, SettingsLoader};
///
/// let settings = SettingsLoader::new().with_variables([("HAMILTON_TELEMETRY_PROFILE", "prod")]).load()?;
/// assert_eq!(settings.profile, Profile::Prod);
/// assert_eq!(settings.capture.max_list_length, 20);
/// # Ok::<(), daglight_capture_policy::SettingsError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct SettingsLoader {
    file: Option<PathBuf>,
    variables: BTreeMap<String, String>,
    code: Figment,
}

impl SettingsLoader {
    /// No layer but the profile's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The layers of this process: `daglight.toml` upward from the working directory, and its environment.
    pub fn from_process() -> Self {
        let file = std::env::current_dir().ok().and_then(|dir| find_upward(&dir));
        Self::new()
            .with_variables(
                std::env::vars_os()
                    .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?))),
            )
            .with_file(file)
    }

    /// Uses this configuration file instead of another.
    #[must_use]
    pub fn with_file(mut self, file: Option<PathBuf>) -> Self {
        self.file = file;
        self
    }

    /// Adds environment variables. Empty ones and those that give no setting are left out.
    #[must_use]
    pub fn with_variables<N: Into<String>, T: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (N, T)>,
    ) -> Self {
        self.variables.extend(
            variables
                .into_iter()
                .map(|(name, text)| (name.into(), text.into()))
                .filter(|(_, text): &(String, String)| !text.trim().is_empty()),
        );
        self
    }

    /// Sets one value in code, above all other layers. `origin` says who did, such as `option --profile`.
    #[must_use]
    pub fn with_value(mut self, origin: &str, key: &str, value: impl Serialize) -> Self {
        let layer =
            Figment::from(Named { origin: origin.to_owned(), inner: Serialized::default(key, value) });
        self.code = self.code.merge(layer);
        self
    }

    /// Resolves every setting.
    ///
    /// # Errors
    /// When a value does not fit its setting, or a key is unknown; the error names the value, its origin and what is
    /// expected.
    pub fn load(&self) -> Result<Settings, SettingsError> {
        Ok(self.load_with_origins()?.0)
    }

    /// Resolves every setting, and says of each given one (by dotted path) where it came from.
    ///
    /// # Errors
    /// As [`SettingsLoader::load`].
    pub fn load_with_origins(&self) -> Result<(Settings, BTreeMap<String, Origin>), SettingsError> {
        let mut given = Figment::new();
        if let Some(file) = &self.file {
            given = given.merge(Toml::file_exact(file));
        }
        for variable in VARIABLES {
            if let Some(text) = self.variables.get(variable.name) {
                given = given.merge(VariableProvider { variable: *variable, text: text.clone() });
            }
        }
        given = given.merge(&self.code);

        let profile = match given.find_value("profile") {
            Ok(_) => given.extract_inner::<Profile>("profile").map_err(SettingsError::of)?,
            Err(_) => Profile::default(),
        };
        let defaults = Named {
            origin: format!("default of profile {profile}"),
            inner: Serialized::defaults(Settings::of_profile(profile)),
        };
        let all = Figment::from(defaults).merge(&given);
        let settings: Settings = all.extract().map_err(SettingsError::of)?;
        let settings = settings.validate()?;

        let mut origins = BTreeMap::new();
        let tree = serde_json::to_value(&settings).unwrap_or_default();
        visit_leaves(&tree, String::new(), &mut |path| {
            if let Some(metadata) = all.find_metadata(path) {
                let origin = match &metadata.source {
                    Some(source) => format!("{} {source}", metadata.name),
                    None => metadata.name.to_string(),
                };
                origins.insert(path.to_owned(), Origin(origin));
            }
        });
        Ok((settings, origins))
    }
}

fn visit_leaves(value: &serde_json::Value, path: String, visit: &mut impl FnMut(&str)) {
    match value.as_object() {
        Some(entries) => {
            for (key, value) in entries {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                visit_leaves(value, path, visit);
            }
        }
        None => visit(&path),
    }
}

fn find_upward(from: &Path) -> Option<PathBuf> {
    from.ancestors().map(|dir| dir.join(FILE_NAME)).find(|file| file.is_file())
}

struct Named<P> {
    origin: String,
    inner: P,
}

impl<P: figment::Provider> figment::Provider for Named<P> {
    fn metadata(&self) -> figment::Metadata {
        figment::Metadata::named(self.origin.clone())
    }

    fn data(&self) -> Result<figment::value::Map<figment::Profile, figment::value::Dict>, figment::Error> {
        self.inner.data()
    }
}

/// The errors of resolving the settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A value that its setting cannot take.
    #[error("setting {setting}: {problem}{}", origin.as_ref().map(|origin| format!(" (from {origin})")).unwrap_or_default())]
    Value {
        /// The setting's dotted path.
        setting: String,
        /// What is wrong, and what is expected.
        problem: String,
        /// The layer that gave the value.
        origin: Option<Origin>,
    },
    /// A key that is no setting.
    #[error(
        "unknown setting {setting:?}{}{}",
        origin.as_ref().map(|origin| format!(" (from {origin})")).unwrap_or_default(),
        nearest.as_ref().map(|name| format!(": did you mean {name:?}?")).unwrap_or_default()
    )]
    Unknown {
        /// The key as it was written.
        setting: String,
        /// The known key that is spelled most alike.
        nearest: Option<String>,
        /// The layer that gave the key.
        origin: Option<Origin>,
    },
    /// A value of the right type that makes no sense.
    #[error("setting {setting}: expected {expected}")]
    Invalid {
        /// The setting's dotted path.
        setting: &'static str,
        /// What is expected.
        expected: &'static str,
    },
}

impl SettingsError {
    fn of(error: figment::Error) -> Self {
        let origin = error.metadata.as_ref().map(|metadata| {
            Origin(match &metadata.source {
                Some(source) => format!("{} {source}", metadata.name),
                None => metadata.name.to_string(),
            })
        });
        let path = error.path.join(".");
        match &error.kind {
            Kind::UnknownField(field, known) => {
                let nearest = known
                    .iter()
                    .map(|name| (strsim::jaro_winkler(field, name), *name))
                    .max_by(|a, b| a.0.total_cmp(&b.0))
                    .filter(|(likeness, _)| *likeness > 0.7)
                    .map(|(_, name)| name.to_owned());
                let setting = if path.is_empty() || path.ends_with(field.as_str()) {
                    if path.is_empty() { field.clone() } else { path }
                } else {
                    format!("{path}.{field}")
                };
                Self::Unknown { setting, nearest, origin }
            }
            kind => Self::Value { setting: path, problem: kind.to_string(), origin },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(text: &str) -> (tempfile::TempDir, SettingsLoader) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE_NAME);
        std::fs::write(&file, text).unwrap();
        (dir, SettingsLoader::new().with_file(Some(file)))
    }

    #[track_caller]
    fn check_error(file: &str, variables: &[(&str, &str)], expected: &[&str]) {
        let (_dir, loader) = with_file(file);
        let error = loader.with_variables(variables.iter().copied()).load().unwrap_err().to_string();
        for part in expected {
            assert!(error.contains(part), "{error:?} does not say {part:?}");
        }
    }

    #[test]
    fn later_layers_win_and_keep_their_origin() {
        let (_dir, loader) =
            with_file("profile = \"ci\"\n[capture]\nmax_list_length = 7\nmax_dict_length = 8\n");
        let loader = loader
            .with_variables([("HAMILTON_MAX_DICT_LENGTH_CAPTURE", "9"), ("HAMILTON_API_KEY", "12345")])
            .with_value("option --dag-name", "dag_name", "a::b_v1");
        let (settings, origins) = loader.load_with_origins().unwrap();
        assert_eq!(settings.profile, Profile::Ci);
        assert!(!settings.tracker.enabled);
        assert_eq!((settings.capture.max_list_length, settings.capture.max_dict_length), (7, 9));
        assert_eq!(settings.tracker.api_key.unwrap().expose(), "12345");
        assert!(origins["capture.max_list_length"].to_string().contains(FILE_NAME));
        assert_eq!(
            origins["capture.max_dict_length"].to_string(),
            "environment variable HAMILTON_MAX_DICT_LENGTH_CAPTURE"
        );
        assert_eq!(origins["dag_name"].to_string(), "option --dag-name");
        assert_eq!(origins["capture.max_depth"].to_string(), "default of profile ci");
    }

    #[test]
    fn an_error_names_value_origin_and_expectation() {
        check_error(
            "",
            &[("HAMILTON_PROJECT_ID", "seven")],
            &["HAMILTON_PROJECT_ID", "seven", "whole number"],
        );
        check_error(
            "",
            &[("HAMILTON_TELEMETRY_PROFILE", "qa")],
            &["profile", "qa", "dev", "HAMILTON_TELEMETRY_PROFILE"],
        );
        check_error(
            "[capture]\nmax_list_lenght = 3\n",
            &[],
            &["max_list_lenght", "max_list_length", FILE_NAME],
        );
        check_error("[heartbeat]\ninterval_seconds = 0.0\n", &[], &["heartbeat.interval_seconds", "above 0"]);
        check_error("[tracker]\napi_url = \"localhost:8241\"\n", &[], &["tracker.api_url", "http://"]);
    }

    #[test]
    fn outputs_and_param_tables_are_read_by_name() {
        let (_dir, loader) = with_file(
            "[outputs.\"semantic.risk_v1\"]\nowner = \"ml\"\ntags = { layer = \"gold\" }\ncolumns = { id = \"BIGINT\" }\n\
             [param_tables.weights]\nrows = [{ priority = \"high\", weight = 2.5 }]\n",
        );
        let settings = loader.load().unwrap();
        let risk = &settings.outputs["semantic.risk_v1"];
        assert_eq!((risk.owner.as_deref(), risk.columns["id"].as_str()), (Some("ml"), "BIGINT"));
        assert_eq!(settings.param_tables["weights"].rows[0]["weight"], 2.5);
        check_error("[outputs.a]\nowners = \"x\"\n", &[], &["outputs.a.owners", "owner", FILE_NAME]);
    }

    #[test]
    fn an_empty_variable_is_no_value() {
        let settings = SettingsLoader::new().with_variables([("HAMILTON_PROJECT_ID", " ")]).load().unwrap();
        assert_eq!(settings, Settings::default());
    }
}
