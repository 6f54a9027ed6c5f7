//! The workers of the demo's cluster, and what they have done.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// How many there are.
const WORKERS: usize = 2;

/// Workers on this machine, which end when this is dropped.
pub(crate) struct Workers(Vec<(Child, String)>);

impl Workers {
    pub(crate) fn start(program: &Path, folder: &Path) -> Result<Self> {
        let mut workers = Self(Vec::new());
        for _ in 0..WORKERS {
            let mut worker = Command::new(program)
                .args(["worker", "--listen", "127.0.0.1:0", "--threads", "1"])
                // Relative paths are those of the client.
                .current_dir(folder)
                .stdout(Stdio::piped())
                .spawn()
                .context("starting a worker")?;
            let stdout = worker.stdout.take().context("the output of a worker")?;
            // Kept before anything can fail, so that it ends with the others.
            workers.0.push((worker, String::new()));
            let mut address = String::new();
            BufReader::new(stdout).read_line(&mut address).context("reading the address of a worker")?;
            ensure!(!address.trim().is_empty(), "a worker ended at once");
            if let Some((_, known)) = workers.0.last_mut() {
                *known = address.trim().to_owned();
            }
        }
        Ok(workers)
    }

    /// As `--cluster` takes it.
    pub(crate) fn cluster(&self) -> String {
        let addresses: Vec<&str> = self.0.iter().map(|(_, address)| address.as_str()).collect();
        format!("df://{}", addresses.join(","))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for (worker, _) in &mut self.0 {
            // Ctrl-c has ended some of them already.
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

/// What is read of the file of a plan.
#[derive(Deserialize)]
struct Plan {
    metrics: Metrics,
}

#[derive(Deserialize)]
struct Metrics {
    cluster: Option<Work>,
}

#[derive(Deserialize)]
struct Work {
    #[serde(default)]
    stages: Vec<Stage>,
}

#[derive(Deserialize)]
struct Stage {
    tasks: Vec<Task>,
}

#[derive(Deserialize)]
struct Task {
    worker: String,
}

/// How many queries of a bundle ran on workers, of how many, and how many tasks each worker had.
pub(crate) fn shares(bundle: &Path) -> Result<(usize, usize, BTreeMap<String, usize>)> {
    let (mut queries, mut distributed, mut tasks) = (0, 0, BTreeMap::new());
    for file in fs::read_dir(bundle.join("plans")).context("listing the plans")? {
        let text = fs::read(file?.path()).context("reading a plan")?;
        let plan: Plan = serde_json::from_slice(&text).context("reading a plan")?;
        let stages = plan.metrics.cluster.map(|work| work.stages).unwrap_or_default();
        queries += 1;
        distributed += usize::from(!stages.is_empty());
        for task in stages.into_iter().flat_map(|stage| stage.tasks) {
            *tasks.entry(task.worker).or_default() += 1;
        }
    }
    Ok((distributed, queries, tasks))
}
