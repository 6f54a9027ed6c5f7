//! Whether a bundle is whole: its files against its manifest, and the counts of its delivery.

use std::{collections::HashSet, error::Error, fmt, io};

use crate::{
    artifact::ArtifactCatalog,
    bundle::Bundle,
    data_summaries::NodeSummary,
    delivery_counts::DeliveryCounts,
    evidence::ProcessEvidence,
    file_entry::{FileEntry, FileUse},
    json_lines::read_lines,
    layout::{self, Contents, DELIVERY_CURSOR, MANIFEST, OUTBOX, TRACKER},
    manifest::Manifest,
    outbox::{StatusError, recorded_outbox},
    plan_bundle::PlanBundle,
    versioned::ReadError,
};

/// Something that is wrong with a bundle, in one line.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The manifest cannot be read, and so nothing can be compared with it.
    Manifest(ReadError),
    /// A file that the manifest lists cannot be read.
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        problem: io::Error,
    },
    /// A file is shorter than it was.
    Shorter {
        /// The file.
        path: String,
        /// Its size by the manifest.
        expected: u64,
        /// Its size.
        found: u64,
    },
    /// A file that does not change any more is longer than it was.
    Longer {
        /// The file.
        path: String,
        /// Its size by the manifest.
        expected: u64,
        /// Its size.
        found: u64,
    },
    /// A file has another content than it had.
    Changed {
        /// The file.
        path: String,
    },
    /// A file of a run is there that the manifest does not list.
    Unlisted {
        /// The file.
        path: String,
    },
    /// Something is in the folder that no run writes.
    Foreign {
        /// The file or folder.
        path: String,
    },
    /// A file holds what is not of its format.
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Of what was recorded, not all is accounted for.
    Unbalanced {
        /// What is counted: signal and destination.
        account: String,
        /// What was recorded.
        produced: u64,
        /// What became of how much of it.
        accounted: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(error) => {
                write!(f, "{error}")?;
                match std::error::Error::source(error) {
                    Some(cause) => write!(f, ": {cause}"),
                    None => Ok(()),
                }
            }
            Self::Unreadable { path, problem } => write!(f, "{path}: cannot be read: {problem}"),
            Self::Shorter { path, expected, found } => {
                write!(f, "{path}: {found} bytes, expected {expected}")
            }
            Self::Longer { path, expected, found } => write!(f, "{path}: {found} bytes, expected {expected}"),
            Self::Changed { path } => write!(f, "{path}: has another SHA-256 than the manifest says"),
            Self::Unlisted { path } => write!(f, "{path}: is not in the manifest"),
            Self::Foreign { path } => write!(f, "{path}: is not a file of a run"),
            Self::Damaged { path, problem } => write!(f, "{path}: {problem}"),
            Self::Unbalanced { account, produced, accounted } => {
                write!(f, "{account}: {produced} recorded, but {accounted} delivered, waiting or dropped")
            }
        }
    }
}

impl Bundle {
    /// What the manifest counts as lost, such as on a full disk: signal and destination, and how much of it, for which
    /// reason. That is not a fault of the bundle, but whoever reads it has to know.
    pub fn losses(&self) -> Vec<(String, String)> {
        // That it cannot be read is a fault, which `verify` names.
        let Ok(manifest) = Manifest::read(self) else { return Vec::new() };
        let lost = counts_of(&manifest).filter(|(_, counts)| counts.dropped_total() > 0);
        lost.map(|(account, counts)| {
            let reasons: Vec<String> =
                counts.dropped.iter().map(|(reason, items)| format!("{items} {reason}")).collect();
            (
                account,
                format!("{} of {} lost: {}", counts.dropped_total(), counts.produced, reasons.join(", ")),
            )
        })
        .collect()
    }

    /// Compares a bundle with its manifest, reads what it holds, and adds up its counts. Empty where nothing is wrong. The files
    /// of a run that has not ended are read, and not compared.
    pub fn verify(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let manifest = Manifest::read(self).map_err(|error| faults.push(Fault::Manifest(error))).ok();
        // Listed once: the files of a run that goes on come and go, and two listings could disagree.
        let contents = layout::contents(self.dir()).map_err(|problem| {
            faults.push(Fault::Unreadable { path: self.dir().display().to_string(), problem });
        });
        let contents = contents.unwrap_or_default();
        if let Some(manifest) = &manifest {
            faults.extend(manifest.lasting_files().filter_map(|entry| compared(self, entry)));
            if manifest.lists_final_files() {
                faults.extend(unlisted(&contents, manifest));
            }
            faults.extend(accounts(manifest));
        }
        let others = contents.others.iter();
        faults.extend(others.map(|path| Fault::Foreign { path: path.display().to_string() }));
        faults.extend(damaged(self));
        faults
    }
}

fn compared(bundle: &Bundle, entry: &FileEntry) -> Option<Fault> {
    let path = entry.path.clone();
    let file_use = entry.file_use();
    if file_use == FileUse::Transient {
        return None;
    }
    // A manifest may come from anywhere, and name anything.
    if !layout::is_known(&path) {
        return Some(Fault::Foreign { path });
    }
    let found = match entry.size_now(bundle) {
        Ok(size_bytes) => size_bytes,
        Err(problem) => return Some(Fault::Unreadable { path, problem }),
    };
    let expected = entry.size_bytes;
    match file_use {
        // The report may have been made again, and `sync` moves the progress: neither is a fault.
        FileUse::Rewritten | FileUse::Transient => return None,
        _ if found < expected => return Some(Fault::Shorter { path, expected, found }),
        FileUse::Fixed if found > expected => return Some(Fault::Longer { path, expected, found }),
        FileUse::Fixed | FileUse::Appended => {}
    }
    // Large files have no hash: reading 10 GB again at the end of a run would hold the program up for what the size
    // shows in most cases.
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
        .filter(|entry| entry.file_use() == FileUse::Fixed && !listed.contains(&*entry.path))
        .map(|entry| Fault::Unlisted { path: entry.path })
        .collect()
}

/// The counts of everything that was recorded, with what each is about.
fn counts_of(manifest: &Manifest) -> impl Iterator<Item = (String, &DeliveryCounts)> {
    let tracker = manifest.delivery.tracker.iter().map(|counts| ("tracker".to_owned(), counts));
    let signals = manifest.delivery.signals.iter();
    let signals = signals
        .map(|account| (format!("{} to {}", account.signal.name(), account.destination), &account.ledger));
    tracker.chain(signals)
}

fn accounts(manifest: &Manifest) -> Vec<Fault> {
    counts_of(manifest)
        .filter(|(_, counts)| !counts.is_balanced())
        .map(|(account, counts)| Fault::Unbalanced {
            account,
            produced: counts.produced,
            accounted: counts.accounted(),
        })
        .collect()
}

fn damaged(bundle: &Bundle) -> Vec<Fault> {
    let mut faults = Vec::new();
    for path in [bundle.traces(), bundle.metrics(), bundle.logs()] {
        // That a file is missing is the manifest's to say, which was compared before; a run without signals has none.
        if !path.exists() {
            continue;
        }
        let reading = read_lines(&path, |line| serde_json::from_str::<serde::de::IgnoredAny>(line).map(drop));
        if let Some(problem) = reading.problem {
            faults.push(Fault::Damaged { path: reading.file, problem });
        }
    }
    if let Some(reading) = NodeSummary::read_all(bundle, |_| {})
        && let Some(problem) = reading.problem
    {
        faults.push(Fault::Damaged { path: reading.file, problem });
    }
    let mut of_file = |path: String, error: &dyn Error| {
        let problem = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        faults.push(Fault::Damaged { path, problem });
    };
    for (file, error) in PlanBundle::read_all(bundle, |_, _| {}) {
        of_file(format!("plans/{file}"), &error);
    }
    if let Err(error) = ArtifactCatalog::read(bundle) {
        of_file("artifacts.json".to_owned(), &error);
    }
    if let Err(error) = ProcessEvidence::read(&bundle.heartbeat())
        && !error.is_not_found()
    {
        of_file("heartbeat.json".to_owned(), &error);
    }
    faults.extend(damaged_tracker(bundle));
    faults
}

/// What is wrong with the outbox and the progress of its delivery.
fn damaged_tracker(bundle: &Bundle) -> Vec<Fault> {
    let fault = |name: &str, error: &dyn Error| {
        let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
        vec![Fault::Damaged { path: format!("{TRACKER}/{name}"), problem: format!("{error}{cause}") }]
    };
    match recorded_outbox(&bundle.tracker_dir()) {
        Ok(None) => Vec::new(),
        Ok(Some(status)) => {
            let damages = status.damages.into_iter();
            damages.map(|damage| Fault::Damaged { path: damage.file, problem: damage.problem }).collect()
        }
        Err(StatusError::Outbox(error)) => fault(OUTBOX, &error),
        Err(StatusError::Cursor(error)) => fault(DELIVERY_CURSOR, &error),
    }
}

/// The files of a bundle that are packed: all that a run writes, and the manifest last.
pub(crate) fn packed_files(bundle: &Bundle) -> Vec<String> {
    let files = FileEntry::list(bundle).into_iter();
    let kept = files.filter(|entry| entry.file_use() != FileUse::Transient).map(|entry| entry.path);
    // Last, so that an archive that was cut off has none, and what is unpacked of it is not taken for a whole bundle.
    kept.chain([MANIFEST.to_owned()]).collect()
}

impl Bundle {
    /// The paths of the files that make the bundle, below its folder: all that a run writes, without locks, and the manifest last.
    pub fn files(&self) -> Vec<String> {
        packed_files(self)
    }

    /// What stands under the name of a file that a run writes and is not a regular file, by its path below the folder.
    pub fn not_files(&self) -> Vec<String> {
        let others = layout::contents(self.dir()).map(|contents| contents.others).unwrap_or_default();
        let others = others.iter().filter_map(|path| path.to_str());
        others.filter(|path| layout::is_known(path)).map(str::to_owned).collect()
    }

    /// Whether a path below a bundle is that of a file that a run writes.
    pub fn is_file_of_a_run(below: &str) -> bool {
        layout::is_known(below) && below.split('/').all(|name| !matches!(name, "" | "." | ".."))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{fixture, manifest::RunStatus};

    const PLAN: &str = "plans/a-0123456789abcdef.json";

    fn bundle() -> (tempfile::TempDir, Bundle) {
        let (out, bundle) = fixture::bundle();
        fs::write(bundle.traces(), "{\"resourceSpans\":[]}\n").unwrap();
        fs::write(bundle.logs(), "").unwrap();
        fs::write(bundle.dir().join(PLAN), "{}").unwrap();
        fs::write(bundle.report_markdown(), "# run").unwrap();
        fs::write(bundle.dir().join("manifest.lock"), "").unwrap();
        let mut manifest = fixture::manifest();
        manifest.status = RunStatus::Success;
        manifest.files = FileEntry::list_with_hashes(&bundle);
        manifest.write(&bundle).unwrap();
        (out, bundle)
    }

    #[track_caller]
    fn check(change: impl FnOnce(&Bundle), expected: &[&str]) {
        let (_out, bundle) = bundle();
        change(&bundle);
        let faults: Vec<String> = bundle.verify().iter().map(Fault::to_string).collect();
        assert_eq!(faults.len(), expected.len(), "{faults:#?}");
        for (fault, expected) in faults.iter().zip(expected) {
            assert!(fault.contains(expected), "{expected:?} is not in {fault:?}");
        }
    }

    fn manifest(change: impl FnOnce(&mut Manifest)) -> impl FnOnce(&Bundle) {
        |bundle| Manifest::update(bundle, change).unwrap()
    }

    #[test]
    fn a_bundle_as_a_run_left_it_has_no_fault() {
        check(|_| {}, &[]);
        // Made again, added to, and gone by nature.
        check(|bundle| fs::write(bundle.report_markdown(), "# another").unwrap(), &[]);
        check(
            |bundle| {
                let lines = "{\"resourceSpans\":[]}\n".repeat(2);
                fs::write(bundle.traces(), lines).unwrap();
                fs::remove_file(bundle.dir().join("manifest.lock")).unwrap();
            },
            &[],
        );
    }

    #[test]
    fn whatever_changed_is_one_fault() {
        let plan = format!("{PLAN}: ");
        check(
            |bundle| fs::remove_file(bundle.dir().join(PLAN)).unwrap(),
            &[&format!("{plan}cannot be read")],
        );
        check(
            |bundle| fs::write(bundle.dir().join(PLAN), "{]").unwrap(),
            &[&format!("{plan}has another"), &plan],
        );
        check(
            |bundle| fs::write(bundle.dir().join(PLAN), "{ }").unwrap(),
            &[&format!("{plan}3 bytes, expected 2")],
        );
        check(
            |bundle| fs::write(bundle.traces(), "{}\n").unwrap(),
            &["otel_traces.json: 3 bytes, expected 21"],
        );
        let other = "{\"resourceSpans\":{}}\n";
        check(
            |bundle| fs::write(bundle.traces(), other).unwrap(),
            &["otel_traces.json: has another SHA-256"],
        );
        check(|bundle| fs::write(bundle.logs(), "no json\n").unwrap(), &["otel_logs.json: "]);
        check(
            |bundle| fs::write(bundle.dir().join("plans/b-0123456789abcdef.json"), "{}").unwrap(),
            &["plans/b-0123456789abcdef.json: is not in the manifest"],
        );
        check(
            |bundle| fs::write(bundle.dir().join("x.exe"), "").unwrap(),
            &["x.exe: is not a file of a run"],
        );
        check(|bundle| fs::write(bundle.manifest(), "{").unwrap(), &["manifest.json"]);
    }

    #[test]
    fn accounts_that_do_not_add_up_are_a_fault() {
        let lost = DeliveryCounts { produced: 9, delivered: 5, ..DeliveryCounts::default() };
        check(
            manifest(|manifest| manifest.delivery.tracker = Some(lost)),
            &["tracker: 9 recorded, but 5 delivered, waiting or dropped"],
        );
    }

    #[test]
    fn a_manifest_that_names_files_elsewhere_is_not_followed() {
        let entry = |path: &str| FileEntry { path: path.into(), size_bytes: 1, sha256: None };
        for path in ["../secret", "/etc/passwd", "plans/../../x.json", ""] {
            check(manifest(|manifest| manifest.files.push(entry(path))), &["is not a file of a run"]);
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_link_is_not_followed() {
        check(
            |bundle| {
                let moved = bundle.dir().parent().unwrap().join("elsewhere");
                fs::rename(bundle.dir().join(PLAN), &moved).unwrap();
                std::os::unix::fs::symlink(&moved, bundle.dir().join(PLAN)).unwrap();
            },
            // By the manifest, in the folder, and by its reader.
            &["cannot be read", "is not a file of a run", "plans/"],
        );
    }

    #[test]
    fn a_run_that_a_second_signal_cut_off_had_plans_in_hand() {
        let cut_off = || {
            manifest(|manifest| {
                manifest.status = RunStatus::Interrupted;
                manifest.files.iter_mut().for_each(|entry| entry.sha256 = None);
            })
        };
        check(
            |bundle| {
                cut_off()(bundle);
                fs::remove_file(bundle.dir().join(PLAN)).unwrap();
                fs::write(bundle.dir().join("plans/b-0123456789abcdef.json"), "{}").unwrap();
            },
            &[],
        );
        // What only grows cannot have become shorter.
        check(
            |bundle| {
                cut_off()(bundle);
                fs::write(bundle.traces(), "").unwrap();
            },
            &["otel_traces.json: 0 bytes, expected 21"],
        );
    }

    #[test]
    fn the_files_of_a_run_that_goes_on_are_not_compared() {
        check(
            |bundle| {
                Manifest::update(bundle, |manifest| manifest.status = RunStatus::Running).unwrap();
                fs::remove_file(bundle.dir().join(PLAN)).unwrap();
            },
            &[],
        );
    }
}
