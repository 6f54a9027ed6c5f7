//! One OTLP/JSON document of all lines of a signal file.

use std::io::{self, Write};

use daglight_run_bundle::{Bundle, read_lines};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ExportSignal, Exported};

/// A line: an export request of one of the signals.
#[derive(Deserialize)]
struct Line<'l> {
    #[serde(borrow, alias = "resourceMetrics", alias = "resourceLogs")]
    #[serde(rename = "resourceSpans")]
    resources: Vec<&'l RawValue>,
}

pub(super) fn export(bundle: &Bundle, signal: ExportSignal, to: &mut dyn Write) -> io::Result<Exported> {
    let (path, field) = match signal {
        ExportSignal::Traces => (bundle.traces(), "resourceSpans"),
        ExportSignal::Metrics => (bundle.metrics(), "resourceMetrics"),
        ExportSignal::Logs => (bundle.logs(), "resourceLogs"),
    };
    write!(to, "{{\"{field}\":[")?;
    let (mut items, mut failed) = (0_u64, Ok(()));
    let file = read_lines(&path, |line| {
        let line: Line<'_> = serde_json::from_str(line)?;
        for resource in line.resources {
            if failed.is_ok() {
                let comma = if items > 0 { "," } else { "" };
                // As it stands in the file, and not read and written anew: nothing of it can be lost or rounded.
                failed = write!(to, "{comma}{resource}");
            }
            items += 1;
        }
        Ok(())
    });
    failed?;
    writeln!(to, "]}}")?;
    Ok(Exported { items, left_out: 0, file })
}
