//! The codes of warnings, for programs that must not depend on message texts.

use std::{borrow::Cow, error::Error, fmt, fmt::Write, io};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Declares each code once: its variant, how it is written, and what it means.
macro_rules! codes {
    ($($(#[doc = $meaning:literal])+ $variant:ident = $name:literal,)+) => {
        /// What a warning is about. It does not change when the text of the warning does. `docs/warnings.md` lists them.
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
        #[non_exhaustive]
        pub enum WarningCode {
            $($(#[doc = $meaning])+ $variant,)+
            /// A warning without a code: of a library, or of a version of Daglight that wrote none.
            #[default]
            Uncoded,
            /// A code that this version does not know, as a newer one wrote it.
            Unknown(Box<str>),
        }

        impl WarningCode {
            /// All codes that this version writes.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The code as it is written in files and logs.
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)+
                    Self::Uncoded => UNCODED,
                    Self::Unknown(name) => name,
                }
            }

            /// What a code of this version means, in a sentence; empty for others.
            pub fn meaning(&self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($meaning),+).trim_ascii(),)+
                    Self::Uncoded | Self::Unknown(_) => "",
                }
            }

            fn of_name(name: &str) -> Self {
                match name {
                    $($name => Self::$variant,)+
                    "" | UNCODED => Self::Uncoded,
                    _ => Self::Unknown(name.into()),
                }
            }
        }
    };
}

/// How a warning without a code is written. Version 3 of the manifest has no other word for most of its warnings.
const UNCODED: &str = "other";

codes! {
    /// The bundle cannot be created: nothing of the run is recorded.
    BundleNotCreated = "bundle_not_created",
    /// The folder of the bundle was removed or moved while the run was going: the rest of the run is not recorded there.
    BundleGone = "bundle_gone",
    /// A file of the bundle cannot be written, or lacks a part.
    BundleIncomplete = "bundle_incomplete",
    /// The same, because the disk or a quota is full, or a limit on the size of files was reached.
    DiskFull = "disk_full",
    /// Query events were dropped from the plan files, because writing could not keep up.
    PlansDropped = "plans_dropped",
    /// The plans of queries are not written, or not all of them.
    PlansNotWritten = "plans_not_written",
    /// The report of the run cannot be made or written.
    ReportNotWritten = "report_not_written",
    /// The process of a run that had succeeded ended before it had finished the bundle.
    NotFinished = "not_finished",
    /// The spans of a run whose process died could not all be closed.
    SpansIncomplete = "spans_incomplete",
    /// A job of the run may still be running on the scheduler of a cluster: the process died, or the scheduler did not confirm that the job is
    /// cancelled.
    JobLeft = "job_left",
    /// A worker of a cluster was lost while a query ran there.
    WorkerLost = "worker_lost",
    /// The heartbeat thread cannot be started, stopped or cannot do its work: stalls may not be detected.
    HeartbeatFailed = "heartbeat_failed",
    /// The heartbeat thread is blocked, so stalls are not detected.
    HeartbeatSilent = "heartbeat_silent",
    /// Files of a run whose process died were damaged or missing when the run was closed.
    FilesDamaged = "files_damaged",
    /// A query or a node makes no progress.
    Stall = "stall",
    /// A signal ends the run.
    Interrupted = "interrupted",
    /// A setting is not valid or not trusted, and has no effect.
    SettingRefused = "setting_refused",
    /// The settings of the tracking server are wrong: records of the run wait in the bundle.
    TrackerSetup = "tracker_setup",
    /// Records wait for the tracking server; over once a synchronisation has delivered them.
    Undelivered = "undelivered",
    /// The tracking server may still carry out a request that it did not answer; over once a synchronisation has verified it.
    Unverified = "unverified",
    /// The tracking server no longer had the run, which was sent again.
    Redelivered = "redelivered",
    /// The tracking server rejected a part of the run.
    TrackerRejected = "tracker_rejected",
    /// Records for the tracking server were lost.
    TrackerRecordsLost = "tracker_records_lost",
    /// How far the delivery to the tracking server has come cannot be saved.
    DeliveryNotSaved = "delivery_not_saved",
    /// A setting or a variable of OpenTelemetry has no effect, or signals cannot be exported as configured.
    OtlpSetup = "otlp_setup",
    /// Signals did not reach the OTLP endpoint.
    SignalsNotExported = "signals_not_exported",
    /// Events of OpenLineage cannot be sent as configured, or lack what a setting or a tag should add.
    LineageSetup = "lineage_setup",
    /// Events of OpenLineage wait; over once a synchronisation has delivered them.
    LineageUndelivered = "lineage_undelivered",
    /// Events of OpenLineage were lost, or the receiver rejected them.
    LineageEventsLost = "lineage_events_lost",
    /// The semantic registry of the settings cannot be used.
    RegistrySetup = "registry_setup",
    /// An output is not as the semantic registry says.
    RegistryMismatch = "registry_mismatch",
    /// A data check did not pass.
    CheckNotPassed = "check_not_passed",
    /// Queries ran while several runs were open, and could not be assigned to one.
    QueriesUnassigned = "queries_unassigned",
    /// A node that the DAG does not declare: it appears in the trace but not in the tracker.
    NodeNotDeclared = "node_not_declared",
    /// A node ran after the end of its run: nothing of it is recorded.
    NodeAfterRun = "node_after_run",
    /// A node ran again after it had succeeded, or twice at the same time.
    NodeRepeated = "node_repeated",
    /// An observed session was asked more different queries than its run has nodes for.
    NodesNotSeen = "nodes_not_seen",
    /// A node or stage was reported as recovered that had not failed.
    NothingToRecover = "nothing_to_recover",
    /// Something that describes a node or query is not known and is left out.
    FactsLeftOut = "facts_left_out",
    /// The name of the DAG contains a credential: the run is recorded under another name.
    DagNameMasked = "dag_name_masked",
    /// A tag has the name of one that every run has, and is left out.
    TagLeftOut = "tag_left_out",
    /// A comment of the script looks like a directive but is not one.
    ScriptComment = "script_comment",
    /// The target of a `COPY` is a pattern for DataFusion, which writes files of other names into the folder in front of it.
    TargetPattern = "target_pattern",
    /// A `COPY` has added files to a folder that held some of the same kind, which a reader of the folder reads, too.
    FilesBefore = "files_before",
    /// The program that records the run warned of something.
    Program = "program",
    /// Code that observes the run panicked; the run is not affected, but less of it is recorded.
    Panicked = "panicked",
}

impl WarningCode {
    /// The code that a log record has in its field `warning.code`.
    pub fn from_field(text: Option<&str>) -> Self {
        text.map_or(Self::Uncoded, Self::of_name)
    }

    /// Whether `daglight sync` can resolve it by delivering to the tracking server.
    pub fn ends_with_sync(&self) -> bool {
        matches!(self, Self::Undelivered | Self::Unverified)
    }

    /// Whether it means that part of the run is missing in its bundle.
    pub fn means_loss(&self) -> bool {
        matches!(
            self,
            Self::BundleGone
                | Self::BundleIncomplete
                | Self::DiskFull
                | Self::PlansDropped
                | Self::PlansNotWritten
                | Self::ReportNotWritten
                | Self::SpansIncomplete
                | Self::FilesDamaged
        )
    }

    /// [`WarningCode::DiskFull`] for an error that comes from a lack of space, and `otherwise` for any other.
    pub fn of_error(error: &(dyn Error + 'static), otherwise: Self) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if error.downcast_ref().is_some_and(is_out_of_space) {
                return Self::DiskFull;
            }
            cause = error.source();
        }
        otherwise
    }

    /// The text of `docs/warnings.md`: every code and what it means.
    pub fn reference_page() -> String {
        let mut page = String::from(
            "<!-- Made by: cargo run -q -p daglight-run-bundle --example warnings > docs/warnings.md -->\n\
             # Codes of warnings\n\n\
             Each warning about a run has a code and a text: in `manifest.json`, in the problems of the report, in the JSON that\n\
             `daglight run --json` prints, and as the field `warning.code` of its log record. Codes stay the same; texts may\n\
             change. A program must accept codes that it does not know, because newer versions add some.\n\n\
             | code | meaning |\n|---|---|\n",
        );
        for code in Self::ALL {
            writeln!(page, "| `{code}` | {} |", code.meaning()).expect("writing to a string does not fail");
        }
        page.push_str(
            "| `other` | A warning without a code: of a library, or of a version of Daglight that wrote none. |\n",
        );
        page
    }
}

/// Whether an error means that a disk, a quota or a file size limit is exhausted.
pub fn is_out_of_space(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

impl fmt::Display for WarningCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for WarningCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for WarningCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::of_name(&Cow::<str>::deserialize(deserializer)?))
    }
}

/// Any string: a newer version may write codes that are unknown here.
impl JsonSchema for WarningCode {
    fn schema_name() -> Cow<'static, str> {
        "WarningCode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "What a warning is about: one of the codes in docs/warnings.md, or one of a newer version.",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, fs, path::Path};

    use super::*;
    use crate::versioned::WriteError;

    #[test]
    fn each_code_has_a_name_and_a_meaning_of_its_own() {
        let names: HashSet<&str> = WarningCode::ALL.iter().map(WarningCode::name).collect();
        assert_eq!(names.len(), WarningCode::ALL.len());
        let meanings: HashSet<&str> = WarningCode::ALL.iter().map(WarningCode::meaning).collect();
        assert_eq!(meanings.len(), WarningCode::ALL.len());
        for code in WarningCode::ALL {
            assert_eq!(WarningCode::from_field(Some(code.name())), *code);
            assert!(code.meaning().ends_with('.') && code.name() != UNCODED, "{code:?}");
        }
    }

    #[test]
    fn the_page_that_is_checked_in_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/warnings.md");
        assert!(
            fs::read_to_string(path).unwrap() == WarningCode::reference_page(),
            "docs/warnings.md is not current; to make it again: \
             cargo run -q -p daglight-run-bundle --example warnings > docs/warnings.md"
        );
    }

    #[test]
    fn a_lack_of_space_is_found_among_the_causes_of_an_error() {
        let write = |kind: io::ErrorKind| WriteError::Io { path: "a".into(), source: kind.into() };
        let code = |kind| WarningCode::of_error(&write(kind), WarningCode::ReportNotWritten);
        for full in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge] {
            assert_eq!(code(full), WarningCode::DiskFull);
        }
        assert_eq!(code(io::ErrorKind::PermissionDenied), WarningCode::ReportNotWritten);
        // The text of the error does not matter.
        let other = io::Error::other("No space left on device");
        assert_eq!(WarningCode::of_error(&other, WarningCode::Program), WarningCode::Program);
    }
}
