//! What may be captured: profiles, limits and redaction.
//!
//! Values from user data leave a process only as [`Captured`], and only a [`Policy`] makes those.
//!
//! Where the settings of a policy come from belongs to `daglight-settings`, what a run is called to
//! `daglight-run-identity`.

mod bounded_text;
mod capture_settings;
mod captured;
mod captured_table;
mod causes;
mod command_line;
mod connection_secrets;
mod console_text;
mod credentials;
mod key_names;
mod key_values;
mod known;
mod learn;
mod limits;
mod mask;
mod named_rows;
mod named_values;
mod partition_values;
mod phrases;
mod plan_text;
mod policy;
#[cfg(test)]
mod position_tests;
mod printable;
mod profile;
mod program_options;
mod redact;
mod rewritten;
mod script_columns;
mod script_line;
mod secret;
mod secret_reader;
mod sql_secrets;
mod sql_tokens;
mod sql_values;
mod time_zones;
mod typed_literals;

pub use bounded_text::BoundedText;
pub use capture_settings::{
    CAPTURE_SETTINGS, CaptureKind, CaptureSetting, CaptureSettings, ShownPath, SqlText,
};
pub use captured::Captured;
pub use causes::in_one_line;
pub use console_text::printable_error;
pub use plan_text::operator_name;
pub use policy::Policy;
pub use printable::{CUT_MARK, printable, printable_lines, printable_message, printable_within, shown_width};
pub use profile::{Profile, UnknownProfile};
pub use redact::{REDACTED, Redactor, is_engine, without_credentials, without_error_values};
pub use secret::Secret;
pub use typed_literals::{Types, without_typed_literals};
