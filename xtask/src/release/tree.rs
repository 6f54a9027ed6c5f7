//! The working tree in which a release is made, beside that of the developer.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use dev_services::Workspace;
use semver::Version;

use super::programs::printed;

/// A working tree of git without a branch. It is removed when this is dropped; its commits stay.
#[derive(Debug)]
pub(super) struct Tree {
    repository: PathBuf,
    root: PathBuf,
}

impl Tree {
    /// Checks the last commit of `repository` out into the folder `root`.
    pub(super) fn new(repository: &Path, root: &Path) -> Result<Self> {
        let tree = Self { repository: repository.to_owned(), root: root.to_owned() };
        // Of a release that was killed.
        tree.remove();
        let folder = root.to_str().context("the target folder has a name in UTF-8")?;
        git(repository, &["worktree", "add", "--quiet", "--force", "--detach", folder])?;
        Ok(tree)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The manifests of the workspace and its members, those that set no versions among them.
    pub(super) fn manifests(&self) -> Result<Vec<PathBuf>> {
        self.files_named("Cargo.toml")
    }

    /// The lock file of the workspace, and those of workspaces below it.
    pub(super) fn lock_files(&self) -> Result<Vec<PathBuf>> {
        self.files_named("Cargo.lock")
    }

    fn files_named(&self, name: &str) -> Result<Vec<PathBuf>> {
        let listed = git(&self.root, &["ls-files", "--", name, &format!("*/{name}")])?;
        Ok(listed.lines().map(|path| self.root.join(path)).collect())
    }

    /// Cargo, in this tree.
    pub(super) fn cargo(&self, workspace: &Workspace) -> Command {
        let mut cargo = workspace.cargo();
        cargo.current_dir(&self.root);
        cargo
    }

    pub(super) fn commit(&self, message: &str) -> Result<()> {
        git(&self.root, &["commit", "--quiet", "--all", "--message", message]).map(drop)
    }

    /// Moves the branch of the repository to the commit of this tree, and tags it.
    pub(super) fn release(&self, repository: &Path, version: &Version) -> Result<()> {
        let commit = git(&self.root, &["rev-parse", "HEAD"])?;
        git(repository, &["merge", "--quiet", "--ff-only", &commit])?;
        let message = format!("Daglight {version}");
        git(repository, &["tag", "--annotate", "--message", &message, &format!("v{version}"), &commit])
            .map(drop)
    }

    fn remove(&self) {
        let _ = Command::new("git")
            .args(["worktree", "remove", "--force"])
            .arg(&self.root)
            .current_dir(&self.repository)
            .stderr(Stdio::null())
            .status();
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.remove();
    }
}

/// What git prints, without the end of its last line.
pub(super) fn git(folder: &Path, arguments: &[&str]) -> Result<String> {
    let text = printed(Command::new("git").args(arguments).current_dir(folder))?;
    Ok(String::from_utf8(text).context("the answer of git")?.trim_end().to_owned())
}

/// The versions that have a tag.
pub(super) fn released(repository: &Path) -> Result<Vec<Version>> {
    let tags = git(repository, &["tag", "--list", "v*"])?;
    Ok(tags.lines().filter_map(|tag| tag.strip_prefix('v')?.parse().ok()).collect())
}
