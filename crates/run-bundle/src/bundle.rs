//! The folder of a run: the path of each file.

use std::{
    cmp::Reverse,
    fs, io, mem,
    path::{Path, PathBuf},
};

use daglight_guarded_files::{Durability, create_private_folder};
use daglight_run_identity::RunId;

use crate::{
    appended_files::AppendedFiles,
    find::{Found, denied, find_below},
    folder_id::FolderId,
    layout::{
        DATA_SUMMARIES, HEARTBEAT, LINEAGE_EVENTS, LOGS, MANIFEST, METRICS, NODES, PLANS, RESERVE,
        RUN_BUNDLE, TRACES, TRACKER, is_known, plan_file_name,
    },
    output_dir::not_a_url,
    parallel::in_parallel,
    recognised::{claimed_run, is_bundle, run_of_bundle},
};

/// The folder with everything that one run recorded.
///
/// ```
/// use daglight_run_bundle::Bundle;
/// use daglight_run_identity::{RunId, hash_of_fields};
///
/// let out = std::env::temp_dir().join("daglight-doc");
/// let bundle = Bundle::create(&out, RunId::new())?;
/// assert!(bundle.plan_file(Some("top_10"), "9f3a").ends_with("plans/top_10-9f3a.json"));
/// # std::fs::remove_dir_all(out)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Bundle {
    dir: PathBuf,
    durability: Durability,
    /// The archive that the bundle was unpacked from.
    archive: Option<PathBuf>,
    appended: AppendedFiles,
    /// The folder as it was created, if this handle created it.
    created: Option<FolderId>,
}

/// The bundles in and below a folder, and what was left out.
#[derive(Debug)]
#[non_exhaustive]
pub struct FoundBundles {
    /// The bundles, the oldest run first.
    pub bundles: Vec<Bundle>,
    /// The folders that may not be read although they should contain bundles: those named `run_bundle`, or after a run.
    pub unreadable: Vec<BundleError>,
    /// The links to bundles, which are not followed.
    pub links: Vec<PathBuf>,
}

/// Why a bundle could not be created or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The folder cannot be created.
    #[error("cannot create the run bundle {}", path.display())]
    Create {
        /// The folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The folder cannot be listed.
    #[error("cannot look for run bundles in {}", path.display())]
    List {
        /// The folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The path may not be read, so it is unknown whether it is a bundle.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The path is neither a bundle nor a file of one.
    #[error("{} is not a run bundle: expected a folder such as out/run_bundle/<run id>", path.display())]
    NotABundle {
        /// The path.
        path: PathBuf,
    },
}

impl Bundle {
    /// Creates `<output_dir>/run_bundle/<run_id>/` with its subfolders. Only the user may enter it: its mode is 0700.
    ///
    /// # Errors
    ///
    /// When a folder cannot be created.
    pub fn create(output_dir: impl AsRef<Path>, run_id: RunId) -> Result<Self, BundleError> {
        let dir = output_dir.as_ref().join(RUN_BUNDLE).join(run_id.to_string());
        not_a_url(&dir)
            .and_then(|()| create_folders(&dir))
            .map_err(|source| BundleError::Create { path: dir.clone(), source })?;
        let created = FolderId::at(&dir).ok();
        Ok(Self { created, ..Self::at(dir) })
    }

    /// Opens a bundle by its folder, or by one of its files, such as the report.
    ///
    /// A folder is a bundle if its manifest has the marker [`MANIFEST_FORMAT`](crate::MANIFEST_FORMAT) and a run id. The bundle of
    /// a run that was killed before its manifest was complete is recognised by the name of the folder, which is the id of the run,
    /// and by its outbox or signal files. The parents of a folder never make it a bundle.
    ///
    /// # Errors
    ///
    /// When there is no bundle at the path, or it may not be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, BundleError> {
        let path = path.as_ref();
        let not_one = || BundleError::NotABundle { path: path.to_owned() };
        if path.is_dir() {
            // The path is kept as given, so that printed paths look familiar.
            return match is_bundle(path) {
                true => Ok(Self::at(path.to_owned())),
                false => Err(denied(path)
                    .map_or_else(not_one, |(path, source)| BundleError::Unreadable { path, source })),
            };
        }
        let absolute = std::path::absolute(path).map_err(|_| not_one())?;
        let levels_in_a_bundle = 2;
        let folder = absolute.ancestors().skip(1).take(levels_in_a_bundle).find(|dir| {
            let below = absolute.strip_prefix(dir).ok().and_then(Path::to_str);
            below.is_some_and(is_known) && is_bundle(dir)
        });
        folder.filter(|_| absolute.is_file()).map(|dir| Self::at(dir.to_owned())).ok_or_else(not_one)
    }

    /// All bundles in and below a folder, the oldest run first. Links are not followed.
    ///
    /// # Errors
    ///
    /// When the folder itself cannot be listed. Folders below it that cannot be listed are skipped.
    pub fn find_all(dir: impl AsRef<Path>) -> Result<Vec<Self>, BundleError> {
        Self::find_all_but(dir, |_| None)
    }

    /// Like [`Bundle::find_all`], and also returns what was left out.
    ///
    /// # Errors
    ///
    /// As [`Bundle::find_all`].
    pub fn find_readable(dir: impl AsRef<Path>) -> Result<FoundBundles, BundleError> {
        let mut found = Self::look_for(dir.as_ref(), |_| None)?;
        let unreadable = mem::take(&mut found.unreadable).into_iter();
        let unreadable = unreadable.map(|(path, source)| BundleError::List { path, source }).collect();
        let mut links = mem::take(&mut found.links);
        // By the folder itself, whose name may be what tells which run it has.
        links.retain(|link| fs::canonicalize(link).is_ok_and(|folder| is_bundle(&folder)));
        links.sort();
        Ok(FoundBundles { bundles: Self::of_found(found), unreadable, links })
    }

    /// Like [`Bundle::find_all`], but calls `known` first: if it knows the run of a folder, nothing in that folder is read. For
    /// callers that search repeatedly. `known` is called by several threads.
    ///
    /// # Errors
    ///
    /// As [`Bundle::find_all`].
    pub fn find_all_but(
        dir: impl AsRef<Path>,
        known: impl Fn(&Path) -> Option<RunId> + Sync,
    ) -> Result<Vec<Self>, BundleError> {
        Self::look_for(dir.as_ref(), known).map(Self::of_found)
    }

    fn of_found(found: Found) -> Vec<Self> {
        found.into_bundles().map(Self::at).collect()
    }

    fn look_for(dir: &Path, known: impl Fn(&Path) -> Option<RunId> + Sync) -> Result<Found, BundleError> {
        let run_of = |dir: &Path| known(dir).or_else(|| run_of_bundle(dir));
        match run_of(dir) {
            Some(run) => Ok(Found { runs: vec![(run, dir.to_owned())], ..Found::default() }),
            None => {
                find_below(dir, &run_of).map_err(|source| BundleError::List { path: dir.to_owned(), source })
            }
        }
    }

    /// The bundles in the same folder whose runs started before this one, the latest first. A folder is opened when the iterator
    /// reaches it, so a caller that needs only the previous run reads no others.
    pub fn earlier_runs(&self) -> impl Iterator<Item = Self> + use<> {
        let folder = std::path::absolute(&self.dir).ok().and_then(|dir| dir.parent().map(Path::to_owned));
        let listed = folder.zip(self.run_id().or_else(|| self.recorded_run())).map(|(folder, run)| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            // Links are not followed, as everywhere below a folder of bundles.
            let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            let runs =
                folders.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())));
            // Run ids begin with their time, so these are the runs that started earlier.
            let mut earlier: Vec<(RunId, PathBuf)> = runs.filter(|(other, _)| *other < run).collect();
            earlier.sort_by_key(|(run, _)| Reverse(*run));
            earlier
        });
        listed.into_iter().flatten().filter_map(|(_, dir)| Self::open(dir).ok())
    }

    /// Calls `work` for each of the bundles and returns the results in the same order. It uses several threads, because a list of a
    /// thousand runs reads a thousand manifests.
    pub fn map_each<T: Send>(bundles: &[Self], work: impl Fn(&Self) -> T + Sync) -> Vec<T> {
        in_parallel(bundles, work)
    }

    fn at(dir: PathBuf) -> Self {
        Self {
            dir,
            durability: Durability::default(),
            archive: None,
            appended: AppendedFiles::default(),
            created: None,
        }
    }

    /// Whether the folder was removed or moved since this handle created it. What is written to its open files afterwards is in
    /// another place, or lost, and no other file of it can be written.
    pub fn has_gone(&self) -> bool {
        match (&self.created, FolderId::at(&self.dir)) {
            // Some file systems number a folder anew once nobody has it open: a folder with a manifest is the same.
            (Some(created), Ok(found)) => *created != found && !self.manifest().exists(),
            (Some(_), Err(error)) => {
                matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            }
            (None, _) => false,
        }
    }

    /// The files that this handle appends to.
    pub(crate) fn appended(&self) -> &AppendedFiles {
        &self.appended
    }

    /// Marks this bundle as unpacked from an archive. Errors and reports then name the archive, because the temporary folder no
    /// longer exists when they are read.
    #[must_use]
    pub fn unpacked_from(mut self, archive: impl Into<PathBuf>) -> Self {
        self.archive = Some(archive.into());
        self
    }

    pub(crate) fn is_unpacked(&self) -> bool {
        self.archive.is_some()
    }

    /// The path to show for a path in the bundle: the path itself, or the archive and the path within it.
    pub fn shown(&self, path: &Path) -> PathBuf {
        match (&self.archive, path.strip_prefix(&self.dir)) {
            (Some(archive), Ok(below)) if below.as_os_str().is_empty() => archive.clone(),
            (Some(archive), Ok(below)) => archive.join(below),
            _ => path.to_owned(),
        }
    }

    /// Sets how durably files of the bundle are replaced. By default they survive the death of the process. A command such as
    /// `sync` needs no more than that, because it can recreate what it writes from the other files.
    #[must_use]
    pub fn durable(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    /// The run that the folder is named after; `None` if the folder was renamed.
    pub fn run_id(&self) -> Option<RunId> {
        let absolute = std::path::absolute(&self.dir).ok()?;
        absolute.file_name()?.to_str()?.parse().ok()
    }

    /// The run that the manifest names, or else the one that the folder is named after.
    pub fn recorded_run(&self) -> Option<RunId> {
        claimed_run(&self.dir).or_else(|| self.run_id())
    }

    /// What ran and how it ended.
    pub fn manifest(&self) -> PathBuf {
        self.dir.join(MANIFEST)
    }

    /// The spans, as lines of OTLP/JSON.
    pub fn traces(&self) -> PathBuf {
        self.dir.join(TRACES)
    }

    /// The metrics, as lines of OTLP/JSON.
    pub fn metrics(&self) -> PathBuf {
        self.dir.join(METRICS)
    }

    /// The log records, as lines of OTLP/JSON.
    pub fn logs(&self) -> PathBuf {
        self.dir.join(LOGS)
    }

    /// The folder of the plans.
    pub fn plans_dir(&self) -> PathBuf {
        self.dir.join(PLANS)
    }

    /// The file of a plan: the same for the same node and plan in every run. The name is safe for every node name, and different
    /// for different nodes.
    pub fn plan_file(&self, node: Option<&str>, plan_hash: &str) -> PathBuf {
        self.plans_dir().join(plan_file_name(node, plan_hash))
    }

    /// The catalog of the outputs of the run.
    pub fn artifacts(&self) -> PathBuf {
        self.dir.join("artifacts.json")
    }

    /// The summaries of the nodes' data, one line each.
    pub fn data_summaries(&self) -> PathBuf {
        self.dir.join(DATA_SUMMARIES)
    }

    /// The progress of the nodes of a run that has not ended.
    pub fn nodes(&self) -> PathBuf {
        self.dir.join(NODES)
    }

    /// The OpenLineage events, one line each. The file exists only if the run has a destination for them.
    pub fn lineage_events(&self) -> PathBuf {
        self.dir.join(LINEAGE_EVENTS)
    }

    /// The folder of the tracker's outbox.
    pub fn tracker_dir(&self) -> PathBuf {
        self.dir.join(TRACKER)
    }

    /// Reserves disk space for the end of the run while it is still going.
    pub fn reserve(&self) -> PathBuf {
        self.dir.join(RESERVE)
    }

    /// The evidence that the process is alive.
    pub fn heartbeat(&self) -> PathBuf {
        self.dir.join(HEARTBEAT)
    }

    /// The report for programs.
    pub fn report_json(&self) -> PathBuf {
        self.dir.join("run_diagnostics_report.json")
    }

    /// The report for terminals and tickets.
    pub fn report_markdown(&self) -> PathBuf {
        self.dir.join("run_diagnostics_report.md")
    }

    /// The report for browsers.
    pub fn report_html(&self) -> PathBuf {
        self.dir.join("run_diagnostics_report.html")
    }
}

impl PartialEq for Bundle {
    /// A bundle is the same whoever created it, and whatever is open.
    fn eq(&self, other: &Self) -> bool {
        let Self { dir, durability, archive, appended: _, created: _ } = self;
        (dir, durability, archive) == (&other.dir, &other.durability, &other.archive)
    }
}

impl Eq for Bundle {}

/// Creates the folders of a bundle, which only the user may enter. The last one must be new.
fn create_folders(dir: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    fs::create_dir_all(parent)?;
    // An existing folder may hold files that others can read or have put there.
    if !create_private_folder(parent, name)? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    create_private_folder(dir, PLANS)?;
    create_private_folder(dir, TRACKER).map(drop)
}

#[cfg(test)]
mod tests {
    use std::{
        num::NonZero,
        sync::atomic::{AtomicUsize, Ordering},
        thread,
        time::Duration,
    };

    use super::*;
    use crate::find::MAX_DEPTH;

    #[track_caller]
    fn check_plan_file(node: Option<&str>, expected: &str) {
        let bundle = Bundle::at("b".into());
        assert_eq!(bundle.plan_file(node, "ab12"), Path::new("b/plans").join(expected));
    }

    #[test]
    fn plan_files_are_safe_whatever_the_node_is_called() {
        check_plan_file(Some("orders"), "orders-ab12.json");
        check_plan_file(None, "run-ab12.json");
    }

    #[test]
    fn no_two_nodes_have_the_file_of_a_plan_in_common() {
        let long = "n".repeat(300);
        let names = [
            "orders",
            "Orders",
            "ORDERS",
            "a.b",
            "a/b",
            "a_b",
            "a b",
            "run",
            "",
            "..",
            ".",
            "Größe",
            "Grösse",
            &long,
            &long[1..],
            "con",
            "a-1",
            "a\n",
            "a\u{202e}b",
            "run-ab12",
            "a_b-c14cddc0",
        ];
        let bundle = Bundle::at("b".into());
        let files = names
            .iter()
            .map(|name| bundle.plan_file(Some(name), "ab12"))
            .chain([bundle.plan_file(None, "ab12")]);
        // As a case-insensitive file system sees them.
        let files: Vec<String> = files.map(|file| file.to_string_lossy().to_lowercase()).collect();
        for (position, file) in files.iter().enumerate() {
            assert!(!files[..position].contains(file), "{file}");
            assert!(
                file.strip_prefix("b/plans/").is_some_and(|name| !name.contains('/') && name.len() < 200),
                "{file}"
            );
        }
    }

    #[test]
    fn a_bundle_is_opened_by_its_folder_or_a_file_in_it() {
        let out = tempfile::tempdir().unwrap();
        let run_id = RunId::new();
        let bundle = Bundle::create(out.path(), run_id).unwrap();
        assert_eq!(bundle.dir(), out.path().join("run_bundle").join(run_id.to_string()));
        let written =
            [bundle.manifest(), bundle.report_html(), bundle.plan_file(Some("a"), "0123456789abcdef")];
        let other = [
            bundle.dir().join("notes.txt"),
            bundle.plans_dir().join("notes.json"),
            out.path().join("manifest.json"),
        ];
        for path in written.iter().chain(&other) {
            fs::write(path, "{}").unwrap();
        }
        for path in written.iter().chain([&bundle.dir().to_owned()]) {
            let opened = Bundle::open(path).unwrap();
            assert_eq!((opened.dir(), opened.run_id()), (bundle.dir(), Some(run_id)));
        }
        let folders =
            [out.path().to_owned(), out.path().join("run_bundle"), bundle.plans_dir(), bundle.tracker_dir()];
        for path in other.iter().chain(&folders).chain([&bundle.report_markdown()]) {
            let error = Bundle::open(path).unwrap_err();
            assert!(matches!(error, BundleError::NotABundle { .. }), "{error}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_bundle_is_its_users_alone() {
        use std::os::unix::fs::PermissionsExt as _;

        let out = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
        for dir in [bundle.dir().to_owned(), bundle.plans_dir(), bundle.tracker_dir()] {
            assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700, "{}", dir.display());
        }
    }

    #[test]
    fn bundles_are_found_below_a_folder_in_the_order_of_their_runs() {
        let out = tempfile::tempdir().unwrap();
        let ids = [RunId::new(), RunId::new(), RunId::new()];
        let first = Bundle::create(out.path().join("b"), ids[0]).unwrap();
        let second = Bundle::create(out.path().join("a"), ids[1]).unwrap();
        let third = Bundle::create(out.path(), ids[2]).unwrap();
        let found = Bundle::find_all(out.path()).unwrap();
        assert_eq!(found, [first.clone(), second, third.clone()]);
        assert_eq!(Bundle::find_all(first.dir()).unwrap(), std::slice::from_ref(&first));
        assert!(Bundle::find_all(out.path().join("nowhere")).is_err());
        // If the run of a folder is known, nothing in the folder is read, not even whether it is a bundle.
        fs::remove_dir_all(third.dir().join("tracker")).unwrap();
        let known = |dir: &Path| (dir == third.dir()).then_some(ids[2]);
        assert_eq!(Bundle::find_all_but(out.path(), known).unwrap(), found);
        assert_eq!(Bundle::find_all(out.path()).unwrap(), found[..2]);
    }

    #[test]
    #[cfg(unix)]
    fn a_link_to_a_bundle_is_not_followed_and_is_returned() {
        use std::os::unix::fs::symlink;

        let [out, elsewhere] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let own = Bundle::create(out.path(), RunId::new()).unwrap();
        let other = Bundle::create(elsewhere.path(), RunId::new()).unwrap();
        for bundle in [&own, &other] {
            fs::write(bundle.traces(), "").unwrap();
        }
        let link = out.path().join("run_bundle/link");
        symlink(other.dir(), &link).unwrap();
        symlink(elsewhere.path(), out.path().join("run_bundle/folder")).unwrap();
        let found = Bundle::find_readable(out.path()).unwrap();
        assert_eq!((found.bundles, found.links), (vec![own], vec![link]));
    }

    #[test]
    fn a_folder_that_was_removed_moved_or_replaced_has_gone() {
        let out = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
        assert!(!bundle.has_gone());
        let elsewhere = out.path().join("elsewhere");
        fs::rename(bundle.dir(), &elsewhere).unwrap();
        assert!(bundle.has_gone());
        fs::create_dir(bundle.dir()).unwrap();
        assert!(!cfg!(unix) || bundle.has_gone(), "another folder has its name");
        fs::remove_dir(bundle.dir()).unwrap();
        fs::rename(&elsewhere, bundle.dir()).unwrap();
        assert!(!bundle.has_gone());
        assert!(!Bundle::at(out.path().join("never")).has_gone(), "it was not created here");
    }

    #[test]
    fn earlier_runs_are_those_beside_it_and_the_last_comes_first() {
        let out = tempfile::tempdir().unwrap();
        let runs: Vec<Bundle> = (0..4)
            .map(|_| {
                let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
                fs::write(bundle.traces(), "").unwrap();
                bundle
            })
            .collect();
        fs::create_dir(runs[0].dir().parent().unwrap().join("notes")).unwrap();
        // A folder that merely has the name of a run is not a bundle.
        fs::remove_dir_all(runs[1].dir()).unwrap();
        fs::create_dir(runs[1].dir()).unwrap();
        let earlier =
            |run: &Bundle| -> Vec<Option<RunId>> { run.earlier_runs().map(|run| run.run_id()).collect() };
        assert_eq!(earlier(&runs[3]), [runs[2].run_id(), runs[0].run_id()]);
        assert_eq!(earlier(&runs[0]), []);
    }

    #[test]
    fn no_more_threads_look_for_bundles_than_there_are_cores() {
        let out = tempfile::tempdir().unwrap();
        for (above, below) in (0..40).flat_map(|above| (0..40).map(move |below| (above, below))) {
            fs::create_dir_all(out.path().join(format!("{above}/{below}"))).unwrap();
        }
        let (looking, most, asked) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let known = |_: &Path| {
            most.fetch_max(looking.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            asked.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_micros(50));
            looking.fetch_sub(1, Ordering::SeqCst);
            None
        };
        assert_eq!(Bundle::find_all_but(out.path(), known).unwrap(), []);
        assert_eq!(asked.into_inner(), 1 + 40 + 40 * 40);
        let (most, cores) = (most.into_inner(), thread::available_parallelism().map_or(1, NonZero::get));
        assert!(most <= cores.min(8), "{most} threads on {cores} cores");
    }

    #[test]
    fn bundles_are_looked_for_eight_folders_deep() {
        let out = tempfile::tempdir().unwrap();
        let found_at = |depth: usize| {
            // A bundle is two folders below its output directory.
            let above: PathBuf = (2..depth).map(|level| level.to_string()).collect();
            let bundle = Bundle::create(out.path().join(above), RunId::new()).unwrap();
            let found = Bundle::find_all(out.path()).unwrap().contains(&bundle);
            fs::remove_dir_all(bundle.dir()).unwrap();
            found
        };
        assert_eq!(
            [2, 3, MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1].map(found_at),
            [true, true, true, true, false]
        );
    }
}
