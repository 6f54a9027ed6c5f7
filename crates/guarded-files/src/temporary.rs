//! The names of temporary files that will replace another one.

use std::ffi::{OsStr, OsString};

use tempfile::Builder;

const ENDING: &str = ".tmp";
/// The number of random letters and digits between the name of the file and the suffix.
const RANDOM_LENGTH: usize = 8;

/// The part before the random part in the name of the temporary file for `name`.
pub(crate) fn beginning(name: &OsStr) -> OsString {
    let mut beginning = name.to_owned();
    beginning.push(".");
    beginning
}

/// Creates temporary files `<beginning><random><ending>`.
pub(crate) fn builder(beginning: &OsStr) -> Builder<'_, 'static> {
    let mut builder = Builder::new();
    builder.prefix(beginning).rand_bytes(RANDOM_LENGTH).suffix(ENDING);
    builder
}

/// The name of the file that a temporary one was going to replace; other names are returned unchanged.
///
/// ```
/// use daglight_guarded_files::without_temporary_ending;
///
/// assert_eq!(without_temporary_ending("manifest.json.k3J9xQ0a.tmp"), "manifest.json");
/// assert_eq!(without_temporary_ending("manifest.json"), "manifest.json");
/// ```
pub fn without_temporary_ending(name: &str) -> &str {
    let Some(name) = name.strip_suffix(ENDING) else { return name };
    match name.rsplit_once('.') {
        // Only these forms. A user's file that ends with `.tmp` must not be mistaken for one of a run, because such files are
        // deleted with it.
        Some((before, part)) if is_random(part) || is_process(part) => before,
        _ => name,
    }
}

fn is_random(part: &str) -> bool {
    part.len() == RANDOM_LENGTH && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Earlier versions wrote `.<process>.tmp` or `.<process>-<n>.tmp`, and killed processes have left such files.
fn is_process(part: &str) -> bool {
    part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}
