//! The check of the layers: what each crate depends on, against the table in `docs/architecture.md`.
//!
//! The table is the rule and the documentation at once: a crate, an edge or a package that it does not allow is a breach,
//! and so is a row of it that has become wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use dev_services::Workspace;
use serde::Deserialize;

use crate::{clippy_lists, lint_tables};

const PAGE: &str = "docs/architecture.md";
/// The header of the table. Its rows follow, the highest floor first.
const HEADER: &str = "| floor | crate | owns | uses | links none of |";
/// Stands in the column `uses` of a crate that may use every crate on the floors below.
const ALL_BELOW: &str = "all below";
const PREFIX: &str = "daglight-";

/// The words of the last column, with the beginnings of the names of the packages that they stand for.
const FIELDS: [(&str, &[&str]); 4] = [
    ("Arrow", &["arrow"]),
    ("DataFusion", &["datafusion"]),
    ("HTTP", &["hyper", "reqwest", "tonic"]),
    ("OpenTelemetry", &["opentelemetry"]),
];

/// Compares the workspace with the table.
///
/// # Errors
/// With all breaches, one per line.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::locate()?;
    let page = fs::read_to_string(workspace.root().join(PAGE)).with_context(|| format!("reading {PAGE}"))?;
    let rows = rows(&page)?;
    let edges = edges(&workspace)?;
    let mut breaches = breaches_of_edges(&rows, &edges);
    for row in &rows {
        // What is linked takes a call of cargo for each crate. A row without a crate is a breach already.
        if row.linked.is_empty() || !edges.contains_key(&row.name) {
            continue;
        }
        breaches.extend(breaches_of_links(row, &linked(&workspace, &row.name)?));
    }
    breaches.extend(clippy_lists::breaches(workspace.root())?);
    breaches.extend(lint_tables::breaches(workspace.root())?);
    if breaches.is_empty() {
        eprintln!("layers: {} crates, as {PAGE} has them", rows.len());
        return Ok(());
    }
    bail!("not as {PAGE} has it:\n  {}", breaches.join("\n  "))
}

/// A row of the table.
#[derive(Debug)]
struct Row {
    /// 0 is the highest.
    floor: usize,
    name: String,
    uses: Uses,
    linked: Vec<Rule>,
}

#[derive(Debug)]
enum Uses {
    AllBelow,
    These(BTreeSet<String>),
}

/// What a crate must not link.
#[derive(Debug)]
enum Rule {
    /// None of the packages of a field.
    None(&'static str, &'static [&'static str]),
    /// No more than so many packages, itself among them.
    AtMost(usize),
}

fn rows(page: &str) -> Result<Vec<Row>> {
    let (_, table) = page.split_once(HEADER).with_context(|| format!("{PAGE} has no table `{HEADER}`"))?;
    let mut floors: Vec<&str> = Vec::new();
    let mut rows: Vec<Row> = Vec::new();
    for line in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let [floor, name, _, uses, linked] = cells[..] else { bail!("{PAGE}: not five cells in `{line}`") };
        if floors.last() != Some(&floor) {
            // The order of the rows is the order of the floors.
            ensure!(!floors.contains(&floor), "{PAGE}: the rows of the floor {floor} are not together");
            floors.push(floor);
        }
        rows.push(Row {
            floor: floors.len() - 1,
            name: name.trim_matches('`').to_owned(),
            uses: uses_of(uses),
            linked: list(linked).map(rule).collect::<Result<_>>()?,
        });
    }
    ensure!(!rows.is_empty(), "{PAGE}: the table of the crates is empty");
    Ok(rows)
}

/// The entries of a cell; `-` stands for none.
fn list(cell: &str) -> impl Iterator<Item = &str> {
    cell.split(',').map(|entry| entry.trim().trim_matches('`')).filter(|entry| !matches!(*entry, "" | "-"))
}

fn uses_of(cell: &str) -> Uses {
    if cell == ALL_BELOW { Uses::AllBelow } else { Uses::These(list(cell).map(str::to_owned).collect()) }
}

fn rule(entry: &str) -> Result<Rule> {
    if let Some(number) = entry.strip_prefix("more than ").and_then(|rest| rest.strip_suffix(" crates")) {
        return Ok(Rule::AtMost(number.parse().with_context(|| format!("{PAGE}: `{entry}`"))?));
    }
    let field = FIELDS.iter().find(|(word, _)| *word == entry);
    let (word, beginnings) =
        field.with_context(|| format!("{PAGE}: `{entry}` is not a field that `cargo xtask layers` knows"))?;
    Ok(Rule::None(word, beginnings))
}

/// The members that use what they test, from every floor.
const TESTS: [&str; 2] = ["daglight-fuzz", "daglight-system-tests"];

/// The members of the workspace, each with the members that it is built from.
type Edges = BTreeMap<String, BTreeSet<String>>;

fn breaches_of_edges(rows: &[Row], edges: &Edges) -> Vec<String> {
    let row_of = |name: &str| rows.iter().find(|row| row.name == name);
    let mut breaches = Vec::new();
    for name in edges.keys().filter(|name| row_of(name).is_none()) {
        breaches.push(format!("{name} is not in the table"));
    }
    for row in rows {
        let Some(used) = edges.get(&row.name) else {
            breaches.push(format!("{} is in the table and not in the workspace", row.name));
            continue;
        };
        for other in used {
            // It was named above as not in the table.
            let Some(below) = row_of(other) else { continue };
            if below.floor <= row.floor {
                breaches.push(format!("{} uses {other}, which is not on a lower floor", row.name));
            } else if matches!(&row.uses, Uses::These(allowed) if !allowed.contains(other)) {
                breaches.push(format!("{} uses {other}, which its row does not allow", row.name));
            }
        }
        if let Uses::These(allowed) = &row.uses {
            // A row that allows more than is used would let the next one in unseen.
            for other in allowed.difference(used) {
                breaches.push(format!("{} does not use {other}, which its row allows", row.name));
            }
        }
    }
    breaches
}

fn breaches_of_links(row: &Row, linked: &BTreeSet<String>) -> Vec<String> {
    let breach = |rule: &Rule| match rule {
        Rule::None(word, beginnings) => {
            let found: Vec<&str> = linked
                .iter()
                .map(String::as_str)
                .filter(|package| beginnings.iter().any(|beginning| package.starts_with(beginning)))
                .collect();
            (!found.is_empty()).then(|| format!("{} links {word}: {}", row.name, found.join(", ")))
        }
        Rule::AtMost(most) => (linked.len() > *most)
            .then(|| format!("{} links {} crates, more than {most}", row.name, linked.len())),
    };
    row.linked.iter().filter_map(breach).collect()
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `None` for a normal one.
    kind: Option<String>,
}

/// The short name of a member below `crates`; the facade is `daglight` itself.
fn member(package: &str) -> Option<&str> {
    package.strip_prefix(PREFIX).or_else(|| (package == "daglight").then_some(package))
}

fn edges(workspace: &Workspace) -> Result<Edges> {
    let output = workspace.cargo().args(["metadata", "--format-version", "1", "--no-deps"]).output()?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("the answer of cargo metadata")?;
    Ok(metadata
        .packages
        .iter()
        .filter(|package| !TESTS.contains(&&*package.name))
        .filter_map(|package| {
            let used = package
                .dependencies
                .iter()
                // Tests may look at a crate from anywhere.
                .filter(|dependency| dependency.kind.as_deref() != Some("dev"))
                .filter_map(|dependency| member(&dependency.name).map(str::to_owned));
            Some((member(&package.name)?.to_owned(), used.collect()))
        })
        .collect())
}

/// The packages that a crate links when it is built alone, itself among them.
fn linked(workspace: &Workspace, name: &str) -> Result<BTreeSet<String>> {
    let package = format!("{PREFIX}{name}");
    let mut cargo: Command = workspace.cargo();
    let output =
        cargo.args(["tree", "--package", &package, "--edges", "normal", "--prefix", "none"]).output()?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).context("the answer of cargo tree")?;
    Ok(tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "# Page\n\n| floor | crate | owns | uses | links none of |\n|---|---|---|---|---|\n\
        | doors | `cli` | x | all below | - |\n\
        | signals | `bridge` | x | `names` | DataFusion, more than 3 crates |\n\
        | vocabulary | `names` | x | - | - |\n\nText.\n";

    fn workspace(edges: &[(&str, &[&str])]) -> Edges {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        edges.iter().map(|(name, used)| ((*name).to_owned(), owned(used))).collect()
    }

    #[track_caller]
    fn check(edges: &[(&str, &[&str])], expected: &[&str]) {
        assert_eq!(breaches_of_edges(&rows(TABLE).unwrap(), &workspace(edges)), expected);
    }

    #[test]
    fn what_the_table_has_is_not_a_breach() {
        check(&[("cli", &["bridge", "names"]), ("bridge", &["names"]), ("names", &[])], &[]);
    }

    #[test]
    fn an_arrow_up_is_a_breach() {
        check(
            &[("cli", &[]), ("bridge", &["names"]), ("names", &["bridge"])],
            &["names uses bridge, which is not on a lower floor"],
        );
    }

    #[test]
    fn a_crate_that_is_missing_on_either_side_is_a_breach() {
        check(
            &[("cli", &[]), ("bridge", &["names"]), ("other", &[])],
            &["other is not in the table", "names is in the table and not in the workspace"],
        );
    }

    #[test]
    fn an_edge_that_is_not_there_any_more_is_a_breach() {
        check(
            &[("cli", &[]), ("bridge", &[]), ("names", &[])],
            &["bridge does not use names, which its row allows"],
        );
    }

    #[test]
    fn links_are_held_to_their_fields_and_their_number() {
        let rows = rows(TABLE).unwrap();
        let linked = ["bridge", "datafusion-common", "names", "serde"].map(str::to_owned);
        assert_eq!(
            breaches_of_links(&rows[1], &BTreeSet::from(linked)),
            ["bridge links DataFusion: datafusion-common", "bridge links 4 crates, more than 3"]
        );
    }

    #[test]
    fn an_unknown_word_is_an_error() {
        let table = TABLE.replace("DataFusion,", "Datafusion,");
        assert!(rows(&table).unwrap_err().to_string().contains("`Datafusion` is not a field"));
    }
}
