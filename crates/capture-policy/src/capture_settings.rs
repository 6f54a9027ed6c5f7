//! The settings of the section `capture`, and their defaults by profile.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Profile;

/// What may be captured, and how much of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaptureSettings {
    /// Whether data summaries are computed.
    pub data_statistics: bool,
    /// Whether the most frequent values of a column and the domain of a category are shown.
    pub top_values: bool,
    /// Whether the least and the greatest text of a column are shown. Numbers and times are, where there are statistics.
    pub text_min_max: bool,
    /// Whether the values of inputs and parameters are shown.
    pub inputs: bool,
    /// Whether messages of errors keep the quoted texts and the numbers in them.
    pub error_values: bool,
    /// How SQL texts are captured.
    pub sql_text: SqlText,
    /// How the paths of files are captured.
    pub paths: ShownPath,
    /// Whether the machine is named: host name, architecture, operating system, CPUs.
    pub host_facts: bool,
    /// Whether the arguments of the process are shown. Credentials in them that can be told are redacted.
    pub command_line: bool,
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

impl CaptureSettings {
    /// The defaults of a built-in profile.
    pub fn of_profile(profile: Profile) -> Self {
        let (data_statistics, max_list_length, max_dict_length) = match profile {
            Profile::Dev => (true, 200, 200),
            Profile::Ci => (false, 5, 10),
            Profile::Prod => (false, 20, 50),
        };
        let shows_values = profile != Profile::Prod;
        Self {
            data_statistics,
            top_values: shows_values,
            text_min_max: shows_values,
            inputs: shows_values,
            error_values: shows_values,
            sql_text: if shows_values { SqlText::Whole } else { SqlText::WithoutLiterals },
            paths: if shows_values { ShownPath::Whole } else { ShownPath::WithoutValues },
            host_facts: true,
            command_line: false,
            max_list_length,
            max_dict_length,
            max_string_length: 20_000,
            max_depth: 8,
            max_attribute_bytes: 1 << 20,
            max_stack_lines: 60,
            redact_keys: Vec::new(),
        }
    }
}
