//! Credentials that are recognised by position: in all branches of a set operation, in joins, subqueries and lists.

use crate::redact::Redactor;

/// Every literal that begins with `x` is hidden, and nothing else is. Compared rows, and the conditions of a CASE that returns a
/// hidden column, are hidden completely.
#[track_caller]
fn wrong(sql: &str) -> Option<String> {
    let shown = Redactor::default().without_sql_secrets(sql);
    let literals = |text: &str| text.split('\'').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let expected: Vec<String> = literals(sql)
        .into_iter()
        .map(|literal| if literal.starts_with('x') { "[redacted]".to_owned() } else { literal })
        .collect();
    (literals(&shown) != expected).then(|| format!("{sql}\n  {shown}"))
}

#[track_caller]
fn check(statements: &[&str]) {
    let wrong: Vec<String> = statements.iter().filter_map(|sql| wrong(sql)).collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn all_branches_of_a_set_operation_have_the_names_of_the_first() {
    check(&[
        "SELECT 'x' AS password UNION ALL SELECT 'x2'",
        "SELECT 'x' password UNION ALL SELECT 'x2'",
        "SELECT 'x' AS \"Password\" UNION SELECT 'x2' UNION SELECT 'x3'",
        "SELECT 'b' AS name, 'x' AS password UNION SELECT 'c', 'x2' UNION ALL SELECT 'd', lower('x3') ORDER BY 1",
        "SELECT name, password FROM u UNION ALL SELECT 'b', 'x' FROM t WHERE n = 'c' UNION SELECT 'd', 'x2'",
        "SELECT password FROM u UNION SELECT 'x' ORDER BY 1",
        "SELECT u.name, u.password FROM u WHERE name = 'a' UNION SELECT 'b', 'x'",
        "(SELECT 'b' AS n, 'x' AS password) UNION ALL (SELECT 'c', 'x2')",
        "(SELECT 'b' AS n, 'x' AS password) UNION ALL SELECT 'c', 'x2'",
        "((SELECT 'b' AS n, 'x' AS password) UNION ALL (SELECT 'c', 'x2')) UNION SELECT 'd', 'x3'",
        "SELECT 'b' AS n, 'x' AS password UNION ALL ((SELECT 'c', 'x2') UNION (SELECT 'd', 'x3'))",
        "SELECT 'b' AS n, 'x' AS password EXCEPT SELECT 'c', 'x2' INTERSECT SELECT 'd', 'x3'",
        "SELECT DISTINCT 'b' AS n, 'x' AS password MINUS SELECT DISTINCT 'c', 'x2'",
        "SELECT 'b' AS n, 'x' AS password UNION ALL VALUES ('c', 'x2'), ('d', 'x3')",
        "WITH r(n, password) AS (SELECT 'b', 'x' UNION ALL SELECT 'c', 'x2' FROM r WHERE n = 'd') SELECT 'e' FROM r",
        "WITH RECURSIVE r AS (SELECT 'b' AS n, 'x' AS password UNION ALL SELECT 'c', 'x2' FROM r) SELECT 'e' FROM r",
        "SELECT * FROM (SELECT 'b', 'x' UNION ALL SELECT 'c', 'x2') AS t(name, password)",
        "SELECT 'b' FROM (SELECT 'c' AS n, 'x' AS password UNION ALL SELECT 'd', 'x2') s WHERE n = 'e'",
        "CREATE TABLE v AS SELECT 'b' AS name, 'x' AS password UNION ALL SELECT 'c', 'x2'",
        "CREATE VIEW v AS (SELECT 'b' AS name, 'x' AS password UNION ALL SELECT 'c', 'x2')",
        "COPY (SELECT 'b' AS name, 'x' AS password UNION ALL SELECT 'c', 'x2') TO 'd'",
        "INSERT INTO u (name, password) SELECT 'b', 'x' UNION ALL SELECT 'c', 'x2' FROM t WHERE name = 'd'",
        "INSERT INTO u (name, password) (SELECT 'b', 'x' UNION ALL SELECT 'c', 'x2')",
        "INSERT INTO u (name, password) WITH c AS (SELECT 'd' AS n) SELECT 'b', 'x' FROM c UNION SELECT 'e', 'x2'",
        "CREATE TABLE u (name VARCHAR, password VARCHAR); SELECT * FROM u UNION ALL SELECT 'b', 'x'",
        "CREATE TABLE u (name VARCHAR, password VARCHAR); SELECT u.*, 'a' FROM u UNION ALL SELECT 'b', 'x', 'c'",
        "SELECT 'b' AS n, CASE WHEN n = 'c' THEN 'x' END AS password UNION SELECT 'd', CASE WHEN n = 'xe' THEN 'x2' ELSE 'x3' END",
        "SELECT 'b' AS n, 'c' AS m UNION SELECT 'd', 'e'; SELECT 'f', 'x' AS password UNION SELECT 'g', 'x2'",
        "SELECT 'b' AS n FROM t WHERE password = 'x' UNION SELECT 'c'",
        "SELECT 'b' AS n UNION SELECT 'x' AS password",
    ]);
}

#[test]
fn joins_and_subqueries_name_hidden_columns() {
    check(&[
        "SELECT 'b' FROM t JOIN u ON u.password = 'x' AND u.n = 'c' WHERE t.n = 'd'",
        "SELECT 'b' FROM t JOIN u ON t.id = u.id AND u.password IN ('x', 'x2') LEFT JOIN v ON v.n = 'c'",
        "SELECT 'b' FROM t JOIN u ON (u.password = 'x' OR u.n = 'c') AND t.n = 'd'",
        "SELECT 'b' FROM t JOIN (SELECT 'c' AS n, 'x' AS password) u ON u.n = t.n",
        "SELECT 'b' FROM t JOIN (VALUES ('x')) AS p(password) ON p.password = t.q",
        "SELECT 'b' FROM t CROSS JOIN (SELECT 'x', 'c') AS p(password, n)",
        "SELECT 'b' FROM t JOIN LATERAL (SELECT 'x') AS p(password) ON true",
        "SELECT * FROM (SELECT 'x') AS t(password)",
        "SELECT * FROM (SELECT 'x') t (password)",
        "SELECT * FROM (SELECT 'b', 'x') AS \"T\"(\"Name\", \"Password\")",
        "SELECT 'b' FROM u WHERE password IN (SELECT 'x')",
        "SELECT 'b' FROM u WHERE password = ANY (SELECT 'x' UNION SELECT 'x2')",
        "SELECT 'b' FROM t WHERE EXISTS (SELECT 1 FROM u WHERE password = 'x' AND n = 'c')",
        "SELECT 'b' FROM t WHERE 'x' IN (SELECT password FROM u WHERE n = 'c')",
        "SELECT 'b' FROM t WHERE 'x' = (SELECT max(password) FROM u WHERE n = 'c')",
        "SELECT 'b' FROM t WHERE ('xn', 'x') IN (SELECT name, password FROM u)",
        "SELECT 'b' FROM u WHERE (name, password) IN (('xn', 'x'), ('xn', 'x2'))",
        "SELECT 'b' FROM u WHERE (name, password) = ('xn', 'x')",
        "SELECT (SELECT 'x') AS password, 'b' FROM t",
        "SELECT (SELECT 'x' FROM t WHERE n = 'c') AS password, 'b' FROM t",
        "SELECT p FROM (SELECT password AS p FROM u) s JOIN t ON p = 'x' AND t.n = 'b'",
        "DELETE FROM u WHERE password = 'x' AND n = 'b'",
    ]);
}

#[test]
fn lists_and_expressions_are_called_by_hidden_names() {
    check(&[
        "SELECT 'x'::VARCHAR AS password, 'b'",
        "SELECT CAST('x' AS VARCHAR) AS password, 'b'",
        "SELECT ('x') AS password, (('b')) AS n",
        "SELECT CASE WHEN n = 'b' THEN 'x' END AS token, 'c'",
        "SELECT CASE n WHEN 'b' THEN 'x' ELSE 'x2' END password, 'c'",
        "SELECT CASE WHEN n = 'b' THEN CASE m WHEN 'c' THEN 'x' ELSE 'x2' END END AS password",
        "SELECT coalesce(password, 'x'), 'b' FROM u",
        "SELECT replace(password, 'x', 'x2'), 'b' FROM u",
        "SELECT unnest(['x', 'x2']) AS password, 'b'",
        "SELECT struct('b' AS name, 'x' AS password)",
        "SELECT {'name': 'b', 'password': 'x'}",
        "SELECT sum(CASE WHEN password = 'x' THEN 1 END) AS n, 'b'",
        "SELECT 'b' FROM (VALUES ('c', 'x'), ('d', 'x2')) AS v(name, password) WHERE name = 'e'",
        "WITH c(name, password) AS (VALUES ('b', 'x'), ('c', 'x2')) SELECT 'd' FROM c",
        "WITH c AS (SELECT 'x' AS password), d(password) AS (SELECT 'x2') SELECT 'e' FROM c, d",
        "UPDATE u SET name = 'b', password = 'x' WHERE n = 'c'",
        "UPDATE u SET password = CASE WHEN n = 'c' THEN 'x' ELSE 'x2' END, name = 'b' WHERE n = 'd'",
        "UPDATE u SET password = (SELECT 'x'), name = 'b'",
        "UPDATE u SET password = s.password FROM (SELECT 'x' AS password, 'b' AS n) s WHERE s.n = 'c'",
        "MERGE INTO u USING (SELECT 'b' AS name, 'x' AS password) s ON s.name = u.name WHEN MATCHED THEN UPDATE SET \
         u.password = 'x2', n = 'c'",
        "MERGE INTO u USING (VALUES ('b', 'x')) AS s(name, password) ON s.name = u.name WHEN NOT MATCHED THEN INSERT \
         (name, password) VALUES ('c', 'x2')",
        "MERGE INTO u USING s ON u.password = 'x' AND u.n = 'b' WHEN MATCHED THEN DELETE",
        "INSERT INTO u (name, password) VALUES ('b', 'x') RETURNING 'c'",
        "INSERT INTO u (name, password) VALUES ('b', 'x') ON CONFLICT (name) DO UPDATE SET password = 'x2', n = 'c'",
    ]);
}

#[test]
fn programs_are_called_with_passwords() {
    for (text, secret) in [
        ("mysql -u root -phunter2 shop", "hunter2"),
        ("mysqldump --user=root -phunter2 shop", "hunter2"),
        ("mysql -uroot -p'hunter 2' shop", "hunter 2"),
        ("mariadb -phunter2", "hunter2"),
        ("mysqladmin -h db -phunter2 ping", "hunter2"),
        ("sqlcmd -S db -U sa -P hunter2 -Q x", "hunter2"),
        ("sqlcmd -S db -U sa -Phunter2", "hunter2"),
        ("bcp t out t.csv -U sa -P hunter2", "hunter2"),
        ("sshpass -p hunter2 ssh ann@db", "hunter2"),
        ("redis-cli -h db -a hunter2 GET k", "hunter2"),
        ("PGPASSWORD=hunter2 psql -h db", "hunter2"),
        ("export MYSQL_PWD='hunter2'", "hunter2"),
        ("mysql --password=hunter2", "hunter2"),
        ("mysql --password hunter2", "hunter2"),
        ("curl -u ann:hunter2 https://host", "hunter2"),
        ("mongosh -u ann -p hunter2 db", "hunter2"),
        ("ldapsearch -D cn=x -w hunter2", "hunter2"),
        ("SET PGPASSWORD=hunter2", "hunter2"),
    ] {
        let shown = Redactor::default().text(text);
        assert!(!shown.contains(secret) && shown.contains("[redacted]"), "{shown}");
        let comment = Redactor::default().sql_text(&format!("-- {text}\nSELECT 1"));
        assert!(!comment.contains(secret) && comment.ends_with("SELECT 1"), "{comment}");
    }
    for text in [
        "mysql -P 3306 -u root shop",
        "psql -p 5432 -U ann shop",
        "mkdir -p out/reports",
        "cp -p a b",
        "ssh -p 2222 ann@db",
        "sort -w 8",
        "ls -a out",
        "docker run -p 8080:80 mysql",
    ] {
        assert_eq!(Redactor::default().text(text), text);
    }
}
