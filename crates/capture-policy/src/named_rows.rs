//! Credentials in rows of names and values: `INSERT INTO settings (name, value) VALUES ('password', 'x')`,
//! `SELECT 'password' AS name, 'x' AS value`, `map(['name', 'value'], ['password', 'x'])`.

use std::ops::Range;

use crate::{
    named_values::{Field, field},
    sql_tokens::{Kind, Token, quotes, unquoted},
};

/// At deeper nesting, parentheses are treated as a single pair.
const DEEPEST: usize = 128;
/// The maximum number of lists of columns with a name and a value that are remembered for a statement.
const MOST_LISTS: usize = 8;
/// Words that end the items of a SELECT.
const ENDS_OF_ITEMS: [&str; 8] = ["from", "where", "union", "except", "intersect", "group", "order", "limit"];

/// The tokens between two commas.
#[derive(Debug, Default)]
struct Item {
    literals: Vec<usize>,
    /// Its name: from `AS name`, or because it is itself just a name.
    field: Option<Field>,
    tokens: usize,
}

/// An open scope: the statement itself, or parentheses.
#[derive(Debug, Default)]
struct Group {
    items: Vec<Item>,
    item: Item,
}

/// The positions of the name and the value in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct List {
    name: usize,
    value: usize,
    length: usize,
}

/// The positions of the literals next to the name of a credential in the statement with these tokens.
pub(crate) fn secrets(sql: &str, tokens: &[Token], hides: impl Fn(&str) -> bool) -> Vec<Range<usize>> {
    let mut reader =
        Reader { sql, tokens, hides, groups: vec![Group::default()], lists: Vec::new(), rows: Vec::new() };
    for index in 0..tokens.len() {
        reader.token(index);
    }
    while let Some(group) = reader.groups.pop() {
        reader.end_group(group);
    }
    reader.found()
}

struct Reader<'a, H> {
    sql: &'a str,
    tokens: &'a [Token],
    hides: H,
    groups: Vec<Group>,
    lists: Vec<List>,
    /// The rows with the name of a credential in them.
    rows: Vec<Vec<Item>>,
}

impl<'a, H: Fn(&str) -> bool> Reader<'a, H> {
    fn text(&self, index: usize) -> &'a str {
        self.tokens.get(index).map_or("", |token| &self.sql[token.start..token.end])
    }

    fn top(&mut self) -> &mut Group {
        if self.groups.is_empty() {
            self.groups.push(Group::default());
        }
        let last = self.groups.len() - 1;
        &mut self.groups[last]
    }

    fn token(&mut self, index: usize) {
        let kind = self.tokens[index].kind;
        let text = self.text(index);
        let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
        let (opens, is_comma) = (is(&["(", "["]), is(&[","]));
        let closes = is(&[")", "]"]) && self.groups.len() > 1;
        let (begins, ends) = (is(&["select", "distinct", "all"]), is(&ENDS_OF_ITEMS));
        let name = if text.len() < 256 { field(unquoted(text)) } else { None };
        let is_called = index > 0 && self.text(index - 1).eq_ignore_ascii_case("as");
        let group = self.top();
        match kind {
            Kind::Sign if opens => {
                group.item.tokens += 1;
                if self.groups.len() < DEEPEST {
                    self.groups.push(Group::default());
                }
            }
            Kind::Sign if closes => {
                let Some(mut group) = self.groups.pop() else { return };
                // In `Utf8("x")` and `CAST('x' AS VARCHAR)`, only the literal matters.
                let only = if group.items.is_empty() {
                    std::mem::take(&mut group.item.literals)
                } else {
                    Vec::new()
                };
                self.end_group(group);
                self.top().item.literals.extend(only);
            }
            Kind::Sign if is_comma => {
                let item = std::mem::take(&mut group.item);
                group.items.push(item);
            }
            Kind::Sign => group.item.tokens += usize::from(!matches!(text, ".")),
            Kind::Word if begins || ends => {
                let group = std::mem::take(group);
                self.end_group(group);
            }
            Kind::Text | Kind::Number | Kind::Placeholder => {
                let is_alone = group.item.tokens == 0;
                group.item.tokens += 1;
                group.item.literals.push(index);
                group.item.field = name.filter(|_| is_alone && kind == Kind::Text);
            }
            Kind::Word | Kind::Name => {
                let follows_literal = !group.item.literals.is_empty();
                let is_alone = group.item.tokens == 0;
                group.item.tokens += 1;
                if is_called || is_alone || follows_literal {
                    group.item.field = name;
                }
            }
            Kind::Comment | Kind::Blank => {}
        }
    }

    fn hides_literal(&self, item: &Item) -> bool {
        let hides = |index: &usize| {
            let text = self.text(*index);
            text.len() < 256 && (self.hides)(unquoted(text))
        };
        item.literals.iter().any(hides)
    }

    fn end_group(&mut self, mut group: Group) {
        group.items.push(group.item);
        let position = |field: Field| group.items.iter().position(|item| item.field == Some(field));
        if let (Some(name), Some(value)) = (position(Field::Name), position(Field::Value)) {
            let list = List { name, value, length: group.items.len() };
            if self.lists.len() < MOST_LISTS && !self.lists.contains(&list) {
                self.lists.push(list);
            }
        }
        if group.items.len() > 1 && group.items.iter().any(|item| self.hides_literal(item)) {
            self.rows.push(group.items);
        }
    }

    fn found(&self) -> Vec<Range<usize>> {
        let mut ranges = Vec::new();
        for list in &self.lists {
            for row in self.rows.iter().filter(|row| row.len() == list.length) {
                if self.hides_literal(&row[list.name]) {
                    ranges.extend(row[list.value].literals.iter().map(|index| self.inside(*index)));
                }
            }
        }
        ranges
    }

    /// The position of a literal, without its quotes.
    fn inside(&self, index: usize) -> Range<usize> {
        let token = self.tokens[index];
        let (open, close) = quotes(self.text(index));
        token.start + open..token.end - close
    }
}

#[cfg(test)]
mod tests {
    use crate::redact::Redactor;

    #[track_caller]
    fn check(sql: &str) {
        let redactor = Redactor::default();
        let shown = redactor.sql_text(sql);
        assert!(!shown.contains("zq") && shown.contains("[redacted]"), "{shown}");
        assert_eq!(redactor.sql_text(&shown), shown, "redacted a second time");
        redactor.learn(sql);
        let learned = redactor.plan_text("Projection: zq00MK11 AS c");
        assert_eq!(learned, "Projection: [redacted] AS c", "learned from {sql}");
    }

    #[test]
    fn rows_of_names_and_values() {
        for sql in [
            "INSERT INTO s (name, value) VALUES ('a', 'b'), ('password', 'zq00MK11')",
            "INSERT INTO s (id, option_name, option_value) VALUES (1, 'db_password', 'zq00MK11')",
            "INSERT INTO s (name, value) SELECT 'password', 'zq00MK11'",
            "SELECT 'password' AS name, 'zq00MK11' AS value",
            "SELECT 'a' AS key, 'b' AS value UNION ALL SELECT 'api_key', 'zq00MK11' FROM t",
            "SELECT * FROM (VALUES ('password', 'zq00MK11')) AS t(name, value)",
            "SELECT map(['name', 'value'], ['password', 'zq00MK11'])",
            "SELECT named_struct('name', 'password', 'value', 'zq00MK11') AS s",
            "SELECT {'name': 'password', 'value': 'zq00MK11'} AS s",
            "SELECT struct('password' AS name, 'zq00MK11' AS value) AS s",
            "SELECT CAST('password' AS VARCHAR) name, CAST('zq00MK11' AS VARCHAR) value FROM t",
            "UPDATE s SET value = 'zq00MK11' WHERE name = 'password'",
            "DELETE FROM s WHERE value = 'zq00MK11' AND key = 'password'",
            "SELECT a FROM s WHERE (name = 'password') AND (value = 'zq00MK11')",
        ] {
            check(sql);
        }
    }

    #[test]
    fn other_rows_stay() {
        for sql in [
            "INSERT INTO s (name, value) VALUES ('colour', 'red')",
            "INSERT INTO s (name, note) VALUES ('red', 'colour')",
            "SELECT 'colour' AS name, 'red' AS value, count(*) FROM t WHERE a IN ('size', 'red')",
        ] {
            assert_eq!(Redactor::default().sql_text(sql), sql);
        }
    }

    #[test]
    fn plans_of_programs_without_sql() {
        let redactor = Redactor::default();
        let plan = "Projection: Utf8(\"password\") AS name, Utf8(\"zq00MK11\") AS value";
        let shown = redactor.plan_text(plan);
        assert_eq!(shown, "Projection: Utf8(\"password\") AS name, Utf8(\"[redacted]\") AS value");
    }
}
