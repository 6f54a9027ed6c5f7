//! Files with recorded content of a run: private like those of its bundle.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

/// Creates a new file.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    private().create_new(true).open(path)
}

/// Creates a new folder.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Replaces the content of a file. An existing one keeps its permissions. If it cannot be written completely, as on a full disk, no
/// partial file is left.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = private().create(true).truncate(true).open(path)?;
    file.write_all(content).inspect_err(|_| {
        // Not anything other than a file, such as a pipe, nor the target of a link.
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
