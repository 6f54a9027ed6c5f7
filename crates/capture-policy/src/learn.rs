//! Learning from a script what is hidden in all later texts.

use std::{collections::HashSet, ops::Range, sync::Arc};

use crate::{
    dialects::{self, LineComments, has_double_quoted_text},
    known::{Known, MOST_VALUES},
    redact::Redactor,
    script_columns::ScriptColumns,
    secret_reader::Hidden,
    sql_secrets::{plan_secrets, secrets},
    sql_tokens::{Kind, Reading, tokens, unquoted},
    sql_values::declared_in_sql,
};

/// The minimum length in characters of a text that is hidden as a credential everywhere, and of one that may be a word.
const SHORTEST: usize = 6;
const LONG: usize = 14;

impl Hidden for Redactor {
    fn name(&self, name: &str) -> bool {
        self.hides_column(name)
    }

    fn option(&self, key: &str) -> bool {
        self.hides_option(key)
    }

    fn columns(&self) -> Arc<ScriptColumns> {
        Arc::clone(&self.known().columns)
    }

    fn in_text(&self, text: &str) -> Vec<Range<usize>> {
        self.credentials(text)
    }

    fn reading(&self) -> Reading {
        let dialects = self.known().dialects;
        let comments = dialects.comments.or(dialects.later_comments);
        Reading { comments, first_comments: dialects.comments, ..Reading::default() }
    }
}

impl Redactor {
    /// Like [`Redactor::learn`], from the plan of a query, and only credentials.
    pub fn learn_plan(&self, plan: &str) {
        let ranges = plan_secrets(plan, self);
        if !ranges.is_empty() {
            self.learn_with(|known| ranges.into_iter().for_each(|range| learn_secret(known, &plan[range])));
        }
    }

    /// Learns from statements which texts are credentials: those that are compared to, inserted for, or assigned to a hidden name.
    /// If the policy hides literals, it also learns all literals that are distinctive enough. Plans and messages repeat them in
    /// forms in which they could not be distinguished from other words.
    ///
    /// All clones of this redactor share what it learns, and its size is bounded.
    pub fn learn(&self, sql: &str) {
        let found = secrets(sql, self);
        let comments = self.known().dialects.comments;
        let later_comments = dialects::of_script(sql);
        let literals = if self.shows_literals() { Vec::new() } else { literals(sql, comments) };
        self.learn_with(|known| {
            for range in found.ranges {
                // In the form for errors and plans, which contain the value instead of its SQL notation.
                learn_secret(known, &sql[range].replace("''", "'"));
            }
            found.placeholders.iter().for_each(|name| known.add_name(name));
            Arc::make_mut(&mut known.columns).add(&found.columns);
            for line in sql.lines() {
                let declared =
                    declared_in_sql(line).filter(|(name, _)| self.hides_key(name) || known.has_name(name));
                let value = declared.map(|(_, value)| line[value].trim_matches('\''));
                if let Some(value) = value.filter(|value| is_telling(value)) {
                    known.learn_secret(value);
                }
            }
            // A multi-line text may be quoted line by line.
            let lines = literals.iter().flat_map(|literal| literal.lines().map(str::trim));
            lines.chain(literals.iter().map(String::as_str)).for_each(|literal| known.add_value(literal));
            // Never reset: a text may quote a statement from before the dialect was changed. With both readings more is hidden, and
            // never less.
            known.dialects.double_quoted_text |= sets_other_dialect(sql);
            known.dialects.later_comments = known.dialects.later_comments.or(later_comments);
        });
    }
}

fn learn_secret(known: &mut Known, secret: &str) {
    match is_telling(secret) {
        true => known.learn_secret(secret),
        false => known.learn_word(secret),
    }
}

/// Whether a text may be replaced everywhere: it is not a plain word, which could be any name.
fn is_telling(text: &str) -> bool {
    let length = text.chars().count();
    // Otherwise `production` as a password would remove the word from every message of the run. A short plain word is hidden only
    // as a separate word.
    let is_plain = text.chars().all(|c| c.is_lowercase() || c == '_' || c == ' ')
        || text.chars().all(|c| c.is_uppercase() || c == '_');
    length >= SHORTEST && (!is_plain || length >= LONG)
}

/// The literals that are neither names in the script nor paths of files; each once, up to the limit.
fn literals(sql: &str, comments: LineComments) -> Vec<String> {
    let mut words = HashSet::new();
    let mut literals = Vec::new();
    let mut seen = HashSet::new();
    let (mut first, mut last) = ("", "");
    for token in tokens(sql, Reading { comments, first_comments: comments, ..Reading::default() }) {
        let text = &sql[token.start..token.end];
        match token.kind {
            Kind::Blank | Kind::Comment => continue,
            Kind::Word | Kind::Name => {
                words.insert(unquoted(text).to_lowercase());
                if first.is_empty() {
                    first = text;
                }
            }
            Kind::Text => {
                let is = |word: &str| last.eq_ignore_ascii_case(word);
                let is_place =
                    is("location") || is("from") || (is("to") && first.eq_ignore_ascii_case("copy"));
                if !is_place && literals.len() < MOST_VALUES && seen.insert(text) {
                    literals.push(unquoted(text).replace("''", "'"));
                }
            }
            Kind::Sign if text == ";" => first = "",
            _ => {}
        }
        last = text;
    }
    // Quoted parts inside a literal are separate names: the time zone of a type, the key of a field.
    let inside: Vec<String> = literals
        .iter()
        .flat_map(|literal| literal.split('"').skip(1).step_by(2))
        .take(MOST_VALUES)
        .map(str::to_owned)
        .collect();
    literals.extend(inside);
    // A literal that is also a name in the script would remove every mention of the column from messages.
    literals.retain(|literal| !words.contains(&literal.to_lowercase()) && !is_option_key(literal));
    literals
}

fn is_option_key(text: &str) -> bool {
    ["format.", "aws.", "azure.", "gcp.", "google.", "datafusion.", "http."]
        .iter()
        .any(|prefix| text.to_ascii_lowercase().starts_with(prefix))
}

/// Whether a script sets a dialect in which double quotes delimit literals.
fn sets_other_dialect(sql: &str) -> bool {
    let lower = sql.to_ascii_lowercase();
    lower.match_indices("dialect").any(|(at, _)| {
        // The name of the dialect follows shortly after the key, as in `SET datafusion.sql_parser.dialect = 'MySQL'`.
        let behind: String = lower[at..].chars().take(40).collect();
        has_double_quoted_text(&behind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{policy::Policy, profile::Profile};

    #[test]
    fn declared_values_that_are_words_are_hidden_only_in_their_place() {
        let redactor = Redactor::default();
        let sql = "-- param: token = null\n-- param: pw = 'sesame'\nSELECT a FROM u WHERE password = $pw AND b IS null";
        redactor.learn(sql);
        assert_eq!(redactor.text("b is null, sesame oil"), "b is null, sesame oil");
        let shown = redactor.sql_text(sql);
        assert!(!shown.contains("sesame") && shown.ends_with("b IS null"), "{shown}");
        assert_eq!(
            redactor.sql_text("/* param: pw = oil */ SELECT a"),
            "/* param: pw = [redacted] */ SELECT a"
        );
        redactor.learn("/* param: token = Zq81mk */");
        assert_eq!(redactor.text("got Zq81mk"), "got [redacted]");
    }

    #[test]
    fn credentials_that_are_words_are_hidden_in_plans_and_errors() {
        let redactor = Redactor::default();
        redactor
            .learn("CREATE TABLE u (name VARCHAR, password VARCHAR); INSERT INTO u SELECT 'ann', 'hunter'");
        assert_eq!(
            redactor.plan_text("ProjectionExec: expr=[ann as name, hunter as Utf8(\"hunter\")]"),
            "ProjectionExec: expr=[ann as name, [redacted] as Utf8(\"[redacted]\")]"
        );
        assert_eq!(redactor.error_text("Cannot cast string 'hunter'"), "Cannot cast string '[redacted]'");
        assert_eq!(redactor.text("a hunter, hunters"), "a hunter, hunters");
        assert_eq!(
            redactor.sql_text("INSERT INTO u VALUES ('bob', 'oil')"),
            "INSERT INTO u VALUES ('bob', '[redacted]')"
        );
    }

    #[test]
    fn no_more_literals_are_read_than_are_remembered() {
        let sql: String =
            (0..MOST_VALUES + 10).map(|number| format!("'value {number}', 'value 0', ")).collect();
        assert_eq!(literals(&sql, LineComments::default()).len(), MOST_VALUES);
        let redactor = Policy::of_profile(Profile::Prod).redactor().clone();
        redactor.learn(&sql);
        assert_eq!(redactor.name_text("value 9999 of"), "? of");
    }
}
