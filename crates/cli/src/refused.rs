//! Errors in the command line. Its text is shown only as far as errors of the configuration may repeat values.

use std::{env, error::Error as _};

use clap::{
    Error,
    error::{ContextKind, ContextValue, ErrorKind},
};
use daglight::{
    ErrorReport,
    policy::printable,
    settings::{Disclosure, SettingsLoader},
};

use crate::{
    failure::print_json,
    say::{self, note},
};

/// The context entries of clap with text from the user.
const WRITTEN: [ContextKind; 3] =
    [ContextKind::InvalidArg, ContextKind::InvalidValue, ContextKind::InvalidSubcommand];

/// Prints the error in the command line, or the requested help or version.
pub(crate) fn refused(mut error: Error) {
    if !error.use_stderr() {
        // An error in printing cannot be reported anywhere.
        let _ = error.print();
        return;
    }
    let arguments: Vec<String> =
        env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    // Searched for separately: clap reports that an argument is invalid, but not which one.
    let unreadable = env::args_os().find(|argument| argument.to_str().is_none());
    let shows_values = disclosure(&arguments) == Disclosure::Values;
    let text = text(&mut error, &arguments, shows_values);
    say::usage(text.trim_end());
    if let Some(argument) = unreadable.filter(|_| error.kind() == ErrorKind::InvalidUtf8) {
        // The rest may be secret.
        let argument = argument.to_string_lossy();
        let argument = argument.split_once('=').map_or(&*argument, |(name, _)| name);
        let argument = shown_argument(argument, &arguments, shows_values);
        note!("the argument that starts with {argument:?} is not valid UTF-8, as only a path may be");
    }
    if arguments.iter().any(|argument| argument == "--json") {
        // The first paragraph is the error, the others are usage information.
        let message: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        let message = message.join(" ");
        let message = say::shown(message.strip_prefix("error: ").unwrap_or(&message));
        print_json(&ErrorReport::new(&*message));
    }
}

/// What the process ends with.
pub(crate) fn exit_code(error: &Error) -> u8 {
    u8::try_from(error.exit_code()).unwrap_or(2)
}

/// How much may be shown under the profile in these arguments, or else in the configuration.
fn disclosure(arguments: &[String]) -> Disclosure {
    let behind = arguments.windows(2).filter(|pair| pair[0] == "--profile").map(|pair| pair[1].as_str());
    let of_one = arguments.iter().filter_map(|argument| argument.strip_prefix("--profile="));
    behind.chain(of_one).fold(SettingsLoader::from_process().disclosure(), |disclosure, profile| {
        let chosen = SettingsLoader::from_process().with_value("option --profile", "profile", profile);
        // If it is given twice, it is unclear which one is meant.
        disclosure.min(chosen.disclosure())
    })
}

/// The text of the error, without lines from the user.
fn text(error: &mut Error, arguments: &[String], shows_values: bool) -> String {
    // For an invalid value, the argument is the name of one of our options.
    let is_value_wrong = error.get(ContextKind::InvalidValue).is_some();
    let mut values = Vec::new();
    for kind in WRITTEN {
        let Some(ContextValue::String(written)) = error.get(kind) else { continue };
        if kind == ContextKind::InvalidArg && is_value_wrong {
            continue;
        }
        if written.is_empty() {
            continue;
        }
        let written = written.clone();
        let shown = shown_argument(&written, arguments, shows_values);
        // Files are not suggested as commands.
        if error.remove(ContextKind::Suggested).is_some()
            && kind != ContextKind::InvalidSubcommand
            && let Some(tip) = tip(&written, arguments, shows_values)
        {
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
        }
        if shown != written {
            error.insert(kind, ContextValue::String(shown));
        }
        values.push(written);
    }
    let repeats = |cause: String| values.iter().any(|value| is_repeated(value, &cause));
    if !shows_values && error.source().is_some_and(|cause| repeats(cause.to_string())) {
        let option = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
        return format!("error: invalid value for '{option}'\n\nFor more information, try '--help'.");
    }
    error.render().to_string()
}

/// How to write a value that begins with a dash. Clap's own text contains a word that is also the name of a credential.
fn tip(written: &str, arguments: &[String], shows_values: bool) -> Option<String> {
    let place = arguments.iter().position(|argument| argument.starts_with(written))?;
    let argument = &arguments[place];
    let shown = if shows_values { &*printable(argument) } else { "-..." };
    let before = place.checked_sub(1).and_then(|before| arguments.get(before));
    match before.filter(|before| before.starts_with("--") && is_option(before)) {
        Some(option) => Some(format!("a value that begins with a dash is written as in '{option}={shown}'")),
        // A cluster of letters is meant as options, and so is a name with a value.
        None if is_option(argument.split_once('=').map_or(&**argument, |(name, _)| name)) => None,
        None => Some(format!("a file whose name begins with a dash is written as in './{shown}'")),
    }
}

/// Whether a text is the name of an option, as opposed to a number.
fn is_option(text: &str) -> bool {
    let name = text.trim_start_matches('-');
    name.len() < text.len()
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Whether a text contains the value, unchanged or as messages quote it.
fn is_repeated(value: &str, text: &str) -> bool {
    let quoted = [value.escape_debug().to_string(), printable(value).into_owned()];
    !value.is_empty() && (text.contains(value) || quoted.iter().any(|quoted| text.contains(quoted)))
}

/// An argument in one line. If it must not be shown, its position after the name of the command is used instead. Names of options
/// are not values.
fn shown_argument(written: &str, arguments: &[String], shows_values: bool) -> String {
    if shows_values || is_option(written) {
        return printable(written).into_owned();
    }
    let place = arguments.iter().position(|argument| {
        argument == written || argument.split_once('=').is_some_and(|(_, value)| value == written)
    });
    place.map_or_else(
        || "a value that is not shown".to_owned(),
        |place| format!("argument {place}, not shown"),
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Args;

    #[track_caller]
    fn check(arguments: &[&str], shows_values: bool, expected: &str) {
        let arguments: Vec<String> =
            ["daglight"].iter().chain(arguments).map(|&argument| argument.to_owned()).collect();
        let mut error = Args::try_parse_from(&arguments).unwrap_err();
        let text = text(&mut error, &arguments, shows_values);
        assert_eq!(text.lines().next(), Some(expected), "{text}");
        let tricky = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(tricky) && !text.contains("\nfake"), "{text:?}");
        assert!(shows_values || !text.contains("zqmk"), "{text}");
    }

    #[test]
    fn values_are_hidden_where_they_may_not_be_repeated() {
        for (arguments, expected) in [
            (
                &["run", "x.sql", "--jobs", "zqmk"][..],
                "error: invalid value 'argument 4, not shown' for '--jobs <N>': expected a whole number, 1 or more",
            ),
            (
                &["run", "x.sql", "--rows=zqmk"],
                "error: invalid value 'argument 3, not shown' for '--max-rows <COUNT>': expected a whole number, 0 or more",
            ),
            (
                &["run", "x.sql", "--param", "zqmk"],
                "error: invalid value 'argument 4, not shown' for '--param <NAME=VALUE>': expected NAME=VALUE, such as region=ASIA",
            ),
            (&["status", "x", "zqmk"], "error: unexpected argument 'argument 3, not shown' found"),
            (
                &["run", "x.sql", "--zq mk=zqmk"],
                "error: unexpected argument 'a value that is not shown' found",
            ),
            (&["run", "x.sql", "--parm", "zqmk"], "error: unexpected argument '--parm' found"),
            (&["run", "x.sql", "--dag-name", "zqmk\n"], "error: invalid value for '--dag-name <NAME>'"),
            (
                &["prune", "--older-than", "zqmk"],
                "error: invalid value 'argument 3, not shown' for '--older-than <AGE>': expected an age such as 90m, 12h, 2d or 1w, or a number of days",
            ),
            (
                &["replay", "x", "--protocol", "zqmk"],
                "error: invalid value 'argument 4, not shown' for '--protocol <NAME>'",
            ),
            (
                &["run", "x.sql", "--json=zqmk"],
                "error: unexpected value 'argument 3, not shown' for '--json' found; no more were expected",
            ),
            (&["zqmk"], "error: unrecognized subcommand 'argument 1, not shown'"),
        ] {
            check(arguments, false, expected);
        }
    }

    #[track_caller]
    fn check_whole(arguments: &[&str], shows_values: bool, expected: &str) {
        let arguments: Vec<String> =
            ["daglight"].iter().chain(arguments).map(|&argument| argument.to_owned()).collect();
        let mut error = Args::try_parse_from(&arguments).unwrap_err();
        let text = text(&mut error, &arguments, shows_values);
        let said: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .take_while(|line| !line.starts_with("Usage"))
            .collect();
        let said: Vec<&str> = said.into_iter().filter(|line| !line.starts_with("For more")).collect();
        assert_eq!(said.join("\n"), expected, "{arguments:?}");
        let redactor = daglight::policy::Redactor::default();
        assert_eq!(redactor.console_text(&text), text, "nothing in it is taken for a credential");
    }

    #[test]
    fn values_that_begin_with_a_dash_are_values() {
        let wrong = |value: &str, rest: &str| format!("error: invalid value '{value}' for '{rest}");
        for (option, name, expected) in [
            ("compare a b --min-ms", "MILLISECONDS", ": expected milliseconds, 0 or more"),
            ("run x.sql --max-rows", "COUNT", ": expected a whole number, 0 or more"),
            ("run x.sql --jobs", "N", ": expected a whole number, 1 or more"),
            ("run x.sql --param", "NAME=VALUE", ": expected NAME=VALUE, such as region=ASIA"),
            ("history --last", "COUNT", ": expected a whole number, 1 or more"),
            ("sync --timeout", "SECONDS", ": expected a whole number, 0 or more"),
            (
                "prune --older-than",
                "AGE",
                ": expected an age such as 90m, 12h, 2d or 1w, or a number of days",
            ),
            ("prune --keep", "COUNT", ": expected a whole number, 0 or more"),
            ("prune --max-bytes", "BYTES", ": expected a number of bytes, such as 65536, 512KB or 4GB"),
        ] {
            for value in ["-1.5x", "-77441", "--77441"] {
                let mut arguments: Vec<&str> = option.split(' ').collect();
                let place = arguments.len() + 1;
                let last = arguments[place - 2];
                arguments.push(value);
                let rest = format!("{last} <{name}>'{expected}");
                check_whole(&arguments, true, &wrong(value, &rest));
                check_whole(&arguments, false, &wrong(&format!("argument {place}, not shown"), &rest));
            }
        }
    }

    #[test]
    fn other_arguments_that_begin_with_a_dash_are_explained() {
        let file = "tip: a file whose name begins with a dash is written as in";
        let value = "tip: a value that begins with a dash is written as in";
        for (arguments, shown, hidden) in [
            (
                &["report", "-1"][..],
                format!("error: unexpected argument '-1' found\n{file} './-1'"),
                format!("error: unexpected argument 'argument 2, not shown' found\n{file} './-...'"),
            ),
            (
                &["run", "x.sql", "--output-dir", "-77441"],
                format!("error: unexpected argument '-7' found\n{value} '--output-dir=-77441'"),
                format!(
                    "error: unexpected argument 'a value that is not shown' found\n{value} '--output-dir=-...'"
                ),
            ),
            (
                &["run", "-zqmk.sql"],
                format!("error: unexpected argument '-z' found\n{file} './-zqmk.sql'"),
                format!("error: unexpected argument '-z' found\n{file} './-...'"),
            ),
            (
                &["run", "--password=zqmk", "x.sql"],
                "error: unexpected argument '--password' found".to_owned(),
                "error: unexpected argument '--password' found".to_owned(),
            ),
            (
                &["sttus", "x"],
                "error: unrecognized subcommand 'sttus'\ntip: a similar subcommand exists: 'status'".to_owned(),
                "error: unrecognized subcommand 'argument 1, not shown'\ntip: a similar subcommand exists: 'status'".to_owned(),
            ),
            (
                &["run", "x.sql", "-qz"],
                "error: unexpected argument '-z' found".to_owned(),
                "error: unexpected argument '-z' found".to_owned(),
            ),
        ] {
            check_whole(arguments, true, &shown);
            check_whole(arguments, false, &hidden);
        }
    }

    #[test]
    fn words_for_credentials_are_not_credentials_here() {
        let of_value = "expected a whole number, 1 or more";
        for (arguments, expected) in [
            (
                &["run", "--jobs", "--pass"][..],
                format!("error: invalid value '--pass' for '--jobs <N>': {of_value}"),
            ),
            (
                &["run", "--jobs", "token"],
                format!("error: invalid value 'token' for '--jobs <N>': {of_value}"),
            ),
            (&["run", "--pass", "x"], "error: unexpected argument '--pass' found".to_owned()),
            (&["run", "--api-key=x"], "error: unexpected argument '--api-key' found".to_owned()),
            (
                &["serve", "--token"],
                "error: a value is required for '--token <TOKEN>' but none was supplied".to_owned(),
            ),
        ] {
            check_whole(arguments, true, &expected);
        }
    }

    #[test]
    fn no_argument_brings_a_line_of_its_own() {
        let tricky = "a\nfake\u{1b}[31m\u{202e}\u{9b}";
        let shown = "a\\nfake\\u001b[31m\\u202e\\u009b";
        let option = format!("--{tricky}");
        for (arguments, expected) in [
            (
                &["run", "x.sql", "--jobs", tricky][..],
                format!(
                    "error: invalid value '{shown}' for '--jobs <N>': expected a whole number, 1 or more"
                ),
            ),
            (&["run", "x.sql", &option], format!("error: unexpected argument '--{shown}' found")),
            (
                &["run", "x.sql", "--param", tricky],
                format!(
                    "error: invalid value '{shown}' for '--param <NAME=VALUE>': expected NAME=VALUE, such as region=ASIA"
                ),
            ),
            (&["status", "x", tricky], format!("error: unexpected argument '{shown}' found")),
            (
                &["run", "x.sql", "--dag-name", tricky],
                format!(
                    "error: invalid value '{shown}' for '--dag-name <NAME>': DAG name \"a\\nfake\\u{{1b}}[31m\\u{{202e}}\\u{{9b}}\" contains a control character"
                ),
            ),
            (&[tricky], format!("error: unrecognized subcommand '{shown}'")),
        ] {
            check(arguments, true, &expected);
        }
    }
}
