//! `manifest.json` on disk: reading it, and replacing or changing it by one process at a time.

use std::{io, path::PathBuf, time::Duration};

use daglight_guarded_files::FileBelow;
use serde_json::Value;

use crate::{
    bundle::Bundle,
    file_damage::FileDamage,
    file_entry::FileEntry,
    impossible_times::take_impossible_values,
    layout::{MANIFEST, MAX_FILE_BYTES},
    manifest::{MANIFEST_VERSION, Manifest, RunStatus},
    manifest_lock::ManifestLock,
    possible::last_written,
    run_progress::ProgressMade,
    seal::{CHANGED, Seal, broken, is_changed, sealed},
    versioned::{self, ReadError, WriteError},
    warning_code::is_out_of_space,
};

/// Why a manifest could not be updated.
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

/// How long to wait for the lock on the manifest of a bundle. Its holder only reads and writes a small file.
const LOCKED_FOR: Duration = Duration::from_secs(2);

/// A manifest as it is in its file.
struct ReadManifest {
    manifest: Manifest,
    seal: Seal,
    /// The problem with the recorded progress of the nodes.
    of_nodes: Option<FileDamage>,
}

/// A manifest that nobody else can change until this is dropped: for changes with more than one step, such as closing a run.
#[derive(Debug)]
pub struct LockedManifest<'b> {
    bundle: &'b Bundle,
    _lock: ManifestLock,
}

impl<'b> LockedManifest<'b> {
    /// Waits for the lock, at most for that long.
    ///
    /// # Errors
    ///
    /// When another process holds the lock for longer.
    pub fn acquire(bundle: &'b Bundle, longest: Duration) -> Result<Self, UpdateError> {
        let lock = ManifestLock::acquire(bundle.dir(), longest);
        let lock = lock.ok_or_else(|| UpdateError::Busy { path: bundle.manifest() })?;
        Ok(Self { bundle, _lock: lock })
    }

    /// Reads, changes and replaces the manifest, like [`Manifest::update`].
    ///
    /// # Errors
    ///
    /// When it cannot be read or written.
    pub fn update<T>(&self, change: impl FnOnce(&mut Manifest) -> T) -> Result<T, UpdateError> {
        // Impossible values are kept: changing one field must leave the others as they are.
        let ReadManifest { mut manifest, seal, .. } = Manifest::read_as_it_is(self.bundle)?;
        let changed = change(&mut manifest);
        manifest.write_locked(self.bundle, seal)?;
        Ok(changed)
    }
}

impl Manifest {
    /// Reads the manifest of a bundle. For a run that has not ended, the nodes include their recorded progress, because the file
    /// itself is from the start of the run. Times and counts that the run cannot have had are left out.
    ///
    /// # Errors
    ///
    /// When it is missing, damaged, or of a newer format.
    pub fn read(bundle: &Bundle) -> Result<Self, ReadError> {
        Self::read_with_damages(bundle).map(|(manifest, _)| manifest)
    }

    /// Like [`Manifest::read`], and also returns the problems with values that were left out, with the checksum of the file, and
    /// with the other files that were read for it.
    ///
    /// # Errors
    ///
    /// Like [`Manifest::read`].
    pub fn read_with_damages(bundle: &Bundle) -> Result<(Self, Vec<FileDamage>), ReadError> {
        let ReadManifest { mut manifest, seal, of_nodes } = Self::read_as_it_is(bundle)?;
        let mut found = take_impossible_values(&mut manifest, last_written(&bundle.manifest()));
        if seal == Seal::Broken {
            found.insert(0, CHANGED.to_owned());
        }
        let found = found.into_iter().map(|problem| FileDamage::new(MANIFEST, problem));
        Ok((manifest, found.chain(of_nodes).collect()))
    }

    fn read_as_it_is(bundle: &Bundle) -> Result<ReadManifest, ReadError> {
        let read = versioned::read_sealed(bundle.manifest(), MANIFEST_VERSION, MAX_FILE_BYTES);
        let (mut manifest, seal): (Self, Seal) = read.map_err(|error| error.shown_in(bundle))?;
        let mut of_nodes = None;
        if manifest.status == RunStatus::Running {
            let mut made = ProgressMade::read(bundle);
            of_nodes = made.damage;
            for node in &mut manifest.nodes {
                if let Some(record) = made.nodes.remove(&node.name) {
                    *node = record;
                }
            }
            if manifest.observed {
                // Nodes that were not known at the start.
                let mut seen: Vec<_> = made.nodes.into_values().collect();
                seen.sort_by(|a, b| (a.started_at, &a.name).cmp(&(b.started_at, &b.name)));
                manifest.nodes.extend(seen);
            }
        }
        Ok(ReadManifest { manifest, seal, of_nodes })
    }

    /// Rejects a bundle whose manifest has a newer format, because its other files may have a different meaning, too. A missing or
    /// damaged manifest is accepted: the rest of the bundle can be read.
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

    /// Replaces the manifest of a bundle. A reader sees either the old or the new one, and nobody else changes it meanwhile.
    ///
    /// # Errors
    ///
    /// When the file cannot be written, or the existing one has a newer format.
    pub fn write(&self, bundle: &Bundle) -> Result<(), WriteError> {
        // This is the run itself, which does not need what is in the file: it must not wait for others forever.
        let _lock = ManifestLock::acquire(bundle.dir(), LOCKED_FOR);
        self.write_locked(bundle, Seal::Whole)
    }

    /// Like [`Manifest::write`]; `merge` takes over values from the existing manifest, its second argument.
    ///
    /// # Errors
    ///
    /// As [`Manifest::write`].
    pub fn write_over(
        mut self,
        bundle: &Bundle,
        merge: impl FnOnce(&mut Self, Self),
    ) -> Result<(), WriteError> {
        let _lock = ManifestLock::acquire(bundle.dir(), LOCKED_FOR);
        // `sync` may have written the address of the run on the server meanwhile, which this process does not know. A manifest that
        // was tampered with is ignored: this process knows everything else itself.
        if let Ok(ReadManifest { manifest: there, seal: Seal::Whole | Seal::None, .. }) =
            Self::read_as_it_is(bundle)
        {
            merge(&mut self, there);
        }
        match self.write_locked(bundle, Seal::Whole) {
            Err(WriteError::Io { path, source }) if is_out_of_space(&source) => {
                self.write_in_place(bundle).map_err(|_| WriteError::Io { path, source })
            }
            written => written,
        }
    }

    /// If the disk has no space for another file: overwrites the existing manifest in place with as much of this one as fits in its
    /// size, which includes at least how the run and its nodes ended. If the process is killed at that moment, the manifest is
    /// damaged; without this, it would claim that the run is still going.
    fn write_in_place(&self, bundle: &Bundle) -> io::Result<()> {
        let file = FileBelow::at(&bundle.manifest());
        let room = file.open()?.metadata()?.len();
        let mut short = self.clone();
        // In the order in which the parts can be spared. How the run and its nodes ended is never left out.
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
                // Whitespace after JSON is ignored, and with an unchanged file size no new block is allocated.
                text.resize(usize::try_from(room).unwrap_or(text.len()), b' ');
                return file.overwrite(&text);
            }
        }
        Err(io::ErrorKind::StorageFull.into())
    }

    /// Reads, changes and replaces the manifest of a bundle. Nobody else changes it meanwhile. A wrong checksum stays wrong.
    ///
    /// # Errors
    ///
    /// When it cannot be read or written, or another process holds the lock.
    pub fn update<T>(bundle: &Bundle, change: impl FnOnce(&mut Self) -> T) -> Result<T, UpdateError> {
        LockedManifest::acquire(bundle, LOCKED_FOR)?.update(change)
    }

    fn write_locked(&self, bundle: &Bundle, before: Seal) -> Result<(), WriteError> {
        versioned::write_as(bundle, &bundle.manifest(), self, MANIFEST_VERSION, before)
    }

    /// The text of the file for a copy of the bundle, with its checksum. If the manifest of the bundle was tampered with, the copy
    /// gets a wrong checksum, so that it does not hide that.
    ///
    /// # Errors
    ///
    /// When it cannot be serialised, which cannot happen for a manifest that was read.
    pub fn to_copy(&self, of: &Bundle) -> serde_json::Result<Vec<u8>> {
        let text = serde_json::to_vec_pretty(self)?;
        Ok(if is_changed(&of.manifest()) { broken(text) } else { sealed(text) })
    }

    /// Updates the entries of these files if the run has ended and its manifest lists them with hashes. Must be called after
    /// rewriting a file that others compare with the manifest.
    ///
    /// # Errors
    ///
    /// When the manifest cannot be read or written, or another process holds the lock.
    pub fn list_again(bundle: &Bundle, paths: &[&str]) -> Result<(), UpdateError> {
        let is_listed = |entry: &FileEntry| entry.sha256.is_some() && paths.contains(&&*entry.path);
        // Not for a run that is still going, nor for one that writes its last manifest itself.
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

    /// Changes the number of rows of a node, but not the checksum.
    fn edit(bundle: &Bundle) {
        let text = std::fs::read_to_string(bundle.manifest()).unwrap();
        std::fs::write(bundle.manifest(), text.replace("\"success\"", "\"failure\"")).unwrap();
    }

    #[test]
    fn a_manifest_that_was_edited_is_named_and_stays_so_whoever_writes_it_again() {
        let (_out, bundle) = bundle();
        fixture::manifest().write(&bundle).unwrap();
        assert_eq!(Manifest::read_with_damages(&bundle).unwrap().1, []);
        edit(&bundle);
        let named = [FileDamage::new("manifest.json", CHANGED)];
        assert_eq!(Manifest::read_with_damages(&bundle).unwrap().1, named);
        for _ in 0..2 {
            Manifest::update(&bundle, |manifest| manifest.warnings.push(warning("a"))).unwrap();
            assert_eq!(Manifest::read_with_damages(&bundle).unwrap().1, named);
        }
        // The run itself knows everything, and takes nothing over.
        fixture::manifest().write_over(&bundle, |_, _| panic!("it was taken over")).unwrap();
        assert_eq!(Manifest::read_with_damages(&bundle).unwrap(), (fixture::manifest(), Vec::new()));
    }

    #[test]
    fn what_cannot_be_read_of_how_far_the_nodes_are_is_named() {
        let (_out, bundle) = bundle();
        let running = Manifest { status: RunStatus::Running, ..fixture::manifest() };
        running.write(&bundle).unwrap();
        let damages = || Manifest::read_with_damages(&bundle).unwrap().1;
        assert_eq!(damages(), []);
        std::fs::write(bundle.nodes(), "garbage\n").unwrap();
        assert_eq!(damages()[0].file, "nodes.jsonl");
        std::fs::write(bundle.nodes(), "{\"node\":{\"na").unwrap();
        assert_eq!(damages()[0].file, "nodes.jsonl");
        std::fs::remove_file(bundle.nodes()).unwrap();
        std::fs::create_dir(bundle.nodes()).unwrap();
        assert_eq!(damages()[0].file, "nodes.jsonl");
    }

    #[test]
    fn who_has_the_manifest_changes_it_in_several_steps() {
        let (_out, bundle) = bundle();
        fixture::manifest().write(&bundle).unwrap();
        let locked = LockedManifest::acquire(&bundle, Duration::ZERO).unwrap();
        let busy = LockedManifest::acquire(&bundle, Duration::ZERO);
        assert!(matches!(busy, Err(UpdateError::Busy { .. })));
        for text in ["b", "c"] {
            locked.update(|manifest| manifest.warnings.push(warning(text))).unwrap();
        }
        drop(locked);
        Manifest::update(&bundle, |manifest| manifest.warnings.push(warning("d"))).unwrap();
        let added = &Manifest::read(&bundle).unwrap().warnings[1..];
        assert_eq!(added, ["b", "c", "d"].map(warning));
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
