//! One run of the shop with everything on, which many tests look at.

use std::{path::PathBuf, sync::OnceLock};

use daglight_system_tests::{Checkout, Daglight, Hamilton, OtlpReceiver, Project};
use serde_json::Value;

use crate::pipelines::SHOP;

/// The tracing backend that the run has in its settings.
pub(crate) const TRACE_URL: &str = "http://127.0.0.1:16686/trace/{trace_id}";

/// What the run left behind, on the servers and on disk.
pub(crate) struct Observed {
    pub(crate) checkout: Checkout,
    pub(crate) project: Project,
    /// The finish report.
    pub(crate) report: Value,
    /// What it said besides.
    pub(crate) stderr: String,
    /// The DAG versions in the project.
    pub(crate) versions: Vec<Value>,
    /// The version with its nodes.
    pub(crate) version: Value,
    /// The runs in the project.
    pub(crate) runs: Vec<Value>,
    /// The run with its nodes' records.
    pub(crate) run: Value,
    pub(crate) spans: Vec<Value>,
    pub(crate) metrics: Vec<Value>,
    pub(crate) logs: Vec<Value>,
}

impl Observed {
    /// A file of the bundle.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.bundle().join(name)
    }

    pub(crate) fn bundle(&self) -> PathBuf {
        self.checkout.path().join(self.report["bundle"].as_str().expect("a run has a bundle"))
    }

    /// A JSON file of the bundle.
    pub(crate) fn json(&self, name: &str) -> Value {
        let text = std::fs::read(self.file(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn run_id(&self) -> &str {
        self.report["run_id"].as_str().expect("a run has an id")
    }
}

/// The run, made by the first test that asks for it. Its files stay in `target/system-tests/shop`.
pub(crate) fn observed() -> &'static Observed {
    static OBSERVED: OnceLock<Observed> = OnceLock::new();
    OBSERVED.get_or_init(|| {
        let checkout = Checkout::kept("shop");
        let pipeline = checkout.pipeline("shop.sql", SHOP);
        let receiver = OtlpReceiver::start();
        let hamilton = Hamilton::take();
        let project = hamilton.project("observed");
        let finished = Daglight::run(&checkout, &pipeline)
            .args(["--dag-name", "shop::review_v1"])
            .env("DAGLIGHT_HEARTBEAT_SECONDS", "0.02")
            .env("DAGLIGHT_ENVIRONMENT", "testing")
            .env("DAGLIGHT_TRACE_URL", TRACE_URL)
            .tracked_in(&project)
            .observed_by(&receiver, "grpc")
            .finish();
        let report = finished.report(0);
        let versions = hamilton.versions(&project);
        let runs = hamilton.runs(&project);
        Observed {
            version: hamilton.version(&versions[0]["id"]),
            run: hamilton.run(&runs[0]["id"]),
            versions,
            runs,
            spans: receiver.spans(),
            metrics: receiver.metrics(),
            logs: receiver.logs(),
            stderr: finished.stderr,
            checkout,
            project,
            report,
        }
    })
}
