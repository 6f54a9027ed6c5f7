//! Parameters in places that accept only a literal, such as `LOCATION $in`: their values become tokens of the statement before it
//! is parsed. Everywhere else the plan has placeholders, and a value gets the type that its place expects.

use std::{iter::once, ops::ControlFlow};

use datafusion::sql::{
    parser::{CopyToSource, Statement as ParsedStatement},
    sqlparser::{
        ast::{Value, ValueWithSpan, Visit as _, Visitor},
        keywords::Keyword,
        tokenizer::{Span, Token, TokenWithSpan},
    },
};

use crate::parameter_type::ParameterType;

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiteralValue {
    pub(crate) kind: ParameterType,
    pub(crate) text: String,
}

/// The possible forms of literals in a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LiteralForm {
    /// For locations and options: always a quoted string, whatever the value is.
    Text,
    /// For settings: a number or a string.
    Plain,
    /// For values of expressions: dates include their type.
    Expression,
}

impl LiteralForm {
    /// The form at a place of a statement of these tokens.
    pub(crate) fn of(tokens: &[TokenWithSpan], place: usize) -> Self {
        if type_in_front(tokens, place).is_some() {
            return Self::Text;
        }
        let start = statement_start(tokens);
        match keyword_at(tokens, start) {
            Keyword::COPY if place < source_end(tokens, start + 1) => Self::Expression,
            // In options of COPY and of an external table, the parser accepts only a string, whatever its meaning.
            Keyword::COPY => Self::Text,
            Keyword::CREATE if is_external_table(tokens) => Self::Text,
            Keyword::SET | Keyword::RESET | Keyword::SHOW => Self::Plain,
            _ => Self::Expression,
        }
    }

    fn tokens(self, value: &LiteralValue) -> Vec<Token> {
        let text = Token::SingleQuotedString(value.text.clone());
        match (self, value.kind) {
            (Self::Text, _) | (_, ParameterType::Text) | (Self::Plain, ParameterType::Date) => vec![text],
            (_, ParameterType::Integer | ParameterType::Float) => {
                vec![Token::Number(value.text.clone(), false)]
            }
            (_, ParameterType::Null) => vec![Token::make_word("NULL", None)],
            // For the tokenizer `true` is a word, like `DATE` below.
            (_, ParameterType::Boolean) => vec![Token::make_word(&value.text, None)],
            (_, ParameterType::Date) => vec![Token::make_word("DATE", None), text],
        }
    }
}

/// The name of a parameter, if the token reads one.
pub(crate) fn parameter_name(token: &TokenWithSpan) -> Option<&str> {
    match &token.token {
        Token::Placeholder(text) => text.strip_prefix('$').filter(|name| !name.is_empty()),
        _ => None,
    }
}

/// Whether the placeholders of a statement are the arguments of a function that it defines.
pub(crate) fn defines_function(tokens: &[TokenWithSpan]) -> bool {
    // Only OR REPLACE and TEMPORARY can be between the two.
    keyword_at(tokens, 0) == Keyword::CREATE
        && tokens.iter().take(5).any(|token| keyword(token) == Keyword::FUNCTION)
}

/// Whether a placeholder is an argument of the statement in `PREPARE`.
pub(crate) fn is_argument(tokens: &[TokenWithSpan], name: &str) -> bool {
    // An `EXPLAIN` can only precede it with ANALYZE, VERBOSE and a format.
    let is_prepare = keyword_at(tokens, 0) == Keyword::PREPARE
        || keyword_at(tokens, 0) == Keyword::EXPLAIN
            && keyword_at(tokens, statement_start(tokens)) == Keyword::PREPARE;
    is_prepare && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// The places of a statement, as token indices, where a parameter must be a literal before the statement is parsed. In the query of
/// a `COPY` and in planned statements that is only necessary for the text of a date or time.
pub(crate) fn literal_places(tokens: &[TokenWithSpan]) -> Vec<usize> {
    let start = statement_start(tokens);
    let first = match keyword_at(tokens, start) {
        // The source of COPY is a query, whose parameters are bound as usual; literal places begin after it.
        Keyword::COPY => source_end(tokens, start + 1),
        Keyword::CREATE if is_external_table(tokens) => start,
        Keyword::CREATE
        | Keyword::SELECT
        | Keyword::WITH
        | Keyword::VALUES
        | Keyword::INSERT
        | Keyword::UPDATE
        | Keyword::DELETE
        | Keyword::MERGE
        | Keyword::TRUNCATE
        | Keyword::TABLE
        | Keyword::FROM => tokens.len(),
        // In parentheses.
        Keyword::NoKeyword if tokens.get(start).is_some_and(|token| token.token == Token::LParen) => {
            tokens.len()
        }
        _ => start,
    };
    let places = parameter_places(tokens).into_iter();
    places.filter(|place| *place >= first || type_in_front(tokens, *place).is_some()).collect()
}

/// The name of the type before a literal, as in `DATE $day`: the parser accepts only a string after it.
pub(crate) fn type_in_front(tokens: &[TokenWithSpan], place: usize) -> Option<&'static str> {
    Some(match keyword_at(tokens, place.checked_sub(1)?) {
        Keyword::DATE => "DATE",
        Keyword::TIME => "TIME",
        Keyword::TIMESTAMP => "TIMESTAMP",
        Keyword::TIMESTAMPTZ => "TIMESTAMPTZ",
        Keyword::DATETIME => "DATETIME",
        Keyword::INTERVAL => "INTERVAL",
        // The end of `TIMESTAMP WITH TIME ZONE`.
        Keyword::ZONE => "TIME ZONE",
        _ => return None,
    })
}

/// All places of a statement that read a parameter of the script.
pub(crate) fn parameter_places(tokens: &[TokenWithSpan]) -> Vec<usize> {
    // `$1` in the body of a function is an argument of it.
    if defines_function(tokens) {
        return Vec::new();
    }
    let reads = |token| parameter_name(token).is_some_and(|name| !is_argument(tokens, name));
    tokens.iter().enumerate().filter(|(_, token)| reads(token)).map(|(place, _)| place).collect()
}

/// The tokens with literals at `places`, at the positions of the placeholders. `value` returns the value of the parameter at a
/// place, if known.
pub(crate) fn with_literals(
    tokens: &[TokenWithSpan],
    places: &[usize],
    value: impl Fn(usize, &str) -> Option<LiteralValue>,
) -> Vec<TokenWithSpan> {
    let mut places = places.iter().copied().peekable();
    let mut out = Vec::with_capacity(tokens.len());
    for (index, token) in tokens.iter().enumerate() {
        let value = match places.next_if_eq(&index) {
            Some(_) => parameter_name(token).and_then(|name| value(index, name)),
            None => None,
        };
        match value {
            // At the position of the parameter, so that a parser error refers to the text of the script.
            Some(value) => {
                let at = |literal| TokenWithSpan { token: literal, span: token.span };
                out.extend(LiteralForm::of(tokens, index).tokens(&value).into_iter().map(at));
            }
            None => out.push(token.clone()),
        }
    }
    out
}

/// The position and name of a token that looks like a parameter in another dialect, `:name`.
pub(crate) fn colon_parameter(tokens: &[TokenWithSpan]) -> Option<(Span, &str)> {
    // Each pair of tokens with the preceding one, which decides whether the colon can begin a name.
    let before = once(None).chain(tokens.iter().map(Some));
    before.zip(tokens.windows(2)).find_map(|(before, pair)| {
        let [colon, name] = pair else { return None };
        let (Token::Colon, Token::Word(word)) = (&colon.token, &name.token) else { return None };
        // After a value, it is a field access, `object:field`, or the end of a range, `values[1:n]`.
        let follows_value = before.is_some_and(|before| match &before.token {
            Token::Word(word) => word.keyword == Keyword::NoKeyword,
            Token::Number(..) | Token::RParen | Token::RBracket | Token::LBracket | Token::Placeholder(_) => {
                true
            }
            Token::SingleQuotedString(_) => true,
            _ => false,
        });
        (!follows_value && colon.span.end == name.span.start).then_some((colon.span, word.value.as_str()))
    })
}

/// Whether the parser treats a `:name` in the statement as a placeholder.
pub(crate) fn has_colon_placeholder(parsed: &ParsedStatement) -> bool {
    match parsed {
        ParsedStatement::Statement(statement) => statement.visit(&mut ColonPlaceholders).is_break(),
        ParsedStatement::CopyTo(copy) => match &copy.source {
            CopyToSource::Query(query) => query.visit(&mut ColonPlaceholders).is_break(),
            CopyToSource::Relation(_) => false,
        },
        ParsedStatement::Explain(explain) => has_colon_placeholder(&explain.statement),
        ParsedStatement::CreateExternalTable(_) | ParsedStatement::Reset(_) => false,
    }
}

struct ColonPlaceholders;

impl Visitor for ColonPlaceholders {
    type Break = ();

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        match &value.value {
            Value::Placeholder(text) if text.starts_with(':') => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// The start of the explained statement after `EXPLAIN` with its options, or else of the statement itself.
fn statement_start(tokens: &[TokenWithSpan]) -> usize {
    if keyword_at(tokens, 0) != Keyword::EXPLAIN {
        return 0;
    }
    let starts = |token: &TokenWithSpan| {
        matches!(
            keyword(token),
            Keyword::COPY
                | Keyword::CREATE
                | Keyword::SELECT
                | Keyword::WITH
                | Keyword::VALUES
                | Keyword::INSERT
                | Keyword::UPDATE
                | Keyword::DELETE
                | Keyword::EXECUTE
                | Keyword::PREPARE
        )
    };
    tokens.iter().position(starts).unwrap_or_default()
}

/// The end of the source of a `COPY`, which is a table or a query in parentheses.
fn source_end(tokens: &[TokenWithSpan], start: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(start) {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            // Within parentheses it is part of the query that is copied.
            _ if depth == 0 && keyword(token) == Keyword::TO => return index,
            _ => {}
        }
    }
    tokens.len()
}

fn is_external_table(tokens: &[TokenWithSpan]) -> bool {
    let start = statement_start(tokens);
    let mut words = tokens.iter().skip(start).take(5).map(keyword);
    words.any(|word| word == Keyword::EXTERNAL)
}

fn keyword_at(tokens: &[TokenWithSpan], index: usize) -> Keyword {
    tokens.get(index).map_or(Keyword::NoKeyword, keyword)
}

fn keyword(token: &TokenWithSpan) -> Keyword {
    match &token.token {
        // A quoted name may be spelled like a keyword.
        Token::Word(word) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{dialect::GenericDialect, tokenizer::Tokenizer};

    use super::*;

    fn tokens(sql: &str) -> Vec<TokenWithSpan> {
        let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().unwrap();
        tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect()
    }

    /// Compares the statement with its literal parameters inserted, words separated by spaces.
    #[track_caller]
    fn check(sql: &str, expected: &str) {
        check_places(sql, literal_places, expected);
    }

    #[track_caller]
    fn check_places(sql: &str, places: fn(&[TokenWithSpan]) -> Vec<usize>, expected: &str) {
        let tokens = tokens(sql);
        let value = |_, name: &str| {
            let (kind, text) = match name {
                "n" => (ParameterType::Integer, "-5"),
                "d" => (ParameterType::Date, "1995-01-01"),
                "b" => (ParameterType::Boolean, "true"),
                _ => (ParameterType::Text, "it's"),
            };
            Some(LiteralValue { kind, text: text.to_owned() })
        };
        let shown = with_literals(&tokens, &places(&tokens), value);
        let shown: Vec<String> = shown.iter().map(|token| token.token.to_string()).collect();
        assert_eq!(shown.join(" "), expected);
    }

    #[test]
    fn only_places_of_literals_take_literals() {
        check("SELECT $n, 'x' LIMIT $n", "SELECT $n , 'x' LIMIT $n");
        check("(SELECT $n)", "( SELECT $n )");
        check(
            "SELECT DATE $d, date, $d, INTERVAL $n DAY, x AT TIME ZONE $t",
            "SELECT DATE '1995-01-01' , date , $d , INTERVAL '-5' DAY , x AT TIME ZONE 'it's'",
        );
        check("EXECUTE p(DATE $d, $d)", "EXECUTE p ( DATE '1995-01-01' , DATE '1995-01-01' )");
        check("PREPARE p AS SELECT DATE $1", "PREPARE p AS SELECT DATE $1");
        check("CREATE VIEW v AS SELECT $t", "CREATE VIEW v AS SELECT $t");
        check(
            "COPY (SELECT $n FROM t) TO $t OPTIONS ('format.delimiter' $d, 'a' $n)",
            "COPY ( SELECT $n FROM t ) TO 'it's' OPTIONS ( 'format.delimiter' '1995-01-01' , 'a' '-5' )",
        );
        check("COPY t TO $n", "COPY t TO '-5'");
        check("EXPLAIN ANALYZE COPY t TO $t", "EXPLAIN ANALYZE COPY t TO 'it's'");
        check(
            "CREATE OR REPLACE EXTERNAL TABLE t STORED AS CSV LOCATION $n",
            "CREATE OR REPLACE EXTERNAL TABLE t STORED AS CSV LOCATION '-5'",
        );
        check("SET a.b = $n", "SET a . b = -5");
        check("SET a.b = $d", "SET a . b = '1995-01-01'");
        check("EXECUTE p($n, $d, $b, $t)", "EXECUTE p ( -5 , DATE '1995-01-01' , true , 'it's' )");
        check("PREPARE p AS SELECT $1, $n", "PREPARE p AS SELECT $1 , -5");
        check(
            "EXPLAIN VERBOSE PREPARE p(INT) AS SELECT $1, $n",
            "EXPLAIN VERBOSE PREPARE p ( INT ) AS SELECT $1 , -5",
        );
        check(
            "CREATE FUNCTION f(INT) RETURNS INT RETURN $n",
            "CREATE FUNCTION f ( INT ) RETURNS INT RETURN $n",
        );
    }

    #[test]
    fn a_literal_in_the_query_of_a_copy_is_one_of_an_expression() {
        check_places(
            "COPY (SELECT * FROM generate_series(1, $n) WHERE a < $d) TO $n",
            parameter_places,
            "COPY ( SELECT * FROM generate_series ( 1 , -5 ) WHERE a < DATE '1995-01-01' ) TO '-5'",
        );
    }

    #[track_caller]
    fn check_colon(sql: &str, expected: Option<&str>) {
        assert_eq!(colon_parameter(&tokens(sql)).map(|(_, name)| name), expected, "{sql}");
    }

    #[test]
    fn a_name_after_a_colon_may_be_meant_as_a_parameter() {
        check_colon("SELECT :day", Some("day"));
        check_colon("SELECT a WHERE b > :day", Some("day"));
        check_colon("COPY t TO :out", Some("out"));
        check_colon("SELECT a:field, b[1:n], c[:n], d::INT, (e):f", None);
    }
}
