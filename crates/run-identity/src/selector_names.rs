//! How names are written in a selector: with wildcards, or in quotes.

use std::iter::Peekable;

use wildmatch::WildMatchPattern;

/// Quoted characters are moved to a private plane of Unicode, which names do not use, until the text is split into terms: there, no
/// character has a meaning in the grammar.
const QUOTED: u32 = 0xF_0000;

/// Represents `*` and `?` in a pattern, so that the pattern can also contain them literally.
const ANY: char = '\u{10FFFC}';
const ONE: char = '\u{10FFFD}';

/// A name, or a pattern for names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pattern(WildMatchPattern<ANY, ONE>);

impl Pattern {
    /// From a part of the result of [`in_quotes`].
    pub(crate) fn new(text: &str) -> Self {
        let sign = |c| match c {
            '*' => ANY,
            '?' => ONE,
            other => plain(other),
        };
        Self(WildMatchPattern::new(&text.chars().map(sign).collect::<String>()))
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        self.0.matches(name)
    }

    /// The only name that it matches, if it has no `*` and `?`.
    pub(crate) fn name(&self) -> Option<String> {
        let name = self.0.pattern();
        (!name.contains([ANY, ONE])).then_some(name)
    }
}

/// The text with quoted characters moved out of the way of the grammar. `None` if a quote is not closed.
pub(crate) fn in_quotes(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' => quoted_part(&mut rest, &mut out)?,
            other => out.push(other),
        }
    }
    Some(out)
}

fn quoted_part(rest: &mut Peekable<impl Iterator<Item = char>>, out: &mut String) -> Option<()> {
    loop {
        match rest.next()? {
            '"' if rest.next_if_eq(&'"').is_none() => return Some(()),
            c => out.push(moved(c)),
        }
    }
}

fn moved(c: char) -> char {
    // Characters beyond that have no meaning in the grammar.
    let code = u32::from(c);
    char::from_u32(QUOTED + code).filter(|_| code <= 0xFFFF).unwrap_or(c)
}

fn plain(c: char) -> char {
    u32::from(c).checked_sub(QUOTED).filter(|code| *code <= 0xFFFF).and_then(char::from_u32).unwrap_or(c)
}

/// A part of the result of [`in_quotes`], with its quoted characters restored.
pub(crate) fn without_quotes(text: &str) -> String {
    text.chars().map(plain).collect()
}

/// The same as originally written.
pub(crate) fn written(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut is_open = false;
    for c in text.chars() {
        let meant = plain(c);
        if is_open != (meant != c) {
            out.push('"');
            is_open = !is_open;
        }
        out.push(meant);
        if is_open && meant == '"' {
            out.push('"');
        }
    }
    if is_open {
        out.push('"');
    }
    out
}

/// A name in selector notation, with quotes if it would otherwise be ambiguous.
pub(crate) fn quoted(name: &str) -> String {
    let is_special = |c: char| c.is_whitespace() || matches!(c, ',' | '"' | '*' | '?' | '+' | '@');
    // A name may contain two colons.
    let has_method = name.split_once(':').is_some_and(|(_, rest)| !rest.starts_with(':'));
    match has_method || name.contains(is_special) {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => name.to_owned(),
    }
}
