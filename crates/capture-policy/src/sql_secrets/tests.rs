//! Literals of SQL that are credentials, and those that are not.

use proptest::prelude::*;

use super::*;
use crate::redact::Redactor;

struct Words;

impl Hidden for Words {
    fn name(&self, name: &str) -> bool {
        name.to_lowercase().contains("password")
    }

    fn option(&self, key: &str) -> bool {
        self.name(key) || key.contains("key")
    }
}

/// Every `x` in quotes is a credential, and nothing else is.
#[track_caller]
fn check(sql: &str) {
    let found = secrets(sql, &Words);
    let found: Vec<&str> = found.ranges.iter().map(|range| &sql[range.clone()]).collect();
    let is_secret = |text: &str| text.starts_with('x') || text == "12345";
    let expected =
        sql.split(['\'', '"', '=', ' ', '(', ')', ',', '$', ';']).filter(|text| is_secret(text)).count();
    assert!(found.iter().all(|text| is_secret(text)) && found.len() == expected, "{found:?} in {sql}");
}

#[test]
fn what_is_compared_to_a_hidden_column() {
    for sql in [
        "SELECT 'a' FROM u WHERE u.password = 'x' AND name = 'b'",
        "SELECT 'a' FROM u WHERE 'x' = \"Password\" OR name = 'b'",
        "SELECT a FROM u WHERE password IN ('x', 'x2', E'x3') AND name IN ('b', 'c')",
        "SELECT a FROM u WHERE lower(password) = upper('x') ORDER BY 'b'",
        "SELECT a FROM u WHERE password NOT LIKE 'x' ESCAPE 'x2' LIMIT 10",
        "SELECT a FROM u WHERE password BETWEEN 'x' AND 'x2' AND n = 'b'",
        "SELECT a FROM u WHERE password IS DISTINCT FROM 'x' AND n = 'b'",
        "SELECT a FROM u WHERE password = CAST('x' AS VARCHAR)",
        "SELECT a FROM u WHERE ('x', 12345) = (password, id)",
        "SELECT a FROM u WHERE (name = 'b' AND password = 'x') OR name = 'c'",
        "SELECT a FROM u WHERE password = 'x' || 'x2' AND b = 7",
        "SELECT a FROM u WHERE password = $$x$$",
        "SELECT a FROM u WHERE password = 12345 AND n = 99999",
        "SELECT a FROM u WHERE trim(BOTH 'x' FROM password) = 'x1'",
        "UPDATE u SET name = 'b', password = 'x' WHERE name = 'c'",
        "SELECT a FROM u WHERE password = (SELECT 'x' FROM v WHERE name = 'b')",
        "SELECT a FROM u WHERE get_field(u, 'password') = 'x' AND n = 'b'",
        "SELECT a FROM u WHERE lower(get_field(u.s, 'password')) IN ('x', 'x2') OR n = 'b'",
        "Filter: get_field(u.s, Utf8(\"password\")) = Utf8(\"x\") AND u.n = Utf8(\"b\")",
        "SELECT contains(n, 'password'), 'b', named_struct(Utf8(\"name\"), Utf8(\"b\")), 'c'",
        "SELECT a FROM u WHERE password IN (12345, 0xa) AND n = 0xdeadbeef",
        "SELECT a FROM passwords.t WHERE name = 'b'; SELECT 'password', a FROM t WHERE n = 'b'",
    ] {
        check(sql);
    }
}

/// What a password looks like says less than the column that it stands in.
#[test]
fn passwords_that_look_like_names_of_credentials() {
    for password in ["MyPassword1", "hunter2pass", "Secret-2024", "prod_pass", "dbtoken77", "cookie-monster"]
    {
        let redactor = Redactor::default();
        redactor.learn("CREATE TABLE u(login VARCHAR, password VARCHAR)");
        for sql in [
            "INSERT INTO u VALUES ('ann', '{}'), ('bob', '{}')",
            "INSERT INTO u (password, login) VALUES ('{}', 'cy')",
            "SELECT '{}' AS password, 'b' AS name",
            "CREATE TABLE v AS SELECT * FROM (VALUES ('ann', '{}')) t(name, password)",
            "WITH t(login, password) AS (VALUES ('ann', '{}')) SELECT login FROM t",
            "Projection: Utf8(\"{}\") AS password, Utf8(\"b\")",
            "Projection: column1 AS name, column2 AS password\n  Values: (Utf8(\"ann\"), Utf8(\"{}\"))",
        ] {
            let text = sql.replace("{}", password);
            let shown = match sql.starts_with("Projection") {
                true => redactor.plan_text(&text),
                false => redactor.sql_text(&text),
            };
            assert_eq!(shown, sql.replace("{}", "[redacted]"), "{password}");
        }
    }
}

/// Neither does what it looks like, wherever it is compared or handed over with its column.
#[test]
fn passwords_with_the_word_for_a_credential_in_them() {
    for password in ["Summertoken24", "mypassword77", "Geheimpasswd1", "SecretGarden9"] {
        let redactor = Redactor::default();
        redactor.learn("CREATE TABLE u(login VARCHAR, password VARCHAR)");
        for sql in [
            "SELECT a FROM u WHERE password IN ('{}', '{}') AND login IN ('ann', 'bob')",
            "SELECT a FROM u WHERE password NOT IN ('{}')",
            "SELECT a FROM u WHERE password BETWEEN '{}' AND '{}' OR login = 'ann'",
            "SELECT a FROM u WHERE password LIKE '{}' OR password ILIKE '{}' OR password ~ '{}'",
            "SELECT a FROM u WHERE lower(password) = '{}' AND upper(password) <> '{}'",
            "SELECT a FROM u WHERE password = ANY(make_array('{}', '{}'))",
            "SELECT strpos(password, '{}'), nullif(password, '{}'), coalesce(password, '{}') FROM u",
            "SELECT a FROM u WHERE CAST('{}' AS VARCHAR) = password",
            "UPDATE u SET password = '{}' WHERE login = 'ann'",
            "Filter: u.password IN ([Utf8(\"{}\"), Utf8(\"{}\")])",
            "Filter: lower(u.password) = Utf8(\"{}\")",
            "Filter: u.password BETWEEN Utf8(\"{}\") AND Utf8(\"{}\")",
            "Filter: u.password LIKE Utf8(\"{}\") OR u.password ILIKE Utf8(\"{}\") OR u.password ~ Utf8(\"{}\")",
            "Filter: array_has(make_array(Utf8(\"{}\"), Utf8(\"{}\")), u.password)",
            "Filter: CAST(Utf8(\"{}\") AS Utf8View) = u.password",
            "Projection: strpos(u.password, Utf8(\"{}\")), nullif(u.password, Utf8View(\"{}\"))",
        ] {
            let text = sql.replace("{}", password);
            let shown = match sql.starts_with("Filter") || sql.starts_with("Projection") {
                true => redactor.plan_text(&text),
                false => redactor.sql_text(&text),
            };
            assert_eq!(shown.replace("[redacted]", "{}"), sql, "{password}");
        }
    }
    let key =
        "Projection: Utf8(\"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\n-----END PRIVATE KEY-----\") AS a";
    assert!(!Redactor::default().plan_text(key).contains("MIIE"), "{}", Redactor::default().plan_text(key));
    // Beside another column it is a word like others.
    let text = "SELECT a FROM u WHERE comment IN ('Summertoken24', 'red')";
    assert_eq!(Redactor::default().sql_text(text), text);
}

#[test]
fn what_is_called_by_a_hidden_name() {
    for sql in [
        "SELECT 'x' AS password, 'b' AS name",
        "SELECT concat('x', 'x2') password, 'b'",
        "SELECT CASE WHEN role = 'b' THEN 'x' ELSE 'x2' END AS password, 'c'",
        "SELECT CASE password WHEN 'x' THEN 'a' END, 'c'",
        "SELECT CASE WHEN password = 'x' THEN 'a' ELSE 'b' END, 'c'",
        "SELECT CASE WHEN u.password = v.password THEN 'a' ELSE 'b' END, 'c'",
        "SELECT CASE WHEN length(password) > 8 THEN 'a' WHEN password IS NULL THEN 'b' END AS n, 'c'",
        "SELECT f(password => 'x', name => 'b')",
        "SELECT f(password := 'x', name := 'b')",
        "SELECT named_struct('name', 'b', 'password', 'x')",
        "Projection: named_struct(Utf8(\"name\"), Utf8(\"b\"), Utf8(\"password\"), Utf8(\"x\"), Utf8(\"n\"), Utf8(\"c\"))",
        "SELECT MAP {'password': 'x', 'name': 'b'}",
        "CREATE TABLE u (name VARCHAR DEFAULT 'b', password VARCHAR DEFAULT 'x')",
        "Filter: u.password IN ([Utf8(\"x\"), Utf8(\"x2\")]) AND u.name = Utf8(\"b\")",
        "Projection: Utf8(\"x\") AS password, Utf8(\"b\")",
        "-- WHERE password IN ('x') AND n = 'b'\nSELECT 1",
    ] {
        check(sql);
    }
}

/// A text that a column is compared to may be the word for a credential, and says nothing about the others.
#[test]
fn what_something_is_compared_to_names_nothing() {
    for sql in [
        "SELECT a FROM t WHERE name IN ('password', 'red')",
        "SELECT a FROM t WHERE name NOT IN ('red', 'password', 'blue') AND kind = 'b'",
        "SELECT a FROM t WHERE lower(name) IN (lower('password'), CAST('red' AS VARCHAR)) OR kind = 'b'",
        "SELECT a FROM t WHERE name = ANY(['password', 'red'])",
        "SELECT a FROM t WHERE name <> ALL(ARRAY['password', 'red'])",
        "SELECT a FROM t WHERE array_has(['password', 'red'], name) AND kind = 'b'",
        "SELECT a FROM t WHERE array_has(make_array('password', 'red'), name)",
        "SELECT a FROM t WHERE name BETWEEN 'password' AND 'zebra' OR name BETWEEN 'apple' AND 'password'",
        "SELECT a FROM t WHERE name LIKE 'password' ESCAPE 'b'",
        "SELECT a FROM t WHERE coalesce(name, 'red') = 'password'",
        "SELECT a FROM t WHERE 'red' || name >= 'password'",
        "SELECT name IN ('password', 'red') AS is_special, 'b' FROM t",
        "DELETE FROM t WHERE name in('password','red')",
        "Filter: t.name IN ([Utf8(\"password\"), Utf8View(\"red\")]) OR t.name = Utf8(\"b\")",
        "Filter: array_has(make_array(Utf8(\"password\"), Utf8(\"red\")), t.name)",
        "Filter: t.name BETWEEN Utf8(\"password\") AND Utf8(\"red\")",
        "Filter: coalesce(t.name, Utf8(\"red\")) = Utf8(\"password\")",
    ] {
        check(sql);
    }
    // What stands beside a credential's name is one all the same.
    for sql in [
        "SELECT a FROM t WHERE (name, value) IN (('password', 'x'), ('password', 'x2'))",
        "SELECT a FROM t WHERE password IN ('password', 'x')",
        "SELECT a FROM t WHERE data ->> 'password' = 'x'",
        "SELECT a FROM t WHERE data -> 'password' IN ('x', 'x2')",
        "SELECT a FROM t WHERE 'x' = u['password'] AND name IN ('b', 'c')",
        "SELECT a FROM t WHERE 'x' = get_field(u, 'password')",
        "SELECT a FROM t WHERE get_field(u, 'password') = ANY(['x', 'x2'])",
        "SELECT map(['password'], ['x'])",
        "SELECT MAP {'password': 'x', 'name': 'b'} WHERE name IN ('password', 'red')",
        "SELECT decode_pair('password', 'x') WHERE name IN ('password', 'red')",
        "SELECT a FROM t WHERE name IN ('password', 'red') AND password = 'x'",
    ] {
        check(sql);
    }
}

#[test]
fn comments_in_comments_need_no_stack() {
    let read = || {
        for text in
            ["--a".repeat(100_000) + "'x'", "/*a".repeat(100_000) + "'x'", "*/--".repeat(100_000) + "'x'"]
        {
            let sql = format!("--a {text} AND password = 'x'");
            assert_eq!(secrets(&sql, &Words).ranges.len(), 1);
        }
    };
    std::thread::Builder::new().stack_size(512 * 1024).spawn(read).unwrap().join().unwrap();
}

#[test]
fn what_is_inserted_for_a_hidden_column() {
    for sql in [
        "INSERT INTO u (name, password, n) VALUES ('a', 'x', 1), ('b', lower('x2'), 2)",
        "INSERT INTO c.s.u (name, password) SELECT 'b', 'x' FROM t WHERE n = 'c'",
        "WITH t(name, password) AS (VALUES ('b', 'x')) SELECT 'c' FROM t",
        "SELECT * FROM (VALUES ('b', 'x'), ('c', 'x2')) AS t(name, password) WHERE n = 'd'",
        "CREATE TABLE u (name VARCHAR, password VARCHAR) AS VALUES ('b', 'x')",
        "MERGE INTO u USING s ON u.id = s.id WHEN MATCHED AND u.n = 'b' THEN UPDATE SET password = 'x' \
         WHEN NOT MATCHED THEN INSERT (name, password) VALUES ('b', 'x2')",
        "MERGE INTO u USING s ON u.id = s.id WHEN NOT MATCHED THEN INSERT (password, name) VALUES ('x', 'b') \
         WHEN MATCHED AND (u.n = 'b') THEN UPDATE SET name = 'c'",
        "PREPARE p AS INSERT INTO u (name, password) VALUES ($1, $2); EXECUTE p('b', 'x'); EXECUTE q('b')",
    ] {
        check(sql);
    }
    let hexadecimal = secrets("SELECT 1 WHERE password IN (0xdeadbeef, 0xa)", &Words).ranges;
    assert_eq!(hexadecimal.first(), Some(&(28..38)));
    assert_eq!(hexadecimal.len(), 1);
    assert_eq!(secrets("SELECT 1 WHERE password = $pw", &Words).placeholders, ["pw"]);
}

#[test]
fn what_stands_in_the_position_of_a_hidden_column() {
    let made = "CREATE TABLE u (name VARCHAR, password VARCHAR, n INT);";
    for inserted in [
        "INSERT INTO u VALUES ('b', 'x', 1), ('c', lower('x2'), 2)",
        "INSERT INTO c.s.\"U\" SELECT 'b', 'x', 3",
        "INSERT INTO TABLE u (SELECT 'b', concat('x', 'x2'), 3)",
        "INSERT OVERWRITE u SELECT 'b', 'x', 3 UNION ALL SELECT 'c', 'x2', 4 FROM t WHERE n = 'd'",
        "INSERT INTO u (name, n) VALUES ('b', 'c')",
        "INSERT INTO u (password) VALUES ('x')",
        "INSERT INTO v VALUES ('b', 'c', 3)",
    ] {
        check(&format!("{made} {inserted}"));
    }
    for sql in [
        "CREATE TABLE u AS SELECT 'b' AS name, 'x' AS password; INSERT INTO u VALUES ('c', 'x2')",
        "CREATE TABLE IF NOT EXISTS u AS (SELECT n, password FROM t); INSERT INTO u VALUES ('c', 'x')",
        "CREATE TABLE u (name VARCHAR, password VARCHAR) AS VALUES ('b', 'x'); INSERT INTO u VALUES ('c', 'x2')",
        "CREATE TABLE u (p DECIMAL(10, 2), password VARCHAR); CREATE TABLE v AS SELECT *, 'b' AS n FROM u; INSERT INTO v VALUES ('a', 'x', 'c')",
        "CREATE EXTERNAL TABLE u (name VARCHAR, password VARCHAR) STORED AS CSV LOCATION 'b'; INSERT INTO u VALUES ('c', 'x')",
        "SELECT name, password INTO u FROM t; INSERT INTO u VALUES ('c', 'x')",
        "CREATE VIEW v (name, password) AS SELECT 'b', 'x'",
        "SELECT * FROM (SELECT 'b', 'x') AS t(name, password)",
        "SELECT 'b', 'c' FROM (VALUES ('d', 'x')) t(name, password)",
        "WITH t(name, password) AS (SELECT 'b', concat('x', 'x2')) SELECT 'c' FROM t",
        "COPY (SELECT 'x' AS password, 'b' AS n) TO 'c'",
        "COPY (SELECT id FROM events WHERE kind = 'password_reset') TO 'b/resets.parquet'",
        "COPY (SELECT id FROM events WHERE kind = 'password_reset' AND password = 'x') TO 'b'",
        "COPY (SELECT id, map('password', 'x') AS m FROM events) TO 'b'",
        "SELECT id FROM t WHERE EXISTS (SELECT 1 FROM events WHERE kind = 'password_reset') AND name = 'b'",
        "SELECT ARRAY(SELECT 'x' AS password), 'b'",
        "UPDATE u SET password='x', name='b'",
        "UPDATE u SET (name, password) = ('b', 'x')",
    ] {
        check(sql);
    }
}

#[test]
fn what_is_compared_to_a_hidden_column_under_another_name() {
    for sql in [
        "SELECT p FROM (SELECT password AS p, n FROM u) WHERE p = 'x' AND n = 'b'",
        "SELECT p FROM (SELECT u.password p, n FROM u) s WHERE s.p IN ('x', 'x2') AND n = 'b'",
        "SELECT p FROM (SELECT lower(trim(password)) AS p FROM u) WHERE p LIKE 'x%' OR n = 'b'",
        "SELECT p FROM (SELECT password::VARCHAR AS p FROM u) WHERE 'x' = p",
        "SELECT r FROM (SELECT q AS r FROM (SELECT password AS q FROM u)) WHERE r = 'x'",
        "WITH c AS (SELECT password AS p FROM u) SELECT 'b' FROM c WHERE p = 'x'",
        "WITH c(p) AS (SELECT password FROM u) SELECT 'b' FROM c WHERE p = 'x'",
        "SELECT 'b' FROM (SELECT n, password FROM u) AS t(a, p) WHERE p = 'x' AND a = 'c'",
        "CREATE VIEW v AS SELECT password AS p FROM u; SELECT 'b' FROM v WHERE p = 'x'",
        "CREATE VIEW v AS SELECT n, password AS p FROM u; INSERT INTO v VALUES ('b', 'x')",
        "SELECT 'b' FROM u JOIN (VALUES ('x')) t(p) ON u.password = t.p",
        "SELECT 'b' FROM (VALUES ('b', 'x')) AS t(n, p), u WHERE t.p = u.password",
        "SELECT 'b' FROM u JOIN t ON t.p = u.\"password\" WHERE t.p IN ('x') AND u.n = 'b'",
        "SELECT length(password) AS n FROM u WHERE n = 'b'",
        "SELECT password = n AS p FROM u; SELECT a FROM t WHERE p = 'b'",
        "SELECT password AS p FROM u; SELECT a FROM t WHERE p = 'b'",
    ] {
        check(sql);
    }
}

#[test]
fn statements_of_any_length_are_read_in_time() {
    for sql in [
        "(SELECT password AS p ".repeat(30_000),
        "SELECT a AS b, ".repeat(30_000) + "password = 'x'",
        "password p, (".repeat(30_000),
        "SELECT (".repeat(30_000) + "password",
    ] {
        secrets(&sql, &Words);
    }
}

#[test]
fn plans_name_the_columns_of_values() {
    let plan = "Dml: op=[Insert Into] table=[u]\n  Projection: column1 AS name, CAST(column2 AS Utf8View) AS password\n    \
                Values: (Utf8(\"b\"), Utf8(\"x\")), (Utf8(\"c\"), Utf8(\"x2\"))";
    let found: Vec<&str> = plan_secrets(plan, &Words).into_iter().map(|range| &plan[range]).collect();
    assert_eq!(found, ["x", "x2"]);
}

#[test]
fn what_is_set() {
    for sql in [
        "SET a.password TO 'x'; SET b.name = 'b'",
        "SET a.key = xyz",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'b' OPTIONS ('aws.key' 'x', a.key::NAME 'x2', c.d 'e')",
        "COPY t TO 'b' OPTIONS ('a' f('b'), 'aws.key' 'x')",
        "COPY t TO 'b' OPTIONS ('aws.key' f('x', g('x2')), 'a' 'b') PARTITIONED BY (c)",
        "COPY t TO 'b' OPTIONS (format.crypto.key xyz, format.x true)",
        "CREATE FUNCTION f() RETURNS INT LANGUAGE l WITH (key = 'x', name = 'b') AS 'c'",
    ] {
        check(sql);
    }
}

/// What is found can be cut out of the text.
#[track_caller]
fn check_ranges(text: &str) {
    let found = secrets(text, &Words);
    assert!(found.ranges.iter().all(|range| text.get(range.clone()).is_some()), "{found:?} in {text}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn any_text_can_be_cut(text in "(password = )?(password|[$]{2}|=| |\\$|[a€é'\"`;,()\\[\\]/*\n-]|OPTIONS|IN|0x){0,30}") {
        check_ranges(&text);
    }
}

#[test]
fn a_literal_without_its_end_is_hidden_whole() {
    for (sql, expected) in [
        ("SELECT password = $$x€", "SELECT password = $$[redacted]"),
        ("SELECT password = $$hunter2", "SELECT password = $$[redacted]"),
        ("SELECT password = $a$hunter2$a", "SELECT password = $a$[redacted]"),
        ("SELECT password = $a$hunter2$a$", "SELECT password = $a$[redacted]$a$"),
    ] {
        assert_eq!(Redactor::default().without_sql_secrets(sql), expected);
    }
}

#[test]
fn any_text_has_tokens() {
    for text in [
        "password = 'open",
        "password = $$x€",
        "password = $é$x€$é",
        "password = $$$",
        "))) password ( 'x",
        "case password end end",
        "password in ('",
        "\\'",
        "insert into",
    ] {
        check_ranges(text);
    }
    let deep = format!("SELECT {}'x'{} AS password", "(".repeat(100_000), ")".repeat(100_000));
    assert_eq!(secrets(&deep, &Words).ranges.len(), 1);
}
