//! Proxies that the environment names, on the way to a tracking server.

use std::time::Duration;

use daglight_run_bundle::DeliveryCounts;
use daglight_run_identity::RunId;
use daglight_system_tests::{Proxy, Sample, TrackingServer};

use crate::processes::{ledger_of, sample_run};

const NODES: usize = 3;

/// A name that the Hamilton UI answers to, and that is not this machine for a client.
const ELSEWHERE: &str = "http://backend:8241";

/// A name that nobody has.
const NOWHERE: &str = "hamilton.invalid";

/// The server that the tests of this file deliver to, and a forward proxy that leads to it.
struct Way {
    server: TrackingServer,
    project: i64,
    proxy: Proxy,
}

impl Way {
    fn new() -> Self {
        let server = TrackingServer::on_sqlite();
        let (project, proxy) = (server.project("proxies"), Proxy::start(server.url()));
        Self { server, project, proxy }
    }

    /// Records a run for the server at `url` in an environment where the proxy is that of these variables, and gives the
    /// ledger and what the proxy was asked meanwhile.
    fn record(&self, url: &str, variables: &[&str], no_proxy: &str) -> (DeliveryCounts, Vec<String>) {
        let (before, run_id) = (self.proxy.seen().len(), RunId::new());
        let dag_name = "proxies::shop_v1";
        let folder = tempfile::tempdir().expect("a folder");
        let run = (dag_name, run_id, NODES);
        let mut process = sample_run(folder.path(), url, self.project, run, Duration::ZERO);
        process.arg("--finish").env("NO_PROXY", no_proxy);
        process.envs(variables.iter().map(|name| (name, self.proxy.url())));
        let output = process.output().expect("the sample run starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let ledger = ledger_of(&output.stdout);
        if ledger.waiting == 0 {
            let sample = Sample::new(dag_name, NODES, run_id);
            sample.check(&self.server, self.project, sample.whole(), &ledger);
        }
        (ledger, self.proxy.seen().split_off(before))
    }
}

#[test]
fn a_server_elsewhere_is_asked_through_the_proxy_and_one_on_this_machine_is_not() {
    let way = Way::new();
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        let (ledger, asked) = way.record(ELSEWHERE, &[variable], "");
        assert_eq!(ledger.waiting, 0, "{variable}: {ledger:?}");
        let whole = |line: &String| line.contains(&format!(" {ELSEWHERE}/api/v1/"));
        assert!(asked.len() > 5 && asked.iter().all(whole), "{variable}: {asked:#?}");
    }
    let port = way.server.url().rsplit(':').next().expect("a port").to_owned();
    for host in ["127.0.0.1", "localhost"] {
        let (ledger, asked) = way.record(&format!("http://{host}:{port}"), &["HTTP_PROXY", "ALL_PROXY"], "");
        assert_eq!((ledger.waiting, asked), (0, vec![]), "{host}: {ledger:?}");
    }

    let direct = format!("http://{NOWHERE}");
    let (ledger, asked) = way.record(&direct, &["HTTP_PROXY", "ALL_PROXY"], NOWHERE);
    assert_eq!((ledger.waiting, asked), (ledger.produced, vec![]), "NO_PROXY: {ledger:?}");

    let (ledger, asked) = way.record(&format!("https://{NOWHERE}"), &["HTTPS_PROXY"], "");
    assert_eq!(ledger.waiting, ledger.produced, "{ledger:?}");
    let tunnel = format!("CONNECT {NOWHERE}:443");
    assert!(!asked.is_empty() && asked.iter().all(|line| line.starts_with(&tunnel)), "{asked:#?}");
}
