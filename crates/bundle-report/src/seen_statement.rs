//! A statement without a node, from its span.

use daglight_semantic_conventions::{key, span};

use crate::{display, otlp::Span};

/// The stage of statements without a node.
const SETUP: &str = "setup";

/// A statement, with its text and place as far as the policy allows.
#[derive(Debug)]
pub(crate) struct SeenStatement {
    pub(crate) text: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u64>,
}

impl SeenStatement {
    /// The maximum number of characters kept of the text.
    const MAX_CHARS: usize = 200;

    /// The statement of a span, if that is a stage for a statement without a node.
    pub(crate) fn of(span: &Span<'_>, node: Option<&str>, stage_key: &str) -> Option<Self> {
        let is_setup = span.attributes.text(stage_key) == Some(SETUP);
        let text = span.attributes.text(key::DB_QUERY_TEXT);
        (span.name == span::STAGE && node.is_none() && is_setup).then(|| Self {
            text: text.map(|text| display::beginning(text, Self::MAX_CHARS).into_owned()),
            file: span.attributes.text(key::CODE_FILE_PATH).map(str::to_owned),
            line: span.attributes.count(key::CODE_LINE_NUMBER),
        })
    }
}
