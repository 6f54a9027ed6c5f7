//! Plans without the values in them.

use crate::typed_literals::{Types, without_typed_literals};

/// A plan as DataFusion prints it, with every value replaced by `?`: literals, numbers, quoted texts (time zones, names of fields
/// in types), the options of `COPY`, and the keys with which fields and maps are accessed. Names of columns and tables, and paths,
/// are kept.
pub(crate) fn without_values(plan: &str) -> String {
    let plan = without_typed_literals(plan, Types::Shown);
    let mut out = String::with_capacity(plan.len());
    for line in plan.split_inclusive('\n') {
        match line.find("options: (") {
            Some(at) => {
                without_values_of_line(&line[..at], &mut out);
                out.push_str("options: (?)");
                out.push_str(if line.ends_with('\n') { "\n" } else { "" });
            }
            None => without_values_of_line(line, &mut out),
        }
    }
    out
}

/// The name of an operator, with the table that it scans.
pub fn operator_name(operator: &str, table: Option<&str>) -> String {
    table.map_or_else(|| operator.to_owned(), |table| format!("{operator} ({table})"))
}

fn without_values_of_line(line: &str, out: &mut String) {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut before: Option<char> = None;
    let mut at = 0;
    while let Some(c) = line[at..].chars().next() {
        let rest = &line[at..];
        let length = match c {
            '"' | '\'' => {
                let closing = rest[1..].find(c).map_or(rest.trim_end_matches('\n').len(), |end| end + 2);
                out.push('?');
                closing
            }
            '0'..='9' if !before.is_some_and(|c| is_name(c) || c == '#') => {
                out.push('?');
                rest.find(|c: char| !(is_name(c) || c == '.')).unwrap_or(rest.len())
            }
            // `s[key]` accesses a field; column lists follow a space, `=` or another bracket.
            '[' if before.is_some_and(|c| is_name(c) || c == ')') => {
                let end = rest.find(']').map_or(rest.trim_end_matches('\n').len(), |end| end + 1);
                out.push_str("[?]");
                end
            }
            _ => {
                let word = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len()).max(c.len_utf8());
                out.push_str(&rest[..word]);
                word
            }
        };
        before = line[..at + length].chars().next_back();
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(plan: &str, expected: &str) {
        assert_eq!(without_values(plan), expected);
    }

    #[test]
    fn names_stay_and_values_go() {
        check("Limit: skip=0, fetch=5\n  TableScan: t1\n", "Limit: skip=?, fetch=?\n  TableScan: t1\n");
        check("Projection: CAST(a AS Timestamp(ns, \"zqmk\"))", "Projection: CAST(a AS Timestamp(ns, ?))");
        check(
            "CopyTo: format=csv output_url=out/x options: (format.a zqmk)\n  x",
            "CopyTo: format=csv output_url=out/x options: (?)\n  x",
        );
        check("Projection: t.s[zqmk], groupBy=[[a_1]]", "Projection: t.s[?], groupBy=[[a_1]]");
        check("a LIKE Utf8(\"zq'mk\") CHAR 'z'", "a LIKE Utf8(?) CHAR ?");
        check("ROWS BETWEEN 98765 PRECEDING AND 1.5e3 FOLLOWING", "ROWS BETWEEN ? PRECEDING AND ? FOLLOWING");
    }
}
