//! Prints `docs/run_diagnostics_report.schema.json`: the JSON Schema of reports.

use daglight_bundle_report::Report;

fn main() {
    println!("{:#}", Report::json_schema());
}
