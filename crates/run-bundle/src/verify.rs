//! Whether a bundle is intact: compares its files with its manifest, and checks the counts of its delivery.

mod accounts;
mod fault;
mod lineage;
mod signals;
mod tracker;

use std::{collections::HashSet, error::Error};

use self::{
    accounts::{accounts, counts_of},
    lineage::damaged_lineage,
    signals::damaged_signals,
    tracker::damaged_tracker,
};
use crate::{
    artifact::ArtifactCatalog,
    bundle::Bundle,
    contents::{Contents, contents},
    data_summaries::NodeSummary,
    evidence::ProcessEvidence,
    file_damage::FileDamage,
    file_entry::{FileEntry, FileUse},
    layout::{HEARTBEAT, LINEAGE_DELIVERY, MANIFEST, NODES, OPEN_TRACES, is_known},
    lineage_cursor::LineageCursor,
    manifest::{Manifest, RunStatus},
    plan_bundle::PlanBundle,
    run_state::RunState,
};

pub use fault::Fault;

impl Bundle {
    /// The losses on the way to a server, according to the manifest: signal and destination, and how many were lost for which
    /// reason. They are not a fault of the bundle, but its reader has to know about them.
    pub fn losses(&self) -> Vec<(String, String)> {
        // An unreadable manifest is a fault, which `verify` reports.
        let Ok(manifest) = Manifest::read(self) else { return Vec::new() };
        let elsewhere = counts_of(&manifest).filter(|account| !account.is_of_bundle);
        elsewhere.filter_map(|account| Some((account.name.clone(), account.lost()?))).collect()
    }

    /// Compares a bundle with its manifest, reads its files, and adds up its counts. Empty if nothing is wrong. The files of a run
    /// that has not ended are read, but not compared.
    pub fn verify(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let manifest = Manifest::read_with_damages(self).map_err(|error| faults.push(Fault::Manifest(error)));
        let manifest = manifest.ok().map(|(manifest, damages)| {
            faults.extend(damages.into_iter().map(damaged_file));
            manifest
        });
        // Listed once: files of a run that is going come and go, and two listings could disagree.
        let contents = contents(self.dir()).map_err(|problem| {
            let path = self.shown(self.dir()).display().to_string();
            faults.push(Fault::Unreadable { path, problem });
        });
        let contents = contents.unwrap_or_default();
        if let Some(manifest) = &manifest {
            faults.extend(misplaced_manifest(self, manifest));
            faults.extend(unclosed(self, manifest));
            faults.extend(manifest.lasting_files().filter_map(|entry| compared(self, manifest, entry)));
            if manifest.lists_final_files() {
                faults.extend(unlisted(&contents, manifest));
            }
            faults.extend(accounts(manifest));
        }
        let others = contents.others.iter();
        faults.extend(others.map(|path| Fault::Foreign { path: path.display().to_string() }));
        faults.extend(damaged(self, manifest.as_ref()));
        faults.extend(damaged_lineage(self, manifest.as_ref()));
        let outbox = damaged_tracker(self, manifest.as_ref(), &mut faults);
        let signals = damaged_signals(self, manifest.as_ref(), outbox.as_ref(), &faults);
        faults.extend(signals);
        faults
    }
}

/// Problems with what the manifest says about itself.
fn misplaced_manifest(bundle: &Bundle, manifest: &Manifest) -> Vec<Fault> {
    let fault = |problem: String| Fault::Damaged { path: MANIFEST.to_owned(), problem };
    let mut faults = Vec::new();
    // A bundle may be renamed, but not to the name of another run.
    if let Some(named) = bundle.run_id()
        && named != manifest.identity.run_id
    {
        faults.push(fault(format!(
            "is of run {}, and the folder is that of {named}",
            manifest.identity.run_id
        )));
    }
    if manifest.status != RunStatus::Running && manifest.files.is_empty() {
        faults.push(fault("does not list the files, so that they cannot be compared with it".to_owned()));
    }
    faults
}

/// The fault that a run is not going and was not closed.
fn unclosed(bundle: &Bundle, manifest: &Manifest) -> Option<Fault> {
    if manifest.status != RunStatus::Running {
        return None;
    }
    match bundle.state(manifest) {
        RunState::Running => None,
        state => Some(Fault::Unclosed { state }),
    }
}

fn compared(bundle: &Bundle, manifest: &Manifest, entry: &FileEntry) -> Option<Fault> {
    let path = entry.path.clone();
    let file_use = entry.file_use();
    if file_use == FileUse::Transient {
        return None;
    }
    // A manifest may come from anywhere, and contain any path.
    if !is_known(&path) {
        return Some(Fault::Foreign { path });
    }
    let found = match entry.size_now(bundle) {
        Ok(size_bytes) => size_bytes,
        Err(problem) => return Some(Fault::Unreadable { path, problem }),
    };
    let expected = entry.size_bytes;
    match file_use {
        // `sync` changes the progress, which has its own checksum.
        FileUse::Rewritten | FileUse::Transient => return None,
        _ if found < expected => return Some(Fault::Shorter { path, expected, found }),
        // After the last manifest nothing is appended; an earlier manifest lists files that were still growing.
        FileUse::Appended if !manifest.lists_final_files() => {}
        _ if found > expected => return Some(Fault::Longer { path, expected, found }),
        FileUse::Fixed | FileUse::Remade | FileUse::Appended => {}
    }
    // Large files have no hash: reading 10 GB again at the end of a run would delay the program, and their size shows most damage.
    let listed = entry.sha256.as_ref()?;
    match entry.hash(bundle) {
        Ok(Some(sha256)) if sha256.eq_ignore_ascii_case(listed) => None,
        Ok(_) => Some(Fault::Changed { path }),
        Err(problem) => Some(Fault::Unreadable { path, problem }),
    }
}

fn unlisted(contents: &Contents, manifest: &Manifest) -> Vec<Fault> {
    let listed: HashSet<&str> = manifest.files.iter().map(|entry| entry.path.as_str()).collect();
    let files = FileEntry::of_contents(contents).into_iter();
    files
        .filter(|entry| !listed.contains(&*entry.path))
        .filter(|entry| match entry.file_use() {
            FileUse::Fixed | FileUse::Appended => true,
            FileUse::Remade | FileUse::Rewritten | FileUse::Transient => false,
        })
        .map(|entry| Fault::Unlisted { path: entry.path })
        .collect()
}

fn damaged_file(damage: FileDamage) -> Fault {
    Fault::Damaged { path: damage.file, problem: damage.problem }
}

fn damaged(bundle: &Bundle, manifest: Option<&Manifest>) -> Vec<Fault> {
    let mut faults = Vec::new();
    if let Some(reading) = NodeSummary::read_all(bundle, |_| {})
        && let Some(problem) = reading.problem
    {
        faults.push(Fault::Damaged { path: reading.file, problem });
    }
    let plans = PlanBundle::read_all(bundle, |_, _| {});
    faults.extend(plans.problems().map(|(path, problem)| Fault::Damaged { path, problem }));
    let mut of_file = |path: String, error: &dyn Error| {
        let problem = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        faults.push(Fault::Damaged { path, problem });
    };
    if let Err(error) = ArtifactCatalog::read(bundle) {
        of_file("artifacts.json".to_owned(), &error);
    }
    if let Some(error) = LineageCursor::damage(bundle.dir()) {
        of_file(LINEAGE_DELIVERY.to_owned(), &error);
    }
    let started_at = manifest.map(|manifest| manifest.started_at);
    match ProcessEvidence::read_with_damages(&bundle.heartbeat(), started_at) {
        Err(error) if !error.is_not_found() => of_file(HEARTBEAT.to_owned(), &error),
        Err(_) => {
            let missing = manifest.and_then(|manifest| ProcessEvidence::missing_of(bundle, manifest));
            faults.extend(missing.map(damaged_file));
        }
        Ok((_, damages)) => faults.extend(damages.into_iter().map(damaged_file)),
    }
    faults
}

/// The files of a bundle that are packed: all files that a run writes, with the manifest last.
pub(crate) fn packed_files(bundle: &Bundle) -> Vec<String> {
    let files = FileEntry::list(bundle).into_iter();
    // The open spans of a killed run and the progress of its nodes come and go like locks, and are needed only for closing the run.
    let is_kept = |entry: &FileEntry| {
        entry.file_use() != FileUse::Transient || [OPEN_TRACES, NODES].contains(&&*entry.path)
    };
    let kept = files.filter(is_kept).map(|entry| entry.path);
    // Last, so that a truncated archive has no manifest, and its unpacked files are not taken for a complete bundle.
    kept.chain([MANIFEST.to_owned()]).collect()
}

impl Bundle {
    /// The paths of the files of the bundle, relative to its folder: all files that a run writes, without locks, and with the
    /// manifest last.
    pub fn files(&self) -> Vec<String> {
        packed_files(self)
    }

    /// Entries with the name of a file that a run writes which are not regular files, as paths relative to the folder.
    pub fn not_files(&self) -> Vec<String> {
        let others = contents(self.dir()).map(|contents| contents.others).unwrap_or_default();
        let others = others.iter().filter_map(|path| path.to_str());
        others.filter(|path| is_known(path)).map(str::to_owned).collect()
    }

    /// Whether a path relative to a bundle is that of a file that a run writes.
    pub fn is_file_of_a_run(below: &str) -> bool {
        is_known(below) && below.split('/').all(|name| !matches!(name, "" | "." | ".."))
    }
}

#[cfg(test)]
mod damages;
#[cfg(test)]
mod tests;
