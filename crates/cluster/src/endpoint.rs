//! How machines of a cluster are connected to. One that is gone without a word is noticed, because it is asked for signs of life.

use std::time::Duration;

use tonic::transport::{Endpoint, Error};
use url::Url;

/// How long a connection may take to be made.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the machine of an idle connection is asked for a sign of life, and how many answers may be missing. The system answers for a
/// process whose threads all compute.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_RETRIES: u32 = 2;

pub(crate) fn endpoint(url: &Url) -> Result<Endpoint, Error> {
    Ok(Endpoint::from_shared(url.to_string())?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_keepalive(Some(KEEP_ALIVE))
        .tcp_keepalive_interval(Some(KEEP_ALIVE))
        .tcp_keepalive_retries(Some(KEEP_ALIVE_RETRIES)))
}
