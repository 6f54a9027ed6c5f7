//! Whatever an archive says, unpacking it ends, and writes nothing outside of its folder and no more than the limits.
//!
//! An input is what stands in the archive before it is compressed; where it begins with 0, the rest of it is the archive itself.

#![no_main]
#![allow(clippy::unwrap_used, reason = "a fuzz target ends at its first surprise")]

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use daglight_bundle_archive::{Limits, is_archive, packed_folder, unpack};
use daglight_fuzz::scratch;
use flate2::{Compression, write::GzEncoder};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { bytes: 8 << 10, files: 20 };

fuzz_target!(|input: &[u8]| {
    let folder = scratch();
    let (archive, into) = (folder.path().join("a.tar.gz"), folder.path().join("in/to"));
    fs::create_dir_all(&into).unwrap();
    match input.split_first() {
        Some((0, bytes)) => fs::write(&archive, bytes).unwrap(),
        _ => {
            let mut encoder = GzEncoder::new(File::create(&archive).unwrap(), Compression::fast());
            encoder.write_all(input).unwrap();
            encoder.finish().unwrap();
        }
    }
    let _ = is_archive(&archive);
    if let Some(folder) = packed_folder(&archive) {
        assert!(!folder.contains('/') && !["", ".", ".."].contains(&&*folder), "{folder}");
    }
    let _ = unpack(&archive, &into, LIMITS);
    let (files, bytes) = size(&into);
    assert!(files <= LIMITS.files && bytes <= LIMITS.bytes, "{files} files, {bytes} bytes");
    let beside: Vec<_> =
        fs::read_dir(folder.path()).unwrap().chain(fs::read_dir(folder.path().join("in")).unwrap()).collect();
    assert_eq!(beside.len(), 3, "{beside:?}");
});

/// The files below a folder, and their bytes. A link is a surprise.
fn size(folder: &Path) -> (u64, u64) {
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.path().symlink_metadata().unwrap();
        assert!(!metadata.is_symlink());
        if metadata.is_dir() {
            let below = size(&entry.path());
            (files, bytes) = (files + below.0, bytes + below.1);
        } else {
            (files, bytes) = (files + 1, bytes + metadata.len());
        }
    }
    (files, bytes)
}
