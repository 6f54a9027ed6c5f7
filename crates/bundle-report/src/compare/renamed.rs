//! The earlier names of renamed things.

use std::{borrow::Cow, collections::HashMap};

/// The earlier key of a node's operator or column, if only the name of the node has changed.
pub(super) fn key_before<'k>(
    key: &'k (String, String),
    renamed: &HashMap<String, String>,
) -> Cow<'k, (String, String)> {
    renamed.get(&key.0).map_or(Cow::Borrowed(key), |before| Cow::Owned((before.clone(), key.1.clone())))
}
