//! The address of the tracking server, and the user.

use std::{
    error::Error,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use daglight_capture_policy::{Redactor, Secret};
use daglight_http_transport::{
    Authorities, TransportError, Trust, build, client_builder, connection_error, is_loopback, secret_header,
    shown_url,
};
use daglight_settings::TrackerSettings;
use reqwest::{
    Url,
    blocking::Client as HttpClient,
    header::{HeaderMap, HeaderName, HeaderValue},
};

/// A tracking server, a project on it, and a user.
///
/// ```
/// use daglight_tracker_client::{Connection, ProjectRef};
///
/// let connection = Connection::new("http://localhost:8241", "me@example.com", ProjectRef::Id(1))?;
/// assert_eq!(connection.ui_url(), "http://localhost:8241");
/// # Ok::<(), daglight_tracker_client::ConnectionError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Connection {
    api_url: Url,
    ui_url: String,
    project: ProjectRef,
    username: String,
    api_key: Option<Secret>,
    trust: Trust,
    connect_timeout: Duration,
    request_timeout: Duration,
    deadline: Option<Instant>,
    advice: Option<Arc<str>>,
}

/// A project, by id or by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectRef {
    /// Its id.
    Id(i64),
    /// Its name.
    Name {
        /// The name.
        name: String,
        /// Whether to create it if no project has that name.
        create: bool,
    },
}

impl fmt::Display for ProjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Name { name, .. } => write!(f, "{name:?}"),
        }
    }
}

/// Why a connection is not possible.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The text is not a URL.
    #[error("tracker.api_url {url:?} is not a URL (example: http://localhost:8241)")]
    Url {
        /// The given text.
        url: String,
    },
    /// Some of the settings for a connection are given, but others are missing.
    #[error("the tracking server is configured in part: {given} is set, {}", not_set(missing))]
    Incomplete {
        /// A setting that is given.
        given: &'static str,
        /// All that are missing.
        missing: Vec<MissingSetting>,
    },
    /// The URL contains a user or a password.
    #[error(
        "tracker.api_url has a user or a password in it: give them as tracker.username and tracker.api_key \
         (HAMILTON_USERNAME, HAMILTON_API_KEY)"
    )]
    CredentialsInUrl,
    /// The server identifies its users by their e-mail address.
    #[error("tracker.username is not set: give the e-mail address of a user (HAMILTON_USERNAME)")]
    NoUsername,
    /// The user or the key contains characters that cannot be sent.
    #[error("{setting} has characters that cannot be sent")]
    Unsendable {
        /// The setting.
        setting: &'static str,
    },
    /// The file contains no certificates, or cannot be read.
    #[error("tracker.ca_file (DAGLIGHT_CA_FILE) names {}, which cannot be used", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: TransportError,
    },
    /// The client for the server cannot be created.
    #[error("cannot set up the connection to the tracking server")]
    Transport {
        /// Why.
        #[source]
        source: TransportError,
    },
}

/// A setting that a connection needs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissingSetting {
    /// The URL of the server.
    ApiUrl,
    /// The e-mail address of a user.
    Username,
    /// The id or the name of a project.
    Project {
        /// The page for creating projects, if the server is known.
        page: Option<String>,
    },
}

impl fmt::Display for MissingSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ApiUrl => write!(f, "tracker.api_url (HAMILTON_API_URL, the URL of the server)"),
            Self::Username => write!(f, "tracker.username (HAMILTON_USERNAME, the e-mail address of a user)"),
            Self::Project { page } => {
                write!(
                    f,
                    "tracker.project_id (HAMILTON_PROJECT_ID, the id of a project; or tracker.project, its name"
                )?;
                match page {
                    Some(page) => write!(f, "; projects are made at {page})"),
                    None => write!(f, ")"),
                }
            }
        }
    }
}

fn not_set(missing: &[MissingSetting]) -> String {
    let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("but not {} and {last}", others.join(", ")),
        _ => format!("but not {}", names.concat()),
    }
}

impl Connection {
    /// A connection without a key, to a server whose pages have the same base URL.
    ///
    /// # Errors
    /// When the URL is invalid or contains credentials, or the user is empty.
    pub fn new(api_url: &str, username: &str, project: ProjectRef) -> Result<Self, ConnectionError> {
        let url = parse_url(api_url)?;
        if username.trim().is_empty() {
            return Err(ConnectionError::NoUsername);
        }
        // Here instead of with the first request, long after the code that creates the connection has returned.
        header("tracker.username", username)?;
        Ok(Self {
            ui_url: url.as_str().trim_end_matches('/').to_owned(),
            api_url: url,
            project,
            username: username.to_owned(),
            api_key: None,
            trust: Trust::System,
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(20),
            deadline: None,
            advice: None,
        })
    }

    /// Whether the settings contain everything that a connection needs, valid or not: a server, a user and a project.
    pub fn is_named_by(settings: &TrackerSettings) -> bool {
        missing(settings).is_empty()
    }

    /// The connection for these settings. `None` if the tracker is off, or no server is given, so that runs wait in their bundles.
    ///
    /// # Errors
    /// When a server is given without a user or project, or the other way around.
    pub fn from_settings(settings: &TrackerSettings) -> Result<Option<Self>, ConnectionError> {
        if !settings.enabled {
            return Ok(None);
        }
        let Some(given) = given(settings) else { return Ok(None) };
        let missing = missing(settings);
        // An incomplete connection is a mistake that is reported at once; none at all is a choice.
        let (Some(api_url), true) = (settings.api_url.as_deref(), missing.is_empty()) else {
            if let Some(url) = settings.api_url.as_deref() {
                // An invalid URL is reported first: nothing else matters without it.
                parse_url(url)?;
            }
            return Err(ConnectionError::Incomplete { given, missing });
        };
        let username = settings.username.as_deref().unwrap_or_default();
        let project = match (settings.project_id, &settings.project) {
            (None, Some(name)) => ProjectRef::Name { name: name.clone(), create: settings.create_project },
            // At least one of the two is given.
            (id, _) => ProjectRef::Id(id.unwrap_or_default()),
        };
        let mut connection = Self::new(api_url, username, project)?;
        if let Some(ui_url) = &settings.ui_url {
            connection = connection.with_ui_url(ui_url);
        }
        if let Some(key) = &settings.api_key {
            connection = connection.with_api_key(key.clone())?;
        }
        if !settings.verify {
            connection = connection.without_verification();
        } else if let Some(ca_file) = &settings.ca_file {
            connection = connection.with_ca_file(ca_file)?;
        }
        Ok(Some(connection))
    }

    /// Uses this key.
    ///
    /// # Errors
    /// When it contains characters that cannot be sent.
    pub fn with_api_key(mut self, key: Secret) -> Result<Self, ConnectionError> {
        header("tracker.api_key", key.expose())?;
        self.api_key = Some(key);
        Ok(self)
    }

    /// Also trusts the certificate authorities in this PEM file, in addition to those of the system.
    ///
    /// # Errors
    /// When it cannot be read, or contains no certificates.
    pub fn with_ca_file(mut self, path: &Path) -> Result<Self, ConnectionError> {
        let unreadable = |source| ConnectionError::Certificates { path: path.to_owned(), source };
        self.trust = Trust::SystemAnd(Authorities::from_file(path).map_err(unreadable)?);
        Ok(self)
    }

    /// Trusts any server: anyone on the network path can read and change what is sent, including the key.
    #[must_use]
    pub fn without_verification(mut self) -> Self {
        self.trust = Trust::Anyone;
        self
    }

    /// A text from the server, or a proxy in front of it, without the credentials that were sent to it.
    pub(crate) fn without_credentials(&self, text: &str) -> String {
        let key = self.api_key.as_ref().map(Secret::expose);
        Redactor::of_connection(key, self.api_url.as_str()).text(text)
    }

    /// Why a request has failed, without credentials and with the proxy that it went through.
    pub(crate) fn error(&self, error: reqwest::Error) -> Box<dyn Error + Send + Sync> {
        connection_error(error, &self.api_url)
    }

    /// Sets the address of the pages, if it is not the server's base URL.
    #[must_use]
    pub fn with_ui_url(mut self, ui_url: &str) -> Self {
        self.ui_url = shown_url(ui_url.trim_end_matches('/'));
        self
    }

    /// Sets the timeouts for connecting (default: 3 seconds) and for a whole request (default: 20 seconds).
    #[must_use]
    pub fn with_timeouts(mut self, connect: Duration, request: Duration) -> Self {
        (self.connect_timeout, self.request_timeout) = (connect, request);
        self
    }

    /// The server's base URL, without a trailing slash.
    pub fn api_url(&self) -> &str {
        self.api_url.as_str().trim_end_matches('/')
    }

    /// The base URL of the pages, without a trailing slash.
    pub fn ui_url(&self) -> &str {
        &self.ui_url
    }

    /// The project.
    pub fn project(&self) -> &ProjectRef {
        &self.project
    }

    /// The user's e-mail address.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The timeout of a request.
    pub(crate) fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// Sets what the user can do to deliver a run later, as part of a sentence that ends warnings about a failed delivery. By
    /// default they only state that the run is kept.
    #[must_use]
    pub fn with_advice(self, advice: &str) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// The end of a warning about a failed delivery.
    pub(crate) fn advice(&self) -> String {
        self.advice.as_ref().map_or_else(String::new, |advice| format!("; {advice}"))
    }

    /// Limits each request to this deadline, or to one second after its start, whichever is later.
    pub(crate) fn until(self, deadline: Option<Instant>) -> Self {
        Self { deadline, ..self }
    }

    /// The timeout of a request that starts now, including its response.
    pub(crate) fn request_limit(&self) -> Duration {
        const LEAST: Duration = Duration::from_secs(1);
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // A request gets at least the time of a typical response; otherwise a late one could never be delivered.
        left.map_or(self.request_timeout, |left| self.request_timeout.min(left.max(LEAST)))
    }

    /// A separate HTTP client. It must be created, used and dropped outside asynchronous code.
    pub(crate) fn http_client(&self) -> Result<HttpClient, ConnectionError> {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("x-api-user"), header("tracker.username", &self.username)?);
        if let Some(key) = &self.api_key {
            headers.insert(HeaderName::from_static("x-api-key"), header("tracker.api_key", key.expose())?);
        }
        let transport = |source| ConnectionError::Transport { source };
        let builder = client_builder(&self.api_url, &self.trust, None)
            .map_err(transport)?
            .default_headers(headers)
            .connect_timeout(self.connect_timeout)
            .timeout(self.request_timeout)
            // A server closes idle connections, and a request on a closing connection has an unknown outcome.
            .pool_idle_timeout(Duration::from_secs(2))
            // Connecting to this machine is cheap, and a development server delays responses on kept-alive connections.
            .pool_max_idle_per_host(if is_loopback(&self.api_url) { 0 } else { 1 });
        build(builder).map_err(transport)
    }
}

fn parse_url(api_url: &str) -> Result<Url, ConnectionError> {
    let url = Url::parse(api_url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| ConnectionError::Url { url: shown_url(api_url) })?;
    // Rejected instead of used: URLs appear in logs, error messages and links, where nobody expects a password.
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ConnectionError::CredentialsInUrl);
    }
    Ok(url)
}

/// The required settings that are missing.
fn missing(settings: &TrackerSettings) -> Vec<MissingSetting> {
    let page = || {
        // The page is where the user looks at runs, which may be at another address than the API.
        let base = settings.ui_url.as_deref().or(settings.api_url.as_deref())?;
        Some(format!("{}/dashboard/projects", shown_url(base.trim_end_matches('/'))))
    };
    let has_project = settings.project_id.is_some() || settings.project.is_some();
    let has_username = settings.username.as_deref().is_some_and(|name| !name.trim().is_empty());
    let url = settings.api_url.is_none().then_some(MissingSetting::ApiUrl);
    let username = (!has_username).then_some(MissingSetting::Username);
    let project = (!has_project).then(|| MissingSetting::Project { page: page() });
    url.into_iter().chain(username).chain(project).collect()
}

/// A setting of a connection that is given, which shows that a server was intended.
fn given(settings: &TrackerSettings) -> Option<&'static str> {
    [
        ("tracker.api_url", settings.api_url.is_some()),
        ("tracker.project_id", settings.project_id.is_some()),
        ("tracker.project", settings.project.is_some()),
        ("tracker.username", settings.username.is_some()),
        ("tracker.api_key", settings.api_key.is_some()),
    ]
    .into_iter()
    .find_map(|(name, is_set)| is_set.then_some(name))
}

fn header(setting: &'static str, text: &str) -> Result<HeaderValue, ConnectionError> {
    secret_header(text).ok_or(ConnectionError::Unsendable { setting })
}

/// What to do about a rejection with that status.
pub(crate) fn remedy(connection: &Connection, status: u16) -> String {
    let (user, ui_url) = (connection.username(), connection.ui_url());
    match status {
        401 | 403 => format!("check tracker.username ({user}) and tracker.api_key (HAMILTON_API_KEY)"),
        404 => format!(
            "check that project {} exists and that {user} can write to it at {ui_url}/dashboard/projects, or set \
             tracker.project and tracker.create_project",
            connection.project()
        ),
        // Redirects are not followed: the client would send the key to whatever host the response names, and turn a PUT into a GET.
        300..400 => "tracker.api_url leads elsewhere: set the address that it leads to".to_owned(),
        400 | 413 | 422 => "the server does not take this content".to_owned(),
        _ => "check that tracker.api_url is that of a Hamilton server".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::Profile;
    use daglight_settings::Settings;

    use super::*;

    fn settings(change: impl FnOnce(&mut TrackerSettings)) -> TrackerSettings {
        let mut settings = Settings::of_profile(Profile::Dev).tracker;
        settings.api_url = Some("http://localhost:8241/".into());
        settings.username = Some("me@example.com".into());
        settings.project_id = Some(3);
        settings.api_key = Some(Secret::new("hunter2"));
        change(&mut settings);
        settings
    }

    #[track_caller]
    fn check_error(change: impl FnOnce(&mut TrackerSettings), expected: &str) {
        let error = Connection::from_settings(&settings(change)).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(expected), "{shown:?} does not say {expected:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn settings_without_a_server_give_no_connection() {
        let nothing = Settings::of_profile(Profile::Dev).tracker;
        assert!(Connection::from_settings(&nothing).unwrap().is_none());
        assert!(Connection::from_settings(&settings(|tracker| tracker.enabled = false)).unwrap().is_none());
    }

    #[test]
    fn what_is_missing_is_named_with_its_variable() {
        check_error(|tracker| tracker.username = None, "HAMILTON_USERNAME");
        check_error(|tracker| tracker.api_url = None, "tracker.project_id is set, but not tracker.api_url (");
        let only_key = |tracker: &mut TrackerSettings| {
            (tracker.api_url, tracker.project_id, tracker.username) = (None, None, None);
        };
        check_error(only_key, "HAMILTON_API_URL");
        check_error(|tracker| tracker.project_id = None, "http://localhost:8241/dashboard/projects");
        check_error(|tracker| tracker.api_url = Some("http://me:hunter2@host".into()), "HAMILTON_API_KEY");
        check_error(|tracker| tracker.api_url = Some("http://me:hunter2@ho st".into()), "not a URL");
        check_error(|tracker| tracker.api_key = Some(Secret::new("hunter2\n")), "tracker.api_key");
    }

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let only_url = |tracker: &mut TrackerSettings| {
            (tracker.project_id, tracker.username) = (None, None);
        };
        let error = Connection::from_settings(&settings(only_url)).unwrap_err().to_string();
        assert_eq!(
            error,
            "the tracking server is configured in part: tracker.api_url is set, but not tracker.username \
             (HAMILTON_USERNAME, the e-mail address of a user) and tracker.project_id (HAMILTON_PROJECT_ID, the id of a \
             project; or tracker.project, its name; projects are made at http://localhost:8241/dashboard/projects)"
        );
        let only_key = |tracker: &mut TrackerSettings| {
            (tracker.api_url, tracker.project_id, tracker.username) = (None, None, None);
        };
        let error = Connection::from_settings(&settings(only_key)).unwrap_err().to_string();
        let missing =
            ["tracker.api_key is set", "HAMILTON_API_URL", "HAMILTON_USERNAME", "HAMILTON_PROJECT_ID"];
        assert!(missing.iter().all(|missing| error.contains(missing)), "{error}");
    }

    #[test]
    fn no_credential_shows() {
        let connection = Connection::from_settings(&settings(|_| {})).unwrap().unwrap();
        let shown = format!("{connection:?} {:?}", connection.http_client().unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(connection.api_url(), "http://localhost:8241");
    }

    #[test]
    fn https_uses_the_certificates_of_the_system() {
        let connection =
            Connection::new("https://hamilton.example", "me@example.com", ProjectRef::Id(1)).unwrap();
        assert!(connection.http_client().is_ok());
    }
}
