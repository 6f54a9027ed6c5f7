//! A node from the inside: what its own code can say and do.

use std::sync::Arc;

use daglight_materializers::{Output, Written, source_facts};
use datafusion::{arrow::datatypes::SchemaRef, dataframe::DataFrame, error::Result, prelude::SessionContext};
use serde_json::Value;

use crate::{attributes::plan_signature, node_scope::NodeScope};

/// How long the metadata of a source may take to read, so that a slow store does not hold up the pipeline.
const SOURCE_FACTS_LIMIT: std::time::Duration = std::time::Duration::from_secs(2);

/// A running node. Clones are the same node; it may be sent to other tasks.
#[derive(Clone)]
pub struct Node {
    pub(crate) scope: Arc<NodeScope>,
}

impl Node {
    /// The node's name.
    pub fn name(&self) -> &str {
        &self.scope.name
    }

    /// Records a value of one's own; the page shows it with the node's results. It passes the capture policy.
    pub fn record(&self, name: impl Into<String>, value: impl Into<Value>) {
        let name = name.into();
        let captured = self.scope.run.policy.capture_named(&name, value);
        self.scope.facts().recorded.push((name, captured));
    }

    /// Records the value that the node stands for, an input or a parameter, where the policy shows those.
    pub fn input(&self, value: impl Into<Value>) {
        let captured = self.scope.run.policy.capture_input(self.name(), value);
        self.scope.facts().recorded.push(("value".to_owned(), captured));
    }

    /// Says which columns the node gives, where no query shows it.
    pub fn schema(&self, schema: SchemaRef) {
        self.scope.facts().schema = Some(schema);
    }

    /// Says how many rows the node gives, where no query shows it.
    pub fn row_count(&self, rows: u64) {
        self.scope.facts().rows = Some(rows);
    }

    /// Writes a frame to an output, summarises its rows in the same pass, and records the artifact.
    ///
    /// # Errors
    /// Those of the query and of the output.
    pub async fn materialize(
        &self,
        session: &SessionContext,
        frame: DataFrame,
        output: impl Output,
    ) -> Result<Written> {
        let written = output.write(session, frame).await?;
        self.written(written.clone());
        Ok(written)
    }

    /// Records an artifact that was written by other means.
    pub fn written(&self, written: Written) {
        let mut facts = self.scope.facts();
        facts.schema = Some(Arc::clone(&written.schema));
        facts.rows = written.rows.or(facts.rows);
        facts.bytes = written.files.map(|files| files.bytes).or(facts.bytes);
        let signature = plan_signature(&facts.queries);
        facts.written.push(written.clone());
        drop(facts);
        self.scope.run.add_artifact(&written, signature);
    }

    /// Records what the metadata of a registered table's files say. Reads no rows; what takes longer than two seconds
    /// or fails is left out with a warning.
    pub async fn source(&self, session: &SessionContext, table: &str) {
        let run = &self.scope.run;
        match tokio::time::timeout(SOURCE_FACTS_LIMIT, source_facts(session, table)).await {
            Ok(Ok(source)) => {
                let mut facts = self.scope.facts();
                facts.schema = Some(Arc::clone(&source.schema));
                facts.rows = source.rows;
                facts.bytes = source.files.map(|files| files.bytes);
                facts.source = Some(source);
            }
            Ok(Err(error)) => run.warn(format!("node {}: no metadata of {table}: {error}", self.name())),
            Err(_) => run.warn(format!(
                "node {}: the metadata of {table} took longer than {SOURCE_FACTS_LIMIT:?} and are left out",
                self.name()
            )),
        }
    }
}
