//! The version of the workspace, in its manifests.

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
