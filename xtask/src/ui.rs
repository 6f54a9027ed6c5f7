//! The Hamilton UI for development, with what a shell must set to send runs to it.

use anyhow::Result;
use dev_services::{HamiltonUi, Python, USER, Workspace};

use crate::{demo, interrupt::Interrupt};

const PROJECT: &str = "development";

/// Starts it with what earlier runs have sent, says where it is, and ends it at ctrl-c.
pub(crate) fn run() -> Result<()> {
    let interrupt = Interrupt::listen()?;
    let workspace = Workspace::locate()?;
    let python = Python::find()?;
    demo::step("starting the Hamilton UI");
    let ui = interrupt.explain(HamiltonUi::start(&workspace, &python, &demo::hamilton_folder(&workspace)))?;
    let project = interrupt.explain(ui.project(PROJECT, "Runs of whoever works on Daglight"))?;
    println!("{}", settings(ui.url(), project));
    eprintln!(
        "\nThe Hamilton UI stays up at {} until ctrl-c. It asks once for a user name: {USER}",
        ui.url()
    );
    interrupt.wait();
    eprintln!();
    Ok(())
}

/// Lines for a shell, from which `daglight run` knows the server.
fn settings(url: &str, project: u64) -> String {
    let settings = [
        ("HAMILTON_API_URL", url),
        ("HAMILTON_UI_URL", url),
        ("HAMILTON_PROJECT_ID", &project.to_string()),
        ("HAMILTON_USERNAME", USER),
        // A server without accounts takes any, and the client wants one.
        ("HAMILTON_API_KEY", "none"),
    ];
    settings.map(|(name, value)| format!("export {name}={value}")).join("\n")
}
