//! `artifacts.json` on disk.

use crate::{
    artifact::{ARTIFACTS_VERSION, ArtifactCatalog},
    bundle::Bundle,
    layout::BundlePart,
    manifest::Manifest,
    run_progress::ProgressMade,
    versioned::{self, ReadError, WriteError},
};

impl ArtifactCatalog {
    /// Reads the catalog of a bundle. For a run that is still going or was killed, it holds the outputs written so far.
    ///
    /// # Errors
    ///
    /// When the file exists and cannot be read.
    pub fn read(bundle: &Bundle) -> Result<Self, ReadError> {
        match versioned::read(bundle.artifacts(), ARTIFACTS_VERSION) {
            Err(error) if error.is_not_found() => Ok(Self::new(ProgressMade::read(bundle).artifacts)),
            read => read.map_err(|error| error.shown_in(bundle)),
        }
    }

    /// Whether the catalog is gone, so that nothing is known about the outputs of the run. A run without outputs may have none, and
    /// neither has one whose end has not been recorded; without a manifest that says so, a missing catalog is gone.
    pub fn is_missing(bundle: &Bundle, manifest: Option<&Manifest>) -> bool {
        let is_catalog = |path: &str| BundlePart::of(path) == BundlePart::Artifacts;
        let had_one = |manifest: &Manifest| manifest.files.iter().any(|file| is_catalog(&file.path));
        !bundle.artifacts().exists() && manifest.is_none_or(had_one)
    }

    /// Replaces the catalog of a bundle.
    ///
    /// # Errors
    ///
    /// When the file cannot be written, or the existing one has a newer format.
    pub fn write(&self, bundle: &Bundle) -> Result<(), WriteError> {
        versioned::write(bundle, &bundle.artifacts(), self, ARTIFACTS_VERSION)
    }
}

#[cfg(test)]
mod tests {
    use daglight_run_identity::RunId;

    use super::*;
    use crate::fixture;

    #[test]
    fn a_catalog_is_read_back_and_may_be_missing() {
        let out = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
        assert_eq!(ArtifactCatalog::read(&bundle).unwrap().artifacts, []);
        let catalog = ArtifactCatalog::new(vec![fixture::artifact("orders")]);
        catalog.write(&bundle).unwrap();
        assert_eq!(ArtifactCatalog::read(&bundle).unwrap(), catalog);
        std::fs::write(bundle.artifacts(), "[").unwrap();
        assert!(matches!(ArtifactCatalog::read(&bundle), Err(ReadError::Damaged { .. })));
    }
}
