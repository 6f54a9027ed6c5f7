//! How long a request counts as in flight after its caller has given up on it.
//!
//! A server, or a proxy in front of it, may carry out a request after the client has closed the connection. For that long nothing
//! newer may be sent that the older request would undo, and the server's state counts as unverified.

use chrono::{DateTime, TimeDelta, Utc};

/// How long a request that was cut off counts as in flight: the server may still carry it out.
pub(crate) const IN_FLIGHT: TimeDelta = TimeDelta::seconds(4);

/// The longest time for which a request without an answer counts as in flight.
pub(crate) const MAX_IN_FLIGHT: TimeDelta = TimeDelta::seconds(30);

/// The longest time after which a server, or a proxy in front of it, still carries out a request to which it did not respond with
/// success. Proxies wait for their server for a minute by default.
pub(crate) const LATEST_COMMIT: TimeDelta = TimeDelta::seconds(60);

/// Whether a request that may take effect `until` then still can. A clock that was set back does not prolong it.
pub(crate) fn is_in_flight(until: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    until.is_some_and(|until| now < until && until - now <= MAX_IN_FLIGHT)
}
