//! Wrong input, and words that help. What is found before anything runs ends with exit code 2.

use daglight_system_tests::{Checkout, Daglight};

use crate::pipelines::SHOP;

#[track_caller]
fn check(code: i32, sql: &str, arguments: &[&str], expected: &[&str]) {
    let checkout = Checkout::new();
    checkout.pipeline("shop.sql", sql);
    let finished =
        Daglight::new(&checkout, ["run", "shop.sql", "--output-dir", "out"]).args(arguments).finish();
    let finished = finished.ended_with(code);
    for expected in expected {
        assert!(finished.stderr.contains(expected), "{expected:?} is not in\n{}", finished.stderr);
    }
}

#[test]
fn a_syntax_error_is_quoted_with_its_place() {
    let sql = SHOP.replace("GROUP BY 1;", "GRUOP BY 1;");
    check(2, &sql, &[], &["shop.sql:27:", "GRUOP BY 1;"]);
}

#[test]
fn an_unknown_column_is_quoted_with_its_place_and_node() {
    let sql = SHOP.replace("sum(o_totalprice) AS sales", "sum(o_totalprize) AS sales");
    check(1, &sql, &[], &["shop.sql:25:", "o_totalprize", "yearly_sales"]);
}

#[test]
fn a_parameter_that_the_script_does_not_have_is_named() {
    check(2, SHOP, &["--param", "segmnt=BUILDING"], &["segmnt", "segment"]);
}

#[test]
fn a_parameter_without_a_value_is_named() {
    let sql = SHOP.replace("-- param: segment = BUILDING\n", "");
    check(2, &sql, &[], &["shop.sql:19:22", "segment", "has no value"]);
}

#[test]
fn an_unknown_profile_is_answered_with_those_that_there_are() {
    check(2, SHOP, &["--profile", "staging"], &["staging", "dev", "ci", "prod"]);
}

#[test]
fn a_script_that_is_not_there_is_named() {
    let checkout = Checkout::new();
    let finished = Daglight::new(&checkout, ["run", "nowhere.sql"]).finish().ended_with(2);
    assert!(finished.stderr.contains("nowhere.sql"), "{}", finished.stderr);
}
