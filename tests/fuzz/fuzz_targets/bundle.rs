//! Whatever is in the files of a bundle, it is reported, compared, exported and checked, in bounded time and memory.
//!
//! An input is the files of a bundle.

#![no_main]
#![allow(clippy::unwrap_used, reason = "a fuzz target ends at its first surprise")]

use std::{cell::OnceCell, fs, io};

use daglight_bundle_report::{
    ComparedRun, Comparison, ExportError, ExportFormat, ExportSignal, Report, export,
};
use daglight_fuzz::{fill, scratch};
use daglight_run_bundle::Bundle;
use daglight_run_identity::RunId;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// The plan has the name by which the next run looks for it.
const FILES: [&str; 12] = [
    "manifest.json",
    "artifacts.json",
    "heartbeat.json",
    "otel_traces.json",
    "otel_metrics.json",
    "otel_logs.json",
    "plans/o_parquet-b292a1cf3f9d3255.json",
    "data_summaries.jsonl",
    "tracker/outbox.jsonl",
    "tracker/delivery.json",
    "openlineage.jsonl",
    "openlineage.delivery.json",
];

thread_local! {
    /// The last run, and the one that is read.
    static BUNDLES: OnceCell<(TempDir, [Bundle; 2])> = const { OnceCell::new() };
}

fuzz_target!(|input: &[u8]| {
    BUNDLES.with(|bundles| {
        let (_, bundles) = bundles.get_or_init(|| {
            let out = scratch();
            let bundles = [(); 2].map(|()| {
                let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
                fs::create_dir_all(bundle.tracker_dir()).unwrap();
                bundle
            });
            (out, bundles)
        });
        bundles.iter().for_each(|bundle| fill(bundle.dir(), &FILES, input));
        read(&bundles[1]);
    });
});

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
    let signals = [ExportSignal::Traces, ExportSignal::Metrics, ExportSignal::Logs];
    let formats = [ExportFormat::Perfetto, ExportFormat::Speedscope];
    for format in formats.into_iter().chain(signals.map(ExportFormat::Otlp)) {
        let exported = export(bundle, format, &mut io::sink());
        assert!(matches!(exported, Ok(_) | Err(ExportError::Unreadable { .. })), "{exported:?}");
    }
}
