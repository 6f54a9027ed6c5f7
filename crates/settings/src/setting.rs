//! The description of a setting: its key, its environment variable, and its possible values.

use std::{env, fmt};

use figment::value::{Num, Value};

/// A setting that can be set in a file, a variable or code.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The dotted path into [`Settings`](crate::Settings). A part `*` is a user-chosen name.
    pub key: &'static str,
    /// The environment variable that sets it. `None` if it can only be set in files.
    pub variable: Option<&'static str>,
    /// Its possible values.
    pub kind: SettingKind,
}

/// The possible values of a setting. `Display` describes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingKind {
    /// A non-empty text.
    Text,
    /// A text that is never shown.
    Secret,
    /// `true` or `false`.
    Flag,
    /// A whole number between two others, inclusive.
    Count {
        /// The minimum.
        from: i64,
        /// The maximum.
        to: i64,
    },
    /// Bytes, as a whole number or as a text with a unit, such as `512MB`.
    Bytes {
        /// The minimum.
        from: i64,
    },
    /// A number of seconds above 0, up to one year.
    Seconds,
    /// The same, but at least a thousandth.
    Interval,
    /// A share, from 0 to 1.
    Part,
    /// A number, 0 or more.
    Number,
    /// An HTTP URL.
    Url,
    /// The same, without a user or a password in it.
    PlainUrl,
    /// An HTTP URL containing `{trace_id}`.
    TraceUrl,
    /// The prefix of attribute names.
    Namespace,
    /// One of several names.
    OneOf(&'static [&'static str]),
    /// Several HTTP URLs; separated by commas in a variable.
    Urls,
    /// Several folders; separated as in `PATH` in a variable.
    Folders,
    /// Several names, each with a letter or digit; separated by commas in a variable.
    Names,
    /// Several tables.
    Rows,
}

use SettingKind::{
    Bytes, Count, Flag, Folders, Interval, Names, Namespace, Number, OneOf, Part, PlainUrl, Rows, Seconds,
    Text, TraceUrl, Url, Urls,
};

/// A shorter interval would keep a processor busy.
pub(crate) const LEAST_INTERVAL: f64 = 0.001;
/// With more, a point in time might overflow.
pub(crate) const MOST_SECONDS: f64 = 31_536_000.0;

/// The names of OpenTelemetry instruments have at most 255 characters.
const MAX_NAMESPACE_LENGTH: usize = 100;

impl SettingKind {
    /// The value for the text of a variable, if it is valid.
    pub(crate) fn parse(self, text: &str) -> Option<Value> {
        let text = text.trim();
        // It replaces bytes that were not valid text.
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
            Bytes { .. } => Value::from(byte_size(text)?),
            Seconds | Interval | Part | Number => Value::from(text.parse::<f64>().ok()?),
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

    /// The value for a text in a file, if the setting is a number that may be written as text.
    pub(crate) fn number_of(self, value: &Value) -> Option<Value> {
        match (self, value) {
            (Bytes { .. }, Value::String(_, text)) => byte_size(text).map(Value::from),
            _ => None,
        }
    }

    /// Whether the setting may have this value.
    pub(crate) fn accepts(self, value: &Value) -> bool {
        match (self, value) {
            (Flag, Value::Bool(..)) => true,
            (Count { from, to }, Value::Num(_, number)) => {
                integer(*number).is_some_and(|number| (i128::from(from)..=i128::from(to)).contains(&number))
            }
            (Bytes { from }, Value::Num(_, number)) => integer(*number)
                .is_some_and(|number| (i128::from(from)..=i128::from(i64::MAX)).contains(&number)),
            (Seconds, Value::Num(_, number)) => {
                decimal(*number).is_some_and(|seconds| seconds > 0.0 && seconds <= MOST_SECONDS)
            }
            (Interval, Value::Num(_, number)) => {
                decimal(*number).is_some_and(|seconds| (LEAST_INTERVAL..=MOST_SECONDS).contains(&seconds))
            }
            (Part, Value::Num(_, number)) => decimal(*number).is_some_and(|part| (0.0..=1.0).contains(&part)),
            (Number, Value::Num(_, number)) => {
                decimal(*number).is_some_and(|number| number.is_finite() && number >= 0.0)
            }
            (Names | Urls | Folders | Rows, Value::Array(_, items)) => {
                items.iter().all(|item| self.accepts_item(item))
            }
            (OneOf(names), Value::String(_, text)) => names.contains(&text.as_str()),
            (Url, Value::String(_, text)) => is_url(text),
            (PlainUrl, Value::String(_, text)) => is_url(text) && !has_user(text),
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

    /// Whether a setting with several values accepts this one among them.
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

/// The number of bytes in a text: a whole number, or a number with a unit that is a power of 1024, as in DataFusion: `64KB`,
/// `512m`, `1.5 GiB`. Case does not matter.
///
/// ```
/// assert_eq!(daglight_settings::byte_size("1.5GB"), Some(3 << 29));
/// assert_eq!(daglight_settings::byte_size("1.5"), None);
/// ```
pub fn byte_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let power = match text[number.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ => return None,
    };
    let number = number.trim();
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let unit = 1_u64 << (10 * power);
    if !number.contains('.') {
        return number.parse::<u64>().ok()?.checked_mul(unit);
    }
    let bytes = number.parse::<f64>().ok()? * unit as f64;
    // There are no fractions of bytes, and above that limit a 64-bit float is no longer exact.
    (power > 0 && bytes < 2_f64.powi(53)).then_some(bytes as u64)
}

fn is_url(text: &str) -> bool {
    let mut hosts = ["http://", "https://"].into_iter().filter_map(|scheme| text.strip_prefix(scheme));
    hosts.any(|host| !host.is_empty())
}

/// Whether a user or a password is before the host. URLs appear in messages and links, where nobody expects a password.
fn has_user(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    authority.split(['/', '\\', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
}

fn integer(number: Num) -> Option<i128> {
    number.to_i128().or_else(|| number.to_u128().and_then(|number| number.try_into().ok()))
}

fn decimal(number: Num) -> Option<f64> {
    number.to_f64().or_else(|| integer(number).map(|number| number as f64))
}

impl fmt::Display for SettingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Text | Self::Secret => f.write_str("a text that is not empty"),
            Flag => f.write_str("true or false"),
            Count { from, to: i64::MAX } => write!(f, "a whole number, {from} or more"),
            Count { from, to } => write!(f, "a whole number from {from} to {to}"),
            Bytes { from } => write!(f, "a number of bytes, {from} or more, such as 65536, 512KB or 4GB"),
            Seconds => write!(f, "a number of seconds above 0 and up to {MOST_SECONDS}"),
            Interval => write!(f, "a number of seconds from {LEAST_INTERVAL} to {MOST_SECONDS}"),
            Part => f.write_str("a number from 0 to 1"),
            Number => f.write_str("a number, 0 or more"),
            Url => f.write_str("a URL that starts with http:// or https://"),
            PlainUrl => write!(f, "{Url}, without a user or a password in it"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units_of_1024() {
        for (text, expected) in [
            ("1024", Some(1024)),
            ("0", Some(0)),
            ("64kb", Some(64 << 10)),
            ("1.5GB", Some(3 << 29)),
            ("2 TiB", Some(2 << 40)),
            (" 512m ", Some(512 << 20)),
            ("9223372036854775807", Some(i64::MAX as u64)),
            ("1b", Some(1)),
            ("0.5KB", Some(512)),
            ("", None),
            ("1.5", None),
            ("-1GB", None),
            ("+1GB", None),
            ("1XB", None),
            ("GB", None),
            ("1e3GB", None),
            ("NaN", None),
            ("1.2.3GB", None),
            ("99999999999TB", None),
            ("99999999999.5TB", None),
        ] {
            assert_eq!(byte_size(text), expected, "{text}");
        }
    }

    #[test]
    fn a_size_in_a_setting_is_a_number_or_has_a_unit() {
        let kind = Bytes { from: 256 };
        assert_eq!(kind.parse("4KB"), Some(Value::from(4096_u64)));
        assert_eq!(kind.parse("255"), None);
        assert!(kind.accepts(&Value::from(256)) && !kind.accepts(&Value::from("4XB")));
        assert_eq!(kind.number_of(&Value::from("1MB")), Some(Value::from(1_u64 << 20)));
    }
}
