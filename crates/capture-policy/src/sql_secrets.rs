//! Credentials in SQL, told by the names that they are compared to, inserted for, called by or set under.
//!
//! Expressions are not parsed. A statement falls into parts at its commas, at AND and OR and at the words that begin a
//! clause; where a part names something that is hidden, as in `lower(u.password) IN ('x', 'y')` or `'x' AS password`, its
//! literals are credentials. What stands in parentheses belongs to the part around it, unless it is a query or a
//! condition of its own. The items of lists of columns and of values belong together by their positions.

use std::{collections::HashMap, ops::Range};

use crate::{
    sql_tokens::{Kind, Reading, Token, tokens},
    sql_values::opens_options,
};

/// What is hidden by its name.
pub(crate) trait Hidden {
    /// Whether a column, an argument or the like of this name is.
    fn name(&self, name: &str) -> bool;
    /// Whether an option or a setting of this name is.
    fn option(&self, key: &str) -> bool;
}

/// What was found, in the order of the text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Secrets {
    /// Where credentials stand, without the quotes around them.
    pub(crate) ranges: Vec<Range<usize>>,
    /// Placeholders that stand for credentials, without `$`.
    pub(crate) placeholders: Vec<String>,
}

/// Nested deeper than this, parentheses are taken for one pair.
const DEEPEST: usize = 128;
/// Digits from which on a number is taken for a credential.
const LONG_NUMBER: usize = 4;

/// Finds the credentials in a text.
pub(crate) fn secrets(sql: &str, hidden: &impl Hidden) -> Secrets {
    let mut found = Secrets::default();
    for comment in read_statements(sql, Reading::default(), hidden, &mut found) {
        let inner = sql[comment.start..comment.end].trim_start_matches(['-', '/', '*']);
        if inner.contains('\'') {
            let start = comment.end - inner.len();
            // What opens a comment in here is read as signs. So nothing is read more than twice, however many there are.
            let reading = Reading { in_comment: true, ..Reading::default() };
            let mut inside = Secrets::default();
            read_statements(inner.trim_end_matches("*/"), reading, hidden, &mut inside);
            found.ranges.extend(inside.ranges.iter().map(|range| range.start + start..range.end + start));
        }
    }
    found.ranges.sort_by_key(|range| range.start);
    found.ranges.dedup();
    found
}

/// Reads each statement of a text. Returns the comments, which are not looked into.
fn read_statements(sql: &str, reading: Reading, hidden: &impl Hidden, found: &mut Secrets) -> Vec<Token> {
    let mut prepared = HashMap::new();
    let mut statement: Vec<Token> = Vec::new();
    let mut names_hidden = false;
    let mut comments = Vec::new();
    for token in tokens(sql, reading) {
        let text = &sql[token.start..token.end];
        match token.kind {
            Kind::Blank => continue,
            Kind::Comment => {
                comments.push(token);
                continue;
            }
            Kind::Sign if text == ";" => {
                read(sql, &statement, names_hidden, hidden, &mut prepared, found);
                statement.clear();
                names_hidden = false;
                continue;
            }
            Kind::Word | Kind::Name | Kind::Text => {
                // Whether an option is hidden is only asked where there are some.
                let has_options =
                    opens_options(text) || (statement.is_empty() && text.eq_ignore_ascii_case("set"));
                names_hidden |= has_options || (token.end - token.start < 256 && hidden.name(unquoted(text)));
            }
            _ => {}
        }
        let kind = if is_typed_text(sql, &statement, token) { Kind::Text } else { token.kind };
        statement.push(Token { kind, ..token });
    }
    read(sql, &statement, names_hidden, hidden, &mut prepared, found);
    comments
}

/// Whether a name in double quotes is the value of a literal, as plans have it: `Utf8("x")`.
fn is_typed_text(sql: &str, before: &[Token], token: Token) -> bool {
    let [.., word, open] = before else { return false };
    token.kind == Kind::Name
        && &sql[open.start..open.end] == "("
        && TYPES_OF_TEXT.contains(&&sql[word.start..word.end])
}

/// What stands in front of the literals in plans.
const TYPES_OF_TEXT: [&str; 3] = ["Utf8", "Utf8View", "LargeUtf8"];

/// Prepared statements, by name: which of their placeholders stand for credentials.
type Prepared = HashMap<String, Vec<String>>;

fn read(
    sql: &str,
    tokens: &[Token],
    names_hidden: bool,
    hidden: &impl Hidden,
    prepared: &mut Prepared,
    found: &mut Secrets,
) {
    let word = |index: usize| tokens.get(index).map_or("", |token| &sql[token.start..token.end]);
    let is = |index: usize, expected: &str| word(index).eq_ignore_ascii_case(expected);
    let executed = if is(0, "execute") { prepared.get(&word(1).to_ascii_lowercase()).cloned() } else { None };
    if !names_hidden && executed.is_none() {
        return;
    }
    let mut reader =
        Reader { sql, tokens, hidden, found, frames: vec![Frame::default()], placeholders: Vec::new() };
    if is(0, "set") {
        reader.setting();
        return;
    }
    if let Some(placeholders) = executed {
        let positions = placeholders.iter().filter_map(|name| name.parse::<usize>().ok());
        reader.frames[0].columns = positions.fold(Vec::new(), |mut columns, position| {
            if (1..10_000).contains(&position) {
                columns.resize(columns.len().max(position), false);
                columns[position - 1] = true;
            }
            columns
        });
        reader.frames[0].takes_values = true;
    }
    for index in 0..tokens.len() {
        reader.token(index);
    }
    while !reader.frames.is_empty() {
        reader.close();
    }
    let placeholders = reader.placeholders;
    if is(0, "prepare") {
        prepared.insert(word(1).to_ascii_lowercase(), placeholders);
    } else {
        found.placeholders.extend(placeholders);
    }
}

/// What is open: the statement itself, parentheses, brackets, or a CASE.
#[derive(Debug, Default)]
struct Frame {
    is_case: bool,
    has_when: bool,
    /// Whether it is a CASE of something hidden, so that what follows each WHEN is a credential.
    hides_operand: bool,
    inherits_outside: bool,
    is_query: bool,
    /// Whether what is in here are arguments of a function.
    is_call: bool,
    /// Whether it is a literal, as plans have it: `Utf8("x")`.
    is_typed_text: bool,
    is_options: bool,
    /// Literals of the part that is being read, and whether it names what is hidden.
    part: Vec<Literal>,
    names_hidden: bool,
    /// Of all parts, what may belong to the part around.
    literals: Vec<Literal>,
    names_hidden_apart: bool,
    /// Whether the part compares or names something, and so says nothing about the part around.
    assigns: bool,
    /// Whether it is a query that is read behind its list of columns.
    is_apart: bool,
    /// Whether it is a condition of its own.
    is_condition: bool,
    /// Whether all literals here are credentials, because of the part around.
    inherits: bool,
    is_between: bool,
    item: usize,
    hides_next_item: bool,
    /// Which items of the lists of values to come are credentials.
    columns: Vec<bool>,
    takes_values: bool,
    /// Whether the items that are read are those of `columns`.
    is_row: bool,
    /// The literals of the rows of a VALUES, by position, for a list of columns behind them.
    rows: Vec<(usize, Literal)>,
    /// The names of the items, if it is a list of columns.
    list: Vec<bool>,
    may_be_list: bool,
    begins_item: bool,
}

#[derive(Debug, Clone, Copy)]
struct Literal(usize);

struct Reader<'a, H> {
    sql: &'a str,
    tokens: &'a [Token],
    hidden: &'a H,
    found: &'a mut Secrets,
    frames: Vec<Frame>,
    placeholders: Vec<String>,
}

impl<'a, H: Hidden> Reader<'a, H> {
    fn text(&self, index: usize) -> &'a str {
        self.tokens.get(index).map_or("", |token| &self.sql[token.start..token.end])
    }

    fn is(&self, index: usize, word: &str) -> bool {
        self.text(index).eq_ignore_ascii_case(word)
    }

    fn top(&mut self) -> &mut Frame {
        if self.frames.is_empty() {
            self.frames.push(Frame::default());
        }
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    /// `SET a.b = value`.
    fn setting(&mut self) {
        let sign = (1..self.tokens.len()).find(|index| self.text(*index) == "=" || self.is(*index, "to"));
        let Some(sign) = sign.filter(|sign| *sign > 1) else { return };
        let key = &self.sql[self.tokens[1].start..self.tokens[sign - 1].end];
        if self.hidden.option(key) {
            for index in sign + 1..self.tokens.len() {
                self.hide(Literal(index));
            }
        }
    }

    fn token(&mut self, index: usize) {
        let token = self.tokens[index];
        let text = self.text(index);
        let begins_item = std::mem::replace(&mut self.top().begins_item, false);
        match token.kind {
            Kind::Text | Kind::Number | Kind::Placeholder => self.literal(index, text),
            Kind::Word if self.keyword(index, text) => {}
            Kind::Word | Kind::Name => self.name(index, text, begins_item),
            Kind::Sign => match text {
                "(" | "[" | "{" => self.open(index),
                ")" | "]" | "}" => {
                    while self.frames.len() > 1 && self.top().is_case {
                        self.close();
                    }
                    if self.frames.len() > 1 {
                        self.close();
                    }
                }
                "," => {
                    self.end_part();
                    let frame = self.top();
                    frame.item += 1;
                    frame.begins_item = true;
                }
                "=" | "<" | ">" | "!" | ":" | "~" => self.top().assigns = true,
                _ => {}
            },
            Kind::Comment | Kind::Blank => {}
        }
    }

    fn literal(&mut self, index: usize, text: &str) {
        let is_key =
            self.tokens[index].kind == Kind::Text && text.len() < 256 && self.hidden.name(unquoted(text));
        let frame = self.top();
        if frame.is_options {
            return;
        }
        if is_key {
            frame.names_hidden = true;
            frame.hides_next_item = frame.is_call;
            return;
        }
        let literal = Literal(index);
        let in_row = frame.is_row && frame.columns.get(frame.item).copied().unwrap_or(false);
        if frame.inherits || in_row {
            self.hide(literal);
            return;
        }
        if frame.is_row && frame.columns.is_empty() {
            let item = frame.item;
            frame.rows.push((item, literal));
        }
        frame.part.push(literal);
    }

    fn name(&mut self, index: usize, text: &str, begins_item: bool) {
        let is_qualifier = self.text(index + 1) == ".";
        let is_hidden = text.len() < 256 && !is_qualifier && self.hidden.name(unquoted(text));
        let frame = self.top();
        if frame.may_be_list && begins_item {
            frame.list.push(is_hidden);
        }
        if is_hidden && !frame.is_options {
            frame.names_hidden = true;
        }
    }

    /// Whether the word is one that says how a statement is built.
    fn keyword(&mut self, index: usize, word: &str) -> bool {
        let lower = word.to_ascii_lowercase();
        let is_distinct_from = lower == "from" && index > 0 && self.is(index - 1, "distinct");
        let frame = self.top();
        match lower.as_str() {
            "and" if std::mem::replace(&mut frame.is_between, false) => {}
            "and" | "or" => {
                self.end_part();
                self.top().is_condition = true;
            }
            "between" => frame.is_between = true,
            "case" => {
                let inherits = self.inherited();
                let inherits_outside = inherits;
                self.frames.push(Frame { is_case: true, inherits, inherits_outside, ..Frame::default() });
            }
            "when" if frame.is_case => {
                let is_operand = !frame.has_when && std::mem::take(&mut frame.names_hidden);
                self.end_part();
                let frame = self.top();
                frame.has_when = true;
                frame.hides_operand |= is_operand;
                frame.inherits |= frame.hides_operand;
            }
            "then" if frame.is_case => {
                self.resolve();
                // A condition says nothing about what comes of it.
                let frame = self.top();
                frame.part.clear();
                frame.inherits = frame.inherits_outside;
            }
            "else" if frame.is_case => self.end_part(),
            "end" if frame.is_case => self.close(),
            "from" if is_distinct_from || !frame.is_query => {}
            "as" | "in" | "like" | "ilike" | "similar" => frame.assigns = true,
            "not" | "is" | "escape" | "any" | "all" | "distinct" => {}
            "values" => {
                self.end_part();
                let frame = self.top();
                frame.is_query = true;
                frame.takes_values = true;
            }
            "select" => {
                self.end_part();
                let frame = self.top();
                frame.is_query = true;
                frame.item = 0;
                frame.is_row = !frame.columns.is_empty();
                frame.is_apart = false;
            }
            "from" | "where" | "group" | "order" | "having" | "limit" | "offset" | "union" | "intersect"
            | "except" | "join" | "on" | "using" | "qualify" | "window" | "set" | "returning" | "into"
            | "partition" | "with" | "insert" | "update" | "delete" | "merge" | "when" | "then"
            | "create" | "table" | "view" | "copy" | "prepare" | "execute" | "exists" => {
                self.end_part();
                let frame = self.top();
                frame.is_query |=
                    matches!(lower.as_str(), "insert" | "update" | "delete" | "with" | "create");
                frame.is_row = false;
                // The next branch of a MERGE.
                frame.takes_values &= lower != "when";
                // What a query gives belongs to what is around it, and not what it looks for.
                frame.inherits &= !frame.is_query;
                frame.is_apart = frame.is_query;
            }
            _ => return false,
        }
        true
    }

    fn inherited(&mut self) -> bool {
        let frame = self.top();
        let is_hidden_item = std::mem::replace(&mut frame.hides_next_item, false) && frame.is_call;
        frame.inherits
            || is_hidden_item
            || frame.is_row && frame.columns.get(frame.item).copied().unwrap_or(false)
    }

    fn open(&mut self, index: usize) {
        if self.frames.len() >= DEEPEST {
            return;
        }
        let begins_query = ["select", "with", "values", "from"].iter().any(|word| self.is(index + 1, word));
        let before = index.checked_sub(1).map_or("", |before| self.text(before));
        let is_behind_name = index > 0
            && matches!(self.tokens[index - 1].kind, Kind::Word | Kind::Name)
            && ![
                "in", "values", "any", "all", "and", "or", "on", "where", "as", "select", "using", "like",
                "not",
            ]
            .iter()
            .any(|word| before.eq_ignore_ascii_case(word));
        let may_be_list = is_behind_name && self.names_list(index - 1);
        let is_call = is_behind_name && !may_be_list && self.text(index) == "(";
        let inherits = self.inherited();
        let frame = self.top();
        let is_row = frame.takes_values;
        let columns = if is_row || begins_query { frame.columns.clone() } else { Vec::new() };
        let takes_values = false;
        let names_hidden = frame.names_hidden && begins_query;
        self.frames.push(Frame {
            is_options: opens_options(before),
            is_call,
            is_typed_text: is_call && TYPES_OF_TEXT.contains(&before),
            inherits: inherits || names_hidden,
            is_row,
            columns,
            takes_values,
            may_be_list,
            begins_item: true,
            ..Frame::default()
        });
        if self.top().is_options {
            self.options(index);
        }
    }

    /// Whether the columns of the table are listed that is named at `index`.
    fn names_list(&self, index: usize) -> bool {
        const BEFORE: [&str; 8] = ["into", "table", "view", "exists", "with", "recursive", "as", "set"];
        // Of `catalog.schema.table`, what stands before all of it.
        let mut first = index;
        while first >= 2 && self.text(first - 1) == "." {
            first -= 2;
        }
        let before = first.checked_sub(1).map_or("", |before| self.text(before));
        BEFORE.iter().any(|word| before.eq_ignore_ascii_case(word))
            || before == ")"
            || (before == "," && self.is(0, "with"))
            // MERGE has no table there: `WHEN NOT MATCHED THEN INSERT (a, b)`.
            || (before.eq_ignore_ascii_case("then") && self.is(index, "insert"))
    }

    /// Where an option ends that begins at `item`: what belongs to its value may be in parentheses.
    fn end_of_option(&self, item: usize) -> usize {
        let mut depth = 0_usize;
        for index in item..self.tokens.len() {
            match self.text(index) {
                "," | ")" if depth == 0 => return index,
                "(" => depth += 1,
                ")" => depth -= 1,
                _ => {}
            }
        }
        self.tokens.len()
    }

    /// Hides values of options by their keys. `open` is the parenthesis.
    fn options(&mut self, open: usize) {
        let mut item = open + 1;
        while item < self.tokens.len() && self.text(item) != ")" {
            let end = self.end_of_option(item);
            // The value is behind an equals sign, or a call, or else the last token.
            let find = |sign: &str| (item..end).find(|index| self.text(*index) == sign);
            let call = || find("(").map(|open| (open - 1).max(item + 1));
            let value = find("=").map(|sign| sign + 1).or_else(call).unwrap_or(end.max(1) - 1);
            if value > item && value < end {
                let key = &self.sql[self.tokens[item].start..self.tokens[value - 1].end];
                if self.hidden.option(unquoted(key.trim_end_matches(['=', ' ']))) {
                    let is_function = |index: usize| index + 1 < end && self.text(index + 1) == "(";
                    let literals: Vec<usize> = (value..end).filter(|index| !is_function(*index)).collect();
                    literals.into_iter().for_each(|index| self.hide(Literal(index)));
                }
            }
            item = if self.text(end) == "," { end + 1 } else { end };
        }
    }

    /// Ends a part of what is open: where it names something hidden, its literals are credentials.
    fn end_part(&mut self) {
        let frame = self.top();
        // A key says nothing about its own item, and nothing about what is around.
        frame.names_hidden &= !frame.hides_next_item || !frame.part.is_empty();
        self.resolve();
        let frame = self.top();
        let part = std::mem::take(&mut frame.part);
        if !frame.is_apart {
            frame.literals.extend(part);
        }
        frame.is_between = false;
        frame.assigns = false;
        if std::mem::replace(&mut frame.hides_next_item, false) && frame.is_call {
            // The item that follows is the value of the key that this one is.
            frame.names_hidden = true;
            frame.assigns = true;
        }
    }

    fn resolve(&mut self) {
        let frame = self.top();
        let names_hidden = std::mem::replace(&mut frame.names_hidden, false);
        if !names_hidden {
            return;
        }
        frame.names_hidden_apart |= !frame.is_apart && (frame.part.is_empty() || !frame.assigns);
        for literal in std::mem::take(&mut self.top().part) {
            self.hide(literal);
        }
    }

    /// Closes what is open. What is in it belongs to the part around, as far as it is not of its own.
    fn close(&mut self) {
        let top = self.top();
        let ends_with_key = top.is_call && top.hides_next_item;
        self.end_part();
        let Some(closed) = self.frames.pop() else { return };
        if self.frames.is_empty() {
            return;
        }
        let names_columns = closed.may_be_list && closed.list.contains(&true);
        let frame = self.top();
        if names_columns {
            let rows = std::mem::take(&mut frame.rows);
            frame.columns.clone_from(&closed.list);
            for (item, literal) in rows {
                if closed.list.get(item).copied().unwrap_or(false) {
                    self.hide(literal);
                }
            }
            return;
        }
        frame.rows.extend(closed.rows);
        if ends_with_key {
            // `get_field(u, 'password')` names what it reads, and a key in a type is a key of what is around.
            frame.names_hidden = true;
            frame.hides_next_item |= closed.is_typed_text && frame.is_call;
        }
        if closed.is_condition {
            return;
        }
        frame.names_hidden |= closed.names_hidden_apart;
        frame.part.extend(closed.literals);
    }

    fn hide(&mut self, Literal(index): Literal) {
        let token = self.tokens[index];
        let text = self.text(index);
        match token.kind {
            Kind::Placeholder => self.placeholders.push(text[1..].to_owned()),
            Kind::Text => {
                let (open, close) = quotes(text);
                if token.start + open < token.end - close {
                    self.found.ranges.push(token.start + open..token.end - close);
                }
            }
            Kind::Number if digits(text) < LONG_NUMBER => {}
            Kind::Number | Kind::Word => self.found.ranges.push(token.start..token.end),
            _ => {}
        }
    }
}

/// How many digits a number has, in its own base.
fn digits(number: &str) -> usize {
    match number.strip_prefix("0x").or_else(|| number.strip_prefix("0X")) {
        Some(digits) => digits.bytes().filter(u8::is_ascii_hexdigit).count(),
        None => number.bytes().filter(u8::is_ascii_digit).count(),
    }
}

/// The text of a literal or a name, without its quotes.
pub(crate) fn unquoted(text: &str) -> &str {
    let (open, close) = quotes(text);
    text.get(open..text.len() - close).unwrap_or_default()
}

/// How many bytes of a token are its quotes, in front and behind.
fn quotes(text: &str) -> (usize, usize) {
    if text.starts_with('$') && text.len() > 1 {
        let tag = text[1..].find('$').map_or(0, |end| end + 2);
        let closes = tag > 0 && text.len() >= 2 * tag && text.ends_with(&text[..tag]);
        return (tag.min(text.len()), if closes { tag } else { 0 });
    }
    let Some(open) = text.find(['\'', '"', '`']).filter(|open| *open <= 2) else { return (0, 0) };
    let mark = text.as_bytes()[open];
    let closes = text.len() > open + 1 && text.as_bytes()[text.len() - 1] == mark;
    (open + 1, usize::from(closes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Redactor;

    struct Words;

    impl Hidden for Words {
        fn name(&self, name: &str) -> bool {
            name.to_lowercase().contains("password")
        }

        fn option(&self, key: &str) -> bool {
            self.name(key) || key.contains("key")
        }
    }

    /// Every `x` in quotes is a credential, and nothing else is.
    #[track_caller]
    fn check(sql: &str) {
        let found = secrets(sql, &Words);
        let found: Vec<&str> = found.ranges.iter().map(|range| &sql[range.clone()]).collect();
        let is_secret = |text: &str| text.starts_with('x') || text == "12345";
        let expected =
            sql.split(['\'', '"', '=', ' ', '(', ')', ',', '$', ';']).filter(|text| is_secret(text)).count();
        assert!(found.iter().all(|text| is_secret(text)) && found.len() == expected, "{found:?} in {sql}");
    }

    #[test]
    fn what_is_compared_to_a_hidden_column() {
        for sql in [
            "SELECT 'a' FROM u WHERE u.password = 'x' AND name = 'b'",
            "SELECT 'a' FROM u WHERE 'x' = \"Password\" OR name = 'b'",
            "SELECT a FROM u WHERE password IN ('x', 'x2', E'x3') AND name IN ('b', 'c')",
            "SELECT a FROM u WHERE lower(password) = upper('x') ORDER BY 'b'",
            "SELECT a FROM u WHERE password NOT LIKE 'x' ESCAPE 'x2' LIMIT 10",
            "SELECT a FROM u WHERE password BETWEEN 'x' AND 'x2' AND n = 'b'",
            "SELECT a FROM u WHERE password IS DISTINCT FROM 'x' AND n = 'b'",
            "SELECT a FROM u WHERE password = CAST('x' AS VARCHAR)",
            "SELECT a FROM u WHERE ('x', 12345) = (password, id)",
            "SELECT a FROM u WHERE (name = 'b' AND password = 'x') OR name = 'c'",
            "SELECT a FROM u WHERE password = 'x' || 'x2' AND b = 7",
            "SELECT a FROM u WHERE password = $$x$$",
            "SELECT a FROM u WHERE password = 12345 AND n = 99999",
            "SELECT a FROM u WHERE trim(BOTH 'x' FROM password) = 'x1'",
            "UPDATE u SET name = 'b', password = 'x' WHERE name = 'c'",
            "SELECT a FROM u WHERE password = (SELECT 'x' FROM v WHERE name = 'b')",
            "SELECT a FROM u WHERE get_field(u, 'password') = 'x' AND n = 'b'",
            "SELECT a FROM u WHERE lower(get_field(u.s, 'password')) IN ('x', 'x2') OR n = 'b'",
            "Filter: get_field(u.s, Utf8(\"password\")) = Utf8(\"x\") AND u.n = Utf8(\"b\")",
            "SELECT contains(n, 'password'), 'b', named_struct(Utf8(\"name\"), Utf8(\"b\")), 'c'",
            "SELECT a FROM u WHERE password IN (12345, 0xa) AND n = 0xdeadbeef",
            "SELECT a FROM passwords.t WHERE name = 'b'; SELECT 'password', a FROM t WHERE n = 'b'",
        ] {
            check(sql);
        }
    }

    #[test]
    fn what_is_called_by_a_hidden_name() {
        for sql in [
            "SELECT 'x' AS password, 'b' AS name",
            "SELECT concat('x', 'x2') password, 'b'",
            "SELECT CASE WHEN role = 'b' THEN 'x' ELSE 'x2' END AS password, 'c'",
            "SELECT CASE password WHEN 'x' THEN 'a' END, 'c'",
            "SELECT CASE WHEN password = 'x' THEN 'a' ELSE 'b' END, 'c'",
            "SELECT f(password => 'x', name => 'b')",
            "SELECT f(password := 'x', name := 'b')",
            "SELECT named_struct('name', 'b', 'password', 'x')",
            "Projection: named_struct(Utf8(\"name\"), Utf8(\"b\"), Utf8(\"password\"), Utf8(\"x\"), Utf8(\"n\"), Utf8(\"c\"))",
            "SELECT MAP {'password': 'x', 'name': 'b'}",
            "CREATE TABLE u (name VARCHAR DEFAULT 'b', password VARCHAR DEFAULT 'x')",
            "Filter: u.password IN ([Utf8(\"x\"), Utf8(\"x2\")]) AND u.name = Utf8(\"b\")",
            "Projection: Utf8(\"x\") AS password, Utf8(\"b\")",
            "-- WHERE password IN ('x') AND n = 'b'\nSELECT 1",
        ] {
            check(sql);
        }
    }

    #[test]
    fn comments_in_comments_need_no_stack() {
        let read = || {
            for text in
                ["--a".repeat(100_000) + "'x'", "/*a".repeat(100_000) + "'x'", "*/--".repeat(100_000) + "'x'"]
            {
                let sql = format!("--a {text} AND password = 'x'");
                assert_eq!(secrets(&sql, &Words).ranges.len(), 1);
            }
        };
        std::thread::Builder::new().stack_size(512 * 1024).spawn(read).unwrap().join().unwrap();
    }

    #[test]
    fn what_is_inserted_for_a_hidden_column() {
        for sql in [
            "INSERT INTO u (name, password, n) VALUES ('a', 'x', 1), ('b', lower('x2'), 2)",
            "INSERT INTO c.s.u (name, password) SELECT 'b', 'x' FROM t WHERE n = 'c'",
            "WITH t(name, password) AS (VALUES ('b', 'x')) SELECT 'c' FROM t",
            "SELECT * FROM (VALUES ('b', 'x'), ('c', 'x2')) AS t(name, password) WHERE n = 'd'",
            "CREATE TABLE u (name VARCHAR, password VARCHAR) AS VALUES ('b', 'x')",
            "MERGE INTO u USING s ON u.id = s.id WHEN MATCHED AND u.n = 'b' THEN UPDATE SET password = 'x' \
             WHEN NOT MATCHED THEN INSERT (name, password) VALUES ('b', 'x2')",
            "MERGE INTO u USING s ON u.id = s.id WHEN NOT MATCHED THEN INSERT (password, name) VALUES ('x', 'b') \
             WHEN MATCHED AND (u.n = 'b') THEN UPDATE SET name = 'c'",
            "PREPARE p AS INSERT INTO u (name, password) VALUES ($1, $2); EXECUTE p('b', 'x'); EXECUTE q('b')",
        ] {
            check(sql);
        }
        let hexadecimal = secrets("SELECT 1 WHERE password IN (0xdeadbeef, 0xa)", &Words).ranges;
        assert_eq!(hexadecimal.first(), Some(&(28..38)));
        assert_eq!(hexadecimal.len(), 1);
        assert_eq!(secrets("SELECT 1 WHERE password = $pw", &Words).placeholders, ["pw"]);
    }

    #[test]
    fn what_is_set() {
        for sql in [
            "SET a.password TO 'x'; SET b.name = 'b'",
            "SET a.key = xyz",
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'b' OPTIONS ('aws.key' 'x', a.key::NAME 'x2', c.d 'e')",
            "COPY t TO 'b' OPTIONS ('a' f('b'), 'aws.key' 'x')",
            "COPY t TO 'b' OPTIONS ('aws.key' f('x', g('x2')), 'a' 'b') PARTITIONED BY (c)",
            "COPY t TO 'b' OPTIONS (format.crypto.key xyz, format.x true)",
            "CREATE FUNCTION f() RETURNS INT LANGUAGE l WITH (key = 'x', name = 'b') AS 'c'",
        ] {
            check(sql);
        }
    }

    /// What is found can be cut out of the text.
    #[track_caller]
    fn check_ranges(text: &str) {
        let found = secrets(text, &Words);
        assert!(found.ranges.iter().all(|range| text.get(range.clone()).is_some()), "{found:?} in {text}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

        #[test]
        fn any_text_can_be_cut(text in "(password = )?(password|[$]{2}|=| |\\$|[a€é'\"`;,()\\[\\]/*\n-]|OPTIONS|IN|0x){0,30}") {
            check_ranges(&text);
        }
    }

    #[test]
    fn a_literal_without_its_end_is_hidden_whole() {
        for (sql, expected) in [
            ("SELECT password = $$x€", "SELECT password = $$[redacted]"),
            ("SELECT password = $$hunter2", "SELECT password = $$[redacted]"),
            ("SELECT password = $a$hunter2$a", "SELECT password = $a$[redacted]"),
            ("SELECT password = $a$hunter2$a$", "SELECT password = $a$[redacted]$a$"),
        ] {
            assert_eq!(Redactor::default().without_sql_secrets(sql), expected);
        }
    }

    #[test]
    fn any_text_has_tokens() {
        for text in [
            "password = 'open",
            "password = $$x€",
            "password = $é$x€$é",
            "password = $$$",
            "))) password ( 'x",
            "case password end end",
            "password in ('",
            "\\'",
            "insert into",
        ] {
            check_ranges(text);
        }
        let deep = format!("SELECT {}'x'{} AS password", "(".repeat(100_000), ")".repeat(100_000));
        assert_eq!(secrets(&deep, &Words).ranges.len(), 1);
    }
}
