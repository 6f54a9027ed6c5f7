//! A checkout to plant causes in, and what the report of a run finds in it.

use std::{fs, path::PathBuf};

use daglight_system_tests::{Checkout, Daglight, Finished};
use serde_json::Value;

/// What a run may have besides: other tests run on the same machine, and Daglight is built without optimisation here.
pub(crate) const OF_THE_MACHINE: [&str; 2] = ["heartbeat-pause", "telemetry-cost"];

/// A checkout whose settings find things in little data.
pub(crate) struct Planted {
    checkout: Checkout,
}

impl Planted {
    /// With these lines in the section `findings` of its settings. Rows are not summarised: without optimisation that takes
    /// longer than the queries.
    pub(crate) fn new(findings: &str) -> Self {
        let planted = Self { checkout: Checkout::new() };
        planted.write(
            "daglight.toml",
            &format!("[capture]\ndata_statistics = false\n\n[findings]\n{findings}\n"),
        );
        planted
    }

    pub(crate) fn checkout(&self) -> &Checkout {
        &self.checkout
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.checkout.path().join(name)
    }

    /// Writes a file, and the folder that it is in.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, text).expect("a file");
        path
    }

    /// The size of a file.
    pub(crate) fn bytes(&self, name: &str) -> f64 {
        fs::metadata(self.path(name)).expect("a file").len() as f64
    }

    /// A call that runs a script without a server.
    pub(crate) fn call(&self, sql: &str) -> Daglight {
        let pipeline = self.checkout.pipeline("planted.sql", sql);
        Daglight::run(&self.checkout, &pipeline).env("HAMILTON_TRACKER_ENABLED", "false")
    }

    /// Runs a script to its good end.
    #[track_caller]
    pub(crate) fn run(&self, sql: &str) -> Ran {
        self.ran(&self.call(sql).finish())
    }

    /// What a run that ended well left behind.
    #[track_caller]
    pub(crate) fn ran(&self, finished: &Finished) -> Ran {
        let bundle = self.path(finished.report(0)["bundle"].as_str().expect("a bundle"));
        Ran::of(bundle)
    }
}

/// The report of a run.
pub(crate) struct Ran {
    pub(crate) bundle: PathBuf,
    pub(crate) report: Value,
}

impl Ran {
    pub(crate) fn of(bundle: PathBuf) -> Self {
        let report = fs::read(bundle.join("run_diagnostics_report.json")).expect("a report");
        Self { report: serde_json::from_slice(&report).expect("JSON"), bundle }
    }

    fn all(&self) -> &[Value] {
        self.report["findings"].as_array().expect("a list")
    }

    /// The only finding of the kind: nothing else is found but what `may` come with it.
    #[track_caller]
    pub(crate) fn only(&self, kind: &str, may: &[&str]) -> Found<'_> {
        self.nothing_but(&[&[kind], may].concat());
        let found: Vec<&Value> = self.all().iter().filter(|finding| finding["kind"] == kind).collect();
        let [found] = found[..] else { panic!("not one {kind}: {:#?}", self.all()) };
        let page = format!("docs/findings/{kind}.md");
        assert_eq!(found["page"], *page, "{found:#}");
        let text = fs::read_to_string(self.bundle.join("run_diagnostics_report.md")).expect("a report");
        assert!(text.contains(&page), "{page} is not in\n{text}");
        Found(found)
    }

    /// Nothing is found but what `may` be.
    #[track_caller]
    pub(crate) fn nothing_but(&self, may: &[&str]) {
        let is_asked_for = |kind: &str| may.contains(&kind) || OF_THE_MACHINE.contains(&kind);
        let others =
            self.all().iter().filter(|finding| !is_asked_for(finding["kind"].as_str().expect("a kind")));
        let others: Vec<&Value> = others.collect();
        assert!(others.is_empty(), "{others:#?}");
    }

    /// No finding is of the kind.
    #[track_caller]
    pub(crate) fn without(&self, kind: &str) {
        assert!(self.all().iter().all(|finding| finding["kind"] != kind), "{:#?}", self.all());
    }

    pub(crate) fn run_ms(&self) -> f64 {
        self.report["duration_ms"].as_f64().expect("a time")
    }

    /// How long a node took, as the program measured it, and not DataFusion.
    pub(crate) fn node_ms(&self, name: &str) -> f64 {
        let nodes = self.report["nodes"].as_array().expect("nodes");
        let node = nodes.iter().find(|node| node["name"] == name).expect("the node");
        node["duration_ms"].as_f64().expect("a time")
    }

    pub(crate) fn json(&self, file: &str) -> Value {
        serde_json::from_slice(&fs::read(self.bundle.join(file)).expect("a file")).expect("JSON")
    }
}

/// A finding.
#[derive(Clone, Copy)]
pub(crate) struct Found<'r>(&'r Value);

impl Found<'_> {
    /// Checks the node, the operator and parts of the summary.
    #[track_caller]
    pub(crate) fn says(self, node: Option<&str>, operator: Option<&str>, summary: &[&str]) -> Self {
        assert_eq!((self.0["node"].as_str(), self.0["operator"].as_str()), (node, operator), "{:#}", self.0);
        // What several plans did, or one that was not ended then, has no plan to look at.
        let has_plan = operator.is_some() && self.0["kind"] != "repeated-scan" && self.0["kind"] != "stall";
        assert!(!has_plan || self.0["plan_file"].is_string(), "{:#}", self.0);
        for part in summary {
            assert!(self.summary().contains(part), "{part:?} is not in {:#}", self.0);
        }
        self
    }

    /// Checks a number.
    #[track_caller]
    pub(crate) fn has(self, what: &str, number: f64) -> Self {
        assert_eq!(self.number(what), number, "{what}: {:#}", self.0);
        self
    }

    /// Checks a number that has no exact truth.
    #[track_caller]
    pub(crate) fn has_between(self, what: &str, least: f64, most: f64) -> Self {
        let number = self.number(what);
        assert!(
            (least..=most).contains(&number),
            "{what} is {number}, and not from {least} to {most}: {:#}",
            self.0
        );
        self
    }

    /// Checks that no more time is at stake than there was.
    #[track_caller]
    pub(crate) fn costs_at_most(self, ms: f64) -> Self {
        let at_stake = self.0["at_stake_ms"].as_f64().expect("a time");
        assert!(at_stake > 0.0 && at_stake <= ms, "{at_stake} of {ms}: {:#}", self.0);
        self
    }

    #[track_caller]
    pub(crate) fn number(self, what: &str) -> f64 {
        self.find(what).unwrap_or_else(|| panic!("no {what} in {:#}", self.0))
    }

    /// A number that need not be there.
    pub(crate) fn find(self, what: &str) -> Option<f64> {
        let evidence = self.0["evidence"].as_array().expect("evidence");
        evidence.iter().find(|evidence| evidence["what"] == what)?["value"].as_f64()
    }

    pub(crate) fn summary(self) -> String {
        self.0["summary"].as_str().expect("a summary").to_owned()
    }

    pub(crate) fn level(self) -> String {
        self.0["level"].as_str().expect("a level").to_owned()
    }
}
