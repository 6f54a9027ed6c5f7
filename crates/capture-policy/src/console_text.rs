//! The form in which a command prints scripts and errors.

use crate::{
    printable::{CONTINUED, CUT_MARK, printable, printable_lines},
    redact::Redactor,
};

/// The text of an error for the console. Quoted lines of a script are unchanged; all other lines after the first are marked as part
/// of the message, so that none can be mistaken for a line of ours.
pub fn printable_error(text: &str) -> String {
    let mut shown = String::new();
    let mut lines = text.trim_end().split('\n').peekable();
    while let Some(line) = lines.next() {
        let is_first = shown.is_empty();
        let below = lines.next_if(|below| !is_first && Quoted::new(line, below).is_some());
        match below {
            Some(below) => [line, below].iter().for_each(|quoted| {
                shown.push('\n');
                shown.push_str(&printable_lines(quoted));
            }),
            None => {
                // Do not mark a line twice.
                let line = line.strip_prefix(&CONTINUED[1..]).filter(|_| !is_first).unwrap_or(line);
                shown.push_str(if is_first { "" } else { CONTINUED });
                shown.push_str(&printable(line.trim_end_matches('\r')));
            }
        }
    }
    shown
}

impl Redactor {
    /// A text for the console, which may quote lines of a script with a caret below: without credentials, and without literals if
    /// the policy hides them.
    pub fn console_text(&self, text: &str) -> String {
        let mut out = Vec::new();
        let mut lines = text.split('\n').peekable();
        while let Some(line) = lines.next() {
            let quoted = lines.peek().and_then(|below| Quoted::new(line, below));
            match quoted {
                Some(quoted) => {
                    lines.next();
                    out.push(quoted.shown(self));
                }
                None => out.push(self.console_line(line)),
            }
        }
        out.join("\n")
    }

    /// Like [`Redactor::console_text`], for the error of a statement: its message is shown according to [`Redactor::error_text`].
    pub fn console_error(&self, text: &str) -> String {
        let lines: Vec<&str> = text.split('\n').collect();
        let quote = lines.windows(2).position(|pair| Quoted::new(pair[0], pair[1]).is_some());
        let (message, quote) = lines.split_at(quote.unwrap_or(lines.len()));
        let mut shown = self.error_text(&message.join("\n"));
        if !quote.is_empty() {
            shown.push('\n');
            shown.push_str(&self.console_text(&quote.join("\n")));
        }
        shown
    }

    fn console_line(&self, line: &str) -> String {
        if line.contains('\'') {
            self.name_text(&self.without_named_secrets(line))
        } else {
            self.name_text(line)
        }
    }
}

/// A line of a script with a caret below, as errors quote it: `12 | SELECT x` and `   |        ^`.
struct Quoted<'a> {
    margin: &'a str,
    source: &'a str,
    below_margin: &'a str,
    caret: usize,
}

impl<'a> Quoted<'a> {
    fn new(line: &'a str, below: &'a str) -> Option<Self> {
        let bar = line
            .find(" | ")
            .filter(|bar| *bar > 0 && line.as_bytes()[..*bar].iter().all(u8::is_ascii_digit))?;
        let (margin, source) = line.split_at(bar + " | ".len());
        let (below_margin, rest) = below.split_at_checked(margin.len())?;
        let indent = rest.strip_suffix('^')?;
        let is_quote = below_margin.trim() == "|" && indent.chars().all(char::is_whitespace);
        is_quote.then(|| Self { margin, source, below_margin, caret: indent.chars().count() })
    }

    fn shown(&self, redactor: &Redactor) -> String {
        let Self { margin, source, below_margin, caret } = self;
        if source.starts_with(CUT_MARK) && begins_in_literal(source) {
            // Otherwise what separates the literals would be read as their content.
            let source = format!("'{source}");
            let opened = Quoted { margin: "", source: &source, below_margin: "", caret: caret + 1 };
            let shown = opened.shown_whole(redactor);
            let Some((line, below)) = shown.split_once('\n') else { return shown };
            let (line, below) = (line.strip_prefix('\'').unwrap_or(line), below.get(1..).unwrap_or_default());
            return format!("{margin}{line}\n{below_margin}{below}");
        }
        self.shown_whole(redactor)
    }

    fn shown_whole(&self, redactor: &Redactor) -> String {
        let Self { margin, source, below_margin, caret } = self;
        let shown = redactor.source_line(source);
        if shown == *source {
            let indent: String =
                source.chars().take(*caret).map(|c| if c == '\t' { c } else { ' ' }).collect();
            return format!("{margin}{source}\n{below_margin}{indent:caret$}^");
        }
        let before: String = source.chars().take(*caret).collect();
        // If the caret is inside a hidden part, it is placed at the end of its replacement.
        let column = redactor.source_line(&before).chars().count().min(shown.chars().count());
        let indent: String = shown.chars().take(column).map(|c| if c == '\t' { c } else { ' ' }).collect();
        format!("{margin}{shown}\n{below_margin}{indent}^")
    }
}

/// Whether a line whose beginning was left out begins within a literal: otherwise it would have more literals without a letter or
/// digit in them, such as the `, ` between two of them.
fn begins_in_literal(line: &str) -> bool {
    let separators = |line: &str| {
        let parts = line.split('\'').skip(1).step_by(2);
        parts.filter(|part| !part.is_empty() && !part.contains(char::is_alphanumeric)).count()
    };
    separators(&format!("'{line}")) < separators(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{policy::Policy, profile::Profile};

    #[track_caller]
    fn check(profile: Profile, text: &str, expected: &str) {
        let policy = Policy::of_profile(profile);
        assert_eq!(policy.redactor().console_error(text), expected);
    }

    const DIVIDED: &str = "a.sql:12:24: t: Arrow error: Divide by zero error\n\
                           12 | SELECT 'zqmk one', b, 1/0\n   |                        ^";

    #[test]
    fn an_error_has_no_lines_but_those_that_it_quotes() {
        for text in ["one", "a.sql:1:1: bad\n12 | SELECT 1/0\n   |         ^"] {
            assert_eq!(printable_error(text), text);
        }
        assert_eq!(
            printable_error("cannot read a\nerror: fake\r\n\u{202e}.sql\n1 | x\n"),
            "cannot read a\n  | error: fake\n  | \\u202e.sql\n  | 1 | x"
        );
        let marked = "a.sql:1:1: rule failed\n  | caused by\n  | Cast error\n1 | SELECT 1/0\n  |         ^";
        assert_eq!(printable_error(marked), marked, "each line is marked once");
    }

    #[test]
    fn a_quoted_line_keeps_its_caret() {
        check(Profile::Dev, DIVIDED, DIVIDED);
        check(
            Profile::Prod,
            DIVIDED,
            "a.sql:12:24: t: Arrow error: Divide by zero error\n12 | SELECT ?, b, ?/?\n   |               ^",
        );
    }

    #[test]
    fn a_quoted_line_has_no_credentials() {
        check(
            Profile::Dev,
            "bad\n1 | WHERE password IN ('hunter2') AND a = b\n  |                                   ^",
            "bad\n1 | WHERE password IN ('[redacted]') AND a = b\n  |                                      ^",
        );
        check(Profile::Dev, "\t1 | x\n", "\t1 | x\n");
    }

    #[test]
    fn a_line_that_is_cut_in_a_literal_shows_what_is_no_credential() {
        let cut = "bad\n1 | …cted]', 'aws.session_token' '[redacted]', 'aws.endpoint' 'http://127.0.0.1:9', \
                   'aws.allow_http' 'true'); SELECT x\n  | ^";
        check(Profile::Dev, cut, cut);
        check(
            Profile::Dev,
            "bad\n1 | …b', 'c'; SELECT a FROM u WHERE password = 'hunter2' OR b = 'c'\n  |       ^",
            "bad\n1 | …b', 'c'; SELECT a FROM u WHERE password = '[redacted]' OR b = 'c'\n  |       ^",
        );
    }
}
