//! The address of a cluster.

use std::{fmt, str::FromStr};

use thiserror::Error;
use url::Url;

/// The scheme of workers of `datafusion-distributed`.
const DISTRIBUTED: &str = "df://";
/// What an address looks like.
const EXPECTED: &str = "df://HOST:PORT,HOST:PORT";

/// The address of a cluster: `df://HOST:PORT,HOST:PORT`, with each worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterAddress {
    /// Its workers, at least one, each once.
    pub workers: Vec<WorkerAddress>,
}

/// The address of a worker, `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerAddress {
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
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// The address of the worker that is asked there.
    pub(crate) fn of_url(url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        let text =
            url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Self { text, url: url.clone() }
    }
}

impl fmt::Display for WorkerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
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
            .ok_or_else(|| wrong(format!("the worker {text:?} has no host or no port")))?;
        port.parse::<u16>()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| wrong(format!("the port of the worker {text:?} is not one")))?;
        let url = Url::parse(&format!("http://{host}:{port}"))
            .map_err(|error| wrong(format!("the worker {text:?} has no address: {error}")))?;
        Ok(Self { text: text.to_owned(), url })
    }
}

impl FromStr for ClusterAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
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
            if found.iter().any(|known| known.url == worker.url) {
                return Err(AddressError { problem: format!("the worker {worker} is given twice") });
            }
            found.push(worker);
        }
        Ok(Self { workers: found })
    }
}

impl fmt::Display for ClusterAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(DISTRIBUTED)?;
        for (position, worker) in self.workers.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            worker.fmt(f)?;
        }
        Ok(())
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
        let error = |problem: &str| format!("{problem}: expected df://HOST:PORT,HOST:PORT");
        for (text, problem) in [
            ("a:1", "\"a:1\" does not say which kind of cluster it is"),
            ("spark://a:1", "there is no kind of cluster \"spark\""),
            ("df://", "the worker \"\" has no host or no port"),
            ("df://a", "the worker \"a\" has no host or no port"),
            ("df://a:1,,b:1", "the worker \"\" has no host or no port"),
            ("df://a:0", "the port of the worker \"a:0\" is not one"),
            ("df://a:99999", "the port of the worker \"a:99999\" is not one"),
            ("df://u:p@a:1", "the worker \"u:p@a:1\" has no host or no port"),
            ("df://a:1,a:1", "the worker a:1 is given twice"),
            ("df://a:1,A:01", "the worker A:01 is given twice"),
            ("df://[::1]:1,[0:0::1]:1", "the worker [0:0::1]:1 is given twice"),
            ("df://::1:9400", "the worker \"::1:9400\" has no address: empty host"),
        ] {
            check(text, Err(&error(problem)));
        }
    }
}
