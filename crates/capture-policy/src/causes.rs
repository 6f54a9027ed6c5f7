//! Errors as text.

use std::{error::Error, iter::successors};

use crate::printable;

/// An error and its causes in one line, made [`printable`]. Multi-line messages, such as those of DataFusion, are joined.
pub fn in_one_line(error: &dyn Error) -> String {
    let text = with_causes(error);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    printable(&lines.join(" ")).into_owned()
}

/// An error and its causes, unchanged. A cause that the preceding text already contains is left out.
pub fn with_causes(error: &dyn Error) -> String {
    let causes = successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |line, cause| match cause.to_string() {
        // DataFusion's errors end with the cause, or with help text after it.
        repeated if line.contains(repeated.trim()) => line,
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
        assert_eq!(in_one_line(&answer), "cannot use delivery.json: <html> \\u001b[2J");
    }
}
