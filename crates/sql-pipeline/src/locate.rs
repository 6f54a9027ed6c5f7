//! Finding the place in a script that an error of DataFusion is about.

use std::{error::Error, fmt, sync::Arc};

use daglight_capture_policy::printable_message;
use daglight_run_session::QueryCancelled;
use datafusion::{
    common::{Column, SchemaError},
    error::DataFusionError,
    sql::sqlparser::tokenizer::Token,
};

use crate::{Place, Script, Statement, split::position};

/// How much of an error is shown: a value in it may be of any length.
const MESSAGE_COLUMNS: usize = 4_000;

/// An error of a statement, at its place in the script. `Display` says it in DataFusion's words; [`Place::quote`] shows
/// the line, which not everything that reports an error may. The source is the error itself, such as a [`DataFusionError`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SourceError {
    /// Where.
    pub place: Box<Place>,
    /// The statement's node, where it is one.
    pub node: Option<String>,
    /// DataFusion's words.
    pub message: String,
    /// The error. `None` for what is found before a statement runs, and for a panic.
    pub cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, node, message, .. } = self;
        match node {
            Some(node) => write!(f, "{place}: {node}: {message}"),
            None => write!(f, "{place}: {message}"),
        }
    }
}

impl SourceError {
    /// The error for a terminal: with the line, and a caret below. What is long is cut, and control characters are written
    /// out.
    pub fn quoted(&self) -> String {
        format!("{}\n{}", printable_message(&self.to_string(), MESSAGE_COLUMNS), self.place.quote())
    }
}

// By hand, because what is derived would return the `Arc` as the source, and nobody could downcast that to the error.
impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let cause = self.cause.as_deref()?;
        Some(cause)
    }
}

impl Script {
    /// The place that `error` is about, as exactly as DataFusion says: what it names in the statement, with
    /// `datafusion.sql_parser.collect_spans` the very place, else the start of the statement.
    pub fn locate(&self, statement: &Statement, node: Option<&str>, error: DataFusionError) -> SourceError {
        let (line, column) = position_in(statement, &error)
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
            quoted_names(message).into_iter().find_map(|name| word_in(statement, name))
        }
        // What an error of execution quotes is data.
        _ => None,
    }
}

fn column_in(statement: &Statement, column: &Column) -> Option<(usize, usize)> {
    match column.spans().first() {
        Some(span) => Some((span.start.line as usize, span.start.column as usize)),
        None => word_in(statement, &column.name),
    }
}

/// The first place where the statement says `name`.
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

/// What stands in quotes in a message, and the last part of dotted names.
fn quoted_names(message: &str) -> Vec<&str> {
    let quoted = message.split(['\'', '"', '`']).skip(1).step_by(2);
    quoted.flat_map(|name| [name, name.rsplit('.').next().unwrap_or(name)]).collect()
}

#[cfg(test)]
mod tests {
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
        assert_eq!(located.to_string(), "a.sql:2:3: output_1: Error during planning: no column 'z'");
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
