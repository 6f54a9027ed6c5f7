//! Users and passwords in URLs that were treated as paths: `out/http:/ann:pw@host/x`, `./ann:pw@host/x.csv`.
//!
//! A path has one slash where a URL has two, so that the URL is no longer recognisable. Each part of a path is inspected
//! separately: parts of the form `user:password@host`, and the part after a scheme, where a user without a password may be a token.
//! An `@` alone is part of a name, as in `@scope/x`, `data/ann@home/x.csv` and `image:1.2@sha256:0f/x`.

use std::{borrow::Cow, ops::Range};

use crate::{credentials::authority, rewritten::without_ranges};

/// Schemes of URLs with users. The part after `file:` is a path.
const SCHEMES: [&str; 22] = [
    "abfs",
    "abfss",
    "adl",
    "amqp",
    "amqps",
    "ftp",
    "ftps",
    "gs",
    "http",
    "https",
    "ldap",
    "ldaps",
    "mongodb",
    "mysql",
    "postgres",
    "postgresql",
    "redis",
    "rediss",
    "s3",
    "s3a",
    "sftp",
    "ssh",
];

/// The positions of users and passwords in the parts of paths in a text.
pub(crate) fn users_of_paths(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    if !text.contains('@') {
        return found;
    }
    let is_end = |c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '<' | '>' | '`' | '\\');
    let mut start = 0;
    loop {
        let end = text[start..].find(is_end).map_or(text.len(), |length| start + length);
        let (part, behind) = (&text[start..end], &text[end..]);
        if (text[..start].ends_with('/') || behind.starts_with('/'))
            && let Some(length) = user_and_password(part)
        {
            found.push(start..start + length);
        }
        if let Some(place) = behind.strip_prefix('/').filter(|_| is_scheme(part))
            && let Some(user) = authority(place).user
        {
            found.push(end + 1 + user.start..end + 1 + user.end);
        }
        let Some(next) = behind.chars().next() else { return found };
        start = end + next.len_utf8();
    }
}

/// A single-part path without user and password, which is not recognisable as a path by a slash.
pub(crate) fn without_user(path: &str) -> Cow<'_, str> {
    let user = Some(path).filter(|path| !path.contains('/')).and_then(user_and_password);
    without_ranges(path, user.map(|length| 0..length).into_iter().collect())
}

/// Whether a part of a path ends like the scheme of a URL.
fn is_scheme(part: &str) -> bool {
    let Some(before) = part.strip_suffix(':') else { return false };
    let name = before.rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    SCHEMES.iter().any(|scheme| name.eq_ignore_ascii_case(scheme))
}

/// The part of a path without user and password, that is, the host, if it has the form `user:password@host`.
///
/// ```
/// use daglight_capture_policy::host_of_path_part;
///
/// assert_eq!(host_of_path_part("ann:hunter2@lake"), Some("lake"));
/// assert_eq!(host_of_path_part("2024-01-02T10:30@berlin"), None);
/// ```
pub fn host_of_path_part(part: &str) -> Option<&str> {
    user_and_password(part).map(|length| &part[length + 1..])
}

/// The length of `user:password`, if the part of a path has that form with a host after it.
fn user_and_password(part: &str) -> Option<usize> {
    // The last one: a password may contain an unescaped `@`.
    let (user, host) = part.rsplit_once('@')?;
    let (name, password) = user.split_once(':')?;
    let (host, port) = host.rsplit_once(':').unwrap_or((host, ""));
    let is_host = host.starts_with(|c: char| c.is_alphanumeric() || c == '[')
        && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':'))
        && port.bytes().all(|byte| byte.is_ascii_digit() || byte == b']');
    // `2024-01-02T10:30@berlin` is a time and a place.
    let is_time = name.ends_with(|c: char| c.is_ascii_digit())
        && password.len() <= 5
        && password.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
    (is_host && !is_time && !password.is_empty()).then_some(user.len())
}

#[cfg(test)]
mod tests {
    use crate::{
        Policy, Profile,
        redact::{Redactor, tests::check},
    };

    #[test]
    fn users_and_passwords_of_urls_that_became_paths() {
        check("out/http://ann:hunter2@h/x", "out/http://[redacted]@h/x");
        check("out/http:/ann:hunter2@h/x", "out/http:/[redacted]@h/x");
        check("/data/https:/hunter2@host/x.csv", "/data/https:/[redacted]@host/x.csv");
        check("redis:/:hunter2@h/0", "redis:/[redacted]@h/0");
        check("./ann:hunter2@h/x.csv", "./[redacted]@h/x.csv");
        check("ann:hunter2@h/x.csv", "[redacted]@h/x.csv");
        check("ann:hunter2@h:8080/x.csv", "[redacted]@h:8080/x.csv");
        check("ann:hun@ter2@h/x.csv", "[redacted]@h/x.csv");
        check("out/ann:hunter2@h", "out/[redacted]@h");
        check("COPY t TO './ann:hunter2@h/x.csv'", "COPY t TO './[redacted]@h/x.csv'");
        check("file:///home/x/ann:hunter2@h/x.csv", "file:///home/x/[redacted]@h/x.csv");
        check("file:/home/postgres:/ann:hunter2@h/", "file:/home/postgres:/[redacted]@h/");
        check("[[tmp/ann:hunter2@h/x.csv], [y]]", "[[tmp/[redacted]@h/x.csv], [y]]");
        check("C:/out/http:/ann:hunter2@[::1]/x", "C:/out/http:/[redacted]@[::1]/x");
    }

    #[test]
    fn an_at_sign_in_a_path_is_a_letter() {
        for text in [
            "node_modules/@scope/x.csv",
            "data/ann@home/x.csv",
            "ann@home/x.csv",
            "mailbox/ann@example.org",
            "mailto:ann@example.org",
            "registry/image:1.2@sha256:0f12ab/x",
            "runs/2024-01-02T10:30@berlin/x.csv",
            "file:/ann@home/x.csv",
            "C:/ann@home/x.csv",
            "x:@y/z",
            "a@b:c/d",
            "expr=[id@0 as id, a:b@1 as c]",
            "git@github.com:daglight/daglight.git",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn paths_and_errors_lose_them_under_every_profile() {
        for profile in [Profile::Dev, Profile::Ci, Profile::Prod] {
            let policy = Policy::of_profile(profile);
            let redactor = policy.redactor();
            for path in ["out/http:/ann:hunter2@h/x", "./ann:hunter2@h/x.csv", "u=1/ann:hunter2@h/y=2/x.csv"]
            {
                for shown in [
                    policy.capture_path(path).map(|path| path.to_text()).unwrap_or_default(),
                    redactor.text(path),
                    redactor.error_text(&format!("Object at location {path} not found: x")),
                    redactor.sql_text(&format!("COPY t TO '{path}'")),
                    redactor.plan_text(&format!("CopyTo: format=csv output_url={path} options: ()")),
                    redactor.name_text(path),
                    redactor.comment_text(&format!("see {path}")),
                    redactor.console_text(&format!("bundle {path}")),
                ] {
                    assert!(!shown.contains("hunter2"), "{shown}");
                }
            }
        }
    }

    /// Any number of parts and symbols is read only once.
    #[test]
    fn hostile_texts_are_read_to_their_end() {
        for part in ["a:b@", "/a:b@c", "http:/", "@", ":@/", "http:/a@"] {
            Redactor::default().text(&part.repeat(200_000));
        }
    }
}
