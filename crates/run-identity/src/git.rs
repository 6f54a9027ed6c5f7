//! What git and the variables of continuous integration know about the working directory.

use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// How long git may take in total, so that a slow file system cannot delay the start of a run.
const DEADLINE: Duration = Duration::from_secs(2);

/// Variables with which a git hook redirects git to a repository other than that of the directory.
const REDIRECTIONS: [&str; 4] = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR"];

/// The commit from which a run was started. Unknown facts are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitFacts {
    /// The full commit hash.
    pub commit: Option<String>,
    /// The branch; `None` for a detached head.
    pub branch: Option<String>,
    /// The URL of the repository, without user and password.
    pub repo: Option<String>,
    /// Whether tracked files differ from the commit.
    pub dirty: Option<bool>,
}

impl GitFacts {
    /// The facts from the variables of GitHub or GitLab, if they apply to the checkout that contains `directory`, and the remaining
    /// ones from git. In continuous integration the head is usually detached, and only the variables contain the branch.
    ///
    /// `variable` looks up an environment variable.
    pub fn of_checkout(directory: &Path, variable: impl Fn(&str) -> Option<String>) -> Self {
        let given = Self::of_ci(directory, variable);
        let found = Self::of_directory(directory);
        Self {
            commit: given.commit.or(found.commit),
            branch: given.branch.or(found.branch),
            repo: given.repo.or(found.repo),
            dirty: found.dirty,
        }
    }

    /// Asks git about `directory`. Never fails: outside a repository, without git, or after more than two seconds, facts are
    /// unknown. For a repository that belongs to another user it is not determined whether files differ, because that may run
    /// programs that the repository configures.
    pub fn of_directory(directory: &Path) -> Self {
        let (sender, receiver) = mpsc::channel();
        let directory = directory.to_owned();
        // After the deadline nobody listens any more, and the thread ends with its next answer. This calls the command instead of a
        // library: `gix` and `libgit2` are dozens of crates for five facts, and would need the same handling of `safe.directory`,
        // worktrees and includes as git.
        let asked = thread::Builder::new()
            .name("daglight-git".into())
            .spawn(move || Self::ask(&directory, |facts| sender.send(facts.clone()).is_ok()));
        let mut facts = Self::default();
        if asked.is_ok() {
            let started = Instant::now();
            while let Ok(more) = receiver.recv_timeout(DEADLINE.saturating_sub(started.elapsed())) {
                // One by one as they are found: a repository whose status takes minutes still has its commit.
                facts = more;
            }
        }
        facts
    }

    /// Calls `found` with the known facts after each answer; continues while that returns true.
    fn ask(directory: &Path, found: impl Fn(&Self) -> bool) -> bool {
        if !may_be_in_repository(directory) {
            return false;
        }
        // All at once, because starting a process takes longer than git needs to answer.
        let commit = Question::ask(directory, &["rev-parse", "--verify", "--quiet", "HEAD"]);
        let repo = Question::ask(directory, &["config", "--get", "remote.origin.url"]);
        let branch = Question::ask(directory, &["symbolic-ref", "--short", "--quiet", "HEAD"]);
        let mut facts = Self { commit: commit.answer(), ..Self::default() };
        // The result is ignored here: the other processes were started and must be waited for.
        found(&facts);
        facts.repo = repo.answer().map(|url| without_credentials(&url));
        facts.branch = branch.answer();
        if !found(&facts) || facts.commit.is_none() {
            return false;
        }
        // Last, because it looks at every file; and without untracked files, which take most of the time.
        let status = ["status", "--porcelain", "--untracked-files=no"];
        // Not with `safe.directory=*` like the other commands: looking for changes runs filters and hooks that the repository
        // configures, which is code of its owner.
        let status = command(directory).args(status).output().ok();
        facts.dirty = status.and_then(answer).map(|changes| !changes.trim().is_empty());
        found(&facts)
    }

    fn of_ci(directory: &Path, variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| variable(name).filter(|text| !text.trim().is_empty());
        // A job may run a pipeline in another checkout, to which its variables do not apply.
        let is_about = |workspace: &str| match variable(workspace) {
            Some(workspace) => {
                let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
                real(directory).starts_with(real(Path::new(&workspace)))
            }
            None => true,
        };
        if let Some(commit) = variable("GITHUB_SHA").filter(|_| is_about("GITHUB_WORKSPACE")) {
            let is_tag = variable("GITHUB_REF_TYPE").as_deref() == Some("tag");
            let server = variable("GITHUB_SERVER_URL").unwrap_or_else(|| "https://github.com".to_owned());
            Self {
                commit: Some(commit),
                branch: variable("GITHUB_HEAD_REF")
                    // For a tag the variable contains the name of the tag, which is not a branch.
                    .or_else(|| variable("GITHUB_REF_NAME").filter(|_| !is_tag)),
                repo: variable("GITHUB_REPOSITORY")
                    .map(|name| without_credentials(&format!("{server}/{name}"))),
                dirty: None,
            }
        } else if let Some(commit) = variable("CI_COMMIT_SHA").filter(|_| is_about("CI_PROJECT_DIR")) {
            let is_tag = variable("CI_COMMIT_TAG").is_some();
            Self {
                commit: Some(commit),
                branch: variable("CI_COMMIT_BRANCH")
                    .or_else(|| variable("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME"))
                    // As above: for a tag it would be the name of the tag.
                    .or_else(|| variable("CI_COMMIT_REF_NAME").filter(|_| !is_tag)),
                repo: variable("CI_PROJECT_URL")
                    .or_else(|| variable("CI_REPOSITORY_URL"))
                    .map(|url| without_credentials(&url)),
                dirty: None,
            }
        } else {
            Self::default()
        }
    }
}

/// Whether git could find a repository: outside of one, no process has to be started.
fn may_be_in_repository(directory: &Path) -> bool {
    let Ok(directory) = directory.canonicalize() else { return true };
    let has = |folder: &Path, name| folder.join(name).symlink_metadata().is_ok();
    let is_bare = |folder: &Path| has(folder, "HEAD") && has(folder, "objects");
    directory.ancestors().any(|folder| has(folder, ".git") || is_bare(folder))
}

/// A question to git about a repository of any owner. These commands run nothing that the repository configures.
struct Question(Option<Child>);

impl Question {
    fn ask(directory: &Path, arguments: &[&str]) -> Self {
        let mut command = command(directory);
        Self(command.args(["-c", "safe.directory=*"]).args(arguments).stdout(Stdio::piped()).spawn().ok())
    }

    fn answer(self) -> Option<String> {
        answer(self.0?.wait_with_output().ok()?)
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    }
}

fn command(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command
        // Otherwise git would start a command that the repository configures.
        .args(["-c", "core.fsmonitor=false"])
        .current_dir(directory)
        // Otherwise a status would lock the index, and a simultaneous commit of the user would fail.
        .env("GIT_OPTIONAL_LOCKS", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    for variable in REDIRECTIONS {
        // In a git hook they refer to the repository of the hook.
        command.env_remove(variable);
    }
    command
}

fn answer(output: Output) -> Option<String> {
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `https://user:token@host/path?token` becomes `https://host/path`; `git@host:path` has no credential and is unchanged.
fn without_credentials(url: &str) -> String {
    let Some((scheme, place)) = url.split_once("://") else {
        return match url.rfind('@') {
            Some(at) if url[..at].contains(':') => url[at + 1..].to_owned(),
            _ => url.to_owned(),
        };
    };
    // A password may contain an unescaped slash or question mark; then what looks like the port is not a number.
    let authority = &place[..place.find(['/', '?', '#']).unwrap_or(place.len())];
    let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
    let searched = match authority.contains('@') || port.bytes().all(|byte| byte.is_ascii_digit()) {
        true => authority,
        false => place,
    };
    let place = searched.rfind('@').map_or(place, |at| &place[at + 1..]);
    format!("{scheme}://{}", &place[..place.find(['?', '#']).unwrap_or(place.len())])
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    /// Makes git treat every repository as owned by another user.
    const ALL_ARE_FOREIGN: &str = "GIT_TEST_ASSUME_DIFFERENT_OWNER";

    fn run(directory: &Path, arguments: &[&str]) {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=trunk"];
        let status = command(directory)
            .args(identity)
            .args(["-c", "protocol.file.allow=always"])
            .args(arguments)
            .env_remove(ALL_ARE_FOREIGN)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "git {arguments:?}");
    }

    fn repository() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), &["init"]);
        for text in ["1", "2"] {
            fs::write(dir.path().join("a"), text).unwrap();
            run(dir.path(), &["add", "a"]);
            run(dir.path(), &["commit", "-m", text]);
        }
        run(dir.path(), &["remote", "add", "origin", "https://me:secret@host.example/team/repo.git"]);
        dir
    }

    /// Checks which facts are known, and returns them.
    #[track_caller]
    fn check(directory: &Path, branch: Option<&str>, dirty: Option<bool>) -> GitFacts {
        let facts = GitFacts::of_directory(directory);
        assert_eq!(facts.commit.as_ref().map(String::len), Some(40));
        assert_eq!((facts.branch.as_deref(), facts.dirty), (branch, dirty));
        facts
    }

    #[test]
    fn a_repository_is_described_without_credentials() {
        let dir = repository();
        let facts = check(dir.path(), Some("trunk"), Some(false));
        assert_eq!(facts.repo.as_deref(), Some("https://host.example/team/repo.git"));
        fs::write(dir.path().join("a"), "3").unwrap();
        check(dir.path(), Some("trunk"), Some(true));
    }

    #[test]
    fn a_detached_head_has_no_branch() {
        let dir = repository();
        run(dir.path(), &["checkout", "--detach"]);
        check(dir.path(), None, Some(false));
    }

    #[test]
    fn a_worktree_is_that_of_its_branch() {
        let dir = repository();
        let other = tempfile::tempdir().unwrap();
        let path = other.path().join("tree");
        run(dir.path(), &["worktree", "add", "-b", "feature", path.to_str().unwrap()]);
        check(&path, Some("feature"), Some(false));
    }

    #[test]
    fn a_shallow_clone_has_its_commit() {
        let dir = repository();
        let other = tempfile::tempdir().unwrap();
        let clone: PathBuf = other.path().join("clone");
        let url = format!("file://{}", dir.path().display());
        run(other.path(), &["clone", "--depth", "1", &url, clone.to_str().unwrap()]);
        assert_eq!(check(&clone, Some("trunk"), Some(false)).repo, Some(url));
    }

    #[test]
    fn a_repository_without_commits_has_a_branch() {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), &["init"]);
        let expected = GitFacts { branch: Some("trunk".into()), ..GitFacts::default() };
        assert_eq!(GitFacts::of_directory(dir.path()), expected);
    }

    #[test]
    fn a_bare_repository_has_no_files_that_differ() {
        let dir = repository();
        let other = tempfile::tempdir().unwrap();
        let bare = other.path().join("bare.git");
        run(other.path(), &["clone", "--bare", dir.path().to_str().unwrap(), bare.to_str().unwrap()]);
        check(&bare, Some("trunk"), None);
    }

    #[test]
    fn a_submodule_is_described_itself() {
        let dir = repository();
        let inner = repository();
        run(dir.path(), &["submodule", "add", inner.path().to_str().unwrap(), "inner"]);
        run(dir.path(), &["commit", "-m", "3"]);
        let below = dir.path().join("inner");
        let facts = check(&below, Some("trunk"), Some(false));
        assert_eq!(facts.repo.as_deref(), inner.path().to_str());
        assert_ne!(facts.commit, check(dir.path(), Some("trunk"), Some(false)).commit);
        fs::write(below.join("a"), "3").unwrap();
        check(&below, Some("trunk"), Some(true));
    }

    #[test]
    fn a_folder_below_is_that_of_its_repository() {
        let dir = repository();
        let below = dir.path().join("sql/daily");
        fs::create_dir_all(&below).unwrap();
        check(&below, Some("trunk"), Some(false));
    }

    #[test]
    fn outside_of_repositories_nobody_is_asked() {
        let outside = tempfile::tempdir().unwrap();
        assert!(!may_be_in_repository(outside.path()));
        assert_eq!(GitFacts::of_directory(outside.path()), GitFacts::default());
        let dir = repository();
        assert!(may_be_in_repository(dir.path()) && may_be_in_repository(&dir.path().join(".git/refs")));
        // It does not exist, so git has to decide.
        assert!(may_be_in_repository(&outside.path().join("gone")));
    }

    #[test]
    fn a_damaged_repository_has_no_facts() {
        let dir = repository();
        fs::write(dir.path().join(".git/HEAD"), "x").unwrap();
        assert_eq!(GitFacts::of_directory(dir.path()), GitFacts::default());
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test runs itself once more under a variable")]
    fn of_another_users_repository_all_is_known_that_runs_nothing() {
        // Only root can change the owner of files, so git is made to treat every repository as owned by another user. Variables
        // apply to the whole process: the test runs itself again in a separate process.
        if std::env::var_os(ALL_ARE_FOREIGN).is_none() {
            let name = "git::tests::of_another_users_repository_all_is_known_that_runs_nothing";
            let again = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", name])
                .env(ALL_ARE_FOREIGN, "1")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&again.stdout);
            assert!(said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&again.stderr));
            return;
        }
        let dir = repository();
        let marker = dir.path().join("ran");
        fs::write(dir.path().join(".gitattributes"), "a filter=own").unwrap();
        run(dir.path(), &["config", "filter.own.clean", &format!("touch {}; cat", marker.display())]);
        fs::write(dir.path().join("a"), "3").unwrap();
        check(dir.path(), Some("trunk"), None);
        assert!(!marker.exists());
    }

    #[test]
    fn outside_a_repository_nothing_is_known() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(GitFacts::of_directory(dir.path()), GitFacts::default());
        assert_eq!(GitFacts::of_directory(&dir.path().join("nowhere")), GitFacts::default());
    }

    #[track_caller]
    fn check_ci(directory: &Path, variables: &[(&str, &str)], expected: [Option<&str>; 3]) {
        let variable = |name: &str| {
            variables.iter().find(|(given, _)| *given == name).map(|(_, text)| (*text).to_owned())
        };
        let facts = GitFacts::of_checkout(directory, variable);
        assert_eq!([facts.commit.as_deref(), facts.branch.as_deref(), facts.repo.as_deref()], expected);
    }

    #[test]
    fn ci_variables_say_what_git_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let push = [("GITHUB_SHA", "abc"), ("GITHUB_REF_NAME", "trunk"), ("GITHUB_REPOSITORY", "team/repo")];
        check_ci(dir.path(), &push, [Some("abc"), Some("trunk"), Some("https://github.com/team/repo")]);
        let pull = [("GITHUB_SHA", "abc"), ("GITHUB_REF_NAME", "7/merge"), ("GITHUB_HEAD_REF", "feature")];
        check_ci(dir.path(), &pull, [Some("abc"), Some("feature"), None]);
        let tag = [("GITHUB_SHA", "abc"), ("GITHUB_REF_NAME", "v1"), ("GITHUB_REF_TYPE", "tag")];
        check_ci(dir.path(), &tag, [Some("abc"), None, None]);
        let merge = [
            ("CI_COMMIT_SHA", "abc"),
            ("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "feature"),
            ("CI_REPOSITORY_URL", "https://gitlab-ci-token:secret@host/team/repo.git"),
        ];
        check_ci(dir.path(), &merge, [Some("abc"), Some("feature"), Some("https://host/team/repo.git")]);
        let branch =
            [("CI_COMMIT_SHA", "abc"), ("CI_COMMIT_BRANCH", "trunk"), ("CI_PROJECT_URL", "https://h/a/b")];
        check_ci(dir.path(), &branch, [Some("abc"), Some("trunk"), Some("https://h/a/b")]);
        check_ci(
            dir.path(),
            &[("CI_COMMIT_SHA", "abc"), ("CI_COMMIT_TAG", "v1"), ("CI_COMMIT_REF_NAME", "v1")],
            [Some("abc"), None, None],
        );
        let server = [
            ("GITHUB_SHA", "abc"),
            ("GITHUB_HEAD_REF", ""),
            ("GITHUB_REF_NAME", "trunk"),
            ("GITHUB_SERVER_URL", "https://token@git.example"),
            ("GITHUB_REPOSITORY", "team/repo"),
        ];
        check_ci(dir.path(), &server, [Some("abc"), Some("trunk"), Some("https://git.example/team/repo")]);
    }

    #[test]
    fn ci_variables_name_the_branch_of_a_detached_head() {
        let dir = repository();
        run(dir.path(), &["checkout", "--detach"]);
        let pull = [("GITHUB_SHA", "abc"), ("GITHUB_HEAD_REF", "feature")];
        check_ci(
            dir.path(),
            &pull,
            [Some("abc"), Some("feature"), Some("https://host.example/team/repo.git")],
        );
    }

    #[test]
    fn ci_variables_about_another_folder_are_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let variables = [("GITHUB_SHA", "abc"), ("GITHUB_WORKSPACE", other.path().to_str().unwrap())];
        check_ci(dir.path(), &variables, [None, None, None]);
        check_ci(other.path(), &variables, [Some("abc"), None, None]);
    }

    #[test]
    fn credentials_of_urls_go() {
        for (url, expected) in [
            ("https://me:to/k@en@host/a/b.git", "https://host/a/b.git"),
            ("https://token@host:8443/a.git?private_token=x#y", "https://host:8443/a.git"),
            ("https://me:p?w#@host/a.git?x", "https://host/a.git"),
            ("https://host/a@b", "https://host/a@b"),
            ("ssh://git@host:22/a.git", "ssh://host:22/a.git"),
            ("oauth2:token@host/a.git", "host/a.git"),
            ("git@host:team/a.git", "git@host:team/a.git"),
            ("/srv/git/a.git", "/srv/git/a.git"),
        ] {
            assert_eq!(without_credentials(url), expected);
        }
    }
}
