//! A folder with pipelines under version control, like that of a user.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{scratch::scratch, tpch_data};

/// A git repository with TPC-H data, less of it than its name says, where the example pipeline looks for it.
#[derive(Debug)]
pub struct Checkout {
    folder: PathBuf,
    _temporary: Option<TempDir>,
}

impl Checkout {
    /// The URL of the repository's origin.
    pub const REPO: &str = "https://git.example/team/pipelines.git";

    /// A repository with one commit in a temporary folder.
    ///
    /// # Panics
    /// When it cannot be made.
    #[expect(clippy::new_without_default, reason = "it makes files")]
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("daglight-checkout-").expect("a temporary folder");
        Self::in_folder(folder.path().to_owned(), Some(folder))
    }

    /// The same in `target/system-tests`, where it stays to be looked at until the next time.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn kept(name: &str) -> Self {
        let folder = scratch().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("a folder");
        Self::in_folder(folder, None)
    }

    fn in_folder(folder: PathBuf, temporary: Option<TempDir>) -> Self {
        let data = folder.join(".demo/tpch");
        fs::create_dir_all(&data).expect("a folder");
        symlink(tpch_data(), data.join("sf0.1")).expect("a link to the data");
        fs::write(folder.join(".gitignore"), ".demo\nout\n").expect("a file");
        let checkout = Self { folder, _temporary: temporary };
        checkout.git(&["init", "--quiet"]);
        checkout.git(&["remote", "add", "origin", Self::REPO]);
        checkout.commit();
        checkout
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Writes a pipeline and commits it; its path is given back.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn pipeline(&self, name: &str, sql: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, sql).expect("the pipeline is written");
        self.commit();
        path
    }

    /// The hash of the last commit.
    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "change"]);
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=tests",
                "-c",
                "user.email=tests@example.com",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(arguments)
            .current_dir(self.path())
            .output()
            .expect("git runs");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}
