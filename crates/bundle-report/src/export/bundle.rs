//! Exporting a bundle in any of the formats.

use std::io::Write;

use daglight_run_bundle::{Bundle, Manifest};
use daglight_semantic_conventions::Namespace;

use super::{
    format::{ExportError, ExportFormat, Exported},
    otlp, perfetto, speedscope,
};

/// Writes the signals of a bundle in a format. What cannot be read of them is in the result.
///
/// # Errors
///
/// When it cannot be written.
pub fn export(bundle: &Bundle, format: ExportFormat, to: &mut dyn Write) -> Result<Exported, ExportError> {
    // Spans say themselves what happened. Without a manifest they only lack its name.
    let manifest = Manifest::read(bundle).ok();
    let namespace =
        manifest.as_ref().map_or_else(Namespace::default, |manifest| Namespace::new(&*manifest.namespace));
    let name = manifest.map_or_else(|| "run".to_owned(), |manifest| manifest.identity.dag_name);
    let exported = match format {
        ExportFormat::Perfetto => perfetto::export(bundle, &namespace, &name, to),
        ExportFormat::Speedscope => speedscope::export(bundle, &namespace, &name, to),
        ExportFormat::Otlp(signal) => otlp::export(bundle, signal, to),
    }?;
    to.flush()?;
    Ok(exported)
}
