//! A run bundle as one compressed file for a ticket, and back, also from someone who is not trusted.
//!
//! The archive is a `tar` under `gzip`, which every system opens: one folder named after the run, the manifest last, with the size
//! and SHA-256 of every file as it was packed. What is read back is a bundle's files and nothing else: regular files with the names
//! that a run gives, each once, within bounds. A path that leads elsewhere, a link, a device or a bomb is an error, and nothing of
//! the archive is kept.
//!
//! What lies in a bundle, and whether it is whole, belongs to `daglight-run-bundle`.

mod error_texts;
mod names;
mod pack;
mod temporary;
mod unpack;
mod without_sql;

pub use pack::{PackError, PackOptions, Packed, pack};
pub use temporary::{remove_on_signals, temporary_folder};
pub use unpack::{Limits, UnpackError, is_archive, packed_folder, unopened_archive, unpack};
