//! The names that credentials have.

use aho_corasick::AhoCorasick;

use crate::credentials::word;

/// A name that contains one of these is that of a credential.
const PARTS: [&str; 27] = [
    "accesskey",
    "accountkey",
    "apikey",
    "authorization",
    "connectionstring",
    "cookie",
    "credential",
    "customerkey",
    "encryptionkey",
    "keyashex",
    "keybase64",
    "masterkey",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "servicekey",
    "sharedkey",
    "signingkey",
    "sastoken",
    "storagekey",
    "token",
    "webhookurl",
    "xamzsignature",
    "xgoogsignature",
];

/// Names of credentials that are parts of too many harmless ones: only the last word of a name counts.
const LAST_WORDS: [&str; 6] = ["auth", "jwt", "pass", "pwd", "sas", "sig"];

/// Words of which one makes the key of an option or a setting that of a credential: those hold no data that such a word
/// could be the name of, as that of a column could.
const OPTION_WORDS: [&str; 9] = ["auth", "jwt", "key", "keys", "pass", "pin", "pwd", "sas", "signature"];

/// What normalised names are looked up in.
#[derive(Debug, Clone)]
pub(crate) struct KeyNames {
    parts: Vec<String>,
    /// Finds any of the parts; `None` where there are too many for it.
    matcher: Option<AhoCorasick>,
}

impl KeyNames {
    pub(crate) fn new<S: AsRef<str>>(extra: impl IntoIterator<Item = S>) -> Self {
        let extra = extra.into_iter().map(|key| normalized(key.as_ref())).filter(|key| !key.is_empty());
        let parts: Vec<String> = PARTS.into_iter().map(str::to_owned).chain(extra).collect();
        Self { matcher: AhoCorasick::new(&parts).ok(), parts }
    }

    /// Whether a name is that of a credential.
    pub(crate) fn hide(&self, name: &str) -> bool {
        let last_word = last_word(name);
        if LAST_WORDS.iter().any(|known| last_word.eq_ignore_ascii_case(known)) {
            return true;
        }
        // Most names are short and plain, and every word of a text is asked for.
        let mut buffer = [0; 64];
        let mut length = 0;
        let plain = name.is_ascii() && name.len() <= buffer.len();
        let normalized = if plain {
            for byte in name.bytes().filter(u8::is_ascii_alphanumeric) {
                buffer[length] = byte.to_ascii_lowercase();
                length += 1;
            }
            std::str::from_utf8(&buffer[..length]).unwrap_or_default().into()
        } else {
            std::borrow::Cow::Owned(normalized(name))
        };
        LAST_WORDS.contains(&&*normalized)
            || match &self.matcher {
                Some(matcher) => matcher.is_match(&*normalized),
                None => self.parts.iter().any(|part| normalized.contains(part.as_str())),
            }
    }

    /// Whether the key of an option or a setting is that of a credential.
    pub(crate) fn hide_option(&self, key: &str) -> bool {
        self.hide(key)
            || key.split(|c: char| !c.is_alphanumeric()).any(|word| {
                OPTION_WORDS.iter().any(|known| word.eq_ignore_ascii_case(known) || last_word(word) == *known)
            })
    }
}

/// `Pwd` of `dbPwd`, `pwd` of `db_pwd`, `PWD` of `DB_PWD`.
fn last_word(key: &str) -> &str {
    let key = key.trim_end_matches(|c: char| !c.is_alphanumeric());
    let starts = key.char_indices().zip(key.chars().skip(1)).filter_map(|((at, c), next)| {
        let is_start = !c.is_alphanumeric() || (c.is_lowercase() && next.is_uppercase());
        is_start.then_some(at + c.len_utf8())
    });
    &key[starts.last().unwrap_or(0)..]
}

fn normalized(key: &str) -> String {
    key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Whether a word is an option of a program that user and password follow, as in `curl -u ann:hunter2`.
pub(crate) fn takes_user(option: &str) -> bool {
    ["-u", "-U", "--user", "--proxy-user"].contains(&option)
}

/// The length of `user:password` at the beginning of a text.
pub(crate) fn user_and_password(text: &str) -> Option<usize> {
    let user = word(text);
    let password = text[user.len()..].strip_prefix(':')?;
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`');
    let length = password.find(ends).unwrap_or(password.len());
    (!user.is_empty() && length > 0 && !password.starts_with("//")).then(|| user.len() + 1 + length)
}
