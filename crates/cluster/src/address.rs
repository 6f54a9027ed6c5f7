//! The address of a cluster.

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;
use url::Url;

/// The scheme of workers of `datafusion-distributed`.
const DISTRIBUTED: &str = "df://";
/// The scheme of a scheduler of Ballista.
const BALLISTA: &str = "ballista://";
/// What an address looks like.
const EXPECTED: &str = "df://HOST:PORT,HOST:PORT or ballista://HOST:PORT";

/// The address of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClusterAddress {
    /// `df://HOST:PORT,HOST:PORT`: workers of `datafusion-distributed`, at least one, each once.
    Distributed {
        /// The workers.
        workers: Vec<WorkerAddress>,
    },
    /// `ballista://HOST:PORT`: a scheduler of Ballista, which knows its executors.
    Ballista {
        /// The scheduler.
        scheduler: WorkerAddress,
    },
}

/// The address of a machine of a cluster, `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerAddress {
    // A URL is large, and each task has an address.
    parts: Arc<Parts>,
}

#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Parts {
    text: String,
    url: Url,
}

/// Why a text is not the address of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{problem}: expected {EXPECTED}")]
pub struct AddressError {
    problem: String,
}

impl WorkerAddress {
    /// Where it is asked.
    pub fn url(&self) -> &Url {
        &self.parts.url
    }

    /// The address of the worker that is asked there.
    #[cfg(feature = "distributed")]
    pub(crate) fn of_url(url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        let text =
            url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Self { parts: Arc::new(Parts { text, url: url.clone() }) }
    }
}

impl fmt::Display for WorkerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts.text)
    }
}

impl FromStr for WorkerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |problem: String| AddressError { problem };
        let is_plain = |host: &str| {
            !host.is_empty() && !host.chars().any(|c| c.is_whitespace() || matches!(c, '/' | '@' | '?' | '#'))
        };
        let (host, port) = text
            .rsplit_once(':')
            .filter(|(host, _)| is_plain(host))
            .ok_or_else(|| wrong(format!("{text:?} has no host or no port")))?;
        port.parse::<u16>()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| wrong(format!("the port of {text:?} is not one")))?;
        let url = Url::parse(&format!("http://{host}:{port}"))
            .map_err(|error| wrong(format!("{text:?} is not an address: {error}")))?;
        Ok(Self { parts: Arc::new(Parts { text: text.to_owned(), url }) })
    }
}

impl FromStr for ClusterAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        if let Some(scheduler) = text.strip_prefix(BALLISTA) {
            return Ok(Self::Ballista { scheduler: scheduler.trim_end_matches('/').trim().parse()? });
        }
        let Some(workers) = text.strip_prefix(DISTRIBUTED) else {
            let problem = match text.split_once("://") {
                Some((scheme, _)) => format!("there is no kind of cluster {scheme:?}"),
                None => format!("{text:?} does not say which kind of cluster it is"),
            };
            return Err(AddressError { problem });
        };
        let mut found: Vec<WorkerAddress> = Vec::new();
        for worker in workers.trim_end_matches('/').split(',').map(str::trim) {
            let worker = worker.parse::<WorkerAddress>()?;
            if found.iter().any(|known| known.url() == worker.url()) {
                return Err(AddressError { problem: format!("the worker {worker} is given twice") });
            }
            found.push(worker);
        }
        Ok(Self::Distributed { workers: found })
    }
}

impl fmt::Display for ClusterAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Distributed { workers } => {
                let workers: Vec<String> = workers.iter().map(ToString::to_string).collect();
                write!(f, "{DISTRIBUTED}{}", workers.join(","))
            }
            Self::Ballista { scheduler } => write!(f, "{BALLISTA}{scheduler}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let found = text.parse::<ClusterAddress>().map(|address| address.to_string());
        assert_eq!(
            found.map_err(|error| error.to_string()),
            expected.map(str::to_owned).map_err(str::to_owned)
        );
    }

    #[test]
    fn an_address_names_each_worker_once() {
        check("df://a:1, b.example.com:9400/", Ok("df://a:1,b.example.com:9400"));
        check("df://[::1]:9400", Ok("df://[::1]:9400"));
        check(" ballista://scheduler:50050/", Ok("ballista://scheduler:50050"));
        let error =
            |problem: &str| format!("{problem}: expected df://HOST:PORT,HOST:PORT or ballista://HOST:PORT");
        for (text, problem) in [
            ("a:1", "\"a:1\" does not say which kind of cluster it is"),
            ("spark://a:1", "there is no kind of cluster \"spark\""),
            ("df://", "\"\" has no host or no port"),
            ("df://a", "\"a\" has no host or no port"),
            ("df://a:1,,b:1", "\"\" has no host or no port"),
            ("df://a:0", "the port of \"a:0\" is not one"),
            ("df://a:99999", "the port of \"a:99999\" is not one"),
            ("df://u:p@a:1", "\"u:p@a:1\" has no host or no port"),
            ("ballista://", "\"\" has no host or no port"),
            ("ballista://a:1,b:1", "\"a:1,b:1\" is not an address: invalid port number"),
            ("df://a:1,a:1", "the worker a:1 is given twice"),
            ("df://a:1,A:01", "the worker A:01 is given twice"),
            ("df://[::1]:1,[0:0::1]:1", "the worker [0:0::1]:1 is given twice"),
            ("df://::1:9400", "\"::1:9400\" is not an address: empty host"),
        ] {
            check(text, Err(&error(problem)));
        }
    }
}
