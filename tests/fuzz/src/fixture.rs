//! Folders and bundles for inputs. One folder serves all inputs of a process: making one takes longer than most readers do.

use std::{cell::OnceCell, fs, path::Path};

use daglight_run_bundle::Bundle;
use daglight_run_identity::RunId;
use tempfile::TempDir;

use crate::sections::fill;

/// The manifest of a run that failed.
pub const MANIFEST: &str = r#"{"format":"daglight_run_bundle","format_version":3,"daglight_version":"0.1.0",
"identity":{"run_id":"01a1fdfa-786f-70e3-90d1-66451ffc3a4f","dag_name":"a::b_v1","tags":{}},
"namespace":"daglight","profile":"dev","status":"failure","started_at":"2026-11-21T08:00:00Z","nodes":[],"warnings":[]}"#;

/// A new folder.
pub fn scratch() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// The run of [`MANIFEST`].
pub fn run_id() -> RunId {
    "01a1fdfa-786f-70e3-90d1-66451ffc3a4f".parse().expect("the id of a run")
}

/// The bundle of [`run_id`] in this folder, with a folder for its tracker.
pub fn bundle_with(out: &Path, manifest: &str) -> Bundle {
    let bundle = Bundle::create(out, run_id()).expect("a bundle");
    fs::create_dir_all(bundle.tracker_dir()).expect("the folder of the tracker");
    fs::write(bundle.manifest(), manifest).expect("the manifest");
    bundle
}

/// Hands out a bundle with [`MANIFEST`] and those of these files that the input has, in the folder that comes first.
pub fn with_bundle(files: &[&str], input: &[u8], check: impl FnOnce(&Path, &Bundle)) {
    thread_local! {
        static PLACE: OnceCell<(TempDir, Bundle)> = const { OnceCell::new() };
    }
    PLACE.with(|place| {
        let (out, bundle) = place.get_or_init(|| {
            let out = scratch();
            let bundle = bundle_with(out.path(), MANIFEST);
            (out, bundle)
        });
        fill(bundle.dir(), files, input);
        check(out.path(), bundle);
    });
}
