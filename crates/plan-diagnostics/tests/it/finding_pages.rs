//! The pages of findings name settings of DataFusion, and have examples in SQL: the settings are there, and the examples are understood.

use std::{collections::BTreeSet, fs, path::Path};

use datafusion::prelude::{SessionConfig, SessionContext};

/// The pages with their names.
fn pages() -> Vec<(String, String)> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/findings");
    let pages = fs::read_dir(docs).unwrap().map(|entry| entry.unwrap().path());
    pages
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// The names of settings of DataFusion in a text.
fn settings_in(text: &str) -> BTreeSet<&str> {
    let is_part_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c);
    let words = text.split(|c| !is_part_of_name(c)).map(|word| word.trim_matches('.'));
    words.filter(|word| word.starts_with("datafusion.")).collect()
}

/// The blocks of SQL of a page.
fn sql_of(page: &str) -> impl Iterator<Item = &str> {
    page.split("```sql\n").skip(1).map(|rest| rest.split_once("```").expect("the end of a block").0)
}

#[test]
fn pages_of_findings_name_settings_that_there_are() {
    let ctx = SessionContext::new();
    let options = ctx.state().config_options().entries();
    let of_runtime = ctx.runtime_env().config_entries();
    let known: BTreeSet<String> = options.into_iter().chain(of_runtime).map(|entry| entry.key).collect();
    assert!(known.len() > 100, "{known:?}");
    let (mut named, mut unknown) = (BTreeSet::new(), Vec::new());
    for (page, text) in pages() {
        for setting in settings_in(&text) {
            named.insert(setting.to_owned());
            if !known.contains(setting) {
                unknown.push(format!("{page}: {setting}"));
            }
        }
    }
    assert!(named.len() >= 10, "{named:?}");
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[tokio::test]
async fn examples_of_findings_are_sql_and_their_settings_can_be_set() {
    let mut statements = 0;
    for (page, text) in pages() {
        for block in sql_of(&text) {
            let ctx = SessionContext::new_with_config(SessionConfig::new());
            let without_comments: Vec<&str> =
                block.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
            for statement in
                without_comments.join("\n").split(';').map(str::trim).filter(|sql| !sql.is_empty())
            {
                statements += 1;
                let understood =
                    ctx.state().sql_to_statement(statement, &ctx.state().config_options().sql_parser.dialect);
                assert!(understood.is_ok(), "{page}: {statement}: {}", understood.unwrap_err());
                // Those of the engine of a cluster are set in the tests of clusters.
                if statement.starts_with("SET ") && !statement.starts_with("SET distributed.") {
                    let set = ctx.sql(statement).await;
                    assert!(set.is_ok(), "{page}: {statement}: {}", set.unwrap_err());
                }
            }
        }
    }
    assert!(statements > 25, "{statements}");
}
