//! A table of captured texts as an HTML fragment.

use maud::html;
use serde_json::Value;

use crate::{captured::Captured, policy::Policy};

/// The page only has styles for its own tables.
const TABLE: &str = "border-collapse:collapse;font-size:12px";
const CELL: &str = "border:1px solid #ddd;padding:2px 6px;white-space:pre;vertical-align:top";

impl Policy {
    /// An HTML table of captured texts. Every text in it is escaped, and there is no other markup. If the table is larger than the
    /// limit for an attribute, it has only the first rows, and the number of the others; `None` if not even the headings fit.
    pub fn table(&self, headings: &[Captured], rows: &[Vec<Captured>]) -> Option<Captured> {
        let mut shown = rows.len();
        loop {
            let table = markup(headings, &rows[..shown], rows.len() - shown);
            if table.len() <= self.max_attribute_bytes() {
                return Some(Captured::new(Value::String(table)));
            }
            // Few tables are too large, and those are usually far too large.
            shown = if shown > 0 { shown / 2 } else { return None };
        }
    }
}

fn markup(headings: &[Captured], rows: &[Vec<Captured>], left_out: usize) -> String {
    let table = html! {
        table style=(TABLE) {
            thead { tr { @for heading in headings { th style=(CELL) { (heading.to_text()) } } } }
            tbody {
                @for row in rows {
                    tr { @for cell in row { td style=(CELL) { (cell.to_text()) } } }
                }
            }
        }
        @if left_out > 0 { p { "… " (left_out) " more rows" } }
    };
    table.into_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{capture_settings::CaptureSettings, profile::Profile};

    fn table(max_attribute_bytes: usize, rows: usize) -> Option<String> {
        let capture = CaptureSettings { max_attribute_bytes, ..CaptureSettings::of_profile(Profile::Dev) };
        let policy = Policy::new("dev", capture, []);
        let row = vec![policy.capture("<script>alert('x')</script>"), policy.capture("a & \"b\"")];
        let headings = ["name", "</th>"].map(|heading| policy.capture(heading));
        Some(policy.table(&headings, &vec![row; rows])?.to_text())
    }

    #[test]
    fn only_text_is_shown_whatever_it_is() {
        let table = table(1 << 20, 1).unwrap();
        assert!(table.contains("&lt;script&gt;alert('x')&lt;/script&gt;</td>"), "{table}");
        assert!(table.contains("a &amp; ") && table.contains("&lt;/th&gt;</th>"), "{table}");
        assert_eq!((table.matches("<tr>").count(), table.matches("<script").count()), (2, 0), "{table}");
    }

    #[test]
    fn a_table_that_is_too_large_is_still_one() {
        let table = table(4_000, 1_000).unwrap();
        let shown = table.matches("<tr>").count() - 1;
        assert!(table.len() <= 4_000 && shown > 0, "{table}");
        assert!(table.ends_with(&format!("<p>… {} more rows</p>", 1_000 - shown)), "{table}");
        assert_eq!(super::tests::table(256, 1), None);
    }
}
