//! The names of credentials.

use std::{cell::LazyCell, sync::LazyLock};

use aho_corasick::AhoCorasick;

use crate::credentials::word;

/// A name that contains one of these is the name of a credential.
const PARTS: [&str; 34] = [
    "accesskey",
    "accountkey",
    "apikey",
    "authorization",
    "connectionstring",
    "connectstring",
    "connstr",
    "cookie",
    "credential",
    "customerkey",
    "encryptionkey",
    "hmackey",
    "kennwort",
    "keyashex",
    "kerberosticket",
    "keybase64",
    "masterkey",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "passwort",
    "privatekey",
    "secret",
    "servicekey",
    "sessionkey",
    "sharedkey",
    "signingkey",
    "sastoken",
    "storagekey",
    "token",
    "webhookurl",
    "xamzsignature",
    "xgoogsignature",
];

/// What follows such a part within the same word in names that are harmless: `tokenizer`, `secretary`, `api_keyboard`.
const HARMLESS_ENDS: [(&str, &[&str]); 3] = [
    ("token", &["iz", "is", "ed"]),
    ("secret", &["ar", "io", "iv", "e"]),
    ("key", &["board", "note", "stone", "word"]),
];

/// Names of credentials that are part of too many harmless names: only the last word of a name counts. `sig` identifies `url_sig`,
/// but not `sig_figs`.
const LAST_WORDS: [&str; 26] = [
    "auth", "bearer", "cipher", "cred", "creds", "dbpass", "dbpw", "dbpwd", "dsn", "hmac", "jwt", "kerberos",
    "otp", "pass", "pat", "pem", "pin", "pw", "pwd", "salt", "sas", "sig", "userpass", "userpw", "userpwd",
    "webhook",
];

/// Words after the name of a credential that describe its form or version: `pin_hash`, `pw_old`.
const FORMS: [&str; 20] = [
    "b",
    "base",
    "enc",
    "encrypted",
    "hash",
    "hashed",
    "hex",
    "key",
    "keys",
    "new",
    "old",
    "plain",
    "raw",
    "sha",
    "str",
    "string",
    "text",
    "val",
    "value",
    "values",
];

/// Names of credentials that mean something else as part of another name: `total_kms` are kilometres.
const WHOLE_NAMES: [&str; 1] = ["kms"];

/// Words of which the common names of credentials consist: `api_key`, `client_secret`, `db.password`.
const PLAIN_WORDS: [&str; 18] = [
    "access",
    "api",
    "apikey",
    "auth",
    "authorization",
    "client",
    "credential",
    "credentials",
    "db",
    "key",
    "passwd",
    "password",
    "private",
    "pwd",
    "secret",
    "token",
    "user",
    "value",
];

/// Words before `tokens` that make it a number of tokens, as for a language model or a rate limit.
const BEFORE_COUNTED: [&str; 17] = [
    "avg",
    "cached",
    "completion",
    "count",
    "generated",
    "input",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "n",
    "num",
    "number",
    "output",
    "prompt",
    "total",
];
/// Words after `token` or `tokens` that make it a number.
const BEHIND_COUNTED: [&str; 6] = ["budget", "count", "counts", "limit", "per", "used"];

/// Words, any of which makes the key of an option or a setting the key of a credential. In options such a word cannot be the name
/// of ordinary data, as in a column. Only whole words count, so `path`, `pattern`, `spin` and `certainty` do not match.
const OPTION_WORDS: [&str; 37] = [
    "apikey",
    "auth",
    "authentication",
    "bearer",
    "cert",
    "certificate",
    "cipher",
    "cookie",
    "cred",
    "credential",
    "creds",
    "dsn",
    "hmac",
    "jwt",
    "kerberos",
    "key",
    "keytab",
    "kms",
    "login",
    "nonce",
    "otp",
    "pass",
    "pat",
    "pem",
    "pin",
    "private",
    "pw",
    "pwd",
    "salt",
    "sas",
    "session",
    "sid",
    "sig",
    "signature",
    "ticket",
    "totp",
    "webhook",
];

/// The tables for looking up normalised names.
#[derive(Debug, Clone)]
pub(crate) struct KeyNames {
    parts: Vec<String>,
    /// Finds any of the parts; `None` if there are too many.
    matcher: Option<AhoCorasick>,
}

/// Without extra names. A program has several policies, and clones share the matcher.
static USUAL: LazyLock<KeyNames> =
    LazyLock::new(|| KeyNames::of_parts(PARTS.into_iter().map(str::to_owned).collect()));

impl KeyNames {
    pub(crate) fn new<S: AsRef<str>>(extra: impl IntoIterator<Item = S>) -> Self {
        let extra = extra.into_iter().map(|key| normalized(key.as_ref())).filter(|key| !key.is_empty());
        let extra: Vec<String> = extra.collect();
        match extra.is_empty() {
            true => USUAL.clone(),
            false => Self::of_parts(PARTS.into_iter().map(str::to_owned).chain(extra).collect()),
        }
    }

    fn of_parts(parts: Vec<String>) -> Self {
        Self { matcher: AhoCorasick::new(&parts).ok(), parts }
    }

    /// Whether a name is the name of a credential.
    pub(crate) fn hide(&self, name: &str) -> bool {
        // First, because it inspects only the end and does not need the normalised name.
        if is_last_word(name) {
            return true;
        }
        // Most names are short and plain, and this is called for every word of a text.
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
            || WHOLE_NAMES.contains(&&*normalized)
            || self.has_part(name, &normalized)
    }

    /// Whether the name contains a part that is not the beginning of a harmless word.
    fn has_part(&self, name: &str, normalized: &str) -> bool {
        // For the whole name, and only if a part was found.
        let is_number = LazyCell::new(|| is_number_of_tokens(name));
        // In `token_is_set`, it is a separate word.
        let is_one_word = LazyCell::new(|| {
            let name = name.to_lowercase();
            HARMLESS_ENDS.map(|(part, ends)| ends.iter().any(|rest| name.contains(&[part, *rest].concat())))
        });
        let counts = |end: usize| {
            let (found, behind) = normalized.split_at(end);
            let is_harmless = |(row, (part, ends)): (usize, &(&str, &[&str]))| {
                // As in `tokenizer`, `secretary` and `keyboard`, which hold no secret.
                found.ends_with(part) && ends.iter().any(|rest| behind.starts_with(rest)) && is_one_word[row]
            };
            let counted = found.ends_with("token") && *is_number;
            let harmless = HARMLESS_ENDS.iter().enumerate().any(is_harmless);
            !counted && !harmless
        };
        match &self.matcher {
            Some(matcher) => matcher.find_overlapping_iter(normalized).any(|found| counts(found.end())),
            None => self.parts.iter().any(|part| {
                normalized.match_indices(part.as_str()).any(|(at, part)| counts(at + part.len()))
            }),
        }
    }

    /// Whether the key of an option or a setting is the key of a credential.
    pub(crate) fn hide_option(&self, key: &str) -> bool {
        self.hide(key)
            || words(key).any(|word| {
                let is = |known: &&str| word.eq_ignore_ascii_case(known);
                let singular = word.strip_suffix(['s', 'S']).unwrap_or(word);
                OPTION_WORDS.iter().any(|known| is(known) || singular.eq_ignore_ascii_case(known))
            })
    }
}

/// Whether the name of a credential consists only of such words, like a key and unlike a password.
pub(crate) fn is_plain_name(name: &str) -> bool {
    name.split(['_', '-', '.', ' '])
        .all(|word| PLAIN_WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)))
}

/// The words of a key: `aws`, `Access` and `Key` in `aws.AccessKey2`, `API` and `Key` in `APIKey`. Digits end a word.
fn words(key: &str) -> impl Iterator<Item = &str> {
    key.split(|c: char| !c.is_alphabetic()).flat_map(|part| {
        let mut starts = vec![0];
        let letters: Vec<(usize, char)> = part.char_indices().collect();
        for window in letters.windows(3) {
            let [(at, before), (next_at, c), (_, after)] = [window[0], window[1], window[2]];
            if c.is_uppercase() && (before.is_lowercase() || after.is_lowercase()) && at < next_at {
                starts.push(next_at);
            }
        }
        if let [.., (_, before), (at, c)] = letters[..]
            && before.is_lowercase()
            && c.is_uppercase()
        {
            starts.push(at);
        }
        starts.push(part.len());
        starts.windows(2).map(|range| &part[range[0]..range[1]]).collect::<Vec<_>>()
    })
}

/// Whether a name is that of a number of tokens: `max_tokens`, `tokens_per_second`, `tokenLimit`.
fn is_number_of_tokens(name: &str) -> bool {
    let words: Vec<&str> = words(name).filter(|word| !word.is_empty()).collect();
    let is_one_of = |known: &[&str], word: Option<&&str>| {
        word.is_some_and(|word| known.iter().any(|known| word.eq_ignore_ascii_case(known)))
    };
    let of_number = |at: usize| {
        let before = at.checked_sub(1).and_then(|before| words.get(before));
        let is_counted = is_one_of(&["tokens"], words.get(at)) && is_one_of(&BEFORE_COUNTED, before);
        is_counted || is_one_of(&BEHIND_COUNTED, words.get(at + 1))
    };
    let mut tokens = (0..words.len()).filter(|at| is_one_of(&["token", "tokens"], words.get(*at))).peekable();
    // All of them: `max_tokens_of_token` may still be the token.
    tokens.peek().is_some() && tokens.all(of_number)
}

/// Whether the last word of a name, ignoring words that describe the form, identifies a credential.
fn is_last_word(name: &str) -> bool {
    let is_one_of = |words: &[&str], word: &str| words.iter().any(|known| word.eq_ignore_ascii_case(known));
    let mut rest = name;
    loop {
        let last = last_word(rest);
        if is_one_of(&LAST_WORDS, last) {
            return true;
        }
        let start = rest.trim_end_matches(|c: char| !c.is_alphabetic()).len() - last.len();
        if start == 0 || !is_one_of(&FORMS, last) {
            return false;
        }
        // `password_file`: the name is before the form.
        rest = &rest[..start];
    }
}

/// `Pwd` in `dbPwd`, `pwd` in `db_pwd`, `PWD` in `DB_PWD`, `salt` in `md5salt`. Read from the end, because this is repeated for
/// each word of a form, and a word in a text may be long.
fn last_word(key: &str) -> &str {
    let key = key.trim_end_matches(|c: char| !c.is_alphabetic());
    let mut next: Option<char> = None;
    for (at, c) in key.char_indices().rev() {
        if !c.is_alphabetic() || (c.is_lowercase() && next.is_some_and(char::is_uppercase)) {
            return &key[at + c.len_utf8()..];
        }
        next = Some(c);
    }
    key
}

fn normalized(key: &str) -> String {
    key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Whether a word is a program option that is followed by user and password, as in `curl -u ann:hunter2`.
pub(crate) fn takes_user(option: &str) -> bool {
    ["-u", "-U", "--user", "--proxy-user"].contains(&option)
}

/// The length of `user:password` at the beginning of a text.
pub(crate) fn user_and_password(text: &str) -> Option<usize> {
    let user = word(text);
    let password = text[user.len()..].strip_prefix(':')?;
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`');
    let length = password.find(ends).unwrap_or(password.len());
    // `https://` is a scheme, not a user.
    (!user.is_empty() && length > 0 && !password.starts_with("//")).then(|| user.len() + 1 + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys of options and settings that are credentials.
    const OPTIONS: &str = "\
        my.pat, my.PAT, git.pat2, hdfs.kerberos.ticket, x.jwt, idJwt, session.cookie, aws.session_token, my.session, db.dsn, \
        pg.conn_string, azure.connection_string, azureConnectionString, db.connstr, url.signature, x.sig, tls.cert, \
        client-certificate, key.pem, my.private, ssh.privateKey, slack.webhook, slack_webhook_url, user.otp, card.pin, \
        card.PIN, http.auth, x.bearer, x.Bearer, aws.access_key_id, aws.accessKeyId, azure.shared_key, sharedKey, APIKey, \
        my.keys, account.pwd, db.passwd, db_pass, sas.url, gcp.service_account_key, x.credentials, hive.keytab, \
        oauth.nonce, x.y.totp, db.login, db.pw, db.creds, x.hmac, x.salt, aws.kms, kms.arn, tls.cipher, x.passphrase, \
        x.apikey, x.apiKeys, http.auth_header, sessionKms, x.cred";
    /// Keys of options and settings that are not.
    const HARMLESS_OPTIONS: &str = "\
        path, base.path, partition, partitions, datafusion.execution.target_partitions, pattern, file.pattern, batch, \
        datafusion.execution.batch_size, spin, opinion, author, compatibility, dispatch, patch, signal, design, assign, \
        certainty, concert, monkey, keyboard, passed, bypass, compass, option, adopt, topic, ticketing, pinned, \
        spinning, pandas, sasquatch, datafusion.catalog.default_schema, datafusion.catalog.information_schema, \
        datafusion.sql_parser.dialect, datafusion.optimizer.prefer_hash_join, datafusion.execution.time_zone, \
        datafusion.execution.keep_partition_by_columns, datafusion.explain.show_statistics, format.has_header, \
        format.delimiter, format.compression, format.null_value, aws.region, aws.endpoint, aws.bucket_name, aws.allow_http, \
        connection_timeout, connections, privately, obsession, possession, position, expat, spat";
    /// Names of columns, arguments and attributes that are credentials.
    const NAMES: &str = "\
        password, db_password_2, token, access_token, pat, my_pat, user_pin, pin, otp, sms_otp, jwt, dsn, db_dsn, \
        session_cookie, session_token, sessionKey, conn_str, connection_string, private_key, sig, url_sig, bearer, \
        webhook, webhook_url, client_secret, kerberos_ticket, pem, private_key_pem, shared_key, access_key, pwd2, \
        smtpPass, authorization, x-auth, pw, PW, db_pw, dbPw, pw2, pw_hash, pwd_hash, pwdHash, creds, db_creds, cred, hmac, \
        hmac_sha256, request_hmac, salt, password_salt, passwordSalt, salt_hex, kms, cipher, cipher_text, passphrase, \
        apikey, api_keys, auth, auth_value, http_auth, accesstoken, token_value, tokens, tokenHash, refreshToken, \
        client_secrets, secretValue, pin_hash, new_pw, pw_old, hmac_key, hmacKey, hmackey, auth_keys, md5salt, sha256salt, \
        userpass, dbpass, max_token, tokens_hash, token_limit_password, kennwort";
    /// Names of columns, arguments and attributes that are not credentials: the data of many tables.
    const HARMLESS_NAMES: &str = "\
        path, partition, pattern, batch, spin, opinion, session_id, session, ticket, ticket_id, signature_date, \
        plan_signature, is_private, certificate_count, key, keys, connection, patient, pinned, pin_count, shipping, author, \
        authority, tokenizer, tokenizer_name, tokenized, tokenization, bytes_tokenised, salted_snack, salty, \
        salt_lake_city, saltwater, author_id, coauthor, authored, authentic, auth_method, secretary, secretariat, \
        secretion, keyboard, api_keyboard, apikeyboards, access_keynote, monkey, kmsi, total_kms, encipherment, \
        hash, value, hex, spwd, pwr, credit, accredited, keynote, keyword, keystone, turkey, decipher_x, passed, passenger, compass, dispatch, signal, keyboard, concert, pat_count, otp_sent_at, max_tokens, maxTokens, \
        tokens_per_second, total_tokens, token_count, token_limit, prompt_tokens, basalt, sort_key, partition_key";

    #[track_caller]
    fn check(names: &str, hides: impl Fn(&str) -> bool, expected: bool) {
        let wrong: Vec<&str> = names.split(", ").filter(|name| hides(name.trim()) != expected).collect();
        assert!(wrong.is_empty(), "{wrong:?} must be {}", if expected { "hidden" } else { "shown" });
    }

    #[test]
    fn names_are_recognised_by_their_words() {
        let names = KeyNames::new::<&str>([]);
        check(OPTIONS, |key| names.hide_option(key), true);
        check(HARMLESS_OPTIONS, |key| names.hide_option(key), false);
        check(NAMES, |name| names.hide(name), true);
        check(NAMES, |name| names.hide_option(name), true);
        check(HARMLESS_NAMES, |name| names.hide(name), false);
    }
}
