//! The wrapper of plans has every method of the trait: a default method would answer for another operator.

use std::{collections::BTreeSet, path::PathBuf, process::Command};

use serde_json::Value;

/// Methods that a wrapper cannot or need not have.
const LEFT_OUT: [&str; 2] = [
    // Of types, not of values.
    "static_name",
    // Exists only with a feature of DataFusion that this workspace does not turn on; without it nothing calls it.
    "try_to_proto",
];

/// The methods between the line that opens a trait or an implementation, and the brace that closes it.
fn methods(source: &str, opening: &str) -> BTreeSet<String> {
    let (_, body) = source.split_once(opening).unwrap_or_else(|| panic!("no {opening:?}"));
    let (body, _) = body.split_once("\n}\n").unwrap();
    let declared = body.lines().filter_map(|line| line.strip_prefix("    fn "));
    declared.map(|line| line.split(['(', '<']).next().unwrap().to_owned()).collect()
}

#[test]
fn no_method_is_forgotten() {
    let rustc = Command::new("rustc").arg("-vV").output().unwrap();
    let rustc = String::from_utf8(rustc.stdout).unwrap();
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--format-version", "1", "--filter-platform", host])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let package = metadata["packages"].as_array().unwrap().iter();
    let package = package.into_iter().find(|package| package["name"] == "datafusion-physical-plan").unwrap();
    let folder = PathBuf::from(package["manifest_path"].as_str().unwrap()).parent().unwrap().join("src");
    let of_trait = std::fs::read_to_string(folder.join("execution_plan.rs")).unwrap();
    let mut of_trait =
        methods(&of_trait, "pub trait ExecutionPlan: Any + Debug + DisplayAs + Send + Sync {\n");
    assert!(of_trait.len() > 25 && of_trait.contains("reset_state"), "{of_trait:?}");
    LEFT_OUT.iter().for_each(|name| assert!(of_trait.remove(*name), "{name} is gone"));
    let delegated = methods(
        include_str!("../../src/hooked_exec.rs"),
        "impl<H: ExecuteHook> ExecutionPlan for HookedExec<H> {\n",
    );
    let forgotten: Vec<_> = of_trait.difference(&delegated).collect();
    assert!(forgotten.is_empty(), "the wrapper does not delegate {forgotten:?}");
}
