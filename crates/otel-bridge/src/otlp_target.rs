//! An OTLP endpoint for one signal, as the `OTEL_EXPORTER_OTLP_*` variables describe it.

use std::{io, path::Path, time::Duration};

use daglight_capture_policy::Secret;
use daglight_guarded_files::read_named;
use daglight_http_transport::{
    ClientIdentity, MAX_CERTIFICATE_BYTES, PemError, check_certificates, check_key, shown_url,
};
use reqwest::Url;

use crate::{ledger::Signal, variables::Variables};

/// An OTLP endpoint for one signal.
#[derive(Debug, Clone)]
pub(crate) struct OtlpTarget {
    pub(crate) protocol: OtlpProtocol,
    /// The full URL: over HTTP, with the path of the signal.
    pub(crate) endpoint: String,
    pub(crate) headers: Vec<(String, Secret)>,
    /// The timeout of a request, and of all later attempts together.
    pub(crate) timeout: Duration,
    pub(crate) gzip: bool,
    pub(crate) tls: TlsFiles,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OtlpProtocol {
    Grpc,
    HttpProtobuf,
    HttpJson,
}

/// The certificates for one endpoint, as PEM; `None` means the default of the system.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsFiles {
    /// The trusted certificate authorities.
    pub(crate) authorities: Option<Vec<u8>>,
    /// The client certificate.
    pub(crate) identity: Option<ClientIdentity>,
    /// The first file that is invalid.
    pub(crate) bad: Option<BadCertificates>,
}

impl TlsFiles {
    /// The files, if all of them are valid.
    pub(crate) fn checked(&self) -> Result<&Self, BadCertificates> {
        self.bad.clone().map_or(Ok(self), Err)
    }
}

/// A file that does not contain the certificates or the key that it should.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{variable} names {path}, which cannot be used for TLS")]
pub(crate) struct BadCertificates {
    /// The variable that names the file.
    pub(crate) variable: String,
    pub(crate) path: String,
    #[source]
    pub(crate) problem: PemError,
}

impl OtlpTarget {
    /// Whether an endpoint is set for the signal, or for all signals.
    pub(crate) fn is_named(variables: &Variables<'_>, signal: Signal) -> bool {
        variables.first([&of_signal(signal, "ENDPOINT"), "OTEL_EXPORTER_OTLP_ENDPOINT"]).is_some()
    }

    /// Reads the endpoint of a signal; `None`, with a warning, if it is invalid.
    pub(crate) fn read(variables: &mut Variables<'_>, signal: Signal) -> Option<Self> {
        let of_signal = |rest: &str| of_signal(signal, rest);
        let protocol = protocol(variables, [&of_signal("PROTOCOL"), "OTEL_EXPORTER_OTLP_PROTOCOL"]);
        let endpoint = endpoint(variables, signal, protocol)?;
        let headers = [of_signal("HEADERS"), "OTEL_EXPORTER_OTLP_HEADERS".to_owned()]
            .iter()
            .find(|name| variables.text(name).is_some())
            .map(|name| variables.pairs(name))
            .unwrap_or_default();
        let timeout = variables
            .milliseconds(&of_signal("TIMEOUT"))
            .or_else(|| variables.milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT"))
            .unwrap_or(Duration::from_secs(10));
        Some(Self {
            protocol,
            endpoint,
            headers: headers.into_iter().map(|(key, value)| (key, Secret::new(value))).collect(),
            timeout,
            gzip: gzip(variables, [&of_signal("COMPRESSION"), "OTEL_EXPORTER_OTLP_COMPRESSION"]),
            tls: tls(variables, signal),
        })
    }
}

/// The variable for one signal, which takes precedence over the one for all signals.
fn of_signal(signal: Signal, rest: &str) -> String {
    format!("OTEL_EXPORTER_OTLP_{}_{rest}", signal.name().to_uppercase())
}

fn endpoint(variables: &mut Variables<'_>, signal: Signal, protocol: OtlpProtocol) -> Option<String> {
    let own_name = of_signal(signal, "ENDPOINT");
    let own = variables.text(&own_name);
    let common = variables.text("OTEL_EXPORTER_OTLP_ENDPOINT");
    let endpoint = match protocol {
        OtlpProtocol::HttpProtobuf | OtlpProtocol::HttpJson => own.map(str::to_owned).unwrap_or_else(|| {
            let base = common.unwrap_or("http://localhost:4318").trim_end_matches('/');
            format!("{base}/v1/{signal}")
        }),
        OtlpProtocol::Grpc => {
            let endpoint = own.or(common).unwrap_or("http://localhost:4317");
            let insecure = variables
                .first([&of_signal(signal, "INSECURE"), "OTEL_EXPORTER_OTLP_INSECURE"])
                .is_some_and(|(_, text)| text.eq_ignore_ascii_case("true"));
            match endpoint.contains("://") {
                true => endpoint.to_owned(),
                false => format!("{}://{endpoint}", if insecure { "http" } else { "https" }),
            }
        }
    };
    let is_web = |url: &Url| ["http", "https"].contains(&url.scheme()) && url.has_host();
    if Url::parse(&endpoint).is_ok_and(|url| is_web(&url)) {
        return Some(endpoint);
    }
    let name = if own.is_some() { &own_name } else { "OTEL_EXPORTER_OTLP_ENDPOINT" };
    let shown = shown_url(own.or(common).unwrap_or_default());
    variables.wrong(name, &shown, "nothing is exported to it, a URL with http:// or https:// is expected");
    None
}

fn protocol(variables: &mut Variables<'_>, names: [&str; 2]) -> OtlpProtocol {
    match variables.first(names) {
        Some((_, "grpc")) => OtlpProtocol::Grpc,
        None | Some((_, "http/protobuf")) => OtlpProtocol::HttpProtobuf,
        Some((_, "http/json")) => OtlpProtocol::HttpJson,
        Some((name, other)) => {
            let instead = "http/protobuf is used, known are grpc, http/protobuf, http/json";
            variables.wrong(name, other, instead);
            OtlpProtocol::HttpProtobuf
        }
    }
}

fn gzip(variables: &mut Variables<'_>, names: [&str; 2]) -> bool {
    match variables.first(names) {
        Some((_, "gzip")) => true,
        None | Some((_, "none")) => false,
        Some((name, other)) => {
            variables.wrong(name, other, "nothing is compressed, known are gzip and none");
            false
        }
    }
}

fn tls(variables: &mut Variables<'_>, signal: Signal) -> TlsFiles {
    let mut bad = None;
    let mut file = |kind: &str, check: fn(&[u8]) -> Result<(), PemError>, instead: &str| {
        let (own, common) = (of_signal(signal, kind), format!("OTEL_EXPORTER_OTLP_{kind}"));
        let (name, path) = variables.first([&own, &common])?;
        let text = match read_named(Path::new(path), MAX_CERTIFICATE_BYTES) {
            Ok(text) if text.is_empty() => Err(io::Error::other("it is empty")),
            text => text,
        };
        match &text {
            Ok(text) => {
                if let Err(problem) = check(text) {
                    let (variable, path) = (name.to_owned(), path.to_owned());
                    bad.get_or_insert(BadCertificates { variable, path, problem });
                }
            }
            Err(error) => variables.warn(format!("{name}: {path} cannot be read ({error}): {instead}")),
        }
        Some(text.ok().map(|text| (text, path.to_owned())))
    };
    let authorities = file("CERTIFICATE", check_certificates, "the certificates of the system are trusted");
    let instead = "no client certificate is shown";
    let key = file("CLIENT_KEY", check_key, instead);
    let certificates = file("CLIENT_CERTIFICATE", check_certificates, instead);
    let names = "OTEL_EXPORTER_OTLP_CLIENT_KEY and OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
    let identity = match (key, certificates) {
        (Some(key), Some(certificates)) => {
            key.zip(certificates).map(|((key, key_path), (certificates, path))| {
                let identity = ClientIdentity::from_pem(certificates, key);
                if let Err(problem) = identity.check() {
                    let (variable, path) = (names.to_owned(), format!("{key_path} and {path}"));
                    bad.get_or_insert(BadCertificates { variable, path, problem });
                }
                identity
            })
        }
        (None, None) => None,
        _ => {
            variables.warn(format!("{names} go together, and only one is set: {instead}"));
            None
        }
    };
    TlsFiles { authorities: authorities.flatten().map(|(text, _)| text), identity, bad }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::environment::tests::{check_endpoint, read};

    #[test]
    fn endpoints_are_those_of_the_specification() {
        let endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        check_endpoint([], None);
        check_endpoint([("OTEL_TRACES_EXPORTER", "otlp")], Some("http://localhost:4318/v1/traces"));
        check_endpoint([("OTEL_TRACES_EXPORTER", "otlp"), grpc], Some("http://localhost:4317"));
        check_endpoint([(endpoint, "http://c:1/")], Some("http://c:1/v1/traces"));
        check_endpoint([("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:1/x")], Some("http://c:1/x"));
        check_endpoint([(endpoint, "c:1"), grpc], Some("https://c:1"));
        check_endpoint(
            [(endpoint, "c:1"), grpc, ("OTEL_EXPORTER_OTLP_INSECURE", "true")],
            Some("http://c:1"),
        );
    }

    #[test]
    fn what_is_not_an_endpoint_is_one_warning() {
        for text in ["foo", "localhost:4318", "ftp://c:1"] {
            let environment = read([("OTEL_EXPORTER_OTLP_ENDPOINT", text)]);
            assert_eq!(
                environment.warnings,
                [format!(
                    "OTEL_EXPORTER_OTLP_ENDPOINT={text:?} is not understood: nothing is exported to it, a URL with \
                     http:// or https:// is expected"
                )]
            );
            assert!(environment.traces.otlp.is_none() && environment.metrics.otlp.is_none());
        }
    }

    #[track_caller]
    fn check_tls<const N: usize>(variables: [(&str, &str); N], expected: &[&str]) -> TlsFiles {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:1");
        let environment = read([endpoint].into_iter().chain(variables).collect::<Vec<_>>());
        assert_eq!(environment.warnings, expected);
        environment.metrics.otlp.unwrap().tls
    }

    #[test]
    fn certificates_are_read_and_what_cannot_be_is_said_once() {
        let folder = tempfile::tempdir().unwrap();
        let [file, other] = ["a.pem", "b.pem"].map(|name| folder.path().join(name));
        fs::write(&file, "first").unwrap();
        fs::write(&other, "second").unwrap();
        let [file, other] = [&file, &other].map(|path| path.to_str().unwrap());
        let (all, own) = ("OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE");
        assert_eq!(check_tls([(all, file)], &[]).authorities.unwrap(), b"first");
        assert_eq!(check_tls([(all, file), (own, other)], &[]).authorities.unwrap(), b"second");
        let warning = "OTEL_EXPORTER_OTLP_CERTIFICATE: /nowhere cannot be read (No such file or directory \
                       (os error 2)): the certificates of the system are trusted";
        assert_eq!(check_tls([(all, "/nowhere")], &[warning]).authorities, None);

        let empty = folder.path().join("empty.pem");
        fs::write(&empty, "").unwrap();
        let empty = empty.to_str().unwrap();
        let warning = format!(
            "OTEL_EXPORTER_OTLP_CERTIFICATE: {empty} cannot be read (it is empty): the certificates of the system are \
             trusted"
        );
        assert_eq!(check_tls([(all, empty)], &[&warning]).authorities, None);

        let key = ("OTEL_EXPORTER_OTLP_CLIENT_KEY", file);
        let certificate = ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", other);
        let tls = check_tls([key, certificate], &[]);
        assert!(!format!("{tls:?}").contains("first"), "{tls:?}");
        assert_eq!(tls.identity.unwrap().certificates_pem(), b"second");
        let warning = "OTEL_EXPORTER_OTLP_CLIENT_KEY and OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE go together, and \
                       only one is set: no client certificate is shown";
        assert!(check_tls([key], &[warning]).identity.is_none());
    }
}
