//! Whatever is in the files of a bundle, it is reported, compared, exported and checked, in bounded time and memory.
//!
//! ```text
//! cargo install cargo-fuzz
//! cd crates/bundle-report && RUSTC_BOOTSTRAP=1 cargo fuzz run bundle fuzz/corpus/bundle fuzz/seeds/bundle -- \
//!     -max_total_time=60 -rss_limit_mb=1024 -timeout=10
//! ```
//!
//! `RUSTC_BOOTSTRAP=1` is for the stable compiler; a nightly one does without. An input is several files: each begins with a line
//! `== NAME`, where the name is one of `inputs::FILES`.

#![no_main]
#![allow(clippy::unwrap_used, reason = "a fuzz target ends at its first surprise")]

#[path = "../inputs.rs"]
mod inputs;

use std::{cell::OnceCell, fs, io};

use daglight_bundle_report::{ComparedRun, Comparison, ExportFormat, ExportSignal, Report, export};
use daglight_run_bundle::Bundle;
use daglight_run_identity::RunId;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

use crate::inputs::FILES;

thread_local! {
    /// The last run, and the one that is read.
    static BUNDLES: OnceCell<(TempDir, [Bundle; 2])> = const { OnceCell::new() };
}

fuzz_target!(|input: &[u8]| {
    BUNDLES.with(|bundles| {
        let (_, bundles) = bundles.get_or_init(|| {
            let out = tempfile::tempdir().unwrap();
            let bundles = [(); 2].map(|()| {
                let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
                fs::create_dir_all(bundle.tracker_dir()).unwrap();
                bundle
            });
            (out, bundles)
        });
        bundles.iter().for_each(|bundle| fill(bundle, input));
        read(&bundles[1]);
    });
});

/// Writes the files of the input, and removes the others.
fn fill(bundle: &Bundle, input: &[u8]) {
    for (_, path) in FILES {
        let _ = fs::remove_file(bundle.dir().join(path));
    }
    let mut rest = input;
    while let Some(start) = find(rest, b"== ") {
        let named = &rest[start + 3..];
        let end = find(named, b"\n").unwrap_or(named.len());
        let content = &named[(end + 1).min(named.len())..];
        let until = find(content, b"\n== ").map_or(content.len(), |at| at + 1);
        if let Some((_, path)) = FILES.iter().find(|(name, _)| name.as_bytes() == &named[..end]) {
            fs::write(bundle.dir().join(path), &content[..until]).unwrap();
        }
        rest = &content[until..];
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn read(bundle: &Bundle) {
    let _ = bundle.verify();
    if let Ok(report) = Report::from_bundle(bundle) {
        let page = report.to_html();
        // The page has its data and its own two scripts, whatever is in the bundle.
        assert_eq!(page.matches("<script").count(), 3);
        let _ = report.to_markdown();
    }
    if let Ok(run) = ComparedRun::read(bundle)
        && let Some(comparison) = Comparison::new(std::slice::from_ref(&run), &run)
    {
        let _ = comparison.to_text();
        assert_eq!(comparison.to_html().matches("<script").count(), 3);
    }
    for format in
        [ExportFormat::Perfetto, ExportFormat::Speedscope, ExportFormat::Otlp(ExportSignal::Traces)]
    {
        export(bundle, format, &mut io::sink()).unwrap();
    }
}
