//! A test that parses the command lines in the documentation with the program's own parser.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use clap::Parser as _;

use crate::args::Args;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");

/// A command line, with the file that contains it.
struct Line {
    file: String,
    command: String,
}

/// The command lines of a file: those after a prompt in a page, and each line that runs a command in other files.
fn command_lines(file: &Path) -> Vec<Line> {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    // A line that ends with a backslash continues on the next one.
    let text = text.replace("\\\n", " ");
    let is_page = file.extension() == Some(OsStr::new("md"));
    let lines = text.lines().map(str::trim_start);
    let lines = lines.filter_map(|line| if is_page { line.strip_prefix("$ ") } else { Some(line) });
    let lines = lines.filter(|line| !line.starts_with('#'));
    let line =
        |line: &str| Some(Line { file: file.display().to_string(), command: command_in(line)?.to_owned() });
    lines.filter_map(line).collect()
}

/// The part of a line that calls the program, beginning with its name.
fn command_in(line: &str) -> Option<&str> {
    let name = "daglight ";
    let at = line.match_indices(name).map(|(at, _)| at).find(|at| {
        let rest = line[at + name.len()..].split(' ').next().unwrap_or_default();
        // The name may also be part of a path or a sentence.
        line[..*at].chars().next_back().is_none_or(|before| " /\"'".contains(before))
            && Args::try_parse_from(["daglight", rest, "--help"]).is_err_and(|error| error.kind() == HELP)
    })?;
    Some(&line[at..])
}

const HELP: clap::error::ErrorKind = clap::error::ErrorKind::DisplayHelp;

/// The words of a command, split like in a shell, up to the next command or redirection.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in command.chars() {
        match (quote, character) {
            (Some(end), _) if character == end => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '|' | '>' | ';' | '&' | '#') => break,
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.into_iter().chain(word).collect()
}

fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the documentation");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let has_ending = |path: &PathBuf| {
        path.extension().and_then(OsStr::to_str).is_some_and(|ending| endings.contains(&ending))
    };
    paths.filter(has_ending).collect()
}

#[test]
fn every_command_line_of_the_documentation_is_one() {
    let docs = Path::new(DOCS);
    let pages = files(docs, &["md"]);
    let examples = files(&docs.join("examples"), &["py", "service", "timer", "crontab"]);
    let files = pages.iter().chain(&examples).cloned().chain([docs.join("../README.md")]);
    let lines: Vec<Line> = files.flat_map(|file| command_lines(&file)).collect();
    for example in ["airflow_sales.py", "dagster_sales.py", "daglight-sales.service", "sales.crontab"] {
        assert!(lines.iter().any(|line| line.file.ends_with(example)), "{example} has no command");
    }
    assert!(lines.len() > 25, "{} are found", lines.len());
    let wrong = lines.iter().filter_map(|Line { file, command }| {
        let error = Args::try_parse_from(words(command)).err()?;
        Some(format!("{file}: {command}\n{error}"))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn words_are_those_of_a_shell() {
    let check = |command: &str, expected: &[&str]| assert_eq!(words(command), expected, "{command}");
    check("daglight query out \"SELECT 'a'\" | head", &["daglight", "query", "out", "SELECT 'a'"]);
    check("daglight sync out >> sync.log 2>&1", &["daglight", "sync", "out"]);
    check("daglight run a.sql --tag x=''", &["daglight", "run", "a.sql", "--tag", "x="]);
}
