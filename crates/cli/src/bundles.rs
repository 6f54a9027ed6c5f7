//! Finding the bundles that a command is about.

use std::{
    fs, io,
    ops::Deref,
    path::{Display, Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use daglight::{
    RunStatus,
    bundle::{Bundle, BundleError, Manifest, Report, UnreadableFile, display::shell_word},
    identity::RunId,
    settings::SettingsLoader,
};
use daglight_bundle_archive::{
    Limits, is_archive, packed_folder, temporary_folder, unopened_archive, unpack,
};
use tempfile::TempDir;

use crate::{config::process_settings, failure::Failure, say::note};

/// The folder in an output folder that has its runs.
const RUNS: &str = "run_bundle";

static SOME_WERE_UNREADABLE: AtomicBool = AtomicBool::new(false);

/// The folder that a command looks into: the one on the command line, or else the one of the settings.
pub(crate) fn runs_folder(named: Option<&Path>) -> Result<PathBuf, Failure> {
    named.map_or_else(|| Ok(process_settings()?.bundle.output_dir), |named| Ok(named.to_owned()))
}

/// A bundle that a command is about. A packed one is unpacked for as long as this lives.
#[derive(Debug)]
pub(crate) struct NamedBundle {
    bundle: Bundle,
    archive: Option<Unpacked>,
}

/// A packed bundle, and the folder that has it for now.
#[derive(Debug)]
struct Unpacked {
    archive: PathBuf,
    _folder: TempDir,
}

impl NamedBundle {
    /// The one file that it is, into which nothing is written.
    pub(crate) fn archive(&self) -> Option<&Path> {
        self.archive.as_ref().map(|unpacked| &*unpacked.archive)
    }

    /// What it is called: the archive, or its folder.
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

/// A bundle that was found, of which nothing is unpacked yet.
#[derive(Debug)]
enum Found {
    Folder(Bundle),
    /// The archives of one run: only one that can be unpacked is worth anything.
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

/// The bundle at a path, packed or not, or all of them below it, the oldest run first. An output folder that is empty has none, and
/// neither has the one of the settings before the first run has made it; any other folder without bundles is not an output folder. A
/// packed one of a folder that cannot be unpacked is named, and left out.
pub(crate) fn bundles_at(path: &Path) -> Result<Vec<NamedBundle>, Failure> {
    if is_archive(path) {
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
        // That there were no runs yet would not be true.
        return Err(failures.swap_remove(0));
    }
    failures.iter().for_each(left_out);
    Ok(bundles)
}

/// The bundle at a path, packed or not, or all of them below it that are not packed: for commands that change what they find, or say
/// what these would do. What they did to a packed one they would do again the next time.
pub(crate) fn unpacked_or_named(path: &Path) -> Result<Vec<NamedBundle>, Failure> {
    if is_archive(path) {
        return Ok(vec![unpacked(path)?]);
    }
    Ok(folders_at(path)?.into_iter().map(NamedBundle::from).collect())
}

/// The last of the bundles at a path, and the one before it that `is_wanted`.
pub(crate) fn last_and_before(
    path: &Path,
    is_wanted: impl Fn(&Bundle, &Bundle) -> bool,
) -> Result<Option<(NamedBundle, Option<NamedBundle>)>, Failure> {
    let mut bundles = bundles_at(path)?;
    let Some(last) = bundles.pop() else { return Ok(None) };
    let before = bundles.into_iter().rev().find(|bundle| is_wanted(bundle, &last));
    Ok(Some((last, before)))
}

/// The bundles at and below a path, and those that are packed in it, in the order of their runs. Of a run that is there in both ways
/// the folder counts.
fn found_at(path: &Path) -> Result<Vec<Found>, Failure> {
    let mut packed = if Bundle::open(path).is_ok() { Vec::new() } else { packed_in(path) };
    let folders = match folders_at(path) {
        Err(failure) if !packed.is_empty() => {
            // That there are no other runs is no fault, but that some may not be read is.
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

/// The packed bundles in an output folder or the folder of its runs, each run once with all its archives. One that may not be opened is
/// named.
fn packed_in(folder: &Path) -> Vec<(RunId, Vec<PathBuf>)> {
    let entries = [folder.to_owned(), folder.join(RUNS)];
    let entries = entries.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    // Links are not followed, as nowhere below a folder of bundles.
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let paths: Vec<PathBuf> = files.map(|entry| entry.path()).collect();
    paths.iter().filter_map(|path| unopened_archive(path)).for_each(|error| left_out(&Failure::work(error)));
    let packed = paths.into_iter().filter_map(|path| {
        // One that is called after a run as `bundle pack` does it, and whose beginning is damaged, is named when it is opened.
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

/// What a file under compression is called that is named as a packed bundle, without that ending.
fn called_after(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let folder = name.strip_suffix(".tar.gz").or_else(|| name.strip_suffix(".tgz"))?;
    is_archive(path).then(|| folder.to_owned())
}

/// The bundle at a path, or all of them below it, none of them packed.
pub(crate) fn folders_at(path: &Path) -> Result<Vec<Bundle>, Failure> {
    // The folder of the settings is made by the first run; any other that is not there was misspelt.
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
        // What may not be read may be a bundle.
        Err(error @ BundleError::Unreadable { .. }) => return Err(Failure::work(error)),
        Err(error) => error,
    };
    match Bundle::find_readable(path) {
        Ok((bundles, mut unreadable)) if bundles.is_empty() && !unreadable.is_empty() => {
            Err(Failure::work(unreadable.swap_remove(0)))
        }
        // A folder of something else: why it is not a bundle says more than that it holds no runs.
        Ok((bundles, _)) if bundles.is_empty() && !may_be_output_folder(path) => Err(Failure::input(not_one)),
        Ok((bundles, unreadable)) => {
            unreadable.into_iter().for_each(|error| left_out(&Failure::work(error)));
            Ok(bundles)
        }
        Err(_) if path.is_file() => Err(Failure::input(not_one).in_file(path, None)),
        Err(error) => Err(Failure::input(error)),
    }
}

/// Whether bundles were left out because they may not be read: the command has not done all that it was to do.
pub(crate) fn some_were_unreadable() -> bool {
    SOME_WERE_UNREADABLE.load(Ordering::Relaxed)
}

fn left_out(failure: &Failure) {
    note!("warning: {}", failure.messages().join(": "));
    SOME_WERE_UNREADABLE.store(true, Ordering::Relaxed);
}

/// Whether it is the output folder of the settings. What is wrong with them is for the command to say, and once.
fn runs_come_to(path: &Path) -> bool {
    SettingsLoader::from_process().resolve().is_ok_and(|resolved| resolved.settings.bundle.output_dir == path)
}

/// Whether runs may come to a folder that has none.
fn may_be_output_folder(path: &Path) -> bool {
    let is_empty = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    is_empty || path.join(RUNS).is_dir()
}

/// The one bundle that a command is about: by its folder or a file in it, packed as one file, by a folder above it, of which the last run
/// counts, or by the id of its run in the output folder of the settings. `None` where the folder has no runs yet.
pub(crate) fn bundle_of(named: &Path) -> Result<Option<NamedBundle>, Failure> {
    if let Some(run_id) = run_id(named) {
        let output_dir = process_settings()?.bundle.output_dir;
        return with_id(run_id, &output_dir).map(Some);
    }
    if is_archive(named) {
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

/// The first of the archives of a run that can be unpacked. What is wrong with those before it is said.
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
    // A folder of the user alone, which is gone when the command ends.
    let folder = temporary_folder().map_err(Failure::work)?;
    let bundle = unpack(archive, folder.path(), Limits::default()).map_err(Failure::work)?;
    Ok(NamedBundle { bundle, archive: Some(Unpacked { archive: archive.to_owned(), _folder: folder }) })
}

fn with_id(run_id: RunId, output_dir: &Path) -> Result<NamedBundle, Failure> {
    let found = found_at(output_dir)?.into_iter().rev().find(|found| match found {
        Found::Folder(bundle) => bundle.recorded_run() == Some(run_id),
        Found::Packed(archives) => archives
            .first()
            .and_then(|archive| packed_folder(archive))
            .is_some_and(|run| run.parse().ok() == Some(run_id)),
    });
    found.map(Found::opened).transpose()?.ok_or_else(|| {
        Failure::input(format!(
            "no run {run_id} below {}: expected the folder of a bundle, or the id of a run there; another output \
             folder is named by DAGLIGHT_OUTPUT_DIR",
            output_dir.display()
        ))
    })
}

/// Whether a run is not closed: its process has not ended it, and may be gone.
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

/// Names what of a bundle, as it is called, could not be read, for a command that goes on with the rest.
pub(crate) fn warn_of_damages(called: Display<'_>, report: &Report) {
    for UnreadableFile { file, problem } in report.damages() {
        note!("warning: {called}: {file}: {problem}");
    }
}

/// As [`one_bundle`], with `output_dir` as the folder in which the id of a run is looked for.
pub(crate) fn one_bundle_with(named: &Path, output_dir: &Path) -> Result<NamedBundle, Failure> {
    run_id(named).map_or_else(|| one_bundle(named), |run_id| with_id(run_id, output_dir))
}

/// As [`bundle_of`], for a command that has nothing to do without one.
pub(crate) fn one_bundle(named: &Path) -> Result<NamedBundle, Failure> {
    bundle_of(named)?.ok_or_else(|| Failure::input(no_runs(named)))
}

/// Says that a command has nothing to do.
pub(crate) fn no_runs(path: &Path) -> String {
    format!("no runs yet in {}", path.display())
}

/// The id, unless something is there under its name.
fn run_id(named: &Path) -> Option<RunId> {
    if named.exists() { None } else { named.to_str()?.parse().ok() }
}
