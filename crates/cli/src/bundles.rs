//! Finding the bundles that a command is about.

use std::{
    fs, io,
    ops::Deref,
    path::{Path, PathBuf},
};

use daglight::{bundle::Bundle, identity::RunId, settings::SettingsLoader};
use daglight_bundle_archive::{Limits, is_archive, unpack};
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
    unpacked: Option<TempDir>,
}

impl NamedBundle {
    /// Whether it is one file, into which nothing is written.
    pub(crate) fn is_packed(&self) -> bool {
        self.unpacked.is_some()
    }
}

impl Deref for NamedBundle {
    type Target = Bundle;

    fn deref(&self) -> &Bundle {
        &self.bundle
    }
}

/// The bundle at a path, or all of them below it. An output folder that is empty has none, and neither has the one of the
/// settings before the first run has made it; any other folder without bundles is not an output folder.
pub(crate) fn bundles_at(path: &Path) -> Result<Vec<Bundle>, Failure> {
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
    if is_archive(named) {
        return unpacked(named).map(Some);
    }
    let found = found(named)?;
    Ok(found.map(|bundle| NamedBundle { bundle, unpacked: None }))
}

fn unpacked(archive: &Path) -> Result<NamedBundle, Failure> {
    // A folder of the user alone, which is gone when the command ends.
    let folder = tempfile::tempdir().map_err(Failure::work)?;
    let bundle = unpack(archive, folder.path(), Limits::default()).map_err(Failure::input)?;
    Ok(NamedBundle { bundle, unpacked: Some(folder) })
}

fn found(named: &Path) -> Result<Option<Bundle>, Failure> {
    if let Some(run_id) = run_id(named) {
        let settings = process_settings()?;
        let output_dir = settings.bundle.output_dir;
        let mut bundles = bundles_at(&output_dir)?;
        bundles.retain(|bundle| bundle.recorded_run() == Some(run_id));
        return bundles.pop().map(Some).ok_or_else(|| {
            Failure::input(format!(
                "no run {run_id} below {}: expected the folder of a bundle, or the id of a run there; another output \
                 folder is named by DAGLIGHT_OUTPUT_DIR",
                output_dir.display()
            ))
        });
    }
    let mut bundles = bundles_at(named)?;
    let count = bundles.len();
    let last = bundles.pop();
    if let Some(last) = last.as_ref().filter(|_| count > 1) {
        note!("the last of {count} runs: {}", last.dir().display());
    }
    Ok(last)
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
