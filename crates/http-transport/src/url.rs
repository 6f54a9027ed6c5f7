//! URLs in a form that is safe to show.

use daglight_capture_policy::without_credentials;
use reqwest::Url;

/// The URL without its user and password, and without other recognisable credentials, such as `?token=..`. If the text is not a
/// valid URL, too much is left out rather than too little.
///
/// ```
/// use daglight_http_transport::shown_url;
///
/// assert_eq!(shown_url("https://me:hunter2@host/path?token=abc"), "https://host/path?token=[redacted]");
/// ```
pub fn shown_url(url: &str) -> String {
    // Without a scheme, as in `me:hunter2@host:4318`, everything before the host may be a credential. A scheme further on, as in
    // `?next=https://host`, belongs to another URL.
    let start = url.find("://").filter(|scheme| is_scheme(&url[..*scheme])).map_or(0, |scheme| scheme + 3);
    let rest = &url[start..];
    // A password with a slash makes the text an invalid URL, in which an "@" may be anywhere.
    let end = match Url::parse(url) {
        Ok(_) if start > 0 => rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()),
        _ => rest.len(),
    };
    match rest[..end].rfind('@') {
        Some(at) => without_credentials(&format!("{}{}", &url[..start], &rest[at + 1..])),
        None => without_credentials(url),
    }
}

fn is_scheme(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: &str) {
        assert_eq!(shown_url(url), expected);
    }

    #[test]
    fn credentials_are_left_out() {
        check("http://localhost:8241", "http://localhost:8241");
        check("https://me:hunter2@host:1/a@b", "https://host:1/a@b");
        check("https://host/a@b?c=@d", "https://host/a@b?c=@d");
        check("https://token@host", "https://host");
        check("https://me:a@b@host/", "https://host/");
        // This is a URL as well: what a parser adds to it is not needed.
        check("https:me:hunter2@host/?next=http://other", "host/?next=http://other");
        check("https:me:hun'ter2@host/?next=http://other", "host/?next=http://other");
        check("me:hunter2@host/?next=http://other", "host/?next=http://other");
    }

    #[test]
    fn texts_that_are_not_urls_show_no_credentials_either() {
        check("http://me:hunter2@ho st", "http://ho st");
        check("http://me:hunter2@[bad", "http://[bad");
        check("http://me:pa/ss@host/x", "http://host/x");
        check("collector:4317", "collector:4317");
        check("me:hunter2@collector:4318", "collector:4318");
        check("me:pa/ss@collector:4318/v1", "collector:4318/v1");
    }
}
