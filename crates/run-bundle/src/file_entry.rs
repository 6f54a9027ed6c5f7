//! The files of a bundle, as its manifest lists them.

use std::io::{self, Read as _};

use daglight_guarded_files::FileBelow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bundle::Bundle,
    contents::{Contents, contents},
    layout::{
        self, BundlePart, DATA_SUMMARIES, LINEAGE_EVENTS, LOGS, MANIFEST, METRICS, NODES, OPEN_TRACES, PLANS,
        TRACES, TRACKER,
    },
    sha256::sha256_of,
};

/// How many bytes of a bundle are hashed when a run ends: about one second of work. The end of a run must not take long because of
/// large files; files beyond the limit have only a size until the bundle is packed.
const MAX_HASHED_BYTES: u64 = 256 << 20;

/// A file of the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileEntry {
    /// The path in the bundle, with `/`.
    pub path: String,
    /// Its size.
    pub size_bytes: u64,
    /// The SHA-256 of that many bytes of it, 64 hexadecimal digits; `None` in older bundles, and for what is too large to be
    /// hashed at the end of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// How a file may change after its bundle is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileUse {
    /// Not at all.
    Fixed,
    /// Lines are appended; existing lines do not change.
    Appended,
    /// It is made again from the other files, and listed again: a report.
    Remade,
    /// It is rewritten, like the progress of a delivery.
    Rewritten,
    /// It comes and goes, like a lock.
    Transient,
}

impl FileEntry {
    /// The files that a run writes, with their sizes, by path. Files that cannot be read are left out, and so is the manifest
    /// itself.
    pub fn list(bundle: &Bundle) -> Vec<Self> {
        Self::of_contents(&contents(bundle.dir()).unwrap_or_default())
    }

    /// Like [`FileEntry::list`], for a folder that was already listed.
    pub(crate) fn of_contents(contents: &Contents) -> Vec<Self> {
        let files = contents.files.iter().filter(|(path, _)| path != MANIFEST);
        files
            .map(|(path, size_bytes)| Self { path: path.clone(), size_bytes: *size_bytes, sha256: None })
            .collect()
    }

    /// The files with hashes, smallest first up to 256 MiB in total: the remaining files have only a size.
    pub fn list_with_hashes(bundle: &Bundle) -> Vec<Self> {
        let mut entries = Self::list(bundle);
        entries.retain(|entry| entry.file_use() != FileUse::Transient);
        let mut by_size: Vec<usize> = (0..entries.len()).collect();
        // Small files first: this way most files get a hash before the limit is reached, and the manifest has at least the size of
        // the others.
        by_size.sort_by_key(|position| entries[*position].size_bytes);
        let mut hashed_bytes = 0;
        for position in by_size {
            let entry = &mut entries[position];
            hashed_bytes += entry.size_bytes;
            if hashed_bytes > MAX_HASHED_BYTES {
                break;
            }
            // The file may have grown since it was listed, so the hash covers only the listed size.
            entry.sha256 = entry.hash(bundle).ok().flatten();
        }
        entries
    }

    /// How the file may change.
    pub fn file_use(&self) -> FileUse {
        match self.path.as_str() {
            // They come and go, and their absence is not a loss.
            path if path.ends_with(".tmp") || path.ends_with(".lock") || path.ends_with("reserve") => {
                FileUse::Transient
            }
            OPEN_TRACES | NODES => FileUse::Transient,
            TRACES | METRICS | LOGS | DATA_SUMMARIES | LINEAGE_EVENTS => FileUse::Appended,
            path if path.starts_with(&format!("{TRACKER}/outbox")) => FileUse::Appended,
            "artifacts.json" | "heartbeat.json" => FileUse::Fixed,
            path if path.starts_with(&format!("{PLANS}/")) => FileUse::Fixed,
            path if BundlePart::of(path) == BundlePart::Report => FileUse::Remade,
            _ => FileUse::Rewritten,
        }
    }

    /// Updates the entry to the current state of the file, if it can be read.
    pub fn refresh(&mut self, bundle: &Bundle) {
        if let Ok(size_bytes) = self.size_now(bundle) {
            self.size_bytes = size_bytes;
            self.sha256 = self.sha256.take().and_then(|_| self.hash(bundle).ok().flatten());
        }
    }

    /// The current size of the file in bytes.
    pub(crate) fn size_now(&self, bundle: &Bundle) -> io::Result<u64> {
        Ok(FileBelow::new(bundle.dir(), &self.path).open()?.metadata()?.len())
    }

    /// The problem with a file that was complete and is now shorter or missing. `None` for files that are rewritten or come and go,
    /// and for those that no run writes.
    pub fn loss(&self, bundle: &Bundle) -> Option<String> {
        // The others are also replaced after the run, by a delivery or a new report.
        let keeps_its_size = matches!(self.file_use(), FileUse::Fixed | FileUse::Appended);
        if !keeps_its_size || !layout::is_known(&self.path) {
            return None;
        }
        match self.size_now(bundle) {
            Ok(found) if found >= self.size_bytes => None,
            Ok(found) => {
                Some(format!("it has {found} bytes, and had {} when the run ended", self.size_bytes))
            }
            Err(problem) => Some(problem.to_string()),
        }
    }

    /// The SHA-256 of the first `size_bytes` of the file; `None` if it is shorter.
    pub(crate) fn hash(&self, bundle: &Bundle) -> io::Result<Option<String>> {
        let file = FileBelow::new(bundle.dir(), &self.path).open()?;
        let (sha256, bytes) = sha256_of(file.take(self.size_bytes))?;
        Ok((bytes == self.size_bytes).then_some(sha256))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use daglight_run_identity::RunId;

    use super::*;

    #[test]
    fn files_are_listed_with_their_sizes_and_hashes() {
        let out = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
        fs::write(bundle.traces(), "abc").unwrap();
        fs::write(bundle.plan_file(Some("a"), "0123456789abcdef"), "").unwrap();
        fs::write(bundle.dir().join("manifest.lock"), "").unwrap();
        let entry = |path: &str, size_bytes, sha256: Option<&str>| FileEntry {
            path: path.into(),
            size_bytes,
            sha256: sha256.map(str::to_owned),
        };
        let plan = "plans/a-0123456789abcdef.json";
        assert_eq!(
            FileEntry::list(&bundle),
            [entry("manifest.lock", 0, None), entry("otel_traces.json", 3, None), entry(plan, 0, None)]
        );
        // From FIPS 180-4: the hashes of "abc" and of the empty message.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let listed = FileEntry::list_with_hashes(&bundle);
        assert_eq!(listed, [entry("otel_traces.json", 3, Some(abc)), entry(plan, 0, Some(nothing))]);
        // Appended bytes do not change the hash of the bytes before them.
        fs::write(bundle.traces(), "abcdef").unwrap();
        assert_eq!(listed[0].hash(&bundle).unwrap().as_deref(), Some(abc));
    }
}
