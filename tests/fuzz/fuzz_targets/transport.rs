//! Whatever a URL, a `Retry-After` or a file of certificates says, it is read to its end, and no password is shown.
//!
//! An input is the text of each of them.

#![no_main]
#![allow(clippy::unwrap_used, reason = "a fuzz target ends at its first surprise")]

use std::time::{Duration, SystemTime};

use daglight_http_transport::{
    MAX_RETRY_AFTER, check_certificates, check_key, is_loopback, retry_after, secret_header, shown_url,
};
use libfuzzer_sys::fuzz_target;
use reqwest::{
    Url,
    header::{HeaderMap, HeaderValue, RETRY_AFTER},
};

fuzz_target!(|input: &[u8]| {
    let _ = (check_certificates(input), check_key(input));
    let text = String::from_utf8_lossy(input);
    read_url(&text);
    let _ = secret_header(&text);
    if let Ok(value) = HeaderValue::from_bytes(input) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        let pause = retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value)]), now);
        assert!(pause.is_none_or(|pause| pause <= MAX_RETRY_AFTER), "{pause:?}");
    }
});

fn read_url(text: &str) {
    let shown = shown_url(text);
    let Ok(url) = Url::parse(text) else { return };
    let _ = is_loopback(&url);
    if let Some(password) = url.password().filter(|password| password.len() >= 6)
        && text.matches(password).count() == 1
    {
        assert!(!shown.contains(password), "{shown} of {text:?}");
    }
}
