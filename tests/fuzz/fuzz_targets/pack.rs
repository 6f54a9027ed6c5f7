//! Whatever is in the files of a bundle, it can be packed, and what was packed can be unpacked again, with as many files.
//!
//! An input is the files of a bundle. They are packed as they are, and without SQL.

#![no_main]
#![allow(clippy::unwrap_used, reason = "a fuzz target ends at its first surprise")]

use std::{fs, path::Path};

use daglight_bundle_archive::{Limits, PackError, PackOptions, is_archive, pack, unpack};
use daglight_fuzz::{MANIFEST, sections, with_bundle};
use daglight_run_bundle::Bundle;
use libfuzzer_sys::fuzz_target;

const FILES: [&str; 8] = [
    "manifest.json",
    "artifacts.json",
    "otel_traces.json",
    "otel_metrics.json",
    "otel_logs.json",
    "plans/o_parquet-b292a1cf3f9d3255.json",
    "data_summaries.jsonl",
    "openlineage.jsonl",
];

fuzz_target!(|input: &[u8]| {
    with_bundle(&FILES, input, |out, bundle| {
        if sections(input).iter().all(|(name, _)| *name != b"manifest.json") {
            fs::write(bundle.manifest(), MANIFEST).unwrap();
        }
        for without_sql in [false, true] {
            check(bundle, out, PackOptions::default().without_sql(without_sql));
        }
    });
});

fn check(bundle: &Bundle, out: &Path, options: PackOptions) {
    let (archive, into) = (out.join("a.tar.gz"), out.join("into"));
    let _ = (fs::remove_file(&archive), fs::remove_dir_all(&into));
    fs::create_dir_all(&into).unwrap();
    let packed = match pack(bundle, &archive, options) {
        // Nothing is known of a manifest that cannot be read.
        Err(PackError::Manifest { .. }) => return,
        packed => packed.unwrap(),
    };
    assert!(is_archive(&archive));
    let unpacked = unpack(&archive, &into, Limits::default()).unwrap();
    assert_eq!(unpacked.files().len(), packed.files.len() + 1);
}
