//! Delivery against a scripted server: order, faults, recovery.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails where it stands")]

mod answers;
mod beginning;
mod compressed;
mod counted;
mod destinations;
mod faults;
mod format;
mod projects;
mod recorded;
mod server;
mod sync;
mod tls;
mod verified;
mod warnings;
