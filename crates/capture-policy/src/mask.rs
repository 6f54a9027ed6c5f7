//! Taking values out of the messages of errors.

/// The message with every text in quotes, and every word that begins with a digit, replaced by `?`; also a value that
/// is announced without quotes, as in `duplicate key found: Ann`, and the pattern that an error of a regular expression
/// draws. What failed and where stays readable; what it failed on does not.
pub(crate) fn without_values(message: &str) -> String {
    let (position, message) = message.split_at(script_position(message));
    let message = without_announced(&without_patterns(message));
    let mut out = String::with_capacity(position.len() + message.len());
    out.push_str(position);
    let mut rest = message.as_str();
    let mut before: Option<char> = None;
    while let Some(first) = rest.chars().next() {
        let starts_word = !before.is_some_and(is_name);
        let length = match first {
            '"' | '\'' | '`' if starts_word => {
                out.push('?');
                first.len_utf8() + quoted(&rest[first.len_utf8()..], first)
            }
            '0'..='9' if starts_word => {
                let end = rest.find(|c: char| !is_name(c) && c != '.').unwrap_or(rest.len());
                out.push('?');
                rest[..end].trim_end_matches('.').len()
            }
            _ => {
                out.push(first);
                first.len_utf8()
            }
        };
        before = rest[..length].chars().next_back();
        rest = &rest[length..];
    }
    out
}

/// The length of the place in a script that a message begins with, as in `shop.sql:16:1: `.
fn script_position(message: &str) -> usize {
    let Some((place, _)) = message.split_once(": ") else { return 0 };
    let mut parts = place.rsplitn(3, ':');
    let is_number = |part: Option<&str>| {
        part.is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let is_position = is_number(parts.next())
        && is_number(parts.next())
        && parts.next().is_some_and(|path| path.ends_with(".sql") && !path.contains(['\n', '"', '\'', '`']));
    if is_position { place.len() } else { 0 }
}

/// Words that announce a value, with a colon behind them.
const ANNOUNCING: [&str; 9] = ["data", "found", "got", "input", "key", "received", "row", "string", "value"];

/// Without the rest of a line behind `found: ` and the like.
fn without_announced(message: &str) -> String {
    let lines = message.split_inclusive('\n').map(|line| {
        let announced = line.match_indices(": ").find(|(at, _)| {
            let word = line[..*at].rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
            ANNOUNCING.iter().any(|known| known.eq_ignore_ascii_case(word))
        });
        match announced {
            Some((at, mark)) => {
                let end = if line.ends_with('\n') { "\n" } else { "" };
                format!("{}?{end}", &line[..at + mark.len()])
            }
            None => line.to_owned(),
        }
    });
    lines.collect()
}

/// What the crate `regex` puts before a pattern that it cannot read, and behind it, on a line of its own.
const PATTERN_BEGIN: &str = "regex parse error:";
const PATTERN_END: &str = "\nerror: ";

fn without_patterns(message: &str) -> String {
    let mut out = String::new();
    let mut rest = message;
    while let Some(start) = rest.find(PATTERN_BEGIN) {
        let (before, pattern) = rest.split_at(start + PATTERN_BEGIN.len());
        out.push_str(before);
        out.push_str(" ?");
        // The pattern may have the words of its own error in it.
        let own = pattern.find(PATTERN_BEGIN).unwrap_or(pattern.len());
        rest = &pattern[pattern[..own].rfind(PATTERN_END).unwrap_or(own)..];
    }
    out + rest
}

/// The length of what is in quotes, with the closing one: that which no name follows, so that the apostrophe in a text
/// does not end it.
fn quoted(text: &str, mark: char) -> usize {
    text.match_indices(mark)
        .map(|(at, _)| at + mark.len_utf8())
        .find(|end| !text[*end..].starts_with(is_name))
        .unwrap_or(text.len())
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, expected: &str) {
        assert_eq!(without_values(message), expected);
    }

    #[test]
    fn values_go_and_names_stay() {
        check(
            "Arrow error: Cast error: Cannot cast string 'O'Brien' to value of Int64 type",
            "Arrow error: Cast error: Cannot cast string ? to value of Int64 type",
        );
        check(
            "Error while parsing value '4.x4' as type 'Float32' for column 1 at line 4. Row data: '[4,a]'",
            "Error while parsing value ? as type ? for column ? at line ?. Row data: ?",
        );
        check("failed to parse \"a\nb\" as Int32, 1.5e3", "failed to parse ? as Int32, ?");
        check("No field named o_1. Valid fields are a.b2", "No field named o_1. Valid fields are a.b2");
        check("Overflow on -12_345: it doesn't fit", "Overflow on -?: it doesn't fit");
        check("never 'closed", "never ?");
    }

    #[test]
    fn places_in_scripts_stay() {
        check("etl/2024 shop.sql:16:1: t: bad 7", "etl/2024 shop.sql:16:1: t: bad ?");
        check("bad 7 in shop.sql:16: 1", "bad ? in shop.sql:?: ?");
        check("'Ann' in shop.sql:16:1: bad", "? in shop.sql:?:?: bad");
        check("Ann:16:1: bad", "Ann:?:?: bad");
    }

    #[test]
    fn values_without_quotes_go_too() {
        check(
            "map key must be unique, duplicate key found: Ann Lee\nat x",
            "map key must be unique, duplicate key found: ?\nat x",
        );
        check("Unexpected value: Ann", "Unexpected value: ?");
        check("Arrow error: Parser error: no such date", "Arrow error: Parser error: no such date");
        check(
            "External error: regex parse error:\n    (Ann\n    ^\nerror: unclosed group\ncaused by x",
            "External error: regex parse error: ?\nerror: unclosed group\ncaused by x",
        );
        check("regex parse error:\n    Ann", "regex parse error: ?");
    }
}
