//! The configuration of a process, and its reference.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is not as expected")]

mod layers;
mod openlineage;
mod reference;
