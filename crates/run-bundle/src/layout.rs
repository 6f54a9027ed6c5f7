//! Which files of a folder are a run's: what recognises a bundle, and what may be deleted with it.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use daglight_guarded_files::{
    EntryKind, FileBelow, create_private_folder, entries_below, remove_folder_below, without_temporary_ending,
};
use daglight_run_identity::RunId;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    bundle::{Bundle, RUN_BUNDLE},
    manifest::MANIFEST_FORMAT,
    versioned::MAX_FILE_BYTES,
};

/// The folder of the plans.
pub(crate) const PLANS: &str = "plans";
/// The folder of the tracker's outbox.
pub(crate) const TRACKER: &str = "tracker";
/// The first file to read.
pub(crate) const MANIFEST: &str = "manifest.json";
/// The spans.
pub(crate) const TRACES: &str = TRACES_FILE;
/// The name of the file with the spans, directly in a bundle.
pub const TRACES_FILE: &str = "otel_traces.json";
/// The metrics.
pub(crate) const METRICS: &str = "otel_metrics.json";
/// The log records.
pub(crate) const LOGS: &str = "otel_logs.json";
/// What the data of the nodes was like.
pub(crate) const DATA_SUMMARIES: &str = "data_summaries.jsonl";
/// The outbox of the tracker, below its folder.
pub(crate) const OUTBOX: &str = "outbox.jsonl";
/// How far the outbox is delivered, beside it.
pub(crate) const DELIVERY_CURSOR: &str = "delivery.json";
/// What the run tells of its lineage.
pub(crate) const LINEAGE_EVENTS: &str = "openlineage.jsonl";
/// How far that is delivered, and what keeps two deliverers apart.
pub(crate) const LINEAGE_DELIVERY: &str = "openlineage.delivery.json";
pub(crate) const LINEAGE_LOCK: &str = "openlineage.lock";
/// What takes up space for the end of a run while it goes on; in the bundle, and beside the outbox.
pub(crate) const RESERVE: &str = "reserve";

/// Files directly in a bundle.
const FILES: &[&str] = &[
    MANIFEST,
    "manifest.lock",
    "bundle.lock",
    RESERVE,
    TRACES,
    "otel_traces.open.json",
    METRICS,
    LOGS,
    "artifacts.json",
    DATA_SUMMARIES,
    LINEAGE_EVENTS,
    LINEAGE_DELIVERY,
    LINEAGE_LOCK,
    "heartbeat.json",
    "run_diagnostics_report.json",
    "run_diagnostics_report.md",
    "run_diagnostics_report.html",
];
/// What the names of files in `tracker` begin with, up to the first dot.
const TRACKER_FILES: &[&str] = &["outbox", "delivery", RESERVE];

/// The files of the report, directly in a bundle.
pub const REPORT_FILES: [&str; 3] =
    ["run_diagnostics_report.json", "run_diagnostics_report.md", "run_diagnostics_report.html"];

/// What the names of the reports begin with.
const REPORT: &str = "run_diagnostics_report.";

/// What a file of a bundle holds, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BundlePart {
    /// A plan of a query.
    Plan,
    /// What is sent to a server about the run.
    Tracker,
    /// Spans.
    Traces,
    /// What the data was like.
    DataSummaries,
    /// A report, which shows all the rest.
    Report,
    /// Anything else.
    Other,
}

impl BundlePart {
    /// Of a path below the folder of the bundle, with slashes.
    pub fn of(path: &str) -> Self {
        match path.split_once('/') {
            Some((PLANS, _)) => Self::Plan,
            Some((TRACKER, _)) => Self::Tracker,
            None if path.starts_with(LINEAGE_EVENTS) => Self::Tracker,
            None if path == TRACES => Self::Traces,
            None if path == DATA_SUMMARIES => Self::DataSummaries,
            None if path.starts_with(REPORT) => Self::Report,
            _ => Self::Other,
        }
    }
}

/// Levels of folders that are looked through in a bundle; its own files are on the first two.
const MAX_DEPTH: usize = 8;

/// What is in the folder of a bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// The files that the layout has, by their path below the folder, with their sizes.
    pub(crate) files: Vec<(String, u64)>,
    /// Folders, the outer ones first.
    pub(crate) folders: Vec<String>,
    /// Whatever else is there. Its names may be of any bytes.
    pub(crate) others: Vec<PathBuf>,
}

/// What became of a bundle that was to be deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deleted {
    /// The sizes of the deleted files.
    pub freed_bytes: u64,
    /// What a run did not write, and so was kept with its folders: paths below the bundle.
    pub kept: Vec<PathBuf>,
}

/// Why a bundle was not deleted, or not wholly.
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
    /// The manifest belongs to another run than the one that the folder is named after.
    #[error("{} holds the manifest of run {found}: it is a copy, or not a bundle", dir.display())]
    OtherRun {
        /// The folder.
        dir: PathBuf,
        /// The run of the manifest.
        found: RunId,
    },
}

impl Bundle {
    /// Deletes the files that a run writes, and then the folders that are empty. Whatever else is in the folder stays,
    /// and the folder with it. The manifest goes last, so that what an interruption leaves is still a bundle.
    ///
    /// # Errors
    ///
    /// When something cannot be deleted; what went before is gone.
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
        // The inner ones first, as a folder must be empty to go.
        for below in contents.folders.iter().rev().filter(|below| !contents.keeps(below)) {
            remove_folder_below(self.dir(), below).map_err(|source| failed(below, source))?;
        }
        if contents.others.is_empty() {
            let absolute = std::path::absolute(self.dir()).map_err(|source| failed("", source))?;
            // From the folder around it, by its name there: what a link leads to is not deleted.
            if let (Some(folder), Some(name)) = (absolute.parent(), absolute.file_name()) {
                remove_folder_below(folder, name).map_err(|source| failed("", source))?;
            }
        }
        Ok(Deleted { freed_bytes, kept: contents.others })
    }

    /// What [`Self::delete`] would delete and keep.
    ///
    /// # Errors
    /// When the folder cannot be listed, or is not to be deleted.
    pub fn would_delete(&self) -> Result<Deleted, DeleteError> {
        let contents = self.deletable()?;
        let freed_bytes = contents.files.iter().map(|(_, size_bytes)| size_bytes).sum();
        Ok(Deleted { freed_bytes, kept: contents.others })
    }

    fn deletable(&self) -> Result<Contents, DeleteError> {
        // A copy of a bundle below another run's name is a mistake of somebody who copies by hand. Deleting it by that
        // name would delete the wrong run.
        if let (Some(named), Some(found)) = (self.run_id(), claimed_run(self.dir()))
            && named != found
        {
            return Err(DeleteError::OtherRun { dir: self.dir().to_owned(), found });
        }
        contents(self.dir()).map_err(|source| DeleteError::Io { path: self.dir().to_owned(), source })
    }
}

impl Contents {
    /// Whether something in that folder stays.
    fn keeps(&self, folder: &str) -> bool {
        self.others.iter().any(|other| other.starts_with(folder))
    }
}

/// Makes the folders of a bundle, which nobody else may enter. The last one must be new.
pub(crate) fn create(dir: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    std::fs::create_dir_all(parent)?;
    // A folder that is there may hold files that somebody else can read or has put there.
    if !create_private_folder(parent, name)? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    create_private_folder(dir, PLANS)?;
    create_private_folder(dir, TRACKER)?;
    Ok(())
}

/// Lists a bundle. A folder that cannot be listed is something else than a run's.
pub(crate) fn contents(dir: &Path) -> io::Result<Contents> {
    let mut contents = Contents::default();
    let mut pending = vec![(String::new(), 0)];
    while let Some((folder, depth)) = pending.pop() {
        let entries = match entries_below(dir, &folder) {
            Ok(entries) => entries,
            // Nothing can be said of a bundle that cannot be listed; of one of its folders, that it stays.
            Err(error) if folder.is_empty() => return Err(error),
            Err(_) => {
                contents.others.push(folder.into());
                continue;
            }
        };
        // A folder of somebody else stays even when it is empty.
        if entries.is_empty() && !folder.is_empty() && folder != PLANS && folder != TRACKER {
            contents.others.push(PathBuf::from(&folder));
        }
        for entry in entries {
            let Some(name) = entry.name.to_str() else {
                contents.others.push(Path::new(&folder).join(&entry.name));
                continue;
            };
            let below = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            match entry.kind {
                EntryKind::File { size_bytes } if is_known(&below) => {
                    contents.files.push((below, size_bytes));
                }
                // Deeper ones are not ours, and a folder may be mounted within itself.
                EntryKind::Folder if depth < MAX_DEPTH => {
                    contents.folders.push(below.clone());
                    pending.push((below, depth + 1));
                }
                _ => contents.others.push(below.into()),
            }
        }
    }
    contents.files.sort();
    contents.folders.sort();
    contents.others.sort();
    Ok(contents)
}

/// Whether a path below a bundle is one that the layout has.
pub(crate) fn is_known(below: &str) -> bool {
    // A process that was killed may leave the temporary file of a file it was to replace.
    let below = without_temporary_ending(below);
    match below.split_once('/') {
        None => FILES.contains(&below),
        Some((PLANS, name)) => is_plan(name),
        // By the first part of the name, because temporary files and locks of later versions begin with it as well.
        Some((TRACKER, name)) => {
            let first = name.split('.').next().unwrap_or_default();
            TRACKER_FILES.contains(&first) && !name.contains('/')
        }
        Some(_) => false,
    }
}

/// `<node>-<plan_hash>.json`, as [`Bundle::plan_file`] has it. Older bundles have `<number>-<node>-<plan_hash>.json`, with a
/// hash that may be of any kind.
fn is_plan(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".json").filter(|stem| !stem.contains('/')) else { return false };
    let Some((before, hash)) = stem.rsplit_once('-') else { return false };
    let number = before.split('-').next().unwrap_or_default();
    let is_numbered = number.len() >= 3 && number.bytes().all(|byte| byte.is_ascii_digit());
    // Plans had numbers first, and have hashes since.
    is_numbered || (hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether a folder is a bundle: its manifest says so; or it is named after a run, and holds what one leaves that was
/// killed before its manifest was complete.
pub(crate) fn is_bundle(dir: &Path) -> bool {
    run_of_bundle(dir).is_some()
}

/// The run of a folder, where that is a bundle.
pub(crate) fn run_of_bundle(dir: &Path) -> Option<RunId> {
    if let Some(claimed) = claimed_run(dir) {
        return Some(claimed);
    }
    let absolute = std::path::absolute(dir).ok()?;
    let named = absolute.file_name()?.to_str()?.parse().ok()?;
    // Its manifest is gone or damaged. A name alone is too little to delete a folder for.
    (holds_recording(dir) || (is_in_run_bundle(&absolute) && holds_known(dir))).then_some(named)
}

/// The run that the manifest in a folder is of, when it is a manifest of ours.
pub(crate) fn claimed_run(dir: &Path) -> Option<RunId> {
    #[derive(Deserialize)]
    struct Claim {
        format: Option<String>,
        daglight_version: Option<Value>,
        namespace: Option<Value>,
        status: Option<Value>,
        identity: ClaimedIdentity,
    }
    #[derive(Deserialize)]
    struct ClaimedIdentity {
        run_id: RunId,
    }
    let text = FileBelow::new(dir, MANIFEST).read(MAX_FILE_BYTES).ok()?;
    let claim: Claim = serde_json::from_slice(&text).ok()?;
    let is_ours = match &claim.format {
        Some(format) => format == MANIFEST_FORMAT,
        // Manifests had no marker at first.
        // Three keys together, because `manifest.json` is what web pages and packages of other tools call theirs.
        None => claim.daglight_version.is_some() && claim.namespace.is_some() && claim.status.is_some(),
    };
    is_ours.then_some(claim.identity.run_id)
}

/// Whether there is the beginning of an outbox or of a signal file.
fn holds_recording(dir: &Path) -> bool {
    const BEGINNINGS: [(&str, &str); 4] = [
        ("tracker/outbox.jsonl", r#""record":{"format":"daglight_outbox""#),
        (TRACES, r#"{"resourceSpans":"#),
        (METRICS, r#"{"resourceMetrics":"#),
        (LOGS, r#"{"resourceLogs":"#),
    ];
    BEGINNINGS.iter().any(|(below, mark)| {
        let mut beginning = Vec::new();
        let read =
            FileBelow::new(dir, *below).open().and_then(|file| file.take(256).read_to_end(&mut beginning));
        // Only the first bytes: the file may be gigabytes, and a folder is asked this for every entry of a listing.
        read.is_ok() && String::from_utf8_lossy(&beginning).contains(mark)
    })
}

/// Whether it is where runs are recorded, and has a file or folder of a run.
fn holds_known(dir: &Path) -> bool {
    entries_below(dir, "").is_ok_and(|entries| {
        entries.iter().any(|entry| match entry.kind {
            EntryKind::File { .. } => entry.name.to_str().is_some_and(is_known),
            EntryKind::Folder => entry.name == TRACKER,
            EntryKind::Other => false,
        })
    })
}

fn is_in_run_bundle(dir: &Path) -> bool {
    dir.parent().and_then(Path::file_name).is_some_and(|name| name == RUN_BUNDLE)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::fixture;

    #[track_caller]
    fn check_known(below: &str, expected: bool) {
        assert_eq!(is_known(below), expected, "{below}");
    }

    #[test]
    fn the_layout_knows_its_files_and_no_others() {
        check_known("manifest.json", true);
        check_known("manifest.json.4711-3.tmp", true);
        check_known("manifest.json.k3J9xQ0a.tmp", true);
        check_known("notes.txt.k3J9xQ0a.tmp", false);
        check_known("heartbeat.json.tmp", true);
        check_known("plans/001-orders-ab12.json", true);
        check_known("plans/1000-a.b-ab12.json", true);
        check_known("plans/orders-0123456789abcdef.json", true);
        check_known("plans/run-0123456789abcdef.json", true);
        check_known("plans/or-ders-3f2a91bc-0123456789abcdef.json.4711-3.tmp", true);
        check_known("plans/orders-plan.json", false);
        check_known("plans/0123456789abcdef.json", false);
        check_known("plans/notes.json", false);
        check_known("plans/001/a.json", false);
        check_known("tracker/outbox.jsonl", true);
        check_known("tracker/delivery.json.7.tmp", true);
        check_known("tracker/notes.txt", false);
        check_known("notes.txt", false);
        check_known("src/manifest.json", false);
    }

    #[track_caller]
    fn check_bundle(folder: &str, files: &[(&str, &str)], expected: bool) {
        let out = tempfile::tempdir().unwrap();
        let dir = out.path().join(folder);
        fs::create_dir_all(&dir).unwrap();
        for (name, text) in files {
            fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
            fs::write(dir.join(name), text).unwrap();
        }
        assert_eq!(is_bundle(&dir), expected, "{folder} {files:?}");
    }

    #[test]
    fn a_bundle_is_what_a_run_has_written() {
        let run = "019abcde-0000-7000-8000-000000000000";
        let ours = serde_json::to_string(&fixture::manifest()).unwrap();
        let mut before = serde_json::to_value(fixture::manifest()).unwrap();
        before.as_object_mut().unwrap().remove("format");
        check_bundle("renamed", &[(MANIFEST, &ours)], true);
        check_bundle("renamed", &[(MANIFEST, &before.to_string())], true);
        check_bundle(
            run,
            &[(MANIFEST, &ours[..ours.len() / 2]), ("otel_traces.json", "{\"resourceSpans\":[")],
            true,
        );
        check_bundle(
            run,
            &[("tracker/outbox.jsonl", "{\"crc32\":\"1\",\"record\":{\"format\":\"daglight_outbox\"")],
            true,
        );
        check_bundle(&format!("run_bundle/{run}"), &[("otel_traces.json", "\0\0")], true);
        check_bundle(&format!("run_bundle/{run}"), &[("tracker/x", "")], true);
        check_bundle(&format!("run_bundle/{run}"), &[("main.rs", "")], false);

        let web = r#"{"name": "shop", "short_name": "shop", "start_url": "/"}"#;
        check_bundle("project", &[(MANIFEST, web)], false);
        check_bundle("project", &[(MANIFEST, &ours.replace(MANIFEST_FORMAT, "other_format"))], false);
        check_bundle("project", &[(MANIFEST, r#"{"format_version":1,"identity":{"run_id":"7"}}"#)], false);
        check_bundle("project", &[("otel_traces.json", "{\"resourceSpans\":[")], false);
        check_bundle(run, &[(MANIFEST, web), ("src/main.js", "")], false);
        check_bundle(run, &[("tracker/notes", "")], false);
    }

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

        // Neither a manifest nor its name makes a file one of a run.
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
            // A plan by its beginning and its end, and yet no name that a run gives.
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
