//! The check that a crate with its own `.clippy.toml` keeps the rules of the workspace.
//!
//! Clippy reads the nearest file alone, and one cannot include another: a crate that forbids more has to repeat what the root
//! forbids. A rule that is added at the root would otherwise not hold in just the crates that have the most rules.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use toml::{Table, Value};

const FILE: &str = ".clippy.toml";
/// The rules on the clock and the environment of the process, which `docs/architecture.md` lifts for the edges.
const OF_EDGES: &str = "disallowed-methods";
/// The folders that are edges throughout.
const EDGES: [&str; 4] = ["crates/cli", "tests", "tests/dev-services", "xtask"];

/// What the files of the crates lack, one line each.
///
/// # Errors
/// When a file cannot be read or is not TOML.
pub(crate) fn breaches(root: &Path) -> Result<Vec<String>> {
    let whole = table(&root.join(FILE))?;
    let mut breaches = Vec::new();
    let mut folders: Vec<String> = EDGES.map(str::to_owned).into();
    // All there are, so that a crate that gets a list tomorrow is checked without a word here.
    for entry in fs::read_dir(root.join("crates")).context("reading crates")? {
        let folder = format!("crates/{}", entry?.file_name().to_string_lossy());
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders.sort();
    for folder in folders {
        let file = root.join(&folder).join(FILE);
        if file.exists() {
            breaches.extend(missing(&folder, &whole, &table(&file)?));
        }
    }
    Ok(breaches)
}

fn table(file: &Path) -> Result<Table> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    text.parse().with_context(|| format!("reading {}", file.display()))
}

fn missing(folder: &str, whole: &Table, own: &Table) -> Vec<String> {
    let is_edge = EDGES.contains(&folder);
    let mut breaches = Vec::new();
    for (key, value) in whole {
        match (value, own.get(key)) {
            (_, None) if is_edge && key == OF_EDGES => {}
            (_, None) => breaches.push(format!("{folder}/{FILE} has no `{key}`, which the root's has")),
            (Value::Array(rules), Some(Value::Array(repeated))) => {
                let lacking = rules.iter().filter(|rule| !repeated.contains(rule));
                breaches.extend(
                    lacking.map(|rule| format!("{folder}/{FILE}: `{key}` has no {rule}, as the root's has")),
                );
            }
            (value, Some(other)) if value != other => {
                breaches
                    .push(format!("{folder}/{FILE}: `{key}` is {other}, expected {value} as in the root's"));
            }
            _ => {}
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "allow-unwrap-in-tests = true\n\
        disallowed-methods = [{ path = \"a::now\", reason = \"r\" }, { path = \"b::var\", reason = \"r\" }]";

    #[track_caller]
    fn check(folder: &str, own: &str, expected: &[&str]) {
        let breaches = missing(folder, &ROOT.parse().unwrap(), &own.parse().unwrap());
        assert_eq!(breaches.len(), expected.len(), "{breaches:?}");
        for (breach, expected) in breaches.iter().zip(expected) {
            assert!(breach.contains(expected), "{breach}");
        }
    }

    #[test]
    fn a_crate_may_forbid_more_and_not_less() {
        check("crates/a", ROOT, &[]);
        check("crates/a", &ROOT.replace("[{ path = \"a", "[{ path = \"c::d\" }, { path = \"a"), &[]);
        check("crates/a", &ROOT.replace("a::now", "a::later"), &["has no { path = \"a::now\""]);
        check("crates/a", "allow-unwrap-in-tests = true", &["has no `disallowed-methods`"]);
        check(
            "crates/a",
            &ROOT.replace("true", "false"),
            &["`allow-unwrap-in-tests` is false, expected true"],
        );
    }

    #[test]
    fn an_edge_may_read_the_clock_and_keeps_the_other_rules() {
        check("crates/cli", "allow-unwrap-in-tests = true", &[]);
        check("xtask", "", &["has no `allow-unwrap-in-tests`"]);
        // It cannot have half of the list, which would be neither.
        check("tests", &ROOT.replace("a::now", "a::later"), &["has no { path = \"a::now\""]);
    }
}
