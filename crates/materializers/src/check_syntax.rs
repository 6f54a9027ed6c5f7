//! Parsing a check.

use std::{fmt, str::FromStr, time::Duration};

use datafusion::sql::sqlparser::{
    dialect::{Dialect, GenericDialect},
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Token, TokenWithSpan, Tokenizer},
};

use crate::data_check::{CheckRule, DataCheck, RowsExpected};

/// Why a text is not a valid check. `Display` and `Debug` do not repeat the text.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct CheckSyntaxError {
    /// The problem.
    pub problem: CheckProblem,
    /// The position, in characters from the start of the text.
    pub offset: usize,
}

impl fmt::Debug for CheckSyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The problem with a check. `Display` does not repeat its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckProblem {
    /// It is missing.
    #[error(
        "the check is missing: expected one such as `rows > 0`, `unique(id)`, `not_null(id)` or `amount >= 0`"
    )]
    Missing,
    /// The text after `rows`.
    #[error("the number of rows is compared with one number, as in `rows > 0` or `rows BETWEEN 1 AND 100`")]
    Rows,
    /// The text in the parentheses.
    #[error("`{function}` takes names of columns, as in `{function}(id)` or `{function}(day, \"Region\")`")]
    Columns {
        /// `unique` or `not_null`.
        function: &'static str,
    },
    /// The maximum age of a column.
    #[error("a freshness is written `freshness(column) < 2 days`, in seconds, minutes, hours, days or weeks")]
    Freshness,
    /// A query in a condition.
    #[error("a condition applies to one row and cannot contain a query")]
    Query,
    /// A parameter in a check.
    #[error("a check cannot read parameters: write the value")]
    Parameter,
    /// The condition is not an SQL expression.
    #[error("a check is `rows`, `unique`, `not_null`, `freshness` or an SQL condition, but this one is not")]
    Condition {
        /// The message of the parser, which may contain a part of the text.
        message: String,
    },
}

/// In DataFusion's default dialect, with unquoted names in lower case.
impl FromStr for DataCheck {
    type Err = CheckSyntaxError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text, &GenericDialect, true)
    }
}

/// Parses a check in an SQL dialect. `normalizes` is whether unquoted names are converted to lower case.
///
/// # Errors
/// When the text is not a valid check.
pub fn parse(text: &str, dialect: &dyn Dialect, normalizes: bool) -> Result<DataCheck, CheckSyntaxError> {
    let unreadable = |message: String, offset: usize| CheckSyntaxError {
        problem: CheckProblem::Condition { message },
        offset,
    };
    let tokens = Tokenizer::new(dialect, text).tokenize_with_location().map_err(|error| {
        unreadable(error.message.clone(), (error.location.column as usize).saturating_sub(1))
    })?;
    let tokens: Vec<TokenWithSpan> =
        tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    let mut reading = Reading { tokens: &tokens, at: 0, normalizes };
    if tokens.is_empty() {
        return Err(reading.error(CheckProblem::Missing));
    }
    let rule = match reading.rule()? {
        Some(rule) => rule,
        None => {
            reading.refuse_in_condition()?;
            condition(&tokens, dialect).map_err(|error| {
                let (ParserError::TokenizerError(message) | ParserError::ParserError(message)) = error else {
                    return unreadable(error.to_string(), 0);
                };
                let offset = column_in(&message).map_or(0, |column| column.saturating_sub(1));
                unreadable(message, offset)
            })?;
            CheckRule::Condition
        }
    };
    Ok(DataCheck::new(text, rule))
}

fn condition(tokens: &[TokenWithSpan], dialect: &dyn Dialect) -> Result<(), ParserError> {
    let mut parser = Parser::new(dialect).with_tokens_with_locations(tokens.to_vec());
    parser.parse_expr()?;
    match parser.peek_token() {
        TokenWithSpan { token: Token::EOF, .. } => Ok(()),
        more => parser.expected("end of the condition", more),
    }
}

/// The column number at the end of a parser message.
fn column_in(message: &str) -> Option<usize> {
    message.rsplit_once("Column: ")?.1.trim().parse().ok()
}

/// The rule that was probably meant by a condition that cannot be planned: `rows` alone, `row > 3`, `uniqe(id)`. They are valid
/// conditions if such columns or functions exist.
pub(crate) fn nearest_rule(condition: &str) -> Option<&'static str> {
    const CALLED: [(&str, &str); 3] =
        [("unique", "unique(id)"), ("not_null", "not_null(id)"), ("freshness", "freshness(day) < 2 days")];
    let end = condition.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(condition.len());
    let (word, rest) = (condition[..end].to_lowercase(), condition[end..].trim_start());
    if rest.starts_with('(') {
        let near = |name: &str| strsim::osa_distance(&word, name) <= 2;
        return CALLED.into_iter().find(|(name, _)| near(name)).map(|(_, written)| written);
    }
    ["row", "rows"].contains(&word.as_str()).then_some("rows > 0")
}

struct Reading<'t> {
    tokens: &'t [TokenWithSpan],
    at: usize,
    normalizes: bool,
}

impl Reading<'_> {
    /// The rule, if the text begins like a named one.
    fn rule(&mut self) -> Result<Option<CheckRule>, CheckSyntaxError> {
        let (Some(word), Some(next)) = (self.bare_word(0), self.tokens.get(1)) else { return Ok(None) };
        let is_called = next.token == Token::LParen;
        match word.as_str() {
            // A column with this name must be quoted.
            "rows" if !is_called && self.compares(1) => {
                self.at = 1;
                self.rows().map(Some)
            }
            "unique" if is_called => {
                self.at = 2;
                let columns = self.only_columns("unique")?;
                Ok(Some(CheckRule::Unique(columns)))
            }
            "not_null" if is_called => {
                self.at = 2;
                let columns = self.only_columns("not_null")?;
                Ok(Some(CheckRule::NotNull(columns)))
            }
            "freshness" if is_called => {
                self.at = 2;
                self.freshness().map(Some)
            }
            _ => Ok(None),
        }
    }

    fn compares(&self, index: usize) -> bool {
        let Some(token) = self.tokens.get(index) else { return false };
        matches!(
            token.token,
            Token::Gt | Token::GtEq | Token::Lt | Token::LtEq | Token::Eq | Token::DoubleEq | Token::Neq
        ) || self.is_keyword(index, Keyword::BETWEEN)
    }

    fn rows(&mut self) -> Result<CheckRule, CheckSyntaxError> {
        let operator = self.tokens[self.at].token.clone();
        self.at += 1;
        let number = self.number().ok_or_else(|| self.error(CheckProblem::Rows))?;
        let within = |least, most| RowsExpected::Within { least, most };
        let expected = match operator {
            Token::Gt => number.checked_add(1).map_or(RowsExpected::Never, |least| within(least, u64::MAX)),
            Token::GtEq => within(number, u64::MAX),
            Token::Lt => number.checked_sub(1).map_or(RowsExpected::Never, |most| within(0, most)),
            Token::LtEq => within(0, number),
            Token::Neq => RowsExpected::Not(number),
            Token::Word(_) => {
                if !self.is_keyword(self.at, Keyword::AND) {
                    return Err(self.error(CheckProblem::Rows));
                }
                self.at += 1;
                within(number, self.number().ok_or_else(|| self.error(CheckProblem::Rows))?)
            }
            _ => within(number, number),
        };
        self.end(CheckProblem::Rows)?;
        Ok(CheckRule::Rows(expected))
    }

    fn only_columns(&mut self, function: &'static str) -> Result<Vec<String>, CheckSyntaxError> {
        let problem = CheckProblem::Columns { function };
        let columns = self.columns(&problem)?;
        self.end(problem)?;
        Ok(columns)
    }

    /// Names of columns up to the closing parenthesis, without duplicates.
    fn columns(&mut self, problem: &CheckProblem) -> Result<Vec<String>, CheckSyntaxError> {
        let mut columns: Vec<String> = Vec::new();
        loop {
            let column = self.column().ok_or_else(|| self.error(problem.clone()))?;
            self.at += 1;
            if !columns.contains(&column) {
                columns.push(column);
            }
            match self.tokens.get(self.at).map(|token| &token.token) {
                Some(Token::Comma) => self.at += 1,
                Some(Token::RParen) => {
                    self.at += 1;
                    return Ok(columns);
                }
                _ => return Err(self.error(problem.clone())),
            }
        }
    }

    fn freshness(&mut self) -> Result<CheckRule, CheckSyntaxError> {
        let problem = || CheckProblem::Freshness;
        let mut columns = self.columns(&problem())?;
        let included = match self.tokens.get(self.at).map(|token| &token.token) {
            Some(Token::Lt) => false,
            Some(Token::LtEq) => true,
            _ => return Err(self.error(problem())),
        };
        self.at += 1;
        let mut limit = Duration::ZERO;
        loop {
            let number = self.number().ok_or_else(|| self.error(problem()))?;
            let seconds = self.bare_word(self.at).and_then(|unit| seconds_in(&unit));
            let part = seconds.and_then(|seconds| seconds.checked_mul(number)).map(Duration::from_secs);
            limit = part.and_then(|part| limit.checked_add(part)).ok_or_else(|| self.error(problem()))?;
            self.at += 1;
            if self.at == self.tokens.len() {
                break;
            }
        }
        match columns.pop().filter(|_| columns.is_empty()) {
            Some(column) => Ok(CheckRule::Freshness { column, limit, included }),
            None => Err(CheckSyntaxError { problem: problem(), offset: self.offset_of(2) }),
        }
    }

    fn refuse_in_condition(&self) -> Result<(), CheckSyntaxError> {
        for (index, token) in self.tokens.iter().enumerate() {
            let problem = match &token.token {
                Token::Placeholder(_) => CheckProblem::Parameter,
                _ if self.is_keyword(index, Keyword::SELECT) => CheckProblem::Query,
                _ => continue,
            };
            return Err(CheckSyntaxError { problem, offset: self.offset_of(index) });
        }
        Ok(())
    }

    fn column(&self) -> Option<String> {
        let Token::Word(word) = &self.tokens.get(self.at)?.token else { return None };
        Some(match word.quote_style {
            None if self.normalizes => word.value.to_lowercase(),
            _ => word.value.clone(),
        })
    }

    fn number(&mut self) -> Option<u64> {
        let Token::Number(text, _) = &self.tokens.get(self.at)?.token else { return None };
        let number = text.replace('_', "").parse().ok()?;
        self.at += 1;
        Some(number)
    }

    /// An unquoted word, in lower case.
    fn bare_word(&self, index: usize) -> Option<String> {
        match &self.tokens.get(index)?.token {
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_lowercase()),
            _ => None,
        }
    }

    fn is_keyword(&self, index: usize, keyword: Keyword) -> bool {
        let token = self.tokens.get(index).map(|token| &token.token);
        matches!(token, Some(Token::Word(word)) if word.quote_style.is_none() && word.keyword == keyword)
    }

    fn end(&self, problem: CheckProblem) -> Result<(), CheckSyntaxError> {
        if self.at == self.tokens.len() { Ok(()) } else { Err(self.error(problem)) }
    }

    fn error(&self, problem: CheckProblem) -> CheckSyntaxError {
        CheckSyntaxError { problem, offset: self.offset_of(self.at) }
    }

    /// The start of a token; after the last one, its end.
    fn offset_of(&self, index: usize) -> usize {
        let place = match (self.tokens.get(index), self.tokens.last()) {
            (Some(token), _) => token.span.start,
            (None, Some(last)) => last.span.end,
            (None, None) => return 0,
        };
        (place.column as usize).saturating_sub(1)
    }
}

fn seconds_in(unit: &str) -> Option<u64> {
    Some(match unit {
        "s" | "second" | "seconds" => 1,
        "min" | "minute" | "minutes" => 60,
        "h" | "hour" | "hours" => 60 * 60,
        "d" | "day" | "days" => 24 * 60 * 60,
        "w" | "week" | "weeks" => 7 * 24 * 60 * 60,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: CheckRule) {
        assert_eq!(text.parse::<DataCheck>().map(|check| check.rule), Ok(expected), "{text}");
    }

    #[track_caller]
    fn check_refused(text: &str, problem: &str, offset: usize) {
        let error = text.parse::<DataCheck>().unwrap_err();
        assert!(error.to_string().contains(problem), "{text}: {error}");
        assert_eq!(error.offset, offset, "{text}: {error}");
    }

    #[test]
    fn rows_are_compared_with_a_number() {
        let within = |least, most| CheckRule::Rows(RowsExpected::Within { least, most });
        check("rows > 0", within(1, u64::MAX));
        check("ROWS>=10", within(10, u64::MAX));
        check("rows < 5", within(0, 4));
        check("rows <= 5", within(0, 5));
        check("rows = 5", within(5, 5));
        check("rows <> 0", CheckRule::Rows(RowsExpected::Not(0)));
        check("rows < 0", CheckRule::Rows(RowsExpected::Never));
        check("rows between 1 and 7", within(1, 7));
        for (text, offset) in [
            ("rows > x", 7),
            ("rows > 0 AND x > 1", 9),
            ("rows >", 6),
            ("rows = -1", 7),
            ("rows > 1.5", 7),
            ("rows between 1", 14),
        ] {
            check_refused(text, "compared with one number", offset);
        }
    }

    #[test]
    fn columns_are_named_as_sql_names_them() {
        check("unique(Order_ID)", CheckRule::Unique(vec!["order_id".into()]));
        check("not_null(a, \"B c\",a)", CheckRule::NotNull(vec!["a".into(), "B c".into()]));
        let kept = parse("unique(Order_ID)", &GenericDialect, false).unwrap();
        assert_eq!(kept.rule, CheckRule::Unique(vec!["Order_ID".into()]));
        for (text, offset) in [
            ("unique()", 7),
            ("unique(a", 8),
            ("unique(a b)", 9),
            ("unique(lower(a))", 12),
            ("not_null(1)", 9),
            ("not_null(a) and b", 12),
        ] {
            check_refused(text, "takes names of columns", offset);
        }
    }

    #[test]
    fn an_age_has_units() {
        let fresh = |seconds, included| CheckRule::Freshness {
            column: "at".into(),
            limit: Duration::from_secs(seconds),
            included,
        };
        check("freshness(at) < 2 days", fresh(172_800, false));
        check("freshness(at) <= 1 day 12 hours", fresh(129_600, true));
        check("freshness(at) < 90 Minutes", fresh(5_400, false));
        for text in [
            "freshness(at)",
            "freshness(at) > 2 days",
            "freshness(at) < 2",
            "freshness(at) < 2 months",
            "freshness(at) < days",
            "freshness(a, b) < 2 days",
            "freshness(at) < 99999999999999999999 weeks",
            "freshness(at) < 9999999999999999999 weeks",
        ] {
            check_refused(text, "a freshness is written", text.parse::<DataCheck>().unwrap_err().offset);
        }
    }

    #[test]
    fn everything_else_is_a_condition() {
        for text in
            ["amount >= 0", "\"rows\" > x", "valid", "a IN (1, 2) OR b LIKE 'x%'", "unique = 1", "rows"]
        {
            check(text, CheckRule::Condition);
        }
        check_refused("", "the check is missing", 0);
        check_refused("  ", "the check is missing", 0);
        check_refused("amount >=", "SQL condition", 0);
        check_refused("amount > 0 0", "SQL condition", 11);
        check_refused("a = 'x", "SQL condition", 4);
        check_refused("a > (SELECT 1)", "cannot contain a query", 5);
        check_refused("a > $low", "cannot read parameters", 4);
    }

    use datafusion::sql::sqlparser::dialect::GenericDialect;
}
