//! Which files of a project are trusted: the project may belong to someone else.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use crate::catalog::{TRUSTED_FOLDERS, TRUSTED_FOLDERS_VARIABLE};

/// A file or setting that is ignored because it may belong to someone else. `Display` is a sentence for users.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The file, or the setting with its origin.
    pub what: String,
    /// The reason, and how to make it trusted.
    pub why: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not count: {}", self.what, self.why)
    }
}

/// Whether there is a file. Anything else of its name is refused: whoever has made it expects that it counts.
pub(crate) fn is_file(file: &Path, refused: &mut Vec<Refusal>) -> bool {
    let Ok(found) = file.symlink_metadata() else { return false };
    let is_file = file.is_file();
    if !is_file {
        let what = match file.metadata() {
            Err(_) if found.is_symlink() => "a link to a file that is not there or cannot be read",
            Ok(target) if target.is_dir() => "a folder",
            _ => "not a regular file",
        };
        refused.push(Refusal {
            what: file.display().to_string(),
            why: format!("it is {what}, expected a file"),
        });
    }
    is_file
}

/// The owners whose files are trusted.
#[cfg_attr(test, derive(Default))]
pub(crate) struct Trusted {
    folders: Vec<PathBuf>,
    users: Vec<u32>,
}

impl Trusted {
    /// The user, root, and the folders that the user trusts. If root was started with `sudo`, the calling user is also trusted.
    pub(crate) fn new(
        folders: impl IntoIterator<Item = PathBuf>,
        variables: &BTreeMap<String, String>,
    ) -> Self {
        let me = effective_user();
        let mut users = vec![0, me];
        if me == 0 {
            // Only root trusts the user in that variable: without being root, anyone can set it to anything.
            users.extend(variables.get("SUDO_UID").and_then(|id| id.parse::<u32>().ok()));
        }
        Self { folders: folders.into_iter().collect(), users }
    }

    fn has_folder_of(&self, file: &Path) -> bool {
        self.folders.iter().any(|folder| {
            folder == Path::new("*") || folder.canonicalize().is_ok_and(|folder| file.starts_with(folder))
        })
    }
}

/// Why a project's file is ignored. `None` if it is trusted: it and its folder belong to someone who is trusted, and nobody else
/// can write to them.
#[cfg(unix)]
pub(crate) fn distrusted_because(file: &Path, trusted: &Trusted) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;

    const GROUP_WRITES: u32 = 0o020;
    const OTHERS_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;

    // Both ends of a link: someone who can write to its folder can redirect it, and someone who can write to the folder of its
    // target can change the file.
    let real = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    if trusted.has_folder_of(&real) {
        return None;
    }
    let advice = || {
        let folder = real.parent().unwrap_or(&real).display();
        format!(
            "to trust it, set {TRUSTED_FOLDERS_VARIABLE}={folder}, or {TRUSTED_FOLDERS} in your own daglight.toml"
        )
    };
    let folders = [real.parent(), file.parent()].into_iter().flatten();
    for path in folders.chain([real.as_path()]) {
        // Rejected if the system returns no metadata: a file that cannot be inspected cannot be trusted.
        let Ok(metadata) = path.metadata() else {
            return Some(format!("its owner is not known; {}", advice()));
        };
        let what = if path == real { "it" } else { "its folder" };
        let (owner, group, mode) = (metadata.uid(), metadata.gid(), metadata.mode());
        if !trusted.users.contains(&owner) {
            let me = effective_user();
            return Some(format!("{what} belongs to user {owner}, and you are user {me}; {}", advice()));
        }
        // Many systems give each user a group with the same number, and write access for that group.
        let is_own_group = group == owner && owner != 0;
        // As for `/tmp`: anyone may create files there, and nobody may replace those of others.
        let is_sticky = metadata.is_dir() && mode & STICKY != 0;
        let open = (mode & OTHERS_WRITE != 0) || (mode & GROUP_WRITES != 0 && !is_own_group);
        if open && !is_sticky {
            return Some(format!("others may write {what} (mode {:03o}); {}", mode & 0o777, advice()));
        }
    }
    None
}

/// Other systems keep the folders of users separate.
#[cfg(not(unix))]
pub(crate) fn distrusted_because(_file: &Path, _trusted: &Trusted) -> Option<String> {
    None
}

#[cfg(unix)]
fn effective_user() -> u32 {
    uzers::get_effective_uid()
}

#[cfg(not(unix))]
fn effective_user() -> u32 {
    0
}
