//! The pictures of the documentation: pages of the demo, in a browser.

use std::process::Command;

use anyhow::{Context, Result};
use dev_services::Browser;

use crate::{
    demo::{Demo, Options, step},
    interrupt::Interrupt,
};

/// Where the documentation has its pictures, below the root of the workspace.
const PICTURES: &str = "docs/images";

/// Runs the demo and takes the pictures anew, by default of the fast program: a report says what the slow one costs.
pub(crate) fn run(debug: bool) -> Result<()> {
    let interrupt = Interrupt::listen()?;
    interrupt.explain(Browser::find_or_install().map(drop))?;
    let options = Options::of_build(!debug);
    let demo = Demo::new(&options)?;
    let shown = demo.show(&interrupt)?;
    shown.report.ensure_success()?;
    let ui = shown.ui.as_ref().context("pictures of the Hamilton UI need it, and it did not start")?;
    let root = demo.workspace().root();
    let files = shown.report.report.as_ref().context("the run has no report")?;
    let link = |link: &Option<String>| link.clone().context("the run has no link into the Hamilton UI");

    step("pictures");
    let mut pictures = Command::new(demo.program("doc-pictures")?);
    pictures.arg("--report").arg(root.join(&files.html));
    pictures.args(["--ui", ui.url()]);
    pictures.args(["--version", &link(&shown.report.links.hamilton_version)?]);
    pictures.args(["--run", &link(&shown.report.links.hamilton_run)?]);
    pictures.arg("--into").arg(root.join(PICTURES));
    interrupt.explain(dev_services::run(&mut pictures))
}
