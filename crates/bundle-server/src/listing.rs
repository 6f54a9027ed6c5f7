//! The runs in a folder. Unchanged files are not read again.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use chrono::{DateTime, TimeDelta, Utc};
use daglight_bundle_report::{EndedNodes, ReportStatus};
use daglight_run_bundle::{
    ArtifactCatalog, Bundle, BundleError, FileDamage, Liveness, Manifest, Materialization, NodeStatus,
    ProcessEvidence, ReadError, RunStatus, milliseconds, outbox::recorded_outbox, saturating_sum,
};
use daglight_run_identity::RunId;
use serde::Serialize;

/// A run in the list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ListedRun {
    /// The name of its folder, which identifies it in addresses.
    pub(crate) id: String,
    /// The pipeline.
    pub(crate) dag_name: Option<String>,
    pub(crate) status: ReportStatus,
    pub(crate) started_at: Option<DateTime<Utc>>,
    pub(crate) duration_ms: Option<f64>,
    pub(crate) profile: Option<String>,
    /// `None` if its manifest cannot be read, as for the next two.
    pub(crate) nodes: Option<u64>,
    pub(crate) nodes_succeeded: Option<u64>,
    pub(crate) nodes_failed: Option<u64>,
    /// The rows that it has written to files and tables, if its catalog of outputs is there.
    pub(crate) rows: Option<u64>,
    /// What is stalled in a running run, and why.
    pub(crate) stalled: Option<String>,
    /// Why it failed.
    pub(crate) error: Option<String>,
    /// Why its manifest cannot be read.
    pub(crate) problem: Option<String>,
}

/// The minimum pause between two searches for new bundles.
const RESCAN_AFTER: Duration = Duration::from_secs(1);
/// The maximum cost of searching, as a share of one core.
const COST_OF_SCAN: f64 = 0.25;

/// How far the clock of the machine of a run may be ahead of this one.
const AHEAD: TimeDelta = TimeDelta::days(366);

/// The runs below a folder.
#[derive(Debug)]
pub(crate) struct Listing {
    folder: PathBuf,
    /// Bundles that are located elsewhere.
    unpacked: Vec<Bundle>,
    known: Vec<Known>,
    /// The time and the duration of the last search for bundles.
    scanned: Option<(Instant, Duration)>,
}

/// A bundle as last read.
#[derive(Debug)]
struct Known {
    bundle: Bundle,
    stamp: Stamp,
    /// `None` if the manifest cannot be read.
    run_id: Option<RunId>,
    run: ListedRun,
    /// For a run that is going according to its manifest.
    ended: Option<EndedNodes>,
}

/// The properties by which a changed manifest is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    size_bytes: u64,
    /// For a running run, the size of the file with the progress of its nodes.
    progress_bytes: Option<u64>,
}

impl Listing {
    pub(crate) fn of(folder: PathBuf, unpacked: Vec<Bundle>) -> Self {
        Self { folder, unpacked, known: Vec::new(), scanned: None }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The runs, newest first.
    pub(crate) fn runs(&mut self) -> Result<Vec<ListedRun>, BundleError> {
        self.scan()?;
        let mut runs = Vec::with_capacity(self.known.len());
        for known in &mut self.known {
            let stamp = Stamp::of(&known.bundle);
            // A folder of a thousand runs is listed on every request, and their manifests rarely change.
            if stamp != known.stamp {
                *known = Known::read(&known.bundle);
            }
            let mut run = known.run.clone();
            // No manifest shows whether the process is alive.
            if run.status == ReportStatus::Running {
                let evidence = ProcessEvidence::read(&known.bundle.heartbeat()).ok();
                let now = now();
                run.status = known.bundle.state_at(Some(RunStatus::Running), now);
                let is_running = run.status == ReportStatus::Running;
                run.stalled = evidence.as_ref().filter(|_| is_running).and_then(stalled);
                // A time that is too far in the future is ignored.
                let seen = evidence.map(|evidence| evidence.seen_at()).filter(|seen| *seen <= now + AHEAD);
                let since_start = |seen| {
                    run.started_at
                        .filter(|start| *start <= seen)
                        .map(|start| milliseconds::between(start, seen))
                };
                run.duration_ms = seen.and_then(since_start);
                if let Some(ended) = known.ended.as_mut().map(|ended| ended.look(&known.bundle)) {
                    run.nodes_succeeded = run.nodes_succeeded.max(Some(ended.succeeded));
                    run.nodes_failed = run.nodes_failed.max(Some(ended.failed));
                }
            }
            runs.push(run);
        }
        // By id if the times are equal or missing, so that the order is stable between refreshes.
        runs.sort_by(|a, b| b.started_at.cmp(&a.started_at).then_with(|| b.id.cmp(&a.id)));
        Ok(runs)
    }

    /// The bundle of a run in the list.
    pub(crate) fn bundle(&mut self, id: &str) -> Option<Bundle> {
        // Names are compared with existing ones: no text of an address becomes a path.
        let find = |known: &[Known]| {
            let known = known.iter().find(|known| known.run.id == id)?;
            Bundle::open(known.bundle.dir()).ok()?;
            Some(known.bundle.clone())
        };
        find(&self.known).or_else(|| {
            self.scan().ok()?;
            find(&self.known)
        })
    }

    /// Searches for new and deleted bundles, unless the last search was recent.
    fn scan(&mut self) -> Result<(), BundleError> {
        if let Some((at, took)) = self.scanned
            // In proportion to the duration of the last search: on a network share with thousands of runs each takes seconds, and
            // several open pages ask once a second.
            && at.elapsed() < took.div_f64(COST_OF_SCAN).max(RESCAN_AFTER)
        {
            return Ok(());
        }
        let begun = Instant::now();
        let mut before: HashMap<PathBuf, Known> =
            self.known.drain(..).map(|known| (known.bundle.dir().to_owned(), known)).collect();
        let run_of = |dir: &Path| {
            let known = before.get(dir)?;
            // If its manifest is unchanged, it is the same bundle.
            known.run_id.filter(|_| Stamp::of(&known.bundle) == known.stamp)
        };
        let mut bundles = match Bundle::find_all_but(&self.folder, run_of) {
            // The first run creates it.
            Err(_) if !self.folder.exists() => Vec::new(),
            // It is a single packed bundle.
            Err(_) if self.folder.is_file() => Vec::new(),
            found => found?,
        };
        bundles.extend(self.unpacked.iter().cloned());
        let (old, new): (Vec<Bundle>, Vec<Bundle>) =
            bundles.into_iter().partition(|bundle| before.contains_key(bundle.dir()));
        self.known = old.iter().filter_map(|bundle| before.remove(bundle.dir())).collect();
        self.known.extend(Bundle::map_each(&new, Known::read));
        self.scanned = Some((Instant::now(), begun.elapsed()));
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "whether a process lives is asked of the moment of the look")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

/// The id of its run, or else the name of its folder.
fn id_of(bundle: &Bundle) -> String {
    bundle.recorded_run().as_ref().map(RunId::to_string).unwrap_or_else(|| {
        bundle.dir().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    })
}

impl Stamp {
    fn of(bundle: &Bundle) -> Self {
        // For the link itself, if it is one: the reader rejects links, and their targets must not be accessed even for their times.
        let metadata = fs::symlink_metadata(bundle.manifest()).ok();
        Self {
            modified: metadata.as_ref().and_then(|metadata| metadata.modified().ok()),
            size_bytes: metadata.map_or(0, |metadata| metadata.len()),
            progress_bytes: fs::symlink_metadata(bundle.nodes()).ok().map(|metadata| metadata.len()),
        }
    }
}

impl Known {
    fn read(bundle: &Bundle) -> Self {
        // Before it is read: if it is replaced in between, it is read again the next time.
        let stamp = Stamp::of(bundle);
        let read = Manifest::read_with_damages(bundle);
        let manifest = read.as_ref().ok().map(|(manifest, _)| manifest);
        let run_id = manifest.map(|manifest| manifest.identity.run_id);
        let goes_on = manifest.filter(|manifest| manifest.status == RunStatus::Running);
        // Only if no file has the ends of the nodes.
        let ended = goes_on.filter(|_| stamp.progress_bytes.is_none()).map(EndedNodes::new);
        Self { bundle: bundle.clone(), stamp, run_id, run: listed(bundle, read), ended }
    }
}

fn listed(bundle: &Bundle, manifest: Result<(Manifest, Vec<FileDamage>), ReadError>) -> ListedRun {
    let (manifest, damages) = match manifest {
        Ok(read) => read,
        Err(error) => {
            // As far as the run has recorded it for a tracking server.
            let outbox = recorded_outbox(&bundle.tracker_dir()).ok().flatten();
            return ListedRun {
                id: id_of(bundle),
                status: bundle.state_by_outbox(outbox.as_ref()),
                started_at: outbox.as_ref().and_then(|outbox| outbox.started),
                dag_name: outbox.and_then(|outbox| outbox.dag_name),
                duration_ms: None,
                profile: None,
                nodes: None,
                nodes_succeeded: None,
                nodes_failed: None,
                rows: kept_rows(bundle, None),
                stalled: None,
                error: None,
                problem: Some(error.to_string()),
            };
        }
    };
    let with_status =
        |status| Some(manifest.nodes.iter().filter(|node| node.status == status).count() as u64);
    ListedRun {
        id: manifest.identity.run_id.to_string(),
        // According to its manifest. Whether its process is alive is checked on every request.
        status: ReportStatus::of(manifest.status, || Liveness::Alive),
        started_at: Some(manifest.started_at),
        duration_ms: manifest.ended_at.map(|ended| milliseconds::between(manifest.started_at, ended)),
        profile: Some(manifest.profile.clone()),
        nodes: Some(manifest.nodes.len() as u64),
        nodes_succeeded: with_status(NodeStatus::Success),
        nodes_failed: with_status(NodeStatus::Failure),
        rows: kept_rows(bundle, Some(&manifest)),
        stalled: None,
        error: manifest.error,
        dag_name: Some(manifest.identity.dag_name),
        problem: (!damages.is_empty()).then(|| {
            let damages: Vec<String> = damages.iter().map(FileDamage::to_string).collect();
            damages.join("; ")
        }),
    }
}

/// What is stalled according to the last beat.
fn stalled(evidence: &ProcessEvidence) -> Option<String> {
    let episode = evidence.stalls.episodes.iter().rev().find(|episode| episode.ended.is_none())?;
    let stall = &episode.stall;
    let query = || format!("query {}", stall.query_id);
    let what = stall.node.clone().or_else(|| stall.statement.clone()).unwrap_or_else(query);
    let why = stall.class.map(|class| format!(": {}", class.in_words())).unwrap_or_default();
    Some(format!("{what} makes no progress{why}"))
}

/// The rows that a run has written to files and tables, counted like in its report and its history.
fn kept_rows(bundle: &Bundle, manifest: Option<&Manifest>) -> Option<u64> {
    let is_missing = ArtifactCatalog::is_missing(bundle, manifest);
    let artifacts = ArtifactCatalog::read(bundle).ok().filter(|_| !is_missing)?.artifacts;
    let kept = artifacts.iter().filter(|artifact| artifact.materialization != Materialization::ParamTable);
    Some(saturating_sum(kept.filter_map(|artifact| artifact.rows)))
}

#[cfg(test)]
mod tests {
    use daglight_run_bundle::{
        Stall, StallClass, StallEpisode,
        outbox::{Event, Outbox, Outcome},
    };

    use super::*;

    fn manifest(run_id: RunId, dag_name: &str, status: RunStatus) -> Manifest {
        let started_at = run_id.created_at();
        Manifest {
            status,
            ended_at: (status != RunStatus::Running).then_some(started_at + chrono::TimeDelta::seconds(2)),
            ..Manifest::of_start(run_id, dag_name, started_at)
        }
    }

    #[test]
    fn runs_are_listed_as_they_are_now_also_those_that_cannot_be_read() {
        let out = tempfile::tempdir().unwrap();
        assert_eq!(Listing::of(out.path().join("not yet"), Vec::new()).runs().unwrap(), []);
        let mut listing = Listing::of(out.path().to_owned(), Vec::new());
        assert_eq!(listing.runs().unwrap(), []);
        let ids: Vec<RunId> = (0..3).map(|_| RunId::new()).collect();
        let bundles: Vec<Bundle> =
            ids[..2].iter().map(|id| Bundle::create(out.path(), *id).unwrap()).collect();
        manifest(ids[0], "a", RunStatus::Success).write(&bundles[0]).unwrap();
        manifest(ids[1], "b", RunStatus::Running).write(&bundles[1]).unwrap();
        let mut dead = ProcessEvidence::for_self(DateTime::UNIX_EPOCH, 1.0);
        dead.start_ticks = dead.start_ticks.map(|ticks| ticks + 1);
        dead.write(&bundles[1].heartbeat()).unwrap();
        let statuses = |listing: &mut Listing| -> Vec<(Option<String>, ReportStatus)> {
            listing.scanned = None;
            let runs = listing.runs().unwrap();
            runs.into_iter().rev().map(|run| (run.dag_name, run.status)).collect()
        };
        let first = (Some("a".to_owned()), ReportStatus::Success);
        let second = |status| (Some("b".to_owned()), status);
        assert_eq!(statuses(&mut listing), [first.clone(), second(ReportStatus::ProcessEnded)]);
        manifest(ids[1], "b", RunStatus::Failure).write(&bundles[1]).unwrap();
        assert_eq!(statuses(&mut listing), [first, second(ReportStatus::Failure)]);
        assert_eq!(listing.bundle(&ids[0].to_string()).unwrap().dir(), bundles[0].dir());
        for foreign in ["..", "", "/etc", "run_bundle", &ids[2].to_string()] {
            assert!(listing.bundle(foreign).is_none(), "{foreign:?}");
        }
        fs::write(bundles[0].manifest(), "{").unwrap();
        fs::write(bundles[0].traces(), "").unwrap();
        // A new bundle is noticed after a while, and a change at once.
        let runs = listing.runs().unwrap();
        let damaged = runs.iter().find(|run| run.id == ids[0].to_string()).unwrap();
        assert!(damaged.problem.is_some() && damaged.status == ReportStatus::Unknown);
        let outbox = Outbox::open(&bundles[0].tracker_dir(), Default::default()).unwrap();
        let end: Event = Event::RunFinished { status: Outcome::Failure, time: ids[0].created_at() };
        outbox.append(&end).unwrap();
        fs::write(bundles[0].manifest(), "{{").unwrap();
        let runs = listing.runs().unwrap();
        let damaged = runs.iter().find(|run| run.id == ids[0].to_string()).unwrap();
        assert!(damaged.problem.is_some() && damaged.status == ReportStatus::Failure);
    }

    #[test]
    fn what_did_not_happen_is_named_and_lasts_no_time() {
        let out = tempfile::tempdir().unwrap();
        let (damaged, killed) = (RunId::new(), RunId::new());
        let [first, second] = [damaged, killed].map(|id| Bundle::create(out.path(), id).unwrap());
        let whole = manifest(damaged, "a", RunStatus::Success);
        Manifest { ended_at: Some(whole.started_at - TimeDelta::days(1)), ..whole }.write(&first).unwrap();
        // Its process has left neither a heartbeat nor a lock on its outbox.
        manifest(killed, "b", RunStatus::Running).write(&second).unwrap();
        fs::write(second.tracker_dir().join("outbox.jsonl"), "").unwrap();
        let runs = Listing::of(out.path().to_owned(), Vec::new()).runs().unwrap();
        let of = |id: RunId| runs.iter().find(|run| run.id == id.to_string()).unwrap();
        assert_eq!((of(damaged).status, of(damaged).duration_ms), (ReportStatus::Success, None));
        let problem = of(damaged).problem.as_deref().unwrap_or_default();
        assert!(problem.starts_with("manifest.json: ended_at, "), "{problem}");
        assert_eq!(of(killed).status, ReportStatus::ProcessEnded);
    }

    #[test]
    fn a_run_that_stands_still_says_so_as_long_as_it_does() {
        let out = tempfile::tempdir().unwrap();
        let run_id = RunId::new();
        let bundle = Bundle::create(out.path(), run_id).unwrap();
        manifest(run_id, "a", RunStatus::Running).write(&bundle).unwrap();
        let mut listing = Listing::of(out.path().to_owned(), Vec::new());
        let mut stalled = |change: &dyn Fn(&mut ProcessEvidence)| {
            let mut evidence = ProcessEvidence::for_self(now(), 1.0);
            let stall = Stall {
                node: Some("orders".into()),
                class: Some(StallClass::Source),
                since: now(),
                ..Stall::default()
            };
            evidence.stalls.episodes.push(StallEpisode { stall, ended: None });
            change(&mut evidence);
            evidence.write(&bundle.heartbeat()).unwrap();
            listing.runs().unwrap().remove(0).stalled
        };
        let expected = format!("orders makes no progress: {}", StallClass::Source.in_words());
        assert_eq!(stalled(&|_| ()), Some(expected));
        assert_eq!(stalled(&|evidence| evidence.stalls.episodes[0].ended = Some(now())), None);
    }

    #[test]
    fn nodes_of_a_run_that_goes_on_count_when_they_have_ended_and_also_once_it_is_killed() {
        let out = tempfile::tempdir().unwrap();
        let run_id = RunId::new();
        let bundle = Bundle::create(out.path(), run_id).unwrap();
        manifest(run_id, "a", RunStatus::Running).write(&bundle).unwrap();
        let mut listing = Listing::of(out.path().to_owned(), Vec::new());
        let mut counts = || {
            let run = listing.runs().unwrap().remove(0);
            (run.status, run.nodes_succeeded.unwrap(), run.nodes_failed.unwrap())
        };
        assert_eq!(counts(), (ReportStatus::Running, 0, 0));
        let span = |node, code| {
            format!(
                r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"spanId":"{node}","name":"hamilton.node","startTimeUnixNano":"1","endTimeUnixNano":"2","attributes":[{{"key":"daglight.node","value":{{"stringValue":"{node}"}}}}],"status":{{"code":{code}}}}}]}}]}}]}}"#
            ) + "\n"
        };
        fs::write(bundle.traces(), span("x", 0)).unwrap();
        assert_eq!(counts(), (ReportStatus::Running, 1, 0));
        fs::write(bundle.traces(), span("x", 0) + &span("y", 0) + &span("z", 2)).unwrap();
        let mut dead = ProcessEvidence::for_self(DateTime::UNIX_EPOCH, 1.0);
        dead.start_ticks = dead.start_ticks.map(|ticks| ticks + 1);
        dead.write(&bundle.heartbeat()).unwrap();
        assert_eq!(counts(), (ReportStatus::ProcessEnded, 2, 1));
    }
}
