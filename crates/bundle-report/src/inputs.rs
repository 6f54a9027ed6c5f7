//! Reading what the report is made of: the only part of this crate that opens the files of a bundle.

use std::{error::Error, path::PathBuf};

use chrono::Utc;
use daglight_finding_thresholds::FindingThresholds;
use daglight_run_bundle::{
    Artifact, ArtifactCatalog, Bundle, FileEntry, Liveness, Manifest, PlanBundle, ProcessEvidence, ReadError,
};
use daglight_semantic_conventions::Namespace;
use serde_json::Value;

use crate::{
    assemble::report,
    compare::{BothRuns, LastRun, Watched},
    data::{DataSummaries, read_summaries},
    findings::PlanFindings,
    plan_sums::PlanSums,
    plans::SlowestPlans,
    queries::PlannedQueries,
    report::{Report, UnreadableFile},
    signals::Signals,
};

/// Why a bundle cannot have a report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A newer Daglight wrote the bundle; a report of what is understood would mislead.
    #[error("a newer Daglight wrote the bundle, so it cannot be reported")]
    Newer {
        /// The bundle.
        bundle: PathBuf,
        /// The cause.
        #[source]
        source: ReadError,
    },
}

/// All that was read of a bundle, in bounded memory.
#[derive(Debug)]
pub(crate) struct Inputs {
    /// The bundle as it was named, for the commands that the report names.
    pub(crate) dir: PathBuf,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) evidence: Option<ProcessEvidence>,
    /// Whether the process of the evidence lived when it was read.
    pub(crate) liveness: Option<Liveness>,
    pub(crate) artifacts: Vec<Artifact>,
    pub(crate) data: DataSummaries,
    pub(crate) signals: Signals,
    pub(crate) planned: PlannedQueries,
    pub(crate) plans: SlowestPlans,
    pub(crate) plan_sums: PlanSums,
    pub(crate) plan_findings: PlanFindings,
    /// What there is to compare it with; `None` where it is the first good run of its DAG.
    pub(crate) last_run: Option<BothRuns>,
    pub(crate) unreadable: Vec<UnreadableFile>,
}

/// How a report is made.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ReportOptions {
    /// From where on what is found is worth a word.
    pub thresholds: FindingThresholds,
    /// What the commands that the report says call the bundle. Default: its folder.
    pub called: Option<PathBuf>,
    /// Whether nothing is said of the last good run beside it. Default: it is.
    pub alone: bool,
}

impl ReportOptions {
    /// With these thresholds.
    #[must_use]
    pub fn thresholds(self, thresholds: FindingThresholds) -> Self {
        Self { thresholds, ..self }
    }

    /// Without a look at the runs beside it.
    #[must_use]
    pub fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    /// Of a bundle that was unpacked from this archive.
    #[must_use]
    pub fn unpacked_from(self, archive: impl Into<PathBuf>) -> Self {
        Self { called: Some(archive.into()), ..self }
    }
}

impl Report {
    /// Reads a bundle and says what happened in its run.
    ///
    /// The signal files are read line by line, in memory that does not grow with them. A bundle of a run that was killed
    /// is read as far as it goes; what could not be read is in the report.
    ///
    /// # Errors
    ///
    /// When the manifest has a newer format. Whatever else is missing or damaged is a part of the report.
    pub fn from_bundle(bundle: &Bundle) -> Result<Self, ReportError> {
        Self::made(bundle, &ReportOptions::default(), |_| ())
    }

    /// As [`Report::from_bundle`], with options, and shows each plan to `seen` as it is read.
    ///
    /// # Errors
    ///
    /// As [`Report::from_bundle`].
    pub fn made(
        bundle: &Bundle,
        options: &ReportOptions,
        seen: impl FnMut(&PlanBundle),
    ) -> Result<Self, ReportError> {
        let mut seen = seen;
        Self::made_with(bundle, options, |_, plan| seen(plan), |_, _| ())
    }

    /// As [`Report::made`], and shows the summary of each node's data to `described`, so that nobody reads it again.
    #[expect(
        clippy::disallowed_methods,
        reason = "the edge of the report: `report` has its time as a parameter"
    )]
    pub(crate) fn made_with(
        bundle: &Bundle,
        options: &ReportOptions,
        seen: impl FnMut(&str, &PlanBundle),
        described: impl FnMut(&str, &Value),
    ) -> Result<Self, ReportError> {
        Ok(report(Inputs::read(bundle, options, seen, described)?, &options.thresholds, Utc::now()))
    }
}

impl Inputs {
    fn read(
        bundle: &Bundle,
        options: &ReportOptions,
        mut seen: impl FnMut(&str, &PlanBundle),
        mut described: impl FnMut(&str, &Value),
    ) -> Result<Self, ReportError> {
        let mut unreadable = Vec::new();
        let manifest = match Manifest::read(bundle) {
            Err(source @ ReadError::Newer { .. }) => {
                return Err(ReportError::Newer { bundle: bundle.dir().to_owned(), source });
            }
            read => noted(read, "manifest.json", &mut unreadable),
        };
        let evidence = match ProcessEvidence::read(&bundle.heartbeat()) {
            // A run without a heartbeat has no such file.
            Err(error) if error.is_not_found() => None,
            read => noted(read, "heartbeat.json", &mut unreadable),
        };
        let catalog = noted(ArtifactCatalog::read(bundle), "artifacts.json", &mut unreadable);
        let namespace = manifest
            .as_ref()
            .map_or_else(Namespace::default, |manifest| Namespace::new(&*manifest.namespace));
        let mut signals = Signals::read(bundle, &namespace);
        let artifacts = catalog.map(|catalog| catalog.artifacts).unwrap_or_default();
        let mut watched = manifest
            .as_ref()
            .filter(|_| !options.alone)
            .and_then(|manifest| Some(Watched::new(LastRun::before(bundle, manifest)?, manifest)));
        let mut data = DataSummaries::with_outputs(&artifacts);
        // Named with the signals, because it is a file of lines as they are.
        signals.files.extend(read_summaries(bundle, manifest.as_ref(), |node, is_partial, columns| {
            described(&node, &columns);
            if let Some(watched) = watched.as_mut().filter(|_| !is_partial) {
                watched.data(&node, &columns);
            }
            data.add(node, is_partial, &columns);
        }));
        let mut planned = PlannedQueries::default();
        let mut slowest_plans = SlowestPlans::default();
        let mut plan_sums = PlanSums::default();
        let mut plan_findings = PlanFindings::new(options.thresholds.clone());
        let plans = PlanBundle::read_all(bundle, |file, plan| {
            let file = format!("plans/{file}");
            seen(&file, &plan);
            if let Some(watched) = &mut watched {
                watched.plan(&file, &plan);
            }
            plan_findings.add(&file, &plan);
            plan_sums.add(&plan);
            slowest_plans.add(&file, &plan, &options.thresholds);
            planned.add(file, plan);
        });
        unreadable.extend(plans.iter().map(|(file, error)| unreadable_file(&format!("plans/{file}"), error)));
        // A file that ends where a line ends looks whole. Only the manifest knows that it was longer.
        let lost = manifest.as_ref().map_or_else(Vec::new, |manifest| lost(bundle, manifest));
        for loss in lost {
            let of_signals =
                signals.files.iter().any(|read| read.file == loss.file && read.problem.is_some());
            if !of_signals && unreadable.iter().all(|known| known.file != loss.file) {
                unreadable.push(loss);
            }
        }
        Ok(Self {
            dir: options.called.clone().unwrap_or_else(|| bundle.dir().to_owned()),
            manifest,
            liveness: evidence.as_ref().map(ProcessEvidence::is_alive),
            evidence,
            last_run: watched.map(|watched| watched.with_last_run(&artifacts)),
            artifacts,
            data,
            signals,
            planned,
            plans: slowest_plans,
            plan_sums,
            plan_findings,
            unreadable,
        })
    }
}

/// The files that the run had when it ended, and that are shorter or gone by now: a file that ends with a whole line looks
/// complete by itself.
fn lost(bundle: &Bundle, manifest: &Manifest) -> Vec<UnreadableFile> {
    let lost = |entry: &FileEntry| {
        let problem = entry.loss(bundle)?;
        Some(UnreadableFile { file: entry.path.clone(), problem })
    };
    manifest.lasting_files().filter_map(lost).collect()
}

/// What was read, or `None` and an entry in the list.
fn noted<T>(read: Result<T, ReadError>, file: &str, unreadable: &mut Vec<UnreadableFile>) -> Option<T> {
    read.inspect_err(|error| unreadable.push(unreadable_file(file, error))).ok()
}

fn unreadable_file(file: &str, error: &ReadError) -> UnreadableFile {
    // The file is named beside the problem already.
    let problem = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    UnreadableFile { file: file.to_owned(), problem }
}
