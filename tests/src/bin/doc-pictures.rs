//! Takes the pictures for the documentation from a run of the demo: its report, and its DAG and one of its nodes in the Hamilton
//! UI. Started by `cargo xtask screenshots`.

use std::{path::PathBuf, thread, time::Duration};

use anyhow::Result;
use clap::Parser;
use daglight_system_tests::Page;
use reqwest::Url;

/// For pages that move what they draw into place.
const SETTLED: Duration = Duration::from_secs(3);

/// Pages of one run.
#[derive(Parser)]
struct Arguments {
    /// The report as HTML
    #[arg(long)]
    report: PathBuf,
    /// The address of the Hamilton UI
    #[arg(long)]
    ui: String,
    /// The page of the version there
    #[arg(long)]
    version: String,
    /// The page of the run there
    #[arg(long)]
    run: String,
    /// The folder for the pictures
    #[arg(long)]
    into: PathBuf,
}

fn main() -> Result<()> {
    let Arguments { report, ui, version, run, into } = Arguments::parse();
    let page = Page::logged_in(&ui);
    let picture = |name: &str| {
        thread::sleep(SETTLED);
        page.screenshot_to(&into.join(name));
    };

    page.resize(1280, 1300);
    let report = report.canonicalize()?;
    let report = Url::from_file_path(&report)
        .map_err(|()| anyhow::anyhow!("{} has no address as a file", report.display()))?;
    page.open(report.as_str());
    // Not its findings: a run on a quiet machine has none.
    page.shows(&["Nodes", "review_lines"]);
    picture("report.png");

    page.resize(1600, 1000);
    page.open(&version);
    page.shows(&["review_lines", "customer_ranking"]);
    picture("pipeline.png");

    page.open(&format!("{run}/task/customer_ranking"));
    page.shows(&["customer_ranking", "Numeric Columns"]);
    picture("node.png");
    Ok(())
}
