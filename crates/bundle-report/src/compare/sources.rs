//! The sources whose files have changed since the earlier run.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    row_points::{PlanRows, pairs},
    source_files::SourceFiles,
};
use crate::{
    display,
    section::{Block, Column, name, shown, words},
    section_parts::table,
};

/// A source of a node that has other files than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceMoved {
    /// The node.
    pub node: String,
    /// The table, as the queries call it; its place where it has no name.
    pub table: String,
    /// Its files before,
    pub before: SourceFiles,
    /// and now.
    pub after: SourceFiles,
}

impl SourceMoved {
    /// The current and the earlier state, such as `5 files, was 4; 10 MB, was 8 MB (+25 %)`.
    pub(super) fn in_words(&self) -> String {
        let files = self.after.files.zip(self.before.files).filter(|(now, before)| now != before);
        let files = files
            .map(|(now, before)| format!("{}, was {}", display::plural(now, "file"), display::count(before)));
        let bytes = self.after.bytes.zip(self.before.bytes).filter(|(now, before)| now != before);
        let bytes = bytes.map(|(now, before)| {
            let [shown, was] = [now, before].map(display::bytes);
            format!("{shown}, was {was}{}", self.bytes_change().map(display::signed).unwrap_or_default())
        });
        files.into_iter().chain(bytes).collect::<Vec<_>>().join("; ")
    }

    /// The relative change in bytes.
    pub(crate) fn bytes_change(&self) -> Option<f64> {
        let (now, before) = self.after.bytes.zip(self.before.bytes)?;
        (before > 0).then(|| now as f64 / before as f64 - 1.0)
    }
}

/// The sources of plans in both runs whose files have changed.
pub(super) fn sources_moved(before: &[PlanRows], after: &[PlanRows]) -> Vec<SourceMoved> {
    let mut sources: BTreeMap<(&str, &str), (SourceFiles, SourceFiles)> = BTreeMap::new();
    for (plan, old) in pairs(before, after) {
        for (table, now) in &plan.sources {
            let Some(was) = old.sources.get(table) else { continue };
            let (before, after) = sources.entry((&plan.node, table)).or_default();
            before.join(*was);
            after.join(*now);
        }
    }
    let moved = sources.into_iter().filter(|(_, (before, after))| after.differs_from(*before));
    moved
        .map(|((node, table), (before, after))| SourceMoved {
            node: node.to_owned(),
            table: table.to_owned(),
            before,
            after,
        })
        .collect()
}

/// The first of these sources as a table.
pub(crate) fn source_table(sources: &[SourceMoved], most: usize) -> Option<Block<'_>> {
    let columns = vec![
        Column::text("source"),
        Column::text("node"),
        Column::number("files"),
        Column::number("before"),
        Column::number("bytes"),
        Column::number("before"),
        Column::number("change"),
    ];
    let rows = sources.iter().take(most).map(|source| {
        let change = source.bytes_change().map(display::signed).unwrap_or_default();
        vec![
            name(source.table.as_str()),
            name(source.node.as_str()),
            shown(source.after.files, display::count),
            shown(source.before.files, display::count),
            shown(source.after.bytes, display::bytes),
            shown(source.before.bytes, display::bytes),
            words(change.trim_matches([' ', '(', ')']).to_owned()),
        ]
    });
    table(columns, rows)
}
