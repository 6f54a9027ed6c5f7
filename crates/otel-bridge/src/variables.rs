//! The values of the `OTEL_*` variables, as the OpenTelemetry specification has them written.

use std::{collections::BTreeMap, time::Duration};

use daglight_capture_policy::Redactor;
use percent_encoding::percent_decode_str;

/// The variables, and what is wrong with those that were read. One that is empty counts as not set.
pub(crate) struct Variables<'a> {
    values: &'a BTreeMap<String, String>,
    /// What of the values warnings may repeat.
    redactor: &'a Redactor,
    warnings: Vec<String>,
}

impl<'a> Variables<'a> {
    pub(crate) fn new(values: &'a BTreeMap<String, String>, redactor: &'a Redactor) -> Self {
        Self { values, redactor, warnings: Vec::new() }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        self.values.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    /// The first of the variables that is set, with its name.
    pub(crate) fn first<'n>(&self, names: [&'n str; 2]) -> Option<(&'n str, &'a str)> {
        names.into_iter().find_map(|name| self.text(name).map(|text| (name, text)))
    }

    pub(crate) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    pub(crate) fn wrong(&mut self, name: &str, text: &str, instead: &str) {
        self.warnings.push(match self.redactor.shows_literals() {
            true => format!("{name}={:?} is not understood: {instead}", self.redactor.text(text)),
            false => format!("{name} has a value that is not understood: {instead}"),
        });
    }

    pub(crate) fn flag(&mut self, name: &str) -> bool {
        match self.text(name) {
            Some(text) if text.eq_ignore_ascii_case("true") => true,
            Some(text) if !text.eq_ignore_ascii_case("false") => {
                self.wrong(name, text, "false is used");
                false
            }
            _ => false,
        }
    }

    pub(crate) fn number(&mut self, name: &str) -> Option<usize> {
        let text = self.text(name)?;
        let number = text.parse().ok();
        if number.is_none() {
            self.wrong(name, text, "the default is used, a whole number was expected");
        }
        number
    }

    pub(crate) fn milliseconds(&mut self, name: &str) -> Option<Duration> {
        self.positive(name).map(|number| Duration::from_millis(number as u64))
    }

    pub(crate) fn positive(&mut self, name: &str) -> Option<usize> {
        let number = self.number(name)?;
        if number == 0 {
            self.wrong(name, "0", "the default is used, a number greater than 0 was expected");
        }
        Some(number).filter(|&number| number > 0)
    }

    pub(crate) fn pairs(&mut self, name: &str) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for pair in self.text(name).unwrap_or_default().split(',').filter(|pair| !pair.trim().is_empty()) {
            match pair.split_once('=') {
                Some((key, value)) if !key.trim().is_empty() => {
                    pairs.push((percent_decoded(key.trim()), percent_decoded(value.trim())));
                }
                // The pair itself is not shown: it may be half of a credential.
                _ => self.warnings.push(format!("{name} has a part without \"=\", which is left out")),
            }
        }
        pairs
    }

    /// The warnings, each once: what holds for all signals is read for each.
    pub(crate) fn into_warnings(self) -> Vec<String> {
        let mut warnings = Vec::with_capacity(self.warnings.len());
        for warning in self.warnings {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        warnings
    }
}

/// The text with every `%XX` replaced by its byte; unchanged where that is not UTF-8.
fn percent_decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().map_or_else(|_| text.to_owned(), Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_decoded_where_it_is_encoded() {
        let decoded = ["a%20b", "%zz", "100%", "%e4", "%C3%A4", "%2", "a=b"].map(percent_decoded);
        assert_eq!(decoded, ["a b", "%zz", "100%", "%e4", "ä", "%2", "a=b"]);
    }
}
