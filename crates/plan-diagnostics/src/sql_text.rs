//! SQL texts without the values in them.

use datafusion::sql::sqlparser::{
    dialect::GenericDialect,
    tokenizer::{Token, Tokenizer, Whitespace},
};

/// The text with every literal replaced by `?`; comments, layout and line numbers stay. The value of a parameter that a
/// comment declares (`-- param: name = value`) is a literal too. A text that is no SQL becomes `?`.
pub fn strip_sql_literals(sql: &str) -> String {
    let dialect = GenericDialect {};
    let Ok(tokens) = Tokenizer::new(&dialect, sql).with_unescape(false).tokenize() else {
        return "?".to_owned();
    };
    tokens
        .into_iter()
        .map(|token| match &token {
            Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::TripleSingleQuotedString(_)
            | Token::TripleDoubleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::SingleQuotedByteStringLiteral(_)
            | Token::DoubleQuotedByteStringLiteral(_)
            | Token::TripleSingleQuotedByteStringLiteral(_)
            | Token::TripleDoubleQuotedByteStringLiteral(_)
            | Token::SingleQuotedRawStringLiteral(_)
            | Token::DoubleQuotedRawStringLiteral(_)
            | Token::TripleSingleQuotedRawStringLiteral(_)
            | Token::TripleDoubleQuotedRawStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::HexStringLiteral(_) => {
                let lines = token.to_string().matches('\n').count();
                format!("?{}", "\n".repeat(lines))
            }
            Token::Whitespace(Whitespace::SingleLineComment { comment, prefix }) => {
                format!("{prefix}{}", without_declared_value(comment))
            }
            other => other.to_string(),
        })
        .collect()
}

fn without_declared_value(comment: &str) -> String {
    let declares = comment.trim_start().get(..6).is_some_and(|word| word.eq_ignore_ascii_case("param:"));
    match comment.split_once('=') {
        Some((declared, value)) if declares => {
            let line_end = &value[value.trim_end_matches(['\r', '\n']).len()..];
            format!("{declared}= ?{line_end}")
        }
        _ => comment.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sql: &str, expected: &str) {
        assert_eq!(strip_sql_literals(sql), expected);
    }

    #[test]
    fn literals_go_and_everything_else_stays() {
        check("SELECT a, 'it''s' FROM t WHERE x > 1.5e3", "SELECT a, ? FROM t WHERE x > ?");
        check("-- why\nSELECT \"Col 1\"\n  FROM t;", "-- why\nSELECT \"Col 1\"\n  FROM t;");
        check("COPY t TO 's3://bucket/x.parquet'", "COPY t TO ?");
        check("SELECT 'a\nb', c\nFROM t", "SELECT ?\n, c\nFROM t");
        check(
            "-- param: region = ASIA\n-- a = b\nSELECT $region",
            "-- param: region = ?\n-- a = b\nSELECT $region",
        );
        check("SELECT 'open", "?");
    }
}
