//! Files that show what a run has recorded: they are their user's alone, as those of its bundle are.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

/// Makes a file where there is none.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    private().create_new(true).open(path)
}

/// Makes a folder where there is none.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Replaces what is in a file. One that was there keeps who may read it, as its user has set it. Where not all of it can be written, as on
/// a full disk, no part of it stays behind.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = private().create(true).truncate(true).open(path)?;
    file.write_all(content).inspect_err(|_| {
        // Not what is no file, such as a pipe, nor what a link leads to.
        if path.symlink_metadata().is_ok_and(|there| there.is_file()) {
            let _ = fs::remove_file(path);
        }
    })
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
