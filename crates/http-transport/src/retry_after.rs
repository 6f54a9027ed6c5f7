//! The pause before a retry that a server asks for.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};

/// The maximum pause that a server can ask for: nothing waits a day because of a header.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// The value of `Retry-After`, in seconds or as a date (RFC 9110, 10.2.3), limited to [`MAX_RETRY_AFTER`]. `None` if it is missing
/// or invalid. Dates are relative to `now`.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = match text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        // A number that is too large for the type exceeds the limit anyway.
        true => Duration::from_secs(text.parse().unwrap_or(u64::MAX)),
        false => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(asked.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(text: &'static str, expected_s: Option<u64>) {
        // Wed, 21 Oct 2015 07:28:00 GMT
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_480);
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
        assert_eq!(retry_after(&headers, now), expected_s.map(Duration::from_secs), "{text:?}");
    }

    #[test]
    fn seconds_and_dates_are_read_up_to_a_limit() {
        check("0", Some(0));
        check(" 7 ", Some(7));
        check("3600", Some(60));
        check("99999999999999999999999", Some(60));
        check("Wed, 21 Oct 2015 07:28:30 GMT", Some(30));
        check("Wed, 21 Oct 2015 09:28:30 GMT", Some(60));
        check("Wed, 21 Oct 2015 07:00:00 GMT", Some(0));
        check("soon", None);
        check("-1", None);
        check("", None);
        assert_eq!(retry_after(&HeaderMap::new(), SystemTime::UNIX_EPOCH), None);
    }
}
