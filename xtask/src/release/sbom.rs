//! The bill of materials of the command, in the JSON of CycloneDX: every package that is linked into it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::programs::{host, printed};

const PACKAGE: &str = "daglight-cli";
/// The version of the format. <https://cyclonedx.org/docs/1.6/json/>
const SPECIFICATION: &str = "1.6";

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    description: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Deserialize)]
struct EdgeKind {
    kind: Option<String>,
}

#[derive(Deserialize)]
struct LockFile {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

/// The names and versions of packages.
type Names = BTreeSet<(String, String)>;

/// The bill of the command as the workspace `tree` has it. `cargo` gives the program, in that workspace.
pub(super) fn of_program(cargo: impl Fn() -> Command, tree: &Path) -> Result<Value> {
    let host = host()?;
    let mut metadata = cargo();
    metadata.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", &host]);
    let metadata: Metadata =
        serde_json::from_slice(&printed(&mut metadata)?).context("the answer of cargo metadata")?;
    let lock_file = fs::read_to_string(tree.join("Cargo.lock")).context("reading Cargo.lock")?;
    let lock_file: LockFile = toml::from_str(&lock_file).context("Cargo.lock")?;
    bill(&metadata, &lock_file, &names_of_linked(&mut cargo())?)
}

/// What is linked. The edges that `cargo metadata` gives have those of tests and of other members among them.
fn names_of_linked(cargo: &mut Command) -> Result<Names> {
    cargo.args([
        "tree",
        "--locked",
        "--package",
        PACKAGE,
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
    ]);
    let tree =
        String::from_utf8(printed(cargo.args(["--format", "{p}"]))?).context("the answer of cargo tree")?;
    let name = |line: &str| {
        let (name, rest) = line.split_once(" v")?;
        Some((name.to_owned(), rest.split(' ').next()?.to_owned()))
    };
    Ok(tree.lines().filter_map(name).collect())
}

fn bill(metadata: &Metadata, lock_file: &LockFile, names: &Names) -> Result<Value> {
    let packages: BTreeMap<&str, &Package> =
        metadata.packages.iter().map(|package| (&*package.id, package)).collect();
    let program = metadata.packages.iter().find(|package| package.name == PACKAGE);
    let program = program.with_context(|| format!("the workspace has no {PACKAGE}"))?;
    let linked = linked(metadata, &packages, &program.id, names);
    let reference = |id: &str| packages.get(id).map(|package| url(package)).unwrap_or_default();
    let components = linked.keys().filter(|id| **id != program.id).filter_map(|id| packages.get(id));
    let components: Vec<Value> = components.map(|package| component(package, "library", lock_file)).collect();
    let dependencies: Vec<Value> = linked
        .iter()
        .map(|(id, used)| {
            let used: BTreeSet<String> = used.iter().map(|id| reference(id)).collect();
            json!({ "ref": reference(id), "dependsOn": used })
        })
        .collect();
    let mut application = component(program, "application", lock_file);
    application["name"] = "daglight".into();
    Ok(json!({
        "$schema": format!("http://cyclonedx.org/schema/bom-{SPECIFICATION}.schema.json"),
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "version": 1,
        "metadata": { "component": application },
        "components": components,
        "dependencies": dependencies,
    }))
}

/// What is linked into a program, itself included, each with what it uses.
fn linked<'a>(
    metadata: &'a Metadata,
    packages: &BTreeMap<&str, &'a Package>,
    program: &'a str,
    names: &Names,
) -> BTreeMap<&'a str, Vec<&'a str>> {
    let nodes: BTreeMap<&str, &Node> = metadata.resolve.nodes.iter().map(|node| (&*node.id, node)).collect();
    let is_named = |id: &str| {
        packages
            .get(id)
            .is_some_and(|package| names.contains(&(package.name.clone(), package.version.clone())))
    };
    let mut linked = BTreeMap::new();
    let mut wanted = vec![program];
    while let Some(id) = wanted.pop() {
        if linked.contains_key(id) {
            continue;
        }
        let edges = nodes.get(id).map(|node| node.deps.as_slice()).unwrap_or_default();
        let is_linked =
            |edge: &&Edge| edge.dep_kinds.iter().any(|kind| kind.kind.is_none()) && is_named(&edge.pkg);
        let used: Vec<&str> = edges.iter().filter(is_linked).map(|edge| &*edge.pkg).collect();
        wanted.extend(&used);
        linked.insert(id, used);
    }
    linked
}

/// The package URL. <https://github.com/package-url/purl-spec>
fn url(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version.replace('+', "%2B"))
}

fn component(package: &Package, kind: &str, lock_file: &LockFile) -> Value {
    let mut component = json!({
        "type": kind,
        "bom-ref": url(package),
        "name": package.name,
        "version": package.version,
        "purl": url(package),
    });
    if let Some(description) = &package.description {
        component["description"] = description.trim().into();
    }
    if let Some(license) = &package.license {
        // The form that Cargo had before it took expressions of SPDX.
        let expression = license.replace(" / ", " OR ").replace('/', " OR ");
        component["licenses"] = json!([{ "expression": expression }]);
    }
    let locked = lock_file
        .package
        .iter()
        .find(|locked| locked.name == package.name && locked.version == package.version);
    if let Some(checksum) = locked.and_then(|locked| locked.checksum.as_deref()) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

#[cfg(test)]
mod tests {
    use dev_services::{Python, VirtualEnv, Workspace};

    use super::*;

    /// By the validator of CycloneDX's own Python library.
    const VALIDATE: &str = "
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
with open(sys.argv[1]) as file:
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(file.read())
sys.exit(str(error) if error else 0)
";

    #[test]
    fn the_bill_is_valid_and_has_what_is_linked() {
        let workspace = Workspace::locate().unwrap();
        let bill = of_program(|| workspace.cargo(), workspace.root()).unwrap();
        let components = bill["components"].as_array().unwrap();
        let named = |name: &str| components.iter().find(|component| component["name"] == name);
        let engine = named("datafusion").unwrap();
        assert_eq!(engine["licenses"][0]["expression"], "Apache-2.0");
        assert_eq!(engine["hashes"][0]["content"].as_str().unwrap().len(), 64);
        assert!(named("daglight-settings").is_some());
        for not_linked in ["serde_derive", "s3s", "daglight-cli", "proptest"] {
            assert!(named(not_linked).is_none(), "{not_linked}");
        }
        let known: BTreeSet<&str> =
            components.iter().filter_map(|component| component["bom-ref"].as_str()).collect();
        assert_eq!(known.len(), components.len(), "a reference stands for one package");
        for used in bill["dependencies"].as_array().unwrap() {
            for other in used["dependsOn"].as_array().unwrap() {
                assert!(known.contains(other.as_str().unwrap()), "{other} is not a component");
            }
        }

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bill.json");
        let requirements = workspace.root().join("tests/python/cyclonedx.txt");
        let python =
            VirtualEnv::prepare(&workspace, &Python::find().unwrap(), "cyclonedx", &requirements).unwrap();
        let validate = |bill: &Value| {
            fs::write(&file, bill.to_string()).unwrap();
            printed(Command::new(python.python()).args(["-c", VALIDATE]).arg(&file)).map(drop)
        };
        validate(&bill).unwrap();
        let mut wrong = bill.clone();
        wrong["components"][0]["type"] = "thing".into();
        assert!(validate(&wrong).is_err(), "the validator does not look");
    }
}
