//! What is shown of each kind of text, without credentials.

use std::{
    borrow::Cow,
    ops::Range,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use crate::{
    bounded_text::first_words,
    capture_settings::{CaptureSettings, ShownPath, SqlText},
    clues::Clues,
    credentials::users_of_urls,
    dialects::{LineComments, has_double_quoted_text},
    figures::is_figure,
    frame_bounds::without_frame_bounds,
    key_names::KeyNames,
    known::Known,
    mask, object_names, parser_words,
    partition_values::without_partition_values,
    path_users::users_of_paths,
    phrases, plan_text,
    rewritten::without_ranges,
    shown_texts::{Form, ShownTexts},
    sql_secrets::{plan_secrets, secrets},
    sql_values,
    time_zones::without_unknown_zones,
    typed_literals::{Types, without_typed_literals},
    url_queries::UrlQueries,
};

/// How many bytes of an error message are inspected.
const LONGEST_MESSAGE: usize = 32 * 1024;

/// The maximum number of passes over a text. Few real texts need a second one.
const MOST_TIMES: usize = 8;

/// Replaces credentials in texts with [`REDACTED`](crate::REDACTED), and knows which names they have. The redactor of a policy that
/// hides literals, or values in paths, also removes those from every text.
///
/// ```
/// let redactor = daglight_capture_policy::Redactor::default();
/// assert_eq!(redactor.text("password=hunter2 user=me"), "password=[redacted] user=me");
/// ```
#[derive(Debug, Clone)]
pub struct Redactor {
    names: Arc<KeyNames>,
    texts: Arc<Mutex<ShownTexts>>,
    sql: SqlText,
    shows_error_values: bool,
    shows_partition_values: bool,
}

impl Redactor {
    /// Knows the common names of credentials, and the `extra` ones. Case, dashes, underscores and dots are ignored, and a key
    /// matches if it contains a name: `X-Api-Key` and `db_password_2` are both hidden.
    pub fn new<S: AsRef<str>>(extra: impl IntoIterator<Item = S>) -> Self {
        Self {
            names: Arc::new(KeyNames::new(extra)),
            texts: Arc::default(),
            sql: SqlText::Whole,
            shows_error_values: true,
            shows_partition_values: true,
        }
    }

    pub(crate) fn of_capture(capture: &CaptureSettings) -> Self {
        Self {
            sql: capture.sql_text,
            shows_error_values: capture.error_values,
            shows_partition_values: capture.paths == ShownPath::Whole,
            ..Self::new(&capture.redact_keys)
        }
    }

    /// Hides this text everywhere from now on, for every clone of this redactor. Texts with fewer than four characters are ignored:
    /// they would be found in harmless words. Up to 10,000 are remembered, not counting learned ones.
    pub fn hide(&self, secret: &str) {
        self.learn_with(|known| known.add_secret(secret));
    }

    /// Sets the initial dialect of statements, by its DataFusion name, until one of them sets another.
    pub fn start_in_dialect(&self, dialect: &str) {
        let comments = LineComments::of_dialect(dialect);
        self.learn_with(|known| {
            known.dialects.comments = comments;
            known.dialects.double_quoted_text |= has_double_quoted_text(dialect);
        });
    }

    /// Shows the queries of URLs that begin with this text, which comes from a setting, even if the policy hides others: for
    /// example the address of a page that contains a trace id. Values named like secrets are still hidden.
    pub fn show_queries_of(&self, beginning: &str) {
        self.learn_with(|known| known.shown_queries.push(beginning.to_owned()));
    }

    /// The value of a setting for an error about it: quoted, or a note that it is not shown.
    pub fn setting_value(&self, text: &str) -> String {
        match self.shows_literals() {
            true => format!("{:?}", self.text(text)),
            false => "a value that is not shown".to_owned(),
        }
    }

    /// Whether the value under `key` is always hidden.
    pub fn hides_key(&self, key: &str) -> bool {
        self.names.hide(key)
    }

    /// Whether the values of an SQL column or argument are hidden. Elsewhere, as in the description of an artifact, a signature is
    /// not a secret.
    pub fn hides_column(&self, name: &str) -> bool {
        self.hides_key(name)
            || ["signature", "signatures"].iter().any(|known| name.eq_ignore_ascii_case(known))
    }

    /// Whether the value of an option or a setting is always hidden. This is stricter than [`Redactor::hides_key`]:
    /// `sse_customer_key_base64` contains a key, while the column `key` of a table need not.
    pub fn hides_option(&self, key: &str) -> bool {
        self.names.hide_option(key)
    }

    /// Whether a learned statement uses the parameter as a credential.
    pub(crate) fn hides_parameter(&self, name: &str) -> bool {
        self.hides_key(name) || self.known().has_name(name)
    }

    /// Whether literals are shown, and therefore also the values of settings and variables in errors about them.
    pub fn shows_literals(&self) -> bool {
        self.sql == SqlText::Whole
    }

    /// Changes what is known, for every clone.
    pub(crate) fn learn_with(&self, change: impl FnOnce(&mut Known)) {
        self.texts().learn(change);
    }

    /// What is known at this moment. It holds no lock: redacting one text needs it several times.
    pub(crate) fn known(&self) -> Arc<Known> {
        self.texts().known()
    }

    fn texts(&self) -> MutexGuard<'_, ShownTexts> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the cached result of `redact` for a repeated text. `redact` is called without the lock, because it needs the known
    /// texts itself.
    fn once(&self, form: Form, text: &str, redact: impl FnOnce(&Self, &str) -> String) -> String {
        let found = self.texts().find(form, text);
        found.unwrap_or_else(|revision| {
            let shown = redact(self, text);
            self.texts().keep(form, text, &shown, revision);
            shown
        })
    }

    /// The text with every recognisable credential replaced: the value after a hidden key (`key=value`, `Key: value` to the end of
    /// the line, `"key": "value"`, `'key' 'value'`, `--key value`), user and password in URLs, bearer and basic tokens, private
    /// keys, and keys with the formats of AWS and others.
    ///
    /// Redacting a text twice does not change it.
    pub fn text(&self, text: &str) -> String {
        if is_figure(text) {
            return self.known().without_secrets(text).into_owned();
        }
        self.once(Form::Text, text, Self::redacted)
    }

    /// As [`Redactor::text`], of any text.
    #[cfg(test)]
    pub(crate) fn looked_through(&self, text: &str) -> String {
        self.redacted(text)
    }

    fn redacted(&self, text: &str) -> String {
        let mut shown = Cow::Borrowed(text);
        // When a credential is removed, its surroundings may look like another one.
        for _ in 0..=MOST_TIMES {
            let again = self.text_once(&shown);
            if again == *shown {
                break;
            }
            shown = again.into();
        }
        shown.into_owned()
    }

    fn text_once(&self, text: &str) -> String {
        // Known secrets first: they may contain something that a later step would match and cut in half.
        let text = self.known().without_secrets(text);
        let text = if self.shows_literals() {
            text
        } else {
            without_typed_literals(&text, Types::Shown).into_owned().into()
        };
        // `u=http:` before a slash could be mistaken for a folder, and credentials in a URL are recognised by its scheme.
        let text = if self.shows_partition_values {
            text
        } else {
            without_partition_values(&self.without_secrets_of_urls(&text)).into_owned().into()
        };
        without_ranges(&text, self.credentials(&text)).into_owned()
    }

    /// The message of an error, without the values in it if the policy hides those. Only the beginning, if it is longer than 32
    /// KiB.
    pub fn error_text(&self, message: &str) -> String {
        // A server may respond with megabytes, which an error repeats: inspecting all of it would take minutes.
        let message = &*first_words(message, LONGEST_MESSAGE);
        match self.shows_error_values {
            true => self.known().without_words(&self.without_named_secrets(&self.text(message))).into_owned(),
            false => self.name_text(&mask::without_values(&self.without_secrets_of_urls(message))),
        }
    }

    /// A statement or a part of one, as far as the policy allows; empty if it hides SQL.
    pub fn sql_text(&self, sql: &str) -> String {
        match self.sql {
            SqlText::Whole => self.text(&self.without_sql_secrets(sql)),
            SqlText::WithoutLiterals => self.text(&self.stripped_sql(&self.without_secrets_of_urls(sql))),
            SqlText::None => String::new(),
        }
    }

    /// The plan of a query as DataFusion prints it, as far as the policy allows.
    pub fn plan_text(&self, plan: &str) -> String {
        self.once(Form::Plan, plan, Self::redacted_plan)
    }

    fn redacted_plan(&self, plan: &str) -> String {
        let plan = without_ranges(plan, plan_secrets(plan, self));
        let plan = self.without_secrets_of_urls(&plan);
        match self.shows_literals() {
            true => self.redacted(&self.known().without_words(&plan)),
            false => self.redacted_name(&plan_text::without_values(&self.known().without_values(&plan))),
        }
    }

    /// The name of a column, a type or similar, which the engine may have derived from a literal.
    pub fn name_text(&self, name: &str) -> String {
        if self.shows_literals() && self.shows_error_values {
            return self.text(name);
        }
        self.once(Form::Name, name, Self::redacted_name)
    }

    fn redacted_name(&self, name: &str) -> String {
        if self.shows_literals() && self.shows_error_values {
            return self.redacted(name);
        }
        // Known literals first: quotes within them cannot be distinguished from those around them.
        let name = self.known().without_values(&self.without_secrets_of_urls(name)).into_owned();
        let name = self.redacted(&name);
        without_unknown_zones(&without_frame_bounds(&name)).into_owned()
    }

    /// Prose next to code: documentation, or a tag. If the policy hides literals, quoted texts are removed.
    pub fn comment_text(&self, comment: &str) -> String {
        match self.shows_literals() {
            true => self.text(&self.without_sql_secrets(comment)),
            false => {
                self.name_text(&sql_values::prose_without_values(&self.without_secrets_of_urls(comment)))
            }
        }
    }

    /// A line of a script for the console, for showing an error in it.
    pub fn source_line(&self, line: &str) -> String {
        match self.sql {
            SqlText::Whole => self.text(&self.without_sql_secrets(line)),
            _ => self.name_text(&self.stripped_sql(&self.without_secrets_of_urls(line))),
        }
    }

    pub(crate) fn stripped_sql<'a>(&self, sql: &'a str) -> Cow<'a, str> {
        sql_values::without_values(sql, self.known().dialects)
    }

    pub(crate) fn without_sql_secrets(&self, sql: &str) -> String {
        self.without_phrases_and(sql, self.sql_secrets(sql))
    }

    /// A message without credentials in the SQL that it repeats.
    pub(crate) fn without_named_secrets(&self, message: &str) -> String {
        let mut ranges = self.sql_secrets(&parser_words::without_urls(message));
        // `Function 'sum' failed to match any signature`: the words of a message are not SQL, and the quoted name is not a literal.
        ranges.retain(|range| {
            !object_names::is_name(message, range) && !parser_words::is_example(message, range.start)
        });
        self.without_phrases_and(message, ranges)
    }

    /// A text without credentials identified by phrases, and without `ranges`. Both are removed together: the names around a
    /// credential may themselves be taken for one, and must not be removed before it is found.
    fn without_phrases_and(&self, text: &str, mut ranges: Vec<Range<usize>>) -> String {
        ranges.extend(phrases::secrets(text, Clues::of(text), |name| self.hides_key(name)));
        without_ranges(text, ranges).into_owned()
    }

    /// The positions of the credentials that are recognised by SQL names.
    pub(crate) fn sql_secrets(&self, sql: &str) -> Vec<Range<usize>> {
        let mut ranges = secrets(sql, self).ranges;
        ranges.extend(self.declared_secrets(sql));
        ranges
    }

    /// The positions of declared values of hidden parameters. A value that may be a word is hidden only there.
    fn declared_secrets(&self, sql: &str) -> Vec<Range<usize>> {
        let mut ranges = Vec::new();
        let mut at = 0;
        for line in sql.split_inclusive('\n') {
            let declared = sql_values::declared_in_sql(line).filter(|(name, _)| self.hides_parameter(name));
            ranges.extend(declared.map(|(_, value)| at + value.start..at + value.end));
            at += line.len();
        }
        ranges
    }

    /// The text without users, passwords and secret values in URLs. Must come before anything else is removed from a text, because
    /// that could be the scheme by which URLs are recognised.
    fn without_secrets_of_urls<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut secrets = users_of_urls(text);
        secrets.extend(users_of_paths(text));
        secrets.extend(self.secrets_of_queries(text));
        without_ranges(text, secrets)
    }

    /// The positions of secret values in the queries of URLs: all values, if the policy hides literals.
    pub(crate) fn secrets_of_queries(&self, text: &str) -> Vec<Range<usize>> {
        if !text.contains(['?', '#']) {
            return Vec::new();
        }
        let known = self.known();
        let all_but = (!self.shows_literals()).then_some(&*known.shown_queries);
        UrlQueries { hides: &|name| self.hides_option(name), all_but }.secrets(text)
    }
}

/// Whether a log record with this target comes from one of the libraries that process the data of queries: their messages repeat
/// data, and must be shown with [`Redactor::error_text`].
pub fn is_engine(target: &str) -> bool {
    const ENGINE: [&str; 7] =
        ["apache_avro", "arrow", "avro", "datafusion", "object_store", "parquet", "sqlparser"];
    let crate_name = target.split("::").next().unwrap_or_default();
    ENGINE.iter().any(|name| {
        // Only at the end of a word: a user's program may be called `arrowhead`, and its messages are its own.
        crate_name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['_', '-']))
    })
}

impl Default for Redactor {
    fn default() -> Self {
        Self::new::<&str>([])
    }
}

/// The text without credentials, independent of the policy: for names, addresses and settings, which are shown under every policy.
/// Nothing else is removed, so that the names of nodes and DAGs are the same under every policy.
///
/// ```
/// assert_eq!(daglight_capture_policy::without_credentials("token=abc"), "token=[redacted]");
/// ```
pub fn without_credentials(text: &str) -> String {
    DEFAULT.text(text)
}

/// Created once: a redactor compiles its patterns, and a script has a name for each node.
static DEFAULT: LazyLock<Redactor> = LazyLock::new(Redactor::default);

/// The message of a DataFusion error without the values in it, whatever the policy: its kind, and its text only if that is known to
/// contain none. For the `Display` of errors, which a program may print anywhere.
pub fn without_error_values(message: &str) -> String {
    mask::without_values(&DEFAULT.without_secrets_of_urls(message))
}

#[cfg(test)]
pub(crate) mod tests;
