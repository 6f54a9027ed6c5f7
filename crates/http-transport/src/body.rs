//! Reading responses of any length with limits.

use std::io::{self, Read};

/// Why a response could not be read completely.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It ended early, or did not arrive in time.
    #[error("the answer was cut off")]
    CutOff {
        /// The cause.
        source: io::Error,
    },
    /// It exceeds the limit for memory.
    #[error("the answer has more than {most} bytes")]
    TooLong {
        /// The limit, in bytes after decompression.
        most: u64,
    },
}

/// The whole body; the limit applies after decompression.
///
/// # Errors
/// When it cannot be read to its end, or has more than `most` bytes.
pub fn whole_body(answer: impl Read, most: u64) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    // One byte more, to distinguish a body that is too long from one of exactly that length.
    let mut bounded = answer.take(most.saturating_add(1));
    bounded.read_to_end(&mut body).map_err(|source| BodyError::CutOff { source })?;
    if body.len() as u64 > most { Err(BodyError::TooLong { most }) } else { Ok(body) }
}

/// The first `most` bytes, as far as they arrive: for bodies that only explain a status.
pub fn beginning_of_body(answer: impl Read, most: u64) -> Vec<u8> {
    let mut body = Vec::new();
    // Data before an error is kept; the head of the response shows whether the request was accepted.
    let _ = answer.take(most).read_to_end(&mut body);
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_to_a_bound() {
        assert_eq!(whole_body(&b"abc"[..], 3).unwrap(), b"abc");
        assert!(matches!(whole_body(io::repeat(0), 1 << 20), Err(BodyError::TooLong { most: 1_048_576 })));
        assert_eq!(beginning_of_body(io::repeat(b'x'), 4), b"xxxx");
        assert_eq!(beginning_of_body(&b"ab"[..], 4), b"ab");
    }

    #[test]
    fn a_cut_off_body_is_not_whole() {
        struct CutOff;
        impl Read for CutOff {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        }
        let answer = || b"ab".chain(CutOff);
        assert!(matches!(whole_body(answer(), 10), Err(BodyError::CutOff { .. })));
        assert_eq!(beginning_of_body(answer(), 10), b"ab");
    }
}
