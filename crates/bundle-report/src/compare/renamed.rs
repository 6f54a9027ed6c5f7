//! What was called otherwise before.

use std::{borrow::Cow, collections::HashMap};

/// What a node's operator or column was called before, where only the name of the node is another.
pub(super) fn key_before<'k>(
    key: &'k (String, String),
    renamed: &HashMap<String, String>,
) -> Cow<'k, (String, String)> {
    renamed.get(&key.0).map_or(Cow::Borrowed(key), |before| Cow::Owned((before.clone(), key.1.clone())))
}
