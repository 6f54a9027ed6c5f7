//! The outputs of a run compared with those of its baselines.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use daglight_run_bundle::{Artifact, NodeStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::measured::Measured;

/// An output of both runs, or of one of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OutputComparison {
    /// Its name.
    pub name: String,
    /// Whether the baseline had it.
    pub was_there: bool,
    /// Whether the run has it.
    pub is_there: bool,
    /// Its rows.
    pub rows: Option<Measured>,
    /// Its bytes.
    pub bytes: Option<Measured>,
    /// Columns that are gone, as `name type`.
    pub columns_gone: Vec<String>,
    /// Columns that are new, as `name type`.
    pub columns_new: Vec<String>,
}

/// The artifacts of a run, by the key that identifies an output.
type Outputs<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a Artifact>>;

/// The outputs of a run compared with those of its baselines. For values without a median, only the last baseline is used.
pub(super) fn outputs(baselines: &[Vec<&Artifact>], after: &[&Artifact]) -> Vec<OutputComparison> {
    let baselines: Vec<Outputs<'_>> = baselines.iter().map(|artifacts| by_key(artifacts)).collect();
    let (none, after) = (Outputs::new(), by_key(after));
    let before = baselines.last().unwrap_or(&none);
    let columns = |outputs: &Outputs<'_>, key: &(&str, &str)| -> Option<BTreeSet<String>> {
        let columns = outputs.get(key)?.first()?.schema.iter();
        // With the type, so that a column whose type changed counts as removed and added.
        Some(columns.map(|column| format!("{} {}", column.name, column.data_type)).collect())
    };
    let keys: BTreeSet<(&str, &str)> = before.keys().chain(after.keys()).copied().collect();
    let mut names: HashMap<&str, usize> = HashMap::new();
    for (name, _) in &keys {
        *names.entry(name).or_default() += 1;
    }
    let compared = keys.iter().map(|key| {
        let (old, new) = (columns(before, key), columns(&after, key));
        // A missing output has no sum: 0 would mean that it exists and is empty. If the value of one part is unknown, so is the
        // sum.
        let sum = |outputs: &Outputs<'_>, value: fn(&Artifact) -> Option<u64>| {
            let parts = outputs.get(key)?.iter();
            parts.map(|artifact| value(artifact).map(|value| value as f64)).sum::<Option<f64>>()
        };
        let measured = |value: fn(&Artifact) -> Option<u64>| {
            let before: Vec<f64> = baselines.iter().filter_map(|outputs| sum(outputs, value)).collect();
            sum(&after, value).and_then(|after| Measured::new(&before, after))
        };
        let only_in = |one: &Option<BTreeSet<String>>, other: &Option<BTreeSet<String>>| -> Vec<String> {
            let (Some(one), Some(other)) = (one, other) else { return Vec::new() };
            one.difference(other).cloned().collect()
        };
        // The kind of an output is shown only if two outputs would otherwise look the same.
        let has_namesake = names.get(key.0).is_some_and(|count| *count > 1);
        OutputComparison {
            name: if has_namesake { format!("{} ({})", key.0, key.1) } else { key.0.to_owned() },
            was_there: old.is_some(),
            is_there: new.is_some(),
            rows: measured(|artifact| artifact.rows),
            bytes: measured(|artifact| artifact.bytes),
            columns_gone: only_in(&old, &new),
            columns_new: only_in(&new, &old),
        }
    });
    compared.collect()
}

/// The artifacts of nodes that ended well in both runs, as `statuses` has them where a run has the node: the outputs of others are
/// neither gone nor new.
pub(super) fn of_whole_nodes(
    artifacts: &[Artifact],
    statuses: impl Fn(&str) -> [Option<NodeStatus>; 2],
) -> impl Iterator<Item = &Artifact> {
    let is_whole =
        move |node: &str| statuses(node).into_iter().flatten().all(|status| status == NodeStatus::Success);
    artifacts.iter().filter(move |artifact| artifact.node.as_deref().is_none_or(&is_whole))
}

fn by_key<'a>(artifacts: &[&'a Artifact]) -> Outputs<'a> {
    let mut outputs = Outputs::new();
    for artifact in artifacts {
        // An output that is written in parts has several artifacts with the same key.
        outputs.entry(key_of(artifact)).or_default().push(artifact);
    }
    outputs
}

/// The key that identifies an output across runs: a table and files in several formats may have the same name.
fn key_of(artifact: &Artifact) -> (&str, &str) {
    (&artifact.name, artifact.materialization.name())
}
