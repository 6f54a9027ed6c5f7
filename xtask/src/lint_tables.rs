//! The check that a workspace apart from the main one has the same lints, which it cannot inherit.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use toml::{Table, Value};

const FILE: &str = "Cargo.toml";
/// The folder with the workspaces, each in a folder of it.
const FOLDER: &str = "tests";

/// What the manifests of those workspaces lack, one line each.
///
/// # Errors
/// When a manifest cannot be read or is not TOML.
pub(crate) fn breaches(root: &Path) -> Result<Vec<String>> {
    let main = manifest(&root.join(FILE))?;
    let mut breaches = Vec::new();
    for entry in fs::read_dir(root.join(FOLDER)).with_context(|| format!("reading {FOLDER}"))? {
        let entry = entry?;
        let file = entry.path().join(FILE);
        if !file.exists() {
            continue;
        }
        let own = manifest(&file)?;
        // A member of the main workspace has none.
        if own.contains_key("workspace") {
            let name = format!("{FOLDER}/{}/{FILE}", entry.file_name().to_string_lossy());
            breaches.extend(differences(&main, &own).into_iter().map(|breach| format!("{name}: {breach}")));
        }
    }
    breaches.sort();
    Ok(breaches)
}

fn manifest(file: &Path) -> Result<Table> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    text.parse().with_context(|| format!("reading {}", file.display()))
}

fn differences(main: &Table, own: &Table) -> Vec<String> {
    let mut found = Vec::new();
    let inherits = own.get("lints").and_then(|lints| lints.get("workspace"));
    if inherits.and_then(Value::as_bool) != Some(true) {
        found.push("has no `[lints] workspace = true`".to_owned());
    }
    let lints = |manifest: &Table| manifest.get("workspace").and_then(|of| of.get("lints")).cloned();
    let (Some(Value::Table(expected)), own) = (lints(main), lints(own)) else { return found };
    for (tool, rules) in &expected {
        for (rule, level) in rules.as_table().into_iter().flatten() {
            let repeated = own.as_ref().and_then(|own| own.get(tool)?.get(rule));
            if repeated != Some(level) {
                found
                    .push(format!("`[workspace.lints.{tool}]` has no `{rule} = {level}`, as the root's has"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: &str =
        "[workspace.lints.rust]\nmissing_docs = \"warn\"\n[workspace.lints.clippy]\npanic = \"warn\"";

    #[track_caller]
    fn check(own: &str, expected: &[&str]) {
        assert_eq!(differences(&MAIN.parse().unwrap(), &own.parse().unwrap()), expected);
    }

    #[test]
    fn a_workspace_apart_repeats_every_lint() {
        let own = format!("[lints]\nworkspace = true\n{MAIN}");
        check(&own, &[]);
        check(&format!("{own}\ntodo = \"warn\""), &[]);
        check(MAIN, &["has no `[lints] workspace = true`"]);
        let lacking = "`[workspace.lints.clippy]` has no `panic = \"warn\"`, as the root's has";
        check(&own.replace("panic = \"warn\"", ""), &[lacking]);
        check(&own.replace("panic = \"warn\"", "panic = \"allow\""), &[lacking]);
        let both = [lacking, "`[workspace.lints.rust]` has no `missing_docs = \"warn\"`, as the root's has"];
        check("[workspace]\n[lints]\nworkspace = true", &both);
    }
}
