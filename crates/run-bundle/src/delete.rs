//! Deleting a bundle: the files that a run wrote, and nothing else.

use std::{io, path::PathBuf};

use daglight_guarded_files::{FileBelow, remove_folder_below};
use daglight_run_identity::RunId;

use crate::{
    bundle::Bundle,
    contents::{Contents, contents},
    layout::MANIFEST,
    recognised::claimed_run,
};

/// The result of deleting a bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deleted {
    /// The sizes of the deleted files.
    pub freed_bytes: u64,
    /// Files that no run wrote, which were kept with their folders: paths below the bundle.
    pub kept: Vec<PathBuf>,
}

/// Why a bundle was not deleted, or only in part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeleteError {
    /// A file or folder cannot be deleted or listed.
    #[error("cannot delete {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The manifest belongs to a different run than the one that the folder is named after.
    #[error("{} holds the manifest of run {found}: it is a copy, or not a bundle", dir.display())]
    OtherRun {
        /// The folder.
        dir: PathBuf,
        /// The run of the manifest.
        found: RunId,
    },
}

impl Bundle {
    /// Deletes the files that a run writes, and then the folders that are empty. Everything else in the folder is kept, and so is
    /// the folder then. The manifest is deleted last, so that an interrupted deletion still leaves a bundle.
    ///
    /// # Errors
    ///
    /// When something cannot be deleted. Files that were deleted before the error are gone.
    pub fn delete(&self) -> Result<Deleted, DeleteError> {
        let failed = |below: &str, source| DeleteError::Io { path: self.dir().join(below), source };
        let mut contents = self.deletable()?;
        // False sorts before true.
        contents.files.sort_by_key(|(below, _)| below == MANIFEST);
        let mut freed_bytes = 0;
        for (below, size_bytes) in &contents.files {
            FileBelow::new(self.dir(), below).remove().map_err(|source| failed(below, source))?;
            freed_bytes += size_bytes;
        }
        // Inner folders first, because only an empty folder can be removed.
        for below in contents.folders.iter().rev().filter(|below| !contents.keeps(below)) {
            remove_folder_below(self.dir(), below).map_err(|source| failed(below, source))?;
        }
        if contents.others.is_empty() {
            let absolute = std::path::absolute(self.dir()).map_err(|source| failed("", source))?;
            // Relative to the parent folder and by name: the target of a link is not deleted.
            if let (Some(folder), Some(name)) = (absolute.parent(), absolute.file_name()) {
                remove_folder_below(folder, name).map_err(|source| failed("", source))?;
            }
        }
        Ok(Deleted { freed_bytes, kept: contents.others })
    }

    /// What [`Self::delete`] would delete and keep.
    ///
    /// # Errors
    /// When the folder cannot be listed, or may not be deleted.
    pub fn would_delete(&self) -> Result<Deleted, DeleteError> {
        let contents = self.deletable()?;
        let freed_bytes = contents.files.iter().map(|(_, size_bytes)| size_bytes).sum();
        Ok(Deleted { freed_bytes, kept: contents.others })
    }

    fn deletable(&self) -> Result<Contents, DeleteError> {
        // A copy of a bundle under the name of another run is a mistake made by copying by hand. Deleting by that name would delete
        // the wrong run.
        if let (Some(named), Some(found)) = (self.run_id(), claimed_run(self.dir()))
            && named != found
        {
            return Err(DeleteError::OtherRun { dir: self.dir().to_owned(), found });
        }
        contents(self.dir()).map_err(|source| DeleteError::Io { path: self.dir().to_owned(), source })
    }
}

impl Contents {
    /// Whether something in that folder is kept.
    fn keeps(&self, folder: &str) -> bool {
        self.others.iter().any(|other| other.starts_with(folder))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::{fixture, layout::PLANS};

    #[test]
    fn deleting_a_bundle_leaves_what_a_run_did_not_write() {
        let out = tempfile::tempdir().unwrap();
        let make = || {
            let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
            let mut manifest = fixture::manifest();
            manifest.identity.run_id = bundle.run_id().unwrap();
            manifest.write(&bundle).unwrap();
            fs::write(bundle.traces(), "12345").unwrap();
            fs::write(bundle.plan_file(Some("a"), "0123456789abcdef"), "1").unwrap();
            bundle
        };
        let bundle = make();
        let deleted = bundle.delete().unwrap();
        assert!(deleted.kept.is_empty() && deleted.freed_bytes > 6, "{deleted:?}");
        assert!(!bundle.dir().exists());

        let bundle = make();
        let at = |name: &str| bundle.dir().join(name);
        fs::create_dir(at("src")).unwrap();
        for name in ["notes.txt", "src/main.rs", "plans/mine.txt"] {
            fs::write(at(name), "mine").unwrap();
        }
        let deleted = bundle.delete().unwrap();
        let kept = ["notes.txt", "plans/mine.txt", "src/main.rs"];
        assert_eq!(deleted.kept, kept.map(PathBuf::from));
        assert!(kept.iter().all(|name| at(name).is_file()));
        assert!(!at("otel_traces.json").exists() && !at("tracker").exists() && !at(MANIFEST).exists());

        // Neither a manifest nor its own name makes a file part of a run.
        let bundle = make();
        let mut manifest = crate::Manifest::read(&bundle).unwrap();
        let mine = [".env", ".git/config", "src/main.rs"];
        for path in mine {
            fs::create_dir_all(bundle.dir().join(path).parent().unwrap()).unwrap();
            fs::write(bundle.dir().join(path), "mine").unwrap();
            manifest.files.push(crate::FileEntry { path: path.to_owned(), size_bytes: 4, sha256: None });
        }
        manifest.write(&bundle).unwrap();
        let foretold = bundle.would_delete().unwrap();
        let deleted = bundle.delete().unwrap();
        assert_eq!((&deleted.kept, &foretold), (&mine.map(PathBuf::from).to_vec(), &deleted));
        assert!(mine.iter().all(|path| bundle.dir().join(path).is_file()));

        let (one, other) = (make(), make());
        fs::copy(other.manifest(), one.manifest()).unwrap();
        assert!(matches!(one.delete(), Err(DeleteError::OtherRun { .. })));
        assert!(one.traces().exists());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn names_that_are_not_utf_8_are_kept_under_their_own_name() {
        use std::os::unix::ffi::OsStrExt as _;

        let name = |bytes: &'static [u8]| Path::new(std::ffi::OsStr::from_bytes(bytes));
        let out = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
        fs::write(bundle.plan_file(Some("a"), "0123456789abcdef"), "{}").unwrap();
        let mine = [
            name(b"caf\xe9.csv").to_owned(),
            // It begins and ends like the name of a plan, but no run creates such a name.
            Path::new(PLANS).join(name(b"001-\xff.json")),
            name(b"\xfffolder").to_owned(),
        ];
        fs::create_dir(bundle.dir().join(&mine[2])).unwrap();
        fs::write(bundle.dir().join(&mine[2]).join("notes.txt"), "mine").unwrap();
        for file in &mine[..2] {
            fs::write(bundle.dir().join(file), "mine").unwrap();
        }
        let deleted = bundle.delete().unwrap();
        assert_eq!(deleted.kept, mine);
        assert!(mine.iter().all(|kept| bundle.dir().join(kept).exists()));
        assert!(!bundle.plan_file(Some("a"), "0123456789abcdef").exists() && bundle.plans_dir().exists());
    }

    #[test]
    #[cfg(unix)]
    fn links_in_a_bundle_lead_nowhere_when_it_is_deleted() {
        let out = tempfile::tempdir().unwrap();
        fs::create_dir(out.path().join("outside")).unwrap();
        fs::write(out.path().join("outside/outbox.jsonl"), "mine").unwrap();
        let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
        fs::remove_dir(bundle.tracker_dir()).unwrap();
        std::os::unix::fs::symlink(out.path().join("outside"), bundle.tracker_dir()).unwrap();
        let deleted = bundle.delete().unwrap();
        assert_eq!(deleted.kept, [PathBuf::from("tracker")]);
        assert!(out.path().join("outside/outbox.jsonl").exists());
    }
}
