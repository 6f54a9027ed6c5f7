//! Error messages without the values in them.
//!
//! A message is shown as far as its shape is known: its position in a script, the error kinds that DataFusion and Arrow prepend,
//! and after those one of [`SHAPES`], in which the positions of values are known. Of a message with any other shape, only position
//! and kinds are shown.

use std::sync::LazyLock;

use regex::Regex;

/// Replaces a message, or a line of one, of unknown shape.
pub(crate) const LEFT_OUT: &str = "[message left out by the capture policy]";

/// Prefixes of messages, which may be combined.
const KINDS: [&str; 40] = [
    "Arithmetic overflow: ",
    "Arrow error: ",
    "Avro error: ",
    "C Data interface error: ",
    "Cast error: ",
    "Compute error: ",
    "Context error: ",
    "Csv error: ",
    "DataFusion error: ",
    "Dictionary key bigger than the key type: ",
    "Error during planning: ",
    "Execution error: ",
    "External error: ",
    "External: ",
    "Ffi error: ",
    "General error: ",
    "Generic LocalFileSystem error: ",
    "Internal error: ",
    "Invalid argument error: ",
    "Invalid comparison operation: ",
    "Invalid or Unsupported Configuration: ",
    "IO error: ",
    "Io error: ",
    "Ipc error: ",
    "Join Error: ",
    "Json error: ",
    "Memory error: ",
    "Not yet implemented: ",
    "Object Store error: ",
    "Optimizer error: ",
    "Parquet error: ",
    "Parquet argument error: ",
    "Parser error: ",
    "Resources exhausted: ",
    "SQL error: ",
    "Schema error: ",
    "Substrait error: ",
    "This feature is not implemented: ",
    "caused by: ",
    "sql parser error: ",
];

/// The known messages. `{v}` is a value of any length and is removed; `{n}` is the name of a column, a table, a function or a type,
/// possibly qualified with dots; `{l}` is a list of such names; `{d}` is a number that counts something, and `{r}` is what is
/// counted, one row or several.
const SHAPES: [&str; 71] = [
    "Divide by zero error",
    "DivideByZero",
    "Overflow happened on: {v}",
    "Cannot cast string {v} to value of {n} type",
    "Cannot cast value {v} to value of {n} type",
    "Cannot cast string {v} to {n}",
    "Can't cast value {v} to type {n}{v}",
    "Cannot cast {v} to {n}. Overflowing on {v}",
    "Error parsing timestamp from {v}",
    "error parsing date{v}",
    "Invalid timezone {v}",
    "Unable to parse timezone{v}",
    "failed to parse timezone{v}",
    "Failed to parse {v}",
    "table {n} not found",
    "table {n} not found{v}",
    "No field named {n}.",
    "No field named {n}. Did you mean {n}?",
    "No field named {n}. Did you mean {n}?.",
    "No field named {n}. Valid fields are {l}.",
    "No field named {n}. Did you mean {n}?. Valid fields are {l}.",
    "column {n} not found",
    "column {n} not found in {n}",
    "Ambiguous reference to unqualified field {n}",
    "Schema contains duplicate unqualified field name {n}",
    "Schema contains duplicate qualified field name {n}",
    "Schema contains qualified field name {n} and unqualified field name {n} which would be ambiguous",
    "The table {n} already exists",
    "Table {n} already exists",
    "Table {n} doesn't exist.",
    "View {n} doesn't exist.",
    "schema {n} not found",
    "Invalid function {n}.",
    "Invalid function {n}. Did you mean {n}?",
    "Invalid function {n}.{v}",
    "Function {n} expects {d} arguments but received {d}",
    "Function {n} failed to match any signature{v}",
    "function {n} does not exist",
    "{n} function requires {d} arguments, got {d}",
    "map key must be unique, duplicate key found: {v}",
    "Error while parsing value {v} as type {n} for column {d} at line {d}. Row data: {v}",
    "Error while parsing value {v} for column {d} at line {d}{v}",
    "incorrect number of fields for line {d}, expected {d} got {d}",
    "incorrect number of fields for line {d}, expected {d} got more than {d}",
    "Encountered invalid UTF-8 data for line {d} and field {d}",
    "Encountered unequal lengths between records on CSV file whilst inferring schema. Expected {d} fields, found {d} fields at line {d}{v}",
    "regex parse error:{v}",
    "Expected: {v}, found: {v} at Line: {d}, Column: {d}",
    "ParserError({v} at Line: {d}, Column: {d}{v})",
    "TokenizerError({v} at Line: {d}, Column: {d}{v})",
    "{v} at Line: {d}, Column: {d}",
    "Invalid Parquet file. Corrupt footer",
    "Object at location {p} not found: {v}",
    "No such file or directory (os error {d})",
    "Permission denied (os error {d})",
    "Is a directory (os error {d})",
    "Not a directory (os error {d})",
    "No space left on device (os error {d})",
    "Could not find config {w} {v}",
    "process ended",
    "type_coercion",
    "data check failed: {v}: {d} of {d} {r} break it",
    "data check failed: {v}: {d} of {d} {r} breaks it",
    "data check failed: {v}: {d} of {d} {r} have a null value",
    "data check failed: {v}: {d} of {d} {r} has a null value",
    "data check failed: {v}: {d} of {d} {r} repeat a key",
    "data check failed: {v}: {d} of {d} {r} repeats a key",
    "data check failed: {v}: there are {d} rows",
    "data check failed: {v}: there is {d} row",
    "data check failed: {v}: there is no value",
    "data check failed: {v}",
];

/// The start of the line of another failed check of the same node.
const NEXT_CHECK: &str = "\ndata check failed: ";

/// Lines that only connect other lines.
const CONNECTING: [&str; 3] = ["caused by", "Caused by:", "caused by:"];

struct Shape {
    regex: Regex,
}

static KNOWN: LazyLock<Vec<Shape>> = LazyLock::new(|| {
    let shapes = SHAPES.iter().filter_map(|shape| Regex::new(&expression(shape)).ok());
    shapes.map(|regex| Shape { regex }).collect()
});

fn expression(shape: &str) -> String {
    const NAME: &str = r#"['"`]?[\w.$()?\-]+(?: [\w.$()?\-]+)?['"`]?"#;
    let holes = [
        ("{v}", "(?P<v>(?s:.*))".to_owned()),
        ("{n}", NAME.to_owned()),
        ("{l}", r#"[\w.$()?,\- '"`\[\]]*"#.to_owned()),
        ("{d}", "[0-9]+".to_owned()),
        ("{r}", "rows?".to_owned()),
        ("{p}", r#"[^\s'"]+"#.to_owned()),
        ("{w}", "[a-z]+".to_owned()),
    ];
    let mut expression = regex::escape(shape);
    for (hole, of_hole) in holes {
        expression = expression.replace(&regex::escape(hole), &of_hole);
    }
    // A regular expression cannot have two groups with the same name.
    let mut parts = expression.split("(?P<v>");
    let first = parts.next().unwrap_or_default().to_owned();
    let expression = parts.fold(first, |expression, part| expression + "(" + part);
    format!(r"\A{expression}\z")
}

/// The message without the values in it.
pub(crate) fn without_values(message: &str) -> String {
    let (position, message) = message.split_at(script_position(message));
    let mut out = position.to_owned();
    let mut left_out = false;
    // A value may span lines: the whole message is tried first, then line by line. Of several failed checks, each has its own line,
    // which would otherwise be taken for a part of the first one's value.
    let whole = Some(message).filter(|message| !message.contains(NEXT_CHECK));
    if let Some(shown) = whole.and_then(of_known_shape) {
        return out + &shown;
    }
    for line in message.lines() {
        if CONNECTING.contains(&line.trim()) {
            out.push_str(if out.is_empty() { "" } else { "\n" });
            out.push_str(line);
            left_out = false;
            continue;
        }
        let (kinds, rest) = kinds(line);
        // Only known messages are shown. A message of another shape may contain a value anywhere, and no list of values can be
        // complete.
        let shown = of_known_shape(line);
        // Consecutive lines that are left out share one mark.
        if shown.is_none() && left_out && kinds.is_empty() {
            continue;
        }
        if !out.is_empty() && out.len() > position.len() {
            out.push('\n');
        }
        match shown {
            Some(shown) => {
                out.push_str(&shown);
                left_out = false;
            }
            None => {
                out.push_str(kinds);
                if !rest.is_empty() {
                    out.push_str(LEFT_OUT);
                }
                left_out = true;
            }
        }
    }
    out
}

/// The error kinds before a message, and the rest.
fn kinds(message: &str) -> (&str, &str) {
    let mut rest = message;
    loop {
        let stripped = node_in_front(message, rest)
            .or_else(|| KINDS.iter().find_map(|kind| rest.strip_prefix(kind)))
            .or_else(|| optimizer_rule(rest));
        match stripped {
            Some(behind) => rest = behind,
            None => return message.split_at(message.len() - rest.len()),
        }
    }
}

/// The name of the node after the position in a script, if there is one.
fn node_in_front<'a>(message: &str, rest: &'a str) -> Option<&'a str> {
    let is_behind_position = message.starts_with(": ");
    let rest = rest.strip_prefix(": ").or_else(|| {
        let (node, behind) = rest.split_once(": ")?;
        let is_name = !node.is_empty() && node.chars().all(|c| c.is_alphanumeric() || "_.$-".contains(c));
        (is_behind_position && is_name && message.len() - rest.len() == 2).then_some(behind)
    });
    rest.filter(|_| is_behind_position)
}

fn optimizer_rule(rest: &str) -> Option<&str> {
    let (rule, behind) = rest.strip_prefix("Optimizer rule '")?.split_once("' failed")?;
    rule.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then_some(behind)
}

fn of_known_shape(message: &str) -> Option<String> {
    let (kinds, rest) = kinds(message);
    if rest.is_empty() {
        return (!kinds.is_empty()).then(|| kinds.to_owned());
    }
    // In order: the more specific ones come before those that end with any text.
    KNOWN.iter().find_map(|shape| {
        let groups = shape.regex.captures(rest)?;
        let mut shown = kinds.to_owned();
        let mut at = 0;
        for value in groups.iter().skip(1).flatten() {
            shown.push_str(&rest[at..value.start()]);
            if !value.is_empty() {
                shown.push('?');
            }
            at = value.end();
        }
        shown.push_str(&rest[at..]);
        Some(shown)
    })
}

/// The length of the place in a script at the beginning of a message, such as `shop.sql:16:1: `.
fn script_position(message: &str) -> usize {
    let Some((place, _)) = message.split_once(": ") else { return 0 };
    let mut parts = place.rsplitn(3, ':');
    let is_number = |part: Option<&str>| {
        part.is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let is_position =
        is_number(parts.next()) && is_number(parts.next()) && parts.next().is_some_and(is_script);
    if is_position { place.len() } else { 0 }
}

/// Whether errors use this name for a script: its file, standard input, or the command line.
fn is_script(path: &str) -> bool {
    let is_file = path.ends_with(".sql") && !path.contains(['\n', '"', '\'', '`']);
    let of_command = path.strip_prefix("command").map(|rest| rest.strip_prefix('_').unwrap_or(rest));
    is_file
        || path == "stdin"
        || of_command.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, expected: &str) {
        assert_eq!(without_values(message), expected);
        assert_eq!(without_values(expected), expected, "masked a second time");
    }

    #[test]
    fn every_shape_can_be_read() {
        assert_eq!(KNOWN.len(), SHAPES.len());
    }

    #[test]
    fn values_go_and_names_stay() {
        check(
            "Arrow error: Cast error: Cannot cast string 'O' zqmk one' to value of Int64 type",
            "Arrow error: Cast error: Cannot cast string ? to value of Int64 type",
        );
        check(
            "Arrow error: Parser error: Error while parsing value '4.x4' as type 'Float32' for column 1 at line 4. Row data: '[4,a]'",
            "Arrow error: Parser error: Error while parsing value ? as type 'Float32' for column 1 at line 4. Row data: ?",
        );
        check(
            "Schema error: No field named o_1. Valid fields are a.b2, c.",
            "Schema error: No field named o_1. Valid fields are a.b2, c.",
        );
        check(
            "Execution error: map key must be unique, duplicate key found: Ann\nLee",
            "Execution error: map key must be unique, duplicate key found: ?",
        );
        check(
            "External error: regex parse error:\n    (Ann\nerror: x",
            "External error: regex parse error:?",
        );
        check(
            "SQL error: ParserError(\"Expected: x, found: Ann at Line: 1, Column: 5\")",
            "SQL error: ParserError(? at Line: 1, Column: 5?)",
        );
    }

    #[test]
    fn the_counts_of_a_failed_check_are_shown_whatever_their_number() {
        for found in ["3 of 9 rows break it", "1 of 9 rows breaks it", "1 of 1 row breaks it"] {
            check(
                &format!("data check failed: name <> 'zqmk': {found}"),
                &format!("data check failed: ?: {found}"),
            );
        }
        for found in ["1 of 9 rows repeats a key", "1 of 1 row has a null value", "there is 1 row"] {
            check(&format!("data check failed: zqmk: {found}"), &format!("data check failed: ?: {found}"));
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        check("Execution error: zqmk is wrong", &format!("Execution error: {LEFT_OUT}"));
        check("zqmk", LEFT_OUT);
        check(
            "Execution error: zqmk\nzqmk\ncaused by\nArrow error: zqmk",
            &format!("Execution error: {LEFT_OUT}\ncaused by\nArrow error: {LEFT_OUT}"),
        );
        check("Zqmk error: Divide by zero error", LEFT_OUT);
        check("", "");
    }

    #[test]
    fn places_in_scripts_stay() {
        check(
            "etl/2024 shop.sql:16:1: t: Arrow error: Divide by zero error",
            "etl/2024 shop.sql:16:1: t: Arrow error: Divide by zero error",
        );
        check("a.sql:16:1: zqmk bad", &format!("a.sql:16:1: {LEFT_OUT}"));
        check("'Ann' in shop.sql:16:1: bad", LEFT_OUT);
        check("command:1:8: zqmk bad", &format!("command:1:8: {LEFT_OUT}"));
        check(
            "command_2:1:8: t: Arrow error: Divide by zero error",
            "command_2:1:8: t: Arrow error: Divide by zero error",
        );
        check("stdin:1:8: zqmk bad", &format!("stdin:1:8: {LEFT_OUT}"));
        check("commander:1:8: zqmk bad", LEFT_OUT);
    }
}
