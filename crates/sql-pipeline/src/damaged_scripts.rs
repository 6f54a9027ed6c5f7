//! Randomly damaged scripts: each is either read or rejected, and every reported place lies inside the script.

use daglight_capture_policy::Redactor;
use fastrand::Rng;

use crate::{
    pipeline::{Pipeline, PipelineOptions},
    script::Script,
};

const SCRIPTS: u64 = 3_000;

/// The building blocks of scripts: a statement each, with its comment.
const STATEMENTS: [&str; 24] = [
    "-- Orders likely to be late.\n-- tag: layer=gold, owner=risk\n-- node: late\nCREATE VIEW order_risk AS SELECT * FROM orders WHERE slack < 2;\n",
    "-- param: day = '2026-01-01'\n-- param: n = 3\n\nSELECT $day, $n + $2 FROM \"O r\" -- why\n;\n",
    "-- expect: rows > 0\n-- expect: unique(a)\nCREATE TABLE t AS SELECT a, b FROM s;\n",
    "SET datafusion.sql_parser.dialect = 'mysql';\nSELECT `a` # comment\nFROM t;\n",
    "SET datafusion.sql_parser.dialect = 'postgresql';\nSELECT $$x;y$$, E'a\\'b', 'ä''ö' FROM u;\n",
    "RESET datafusion.sql_parser.dialect;\n",
    "SET datafusion.catalog.default_schema = 'other';\n",
    "/* a /* b */ c */ INSERT INTO t (a, b) VALUES (1, 'x;'), ($n, NULL);\n",
    "CREATE EXTERNAL TABLE e STORED AS CSV LOCATION 's3://b/x/' OPTIONS ('format.has_header' 'true');\n",
    "COPY (SELECT * FROM t) TO 'out/t.parquet' STORED AS PARQUET PARTITIONED BY (a);\n",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < $n) SELECT * FROM r;\n",
    "PREPARE p(INT) AS SELECT * FROM t WHERE a = $1;\nEXECUTE p(7);\nDEALLOCATE p;\n",
    "EXPLAIN ANALYZE SELECT count(*) OVER (PARTITION BY a ORDER BY b) FROM t LIMIT $n;\n",
    "DROP VIEW IF EXISTS order_risk;\n",
    "CREATE FUNCTION f(DOUBLE) RETURNS DOUBLE RETURN $1 + 1;\n",
    "DELETE FROM t WHERE a IN (SELECT b FROM \"S\".u);\n",
    "UPDATE t SET a = b FROM s WHERE t.k = s.k;\n",
    "\u{feff}\r\nSHOW TABLES;\r\n",
    "SELECT * FROM 'a/*.parquet' x JOIN LATERAL (SELECT * FROM y WHERE y.a = x.a) z ON true;\n",
    "CREATE SCHEMA IF NOT EXISTS other;\nDESCRIBE t;\n",
    "SELECT a FROM range(1, $n) UNION SELECT CASE WHEN a THEN (((1))) END FROM t EXCEPT SELECT {'k': [1, 2]};\n",
    "-- tags: a=b\n-- nodes: x\n-- parameter: y = 1\nSELECT 1;\n",
    "CREATE OR REPLACE TABLE o (a INT NOT NULL, b TEXT DEFAULT 'x', PRIMARY KEY (a));\n",
    "BEGIN;\nCOMMIT;\n;;\n",
];

const PIECES: [&str; 22] = [
    "'",
    "\"",
    "`",
    "$$",
    "$",
    "--",
    "-- node: ",
    "-- tag: =",
    "-- param: ",
    "-- expect: ",
    "/*",
    "*/",
    ";",
    "\n",
    "\r",
    "(",
    ")",
    "\u{0}",
    "é\u{301}",
    "\u{feff}",
    " AS ",
    "99999999999999999999",
];

fn script(random: &mut Rng) -> String {
    let statement = |random: &mut Rng| STATEMENTS[random.usize(..STATEMENTS.len())];
    let mut text: String = (0..random.usize(1..5)).map(|_| statement(random)).collect();
    for _ in 0..random.usize(..4) {
        let [start, end] = place(&text, random);
        match random.usize(..4) {
            0 => text.insert_str(start, PIECES[random.usize(..PIECES.len())]),
            1 => text.truncate(start),
            2 => text.replace_range(start..end, ""),
            _ => {
                let again = text[start..end].to_owned();
                text.insert_str(start, &again);
            }
        }
    }
    text
}

/// Two positions in a text, the second shortly after the first.
fn place(text: &str, random: &mut Rng) -> [usize; 2] {
    let start = random.usize(..=text.len());
    let end = (start + random.usize(..40)).min(text.len());
    [start, end].map(|at| text.floor_char_boundary(at))
}

/// Whether the text is a valid script.
fn check(text: &str) -> bool {
    let lines = text.split('\n').count();
    let script = match Script::parse("a.sql", text) {
        Ok(script) => script,
        Err(error) => {
            assert!((1..=lines).contains(&error.place.line), "{error} of {text:?}");
            assert!(error.shown_by(&Redactor::default()).starts_with("a.sql:"), "{error} of {text:?}");
            return false;
        }
    };
    for statement in script.statements() {
        assert!(text.contains(&statement.text), "{:?} of {text:?}", statement.text);
        assert!(statement.first_line <= statement.last_line && statement.last_line <= lines, "{text:?}");
        assert!(statement.parse().is_ok(), "{:?} of {text:?}", statement.text);
    }
    let statements = script.statements().len();
    // Duplicate definitions and missing objects are rejected.
    if let Ok(pipeline) = Pipeline::new(script, PipelineOptions::default()) {
        assert_eq!(pipeline.steps().len(), statements, "{text:?}");
        for (position, step) in pipeline.steps().iter().enumerate() {
            assert!(step.after.iter().all(|before| *before < position), "{text:?}");
        }
    }
    true
}

#[test]
fn every_undamaged_statement_is_read() {
    for statement in STATEMENTS {
        assert!(check(statement), "{statement}");
    }
}

#[test]
fn a_damaged_script_is_read_or_refused() {
    let mut random = Rng::with_seed(7);
    let read = (0..SCRIPTS).filter(|_| check(&script(&mut random))).count() as u64;
    assert!((SCRIPTS / 10..SCRIPTS * 9 / 10).contains(&read), "{read} of {SCRIPTS} were read");
}
