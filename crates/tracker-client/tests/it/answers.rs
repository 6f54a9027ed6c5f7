//! Responses that are far larger than necessary, or that contain what must not be repeated.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use daglight_capture_policy::Secret;
use daglight_tracker_client::{CallError, Client, Connection, ProjectRef};
use flate2::{Compression, write::GzEncoder};

use crate::{
    recorded::connection,
    server::{Reply, Server},
};

/// Responds to one request with a JSON text of that many bytes.
#[track_caller]
fn check(bytes: usize, compressed: bool) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let piece = vec![b' '; 1 << 20];
    let mut body = GzEncoder::new(Vec::new(), Compression::fast());
    (0..bytes >> 20).filter(|_| compressed).for_each(|_| body.write_all(&piece).unwrap());
    let body = body.finish().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4_096]).unwrap();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
        // The client may disconnect before the end.
        if compressed {
            let _ = stream.write_all(format!("{head}content-encoding: gzip\r\n\r\n").as_bytes());
            let _ = stream.write_all(&body);
        } else {
            let _ = stream.write_all(format!("{head}\r\n").as_bytes());
            (0..bytes >> 20).take_while(|_| stream.write_all(&piece).is_ok()).for_each(drop);
        }
    });
    let connection = Connection::new(&url, "me@example.com", ProjectRef::Id(1)).unwrap();
    let error = Client::new(&connection).unwrap().phone_home().unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        matches!(error, CallError::OtherServer { .. }) && cause.contains("more than 67108864 bytes"),
        "{error}: {cause}"
    );
    server.join().unwrap();
}

#[test]
fn an_answer_is_read_up_to_its_bound() {
    check(80 << 20, false);
}

#[test]
fn a_compressed_answer_is_bounded_by_what_comes_out_of_it() {
    check(100 << 20, true);
}

#[test]
fn a_server_cannot_have_the_key_shown_that_it_was_sent() {
    for reply in [
        Reply::Status(403, r#"{"detail": "no user with key zqmk/one"}"#),
        Reply::Status(500, "Traceback\nKeyError: 'zqmk/one'"),
    ] {
        let server = Server::start(vec![("GET ", reply)]);
        let connection = connection(&server).with_api_key(Secret::new("zqmk/one")).unwrap();
        let error = Client::new(&connection).unwrap().phone_home().unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("[redacted]") && !shown.contains("zqmk"), "{shown}");
        server.finish();
    }
}
