//! The first rows that a query returns or writes, in words: taken from the batches that pass, and never asked for.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use daglight_capture_policy::{BoundedText, Captured, Policy};
use daglight_run_bundle::PlanPreview;
use datafusion::arrow::{
    array::RecordBatch,
    datatypes::Schema,
    util::display::{ArrayFormatter, FormatOptions},
};

use crate::secret_columns::SecretColumns;

/// Columns whose values are kept, the first ones.
const MAX_COLUMNS: usize = 50;
/// Bytes that are kept of a value.
const CELL_BYTES: usize = 200;
/// What a cell without a value is shown as.
const NULL: &str = "NULL";
/// What stands for a value that cannot be written out.
const NOT_SHOWN: &str = "(cannot be shown)";

/// The first rows of a query. Its partitions run at the same time: of several, those come first that are first.
#[derive(Debug)]
pub(crate) struct Preview {
    left: AtomicUsize,
    rows: Mutex<Rows>,
    /// The columns whose values are made of secret ones.
    secrets: Option<Arc<SecretColumns>>,
}

#[derive(Debug, Clone, Default)]
struct Rows {
    columns: Vec<String>,
    cells: Vec<Vec<String>>,
}

impl Preview {
    /// Of so many rows.
    pub(crate) fn new(rows: usize, secrets: Option<Arc<SecretColumns>>) -> Self {
        Self { left: AtomicUsize::new(rows), rows: Mutex::default(), secrets }
    }

    /// Takes rows from a batch that passes, where some are still wanted.
    pub(crate) fn take_from(&self, batch: &RecordBatch) {
        // Without the lock: this is asked of every batch, and answered with yes but for the first.
        if self.left.load(Ordering::Relaxed) == 0 || batch.num_rows() == 0 {
            return;
        }
        let mut rows = self.rows();
        // Once more under the lock, because partitions run at the same time.
        let taken = self.left.load(Ordering::Relaxed).min(batch.num_rows());
        self.left.fetch_sub(taken, Ordering::Relaxed);
        if rows.columns.is_empty() {
            rows.columns = names(batch.schema_ref());
        }
        rows.cells.extend(cells(batch, taken));
    }

    /// Whether some have passed.
    pub(crate) fn has_rows(&self) -> bool {
        !self.rows().cells.is_empty()
    }

    /// The rows as they may be shown. `None` where none has passed.
    pub(crate) fn shown(&self, policy: &Policy) -> Option<PlanPreview> {
        let (columns, rows) = self.captured(policy)?;
        let texts = |captured: &Vec<Captured>| captured.iter().map(Captured::to_text).collect();
        Some(PlanPreview { columns: texts(&columns), rows: rows.iter().map(texts).collect() })
    }

    fn captured(&self, policy: &Policy) -> Option<(Vec<Captured>, Vec<Vec<Captured>>)> {
        // A copy of a few rows, because those who pass more of them wait while this is captured.
        let rows = self.rows().clone();
        let columns: Vec<Captured> = rows.columns.iter().map(|name| policy.capture_name(name)).collect();
        let row = |row: &Vec<String>| {
            // A table of settings has the name of what it keeps in a separate column.
            let named = row.iter().find(|cell| policy.redactor().hides_key(cell));
            let cell = |(position, (name, cell)): (usize, (&String, &String))| match named {
                _ if self.is_secret(position, rows.columns.len(), name) => Captured::redacted(),
                Some(secret) if secret != cell => policy.capture_named(secret, cell.as_str()),
                // By the name of its column, which may say that it holds a secret.
                _ => policy.capture_named(name, cell.as_str()),
            };
            rows.columns.iter().zip(row).enumerate().map(cell).collect()
        };
        (!rows.cells.is_empty()).then(|| (columns, rows.cells.iter().map(row).collect()))
    }

    /// The same as a table for Hamilton's page.
    pub(crate) fn table(&self, policy: &Policy) -> Option<Captured> {
        let (columns, rows) = self.captured(policy)?;
        policy.table(&columns, &rows)
    }

    fn is_secret(&self, position: usize, of: usize, name: &str) -> bool {
        self.secrets.as_ref().is_some_and(|secrets| secrets.have(position, of, name))
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn names(schema: &Schema) -> Vec<String> {
    let fields = schema.fields();
    let mut names: Vec<String> = fields.iter().take(MAX_COLUMNS).map(|field| field.name().clone()).collect();
    if fields.len() > MAX_COLUMNS {
        names.push(format!("… {} more columns", fields.len() - MAX_COLUMNS));
    }
    names
}

fn cells(batch: &RecordBatch, rows: usize) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null(NULL);
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .take(MAX_COLUMNS)
        .map(|column| ArrayFormatter::try_new(column, &options).ok())
        .collect();
    let more = (batch.num_columns() > MAX_COLUMNS).then(String::new);
    let row = |row| columns.iter().map(|column| cell(column.as_ref(), row)).chain(more.clone()).collect();
    (0..rows).map(row).collect()
}

fn cell(column: Option<&ArrayFormatter<'_>>, row: usize) -> String {
    let mut text = BoundedText::new(CELL_BYTES);
    let written = column.map(|column| column.value(row).write(&mut text));
    let text = text.into_text();
    match written {
        Some(Ok(())) => text,
        // It fails where the bound is reached, too.
        Some(Err(_)) if text.len() + 4 > CELL_BYTES => text + "…",
        _ => NOT_SHOWN.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use daglight_capture_policy::Profile;
    use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn batch(ids: &[i64]) -> RecordBatch {
        let texts: Vec<Option<String>> = ids
            .iter()
            .map(|id| (*id > 1).then(|| format!("{}{id}", "ä".repeat(*id as usize * 60))))
            .collect();
        let columns: [(&str, ArrayRef); 3] = [
            ("id", Arc::new(Int64Array::from(ids.to_vec()))),
            ("name", Arc::new(StringArray::from(texts))),
            ("password", Arc::new(StringArray::from(vec!["sesame"; ids.len()]))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn the_first_rows_of_what_passes_are_kept() {
        let preview = Preview::new(3, None);
        let policy = Policy::of_profile(Profile::Dev);
        assert_eq!(preview.shown(&policy), None);
        preview.take_from(&batch(&[]));
        [&[1, 2][..], &[3, 4], &[5]].iter().for_each(|ids| preview.take_from(&batch(ids)));
        let shown = preview.shown(&policy).unwrap();
        assert_eq!(shown.columns, ["id", "name", "password"]);
        assert_eq!(shown.rows[0], ["1", "NULL", "[redacted]"]);
        assert_eq!(shown.rows[1][1], format!("{}…", "ä".repeat(100)));
        assert_eq!((shown.rows.len(), shown.rows[2][0].as_str()), (3, "3"));
        assert!(preview.table(&policy).unwrap().to_text().contains("<td"));
    }

    #[test]
    fn what_stands_beside_the_name_of_a_secret_is_hidden() {
        let columns: [(&str, ArrayRef); 2] = [
            ("name", Arc::new(StringArray::from(vec!["password", "region"]))),
            ("value", Arc::new(StringArray::from(vec!["sesame", "north"]))),
        ];
        let preview = Preview::new(2, None);
        preview.take_from(&RecordBatch::try_from_iter(columns).unwrap());
        let shown = preview.shown(&Policy::of_profile(Profile::Dev)).unwrap();
        assert_eq!(shown.rows, [["password", "[redacted]"], ["region", "north"]]);
    }

    #[test]
    fn of_wide_rows_the_first_columns_are_kept() {
        let column = || Arc::new(Int64Array::from(vec![7])) as ArrayRef;
        let wide = RecordBatch::try_from_iter((0..60).map(|index| (format!("c{index}"), column()))).unwrap();
        let preview = Preview::new(1, None);
        preview.take_from(&wide);
        let shown = preview.shown(&Policy::of_profile(Profile::Dev)).unwrap();
        assert_eq!((shown.columns.len(), shown.rows[0].len()), (51, 51));
        assert_eq!(shown.columns[50], "… 10 more columns");
    }
}
