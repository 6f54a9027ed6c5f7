//! What may be captured: profiles, limits, redaction and the layered configuration of Daglight.
//!
//! Values from user data leave a process only as [`Captured`], and only a [`Policy`] makes those. The settings of the
//! whole product are declared here too, because every one of them is governed by a profile; the crates above read
//! their own section and never look at the environment themselves.
//!
//! What a run is called belongs to `daglight-run-identity`.

mod captured;
mod catalog;
mod causes;
mod command_line;
mod connection_secrets;
mod console_text;
mod credentials;
mod embedded;
mod key_names;
mod known;
mod layer;
mod learn;
mod limits;
mod loader;
mod mask;
mod outputs;
mod plan_text;
mod policy;
mod printable;
mod profile;
mod redact;
mod reference;
mod resolved;
mod script_columns;
mod secret;
mod secret_reader;
mod settings;
mod settings_error;
mod sql_secrets;
mod sql_tokens;
mod sql_values;
mod trust;

pub use captured::Captured;
pub use catalog::{SETTINGS, Setting, SettingKind};
pub use causes::in_one_line;
pub use embedded::{Types, without_typed_literals};
pub use layer::Origin;
pub use loader::SettingsLoader;
pub use outputs::{OutputSettings, ParamTableSettings};
pub use plan_text::operator_name;
pub use policy::Policy;
pub use printable::{CUT_MARK, printable, printable_lines, printable_message, printable_within, shown_width};
pub use profile::{Profile, UnknownProfile};
pub use redact::{REDACTED, Redactor, is_engine};
pub use reference::{settings_schema, settings_table};
pub use resolved::{Resolved, ResolvedValue};
pub use secret::Secret;
pub use settings::{
    BundleSettings, CaptureSettings, Durability, HeartbeatSettings, OtelSettings, Settings, ShownPath,
    SqlText, TrackerSettings,
};
pub use settings_error::SettingsError;
pub use trust::Refusal;
