//! A part of DataFusion's own tests, with queries of TPC-DS and ClickBench: a bare session and an observed one do the same, and so
//! does a script.

use std::process::Command;

use dev_services::Workspace;

/// Files of every kind of statement, and of TPC-DS queries with what others have not: grouping sets, windows over unions, the
/// largest join. `cargo xtask conformance` runs all.
const FILES: [&str; 18] = [
    "aggregates_topk.slt",
    "clickbench_extended.slt",
    "copy.slt",
    "cte.slt",
    "ddl.slt",
    "describe.slt",
    "explain_tree.slt",
    "insert.slt",
    "join_only.slt",
    "prepare.slt",
    "q49.sql",
    "q64.sql",
    "q67.sql",
    "set_variable.slt",
    "subquery_sort.slt",
    "truncate.slt",
    "union_by_name.slt",
    "update.slt",
];

#[test]
fn datafusions_own_tests_pass_as_they_do_on_a_bare_session() {
    let workspace = Workspace::locate().expect("the workspace");
    let output = Command::new(workspace.binary("conformance", "debug").expect("the program is built"))
        .args(FILES)
        .arg("--scripts")
        .env("HAMILTON_TRACKER_ENABLED", "false")
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let counts = said.lines().find(|line| line.contains(" files, ")).expect("the counts");
    assert!(
        counts.starts_with(&format!("{} files, ", FILES.len())) && counts.ends_with(", 0 differing"),
        "{said}"
    );
    let scripts = format!("{} scripts through daglight run: ", FILES.len());
    assert!(said.lines().any(|line| line.starts_with(&scripts) && line.ends_with(", 0 failed")), "{said}");
}
