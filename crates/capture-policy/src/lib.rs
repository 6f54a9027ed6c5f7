//! What may be captured: profiles, limits and redaction.
//!
//! Values from user data leave a process only as [`Captured`], which only a [`Policy`] creates.
//!
//! Reading the settings of a policy belongs to `daglight-settings`, the identity of a run to `daglight-run-identity`.

// What may be captured.
mod profile;
mod capture_settings;
mod policy;
mod captured;
mod captured_table;
mod limits;
mod bounded_text;
mod secret;

// How errors, plans, command lines and scripts are shown.
mod causes;
mod mask;
mod plan_options;
mod plan_text;
mod typed_literals;
mod url_queries;
mod time_zones;
mod partition_values;
mod command_line;
mod program_options;
mod console_text;
mod script_line;
mod printable;
mod rewritten;
mod nearest_name;

// Finding credentials by name, by shape, and because they are known.
mod figures;
mod redact;
mod credential_places;
mod known;
mod shown_texts;
mod learn;
mod key_names;
mod key_values;
mod key_layouts;
mod closing_quote;
mod compared_columns;
mod named_values;
mod named_rows;
mod object_names;
mod parser_words;
mod credentials;
mod path_users;
mod connection_secrets;
mod phrases;
mod phrase_table;
mod clues;

// Finding them in SQL.
mod dialects;
mod sql_tokens;
mod sql_values;
mod sql_secrets;
mod secret_reader;
mod secret_frame;
mod nested_literals;
mod column_reader;
mod frame_bounds;
mod joined_columns;
mod script_columns;

#[cfg(test)]
mod position_tests;

pub use bounded_text::{BoundedText, first_words};
pub use capture_settings::{
    CAPTURE_SETTINGS, CaptureKind, CaptureSetting, CaptureSettings, ShownPath, SqlText,
};
pub use captured::Captured;
pub use causes::{in_one_line, with_causes};
pub use console_text::printable_error;
pub use limits::free_key;
pub use nearest_name::{MAX_EDITS, nearest_name};
pub use path_users::host_of_path_part;
pub use plan_text::operator_name;
pub use policy::Policy;
pub use printable::{CUT_MARK, printable, printable_lines, printable_message, printable_within, shown_width};
pub use profile::{Profile, UnknownProfile};
pub use redact::{Redactor, is_engine, without_credentials, without_error_values};
pub use secret::{REDACTED, Secret};
pub use typed_literals::{Types, without_typed_literals};
