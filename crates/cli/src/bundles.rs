//! Finding the bundles that a command is about.

use std::{
    fs, io,
    ops::Deref,
    path::{Display, Path, PathBuf},
};

use daglight::{
    bundle::{Bundle, Report, UnreadableFile},
    identity::RunId,
    settings::SettingsLoader,
};
use daglight_bundle_archive::{Limits, is_archive, temporary_folder, unpack};
use tempfile::TempDir;

use crate::{config::process_settings, failure::Failure, say::note};

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

/// The bundles that a command is about. A packed one is unpacked for as long as this lives.
#[derive(Debug)]
pub(crate) struct NamedBundles {
    bundles: Vec<Bundle>,
    archive: Option<Unpacked>,
}

/// A packed bundle, and the folder that has it for now.
#[derive(Debug)]
struct Unpacked {
    archive: PathBuf,
    folder: TempDir,
}

impl NamedBundle {
    /// The one file that it is, into which nothing is written.
    pub(crate) fn archive(&self) -> Option<&Path> {
        self.archive.as_ref().map(|unpacked| &*unpacked.archive)
    }
}

impl NamedBundles {
    /// The folder that a packed bundle is in for now.
    pub(crate) fn unpacked_folder(&self) -> Option<&Path> {
        self.archive.as_ref().map(|unpacked| unpacked.folder.path())
    }

    /// What one of them is called: the archive, or its folder.
    pub(crate) fn shown<'b>(&'b self, bundle: &'b Bundle) -> Display<'b> {
        self.archive.as_ref().map_or(bundle.dir(), |unpacked| &unpacked.archive).display()
    }

    /// The last one alone, and how many there are.
    fn into_last(mut self) -> (Option<NamedBundle>, usize) {
        let count = self.bundles.len();
        let archive = self.archive;
        // The archive goes with it: its folder is deleted when nobody holds it any more.
        (self.bundles.pop().map(|bundle| NamedBundle { bundle, archive }), count)
    }

    /// The last one, and the one before it that `is_wanted`.
    pub(crate) fn last_and_before(
        mut self,
        is_wanted: impl Fn(&Bundle, &Bundle) -> bool,
    ) -> Option<(Bundle, Option<Bundle>)> {
        let last = self.bundles.pop()?;
        let before = self.bundles.into_iter().rev().find(|bundle| is_wanted(bundle, &last));
        Some((last, before))
    }
}

impl Deref for NamedBundles {
    type Target = [Bundle];

    fn deref(&self) -> &[Bundle] {
        &self.bundles
    }
}

impl Deref for NamedBundle {
    type Target = Bundle;

    fn deref(&self) -> &Bundle {
        &self.bundle
    }
}

/// The bundle at a path, packed or not, or all of them below it. An output folder that is empty has none, and neither has the one of the
/// settings before the first run has made it; any other folder without bundles is not an output folder.
pub(crate) fn bundles_at(path: &Path) -> Result<NamedBundles, Failure> {
    if is_archive(path) {
        let NamedBundle { bundle, archive } = unpacked(path)?;
        return Ok(NamedBundles { bundles: vec![bundle], archive });
    }
    Ok(NamedBundles { bundles: folders_at(path)?, archive: None })
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
        Err(error) => error,
    };
    match Bundle::find_all(path) {
        // A folder of something else: why it is not a bundle says more than that it holds no runs.
        Ok(bundles) if bundles.is_empty() && !may_be_output_folder(path) => Err(Failure::input(not_one)),
        Ok(bundles) => Ok(bundles),
        Err(_) if path.is_file() => Err(Failure::input(not_one).in_file(path, None)),
        Err(error) => Err(Failure::input(error)),
    }
}

/// Whether it is the output folder of the settings. What is wrong with them is for the command to say, and once.
fn runs_come_to(path: &Path) -> bool {
    SettingsLoader::from_process().resolve().is_ok_and(|resolved| resolved.settings.bundle.output_dir == path)
}

/// Whether runs may come to a folder that has none.
fn may_be_output_folder(path: &Path) -> bool {
    let is_empty = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    is_empty || path.join("run_bundle").is_dir()
}

/// The one bundle that a command is about: by its folder or a file in it, packed as one file, by a folder above it, of which the last run
/// counts, or by the id of its run in the output folder of the settings. `None` where the folder has no runs yet.
pub(crate) fn bundle_of(named: &Path) -> Result<Option<NamedBundle>, Failure> {
    if let Some(run_id) = run_id(named) {
        let output_dir = process_settings()?.bundle.output_dir;
        return with_id(run_id, &output_dir).map(Some);
    }
    let (last, count) = bundles_at(named)?.into_last();
    if let Some(last) = last.as_ref().filter(|_| count > 1) {
        note!("the last of {count} runs: {}", last.dir().display());
    }
    Ok(last)
}

fn unpacked(archive: &Path) -> Result<NamedBundle, Failure> {
    // A folder of the user alone, which is gone when the command ends.
    let folder = temporary_folder().map_err(Failure::work)?;
    let bundle = unpack(archive, folder.path(), Limits::default()).map_err(Failure::input)?;
    Ok(NamedBundle { bundle, archive: Some(Unpacked { archive: archive.to_owned(), folder }) })
}

fn with_id(run_id: RunId, output_dir: &Path) -> Result<NamedBundle, Failure> {
    let mut bundles = folders_at(output_dir)?;
    bundles.retain(|bundle| bundle.recorded_run() == Some(run_id));
    let found = bundles.pop().map(|bundle| NamedBundle { bundle, archive: None });
    found.ok_or_else(|| {
        Failure::input(format!(
            "no run {run_id} below {}: expected the folder of a bundle, or the id of a run there; another output \
             folder is named by DAGLIGHT_OUTPUT_DIR",
            output_dir.display()
        ))
    })
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
