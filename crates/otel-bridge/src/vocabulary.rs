//! The keys under the configured namespace, made once so that setting an attribute allocates no key.

use std::sync::Arc;

use opentelemetry::Key;

use crate::names::{self, Namespace};

/// The namespaced keys as OpenTelemetry takes them.
#[derive(Debug)]
pub(crate) struct Vocabulary(Vec<Key>);

impl Vocabulary {
    pub(crate) fn new(namespace: &Namespace) -> Self {
        let key = |key: &names::Key| Key::from(Arc::<str>::from(namespace.key(*key)));
        Self(names::Key::ALL.iter().map(key).collect())
    }

    pub(crate) fn key(&self, key: names::Key) -> Key {
        self.0[key as usize].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_found_at_its_own_place() {
        let namespace = Namespace::new("codeanatomy");
        let vocabulary = Vocabulary::new(&namespace);
        for &key in names::Key::ALL {
            assert_eq!(vocabulary.key(key).as_str(), namespace.key(key));
        }
    }
}
