//! Reads what one statement reveals about columns: those of the table that it creates, those that its queries return, and those
//! that it renames. The combined result of several statements is in [`ScriptColumns`].

mod origins;

use crate::{
    joined_columns::{Column, ColumnName, JoinedBy, Source, Sources},
    script_columns::{Made, ScriptColumns},
    sql_tokens::{Kind, Token, unquoted},
};

/// The maximum length in bytes of a name that is inspected.
const LONGEST_NAME: usize = 256;
/// The maximum number of tokens inspected in one expression, list or query, and of queries in a statement. Beyond that, credentials
/// are found only by their own names, so that the work stays linear.
const MOST_TOKENS: usize = 2_000;
pub(crate) const MOST_QUERIES: usize = 500;
/// The maximum number of columns of a table that are inspected.
const MOST_COLUMNS: usize = 10_000;

/// The maximum number of tables in a FROM clause, and of nested queries, that are inspected.
const MOST_SOURCES: usize = 8;
const MOST_DEPTH: usize = 2;

/// Words that may follow a table and are not an alias for it.
const BEHIND_TABLES: [&str; 11] =
    ["anti", "cross", "full", "inner", "left", "natural", "on", "right", "semi", "tablesample", "using"];
/// Words that end a table in a FROM clause, or the clause.
const ENDS_OF_FROM: [&str; 13] = [
    "except",
    "group",
    "having",
    "intersect",
    "into",
    "join",
    "limit",
    "minus",
    "offset",
    "order",
    "qualify",
    "union",
    "where",
];

/// Functions that return the credential with which they are called.
const TRANSPARENT: [&str; 19] = [
    "any_value",
    "arrow_cast",
    "btrim",
    "cast",
    "coalesce",
    "concat",
    "first_value",
    "last_value",
    "lower",
    "ltrim",
    "max",
    "min",
    "nullif",
    "nvl",
    "rtrim",
    "substr",
    "trim",
    "try_cast",
    "upper",
];

/// A statement whose columns are inspected.
pub(crate) struct Columns<'a, F> {
    pub(crate) sql: &'a str,
    pub(crate) tokens: &'a [Token],
    /// Whether a name alone identifies a credential.
    pub(crate) hides: F,
}

impl<F: Fn(&str) -> bool> Columns<'_, F> {
    /// The columns of this statement that are credentials under other names.
    pub(crate) fn renamed(&self, known: &mut ScriptColumns) {
        // A query may rename what a nested query, which comes after it in the text, has renamed.
        for _ in 0..8 {
            let before = known.count_of_names();
            for index in 0..self.tokens.len() {
                if let Some(name) = self.new_name(index).filter(|index| self.renames(*index, known)) {
                    known.add_name(unquoted(self.text(name)).to_lowercase());
                }
            }
            self.renamed_by_lists(known);
            self.equated(known);
            // If nothing new was found, another round finds nothing either.
            if known.count_of_names() == before {
                break;
            }
        }
    }

    /// The table or view that this statement creates.
    pub(crate) fn made(&self, known: &ScriptColumns) -> Option<Made> {
        let (table, behind) = self.made_table()?;
        let (columns, is_whole) = match self.list(behind) {
            Some((names, _)) => (names.into_iter().map(|name| self.column(name, known)).collect(), true),
            None => (behind..self.tokens.len())
                .find(|index| self.is(*index, "select") && self.depth(behind, *index) <= self.leading(behind))
                .map_or((Vec::new(), false), |select| self.all_outputs(select, known, 0)),
        };
        Some(Made { table: unquoted(self.text(table)).to_lowercase(), columns, is_whole })
    }

    /// The credential columns of the table into which this statement inserts without a column list.
    pub(crate) fn inserted_by_position(&self, known: &ScriptColumns) -> Option<Vec<bool>> {
        let (name, behind) = self.inserted_into()?;
        let columns = known.of_table(unquoted(self.text(name)))?;
        self.list(behind).is_none().then(|| columns.to_vec())
    }

    /// The table into which this statement inserts, and the position after its name.
    fn inserted_into(&self) -> Option<(usize, usize)> {
        // Near the beginning, after at most a WITH of a few words; scanning each long statement would be noticeable.
        let into = (0..self.tokens.len().min(64)).find(|index| {
            (self.is(*index, "into") || self.is(*index, "overwrite"))
                && *index > 0
                && ["insert", "replace", "into", "or"].iter().any(|word| self.is(*index - 1, word))
        })?;
        let into = into + usize::from(self.is(into + 1, "into"));
        self.path(into + 1 + usize::from(self.is(into + 1, "table")))
    }

    fn text(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| &self.sql[token.start..token.end])
    }

    fn is(&self, index: usize, word: &str) -> bool {
        self.text(index).eq_ignore_ascii_case(word)
    }

    fn is_name(&self, index: usize) -> bool {
        self.tokens.get(index).is_some_and(|token| matches!(token.kind, Kind::Word | Kind::Name))
            && self.text(index).len() <= LONGEST_NAME
            && !(self.tokens[index].kind == Kind::Word && is_keyword(self.text(index)))
    }

    fn is_hidden(&self, index: usize, known: &ScriptColumns) -> bool {
        let name = unquoted(self.text(index));
        self.is_name(index) && ((self.hides)(name) || known.has_name(name))
    }

    /// The column to which the name at `index` refers.
    fn column(&self, index: usize, known: &ScriptColumns) -> Column {
        let is_name = self.is_name(index);
        let name = if is_name { ColumnName::of(self.text(index)) } else { ColumnName::UNKNOWN };
        Column { is_hidden: self.is_hidden(index, known), name }
    }

    /// The last part of a name such as `a.b.c` that begins at `index`, and the position after it.
    fn path(&self, index: usize) -> Option<(usize, usize)> {
        let mut last = index;
        // In `catalog.schema.table` the last part is the name of the table.
        while self.text(last + 1) == "." {
            last += 2;
        }
        self.is_name(last).then_some((last, last + 1))
    }

    /// The table or view that is created, and the position after its name.
    fn made_table(&self) -> Option<(usize, usize)> {
        if self.is(0, "create") {
            // OR REPLACE, TEMPORARY, EXTERNAL and similar words may come between the two.
            let kind = (1..self.tokens.len().min(8))
                .find(|index| ["table", "view"].iter().any(|word| self.is(*index, word)))?;
            let exists = (kind + 1..self.tokens.len().min(kind + 4)).find(|index| self.is(*index, "exists"));
            return self.path(exists.unwrap_or(kind) + 1);
        }
        // `SELECT a, b INTO t FROM u`.
        let is_query = self.is(0, "select") || self.is(0, "with");
        let into = (0..self.tokens.len()).find(|index| is_query && self.is(*index, "into"))?;
        let (table, _) = self.path(into + 1)?;
        Some((table, 0))
    }

    /// The number of parentheses open before `end`, counted from `start`.
    fn depth(&self, start: usize, end: usize) -> usize {
        (start..end).fold(0, |depth, index| match self.text(index) {
            "(" => depth + 1,
            ")" => depth.saturating_sub(1),
            _ => depth,
        })
    }

    /// Parentheses around all of a query: `AS (SELECT ...)`.
    fn leading(&self, start: usize) -> usize {
        let query = start + usize::from(self.is(start, "as"));
        (query..self.tokens.len()).take_while(|index| self.text(*index) == "(").count()
    }

    /// The first word of each item of a column list that opens at `open`, and the position after the list.
    fn list(&self, open: usize) -> Option<(Vec<usize>, usize)> {
        let is_query =
            ["select", "with", "values", "from", "table", "("].iter().any(|word| self.is(open + 1, word));
        if self.text(open) != "(" || is_query {
            return None;
        }
        let mut names = vec![open + 1];
        let mut depth = 0_usize;
        // A list without an end, as in a truncated text, is read to the end.
        for index in open + 1..self.tokens.len().min(open + MOST_TOKENS) {
            match self.text(index) {
                "(" | "<" | "[" => depth += 1,
                ")" if depth == 0 => return Some((names, index + 1)),
                ")" | ">" | "]" => depth = depth.saturating_sub(1),
                "," if depth == 0 && names.len() < MOST_COLUMNS => names.push(index + 1),
                _ => {}
            }
        }
        Some((names, self.tokens.len()))
    }

    /// The start and end of each item of the query that begins at `select`.
    fn items(&self, select: usize) -> Vec<(usize, usize)> {
        let mut start = select + 1;
        while ["distinct", "all"].iter().any(|word| self.is(start, word)) {
            start += 1;
        }
        let (mut items, mut depth) = (Vec::new(), 0_usize);
        let first = start;
        for index in first..=self.tokens.len().min(first + MOST_TOKENS) {
            let ends = matches!(self.text(index), "" | ")" | ";")
                || ["from", "into", "union", "except", "intersect", "minus", "where", "limit", "order"]
                    .iter()
                    .any(|word| self.is(index, word));
            match self.text(index) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" if depth > 0 => depth -= 1,
                "" => {
                    items.push((start, index));
                    break;
                }
                _ if depth > 0 => {}
                "," => {
                    items.push((start, index));
                    start = index + 1;
                }
                _ if ends => {
                    items.push((start, index));
                    break;
                }
                _ => {}
            }
            if items.len() >= MOST_COLUMNS {
                break;
            }
        }
        items
    }

    /// Which columns of a query are credentials, according to their names.
    pub(crate) fn outputs(&self, select: usize, known: &ScriptColumns) -> Vec<bool> {
        self.all_outputs(select, known, 0).0.into_iter().map(|column| column.is_hidden).collect()
    }

    /// Like [`Columns::outputs`], and whether these are all of its columns: those of `*` may be unknown.
    fn all_outputs(&self, select: usize, known: &ScriptColumns, depth: usize) -> (Vec<Column>, bool) {
        let items = self.items(select);
        let from = items.last().map_or(0, |(_, end)| *end);
        let mut sources = None;
        let (mut columns, mut is_whole) = (Vec::new(), !items.is_empty());
        for (start, end) in items {
            let star = (start..end).find(|index| self.text(*index) == "*");
            match star.filter(|star| *star == start || self.text(star - 1) == ".") {
                Some(star) => {
                    let sources = sources.get_or_insert_with(|| self.sources(from, known, depth));
                    let name = star.checked_sub(2).filter(|_| star > start).map(|name| self.text(name));
                    // `* EXCLUDE (a)` selects other columns.
                    is_whole &= star + 1 == end && sources.add_all(name, &mut columns);
                }
                None => {
                    let last = end.checked_sub(1).filter(|last| *last >= start);
                    let unnamed = Column { is_hidden: false, name: ColumnName::UNKNOWN };
                    let mut column = last.map_or(unnamed, |last| self.column(last, known));
                    column.is_hidden |= end > start && self.is_credential(start, end, known);
                    columns.push(column);
                }
            }
            if columns.len() >= MOST_COLUMNS {
                return (columns, false);
            }
        }
        (columns, is_whole)
    }

    /// The tables of the FROM clause at `from`, in the order in which `*` has their columns.
    fn sources(&self, from: usize, known: &ScriptColumns, depth: usize) -> Sources<'_> {
        let mut sources = Sources::default();
        let mut at = from;
        if !self.is(from, "from") {
            return sources;
        }
        let end = self.tokens.len().min(from + MOST_TOKENS);
        let mut is_natural = false;
        while at < end && sources.tables.len() < MOST_SOURCES {
            let is_lateral = self.is(at + 1, "lateral");
            let start = at + 1 + usize::from(is_lateral);
            let (own_name, columns, behind) = match self.text(start) {
                "(" => {
                    let Some(close) = self.closing(start) else { break };
                    let query = self.is(start + 1, "select").then_some(start + 1);
                    (None, query.and_then(|select| self.of_query(select, known, depth)), close + 1)
                }
                _ => {
                    let Some((table, behind)) = self.path(start) else { break };
                    let name = self.text(table);
                    let columns = self.of_name(name, known, depth).filter(|_| self.text(behind) != "(");
                    (Some(name), columns, behind)
                }
            };
            let alias = behind + usize::from(self.is(behind, "as"));
            let is_other = |word: &&str| self.is(alias, word);
            let is_bare = !BEHIND_TABLES.iter().any(is_other) && !ENDS_OF_FROM.iter().any(is_other);
            let is_alias = self.is_name(alias) && (alias > behind || is_bare);
            let name = if is_alias { Some(self.text(alias)) } else { own_name };
            let is_qualified = !is_alias && behind - start > 1;
            // `t AS x(a, b)` has the same number of columns, with other names.
            let has_names = is_alias && self.text(alias + 1) == "(";
            let columns = columns.map(|mut columns| {
                columns.iter_mut().filter(|_| has_names).for_each(|column| column.name = ColumnName::UNKNOWN);
                columns
            });
            let mut joined = if is_natural { JoinedBy::Natural } else { JoinedBy::Condition };
            is_natural = false;
            let mut depth = 0_usize;
            let next = (behind..end).find(|index| {
                match self.text(*index) {
                    "(" => depth += 1,
                    // It closes a condition or a list, not the enclosing expression.
                    ")" if depth > 0 => {
                        depth -= 1;
                        return false;
                    }
                    _ => {}
                }
                if depth > 0 {
                    return false;
                }
                if self.is(*index, "using") {
                    joined = JoinedBy::Using(self.using(*index + 1));
                }
                // It belongs to the join with the next table.
                is_natural |= self.is(*index, "natural");
                matches!(self.text(*index), "," | ")" | ";")
                    || ENDS_OF_FROM.iter().any(|word| self.is(*index, word))
            });
            sources.tables.push(Source { name: name.unwrap_or_default(), is_qualified, columns, joined });
            match next {
                Some(next) if self.text(next) == "," || self.is(next, "join") => at = next,
                _ => {
                    sources.is_whole = behind < end;
                    break;
                }
            }
        }
        sources
    }

    /// The columns in the list after USING.
    fn using(&self, open: usize) -> Vec<ColumnName> {
        let names = self.list(open).map(|(names, _)| names).unwrap_or_default();
        names.into_iter().map(|name| ColumnName::of(self.text(name))).collect()
    }

    fn of_query(&self, select: usize, known: &ScriptColumns, depth: usize) -> Option<Vec<Column>> {
        // Each level reads those below it for every `*`, so that the work grows exponentially with the depth. Deeper columns are
        // found only by their own names.
        if depth >= MOST_DEPTH {
            return None;
        }
        let (columns, is_whole) = self.all_outputs(select, known, depth + 1);
        is_whole.then_some(columns)
    }

    /// The columns of a table, or of a query with that name in this statement.
    fn of_name(&self, name: &str, known: &ScriptColumns, depth: usize) -> Option<Vec<Column>> {
        // A common table expression hides a table with the same name, so it is looked up first.
        let query = (1..self.tokens.len().min(MOST_TOKENS)).find(|index| {
            self.is(index - 1, name)
                && self.is(*index, "as")
                && self.text(index + 1) == "("
                && self.is(index + 2, "select")
        });
        match query.filter(|_| self.is(0, "with") || (0..16).any(|index| self.is(index, "with"))) {
            Some(query) => self.of_query(query + 2, known, depth),
            None => known.columns_of(unquoted(name)),
        }
    }

    /// The alias of an expression that ends before `index`, if there may be one.
    fn new_name(&self, index: usize) -> Option<usize> {
        let is_alias = self.is(index, "as") && self.is_name(index + 1);
        // `password p`, as the item of a list.
        let is_bare = index > 0
            && self.is_name(index)
            && (self.is_name(index - 1) || self.text(index - 1) == ")")
            && (matches!(self.text(index + 1), "," | ")") || self.is(index + 1, "from"));
        if is_alias { Some(index + 1) } else { is_bare.then_some(index) }
    }

    /// Whether the expression before the alias at `name` is a credential.
    fn renames(&self, name: usize, known: &ScriptColumns) -> bool {
        let end = if self.is(name - 1, "as") { name - 1 } else { name };
        let mut start = end;
        let mut depth = 0_usize;
        while start > 0 && end - start < MOST_TOKENS {
            match self.text(start - 1) {
                ")" | "]" => depth += 1,
                "(" | "[" if depth == 0 => break,
                "(" | "[" => depth -= 1,
                "," if depth == 0 => break,
                _ if depth == 0
                    && ["select", "distinct", "all", "from", "join", "with"]
                        .iter()
                        .any(|word| self.is(start - 1, word)) =>
                {
                    break;
                }
                _ => {}
            }
            start -= 1;
        }
        let in_list = start > 0
            && (self.text(start - 1) == ","
                || ["select", "distinct", "all"].iter().any(|word| self.is(start - 1, word)));
        in_list && start < end && self.is_credential(start, end, known)
    }

    /// Whether an expression is a hidden column: directly, or in functions that return it.
    fn is_credential(&self, start: usize, end: usize, known: &ScriptColumns) -> bool {
        let inside = start..end;
        let mut has_hidden = false;
        for index in inside {
            let is_call = self.text(index + 1) == "(" && index + 1 < end;
            let is_qualifier = self.text(index + 1) == ".";
            let is_part = match self.tokens[index].kind {
                Kind::Word | Kind::Name if is_call => {
                    TRANSPARENT.iter().any(|function| self.is(index, function))
                }
                Kind::Word | Kind::Name => {
                    // In `password.id` the word is the name of a table, and its column may be harmless.
                    has_hidden |= !is_qualifier && self.is_hidden(index, known);
                    true
                }
                Kind::Sign => matches!(self.text(index), "(" | ")" | "," | "." | ":" | "|" | "[" | "]"),
                _ => true,
            };
            if !is_part {
                return false;
            }
        }
        has_hidden
    }

    /// Columns that are compared to a credential also contain credentials: `ON u.password = t.p`.
    fn equated(&self, known: &mut ScriptColumns) {
        for sign in (0..self.tokens.len()).filter(|index| matches!(self.text(*index), "=" | "==")) {
            let right = self.path(sign + 1).filter(|(_, behind)| self.text(*behind) != "(");
            let Some((right, _)) = right else { continue };
            let Some(left) = sign.checked_sub(1).filter(|left| self.is_name(*left)) else { continue };
            let (of_left, of_right) = (self.is_hidden(left, known), self.is_hidden(right, known));
            if of_left != of_right {
                let other = if of_left { right } else { left };
                known.add_name(unquoted(self.text(other)).to_lowercase());
            }
        }
    }

    /// Names that a list after a query gives to its columns: `(SELECT password FROM u) AS t(p)`, `WITH t(p) AS (...)`.
    fn renamed_by_lists(&self, known: &mut ScriptColumns) {
        let queries = (0..self.tokens.len()).filter(|index| self.is(*index, "select"));
        for select in queries.take(MOST_QUERIES) {
            let opens = select > 0 && self.text(select - 1) == "(";
            let behind = opens.then(|| self.closing(select - 1)).flatten().map(|closing| {
                let name = closing + 1 + usize::from(self.is(closing + 1, "as"));
                name + 1
            });
            let list = behind
                .and_then(|open| self.list(open))
                .or_else(|| self.list_in_front(select))
                .map(|(names, _)| names);
            let Some(names) = list else { continue };
            let hidden = self.outputs(select, known);
            for (name, _) in names.into_iter().zip(hidden).filter(|(_, hidden)| *hidden) {
                if self.is_name(name) {
                    known.add_name(unquoted(self.text(name)).to_lowercase());
                }
            }
        }
    }

    /// The list before `AS (SELECT` or `AS SELECT`.
    fn list_in_front(&self, select: usize) -> Option<(Vec<usize>, usize)> {
        let before = select.checked_sub(1)?;
        let before = if self.text(before) == "(" { before.checked_sub(1)? } else { before };
        let close =
            before.checked_sub(1).filter(|close| self.is(before, "as") && self.text(*close) == ")")?;
        let open = (0..close).rev().take(MOST_TOKENS).find(|index| self.text(*index) == "(")?;
        self.list(open).filter(|(_, behind)| *behind == close + 1)
    }

    fn closing(&self, open: usize) -> Option<usize> {
        let mut depth = 0_usize;
        (open..self.tokens.len().min(open + MOST_TOKENS)).find(|index| {
            match self.text(*index) {
                "(" => depth += 1,
                ")" => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0
        })
    }
}

/// Words that are neither a column nor an alias.
fn is_keyword(word: &str) -> bool {
    const WORDS: [&str; 25] = [
        "and", "as", "asc", "by", "case", "desc", "distinct", "else", "end", "from", "in", "into", "is",
        "join", "like", "not", "null", "on", "or", "select", "set", "then", "values", "when", "where",
    ];
    WORDS.iter().any(|known| word.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests;
