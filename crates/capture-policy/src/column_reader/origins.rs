//! The origins of hidden columns: `SELECT k AS password FROM x` takes the values from column `k` of `x`, so that the sources of `x`
//! also contain credentials.

use super::{Columns, ENDS_OF_FROM, MOST_QUERIES, MOST_TOKENS, TRANSPARENT};
use crate::{
    joined_columns::ColumnName, script_columns::ScriptColumns, secret_frame::either, sql_tokens::unquoted,
};

/// A column from which another one takes its values.
struct Origin {
    /// The last part of its name.
    column: usize,
    /// The table before it.
    table: Option<usize>,
}

impl<F: Fn(&str) -> bool> Columns<'_, F> {
    /// Adds the columns from which hidden ones take their values: by name for this statement, and by table for others.
    pub(crate) fn origins(&self, known: &mut ScriptColumns) {
        let mut found = Vec::new();
        let selects = (0..self.tokens.len()).filter(|index| self.is(*index, "select"));
        for select in selects.take(MOST_QUERIES) {
            let items = self.items(select);
            let from = items.last().map_or(0, |(_, end)| *end);
            for (start, end) in items {
                let Some(name) = end.checked_sub(1).filter(|name| *name > start) else { continue };
                let expression = if self.is(name - 1, "as") { name - 1 } else { name };
                if self.is_hidden(name, known) && self.text(name - 1) != "." {
                    found.extend(self.origin(start, expression).map(|origin| (origin, from)));
                }
            }
        }
        if let Some((columns, behind)) = self.target(known) {
            self.origins_by_position(&columns, behind, &mut found);
        }
        self.compared_with_queries(known, &mut found);
        for (origin, from) in found.into_iter().take(MOST_QUERIES) {
            if let Some(table) = self.table_of(&origin, from) {
                known.add_origin(table, ColumnName::of(self.text(origin.column)));
            }
            known.add_name_here(unquoted(self.text(origin.column)).to_lowercase());
        }
    }

    /// Which columns of the table that this statement creates or inserts into are credentials because of how other statements use
    /// them.
    pub(crate) fn taken_from_target(&self, known: &ScriptColumns) -> Vec<bool> {
        let names = |table: usize, behind: usize| match self.list(behind) {
            Some((names, _)) => names.into_iter().map(|name| ColumnName::of(self.text(name))).collect(),
            None => {
                let columns = known.columns_of(unquoted(self.text(table))).unwrap_or_default();
                columns.into_iter().map(|column| column.name).collect::<Vec<_>>()
            }
        };
        let (table, names) = match self.made(known) {
            Some(made) => {
                let names = made.columns.iter().map(|column| column.name).collect();
                (made.table, names)
            }
            None => match self.inserted_into() {
                Some((table, behind)) => (unquoted(self.text(table)).to_lowercase(), names(table, behind)),
                None => return Vec::new(),
            },
        };
        let taken: Vec<bool> = names.into_iter().map(|name| known.is_origin(&table, name)).collect();
        either(&taken, &[])
    }

    /// Which columns of the target are hidden, and where its query may begin.
    fn target(&self, known: &ScriptColumns) -> Option<(Vec<bool>, usize)> {
        let (table, behind) = match self.is(0, "create") {
            true => self.made_table()?,
            false => self.inserted_into()?,
        };
        let taken = self.taken_from_target(known);
        let listed = self.list(behind);
        let query = listed.as_ref().map_or(behind, |(_, behind)| *behind);
        let own = match listed {
            Some((names, _)) => names.into_iter().map(|name| self.is_hidden(name, known)).collect(),
            None if self.is(0, "create") => Vec::new(),
            None => known.of_table(unquoted(self.text(table))).unwrap_or_default().to_vec(),
        };
        Some((either(&own, &taken), query))
    }

    /// The expressions of the query after `start` in the positions of hidden columns, in each of its branches.
    fn origins_by_position(&self, columns: &[bool], start: usize, found: &mut Vec<(Origin, usize)>) {
        if !columns.contains(&true) {
            return;
        }
        let (mut depth, mut of_query) = (0_usize, None);
        for index in start..self.tokens.len() {
            match self.text(index) {
                "(" => depth += 1,
                ")" => depth = depth.saturating_sub(1),
                _ if self.is(index, "select") && *of_query.get_or_insert(depth) == depth => {
                    let items = self.items(index);
                    let from = items.last().map_or(0, |(_, end)| *end);
                    let hidden = items.into_iter().zip(columns).filter(|(_, hidden)| **hidden);
                    let origins = hidden.filter_map(|((start, end), _)| {
                        // The alias does not matter here.
                        let named = (start..end).find(|index| self.is(*index, "as")).unwrap_or(end);
                        self.origin(start, named)
                    });
                    found.extend(origins.map(|origin| (origin, from)));
                }
                _ => {}
            }
        }
    }

    /// `x IN (SELECT password ...)` and `password = (SELECT x ...)`.
    fn compared_with_queries(&self, known: &mut ScriptColumns, found: &mut Vec<(Origin, usize)>) {
        let opens = |index: &usize| self.text(*index) == "(" && self.is(index + 1, "select");
        for open in (1..self.tokens.len()).filter(opens).take(MOST_QUERIES) {
            let skipped = |index: &usize| {
                ["any", "all", "some", "not", "in"].iter().any(|word| self.is(*index, word))
                    || matches!(self.text(*index), "=" | "<" | ">" | "!")
            };
            let signs = (0..open).rev().take(5).take_while(skipped).count();
            let Some(left) = open.checked_sub(signs + 1).filter(|left| signs > 0 && self.is_name(*left))
            else {
                continue;
            };
            let select = open + 1;
            if self.is_hidden(left, known) {
                let items = self.items(select);
                let from = items.last().map_or(0, |(_, end)| *end);
                let first = items.first().and_then(|(start, end)| self.origin(*start, *end));
                found.extend(first.map(|origin| (origin, from)));
            } else if self.outputs(select, known).first() == Some(&true) {
                known.add_name_here(unquoted(self.text(left)).to_lowercase());
            }
        }
    }

    /// The column that an expression consists of, directly or in functions that return it.
    fn origin(&self, mut start: usize, mut end: usize) -> Option<Origin> {
        while end > start + 2
            && self.text(end - 1) == ")"
            && self.text(start + 1) == "("
            && TRANSPARENT.iter().any(|function| self.is(start, function))
        {
            (start, end) = (start + 2, end - 1);
            // `CAST(k AS VARCHAR)`, `substr(k, 1, 3)`.
            end = (start..end).find(|index| self.text(*index) == "," || self.is(*index, "as")).unwrap_or(end);
        }
        let end = (start..end).find(|index| self.text(*index) == ":").unwrap_or(end);
        let (column, _) = self.path(start).filter(|(_, behind)| *behind == end)?;
        let table = column.checked_sub(2).filter(|table| *table >= start);
        // Its own name already shows that it is hidden.
        (!(self.hides)(unquoted(self.text(column)))).then_some(Origin { column, table })
    }

    /// The table to which a column belongs, if the FROM clause shows it.
    fn table_of(&self, origin: &Origin, from: usize) -> Option<String> {
        if !self.is(from, "from") {
            return None;
        }
        // The name of each table, and its alias.
        let mut tables: Vec<(Option<usize>, usize)> = Vec::new();
        let mut depth = 0_usize;
        for index in from..self.tokens.len().min(from + MOST_TOKENS) {
            match self.text(index) {
                "(" => depth += 1,
                ")" if depth == 0 => break,
                ")" => depth -= 1,
                _ if depth > 0 => {}
                text => {
                    if text == "," || self.is(index, "from") || self.is(index, "join") {
                        let (table, behind) = match self.path(index + 1) {
                            Some((table, behind)) if self.text(behind) != "(" => (Some(table), behind),
                            _ => (None, self.closing(index + 1).map_or(index + 1, |close| close + 1)),
                        };
                        let alias = behind + usize::from(self.is(behind, "as"));
                        let is_alias = self.is_name(alias)
                            && !super::BEHIND_TABLES
                                .iter()
                                .chain(&ENDS_OF_FROM)
                                .any(|word| self.is(alias, word));
                        tables.push((table, if is_alias { alias } else { table.unwrap_or(index) }));
                    } else if ENDS_OF_FROM.iter().any(|word| self.is(index, word)) || text == ";" {
                        break;
                    }
                }
            }
        }
        let same = |one: usize, other: usize| {
            unquoted(self.text(one)).eq_ignore_ascii_case(unquoted(self.text(other)))
        };
        let meant = match origin.table {
            Some(table) => tables.iter().find(|(_, name)| same(*name, table)),
            // With several tables it could belong to any of them.
            None => tables.first().filter(|_| tables.len() == 1),
        };
        let table = meant?.0?;
        let is_query =
            |index: usize| same(index - 1, table) && self.is(index, "as") && self.text(index + 1) == "(";
        let hides_table = (1..self.tokens.len().min(MOST_TOKENS)).any(is_query);
        (!hides_table).then(|| unquoted(self.text(table)).to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use crate::redact::Redactor;

    /// Every `zq` is a credential, and no other literal is.
    #[track_caller]
    fn check(script: &str) {
        let redactor = Redactor::default();
        redactor.learn(script);
        assert_eq!(redactor.sql_text(script), script.replace("zq", "[redacted]"));
        // Each statement by itself, as a node shows it.
        for statement in script.split(';') {
            assert_eq!(redactor.sql_text(statement), statement.replace("zq", "[redacted]"));
        }
    }

    #[test]
    fn within_a_statement() {
        for sql in [
            "WITH c AS (SELECT 'zq' AS x, 'b' AS y) SELECT count(*) FROM c WHERE x IN (SELECT password FROM u) AND y = 'b'",
            "WITH c AS (SELECT 'zq' AS x, 'b' AS y) SELECT 'c' FROM u WHERE password NOT IN (SELECT x FROM c)",
            "SELECT 'c' FROM u WHERE password = (SELECT z.x FROM (SELECT 'zq' x, 'b' y) z)",
            "SELECT count(*) FROM u JOIN (SELECT 'zq' y, 'b' n) z ON z.y = u.password",
            "SELECT k AS password FROM (SELECT 'zq' k, 'b' n)",
            "SELECT lower(z.k) password, n FROM (SELECT 'b' n, 'zq' k) z",
            "SELECT CAST(k AS VARCHAR) AS password FROM (VALUES ('zq', 'b')) t(k, n)",
        ] {
            check(sql);
        }
        check("CREATE TABLE t (n INT, secret VARCHAR); SELECT * FROM t UNION ALL SELECT 'b', 'zq'");
    }

    #[test]
    fn over_statements() {
        for sql in [
            "CREATE TABLE x AS SELECT 'zq' k, 'b' n; CREATE TABLE y AS SELECT k password FROM x",
            "CREATE TABLE x AS SELECT 'zq' k, 'b' n; CREATE TABLE y (password VARCHAR); INSERT INTO y SELECT k FROM x",
            "CREATE TABLE x AS SELECT 'zq' k, 'b' n; CREATE TABLE y (password VARCHAR); INSERT INTO y (password) SELECT k FROM x",
            "CREATE VIEW v AS SELECT 'zq' a; CREATE VIEW w AS SELECT a AS password FROM v",
            "CREATE VIEW v AS SELECT 'zq' a; CREATE VIEW w AS SELECT a AS b FROM v; SELECT b AS password FROM w",
            "CREATE TABLE x (n VARCHAR, k VARCHAR); INSERT INTO x VALUES ('b', 'zq'); SELECT s.k AS password FROM x s JOIN t ON s.n = t.n",
            "CREATE TABLE x (n VARCHAR, k VARCHAR); INSERT INTO x (k, n) VALUES ('zq', 'b'); SELECT k AS password FROM x",
            "CREATE VIEW v (n, a) AS SELECT 'b', 'zq'; CREATE VIEW w AS SELECT a AS password FROM v",
        ] {
            check(sql);
        }
    }

    /// By table and column, not by the name alone.
    #[test]
    fn other_columns_of_the_name_stay() {
        for sql in [
            "CREATE TABLE x AS SELECT 'zq' k; CREATE TABLE y AS SELECT k password FROM x; CREATE TABLE z AS SELECT 'b' k; SELECT 'c' FROM z WHERE k = 'd'",
            "SELECT a.k AS password FROM a JOIN b ON a.id = b.id; INSERT INTO b (k) VALUES ('b')",
            "SELECT id + 1 AS password FROM t; CREATE TABLE t AS SELECT 'b' id",
        ] {
            check(sql);
        }
    }
}
