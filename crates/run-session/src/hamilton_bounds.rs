//! The range of a column as Hamilton's page shows it.

use daglight_data_summary::{Details, Point, Summarizer, SummaryOptions};
use datafusion::{arrow::record_batch::RecordBatch, common::ScalarValue};
use serde_json::Value;

use crate::hamilton_summary::{datetime, numeric, seconds_since_midnight};

/// The kind of a column on the page, and its least and greatest value in the form that a summary of its rows has. `None`
/// where the page shows no range of such a column.
pub(crate) fn bounds(min: &ScalarValue, max: &ScalarValue) -> Option<(&'static str, Value, Value)> {
    let both = ScalarValue::iter_to_array([min.clone(), max.clone()]).ok()?;
    // Through a summary of two rows, so that bounds look exactly as those of data do.
    let batch = RecordBatch::try_from_iter([("bounds", both)]).ok()?;
    let mut summarizer = Summarizer::new(&batch.schema(), SummaryOptions::default());
    summarizer.update(&batch);
    let summary = summarizer.finish();
    let column = summary.columns.first()?;
    let (kind, found) = match &column.details {
        Details::Numeric(found) if found.nans + found.infinities == 0 => {
            ("numeric", numeric(found, Point::as_f64)?)
        }
        Details::Time(found) => ("numeric", numeric(found, seconds_since_midnight)?),
        Details::Duration(found) => ("numeric", numeric(found, Point::as_f64)?),
        Details::Datetime(found) => ("datetime", datetime(found)?),
        _ => return None,
    };
    Some((kind, found.get("min")?.clone(), found.get("max")?.clone()))
}
