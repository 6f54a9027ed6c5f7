//! The shapes of credentials in a text.

use std::ops::Range;

/// What a private key begins with.
pub(crate) const KEY_BEGIN: &str = "-----BEGIN ";
const KEY_END: &str = "-----END ";
const DASHES: &str = "-----";
/// The longest header of a private key that is known is about half as long.
const KEY_HEADER_LIMIT: usize = 64;

/// Users and passwords in URLs are looked for in so many bytes.
const AUTHORITY_LIMIT: usize = 1_024;

/// Prefixes of keys that services give out, and how long such a key is at least.
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

/// Shorter than any of them.
const SHORTEST_KEY: usize = 15;

/// The first private key of a text, from its first line to its last, or to the end of the text.
pub(crate) fn private_key(text: &str) -> Option<Range<usize>> {
    let mut from = 0;
    while let Some(found) = text[from..].find(KEY_BEGIN) {
        let start = from + found;
        let header = &text[start + KEY_BEGIN.len()..];
        from = start + KEY_BEGIN.len();
        let Some(length) = header.find(DASHES).filter(|length| *length <= KEY_HEADER_LIMIT) else { continue };
        // Certificates and public keys have the same frame, and are no secret: an error about one is only of use with
        // it.
        if !header[..length].contains("PRIVATE KEY") {
            continue;
        }
        // To the end of the text where the end is missing: a key that was cut is still a key.
        let end = header.find(KEY_END).and_then(|at| {
            let last = at + KEY_END.len();
            header[last..].find(DASHES).map(|dashes| from + last + dashes + DASHES.len())
        });
        return Some(start..end.unwrap_or(text.len()));
    }
    None
}

/// The word that a text begins with, as keys are written: letters, digits, `_`, `-` and `.`.
pub(crate) fn word(text: &str) -> &str {
    let is_ascii_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let end = text.bytes().position(|byte| !is_ascii_part(byte)).unwrap_or(text.len());
    if text[end..].starts_with(|c: char| !c.is_ascii()) {
        let end = text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.')));
        return &text[..end.unwrap_or(text.len())];
    }
    &text[..end]
}

/// Where the credential is that a word has or `rest` begins with, if its shape shows one. `word` is the first word of
/// `rest`, and `before` the character in front of it.
pub(crate) fn shaped_credential(word: &str, rest: &str, before: Option<char>) -> Option<Range<usize>> {
    if word.len() >= SHORTEST_KEY {
        let end = word.trim_end_matches(SEPARATORS).len();
        // Three parts where a token is signed, five where it is encrypted.
        let last_token = word[..end].rmatch_indices('.').nth(1).map_or(0, |(dot, _)| dot);
        let starts = word.match_indices(SEPARATORS).map(|(at, separator)| at + separator.len());
        // Behind each separator: names are put in front of keys, as in `token_ghp_...`.
        let found = [0].into_iter().chain(starts).find_map(|start| {
            let key = word.get(start..end).filter(|key| key.len() >= SHORTEST_KEY)?;
            let part = &key[..key.find(SEPARATORS).unwrap_or(key.len())];
            let has_prefix =
                PREFIXES.iter().any(|(prefix, least)| key.len() >= *least && key.starts_with(prefix));
            // `eyJ` is `{"` in base64, with which the header of each JSON Web Token begins (RFC 7519).
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

/// Where the value is in a word that has one behind the name of a credential: `secret-Zq01vX7k.csv`. It is known by the letters
/// and digits that are mixed in it, as no word or version has them.
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

/// The secret key of AWS that a text begins with.
pub(crate) fn aws_secret(rest: &str, before: Option<char>) -> Option<Range<usize>> {
    // Part of a longer run of such letters is not a key of exactly this length.
    let is_inside = before.is_some_and(|c| c.is_ascii() && c != '=' && is_base64(c as u8));
    (!is_inside && is_aws_secret(rest)).then_some(0..AWS_SECRET_LENGTH)
}

/// What may stand between the parts of a word.
const SEPARATORS: [char; 3] = ['_', '-', '.'];

fn is_aws_key_id(word: &str) -> bool {
    word.len() == 20
        && ["AKIA", "ASIA", "ABIA", "ACCA"].iter().any(|prefix| word.starts_with(prefix))
        && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

const AWS_SECRET_LENGTH: usize = 40;

/// Forty characters of base64 that are neither a hash nor a name: with capitals, small letters and scattered digits.
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

/// Whether a word is base64 and no word of a language: it has a digit, a sign, or a capital that is not its first.
pub(crate) fn is_encoded(word: &str) -> bool {
    word.len() >= 4
        && word.bytes().all(is_base64)
        && word
            .bytes()
            .enumerate()
            .any(|(at, byte)| !byte.is_ascii_lowercase() && (at > 0 || !byte.is_ascii_uppercase()))
}

/// The part of a URL behind `://`, up to its path.
pub(crate) struct Authority {
    /// User and password, without the `@`.
    pub(crate) user: Option<Range<usize>>,
    pub(crate) end: usize,
}

/// Where the authority that `place` begins with ends. A password may contain what should have been escaped in it.
pub(crate) fn authority(place: &str) -> Authority {
    let is_outside = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '`' | '\\');
    // Bounded, because a text may have thousands of `://` in it, and each would look through all the rest for its `@`.
    let place = &place[..place.floor_char_boundary(AUTHORITY_LIMIT)];
    let place = &place[..place.find(is_outside).unwrap_or(place.len())];
    let end = place.find(['/', '?', '#']).unwrap_or(place.len());
    // The last one: a password may have an `@` that was not escaped.
    if let Some(at) = place[..end].rfind('@') {
        return Authority { user: Some(0..at), end };
    }
    let has_port = match place[..end].rsplit_once(':') {
        Some((_, port)) => port.bytes().all(|byte| byte.is_ascii_digit() || byte == b']'),
        None => true,
    };
    // A password may have a `/` in it that was not escaped. It shows by what would else be the port: that is a number,
    // and a password is most often not.
    match place.rfind('@') {
        Some(at) if !has_port => Authority { user: Some(0..at), end: at + 1 },
        _ => Authority { user: None, end },
    }
}

/// Where the users and passwords of all URLs in a text stand.
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

/// The quote that a text begins with: its length with the backslashes before it, and the mark itself.
pub(crate) fn quote(text: &str) -> Option<(usize, char)> {
    let marks = text.trim_start_matches('\\');
    let mark = marks.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'))?;
    Some((text.len() - marks.len() + 1, mark))
}

/// The length of the JSON object or array that a text begins with, or of the text where it does not end.
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
