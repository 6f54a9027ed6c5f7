//! Exporting a bundle in any of the formats.

use std::io::Write;

use chrono::Utc;
use daglight_run_bundle::{Bundle, Manifest};
use daglight_semantic_conventions::{Key, Namespace};

use super::{
    format::{ExportError, ExportFormat, Exported},
    otlp, perfetto, speedscope,
};
use crate::trace_lines::{RunLines, RunTimes, run_named};

/// Writes the signals of a bundle in a format. The result contains what could not be read.
///
/// # Errors
///
/// When it cannot be written, or nothing of the file can be read.
#[expect(clippy::disallowed_methods, reason = "the edge of exports: each format has its time as a parameter")]
pub fn export(bundle: &Bundle, format: ExportFormat, to: &mut dyn Write) -> Result<Exported, ExportError> {
    // Spans are sufficient. Without a manifest only the name of the DAG is missing.
    let manifest = Manifest::read(bundle).ok();
    let namespace =
        manifest.as_ref().map_or_else(Namespace::default, |manifest| Namespace::new(&*manifest.namespace));
    let times = RunTimes::of(manifest.as_ref(), Utc::now());
    let run = run_named(bundle, manifest.as_ref());
    let key = namespace.key(Key::RunId);
    let of = RunLines::new(times, run.as_deref(), &key);
    let name = manifest.map_or_else(|| "run".to_owned(), |manifest| manifest.identity.dag_name);
    let exported = match format {
        ExportFormat::Perfetto => perfetto::export(bundle, &namespace, of, &name, to),
        ExportFormat::Speedscope => speedscope::export(bundle, &namespace, of, &name, to),
        ExportFormat::Otlp(signal) => otlp::export(bundle, &namespace, of, signal, to),
    }?;
    to.flush()?;
    Ok(exported)
}
