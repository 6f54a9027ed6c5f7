//! The phrases that identify a credential, and the signs that every text with such a phrase contains.

/// A pattern, and a text that is always present, in any case, if it matches. A sign must not contain `k` or `s`: the patterns
/// accept non-ASCII letters for these two.
pub(crate) struct Phrase {
    pub(crate) pattern: &'static str,
    pub(crate) signs: &'static [&'static str],
}

/// `IDENTIFIED BY 'x'`; `u/x@//host` and `jdbc:oracle:thin:u/x@host`; `the password is x1`. Quotes may be doubled or escaped,
/// because the text may be inside a literal.
pub(crate) const PHRASES: [Phrase; 4] = [
    Phrase {
        pattern: r#"(?i)\bidentified\s+(?:with\s+\S+\s+)?(?:by|as)\s+(?:password\s+)?['"\\]+(?<secret>[^'"\\\n]+)"#,
        signs: &["identified"],
    },
    Phrase { pattern: r#"[^\s'"`/:=@]/(?<secret>[^\s'"`]+?)@//"#, signs: &["@//"] },
    Phrase {
        pattern: r#"(?i):(?:thin|oci8?):[^\s'"`/:@]+/(?<secret>[^\s'"`]+?)@"#,
        signs: &[":thin:", ":oci"],
    },
    Phrase {
        pattern: r"(?i)\b(?:password|passphrase|passwd|kennwort|passwort)\s+(?:is|ist|was)\s+(?<word>[^\s',;]{6,64})",
        signs: &["word", "phra", "wd", "wort"],
    },
];
