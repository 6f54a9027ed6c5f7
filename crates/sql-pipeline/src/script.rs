//! Scripts and their statements.

use std::collections::BTreeMap;

use daglight_capture_policy::printable_message;
use datafusion::{
    config::ConfigOptions,
    error::DataFusionError,
    sql::{
        parser::{DFParserBuilder, Statement as ParsedStatement},
        sqlparser::{
            keywords::Keyword,
            parser::ParserError,
            tokenizer::{Span, Token, TokenWithSpan},
        },
    },
};

use crate::{
    Parameter, ParameterType,
    directives::{self, DirectiveError, ParameterDeclaration},
    kind::StatementKind,
    lexer::{LexError, Piece, Splitter, position, tokens_from},
    literals::{
        LiteralValue, colon_parameter, defines_function, has_colon_placeholder, literal_places,
        parameter_name, parameter_places, with_literals,
    },
    near_directives::{ScriptWarning, Standing, near_directive},
    relations::{Prepared, Relations},
    source::{Place, Source},
    sql_settings::{ParserSettings, SqlSettings},
};

/// How much of a parser's message is shown: it may name a text of any length.
const MESSAGE_COLUMNS: usize = 1_000;

/// A SQL script, cut into statements and parsed.
///
/// ```
/// use daglight_sql_pipeline::{Script, StatementKind};
///
/// let script = Script::parse(
///     "risk.sql",
///     "-- Orders likely to be late.
///      -- tag: layer=gold
///      CREATE VIEW order_risk AS SELECT * FROM orders WHERE slack < 2;",
/// )?;
/// let statement = &script.statements()[0];
/// assert_eq!(statement.kind, StatementKind::View);
/// assert_eq!(statement.documentation.as_deref(), Some("Orders likely to be late."));
/// assert_eq!(statement.tags["layer"], "gold");
/// # Ok::<(), daglight_sql_pipeline::ScriptError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Script {
    pub(crate) source: Source,
    pub(crate) statements: Vec<Statement>,
    pub(crate) declarations: Vec<ParameterDeclaration>,
    warnings: Vec<ScriptWarning>,
    /// The settings in front of the first statement.
    pub(crate) initial: SqlSettings,
}

/// One statement of a script.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Statement {
    /// What the statement does.
    pub kind: StatementKind,
    /// The text as it was written, without the comments above and the semicolon.
    pub text: String,
    /// The text without comments and layout: tokens with one space between, unquoted words in lower case.
    pub normalized: String,
    /// The first line, from 1.
    pub first_line: usize,
    /// The column of the first character, from 1.
    pub first_column: usize,
    /// The last line, included.
    pub last_line: usize,
    /// The comment block directly above, without its directives.
    pub documentation: Option<String>,
    /// The name from `-- node: name`.
    pub name: Option<String>,
    /// The tags from `-- tag: key=value`.
    pub tags: BTreeMap<String, String>,
    /// The parameters it reads, each time it does.
    pub placeholders: Vec<Placeholder>,
    pub(crate) relations: Relations,
    /// The places that take only literals, as indices of tokens, and what stands there.
    pub(crate) literals: Vec<(usize, LiteralValue)>,
    pub(crate) parser: ParserSettings,
}

/// A place that reads a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholder {
    /// The parameter's name, without `$`.
    pub name: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
}

/// Why a script cannot be read, and where. `Display` quotes the line, with a caret below.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}\n{}", .place.quote())]
pub struct ScriptError {
    /// Where.
    pub place: Box<Place>,
    /// Why.
    pub problem: ScriptProblem,
}

/// Why a script cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptProblem {
    /// The SQL is not well formed.
    #[error("{}", printable_message(message, MESSAGE_COLUMNS))]
    Syntax {
        /// The parser's words.
        message: String,
    },
    /// A comment holds a directive that cannot be taken.
    #[error(transparent)]
    Directive(DirectiveError),
    /// A placeholder that no parameter can fill.
    #[error(
        "`{placeholder}` is not a parameter: write `${name}`, and give its value with `--param {name}=VALUE` or \
         `-- param: {name} = VALUE` in the script"
    )]
    ForeignPlaceholder {
        /// What stands there.
        placeholder: String,
        /// The name that it could have.
        name: String,
    },
}

impl Script {
    /// Reads the script `text`, which errors and nodes refer to as `path`, for a session with DataFusion's defaults.
    ///
    /// Statements end with semicolons. The comment block directly above a statement is its documentation, in which
    /// these `--` lines are directives:
    /// - `-- tag: key=value, key=value` labels the node,
    /// - `-- node: name` names it,
    /// - `-- param: name = value` gives a parameter of the script its default; it may also stand apart from statements.
    ///
    /// All other comments are comments, with a [warning](Script::warnings) where one is nearly a directive.
    ///
    /// # Errors
    /// When the SQL is not well formed, or a directive is malformed or stands above a statement that takes none.
    pub fn parse(path: &str, text: &str) -> Result<Self, ScriptError> {
        Self::parse_for(path, text, &ConfigOptions::new())
    }

    /// As [`Script::parse`], for a session that starts with these settings: its dialect, default catalog and schema, and
    /// whether it normalizes names. Each `SET` and `RESET` of the script acts on the statements behind it.
    ///
    /// # Errors
    /// As [`Script::parse`].
    pub fn parse_for(path: &str, text: &str, session: &ConfigOptions) -> Result<Self, ScriptError> {
        // A place that takes only a literal is read before its parameter has a value. Its default stands for it, or else
        // its name: what a node is called must not depend on values.
        let name = |name: &str| Some(LiteralValue { kind: ParameterType::Text, text: name.to_owned() });
        let script = Self::read(Source::new(path, text), SqlSettings::new(session), &name)?;
        if script.declarations.is_empty() || !script.has_literal_places() {
            return Ok(script);
        }
        let defaults: BTreeMap<String, LiteralValue> = script
            .declarations
            .iter()
            .map(|declared| {
                let literal = LiteralValue { kind: declared.kind(), text: declared.default.clone() };
                (declared.name.clone(), literal)
            })
            .collect();
        Self::read(script.source, script.initial, &|wanted| {
            defaults.get(wanted).cloned().or_else(|| name(wanted))
        })
    }

    /// The script with the parameters' values in the places that take only literals.
    ///
    /// # Errors
    /// When a value cannot stand where its parameter does.
    pub(crate) fn with_values(&self, parameters: &BTreeMap<String, Parameter>) -> Result<Self, ScriptError> {
        let value = |name: &str| parameters.get(name).map(Parameter::literal);
        Self::read(self.source.clone(), self.initial.clone(), &value)
    }

    /// Whether a parameter stands in a place that takes only a literal.
    pub(crate) fn has_literal_places(&self) -> bool {
        self.statements.iter().any(|statement| !statement.literals.is_empty())
    }

    /// Reads the statements. `literal` is what stands in the place of a parameter where only a literal may.
    fn read(
        source: Source,
        mut settings: SqlSettings,
        literal: &dyn Fn(&str) -> Option<LiteralValue>,
    ) -> Result<Self, ScriptError> {
        let at =
            |(line, column), problem| ScriptError { place: Box::new(source.place(line, column)), problem };
        let misplaced = |(error, position)| at(position, ScriptProblem::Directive(error));
        let unreadable = |error: LexError| {
            at((error.line, error.column), ScriptProblem::Syntax { message: tidied(&error.message) })
        };

        let initial = settings.clone();
        let mut dialect = settings.dialect();
        let mut prepared = Prepared::default();
        let (mut statements, mut declarations, mut near) = (Vec::new(), Vec::new(), Vec::new());
        let mut splitter = Splitter::new(&source, &*dialect);
        while let Some(piece) = splitter.next_statement(&*dialect).map_err(unreadable)? {
            let block = directives::read_block(&piece.above).map_err(misplaced)?;
            let (mut statement, parsed) = read_statement(&source, piece, &settings, literal)
                .map_err(|(position, problem)| at(position, problem))?;
            statement.kind = prepared.executed(&parsed).unwrap_or(statement.kind);
            if let (Some((directive, position)), None) = (block.first_of_node, statement.kind.node_kind()) {
                return Err(misplaced((DirectiveError::NotANode { directive }, position)));
            }
            statement.documentation = block.documentation;
            statement.name = block.name.map(|(name, _)| name);
            statement.tags = block.tags;
            statement.relations = Relations::of(&parsed, &settings, &mut prepared);
            declarations.extend(block.parameters);
            near.extend(block.near);
            if settings.follow(&parsed) {
                dialect = settings.dialect();
                splitter.read_on(&*dialect);
            }
            statements.push(statement);
        }
        let loose = splitter.into_loose_comments();
        for lines in &loose.detached {
            let (declared, nearly) = directives::read_detached(lines);
            declarations.extend(declared);
            near.extend(nearly);
        }
        near.extend(loose.inner.iter().filter_map(|line| near_directive(line, Standing::Elsewhere)));
        declarations.sort_by_key(|declaration| (declaration.line, declaration.column));
        check_declarations(&declarations).map_err(misplaced)?;
        let mut warnings: Vec<ScriptWarning> = near.into_iter().map(|near| near.warning(&source)).collect();
        warnings.sort_by_key(|warning| (warning.place.line, warning.place.column));
        Ok(Self { source, statements, declarations, warnings, initial })
    }

    /// The path that the script was given.
    pub fn path(&self) -> &str {
        self.source.path()
    }

    /// The text, without a byte order mark.
    pub fn text(&self) -> &str {
        self.source.text()
    }

    /// The statements, in their order.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// The declared defaults of parameters, in their order.
    pub fn declarations(&self) -> &[ParameterDeclaration] {
        &self.declarations
    }

    /// The comments that are nearly directives, in their order.
    pub fn warnings(&self) -> &[ScriptWarning] {
        &self.warnings
    }
}

type Problem = ((usize, usize), ScriptProblem);

fn check_declarations(declarations: &[ParameterDeclaration]) -> Result<(), directives::Misplaced> {
    let mut first_lines = BTreeMap::new();
    for ParameterDeclaration { name, line, column, .. } in declarations {
        if let Some(first_line) = first_lines.insert(name.as_str(), *line) {
            let error = DirectiveError::DuplicateParameter { name: name.clone(), first_line };
            return Err((error, (*line, *column)));
        }
    }
    Ok(())
}

fn parse_tokens(
    mut tokens: Vec<TokenWithSpan>,
    settings: ParserSettings,
) -> Result<ParsedStatement, Problem> {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
        return Err(((1, 1), ScriptProblem::Syntax { message: "there is no statement".to_owned() }));
    };
    let start = position(first.span.start);
    // With an end that has a position, "found: EOF" has one too.
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

fn read_statement(
    source: &Source,
    piece: Piece,
    settings: &SqlSettings,
    literal: &dyn Fn(&str) -> Option<LiteralValue>,
) -> Result<(Statement, ParsedStatement), Problem> {
    let parser = settings.of_parser();
    let (parsed, literal_places) = parse_piece(&piece.tokens, parser, literal)?;
    let literals = literal_places
        .into_iter()
        .filter_map(|place| Some((place, literal(parameter_name(&piece.tokens[place])?)?)))
        .collect();
    let span = |token: &TokenWithSpan| (position(token.span.start), position(token.span.end));
    let start = piece.tokens.first().map_or((1, 1), |token| span(token).0);
    let end = piece.tokens.last().map_or((1, 1), |token| span(token).1);
    let placeholders = placeholders(&piece.tokens);
    let text = source.between(start, end);
    let mut normalized = String::with_capacity(text.len());
    for token in &piece.tokens {
        if !normalized.is_empty() {
            normalized.push(' ');
        }
        match &token.token {
            // Where names are not normalized, their case is a part of them.
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
        placeholders,
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
) -> Result<(ParsedStatement, Vec<usize>), Problem> {
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
    // The parser takes a placeholder in most places of an expression, but not in all.
    let all = parameter_places(tokens);
    if all.len() > places.len()
        && let Ok(parsed) = parse_tokens(with_literals(tokens, &all, |_, name| literal(name)), settings)
    {
        return Ok((parsed, all));
    }
    match colon_parameter(tokens) {
        Some((span, name)) => Err(foreign(span, format!(":{name}"), name)),
        None => Err(refused),
    }
}

impl Statement {
    /// The statement as DataFusion parses it, in the dialect that the script has set. Positions in it are positions in
    /// the script; parameters are placeholders, except where only a literal may stand.
    ///
    /// Trees take many times the room of their text, so that a script does not keep them.
    ///
    /// # Errors
    /// None: the text was parsed when the script was read.
    pub fn parse(&self) -> Result<ParsedStatement, DataFusionError> {
        let places: Vec<usize> = self.literals.iter().map(|(place, _)| *place).collect();
        let value = |place: usize, _: &str| {
            let literal = self.literals.iter().find(|(literal, _)| *literal == place);
            literal.map(|(_, value)| value.clone())
        };
        parse_tokens(with_literals(&self.tokens(), &places, value), self.parser)
            .map_err(|(_, problem)| DataFusionError::Plan(problem.to_string()))
    }

    /// The tokens of the statement without comments and layout, as they stand in the script.
    pub(crate) fn tokens(&self) -> Vec<TokenWithSpan> {
        let start = (self.first_line, self.first_column);
        let (mut tokens, _) = tokens_from(&self.text, start, &*self.parser.dialect());
        tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
        tokens
    }

    /// The statement with the value of each parameter as a literal, wherever it stands. `None` where that is not a
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

fn placeholders(tokens: &[TokenWithSpan]) -> Vec<Placeholder> {
    let reads = |place: usize| {
        let token = &tokens[place];
        let (line, column) = position(token.span.start);
        parameter_name(token).map(|name| Placeholder { name: name.to_owned(), line, column })
    };
    parameter_places(tokens).into_iter().filter_map(reads).collect()
}

/// Placeholders that other programs have, and that no parameter fills.
fn check_foreign_placeholders(tokens: &[TokenWithSpan]) -> Result<(), Problem> {
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

fn foreign(span: Span, placeholder: String, name: &str) -> Problem {
    (position(span.start), ScriptProblem::ForeignPlaceholder { placeholder, name: name.to_owned() })
}

fn parser_message(error: &DataFusionError) -> String {
    match error {
        DataFusionError::SQL(error, _) => match error.as_ref() {
            ParserError::ParserError(message) | ParserError::TokenizerError(message) => message.clone(),
            ParserError::RecursionLimitExceeded => "the statement is nested too deep".to_owned(),
        },
        DataFusionError::Diagnostic(_, error) => parser_message(error),
        other => other.strip_backtrace(),
    }
}

/// Takes the position off the end of a message of sqlparser, where it writes it.
fn split_position(message: &str) -> (&str, Option<(usize, usize)>) {
    let position = message.rsplit_once(" at Line: ").and_then(|(text, position)| {
        let (line, column) = position.split_once(", Column: ")?;
        Some((text, (line.trim().parse().ok()?, column.trim().parse().ok()?)))
    });
    position.map_or((message, None), |(text, position)| (text, Some(position)))
}

fn tidied(message: &str) -> String {
    let message = message
        .strip_prefix("Expected: ")
        .and_then(|rest| rest.rsplit_once(", found: "))
        .map(|(expected, found)| {
            // Its value may be secret. The place says which one it is.
            let found =
                if found.contains('\'') || found.matches('$').count() > 1 { "a string" } else { found };
            format!("expected {expected}, found {found}")
        })
        .unwrap_or_else(|| message.to_owned());
    match message.strip_suffix("found EOF") {
        Some(start) => format!("{start}found the end of the statement"),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        assert_eq!(Script::parse("a.sql", text).unwrap_err().to_string(), expected);
    }

    #[track_caller]
    fn check_normalized(text: &str, expected: &[&str]) {
        let script = Script::parse("a.sql", text).unwrap();
        let found: Vec<&str> = script.statements().iter().map(|s| s.normalized.as_str()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn statements_know_their_lines_and_text() {
        let text =
            "\u{feff}SET a.b = 1;\r\n\r\n-- Doc.\r\n-- tag: k=v\r\n  SELECT 'ä', -- why\r\n    2 ;\r\n";
        let script = Script::parse("a.sql", text).unwrap();
        let statement = &script.statements()[1];
        assert_eq!((statement.first_line, statement.first_column, statement.last_line), (5, 3, 6));
        assert_eq!(statement.text, "SELECT 'ä', -- why\r\n    2");
        assert_eq!(statement.documentation.as_deref(), Some("Doc."));
        assert_eq!(script.statements()[0].text, "SET a.b = 1");
    }

    #[test]
    fn syntax_errors_point_into_the_file() {
        check_refused(
            "SELECT 1;\n\nSELECT a\nFROM t b c;",
            "a.sql:4:10: expected end of statement, found c\n4 | FROM t b c;\n  |          ^",
        );
        check_refused(
            "-- ä\nSELECT 'ä',\n  (1 + ;",
            "a.sql:3:7: expected an expression, found the end of the statement\n3 |   (1 + ;\n  |       ^",
        );
        // What stands in quotes may be secret, wherever the message goes.
        check_refused(
            "SELECT 1 AS a 'b'",
            "a.sql:1:15: expected end of statement, found a string\n1 | SELECT 1 AS a 'b'\n  |               ^",
        );
        check_refused(
            "CREATE EXTERNAL TABLE t STORED PARQUET",
            "a.sql:1:32: expected AS, found PARQUET\n1 | CREATE EXTERNAL TABLE t STORED PARQUET\n  |                                ^",
        );
        check_refused(
            "SELECT 1;\nSELECT 'abc",
            "a.sql:2:8: Unterminated string literal\n2 | SELECT 'abc\n  |        ^",
        );
        check_refused(
            "SELECT a WHERE b = ?",
            "a.sql:1:20: `?` is not a parameter: write `$name`, and give its value with `--param name=VALUE` or \
             `-- param: name = VALUE` in the script\n1 | SELECT a WHERE b = ?\n  |                    ^",
        );
    }

    #[test]
    fn bad_directives_above_a_statement_are_refused() {
        check_refused(
            "-- tag: layer\nSELECT 1",
            "a.sql:1:4: a tag is written `-- tag: key=value`, but this one is \"layer\"\n1 | -- tag: layer\n  |    ^",
        );
        check_refused(
            "-- tag: a=1\nSET a.b = 1",
            "a.sql:1:4: `tag:` applies to a node, but the statement below is not a node\n1 | -- tag: a=1\n  |    ^",
        );
        check_refused(
            "-- param: x = 1\n\n-- param: x = 2\nSELECT $x",
            "a.sql:3:4: the parameter \"x\" has a default already, at line 1\n3 | -- param: x = 2\n  |    ^",
        );
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
    fn errors_name_a_dialect_that_was_set() {
        check_refused(
            "SET datafusion.sql_parser.dialect = 'mysql';\nSELECT 1;\nSELECT a b c",
            "a.sql:3:12: expected end of statement, found c (in the dialect mysql, as `datafusion.sql_parser.dialect` \
             says)\n3 | SELECT a b c\n  |            ^",
        );
        check_refused(
            "SELECT 1; SET datafusion.sql_parser.dialect = 'postgresql'; SELECT 'a'\n  \"b",
            "a.sql:2:3: Expected close delimiter '\"' before EOF.\n2 |   \"b\n  |   ^",
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
