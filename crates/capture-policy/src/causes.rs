//! Errors as texts.

use std::{error::Error, iter::successors};

use crate::printable;

/// An error and its causes in one line, [`printable`].
pub fn in_one_line(error: &dyn Error) -> String {
    printable(with_causes(error).trim_end()).into_owned()
}

/// An error and its causes, as they are. A cause that only repeats the error is left out.
pub fn with_causes(error: &dyn Error) -> String {
    let causes = successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |line, cause| match cause.to_string() {
        repeated if line.ends_with(&repeated) => line,
        cause => format!("{line}: {cause}"),
    })
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
        let repeated = Outer(std::io::Error::other("delivery.json"));
        assert_eq!(in_one_line(&repeated), "cannot use delivery.json");
        let answer = Outer(std::io::Error::other("<html>\r\n\u{1b}[2J"));
        assert_eq!(in_one_line(&answer), "cannot use delivery.json: <html>\\r\\n\\u001b[2J");
    }
}
