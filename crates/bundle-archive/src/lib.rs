//! A run bundle as one compressed file for a ticket, and unpacking it again, even from an untrusted source.
//!
//! The archive is a `tar` under `gzip`, which every system can open: one folder named after the run, the manifest last, with the
//! size and SHA-256 of every file at the time of packing. Unpacking accepts only the files of a bundle: regular files with the
//! names that a run uses, each once, within limits. A path that leads elsewhere, a link, a device or a decompression bomb is an
//! error, and nothing of the archive is kept.
//!
//! The files of a bundle, and whether it is intact, belong to `daglight-run-bundle`.

mod error_texts;
mod names;
mod pack;
mod temporary;
mod unpack;
mod without_sql;

pub use pack::{PackError, PackOptions, Packed, pack};
pub use temporary::{remove_on_signals, temporary_folder};
pub use unpack::{
    Limits, UnpackError, is_archive, is_named_archive, packed_folder, unopened_archive, unpack,
};
