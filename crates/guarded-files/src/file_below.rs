//! The single entry point to the files of a bundle.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use crate::{
    durability::Durability,
    entry::Entry,
    unfit::{Unfit, check_size},
    walk,
};

/// A file, given by a folder and its path relative to that.
///
/// Links in the path of the folder are followed, because a user has given it; below the folder none is. A created file has mode
/// 0600 and a folder 0700, regardless of the umask.
///
/// ```
/// use daglight_guarded_files::{Durability, FileBelow, create_private_folder};
///
/// let folder = tempfile::tempdir()?;
/// create_private_folder(folder.path(), "tracker")?;
/// let file = FileBelow::new(folder.path(), "tracker/delivery.json");
/// file.replace(b"{}", Durability::Process)?;
/// assert_eq!(file.read(1 << 20)?, b"{}");
/// assert!(FileBelow::new(folder.path(), "../elsewhere").read(1).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileBelow {
    folder: PathBuf,
    below: PathBuf,
}

impl FileBelow {
    /// The file `below` that folder. The path may only contain names: `..` and absolute paths result in errors when it is used.
    pub fn new(folder: impl Into<PathBuf>, below: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), below: below.into() }
    }

    /// The file at a path, relative to its parent folder.
    pub fn at(path: &Path) -> Self {
        Self::deep(path, 1)
    }

    /// The file at a path whose last `names` components are relative to the folder.
    pub fn deep(path: &Path, names: usize) -> Self {
        let folder = path.ancestors().nth(names).unwrap_or(Path::new(""));
        Self::new(folder, path.strip_prefix(folder).unwrap_or(path))
    }

    /// The full path, for messages.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.below)
    }

    /// Opens the file for reading.
    ///
    /// # Errors
    /// When it does not exist, cannot be read, or is not a regular file ([`Unfit`]).
    pub fn open(&self) -> io::Result<File> {
        walk::open(&self.folder, &self.below)
    }

    /// Reads the whole file.
    ///
    /// # Errors
    /// Like [`FileBelow::open`], and when it has more than `max_bytes`.
    pub fn read(&self, max_bytes: u64) -> io::Result<Vec<u8>> {
        read_whole(self.open()?, max_bytes)
    }

    /// Opens the file for reading and appending, and creates it if it is missing.
    ///
    /// # Errors
    /// When it cannot be written, is not a regular file, or has another hard link ([`Unfit`]).
    pub fn append(&self) -> io::Result<File> {
        walk::append(&self.folder, &self.below)
    }

    /// Overwrites the beginning of an existing file, and leaves the rest: this needs no additional space. A reader may see a
    /// partial write. It is not synchronised with the disk.
    ///
    /// # Errors
    /// When the file does not exist, cannot be written, is not a regular file, or has another hard link ([`Unfit`]).
    pub fn overwrite(&self, content: &[u8]) -> io::Result<()> {
        walk::existing(&self.folder, &self.below)?.write_all(content)
    }

    /// Writes a temporary file next to it and renames that: a reader sees either the old file or the new one, never a part, even if
    /// the process is killed. With [`Durability::Disk`] the same holds after a power failure, and the new file is permanent once
    /// this returns.
    ///
    /// # Errors
    /// When it cannot be written, or cannot be synchronised with the disk.
    pub fn replace(&self, content: &[u8], durability: Durability) -> io::Result<()> {
        walk::replace(&self.folder, &self.below, content, durability)
    }

    /// Removes the file, or the link with its name.
    ///
    /// # Errors
    /// When it does not exist, or is a folder, or its folder cannot be written.
    pub fn remove(&self) -> io::Result<()> {
        walk::remove(&self.folder, &self.below)
    }
}

/// Creates a folder below another one, with mode 0700. Returns false if it already exists.
///
/// # Errors
/// When it cannot be created, or something other than a folder has its name.
pub fn create_private_folder(folder: &Path, below: impl AsRef<Path>) -> io::Result<bool> {
    walk::create_folder(folder, below.as_ref())
}

/// Removes an empty folder below another one.
///
/// # Errors
/// When it does not exist, is not empty, or is a link.
pub fn remove_folder_below(folder: &Path, below: impl AsRef<Path>) -> io::Result<()> {
    walk::remove_folder(folder, below.as_ref())
}

/// The entries of a folder below another one, sorted by name. An empty path is the folder itself.
///
/// # Errors
/// When it cannot be listed, or there is a link on the way.
pub fn entries_below(folder: &Path, below: impl AsRef<Path>) -> io::Result<Vec<Entry>> {
    let mut entries = walk::entries(folder, below.as_ref())?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

pub(crate) fn read_whole(file: File, max_bytes: u64) -> io::Result<Vec<u8>> {
    check_size(&file.metadata()?, max_bytes)?;
    let mut content = Vec::new();
    // It may grow in the meantime, and files of the kernel do not report their size.
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > max_bytes {
        return Err(Unfit::TooLarge { max_bytes }.into());
    }
    Ok(content)
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
        process::Command,
    };

    use super::*;
    use crate::entry::EntryKind;

    fn unfit(error: &io::Error) -> Option<Unfit> {
        error.get_ref()?.downcast_ref().copied()
    }

    #[track_caller]
    fn check_unfit<T: std::fmt::Debug>(result: io::Result<T>, expected: Unfit) {
        let error = result.unwrap_err();
        assert_eq!(unfit(&error), Some(expected), "{error:?}");
    }

    #[test]
    fn links_are_followed_to_the_folder_and_not_below_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("bundle")).unwrap();
        fs::create_dir(at("outside")).unwrap();
        fs::write(at("outside/secret"), "1").unwrap();
        symlink(at("bundle"), at("link")).unwrap();
        symlink(at("outside"), at("bundle/tracker")).unwrap();
        symlink(at("outside/secret"), at("bundle/file")).unwrap();
        symlink("inside", at("bundle/near")).unwrap();
        fs::write(at("bundle/inside"), "2").unwrap();

        assert_eq!(FileBelow::new(at("link"), "inside").read(9).unwrap(), b"2");
        for below in ["file", "near", "tracker/secret"] {
            let file = FileBelow::new(at("bundle"), below);
            check_unfit(file.open(), Unfit::Link);
            check_unfit(file.append(), Unfit::Link);
        }
        check_unfit(FileBelow::new(at("bundle"), "tracker/new").append(), Unfit::Link);
        check_unfit(
            FileBelow::new(at("bundle"), "tracker/new").replace(b"3", Durability::Process),
            Unfit::Link,
        );
        check_unfit(create_private_folder(&at("bundle"), "tracker"), Unfit::Link);
        check_unfit(entries_below(&at("bundle"), "tracker"), Unfit::Link);
        check_unfit(FileBelow::new(at("bundle"), "../outside/secret").read(9), Unfit::Outside);
        check_unfit(FileBelow::new(at("bundle"), at("outside/secret")).read(9), Unfit::Outside);

        // The link itself is replaced, and its target is unchanged.
        FileBelow::new(at("bundle"), "file").replace(b"mine", Durability::Process).unwrap();
        assert_eq!(fs::read(at("outside/secret")).unwrap(), b"1");
        assert_eq!(fs::read(at("bundle/file")).unwrap(), b"mine");
        assert_eq!(fs::read_dir(at("outside")).unwrap().count(), 1);
    }

    #[test]
    fn only_regular_files_are_opened_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        fs::create_dir(dir.path().join("folder")).unwrap();
        check_unfit(FileBelow::at(&pipe).open(), Unfit::Special);
        check_unfit(FileBelow::at(&pipe).append(), Unfit::Special);
        check_unfit(FileBelow::at(Path::new("/dev/zero")).read(9), Unfit::Special);
        check_unfit(FileBelow::new(dir.path(), "folder").read(9), Unfit::Folder);
        let sparse = dir.path().join("sparse");
        File::create(&sparse).unwrap().set_len(3 << 30).unwrap();
        check_unfit(FileBelow::at(&sparse).read(1 << 20), Unfit::TooLarge { max_bytes: 1 << 20 });
    }

    #[test]
    fn a_file_with_a_second_name_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, ours) = (dir.path().join("victim"), dir.path().join("ours"));
        fs::write(&victim, "1").unwrap();
        fs::hard_link(&victim, &ours).unwrap();
        check_unfit(FileBelow::at(&ours).append(), Unfit::SeveralNames);
        FileBelow::at(&ours).replace(b"2", Durability::Process).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"1");
    }

    #[test]
    fn what_stands_under_the_name_of_a_temporary_file_is_neither_in_the_way_nor_removed() {
        let dir = tempfile::tempdir().unwrap();
        let ours = dir.path().join("a.json");
        let prepared = |number: u32| dir.path().join(format!("a.json.{}-{number}.tmp", std::process::id()));
        (0..200).for_each(|number| fs::create_dir(prepared(number)).unwrap());
        for durability in [Durability::Process, Durability::Disk] {
            FileBelow::at(&ours).replace(b"1", durability).unwrap();
            assert_eq!(fs::read(&ours).unwrap(), b"1");
            fs::remove_file(&ours).unwrap();
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 200);
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a.json")).unwrap();
        FileBelow::new(dir.path(), "a.json").replace(b"1", Durability::Disk).unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_created_is_the_users_alone_and_nothing_stays_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(create_private_folder(dir.path(), "plans").unwrap());
        assert!(!create_private_folder(dir.path(), "plans").unwrap());
        let file = FileBelow::new(dir.path(), "plans/1.json");
        file.replace(b"1", Durability::Process).unwrap();
        file.replace(b"22", Durability::Process).unwrap();
        FileBelow::new(dir.path(), "lines").append().unwrap().write_all(b"a").unwrap();
        FileBelow::new(dir.path(), "lines").append().unwrap().write_all(b"b").unwrap();
        let mode = |below: &str| fs::metadata(dir.path().join(below)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("plans"), mode("plans/1.json"), mode("lines")), (0o700, 0o600, 0o600));
        assert_eq!(fs::read(dir.path().join("lines")).unwrap(), b"ab");
        let entries = entries_below(dir.path(), "plans").unwrap();
        assert_eq!(entries, [Entry { name: "1.json".into(), kind: EntryKind::File { size_bytes: 2 } }]);
        file.remove().unwrap();
        remove_folder_below(dir.path(), "plans").unwrap();
        assert_eq!(entries_below(dir.path(), "").unwrap().len(), 1);
    }

    #[test]
    fn a_path_is_split_at_the_folder_to_stay_in() {
        let file = FileBelow::deep(Path::new("out/b/tracker/outbox.jsonl"), 2);
        assert_eq!(file, FileBelow::new("out/b", "tracker/outbox.jsonl"));
        assert_eq!(FileBelow::at(Path::new("a.json")), FileBelow::new("", "a.json"));
        assert_eq!(file.path(), Path::new("out/b/tracker/outbox.jsonl"));
    }
}
