//! Appending lines to a file of a bundle that several nodes of its run write to.

use std::{
    io::{self, Write as _},
    sync::{Mutex, PoisonError},
};

use daglight_guarded_files::{Durability, FileBelow};

use crate::{bundle::Bundle, json_lines::ends_with_line_feed, versioned::WriteError};

/// Only one thread appends at a time: a run writes to its files from a single process.
static APPENDING: Mutex<()> = Mutex::new(());

/// Appends lines, each with its line feed, to a file in the folder of a bundle.
///
/// # Errors
///
/// When the file cannot be written.
pub(crate) fn append_lines(bundle: &Bundle, name: &'static str, lines: Vec<u8>) -> Result<(), WriteError> {
    try_append(bundle, name, lines).map_err(|source| WriteError::Io { path: bundle.dir().join(name), source })
}

fn try_append(bundle: &Bundle, name: &'static str, mut lines: Vec<u8>) -> io::Result<()> {
    // Nodes can end at the same time. If one checked the end of the file while another is writing, it could see half of a line.
    let appending = APPENDING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut file = match bundle.appended().take(name) {
        Some(file) => file,
        None => FileBelow::new(bundle.dir(), name).append()?,
    };
    if !ends_with_line_feed(&mut file)? {
        // An earlier write to a full disk left part of a line.
        lines.insert(0, b'\n');
    }
    file.write_all(&lines)?;
    let handle = match bundle.durability() {
        Durability::Process => None,
        Durability::Disk => Some(file.try_clone()?),
    };
    bundle.appended().keep(name, file);
    drop(appending);
    // Without the lock: others need not wait for the disk.
    handle.map_or(Ok(()), |file| bundle.durability().make_durable(&file))
}
