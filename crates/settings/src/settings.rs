//! Every setting of Daglight: each is declared in one row, with its defaults by profile, the variable that sets it and its possible
//! values.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use daglight_capture_policy::{CAPTURE_SETTINGS, CaptureKind, CaptureSettings, Policy, Profile, Secret};
use daglight_finding_thresholds::{FINDING_THRESHOLDS, FindingThresholds, ThresholdKind};
use daglight_guarded_files::Durability;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    declare::{setting_rows, settings},
    outputs::{OutputSettings, ParamTableSettings},
    setting::{
        Setting, SettingKind,
        SettingKind::{
            Bytes, Count, Flag, Folders, Interval, Names, Namespace, Number, OneOf, Part, PlainUrl, Rows,
            Seconds, Text, TraceUrl, Url, Urls,
        },
    },
};

const ANY_COUNT: SettingKind = Count { from: 0, to: i64::MAX };

/// The rows of the section `capture`, which `daglight-capture-policy` declares.
const CAPTURE: &[Setting] = &{
    let mut rows = [Setting { key: "", variable: None, kind: Flag }; CAPTURE_SETTINGS.len()];
    let mut at = 0;
    while at < rows.len() {
        let declared = CAPTURE_SETTINGS[at];
        let kind = match declared.kind {
            CaptureKind::Flag => Flag,
            CaptureKind::Bytes { from } => Bytes { from },
            CaptureKind::Count { from, to } => Count { from, to },
            CaptureKind::OneOf(names) => OneOf(names),
            CaptureKind::Names => Names,
        };
        rows[at] = Setting { key: declared.key, variable: Some(declared.variable), kind };
        at += 1;
    }
    rows
};

/// The rows of the section `findings`, which `daglight-finding-thresholds` declares.
const FINDINGS: &[Setting] = &{
    let mut rows = [Setting { key: "", variable: None, kind: Flag }; FINDING_THRESHOLDS.len()];
    let mut at = 0;
    while at < rows.len() {
        let declared = FINDING_THRESHOLDS[at];
        let kind = match declared.kind {
            ThresholdKind::Part => Part,
            ThresholdKind::Number => Number,
            ThresholdKind::Bytes => Bytes { from: 0 },
            ThresholdKind::Count => ANY_COUNT,
        };
        rows[at] = Setting { key: declared.key, variable: None, kind };
        at += 1;
    }
    rows
};

settings! {
    /// All settings, resolved.
    ///
    /// A program that sets them itself starts from a profile: `let mut settings = Settings::of_profile(Profile::Prod);`
    /// and then `settings.team = ...`.
    #[non_exhaustive]
    pub struct Settings at "" {
        /// The profile that decides the defaults of all others: `dev`, `ci`, `prod` or one of `[profiles]`.
        profile: String = Profile::ALL.map(|profile| profile.name().to_owned()) => [HAMILTON_TELEMETRY_PROFILE Text];
        /// The DAG's name where neither code nor option gives one.
        dag_name: Option<String> = [const { None }; 3] => [HAMILTON_DAG_NAME Text];
        /// Where the run takes place, such as `laptop`, `staging` or `production`. Default: the profile's name.
        environment: String = Profile::ALL.map(|profile| profile.name().to_owned()) => [DAGLIGHT_ENVIRONMENT Text];
        /// The team that owns the run.
        team: Option<String> = [const { None }; 3] => [DAGLIGHT_TEAM Text];
        /// Tags of every run, besides those that each run has.
        tags: BTreeMap<String, String> = [const { BTreeMap::new() }; 3] => [each Text];
        /// What may be captured.
        capture: CaptureSettings = Profile::ALL.map(CaptureSettings::of_profile) => [section CAPTURE];
        /// The Hamilton tracking server.
        tracker: TrackerSettings = Profile::ALL.map(TrackerSettings::of_profile) => [section TrackerSettings::ROWS];
        /// OpenTelemetry.
        otel: OtelSettings = Profile::ALL.map(OtelSettings::of_profile) => [section OtelSettings::ROWS];
        /// OpenLineage.
        openlineage: OpenLineageSettings = Profile::ALL.map(OpenLineageSettings::of_profile) => [section OpenLineageSettings::ROWS];
        /// The run bundle.
        bundle: BundleSettings = Profile::ALL.map(BundleSettings::of_profile) => [section BundleSettings::ROWS];
        /// The plans of queries.
        plans: PlanSettings = Profile::ALL.map(PlanSettings::of_profile) => [section PlanSettings::ROWS];
        /// The cluster that queries are executed on.
        cluster: ClusterSettings = Profile::ALL.map(ClusterSettings::of_profile) => [section ClusterSettings::ROWS];
        /// The heartbeat.
        heartbeat: HeartbeatSettings = Profile::ALL.map(HeartbeatSettings::of_profile) => [section HeartbeatSettings::ROWS];
        /// From where on what a report finds is worth a word.
        findings: FindingThresholds = Profile::ALL.map(|_| FindingThresholds::default()) => [section FINDINGS];
        /// Whether a run fails when its outputs are not as the registry says. Otherwise it warns.
        strict_registry: bool = [false; 3] => [DAGLIGHT_STRICT_REGISTRY Flag];
        /// The semantic registry: what is expected of outputs, by external name.
        outputs: BTreeMap<String, OutputSettings> = [const { BTreeMap::new() }; 3] => [tables { "owner" Text, "description" Text, "tags.*" Text, "columns.*" Text, "dag" Text }];
        /// Sets of parameters that scripts read as tables, by name.
        param_tables: BTreeMap<String, ParamTableSettings> = [const { BTreeMap::new() }; 3] => [tables { "file" Text, "rows" Rows, "description" Text }];
        /// Folders whose `daglight.toml` counts although it belongs to another user, or others may write it; `*` is every
        /// folder. A project's own file cannot set this.
        trusted_folders: Vec<PathBuf> = [const { Vec::new() }; 3] => [DAGLIGHT_TRUSTED_FOLDERS Folders];
    }
}

settings! {
    /// How queries are executed on a cluster.
    pub struct ClusterSettings at "cluster." {
        /// The path or URL of a folder that all machines reach: the rows of `CREATE TABLE AS` are kept there as Parquet files, in a
        /// folder for each run, which is removed at the end of the run. Without one they are in the memory of the client.
        scratch: Option<String> = [const { None }; 3] => [DAGLIGHT_CLUSTER_SCRATCH Text];
        /// Whether the folder of a run stays there.
        keep_scratch: bool = [false; 3] => [DAGLIGHT_CLUSTER_KEEP_SCRATCH Flag];
    }
}

settings! {
    /// Where the Hamilton tracking server is, and as whom to talk to it.
    pub struct TrackerSettings at "tracker." {
        /// Whether runs are recorded for the tracker at all.
        enabled: bool = Profile::ALL.map(Profile::uses_tracker) => [HAMILTON_TRACKER_ENABLED Flag];
        /// The server's base URL. Without one, runs wait in their bundles.
        api_url: Option<String> = [const { None }; 3] => [HAMILTON_API_URL PlainUrl];
        /// The base URL of the page, where it differs from `api_url`.
        ui_url: Option<String> = [const { None }; 3] => [HAMILTON_UI_URL PlainUrl];
        /// The project's id.
        project_id: Option<i64> = [const { None }; 3] => [HAMILTON_PROJECT_ID Count { from: 1, to: i64::MAX }];
        /// The project's name, where the id is not known.
        project: Option<String> = [const { None }; 3] => [DAGLIGHT_PROJECT Text];
        /// Whether a project that does not exist is created.
        create_project: bool = [false; 3] => [DAGLIGHT_CREATE_PROJECT Flag];
        /// The user's e-mail address.
        username: Option<String> = [const { None }; 3] => [HAMILTON_USERNAME Text];
        /// The user's key.
        api_key: Option<Secret> = [const { None }; 3] => [HAMILTON_API_KEY SettingKind::Secret];
        /// Whether the server's certificate is verified. Without that, anyone on the network path can read and change what is sent.
        verify: bool = [true; 3] => [DAGLIGHT_VERIFY_TLS Flag];
        /// A PEM file with certificates of authorities to trust besides those of the system.
        ca_file: Option<PathBuf> = [const { None }; 3] => [DAGLIGHT_CA_FILE Text];
        /// Servers that a project's `daglight.toml` may name and that get the key of the user's own file or environment. A
        /// project's own file cannot set this.
        trusted_servers: Vec<String> = [const { Vec::new() }; 3] => [DAGLIGHT_TRUSTED_SERVERS Urls];
        /// How long the end of a run waits for delivery, in seconds.
        flush_seconds: f64 = [10.0; 3] => [DAGLIGHT_FLUSH_SECONDS Seconds];
    }
}

settings! {
    /// OpenTelemetry settings that the specification's own variables do not cover.
    pub struct OtelSettings at "otel." {
        /// What Daglight's own attribute names start with.
        namespace: String = ["daglight"; 3].map(str::to_owned) => [DAGLIGHT_NAMESPACE Namespace];
        /// The page of a trace in one's tracing backend, with `{trace_id}`, and `{span_id}`, where the ids go.
        trace_url: Option<String> = [const { None }; 3] => [DAGLIGHT_TRACE_URL TraceUrl];
        /// A stage that takes longer is marked `slow`, in seconds.
        slow_seconds: f64 = [10.0; 3] => [DAGLIGHT_SLOW_SECONDS Seconds];
        /// The same for single stages, by their names.
        slow_seconds_by_stage: BTreeMap<String, f64> = [const { BTreeMap::new() }; 3] => [each Seconds];
        /// Whether each operator of a query gets a span, made of its metrics when the query has ended.
        operator_spans: bool = [true, false, false] => [DAGLIGHT_OPERATOR_SPANS Flag];
        /// Names by which metrics may be scraped with `OTEL_METRICS_EXPORTER=prometheus`, besides addresses, `localhost` and
        /// `OTEL_EXPORTER_PROMETHEUS_HOST`.
        scrape_hosts: Vec<String> = [const { Vec::new() }; 3] => [DAGLIGHT_SCRAPE_HOSTS Names];
        /// How long the end of a run waits for the exporters, in seconds.
        shutdown_seconds: f64 = [5.0; 3] => [DAGLIGHT_SHUTDOWN_SECONDS Seconds];
    }
}

settings! {
    /// Where the events of OpenLineage go. Variables and defaults are those of its own clients, whose `openlineage.yml` is read as
    /// well.
    pub struct OpenLineageSettings at "openlineage." {
        /// Whether no events are recorded and sent, whatever the others say.
        disabled: bool = [false; 3] => [OPENLINEAGE_DISABLED Flag];
        /// How events are sent: `http`, `file` or `console`, or not at all (`noop`). Default: `http` where `url` is set, else not at
        /// all.
        transport: Option<String> = [const { None }; 3] => [OPENLINEAGE__TRANSPORT__TYPE Text];
        /// The base URL of the receiver, for `http`.
        url: Option<String> = [const { None }; 3] => [OPENLINEAGE_URL Url];
        /// The path below the URL that events are sent to.
        endpoint: String = ["api/v1/lineage"; 3].map(str::to_owned) => [OPENLINEAGE_ENDPOINT Text];
        /// The key that is sent as a bearer token.
        api_key: Option<Secret> = [const { None }; 3] => [OPENLINEAGE_API_KEY SettingKind::Secret];
        /// Whether the receiver's certificate is verified. Without that, anyone on the network path can read and change what is sent.
        verify: bool = [true; 3] => [OPENLINEAGE__TRANSPORT__VERIFY Flag];
        /// How requests are compressed: `gzip`. Default: not at all.
        compression: Option<String> = [const { None }; 3] => [OPENLINEAGE__TRANSPORT__COMPRESSION Text];
        /// How long a request may take, in seconds.
        timeout_seconds: f64 = [5.0; 3] => [OPENLINEAGE__TRANSPORT__TIMEOUT Seconds];
        /// For `file`: the file that events are appended to, or, without `append`, what the names of the files begin with, one for
        /// each event.
        file: Option<PathBuf> = [const { None }; 3] => [OPENLINEAGE__TRANSPORT__LOG_FILE_PATH Text];
        /// For `file`: whether all events go into one file.
        append: bool = [false; 3] => [OPENLINEAGE__TRANSPORT__APPEND Flag];
        /// The namespace of the jobs.
        namespace: String = ["default"; 3].map(str::to_owned) => [OPENLINEAGE_NAMESPACE Text];
        /// The run that has started this one: `namespace/job name/run id`.
        parent_id: Option<String> = [const { None }; 3] => [OPENLINEAGE_PARENT_ID Text];
        /// The run at the beginning of the chain of runs in which this one is, in the same form. Default: the parent.
        root_parent_id: Option<String> = [const { None }; 3] => [OPENLINEAGE_ROOT_PARENT_ID Text];
        /// How long the end of a run waits for the delivery of events, in seconds.
        flush_seconds: f64 = [5.0; 3] => [DAGLIGHT_OPENLINEAGE_FLUSH_SECONDS Seconds];
    }
}

settings! {
    /// The run bundle.
    pub struct BundleSettings at "bundle." {
        /// The folder that holds `run_bundle/<run_id>`.
        output_dir: PathBuf = ["out"; 3].map(PathBuf::from) => [DAGLIGHT_OUTPUT_DIR Text];
        /// What an acknowledged event survives: the death of the process, or also the loss of power (`disk`).
        durability: Durability = [Durability::Process; 3] => [DAGLIGHT_DURABILITY OneOf(&["process", "disk"])];
        /// `daglight prune` deletes bundles of runs that started more days ago.
        keep_days: Option<u32> = [const { None }; 3] => [DAGLIGHT_KEEP_DAYS Count { from: 0, to: 36_500 }];
        /// `daglight prune` keeps this many of the newest bundles.
        keep_count: Option<usize> = [const { None }; 3] => [DAGLIGHT_KEEP_COUNT ANY_COUNT];
        /// `daglight prune` deletes the oldest bundles until the rest takes no more than this many bytes.
        keep_bytes: Option<u64> = [const { None }; 3] => [DAGLIGHT_KEEP_BYTES Bytes { from: 0 }];
    }
}

settings! {
    /// The plans of queries, which the bundle has in `plans/`.
    pub struct PlanSettings at "plans." {
        /// Which plans are kept when their queries have ended: `all`; `slow`, which are those that were slow, did not complete,
        /// or changed since the last run of the DAG; `changed`, which are those that did not complete or changed; or `none`. The
        /// plan of a query that runs is there with all but `none`.
        keep: KeptPlans = [KeptPlans::All, KeptPlans::Slow, KeptPlans::Slow] => [DAGLIGHT_PLANS OneOf(&["all", "slow", "changed", "none"])];
        /// A query is slow that takes longer, with its planning, in seconds.
        slow_after: f64 = [1.0; 3] => [DAGLIGHT_PLANS_SLOW_AFTER Seconds];
        /// Whether the file of a plan has what each rule has changed of it, as a difference of texts, where literals may be
        /// captured. It makes planning several times slower: for debugging.
        rule_differences: bool = [false; 3] => [DAGLIGHT_PLANS_RULE_DIFFERENCES Flag];
    }
}

settings! {
    /// The heartbeat.
    pub struct HeartbeatSettings at "heartbeat." {
        /// Seconds between two beats.
        interval_seconds: f64 = [5.0; 3] => [DAGLIGHT_HEARTBEAT_SECONDS Interval];
        /// Seconds after which a query or a node counts as stalled in which nothing moves: no rows, no bytes, and no thread of
        /// it computes.
        stall_seconds: f64 = [30.0; 3] => [DAGLIGHT_STALL_SECONDS Seconds];
        /// Seconds after which it counts as busy without output in which its threads compute and nothing comes of it.
        busy_seconds: f64 = [300.0; 3] => [DAGLIGHT_BUSY_SECONDS Seconds];
        /// What is done about a stall, besides reporting it: nothing (`warn`); or, when it still lasts at the next beat, its query
        /// fails, then its node is given up, and where its code does not give way, the run is closed and the process ends with
        /// exit code 1 (`cancel`).
        on_stall: OnStall = [OnStall::Warn; 3] => [DAGLIGHT_ON_STALL OneOf(&["warn", "cancel"])];
        /// Whether the evidence of a stall has the stacks of the threads that hold it up, as names of functions. They are sampled
        /// once, when it begins, without stopping a thread; on Linux on x86-64 and aarch64.
        stacks: bool = [true; 3] => [DAGLIGHT_STALL_STACKS Flag];
    }
}

/// Which plans are kept when their queries have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeptPlans {
    /// Every plan.
    #[default]
    All,
    /// Those that were slow, did not complete, or changed since the last run of the DAG.
    Slow,
    /// Those that did not complete, or changed.
    Changed,
    /// None.
    None,
}

/// What is done about a query or a node that stands still.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnStall {
    /// It is said.
    #[default]
    Warn,
    /// It is given up, too.
    Cancel,
}

impl PlanSettings {
    /// The threshold above which a query is slow.
    pub fn slow_limit(&self) -> Duration {
        seconds(self.slow_after)
    }
}

impl HeartbeatSettings {
    /// The time between two beats.
    pub fn interval(&self) -> Duration {
        seconds(self.interval_seconds)
    }

    /// The time without progress after which something counts as stalled.
    pub fn stall_after(&self) -> Duration {
        seconds(self.stall_seconds)
    }

    /// The time after which something counts as busy without output.
    pub fn busy_after(&self) -> Duration {
        seconds(self.busy_seconds)
    }
}

impl OtelSettings {
    /// The threshold above which a stage is slow.
    pub fn slow_after(&self) -> Duration {
        seconds(self.slow_seconds)
    }

    /// The thresholds of individual stages, by name.
    pub fn slow_after_by_stage(&self) -> BTreeMap<String, Duration> {
        self.slow_seconds_by_stage.iter().map(|(stage, &limit)| (stage.clone(), seconds(limit))).collect()
    }

    /// How long the end of a run waits for the exporters.
    pub fn shutdown_timeout(&self) -> Duration {
        seconds(self.shutdown_seconds)
    }
}

impl OpenLineageSettings {
    /// How long a request may take.
    pub fn timeout(&self) -> Duration {
        seconds(self.timeout_seconds)
    }

    /// How long the end of a run waits for delivery.
    pub fn flush_timeout(&self) -> Duration {
        seconds(self.flush_seconds)
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
    /// The capture policy for these settings. It treats the keys of the tracker and of OpenLineage as credentials.
    pub fn policy(&self) -> Policy {
        let keys = self.tracker.api_key.iter().chain(&self.openlineage.api_key);
        Policy::new(self.profile.as_str(), self.capture.clone(), keys).with_tracker(self.tracker.enabled)
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
