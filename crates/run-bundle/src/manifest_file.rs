//! `manifest.json` on disk: reading, replacing and changing it, one at a time.

use std::{io, path::PathBuf};

use daglight_guarded_files::FileBelow;
use serde_json::Value;

use crate::{
    bundle::Bundle,
    file_entry::FileEntry,
    impossible_times::{last_written, take_impossible_times},
    manifest::{MANIFEST_VERSION, Manifest, RunStatus},
    manifest_lock::ManifestLock,
    run_progress::ProgressMade,
    seal::{broken, is_changed, sealed},
    versioned::{self, ReadError, WriteError},
    warning_code::is_out_of_space,
};

/// Why a manifest could not be brought up to date.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It cannot be replaced.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Another process is changing it.
    #[error("another process is changing {}: try again later", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
}

impl Manifest {
    /// Reads the manifest of a bundle. Of a run that has not ended, with the nodes as far as they have come: the file itself is that of
    /// its start. Times that the run cannot have had are left out.
    ///
    /// # Errors
    ///
    /// When it is missing, damaged, or of a newer format.
    pub fn read(bundle: &Bundle) -> Result<Self, ReadError> {
        Self::read_with_damages(bundle).map(|(manifest, _)| manifest)
    }

    /// As [`Manifest::read`], with what is wrong with the times that were left out, as sentences without an end.
    ///
    /// # Errors
    ///
    /// As [`Manifest::read`].
    pub fn read_with_damages(bundle: &Bundle) -> Result<(Self, Vec<String>), ReadError> {
        let mut manifest = Self::read_as_it_is(bundle)?;
        let damages = take_impossible_times(&mut manifest, last_written(&bundle.manifest()));
        Ok((manifest, damages))
    }

    fn read_as_it_is(bundle: &Bundle) -> Result<Self, ReadError> {
        let mut manifest: Self =
            versioned::read(bundle.manifest(), MANIFEST_VERSION).map_err(|error| error.shown_in(bundle))?;
        if manifest.status == RunStatus::Running {
            let mut made = ProgressMade::read(bundle);
            for node in &mut manifest.nodes {
                if let Some(record) = made.nodes.remove(&node.name) {
                    *node = record;
                }
            }
        }
        Ok(manifest)
    }

    /// Refuses a bundle whose manifest has a newer format: what else is in it may mean something else than it does
    /// here. A manifest that is missing or damaged says nothing of that, and the rest of the bundle can be read.
    ///
    /// # Errors
    ///
    /// When the manifest has a newer format.
    pub fn refuse_newer(bundle: &Bundle) -> Result<(), ReadError> {
        match Self::read(bundle) {
            Err(error @ ReadError::Newer { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    /// Replaces the manifest of a bundle; a reader sees the old one or the new one. Nobody else changes it meanwhile.
    ///
    /// # Errors
    ///
    /// When the file cannot be written, or the one that is there has a newer format.
    pub fn write(&self, bundle: &Bundle) -> Result<(), WriteError> {
        // It is the run itself that writes without having read: it does not wait for others for ever.
        let _lock = ManifestLock::acquire(bundle.dir());
        self.write_locked(bundle)
    }

    /// As [`Manifest::write`], with what `merge` takes over from the manifest that is there, its second argument.
    ///
    /// # Errors
    ///
    /// As [`Manifest::write`].
    pub fn write_over(
        mut self,
        bundle: &Bundle,
        merge: impl FnOnce(&mut Self, Self),
    ) -> Result<(), WriteError> {
        let _lock = ManifestLock::acquire(bundle.dir());
        // `sync` may have written the address of the run on the server meanwhile, which this process does not know.
        if let Ok(there) = Self::read(bundle) {
            merge(&mut self, there);
        }
        match self.write_locked(bundle) {
            Err(WriteError::Io { path, source }) if is_out_of_space(&source) => {
                self.write_in_place(bundle).map_err(|_| WriteError::Io { path, source })
            }
            written => written,
        }
    }

    /// Where a disk has no space for another file: writes over the manifest that is there, within its size, what of this
    /// one fits in, which is at least how the run and its nodes ended. A process that is killed at that moment leaves a
    /// damaged manifest, and otherwise it would leave one that says that the run goes on.
    fn write_in_place(&self, bundle: &Bundle) -> io::Result<()> {
        let file = FileBelow::at(&bundle.manifest());
        let room = file.open()?.metadata()?.len();
        let mut short = self.clone();
        // In the order in which it can be spared: how the run and its nodes ended is never left out.
        let drops: [fn(&mut Self); 4] = [
            |_| {},
            |manifest| manifest.files.clear(),
            |manifest| manifest.policy = Value::Null,
            |manifest| {
                manifest.warnings.truncate(1);
                manifest.delivery.signals.clear();
            },
        ];
        for drop in drops {
            drop(&mut short);
            let mut text = sealed(serde_json::to_vec(&short)?);
            if text.len() as u64 <= room {
                // Blanks behind JSON mean nothing, and the size of the file stays, so that no block is asked for.
                text.resize(usize::try_from(room).unwrap_or(text.len()), b' ');
                return file.overwrite(&text);
            }
        }
        Err(io::ErrorKind::StorageFull.into())
    }

    /// Reads the manifest of a bundle, changes it and replaces it. Nobody else changes it meanwhile.
    ///
    /// # Errors
    ///
    /// When it cannot be read or written, or another process keeps it.
    pub fn update<T>(bundle: &Bundle, change: impl FnOnce(&mut Self) -> T) -> Result<T, UpdateError> {
        let Some(_lock) = ManifestLock::acquire(bundle.dir()) else {
            return Err(UpdateError::Busy { path: bundle.manifest() });
        };
        // Also what is wrong with it: who changes one thing leaves the others as they are.
        let mut manifest = Self::read_as_it_is(bundle)?;
        let changed = change(&mut manifest);
        manifest.write_locked(bundle)?;
        Ok(changed)
    }

    fn write_locked(&self, bundle: &Bundle) -> Result<(), WriteError> {
        versioned::write(bundle, &bundle.manifest(), self, MANIFEST_VERSION)
    }

    /// The text of the file for a copy of the bundle, with its checksum; with another one where the manifest of the bundle
    /// is not as it was written, so that the copy does not hide that.
    ///
    /// # Errors
    ///
    /// When it cannot be made into JSON, which no manifest that was read does.
    pub fn to_copy(&self, of: &Bundle) -> serde_json::Result<Vec<u8>> {
        let text = serde_json::to_vec_pretty(self)?;
        Ok(if is_changed(&of.manifest()) { broken(text) } else { sealed(text) })
    }

    /// Lists files of a bundle as they are now, where its run has ended and its manifest lists them with their hashes: who writes
    /// a file anew that others compare with the manifest calls this after it.
    ///
    /// # Errors
    ///
    /// When the manifest cannot be read or written, or another process keeps it.
    pub fn list_again(bundle: &Bundle, paths: &[&str]) -> Result<(), UpdateError> {
        let is_listed = |entry: &FileEntry| entry.sha256.is_some() && paths.contains(&&*entry.path);
        // Not for a run that goes on, nor for one that writes its last manifest itself.
        if !Self::read(bundle)?.files.iter().any(is_listed) {
            return Ok(());
        }
        Self::update(bundle, |manifest| {
            for entry in manifest.files.iter_mut().filter(|entry| is_listed(entry)) {
                entry.refresh(bundle);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixture::{self, bundle},
        warning::Warning,
        warning_code::WarningCode,
    };

    fn warning(text: &str) -> Warning {
        Warning::new(WarningCode::Program, text)
    }

    #[test]
    fn a_manifest_is_read_back() {
        let (_out, bundle) = bundle();
        let manifest = fixture::manifest();
        manifest.write(&bundle).unwrap();
        assert_eq!(Manifest::read(&bundle).unwrap(), manifest);
        let entries = FileEntry::list(&bundle);
        assert_eq!(entries, []);
    }

    #[test]
    fn changes_of_a_manifest_do_not_undo_each_other() {
        let (_out, bundle) = bundle();
        fixture::manifest().write(&bundle).unwrap();
        let add = |text: String| Manifest::update(&bundle, |manifest| manifest.warnings.push(warning(&text)));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || (0..25).for_each(|n| add(format!("{thread}-{n}")).unwrap()));
            }
        });
        let before = fixture::manifest().warnings.len();
        assert_eq!(Manifest::read(&bundle).unwrap().warnings.len(), before + 100);
    }

    #[test]
    fn a_manifest_takes_over_what_another_has_written() {
        let (_out, bundle) = bundle();
        let older = Manifest { warnings: vec![warning("a")], ..fixture::manifest() };
        older.write(&bundle).unwrap();
        let take_over = |own: &mut Manifest, there: Manifest| own.warnings.extend(there.warnings);
        Manifest { warnings: vec![warning("b")], ..fixture::manifest() }
            .write_over(&bundle, take_over)
            .unwrap();
        let both = ["b", "a"].map(warning);
        assert_eq!(Manifest::read(&bundle).unwrap().warnings, both);
    }
}
