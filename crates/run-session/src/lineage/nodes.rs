//! What a run says of its nodes to OpenLineage.

use chrono::{DateTime, Utc};
use daglight_capture_policy::Captured;
use daglight_openlineage::NodeFacts;

use super::{RunLineage, ending, said};
use crate::{
    lineage_datasets::{Datasets, datasets},
    node_facts::GatheredFacts,
    node_scope::NodeScope,
};

impl RunLineage {
    pub(crate) fn node_started(&self, scope: &NodeScope, time: DateTime<Utc>) {
        said(&scope.run.log, self.run.node_started(&self.node(scope), time));
    }

    /// A node has ended. `error` is why it did not end well, as lines.
    pub(crate) fn node_ended(
        &self,
        scope: &NodeScope,
        facts: &GatheredFacts,
        summary: Option<&Captured>,
        (time, error, interrupted): (DateTime<Utc>, Option<&[String]>, bool),
    ) {
        let message = error.map(|lines| self.policy.capture_error(lines.first().map_or("", String::as_str)));
        let stack = error.map(|lines| self.policy.capture_stack(lines));
        let ending = ending(message, stack, interrupted);
        let Datasets { mut inputs, mut outputs } = datasets(self, scope, facts, summary);
        // What was found of the node's rows is known of the only thing that it has written, or of the source that it stands for.
        let checked = match (&mut outputs[..], &mut inputs[..]) {
            ([output], _) => Some(output),
            ([], [source]) if facts.source.is_some() => Some(source),
            _ => None,
        };
        if let Some(dataset) = checked {
            dataset.checks = facts.checks.records(&self.policy);
        }
        let node = self.node(scope);
        said(&scope.run.log, self.run.node_ended(&node, time, &ending, inputs, outputs));
        self.outputs().retain(|(node, _), _| *node != scope.name);
    }

    fn node(&self, scope: &NodeScope) -> NodeFacts {
        let node = scope.run.context.dag.node(&scope.name);
        let documentation = node.as_ref().and_then(|node| node.documentation.as_deref());
        NodeFacts {
            run_id: scope.lineage_id,
            name: scope.name.clone(),
            sql: scope.sql.as_deref().cloned(),
            documentation: documentation.and_then(|text| self.policy.capture_documentation(text)),
            path: node.as_ref().and_then(|node| self.source_path(&node.code.as_ref()?.path)),
        }
    }

    /// The path of a file of code below its repository, where that may be shown as a whole: a part of it leads nowhere.
    fn source_path(&self, path: &str) -> Option<Captured> {
        let absolute = std::path::absolute(path).ok()?;
        let below = absolute.strip_prefix(self.checkout.as_deref()?).ok()?.to_str()?;
        self.policy.capture_path(below).filter(|shown| shown.to_text() == below)
    }
}
