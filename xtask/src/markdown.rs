//! What the checks need of a page in Markdown: its links, the names of its headings, and its pieces of code.

use std::collections::BTreeSet;

/// What begins and ends a block of code.
pub(crate) const FENCE: &str = "```";

/// The lines of a page outside of its blocks of code.
pub(crate) fn prose(page: &str) -> String {
    let mut is_code = false;
    let mut kept = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with(FENCE) {
            is_code = !is_code;
        } else if !is_code {
            kept += line;
            kept.push('\n');
        }
    }
    kept
}

/// Where the links and pictures of a page lead to, in their order.
pub(crate) fn links(page: &str) -> Vec<String> {
    let prose = prose(page);
    let text: Vec<&str> = outside_and_inside(&prose).map(|(outside, _)| outside).collect();
    // The text of a link may be code.
    let text = text.join("code");
    let targets = text.split("](").skip(1);
    // A title may follow the target.
    targets.filter_map(|rest| Some(rest.split_once(')')?.0.split_whitespace().next()?.to_owned())).collect()
}

/// The pieces of code in a text, without their backticks.
pub(crate) fn code_spans(text: &str) -> Vec<String> {
    outside_and_inside(text).filter_map(|(_, inside)| inside).map(str::to_owned).collect()
}

/// The names by which the headings of a page are linked to.
pub(crate) fn anchors(page: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let text = prose(page);
    let headings = text
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    for heading in headings {
        let name = anchor(heading.trim());
        let numbered = (1..).map(|number| format!("{name}-{number}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !anchors.contains(name));
        anchors.extend(free);
    }
    anchors
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|sign| sign.is_alphanumeric() || matches!(sign, '-' | '_' | ' '));
    kept.flat_map(char::to_lowercase).map(|sign| if sign == ' ' { '-' } else { sign }).collect()
}

/// The text up to each piece of code, with that piece; at the end the rest without one.
fn outside_and_inside(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let here = rest.take()?;
        let Some(start) = here.find('`') else { return Some((here, None)) };
        let after = here[start..].trim_start_matches('`');
        // A piece of code ends with as many backticks as it begins with.
        let ticks = &here[start..here.len() - after.len()];
        let Some(length) = closing(after, ticks) else { return Some((here, None)) };
        rest = Some(&after[length + ticks.len()..]);
        Some((&here[..start], Some(&after[..length])))
    })
}

/// Where the backticks begin that close a piece of code.
fn closing(text: &str, ticks: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let start = from + text[from..].find('`')?;
        let run = text[start..].len() - text[start..].trim_start_matches('`').len();
        if run == ticks.len() {
            return Some(start);
        }
        from = start + run;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_called_as_code_hosts_and_mdbook_call_them() {
        let page =
            "# Whose files count\n## `daglight run`: how it *ends*?\n### A-b_c\n### A-b_c\nText # no\n#no\n";
        let expected = ["whose-files-count", "daglight-run-how-it-ends", "a-b_c", "a-b_c-1"];
        assert_eq!(anchors(page), expected.map(str::to_owned).into());
    }

    #[test]
    fn links_are_found_outside_of_code_alone() {
        let page = "[a](b.md \"title\") `[c](d.md)` ``[e](`f`.md)`` [`g`](h.md)\n```\n[i](j.md)\n```\n![k\nl](m.png)";
        assert_eq!(links(page), ["b.md", "h.md", "m.png"]);
    }

    #[test]
    fn code_is_between_as_many_backticks() {
        assert_eq!(code_spans("a `b` ``c `d` e`` f ` g"), ["b", "c `d` e"]);
    }
}
