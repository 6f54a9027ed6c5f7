//! What may be captured: profiles, limits, redaction and the layered configuration of Daglight.
//!
//! Values from user data leave a process only as [`Captured`], and only a [`Policy`] makes those. The settings of the
//! whole product are declared here too, because every one of them is governed by a profile; the crates above read
//! their own section and never look at the environment themselves.
//!
//! What a run is called belongs to `daglight-run-identity`.

mod captured;
mod outputs;
mod profile;
mod redact;
mod secret;
mod settings;
mod variables;

pub use captured::{Captured, Policy};
pub use outputs::{OutputSettings, ParamTableSettings};
pub use profile::{Profile, UnknownProfile};
pub use redact::{REDACTED, Redactor};
pub use secret::Secret;
pub use settings::{
    BundleSettings, CaptureSettings, Durability, HeartbeatSettings, Origin, OtelSettings, Settings,
    SettingsError, SettingsLoader, SqlText, TrackerSettings,
};
pub use variables::{VARIABLES, Variable, VariableKind};
