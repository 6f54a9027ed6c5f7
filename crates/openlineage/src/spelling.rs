//! What every event and facet is written with.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serializer;

/// The producer of the events. Not the address of a page, because no page describes a specific version.
pub(crate) const PRODUCER: &str = concat!("urn:daglight:", env!("CARGO_PKG_VERSION"));

/// RFC 3339 with microseconds: more digits are more than some receivers read.
pub(crate) fn time<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true))
}
