//! The kind of a node as a bundle records it.

use std::fmt;

use daglight_run_identity::NodeKind;
use serde::{Deserialize, Serialize};

/// The kind of a node. In JSON it is its name: `transform`, `data_loader`, `data_saver` or `input`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum RecordedKind {
    /// A kind that this version knows.
    Known(NodeKind),
    /// A kind of a later version.
    Other(String),
}

impl RecordedKind {
    /// The kind, if this version knows it.
    pub fn known(&self) -> Option<NodeKind> {
        match self {
            Self::Known(kind) => Some(*kind),
            Self::Other(_) => None,
        }
    }

    /// The name, as in JSON.
    pub fn name(&self) -> &str {
        match self {
            Self::Known(kind) => kind.name(),
            Self::Other(name) => name,
        }
    }
}

impl From<NodeKind> for RecordedKind {
    fn from(kind: NodeKind) -> Self {
        Self::Known(kind)
    }
}

impl fmt::Display for RecordedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_its_name_and_a_later_one_is_kept() {
        for kind in [NodeKind::Transform, NodeKind::DataLoader, NodeKind::DataSaver, NodeKind::Input] {
            let json = format!("{:?}", kind.name());
            assert_eq!(serde_json::to_string(&RecordedKind::from(kind)).unwrap(), json);
            assert_eq!(serde_json::from_str::<RecordedKind>(&json).unwrap(), RecordedKind::Known(kind));
        }
        for later in ["", "sensor", "Transform"] {
            let kind: RecordedKind = serde_json::from_str(&format!("{later:?}")).unwrap();
            assert_eq!(kind, RecordedKind::Other(later.to_owned()));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("{later:?}"));
        }
    }
}
