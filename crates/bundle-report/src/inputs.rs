//! Reading the inputs of the report: the only part of this crate that opens the files of a bundle.

use std::{
    collections::{BTreeSet, HashSet},
    error::Error,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use daglight_finding_thresholds::FindingThresholds;
use daglight_run_bundle::{
    Artifact, ArtifactCatalog, Bundle, BundlePart, FileEntry, Liveness, Manifest, PlanBundle,
    ProcessEvidence, ReadError, outbox::outbox_path,
};
use daglight_semantic_conventions::{Key, Namespace};
use serde_json::Value;

use crate::{
    compare::{BothRuns, LastRun, Watched},
    data::{DataSummaries, read_summaries},
    display,
    report::{ReportStatus, UnreadableFile},
    signals::Signals,
    trace_lines::{RunLines, RunTimes, run_named},
};

/// The maximum number of files named individually that are shorter than before, or missing.
const MAX_LOST: usize = 100;

/// Why a report of a bundle is not possible.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A newer Daglight wrote the bundle; a report of only the parts that this version knows would be misleading.
    #[error("a newer Daglight wrote the bundle, so it cannot be reported")]
    Newer {
        /// The bundle.
        bundle: PathBuf,
        /// The cause.
        #[source]
        source: ReadError,
    },
}

/// Everything that was read of a bundle, in bounded memory.
#[derive(Debug)]
pub(crate) struct Inputs {
    /// The path of the bundle as given, for the commands in the report.
    pub(crate) dir: PathBuf,
    pub(crate) deliverable: Deliverable,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) evidence: Option<ProcessEvidence>,
    /// Whether the process in the evidence was alive when it was read.
    pub(crate) liveness: Option<Liveness>,
    /// How the run ended, or that it was going then.
    pub(crate) state: ReportStatus,
    /// The possible times of the run.
    pub(crate) times: RunTimes,
    pub(crate) artifacts: Vec<Artifact>,
    /// Whether these are all that there were.
    pub(crate) outputs_are_known: bool,
    pub(crate) data: DataSummaries,
    pub(crate) signals: Signals,
    /// The data for the comparison with the last good run; `None` if this is the first good run of its DAG.
    pub(crate) last_run: Option<BothRuns>,
    pub(crate) unreadable: Vec<UnreadableFile>,
}

/// What `sync` could deliver of a bundle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deliverable {
    pub(crate) has_outbox: bool,
    pub(crate) has_lineage: bool,
}

/// The options for making a report.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ReportOptions {
    /// The thresholds from which a finding is listed.
    pub thresholds: FindingThresholds,
    /// The name of the bundle in commands of the report. Default: its folder.
    pub called: Option<PathBuf>,
    /// Whether to skip the comparison with the last good run. Default: it is compared.
    pub alone: bool,
}

impl ReportOptions {
    /// Sets the thresholds.
    #[must_use]
    pub fn thresholds(self, thresholds: FindingThresholds) -> Self {
        Self { thresholds, ..self }
    }

    /// Skips the comparison with other runs.
    #[must_use]
    pub fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    /// For a bundle that was unpacked from this archive.
    #[must_use]
    pub fn unpacked_from(self, archive: impl Into<PathBuf>) -> Self {
        Self { called: Some(archive.into()), ..self }
    }
}

impl Inputs {
    /// Reads a bundle at `now`. Each plan is passed to `planned` with its path in the bundle, and the summary of each node's data
    /// to `described`, as they are read.
    pub(crate) fn read(
        bundle: &Bundle,
        options: &ReportOptions,
        now: DateTime<Utc>,
        mut planned: impl FnMut(String, PlanBundle),
        mut described: impl FnMut(&str, &Value),
    ) -> Result<Self, ReportError> {
        let mut unreadable = Vec::new();
        let manifest = match Manifest::read_with_damages(bundle) {
            Err(source @ ReadError::Newer { .. }) => {
                return Err(ReportError::Newer { bundle: bundle.shown(bundle.dir()), source });
            }
            read => noted(read, named(bundle, &bundle.manifest()), &mut unreadable),
        };
        let manifest = manifest.map(|(manifest, damages)| {
            unreadable.extend(damages.into_iter().map(UnreadableFile::from));
            unreadable.extend(of_another_folder(bundle, &manifest));
            manifest
        });
        let times = RunTimes::of(manifest.as_ref(), now);
        let started_at = manifest.as_ref().map(|manifest| manifest.started_at);
        let evidence = match ProcessEvidence::read_with_damages(&bundle.heartbeat(), started_at) {
            // A run without a heartbeat has no such file.
            Err(error) if error.is_not_found() => {
                let missing =
                    manifest.as_ref().and_then(|manifest| ProcessEvidence::missing_of(bundle, manifest));
                unreadable.extend(missing.map(UnreadableFile::from));
                None
            }
            read => noted(read, named(bundle, &bundle.heartbeat()), &mut unreadable),
        };
        let evidence = evidence.map(|(evidence, damages)| {
            unreadable.extend(damages.into_iter().map(UnreadableFile::from));
            evidence
        });
        let catalog =
            noted(ArtifactCatalog::read(bundle), named(bundle, &bundle.artifacts()), &mut unreadable);
        let namespace = manifest
            .as_ref()
            .map_or_else(Namespace::default, |manifest| Namespace::new(&*manifest.namespace));
        let (run, key) = (run_named(bundle, manifest.as_ref()), namespace.key(Key::RunId));
        let mut signals = Signals::read(bundle, &namespace, RunLines::new(times, run.as_deref(), &key));
        let outputs_are_known = catalog.is_some() && !ArtifactCatalog::is_missing(bundle, manifest.as_ref());
        let artifacts = catalog.map(|catalog| catalog.artifacts).unwrap_or_default();
        let artifacts = own_artifacts(artifacts, run.as_deref(), &mut unreadable);
        let stray = stray_plans(bundle, manifest.as_ref());
        let mut watched = manifest
            .as_ref()
            .filter(|_| !options.alone)
            .and_then(|manifest| Some(Watched::new(LastRun::before(bundle, manifest)?, manifest)));
        let mut data = DataSummaries::with_outputs(&artifacts);
        // Listed with the signals, because it is a file of lines like those.
        signals.files.extend(read_summaries(bundle, manifest.as_ref(), |summary| {
            described(&summary.node, &summary.columns);
            if let Some(watched) = watched.as_mut().filter(|_| !summary.is_partial) {
                watched.data(&summary.node, &summary.columns);
            }
            data.add(summary);
        }));
        let of_plan = |file: &str| named(bundle, &bundle.plans_dir().join(file));
        let plans = PlanBundle::read_all(bundle, |file, plan| {
            let file = of_plan(file);
            if stray.contains(&file) {
                return;
            }
            if let Some(watched) = &mut watched {
                watched.plan(&file, &plan);
            }
            planned(file, plan);
        });
        unreadable.extend(plans.problems().map(|(file, problem)| UnreadableFile { file, problem }));
        unreadable.extend(stray.into_iter().map(|file| UnreadableFile {
            file,
            problem: "is not in the manifest, so it is not of this run, and is left out".to_owned(),
        }));
        // A file that ends after a complete line looks intact. Only the manifest shows that it was longer.
        let damaged = signals.files.iter().filter(|read| read.problem.is_some()).map(|read| &*read.file);
        let known = damaged.chain(unreadable.iter().map(|known| &*known.file)).collect();
        let lost = manifest.as_ref().map_or_else(Vec::new, |manifest| lost(bundle, manifest, &known));
        unreadable.extend(lost);
        let state = bundle.state_at(manifest.as_ref().map(|manifest| manifest.status), now);
        Ok(Self {
            dir: options.called.clone().unwrap_or_else(|| bundle.shown(bundle.dir())),
            deliverable: Deliverable {
                has_outbox: outbox_path(&bundle.tracker_dir()).exists(),
                has_lineage: bundle.lineage_events().exists(),
            },
            manifest,
            liveness: evidence.as_ref().map(ProcessEvidence::is_alive),
            state,
            times,
            evidence,
            last_run: watched.map(|watched| watched.with_last_run(&artifacts)),
            artifacts,
            outputs_are_known,
            data,
            signals,
            unreadable,
        })
    }
}

/// The problem that the folder is named after a run other than that of its manifest.
fn of_another_folder(bundle: &Bundle, manifest: &Manifest) -> Option<UnreadableFile> {
    let (own, named_after) = (manifest.identity.run_id, bundle.run_id()?);
    (own != named_after).then(|| UnreadableFile {
        file: named(bundle, &bundle.manifest()),
        problem: format!("is of run {own}, and the folder is that of {named_after}"),
    })
}

/// Removes what another run has written, which is reported.
fn own_artifacts(
    mut artifacts: Vec<Artifact>,
    run: Option<&str>,
    unreadable: &mut Vec<UnreadableFile>,
) -> Vec<Artifact> {
    let Some(run) = run else { return artifacts };
    let others: Vec<Artifact> =
        artifacts.extract_if(.., |artifact| artifact.run_id.to_string() != run).collect();
    if let Some(other) = others.first() {
        let what = display::plural(others.len() as u64, "output");
        let problem = format!("{what} of run {} left out", other.run_id);
        unreadable.push(UnreadableFile { file: "artifacts.json".to_owned(), problem });
    }
    artifacts
}

/// The plan files that a complete bundle does not list: someone else has put them there.
fn stray_plans(bundle: &Bundle, manifest: Option<&Manifest>) -> BTreeSet<String> {
    let Some(manifest) = manifest.filter(|manifest| manifest.lists_final_files()) else {
        return BTreeSet::new();
    };
    let listed: HashSet<&str> = manifest.files.iter().map(|entry| &*entry.path).collect();
    let files = FileEntry::list(bundle).into_iter().map(|entry| entry.path);
    files.filter(|path| BundlePart::of(path) == BundlePart::Plan && !listed.contains(&**path)).collect()
}

/// The files that the run had when it ended, and that are now shorter or missing: a file that ends with a complete line looks
/// intact. Excludes those that are already `known` to be damaged.
fn lost(bundle: &Bundle, manifest: &Manifest, known: &HashSet<&str>) -> Vec<UnreadableFile> {
    let lost = |entry: &FileEntry| {
        let problem = entry.loss(bundle).filter(|_| !known.contains(&*entry.path))?;
        Some(UnreadableFile { file: entry.path.clone(), problem })
    };
    let mut all = manifest.lasting_files().filter_map(lost);
    let mut named: Vec<UnreadableFile> = all.by_ref().take(MAX_LOST).collect();
    let others = all.count();
    if others > 0 {
        let problem =
            format!("{} that it lists are shorter or gone", display::plural(others as u64, "more file"));
        named.push(UnreadableFile { file: self::named(bundle, &bundle.manifest()), problem });
    }
    named
}

/// The result of reading, or `None` with an entry in the list.
fn noted<T>(read: Result<T, ReadError>, file: String, unreadable: &mut Vec<UnreadableFile>) -> Option<T> {
    read.inspect_err(|error| unreadable.push(unreadable_file(file, error))).ok()
}

fn unreadable_file(file: String, error: &ReadError) -> UnreadableFile {
    // The path of the file is already next to the problem.
    let problem = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    UnreadableFile { file, problem }
}

/// The name of a file of the bundle in a report: its path relative to the bundle's folder.
fn named(bundle: &Bundle, path: &Path) -> String {
    path.strip_prefix(bundle.dir()).unwrap_or(path).display().to_string()
}
