//! Passwords on command lines of programs that take them after a single-letter option, as in `mysql -phunter2`.

use std::{ops::Range, sync::LazyLock};

use aho_corasick::{AhoCorasick, MatchKind};

use crate::credentials::{quote, word};

/// Programs, the options that a password follows, and whether whitespace may separate them. If not, the option alone asks for the
/// password interactively.
const PROGRAMS: [(&[&str], &[&str], bool); 7] = [
    (
        &[
            "mariadb",
            "mariadb-admin",
            "mariadb-dump",
            "mysql",
            "mysqladmin",
            "mysqlbinlog",
            "mysqlcheck",
            "mysqldump",
            "mysqlimport",
            "mysqlpump",
            "mysqlsh",
            "mysqlshow",
            "mysqlslap",
        ],
        &["-p"],
        false,
    ),
    (&["bcp", "isql", "osql", "sqlcmd"], &["-P"], true),
    (
        &[
            "beeline",
            "cqlsh",
            "mongo",
            "mongodump",
            "mongoexport",
            "mongoimport",
            "mongorestore",
            "mongosh",
            "sshpass",
        ],
        &["-p"],
        true,
    ),
    (&["docker login", "helm registry login", "nerdctl login", "podman login"], &["-p"], true),
    (&["openssl aes-256-cbc", "openssl enc"], &["-k", "-K"], true),
    (&["redis-cli"], &["-a"], true),
    (&["ldapadd", "ldapdelete", "ldapmodify", "ldapsearch", "ldapwhoami", "vsql"], &["-w"], true),
];

/// How many bytes of a command line are inspected.
const COMMAND_LIMIT: usize = 4_096;

/// Finds the names, and then their rows in `PROGRAMS`.
static NAMES: LazyLock<Option<(AhoCorasick, Vec<usize>)>> = LazyLock::new(|| {
    let names =
        PROGRAMS.iter().enumerate().flat_map(|(row, (names, ..))| names.iter().map(move |name| (*name, row)));
    let (names, rows): (Vec<&str>, Vec<usize>) = names.unzip();
    let matcher = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(names).ok()?;
    Some((matcher, rows))
});

/// The names of such programs.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    PROGRAMS.iter().flat_map(|(names, ..)| names.iter().copied())
}

/// The position of the first password on the command line of such a program, without quotes.
pub(crate) fn program_password(text: &str) -> Option<Range<usize>> {
    let (matcher, rows) = NAMES.as_ref()?;
    matcher.find_iter(text).find_map(|found| {
        let starts = !text[..found.start()].ends_with(|c: char| c.is_alphanumeric() || "_-.".contains(c));
        let ends = matches!(word(&text[found.end()..]), "" | ".exe");
        if !(starts && ends) {
            return None;
        }
        let (_, options, may_be_apart) = PROGRAMS[rows[found.pattern().as_usize()]];
        let command = &text[found.end()..];
        let passwords = options.iter().filter_map(|option| behind_option(command, option, may_be_apart));
        let password = passwords.min_by_key(|password| password.start)?;
        Some(password.start + found.end()..password.end + found.end())
    })
}

/// The position of the option's value in the rest of a command.
fn behind_option(command: &str, option: &str, may_be_apart: bool) -> Option<Range<usize>> {
    let command = &command[..command.floor_char_boundary(COMMAND_LIMIT)];
    let command = &command[..command.find(['\n', '|', ';']).unwrap_or(command.len())];
    command.match_indices(option).find_map(|(at, _)| {
        if !command[..at].ends_with(char::is_whitespace) {
            return None;
        }
        let behind = &command[at + option.len()..];
        let blank = behind.len() - behind.trim_start().len();
        let value = &behind[blank..];
        if (blank > 0 && (!may_be_apart || value.starts_with('-'))) || value.is_empty() {
            return None;
        }
        let start = at + option.len() + blank;
        Some(match quote(value) {
            Some((opening, _)) => {
                let closing = value[opening..].find(&value[..opening]).unwrap_or(value.len() - opening);
                start + opening..start + opening + closing
            }
            None => start..start + value.find(char::is_whitespace).unwrap_or(value.len()),
        })
    })
}
