//! What is in the folder of a bundle: what a run wrote, and what somebody else did.

use std::{
    io,
    path::{Path, PathBuf},
};

use daglight_guarded_files::{EntryKind, entries_below};

use crate::layout::{PLANS, TRACKER, is_known};

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
