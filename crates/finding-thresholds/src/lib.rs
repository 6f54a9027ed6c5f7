//! The thresholds from which a report lists a finding: each with its unit and the reason for it.
//!
//! The rules that use them belong to `daglight-bundle-report`, and `daglight-settings` has them as the section `findings`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The type of a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThresholdKind {
    /// A share, from 0 to 1.
    Part,
    /// A number, 0 or more.
    Number,
    /// A whole number, 0 or more.
    Count,
    /// Bytes.
    Bytes,
}

/// A threshold as a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeclaredThreshold {
    /// Its dotted path in the settings.
    pub key: &'static str,
    /// Its type.
    pub kind: ThresholdKind,
}

macro_rules! thresholds {
    ($($(#[$doc:meta])+ $name:ident: $of:ty = $default:expr => $kind:ident;)+) => {
        /// The thresholds of the rules, and of comparisons.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        #[non_exhaustive]
        pub struct FindingThresholds {
            $($(#[$doc])+ pub $name: $of,)+
        }

        impl Default for FindingThresholds {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        /// Every threshold, in the order of the documentation.
        pub const FINDING_THRESHOLDS: &[DeclaredThreshold] = &[
            $(DeclaredThreshold { key: concat!("findings.", stringify!($name)), kind: ThresholdKind::$kind },)+
        ];
    };
}

thresholds! {
    /// A finding of a query is shown from this part of the run's time on; less is not worth tuning.
    min_share: f64 = 0.05 => Part;
    /// Milliseconds at stake below which a finding of a query is not shown: they are as likely chance.
    min_ms: f64 = 50.0 => Number;
    /// A finding with this part of the run's time at stake is a warning.
    warning_share: f64 = 0.2 => Part;
    /// Findings of a kind that are listed one by one.
    max_per_kind: usize = 3 => Count;
    /// Rows below which no operator is looked at for how its rows are spread: a batch or two always are uneven.
    skew_rows: u64 = 100_000 => Count;
    /// DataFusion's score of skew, from 0 (even) to 1 (all in one partition).
    skew_score: f64 = 0.6 => Part;
    /// Partitions for each core of the machine that are too many, where each has few rows.
    partitions_per_core: u64 = 4 => Count;
    /// Rows of a partition that are few: a batch of DataFusion has 8192.
    rows_per_partition: u64 = 1_000 => Count;
    /// A run that used less than this part of its cores wasted them.
    cpu_used: f64 = 0.3 => Part;
    /// Runs shorter than this many milliseconds are mostly starting and ending.
    cpu_run_ms: f64 = 10_000.0 => Number;
    /// Files of a scan from which on they are many, where they are small.
    many_files: u64 = 100 => Count;
    /// Bytes of a file that are few: opening one costs about as much as reading 1 MiB.
    small_file_bytes: u64 = 1 << 20 => Bytes;
    /// Bytes from which on a scan is worth dividing.
    huge_bytes: u64 = 256 << 20 => Bytes;
    /// Rows that a filter kept of those read, as a part.
    kept: f64 = 0.02 => Part;
    /// Rows below which reading all of them is right.
    scan_rows: u64 = 1_000_000 => Count;
    /// Scans of the same data that are one too many.
    repeated_scans: u64 = 3 => Count;
    /// The part of the run that the scans after the first take.
    repeated_share: f64 = 0.2 => Part;
    /// Queries that computed the same, of which all but one are too many: 2 at least.
    recomputed_queries: u64 = 2 => Count;
    /// The part of the run that computing it after the first time takes.
    recomputed_share: f64 = 0.1 => Part;
    /// Rows that a join returned for each row of its larger side.
    explosion: f64 = 10.0 => Number;
    /// Rows returned below which a join has not exploded.
    explosion_rows: u64 = 1_000_000 => Count;
    /// Pairs of rows that were compared by a join without equality.
    cross_pairs: u64 = 10_000_000 => Count;
    /// Rows of the smaller side: a scalar subquery has one, and is not a cross join to its author.
    cross_side_rows: u64 = 10 => Count;
    /// Rows of the build side for each of the probe side.
    build_ratio: f64 = 4.0 => Number;
    /// Rows of the build side below which it does not matter.
    build_rows: u64 = 100_000 => Count;
    /// Milliseconds of planning below which it does not matter that executing was shorter.
    planning_ms: f64 = 250.0 => Number;
    /// And the part of the run below which it does not: short queries over little data are planned for about as long.
    planning_share: f64 = 0.1 => Part;
    /// The part of a query's computing that writing takes.
    writing: f64 = 0.5 => Part;
    /// Files of an output from which on they are many.
    output_files: u64 = 50 => Count;
    /// The part of the computing of a stage that one task did beyond an even one.
    task_skew: f64 = 0.5 => Part;
    /// How many times the median of the others a task of a stage takes that is late, if it has as many rows and bytes as they have.
    straggler: f64 = 2.0 => Number;
    /// The part of an even one that an idle worker computed.
    idle_worker: f64 = 0.05 => Part;
    /// Bytes that workers sent each other for a query from which on they are many.
    shuffle_bytes: u64 = 64 << 20 => Bytes;
    /// Time that could be saved, or in which nothing ran, as a part of the run.
    waiting_share: f64 = 0.2 => Part;
    /// Setup, as a part of the run.
    setup_share: f64 = 0.1 => Part;
    /// Milliseconds that could be saved, or in which nothing ran, below which it does not matter.
    waiting_ms: f64 = 500.0 => Number;
    /// A pause of the heartbeat, in its intervals.
    pause_intervals: f64 = 3.0 => Number;
    /// Seconds of a pause of the heartbeat below which it does not matter: a scheduler may let any thread wait for a
    /// moment.
    pause_seconds: f64 = 1.0 => Number;
    /// The part of the run that Daglight itself may take.
    own_share: f64 = 0.1 => Part;
    /// Milliseconds that Daglight itself may take.
    own_ms: f64 = 500.0 => Number;
    /// How many times as many rows came as the statistics of a plan had estimated, or as few, where an estimate is
    /// wrong.
    wrong_estimate: f64 = 10.0 => Number;
    /// Rows below which a wrong estimate does not matter.
    estimated_rows: u64 = 1_000 => Count;
    /// Rows of a scan of files from which on it should have statistics.
    statistics_rows: u64 = 100_000 => Count;
    /// How far the values of a column may move from one run to the next, as the distance between their distributions:
    /// of numbers and times the largest part of the rows by which one has more of the values up to any point
    /// (Kolmogorov and Smirnov), of other values the part of the rows that has another value (total variation). What two
    /// draws of as many rows from one distribution differ by is not drift: numbers must also exceed 1.63 · sqrt(1/n + 1/m),
    /// and other values the threshold plus the difference that is expected.
    drift: f64 = 0.1 => Part;
    /// How far the part of missing values of a column may move.
    missing_drift: f64 = 0.05 => Part;
    /// How far the number of different values of a column may move, as a part of what it was.
    distinct_drift: f64 = 0.2 => Part;
    /// A filter or a join has lost rows where it keeps less than this part of what it kept in the last good run.
    lost_share: f64 = 0.5 => Part;
    /// Rows that must be missing for that; a join that returns none at all may have lost any.
    lost_rows: u64 = 100 => Count;
    /// How far the number of rows of a node may move from the last good run, as a part of what it was.
    rows_drift: f64 = 0.5 => Number;
    /// Rows by which it must move for that; a node that returns none any more may have had any.
    drift_rows: u64 = 100 => Count;
    /// A comparison names a time from this change on, as a part of what it was.
    compared_share: f64 = 0.1 => Part;
    /// Milliseconds by which a time has to change for a comparison to name it.
    compared_ms: f64 = 10.0 => Number;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_declared_with_what_it_may_be() {
        let fields = serde_json::to_value(FindingThresholds::default()).unwrap();
        let fields = fields.as_object().unwrap();
        assert_eq!(fields.len(), FINDING_THRESHOLDS.len());
        for declared in FINDING_THRESHOLDS {
            let value = &fields[declared.key.strip_prefix("findings.").unwrap()];
            let number = value.as_f64().unwrap();
            let fits = match declared.kind {
                ThresholdKind::Part => (0.0..=1.0).contains(&number) && value.is_f64(),
                ThresholdKind::Number => number >= 0.0 && value.is_f64(),
                ThresholdKind::Bytes | ThresholdKind::Count => value.is_u64(),
            };
            assert!(fits, "{declared:?} = {value}");
        }
    }
}
