//! Checks for rows that cannot be seen in passing: those of a view or an external table, and for too many keys.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::Int64Type,
};
use daglight_plan_diagnostics::DataTap;
use datafusion::{
    common::TableReference,
    dataframe::DataFrame,
    error::DataFusionError,
    functions_aggregate::expr_fn::{count, sum},
    logical_expr::{Expr, ident, lit},
    prelude::SessionContext,
};
use futures::TryStreamExt;

use crate::{check_keys::MAX_KEY_BYTES, check_result::Measured, check_tap::CheckTap, data_check::DataCheck};

/// Computes checks by reading a table once, with only the columns that they need. If reading fails, every check fails.
pub async fn check_table(
    checks: &Arc<[DataCheck]>,
    session: &SessionContext,
    table: impl Into<TableReference>,
) -> Measured {
    measure(checks, session, table.into(), MAX_KEY_BYTES)
        .await
        .unwrap_or_else(|error| Measured::not_computed(checks, &error.strip_backtrace()))
}

async fn measure(
    checks: &Arc<[DataCheck]>,
    session: &SessionContext,
    table: TableReference,
    key_bytes: usize,
) -> Result<Measured, DataFusionError> {
    let frame = session.table(table.clone()).await?;
    let schema = frame.schema().as_arrow().clone();
    let state = session.state();
    let mut read: Vec<String> = checks.iter().flat_map(|check| check.columns_read(&state, &schema)).collect();
    read.sort_unstable();
    read.dedup();
    read.retain(|name| schema.index_of(name).is_ok());
    let columns: Vec<Expr> = match read.is_empty() {
        // Rows are counted anyway.
        true => vec![lit(1).alias("row")],
        false => read.iter().map(ident).collect(),
    };
    let frame = frame.select(columns)?;
    let tap = CheckTap::with_key_bytes(Arc::clone(checks), &state, frame.schema().as_arrow(), key_bytes);
    let mut rows = frame.execute_stream().await?;
    let mut partition = tap.open(&rows.schema(), 0);
    while let Some(batch) = rows.try_next().await? {
        partition.batch(&batch);
    }
    drop(partition);
    let mut measured = tap.take().unwrap_or_else(|| Measured::lost(checks));
    measured.decide_by_queries(session, table).await?;
    Ok(measured)
}

impl Measured {
    /// Decides key checks that found more keys than are kept, by queries over the table with the rows. These can spill, if the
    /// session supports it.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn decide_by_queries(
        &mut self,
        session: &SessionContext,
        table: impl Into<TableReference>,
    ) -> Result<(), DataFusionError> {
        let table = table.into();
        let undecided: Vec<(usize, Vec<String>)> =
            self.undecided_keys().map(|(index, columns)| (index, columns.to_vec())).collect();
        for (index, columns) in undecided {
            let frame = session.table(table.clone()).await?;
            self.decide_keys(index, repeated(frame, &columns).await?);
        }
        Ok(())
    }
}

/// The number of rows that repeat the values of another row in these columns, where none is null.
async fn repeated(frame: DataFrame, columns: &[String]) -> Result<u64, DataFusionError> {
    const ROWS: &str = "rows of the key";
    let known = columns.iter().map(|name| ident(name).is_not_null()).reduce(Expr::and);
    let frame = match known {
        Some(known) => frame.filter(known)?,
        None => frame,
    };
    let keys = columns.iter().map(ident).collect();
    let counted = frame.aggregate(keys, vec![count(lit(1)).alias(ROWS)])?.filter(ident(ROWS).gt(lit(1)))?;
    let surplus = counted.aggregate(Vec::new(), vec![sum(ident(ROWS) - lit(1_i64))])?;
    let found = surplus.collect().await?;
    let first = found.first().filter(|batch| batch.num_rows() > 0).map(RecordBatch::columns);
    let sum = first.and_then(|columns| columns.first()?.as_primitive_opt::<Int64Type>());
    // The sum of no rows is null.
    let sum = sum.filter(|sum| sum.null_count() == 0).map_or(0, |sum| sum.value(0));
    Ok(u64::try_from(sum).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::{
        check_result::{CheckOutcome, Found},
        data_check::CheckSeverity,
    };

    /// The outcome of each check over the rows of a query, with the number of failing rows: by reading the table, and in passing in
    /// three partitions.
    async fn outcomes(
        sql: &str,
        checks: &[&str],
        key_bytes: usize,
    ) -> Vec<(CheckOutcome, Option<u64>, Found)> {
        let session = SessionContext::new();
        let frame = session.sql(sql).await.unwrap();
        session.register_table("t", frame.clone().into_view()).unwrap();
        let checks: Arc<[DataCheck]> = checks.iter().map(|text| text.parse().unwrap()).collect();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400 * 10);
        let judged = |measured: Measured| -> Vec<_> {
            let judged = measured.judged(now).into_iter();
            judged.map(|result| (result.outcome, result.failing, result.found)).collect()
        };
        let read = judged(measure(&checks, &session, "t".into(), key_bytes).await.unwrap());
        let tap = CheckTap::with_key_bytes(checks, &session.state(), frame.schema().as_arrow(), key_bytes);
        let schema = frame.schema().inner().clone();
        let batches = frame.collect().await.unwrap();
        let mut partitions: Vec<_> = (0..3).map(|partition| tap.open(&schema, partition)).collect();
        for (index, batch) in batches.iter().enumerate() {
            for row in 0..batch.num_rows() {
                partitions[(index + row) % 3].batch(&batch.slice(row, 1));
            }
        }
        drop(partitions);
        let mut passed = tap.take().unwrap();
        passed.decide_by_queries(&session, "t").await.unwrap();
        assert_eq!(judged(passed), read, "{sql}");
        read
    }

    #[track_caller]
    fn check(sql: &str, text: &str, outcome: CheckOutcome, failing: Option<u64>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for key_bytes in [MAX_KEY_BYTES, 50] {
            let found = runtime.block_on(outcomes(sql, &[text], key_bytes));
            assert_eq!((found[0].0, found[0].1), (outcome, failing), "{text}: {found:?}");
        }
    }

    const ROWS: &str = "SELECT * FROM (VALUES (1, 'a', 5), (2, 'b', NULL), (3, 'a', 7), (NULL, 'c', -1), (NULL, NULL, 5)) \
                        AS v(id, name, amount)";

    #[test]
    fn rows_are_counted() {
        check(ROWS, "rows = 5", CheckOutcome::Passed, None);
        check(ROWS, "rows > 5", CheckOutcome::Failed, None);
        check("SELECT 1 AS x WHERE false", "rows > 0", CheckOutcome::Failed, None);
        check("SELECT 1 AS x WHERE false", "rows < 0", CheckOutcome::Failed, None);
    }

    #[test]
    fn keys_are_compared_over_all_partitions() {
        check(ROWS, "unique(id)", CheckOutcome::Passed, Some(0));
        check(ROWS, "unique(name, id)", CheckOutcome::Passed, Some(0));
        check(ROWS, "unique(name)", CheckOutcome::Failed, Some(1));
        let many = "SELECT value AS id, value % 500 AS k, arrow_cast(CAST(value % 2 AS VARCHAR), 'Dictionary(Int32, Utf8)') AS d \
                    FROM generate_series(1, 1000)";
        check(many, "unique(id)", CheckOutcome::Passed, Some(0));
        check(many, "unique(k, d)", CheckOutcome::Failed, Some(500));
    }

    #[test]
    fn of_many_keys_a_repeated_one_is_found_within_the_bound() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(outcomes(
            "SELECT value % 500 AS k FROM generate_series(1, 1000)",
            &["unique(k)"],
            MAX_KEY_BYTES,
        ));
        assert_eq!(found, [(CheckOutcome::Failed, Some(500), Found::Counts)]);
    }

    #[test]
    fn values_that_are_missing_are_counted() {
        check(ROWS, "not_null(name)", CheckOutcome::Failed, Some(1));
        check(ROWS, "not_null(id, amount)", CheckOutcome::Failed, Some(3));
        check(
            "SELECT arrow_cast(NULL, 'Dictionary(Int32, Utf8)') AS d",
            "not_null(d)",
            CheckOutcome::Failed,
            Some(1),
        );
        check("SELECT NULL AS n", "not_null(n)", CheckOutcome::Failed, Some(1));
        check("SELECT 1 AS n", "not_null(n)", CheckOutcome::Passed, Some(0));
    }

    #[test]
    fn a_condition_is_false_for_no_row() {
        check(ROWS, "amount >= 0", CheckOutcome::Failed, Some(1));
        check(ROWS, "amount >= -1", CheckOutcome::Passed, Some(0));
        check(ROWS, "amount >= -1 AND amount IS NOT NULL", CheckOutcome::Failed, Some(1));
        check(ROWS, "upper(name) IN ('A', 'C')", CheckOutcome::Failed, Some(1));
        check(ROWS, "1 = 2", CheckOutcome::Failed, Some(5));
        check(ROWS, "NULL", CheckOutcome::Passed, Some(0));
    }

    #[test]
    fn what_cannot_be_computed_does_not_hold() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(outcomes(ROWS, &["10 / (id - 2) > -100", "rows = 5"], MAX_KEY_BYTES));
        assert_eq!(found[1].0, CheckOutcome::Passed);
        assert!(
            matches!(&found[0], (CheckOutcome::Failed, None, Found::Error(text)) if text.contains("ivide")),
            "{found:?}"
        );
    }

    #[test]
    fn what_is_old_is_not_fresh() {
        let at = |at: &str| format!("SELECT {at} AS at UNION ALL SELECT NULL");
        // It is the start of 11 January 1970.
        for (column, text, outcome) in [
            ("TIMESTAMP '1970-01-09 12:00:00'", "freshness(at) < 2 days", CheckOutcome::Passed),
            ("TIMESTAMP '1970-01-09 00:00:00'", "freshness(at) < 2 days", CheckOutcome::Failed),
            ("TIMESTAMP '1970-01-09 00:00:00'", "freshness(at) <= 2 days", CheckOutcome::Passed),
            ("DATE '1970-01-10'", "freshness(at) < 25 hours", CheckOutcome::Passed),
            ("DATE '2026-01-10'", "freshness(at) < 1 s", CheckOutcome::Passed),
            (
                "arrow_cast('1970-01-10T23:30:00-01:00', 'Timestamp(Second, Some(\"-01:00\"))')",
                "freshness(at) < 1 s",
                CheckOutcome::Passed,
            ),
            (
                "arrow_cast('1970-01-10T21:30:00-01:00', 'Timestamp(Second, Some(\"-01:00\"))')",
                "freshness(at) < 1 h",
                CheckOutcome::Failed,
            ),
            ("CAST(NULL AS DATE)", "freshness(at) < 1 week", CheckOutcome::Failed),
        ] {
            check(&at(column), text, outcome, None);
        }
    }

    #[tokio::test]
    async fn a_check_fits_the_columns_or_says_why_not() {
        let session = SessionContext::new();
        let frame = session.sql(ROWS).await.unwrap();
        let schema = frame.schema().as_arrow().clone();
        for (text, problem) in [
            ("unique(ids)", "there is no column \"ids\": the node has \"id\", \"name\", \"amount\""),
            ("not_null(\"ID\")", "there is no column \"ID\""),
            (
                "freshness(id) < 1 day",
                "needs a date or a timestamp, but the column \"id\" is of the type Int64",
            ),
            ("amount + 1", "is of the type Int64"),
            ("sum(amount) > 1", "cannot contain an aggregate"),
            ("row_number() OVER () > 1", "cannot contain an aggregate"),
            ("amonut > 1", "cannot be planned: "),
            ("nothing(amount)", "cannot be planned: "),
            ("rows", "cannot be planned; did you mean `rows > 0`?: "),
            ("row > 3", "cannot be planned; did you mean `rows > 0`?: "),
            ("uniqe(id)", "cannot be planned; did you mean `unique(id)`?: "),
            ("frehsness(at) < 2", "did you mean `freshness(day) < 2 days`?: "),
        ] {
            let check: DataCheck = text.parse().unwrap();
            let error = check.fits(&session.state(), &schema).unwrap_err();
            let error = daglight_capture_policy::in_one_line(&error);
            assert!(error.contains(problem), "{text}: {error}");
        }
        let check: DataCheck = "amount > 1".parse().unwrap();
        assert!(check.fits(&session.state(), &schema).is_ok());
        assert_eq!(check.with_severity(CheckSeverity::Warn).to_string(), "expect(warn): amount > 1");
    }
}
