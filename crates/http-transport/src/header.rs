//! Headers whose values are secrets.

use reqwest::header::HeaderValue;

/// A value that is hidden in `Debug`; `None` if it contains characters that cannot be sent.
pub fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show() {
        let value = secret_header("hunter2").unwrap();
        assert_eq!(value, "hunter2");
        assert!(!format!("{value:?}").contains("hunter2"));
        assert_eq!(secret_header("hunter2\n"), None);
    }
}
