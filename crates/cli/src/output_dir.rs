//! Whether a folder can take bundles.

use std::{
    env,
    fs::{self, File},
    io,
    path::Path,
};

/// Makes sure that bundles can be written below a folder, which is made where it is not there.
pub(crate) fn make_writable(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    try_to_write(folder)
}

/// Whether something can be written below a folder, or below the nearest one above it that is there.
pub(crate) fn check_writable(folder: &Path) -> io::Result<()> {
    let folder = env::current_dir()?.join(folder);
    let there = folder.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(&folder);
    try_to_write(there)
}

fn try_to_write(folder: &Path) -> io::Result<()> {
    let trial = folder.join(format!(".daglight-trial-{}", std::process::id()));
    File::create_new(&trial)?;
    fs::remove_file(&trial)
}
