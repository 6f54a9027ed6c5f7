//! Where events go.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use daglight_capture_policy::Secret;
use daglight_http_transport::{secret_header, shown_url};
use daglight_settings::OpenLineageSettings;
use reqwest::Url;

/// A destination of events.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Target {
    /// A receiver, by a request for each event.
    Http(HttpTarget),
    /// A file for all events, or one for each.
    File {
        /// The file, or what the names of the files begin with.
        path: PathBuf,
        /// Whether all go into one.
        append: bool,
    },
    /// The standard error of this process.
    Console,
}

/// A receiver.
#[derive(Debug, Clone)]
pub struct HttpTarget {
    pub(crate) url: Url,
    pub(crate) api_key: Option<Secret>,
    pub(crate) verify: bool,
    pub(crate) gzip: bool,
    pub(crate) timeout: Duration,
}

/// Why there is no destination.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// A transport that this program does not have.
    #[error(
        "openlineage.transport: unknown transport {name:?}; no events of OpenLineage are recorded: expected http, file, console or noop"
    )]
    Transport {
        /// Its name.
        name: String,
    },
    /// The transport needs something that is not set.
    #[error(
        "the transport {transport} needs {setting}, which is not set; no events of OpenLineage are recorded"
    )]
    Missing {
        /// The transport.
        transport: &'static str,
        /// The setting.
        setting: &'static str,
    },
    /// The text is not a URL.
    #[error(
        "openlineage.url {url:?} is not a URL (example: http://localhost:5000); no events of OpenLineage are recorded"
    )]
    Url {
        /// What was given, as it may be shown.
        url: String,
    },
    /// The path on the receiver is a whole URL.
    #[error(
        "openlineage.endpoint (OPENLINEAGE_ENDPOINT) {endpoint:?} is a URL; no events of OpenLineage are recorded: expected a \
         path on the receiver, such as api/v1/lineage"
    )]
    Endpoint {
        /// What was given, as it may be shown.
        endpoint: String,
    },
    /// The file is not one of this machine.
    #[error(
        "openlineage.file {path:?} is not a file of this machine; no events of OpenLineage are recorded: expected a path"
    )]
    File {
        /// What was given.
        path: String,
    },
    /// A way of compression that this program does not have.
    #[error("openlineage.compression is {name:?}; no events of OpenLineage are recorded: expected gzip")]
    Compression {
        /// Its name.
        name: String,
    },
    /// The key cannot be sent.
    #[error("openlineage.api_key has characters that cannot be sent; no events of OpenLineage are recorded")]
    ApiKey,
}

impl Target {
    /// The destination of these settings. `None` where none is set, or OpenLineage is disabled.
    ///
    /// # Errors
    /// When the settings name one that cannot be used.
    pub fn from_settings(settings: &OpenLineageSettings) -> Result<Option<Self>, TargetError> {
        if settings.disabled {
            return Ok(None);
        }
        match settings.transport.as_deref() {
            None if settings.url.is_none() => Ok(None),
            Some("noop") => Ok(None),
            None | Some("http") => HttpTarget::from_settings(settings).map(Self::Http).map(Some),
            Some("console") => Ok(Some(Self::Console)),
            Some("file") => {
                let missing = TargetError::Missing { transport: "file", setting: "openlineage.file" };
                let path = local(settings.file.as_deref().ok_or(missing)?)?;
                Ok(Some(Self::File { path, append: settings.append }))
            }
            Some(other) => Err(TargetError::Transport { name: other.to_owned() }),
        }
    }

    /// The destination as it may be shown; the progress of a delivery is kept under this name.
    pub fn name(&self) -> String {
        match self {
            Self::Http(target) => shown_url(target.url.as_str()),
            Self::File { path, .. } => path.display().to_string(),
            Self::Console => "console".to_owned(),
        }
    }
}

impl HttpTarget {
    fn from_settings(settings: &OpenLineageSettings) -> Result<Self, TargetError> {
        let missing =
            TargetError::Missing { transport: "http", setting: "openlineage.url (OPENLINEAGE_URL)" };
        let base = settings.url.as_deref().ok_or(missing)?;
        if settings.endpoint.contains("://") {
            return Err(TargetError::Endpoint { endpoint: shown_url(&settings.endpoint) });
        }
        let url = Url::parse(&joined(base, &settings.endpoint))
            .map_err(|_| TargetError::Url { url: shown_url(settings.url.as_deref().unwrap_or_default()) })?;
        let gzip = match settings.compression.as_deref() {
            None => false,
            Some("gzip") => true,
            Some(other) => return Err(TargetError::Compression { name: other.to_owned() }),
        };
        let sendable = |key: &Secret| secret_header(key.expose()).is_some();
        if settings.api_key.as_ref().is_some_and(|key| !sendable(key)) {
            return Err(TargetError::ApiKey);
        }
        let (api_key, verify, timeout) = (settings.api_key.clone(), settings.verify, settings.timeout());
        Ok(Self { url, api_key, verify, gzip, timeout })
    }
}

/// The path on a receiver, before the query of the receiver's URL.
fn joined(base: &str, endpoint: &str) -> String {
    let (base, query) = base.split_once('?').unwrap_or((base, ""));
    let separator = match (query.is_empty(), endpoint.contains('?')) {
        (true, _) => "",
        (false, true) => "&",
        (false, false) => "?",
    };
    format!("{}/{}{separator}{query}", base.trim_end_matches('/'), endpoint.trim_start_matches('/'))
}

/// A path, which may be written as a URL of a file.
fn local(path: &Path) -> Result<PathBuf, TargetError> {
    let text = path.to_string_lossy();
    match text.split_once("://") {
        None => Ok(path.to_owned()),
        Some(("file", rest)) if rest.starts_with('/') => Ok(PathBuf::from(rest)),
        Some(_) => Err(TargetError::File { path: shown_url(&text) }),
    }
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::Profile;

    use super::*;

    fn target(change: impl FnOnce(&mut OpenLineageSettings)) -> Result<Option<String>, String> {
        let mut settings = OpenLineageSettings::of_profile(Profile::Prod);
        change(&mut settings);
        let target = Target::from_settings(&settings).map_err(|error| error.to_string())?;
        Ok(target.map(|target| target.name()))
    }

    #[test]
    fn settings_name_a_destination_or_none() {
        assert_eq!(target(|_| {}), Ok(None));
        let http =
            |settings: &mut OpenLineageSettings| settings.url = Some("http://me:pw@host:5000/x/".into());
        assert_eq!(target(http), Ok(Some("http://host:5000/x/api/v1/lineage".to_owned())));
        let disabled = |settings: &mut OpenLineageSettings| {
            (settings.url, settings.disabled) = (Some("http://host".into()), true);
        };
        assert_eq!(target(disabled), Ok(None));
        let file = |settings: &mut OpenLineageSettings| {
            (settings.transport, settings.file) = (Some("file".into()), Some("file:///tmp/a".into()));
        };
        assert_eq!(target(file), Ok(Some("/tmp/a".to_owned())));
    }

    #[test]
    fn the_query_of_a_receiver_is_behind_the_path() {
        assert_eq!(joined("http://h/path?token=abc", "/api/v1"), "http://h/path/api/v1?token=abc");
        assert_eq!(joined("http://h/?a=1", "api?b=2"), "http://h/api?b=2&a=1");
        assert_eq!(joined("http://h/", "api"), "http://h/api");
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let error =
            |change: &dyn Fn(&mut OpenLineageSettings)| target(|settings| change(settings)).unwrap_err();
        let of_transport = |name: &str| error(&|settings| settings.transport = Some(name.into()));
        assert!(of_transport("kafka").contains("\"kafka\""));
        assert!(of_transport("http").contains("OPENLINEAGE_URL"));
        assert!(of_transport("file").contains("openlineage.file"));
        let endpoint = error(&|settings| {
            (settings.url, settings.endpoint) = (Some("http://host".into()), "http://other/".into());
        });
        assert!(endpoint.contains("OPENLINEAGE_ENDPOINT") && endpoint.contains("are recorded"), "{endpoint}");
        let compressed = error(&|settings| {
            (settings.url, settings.compression) = (Some("http://host".into()), Some("zstd".into()));
        });
        assert!(compressed.contains("expected gzip"), "{compressed}");
        let remote = error(&|settings| {
            (settings.transport, settings.file) = (Some("file".into()), Some("s3://a/b".into()));
        });
        assert!(remote.contains("s3://a/b"), "{remote}");
        let key = error(&|settings| {
            (settings.url, settings.api_key) = (Some("http://host".into()), Some(Secret::new("se\ncret")));
        });
        assert!(key.contains("api_key") && !key.contains("cret\n"), "{key}");
    }
}
