//! What the rows of a query pass through.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use daglight_materializers::CheckTap;
use daglight_plan_diagnostics::{DataTap, PartitionTap};

use super::RunQuery;
use crate::session_tables::Remember;

impl RunQuery {
    /// The checks of the node that the rows belong to.
    fn check_tap(&self, schema: &SchemaRef) -> Option<&CheckTap> {
        if self.is_of_checks {
            return None;
        }
        let tap = self.checks.get_or_init(|| {
            let place = self.place()?;
            let node = place.handed_out_by.as_ref().or_else(|| place.owner.node())?;
            // Cloned, so that planning the checks does not hold up the node's other queries.
            let checks = node.facts().checks.clone();
            checks.tap(schema)
        });
        tap.as_ref()
    }
}

impl DataTap for RunQuery {
    /// Only the data of nodes are summarised: nothing shows those of other queries.
    fn open(&self, schema: &SchemaRef, partition: usize) -> Box<dyn PartitionTap> {
        let is_shown =
            self.place().is_some_and(|place| place.owner.node().is_some() || place.handed_out_by.is_some());
        let summarised = self.tap.as_ref().filter(|_| is_shown);
        Box::new(Remember {
            first_column: Arc::clone(&self.first_column),
            preview: self.preview.clone(),
            inner: summarised.map(|tap| tap.open(schema, partition)),
            checks: self.check_tap(schema).map(|tap| tap.open(schema, partition)),
        })
    }
}
