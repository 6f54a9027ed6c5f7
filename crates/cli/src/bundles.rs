//! Finding the bundles for a command.

use std::{
    fs, io,
    ops::Deref,
    path::{Display, Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use daglight::{
    RunStatus,
    bundle::{Bundle, BundleError, FoundBundles, Manifest, Report, UnreadableFile, display::shell_word},
    identity::RunId,
    settings::SettingsLoader,
};
use daglight_bundle_archive::{
    Limits, is_archive, is_named_archive, packed_folder, temporary_folder, unopened_archive, unpack,
};
use tempfile::TempDir;

use crate::{config::process_settings, failure::Failure, say::note};

/// The subfolder of an output folder with its runs.
const RUNS: &str = "run_bundle";

static SOME_WERE_UNREADABLE: AtomicBool = AtomicBool::new(false);

/// The runs for a command, as a path: from the command line, by the id of a run, or else from the settings.
pub(crate) fn runs_folder(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let Some(named) = named else { return Ok(process_settings()?.bundle.output_dir) };
    let Some(run_id) = run_id(named) else { return Ok(named.to_owned()) };
    Ok(match found_with_id(run_id, &process_settings()?.bundle.output_dir)? {
        Found::Folder(bundle) => bundle.dir().to_owned(),
        // Any of them will do.
        Found::Packed(mut archives) => archives.swap_remove(0),
    })
}

/// A bundle for a command. A packed one is unpacked for as long as this lives.
#[derive(Debug)]
pub(crate) struct NamedBundle {
    bundle: Bundle,
    archive: Option<Unpacked>,
}

/// A packed bundle, and its temporary folder.
#[derive(Debug)]
struct Unpacked {
    archive: PathBuf,
    _folder: TempDir,
}

impl NamedBundle {
    /// The archive, if it is packed; nothing is written to it.
    pub(crate) fn archive(&self) -> Option<&Path> {
        self.archive.as_ref().map(|unpacked| &*unpacked.archive)
    }

    /// Its name for messages: the archive, or its folder.
    pub(crate) fn shown(&self) -> Display<'_> {
        self.archive().unwrap_or_else(|| self.bundle.dir()).display()
    }
}

impl From<Bundle> for NamedBundle {
    fn from(bundle: Bundle) -> Self {
        Self { bundle, archive: None }
    }
}

impl Deref for NamedBundle {
    type Target = Bundle;

    fn deref(&self) -> &Bundle {
        &self.bundle
    }
}

/// A bundle that was found, but not unpacked yet.
#[derive(Debug)]
enum Found {
    Folder(Bundle),
    /// The archives of one run: any of them that can be unpacked will do.
    Packed(Vec<PathBuf>),
}

impl Found {
    fn opened(self) -> Result<NamedBundle, Failure> {
        match self {
            Self::Folder(bundle) => Ok(bundle.into()),
            Self::Packed(archives) => first_unpacked(&archives),
        }
    }
}

/// The bundle at a path, packed or not, or all of them below it, the oldest run first. An empty output folder has none, and neither
/// has that of the settings before the first run has created it; any other folder without bundles is an error. A packed bundle in a
/// folder that cannot be unpacked is reported and skipped.
pub(crate) fn bundles_at(path: &Path) -> Result<Vec<NamedBundle>, Failure> {
    if is_packed(path) {
        return Ok(vec![unpacked(path)?]);
    }
    let (mut bundles, mut failures) = (Vec::new(), Vec::new());
    for found in found_at(path)? {
        match found.opened() {
            Ok(bundle) => bundles.push(bundle),
            Err(failure) => failures.push(failure),
        }
    }
    if bundles.is_empty() && !failures.is_empty() {
        // It would be wrong to report that there are no runs yet.
        return Err(failures.swap_remove(0));
    }
    failures.iter().for_each(left_out);
    Ok(bundles)
}

/// The bundle at a path, packed or not, or all unpacked ones below it: for commands that change what they find, or report what
/// these would do. Changes to a packed bundle are not permanent, so they would be repeated every time.
pub(crate) fn unpacked_or_named(path: &Path) -> Result<Vec<NamedBundle>, Failure> {
    if is_packed(path) {
        return Ok(vec![unpacked(path)?]);
    }
    Ok(folders_at(path)?.into_iter().map(NamedBundle::from).collect())
}

/// The last of the bundles at a path, and the one before it that is wanted: `wanted_for` is called once, with the last one.
pub(crate) fn last_and_before<F: Fn(&Bundle) -> bool>(
    path: &Path,
    wanted_for: impl FnOnce(&Bundle) -> F,
) -> Result<Option<(NamedBundle, Option<NamedBundle>)>, Failure> {
    let mut bundles = bundles_at(path)?;
    let Some(last) = bundles.pop() else { return Ok(None) };
    let is_wanted = wanted_for(&last);
    let before = bundles.into_iter().rev().find(|bundle| is_wanted(bundle));
    Ok(Some((last, before)))
}

/// The bundles at and below a path, and those that are packed in it, in the order of their runs. If a run exists in both forms, the
/// folder is used.
fn found_at(path: &Path) -> Result<Vec<Found>, Failure> {
    let mut packed = if Bundle::open(path).is_ok() { Vec::new() } else { packed_in(path) };
    let folders = match folders_at(path) {
        Err(failure) if !packed.is_empty() => {
            // It is fine if there are no other runs, but not if some cannot be read.
            if failure.code() == 1 {
                left_out(&failure);
            }
            Vec::new()
        }
        folders => folders?,
    };
    if packed.is_empty() {
        return Ok(folders.into_iter().map(Found::Folder).collect());
    }
    let folders: Vec<_> = folders.into_iter().map(|bundle| (bundle.recorded_run(), bundle)).collect();
    packed.retain(|(run, _)| folders.iter().all(|(known, _)| *known != Some(*run)));
    let folders = folders.into_iter().map(|(run, bundle)| (run, Found::Folder(bundle)));
    let packed = packed.into_iter().map(|(run, archives)| (Some(run), Found::Packed(archives)));
    let mut found: Vec<_> = folders.chain(packed).collect();
    // Ids of runs begin with their time.
    found.sort_by_key(|(run, _)| *run);
    Ok(found.into_iter().map(|(_, found)| found).collect())
}

/// The packed bundles in an output folder or the folder of its runs, each run once with all its archives. Those that cannot be
/// opened are reported.
fn packed_in(folder: &Path) -> Vec<(RunId, Vec<PathBuf>)> {
    let entries = [folder.to_owned(), folder.join(RUNS)];
    let entries = entries.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let (mut paths, mut links) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry.file_type() {
            Ok(kind) if kind.is_file() => paths.push(entry.path()),
            Ok(kind) if kind.is_symlink() => links.push(entry.path()),
            _ => {}
        }
    }
    links.iter().filter(|link| packed_folder(link).is_some()).for_each(|link| warn_of_link(link));
    paths.iter().filter_map(|path| unopened_archive(path)).for_each(|error| left_out(&Failure::work(error)));
    let packed = paths.into_iter().filter_map(|path| {
        // If it is named after a run like those of `bundle pack`, but its beginning is damaged, it is reported when it is opened.
        let folder = packed_folder(&path).or_else(|| called_after(&path))?;
        Some((folder.parse().ok()?, path))
    });
    let mut packed: Vec<(RunId, PathBuf)> = packed.collect();
    packed.sort();
    let of_runs = packed.chunk_by(|(run, _), (next, _)| run == next);
    of_runs
        .filter_map(|of_run| Some((of_run.first()?.0, of_run.iter().map(|(_, path)| path.clone()).collect())))
        .collect()
}

/// The name of a file with the extension of a packed bundle, without that extension.
fn called_after(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let folder = name.strip_suffix(".tar.gz").or_else(|| name.strip_suffix(".tgz"))?;
    Some(folder.to_owned())
}

/// Whether a named file is processed as a packed bundle: by its content, or by its name if it was cut off or is something else.
fn is_packed(named: &Path) -> bool {
    is_archive(named) || is_named_archive(named)
}

/// The bundle at a path, or all of them below it, without packed ones.
pub(crate) fn folders_at(path: &Path) -> Result<Vec<Bundle>, Failure> {
    // The folder of the settings is created by the first run; any other missing folder was misspelled.
    if path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        if runs_come_to(path) {
            return Ok(Vec::new());
        }
        return Err(Failure::input(format!(
            "there is no folder {}: expected a bundle, or a folder with bundles below it",
            path.display()
        )));
    }
    let not_one = match Bundle::open(path) {
        Ok(bundle) => return Ok(vec![bundle]),
        // An unreadable folder may be a bundle.
        Err(error @ BundleError::Unreadable { .. }) => return Err(Failure::work(error)),
        Err(error) => error,
    };
    match Bundle::find_readable(path) {
        Ok(FoundBundles { bundles, mut unreadable, .. }) if bundles.is_empty() && !unreadable.is_empty() => {
            Err(Failure::work(unreadable.swap_remove(0)))
        }
        // A folder with other content: why it is not a bundle is more helpful than that it contains no runs.
        Ok(FoundBundles { bundles, links, .. })
            if bundles.is_empty() && links.is_empty() && !may_be_output_folder(path) =>
        {
            Err(Failure::input(not_one))
        }
        Ok(FoundBundles { bundles, unreadable, links, .. }) => {
            unreadable.into_iter().for_each(|error| left_out(&Failure::work(error)));
            links.iter().for_each(|link| warn_of_link(link));
            Ok(bundles)
        }
        Err(_) if path.is_file() => Err(Failure::input(not_one).in_file(path, None)),
        Err(error) => Err(Failure::input(error)),
    }
}

/// Whether bundles were skipped because they cannot be read, so that the command did not do everything.
pub(crate) fn some_were_unreadable() -> bool {
    SOME_WERE_UNREADABLE.load(Ordering::Relaxed)
}

fn left_out(failure: &Failure) {
    note!("warning: {}", failure.messages().join(": "));
    SOME_WERE_UNREADABLE.store(true, Ordering::Relaxed);
}

/// Links below a folder of bundles are not followed: they may lead anywhere, also to a folder above.
fn warn_of_link(link: &Path) {
    note!(
        "warning: {} is a link to a bundle, and is not followed: to read that bundle, name it",
        link.display()
    );
}

/// Whether it is the output folder of the settings. Errors in those are reported by the command, once.
fn runs_come_to(path: &Path) -> bool {
    SettingsLoader::from_process().resolve().is_ok_and(|resolved| resolved.settings.bundle.output_dir == path)
}

/// Whether a folder without runs may be an output folder.
fn may_be_output_folder(path: &Path) -> bool {
    let is_empty = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    is_empty || path.join(RUNS).is_dir()
}

/// The single bundle for a command: given by its folder or a file in it, as an archive, by a folder above it, of which the last run
/// is used, or by the id of its run in the output folder of the settings. `None` if the folder has no runs yet.
pub(crate) fn bundle_of(named: &Path) -> Result<Option<NamedBundle>, Failure> {
    if let Some(run_id) = run_id(named) {
        let output_dir = process_settings()?.bundle.output_dir;
        return with_id(run_id, &output_dir).map(Some);
    }
    if is_packed(named) {
        return unpacked(named).map(Some);
    }
    let mut found = found_at(named)?;
    let count = found.len();
    let last = found.pop().map(Found::opened).transpose()?;
    if let Some(last) = last.as_ref().filter(|_| count > 1) {
        note!("the last of {count} runs: {}", last.shown());
    }
    Ok(last)
}

/// The first of the archives of a run that can be unpacked. Problems of earlier ones are reported.
fn first_unpacked(archives: &[PathBuf]) -> Result<NamedBundle, Failure> {
    let mut failures = Vec::new();
    for archive in archives {
        match unpacked(archive) {
            Ok(bundle) => {
                failures
                    .iter()
                    .for_each(|failure: &Failure| note!("warning: {}", failure.messages().join(": ")));
                return Ok(bundle);
            }
            Err(failure) => failures.push(failure),
        }
    }
    Err(failures.swap_remove(0))
}

fn unpacked(archive: &Path) -> Result<NamedBundle, Failure> {
    // A private folder, which is removed when the command ends.
    let folder = temporary_folder().map_err(Failure::work)?;
    let bundle = unpack(archive, folder.path(), Limits::default()).map_err(Failure::work)?;
    Ok(NamedBundle { bundle, archive: Some(Unpacked { archive: archive.to_owned(), _folder: folder }) })
}

/// The bundle of a run in a folder, packed or not.
pub(crate) fn with_id(run_id: RunId, output_dir: &Path) -> Result<NamedBundle, Failure> {
    found_with_id(run_id, output_dir)?.opened()
}

fn found_with_id(run_id: RunId, output_dir: &Path) -> Result<Found, Failure> {
    let found = found_at(output_dir)?.into_iter().rev().find(|found| match found {
        Found::Folder(bundle) => bundle.recorded_run() == Some(run_id),
        Found::Packed(archives) => archives
            .first()
            .and_then(|archive| packed_folder(archive))
            .is_some_and(|run| run.parse().ok() == Some(run_id)),
    });
    found.ok_or_else(|| {
        Failure::input(format!(
            "no run {run_id} below {}: expected the folder of a bundle, or the id of a run there; another output \
             folder is named by DAGLIGHT_OUTPUT_DIR",
            output_dir.display()
        ))
    })
}

/// Whether a run is not closed: its process has not ended it, and may be dead.
pub(crate) fn is_unclosed(bundle: &Bundle) -> bool {
    Manifest::read(bundle).is_ok_and(|manifest| manifest.status == RunStatus::Running)
}

/// What to do about a packed run that is not closed.
pub(crate) fn how_to_close(archive: &Path) -> String {
    format!(
        "the run was packed before it was closed; to close it, unpack it by `tar xzf {}`, and `daglight sync` its folder",
        shell_word(&archive.to_string_lossy())
    )
}

/// Reports which parts of a bundle could not be read, for a command that continues with the rest.
pub(crate) fn warn_of_damages(called: Display<'_>, report: &Report) {
    for UnreadableFile { file, problem } in report.damages() {
        note!("warning: {called}: {file}: {problem}");
    }
}

/// Like [`one_bundle`], but looks up the id of a run in `output_dir`.
pub(crate) fn one_bundle_with(named: &Path, output_dir: &Path) -> Result<NamedBundle, Failure> {
    run_id(named).map_or_else(|| one_bundle(named), |run_id| with_id(run_id, output_dir))
}

/// Like [`bundle_of`], for a command that cannot do anything without a bundle.
pub(crate) fn one_bundle(named: &Path) -> Result<NamedBundle, Failure> {
    bundle_of(named)?.ok_or_else(|| Failure::input(no_runs(named)))
}

/// The message that a command has nothing to do.
pub(crate) fn no_runs(path: &Path) -> String {
    format!("no runs yet in {}", path.display())
}

/// Parses an id, unless a file with that name exists.
fn run_id(named: &Path) -> Option<RunId> {
    if named.exists() { None } else { named.to_str()?.parse().ok() }
}
