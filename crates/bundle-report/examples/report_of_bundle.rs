//! Only the report, for an existing bundle.
//!
//! `cargo run -p daglight-bundle-report --example report_of_bundle -- out/run_bundle/RUN_ID`

use std::{env, error::Error};

use daglight_bundle_report::Report;
use daglight_run_bundle::Bundle;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args().nth(1).ok_or("which bundle? give its folder as the argument")?;
    let report = Report::from_bundle(&Bundle::open(folder)?)?;
    for node in &report.nodes {
        let rows = node.rows_out.map_or("no".to_owned(), |rows| rows.to_string());
        println!("{}: {:?}, {rows} rows", node.name, node.status);
    }
    for finding in &report.findings {
        println!("{:?}: {}", finding.level, finding.summary);
    }
    Ok(())
}
