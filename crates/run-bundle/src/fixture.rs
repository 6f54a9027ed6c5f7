//! A bundle, a manifest and an artifact, for tests.

use chrono::{DateTime, Utc};
use daglight_run_identity::RunId;
use tempfile::TempDir;

use crate::{artifact::Artifact, bundle::Bundle, manifest::Manifest};

/// An empty bundle, in a folder that is deleted when the first value is dropped.
pub(crate) fn bundle() -> (TempDir, Bundle) {
    let out = tempfile::tempdir().unwrap();
    let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
    (out, bundle)
}

/// A manifest with one entry in each list.
pub(crate) fn manifest() -> Manifest {
    let manifest = serde_json::json!({
        "format": "daglight_run_bundle",
        "format_version": 3,
        "daglight_version": "0.1.0",
        "identity": {
            "run_id": "0198c5f0-7a0e-7d5f-8a53-0c9f9f4c2b11",
            "dag_name": "sales::daily_v1",
            "tags": {"environment": "dev"},
        },
        "namespace": "daglight",
        "profile": "dev",
        "policy": {"values": true},
        "status": "success",
        "started_at": start(),
        "nodes": [{"name": "orders", "kind": "transform", "status": "success"}],
        "delivery": {
            "tracker": {"produced": 8, "delivered": 8, "waiting": 0},
            "signals": [
                {"signal": "traces", "destination": "bundle", "produced": 4, "delivered": 4, "waiting": 0},
            ],
        },
        "tracking": "server",
        "warnings": [{"code": "other", "message": "a"}],
    });
    serde_json::from_value(manifest).unwrap()
}

pub(crate) fn artifact(name: &str) -> Artifact {
    let artifact = serde_json::json!({
        "name": name,
        "materialization": "parquet",
        "location": format!("out/{name}.parquet"),
        "schema": [{"name": "id", "type": "Int64", "nullable": false}],
        "run_id": "0198c5f0-7a0e-7d5f-8a53-0c9f9f4c2b11",
        "written_at": start(),
    });
    serde_json::from_value(artifact).unwrap()
}

pub(crate) fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_237_787, 0).unwrap()
}
