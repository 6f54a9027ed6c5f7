//! The packages of the crates, as a registry would get them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// A member of the workspace, as `cargo metadata` describes it.
#[derive(Debug, Deserialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) manifest_path: PathBuf,
    /// The registries that it may be published to: none of them where this is empty, every one without it.
    publish: Option<Vec<String>>,
    description: Option<String>,
    documentation: Option<String>,
    keywords: Vec<String>,
    categories: Vec<String>,
    license: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
}

/// What a member is built from, or tested with.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` for a normal one.
    pub(crate) kind: Option<String>,
    /// The folder of a member.
    pub(crate) path: Option<PathBuf>,
    pub(crate) req: String,
}

impl Member {
    pub(crate) fn is_published(&self) -> bool {
        self.publish.as_ref().is_none_or(|registries| !registries.is_empty())
    }

    /// What a package needs and this member lacks.
    fn lacks(&self) -> Vec<String> {
        let mut lacks = Vec::new();
        let mut need = |is_there: bool, what: &str| {
            if !is_there {
                lacks.push(format!("{} has no {what}", self.name));
            }
        };
        need(self.description.is_some(), "description");
        need(self.documentation.is_some(), "documentation");
        need(!self.keywords.is_empty(), "keywords");
        need(!self.categories.is_empty(), "categories");
        need(self.license.is_some(), "license");
        for dependency in &self.dependencies {
            let is_built_from = dependency.kind.as_deref() != Some("dev");
            if is_built_from && dependency.path.is_some() {
                need(dependency.req != "*", &format!("version of {}", dependency.name));
            }
        }
        lacks
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Member>,
}

/// The members of a workspace. `cargo` is the program, in the workspace.
pub(crate) fn members(mut cargo: Command) -> Result<Vec<Member>> {
    let output = cargo.args(["metadata", "--format-version", "1", "--no-deps"]).output()?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("the answer of cargo metadata")?;
    Ok(metadata.packages)
}

/// The members that are published, each behind those that it is built from.
pub(crate) fn in_dependency_order(members: &[Member]) -> Vec<&Member> {
    let mut left: BTreeMap<&str, &Member> =
        members.iter().filter(|member| member.is_published()).map(|member| (&*member.name, member)).collect();
    let mut ordered = Vec::new();
    // Cargo has refused a circle before.
    while let Some(name) = left.iter().find(|(_, member)| is_free(member, &left)).map(|(name, _)| *name) {
        ordered.extend(left.remove(name));
    }
    ordered
}

fn is_free(member: &Member, left: &BTreeMap<&str, &Member>) -> bool {
    member
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind.as_deref() != Some("dev"))
        .all(|dependency| !left.contains_key(&*dependency.name))
}

/// Packages the published members below the target folder `target`, and gives the packages in the order in which a registry
/// takes them.
///
/// They are not built from what was packaged, which would compile DataFusion for each of a dozen crates.
///
/// # Errors
/// With everything that a member lacks, and where cargo refuses one.
pub(crate) fn package(cargo: impl Fn() -> Command, target: &Path, options: &[&str]) -> Result<Vec<PathBuf>> {
    let members = members(cargo())?;
    let published = in_dependency_order(&members);
    let lacks: Vec<String> = published.iter().flat_map(|member| member.lacks()).collect();
    ensure!(lacks.is_empty(), "not ready to be packaged:\n  {}", lacks.join("\n  "));
    let mut command = cargo();
    command.args(["package", "--quiet", "--no-verify", "--target-dir"]).arg(target).args(options);
    for member in &published {
        command.args(["--package", &member.name]);
    }
    let output = command.output().context("starting `cargo package`")?;
    ensure!(output.status.success(), "cargo package: {}", String::from_utf8_lossy(&output.stderr));
    let file = |member: &&Member| target.join(format!("package/{}-{}.crate", member.name, member.version));
    Ok(published.iter().map(file).collect())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fmt::Write as _, fs, process::Stdio};

    use dev_services::Workspace;

    use super::*;

    /// Of a tree that is being changed, without asking a registry.
    const OPTIONS: [&str; 3] = ["--allow-dirty", "--offline", "--exclude-lockfile"];
    /// Has no DataFusion below it, and what it reads from the pages of the documentation.
    const REPORT: &str = "daglight-bundle-report";

    fn unpack(package: &Path, folder: &Path) -> PathBuf {
        let mut tar = Command::new("tar");
        // With new times: those in a package are older than anything that cargo has built before.
        dev_services::run(tar.arg("-xzmf").arg(package).arg("-C").arg(folder)).unwrap();
        folder.join(package.file_stem().unwrap())
    }

    #[test]
    fn packages_have_a_licence_a_readme_and_what_a_registry_wants() {
        let workspace = Workspace::locate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let packages = package(|| workspace.cargo(), folder.path(), &OPTIONS).unwrap();
        let crates = fs::read_dir(workspace.root().join("crates")).unwrap();
        let crates = crates.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
        assert_eq!(packages.len(), crates);
        let licence = fs::read_to_string(workspace.root().join("LICENSE")).unwrap();
        for package in &packages {
            let unpacked = unpack(package, folder.path());
            assert_eq!(fs::read_to_string(unpacked.join("LICENSE")).unwrap(), licence, "{unpacked:?}");
            let readme = fs::read_to_string(unpacked.join("README.md")).unwrap();
            assert!(readme.contains("Daglight"), "{unpacked:?}: {readme}");
            let manifest: toml::Table =
                fs::read_to_string(unpacked.join("Cargo.toml")).unwrap().parse().unwrap();
            assert!(manifest["package"]["metadata"]["docs"]["rs"].is_table(), "{unpacked:?}");
            assert!(!unpacked.join("tests").exists() && !unpacked.join("benches").exists(), "{unpacked:?}");
        }
    }

    #[test]
    fn a_package_is_behind_those_that_it_is_built_from() {
        let members = members(Workspace::locate().unwrap().cargo()).unwrap();
        let ordered = in_dependency_order(&members);
        let mut before = BTreeSet::new();
        for member in &ordered {
            let built_from = member
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind.as_deref() != Some("dev") && dependency.path.is_some());
            for dependency in built_from {
                assert!(before.contains(&*dependency.name), "{} before {}", member.name, dependency.name);
            }
            before.insert(&*member.name);
        }
        assert_eq!(ordered.last().map(|member| &*member.name), Some("daglight-cli"));
    }

    /// What is read at compile time from beside a crate is not in its package.
    #[test]
    fn packages_that_do_not_link_datafusion_are_built_outside_of_the_workspace() {
        let workspace = Workspace::locate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let packages = package(|| workspace.cargo(), folder.path(), &OPTIONS).unwrap();
        let (mut outside, mut patches) = (vec![], String::new());
        for package in &packages {
            let unpacked = unpack(package, folder.path());
            let name = unpacked.file_name().unwrap().to_str().unwrap().to_owned();
            let crate_name = name.rsplit_once('-').unwrap().0.to_owned();
            writeln!(patches, "{crate_name} = {{ path = \"{name}\" }}").unwrap();
            outside.extend((crate_name == REPORT).then_some(name));
        }
        let manifest = format!(
            "[workspace]\nresolver = \"3\"\nmembers = {outside:?}\n[patch.crates-io]\n{patches}\
             [profile.dev]\ndebug = false\n"
        );
        fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        // The versions that are on this machine already.
        fs::copy(workspace.root().join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
        let schema = workspace
            .cargo()
            .current_dir(folder.path())
            .args(["run", "--quiet", "--offline", "--package", REPORT, "--example", "schema"])
            .arg("--target-dir")
            .arg(workspace.scratch().join("packages"))
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(schema.status.success());
        let expected = fs::read(workspace.root().join("docs/run_diagnostics_report.schema.json")).unwrap();
        assert!(schema.stdout == expected, "the schema of the packaged crate is another one");
    }

    #[test]
    fn what_a_registry_wants_is_named_where_it_is_missing() {
        let member: Member = serde_json::from_str(
            r#"{"name": "a", "version": "1.0.0", "manifest_path": "/a/Cargo.toml", "publish": null, "description": "A.", "documentation": null,
                "keywords": [], "categories": ["database"], "license": "Apache-2.0", "dependencies": [
                    {"name": "b", "kind": null, "path": "/b", "req": "*"},
                    {"name": "c", "kind": "dev", "path": "/c", "req": "*"}]}"#,
        )
        .unwrap();
        assert!(member.is_published());
        assert_eq!(member.lacks(), ["a has no documentation", "a has no keywords", "a has no version of b"]);
    }
}
