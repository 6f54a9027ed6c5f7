//! What the fuzz targets share. Each target is a file of `fuzz_targets`, its first inputs are in `seeds`, and `cargo xtask fuzz` builds
//! and runs them.
//!
//! Most inputs are several texts: each stands below a line `== NAME`. The names that a target knows are listed in it.

mod fixture;
mod sections;
mod server;
mod tracker;

pub use fixture::{MANIFEST, bundle_with, run_id, scratch, with_bundle};
pub use sections::{fill, sections};
pub use server::{Server, json_answer};
pub use tracker::{fill_tracker, tracker_answer};
