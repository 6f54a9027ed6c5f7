//! Scripts and their statements.

use std::{collections::BTreeMap, sync::Arc};

use daglight_capture_policy::without_credentials;
use datafusion::config::ConfigOptions;

use crate::{
    directive::DirectiveError,
    directives,
    effect::Relations,
    literals::LiteralValue,
    near_directives::{ScriptWarning, Standing, near_directive},
    parameter::{Parameter, ParameterDeclaration},
    parameter_type::ParameterType,
    parser_messages::tidied,
    prepared::Prepared,
    script_error::{ScriptError, ScriptProblem},
    source::{LineOfScript, Place, Source},
    split::{LexError, Piece, Splitter},
    sql_settings::SqlSettings,
    statement::{Statement, read_statement},
    unsupported::UnsupportedStatement,
};

/// A SQL script, split into statements and parsed.
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
    /// Its files, at least one.
    pub(crate) sources: Vec<Source>,
    pub(crate) statements: Vec<Statement>,
    pub(crate) declarations: Vec<ParameterDeclaration>,
    warnings: Vec<ScriptWarning>,
    /// The settings before the first statement.
    pub(crate) initial: SqlSettings,
}

impl Script {
    /// Parses the script `text` for a session with DataFusion's defaults. Errors and nodes refer to it as `path`.
    ///
    /// Statements end with semicolons. The comment block directly above a statement is its documentation, in which these `--` lines
    /// are directives:
    /// - `-- tag: key=value, key=value` labels the node,
    /// - `-- node: name` names it,
    /// - `-- param: name = value` sets the default of a parameter of the script; it may also be separate from statements.
    ///
    /// All other comments are ordinary ones, with a [warning](Script::warnings) if one looks like a misspelled directive.
    ///
    /// # Errors
    /// When the SQL is invalid, or a directive is malformed or above a statement that does not support it.
    pub fn parse(path: &str, text: &str) -> Result<Self, ScriptError> {
        Self::parse_for(path, text, &ConfigOptions::new())
    }

    /// Like [`Script::parse`], for a session that starts with these settings: its dialect, default catalog and schema, and whether
    /// it normalizes identifiers. Each `SET` and `RESET` in the script affects the statements after it.
    ///
    /// # Errors
    /// Like [`Script::parse`].
    pub fn parse_for(path: &str, text: &str, session: &ConfigOptions) -> Result<Self, ScriptError> {
        Self::parse_sources(vec![Source::new(path, text)], session)
    }

    /// Like [`Script::parse_for`], for a script that consists of several files, each with its path and text: their statements in
    /// sequence. What a file defines and sets applies to the later ones.
    ///
    /// # Errors
    /// Like [`Script::parse`]. A statement ends with its file, with or without a semicolon.
    pub fn parse_files<P, T>(files: &[(P, T)], session: &ConfigOptions) -> Result<Self, ScriptError>
    where
        P: AsRef<str>,
        T: AsRef<str>,
    {
        let mut sources: Vec<Source> =
            files.iter().map(|(path, text)| Source::new(path.as_ref(), text.as_ref())).collect();
        if sources.is_empty() {
            sources.push(Source::new("", ""));
        }
        Self::parse_sources(sources, session)
    }

    fn parse_sources(sources: Vec<Source>, session: &ConfigOptions) -> Result<Self, ScriptError> {
        // A place that accepts only a literal is parsed before its parameter has a value. The default is used instead, or else the
        // name of the parameter: the name of a node must not depend on values.
        let name = |name: &str| Some(LiteralValue { kind: ParameterType::Text, text: name.to_owned() });
        let script = Self::read(sources, SqlSettings::new(session), &name)?;
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
        Self::read(script.sources, script.initial, &|wanted| {
            defaults.get(wanted).cloned().or_else(|| name(wanted))
        })
    }

    /// The script with the values of parameters inserted where only literals are accepted.
    ///
    /// # Errors
    /// When a value is invalid at the place of its parameter.
    pub(crate) fn with_values(&self, parameters: &BTreeMap<String, Parameter>) -> Result<Self, ScriptError> {
        let value = |name: &str| parameters.get(name).map(Parameter::literal);
        Self::read(self.sources.clone(), self.initial.clone(), &value)
    }

    /// Whether a parameter is used in a place that accepts only a literal.
    pub(crate) fn has_literal_places(&self) -> bool {
        self.statements.iter().any(|statement| !statement.literals.is_empty())
    }

    /// Parses the statements. `literal` returns the replacement for a parameter where only a literal is accepted.
    fn read(
        sources: Vec<Source>,
        settings: SqlSettings,
        literal: &dyn Fn(&str) -> Option<LiteralValue>,
    ) -> Result<Self, ScriptError> {
        let initial = settings.clone();
        let mut reading = Reading {
            settings,
            literal,
            prepared: Prepared::default(),
            statements: Vec::new(),
            declarations: Vec::new(),
            warnings: Vec::new(),
        };
        for (file, source) in sources.iter().enumerate() {
            reading.read_file(file, source)?;
        }
        let Reading { mut statements, declarations, warnings, .. } = reading;
        check_declarations(&declarations, &sources)?;
        // A long script has many, and they live as long as the pipeline.
        statements.shrink_to_fit();
        Ok(Self { sources, statements, declarations, warnings, initial })
    }

    /// The path of the script, or that of the first of its files.
    pub fn path(&self) -> &str {
        self.sources.first().map_or("", |source| source.path())
    }

    /// The statements, in order.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// The declared defaults of parameters, in order.
    pub fn declarations(&self) -> &[ParameterDeclaration] {
        &self.declarations
    }

    /// The comments that look like misspelled directives, in order.
    pub fn warnings(&self) -> &[ScriptWarning] {
        &self.warnings
    }
}

/// Places in the script.
impl Script {
    pub(crate) fn place(&self, file: usize, line: usize, column: usize) -> Place {
        self.sources[file].place(line, column)
    }

    /// A place in a statement.
    pub(crate) fn place_in(&self, statement: &Statement, line: usize, column: usize) -> Place {
        self.place(statement.file, line, column)
    }

    /// The first character of a statement.
    pub(crate) fn start_of(&self, statement: &Statement) -> Place {
        self.place_in(statement, statement.first_line, statement.first_column)
    }

    /// The line in which a statement starts, for an error elsewhere.
    pub(crate) fn line_of(&self, statement: &Statement) -> LineOfScript {
        line_of(&self.sources, statement.file, statement.first_line)
    }
}

fn line_of(sources: &[Source], file: usize, line: usize) -> LineOfScript {
    let path = (sources.len() > 1).then(|| Arc::clone(sources[file].path()));
    LineOfScript { line, path }
}

fn at(source: &Source, (line, column): (usize, usize), problem: ScriptProblem) -> ScriptError {
    ScriptError { place: Box::new(source.place(line, column)), problem }
}

/// The part of a script that was read so far, and the state that affects the rest.
struct Reading<'a> {
    settings: SqlSettings,
    literal: &'a dyn Fn(&str) -> Option<LiteralValue>,
    prepared: Prepared,
    statements: Vec<Statement>,
    declarations: Vec<ParameterDeclaration>,
    warnings: Vec<ScriptWarning>,
}

impl Reading<'_> {
    fn read_file(&mut self, file: usize, source: &Source) -> Result<(), ScriptError> {
        let misplaced = |(error, position)| at(source, position, ScriptProblem::Directive(error));
        let unreadable = |error: LexError| {
            at(source, (error.line, error.column), ScriptProblem::Syntax { message: tidied(&error.message) })
        };
        let mut dialect = self.settings.dialect();
        let (mut declarations, mut near) = (Vec::new(), Vec::new());
        let mut splitter = Splitter::new(source, &*dialect);
        while let Some(piece) = splitter.next_statement(&*dialect).map_err(unreadable)? {
            let Piece { above, tokens } = piece;
            let block = directives::read_block(&above, &self.settings).map_err(misplaced)?;
            // With the current settings: an earlier SET may have changed how names and strings are parsed.
            let (mut statement, parsed) = read_statement(source, &tokens, &self.settings, self.literal)
                .map_err(|(position, problem)| at(source, position, problem))?;
            statement.file = file;
            // EXECUTE has the kind of the statement that it executes.
            statement.kind = self.prepared.executed(&parsed).unwrap_or(statement.kind);
            // Otherwise a name, a tag or documentation above a statement that is not a node would be lost silently.
            if let (Some((directive, position)), None) = (block.first_of_node, statement.kind.node_kind()) {
                return Err(misplaced((DirectiveError::NotANode { directive }, position)));
            }
            if let Some(check) = block.checks.first().filter(|_| !statement.kind.has_rows()) {
                return Err(misplaced((DirectiveError::NoRows, (check.line, check.column))));
            }
            statement.checks = block.checks;
            statement.documentation = block.documentation;
            statement.name = block.name.map(|(name, _)| without_credentials(&name));
            statement.tags = block.tags;
            statement.relations = Relations::of(&parsed, &self.settings, &mut self.prepared);
            statement.relations.place_names(&tokens, (statement.first_line, statement.first_column));
            statement.relations.unsupported =
                UnsupportedStatement::of(&parsed, &mut self.settings).map(Box::new);
            declarations.extend(block.parameters);
            near.extend(block.near);
            if self.settings.follow(&parsed) {
                dialect = self.settings.dialect();
                // The following text was tokenised with the previous dialect.
                splitter.read_on(&*dialect);
            }
            self.statements.push(statement);
        }
        // Comments that are not above a statement can also declare parameters; the others are searched for probable directives.
        let loose = splitter.into_loose_comments();
        for lines in &loose.detached {
            let (declared, nearly) = directives::read_detached(lines);
            declarations.extend(declared);
            near.extend(nearly);
        }
        near.extend(loose.inner.iter().filter_map(|line| near_directive(line, Standing::Elsewhere)));
        // Detached comments were added last, wherever they are.
        declarations.sort_by_key(|declaration| (declaration.line, declaration.column));
        self.declarations
            .extend(declarations.into_iter().map(|declared| ParameterDeclaration { file, ..declared }));
        let mut warnings: Vec<ScriptWarning> = near.into_iter().map(|near| near.warning(source)).collect();
        warnings.sort_by_key(|warning| (warning.place.line, warning.place.column));
        self.warnings.append(&mut warnings);
        Ok(())
    }
}

fn check_declarations(declarations: &[ParameterDeclaration], sources: &[Source]) -> Result<(), ScriptError> {
    let mut first_lines = BTreeMap::new();
    for ParameterDeclaration { name, line, column, file, .. } in declarations {
        if let Some(first_line) = first_lines.insert(name.as_str(), line_of(sources, *file, *line)) {
            let error = DirectiveError::DuplicateParameter { name: name.clone(), first_line };
            return Err(at(&sources[*file], (*line, *column), ScriptProblem::Directive(error)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::Redactor;

    use super::*;

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        let error = Script::parse("a.sql", text).unwrap_err();
        assert_eq!(error.shown_by(&Redactor::default()), expected);
        let place = error.place.to_string();
        assert!(error.to_string().starts_with(&place) && !error.to_string().contains('\n'), "{error}");
    }

    #[test]
    fn an_error_repeats_nothing_of_the_script() {
        for (text, expected) in [
            ("SELECT 1 AS a 77441 'b'", "a.sql:1:15: expected end of statement"),
            ("SELECT 77441 'abc", "a.sql:1:14: the SQL is not well formed"),
            (
                "-- tag: 77441\nSELECT 1",
                "a.sql:1:4: a tag is written `-- tag: key=value`, without spaces in the key, but this one is not",
            ),
            (
                "-- param: 77441\nSELECT 1",
                "a.sql:1:4: a parameter's default is written `-- param: name = value`, but this one is not",
            ),
        ] {
            let error = Script::parse("a.sql", text).unwrap_err();
            assert_eq!((error.to_string(), format!("{error:?}")), (expected.into(), expected.into()));
            assert!(!format!("{:?}", error.problem).contains("77441"), "{:?}", error.problem);
        }
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
        // Quoted text may be secret, wherever the message is shown.
        check_refused(
            "SELECT 1 AS a 'b'",
            "a.sql:1:15: expected end of statement, found a string\n1 | SELECT 1 AS a 'b'\n  |               ^",
        );
        check_refused(
            "SELECT 1 AS a 77441",
            "a.sql:1:15: expected end of statement, found a number\n1 | SELECT 1 AS a 77441\n  |               ^",
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
            "a.sql:1:4: a tag is written `-- tag: key=value`, without spaces in the key, but this one is \"layer\"\n1 | -- tag: layer\n  |    ^",
        );
        check_refused(
            "-- tag: a=1\nSET a.b = 1",
            "a.sql:1:4: `tag:` applies to a node, but the statement below is not a node\n1 | -- tag: a=1\n  |    ^",
        );
        check_refused(
            "-- expect: rows > 0\nDROP TABLE a",
            "a.sql:1:4: `expect:` applies to a node, but the statement below is not a node\n1 | -- expect: rows > 0\n  |    ^",
        );
        check_refused(
            "-- expect: rows > 0\nDELETE FROM a",
            "a.sql:1:4: `expect:` applies to a statement that returns or writes rows, but the statement below changes a \
             table\n1 | -- expect: rows > 0\n  |    ^",
        );
        check_refused(
            "-- param: x = 1\n\n-- param: x = 2\nSELECT $x",
            "a.sql:3:4: the parameter \"x\" has a default already, at line 1\n3 | -- param: x = 2\n  |    ^",
        );
    }

    #[test]
    fn several_files_are_one_script() {
        let files = [
            (
                "a.sql",
                "SET datafusion.sql_parser.dialect = 'mysql';\n-- param: day = 1\n\nCREATE TABLE t AS SELECT $day AS x",
            ),
            ("b.sql", "-- The sum.\nSELECT sum(`x`) FROM t;"),
        ];
        let script = Script::parse_files(&files, &ConfigOptions::new()).unwrap();
        let found: Vec<String> =
            script.statements().iter().map(|statement| script.start_of(statement).to_string()).collect();
        assert_eq!(found, ["a.sql:1:1", "a.sql:4:1", "b.sql:2:1"]);
        assert_eq!(script.statements()[2].documentation.as_deref(), Some("The sum."));

        let refused = |second: &str| {
            let files = [files[0], ("b.sql", second)];
            Script::parse_files(&files, &ConfigOptions::new()).unwrap_err().to_string()
        };
        let error = refused("SELECT a b c");
        assert!(error.starts_with("b.sql:1:12: expected end of statement"), "{error}");
        let error = refused("-- param: day = 2\n\nSELECT 1");
        assert!(
            error.starts_with("b.sql:1:4: the parameter \"day\" has a default already, at line 2 of a.sql"),
            "{error}"
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
}
