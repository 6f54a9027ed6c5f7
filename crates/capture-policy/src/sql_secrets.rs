//! Credentials in SQL, recognised by the names to which they are compared or assigned, or that are their aliases or keys.
//!
//! A text may have several statements, and comments with further ones. What one statement reveals about the columns of a table
//! applies to the others.

use std::{collections::HashMap, ops::Range, sync::Arc};

use crate::{
    column_reader::Columns,
    named_rows, named_values,
    nested_literals::Content,
    plan_options,
    script_columns::ScriptColumns,
    secret_frame::either,
    secret_reader::{Hidden, Reader, TYPES_OF_TEXT},
    sql_tokens::{Kind, Reading, Token, tokens, unquoted},
    sql_values::opens_options,
};

/// The results, in text order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Secrets {
    /// The positions of credentials, without the quotes around them.
    pub(crate) ranges: Vec<Range<usize>>,
    /// Placeholders for credentials, without `$`.
    pub(crate) placeholders: Vec<String>,
    /// What the text reveals about columns, and what was known before.
    pub(crate) columns: Arc<ScriptColumns>,
}

/// Finds the credentials in a text.
pub(crate) fn secrets(sql: &str, hidden: &impl Hidden) -> Secrets {
    secrets_with(sql, hidden.reading(), hidden)
}

fn secrets_with(sql: &str, reading: Reading, hidden: &impl Hidden) -> Secrets {
    let mut found = Secrets { columns: hidden.columns(), ..Secrets::default() };
    let mut unread = Vec::new();
    for _ in 0..MOST_ROUNDS {
        let before = found.columns.count_of_origins();
        found = Secrets { columns: found.columns, ..Secrets::default() };
        unread = read_statements(sql, reading, hidden, &mut found);
        // What a statement reveals about the table that it reads applies to the earlier statements that filled it.
        if found.columns.count_of_origins() == before {
            break;
        }
    }
    for token in unread {
        match token.kind {
            Kind::Comment => read_comment(sql, token, hidden, &mut found),
            _ => read_literal(sql, token, hidden, MOST_LEVELS, &mut found),
        }
    }
    // On the text instead of the tokens: pairs of a name and a value may be inside literals, such as a JSON document that is
    // inserted.
    found.ranges.extend(named_values::secrets(sql, |name| hidden.name(name)));
    found.ranges.sort_by_key(|range| range.start);
    found.ranges.dedup();
    found
}

/// The maximum number of tables through which a value is followed on its way to a column with the name of a credential.
const MOST_ROUNDS: usize = 5;
/// The maximum nesting of literals that are inspected.
const MOST_LEVELS: usize = 3;

fn read_comment(sql: &str, comment: Token, hidden: &impl Hidden, found: &mut Secrets) {
    let inner = sql[comment.start..comment.end].trim_start_matches(['-', '/', '*', '#']);
    // A comment may be a disabled statement, including its password.
    if !inner.contains('\'') {
        return;
    }
    let start = comment.end - inner.len();
    let inner = inner.trim_end_matches("*/");
    // Comment markers within a comment are read as symbols. So nothing is read more than twice, however many there are.
    let reading = Reading { in_comment: true, ..Reading::default() };
    let mut inside = Secrets { columns: std::mem::take(&mut found.columns), ..Secrets::default() };
    for literal in read_statements(inner, reading, hidden, &mut inside) {
        read_literal(inner, literal, hidden, MOST_LEVELS, &mut inside);
    }
    found.columns = inside.columns;
    found.ranges.extend(inside.ranges.iter().map(|range| range.start + start..range.end + start));
}

/// Finds credentials in the content of a literal, where quotes are doubled. It does not affect the known columns of the script.
fn read_literal(sql: &str, literal: Token, hidden: &impl Hidden, levels: usize, found: &mut Secrets) {
    let Some(content) = Content::of(&sql[literal.start..literal.end], literal.start) else { return };
    let text = &*content.text;
    let mut inside = Secrets { columns: Arc::clone(&found.columns), ..Secrets::default() };
    inside.ranges = hidden.in_text(text);
    if content.may_be_sql() {
        let reading = Reading { in_comment: true, ..Reading::default() };
        for literal in read_statements(text, reading, hidden, &mut inside) {
            if levels > 1 {
                read_literal(text, literal, hidden, levels - 1, &mut inside);
            }
        }
    }
    found.ranges.extend(inside.ranges.iter().map(|range| content.outside(range)));
}

/// Finds the credentials in the plan of a query, which is read line by line. The columns of VALUES get their names from a
/// projection: `Projection: column1 AS name, column2 AS password` above `Values: (Utf8("a"), Utf8("x"))`.
pub(crate) fn plan_secrets(plan: &str, hidden: &impl Hidden) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut add = |found: Vec<Range<usize>>, start: usize| {
        ranges.extend(found.into_iter().map(|range| range.start + start..range.end + start));
    };
    let mut at = 0;
    while let Some(options) = plan_options::place(&plan[at..]) {
        let (start, end) = (at + options.start, at + options.end);
        add(secrets_of_lines(&plan[at..start], hidden), at);
        add(plan_options::secrets(&plan[start..end], |key| hidden.option(key)), start);
        at = end;
    }
    add(secrets_of_lines(&plan[at..], hidden), at);
    ranges
}

fn secrets_of_lines(plan: &str, hidden: &impl Hidden) -> Vec<Range<usize>> {
    let named = columns_of_values(plan, hidden);
    let mut ranges = Vec::new();
    let mut at = 0;
    for line in plan.split_inclusive('\n') {
        let values = line.find(VALUES).filter(|start| line[..*start].trim().is_empty());
        let found = match values {
            Some(start) if !named.is_empty() => {
                let start = start + VALUES.len();
                let rows = read_rows(&line[start..], &named, hidden);
                rows.into_iter().map(|range| range.start + start..range.end + start).collect()
            }
            // A plan has no dialect.
            _ => secrets_with(line, Reading::default(), hidden).ranges,
        };
        ranges.extend(found.into_iter().map(|range| range.start + at..range.end + at));
        at += line.len();
    }
    ranges
}

const VALUES: &str = "Values: ";

fn read_rows(rows: &str, columns: &[bool], hidden: &impl Hidden) -> Vec<Range<usize>> {
    let mut read: Vec<Token> = Vec::new();
    for token in tokens(rows, Reading::default()).filter(|token| token.kind != Kind::Blank) {
        let kind = if is_typed_text(rows, &read, token) { Kind::Text } else { token.kind };
        read.push(Token { kind, ..token });
    }
    let (mut ranges, known) = (Vec::new(), ScriptColumns::default());
    let mut reader = Reader::new(rows, &read, hidden, &known, &mut ranges);
    reader.expect_values(columns.to_vec(), true);
    reader.read();
    ranges
}

/// Which columns of the VALUES in a plan get the name of a credential as their alias.
fn columns_of_values(plan: &str, hidden: &impl Hidden) -> Vec<bool> {
    let mut named = Vec::new();
    if !plan.contains(VALUES) {
        return named;
    }
    for (at, column) in plan.match_indices("column") {
        let behind = &plan[at + column.len()..];
        let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
        let Ok(position) = behind[..digits].parse::<usize>() else { continue };
        // `column2 AS password`, `CAST(column2 AS Utf8View) AS password`.
        let item = &behind[digits..behind.find([',', '\n']).unwrap_or(behind.len()).max(digits)];
        let name = item.rsplit(" AS ").next().filter(|_| item.contains(" AS ")).unwrap_or_default().trim();
        if (1..=10_000).contains(&position) && name.len() < 256 && hidden.name(unquoted(name)) {
            named.resize(named.len().max(position), false);
            named[position - 1] = true;
        }
    }
    named
}

/// Reads each statement of a text. Returns its comments and its literals with quotes in them, which are not inspected here.
fn read_statements(sql: &str, reading: Reading, hidden: &impl Hidden, found: &mut Secrets) -> Vec<Token> {
    let mut prepared = HashMap::new();
    let mut statement: Vec<Token> = Vec::new();
    let mut names_hidden = false;
    let mut unread = Vec::new();
    for token in tokens(sql, reading) {
        let text = &sql[token.start..token.end];
        match token.kind {
            Kind::Blank => continue,
            Kind::Comment => {
                unread.push(token);
                continue;
            }
            Kind::Sign if text == ";" => {
                read(sql, &statement, names_hidden, hidden, &mut prepared, found);
                statement.clear();
                names_hidden = false;
                continue;
            }
            Kind::Word | Kind::Name | Kind::Text => {
                // Hidden options are checked only if there are options.
                let has_options =
                    opens_options(text) || (statement.is_empty() && text.eq_ignore_ascii_case("set"));
                let name = unquoted(text);
                names_hidden |= has_options
                    || (token.end - token.start < 256
                        && (hidden.name(name)
                            || found.columns.has_name(name)
                            || found.columns.of_table(name).is_some()
                            || found.columns.has_origins(name)));
            }
            _ => {}
        }
        let kind = if is_typed_text(sql, &statement, token) { Kind::Text } else { token.kind };
        // A literal shorter than a key, an operator and a quoted value need not be inspected.
        if kind == Kind::Text
            && text.len() > 8
            && text.as_bytes()[2..text.len() - 2].iter().any(|byte| matches!(byte, b'\'' | b'"'))
        {
            unread.push(Token { kind, ..token });
        }
        statement.push(Token { kind, ..token });
    }
    read(sql, &statement, names_hidden, hidden, &mut prepared, found);
    unread
}

/// Whether a double-quoted name is the value of a literal in plan notation: `Utf8("x")`.
fn is_typed_text(sql: &str, before: &[Token], token: Token) -> bool {
    let [.., word, open] = before else { return false };
    token.kind == Kind::Name
        && &sql[open.start..open.end] == "("
        && TYPES_OF_TEXT.contains(&&sql[word.start..word.end])
}

/// Prepared statements, by name: which of their placeholders are credentials.
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
        // For a table without credentials, only the number of columns is remembered.
        let statement = Columns { sql, tokens, hides: |name: &str| hidden.name(name) };
        let made = if is(0, "create") { statement.made(&found.columns) } else { None };
        if let Some(made) = made.filter(|made| !found.columns.knows(made)) {
            Arc::make_mut(&mut found.columns).add_made(made);
        }
        return;
    }
    if is(0, "set") {
        let known = ScriptColumns::default();
        let placeholders = Reader::new(sql, tokens, hidden, &known, &mut found.ranges).setting();
        found.placeholders.extend(placeholders);
        return;
    }
    found.ranges.extend(named_rows::secrets(sql, tokens, |name| hidden.name(name)));
    let statement = Columns { sql, tokens, hides: |name: &str| hidden.name(name) };
    // Aliases apply to their own statement, and everywhere if it creates a table or a view from them.
    let mut columns = ScriptColumns::clone(&found.columns);
    statement.renamed(&mut columns);
    statement.origins(&mut columns);
    if columns.count_of_origins() > found.columns.count_of_origins() {
        Arc::make_mut(&mut found.columns).add_origins(&columns);
    }
    if let Some(made) = statement.made(&columns) {
        columns.add_made(made);
    }
    if is(0, "create") || columns.tables_differ(&found.columns) {
        found.columns = Arc::new(columns.clone().without_names_here());
    }
    let mut reader = Reader::new(sql, tokens, hidden, &columns, &mut found.ranges);
    if let Some(placeholders) = executed {
        let positions = placeholders.iter().filter_map(|name| name.parse::<usize>().ok());
        let executed = positions.fold(Vec::new(), |mut columns, position| {
            // A parameter `$4000000000` must not create a list of that length.
            if (1..10_000).contains(&position) {
                columns.resize(columns.len().max(position), false);
                columns[position - 1] = true;
            }
            columns
        });
        reader.expect_values(executed, true);
    } else {
        let inserted = statement.inserted_by_position(&columns).unwrap_or_default();
        let inserted = either(&inserted, &statement.taken_from_target(&columns));
        if !inserted.is_empty() {
            reader.expect_values(inserted, false);
        }
    }
    let placeholders = reader.read();
    if is(0, "prepare") {
        prepared.insert(word(1).to_ascii_lowercase(), placeholders);
    } else {
        found.placeholders.extend(placeholders);
    }
}

#[cfg(test)]
mod tests;
