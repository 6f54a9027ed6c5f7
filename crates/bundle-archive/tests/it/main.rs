//! Archives of bundles, and archives that were made to do harm.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod archives;
mod signals;
