//! Errors as texts.

use std::{error::Error, iter::successors};

/// An error and its causes in one line.
pub fn in_one_line(error: &dyn Error) -> String {
    let causes = successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
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
    }
}
