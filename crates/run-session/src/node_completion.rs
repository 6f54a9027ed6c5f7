//! Completing a node: what its span, the bundle and the tracker learn when its code and its queries have ended.

use daglight_otel_bridge::names::Key;
use daglight_run_bundle::NodeSummary;
use daglight_tracker_client::{Attribute, AttributeKind, AttributeRole, Event};
use serde_json::{Map, Value, json};

use crate::{
    artifacts::known_only,
    attributes::{ShownSummary, attributes},
    node_facts::{GatheredFacts, HandedOut},
    node_outcome::NodeOutcome,
    node_scope::NodeScope,
    trace_link::trace_link,
};

/// Attributes that are not known before the last query of a node has ended.
const OF_QUERIES: [&str; 7] =
    ["data_summary", "data_checks", "first_rows", "queries", "cluster", "plan", "stalls"];

impl NodeOutcome {
    /// Records for the tracker that the node has ended, and what does not depend on its queries.
    pub(crate) fn announce(&mut self, scope: &NodeScope) {
        if !self.tracked || scope.run.context.tracker.is_none() {
            return;
        }
        // A copy, because queries go on to write there while this is captured and recorded.
        let facts = scope.facts().clone();
        let mut attributes = self.attributes(scope, &facts, None);
        attributes.retain(|attribute| {
            let name = attribute.name();
            // They are known when the last query of the node has ended, which may be after the node.
            !OF_QUERIES.contains(&name) && !name.starts_with("artifact")
        });
        self.sent = attributes.iter().map(|attribute| attribute.name().to_owned()).collect();
        self.send(scope, attributes);
    }

    /// Says all that is known of the node.
    pub(crate) fn complete(self, scope: &NodeScope) {
        let state = &scope.run;
        // First: it adds the outputs that only queries know.
        scope.register_writes();
        // Taken out: what is captured, logged and written below calls the program's code, which may ask for them.
        let mut facts = std::mem::take(&mut *scope.facts());
        self.show_on_span(scope, &facts);
        let checks = scope.record_checks(&mut facts.checks, &self.span);
        let summary = ShownSummary::of(&facts, self.error.is_some(), &state.context.policy);
        self.keep_summary(scope, summary.as_ref());
        if self.tracked {
            if let Some(lineage) = &state.context.lineage {
                let end = (self.time, self.error.as_deref(), self.is_interrupted);
                lineage.node_ended(scope, &facts, summary.as_ref().and_then(ShownSummary::columns), end);
            }
            if state.context.tracker.is_some() {
                let mut attributes = self.attributes(scope, &facts, summary.as_ref());
                // A server keeps two attributes of one name beside each other, and shows both.
                attributes.retain(|attribute| !self.sent.iter().any(|sent| sent == attribute.name()));
                self.send(scope, attributes);
            }
            let mut records = state.log.records();
            if let Some(record) = records.nodes.get_mut(&scope.name)
                // A later attempt has begun meanwhile, and the record is about that one.
                && record.attempts == self.attempt
            {
                record.rows = facts.rows;
                record.bytes = facts.bytes;
                record.checks = checks;
                record.queries_summed = facts.queries.summed();
                record.plan_hashes = facts.queries.plan_hashes();
                records.plans.insert(scope.name.clone(), facts.queries.logical_hashes());
            }
            drop(records);
            state.note_node(&scope.name);
        }
        state.context.refresh_execution_run_id();
        // With the time at which the code ended, although this may come long after it: a frame that is handed out is
        // read by others.
        self.span.end_at(self.ended_at);
    }

    /// Keeps the summary in the bundle, where reports and comparisons find it: also without a tracker, whose outbox has it for
    /// the server.
    fn keep_summary(&self, scope: &NodeScope, summary: Option<&ShownSummary>) {
        let Some(summary) = summary else { return };
        let Some(columns) = summary.columns() else { return };
        let Some(bundle) = &scope.run.context.bundle else { return };
        let summary =
            NodeSummary::new(&scope.name, columns).partial(self.error.is_some()).made_of(summary.source());
        if let Err(error) = summary.append(bundle) {
            scope.run.log.records().not_written.insert("data summaries");
            scope.run.log.bundle_error(&error);
        }
    }

    fn show_on_span(&self, scope: &NodeScope, facts: &GatheredFacts) {
        let (span, policy) = (&self.span, &scope.run.context.policy);
        if let Some(rows) = facts.rows {
            span.row_count(rows);
        }
        if let Some(schema) = &facts.schema {
            span.column_count(schema.fields().len() as u64);
        }
        if let Some(bytes) = facts.bytes {
            span.bytes(bytes);
        }
        if let Some(query) = facts.queries.last() {
            span.set(Key::PlanHash, policy.capture(query.plan_hash.as_str()));
            span.set(Key::LogicalHash, policy.capture(query.logical_hash.as_str()));
            span.set(Key::SourceTables, policy.capture(query.source_tables.clone()));
            span.set(Key::QueryId, query.id);
        }
        if let Some(table) = &facts.table {
            span.set(Key::Table, policy.capture(table.as_str()));
        }
    }

    fn send(&self, scope: &NodeScope, attributes: Vec<Attribute>) {
        if let Some(tracker) = &scope.run.context.tracker {
            tracker.record(&Event::TaskFinished {
                node: scope.name.clone(),
                time: self.time,
                status: self.outcome,
                attributes,
            });
        }
    }

    /// The attributes of this attempt. The server has one of each name and node, and keeps the first: what an earlier
    /// attempt has sent gets a separate name.
    fn attributes(
        &self,
        scope: &NodeScope,
        facts: &GatheredFacts,
        summary: Option<&ShownSummary>,
    ) -> Vec<Attribute> {
        let state = &scope.run;
        let mut attributes = attributes(
            facts,
            self.error.as_deref(),
            summary,
            &state.context.policy,
            &state.context.shared.registry,
        );
        attributes.extend(scope.stalls());
        let link = trace_link(state.context.settings(), &self.span, &state.context.policy);
        attributes.extend(
            link.map(|link| Attribute::new("trace", AttributeKind::Html, AttributeRole::ArtifactLink, link)),
        );
        // Attributes of all attempts are of one task, and must differ in name.
        if self.attempt > 1 {
            attributes.extend(self.earlier_attempts(scope));
            for attribute in &mut attributes {
                let name = format!("{}_attempt_{}", attribute.name(), self.attempt);
                *attribute = attribute.clone().renamed(name);
            }
        }
        attributes
    }

    /// How the attempts before this one ended.
    fn earlier_attempts(&self, scope: &NodeScope) -> Option<Attribute> {
        let records = scope.run.log.records();
        let earlier = &records.nodes.get(&scope.name)?.earlier_attempts;
        let attempts: Map<String, Value> = earlier
            .iter()
            .map(|attempt| {
                let described = json!({
                    "status": attempt.status,
                    "duration_ms": attempt.duration_ms,
                    "error": attempt.error,
                });
                (format!("attempt {}", attempt.attempt), known_only(described))
            })
            .collect();
        // Capturing may be slow, and other nodes wait for the lock.
        drop(records);
        let attempts = scope.run.context.policy.capture(Value::Object(attempts));
        Some(Attribute::new(
            "earlier_attempts",
            AttributeKind::Dict,
            AttributeRole::ResourceUtilization,
            attempts,
        ))
    }
}

impl NodeScope {
    /// Where it stood still, and why.
    fn stalls(&self) -> Option<Attribute> {
        let stalls = self.run.stalls.of_node(&self.name);
        let numbered = stalls.iter().enumerate();
        let lines: Map<String, Value> =
            numbered.map(|(index, text)| (format!("stall {}", index + 1), text.as_str().into())).collect();
        (!lines.is_empty()).then(|| {
            let lines = self.run.context.policy.capture(Value::Object(lines));
            Attribute::new("stalls", AttributeKind::Dict, AttributeRole::ResourceUtilization, lines)
        })
    }

    pub(crate) fn query_ended(&self) {
        self.complete(self.query_over());
    }

    /// Completes the node when its code and all of its queries have ended.
    pub(crate) fn complete_if_done(&self) {
        self.complete(self.take_if_done());
    }

    /// The node's frame is not kept any longer: the node does not wait for somebody to execute it.
    pub(crate) fn forget_frame(&self) {
        let mut facts = self.facts();
        if facts.handed_out == HandedOut::Frame {
            facts.handed_out = HandedOut::Forgotten;
        }
        drop(facts);
        self.complete_if_done();
    }

    /// Completes the node with what is known: the run ends.
    pub(crate) fn give_up(&self) {
        self.complete(self.take_ending());
    }

    /// Without the lock of its queries: completing writes spans and the outbox, and asks for that again.
    fn complete(&self, ending: Option<NodeOutcome>) {
        if let Some(ending) = ending {
            ending.complete(self);
        }
    }
}
