//! Appending lines to a file of a bundle that several nodes of its run write to.

use std::{
    io::Write as _,
    sync::{Mutex, PoisonError},
};

use daglight_guarded_files::FileBelow;

use crate::{bundle::Bundle, json_lines::ends_with_line_feed, versioned::WriteError};

/// Only one thread appends at a time: a run writes to its files from a single process.
static APPENDING: Mutex<()> = Mutex::new(());

/// Appends lines, each with its line feed, to a file in the folder of a bundle.
///
/// # Errors
///
/// When the file cannot be written.
pub(crate) fn append_lines(bundle: &Bundle, name: &str, mut lines: Vec<u8>) -> Result<(), WriteError> {
    let failed = |source| WriteError::Io { path: bundle.dir().join(name), source };
    let mut file = FileBelow::new(bundle.dir(), name).append().map_err(failed)?;
    // Nodes can end at the same time. If one checked the end of the file while another is writing, it could see half of a line.
    let appending = APPENDING.lock().unwrap_or_else(PoisonError::into_inner);
    if !ends_with_line_feed(&mut file).map_err(failed)? {
        // An earlier write to a full disk left part of a line.
        lines.insert(0, b'\n');
    }
    file.write_all(&lines).map_err(failed)?;
    drop(appending);
    bundle.durability().make_durable(&file).map_err(failed)
}
