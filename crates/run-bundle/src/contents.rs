//! What the folder of a bundle contains: the files that a run wrote, and everything else.

use std::{
    io,
    path::{Path, PathBuf},
};

use daglight_guarded_files::{EntryKind, entries_below};

use crate::layout::{PLANS, TRACKER, is_known};

/// How many levels of a bundle are searched; its own files are on the first two.
const MAX_DEPTH: usize = 8;

/// What is in the folder of a bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// The files that belong to the layout, by their path below the folder, with their sizes.
    pub(crate) files: Vec<(String, u64)>,
    /// Folders, the outer ones first.
    pub(crate) folders: Vec<String>,
    /// Everything else. The names may be any bytes.
    pub(crate) others: Vec<PathBuf>,
}

/// Lists a bundle. A folder in it that cannot be listed does not count as one of the run.
pub(crate) fn contents(dir: &Path) -> io::Result<Contents> {
    let mut contents = Contents::default();
    let mut pending = vec![(String::new(), 0)];
    while let Some((folder, depth)) = pending.pop() {
        let entries = match entries_below(dir, &folder) {
            Ok(entries) => entries,
            // A bundle that cannot be listed is an error; a folder within it that cannot be listed is kept.
            Err(error) if folder.is_empty() => return Err(error),
            Err(_) => {
                contents.others.push(folder.into());
                continue;
            }
        };
        // A folder that no run creates is kept even if it is empty.
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
                // Deeper folders are not ours, and a folder may be mounted within itself.
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
