//! The files of an output on the local file system.

use std::{fs, io, path::Path};

use serde::Serialize;

/// How many files lie at a location, and how large they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Files {
    /// Number of files.
    pub count: u64,
    /// Their size together.
    pub bytes: u64,
}

/// The files at a path or `file://` URL. `None` where the location is not on the local file system or cannot be read.
pub fn files_at(location: &str) -> Option<Files> {
    let path = match location.split_once("://") {
        Some(("file", path)) => path,
        Some(_) => return None,
        None => location,
    };
    let mut files = Files::default();
    add(Path::new(path), &mut files).ok()?;
    Some(files)
}

fn add(path: &Path, files: &mut Files) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            add(&entry?.path(), files)?;
        }
    } else {
        files.count += 1;
        files.bytes += metadata.len();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_through_folders() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("part=1")).unwrap();
        fs::write(dir.path().join("a"), "12345").unwrap();
        fs::write(dir.path().join("part=1/b"), "123").unwrap();
        let expected = Some(Files { count: 2, bytes: 8 });
        assert_eq!(files_at(&dir.path().display().to_string()), expected);
        assert_eq!(files_at(&format!("file://{}", dir.path().display())), expected);
        assert_eq!(files_at("s3://bucket/key"), None);
        assert_eq!(files_at(&dir.path().join("none").display().to_string()), None);
    }
}
