//! Options for what a summary may show.

/// Options for what a summary may show, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryOptions {
    /// Whether columns are summarised at all. Default: yes.
    pub statistics: bool,
    /// Whether the most frequent values of a column and the domain of a category may be shown. Default: yes.
    pub values: bool,
    /// Whether the first and the last text of a column may be shown. Does not apply to numbers and times. Default: yes.
    pub text_min_max: bool,
    /// How many of the most frequent values of a text column are listed. Default: 10.
    pub top_values: usize,
    /// The maximum number of distinct texts in a category. Default: 200; more than 1,024 are never counted.
    pub domain_limit: usize,
}

impl Default for SummaryOptions {
    fn default() -> Self {
        Self { statistics: true, values: true, text_min_max: true, top_values: 10, domain_limit: 200 }
    }
}
