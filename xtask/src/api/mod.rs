//! `cargo xtask api`: the public API of each published crate, as a list in a file beside its manifest.
//!
//! The list is read from the source, so that it needs no nightly compiler and takes a second. It can be, since the lint
//! `unreachable_pub` refuses what says `pub` and cannot be reached from outside. Types of a macro of the crate's own are listed as
//! the arguments of that macro.

mod surface;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use dev_services::Workspace;

use crate::packages::{self, Member};

/// The name of the lists, below the folder of the crate.
pub(crate) const FILE: &str = "public-api.txt";
const COMMAND: &str = "cargo xtask api";

/// Writes the lists; with `check`, fails where that would change one.
///
/// # Errors
/// With what differs of each list, where it was to be checked.
pub(crate) fn run(check: bool) -> Result<()> {
    let workspace = Workspace::locate()?;
    let mut stale = Vec::new();
    let members = packages::members(workspace.cargo())?;
    let libraries: Vec<&Member> = members.iter().filter(|member| member.is_published()).collect();
    for member in libraries {
        let folder = folder_of(member)?;
        let root = folder.join("src/lib.rs");
        if !root.is_file() {
            continue;
        }
        let (file, text) = (folder.join(FILE), list(&root)?);
        if check {
            let changes = changes(&fs::read_to_string(&file).unwrap_or_default(), &text);
            stale.extend(changes.iter().map(|change| format!("{}: {change}", member.name)));
        } else {
            fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    bail!(
        "the public API is not as {FILE} of the crates has it:\n  {}\nrun `{COMMAND}` and commit what changed",
        stale.join("\n  ")
    )
}

/// What users of the crates lose from the state `tag` of the repository on: lines of the lists that went.
///
/// # Errors
/// When git cannot be asked.
pub(crate) fn lost_since(root: &Path, tag: &str) -> Result<Vec<String>> {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).current_dir(root).output().context("starting git")?;
        ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let mut lost = Vec::new();
    let listed = git(&["ls-tree", "-r", "--name-only", tag])?;
    for file in listed.lines().filter(|path| path.rsplit('/').next() == Some(FILE)) {
        let before = git(&["show", &format!("{tag}:{file}")])?;
        let after = fs::read_to_string(root.join(file)).unwrap_or_default();
        let changes = changes(&before, &after);
        lost.extend(
            changes.iter().filter(|change| change.starts_with('-')).map(|change| format!("{file}: {change}")),
        );
    }
    Ok(lost)
}

fn folder_of(member: &Member) -> Result<PathBuf> {
    Ok(member.manifest_path.parent().context("a manifest is in a folder")?.to_owned())
}

fn list(root: &Path) -> Result<String> {
    let lines = surface::lines(root)?;
    Ok(format!("# Made by `{COMMAND}`; not edited by hand.\n{}\n", lines.join("\n")))
}

/// What went, with `-`, and what came, with `+`.
pub(crate) fn changes(before: &str, after: &str) -> Vec<String> {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    before.lines().for_each(|line| *counts.entry(line).or_default() -= 1);
    after.lines().for_each(|line| *counts.entry(line).or_default() += 1);
    let mut changes = Vec::new();
    for (line, count) in counts {
        let sign = if count < 0 { '-' } else { '+' };
        changes.extend((0..count.abs()).map(|_| format!("{sign} {line}")));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_current() {
        run(true).unwrap();
    }

    #[test]
    fn changes_are_what_went_and_what_came() {
        assert_eq!(changes("a\nb\nb\n", "b\nc\n"), ["- a", "- b", "+ c"]);
        assert_eq!(changes("a\n", "a\n"), [""; 0]);
    }
}
