//! After requests with an unknown outcome: asking the server for its state of a run, and repairing it.

use std::{collections::BTreeMap, path::Path};

use chrono::{DateTime, Utc};
use daglight_run_bundle::outbox::{OutboxError, Outcome, RunLink, Skipped};

use crate::{
    call::CallError,
    client::{Client, DUPLICATE_TAG},
    encode::{run_status, wire_name},
    steps::{Action, Steps},
    wire,
};

/// The tag with a description of a duplicate.
const NOTE_TAG: &str = "daglight.note";

/// The maximum number of nodes whose status is repaired in one request.
const MAX_NODES: usize = 1_000;

/// The expected state of a run on the server when everything in its outbox is delivered.
#[derive(Debug)]
pub(crate) struct Expected {
    run_id: String,
    started: DateTime<Utc>,
    tags: serde_json::Map<String, serde_json::Value>,
    end: (Outcome, DateTime<Utc>),
    nodes: BTreeMap<String, wire::NodeRunIn>,
}

/// The result of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verified {
    /// The server has the run as in the outbox, and no other unfinished run with its id.
    AsRecorded {
        /// The number of duplicate runs that were ended.
        duplicates: usize,
        /// Whether the status, the tags or a node of the run had to be repaired.
        mended: bool,
    },
    /// The server no longer has the run.
    Gone,
}

impl Expected {
    /// Reads the expected state from an outbox. `None` if its run has not ended.
    ///
    /// # Errors
    /// When the outbox cannot be read.
    pub(crate) fn read(outbox: &Path) -> Result<Option<Self>, OutboxError> {
        // With the same steps that deliver it, so that both interpret the outbox in the same way.
        let mut steps = Steps::open(outbox, 0, None)?;
        let (mut run, mut end, mut nodes) = (None, None, BTreeMap::<String, wire::NodeRunIn>::new());
        let mut tags = serde_json::Map::new();
        while let Some(step) = steps.next()? {
            match step.action {
                Action::Run { run_id, started, body } => {
                    tags = body.tags;
                    run = Some((run_id, started));
                }
                Action::Tags(update) => tags.extend(update.upsert_tags.unwrap_or_default()),
                Action::End(outcome, update) => end = Some((outcome, update.run_end_time)),
                Action::Tasks(part) => {
                    for task in part.body.task_updates {
                        // The last update of each node is what the server must have.
                        nodes.insert(task.node_name.clone(), task);
                    }
                }
                Action::Version(_) | Action::Nothing => {}
            }
        }
        let expected =
            run.zip(end).map(|((run_id, started), end)| Self { run_id, started, tags, end, nodes });
        Ok(expected)
    }
}

/// Compares the server's run with the expected state, and repairs status, tags and nodes that a late request has changed. Other
/// runs with the same run id are ended as failures, with tags that describe them as duplicates.
///
/// # Errors
/// When the server does not respond, or rejects a request.
pub(crate) fn verify(
    client: &Client,
    link: &RunLink,
    expected: &Expected,
    refused: &[Skipped],
) -> Result<Verified, CallError> {
    let Some(run) = client.run_on_server(link.dag_run_id, &expected.run_id)? else {
        return Ok(Verified::Gone);
    };
    let (outcome, ended) = expected.end;
    let statuses: BTreeMap<&str, &str> =
        run.node_runs.iter().map(|node| (&*node.node_name, &*node.status)).collect();
    let wrong: Vec<&wire::NodeRunIn> = expected
        .nodes
        .values()
        // A node for which the server always failed would fail here, too, and is counted as dropped.
        .filter(|node| {
            !refused.iter().any(|refused| refused.attribute.is_none() && refused.node == node.node_name)
        })
        // Only the status: a late request cannot change anything else of a node, because the server keeps the first start and
        // accepts an end only with a status.
        .filter(|node| statuses.get(&*node.node_name).is_none_or(|status| *status != node.status))
        .collect();
    let mut mended_nodes = 0;
    for nodes in wrong.chunks(MAX_NODES) {
        mended_nodes += mend(client, link, nodes)?;
    }
    // Only ours: a user may have added tags on the page, which must be kept.
    let is_tagged = expected.tags.iter().all(|(key, value)| run.tags.get(key) == Some(value));
    let is_right = run.run_status == wire_name(outcome) && is_tagged;
    if !is_right {
        // All of them: the server merges tags, and status and tags are in one request.
        let upsert_tags = Some(expected.tags.clone());
        let update = wire::DagRunUpdate { run_status: run_status(outcome), run_end_time: ended, upsert_tags };
        client.update_run(link.dag_run_id, &update)?;
    }
    // Last: it is the most expensive request, and the run itself must be right regardless of it.
    let others = client.find_runs(link.template_id, &expected.run_id, expected.started)?;
    let mut duplicates = 0;
    for other in others.into_iter().filter(|id| *id != link.dag_run_id) {
        // Ended and marked, because the API cannot delete runs.
        client.update_run(other, &end_of_duplicate(link.dag_run_id, ended))?;
        duplicates += 1;
    }
    Ok(Verified::AsRecorded { duplicates, mended: !is_right || mended_nodes > 0 })
}

/// Sends the expected state of nodes, one by one if the server rejects them together. Returns how many it accepted.
fn mend(client: &Client, link: &RunLink, nodes: &[&wire::NodeRunIn]) -> Result<usize, CallError> {
    let task_updates = nodes.iter().map(|node| (*node).clone()).collect();
    let update = wire::DagRunsBulkRequest { task_updates, attributes: Vec::new() };
    match client.log(link.dag_run_id, &update) {
        Ok(()) => Ok(nodes.len()),
        Err(error) if error.is_about_payload() && nodes.len() > 1 => {
            let mut mended = 0;
            for node in nodes {
                mended += mend(client, link, std::slice::from_ref(node))?;
            }
            Ok(mended)
        }
        // It was also rejected when it was delivered, and counted as dropped then.
        Err(error) if error.is_about_payload() => Ok(0),
        Err(error) => Err(error),
    }
}

fn end_of_duplicate(dag_run_id: i64, ended: DateTime<Utc>) -> wire::DagRunUpdate {
    let note = format!(
        "a duplicate without records, made by a request that was carried out late: see run {dag_run_id}"
    );
    let tags = [(DUPLICATE_TAG, dag_run_id.to_string()), (NOTE_TAG, note)];
    wire::DagRunUpdate {
        run_status: run_status(Outcome::Failure),
        run_end_time: ended,
        upsert_tags: Some(tags.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect()),
    }
}
