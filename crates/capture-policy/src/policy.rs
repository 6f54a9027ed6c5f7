//! The active policy: what it allows of a value, an error, an SQL text or a path.

use std::{collections::BTreeMap, io, iter};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    capture_settings::{CaptureSettings, SHOWN, ShownPath, SqlText},
    captured::Captured,
    limits::{Limits, Shape, free_key},
    partition_values::path_without_values,
    path_users::without_user,
    profile::Profile,
    redact::Redactor,
    secret::{REDACTED, Secret},
};

/// The replacement for a value that the policy does not allow.
const LEFT_OUT: &str = "[left out by the capture policy]";

/// The rules that decide what may be captured.
///
/// ```
/// use daglight_capture_policy::{Policy, Profile};
/// use serde_json::json;
///
/// let policy = Policy::of_profile(Profile::Dev);
/// let captured = policy.capture(json!({"rows": 3, "password": "hunter2"}));
/// assert_eq!(captured.as_value(), &json!({"rows": 3, "password": "[redacted]"}));
/// ```
#[derive(Debug, Clone)]
pub struct Policy {
    profile: String,
    tracker: Option<bool>,
    capture: CaptureSettings,
    redactor: Redactor,
}

impl Policy {
    /// The policy for a profile name and the section `capture` of the settings. The secrets are hidden everywhere.
    pub fn new<'a>(
        profile: impl Into<String>,
        capture: CaptureSettings,
        secrets: impl IntoIterator<Item = &'a Secret>,
    ) -> Self {
        let redactor = Redactor::of_capture(&capture);
        secrets.into_iter().for_each(|secret| redactor.hide(secret.expose()));
        Self { profile: profile.into(), tracker: None, capture, redactor }
    }

    /// The unmodified policy of a built-in profile.
    pub fn of_profile(profile: Profile) -> Self {
        Self::new(profile.name(), CaptureSettings::of_profile(profile), [])
            .with_tracker(profile.uses_tracker())
    }

    /// Adds the rule whether runs are recorded for the tracker at all. It is not a capture setting, but part of [`Policy::rules`],
    /// so that runs under the same rules can be found.
    #[must_use]
    pub fn with_tracker(mut self, enabled: bool) -> Self {
        self.tracker = Some(enabled);
        self
    }

    /// The name of the profile on which the policy is based.
    pub fn profile(&self) -> &str {
        &self.profile
    }

    /// Whether data summaries may be computed.
    pub fn data_statistics(&self) -> bool {
        self.capture.data_statistics
    }

    /// Whether the most frequent values of a column, and the domain of a category, may be shown.
    pub fn top_values(&self) -> bool {
        self.capture.top_values
    }

    /// Whether the minimum and maximum text of a column may be shown. Does not apply to numbers and times.
    pub fn text_min_max(&self) -> bool {
        self.capture.text_min_max
    }

    /// How many of the first rows of a query may be shown.
    pub fn preview_rows(&self) -> usize {
        self.capture.preview_rows
    }

    pub(crate) fn max_attribute_bytes(&self) -> usize {
        self.capture.max_attribute_bytes
    }

    /// Whether the values of inputs and parameters may be shown.
    pub fn inputs(&self) -> bool {
        self.capture.inputs
    }

    /// Whether messages of errors may keep the values in them.
    pub fn error_values(&self) -> bool {
        self.capture.error_values
    }

    /// Whether facts that identify the machine may be shown.
    pub fn host_facts(&self) -> bool {
        self.capture.host_facts
    }

    /// The maximum number of keys kept of an object; also the maximum size of a category's domain that is shown.
    pub fn max_dict_length(&self) -> usize {
        self.capture.max_dict_length
    }

    /// The maximum number of items kept of a list; also how many of the most frequent values of a column are shown.
    pub fn max_list_length(&self) -> usize {
        self.capture.max_list_length
    }

    /// How SQL texts are captured.
    pub fn sql_text(&self) -> SqlText {
        self.capture.sql_text
    }

    /// Only the redaction rules, for texts that are ours and not user data (a repository URL, a header).
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    pub(crate) fn shows_command_line(&self) -> bool {
        self.capture.command_line
    }

    /// All rules of the policy, by name. The same rules have the same text on every machine.
    pub fn rules(&self) -> BTreeMap<String, String> {
        let rules = serde_json::to_value(&self.capture).unwrap_or_default();
        let tracker = self.tracker.map(|enabled| ("tracker", enabled.into()));
        let named = [("profile", Value::from(self.profile.as_str()))].into_iter().chain(tracker);
        rules
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, rule)| (name.clone(), rule.clone()))
            .chain(named.map(|(name, rule)| (name.to_owned(), rule)))
            .map(|(name, rule)| (name, Captured::new(rule).to_text()))
            .collect()
    }

    /// The rules that are shown everywhere, by name: on the root span, and as tags of a run and of its version. The manifest has
    /// all rules.
    pub fn shown_rules(&self) -> Vec<(&'static str, Captured)> {
        let rules = serde_json::to_value(&self.capture).unwrap_or_default();
        let names = SHOWN.iter().filter(|(_, is_shown)| *is_shown).map(|(name, _)| *name);
        let shown = names.map(|name| (name, Captured::new(rules[name].clone())));
        iter::once(("profile", self.capture(self.profile.as_str()))).chain(shown).collect()
    }

    /// Captures a value: redacted, then truncated to all limits. Truncation is visible in the value.
    ///
    /// Parts that a limit cuts off are not inspected, so a huge value costs little more than the part that is kept.
    pub fn capture(&self, value: impl Into<Value>) -> Captured {
        self.cut(&value.into(), Limits::of(&self.capture), Shape::Users)
    }

    fn cut(&self, value: &Value, mut limits: Limits, shape: Shape) -> Captured {
        loop {
            let cut = limits.apply(value, shape, &self.redactor);
            let most = self.capture.max_attribute_bytes;
            // Nearly every value is far below the limit, which can be determined without serialising it.
            if is_surely_within(&cut, most) {
                return Captured::new(cut);
            }
            // Measured in serialised form: escapes and braces also count towards the server's limit.
            let size_bytes = json_bytes(&cut);
            if size_bytes <= most {
                return Captured::new(cut);
            }
            match limits.halved() {
                // Limits are halved instead of cutting in the middle, so that the rest is still valid JSON of the same shape.
                Some(smaller) => limits = smaller,
                None => {
                    return Captured::new(Value::String(format!(
                        "[left out: {size_bytes} bytes are over the limit of {}]",
                        self.capture.max_attribute_bytes
                    )));
                }
            }
        }
    }

    /// Captures the columns of a table: an object with one entry per column, by name.
    ///
    /// Every entry remains an object of the same shape, because pages rely on it. The entry of a column with a hidden name is
    /// replaced by the result of `withheld` for it. Columns over the limits are left out and replaced by the result of `withheld`
    /// for nothing, under a name that contains their number.
    pub fn capture_columns(
        &self,
        columns: Map<String, Value>,
        withheld: impl Fn(&str, &Value) -> Value,
    ) -> Captured {
        self.capture_columns_but(columns, |_, _| false, withheld)
    }

    /// Like [`Policy::capture_columns`], with additional hidden columns: those for whose position and name `is_secret` returns
    /// true.
    pub fn capture_columns_but(
        &self,
        columns: Map<String, Value>,
        is_secret: impl Fn(usize, &str) -> bool,
        withheld: impl Fn(&str, &Value) -> Value,
    ) -> Captured {
        let total = columns.len();
        let left_out = |count: usize| {
            let name = format!("… {count} more columns");
            let column = withheld(&name, &Value::Null);
            (name, column)
        };
        // Includes a colon and a comma. The braces take one byte more than the comma that the last entry does not have.
        let entry_bytes = |name: &str, column: &Value| json_bytes(name) + json_bytes(column) + 2;
        let limits = Limits::of(&self.capture);
        let (name, column) = left_out(total);
        let mut kept = Map::new();
        let mut size_bytes = 1 + entry_bytes(&name, &column);
        for (position, (name, column)) in columns.into_iter().take(self.capture.max_dict_length).enumerate() {
            let shown_name = Value::from(self.redactor.name_text(&name));
            let shown = self.cut(&shown_name, limits, Shape::Column).to_text();
            let shown = free_key(&kept, shown);
            let is_hidden = self.redactor.hides_column(&name) || is_secret(position, &name);
            let column = if is_hidden { withheld(&shown, &column) } else { column };
            let mut column = self.cut(&column, limits, Shape::Column).into_value();
            // A type may contain names and time zones that were literals.
            for key in ["type", "data_type"] {
                if let Some(Value::String(data_type)) = column.get_mut(key) {
                    *data_type = self.redactor.name_text(data_type);
                }
            }
            if let Some(inside) = column.get_mut("name") {
                *inside = shown.as_str().into();
            }
            size_bytes += entry_bytes(&shown, &column);
            if size_bytes > self.capture.max_attribute_bytes {
                break;
            }
            kept.insert(shown, column);
        }
        if kept.len() < total {
            kept.extend([left_out(total - kept.len())]);
        }
        Captured::new(Value::Object(kept))
    }

    /// Captures a named value; under a hidden name it is redacted.
    pub fn capture_named(&self, name: &str, value: impl Into<Value>) -> Captured {
        if self.redactor.hides_key(name) { Captured::new(REDACTED.into()) } else { self.capture(value) }
    }

    /// Captures the value of an input or a parameter, if the policy allows these. A hidden name makes the value a known credential,
    /// which is redacted in all later texts, such as the plans of queries.
    pub fn capture_input(&self, name: &str, value: impl Into<Value>) -> Captured {
        let value = value.into();
        let is_hidden = self.redactor.hides_parameter(name);
        if is_hidden && let Some(text) = value.as_str() {
            self.redactor.hide(text);
        }
        match self.capture.inputs {
            true if is_hidden => Captured::new(REDACTED.into()),
            true => self.capture(value),
            false => {
                // The engine may repeat it where it cannot be distinguished from a name.
                if let Some(text) = value.as_str() {
                    self.redactor.learn_with(|known| known.add_value(text));
                }
                Captured::new(LEFT_OUT.into())
            }
        }
    }

    /// Captures the message of an error, without the values in it if the policy hides those: only the kind and the position in a
    /// script are then kept of a message with an unknown shape.
    pub fn capture_error(&self, message: &str) -> Captured {
        self.capture(self.redactor.error_text(message))
    }

    /// Captures the lines of a stack trace or error chain, each like [`Policy::capture_error`]; only the first ones if there are
    /// too many.
    pub fn capture_stack<S: AsRef<str>>(&self, lines: impl IntoIterator<Item = S>) -> Captured {
        let mut lines = lines.into_iter();
        let kept: Vec<S> = lines.by_ref().take(self.capture.max_stack_lines).collect();
        let kept: Vec<&str> = kept.iter().map(AsRef::as_ref).collect();
        let more = lines.count();
        // Together, because a private key spans several lines.
        let mut text = self.redactor.error_text(&kept.join("\n"));
        if more > 0 {
            text.push_str(&format!("\n… {more} more lines"));
        }
        self.capture(text)
    }

    /// Captures the name of a column, its type or similar, which the engine may have derived from a literal.
    pub fn capture_name(&self, name: &str) -> Captured {
        self.capture(self.redactor.name_text(name))
    }

    /// Captures the documentation of a node; `None` if the policy hides documentation.
    pub fn capture_documentation(&self, text: &str) -> Option<Captured> {
        self.capture.documentation.then(|| self.capture(self.redactor.comment_text(text)))
    }

    /// Captures an SQL text according to the policy: whole, without its literals, or not at all. It is code, and limited only by
    /// the maximum size of an attribute.
    pub fn capture_sql(&self, text: &str) -> Option<Captured> {
        if self.capture.sql_text == SqlText::None {
            return None;
        }
        let limits = Limits::of(&self.capture).with_string(self.capture.max_attribute_bytes);
        Some(self.cut(&Value::from(self.redactor.sql_text(text)), limits, Shape::Users))
    }

    /// Captures the path or URL of a file according to the policy: whole, without the values of its partition folders, only its
    /// last part, or not at all.
    pub fn capture_path(&self, path: &str) -> Option<Captured> {
        // Before it is split into parts, in which credentials could not be recognised.
        let path = self.redactor.text(&without_user(path));
        let path = path.as_str();
        match self.capture.paths {
            ShownPath::Whole => Some(self.capture(path)),
            ShownPath::WithoutValues => Some(self.capture(path_without_values(path))),
            ShownPath::FileName => {
                let name = path.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or_default();
                Some(self.capture(path_without_values(name)))
            }
            ShownPath::None => None,
        }
    }
}

/// Whether a value certainly has at most `limit` bytes as JSON, whatever has to be escaped. False if uncertain.
fn json_bytes<T: Serialize + ?Sized>(value: &T) -> usize {
    struct Count(usize);

    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut count = Count(0);
    // Texts and numbers can always be written, and nothing here fails to take them.
    let written = serde_json::to_writer(&mut count, value);
    debug_assert!(written.is_ok(), "a value of JSON cannot be written as JSON");
    count.0
}

/// Whether a value has no more than `limit` bytes as JSON, whatever has to be escaped in it. False where that is not sure.
fn is_surely_within(value: &Value, limit: usize) -> bool {
    /// Subtracts the maximum size of a value from the remaining bytes.
    fn left_after(value: &Value, left: usize) -> Option<usize> {
        /// The maximum length of a number, and of the punctuation around a value.
        const NUMBER: usize = 32;
        // A control character is escaped as `\u0000`, with six bytes.
        let text = |text: &str, left: usize| left.checked_sub(text.len().checked_mul(6)?.checked_add(4)?);
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => left.checked_sub(NUMBER),
            Value::String(string) => text(string, left),
            Value::Array(items) => {
                items.iter().try_fold(left.checked_sub(NUMBER)?, |rest, item| left_after(item, rest))
            }
            Value::Object(entries) => {
                entries.iter().try_fold(left.checked_sub(NUMBER)?, |rest, (key, value)| {
                    left_after(value, text(key, rest)?)
                })
            }
        }
    }
    left_after(value, limit).is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(change: impl FnOnce(&mut CaptureSettings)) -> Policy {
        let mut capture = CaptureSettings::of_profile(Profile::Dev);
        change(&mut capture);
        Policy::new("dev", capture, [])
    }

    #[test]
    fn truncation_shows_in_the_value() {
        let policy = policy(|capture| {
            capture.max_list_length = 2;
            capture.max_dict_length = 1;
            capture.max_string_length = 4;
            capture.max_depth = 2;
        });
        assert_eq!(policy.capture(json!([1, 2, 3])).into_value(), json!([1, 2, "[… 1 more items]"]));
        assert_eq!(
            policy.capture(json!({"a": 1, "b": 2})).into_value(),
            json!({"a": 1, "…": "[1 more keys]"})
        );
        assert_eq!(policy.capture("grüße").into_value(), json!("grüß[… 1 more characters]"));
        assert_eq!(policy.capture(json!([[[1]]])).into_value(), json!([["[… 1 items, nested too deep]"]]));
    }

    #[test]
    fn keys_that_become_the_same_are_both_kept() {
        let policy = policy(|capture| capture.max_string_length = 1);
        assert_eq!(
            policy.capture(json!({"ab": 1, "ac": 2})).into_value(),
            json!({"a[… 1 more characters]": 1, "a[… 1 more characters] (2)": 2})
        );
    }

    #[test]
    fn a_credential_at_the_cut_is_redacted_whole() {
        let policy = policy(|capture| capture.max_string_length = 30);
        let captured = policy.capture("a long text: https://someone:hunter2@host/path").to_text();
        assert_eq!(captured, "a long text: https://[redacted[… 11 more characters]");
    }

    #[test]
    fn no_attribute_is_larger_than_the_limit() {
        let policy = policy(|capture| capture.max_attribute_bytes = 120);
        for value in [
            json!("x".repeat(50_000)),
            json!(vec!["y".repeat(50); 100]),
            json!({"a": {"b": "z".repeat(400)}}),
        ] {
            let captured = policy.capture(value).into_value().to_string();
            assert!(captured.len() <= 120, "{captured}");
        }
    }

    #[test]
    fn keys_are_hidden_whatever_their_spelling_and_depth() {
        let value = json!({"a": {"X-Api-Key": "k", "n": [{"dbPassword": {"deep": 1}}]}, "rows": 3});
        assert_eq!(
            policy(|_| {}).capture(value).into_value(),
            json!({"a": {"X-Api-Key": REDACTED, "n": [{"dbPassword": REDACTED}]}, "rows": 3})
        );
    }

    #[test]
    fn names_and_values_in_lists_count_as_keys() {
        let value = json!([{"name": "DB_PASSWORD", "value": "k"}, {"key": "rows", "value": 3}]);
        assert_eq!(
            policy(|_| {}).capture(value).into_value(),
            json!([{"name": "DB_PASSWORD", "value": REDACTED}, {"key": "rows", "value": 3}])
        );
        let value =
            json!([{"ParameterKey": "DbPassword", "ParameterValue": "k"}, {"option": "a", "value": 3}]);
        assert_eq!(
            policy(|_| {}).capture(value).into_value(),
            json!([{"ParameterKey": "DbPassword", "ParameterValue": REDACTED}, {"option": "a", "value": 3}])
        );
    }

    #[test]
    fn columns_stay_columns() {
        let policy = policy(|capture| capture.max_dict_length = 2);
        let withheld = |name: &str, column: &Value| json!({"name": name, "type": column["type"]});
        let column = |kind: &str| json!({"type": kind, "top": ["Ann"]});
        let columns = [("api_token", "text"), ("b", "int"), ("c", "int"), ("d", "int")];
        let columns = columns.into_iter().map(|(name, kind)| (name.to_owned(), column(kind))).collect();
        assert_eq!(
            policy.capture_columns(columns, withheld).into_value(),
            json!({
                "api_token": {"name": "api_token", "type": "text"},
                "b": {"type": "int", "top": ["Ann"]},
                "… 2 more columns": {"name": "… 2 more columns", "type": null},
            })
        );
    }

    #[test]
    fn facts_of_columns_keep_their_shape() {
        let policy = policy(|capture| capture.max_dict_length = 1);
        let facts = json!({
            "domain": {"Password reset": 3, "Other": 1},
            "metadata": {"api_key": "abc", "unit": "m"},
            "top": "password=abc",
        });
        assert_eq!(
            policy
                .capture_columns(Map::from_iter([("a".to_owned(), facts)]), |_, _| Value::Null)
                .into_value()["a"],
            json!({
                "domain": {"Password reset": 3, "Other": 1},
                "metadata": {"api_key": REDACTED, "…": "[1 more keys]"},
                "top": "password=[redacted]",
            })
        );
    }

    #[test]
    fn sql_and_paths_follow_the_policy() {
        let text = "SELECT 'x'";
        let sql = |sql_text| policy(|capture| capture.sql_text = sql_text).capture_sql(text);
        assert_eq!(sql(SqlText::Whole).unwrap().to_text(), text);
        assert_eq!(sql(SqlText::WithoutLiterals).unwrap().to_text(), "SELECT ?");
        assert_eq!(sql(SqlText::None), None);
        let long = "SELECT 1;\n".repeat(10_000);
        assert_eq!(Policy::of_profile(Profile::Dev).capture_sql(&long).unwrap().to_text(), long);
        let path =
            |paths| policy(|capture| capture.paths = paths).capture_path("s3://b/customer=Ann/x.parquet");
        assert_eq!(path(ShownPath::Whole).unwrap().to_text(), "s3://b/customer=Ann/x.parquet");
        assert_eq!(path(ShownPath::WithoutValues).unwrap().to_text(), "s3://b/customer=?/x.parquet");
        assert_eq!(path(ShownPath::FileName).unwrap().to_text(), "x.parquet");
        assert_eq!(path(ShownPath::None), None);
    }

    #[test]
    fn errors_and_inputs_have_no_values_in_production() {
        let prod = Policy::of_profile(Profile::Prod);
        assert_eq!(
            prod.capture_error("Cannot cast string 'Ann' to value of Int64 type").to_text(),
            "Cannot cast string ? to value of Int64 type"
        );
        assert_eq!(prod.capture_input("day", "monday").to_text(), LEFT_OUT);
        let dev = Policy::of_profile(Profile::Dev);
        assert_eq!(dev.capture_error("not 'a'").to_text(), "not 'a'");
        assert_eq!(dev.capture_input("day", "monday").to_text(), "monday");
        assert_eq!(dev.capture_input("db_password", "monday").to_text(), REDACTED);
        assert_eq!(dev.capture("name != monday").to_text(), "name != [redacted]");
    }

    #[test]
    fn a_stack_is_cut_after_whole_lines() {
        let policy = policy(|capture| capture.max_stack_lines = 2);
        let captured = policy.capture_stack(["a", "-----BEGIN PRIVATE KEY-----", "abc", "def"]);
        assert_eq!(captured.to_text(), "a\n[redacted]\n… 2 more lines");
    }

    #[test]
    fn rules_have_names_and_one_spelling() {
        let rules = Policy::of_profile(Profile::Prod).rules();
        assert_eq!((rules["profile"].as_str(), rules["sql_text"].as_str()), ("prod", "without_literals"));
        assert_eq!((rules["tracker"].as_str(), rules["redact_keys"].as_str()), ("true", "[]"));
    }

    #[test]
    fn a_value_that_is_surely_within_a_limit_is_within_it() {
        let values = [
            json!(null),
            json!(-1.234_567_890_123_456_7e-300),
            json!(u64::MAX),
            json!("\u{1}".repeat(100)),
            json!(["a", [], {}, {"\u{2}\"": {"b": [1, 2.5, false]}}]),
            json!((0..100).map(|n| n.to_string()).collect::<Vec<_>>()),
        ];
        for value in values {
            let size_bytes = value.to_string().len();
            assert!(!is_surely_within(&value, size_bytes - 1), "{value}");
            assert!(is_surely_within(&value, 64 + 64 * size_bytes), "{value}");
        }
    }
}
