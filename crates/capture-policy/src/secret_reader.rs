//! Reads the tokens of one statement, and determines which of its literals are credentials.
//!
//! Expressions are not parsed. A statement is split into parts at commas, at AND and OR and at the words that begin a clause; if a
//! part names something hidden, as in `lower(u.password) IN ('x', 'y')` or `'x' AS password`, its literals are credentials. The
//! content of parentheses belongs to the enclosing part, unless it is a query or a separate condition. The items of column lists
//! and value lists are matched by position.

mod parentheses;

use std::{ops::Range, sync::Arc};

use crate::{
    column_reader::{Columns, MOST_QUERIES},
    key_names::is_plain_name,
    script_columns::ScriptColumns,
    secret_frame::{Frame, Literal, either},
    sql_tokens::{Kind, Reading, Token, quotes, unquoted},
};

/// The prefixes of string literals in plans.
pub(crate) const TYPES_OF_TEXT: [&str; 3] = ["Utf8", "Utf8View", "LargeUtf8"];

/// The number of digits from which a number may be a credential.
const LONG_NUMBER: usize = 4;

/// What is hidden because of its name.
pub(crate) trait Hidden {
    /// Whether a column, argument or similar with this name is hidden.
    fn name(&self, name: &str) -> bool;
    /// Whether an option or a setting with this name is hidden.
    fn option(&self, key: &str) -> bool;
    /// What is known about the script that contains the text.
    fn columns(&self) -> Arc<ScriptColumns> {
        Arc::default()
    }
    /// The positions of credentials in a text in any notation, such as the content of a literal.
    fn in_text(&self, _text: &str) -> Vec<Range<usize>> {
        Vec::new()
    }
    /// How its dialects are tokenised.
    fn reading(&self) -> Reading {
        Reading::default()
    }
}

/// Reads a statement.
pub(crate) struct Reader<'a, H> {
    sql: &'a str,
    tokens: &'a [Token],
    hidden: &'a H,
    columns: &'a ScriptColumns,
    found: &'a mut Vec<Range<usize>>,
    frames: Vec<Frame>,
    placeholders: Vec<String>,
    /// The number of first branches that were inspected.
    branches: usize,
    /// The current token.
    at: usize,
}

impl<'a, H: Hidden> Reader<'a, H> {
    /// For the statement with these tokens. `columns` are additional hidden names; results are added to `found`.
    pub(crate) fn new(
        sql: &'a str,
        tokens: &'a [Token],
        hidden: &'a H,
        columns: &'a ScriptColumns,
        found: &'a mut Vec<Range<usize>>,
    ) -> Self {
        Self {
            sql,
            tokens,
            hidden,
            columns,
            found,
            frames: vec![Frame::default()],
            placeholders: Vec::new(),
            branches: 0,
            at: 0,
        }
    }

    /// Declares which columns of the next value list, or of the next query, are credentials.
    pub(crate) fn expect_values(&mut self, columns: Vec<bool>, are_arguments: bool) {
        let frame = self.top();
        frame.columns = columns;
        frame.takes_values = are_arguments;
    }

    /// Reads the whole statement. Returns the placeholders for credentials.
    pub(crate) fn read(mut self) -> Vec<String> {
        for index in 0..self.tokens.len() {
            self.token(index);
        }
        while !self.frames.is_empty() {
            self.close();
        }
        self.placeholders
    }

    /// Reads `SET a.b = value`. Returns the placeholders for credentials.
    pub(crate) fn setting(mut self) -> Vec<String> {
        let sign = (1..self.tokens.len()).find(|index| self.text(*index) == "=" || self.is(*index, "to"));
        if let Some(sign) = sign.filter(|sign| *sign > 1) {
            let key = &self.sql[self.tokens[1].start..self.tokens[sign - 1].end];
            if self.hidden.option(key) {
                (sign + 1..self.tokens.len()).for_each(|index| self.hide(Literal(index)));
            }
        }
        self.placeholders
    }

    fn hides_name(&self, name: &str) -> bool {
        self.hidden.name(name) || self.columns.has_name(name)
    }

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

    fn token(&mut self, index: usize) {
        let token = self.tokens[index];
        self.at = index;
        let text = self.text(index);
        // Only for this token, whatever it is.
        let begins_item = std::mem::replace(&mut self.top().begins_item, false);
        match token.kind {
            Kind::Text | Kind::Number | Kind::Placeholder => self.literal(index, text),
            Kind::Word if self.keyword(index, text) => {}
            Kind::Word | Kind::Name => self.name(index, text, begins_item),
            Kind::Sign => match text {
                "(" | "[" | "{" => self.open(index),
                ")" | "]" | "}" => {
                    // A `CASE` without its `END`, in an incomplete or invalid statement: its scope would include what belongs
                    // outside.
                    while self.frames.len() > 1 && self.top().is_case {
                        self.close();
                    }
                    // A superfluous parenthesis closes nothing: the following tokens still belong to the scope of the statement.
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
                ":" => self.top().assigns = true,
                "=" | "<" | ">" | "!" | "~" => {
                    let compares = self.compares(index);
                    let frame = self.top();
                    frame.assigns = true;
                    // In a call, the operator is preceded by the name of an argument, as in `f(name = 'password', 'x')`.
                    frame.operand_at = (compares && !frame.is_call).then_some(index + 1);
                }
                _ => {}
            },
            Kind::Comment | Kind::Blank => {}
        }
    }

    fn literal(&mut self, index: usize, text: &str) {
        // At most 256 bytes, because names of columns are not longer, and this is called for each literal of a script.
        let is_key =
            self.tokens[index].kind == Kind::Text && text.len() < 256 && self.hidden.name(unquoted(text));
        let is_outermost = self.frames.len() <= 1;
        let frame = self.top();
        if frame.is_options {
            return;
        }
        let literal = Literal(index);
        // First, because the name of its column is more significant than its form: a password may look like a name.
        let in_row = frame.is_row && frame.columns.get(frame.item).copied().unwrap_or(false);
        if frame.inherits || in_row {
            self.hide(literal);
            return;
        }
        if is_key && (frame.is_compared_list || frame.is_operand || frame.operand_at == Some(index)) {
            // A compared text is a value, and is hidden if its column is secret. A plain word for a credential is not a value.
            if !is_plain_name(unquoted(text)) {
                frame.part.push(literal);
            }
            return;
        }
        // The only names for a row of values are those of its columns, which may follow it.
        let in_values = frame.is_row && !frame.is_query;
        // A literal that is itself a name, as in `get_field(u, 'password')` or the key of a map.
        if is_key && !in_values && frame.is_call && !frame.is_typed_text && !is_plain_name(unquoted(text)) {
            frame.key_or_value(literal);
            return;
        }
        if is_key && !in_values {
            frame.names_hidden = true;
            // `map('password', 'x')`, `struct_of('token', t)`: in a call the key is an item, and its value the next one.
            frame.hides_next_item = frame.is_call;
            if frame.is_query || frame.is_typed_text || is_outermost {
                frame.keys.push(literal);
            }
            return;
        }
        if frame.is_row && frame.columns.is_empty() {
            let item = frame.item;
            frame.rows.push((item, literal));
        }
        // Whether it is hidden is known only at the end of its part: in `'x' AS password` the name comes last.
        frame.part.push(literal);
    }

    fn name(&mut self, index: usize, text: &str, begins_item: bool) {
        let is_qualifier = self.text(index + 1) == ".";
        let is_hidden = text.len() < 256 && !is_qualifier && self.hides_name(unquoted(text));
        let before = index.checked_sub(1).map(|before| self.tokens[before].kind);
        let frame = self.top();
        // `SELECT 'x' password` defines an alias like `AS password`.
        let is_behind_literal = matches!(before, Some(Kind::Text | Kind::Number | Kind::Placeholder));
        frame.assigns |= is_hidden && is_behind_literal && frame.is_query && frame.is_row;
        if frame.may_be_list && begins_item {
            frame.list.push(is_hidden);
        }
        if is_hidden && !frame.is_options {
            frame.names_hidden = true;
            frame.is_named = true;
        }
    }

    /// Whether the word is a keyword that structures a statement.
    fn keyword(&mut self, index: usize, word: &str) -> bool {
        let lower = word.to_ascii_lowercase();
        // `a IS DISTINCT FROM 'x'` is a comparison. If its FROM were treated as a clause, it would end the part, and the literal
        // would not belong to the name before it.
        let is_distinct_from = lower == "from" && index > 0 && self.is(index - 1, "distinct");
        let frame = self.top();
        match lower.as_str() {
            // The AND of `BETWEEN a AND b` does not separate conditions.
            "and" if std::mem::replace(&mut frame.is_between, false) => frame.operand_at = Some(index + 1),
            "and" | "or" => {
                self.end_part();
                self.top().is_condition = true;
            }
            "between" => {
                frame.is_between = true;
                frame.operand_at = Some(index + 1);
            }
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
                let names_hidden_apart = frame.names_hidden_apart;
                self.resolve();
                // A condition does not affect its result.
                let frame = self.top();
                frame.names_hidden_apart = names_hidden_apart;
                frame.part.clear();
                frame.inherits = frame.inherits_outside;
            }
            "else" if frame.is_case => self.end_part(),
            "end" if frame.is_case => self.close(),
            "from" if is_distinct_from || !frame.is_query => {}
            "like" | "ilike" => {
                frame.assigns = true;
                frame.operand_at = Some(index + 1);
            }
            "as" | "in" | "similar" => frame.assigns = true,
            // These are not names, although they occur in the same places: `NOT` before a hidden column must not become an alias
            // for it.
            "not" | "is" | "escape" | "any" | "all" | "distinct" => {}
            "values" => {
                self.end_part();
                self.begin_branch(None);
                let frame = self.top();
                frame.is_query = true;
                frame.takes_values = true;
            }
            "select" => {
                self.end_part();
                self.begin_branch(Some(index));
                let frame = self.top();
                frame.is_query = true;
                frame.item = 0;
                frame.is_row = true;
                frame.is_apart = false;
            }
            "union" | "except" | "intersect" | "minus" => {
                self.end_part();
                let frame = self.top();
                frame.is_row = false;
                frame.takes_values = false;
                frame.inherits &= !frame.is_query;
                frame.is_apart = frame.is_query;
                frame.is_branch_next = true;
            }
            "from" | "where" | "group" | "order" | "having" | "limit" | "offset" | "join" | "on"
            | "using" | "qualify" | "window" | "set" | "returning" | "into" | "partition" | "with"
            | "insert" | "update" | "delete" | "merge" | "when" | "then" | "create" | "table" | "view"
            | "copy" | "prepare" | "execute" | "exists" => {
                self.end_part();
                let frame = self.top();
                frame.is_query |=
                    matches!(lower.as_str(), "insert" | "update" | "delete" | "with" | "create");
                frame.is_row = false;
                // The next branch of a MERGE.
                frame.takes_values &= !matches!(lower.as_str(), "when" | "where" | "from");
                // The result of a query belongs to the enclosing scope, but not its conditions.
                frame.inherits &= !frame.is_query;
                frame.is_apart = frame.is_query;
            }
            _ => return false,
        }
        true
    }

    /// A query begins here, at `select`, or at VALUES. If it is a further branch, it has the names of the first one.
    fn begin_branch(&mut self, select: Option<usize>) {
        let frame = self.top();
        if std::mem::replace(&mut frame.has_branch, true) && std::mem::take(&mut frame.is_branch_next) {
            let first_branch = self.first_branch();
            let frame = self.top();
            // In a set operation the names are those of the first branch, and the others are matched by position: `SELECT password
            // ... UNION SELECT 'x'`.
            frame.columns = either(&frame.columns, &first_branch);
            return;
        }
        frame.first_branch.clear();
        frame.first_select = select;
    }

    /// Which columns of the first branch are credentials.
    fn first_branch(&mut self) -> Vec<bool> {
        let select = self.top().first_select.take();
        if let Some(select) = select.filter(|_| self.branches < MOST_QUERIES) {
            self.branches += 1;
            let names =
                Columns { sql: self.sql, tokens: self.tokens, hides: |name: &str| self.hidden.name(name) };
            let first_branch = names.outputs(select, self.columns);
            self.top().first_branch = first_branch;
        }
        self.top().first_branch.clone()
    }

    fn inherited(&mut self) -> bool {
        let frame = self.top();
        let is_hidden_item = std::mem::replace(&mut frame.hides_next_item, false) && frame.is_call;
        frame.inherits
            || is_hidden_item
            || frame.is_row && frame.columns.get(frame.item).copied().unwrap_or(false)
    }

    /// Ends a part of the current scope: if it names something hidden, its literals are credentials.
    fn end_part(&mut self) {
        let frame = self.top();
        // A key affects neither its own item nor the enclosing scope.
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
            // This item is a key, and the next item is its value.
            frame.names_hidden = true;
            frame.assigns = true;
        }
    }

    fn resolve(&mut self) {
        let frame = self.top();
        let keys = std::mem::take(&mut frame.keys);
        // The keys of a typed text are inspected when it is closed.
        if std::mem::take(&mut frame.is_named) {
            keys.into_iter().for_each(|key| self.hide(key));
        } else if frame.is_typed_text {
            frame.keys = keys;
        }
        let frame = self.top();
        let names_hidden = std::mem::replace(&mut frame.names_hidden, false);
        if !names_hidden {
            return;
        }
        // A comparison uses up the names in its part: in `(password = 'x') = 'y'` the second literal is compared with a boolean.
        frame.names_hidden_apart |= !frame.is_apart && (frame.part.is_empty() || !frame.assigns);
        for literal in std::mem::take(&mut self.top().part) {
            self.hide(literal);
        }
    }

    /// Closes a scope. Its content belongs to the enclosing part, unless it is separate.
    fn close(&mut self) {
        let top = self.top();
        let ends_with_key = top.is_call && top.hides_next_item;
        self.end_part();
        let Some(closed) = self.frames.pop() else { return };
        if self.frames.is_empty() {
            return;
        }
        let names_columns = closed.may_be_list && closed.list.contains(&true);
        let (is_assigned, opens_query) = (self.is(self.at + 1, "="), self.opens_query_behind(self.at + 1));
        let is_first_branch = closed.has_branch && self.begins_set_operation(self.at + 1);
        let is_outermost = self.frames.len() <= 1;
        let may_be_value = |key: &Literal| !is_plain_name(unquoted(self.text(key.0)));
        let is_value_too = closed.is_typed_text && closed.keys.iter().any(may_be_value);
        let frame = self.top();
        if closed.is_typed_text && (frame.is_query || is_outermost) {
            frame.keys.extend(&closed.keys);
        }
        // `(SELECT ...) UNION ...`.
        if is_first_branch && !frame.has_branch {
            frame.first_branch.clone_from(&closed.first_branch);
            frame.first_select = closed.first_select;
            frame.has_branch = true;
        }
        let frame = self.top();
        if closed.is_query && std::mem::take(&mut frame.columns_of_next_query) {
            frame.columns.clear();
        }
        if names_columns {
            let rows = std::mem::take(&mut frame.rows_before);
            frame.columns.clone_from(&closed.list);
            frame.columns_of_next_query = opens_query;
            // `UPDATE u SET (name, password) = ('a', 'x')`.
            frame.takes_values |= is_assigned;
            // `VALUES (...) AS u (name, password)`: the names follow the values.
            for (item, literal) in rows {
                if closed.list.get(item).copied().unwrap_or(false) {
                    self.hide(literal);
                }
            }
            return;
        }
        if frame.takes_values {
            frame.rows.extend(closed.rows);
        } else {
            frame.rows_before = if closed.rows.is_empty() { closed.rows_before } else { closed.rows };
        }
        if frame.is_row && frame.columns.is_empty() {
            let item = frame.item;
            frame.rows.extend(closed.literals.iter().map(|literal| (item, *literal)));
        }
        if is_value_too && frame.is_call {
            closed.keys.into_iter().for_each(|key| frame.key_or_value(key));
        } else if ends_with_key {
            // `get_field(u, 'password')` names what it reads, and a key in a type is a key of the enclosing scope.
            frame.names_hidden = true;
            frame.hides_next_item |= closed.is_typed_text && frame.is_call;
        }
        // `f(a AND password = 'x', 'y')`: each operand of AND and OR was judged separately, and does not affect its neighbours.
        if closed.is_condition {
            return;
        }
        frame.names_hidden |= closed.names_hidden_apart;
        frame.part.extend(closed.literals);
    }

    fn begins_set_operation(&self, index: usize) -> bool {
        ["union", "except", "intersect", "minus"].iter().any(|word| self.is(index, word))
    }

    /// Whether `AS (` is at `index`.
    fn opens_query_behind(&self, index: usize) -> bool {
        let skipped = ["not", "materialized"];
        let open = (index + 1..index + 4).find(|at| !skipped.iter().any(|word| self.is(*at, word)));
        self.is(index, "as") && open.is_some_and(|open| self.text(open) == "(")
    }

    fn hide(&mut self, Literal(index): Literal) {
        let token = self.tokens[index];
        let text = self.text(index);
        match token.kind {
            Kind::Placeholder => self.placeholders.push(text[1..].to_owned()),
            Kind::Text => {
                let (open, close) = quotes(text);
                if token.start + open < token.end - close {
                    self.found.push(token.start + open..token.end - close);
                }
            }
            // A short number is a limit or a count. Hiding those would hide most of a plan, and a PIN of three digits is not a
            // secret.
            Kind::Number if digits(text) < LONG_NUMBER => {}
            Kind::Number | Kind::Word => self.found.push(token.start..token.end),
            _ => {}
        }
    }
}

/// The number of digits of a number, in its own base.
fn digits(number: &str) -> usize {
    match number.strip_prefix("0x").or_else(|| number.strip_prefix("0X")) {
        Some(digits) => digits.bytes().filter(u8::is_ascii_hexdigit).count(),
        None => number.bytes().filter(u8::is_ascii_digit).count(),
    }
}
