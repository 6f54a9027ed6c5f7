//! The token of `daglight serve` as given by the user.

use std::{ffi::OsString, fmt};

use daglight_bundle_server::Token;

use crate::failure::Failure;

/// The given text, which may not be a valid token. It is never shown, whatever is wrong with it.
#[derive(Clone)]
pub(crate) struct GivenToken(OsString);

impl GivenToken {
    pub(crate) fn new(given: OsString) -> Self {
        Self(given)
    }

    /// The token. If it was read from a file, the line end is not part of it.
    pub(crate) fn token(&self) -> Result<Token, Failure> {
        let text = self.0.to_str().map(|text| text.strip_suffix('\n').unwrap_or(text));
        let token = text.and_then(|text| Token::new(text.strip_suffix('\r').unwrap_or(text)));
        token.ok_or_else(|| {
            // The error contains no option name: text after one would be taken for the token.
            Failure::input(
                "the given token cannot be one, and is not shown: expected at least eight letters, digits, `-`, `_` or `.`",
            )
        })
    }
}

impl fmt::Debug for GivenToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GivenToken(***)")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    #[track_caller]
    fn token_of(given: OsString) -> Result<Token, Failure> {
        let arguments =
            ["daglight", "serve", "out", "--token"].map(OsString::from).into_iter().chain([given]);
        let args = Args::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}"));
        assert!(!format!("{args:?}").contains("qmk"), "{args:?}");
        let Command::Serve(args) = args.command else { panic!("another command") };
        args.token.unwrap().token()
    }

    #[test]
    fn the_end_of_a_line_is_no_part_of_a_token() {
        for given in ["zqmk-1234", "zqmk-1234\n", "zqmk-1234\r\n", "-zqmk-1234"] {
            let token = Token::new(given.trim_end()).unwrap();
            assert!(token_of(given.into()).is_ok_and(|found| found == token), "{given:?}");
        }
    }

    #[test]
    fn a_token_that_is_refused_is_not_shown() {
        let mut refused: Vec<OsString> =
            ["zqmk 123!", "zqmk\n12345", "zqmk-1234\n\n", "züqmk12345", "zqmk", "", "--zqmk=1"]
                .map(OsString::from)
                .into();
        #[cfg(unix)]
        refused.push(std::os::unix::ffi::OsStringExt::from_vec(b"zqmk1234\xff".to_vec()));
        for given in refused {
            let messages = token_of(given.clone()).unwrap_err().messages();
            assert!(messages.iter().all(|message| !message.contains("qmk")), "{given:?}: {messages:?}");
        }
    }
}
