//! Literals as DataFusion writes them in plans and in column names: `Utf8("Ann")`. Only this module removes their values; SQL
//! literals are found by tokens.

use std::borrow::Cow;

use crate::rewritten::resumed;

/// The prefixes of literals in the plans and column names of DataFusion, before the value in parentheses. Every variant of
/// `ScalarValue` is here or in [`LITERALS_AND_TYPES`], except those whose notation is composed of these.
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
/// Literals whose prefix is also the name of a type with other parameters in parentheses, such as `Decimal128(10, 2)`.
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

/// What to do with types that are written like literals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Types {
    /// Keep them.
    Shown,
    /// Replace decimal types as well, as in the fingerprints of plans.
    Cut,
}

/// The text with the value of every literal replaced by `?`, in the notation of DataFusion for plans and column names:
/// `Utf8("Ann")` becomes `Utf8(?)`.
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

/// Removes the value of a union, which extends to the end of its line.
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
    // A fixed-size binary literal has its size before the bytes; the type has only the size.
    let sized =
        inside.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(", ").unwrap_or_default();
    // A decimal literal has its value before precision and scale.
    let is_decimal = || {
        let end = inside.find(')').unwrap_or(inside.len());
        inside.starts_with(|c: char| c.is_ascii_digit() || c == '-')
            && inside[..end].matches(',').count() == 2
    };
    ["Some(", "[", "{"].iter().any(|opening| inside.starts_with(opening))
        || sized.starts_with('"')
        || is_decimal()
}

/// The length of a literal up to its closing parenthesis, or to the end of the text if there is none.
fn literal_length(value: &str) -> usize {
    let is_end = |end: &usize| !value[*end..].starts_with(|c: char| c.is_alphanumeric() || c == '"');
    let closing = match value.strip_prefix('"') {
        Some(_) => {
            let ends =
                || value.match_indices("\")").map(|(at, _)| at + 1).filter(|at| is_end(&(at + 1)) && *at > 1);
            // Quotes in a value are not escaped; a type within a literal is recognised by its balanced parentheses.
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

/// How many possible ends of a literal are tried. There are more only in a text with many literals.
const MOST_ENDS: usize = 16;

fn is_balanced(value: &str) -> bool {
    let mut depth = 0_i64;
    value.bytes().all(|byte| {
        depth += i64::from(byte == b'(') - i64::from(byte == b')');
        depth >= 0
    }) && depth == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: impl AsRef<str>, expected: &str) {
        assert_eq!(found.as_ref(), expected);
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
