//! Files that someone else may have prepared: a bundle from another machine, a path in a variable.
//!
//! [`FileBelow`] is the single entry point to the files of a bundle: a file is opened relative to the bundle's folder and no link
//! is followed on the way, new files are created exclusively and only their user can access them, and a file is replaced as a
//! whole. [`read_named`] reads a file that a user has named, where links are followed. Both accept only regular files, with a size
//! limit, so that a pipe, a device or an endless line neither hangs a command nor uses up its memory. [`Lines`] reads the lines of
//! such a file.
//!
//! The names and contents of the files belong to the crates that write them.

mod durability;
mod entry;
mod temporary;
mod unfit;
#[cfg_attr(unix, path = "walk_unix.rs")]
#[cfg_attr(not(unix), path = "walk_portable.rs")]
mod walk;

mod file_below;
mod lines;
mod named;

pub use durability::Durability;
pub use entry::{Entry, EntryKind};
pub use file_below::{FileBelow, create_private_folder, entries_below, remove_folder_below};
pub use lines::{Line, Lines, MAX_SKIPPED_BYTES};
pub use named::{open_named, read_named, read_named_text};
pub use temporary::without_temporary_ending;
pub use unfit::Unfit;
