//! The version of the workspace, in its manifests and in lock files.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use semver::Version;
use toml::Table;

/// The version that a workspace has, by its manifest.
pub(super) fn current(manifest: &str) -> Result<Version> {
    let table: Table = manifest.parse().context("Cargo.toml is not TOML")?;
    let version =
        table.get("workspace").and_then(|workspace| workspace.get("package")?.get("version")?.as_str());
    version
        .context("Cargo.toml has no workspace.package.version")?
        .parse()
        .context("workspace.package.version")
}

/// The manifest with `version` for the workspace, and for the dependencies on its members: those that name a folder.
pub(super) fn set(manifest: &str, version: &Version) -> String {
    let mut section = "";
    let mut changed = String::new();
    for line in manifest.split_inclusive('\n') {
        if line.starts_with('[') {
            section = line.trim();
        }
        let is_own = section == "[workspace.package]" && line.starts_with("version = ");
        let is_member = section.contains("dependencies") && line.contains("path = ");
        changed.push_str(&if is_own || is_member { with_version(line, version) } else { line.to_owned() });
    }
    changed
}

/// The names of the packages in a lock file that come from folders: in that of the workspace, its members.
pub(super) fn members(lock_file: &str) -> BTreeSet<&str> {
    packages(lock_file).filter(|package| is_of_a_folder(package)).filter_map(name).collect()
}

/// The lock file with `version` for these packages, where they come from folders. All else stays: a release does not choose other
/// dependencies.
pub(super) fn set_locked(lock_file: &str, members: &BTreeSet<&str>, version: &Version) -> String {
    let set = |package: &str| {
        let is_member = is_of_a_folder(package) && name(package).is_some_and(|name| members.contains(name));
        let line = |line: &str| {
            if is_member && line.starts_with("version = ") {
                with_version(line, version)
            } else {
                line.to_owned()
            }
        };
        package.split_inclusive('\n').map(line).collect::<String>()
    };
    packages(lock_file).map(set).collect()
}

/// A package each, behind what stands above all of them.
fn packages(lock_file: &str) -> impl Iterator<Item = &str> {
    lock_file.split_inclusive("\n\n")
}

fn is_of_a_folder(package: &str) -> bool {
    !package.lines().any(|line| line.starts_with("source = "))
}

fn name(package: &str) -> Option<&str> {
    package.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
}

fn with_version(line: &str, version: &Version) -> String {
    const KEY: &str = "version = \"";
    let Some((before, rest)) = line.split_once(KEY) else { return line.to_owned() };
    let Some((_, after)) = rest.split_once('"') else { return line.to_owned() };
    format!("{before}{KEY}{version}\"{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[workspace.package]\nversion = \"0.1.0\"\n\n[workspace.dependencies]\n\
        a = { path = \"crates/a\", version = \"0.1.0\" }\nb = { path = \"b\" }\nc = { version = \"0.1.0\", features = [] }\n\
        [package]\nversion = \"0.1.0\"\n";

    const LOCK_FILE: &str = "# Made by cargo.\nversion = 4\n\n[[package]]\nname = \"low\"\nversion = \"0.1.0\"\n\n\
        [[package]]\nname = \"serde\"\nversion = \"1.0.0\"\nsource = \"registry\"\n\n\
        [[package]]\nname = \"high\"\nversion = \"0.1.0\"\ndependencies = [\n \"low\",\n]\n";

    #[test]
    fn members_have_the_version_in_every_lock_file() {
        let members = members(LOCK_FILE);
        assert_eq!(members, BTreeSet::from(["high", "low"]));
        let version = Version::new(0, 2, 0);
        assert_eq!(
            set_locked(LOCK_FILE, &members, &version),
            LOCK_FILE.replace("version = \"0.1.0\"", "version = \"0.2.0\"")
        );
        let beside = LOCK_FILE.replace("name = \"high\"", "name = \"fuzz\"");
        let expected = beside.replacen("version = \"0.1.0\"", "version = \"0.2.0\"", 1);
        assert_eq!(set_locked(&beside, &members, &version), expected);
    }

    #[test]
    fn the_workspace_and_dependencies_on_members_get_the_version() {
        let set = set(MANIFEST, &Version::new(0, 2, 0));
        assert_eq!(current(&set).unwrap(), Version::new(0, 2, 0));
        let expected = MANIFEST
            .replacen("version = \"0.1.0\"", "version = \"0.2.0\"", 1)
            .replace("crates/a\", version = \"0.1.0\"", "crates/a\", version = \"0.2.0\"");
        assert_eq!(set, expected);
    }
}
