//! Whether a folder can take bundles.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use crate::layout::RUN_BUNDLE;

/// Makes sure that bundles can be written below a folder, which is made where it is not there. The bundles' own folder
/// in it must be one, and not a link to another place.
///
/// # Errors
/// When the folder cannot be made or written, or something else is in its place.
pub fn make_writable(folder: &Path) -> io::Result<()> {
    make_folder(folder)?;
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

/// Makes a folder where it is not there. Whether it can be written to is said by the first write.
///
/// # Errors
/// When it cannot be made, or something else is in its place.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    not_a_url(folder)?;
    fs::create_dir_all(folder).map_err(|error| not_a_folder(folder).unwrap_or(error))
}

/// Whether something can be written below a folder, or below the nearest one above it that is there.
///
/// # Errors
/// When it cannot be written, or something else is in its place.
pub fn check_writable(folder: &Path) -> io::Result<()> {
    not_a_url(folder)?;
    let folder = std::path::absolute(folder)?;
    let there = folder.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(&folder);
    not_a_folder(there).map_or_else(|| try_to_write(there), Err)
}

/// What stands in the place of a folder, or in that of one above it, and is not one: the system says no more of that than that
/// something exists. `None` where nothing does.
pub fn not_a_folder(folder: &Path) -> Option<io::Error> {
    let mut above = folder.ancestors().filter(|ancestor| !ancestor.as_os_str().is_empty());
    let there = above.find(|ancestor| ancestor.symlink_metadata().is_ok())?;
    let what = match (there.is_dir(), there.is_file()) {
        (true, _) => return None,
        (_, true) => "a file",
        _ if there.exists() => "neither a file nor a folder",
        _ => "a link that leads nowhere",
    };
    Some(io::Error::other(format!("{} is {what}, expected a folder", there.display())))
}

/// Refuses what somebody writes who means another place than this machine: as a path, `s3://bucket` is a folder `s3:`.
pub(crate) fn not_a_url(folder: &Path) -> io::Result<()> {
    match folder.to_str() {
        Some(url) if url.contains("://") => {
            Err(io::Error::other("a URL is not possible here, expected a folder"))
        }
        _ => Ok(()),
    }
}

fn try_to_write(folder: &Path) -> io::Result<()> {
    let trial = folder.join(format!(".daglight-trial-{}", std::process::id()));
    // Tried and not asked: modes say nothing of a read-only mount, of a quota, or of root in a container.
    File::create_new(&trial)?;
    fs::remove_file(&trial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_folder_is_called_by_what_it_is() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        let said = format!("{} is a file, expected a folder", file.display());
        for folder in [file.clone(), file.join("deep/er")] {
            assert_eq!(make_writable(&folder).unwrap_err().to_string(), said);
            assert_eq!(make_folder(&folder).unwrap_err().to_string(), said);
            assert_eq!(check_writable(&folder).unwrap_err().to_string(), said);
        }
        make_writable(&place.path().join("new/folder")).unwrap();
        check_writable(&place.path().join("other/folder")).unwrap();
    }

    #[test]
    fn a_url_is_not_a_local_folder() {
        for url in ["s3://bucket/runs", "file:///tmp/out", "gs://b"] {
            let url = Path::new(url);
            for refused in [make_writable(url), make_folder(url), check_writable(url)] {
                assert_eq!(refused.unwrap_err().to_string(), "a URL is not possible here, expected a folder");
            }
            assert!(crate::Bundle::create(url, daglight_run_identity::RunId::new()).is_err());
        }
        assert!(!Path::new("s3:").exists());
    }

    /// What lies in a folder under the name of bundles is no concern of one that takes none.
    #[test]
    fn only_an_output_folder_needs_a_folder_for_bundles() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join(RUN_BUNDLE), "").unwrap();
        let error = make_writable(place.path()).unwrap_err().to_string();
        assert!(error.ends_with("is a file, expected a folder"), "{error}");
        make_folder(place.path()).unwrap();
    }
}
