//! Finding the place in a script to which a DataFusion error refers.

use std::{error::Error, fmt, sync::Arc};

use daglight_capture_policy::{Redactor, in_one_line, printable_message, without_error_values};
use daglight_run_session::{ChecksFailed, Panic, QueryCancelled};
use datafusion::{
    common::{Column, SchemaError},
    error::DataFusionError,
    sql::sqlparser::tokenizer::Token,
};

use crate::{script::Script, source::Place, split::position, statement::Statement};

/// The maximum length shown of an error: a value in it may have any length.
const MESSAGE_COLUMNS: usize = 4_000;

/// An error of a statement, at its place in the script.
///
/// `Display` and `Debug` contain no values: of a DataFusion message they show its kind, and its text only if that is known to
/// contain none. [`SourceError::shown_by`] shows as much as a policy allows, and quotes the line. The source is the error itself,
/// such as a [`DataFusionError`].
#[derive(Clone)]
#[non_exhaustive]
pub struct SourceError {
    /// The place.
    pub place: Box<Place>,
    /// The node of the statement, if it is one.
    pub node: Option<String>,
    /// The message of DataFusion, which may contain values.
    pub message: String,
    /// The error, such as a [`DataFusionError`] or a [`Panic`]. `None` for errors that are found before a statement runs.
    pub cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl SourceError {
    /// Place, node and message, followed by the line with a caret, all as the redactor allows: for a terminal. Long texts are cut,
    /// and control characters are escaped.
    pub fn shown_by(&self, redactor: &Redactor) -> String {
        let message = self.at_its_place(&self.message_shown_by(redactor));
        format!("{}\n{}", printable_message(&message, MESSAGE_COLUMNS), self.place.quoted_by(redactor))
    }

    /// The message as the redactor allows. The kind of an error and the place of a panic contain no values, and are always shown.
    pub fn message_shown_by(&self, redactor: &Redactor) -> String {
        let Some(cause) = self.cause.as_deref() else { return redactor.name_text(&self.message) };
        if let Some(panic) = cause.downcast_ref::<Panic>() {
            return panic.shown_by(redactor);
        }
        let engine = cause.downcast_ref::<DataFusionError>();
        if engine.is_some_and(|error| QueryCancelled::of(error).is_some()) {
            return redactor.name_text(&self.message);
        }
        match cause.source() {
            Some(source) if engine.is_none() => {
                let own = redactor.name_text(&cause.to_string());
                format!("{own}: {}", redactor.error_text(&in_one_line(source)))
            }
            _ => redactor.error_text(&self.message),
        }
    }

    fn at_its_place(&self, message: &str) -> String {
        match &self.node {
            Some(node) => format!("{}: {node}: {message}", self.place),
            None => format!("{}: {message}", self.place),
        }
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = match self.cause.as_deref() {
            None => self.message.clone(),
            Some(cause) => match cause.downcast_ref::<DataFusionError>() {
                // Our own message, which contains only facts.
                Some(error) if QueryCancelled::of(error).is_some() => self.message.clone(),
                Some(_) => without_error_values(&self.message),
                // The message itself contains values.
                None if cause.is::<ChecksFailed>() => without_error_values(&self.message),
                None => cause.to_string(),
            },
        };
        f.write_str(&self.at_its_place(&message))
    }
}

impl fmt::Debug for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An error with its full message, for the run that records it: the policy decides what is shown.
pub(crate) struct StatementError(pub(crate) SourceError);

impl fmt::Display for StatementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(error) = self;
        f.write_str(&error.at_its_place(&error.message))
    }
}

impl fmt::Debug for StatementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Error for StatementError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

// Implemented by hand, because a derived implementation would return the `Arc` as the source, which nobody could downcast to the
// error.
impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let cause = self.cause.as_deref()?;
        Some(cause)
    }
}

impl Script {
    /// The place to which `error` refers, as exactly as DataFusion provides it: the exact position with
    /// `datafusion.sql_parser.collect_spans`, or else the first mention of the quoted name, or else the start of the statement.
    pub fn locate(&self, statement: &Statement, node: Option<&str>, error: DataFusionError) -> SourceError {
        let (line, column) = position_in(statement, &error)
            // A view is planned with the spans of the statement that created it, which may be elsewhere in the script, or in
            // another file.
            .filter(|(line, _)| (statement.first_line..=statement.last_line).contains(line))
            .unwrap_or((statement.first_line, statement.first_column));
        SourceError {
            place: Box::new(self.place_in(statement, line, column)),
            node: node.map(str::to_owned),
            message: QueryCancelled::of(&error)
                .map_or_else(|| error.strip_backtrace(), |cancelled| cancelled.to_string()),
            cause: Some(Arc::new(error)),
        }
    }
}

fn position_in(statement: &Statement, error: &DataFusionError) -> Option<(usize, usize)> {
    if let Some(span) = error.diagnostic().and_then(|diagnostic| diagnostic.span) {
        return Some((span.start.line as usize, span.start.column as usize));
    }
    match error.find_root() {
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound { field, .. } | SchemaError::AmbiguousReference { field } => {
                column_in(statement, field)
            }
            SchemaError::DuplicateUnqualifiedField { name }
            | SchemaError::DuplicateQualifiedField { name, .. } => word_in(statement, name),
        },
        DataFusionError::Plan(message) => {
            // Planning errors usually have no position, but quote the name to which they refer.
            quoted_names(message).into_iter().find_map(|name| word_in(statement, name))
        }
        // Quotes in an execution error contain data.
        _ => None,
    }
}

fn column_in(statement: &Statement, column: &Column) -> Option<(usize, usize)> {
    match column.spans().first() {
        Some(span) => Some((span.start.line as usize, span.start.column as usize)),
        None => word_in(statement, &column.name),
    }
}

/// The first place where the statement contains `name`.
fn word_in(statement: &Statement, name: &str) -> Option<(usize, usize)> {
    statement.tokens().iter().find_map(|token| {
        let says_it = match &token.token {
            Token::Word(word) if word.quote_style.is_none() => word.value.eq_ignore_ascii_case(name),
            Token::Word(word) => word.value == name,
            Token::SingleQuotedString(text) => text == name,
            _ => false,
        };
        says_it.then(|| position(token.span.start))
    })
}

/// The quoted texts of a message, and the last parts of dotted names.
fn quoted_names(message: &str) -> Vec<&str> {
    let quoted = message.split(['\'', '"', '`']).skip(1).step_by(2);
    // Messages qualify names that are unqualified in the script: `'t.price'` for `price`.
    quoted.flat_map(|name| [name, name.rsplit('.').next().unwrap_or(name)]).collect()
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::{Policy, Profile};
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    #[track_caller]
    fn check(sql: &str, expected: &str, collect_spans: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let config = SessionConfig::new().set_bool("datafusion.sql_parser.collect_spans", collect_spans);
        let ctx = SessionContext::new_with_config(config);
        let script = Script::parse("a.sql", sql).unwrap();
        for statement in script.statements() {
            let ran = runtime.block_on(async {
                let plan = ctx.state().statement_to_plan(statement.parse().unwrap()).await?;
                ctx.execute_logical_plan(plan).await?.collect().await
            });
            if let Err(error) = ran {
                let located = script.locate(statement, None, error);
                let found = format!("{}:{}", located.place.line, located.place.column);
                assert_eq!(found, expected, "{located}");
                return;
            }
        }
        panic!("nothing failed");
    }

    const TABLES: &str = "CREATE TABLE t AS SELECT 1 AS x, 'a' AS y; CREATE TABLE u AS SELECT 1 AS x;\n";

    #[test]
    fn unknown_names_are_found_where_they_stand() {
        for collect_spans in [true, false] {
            check(&format!("{TABLES}-- doc z\nSELECT x,\n  z FROM t"), "4:3", collect_spans);
            check(
                &format!("{TABLES}CREATE VIEW v AS\nSELECT x,\n  t.Z FROM t"),
                if collect_spans { "4:3" } else { "4:5" },
                collect_spans,
            );
            check(&format!("{TABLES}SELECT x FROM t\n WHERE nope(x)"), "3:8", collect_spans);
            check(&format!("{TABLES}COPY (SELECT zz\nFROM t) TO 'x.csv'"), "2:14", collect_spans);
        }
        check(&format!("{TABLES}SELECT x\nFROM t JOIN u ON t.x = u.x"), "2:8", true);
        check(&format!("{TABLES}SELECT x\nFROM s.missing"), "3:6", true);
        check(&format!("{TABLES}INSERT INTO\n missing SELECT 1"), "3:2", true);
        check(&format!("{TABLES}SELECT y + 1\nFROM t"), "2:8", true);
    }

    #[test]
    fn errors_without_a_place_are_at_the_start_of_the_statement() {
        check(&format!("{TABLES}\n  SELECT x,\n CAST(y AS INT) AS a FROM t"), "3:3", true);
    }

    #[test]
    fn the_message_names_the_node() {
        let script = Script::parse("a.sql", "SELECT\n  z").unwrap();
        let error = DataFusionError::Plan("no column 'z'".into());
        let located = script.locate(&script.statements()[0], Some("output_1"), error);
        let whole = "a.sql:2:3: output_1: Error during planning: no column 'z'";
        assert_eq!(StatementError(located.clone()).to_string(), whole);
        assert_eq!(located.shown_by(&Redactor::default()), format!("{whole}\n2 |   z\n  |   ^"));
    }

    #[test]
    fn an_error_holds_no_values_unless_a_policy_shows_them() {
        let script = Script::parse("a.sql", "SELECT\n  CAST('zqmk' AS INT)").unwrap();
        let error = DataFusionError::Execution("zqmk\nis bad".into());
        let located = script.locate(&script.statements()[0], Some("output_1"), error);
        let expected = "a.sql:1:1: output_1: Execution error: [message left out by the capture policy]";
        assert_eq!((located.to_string(), format!("{located:?}")), (expected.into(), expected.into()));
        let prod = Policy::of_profile(Profile::Prod);
        assert_eq!(located.shown_by(prod.redactor()), format!("{expected}\n1 | SELECT\n  | ^"));
        let dev = located.shown_by(Policy::of_profile(Profile::Dev).redactor());
        assert!(dev.contains("zqmk"), "{dev}");
        // Each of several lines is shown as in the bundle.
        let error = DataFusionError::Plan("table 'zq.t' not found".into()).context("type_coercion");
        let located = script.locate(&script.statements()[0], None, error);
        let shown = located.shown_by(prod.redactor());
        assert!(shown.contains("type_coercion") && shown.contains("table 'zq.t' not found"), "{shown}");
    }

    #[test]
    fn the_error_itself_is_the_source() {
        let script = Script::parse("a.sql", "SELECT 1").unwrap();
        let error = DataFusionError::ResourcesExhausted("no memory".into());
        let located = script.locate(&script.statements()[0], None, error).clone();
        let source = Error::source(&located).and_then(|source| source.downcast_ref());
        assert!(matches!(source, Some(DataFusionError::ResourcesExhausted(_))), "{source:?}");
    }
}
