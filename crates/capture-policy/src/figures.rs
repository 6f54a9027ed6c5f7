//! Numbers, and ranges and quantities of them, as texts: those have no credential in them that could be recognised by its shape.

/// Longer ones are looked through like any other text: a key may be written in digits.
const LONGEST: usize = 32;
/// What stands behind a number of them.
const UNITS: [&str; 14] =
    ["B", "kB", "MB", "GB", "TB", "PB", "ms", "us", "µs", "s", "min", "h", "in", "partitions"];

/// Whether a text is a number such as `1,234.5`, a range such as `(0.5, 12.25]`, or a quantity such as `12 ms in 2 partitions`.
/// Histograms and measurements have them by the dozen, and nearly each is another one.
pub(crate) fn is_figure(text: &str) -> bool {
    if text.len() > LONGEST || !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let is_number = |word: &str| {
        word.bytes().all(|byte| {
            byte.is_ascii_digit() || matches!(byte, b'.' | b',' | b'-' | b'(' | b')' | b'[' | b']')
        })
    };
    text.split(' ').all(|word| is_number(word) || UNITS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::Redactor;

    #[test]
    fn a_figure_would_be_shown_as_it_is() {
        let redactor = Redactor::default();
        let figures = ["0", "-1.5", "1,234,567", "(901.0, 1002.25]", "[0.5, 7)", "1995-01-01", "0.25"];
        let quantities = ["12 ms", "12 ms in 2 partitions", "4.2 kB", "1.20 s", "3 min 20 s", "0 B", "7 µs"];
        for figure in figures.into_iter().chain(quantities) {
            assert!(is_figure(figure), "{figure}");
            assert_eq!(redactor.looked_through(figure), figure);
        }
    }

    #[test]
    fn what_may_be_something_else_is_none() {
        let long = "1".repeat(LONGEST + 1);
        let texts = [
            "", " ", "-", "ms", "1e5", "4711=1", "pin 4711", "4711:1", "a1", "0x1f", "1/2", "1+1", "@1",
            "µ 1",
        ];
        for text in texts.into_iter().chain([&*long]) {
            assert!(!is_figure(text), "{text}");
        }
    }

    #[test]
    fn a_known_secret_is_hidden_though_it_is_a_number() {
        let redactor = Redactor::default();
        redactor.hide("4711.0815");
        assert_eq!(redactor.text("(4711.0815, 5000]"), "([redacted], 5000]");
    }
}
