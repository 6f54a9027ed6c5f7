//! The pages that explain the findings of a report, included in its HTML page: that must be readable without a network.

use std::collections::BTreeSet;

use maud::{Markup, Render, html};

use crate::findings::{Finding, FindingKind};

/// The explanations for the kinds of these findings, without duplicates; empty without findings.
pub(crate) fn explanations<'f>(findings: impl Iterator<Item = &'f Finding>) -> Markup {
    let kinds: BTreeSet<FindingKind> = findings.map(|finding| finding.kind).collect();
    let kinds: Vec<FindingKind> = kinds.into_iter().filter(|kind| !kind.explanation().is_empty()).collect();
    html! {
        @if !kinds.is_empty() {
            section {
                h2 { "What the findings mean" }
                @for kind in kinds { article id=(id(kind)) { (Explained(kind.explanation())) } }
            }
        }
    }
}

/// A link to the explanation of a kind.
pub(crate) fn link(kind: FindingKind) -> Markup {
    html! { a href={ "#" (id(kind)) } { code { (kind.page()) } } }
}

fn id(kind: FindingKind) -> String {
    format!("finding-{}", kind.id())
}

/// The subset of Markdown in the pages: headings, paragraphs, links and code. All pages are ours.
struct Explained(&'static str);

impl Render for Explained {
    fn render(&self) -> Markup {
        let (mut is_code, mut blocks): (bool, Vec<(Kind, String)>) = (false, Vec::new());
        for line in self.0.lines() {
            let kind = match line {
                fence if fence.starts_with("```") => {
                    is_code = !is_code;
                    Kind::End
                }
                _ if is_code => Kind::Code,
                "" => Kind::End,
                heading if heading.starts_with('#') => Kind::Heading,
                _ => Kind::Paragraph,
            };
            match blocks.last_mut() {
                Some((last, text)) if *last == kind && kind != Kind::Heading => {
                    text.push('\n');
                    text.push_str(line);
                }
                _ => blocks.push((kind, line.to_owned())),
            }
        }
        html! {
            @for (kind, text) in &blocks {
                @match kind {
                    Kind::Heading => { h3 { (text.trim_start_matches('#').trim()) } },
                    Kind::Paragraph => { p { (without_links(text)) } },
                    Kind::Code => { pre { (text) } },
                    Kind::End => {},
                }
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Heading,
    Paragraph,
    Code,
    End,
}

/// Text in which each link is replaced by its title: its address is not valid from here.
fn without_links(text: &str) -> String {
    let mut parts = text.split('[');
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once("](").and_then(|(called, rest)| Some((called, rest.split_once(')')?.1))) {
            Some((called, rest)) => shown.extend([called, rest]),
            None => shown.extend(["[", part]),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_shown_with_its_headings_and_its_code() {
        let page = "# spill\n\nIt spilled [to\ndisk](spill.md), a[0].\n\n## Example\n\n```sql\nSELECT 1;\n\nSELECT '<b>';\n```\n";
        let expected = "<h3>spill</h3><p>It spilled to\ndisk, a[0].</p><h3>Example</h3><pre>SELECT 1;\n\nSELECT '&lt;b&gt;';</pre>";
        assert_eq!(explained(page), expected);
        for kind in FindingKind::ALL {
            let shown = explained(kind.explanation());
            assert!(
                shown.starts_with(&format!("<h3>{}</h3><p>", kind.id())) && !shown.contains("]("),
                "{shown}"
            );
        }
    }

    fn explained(page: &'static str) -> String {
        Explained(page).render().into_string()
    }
}
