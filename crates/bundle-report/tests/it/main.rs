//! Reports of bundles on disk.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod compared;
mod damaged;
mod endings;
mod examples;
mod exports;
#[path = "../../src/fixture.rs"]
mod fixture;
mod pages;
mod reports;
mod since;
