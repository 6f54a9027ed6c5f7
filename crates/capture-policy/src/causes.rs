//! Errors as texts.

use std::{error::Error, iter::successors};

use crate::printable;

/// An error and its causes in one line, [`printable`].
pub fn in_one_line(error: &dyn Error) -> String {
    let causes = successors(error.source(), |cause| (*cause).source());
    let line = causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"));
    printable(line.trim_end()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot use delivery.json")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_follow_the_error() {
        let error = Outer(std::io::Error::other("disk full"));
        assert_eq!(in_one_line(&error), "cannot use delivery.json: disk full");
        let answer = Outer(std::io::Error::other("<html>\r\n\u{1b}[2J"));
        assert_eq!(in_one_line(&answer), "cannot use delivery.json: <html>\\r\\n\\u001b[2J");
    }
}
