//! From where on something is worth a word: every threshold of the rules, with its unit and the reason for it.

/// The thresholds of the rules.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Thresholds {
    /// A finding of a query is shown from this part of the run's time on: nobody tunes what is a twentieth of a run.
    pub(crate) min_share: f64,
    /// And from this many milliseconds on: what is shorter is as likely chance.
    pub(crate) min_ms: f64,
    /// A finding with this part of the run's time at stake is a warning.
    pub(crate) warning_share: f64,
    /// Findings of a kind that are listed one by one.
    pub(crate) max_per_kind: usize,

    /// Rows below which no operator is looked at for how its rows are spread: a batch or two always are uneven.
    pub(crate) skew_rows: u64,
    /// DataFusion's score of skew, from 0 (even) to 1 (all in one partition).
    pub(crate) skew_score: f64,
    /// Partitions for each core that are too many
    pub(crate) partitions_per_core: u64,
    /// where each has fewer rows than this: a batch of DataFusion has 8192.
    pub(crate) rows_per_partition: u64,
    /// A run that used less than this part of its cores wasted them.
    pub(crate) cpu_used: f64,
    /// Runs shorter than this many milliseconds are mostly starting and ending.
    pub(crate) cpu_run_ms: f64,

    /// Files from which on they are many,
    pub(crate) many_files: u64,
    /// where they have fewer bytes each: opening one costs about as much as reading 1 MiB.
    pub(crate) small_file_bytes: u64,
    /// Bytes from which on a scan is worth dividing.
    pub(crate) huge_bytes: u64,
    /// Rows that a filter kept of those read, as a part.
    pub(crate) kept: f64,
    /// Rows below which reading all of them is right.
    pub(crate) scan_rows: u64,
    /// Scans of the same data that are one too many.
    pub(crate) repeated_scans: u64,
    /// The part of the run that the scans after the first take.
    pub(crate) repeated_share: f64,

    /// Rows that a join returned for each row of its larger side.
    pub(crate) explosion: f64,
    /// Rows returned below which a join has not exploded.
    pub(crate) explosion_rows: u64,
    /// Pairs of rows that were compared by a join without equality.
    pub(crate) cross_pairs: u64,
    /// Rows of the smaller side: a scalar subquery has one, and is no cross join to its author.
    pub(crate) cross_side_rows: u64,
    /// Rows of the build side for each of the probe side.
    pub(crate) build_ratio: f64,
    /// Rows of the build side below which it does not matter.
    pub(crate) build_rows: u64,

    /// Milliseconds of planning below which it does not matter that executing was shorter.
    pub(crate) planning_ms: f64,
    /// And the part of the run below which it does not: short queries over little data are planned for about as long.
    pub(crate) planning_share: f64,
    /// The part of a query's computing that writing takes.
    pub(crate) writing: f64,
    /// Files of an output from which on they are many.
    pub(crate) output_files: u64,

    /// Time that could be saved, or in which nothing ran: part of the run,
    pub(crate) waiting_share: f64,
    /// and setup from this part on,
    pub(crate) setup_share: f64,
    /// where it is also this many milliseconds.
    pub(crate) waiting_ms: f64,
    /// A pause of the heartbeat of this many intervals,
    pub(crate) pause_intervals: f64,
    /// where it is also this many seconds: a scheduler may let any thread wait for a moment.
    pub(crate) pause_seconds: f64,
    /// The part of the run that Daglight itself may take
    pub(crate) own_share: f64,
    /// where it is also this many milliseconds.
    pub(crate) own_ms: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            min_share: 0.05,
            min_ms: 50.0,
            warning_share: 0.2,
            max_per_kind: 3,
            skew_rows: 100_000,
            skew_score: 0.6,
            partitions_per_core: 4,
            rows_per_partition: 1_000,
            cpu_used: 0.3,
            cpu_run_ms: 10_000.0,
            many_files: 100,
            small_file_bytes: 1 << 20,
            huge_bytes: 256 << 20,
            kept: 0.02,
            scan_rows: 1_000_000,
            repeated_scans: 3,
            repeated_share: 0.2,
            explosion: 10.0,
            explosion_rows: 1_000_000,
            cross_pairs: 10_000_000,
            cross_side_rows: 10,
            build_ratio: 4.0,
            build_rows: 100_000,
            planning_ms: 250.0,
            planning_share: 0.1,
            writing: 0.5,
            output_files: 50,
            waiting_share: 0.2,
            setup_share: 0.1,
            waiting_ms: 500.0,
            pause_intervals: 3.0,
            pause_seconds: 1.0,
            own_share: 0.1,
            own_ms: 500.0,
        }
    }
}
