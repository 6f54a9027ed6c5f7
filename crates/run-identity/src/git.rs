//! What git knows about the working directory.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// How long git may take in all, so that a slow file system cannot hold up the start of a run.
const DEADLINE: Duration = Duration::from_secs(2);

/// The commit that a run was made from. What is not known is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitFacts {
    /// The full commit hash.
    pub commit: Option<String>,
    /// The branch; `None` for a detached head.
    pub branch: Option<String>,
    /// The URL of `origin`, without user and password.
    pub repo: Option<String>,
    /// Whether tracked files differ from the commit.
    pub dirty: Option<bool>,
}

impl GitFacts {
    /// Asks git about `directory`. Outside a repository, without git, or when it takes longer than two seconds, the
    /// facts are unknown; it never fails.
    pub fn of_directory(directory: &Path) -> Self {
        let (sender, receiver) = mpsc::channel();
        let directory = directory.to_owned();
        let asked = thread::Builder::new().name("daglight-git".into()).spawn(move || {
            let _ = sender.send(Self::ask(&directory));
        });
        match asked {
            Ok(_) => receiver.recv_timeout(DEADLINE).unwrap_or_default(),
            Err(_) => Self::default(),
        }
    }

    fn ask(directory: &Path) -> Self {
        let Some(commit) = git(directory, &["rev-parse", "--verify", "HEAD"]) else {
            return Self { repo: remote(directory), ..Self::default() };
        };
        Self {
            commit: Some(commit),
            branch: git(directory, &["symbolic-ref", "--short", "--quiet", "HEAD"]),
            repo: remote(directory),
            dirty: git_raw(directory, &["status", "--porcelain", "--untracked-files=no"])
                .map(|changes| !changes.trim().is_empty()),
        }
    }
}

fn remote(directory: &Path) -> Option<String> {
    git(directory, &["config", "--get", "remote.origin.url"]).map(|url| without_credentials(&url))
}

fn git(directory: &Path, arguments: &[&str]) -> Option<String> {
    git_raw(directory, arguments).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn git_raw(directory: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        // A repository of another user is only read here, and nothing of it is run.
        .args(["-c", "safe.directory=*", "-c", "core.fsmonitor=false"])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `https://user:token@host/path` becomes `https://host/path`; `git@host:path` has no credential and stays.
fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(directory: &Path, arguments: &[&str]) {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=trunk"];
        let status = Command::new("git")
            .args(identity)
            .args(arguments)
            .current_dir(directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "git {arguments:?}");
    }

    fn repository() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), &["init"]);
        std::fs::write(dir.path().join("a"), "1").unwrap();
        run(dir.path(), &["add", "a"]);
        run(dir.path(), &["commit", "-m", "first"]);
        run(dir.path(), &["remote", "add", "origin", "https://me:secret@host.example/team/repo.git"]);
        dir
    }

    #[test]
    fn a_repository_is_described_without_credentials() {
        let dir = repository();
        let facts = GitFacts::of_directory(dir.path());
        assert_eq!(facts.commit.as_ref().map(String::len), Some(40));
        assert_eq!(facts.branch.as_deref(), Some("trunk"));
        assert_eq!(facts.repo.as_deref(), Some("https://host.example/team/repo.git"));
        assert_eq!(facts.dirty, Some(false));
        std::fs::write(dir.path().join("a"), "2").unwrap();
        assert_eq!(GitFacts::of_directory(dir.path()).dirty, Some(true));
    }

    #[test]
    fn a_detached_head_has_no_branch() {
        let dir = repository();
        run(dir.path(), &["checkout", "--detach"]);
        let facts = GitFacts::of_directory(dir.path());
        assert_eq!((facts.commit.is_some(), facts.branch), (true, None));
    }

    #[test]
    fn outside_a_repository_nothing_is_known() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(GitFacts::of_directory(dir.path()), GitFacts::default());
    }
}
