//! `cargo xtask release VERSION`: checks, versions and changelog, packages of the crates, and an archive of the command.
//!
//! Everything but the checks happens in a separate working tree, in the target folder. With `--execute`, and when all else has worked,
//! the branch is moved to the commit that was made there and gets a tag. Nothing is pushed or published.

mod archive;
mod changelog;
mod programs;
mod sbom;
mod tree;
mod versions;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use dev_services::Workspace;
use semver::Version;

use crate::{api, codegen, packages, release::tree::Tree, test, wheel};

const MANIFEST: &str = "Cargo.toml";
const CHANGELOG: &str = "CHANGELOG.md";

/// Options of the command.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The new version, such as 0.2.0
    version: Version,
    /// Commit the versions and the changelog, and tag the commit. Without it, the working tree and its branch stay as they are
    #[arg(long)]
    execute: bool,
    /// The tests have passed on this commit: do not run them again
    #[arg(long)]
    tested: bool,
    /// The build profile of the command
    #[arg(long, default_value = "release")]
    profile: String,
}

/// A part of a release that can fail, and what to do then.
struct Step {
    name: &'static str,
    remedy: &'static str,
    run: fn(&mut Release<'_>) -> Result<()>,
}

const STEPS: &[Step] = &[
    Step {
        name: "version",
        remedy: "name one that is above all that were released",
        run: |release| release.check_version(),
    },
    Step {
        name: "clean tree",
        remedy: "commit what is to be released, and stash the rest",
        run: |release| release.check_clean(),
    },
    Step {
        name: "changelog",
        remedy: "write in CHANGELOG.md, under Unreleased, what is new for users",
        run: |release| release.check_changelog(),
    },
    Step {
        name: "generated files",
        remedy: "run `cargo xtask codegen` and commit what changed",
        run: |_| codegen::run(true),
    },
    Step {
        name: "public API",
        remedy: "run `cargo xtask api` and commit what changed; where users lose something, name a version that says so",
        run: |release| release.check_api(),
    },
    Step {
        name: "tests",
        remedy: "run `cargo xtask test` until it passes; --tested leaves this step out",
        run: |release| release.test(),
    },
    Step {
        name: "commit of the release",
        remedy: "see that Cargo.toml has versions as `version = \"...\"`, one a line",
        run: |release| release.commit(),
    },
    Step {
        name: "packages",
        remedy: "run `cargo package --workspace --no-verify`, which says more",
        run: |release| release.package(),
    },
    Step {
        name: "build of the command",
        remedy: "run `cargo build --workspace --bins` with the same profile",
        run: |release| release.build(),
    },
    Step {
        name: "archive",
        remedy: "see whether the disk is full, and whether `strip` is installed (binutils)",
        run: |release| release.archive(),
    },
    Step {
        name: "wheel",
        remedy: "run `cargo xtask wheel` with the same profile",
        run: |release| release.wheel(),
    },
    Step {
        name: "branch and tag",
        remedy: "the branch must not have moved meanwhile: run the command again",
        run: |release| release.move_branch(),
    },
];

/// What the steps pass on.
struct Release<'a> {
    options: &'a Options,
    workspace: Workspace,
    /// The repository.
    root: PathBuf,
    /// Where packages and archive are put.
    dist: PathBuf,
    tree: Option<Tree>,
    program: PathBuf,
}

/// Does all steps. What was made is in `dist` of the target folder.
pub(crate) fn run(options: &Options) -> Result<()> {
    let workspace = Workspace::locate()?;
    let dist = workspace.target().join("dist");
    let root = workspace.root().to_owned();
    let mut release = Release { options, workspace, root, dist, tree: None, program: PathBuf::new() };
    run_steps(STEPS, &mut release)?;
    release.say_what_is_left();
    Ok(())
}

fn run_steps(steps: &[Step], release: &mut Release<'_>) -> Result<()> {
    for (number, step) in (1..).zip(steps) {
        eprintln!("release {}: {number}/{} {}", release.options.version, steps.len(), step.name);
        (step.run)(release).with_context(|| {
            format!("the release stopped at step {number}, {}. What to do: {}. Cause", step.name, step.remedy)
        })?;
    }
    Ok(())
}

impl Release<'_> {
    fn tree(&self) -> Result<&Tree> {
        self.tree.as_ref().context("the tree of the release is made by an earlier step")
    }

    fn check_version(&mut self) -> Result<()> {
        let manifest = fs::read_to_string(self.root.join(MANIFEST)).context(MANIFEST)?;
        let released = tree::released(&self.root)?;
        check_version(&self.options.version, &versions::current(&manifest)?, &released)
    }

    fn check_clean(&mut self) -> Result<()> {
        let changed = tree::git(&self.root, &["status", "--porcelain"])?;
        ensure!(changed.is_empty(), "files differ from the last commit:\n{changed}");
        Ok(())
    }

    fn check_changelog(&mut self) -> Result<()> {
        let text = fs::read_to_string(self.root.join(CHANGELOG)).context(CHANGELOG)?;
        changelog::released(&text, &self.options.version, "DATE").map(drop)
    }

    fn check_api(&mut self) -> Result<()> {
        api::run(true)?;
        let released = tree::released(&self.root)?;
        // The first release takes nothing from anybody.
        let Some(latest) = released.iter().max() else { return Ok(()) };
        let lost = api::lost_since(&self.root, &format!("v{latest}"))?;
        check_compatible(&self.options.version, latest, &lost)
    }

    fn test(&mut self) -> Result<()> {
        if self.options.tested { Ok(()) } else { test::run(&test::Options::default()) }
    }

    fn commit(&mut self) -> Result<()> {
        let version = &self.options.version;
        let tree = Tree::new(&self.root, &self.dist.with_file_name("release-tree"))?;
        let date = tree::git(&self.root, &["log", "-1", "--format=%cs"])?;
        for member in tree.manifests()? {
            rewrite(&member, |text| Ok(versions::set(text, version)))?;
        }
        rewrite(&tree.root().join(CHANGELOG), |text| changelog::released(text, version, &date))?;
        let locked = fs::read_to_string(tree.root().join("Cargo.lock")).context("reading Cargo.lock")?;
        let members = versions::members(&locked);
        // Also of what is a separate workspace and uses members of this one.
        for lock_file in tree.lock_files()? {
            rewrite(&lock_file, |text| Ok(versions::set_locked(text, &members, version)))?;
        }
        tree.commit(&format!("Release {version}"))?;
        self.tree = Some(tree);
        Ok(())
    }

    fn package(&mut self) -> Result<()> {
        let tree = self.tree()?;
        let target = self.workspace.target().join("release-packages");
        let packages = packages::package(|| tree.cargo(&self.workspace), &target, &["--offline"])?;
        let folder = self.dist.join("crates");
        empty_folder(&self.dist)?;
        fs::create_dir_all(&folder)?;
        for package in packages {
            let name = package.file_name().context("a package is a file")?;
            fs::copy(&package, folder.join(name))
                .with_context(|| format!("copying {}", package.display()))?;
        }
        Ok(())
    }

    fn build(&mut self) -> Result<()> {
        let profile = &self.options.profile;
        // All members, as everything else is built: with another selection DataFusion would be compiled again.
        let mut cargo = self.tree()?.cargo(&self.workspace);
        cargo.args(["build", "--quiet", "--workspace", "--bins", "--locked", "--profile", profile]);
        dev_services::run(cargo.arg("--target-dir").arg(self.workspace.target()))?;
        let folder = if profile == "dev" { "debug" } else { profile };
        self.program = self.workspace.binary("daglight", folder)?;
        Ok(())
    }

    fn archive(&mut self) -> Result<()> {
        let tree = self.tree()?;
        let bill = sbom::of_program(|| tree.cargo(&self.workspace), tree.root())?;
        let archive =
            archive::make(&self.program, tree.root(), &bill, &self.dist, &self.options.version.to_string())?;
        archive::check(&archive, &self.options.version.to_string())?;
        eprintln!("  {}", archive.display());
        Ok(())
    }

    fn wheel(&mut self) -> Result<()> {
        let wheel = wheel::build(&self.workspace, self.tree()?.root(), &self.options.profile, &self.dist)?;
        eprintln!("  {}", wheel.display());
        Ok(())
    }

    fn move_branch(&mut self) -> Result<()> {
        if self.options.execute { self.tree()?.release(&self.root, &self.options.version) } else { Ok(()) }
    }

    fn say_what_is_left(&self) {
        let (version, dist) = (&self.options.version, self.dist.display());
        eprintln!("release {version}: packages, archive, checksum and bill of materials are in {dist}");
        match self.options.execute {
            true => eprintln!(
                "left to do: `git push origin HEAD v{version}`, `cargo publish --workspace --no-verify`, and the archive"
            ),
            false => eprintln!("nothing was changed: --execute commits and tags"),
        }
    }
}

fn check_version(new: &Version, current: &Version, released: &[Version]) -> Result<()> {
    ensure!(new.build.is_empty(), "{new} has build metadata, which registries do not tell apart");
    if let Some(latest) = released.iter().max() {
        ensure!(new > latest, "{new} is not above {latest}, which was released");
    }
    ensure!(new >= current, "{new} is below {current}, the version of the workspace");
    Ok(())
}

/// By the rules of Cargo: below 1.0.0, the second number says that something is incompatible.
fn check_compatible(new: &Version, latest: &Version, lost: &[String]) -> Result<()> {
    let leading = |version: &Version| (version.major, if version.major == 0 { version.minor } else { 0 });
    ensure!(
        lost.is_empty() || leading(new) > leading(latest),
        "{new} is to be compatible with {latest}, of which users lose:\n  {}",
        lost.join("\n  ")
    );
    Ok(())
}

fn rewrite(file: &Path, change: impl FnOnce(&str) -> Result<String>) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let changed = change(&text).with_context(|| format!("changing {}", file.display()))?;
    fs::write(file, changed).with_context(|| format!("writing {}", file.display()))
}

/// A folder with nothing in it. What an earlier release left there would be taken for this one's.
fn empty_folder(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const CHANGES: &str = "# Changelog\n\n## Unreleased\n\n### Added\n- All of it.\n";

    fn options(version: &str, execute: bool) -> Options {
        Options { version: version.parse().unwrap(), execute, tested: true, profile: "dev".to_owned() }
    }

    /// A repository with a workspace of two crates, one of which uses the other.
    fn repository() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("repository");
        let member = |name: &str, rest: &str| {
            let manifest =
                format!("[package]\nname = \"{name}\"\nversion.workspace = true\nedition = \"2024\"\n{rest}");
            fs::create_dir_all(root.join(name).join("src")).unwrap();
            fs::write(root.join(name).join("Cargo.toml"), manifest).unwrap();
            fs::write(root.join(name).join("src/lib.rs"), "").unwrap();
        };
        member("low", "");
        member("high", "[dependencies]\nlow.workspace = true\n");
        let manifest = "[workspace]\nresolver = \"3\"\nmembers = [\"low\", \"high\"]\n\n[workspace.package]\nversion = \"0.1.0\"\n\n\
                        [workspace.dependencies]\nlow = { path = \"low\", version = \"0.1.0\" }\n";
        fs::write(root.join(MANIFEST), manifest).unwrap();
        fs::write(root.join(CHANGELOG), CHANGES).unwrap();
        fs::write(root.join(".gitignore"), "target\n").unwrap();
        dev_services::run(Command::new("cargo").args(["generate-lockfile", "--offline"]).current_dir(&root))
            .unwrap();
        for arguments in [
            &["init", "--quiet", "--initial-branch", "main"][..],
            &["config", "user.name", "A"],
            &["config", "user.email", "a@example.com"],
            &["add", "--all"],
            &["commit", "--quiet", "--message", "First"],
        ] {
            tree::git(&root, arguments).unwrap();
        }
        folder
    }

    /// Does the steps that do not build or test the workspace of Daglight.
    fn release(repository: &Path, version: &str, execute: bool) -> Result<()> {
        let steps = STEPS.iter().filter(|step| {
            !["generated files", "public API", "packages", "build of the command", "archive", "wheel"]
                .contains(&step.name)
        });
        let steps: Vec<Step> = steps.map(|step| Step { ..*step }).collect();
        let mut release = Release {
            options: &options(version, execute),
            workspace: Workspace::locate().unwrap(),
            root: repository.join("repository"),
            dist: repository.join("target/dist"),
            tree: None,
            program: PathBuf::new(),
        };
        run_steps(&steps, &mut release)
    }

    fn git(repository: &Path, arguments: &[&str]) -> String {
        tree::git(&repository.join("repository"), arguments).unwrap()
    }

    #[test]
    fn a_dry_run_changes_nothing() {
        let repository = repository();
        let before = git(repository.path(), &["rev-parse", "HEAD"]);
        release(repository.path(), "0.2.0", false).unwrap();
        let state = ["status", "--porcelain"];
        assert_eq!(git(repository.path(), &["rev-parse", "HEAD"]), before);
        assert_eq!(git(repository.path(), &state), "");
        assert_eq!(git(repository.path(), &["tag"]), "");
        assert_eq!(git(repository.path(), &["worktree", "list"]).lines().count(), 1);
    }

    #[test]
    fn a_release_is_a_commit_with_versions_and_changelog_and_has_a_tag() {
        let repository = repository();
        release(repository.path(), "0.2.0", true).unwrap();
        let root = repository.path().join("repository");
        let read = |file: &str| fs::read_to_string(root.join(file)).unwrap();
        assert!(read(CHANGELOG).contains("## Unreleased\n\n## 0.2.0 - 2"), "{}", read(CHANGELOG));
        assert!(read(MANIFEST).contains("path = \"low\", version = \"0.2.0\""), "{}", read(MANIFEST));
        assert_eq!(read("Cargo.lock").matches("version = \"0.2.0\"").count(), 2);
        assert_eq!(git(repository.path(), &["log", "-1", "--format=%s"]), "Release 0.2.0");
        assert_eq!(git(repository.path(), &["describe", "--exact-match"]), "v0.2.0");
        assert_eq!(git(repository.path(), &["status", "--porcelain"]), "");

        let again = release(repository.path(), "0.2.0", true).unwrap_err();
        let again = format!("{again:#}");
        assert!(again.contains("step 1, version") && again.contains("0.2.0 is not above 0.2.0"), "{again}");
        let nothing_new = format!("{:#}", release(repository.path(), "0.3.0", true).unwrap_err());
        assert!(
            nothing_new.contains("step 3, changelog. What to do: write in CHANGELOG.md"),
            "{nothing_new}"
        );
        assert!(nothing_new.ends_with("nothing is listed under Unreleased"), "{nothing_new}");
    }

    #[test]
    fn a_tree_with_changes_is_not_released() {
        let repository = repository();
        fs::write(repository.path().join("repository/low/src/lib.rs"), "//! More.\n").unwrap();
        let error = format!("{:#}", release(repository.path(), "0.2.0", true).unwrap_err());
        assert!(
            error.contains("step 2, clean tree. What to do: commit") && error.contains("low/src/lib.rs"),
            "{error}"
        );
        assert_eq!(git(repository.path(), &["tag"]), "");
    }

    #[track_caller]
    fn check_refused(new: &str, current: &str, released: &[&str], expected: &str) {
        let released: Vec<Version> = released.iter().map(|version| version.parse().unwrap()).collect();
        let checked = check_version(&new.parse().unwrap(), &current.parse().unwrap(), &released);
        assert_eq!(checked.err().map(|error| error.to_string()).unwrap_or_default(), expected);
    }

    #[test]
    fn what_users_lose_needs_a_version_that_says_so() {
        let lost = ["a: - pub fn b()".to_owned()];
        let is_refused = |new: &str, latest: &str, lost: &[String]| {
            check_compatible(&new.parse().unwrap(), &latest.parse().unwrap(), lost).is_err()
        };
        assert!(is_refused("0.1.1", "0.1.0", &lost) && is_refused("1.3.0", "1.2.0", &lost));
        assert!(!is_refused("0.2.0", "0.1.0", &lost) && !is_refused("2.0.0", "1.2.0", &lost));
        assert!(!is_refused("0.1.1", "0.1.0", &[]));
    }

    #[test]
    fn what_went_of_a_list_is_lost_to_its_users() {
        let repository = repository();
        let root = repository.path().join("repository");
        fs::write(root.join("low").join(api::FILE), "pub fn a()\npub fn b()\n").unwrap();
        for arguments in
            [&["add", "--all"][..], &["commit", "--quiet", "--message", "List"], &["tag", "v0.1.0"]]
        {
            tree::git(&root, arguments).unwrap();
        }
        fs::write(root.join("low").join(api::FILE), "pub fn a()\npub fn c()\n").unwrap();
        assert_eq!(api::lost_since(&root, "v0.1.0").unwrap(), ["low/public-api.txt: - pub fn b()"]);
    }

    #[test]
    fn versions_only_rise() {
        check_refused("0.1.0", "0.1.0", &[], "");
        check_refused("0.2.0", "0.1.0", &["0.1.0"], "");
        check_refused("0.1.0", "0.1.0", &["0.1.0"], "0.1.0 is not above 0.1.0, which was released");
        check_refused(
            "0.2.0-rc.1",
            "0.2.0",
            &["0.1.0"],
            "0.2.0-rc.1 is below 0.2.0, the version of the workspace",
        );
        check_refused(
            "1.0.0+a",
            "0.1.0",
            &[],
            "1.0.0+a has build metadata, which registries do not tell apart",
        );
    }
}
