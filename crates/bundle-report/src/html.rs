//! The report as one page.

use crate::{Report, markdown};

/// Renders a report as a page that needs nothing from anywhere.
pub(crate) fn render(report: &Report) -> String {
    let text = escape(&markdown::render(report));
    format!("<!doctype html><meta charset=\"utf-8\"><title>Run report</title><pre>{text}</pre>\n")
}

/// Text in which nothing is markup, in element content and in quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
