//! Servers whose certificate is not signed by an authority of this system.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::Arc,
    thread,
};

use daglight_capture_policy::Profile;
use daglight_settings::Settings;
use daglight_tracker_client::{Client, Connection, ConnectionError};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring, pki_types::PrivateKeyDer};
use tempfile::TempDir;

/// A server with a self-signed certificate for `localhost`, which responds to every request with one JSON object.
struct Server {
    url: String,
    folder: TempDir,
}

impl Server {
    fn start() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), cert.pem()).unwrap();
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
                // A client that rejects it breaks the connection.
                let _ = answer(StreamOwned::new(tls, stream.unwrap()));
            }
        });
        Self { url, folder }
    }

    fn connection(&self, verify: bool, ca_file: Option<&str>) -> Result<Connection, ConnectionError> {
        let mut settings = Settings::of_profile(Profile::Dev).tracker;
        settings.api_url = Some(self.url.clone());
        settings.username = Some("me@example.com".to_owned());
        settings.project_id = Some(1);
        settings.verify = verify;
        settings.ca_file = ca_file.map(|name| self.folder.path().join(name));
        Ok(Connection::from_settings(&settings)?.expect("a server is given"))
    }
}

fn answer(stream: impl std::io::Read + Write) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line)? > 2 {
        line.clear();
    }
    let body = r#"{"success":true,"message":"hello"}"#;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let stream = stream.get_mut();
    stream.write_all(format!("{head}{body}").as_bytes())?;
    stream.flush()
}

#[test]
fn a_certificate_is_trusted_with_its_authority_or_when_all_are() {
    let server = Server::start();
    let ask =
        |verify, ca_file| Client::new(&server.connection(verify, ca_file).unwrap()).unwrap().phone_home();
    ask(true, Some("ca.pem")).unwrap();
    ask(false, None).unwrap();
    let error = ask(true, None).unwrap_err();
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    let story: Vec<String> = causes.map(ToString::to_string).collect();
    assert!(story.iter().any(|cause| cause.contains("certificate")), "{story:?}");
}

#[test]
fn a_file_without_certificates_is_named() {
    let server = Server::start();
    fs::write(server.folder.path().join("empty.pem"), "nothing").unwrap();
    for name in ["empty.pem", "missing.pem"] {
        let error = server.connection(true, Some(name)).unwrap_err().to_string();
        assert!(error.contains("tracker.ca_file") && error.contains(name), "{error}");
    }
}
