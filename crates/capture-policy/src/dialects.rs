//! The comment markers of SQL dialects other than `--` and `/*`, and how a script changes the dialect.

/// Additional markers of line comments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LineComments {
    /// `#`, which is an operator in other dialects.
    pub(crate) hash: bool,
    /// `//`.
    pub(crate) slashes: bool,
}

impl LineComments {
    /// The markers of a dialect, by its DataFusion name.
    pub(crate) fn of_dialect(name: &str) -> Self {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        Self {
            hash: ["mysql", "bigquery", "hive", "snowflake"].into_iter().any(is),
            slashes: is("snowflake"),
        }
    }

    /// The markers of either.
    pub(crate) const fn or(self, other: Self) -> Self {
        Self { hash: self.hash || other.hash, slashes: self.slashes || other.slashes }
    }
}

/// Whether a text names a dialect in which double quotes delimit literals.
pub(crate) fn has_double_quoted_text(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["mysql", "bigquery", "databricks", "hive", "spark"].iter().any(|dialect| text.contains(dialect))
}

/// The maximum length in bytes of a statement that sets a dialect.
const LONGEST: usize = 256;

/// The dialect that a statement sets, empty if it resets the setting: `SET datafusion.sql_parser.dialect = 'mysql'`. `statement`
/// may be followed by more text.
pub(crate) fn dialect_set(statement: &str) -> Option<&str> {
    let statement = &statement[..statement.floor_char_boundary(LONGEST)];
    let statement = statement.split(';').next().unwrap_or_default();
    let (verb, rest) = statement.split_once(char::is_whitespace)?;
    let is_reset = verb.eq_ignore_ascii_case("reset");
    if !is_reset && !verb.eq_ignore_ascii_case("set") {
        return None;
    }
    let rest = rest.trim();
    let (key, value) =
        rest.split_at(rest.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(rest.len()));
    let key = key.replace(['"', '`'], "");
    if !key.eq_ignore_ascii_case("datafusion.sql_parser.dialect") {
        return None;
    }
    if is_reset {
        return Some("");
    }
    let value = value.trim_start();
    let behind_to = || value.split_once(char::is_whitespace).filter(|(to, _)| to.eq_ignore_ascii_case("to"));
    let value = value.strip_prefix('=').or_else(|| Some(behind_to()?.1))?;
    let value = value.trim_start().trim_start_matches(['\'', '"']);
    Some(&value[..value.find(|c: char| !c.is_alphanumeric()).unwrap_or(value.len())])
}

/// The markers of all dialects that a script sets.
pub(crate) fn of_script(sql: &str) -> LineComments {
    let mut all = LineComments::default();
    // Most texts set none, and are not read any further.
    if !sql.as_bytes().windows(7).any(|word| word.eq_ignore_ascii_case(b"dialect")) {
        return all;
    }
    for at in sql.match_indices(['s', 'S']).map(|(at, _)| at) {
        if let Some(dialect) = dialect_set(&sql[at..]) {
            all = all.or(LineComments::of_dialect(dialect));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{policy::Policy, profile::Profile, redact::Redactor};

    #[test]
    fn the_dialect_that_is_set_is_read() {
        for (statement, expected) in [
            ("SET datafusion.sql_parser.dialect = 'MySQL'; SELECT 1", Some("MySQL")),
            ("set datafusion.sql_parser.dialect to Snowflake", Some("Snowflake")),
            ("SET \"datafusion\".\"sql_parser\".\"dialect\"='hive'", Some("hive")),
            ("SET  datafusion.sql_parser.dialect=bigquery;", Some("bigquery")),
            ("RESET datafusion.sql_parser.dialect; SELECT 1", Some("")),
            ("SET datafusion.sql_parser.recursion_limit = 5", None),
            ("SELECT dialect FROM t", None),
            ("SET", None),
            ("SET datafusion.sql_parser.dialect", None),
        ] {
            assert_eq!(dialect_set(statement), expected, "{statement}");
        }
    }

    /// What `prod` shows of a script after learning it.
    fn shown(script: &str) -> String {
        let redactor = Policy::of_profile(Profile::Prod).redactor().clone();
        redactor.learn(script);
        redactor.sql_text(script)
    }

    #[test]
    fn comments_go_as_the_dialect_in_force_has_them() {
        let of = |dialect: &str, text: &str| {
            let set = format!("SET datafusion.sql_parser.dialect = '{dialect}';\n");
            let shown = shown(&format!("{set}{text}"));
            shown.strip_prefix("SET datafusion.sql_parser.dialect = ?;\n").unwrap_or(&shown).to_owned()
        };
        for dialect in ["mysql", "bigquery", "hive", "snowflake", "MySQL"] {
            assert_eq!(of(dialect, "SELECT a # of zqmk\nFROM t"), "SELECT a # ?\nFROM t", "{dialect}");
            // An apostrophe in a comment opens nothing.
            assert_eq!(of(dialect, "# it's zqmk\nSELECT 'b', c"), "# ?\nSELECT ?, c", "{dialect}");
        }
        assert_eq!(of("snowflake", "SELECT a // of zqmk\n, 'http://b' FROM t"), "SELECT a // ?\n, ? FROM t");
        assert_eq!(of("snowflake", "//\n#\nSELECT a"), "//\n#\nSELECT a");
        for operators in ["SELECT a # b, c", "SELECT a #> b, c // d"] {
            assert_eq!(of("postgresql", operators), operators);
        }
        let back = "SELECT a # zqmk\n;RESET datafusion.sql_parser.dialect;SELECT a # b";
        let reset = "SELECT a # ?\n;RESET datafusion.sql_parser.dialect;SELECT a # b";
        assert_eq!(of("mysql", back), reset);
        // A comment sets nothing.
        assert_eq!(shown("-- SET datafusion.sql_parser.dialect = 'x'\nSELECT a # b"), "-- ?\nSELECT a # b");
    }

    #[test]
    fn parts_of_a_script_are_read_in_each_dialect_that_it_sets() {
        let redactor = Policy::of_profile(Profile::Prod).redactor().clone();
        redactor.learn("SET datafusion.sql_parser.dialect = 'mysql'; SELECT 1");
        assert_eq!(redactor.sql_text("SELECT a # zqmk\nFROM t"), "SELECT a # ?\nFROM t");
        assert_eq!(redactor.source_line("SELECT a # zqmk"), "SELECT a # ?");
        // In another dialect it is a literal of two lines.
        let both = redactor.sql_text("SELECT a # 'zq\nmk', b");
        assert!(!both.contains("zq") && !both.contains("mk"), "{both}");
        let other = Policy::of_profile(Profile::Prod).redactor().clone();
        other.start_in_dialect("snowflake");
        assert_eq!(other.sql_text("SELECT a // zqmk\nFROM t"), "SELECT a // ?\nFROM t");
        assert_eq!(
            other.sql_text("SET datafusion.sql_parser.dialect = 'ansi'; SELECT a // b"),
            "SET datafusion.sql_parser.dialect = ?; SELECT a // b"
        );
    }

    #[test]
    fn credentials_are_found_in_comments_and_behind_them() {
        let redactor = Redactor::default();
        let script = "SET datafusion.sql_parser.dialect = 'mysql';\n# it's old\nSELECT a FROM u WHERE password = 'zq' # AND token = 'zq'\n;";
        redactor.learn(script);
        let shown = redactor.sql_text(script);
        assert!(
            !shown.contains("zq") && shown.contains("# it's old\nSELECT a FROM u WHERE password ="),
            "{shown}"
        );
    }
}
