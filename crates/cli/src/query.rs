//! `daglight query`: SQL over the tables of bundles.

use std::{
    io::{self, IsTerminal as _, Read as _},
    path::Path,
    process::ExitCode,
};

use daglight::{bundle::Bundle, sql::ShownRows};
use daglight_bundle_tables::BundleTable;
use daglight_capture_policy::{MAX_EDITS, nearest_name};
use datafusion::{
    arrow::datatypes::DataType,
    common::TableReference,
    error::DataFusionError,
    execution::context::{SQLOptions, SessionContext},
    physical_plan::SendableRecordBatchStream,
};
use futures::TryStreamExt as _;

use crate::{
    args::{QueryArgs, RowFormat},
    bundle_session::BundleSession,
    bundles::{bundles_at, no_runs, runs_folder},
    failure::Failure,
    row_writer::RowWriter,
    run::TABLE_ROWS,
    say::{self, note},
    threads,
};

/// The maximum size of a query.
const MAX_QUERY_BYTES: u64 = 1 << 20;

pub(crate) fn query(args: &QueryArgs) -> Result<ExitCode, Failure> {
    let (dir, sql) = named(args);
    let folder = runs_folder(dir)?;
    let bundles = bundles_at(&folder)?;
    let Some(sql) = text_of(sql)? else {
        say::document(&tables());
        return Ok(ExitCode::SUCCESS);
    };
    if bundles.is_empty() {
        note!("{}", no_runs(&folder));
    }
    let folders: Vec<Bundle> = bundles.iter().map(|bundle| Bundle::clone(bundle)).collect();
    let session = BundleSession::new(&folders).map_err(Failure::work)?;
    let done = threads::runtime(threads::look_for_room(None, || ()))?.block_on(async {
        let frame = session.context.sql_with_options(&sql, read_only()).await;
        let frame = frame.map_err(|error| {
            unknown_table(&session.context, &sql).map_or_else(|| Failure::of_engine(error), Failure::input)
        })?;
        let rows = frame.execute_stream().await.map_err(Failure::of_engine)?;
        print(args, rows).await.map_err(Failure::work)
    });
    for damage in session.damages() {
        let bundle = folders.iter().find(|bundle| damage.file.starts_with(bundle.dir()));
        let file = bundle.map_or_else(|| damage.file.clone(), |bundle| bundle.shown(&damage.file));
        note!("warning: {}: {}", file.display(), damage.problem);
    }
    done.map(|()| ExitCode::SUCCESS)
}

/// The runs and the query. A query that is given alone is recognised by the spaces in it, if there is no file of that name.
fn named(args: &QueryArgs) -> (Option<&Path>, Option<&str>) {
    match (args.runs.dir.as_deref(), args.sql.as_deref()) {
        (Some(alone), None) if !alone.exists() => {
            let text = alone.to_str().filter(|text| *text == "-" || text.contains(char::is_whitespace));
            (if text.is_some() { None } else { Some(alone) }, text)
        }
        both => both,
    }
}

fn text_of(sql: Option<&str>) -> Result<Option<String>, Failure> {
    match sql {
        Some("-") if io::stdin().is_terminal() => Err(Failure::input(
            "standard input is a terminal: expected a query through a pipe, or as an argument",
        )),
        Some("-") => {
            let mut sql = String::new();
            let read = io::stdin().take(MAX_QUERY_BYTES + 1).read_to_string(&mut sql);
            read.map_err(|error| {
                Failure::input(format!("cannot read a query from standard input: {error}"))
            })?;
            if sql.len() as u64 > MAX_QUERY_BYTES {
                let text = format!(
                    "standard input is too long for a query: it has more than {MAX_QUERY_BYTES} bytes"
                );
                return Err(Failure::input(text));
            }
            Ok(Some(sql))
        }
        sql => Ok(sql.map(str::to_owned)),
    }
}

/// The error of a query that reads a table that does not exist.
fn unknown_table(session: &SessionContext, sql: &str) -> Option<String> {
    let state = session.state();
    let statement = state.sql_to_statement(sql, &state.config_options().sql_parser.dialect).ok()?;
    let read = state.resolve_table_references(&statement).ok()?;
    let tables: Vec<&str> = BundleTable::ALL.iter().map(|table| table.name()).collect();
    let is_unknown = |read: &&TableReference| read.schema().is_none() && !tables.contains(&read.table());
    let unknown = read.iter().find(is_unknown)?.table();
    let near = nearest_name(unknown, tables.iter().copied(), MAX_EDITS);
    let meant = near.map(|table| format!(", did you mean {table:?}?")).unwrap_or_default();
    let unknown = say::shown(unknown);
    Some(format!("there is no table {unknown:?}{meant} (tables: {})", tables.join(", ")))
}

/// Queries must not change what was recorded.
fn read_only() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}

/// The tables with their columns and types.
fn tables() -> String {
    let mut text = String::new();
    for table in BundleTable::ALL {
        text.push_str(table.name());
        text.push('\n');
        for field in table.schema().fields() {
            text.push_str(&format!("  {:<22} {}\n", field.name(), sql_type(field.data_type())));
        }
    }
    text
}

/// The name of the type in SQL.
fn sql_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "VARCHAR".to_owned(),
        DataType::UInt64 => "BIGINT UNSIGNED".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Timestamp(..) => "TIMESTAMP WITH TIME ZONE".to_owned(),
        other => other.to_string().to_uppercase(),
    }
}

async fn print(args: &QueryArgs, mut rows: SendableRecordBatchStream) -> Result<(), DataFusionError> {
    let schema = rows.schema();
    let is_table = args.format == RowFormat::Table;
    let mut left = args.max_rows.unwrap_or(if is_table { TABLE_ROWS } else { usize::MAX });
    let (mut first, mut total_rows) = (Vec::new(), 0);
    let writer = RowWriter::new(args.format);
    writer.start(&schema);
    while let Some(batch) = rows.try_next().await? {
        total_rows += batch.num_rows() as u64;
        let shown = batch.slice(0, batch.num_rows().min(left));
        left -= shown.num_rows();
        match is_table {
            true => first.push(shown),
            false => writer.batch(&shown),
        }
        if left == 0 && !is_table {
            break;
        }
    }
    writer.end();
    if is_table {
        say::document(&say::table(&ShownRows::of_values(schema, first, total_rows)));
    }
    Ok(())
}
