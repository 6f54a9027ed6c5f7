//! Delivery against a scripted server: order, faults, recovery.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where it stands, and is an edge: it reads the clock and the variables"
)]

mod answers;
mod beginning;
mod compressed;
mod counted;
mod destinations;
mod examples;
mod faults;
mod format;
mod observed;
mod projects;
mod recorded;
mod server;
mod sync;
mod tls;
mod verified;
mod warnings;
