//! Finding the bundles that a command is about.

use std::path::Path;

use daglight::{bundle::Bundle, identity::RunId};

use crate::{config::process_settings, failure::Failure, say::note};

/// The bundle at a path, or all of them below it.
pub(crate) fn bundles_at(path: &Path) -> Result<Vec<Bundle>, Failure> {
    let not_one = match Bundle::open(path) {
        Ok(bundle) => return Ok(vec![bundle]),
        Err(error) => error,
    };
    match Bundle::find_all(path) {
        Ok(bundles) if bundles.is_empty() => Err(Failure::input(not_one)),
        Ok(bundles) => Ok(bundles),
        Err(error) => Err(Failure::input(error)),
    }
}

/// The one bundle that a command is about: by its folder or a file in it, by a folder above it, of which the last run
/// counts, or by the id of its run in the output folder of the settings.
pub(crate) fn bundle_of(named: &Path) -> Result<Bundle, Failure> {
    if let Some(run_id) = run_id(named) {
        let settings = process_settings()?;
        let output_dir = settings.bundle.output_dir;
        let mut bundles = Bundle::find_all(&output_dir).map_err(Failure::input)?;
        bundles.retain(|bundle| bundle.recorded_run() == Some(run_id));
        return bundles.pop().ok_or_else(|| {
            Failure::input(format!(
                "no run {run_id} below {}: expected the folder of a bundle, or the id of a run there; another output \
                 folder is named by DAGLIGHT_OUTPUT_DIR",
                output_dir.display()
            ))
        });
    }
    let mut bundles = bundles_at(named)?;
    let count = bundles.len();
    match bundles.pop() {
        Some(last) if count > 1 => {
            note!("the last of {count} runs: {}", last.dir().display());
            Ok(last)
        }
        Some(only) => Ok(only),
        None => Err(Failure::input(format!("{} holds no run bundle", named.display()))),
    }
}

/// The id, unless something is there under its name.
fn run_id(named: &Path) -> Option<RunId> {
    if named.exists() { None } else { named.to_str()?.parse().ok() }
}
