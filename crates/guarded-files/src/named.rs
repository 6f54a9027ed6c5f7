//! Files that a user has named: on the command line, in a setting or in a variable.

use std::{fs::File, io, path::Path};

use crate::{file_below::read_whole, unfit::Unfit, walk};

/// Opens a regular file for reading. Links are followed: settings and certificates are often links.
///
/// # Errors
/// When it does not exist, cannot be read, or is not a regular file ([`Unfit`]): pipes and devices are never waited for.
pub fn open_named(path: &Path) -> io::Result<File> {
    walk::open_named(path)
}

/// Reads the whole file.
///
/// # Errors
/// Like [`open_named`], and when it has more than `max_bytes`.
pub fn read_named(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    read_whole(open_named(path)?, max_bytes)
}

/// Reads the whole file as text.
///
/// # Errors
/// Like [`read_named`], and when it is not UTF-8.
pub fn read_named_text(path: &Path, max_bytes: u64) -> io::Result<String> {
    String::from_utf8(read_named(path, max_bytes)?).map_err(|_| Unfit::NotText.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &Path, max_bytes: u64, expected: &str) {
        let error = read_named_text(path, max_bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn what_a_setting_names_is_a_regular_file_within_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(read_named_text(&path, 5).unwrap(), "12345");
        check(&path, 4, "more than 4 bytes");
        check(dir.path(), 4, "a folder");
        std::fs::write(&path, b"\xff").unwrap();
        check(&path, 4, "not valid UTF-8");
        #[cfg(unix)]
        check(Path::new("/dev/zero"), 4, "a device");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn files_of_the_kernel_have_no_size_and_are_bounded_too() {
        check(Path::new("/proc/self/status"), 10, "more than 10 bytes");
        assert!(!read_named(Path::new("/proc/self/status"), 1 << 20).unwrap().is_empty());
    }
}
