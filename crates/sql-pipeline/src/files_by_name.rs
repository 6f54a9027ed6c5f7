//! Whether a name in place of a table can refer to existing files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use daglight_materializers::folder_of_pattern;
use datafusion::{datasource::listing::ListingTableUrl, object_store::path::Path as ObjectPath};

/// How many directory entries are inspected. A folder with more is assumed to contain the file.
const MOST_LOOKED_AT: usize = 10_000;

/// Whether files with this name, folder or pattern exist, or that cannot be known without a request to a store.
pub(crate) fn may_be_there(name: &str) -> bool {
    // The engine inserts the home directory.
    if name.contains("://") || name.starts_with('~') {
        return true;
    }
    let path = Path::new(name);
    // Pipes are read as well.
    if path.exists() && !path.is_dir() {
        return true;
    }
    // A malformed pattern refers to nothing.
    let Ok(url) = ListingTableUrl::parse(name) else { return false };
    // `data/2024-*/a.csv` is searched for below `data`, as in the engine.
    let Some(folder) = folder_of_pattern(name) else {
        return path.is_dir() && has_file(path.to_owned(), |_| true);
    };
    has_file(folder.into(), |file| {
        let absolute = std::path::absolute(file).ok();
        let found = absolute.and_then(|file| ObjectPath::from_absolute_path(file).ok());
        // Without such a path, the engine has to decide.
        found.is_none_or(|file| url.contains(&file, false))
    })
}

/// Whether a name is a pattern that would match a file if the engine did not ignore partition folders when it compares.
pub(crate) fn is_pattern_of_partitions(name: &str) -> bool {
    let (Some(folder), Ok(url)) = (folder_of_pattern(name), ListingTableUrl::parse(name)) else {
        return false;
    };
    let folder = PathBuf::from(folder);
    has_file(folder.clone(), |file| {
        let below = file.strip_prefix(&folder).unwrap_or(file);
        let is_partition = below.parent().is_some_and(|parent| parent.to_string_lossy().contains('='));
        is_partition && url.get_glob().as_ref().is_some_and(|pattern| pattern.matches_path(below))
    })
}

fn has_file(folder: PathBuf, is_meant: impl Fn(&Path) -> bool) -> bool {
    let mut folders = vec![folder];
    let mut looked_at = 0;
    while let Some(folder) = folders.pop() {
        // Errors from an unreadable folder are left to the engine.
        let Ok(entries) = fs::read_dir(&folder) else { return folder.exists() };
        for entry in entries.flatten() {
            looked_at += 1;
            let path = entry.path();
            let is_folder = path.is_dir();
            if looked_at > MOST_LOOKED_AT || !is_folder && is_meant(&path) {
                return true;
            }
            if is_folder {
                folders.push(path);
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_may_be_read() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("year=2024/empty")).unwrap();
        fs::create_dir(folder.path().join("nothing")).unwrap();
        for file in ["a.csv", "year=2024/b.csv", "c[1].csv"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        for (name, expected) in [
            ("a.csv", true),
            ("", true),
            ("year=2024", true),
            ("year=2024/", true),
            ("*.csv", true),
            ("*/b.csv", false),
            // The engine matches a pattern without the partition folders.
            ("year=*/b.csv", false),
            ("b.csv", false),
            ("[ab].csv", true),
            ("?.csv", true),
            ("c[1].csv", true),
            ("*", true),
            ("d.csv", false),
            ("nothing", false),
            ("nothing/", false),
            ("nothing/*", false),
            ("none_*.csv", false),
            ("none/*.csv", false),
            ("or[d]res", false),
            ("no[31mpe", false),
        ] {
            let path = folder.path().join(name).display().to_string();
            assert_eq!(may_be_there(&path), expected, "{name}");
        }
        for (name, expected) in [
            ("*/b.csv", true),
            ("year=*/b.csv", true),
            ("x*.csv", false),
            ("nothing/*", false),
            ("a.csv", false),
        ] {
            let path = folder.path().join(name).display().to_string();
            assert_eq!(is_pattern_of_partitions(&path), expected, "{name}");
        }
        assert!(may_be_there("s3://bucket/a.csv") && may_be_there("~/a.csv") && !may_be_there("none_*.csv"));
    }
}
