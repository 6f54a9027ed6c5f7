//! The time zones in column types, which may be any text.

use std::borrow::Cow;

use crate::rewritten::resumed;

/// The text with every time zone in column types replaced by `?` unless it is in the IANA database or an offset: a type can have
/// any text as its time zone. Types are written `Timestamp(ns, "Europe/Paris")` and `Timestamp(Nanosecond, Some("+01:00"))`.
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
        // A quote in it is escaped in one notation of a type and not in the other.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_time_zones_are_removed() {
        let of = without_unknown_zones;
        assert_eq!(of(r#"Timestamp(s, "zqmk")"#), r#"Timestamp(s, "?")"#);
        assert_eq!(of(r#"List(Timestamp(Second, Some("zq\"mk")))"#), r#"List(Timestamp(Second, Some("?")))"#);
        assert_eq!(
            of(r#"Timestamp(ns, "zq("), Timestamp(ms, "mk")"#),
            r#"Timestamp(ns, "?"), Timestamp(ms, "?")"#,
        );
        assert_eq!(of(r#"Timestamp(s, "open"#), r#"Timestamp(s, "?"#);
        assert_eq!(of(r#"Timestamp(s, "+86421975")"#), r#"Timestamp(s, "?")"#);
        for shown in [
            r#"Timestamp(ns, "Europe/Paris")"#,
            r#"Timestamp(ns, "UTC")"#,
            r#"Timestamp(Nanosecond, Some("+01:00"))"#,
            r#"Timestamp(ns, "-0530")"#,
            r#"Timestamp(ns, "?")"#,
            "Timestamp(ns)",
            "Timestamp(Second, None)",
        ] {
            assert_eq!(of(shown), shown);
        }
    }
}
