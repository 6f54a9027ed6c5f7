//! The phrases that name a credential, and what a text that has one is never without.

/// A pattern, and what a text that it finds something in has in it, in any case. A sign has neither `k` nor `s`: the patterns
/// take letters beyond ASCII for these two.
pub(crate) struct Phrase {
    pub(crate) pattern: &'static str,
    pub(crate) signs: &'static [&'static str],
}

/// `IDENTIFIED BY 'x'`; `u/x@//host` and `jdbc:oracle:thin:u/x@host`; `the password is x1`. Quotes may be doubled or escaped, because the text may be inside of a literal.
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
