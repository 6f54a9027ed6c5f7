//! The commands of `docs/compare.md` for CI, each run as it stands there.

use std::fs;

use daglight_system_tests::{Checkout, Daglight};

const PAGE: &str = include_str!("../../docs/compare.md");

/// The lines of the script for GitLab.
fn script() -> Vec<&'static str> {
    let script = PAGE.lines().skip_while(|line| line.trim() != "script:").skip(1);
    script.map_while(|line| line.strip_prefix("    - ")).collect()
}

fn in_ci(checkout: &Checkout, line: &str) -> (Option<i32>, String) {
    // The program is `$0`, which a function gives its name.
    let shell = format!("daglight() {{ \"$0\" \"$@\"; }}; {line}");
    let finished = Daglight::new(checkout, [""; 0]).through("sh", &["-c", &shell]).finish();
    (finished.code, finished.stdout + &finished.stderr)
}

#[test]
fn the_commands_for_ci_judge_the_plans_and_keep_a_few_baselines() {
    let github: Vec<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("- run: ")).collect();
    assert_eq!(github, script(), "both pages have the same commands");
    let checkout = Checkout::new();
    let pipeline = |sql: &str| checkout.pipeline("pipeline.sql", sql);
    let sql = "CREATE TABLE a AS SELECT value AS x FROM generate_series(1, 500); SELECT count(*) AS c FROM a WHERE x > 3;";
    pipeline(sql);
    for _ in 0..4 {
        // Each job starts with the baselines alone.
        let _ = fs::remove_dir_all(checkout.path().join("out"));
        for line in script() {
            let (code, said) = in_ci(&checkout, line);
            assert!(code == Some(0) && !said.contains("could not be judged"), "{line}: {code:?}\n{said}");
        }
    }
    assert_eq!(fs::read_dir(checkout.path().join("baseline/run_bundle")).expect("baselines").count(), 4);
    fs::remove_dir_all(checkout.path().join("out")).expect("the output of the last job");
    pipeline(&sql.replace("SELECT count(*) AS c FROM a WHERE x > 3", "SELECT x FROM a ORDER BY x"));
    let codes: Vec<Option<i32>> = script().into_iter().take(3).map(|line| in_ci(&checkout, line).0).collect();
    assert_eq!(codes, [Some(0), Some(0), Some(3)]);
}
