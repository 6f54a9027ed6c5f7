//! Disk space that is kept for what must be written last.

use std::io;

use daglight_guarded_files::{Durability, FileBelow};

/// A file that takes up space until that is needed for the last records of a run on a disk that has become full. It is
/// removed when this is dropped.
#[derive(Debug)]
pub struct Reserve(FileBelow);

impl Reserve {
    /// Takes up `bytes` of disk space with a file, which is replaced.
    ///
    /// # Errors
    /// When there is not so much space, or the file cannot be written. Then no file is left.
    pub fn take(file: FileBelow, bytes: usize) -> io::Result<Self> {
        // Written and not only made longer: a file with a hole takes up nothing.
        // It is not synchronised: what was allocated in memory only would be gone together with the run.
        file.replace(&vec![b' '; bytes], Durability::Process)?;
        Ok(Self(file))
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        // One that stays costs space, and is removed when the run is synchronised.
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
