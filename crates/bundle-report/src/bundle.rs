//! The folder of a run: where each file is.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use daglight_run_identity::RunId;

/// The folder below the output directory that holds the bundles.
const RUN_BUNDLE: &str = "run_bundle";
/// How deep below a folder bundles are looked for.
const MAX_DEPTH: usize = 8;
/// Bytes of a node's name that go into a file name; most file systems take 255 in all.
const MAX_NAME_BYTES: usize = 80;

/// The folder that holds all that one run has recorded.
///
/// ```
/// use daglight_bundle_report::Bundle;
/// use daglight_run_identity::RunId;
///
/// let out = std::env::temp_dir().join("daglight-doc");
/// let bundle = Bundle::create(&out, RunId::new())?;
/// assert!(bundle.plan_file(7, "top/10 %", "9f3a").ends_with("plans/007-top_10__-9f3a.json"));
/// # std::fs::remove_dir_all(out)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    dir: PathBuf,
}

/// Why a bundle could not be made or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The folder cannot be made.
    #[error("cannot create the run bundle {}", path.display())]
    Create {
        /// The folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The folder cannot be listed.
    #[error("cannot look for run bundles in {}", path.display())]
    List {
        /// The folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Neither the path nor a folder above it is a bundle.
    #[error("{} is not a run bundle: expected a folder such as out/run_bundle/<run id>", path.display())]
    NotABundle {
        /// The path.
        path: PathBuf,
    },
}

impl Bundle {
    /// Makes `<output_dir>/run_bundle/<run_id>/` with its folders.
    ///
    /// # Errors
    ///
    /// When a folder cannot be made.
    pub fn create(output_dir: impl AsRef<Path>, run_id: RunId) -> Result<Self, BundleError> {
        let dir = output_dir.as_ref().join(RUN_BUNDLE).join(run_id.to_string());
        let bundle = Self { dir };
        for path in [bundle.plans_dir(), bundle.tracker_dir()] {
            fs::create_dir_all(&path).map_err(|source| BundleError::Create { path, source })?;
        }
        Ok(bundle)
    }

    /// Opens a bundle by its folder, or by a file in it.
    ///
    /// # Errors
    ///
    /// When there is no bundle at the path.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, BundleError> {
        let path = path.as_ref();
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let levels_in_a_bundle = 3;
        let mut candidates = absolute.ancestors().take(levels_in_a_bundle);
        match candidates.find(|dir| is_bundle(dir)) {
            // The path is kept as it was given, so that what is printed looks familiar.
            Some(dir) if dir == absolute => Ok(Self { dir: path.to_owned() }),
            Some(dir) => Ok(Self { dir: dir.to_owned() }),
            None => Err(BundleError::NotABundle { path: path.to_owned() }),
        }
    }

    /// All bundles at and below a folder, the oldest run first. Links are not followed.
    ///
    /// # Errors
    ///
    /// When the folder itself cannot be listed; folders below that cannot be are left out.
    pub fn find_all(dir: impl AsRef<Path>) -> Result<Vec<Self>, BundleError> {
        let dir = dir.as_ref();
        if is_bundle(dir) {
            return Ok(vec![Self { dir: dir.to_owned() }]);
        }
        let mut found = Vec::new();
        find_below(dir, MAX_DEPTH, &mut found)
            .map_err(|source| BundleError::List { path: dir.to_owned(), source })?;
        // Run ids are ordered by time.
        found.sort_by(|a, b| a.dir.file_name().cmp(&b.dir.file_name()).then_with(|| a.dir.cmp(&b.dir)));
        Ok(found)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The run that the folder is named after; `None` when somebody has renamed it.
    pub fn run_id(&self) -> Option<RunId> {
        let absolute = std::path::absolute(&self.dir).ok()?;
        absolute.file_name()?.to_str()?.parse().ok()
    }

    /// What the run was and how it ended.
    pub fn manifest(&self) -> PathBuf {
        self.dir.join("manifest.json")
    }

    /// The spans, as lines of OTLP/JSON.
    pub fn traces(&self) -> PathBuf {
        self.dir.join("otel_traces.json")
    }

    /// The metrics, as lines of OTLP/JSON.
    pub fn metrics(&self) -> PathBuf {
        self.dir.join("otel_metrics.json")
    }

    /// The log records, as lines of OTLP/JSON.
    pub fn logs(&self) -> PathBuf {
        self.dir.join("otel_logs.json")
    }

    /// The folder of the plans.
    pub fn plans_dir(&self) -> PathBuf {
        self.dir.join("plans")
    }

    /// The file of the plan of the `number`th query. The name is safe whatever the node is called, and the number
    /// makes it unique.
    pub fn plan_file(&self, number: usize, node: &str, plan_hash: &str) -> PathBuf {
        let node = if node.is_empty() { "query" } else { node };
        self.plans_dir().join(format!("{number:03}-{}-{}.json", safe(node), safe(plan_hash)))
    }

    /// The catalog of what the run has written.
    pub fn artifacts(&self) -> PathBuf {
        self.dir.join("artifacts.json")
    }

    /// The folder of the tracker's outbox.
    pub fn tracker_dir(&self) -> PathBuf {
        self.dir.join("tracker")
    }

    /// The evidence that the process lives.
    pub fn heartbeat(&self) -> PathBuf {
        self.dir.join("heartbeat.json")
    }

    /// The report for programs.
    pub fn report_json(&self) -> PathBuf {
        self.dir.join("run_diagnostics_report.json")
    }

    /// The report for terminals and tickets.
    pub fn report_markdown(&self) -> PathBuf {
        self.dir.join("run_diagnostics_report.md")
    }

    /// The report for browsers.
    pub fn report_html(&self) -> PathBuf {
        self.dir.join("run_diagnostics_report.html")
    }
}

fn is_bundle(dir: &Path) -> bool {
    let named =
        dir.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.parse::<RunId>().is_ok());
    let holds = |name| dir.join(name).is_file();
    dir.is_dir()
        && (holds("manifest.json") || (named && (holds("otel_traces.json") || dir.join("tracker").is_dir())))
}

fn find_below(dir: &Path, depth: usize, found: &mut Vec<Bundle>) -> io::Result<()> {
    for entry in fs::read_dir(dir)?.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let dir = entry.path();
        if is_bundle(&dir) {
            found.push(Bundle { dir });
        } else if depth > 1 {
            // A folder that may not be read holds no bundle of this user.
            let _ = find_below(&dir, depth - 1, found);
        }
    }
    Ok(())
}

/// Keeps letters, digits, `_` and `-` of ASCII; a dot cannot start the part of a file name that this becomes.
fn safe(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' })
        .take(MAX_NAME_BYTES)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_plan_file(node: &str, expected: &str) {
        let bundle = Bundle { dir: "b".into() };
        assert_eq!(bundle.plan_file(3, node, "ab12"), Path::new("b/plans").join(expected));
    }

    #[test]
    fn plan_files_are_safe_whatever_the_node_is_called() {
        check_plan_file("orders", "003-orders-ab12.json");
        check_plan_file("../../etc/passwd", "003-.._.._etc_passwd-ab12.json");
        check_plan_file("Größe \"x\"\n", "003-Gr__e__x__-ab12.json");
        check_plan_file("", "003-query-ab12.json");
        check_plan_file(&"n".repeat(300), &format!("003-{}-ab12.json", "n".repeat(80)));
    }

    #[test]
    fn a_bundle_is_opened_by_its_folder_or_a_file_in_it() {
        let out = tempfile::tempdir().unwrap();
        let run_id = RunId::new();
        let bundle = Bundle::create(out.path(), run_id).unwrap();
        assert_eq!(bundle.dir(), out.path().join("run_bundle").join(run_id.to_string()));
        for path in [bundle.dir().to_owned(), bundle.manifest(), bundle.plan_file(1, "a", "b")] {
            let opened = Bundle::open(&path).unwrap();
            assert_eq!((opened.dir(), opened.run_id()), (bundle.dir(), Some(run_id)));
        }
        let error = Bundle::open(out.path()).unwrap_err();
        assert!(matches!(error, BundleError::NotABundle { .. }), "{error}");
    }

    #[test]
    fn bundles_are_found_below_a_folder_in_the_order_of_their_runs() {
        let out = tempfile::tempdir().unwrap();
        let ids = [RunId::new(), RunId::new(), RunId::new()];
        let first = Bundle::create(out.path().join("b"), ids[0]).unwrap();
        let second = Bundle::create(out.path().join("a"), ids[1]).unwrap();
        let third = Bundle::create(out.path(), ids[2]).unwrap();
        let found = Bundle::find_all(out.path()).unwrap();
        assert_eq!(found, [first.clone(), second, third]);
        assert_eq!(Bundle::find_all(first.dir()).unwrap(), [first]);
        assert!(Bundle::find_all(out.path().join("nowhere")).is_err());
    }
}
