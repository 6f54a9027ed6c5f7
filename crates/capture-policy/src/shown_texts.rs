//! A cache of redacted texts: the plans, nodes and spans of a run repeat most of their texts.

use std::{collections::HashMap, fmt, sync::Arc};

use crate::known::Known;

/// The maximum total size of the cached texts in bytes. Beyond that the cache is cleared: repeated texts come back.
const MOST_BYTES: usize = 1 << 20;
/// The maximum length of a cached text in bytes. Longer ones rarely occur twice.
const LONGEST: usize = 16 << 10;

/// How a text is interpreted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    /// Any text.
    Text,
    /// The plan of a query.
    Plan,
    /// The name of a column or the like.
    Name,
}

/// Known texts to hide, and the texts that were redacted since these last changed.
#[derive(Default)]
pub(crate) struct ShownTexts {
    known: Arc<Known>,
    /// Counts the changes.
    revision: Revision,
    shown: [HashMap<String, String>; 3],
    bytes: usize,
}

/// A version of the known texts. Results from one version are not valid for another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Revision(u64);

impl ShownTexts {
    pub(crate) fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known)
    }

    /// Changes the known texts.
    pub(crate) fn learn(&mut self, change: impl FnOnce(&mut Known)) {
        // Copied only while a reader holds the old version. The known texts change while statements are read, and texts are
        // redacted all the time.
        change(Arc::make_mut(&mut self.known));
        self.revision.0 += 1;
        self.forget();
    }

    /// The cached result for the text, or else the revision for [`ShownTexts::keep`].
    pub(crate) fn find(&self, form: Form, text: &str) -> Result<String, Revision> {
        self.shown[form as usize].get(text).cloned().ok_or(self.revision)
    }

    /// Caches a text that was redacted with this revision, if it is still the current one.
    pub(crate) fn keep(&mut self, form: Form, text: &str, shown: &str, revision: Revision) {
        if revision != self.revision || text.len() > LONGEST {
            return;
        }
        self.bytes += text.len() + shown.len();
        if self.bytes > MOST_BYTES {
            self.forget();
        }
        self.shown[form as usize].insert(text.to_owned(), shown.to_owned());
    }

    fn forget(&mut self) {
        self.shown.iter_mut().for_each(HashMap::clear);
        self.bytes = 0;
    }
}

impl fmt::Debug for ShownTexts {
    /// Without the texts, which may contain credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShownTexts").field("known", &self.known).field("bytes", &self.bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_was_looked_through_before_something_was_learned_is_not_kept() {
        let mut texts = ShownTexts::default();
        let before = texts.find(Form::Text, "a").unwrap_err();
        texts.learn(|known| known.add_secret("hunter2"));
        texts.keep(Form::Text, "a", "a", before);
        let now = texts.find(Form::Text, "a").unwrap_err();
        texts.keep(Form::Text, "a", "b", now);
        assert_eq!(texts.find(Form::Text, "a"), Ok("b".to_owned()));
        // As a plan it may be shown differently.
        assert_eq!(texts.find(Form::Plan, "a"), Err(now));
        texts.learn(|known| known.add_secret("hunter3"));
        assert!(texts.find(Form::Text, "a").is_err());
    }

    #[test]
    fn memory_is_bounded() {
        let mut texts = ShownTexts::default();
        let text = "x".repeat(LONGEST);
        for number in 0..1_000 {
            let text = format!("{number}{}", &text[4..]);
            let revision = texts.find(Form::Text, &text).unwrap_err();
            texts.keep(Form::Text, &text, &text, revision);
            assert!(texts.find(Form::Text, &text).is_ok());
        }
        let kept: usize = texts.shown[0].iter().map(|(text, shown)| text.len() + shown.len()).sum();
        assert!(kept <= MOST_BYTES, "{kept}");
        let revision = texts.find(Form::Text, "y").unwrap_err();
        let longer = format!("{text}y");
        texts.keep(Form::Text, &longer, &longer, revision);
        assert!(texts.find(Form::Text, &longer).is_err());
    }
}
