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

/// The folder of a crate's source, by the name of the package.
fn source_of(package: &str, metadata: &Value) -> PathBuf {
    let mut packages = metadata["packages"].as_array().unwrap().iter();
    let package = packages.find(|known| known["name"] == package).unwrap();
    PathBuf::from(package["manifest_path"].as_str().unwrap()).parent().unwrap().join("src")
}

fn metadata() -> Value {
    let rustc = Command::new("rustc").arg("-vV").output().unwrap();
    let rustc = String::from_utf8(rustc.stdout).unwrap();
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--format-version", "1", "--filter-platform", host])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn no_method_is_forgotten() {
    let metadata = metadata();
    let check = |package: &str, file: &str, of_trait: &str, wrapper: &str, of_wrapper: &str| {
        let declaring = std::fs::read_to_string(source_of(package, &metadata).join(file)).unwrap();
        let mut declared = methods(&declaring, of_trait);
        declared.retain(|name| !LEFT_OUT.contains(&name.as_str()));
        let delegated = methods(wrapper, of_wrapper);
        let forgotten: Vec<_> = declared.difference(&delegated).collect();
        assert!(forgotten.is_empty(), "the wrapper does not delegate {forgotten:?}");
        declared.len()
    };
    let (plans, rules) = (include_str!("../../src/hooked_exec.rs"), include_str!("../../src/rules.rs"));
    let declared = check(
        "datafusion-physical-plan",
        "execution_plan.rs",
        "pub trait ExecutionPlan: Any + Debug + DisplayAs + Send + Sync {\n",
        plans,
        "impl<H: ExecuteHook> ExecutionPlan for HookedExec<H> {\n",
    );
    assert!(declared > 25);
    let analyzer = check(
        "datafusion-optimizer",
        "analyzer/mod.rs",
        "pub trait AnalyzerRule: Debug {\n",
        rules,
        "impl AnalyzerRule for Wrapped<Analyzing> {\n",
    );
    let optimizer = check(
        "datafusion-optimizer",
        "optimizer.rs",
        "pub trait OptimizerRule: Debug {\n",
        rules,
        "impl OptimizerRule for Wrapped<Optimizing> {\n",
    );
    let physical = check(
        "datafusion-session",
        "physical_optimizer.rs",
        "pub trait PhysicalOptimizerRule: Debug + std::any::Any {\n",
        rules,
        "impl PhysicalOptimizerRule for Wrapped<Physical> {\n",
    );
    assert_eq!((analyzer, optimizer, physical), (2, 4, 4));
}
