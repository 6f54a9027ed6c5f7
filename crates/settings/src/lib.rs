//! The settings of Daglight: their layers, their defaults by profile, and where each value came from.
//!
//! The settings of the whole product are declared here, because the defaults of all of them depend on the profile. The crates above
//! read their own section and never access the environment themselves.
//!
//! The meaning of the section `capture` belongs to `daglight-capture-policy`; [`Settings::policy`] creates the policy from it. The
//! `OTEL_*` variables of the OpenTelemetry specification belong to `daglight-otel-bridge`.

mod declare;
mod outputs;
mod setting;
mod settings;

mod catalog;
mod reference;
mod template;

mod disclosure;
mod origin;
mod settings_error;

mod layer;
mod trust;
mod openlineage_config;
mod config_files;
mod check;
mod project_servers;
mod profiles;
mod resolved;
mod loader;

pub use catalog::SETTINGS;
pub use disclosure::Disclosure;
pub use loader::SettingsLoader;
pub use origin::Origin;
pub use outputs::{OutputSettings, ParamTableSettings};
pub use reference::{settings_schema, settings_table};
pub use resolved::{Resolved, ResolvedValue};
pub use setting::{Setting, SettingKind, byte_size};
pub use settings::{
    BundleSettings, HeartbeatSettings, KeptPlans, OnStall, OpenLineageSettings, OtelSettings, PlanSettings,
    Settings, TrackerSettings,
};
pub use settings_error::SettingsError;
pub use template::settings_template;
pub use trust::Refusal;
