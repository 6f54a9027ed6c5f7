//! The names that credentials have.

use aho_corasick::AhoCorasick;

use crate::credentials::word;

/// A name that contains one of these is that of a credential.
const PARTS: [&str; 31] = [
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
    "keyashex",
    "kerberosticket",
    "keybase64",
    "masterkey",
    "passcode",
    "passphrase",
    "passwd",
    "password",
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

/// Names of credentials that are parts of too many harmless ones: only the last word of a name counts. `sig` is one in
/// `url_sig`, and none in `sig_figs`.
const LAST_WORDS: [&str; 14] = [
    "auth", "bearer", "dsn", "jwt", "kerberos", "otp", "pass", "pat", "pem", "pin", "pwd", "sas", "sig",
    "webhook",
];

/// Words of which one makes the key of an option or a setting that of a credential: those hold no data that such a word
/// could be the name of, as that of a column could. Whole words count, so that `path`, `pattern`, `spin` or `certainty`
/// are none.
const OPTION_WORDS: [&str; 30] = [
    "auth",
    "authentication",
    "bearer",
    "cert",
    "certificate",
    "cookie",
    "credential",
    "creds",
    "dsn",
    "jwt",
    "kerberos",
    "key",
    "keytab",
    "login",
    "nonce",
    "otp",
    "pass",
    "pat",
    "pem",
    "pin",
    "private",
    "pwd",
    "sas",
    "session",
    "sid",
    "sig",
    "signature",
    "ticket",
    "totp",
    "webhook",
];

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
            || words(key).any(|word| {
                let is = |known: &&str| word.eq_ignore_ascii_case(known);
                let singular = word.strip_suffix(['s', 'S']).unwrap_or(word);
                OPTION_WORDS.iter().any(|known| is(known) || singular.eq_ignore_ascii_case(known))
            })
    }
}

/// The words of a key: `aws`, `Access` and `Key` of `aws.AccessKey2`, `API` and `Key` of `APIKey`. Digits end a word.
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

/// `Pwd` of `dbPwd`, `pwd` of `db_pwd`, `PWD` of `DB_PWD`.
fn last_word(key: &str) -> &str {
    let key = key.trim_end_matches(|c: char| !c.is_alphabetic());
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
        oauth.nonce, x.y.totp, db.login";
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
        smtpPass, authorization, x-auth";
    /// Names of columns, arguments and attributes that are not: the data of many tables.
    const HARMLESS_NAMES: &str = "\
        path, partition, pattern, batch, spin, opinion, session_id, session, ticket, ticket_id, signature_date, \
        plan_signature, is_private, certificate_count, key, keys, connection, patient, pinned, pin_count, shipping, author, \
        authority, passed, passenger, compass, dispatch, signal, keyboard, concert, pat_count, otp_sent_at";

    #[track_caller]
    fn check(names: &str, hides: impl Fn(&str) -> bool, expected: bool) {
        let wrong: Vec<&str> = names.split(", ").filter(|name| hides(name.trim()) != expected).collect();
        assert!(wrong.is_empty(), "{wrong:?} must be {}", if expected { "hidden" } else { "shown" });
    }

    #[test]
    fn names_are_told_by_their_words() {
        let names = KeyNames::new::<&str>([]);
        check(OPTIONS, |key| names.hide_option(key), true);
        check(HARMLESS_OPTIONS, |key| names.hide_option(key), false);
        check(NAMES, |name| names.hide(name), true);
        check(NAMES, |name| names.hide_option(name), true);
        check(HARMLESS_NAMES, |name| names.hide(name), false);
    }
}
