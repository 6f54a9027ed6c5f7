//! `data_summaries.jsonl`: summaries of the nodes' data, one line for each node whose data was summarised.

use daglight_capture_policy::Captured;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::Error as _};
use serde_json::Value;

use crate::{
    append::append_lines,
    bundle::Bundle,
    json_lines::{FileReading, read_lines},
    layout::DATA_SUMMARIES,
    versioned::{WriteError, format_version},
};

/// The version of a line of `data_summaries.jsonl`.
///
/// - 1: the fields of [`NodeSummary`]. Each column has the fields of a `dagworks_describe` of version 3 (`name`, `pos`,
///   `data_type`, `base_data_type`, `count`, `missing`, and depending on its kind `min`, `max`, `mean`, `std`, `zeros`,
///   `quantiles`, `histogram`, `unique`, `domain`, `top_value`, `top_freq`, `avg_str_len`, `std_str_len`, `empty`), and the fields
///   of [`BUNDLE_ONLY_FIELDS`].
pub const DATA_SUMMARY_VERSION: u32 = 1;

/// Fields of a column that only the bundle has, because the page of the tracking server has no place for them: the approximate
/// number of distinct values, whether that number is an estimate, the maximum rank error of quantiles and histogram edges as a
/// share of all values if they are estimates, and remarks about the figures, which are also in parentheses after the type. The
/// remarks were added later: older bundles have them only after the type.
pub const BUNDLE_ONLY_FIELDS: [&str; 4] = ["distinct", "distinct_is_estimate", "rank_error", "remark"];

/// The name of the attribute of a node with the summary of its data.
pub const DATA_SUMMARY: &str = "data_summary";
/// Like [`DATA_SUMMARY`], for a node that failed: the summary covers the rows before the error.
pub const DATA_SUMMARY_BEFORE_THE_ERROR: &str = "data_summary_before_the_error";

/// The summary of the data of a node.
///
/// `V` is the representation of values: `&Captured` in a program that records, plain JSON when a bundle is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeSummary<V = Value> {
    /// The version of the line: [`DATA_SUMMARY_VERSION`].
    pub format_version: u32,
    /// The node.
    pub node: String,
    /// Whether the node failed, so that the summary covers only the rows before the error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_partial: bool,
    /// What it was made of.
    #[serde(default, skip_serializing_if = "SummarySource::is_unknown")]
    pub source: SummarySource,
    /// The columns by name, as the policy shows them.
    pub columns: V,
}

/// What the summary of a node's data was made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SummarySource {
    /// The rows, as they passed through the process of the run.
    Rows,
    /// The metadata of the files that the node reads, or that workers of a cluster have written: the rows were not in the process
    /// of the run.
    FileMetadata,
    /// It is not recorded, as in bundles of older versions.
    #[default]
    #[serde(other)]
    Unknown,
}

impl SummarySource {
    fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }
}

impl<'c> NodeSummary<&'c Captured> {
    /// The summary of a node.
    pub fn new(node: impl Into<String>, columns: &'c Captured) -> Self {
        Self {
            format_version: DATA_SUMMARY_VERSION,
            node: node.into(),
            is_partial: false,
            source: SummarySource::Unknown,
            columns,
        }
    }

    /// Sets what it was made of.
    #[must_use]
    pub fn made_of(self, source: SummarySource) -> Self {
        Self { source, ..self }
    }

    /// Sets whether the node failed.
    #[must_use]
    pub fn partial(self, is_partial: bool) -> Self {
        Self { is_partial, ..self }
    }

    /// Appends the summary to the bundle.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn append(&self, bundle: &Bundle) -> Result<(), WriteError> {
        let failed = |source| WriteError::Io { path: bundle.data_summaries(), source };
        let mut line = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        append_lines(bundle, DATA_SUMMARIES, line)
    }
}

impl NodeSummary<Value> {
    /// Passes each summary of a bundle to `take`, in the order in which the nodes ended. A node that ran again has several, of
    /// which the last counts. `None` if the bundle does not have the file: its run summarised nothing, or was recorded by an older
    /// version.
    pub fn read_all(bundle: &Bundle, mut take: impl FnMut(NodeSummary)) -> Option<FileReading> {
        let path = bundle.data_summaries();
        // A dangling link counts as an existing file.
        path.symlink_metadata().ok()?;
        Some(read_lines(&path, |line| {
            take(parse(line)?);
            Ok(())
        }))
    }
}

fn parse(line: &str) -> serde_json::Result<NodeSummary> {
    let found = format_version(line.as_bytes())?;
    if found > DATA_SUMMARY_VERSION {
        return Err(serde_json::Error::custom(format!(
            "it has format {found}, and this version of Daglight knows formats up to {DATA_SUMMARY_VERSION}"
        )));
    }
    serde_json::from_str(line)
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::{Policy, Profile};
    use serde_json::json;

    use super::*;
    use crate::fixture::bundle;

    fn read(bundle: &Bundle) -> (Vec<(String, bool, Value)>, Option<FileReading>) {
        let mut summaries = Vec::new();
        let reading = NodeSummary::read_all(bundle, |summary| {
            summaries.push((summary.node, summary.is_partial, summary.columns));
        });
        (summaries, reading)
    }

    fn columns(count: u64) -> Captured {
        Policy::of_profile(Profile::Dev).capture(json!({"a": {"count": count}}))
    }

    #[test]
    fn summaries_are_read_back_in_their_order() {
        let (_out, bundle) = bundle();
        assert_eq!(read(&bundle), (Vec::new(), None));
        NodeSummary::new("orders", &columns(3)).append(&bundle).unwrap();
        NodeSummary::new("lines\n", &columns(4)).partial(true).append(&bundle).unwrap();
        let (summaries, reading) = read(&bundle);
        let expected = [
            ("orders".to_owned(), false, json!({"a": {"count": 3}})),
            ("lines\n".to_owned(), true, json!({"a": {"count": 4}})),
        ];
        assert_eq!(summaries, expected);
        assert!(reading.unwrap().is_whole());
    }

    #[test]
    fn nodes_that_end_at_the_same_time_have_a_line_each() {
        let (_out, bundle) = bundle();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let bundle = &bundle;
                let many = Policy::of_profile(Profile::Dev).capture(json!({"a": "x".repeat(9_000)}));
                scope.spawn(move || {
                    for _ in 0..200 {
                        NodeSummary::new(format!("n{thread}"), &many).append(bundle).unwrap();
                    }
                });
            }
        });
        let (summaries, reading) = read(&bundle);
        assert_eq!((summaries.len(), reading.unwrap().unreadable_lines), (1_600, 0));
    }

    #[test]
    fn a_newer_line_is_named_and_the_others_are_read() {
        let (_out, bundle) = bundle();
        let newer = "{\"format_version\":2,\"node\":1}\n";
        std::fs::write(bundle.data_summaries(), newer).unwrap();
        NodeSummary::new("orders", &columns(3)).append(&bundle).unwrap();
        let (summaries, reading) = read(&bundle);
        assert_eq!(summaries.len(), 1);
        let problem = reading.unwrap().problem.unwrap();
        assert!(problem.starts_with("line 1 is damaged: it has format 2"), "{problem}");
        // A later version may contain anything else.
        std::fs::write(bundle.data_summaries(), "{\"format_version\":2,\"format_version\":[}\n").unwrap();
        let problem = read(&bundle).1.unwrap().problem.unwrap();
        assert!(problem.starts_with("line 1 is damaged: it has format 2"), "{problem}");
    }

    #[test]
    fn what_follows_a_torn_line_is_read() {
        let (_out, bundle) = bundle();
        std::fs::write(bundle.data_summaries(), "{\"format_ver").unwrap();
        NodeSummary::new("orders", &columns(3)).append(&bundle).unwrap();
        let (summaries, reading) = read(&bundle);
        assert_eq!((summaries.len(), reading.unwrap().unreadable_lines), (1, 1));
    }

    #[test]
    #[cfg(unix)]
    fn a_link_is_not_followed() {
        let (out, bundle) = bundle();
        let elsewhere = out.path().join("elsewhere");
        std::fs::write(&elsewhere, "mine").unwrap();
        std::os::unix::fs::symlink(&elsewhere, bundle.data_summaries()).unwrap();
        assert!(NodeSummary::new("orders", &columns(3)).append(&bundle).is_err());
        assert!(!read(&bundle).1.unwrap().is_whole());
        assert_eq!(std::fs::read_to_string(elsewhere).unwrap(), "mine");
    }
}
