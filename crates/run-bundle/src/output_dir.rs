//! Whether bundles can be written to a folder.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use crate::layout::RUN_BUNDLE;

/// Makes sure that bundles can be written below a folder, which is created if it does not exist. Its subfolder for bundles must be
/// a real folder, not a link to another place.
///
/// # Errors
/// When the folder cannot be created or written, or something that is not a folder has its path.
pub fn make_writable(folder: &Path) -> io::Result<()> {
    make_folder(folder)?;
    let bundles = folder.join(RUN_BUNDLE);
    match bundles.symlink_metadata() {
        Ok(found) if found.is_dir() => try_to_write(&bundles),
        // Never write to something that is not a folder, or leads somewhere else.
        Ok(found) => {
            let what = if found.is_symlink() { "a symbolic link" } else { "a file" };
            Err(io::Error::other(format!("{} is {what}, expected a folder", bundles.display())))
        }
        Err(_) => try_to_write(folder),
    }
}

/// Creates a folder if it does not exist. It does not check whether the folder is writable: the first write does.
///
/// # Errors
/// When it cannot be created, or something that is not a folder has its path.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    not_a_url(folder)?;
    fs::create_dir_all(folder).map_err(|error| not_a_folder(folder).unwrap_or(error))
}

/// Whether something can be written below a folder, or if it does not exist, below its nearest existing parent.
///
/// # Errors
/// When it cannot be written, or something that is not a folder has its path.
pub fn check_writable(folder: &Path) -> io::Result<()> {
    not_a_url(folder)?;
    let folder = std::path::absolute(folder)?;
    let there = folder.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(&folder);
    not_a_folder(there).map_or_else(|| try_to_write(there), Err)
}

/// The error for something other than a folder at the path of the folder or of one of its parents: the system only reports that
/// something exists. `None` if there is no such thing.
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

/// Rejects URLs: written as a path, `s3://bucket` would create a local folder `s3:`.
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
    // Tested by writing: modes say nothing about a read-only mount, a quota, or root in a container.
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

    /// A folder that takes no bundles may contain anything under the name of the folder for bundles.
    #[test]
    fn only_an_output_folder_needs_a_folder_for_bundles() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join(RUN_BUNDLE), "").unwrap();
        let error = make_writable(place.path()).unwrap_err().to_string();
        assert!(error.ends_with("is a file, expected a folder"), "{error}");
        make_folder(place.path()).unwrap();
    }
}
