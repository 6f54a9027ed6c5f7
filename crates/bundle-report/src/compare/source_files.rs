//! The number and size of the files in the sources of a plan.

use std::collections::BTreeMap;

use daglight_run_bundle::PlanBundle;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The maximum number of tables of a plan.
const MAX_TABLES: usize = 200;
/// The relative change in bytes from which a source is listed.
const LISTED_SHARE: f64 = 0.02;

/// The files of a source, as far as the plans say it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceFiles {
    /// How many they are.
    pub files: Option<u64>,
    /// Bytes of all of them.
    pub bytes: Option<u64>,
}

impl SourceFiles {
    /// The files of the tables of a plan.
    pub(super) fn of(plan: &PlanBundle) -> BTreeMap<String, Self> {
        let mut tables: BTreeMap<String, Self> = BTreeMap::new();
        for source in plan.sources.iter().take(MAX_TABLES) {
            let Some(table) = source.table.as_ref().or(source.location.as_ref()) else { continue };
            tables.entry(table.clone()).or_default().join(Self { files: source.files, bytes: source.bytes });
        }
        tables
    }

    /// Files that are scanned again count once.
    pub(super) fn join(&mut self, other: Self) {
        self.files = self.files.max(other.files);
        self.bytes = self.bytes.max(other.bytes);
    }

    /// Whether their number differs, or their size differs enough to be listed.
    pub(super) fn differs_from(self, before: Self) -> bool {
        let other_files = self.files.zip(before.files).is_some_and(|(now, before)| now != before);
        let other_bytes = self
            .bytes
            .zip(before.bytes)
            .is_some_and(|(now, before)| now.abs_diff(before) as f64 > LISTED_SHARE * before as f64);
        other_files || other_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_more_is_another_source_and_a_few_bytes_are_not() {
        let files = |files, bytes| SourceFiles { files: Some(files), bytes: Some(bytes) };
        for (after, differs) in [
            (files(4, 1_000), false),
            (files(4, 1_020), false),
            (files(4, 1_021), true),
            (files(5, 1_000), true),
        ] {
            assert_eq!(after.differs_from(files(4, 1_000)), differs, "{after:?}");
        }
        // Unknown values have not changed.
        assert!(!files(4, 9).differs_from(SourceFiles::default()));
    }

    #[test]
    fn what_is_scanned_twice_is_there_once() {
        let source = |files| {
            let bytes = Some(10 * files);
            daglight_run_bundle::PlanSource {
                table: Some("a".into()),
                files: Some(files),
                bytes,
                ..Default::default()
            }
        };
        let plan = PlanBundle { sources: vec![source(3), source(2)], ..PlanBundle::default() };
        let expected = SourceFiles { files: Some(3), bytes: Some(30) };
        assert_eq!(SourceFiles::of(&plan), BTreeMap::from([("a".to_owned(), expected)]));
    }
}
