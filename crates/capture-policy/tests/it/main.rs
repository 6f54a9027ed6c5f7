//! The configuration of a process, its reference, and what a policy lets out of random values.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is not as expected")]

mod layers;
mod random_values;
mod reference;
