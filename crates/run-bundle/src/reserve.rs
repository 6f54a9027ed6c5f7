//! Disk space reserved for what must be written last.

use std::io;

use daglight_guarded_files::{Durability, FileBelow};

/// A file that reserves disk space for the last records of a run, in case the disk becomes full. It is removed when this is
/// dropped.
#[derive(Debug)]
pub struct Reserve(FileBelow);

impl Reserve {
    /// Reserves `bytes` of disk space with a file. An existing file is replaced.
    ///
    /// # Errors
    /// When there is not enough space, or the file cannot be written. No file is left then.
    pub fn take(file: FileBelow, bytes: usize) -> io::Result<Self> {
        // Written instead of only extended: a sparse file takes up no space. Not synchronised: space that was allocated only in
        // memory would be lost together with the run.
        file.replace(&vec![b' '; bytes], Durability::Process)?;
        Ok(Self(file))
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        // A leftover file only costs space, and is removed by `sync`.
        let _ = self.0.remove();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn it_takes_space_while_it_lives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reserve");
        let reserve = Reserve::take(FileBelow::at(&path), 4_096).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 4_096);
        drop(reserve);
        assert!(!path.exists());
        assert!(Reserve::take(FileBelow::new(dir.path(), "nowhere/reserve"), 1).is_err());
    }
}
