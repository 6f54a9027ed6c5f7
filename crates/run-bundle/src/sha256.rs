//! Hashes of contents.

use std::io::{self, Read};

use daglight_run_identity::hexadecimal;
use sha2::{Digest as _, Sha256};

/// The SHA-256 of everything that is read, in hexadecimal digits, and the number of bytes.
///
/// # Errors
///
/// When reading fails.
pub fn sha256_of(mut from: impl Read) -> io::Result<(String, u64)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut bytes = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
    Ok((hexadecimal(&hasher.finalize()), bytes))
}
