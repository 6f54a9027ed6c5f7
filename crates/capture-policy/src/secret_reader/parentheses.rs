//! The meaning of a pair of parentheses in a statement: a query, a call, a list in a comparison, a row of values, the columns of a
//! table, or options.

use super::{Reader, TYPES_OF_TEXT};
use crate::{
    secret_frame::{Frame, Literal, either},
    secret_reader::Hidden,
    sql_tokens::{Kind, unquoted},
    sql_values::opens_options,
};

/// Words and functions before a list in a comparison.
const COMPARE_LISTS: [&str; 12] = [
    "all",
    "any",
    "array_contains",
    "array_has",
    "array_has_all",
    "array_has_any",
    "in",
    "list_contains",
    "list_has",
    "list_has_all",
    "list_has_any",
    "some",
];
/// Functions around a compared literal.
const WRAPPERS: [&str; 6] = ["arrow_cast", "cast", "lower", "trim", "try_cast", "upper"];

/// At deeper nesting, parentheses are treated as a single pair.
const DEEPEST: usize = 128;
impl<H: Hidden> Reader<'_, H> {
    pub(super) fn open(&mut self, index: usize) {
        // Nobody writes queries that deep. Their content is read as part of the enclosing scope, which hides more and never less.
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
        let may_be_list =
            is_behind_name && (self.names_list(index - 1) || before.eq_ignore_ascii_case("set"));
        // `COPY (SELECT ...)` and `EXISTS (SELECT ...)` are not calls: a query is not a list of arguments.
        let is_query = ["select", "with", "values"].iter().any(|word| self.is(index + 1, word));
        let is_call = is_behind_name && !may_be_list && !is_query && self.text(index) == "(";
        let inherits = self.inherited();
        let is_compared_list = !begins_query && self.opens_compared_list(index, before);
        let frame = self.top();
        let wraps_literal =
            WRAPPERS.iter().any(|word| before.eq_ignore_ascii_case(word)) || TYPES_OF_TEXT.contains(&before);
        let is_operand = wraps_literal && index > 0 && frame.operand_at == Some(index - 1);
        let is_row = frame.takes_values;
        let is_branch = std::mem::take(&mut frame.is_branch_next);
        let first_branch = if is_branch { self.first_branch() } else { Vec::new() };
        let frame = self.top();
        let columns = match (is_row || begins_query, is_branch) {
            (_, true) => either(&frame.columns, &first_branch),
            (true, false) => frame.columns.clone(),
            (false, false) => Vec::new(),
        };
        let takes_values = false;
        let names_hidden = frame.names_hidden && begins_query;
        self.frames.push(Frame {
            is_options: opens_options(before),
            is_call,
            is_typed_text: is_call && TYPES_OF_TEXT.contains(&before),
            is_compared_list,
            is_operand,
            inherits: inherits || names_hidden,
            is_row,
            // `UNION ((SELECT ...) UNION ...)`: what it opens with is a branch, too.
            first_branch: if is_branch { columns.clone() } else { Vec::new() },
            has_branch: is_branch,
            is_branch_next: is_branch,
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

    /// Whether the bracket at `index`, after the word `before`, opens a list in a comparison: `IN ('a', 'b')`, `= ANY(['a', 'b'])`,
    /// `array_has(['a', 'b'], name)`, and in plan notation `IN ([Utf8("a"), Utf8("b")])` and `array_has(make_array(Utf8("a"),
    /// Utf8("b")), name)`. In `IN (('password', 'x'))`, an item may be a pair.
    fn opens_compared_list(&mut self, index: usize, before: &str) -> bool {
        let opened = self.text(index);
        let is = |words: &[&str]| opened == "(" && words.iter().any(|word| before.eq_ignore_ascii_case(word));
        let is_part = opened == "[" || is(&["make_array"]) || is(&WRAPPERS) || is(&TYPES_OF_TEXT);
        is(&COMPARE_LISTS) || is_part && self.top().is_compared_list
    }

    /// Whether the symbol at `index` is a comparison operator, or the end of one.
    pub(super) fn compares(&self, index: usize) -> bool {
        const SIGNS: [&str; 10] = ["!=", "!~", "<", "<=", "<>", "=", "==", ">", ">=", "~"];
        let mut first = index;
        while first > 0
            && self.tokens[first - 1].kind == Kind::Sign
            && self.tokens[first - 1].end == self.tokens[first].start
            && !matches!(self.text(first - 1), "(" | ")" | "[" | "]" | "{" | "}" | ",")
        {
            first -= 1;
        }
        // `->` and `=>` are followed by a name.
        SIGNS.contains(&&self.sql[self.tokens[first].start..self.tokens[index].end])
    }

    /// Whether the parentheses contain the columns of the table named at `index`.
    pub(super) fn names_list(&self, index: usize) -> bool {
        const BEFORE: [&str; 8] = ["into", "table", "view", "exists", "with", "recursive", "as", "set"];
        // For `catalog.schema.table`, the word before the whole name.
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

    /// The end of the option that begins at `item`: its value may contain parentheses.
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
            // The value is after an equals sign, or it is a call, or else the last token.
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
}
