//! The check of the facade's features, each alone.

use std::fs;

use anyhow::{Context, Result};
use dev_services::Workspace;

const MANIFEST: &str = "crates/daglight/Cargo.toml";

/// The members that use the facade with its default features, which would be unified with the one that is checked.
const USERS_OF_THE_FACADE: [&str; 3] = ["daglight-cli", "daglight-system-tests", "stranger"];

/// Runs clippy over the facade with none of its features, then with each of them alone.
///
/// All other members are selected too, since cargo unifies features over what is selected: so DataFusion has the features
/// that every other command of this workspace gives it, and is not compiled again. What the members that are left out turn
/// on stands in the facade's `dev-dependencies`.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::locate()?;
    let manifest =
        fs::read_to_string(workspace.root().join(MANIFEST)).with_context(|| format!("reading {MANIFEST}"))?;
    check(&workspace, None)?;
    features(&manifest).into_iter().try_for_each(|feature| check(&workspace, Some(feature)))
}

fn check(workspace: &Workspace, feature: Option<&str>) -> Result<()> {
    eprintln!(
        "facade: {}",
        feature.map_or("no feature".to_owned(), |feature| format!("feature {feature} alone"))
    );
    let mut cargo = workspace.cargo();
    cargo.args(["clippy", "--quiet", "--workspace", "--all-targets", "--no-default-features"]);
    for member in USERS_OF_THE_FACADE {
        cargo.args(["--exclude", member]);
    }
    if let Some(feature) = feature {
        cargo.args(["--features", &format!("daglight/{feature}")]);
    }
    cargo.args(["--", "-D", "warnings"]);
    dev_services::run(&mut cargo)
}

/// The names in the table `features`, without `default`.
fn features(manifest: &str) -> Vec<&str> {
    manifest
        .lines()
        .skip_while(|line| *line != "[features]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
        .filter(|name| *name != "default")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_those_of_their_table() {
        let manifest = "[package]\nname = \"x\"\n\n[features]\ndefault = [\"a\"]\na = []\nb = [\"a\"]\n\n[dependencies]\nc = \"1\"\n";
        assert_eq!(features(manifest), ["a", "b"]);
    }
}
