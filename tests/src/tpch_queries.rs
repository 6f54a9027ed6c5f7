//! The queries of TPC-H, as DataFusion reads them.

use std::path::Path;

use anyhow::{Context, Result};
use tpchgen::q_and_a::queries::query;

/// The substitution parameters of the validation run in the TPC-H specification, for `:1`, `:2` and so on.
const PARAMETERS: [&[&str]; 22] = [
    &["90"],
    &["15", "BRASS", "EUROPE"],
    &["BUILDING", "1995-03-15"],
    &["1993-07-01"],
    &["ASIA", "1994-01-01"],
    &["1994-01-01", "0.06", "24"],
    &["FRANCE", "GERMANY"],
    &["BRAZIL", "AMERICA", "ECONOMY ANODIZED STEEL"],
    &["green"],
    &["1993-10-01"],
    &["GERMANY", "0.0001"],
    &["MAIL", "SHIP", "1994-01-01"],
    &["special", "requests"],
    &["1995-09-01"],
    &["1996-01-01"],
    &["Brand#45", "MEDIUM POLISHED", "49", "14", "23", "45", "19", "3", "36", "9"],
    &["Brand#23", "MED BOX"],
    &["300"],
    &["Brand#12", "Brand#23", "Brand#34", "1", "10", "20"],
    &["forest", "1994-01-01", "CANADA"],
    &["SAUDI ARABIA"],
    &["13", "31", "23", "29", "30", "18", "17"],
];

/// A query of TPC-H, from 1 to 22. The fifteenth is a view and a query of it.
///
/// # Errors
/// When there is no such query.
pub fn tpch_query(number: i32) -> Result<String> {
    let template = query(number).context("there is no such query")?;
    let parameters = PARAMETERS[number as usize - 1].iter().enumerate();
    // The longer numbers first: `:1` is the beginning of `:10`.
    let filled = parameters.rev().fold(template.replace("revenue:s", "revenue0"), |text, (index, value)| {
        text.replace(&format!(":{}", index + 1), value)
    });
    // DataFusion has no precision of interval fields.
    Ok(filled.replace("day (3)", "day"))
}

/// A script of the 22 queries, each a node, on the tables in a folder.
///
/// # Errors
/// When there is no such query.
pub fn tpch_script(data: &Path) -> Result<String> {
    let table = |name: &str| {
        let file = data.join(format!("{name}.parquet"));
        format!("CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{}';\n", file.display())
    };
    let mut script: String =
        ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"]
            .map(table)
            .concat();
    for number in 1..=22 {
        let sql = tpch_query(number)?;
        let statements = sql.split(';').map(str::trim).filter(|statement| !statement.is_empty());
        for statement in statements {
            match statement.to_lowercase() {
                // The view of the fifteenth stays: what reads it comes later.
                lower if lower.starts_with("drop") => {}
                lower if lower.starts_with("create") => script.push_str(&format!("{statement};\n")),
                _ => script.push_str(&format!("-- node: q{number}\n{statement};\n")),
            }
        }
    }
    Ok(script)
}
