//! Checks the files in the system's certificate variables before a TLS library reads them.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    path::Path,
};

use daglight_guarded_files::{Unfit, open_named, read_named};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use crate::{
    error::TransportError,
    pem::{MAX_CERTIFICATE_BYTES, check_certificates},
};

const FILE: &str = "SSL_CERT_FILE";
const FOLDERS: &str = "SSL_CERT_DIR";

/// Checks the paths in `SSL_CERT_FILE` and `SSL_CERT_DIR`. The library that reads them would wait forever for a pipe, and use up
/// all memory for a device. There is no fallback to other certificates: a user who sets these variables means those.
///
/// # Errors
/// When it is not a regular file, or has more than [`MAX_CERTIFICATE_BYTES`], and when `SSL_CERT_FILE` contains no certificates, or
/// does not exist while `SSL_CERT_DIR` contains no folder either.
#[expect(
    clippy::disallowed_methods,
    reason = "checks what the TLS library reads from the variables of the process"
)]
pub fn check_system_roots() -> Result<(), TransportError> {
    check(env::var_os(FILE), env::var_os(FOLDERS))
}

fn check(file: Option<OsString>, folders: Option<OsString>) -> Result<(), TransportError> {
    if let Some(file) = file.as_deref().filter(|file| !file.is_empty()) {
        let has_folders = folders.as_deref().is_some_and(|folders| !folders.is_empty());
        check_file(Path::new(file), has_folders)?;
    }
    for folder in env::split_paths(folders.as_deref().unwrap_or(OsStr::new(""))) {
        // The library skips everything there that is not a regular file.
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()).filter(|path| path.is_file()) {
            check_size(&path)?;
        }
    }
    Ok(())
}

/// Reads the file once. The library skips damaged certificates in it, and ignores a missing file if there are folders.
fn check_file(path: &Path, has_folders: bool) -> Result<(), TransportError> {
    let problem = match read_named(path, MAX_CERTIFICATE_BYTES) {
        Ok(text) => match check_certificates(&text) {
            Err(error) if CertificateDer::pem_slice_iter(&text).filter_map(Result::ok).next().is_none() => {
                io::Error::other(error)
            }
            _ => return Ok(()),
        },
        Err(error) if has_folders && error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => error,
    };
    Err(TransportError::Variable { variable: FILE, path: path.to_owned(), source: problem })
}

/// Checks a file in a folder, where the library skips unreadable ones. It reads each of them completely.
fn check_size(path: &Path) -> Result<(), TransportError> {
    let unfit = |source| TransportError::Variable { variable: FOLDERS, path: path.to_owned(), source };
    let bytes = match open_named(path).and_then(|file| file.metadata()) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.get_ref().is_some_and(|cause| cause.is::<Unfit>()) => return Err(unfit(error)),
        Err(_) => return Ok(()),
    };
    if bytes > MAX_CERTIFICATE_BYTES {
        return Err(unfit(io::Error::from(Unfit::TooLarge { max_bytes: MAX_CERTIFICATE_BYTES })));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(file: Option<&Path>, folder: Option<&Path>, expected: &str) {
        let error = check(file.map(Into::into), folder.map(Into::into)).unwrap_err();
        let shown = format!("{error} {:?}", std::error::Error::source(&error));
        assert!(shown.contains(expected), "{shown}");
    }

    #[test]
    fn what_a_variable_names_is_a_regular_file_within_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let large = folder.path().join("large.pem");
        fs::File::create(&large).unwrap().set_len(1 << 40).unwrap();
        check_refused(Some(&large), None, "SSL_CERT_FILE names");
        check_refused(None, Some(folder.path()), "SSL_CERT_DIR names");
        check_refused(Some(folder.path()), None, "Folder");
        #[cfg(unix)]
        check_refused(Some(Path::new("/dev/zero")), None, "Special");
        fs::write(&large, "x").unwrap();
        check_refused(Some(&large), None, "NoCertificate");
        check_refused(Some(Path::new("/nowhere")), None, "SSL_CERT_FILE names /nowhere");
        check_refused(Some(&large), Some(folder.path()), "NoCertificate");
        check(None, Some(folder.path().into())).unwrap();
        check(Some("/nowhere".into()), Some("/nowhere:".into())).unwrap();
        check(None, None).unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        check_refused(Some(&pipe), None, "Special");
        check(None, Some(folder.path().into())).unwrap();
    }
}
