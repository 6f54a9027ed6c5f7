//! The settings as one table: their keys, their environment variables, and what they may be.

use std::{env, fmt};

use figment::value::{Dict, Num, Value};

/// A setting that a file, a variable or code may give.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The dotted path into [`Settings`](crate::Settings). A part `*` stands for a name of the user's own.
    pub key: &'static str,
    /// The environment variable that gives it. `None` where only files do.
    pub variable: Option<&'static str>,
    /// What it may be.
    pub kind: SettingKind,
}

/// What a setting may be. `Display` says it in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingKind {
    /// A text that is not empty.
    Text,
    /// A text that is not shown.
    Secret,
    /// `true` or `false`.
    Flag,
    /// A whole number between two others, both included.
    Count {
        /// The least.
        from: i64,
        /// The greatest.
        to: i64,
    },
    /// A number of seconds above 0, and no more than those of a year.
    Seconds,
    /// The same, and no less than a thousandth.
    Interval,
    /// A URL of HTTP.
    Url,
    /// The same, with `{trace_id}` in it.
    TraceUrl,
    /// The beginning of attribute names.
    Namespace,
    /// One of some names.
    OneOf(&'static [&'static str]),
    /// Several URLs of HTTP; in a variable with commas between them.
    Urls,
    /// Several folders; in a variable as in `PATH`.
    Folders,
    /// Several names with a letter or digit in each; in a variable with commas between them.
    Names,
    /// Several tables.
    Rows,
}

use SettingKind::{
    Count, Flag, Folders, Interval, Names, Namespace, OneOf, Rows, Seconds, Text, TraceUrl, Url, Urls,
};

/// Less would keep a processor busy.
pub(crate) const LEAST_INTERVAL: f64 = 0.001;
/// More may be no point in time any more.
pub(crate) const MOST_SECONDS: f64 = 31_536_000.0;

/// Instruments of OpenTelemetry have names of at most 255 characters.
const MAX_NAMESPACE_LENGTH: usize = 100;

const ANY_COUNT: SettingKind = Count { from: 0, to: i64::MAX };

const fn setting(key: &'static str, variable: &'static str, kind: SettingKind) -> Setting {
    Setting { key, variable: Some(variable), kind }
}

const fn in_files(key: &'static str, kind: SettingKind) -> Setting {
    Setting { key, variable: None, kind }
}

/// Whom a project's file cannot make trusted.
pub(crate) const TRUSTED_SERVERS: &str = "tracker.trusted_servers";
/// Which other projects' files count.
pub(crate) const TRUSTED_FOLDERS: &str = "trusted_folders";
pub(crate) const TRUSTED_FOLDERS_VARIABLE: &str = "DAGLIGHT_TRUSTED_FOLDERS";

/// Every setting, in the order of the documentation. The `HAMILTON_*` variables are those of the Python SDK. The `OTEL_*`
/// variables of the OpenTelemetry specification are read by `daglight-otel-bridge`.
pub const SETTINGS: &[Setting] = &[
    setting("profile", "HAMILTON_TELEMETRY_PROFILE", Text),
    setting("dag_name", "HAMILTON_DAG_NAME", Text),
    setting("environment", "DAGLIGHT_ENVIRONMENT", Text),
    setting("team", "DAGLIGHT_TEAM", Text),
    in_files("tags.*", Text),
    setting("capture.data_statistics", "HAMILTON_CAPTURE_DATA_STATISTICS", Flag),
    setting("capture.top_values", "DAGLIGHT_TOP_VALUES", Flag),
    setting("capture.text_min_max", "DAGLIGHT_TEXT_MIN_MAX", Flag),
    setting("capture.inputs", "DAGLIGHT_INPUTS", Flag),
    setting("capture.error_values", "DAGLIGHT_ERROR_VALUES", Flag),
    setting("capture.sql_text", "DAGLIGHT_SQL_TEXT", OneOf(&["whole", "without_literals", "none"])),
    setting("capture.paths", "DAGLIGHT_PATHS", OneOf(&["whole", "without_values", "file_name", "none"])),
    setting("capture.host_facts", "DAGLIGHT_HOST_FACTS", Flag),
    setting("capture.command_line", "DAGLIGHT_COMMAND_LINE", Flag),
    setting("capture.max_list_length", "HAMILTON_MAX_LIST_LENGTH_CAPTURE", ANY_COUNT),
    setting("capture.max_dict_length", "HAMILTON_MAX_DICT_LENGTH_CAPTURE", ANY_COUNT),
    setting("capture.max_string_length", "DAGLIGHT_MAX_STRING_LENGTH", ANY_COUNT),
    setting("capture.max_depth", "DAGLIGHT_MAX_DEPTH", Count { from: 1, to: 100 }),
    setting("capture.max_attribute_bytes", "DAGLIGHT_MAX_ATTRIBUTE_BYTES", Count { from: 256, to: i64::MAX }),
    setting("capture.max_stack_lines", "DAGLIGHT_MAX_STACK_LINES", ANY_COUNT),
    setting("capture.redact_keys", "DAGLIGHT_REDACT_KEYS", Names),
    setting("tracker.enabled", "HAMILTON_TRACKER_ENABLED", Flag),
    setting("tracker.api_url", "HAMILTON_API_URL", Url),
    setting("tracker.ui_url", "HAMILTON_UI_URL", Url),
    setting("tracker.project_id", "HAMILTON_PROJECT_ID", Count { from: 1, to: i64::MAX }),
    setting("tracker.project", "DAGLIGHT_PROJECT", Text),
    setting("tracker.create_project", "DAGLIGHT_CREATE_PROJECT", Flag),
    setting("tracker.username", "HAMILTON_USERNAME", Text),
    setting("tracker.api_key", "HAMILTON_API_KEY", SettingKind::Secret),
    setting("tracker.verify", "DAGLIGHT_VERIFY_TLS", Flag),
    setting("tracker.ca_file", "DAGLIGHT_CA_FILE", Text),
    setting(TRUSTED_SERVERS, "DAGLIGHT_TRUSTED_SERVERS", Urls),
    setting("tracker.flush_seconds", "DAGLIGHT_FLUSH_SECONDS", Seconds),
    setting("otel.namespace", "DAGLIGHT_NAMESPACE", Namespace),
    setting("otel.trace_url", "DAGLIGHT_TRACE_URL", TraceUrl),
    setting("otel.slow_seconds", "DAGLIGHT_SLOW_SECONDS", Seconds),
    in_files("otel.slow_seconds_by_stage.*", Seconds),
    setting("otel.shutdown_seconds", "DAGLIGHT_SHUTDOWN_SECONDS", Seconds),
    setting("bundle.output_dir", "DAGLIGHT_OUTPUT_DIR", Text),
    setting("bundle.durability", "DAGLIGHT_DURABILITY", OneOf(&["process", "disk"])),
    setting("bundle.keep_days", "DAGLIGHT_KEEP_DAYS", Count { from: 0, to: 36_500 }),
    setting("bundle.keep_count", "DAGLIGHT_KEEP_COUNT", ANY_COUNT),
    setting("bundle.keep_bytes", "DAGLIGHT_KEEP_BYTES", ANY_COUNT),
    setting("heartbeat.interval_seconds", "DAGLIGHT_HEARTBEAT_SECONDS", Interval),
    setting("heartbeat.stall_seconds", "DAGLIGHT_STALL_SECONDS", Seconds),
    setting("strict_registry", "DAGLIGHT_STRICT_REGISTRY", Flag),
    in_files("outputs.*.owner", Text),
    in_files("outputs.*.description", Text),
    in_files("outputs.*.tags.*", Text),
    in_files("outputs.*.columns.*", Text),
    in_files("outputs.*.dag", Text),
    in_files("param_tables.*.file", Text),
    in_files("param_tables.*.rows", Rows),
    in_files("param_tables.*.description", Text),
    setting(TRUSTED_FOLDERS, TRUSTED_FOLDERS_VARIABLE, Folders),
];

impl Setting {
    /// The setting of that path.
    pub(crate) fn find(path: &[String]) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.has_prefix(path) && setting.parts().count() == path.len())
    }

    /// Whether the path leads to this setting, or on the way to it.
    pub(crate) fn has_prefix(&self, path: &[String]) -> bool {
        let mut parts = self.parts();
        path.iter().all(|name| parts.next().is_some_and(|part| part == "*" || part == name))
    }

    /// The key in which the names of a user's own are those of a table. `None` where the setting is not in that table and
    /// has such names.
    pub(crate) fn key_in(&self, table: &[String]) -> Option<String> {
        let names = table.iter().map(String::as_str);
        match self.key.rsplit_once('.') {
            Some((_, last))
                if last != "*" && self.has_prefix(table) && self.parts().count() == table.len() + 1 =>
            {
                Some(names.chain([last]).collect::<Vec<_>>().join("."))
            }
            _ => (!self.key.contains('*')).then(|| self.key.to_owned()),
        }
    }

    /// The names that may stand in a table, in the order of the documentation.
    pub(crate) fn names_in(table: &[String]) -> Vec<&'static str> {
        let mut names = Vec::new();
        for setting in SETTINGS.iter().filter(|setting| setting.has_prefix(table)) {
            if let Some(name) = setting.parts().nth(table.len()).filter(|name| !names.contains(name)) {
                names.push(name);
            }
        }
        names
    }

    fn parts(&self) -> impl Iterator<Item = &'static str> {
        self.key.split('.')
    }
}

/// The value of a dotted key in a table.
pub(crate) fn find<'a>(table: &'a Dict, key: &str) -> Option<&'a Value> {
    let mut parts = key.split('.');
    let first = table.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.as_dict()?.get(part))
}

/// Puts a value into a table, under a dotted key.
pub(crate) fn insert(table: &mut Dict, key: &str, value: Value) {
    let Some((section, rest)) = key.split_once('.') else {
        table.insert(key.to_owned(), value);
        return;
    };
    let mut inner = match table.remove(section) {
        Some(Value::Dict(_, inner)) => inner,
        _ => Dict::new(),
    };
    insert(&mut inner, rest, value);
    table.insert(section.to_owned(), inner.into());
}

impl SettingKind {
    /// The value that the text of a variable stands for, if it is one that the setting may have.
    pub(crate) fn parse(self, text: &str) -> Option<Value> {
        let text = text.trim();
        // It stands for what was no text.
        if text.contains(char::REPLACEMENT_CHARACTER) {
            return None;
        }
        let value = match self {
            Flag => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Value::from(true),
                "false" | "0" | "no" | "off" => Value::from(false),
                _ => return None,
            },
            Count { .. } => Value::from(text.parse::<i64>().ok()?),
            Seconds | Interval => Value::from(text.parse::<f64>().ok()?),
            Folders => {
                let folders = env::split_paths(text).map(|folder| folder.to_string_lossy().into_owned());
                Value::from(folders.filter(|folder| !folder.is_empty()).collect::<Vec<_>>())
            }
            Names | Urls => {
                let items: Vec<&str> =
                    text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
                Value::from(items)
            }
            _ => Value::from(text),
        };
        self.accepts(&value).then_some(value)
    }

    /// Whether the setting may have this value.
    pub(crate) fn accepts(self, value: &Value) -> bool {
        match (self, value) {
            (Flag, Value::Bool(..)) => true,
            (Count { from, to }, Value::Num(_, number)) => {
                integer(*number).is_some_and(|number| (i128::from(from)..=i128::from(to)).contains(&number))
            }
            (Seconds, Value::Num(_, number)) => {
                seconds(*number).is_some_and(|seconds| seconds > 0.0 && seconds <= MOST_SECONDS)
            }
            (Interval, Value::Num(_, number)) => {
                seconds(*number).is_some_and(|seconds| (LEAST_INTERVAL..=MOST_SECONDS).contains(&seconds))
            }
            (Names | Urls | Folders | Rows, Value::Array(_, items)) => {
                items.iter().all(|item| self.accepts_item(item))
            }
            (OneOf(names), Value::String(_, text)) => names.contains(&text.as_str()),
            (Url, Value::String(_, text)) => is_url(text),
            (TraceUrl, Value::String(_, text)) => is_url(text) && text.contains("{trace_id}"),
            (Namespace, Value::String(_, text)) => {
                text.starts_with(|c: char| c.is_ascii_alphabetic())
                    && text.len() <= MAX_NAMESPACE_LENGTH
                    && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
            }
            (Text | Self::Secret, Value::String(_, text)) => !text.trim().is_empty(),
            _ => false,
        }
    }

    /// Whether a setting of several values may have this one among them.
    pub(crate) fn accepts_item(self, item: &Value) -> bool {
        match (self, item) {
            (Names, Value::String(_, text)) => text.contains(char::is_alphanumeric),
            (Urls, Value::String(_, text)) => is_url(text),
            (Folders, Value::String(_, text)) => !text.trim().is_empty(),
            (Rows, Value::Dict(..)) => true,
            _ => false,
        }
    }
}

fn is_url(text: &str) -> bool {
    let mut hosts = ["http://", "https://"].into_iter().filter_map(|scheme| text.strip_prefix(scheme));
    hosts.any(|host| !host.is_empty())
}

fn integer(number: Num) -> Option<i128> {
    number.to_i128().or_else(|| number.to_u128().and_then(|number| number.try_into().ok()))
}

fn seconds(number: Num) -> Option<f64> {
    number.to_f64().or_else(|| integer(number).map(|number| number as f64))
}

impl fmt::Display for SettingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Text | Self::Secret => f.write_str("a text that is not empty"),
            Flag => f.write_str("true or false"),
            Count { from, to: i64::MAX } => write!(f, "a whole number, {from} or more"),
            Count { from, to } => write!(f, "a whole number from {from} to {to}"),
            Seconds => write!(f, "a number of seconds above 0 and up to {MOST_SECONDS}"),
            Interval => write!(f, "a number of seconds from {LEAST_INTERVAL} to {MOST_SECONDS}"),
            Url => f.write_str("a URL that starts with http:// or https://"),
            TraceUrl => write!(f, "{Url} and has {{trace_id}} in it"),
            Namespace => write!(
                f,
                "letters, digits, dots, dashes and underscores, at most {MAX_NAMESPACE_LENGTH}, the first a letter"
            ),
            OneOf(names) => match names.split_last() {
                Some((last, [])) => f.write_str(last),
                Some((last, others)) => write!(f, "{} or {last}", others.join(", ")),
                None => Ok(()),
            },
            Names => f.write_str("a list of names"),
            Urls => f.write_str("a list of URLs that start with http:// or https://"),
            Folders => f.write_str("a list of folders"),
            Rows => f.write_str("a list of tables"),
        }
    }
}
