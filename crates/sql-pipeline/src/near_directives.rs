//! Comments that look like misspelled or misplaced directives.

use std::fmt;

use daglight_materializers::DataCheck;

use crate::{
    directive::{DIRECTIVES, node_name, option_of, parameter, tag},
    source::{Place, Source},
    split::CommentLine,
};

/// A comment of a script that was probably meant as a directive, but is not one. `Display` is a single line, which contains only
/// the first word of the comment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScriptWarning {
    /// Where the comment begins.
    pub place: Box<Place>,
    /// The first word of the comment.
    pub found: String,
    /// The directive that was probably meant, in its correct spelling.
    pub expected: &'static str,
    /// Whether it is a correct directive in the wrong place.
    pub misplaced: bool,
}

impl fmt::Display for ScriptWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, found, expected, misplaced } = self;
        match misplaced {
            true => write!(
                f,
                "{place}: `{found}` is a comment here: a directive is a whole `--` line, directly above its statement"
            ),
            false => {
                write!(f, "{place}: `{found}` is not a directive, so this is a comment: write `{expected}`")
            }
        }
    }
}

/// A comment that looks like a misspelled directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NearDirective {
    found: String,
    directive: &'static str,
    misplaced: bool,
    at: (usize, usize),
}

impl NearDirective {
    pub(crate) fn warning(self, source: &Source) -> ScriptWarning {
        let expected = match self.directive {
            "tag" => "-- tag: key=value",
            "node" => "-- node: name",
            "expect" => "-- expect: check",
            _ => "-- param: name = value",
        };
        ScriptWarning {
            place: Box::new(source.place(self.at.0, self.at.1)),
            found: self.found,
            expected,
            misplaced: self.misplaced,
        }
    }
}

/// The position of a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// In the block directly above a statement.
    Above,
    /// In a statement, after one, or separate from all.
    Elsewhere,
}

/// The directive that was probably meant, if the line is not a directive itself.
///
/// Prose often begins with such a word (`Note:`, `Parameters: the day to load`), so the rest must look like the argument of the
/// directive.
pub(crate) fn near_directive(line: &CommentLine, standing: Standing) -> Option<NearDirective> {
    let text = line.text.trim_start();
    let bare = text.trim_start_matches(|c: char| "-#@!*+/".contains(c) || c.is_whitespace());
    let word_end = bare.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(bare.len());
    let (word, rest) = bare.split_at(word_end);
    let directive = DIRECTIVES.into_iter().find(|directive| resembles(word, directive))?;
    let (option, rest) = option_of(directive, rest.trim());
    let rest = rest.trim();
    let (colon, argument) = match rest.strip_prefix(':') {
        Some(argument) => (true, argument.trim_start_matches(':').trim()),
        None => (false, rest),
    };
    let is_meant = match directive {
        "node" => is_node(word, colon, argument),
        "expect" => looks_like_a_check(argument),
        // An equals sign after the word means a pair, valid or not.
        _ if colon && line.own_line && standing == Standing::Above => argument.contains('='),
        "tag" => argument.split(',').all(|pair| tag(pair).is_ok()),
        _ => parameter(argument.strip_prefix('$').unwrap_or(argument), None, (0, 0)).is_ok(),
    };
    let spaces = line.text.chars().count() - text.chars().count();
    let word = option.map_or_else(|| word.to_owned(), |option| format!("{word}({option})"));
    let found = if colon { format!("{word}:") } else { word };
    let is_written_well =
        bare.starts_with(&found) && bare[..word_end] == *directive && colon && bare.len() == text.len();
    // In that case the space is the mistake.
    let is_apart = colon && bare.split_once(':').is_some_and(|(word, _)| word.ends_with(char::is_whitespace));
    let found = if is_apart { found.replace(':', " :") } else { found };
    is_meant.then_some(NearDirective {
        found,
        directive,
        misplaced: is_written_well,
        at: (line.line, line.column + spaces),
    })
}

/// Whether a text is a check, or begins like one. Prose may begin with the same word: `Expected: the rows of yesterday`.
fn looks_like_a_check(text: &str) -> bool {
    let lower = text.to_lowercase();
    if ["unique(", "not_null(", "freshness("].iter().any(|start| lower.starts_with(start)) {
        return true;
    }
    let compares = lower.contains(['<', '>', '='])
        || [" is ", " in ", " between ", " like "].iter().any(|word| lower.contains(word));
    compares && text.parse::<DataCheck>().is_ok()
}

/// Words that differ from `node` in one letter.
const NEAR_NODE: [&str; 11] =
    ["bode", "code", "lode", "mode", "none", "nope", "nose", "note", "nude", "ode", "rode"];

/// Whether a line with this word was meant to name a node. Prose about nodes may begin with it, too: `Node counts`.
fn is_node(word: &str, colon: bool, argument: &str) -> bool {
    // Characters that are typed by mistake instead of a colon.
    let other_sign = argument.strip_prefix(['=', ';', '\u{FF1A}']).map(str::trim);
    let is_name = |text: &str| node_name(text).is_ok();
    let looks_like_name = || word == "node" && argument.contains(|c: char| c == '_' || c.is_ascii_digit());
    match other_sign {
        Some(name) => is_name(name),
        None => (colon || looks_like_name()) && is_name(argument),
    }
}

/// Whether a word is a directive in another case, in the plural, spelled out, or with a typing error.
fn resembles(word: &str, directive: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let singular = word.strip_suffix('s').unwrap_or(&word);
    match directive {
        "node" => {
            singular == "nodename"
                || !NEAR_NODE.contains(&singular) && strsim::osa_distance(singular, "node") <= 1
        }
        // Most three-letter words are one letter away from another word.
        "tag" => ["tag", "tga", "atg", "tagg", "taag", "ttag", "tg"].contains(&singular),
        "expect" => {
            ["expected", "expectation"].contains(&singular) || strsim::osa_distance(singular, "expect") <= 1
        }
        _ => singular == "parameter" || strsim::osa_distance(singular, "param") <= 1,
    }
}

#[cfg(test)]
mod tests {
    use crate::script::Script;

    /// Compares the warnings of a script, by line, column and text.
    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let script = Script::parse("a.sql", text).unwrap();
        let found: Vec<String> = script.warnings().iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_slip_in_the_name_of_a_directive_is_warned_of() {
        for word in ["nod", "noe", "nde", "noode", "nnode", "nodw", "tg", "parm"] {
            let text = format!("-- {word}: a=b\nSELECT 1")
                .replace("a=b", if word.starts_with('n') { "a" } else { "a=b" });
            assert_eq!(Script::parse("a.sql", &text).unwrap().warnings().len(), 1, "{text}");
        }
        for word in ["note", "code", "mode", "none", "bag", "tab"] {
            let text = format!("-- {word}: a\nSELECT 1");
            assert_eq!(Script::parse("a.sql", &text).unwrap().warnings(), [], "{text}");
        }
    }

    #[test]
    fn another_spelling_is_warned_of() {
        check(
            "-- tags: layer=gold\nSELECT 1",
            &["a.sql:1:4: `tags:` is not a directive, so this is a comment: write `-- tag: key=value`"],
        );
        check(
            "-- Node: late\nSELECT 1",
            &["a.sql:1:4: `Node:` is not a directive, so this is a comment: write `-- node: name`"],
        );
        check(
            "-- expect : a > 1\nSELECT 1",
            &["a.sql:1:4: `expect :` is not a directive, so this is a comment: write `-- expect: check`"],
        );
        check(
            "SELECT 2;\n\n  -- param x = 1\nSELECT 1",
            &["a.sql:3:6: `param` is not a directive, so this is a comment: write `-- param: name = value`"],
        );
        for text in [
            "-- tag : layer=gold",
            "--TAG: a=b",
            "--\tTags: a=b\r",
            "-- @tag: a=b",
            "--- tag: a=b",
            "-- tga: a=b",
            "-- Tags: a=b, c",
            "-- NODE:x",
            "-- node : x",
            "-- nodes: x",
            "-- ndoe: x",
            "-- node = x",
            "-- node; x",
            "-- node\u{FF1A}x",
            "-- node late_orders",
            "-- Param: x = 1",
            "-- params: x = 1",
            "-- parameter: x = 1",
            "-- parma: x = 1",
            "-- param $x = 1",
            "-- @param x = 'a b'",
            "-- Expect: rows > 0",
            "-- expects: unique(id)",
            "-- expect rows > 0",
            "-- expect (warn) : rows > 0",
            "-- EXPECT(warn): a IS NOT NULL",
            "-- expected: not_null(a)",
            "-- epxect: freshness(at) < 2 days",
            "-- @expect: amount >= 0",
        ] {
            let script = Script::parse("a.sql", &format!("{text}\nSELECT 1")).unwrap();
            assert_eq!(script.warnings().len(), 1, "{text}");
            assert!(!script.warnings()[0].misplaced, "{text}");
            assert!(script.declarations().is_empty(), "{text}");
            assert!(
                script.statements()[0].tags.is_empty()
                    && script.statements()[0].checks.is_empty()
                    && script.statements()[0].name.is_none(),
                "{text}"
            );
        }
    }

    #[test]
    fn another_place_is_warned_of() {
        let misplaced = " is a comment here: a directive is a whole `--` line, directly above its statement";
        for (text, at) in [
            ("SELECT 1; -- param: x = 1", "1:14: `param:`"),
            ("SELECT 1, -- tag: a=b\n 2", "1:14: `tag:`"),
            ("SELECT 1,\n-- node: a\n 2", "2:4: `node:`"),
            ("-- tag: a=b\n\nSELECT 1", "1:4: `tag:`"),
            ("SELECT 1;\n-- node: a", "2:4: `node:`"),
            ("/* param: x = 1 */ SELECT 1", "1:4: `param:`"),
            ("/*\n * tag: a=b\n */\nSELECT 1", "2:4: `tag:`"),
            ("/* why */ -- tag: a=b\nSELECT 1", "1:14: `tag:`"),
            ("-- expect: rows > 0\n\nSELECT 1", "1:4: `expect:`"),
            ("SELECT 1; -- expect(warn): rows > 0", "1:14: `expect(warn):`"),
        ] {
            check(text, &[format!("a.sql:{at}{misplaced}").as_str()]);
        }
    }

    #[test]
    fn prose_is_left_alone() {
        for text in [
            "SELECT 1; -- param: the customer to look at",
            "SELECT a, -- tag: deprecated\n 2",
            "-- Note: late\nSELECT 1",
            "-- Node: the one that is late\nSELECT 1",
            "-- Parameters: the day to load\nSELECT 1",
            "-- parameters\n--   x = 1\nSELECT 1",
            "-- tags\nSELECT 1",
            "-- tagged: a=b\nSELECT 1",
            "-- mode: fast\n-- code: x=1\nSELECT 1",
            "-- param: the day to load\n\nSELECT 1",
            "/* param: */ SELECT 1",
            "-- tag a table\nSELECT 1",
            "-- Node counts\nSELECT 1",
            "-- node counts\nSELECT 1",
            "-- nodes_2024 is a table\nSELECT 1",
            "SELECT 'x -- tag: a=b'",
            "-- Expected: the rows of yesterday\nSELECT 1",
            "-- Expect this to be slow\nSELECT 1",
            "-- Expect: nothing\nSELECT 1",
            "-- expectations are high\nSELECT 1",
            "-- except: a = 1\nSELECT 1",
            "-- expect: to be slow\n\nSELECT 1",
        ] {
            check(text, &[]);
        }
    }

    #[test]
    fn what_is_written_well_and_stands_right_is_not_a_comment() {
        let script = Script::parse(
            "a.sql",
            "\u{feff}-- param: x = 1\r\n\r\n--\tnode:\ta\r\n  -- tag: b=c\r\nSELECT $x;\r\n-- param: y = 2\r\nSELECT $y",
        )
        .unwrap();
        assert!(script.warnings().is_empty(), "{:?}", script.warnings());
        let statement = &script.statements()[0];
        assert_eq!((statement.name.as_deref(), statement.tags["b"].as_str()), (Some("a"), "c"));
        let names: Vec<&str> = script.declarations().iter().map(|declared| declared.name.as_str()).collect();
        assert_eq!(names, ["x", "y"]);
    }
}
