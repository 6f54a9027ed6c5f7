//! One statement of a script: parsing it, also again later.

use std::collections::BTreeMap;

use datafusion::{
    error::DataFusionError,
    sql::{
        parser::{DFParserBuilder, Statement as ParsedStatement},
        sqlparser::{
            keywords::Keyword,
            tokenizer::{Span, Token, TokenWithSpan},
        },
    },
};

use crate::{
    effect::Relations,
    expectation::Expectation,
    kind::StatementKind,
    literals::{
        LiteralValue, colon_parameter, defines_function, has_colon_placeholder, literal_places,
        parameter_name, parameter_places, with_literals,
    },
    parameter::Parameter,
    parser_messages::{TOO_DEEP, parser_message, split_position, tidied},
    script_error::{ScriptProblem, StatementProblem},
    source::Source,
    split::{position, tokens_from},
    sql_settings::{ParserSettings, SqlSettings},
};

/// One statement of a script.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Statement {
    /// What the statement does.
    pub kind: StatementKind,
    /// The original text, without the comments above and the semicolon.
    pub text: String,
    /// The text without comments and layout: tokens separated by one space, unquoted words in lower case.
    pub normalized: String,
    /// The first line, starting at 1.
    pub first_line: usize,
    /// The column of the first character, starting at 1.
    pub first_column: usize,
    /// The last line, inclusive.
    pub last_line: usize,
    /// The comment block directly above, without its directives.
    pub documentation: Option<String>,
    /// The name from `-- node: name`.
    pub name: Option<String>,
    /// The tags from `-- tag: key=value`.
    pub tags: BTreeMap<String, String>,
    /// The checks of its rows, from `-- expect: check`.
    pub checks: Vec<Expectation>,
    /// The parameters it reads, one entry for each occurrence.
    pub placeholders: Vec<Placeholder>,
    /// The file of the script that contains it.
    pub(crate) file: usize,
    pub(crate) relations: Relations,
    /// The places that accept only literals, as token indices, and their literals.
    pub(crate) literals: Vec<(usize, LiteralValue)>,
    pub(crate) parser: ParserSettings,
}

/// A place that reads a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholder {
    /// The parameter's name, without `$`.
    pub name: String,
    /// The line, starting at 1.
    pub line: usize,
    /// The column, starting at 1.
    pub column: usize,
}

impl Statement {
    /// The statement as parsed by DataFusion, in the dialect that the script has set. Its positions are positions in the script;
    /// parameters are placeholders, except where only a literal is accepted.
    ///
    /// Syntax trees take many times the memory of their text, so a script does not keep them.
    ///
    /// # Errors
    /// Never in practice: the text was already parsed when the script was read.
    pub fn parse(&self) -> Result<ParsedStatement, DataFusionError> {
        let places: Vec<usize> = self.literals.iter().map(|(place, _)| *place).collect();
        let value = |place: usize, _: &str| {
            let literal = self.literals.iter().find(|(literal, _)| *literal == place);
            literal.map(|(_, value)| value.clone())
        };
        parse_tokens(with_literals(&self.tokens(), &places, value), self.parser)
            .map_err(|(_, problem)| DataFusionError::Plan(problem.to_string()))
    }

    /// The tokens of the statement without comments and layout, with their positions in the script.
    pub(crate) fn tokens(&self) -> Vec<TokenWithSpan> {
        let start = (self.first_line, self.first_column);
        let (mut tokens, _) = tokens_from(&self.text, start, &*self.parser.dialect());
        tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
        tokens
    }

    /// The statement with every occurrence of a parameter replaced by its value as a literal. `None` if the result is not a valid
    /// statement.
    pub(crate) fn with_all_literals(
        &self,
        parameters: &BTreeMap<String, Parameter>,
    ) -> Option<ParsedStatement> {
        let tokens = self.tokens();
        let value = |_, name: &str| parameters.get(name).map(Parameter::literal);
        parse_tokens(with_literals(&tokens, &parameter_places(&tokens), value), self.parser).ok()
    }
}

fn parse_tokens(
    mut tokens: Vec<TokenWithSpan>,
    settings: ParserSettings,
) -> Result<ParsedStatement, StatementProblem> {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
        return Err(((1, 1), ScriptProblem::Syntax { message: "there is no statement".to_owned() }));
    };
    let start = position(first.span.start);
    // With a position for the end of input, the error "found: EOF" also has one.
    tokens.push(TokenWithSpan::at(Token::EOF, last.span.end, last.span.end));
    let parsed = DFParserBuilder::new(tokens)
        .with_dialect(&*settings.dialect())
        .with_recursion_limit(settings.recursion_limit)
        .build()
        .and_then(|mut parser| parser.parse_statements());
    match parsed {
        Ok(mut statements) if statements.len() == 1 => Ok(statements.remove(0).expect("its length is one")),
        Ok(_) => Err((start, ScriptProblem::Syntax { message: "expected one statement".to_owned() })),
        Err(error) => {
            let message = parser_message(&error);
            let (message, found) = split_position(&message);
            let mut message = tidied(message);
            if let Some(dialect) = settings.unusual_dialect() {
                message =
                    format!("{message} (in the dialect {dialect}, as `datafusion.sql_parser.dialect` says)");
            }
            Err((found.unwrap_or(start), ScriptProblem::Syntax { message }))
        }
    }
}

/// Parses the statement in `tokens`, with literals where a parameter must be one.
pub(crate) fn read_statement(
    source: &Source,
    tokens: &[TokenWithSpan],
    settings: &SqlSettings,
    literal: &dyn Fn(&str) -> Option<LiteralValue>,
) -> Result<(Statement, ParsedStatement), StatementProblem> {
    let parser = settings.of_parser();
    let (parsed, literal_places) = parse_piece(tokens, parser, literal)?;
    let literals = literal_places
        .into_iter()
        .filter_map(|place| Some((place, literal(parameter_name(&tokens[place])?)?)))
        .collect();
    let span = |token: &TokenWithSpan| (position(token.span.start), position(token.span.end));
    let start = tokens.first().map_or((1, 1), |token| span(token).0);
    let end = tokens.last().map_or((1, 1), |token| span(token).1);
    let placeholders = placeholders(tokens);
    let text = source.between(start, end);
    // From the tokens: comments, white space and the case of keywords do not make a new version of a pipeline.
    let mut normalized = String::with_capacity(text.len());
    for token in tokens {
        if !normalized.is_empty() {
            normalized.push(' ');
        }
        match &token.token {
            // If names are not normalised, their case is significant.
            Token::Word(word)
                if word.quote_style.is_none()
                    && (settings.normalizes_names() || word.keyword != Keyword::NoKeyword) =>
            {
                normalized.push_str(&word.value.to_lowercase());
            }
            _ => normalized.push_str(source.between(span(token).0, span(token).1)),
        }
    }
    let statement = Statement {
        kind: StatementKind::of(&parsed),
        text: text.to_owned(),
        normalized,
        first_line: start.0,
        first_column: start.1,
        last_line: end.0,
        documentation: None,
        name: None,
        tags: BTreeMap::new(),
        checks: Vec::new(),
        placeholders,
        file: 0,
        relations: Relations::default(),
        literals,
        parser,
    };
    Ok((statement, parsed))
}

/// Parses a statement, with literals where a parameter must be one.
fn parse_piece(
    tokens: &[TokenWithSpan],
    settings: ParserSettings,
    literal: &dyn Fn(&str) -> Option<LiteralValue>,
) -> Result<(ParsedStatement, Vec<usize>), StatementProblem> {
    check_foreign_placeholders(tokens)?;
    let places = literal_places(tokens);
    let refused = match parse_tokens(with_literals(tokens, &places, |_, name| literal(name)), settings) {
        Ok(parsed) => {
            return match colon_parameter(tokens).filter(|_| has_colon_placeholder(&parsed)) {
                Some((span, name)) => Err(foreign(span, format!(":{name}"), name)),
                None => Ok((parsed, places)),
            };
        }
        Err(refused) => refused,
    };
    // The parser accepts a placeholder in most places of an expression, but not in all.
    let all = parameter_places(tokens);
    // Tried only after parsing with placeholders has failed: with literals the plan differs, and its fingerprint would change with
    // each value.
    if all.len() > places.len()
        && let Ok(parsed) = parse_tokens(with_literals(tokens, &all, |_, name| literal(name)), settings)
    {
        return Ok((parsed, all));
    }
    if let Some((span, name)) = colon_parameter(tokens) {
        return Err(foreign(span, format!(":{name}"), name));
    }
    // If the parser tries several alternatives, its error at the depth limit is about the last one. If the limit was the reason, it
    // gets further with a higher one.
    let deeper = settings.deeper();
    match parse_tokens(with_literals(tokens, &places, |_, name| literal(name)), deeper) {
        Err((at, _)) if at == refused.0 => Err(refused),
        _ => Err((refused.0, ScriptProblem::Syntax { message: TOO_DEEP.to_owned() })),
    }
}

fn placeholders(tokens: &[TokenWithSpan]) -> Vec<Placeholder> {
    let reads = |place: usize| {
        let token = &tokens[place];
        let (line, column) = position(token.span.start);
        parameter_name(token).map(|name| Placeholder { name: name.to_owned(), line, column })
    };
    parameter_places(tokens).into_iter().filter_map(reads).collect()
}

/// Rejects placeholders of other programs, which no parameter can fill.
fn check_foreign_placeholders(tokens: &[TokenWithSpan]) -> Result<(), StatementProblem> {
    if defines_function(tokens) {
        return Ok(());
    }
    for token in tokens {
        if let Token::Placeholder(text) = &token.token
            && parameter_name(token).is_none()
        {
            return Err(foreign(token.span, text.clone(), "name"));
        }
    }
    Ok(())
}

fn foreign(span: Span, placeholder: String, name: &str) -> StatementProblem {
    (position(span.start), ScriptProblem::ForeignPlaceholder { placeholder, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use crate::script::Script;

    #[track_caller]
    fn check_normalized(text: &str, expected: &[&str]) {
        let script = Script::parse("a.sql", text).unwrap();
        let found: Vec<&str> = script.statements().iter().map(|s| s.normalized.as_str()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn layout_comments_and_case_do_not_matter() {
        let expected = &["create view v as select a . \"B\" , 'It''s  A' , 1E5 from t"];
        check_normalized("CREATE VIEW v AS SELECT a.\"B\", 'It''s  A', 1E5 FROM t", expected);
        check_normalized(
            "create view V as\n -- why\nselect A . \"B\" ,'It''s  A',1E5 /* ; */ from T ;",
            expected,
        );
        check_normalized("", &[]);
        check_normalized("/* nothing */ -- here", &[]);
    }

    #[test]
    fn names_keep_their_case_where_they_are_not_normalized() {
        check_normalized(
            "SELECT X FROM T; SET datafusion.sql_parser.enable_ident_normalization = FALSE; SELECT X FROM T",
            &[
                "select x from t",
                "set datafusion . sql_parser . enable_ident_normalization = false",
                "select X from T",
            ],
        );
    }

    #[test]
    fn placeholders_of_prepared_statements_and_functions_are_their_own() {
        let script = Script::parse(
            "a.sql",
            "PREPARE p AS SELECT $1; CREATE FUNCTION f(INT) RETURNS INT RETURN $1 + 1; SELECT $x, $x, '$y'",
        )
        .unwrap();
        let counts: Vec<usize> = script.statements().iter().map(|s| s.placeholders.len()).collect();
        assert_eq!(counts, [0, 0, 2]);
        let first = &script.statements()[2].placeholders[0];
        assert_eq!((first.name.as_str(), first.line, first.column), ("x", 1, 82));
    }
}
