//! `heartbeat.json` on disk.

use std::path::Path;

use chrono::{DateTime, Utc};

use crate::{
    bundle::Bundle,
    evidence::{EVIDENCE_VERSION, ProcessEvidence},
    file_damage::FileDamage,
    impossible_evidence::take_impossible_values,
    layout::HEARTBEAT,
    manifest::{Manifest, NodeStatus, RunStatus},
    possible::last_written,
    seal::{CHANGED, Seal},
    versioned::{self, ReadError, WriteError},
};

/// The maximum size of a heartbeat file, 16 MiB: it lists only the work that is active at one moment.
const MAX_FILE_BYTES: u64 = 16 << 20;

impl ProcessEvidence {
    /// Reads the file of a heartbeat. Impossible values are left out.
    ///
    /// # Errors
    ///
    /// When the file is missing, damaged, or of a newer format.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        Self::read_with_damages(path, None).map(|(evidence, _)| evidence)
    }

    /// Like [`ProcessEvidence::read`], and also returns the problems with the values that were left out and with the checksum of
    /// the file. `run_started` is the start of the run, if known: the process cannot have been seen before it.
    ///
    /// # Errors
    ///
    /// As [`ProcessEvidence::read`].
    pub fn read_with_damages(
        path: &Path,
        run_started: Option<DateTime<Utc>>,
    ) -> Result<(Self, Vec<FileDamage>), ReadError> {
        let (mut evidence, seal): (Self, Seal) =
            versioned::read_sealed(path.to_owned(), EVIDENCE_VERSION, MAX_FILE_BYTES)?;
        let mut found = take_impossible_values(&mut evidence, last_written(path), run_started);
        if seal == Seal::Broken {
            found.insert(0, CHANGED.to_owned());
        }
        let found = found.into_iter().map(|problem| FileDamage::new(HEARTBEAT, problem));
        Ok((evidence, found.collect()))
    }

    /// The damage that a bundle has no heartbeat although it should have one: its run has not ended, and one of its nodes has
    /// started, which happens only after the file was created.
    pub fn missing_of(bundle: &Bundle, manifest: &Manifest) -> Option<FileDamage> {
        let has_begun = manifest.nodes.iter().any(|node| node.status != NodeStatus::NotRun);
        let is_missing = manifest.status == RunStatus::Running
            && has_begun
            && bundle.heartbeat().symlink_metadata().is_err();
        is_missing
            .then(|| FileDamage::new(HEARTBEAT, "is missing, so when the process was last seen is not known"))
    }

    /// Replaces the file. A reader sees either the old file or the new one, never a part.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), WriteError> {
        // The durability of the bundle does not apply: the file proves that a process is alive, and no process survives a power
        // failure. The existing file is not read first either, as it is for other versioned files: it is replaced with each beat,
        // and belongs to this run.
        versioned::replace_json(path, self)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn evidence() -> ProcessEvidence {
        ProcessEvidence::for_self(DateTime::from_timestamp(1_795_000_000, 0).unwrap(), 1.0)
    }

    #[test]
    fn evidence_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("heartbeat.json");
        evidence().write(&path).unwrap();
        assert_eq!(ProcessEvidence::read(&path).unwrap(), evidence());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("heartbeat.json");
        let error = |text: &str| {
            fs::write(&path, text).unwrap();
            ProcessEvidence::read(&path).unwrap_err()
        };
        assert!(matches!(error(r#"{"format_version": 99}"#), ReadError::Newer { found: 99, .. }));
        assert!(matches!(error(r#"{"format_ver"#), ReadError::Damaged { .. }));
        fs::remove_file(&path).unwrap();
        assert!(matches!(ProcessEvidence::read(&path), Err(ReadError::Io { .. })));
    }

    #[test]
    fn a_file_that_was_edited_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("heartbeat.json");
        evidence().write(&path).unwrap();
        assert_eq!(ProcessEvidence::read_with_damages(&path, None).unwrap().1, []);
        let text = fs::read_to_string(&path).unwrap().replace("\"beats\": 0", "\"beats\": 7");
        fs::write(&path, text).unwrap();
        let (read, damages) = ProcessEvidence::read_with_damages(&path, None).unwrap();
        assert_eq!((read.beats, damages), (7, vec![FileDamage::new("heartbeat.json", CHANGED)]));
    }
}
