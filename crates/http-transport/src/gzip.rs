//! Compressed requests.

use std::{
    io::{self, Write as _},
    sync::atomic::{AtomicU8, Ordering},
};

use flate2::{Compression, write::GzEncoder};
use reqwest::{
    StatusCode,
    blocking::{Body, Request, Response},
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue},
};

/// The minimum size for compression; smaller bodies are sent unchanged.
const MIN_BYTES: usize = 16 << 10;

/// The compressed body, optimised for speed rather than size: a run waits for what is sent at its end.
///
/// # Errors
/// When the encoder fails, for which there is no known reason.
pub fn gzipped(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

/// Whether a server supports compressed requests.
///
/// It declares this with an `Accept-Encoding` in any of its responses (RFC 9110, 12.5.3). The Hamilton UI never does, and rejects
/// compressed requests; a gateway in front of it may support them.
#[derive(Debug, Default)]
pub struct GzipOffer(AtomicU8);

const TAKEN: u8 = 1;
const REFUSED: u8 = 2;

impl GzipOffer {
    /// The same request with its body compressed, if supported and worthwhile.
    pub fn compress(&self, request: &Request) -> Option<Request> {
        // Below that the headers are most of the request.
        let body = request.body()?.as_bytes().filter(|body| body.len() >= MIN_BYTES)?;
        if self.0.load(Ordering::Relaxed) != TAKEN {
            return None;
        }
        let body = gzipped(body).ok()?;
        let mut request = request.try_clone()?;
        *request.body_mut() = Some(Body::from(body));
        request.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        Some(request)
    }

    /// Records what a response declares.
    pub fn learn(&self, answer: &HeaderMap) {
        if answer.get_all(ACCEPT_ENCODING).iter().any(names_gzip) {
            // After a rejection it stays disabled: a gateway may declare it for all servers behind it, and be wrong about this one.
            let _ = self.0.compare_exchange(0, TAKEN, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Whether this response rejects a compressed request, without the server having done anything. No more are sent then.
    pub fn is_refused(&self, answer: &Response) -> bool {
        let refused = matches!(answer.status(), StatusCode::BAD_REQUEST | StatusCode::UNSUPPORTED_MEDIA_TYPE);
        if refused {
            self.0.store(REFUSED, Ordering::Relaxed);
        }
        refused
    }
}

fn names_gzip(value: &HeaderValue) -> bool {
    let codings = value.to_str().unwrap_or_default().split(',');
    codings.map(|coding| coding.split(';').map(str::trim)).any(|mut coding| {
        coding.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"))
            && !coding.any(|weight| matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    #[track_caller]
    fn check(value: &'static str, expected: bool) {
        assert_eq!(names_gzip(&HeaderValue::from_static(value)), expected, "{value:?}");
    }

    #[test]
    fn an_offer_of_gzip_is_found() {
        check("gzip", true);
        check("br;q=1.0, GZIP ; q=0.5", true);
        check("gzip; q=0", false);
        check("deflate, identity", false);
        check("", false);
    }

    #[test]
    fn what_is_compressed_can_be_read() {
        let mut read = String::new();
        let compressed = gzipped("rows ".repeat(1_000).as_bytes()).unwrap();
        assert!(compressed.len() < 500);
        GzDecoder::new(&*compressed).read_to_string(&mut read).unwrap();
        assert_eq!(read, "rows ".repeat(1_000));
    }
}
