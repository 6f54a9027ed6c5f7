//! Values that stand inside the texts of programs: in the folders of paths, and in the names and plans of queries.

use std::borrow::Cow;

/// The text with the value of every partition folder replaced by `?`: `sales/day=2024-01-02/x.csv` becomes
/// `sales/day=?/x.csv`. A folder is told by the slash before its name or behind its value.
pub(crate) fn without_partition_values(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut written = 0;
    for (equals, _) in text.match_indices('=') {
        let start = equals + 1;
        if start <= written {
            continue;
        }
        let value = &text[start..];
        let name_length = text[..equals].bytes().rev().take_while(|byte| is_name_byte(*byte)).count();
        let name = &text[equals - name_length..equals];
        let is_below_a_folder = text[..equals - name_length].ends_with(SLASHES);
        let length = folder_length(value, is_below_a_folder);
        let is_folder = is_below_a_folder || value[length..].starts_with(SLASHES) && !is_name_of_path(name);
        if !name.is_empty() && is_folder && length > 0 {
            out.push_str(&text[written..start]);
            out.push('?');
            written = start + length;
        }
    }
    resumed(text, written, out)
}

/// The path with the value of every partition folder replaced by `?`, and that of a file with such a name.
pub(crate) fn path_without_values(path: &str) -> String {
    let parts = path.split_inclusive(SLASHES).map(|part| {
        let name = part.trim_end_matches(SLASHES);
        match name.split_once('=') {
            Some((column, _)) => format!("{column}=?{}", &part[name.len()..]),
            None => part.to_owned(),
        }
    });
    parts.collect()
}

const SLASHES: [char; 2] = ['/', '\\'];

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'%' | b'.') || !byte.is_ascii()
}

/// Names that have a path for a value, such as `output_url`.
fn is_name_of_path(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["dir", "file", "folder", "location", "path", "uri", "url"].iter().any(|word| name.ends_with(word))
}

/// How far a folder's name goes on. One with a blank in it is told only by the slash behind it.
fn folder_length(value: &str, may_have_blanks: bool) -> usize {
    let is_end = |c: char| SLASHES.contains(&c) || "\n\"'`=,;()[]{}<>".contains(c);
    let end = value.find(is_end).unwrap_or(value.len());
    if may_have_blanks && value[end..].starts_with(SLASHES) {
        return end;
    }
    value[..end].find(char::is_whitespace).unwrap_or(end)
}

/// What a literal is called in the plans and column names of DataFusion, before its value in parentheses. Every variant of
/// `ScalarValue` is here or among [`LITERALS_AND_TYPES`], but for those that are written out of these.
const LITERALS: [&str; 35] = [
    "Binary",
    "BinaryView",
    "Boolean",
    "Date32",
    "Date64",
    "DurationMicrosecond",
    "DurationMillisecond",
    "DurationNanosecond",
    "DurationSecond",
    "Float16",
    "Float32",
    "Float64",
    "Int16",
    "Int32",
    "Int64",
    "Int8",
    "IntervalDayTime",
    "IntervalMonthDayNano",
    "IntervalYearMonth",
    "LargeBinary",
    "LargeUtf8",
    "Time32Millisecond",
    "Time32Second",
    "Time64Microsecond",
    "Time64Nanosecond",
    "TimestampMicrosecond",
    "TimestampMillisecond",
    "TimestampNanosecond",
    "TimestampSecond",
    "UInt16",
    "UInt32",
    "UInt64",
    "UInt8",
    "Utf8",
    "Utf8View",
];
/// Literals that are called as their types are, which have other things in parentheses, as in `Decimal128(10, 2)`.
const LITERALS_AND_TYPES: [&str; 12] = [
    "Decimal128",
    "Decimal256",
    "Decimal32",
    "Decimal64",
    "FixedSizeBinary",
    "FixedSizeList",
    "LargeList",
    "LargeListView",
    "List",
    "ListView",
    "Map",
    "Struct",
];

/// What becomes of types that are written as literals are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Types {
    /// They stay.
    Shown,
    /// Those of decimal numbers go too, as the fingerprints of plans have it.
    Cut,
}

/// The text with the value of every literal replaced by `?`, as DataFusion writes them into plans and into the names of
/// columns: `Utf8("Ann")` becomes `Utf8(?)`.
pub fn without_typed_literals(text: &str, types: Types) -> Cow<'_, str> {
    let mut out = String::new();
    let mut written = 0;
    for (open, _) in text.match_indices('(') {
        let start = open + 1;
        if start <= written {
            continue;
        }
        let word_length = text[..open].bytes().rev().take_while(u8::is_ascii_alphanumeric).count();
        let word = &text[open - word_length..open];
        let value = &text[start..];
        let is_cut = types == Types::Cut && word.starts_with("Decimal");
        let is_literal =
            LITERALS.contains(&word) || (LITERALS_AND_TYPES.contains(&word) && (is_cut || has_value(value)));
        if is_literal {
            out.push_str(&text[written..start]);
            out.push('?');
            written = start + literal_length(value);
        }
    }
    // `Union 1:value` has no parentheses.
    match resumed(text, written, out) {
        text if text.contains("Union ") => without_unions(&text).into(),
        text => text,
    }
}

/// Without the value of a union, which nothing ends but its line.
fn without_unions(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("Union ") {
        let (before, union) = rest.split_at(at + "Union ".len());
        out.push_str(before);
        let id = union.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-');
        rest = match id.strip_prefix(':') {
            Some(value) if id.len() < union.len() => {
                out.push('?');
                &value[value.find('\n').unwrap_or(value.len())..]
            }
            _ => union,
        };
    }
    out.push_str(rest);
    out
}

fn has_value(inside: &str) -> bool {
    // In front of bytes of a fixed size stands their number; the type has nothing else.
    let sized =
        inside.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(", ").unwrap_or_default();
    // In front of precision and scale stands the value of a decimal.
    let is_decimal = || {
        let end = inside.find(')').unwrap_or(inside.len());
        inside.starts_with(|c: char| c.is_ascii_digit() || c == '-')
            && inside[..end].matches(',').count() == 2
    };
    ["Some(", "[", "{"].iter().any(|opening| inside.starts_with(opening))
        || sized.starts_with('"')
        || is_decimal()
}

/// The length of a literal up to the parenthesis that closes it, or of all that follows where none does.
fn literal_length(value: &str) -> usize {
    let is_end = |end: &usize| !value[*end..].starts_with(|c: char| c.is_alphanumeric() || c == '"');
    let closing = match value.strip_prefix('"') {
        Some(_) => {
            let ends =
                || value.match_indices("\")").map(|(at, _)| at + 1).filter(|at| is_end(&(at + 1)) && *at > 1);
            // Quotes in a value are not escaped: a type in a literal is known by its own parentheses.
            let whole = ends().take(MOST_ENDS).find(|end| is_balanced(&value[1..end - 1]));
            whole.or_else(|| ends().next())
        }
        None => {
            let mut depth = 0_usize;
            value.find(|c: char| match c {
                '(' => {
                    depth += 1;
                    false
                }
                ')' => {
                    depth = depth.wrapping_sub(1);
                    depth == usize::MAX
                }
                _ => false,
            })
        }
    };
    closing.unwrap_or(value.len())
}

/// Ends of a literal that are looked at. There are more only in a text with many literals.
const MOST_ENDS: usize = 16;

fn is_balanced(value: &str) -> bool {
    let mut depth = 0_i64;
    value.bytes().all(|byte| {
        depth += i64::from(byte == b'(') - i64::from(byte == b')');
        depth >= 0
    }) && depth == 0
}

/// The text with every time zone in the types of columns replaced by `?` that is neither in the IANA database nor an
/// offset: any text may be the time zone of a type. Types are written `Timestamp(ns, "Europe/Paris")` and
/// `Timestamp(Nanosecond, Some("+01:00"))`.
pub(crate) fn without_unknown_zones(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut written = 0;
    for (at, opening) in text.match_indices("Timestamp(") {
        let inside = &text[at + opening.len()..];
        let unit = inside.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(inside.len());
        let Some(zone) = inside[unit..].strip_prefix(',').map(str::trim_start) else { continue };
        let zone = zone.strip_prefix("Some(").unwrap_or(zone);
        let Some(zone) = zone.strip_prefix('"') else { continue };
        let start = text.len() - zone.len();
        // A quote in it is escaped in one form of a type and not in the other.
        let end = zone.find("\")").unwrap_or(zone.len());
        if start >= written && unit > 0 && !is_time_zone(&zone[..end]) {
            out.push_str(&text[written..start]);
            out.push('?');
            written = start + end;
        }
    }
    resumed(text, written, out)
}

fn is_time_zone(zone: &str) -> bool {
    let offset = zone.strip_prefix(['+', '-']).unwrap_or_default();
    let is_offset = matches!(offset.len(), 2 | 4 | 5)
        && offset.bytes().enumerate().all(|(at, byte)| byte.is_ascii_digit() || (at == 2 && byte == b':'));
    zone == "?" || is_offset || zone.parse::<chrono_tz::Tz>().is_ok()
}

/// What was written, and the rest of the text behind it.
pub(crate) fn resumed<'a>(text: &'a str, written: usize, mut out: String) -> Cow<'a, str> {
    if written == 0 {
        return text.into();
    }
    out.push_str(&text[written..]);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: impl AsRef<str>, expected: &str) {
        assert_eq!(found.as_ref(), expected);
    }

    #[track_caller]
    fn check_path(path: &str, expected: &str) {
        check(path_without_values(path), expected);
        check(without_partition_values(path), expected);
        check(without_partition_values(expected), expected);
    }

    #[test]
    fn partition_folders_lose_their_values() {
        check_path("s3://b/sales/customer=Ann/day=2024-01-02/x.csv", "s3://b/sales/customer=?/day=?/x.csv");
        check_path("/data/customer=Ann Lee/x.csv", "/data/customer=?/x.csv");
        check_path("customer=Ann/", "customer=?/");
        check_path("C:\\data\\Größe=XL", "C:\\data\\Größe=?");
        check_path("out/x.csv", "out/x.csv");
        check(path_without_values("customer=Ann Lee"), "customer=?");
    }

    #[test]
    fn paths_in_texts_lose_them_too() {
        let of = without_partition_values;
        check(
            of("file_groups={1 group: [[tmp/a=1/f.csv], [b=2/g.csv]]}"),
            "file_groups={1 group: [[tmp/a=?/f.csv], [b=?/g.csv]]}",
        );
        check(
            of("CopyTo: output_url=out/a=Ann/ options: (x=1)"),
            "CopyTo: output_url=out/a=?/ options: (x=1)",
        );
        check(of("Object at location /x/a=Ann not found"), "Object at location /x/a=? not found");
        check(of("a = b, c=d AND e=f"), "a = b, c=d AND e=f");
        check(of("https://host/x?a=b&c=d"), "https://host/x?a=b&c=d");
        check(of("=/ /= a=/"), "=/ /= a=/");
    }

    #[test]
    fn time_zones_that_are_none_go() {
        let of = without_unknown_zones;
        check(of(r#"Timestamp(s, "zqmk")"#), r#"Timestamp(s, "?")"#);
        check(of(r#"List(Timestamp(Second, Some("zq\"mk")))"#), r#"List(Timestamp(Second, Some("?")))"#);
        check(
            of(r#"Timestamp(ns, "zq("), Timestamp(ms, "mk")"#),
            r#"Timestamp(ns, "?"), Timestamp(ms, "?")"#,
        );
        check(of(r#"Timestamp(s, "open"#), r#"Timestamp(s, "?"#);
        check(of(r#"Timestamp(s, "+86421975")"#), r#"Timestamp(s, "?")"#);
        for shown in [
            r#"Timestamp(ns, "Europe/Paris")"#,
            r#"Timestamp(ns, "UTC")"#,
            r#"Timestamp(Nanosecond, Some("+01:00"))"#,
            r#"Timestamp(ns, "-0530")"#,
            r#"Timestamp(ns, "?")"#,
            "Timestamp(ns)",
            "Timestamp(Second, None)",
        ] {
            check(of(shown), shown);
        }
    }

    #[test]
    fn literals_lose_their_values() {
        let of = |text| without_typed_literals(text, Types::Shown);
        check(of("a = Utf8(\"A\")b\") AND b"), "a = Utf8(?) AND b");
        check(of("sum(a * Int64(-1)) + Float64(1.5)"), "sum(a * Int64(?)) + Float64(?)");
        check(of("f(TimestampSecond(1, Some(\"+00:00\")), b)"), "f(TimestampSecond(?), b)");
        check(of("Decimal128(Some(1),15,2) List([Ann])"), "Decimal128(?) List(?)");
        check(of("IntervalDayTime(\"IntervalDayTime { days: 1 }\")"), "IntervalDayTime(?)");
        check(of("Utf8(\"open"), "Utf8(?");
        let cast = r#"arrow_cast(Int64(1),Utf8("Timestamp(Second, Some("zqmk"))"))"#;
        check(of(cast), "arrow_cast(Int64(?),Utf8(?))");
        check(of(r#"f(Utf8("it's ("a") "b""),Utf8("(")) AND Utf8("zq")"#), "f(Utf8(?),Utf8(?)) AND Utf8(?)");
        check(of(r#"f(LargeUtf8("a\"b(\")"),Int64(3))"#), "f(LargeUtf8(?),Int64(?))");
        for text in
            ["Decimal128(10, 2)", "Struct(\"a\": Int64)", "List(Utf8)", "count(Int64)", "f(x)", "Int64(?)"]
        {
            check(of(text), text);
        }
    }
}
