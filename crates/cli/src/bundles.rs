//! Finding the bundles that a command is about.

use std::path::Path;

use daglight::bundle::Bundle;

use crate::failure::Failure;

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
