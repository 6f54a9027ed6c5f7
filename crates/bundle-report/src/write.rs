//! The report as files and pages.

use daglight_run_bundle::{Bundle, Manifest, REPORT_FILES, WriteError};

use crate::{html, markdown, report::Report};

impl Report {
    /// Writes the report into its bundle: JSON, Markdown and HTML. Each file is replaced as a whole, and the manifest of a
    /// run that has ended lists the new ones.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn write(&self, bundle: &Bundle) -> Result<(), WriteError> {
        bundle.replace_json(&bundle.report_json(), self)?;
        bundle.replace(&bundle.report_markdown(), self.to_markdown().as_bytes())?;
        bundle.replace(&bundle.report_html(), self.to_html().as_bytes())?;
        // Where that is not possible now, the report is there all the same, and the next one is listed.
        let _ = Manifest::list_again(bundle, &REPORT_FILES);
        Ok(())
    }

    /// The report as Markdown.
    pub fn to_markdown(&self) -> String {
        markdown::render(self)
    }

    /// The report as one HTML page that needs nothing else.
    pub fn to_html(&self) -> String {
        html::render(self, None)
    }

    /// As [`Report::to_html`], with a link to a list of all runs, which is at this address relative to the page.
    pub fn to_html_of_runs_at(&self, address: &str) -> String {
        html::render(self, Some(address))
    }
}
