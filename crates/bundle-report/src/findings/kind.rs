//! All kinds of findings, with remedies.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $id:literal: $remedy:literal;)*) => {
        /// What a finding is about. Its id, such as `partition-skew`, is the name of its page in `docs/findings/`.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        #[non_exhaustive]
        pub enum FindingKind {
            $($(#[$doc])* #[serde(rename = $id)] $kind,)*
            /// A kind that a newer Daglight knows.
            #[serde(other, rename = "other")]
            Other,
        }

        impl FindingKind {
            /// Every kind that this version knows.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// The id.
            pub fn id(self) -> &'static str {
                match self { $(Self::$kind => $id,)* Self::Other => "other" }
            }

            /// The page that explains it, in Markdown, because a report must be readable without a network.
            pub(crate) fn explanation(self) -> &'static str {
                match self {
                    $(Self::$kind => include_str!(concat!("pages/", $id, ".md")),)*
                    Self::Other => "",
                }
            }

            /// The remedy.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$kind => $remedy,)* Self::Other => "" }
            }
        }
    };
}

kinds! {
    /// Operators wrote to disk what did not fit into memory.
    Spill = "spill":
        "Give the session more memory, or sort and group fewer rows and columns.";
    /// A query failed, because the memory that it may use was used up.
    MemoryPressure = "memory-pressure":
        "Raise the memory limit, or lower target_partitions; a join needs less with the smaller table on its build side, a sort or an aggregate with fewer columns.";
    /// A few partitions of an operator had most of the rows.
    PartitionSkew = "partition-skew":
        "Partition by a key with more even values, or split the largest files.";
    /// One partition did work for which more cores were there.
    SingleThreaded = "single-threaded":
        "Split the input into more files or row groups, and see whether a sort or an aggregate without groups is needed.";
    /// Many partitions had hardly any rows each.
    TooManyPartitions = "too-many-partitions":
        "Lower datafusion.execution.target_partitions for data as small as this.";
    /// The processor was idle for most of the run.
    WastedCores = "wasted-cores":
        "Run nodes at once, raise target_partitions, or look at what the run waits for.";
    /// A scan opened many small files.
    ManySmallFiles = "many-small-files":
        "Compact the files into fewer ones of 100 MB and more.";
    /// A scan of much data could not be divided.
    FewHugeFiles = "few-huge-files":
        "Write the data as several files, or in a format that can be read in parts, such as Parquet.";
    /// A scan read everything, and a filter kept little.
    ScanKeepsLittle = "scan-keeps-little":
        "Sort or partition the data by the filtered column, so that row groups and files can be skipped.";
    /// The planner knew nothing of the rows of a scan below a join.
    MissingStatistics = "missing-statistics":
        "Keep the data in a format with statistics, such as Parquet, and leave datafusion.execution.collect_statistics on.";
    /// Several queries scanned the same data in the same way.
    RepeatedScan = "repeated-scan":
        "Materialise what is read again as a table, and let the queries read that.";
    /// Several queries computed the same over the same data, such as a view that each of them reads.
    RecomputedView = "recomputed-view":
        "Make a table of the view, or of the common part of the queries, and let them read that.";
    /// A join returned many more rows than it read.
    ExplodingJoin = "exploding-join":
        "See whether the join has all its keys, and whether they are unique on one side; aggregate before the join.";
    /// All rows of one side were compared with all of the other.
    CrossJoin = "cross-join":
        "Add an equality between the two sides to the ON clause, so that a hash join can be used.";
    /// A hash join was built from the larger side.
    WrongBuildSide = "wrong-build-side":
        "Collect statistics of the tables, or write the smaller one on the left.";
    /// A query was planned for longer than it was executed.
    Planning = "planning":
        "Replace long lists of literals by a join with a table, and run one query in place of many of the same kind.";
    /// Most of a query's time went into writing.
    SlowWrite = "slow-write":
        "Choose a faster compression, write fewer columns, or write several files at once; where the storage is slow, write \
         nearer to the program.";
    /// An output consists of many tiny files.
    TinyOutputFiles = "tiny-output-files":
        "Write fewer files: partition by fewer values, or lower target_partitions for this output.";
    /// One task of a stage computed much longer than the others.
    TaskSkew = "task-skew":
        "Partition by a key with more even values, or store the data in more files or row groups, so that each task gets its part.";
    /// A task took much longer than the others of its stage, although it did not have more to do.
    Straggler = "straggler":
        "See what else runs on that worker, and whether its storage and network are as fast as those of the others.";
    /// A worker computed hardly anything of a query that others computed.
    IdleWorker = "idle-worker":
        "Lower distributed.file_scan_config_bytes_per_partition, store the data in more files or row groups, or take fewer workers.";
    /// The workers sent each other many bytes for a query.
    ShuffleVolume = "shuffle-volume":
        "Filter and aggregate before the join, select fewer columns, or set distributed.partial_reduce = true where groups are few.";
    /// Nothing ran for a considerable part of the run.
    Idle = "idle":
        "See what the program does between these nodes; work that is not in a node is not recorded.";
    /// Statements that belong to no node took a considerable part of the run.
    Setup = "setup":
        "Make a node of what takes long, so that it can be seen, and run at the same time as others.";
    /// Nodes ran one after another that do not need each other.
    SerialNodes = "serial-nodes":
        "Run nodes that do not need each other at once: daglight run --jobs N.";
    /// A query made no progress for a while.
    Stall = "stall":
        "See what the operator waits for: storage, a lock, or a table provider of the program's own.";
    /// The heartbeat paused.
    HeartbeatPause = "heartbeat-pause":
        "See whether the machine was overloaded, out of memory, or suspended.";
    /// A filter or a join let through fewer of its rows than in the last good run.
    RowsLost = "rows-lost":
        "Look at the keys and the filtered values on both sides: their types, spelling and time zones, and whether a source has changed.";
    /// A node returned many more rows than in the last good run, or fewer.
    RowDrift = "row-drift":
        "See whether its sources are complete, or have rows twice; the report has what each node read.";
    /// An output has other columns than in the last good run.
    SchemaDrift = "schema-drift":
        "Name the columns in the query instead of selecting all, and see what changed in the source.";
    /// Daglight itself took a considerable part of the run.
    TelemetryCost = "telemetry-cost":
        "Turn off the part that takes most: data statistics by capture.data_statistics = false, plans by plans.keep; where \
         nodes cost most, fewer and larger ones.";
    /// A check of the rows of a node did not pass.
    DataCheck = "data-check":
        "Look at the rows that break the check, where they come from, or whether the check still says what is meant.";
    /// Something that was recorded is lost.
    TelemetryLoss = "telemetry-loss":
        "Deal with the reasons that are named; the bundle has what the server does not.";
}

impl FindingKind {
    /// The page that explains it, in the repository.
    pub fn page(self) -> String {
        format!("docs/findings/{}.md", self.id())
    }

    /// Whether it is relative to the last good run, as opposed to about the run alone.
    pub(crate) fn is_against_last_run(self) -> bool {
        matches!(self, Self::RowsLost | Self::RowDrift | Self::SchemaDrift)
    }

    /// Whether only plan files show it: a run that has kept none may have it unseen.
    pub(crate) fn is_of_plans(self) -> bool {
        match self {
            Self::PartitionSkew
            | Self::SingleThreaded
            | Self::TooManyPartitions
            | Self::ManySmallFiles
            | Self::FewHugeFiles
            | Self::ScanKeepsLittle
            | Self::MissingStatistics
            | Self::RepeatedScan
            | Self::RecomputedView
            | Self::ExplodingJoin
            | Self::CrossJoin
            | Self::WrongBuildSide
            | Self::Planning
            | Self::SlowWrite
            | Self::TinyOutputFiles
            | Self::TaskSkew
            | Self::Straggler
            | Self::IdleWorker
            | Self::ShuffleVolume
            | Self::RowsLost => true,
            // Spilled bytes are in the numbers of the run as well.
            Self::Spill
            | Self::MemoryPressure
            | Self::WastedCores
            | Self::Idle
            | Self::Setup
            | Self::SerialNodes
            | Self::Stall
            | Self::HeartbeatPause
            | Self::RowDrift
            | Self::SchemaDrift
            | Self::TelemetryCost
            | Self::DataCheck
            | Self::TelemetryLoss
            | Self::Other => false,
        }
    }

    /// Whether the time at stake alone can make it a warning.
    pub(crate) fn warns_by_share(self) -> bool {
        !matches!(self, Self::Idle | Self::SerialNodes | Self::WastedCores | Self::SlowWrite)
    }
}

impl std::str::FromStr for FindingKind {
    type Err = UnknownFinding;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.iter().find(|kind| kind.id() == id);
        known.copied().ok_or_else(|| UnknownFinding { id: id.to_owned() })
    }
}

/// The name is not a kind of finding.
#[derive(Debug, thiserror::Error)]
#[error("{id:?} is not a finding: expected one of {}", FindingKind::ALL.iter().map(|kind| kind.id()).collect::<Vec<_>>().join(", "))]
pub struct UnknownFinding {
    id: String,
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use daglight_finding_thresholds::FINDING_THRESHOLDS;

    use super::*;

    #[test]
    fn every_kind_has_a_page_that_says_its_remedy_and_no_page_is_left_over() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/findings");
        for kind in FindingKind::ALL {
            let page = fs::read_to_string(docs.join(format!("{}.md", kind.id())));
            let page = page.unwrap_or_else(|error| panic!("{}: {error}", kind.page()));
            assert!(page.starts_with(&format!("# {}\n", kind.id())), "{}", kind.page());
            for section in ["## What is measured", "## Thresholds", "## What to do", "## Example"] {
                assert_eq!(page.matches(&format!("\n{section}\n")).count(), 1, "{}: {section}", kind.page());
            }
            let words: Vec<&str> = page.split_whitespace().collect();
            assert!(
                words.join(" ").contains(kind.remedy()),
                "{} does not say: {}",
                kind.page(),
                kind.remedy()
            );
        }
        let pages =
            fs::read_dir(&docs).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut left_over: Vec<String> = pages.filter(|page| page != "README.md").collect();
        left_over.retain(|page| page.trim_end_matches(".md").parse::<FindingKind>().is_err());
        assert_eq!(left_over, [""; 0]);
    }

    #[test]
    fn pages_name_thresholds_that_there_are_and_every_threshold_is_on_a_page() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        let read = |page: &str| fs::read_to_string(docs.join(page)).unwrap();
        let of_kinds = FindingKind::ALL.iter().map(|kind| format!("findings/{}.md", kind.id()));
        let pages: Vec<String> =
            of_kinds.chain(["findings/README.md".to_owned(), "compare.md".to_owned()]).collect();
        let (mut named, mut unknown) = (Vec::new(), Vec::new());
        for page in &pages {
            let text = read(page);
            let keys = text.split('`').filter(|code| code.starts_with("findings."));
            for key in keys {
                let is_known = FINDING_THRESHOLDS.iter().any(|declared| declared.key == key);
                if is_known { named.push(key.to_owned()) } else { unknown.push(format!("{page}: {key}")) }
            }
        }
        let missing = FINDING_THRESHOLDS.iter().map(|declared| declared.key);
        let missing: Vec<&str> = missing.filter(|key| !named.iter().any(|named| named == key)).collect();
        assert_eq!((unknown, missing), (Vec::new(), Vec::new()));
    }

    #[test]
    fn a_kind_of_a_newer_version_is_another() {
        for kind in FindingKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.id());
            assert_eq!(serde_json::from_value::<FindingKind>(kind.id().into()).unwrap(), *kind);
        }
        assert_eq!(serde_json::from_value::<FindingKind>("later".into()).unwrap(), FindingKind::Other);
    }
}
