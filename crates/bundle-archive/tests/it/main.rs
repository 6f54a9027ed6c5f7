//! Archives of bundles, and malicious archives.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod archives;
mod signals;
