//! The shapes of credentials in a text.

use std::ops::Range;

/// The beginning of a private key.
pub(crate) const KEY_BEGIN: &str = "-----BEGIN ";
const KEY_END: &str = "-----END ";
const DASHES: &str = "-----";
/// The longest known header of a private key is about half as long.
const KEY_HEADER_LIMIT: usize = 64;

/// How many bytes are searched for user and password of a URL.
const AUTHORITY_LIMIT: usize = 1_024;

/// Prefixes of keys that services issue, and the minimum length of such a key.
const PREFIXES: [(&str, usize); 41] = [
    ("AIza", 35),
    ("GOCSPX-", 24),
    ("SG.", 40),
    ("dckr_pat_", 24),
    ("dop_v1_", 40),
    ("glcbt-", 20),
    ("gldt-", 20),
    ("glptt-", 20),
    ("glrt-", 20),
    ("hf_", 30),
    ("hvs.", 24),
    ("pk_live_", 24),
    ("rk_test_", 24),
    ("shpat_", 32),
    ("shpss_", 32),
    ("sq0atp-", 20),
    ("sq0csp-", 20),
    ("whsec_", 24),
    ("xapp-", 15),
    ("xoxe-", 15),
    ("xoxe.", 15),
    ("dapi", 36),
    ("ghp_", 20),
    ("gho_", 20),
    ("ghr_", 20),
    ("ghs_", 20),
    ("ghu_", 20),
    ("github_pat_", 20),
    ("glpat-", 20),
    ("npm_", 40),
    ("pypi-", 40),
    ("rk_live_", 24),
    ("sk-", 24),
    ("sk_live_", 24),
    ("sk_test_", 24),
    ("xoxa-", 15),
    ("xoxb-", 15),
    ("xoxp-", 15),
    ("xoxr-", 15),
    ("xoxs-", 15),
    ("ya29.", 20),
];

/// Shorter than all of them.
const SHORTEST_KEY: usize = 15;

/// The first private key of a text, from its first line to its last, or to the end of the text.
pub(crate) fn private_key(text: &str) -> Option<Range<usize>> {
    let mut from = 0;
    while let Some(found) = text[from..].find(KEY_BEGIN) {
        let start = from + found;
        let header = &text[start + KEY_BEGIN.len()..];
        from = start + KEY_BEGIN.len();
        let Some(length) = header.find(DASHES).filter(|length| *length <= KEY_HEADER_LIMIT) else { continue };
        // Certificates and public keys have the same frame and are not secret: an error about one is useful only if it shows it.
        if !header[..length].contains("PRIVATE KEY") {
            continue;
        }
        // To the end of the text if the end marker is missing: a truncated key is still a key.
        let end = header.find(KEY_END).and_then(|at| {
            let last = at + KEY_END.len();
            header[last..].find(DASHES).map(|dashes| from + last + dashes + DASHES.len())
        });
        return Some(start..end.unwrap_or(text.len()));
    }
    None
}

/// The word at the beginning of a text, with the characters of keys: letters, digits, `_`, `-` and `.`.
pub(crate) fn word(text: &str) -> &str {
    let is_ascii_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let end = text.bytes().position(|byte| !is_ascii_part(byte)).unwrap_or(text.len());
    if text[end..].starts_with(|c: char| !c.is_ascii()) {
        let end = text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.')));
        return &text[..end.unwrap_or(text.len())];
    }
    &text[..end]
}

/// The position of a credential that a word contains or `rest` begins with, recognised by its shape. `word` is the first word of
/// `rest`, and `before` the character before it.
pub(crate) fn shaped_credential(word: &str, rest: &str, before: Option<char>) -> Option<Range<usize>> {
    if word.len() >= SHORTEST_KEY {
        let end = word.trim_end_matches(SEPARATORS).len();
        // Three parts if a token is signed, five if it is encrypted.
        let last_token = word[..end].rmatch_indices('.').nth(1).map_or(0, |(dot, _)| dot);
        let starts = word.match_indices(SEPARATORS).map(|(at, separator)| at + separator.len());
        // After each separator: keys may have a prefix, as in `token_ghp_...`.
        let found = [0].into_iter().chain(starts).find_map(|start| {
            let key = word.get(start..end).filter(|key| key.len() >= SHORTEST_KEY)?;
            let part = &key[..key.find(SEPARATORS).unwrap_or(key.len())];
            let has_prefix =
                PREFIXES.iter().any(|(prefix, least)| key.len() >= *least && key.starts_with(prefix));
            // `eyJ` is `{"` in base64, the beginning of the header of every JSON Web Token (RFC 7519).
            let is_web_token = key.starts_with("eyJ") && start < last_token && key.len() >= 20;
            let length = if is_aws_key_id(part) { part.len() } else { key.len() };
            (has_prefix || is_web_token || is_aws_key_id(part)).then_some(start..start + length)
        });
        if found.is_some() {
            return found;
        }
    }
    aws_secret(rest, before)
}

/// The position of the value in a word that contains the name of a credential and a value: `secret-Zq01vX7k.csv`. The value is
/// recognised by its mixed letters and digits, which words and versions do not have.
pub(crate) fn value_in_word(word: &str, hides: impl Fn(&str) -> bool) -> Option<Range<usize>> {
    const LENGTHS: std::ops::RangeInclusive<usize> = 8..=128;
    let stem = &word[..word.find('.').unwrap_or(word.len())];
    let at = stem.rfind(['-', '_'])?;
    let value = &stem.as_bytes()[at + 1..];
    if !LENGTHS.contains(&value.len()) || !value.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    let changes =
        value.windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit()).count();
    let has = |kind: fn(&u8) -> bool| value.iter().any(kind);
    let is_mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
    ((changes >= 2 && is_mixed || changes >= 4) && hides(&stem[..at])).then(|| at + 1..stem.len())
}

/// The AWS secret key at the beginning of a text.
pub(crate) fn aws_secret(rest: &str, before: Option<char>) -> Option<Range<usize>> {
    // A part of a longer run of such letters is not a key, which has exactly this length.
    let is_inside = before.is_some_and(|c| c.is_ascii() && c != '=' && is_base64(c as u8));
    (!is_inside && is_aws_secret(rest)).then_some(0..AWS_SECRET_LENGTH)
}

/// Possible separators between the parts of a word.
const SEPARATORS: [char; 3] = ['_', '-', '.'];

fn is_aws_key_id(word: &str) -> bool {
    word.len() == 20
        && ["AKIA", "ASIA", "ABIA", "ACCA"].iter().any(|prefix| word.starts_with(prefix))
        && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

const AWS_SECRET_LENGTH: usize = 40;

/// Forty characters of base64 that are neither a hash nor a name: with upper and lower case and scattered digits.
fn is_aws_secret(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some(secret) = bytes.get(..AWS_SECRET_LENGTH) else { return false };
    let ends = bytes.get(AWS_SECRET_LENGTH).is_none_or(|byte| !is_base64(*byte) && !b"_-.".contains(byte));
    let count = |kind: fn(&u8) -> bool| secret.iter().filter(|byte| kind(byte)).count();
    ends && secret.iter().all(|byte| is_base64(*byte))
        && count(u8::is_ascii_uppercase) >= 6
        && count(u8::is_ascii_lowercase) >= 6
        && count(u8::is_ascii_digit) >= 1
        && count(|byte| *byte == b'/') <= 4
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// Whether a word is base64 instead of natural language: it has a digit, a symbol, or a capital other than its first letter.
pub(crate) fn is_encoded(word: &str) -> bool {
    word.len() >= 4
        && word.bytes().all(is_base64)
        && word
            .bytes()
            .enumerate()
            .any(|(at, byte)| !byte.is_ascii_lowercase() && (at > 0 || !byte.is_ascii_uppercase()))
}

/// The part of a URL after `://`, up to its path.
pub(crate) struct Authority {
    /// User and password, without the `@`.
    pub(crate) user: Option<Range<usize>>,
    pub(crate) end: usize,
}

/// The end of the authority at the beginning of `place`. A password may contain characters that should have been escaped.
pub(crate) fn authority(place: &str) -> Authority {
    let is_outside = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '`' | '\\');
    // Limited, because a text may contain thousands of `://`, and each would search the rest for its `@`.
    let place = &place[..place.floor_char_boundary(AUTHORITY_LIMIT)];
    let place = &place[..place.find(is_outside).unwrap_or(place.len())];
    let end = place.find(['/', '?', '#']).unwrap_or(place.len());
    // The last one: a password may contain an unescaped `@`.
    if let Some(at) = place[..end].rfind('@') {
        return Authority { user: Some(0..at), end };
    }
    let has_port = match place[..end].rsplit_once(':') {
        Some((_, port)) => port.bytes().all(|byte| byte.is_ascii_digit() || byte == b']'),
        None => true,
    };
    // A password may contain an unescaped `/`. This is recognised by the apparent port: a port is a number, and a password usually
    // is not.
    match place.rfind('@') {
        Some(at) if !has_port => Authority { user: Some(0..at), end: at + 1 },
        _ => Authority { user: None, end },
    }
}

/// The positions of the users and passwords of all URLs in a text.
pub(crate) fn users_of_urls(text: &str) -> Vec<Range<usize>> {
    const SIGN: &str = "://";
    let places = text.match_indices(SIGN).map(|(at, sign)| at + sign.len());
    places
        .filter_map(|start| {
            let user = authority(&text[start..]).user?;
            Some(start + user.start..start + user.end)
        })
        .collect()
}

/// The quote at the beginning of a text: its length including preceding backslashes, and the quote character.
pub(crate) fn quote(text: &str) -> Option<(usize, char)> {
    let marks = text.trim_start_matches('\\');
    let mark = marks.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'))?;
    Some((text.len() - marks.len() + 1, mark))
}

/// The length of the JSON object or array at the beginning of a text, or of the text if it does not end.
pub(crate) fn block(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut in_text = false;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}
