//! What every event and facet is written with.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serializer;

/// Who makes the events. No address of a page, because there is none that says more of a version.
pub(crate) const PRODUCER: &str = concat!("urn:daglight:", env!("CARGO_PKG_VERSION"));

/// RFC 3339 with microseconds: more digits are more than some receivers read.
pub(crate) fn time<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true))
}
