//! Whether a folder can take bundles.

use std::{
    env,
    fs::{self, File},
    io,
    path::Path,
};

use daglight::bundle::RUN_BUNDLE;

/// Makes sure that bundles can be written below a folder, which is made where it is not there. The bundles' own folder
/// in it must be one, and no link to another place.
pub(crate) fn make_writable(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let bundles = folder.join(RUN_BUNDLE);
    match bundles.symlink_metadata() {
        Ok(found) if found.is_dir() => try_to_write(&bundles),
        // What is not a folder, or leads somewhere else, is never written to.
        Ok(found) => {
            let what = if found.is_symlink() { "a symbolic link" } else { "a file" };
            Err(io::Error::other(format!("{} is {what}, expected a folder", bundles.display())))
        }
        Err(_) => try_to_write(folder),
    }
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
