//! Every setting of Daglight, and its defaults by profile.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use daglight_capture_policy::{CaptureSettings, Policy, Profile, Secret};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::outputs::{OutputSettings, ParamTableSettings};

/// All settings, resolved.
///
/// A program that sets them itself starts from a profile: `let mut settings = Settings::of_profile(Profile::Prod);`
/// and then `settings.team = ...`.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The profile that decides the defaults of all others: `dev`, `ci`, `prod` or one of `[profiles]`.
    pub profile: String,
    /// The DAG's name where neither code nor option gives one.
    pub dag_name: Option<String>,
    /// Where the run takes place, such as `laptop`, `staging` or `production`. Default: the profile's name.
    pub environment: String,
    /// The team that owns the run.
    pub team: Option<String>,
    /// Tags of every run, besides those that each run has.
    pub tags: BTreeMap<String, String>,
    /// What may be captured.
    pub capture: CaptureSettings,
    /// The Hamilton tracking server.
    pub tracker: TrackerSettings,
    /// OpenTelemetry.
    pub otel: OtelSettings,
    /// The run bundle.
    pub bundle: BundleSettings,
    /// The heartbeat.
    pub heartbeat: HeartbeatSettings,
    /// Whether a run fails when its outputs are not as the registry says. Otherwise it warns.
    pub strict_registry: bool,
    /// The semantic registry: what is expected of outputs, by external name.
    pub outputs: BTreeMap<String, OutputSettings>,
    /// Sets of parameters that scripts read as tables, by name.
    pub param_tables: BTreeMap<String, ParamTableSettings>,
    /// Folders whose `daglight.toml` counts although it belongs to another user, or others may write it; `*` is every
    /// folder. A project's own file cannot set this.
    pub trusted_folders: Vec<PathBuf>,
}

/// Where the Hamilton tracking server is, and as whom to talk to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrackerSettings {
    /// Whether runs are recorded for the tracker at all.
    pub enabled: bool,
    /// The server's base URL. Without one, runs wait in their bundles.
    pub api_url: Option<String>,
    /// The base URL of the page, where it differs from `api_url`.
    pub ui_url: Option<String>,
    /// The project's id.
    pub project_id: Option<i64>,
    /// The project's name, where the id is not known.
    pub project: Option<String>,
    /// Whether a project that does not exist is created.
    pub create_project: bool,
    /// The user's e-mail address.
    pub username: Option<String>,
    /// The user's key.
    pub api_key: Option<Secret>,
    /// Whether the server's certificate is verified. Without that, everybody on the way can read and change what is sent.
    pub verify: bool,
    /// A PEM file with certificates of authorities to trust besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// Servers that a project's `daglight.toml` may name and that get the key of the user's own file or environment. A
    /// project's own file cannot set this.
    pub trusted_servers: Vec<String>,
    /// How long the end of a run waits for delivery, in seconds.
    pub flush_seconds: f64,
}

/// OpenTelemetry settings that the specification's own variables do not cover.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtelSettings {
    /// What Daglight's own attribute names start with.
    pub namespace: String,
    /// The page of a trace in one's tracing backend, with `{trace_id}`, and `{span_id}`, where the ids go.
    pub trace_url: Option<String>,
    /// A stage that takes longer is marked `slow`, in seconds.
    pub slow_seconds: f64,
    /// The same for single stages, by their names.
    pub slow_seconds_by_stage: BTreeMap<String, f64>,
    /// How long the end of a run waits for the exporters, in seconds.
    pub shutdown_seconds: f64,
}

/// The run bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BundleSettings {
    /// The folder that holds `run_bundle/<run_id>`.
    pub output_dir: PathBuf,
    /// What an acknowledged event survives: the death of the process, or also the loss of power (`disk`).
    pub durability: Durability,
    /// `daglight prune` deletes bundles of runs that started more days ago.
    pub keep_days: Option<u32>,
    /// `daglight prune` keeps so many of the newest bundles.
    pub keep_count: Option<usize>,
    /// `daglight prune` deletes the oldest bundles until the rest takes no more than so many bytes.
    pub keep_bytes: Option<u64>,
}

/// What an acknowledged event survives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The death of the process.
    #[default]
    Process,
    /// Also the loss of power.
    Disk,
}

/// The heartbeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatSettings {
    /// Seconds between two beats.
    pub interval_seconds: f64,
    /// Seconds without progress after which a query counts as stalled.
    pub stall_seconds: f64,
}

impl HeartbeatSettings {
    /// The time between two beats.
    pub fn interval(&self) -> Duration {
        seconds(self.interval_seconds)
    }

    /// The time without progress after which a query counts as stalled.
    pub fn stall_after(&self) -> Duration {
        seconds(self.stall_seconds)
    }
}

impl OtelSettings {
    /// The duration past which a stage is slow.
    pub fn slow_after(&self) -> Duration {
        seconds(self.slow_seconds)
    }

    /// The same for single stages, by their names.
    pub fn slow_after_by_stage(&self) -> BTreeMap<String, Duration> {
        self.slow_seconds_by_stage.iter().map(|(stage, &limit)| (stage.clone(), seconds(limit))).collect()
    }

    /// How long the end of a run waits for the exporters.
    pub fn shutdown_timeout(&self) -> Duration {
        seconds(self.shutdown_seconds)
    }
}

impl TrackerSettings {
    /// How long the end of a run waits for delivery.
    pub fn flush_timeout(&self) -> Duration {
        seconds(self.flush_seconds)
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

impl Settings {
    /// The defaults of a built-in profile.
    pub fn of_profile(profile: Profile) -> Self {
        Self {
            profile: profile.name().to_owned(),
            dag_name: None,
            environment: profile.name().to_owned(),
            team: None,
            tags: BTreeMap::new(),
            capture: CaptureSettings::of_profile(profile),
            tracker: TrackerSettings {
                enabled: profile.uses_tracker(),
                api_url: None,
                ui_url: None,
                project_id: None,
                project: None,
                create_project: false,
                username: None,
                api_key: None,
                verify: true,
                ca_file: None,
                trusted_servers: Vec::new(),
                flush_seconds: 10.0,
            },
            otel: OtelSettings {
                namespace: "daglight".to_owned(),
                trace_url: None,
                slow_seconds: 10.0,
                slow_seconds_by_stage: BTreeMap::new(),
                shutdown_seconds: 5.0,
            },
            bundle: BundleSettings {
                output_dir: PathBuf::from("out"),
                durability: Durability::Process,
                keep_days: None,
                keep_count: None,
                keep_bytes: None,
            },
            heartbeat: HeartbeatSettings { interval_seconds: 5.0, stall_seconds: 30.0 },
            strict_registry: false,
            outputs: BTreeMap::new(),
            param_tables: BTreeMap::new(),
            trusted_folders: Vec::new(),
        }
    }
}

impl Settings {
    /// The capture policy of these settings. It knows the key of the tracker as a credential.
    pub fn policy(&self) -> Policy {
        Policy::new(self.profile.as_str(), self.capture.clone(), &self.tracker.api_key)
            .with_tracker(self.tracker.enabled)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::of_profile(Profile::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_knows_the_key_and_has_a_rule_for_the_tracker() {
        let mut settings = Settings::of_profile(Profile::Prod);
        settings.tracker.api_key = Some(Secret::new("sesame key 17"));
        let policy = settings.policy();
        assert_eq!(policy.capture("at sesame key 17").to_text(), "at [redacted]");
        assert_eq!(policy.rules(), Policy::of_profile(Profile::Prod).rules());
        settings.tracker.enabled = false;
        assert_eq!(settings.policy().rules()["tracker"], "false");
    }
}
