//! The settings of the section `capture`: each is declared in one row, with its defaults by profile.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::profile::Profile;

/// A setting of the section `capture`, as declared.
#[derive(Debug, Clone, Copy)]
pub struct CaptureSetting {
    /// Its dotted path in a configuration, such as `capture.inputs`.
    pub key: &'static str,
    /// The environment variable that sets it.
    pub variable: &'static str,
    /// Its possible values.
    pub kind: CaptureKind,
}

/// The possible values of a setting of the section `capture`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaptureKind {
    /// `true` or `false`.
    Flag,
    /// A whole number between two others, inclusive.
    Count {
        /// The minimum.
        from: i64,
        /// The maximum.
        to: i64,
    },
    /// Bytes.
    Bytes {
        /// The minimum.
        from: i64,
    },
    /// One of some names.
    OneOf(&'static [&'static str]),
    /// Several names.
    Names,
}

use CaptureKind::{Bytes, Count, Flag, Names, OneOf};

const ANY_COUNT: CaptureKind = Count { from: 0, to: i64::MAX };

/// Generates the type, its defaults, [`CAPTURE_SETTINGS`] and [`SHOWN`] from rows `name: type = [of dev, of ci, of prod] =>
/// [VARIABLE kind] shown;`, where a run shows the setting, or `hashed`, where it shows only the hash of all rules.
macro_rules! capture_settings {
    (
        $(#[$about:meta])+
        pub struct $settings:ident {
            $($(#[$doc:meta])+ $name:ident: $type:ty = $defaults:expr => [$variable:ident $kind:expr] $shown:ident;)+
        }
    ) => {
        $(#[$about])+
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $settings {
            $($(#[$doc])+ pub $name: $type,)+
        }

        impl $settings {
            /// The defaults of a built-in profile.
            pub fn of_profile(profile: Profile) -> Self {
                Self { $($name: profile.pick($defaults),)+ }
            }
        }

        /// Every setting of the section, in the order of the documentation.
        pub const CAPTURE_SETTINGS: &[CaptureSetting] = &[$(CaptureSetting {
            key: concat!("capture.", stringify!($name)),
            variable: stringify!($variable),
            kind: $kind,
        },)+];

        /// The names of the settings, and whether a run shows them.
        pub(crate) const SHOWN: &[(&str, bool)] = &[$((stringify!($name), is_shown!($shown)),)+];
    };
}

macro_rules! is_shown {
    (shown) => {
        true
    };
    (hashed) => {
        false
    };
}

capture_settings! {
    /// What may be captured, and how much of it.
    pub struct CaptureSettings {
        /// Whether data summaries are computed.
        data_statistics: bool = [true, false, false] => [HAMILTON_CAPTURE_DATA_STATISTICS Flag] shown;
        /// Whether the most frequent values of a column and the domain of a category are shown.
        top_values: bool = [true, true, false] => [DAGLIGHT_TOP_VALUES Flag] shown;
        /// Whether the least and the greatest text of a column are shown. Numbers and times are, where there are statistics.
        text_min_max: bool = [true, true, false] => [DAGLIGHT_TEXT_MIN_MAX Flag] shown;
        /// How many of the first rows that a query returns or writes are shown.
        preview_rows: usize = [5, 0, 0] => [DAGLIGHT_PREVIEW_ROWS Count { from: 0, to: 1_000 }] shown;
        /// Whether the values of inputs and parameters are shown.
        inputs: bool = [true, true, false] => [DAGLIGHT_INPUTS Flag] shown;
        /// Whether messages of errors keep the quoted texts and the numbers in them.
        error_values: bool = [true, true, false] => [DAGLIGHT_ERROR_VALUES Flag] shown;
        /// Whether what documents a node is shown, such as the comment above its statement. It is prose, and may name anything.
        documentation: bool = [true, true, false] => [DAGLIGHT_DOCUMENTATION Flag] hashed;
        /// How SQL texts are captured.
        sql_text: SqlText = [SqlText::Whole, SqlText::Whole, SqlText::WithoutLiterals] => [DAGLIGHT_SQL_TEXT OneOf(&["whole", "without_literals", "none"])] shown;
        /// How the paths of files are captured.
        paths: ShownPath = [ShownPath::Whole, ShownPath::Whole, ShownPath::WithoutValues] => [DAGLIGHT_PATHS OneOf(&["whole", "without_values", "file_name", "none"])] shown;
        /// Whether the machine is named: host name, architecture, operating system, CPUs.
        host_facts: bool = [true; 3] => [DAGLIGHT_HOST_FACTS Flag] hashed;
        /// Whether the arguments of the process are shown. Credentials in them that can be recognised are redacted.
        command_line: bool = [false; 3] => [DAGLIGHT_COMMAND_LINE Flag] hashed;
        /// Items kept of a list.
        max_list_length: usize = [200, 5, 20] => [HAMILTON_MAX_LIST_LENGTH_CAPTURE ANY_COUNT] hashed;
        /// Keys kept of an object.
        max_dict_length: usize = [200, 10, 50] => [HAMILTON_MAX_DICT_LENGTH_CAPTURE ANY_COUNT] hashed;
        /// Characters kept of a text.
        max_string_length: usize = [20_000; 3] => [DAGLIGHT_MAX_STRING_LENGTH ANY_COUNT] hashed;
        /// Levels of nesting kept.
        max_depth: usize = [8; 3] => [DAGLIGHT_MAX_DEPTH Count { from: 1, to: 100 }] hashed;
        /// Bytes of JSON that one attribute may have.
        max_attribute_bytes: usize = [1 << 20; 3] => [DAGLIGHT_MAX_ATTRIBUTE_BYTES Bytes { from: 256 }] hashed;
        /// Lines kept of a stack trace.
        max_stack_lines: usize = [60; 3] => [DAGLIGHT_MAX_STACK_LINES ANY_COUNT] hashed;
        /// Names whose values are hidden, besides the built-in ones.
        redact_keys: Vec<String> = [const { Vec::new() }; 3] => [DAGLIGHT_REDACT_KEYS Names] hashed;
    }
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

/// How much of a file's path or URL is captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShownPath {
    /// The path as it is.
    Whole,
    /// The path with the values of partition folders replaced: `customer=?/x.parquet`.
    WithoutValues,
    /// Its last part.
    FileName,
    /// No path.
    None,
}
