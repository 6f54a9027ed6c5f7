//! What a run says of the outputs of its nodes: to the catalog, to the page, and beside the semantic registry.

use chrono::SecondsFormat;
use daglight_capture_policy::{Policy, without_credentials};
use daglight_materializers::{Entry, Produced, Written, schema_hash};
use daglight_run_bundle::{Artifact, ArtifactColumn, RunProgress, WarningCode};
use daglight_run_identity::NodeKind;
use serde_json::{Map, Value, json};

use crate::{location::shown_location, log::error_that, run_core::RunCore, run_log::FailedPart};

impl RunCore {
    /// Notes an output of a node. What is given back is what may be shown of it.
    pub(crate) fn add_output(
        &self,
        node: &str,
        written: Written,
        plan_signature: Option<String>,
    ) -> Artifact {
        if let Some(lineage) = &self.context.lineage {
            lineage.written(node, &written);
        }
        let of_files = written.location.is_some();
        let shown = |text: &str| self.context.policy.capture_name(text).to_text();
        let artifact = Artifact {
            name: without_credentials(&written.name),
            node: Some(node.to_owned()),
            materialization: written.materialization.clone(),
            location: written
                .location
                .as_deref()
                .and_then(|location| shown_location(location, &self.context.policy)),
            format: of_files.then(|| written.materialization.name().to_owned()),
            rows: written.rows,
            bytes: written.bytes,
            files: written.file_count,
            files_before: written.files_before,
            schema: written
                .schema
                .fields()
                .iter()
                .map(|field| ArtifactColumn {
                    name: shown(field.name()),
                    data_type: shown(&field.data_type().to_string()),
                    nullable: field.is_nullable(),
                })
                .collect(),
            schema_hash: Some(schema_hash(&written.schema)),
            plan_signature,
            signature: written.signature.clone(),
            run_id: self.context.run_id,
            written_at: written.written_at,
        };
        self.context.signals.metrics().artifact(written.materialization.name());
        let produced = Produced { written, for_others: self.is_for_others(node) };
        let mut records = self.log.records();
        records.artifacts.push(artifact.clone());
        records.produced.push(produced);
        drop(records);
        self.note_progress(RunProgress::Artifact(artifact.clone()));
        artifact
    }

    /// A saver's output, and what no other node reads, are there for others.
    fn is_for_others(&self, node: &str) -> bool {
        let is_saver = self.context.dag.node(node).is_none_or(|node| node.kind == NodeKind::DataSaver);
        is_saver || !self.context.dag.get().is_read(node)
    }

    /// Compares the outputs with the registry. What differs is a warning, or fails the run where the registry is strict.
    pub(crate) fn check_registry(&self) {
        let (produced, succeeded) = {
            let mut records = self.log.records();
            // Nothing else asks for them.
            (std::mem::take(&mut records.produced), records.failure().is_none())
        };
        let dag_name = self.context.dag.name().to_string();
        let findings = self.context.shared.registry.check(&dag_name, &produced, succeeded);
        for finding in &findings {
            self.log.warn(WarningCode::RegistryMismatch, finding.to_string());
        }
        if self.context.settings().strict_registry && !findings.is_empty() {
            let reason = match findings.as_slice() {
                [one] => format!("strict registry: {one}"),
                [first, others @ ..] => format!("strict registry: {first}, and {} more", others.len()),
                [] => return,
            };
            let reason = self.context.policy.capture(reason);
            error_that(&reason);
            self.log.fail(FailedPart::Run, reason);
        }
    }
}

/// The artifact as the page shows it; what is not known is left out, and so is what documents it where the policy shows no
/// documentation.
pub(crate) fn describe(artifact: &Artifact, entry: Option<&Entry>, policy: &Policy) -> Value {
    let description = entry.and_then(|entry| entry.description.as_deref());
    let description = description.and_then(|text| policy.capture_documentation(text));
    let schema: Map<String, Value> =
        artifact.schema.iter().map(|column| (column.name.clone(), column.data_type.clone().into())).collect();
    let described = json!({
        "name": artifact.name,
        "materialization": artifact.materialization,
        "location": artifact.location,
        "format": artifact.format,
        "rows": artifact.rows,
        "bytes": artifact.bytes,
        "files": artifact.files,
        "files_before": artifact.files_before,
        "schema": schema,
        "schema_hash": artifact.schema_hash,
        "plan_signature": artifact.plan_signature,
        "signature": artifact.signature,
        "owner": entry.and_then(|entry| entry.owner.as_ref()),
        "description": description.map(|description| description.into_value()),
        "run_id": artifact.run_id.to_string(),
        "written_at": artifact.written_at.to_rfc3339_opts(SecondsFormat::Secs, true),
    });
    known_only(described)
}

/// An object without the entries that are null.
pub(crate) fn known_only(value: Value) -> Value {
    match value {
        Value::Object(entries) => {
            Value::Object(entries.into_iter().filter(|(_, value)| !value.is_null()).collect())
        }
        other => other,
    }
}
