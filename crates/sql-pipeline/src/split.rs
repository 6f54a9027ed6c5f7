//! Splitting a script into statements, each with the comments around it.

use datafusion::sql::sqlparser::{
    dialect::Dialect,
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Whitespace},
};

use crate::source::Source;

/// A line of a comment, without comment markers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommentLine {
    pub(crate) text: String,
    pub(crate) line: usize,
    /// The column where `text` starts.
    pub(crate) column: usize,
    /// Whether it is a `--` comment with nothing before it on its line.
    pub(crate) own_line: bool,
}

/// The tokens of one statement without comments and layout, and the comment block directly above it.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    pub(crate) above: Vec<CommentLine>,
    pub(crate) tokens: Vec<TokenWithSpan>,
}

/// The comments that are not directly above a statement.
#[derive(Debug, Default)]
pub(crate) struct LooseComments {
    /// Blocks that are separated from the statement below by an empty line, and those at the end.
    pub(crate) detached: Vec<Vec<CommentLine>>,
    /// Comments inside statements, and after one on its last line.
    pub(crate) inner: Vec<CommentLine>,
}

/// What the tokenizer could not read, and where it starts.
#[derive(Debug)]
pub(crate) struct LexError {
    pub(crate) message: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

pub(crate) fn position(location: Location) -> (usize, usize) {
    (location.line as usize, location.column as usize)
}

/// How much of a script is tokenised at a time, in bytes: tokens take many times the memory of their text.
const PART_BYTES: usize = 64 * 1024;

/// Splits a script one statement at a time, because each may change the dialect of the following ones.
pub(crate) struct Splitter<'a> {
    source: &'a Source,
    tokens: std::vec::IntoIter<TokenWithSpan>,
    /// Whether there is text after `tokens`.
    has_more: bool,
    /// The error after the last valid token.
    unreadable: Option<LexError>,
    current: Piece,
    block: Vec<CommentLine>,
    loose: LooseComments,
    /// The last line with a part of a statement.
    last_code_line: usize,
    /// The last line with a part of a block comment.
    last_block_comment_line: usize,
    /// The end of the last token.
    end: (usize, usize),
}

impl<'a> Splitter<'a> {
    pub(crate) fn new(source: &'a Source, dialect: &dyn Dialect) -> Self {
        let mut splitter = Self {
            source,
            tokens: Vec::new().into_iter(),
            has_more: false,
            unreadable: None,
            current: Piece::default(),
            block: Vec::new(),
            loose: LooseComments::default(),
            last_code_line: 0,
            last_block_comment_line: 0,
            end: (1, 1),
        };
        splitter.read_on(dialect);
        splitter
    }

    /// Tokenises the text after the last statement with `dialect`.
    pub(crate) fn read_on(&mut self, dialect: &dyn Dialect) {
        let rest = self.source.rest(self.end);
        // In parts, because `SET datafusion.sql_parser.dialect` changes how the following text is tokenised: if the whole script
        // were done at once, each such statement would tokenise the rest again.
        let mut length = PART_BYTES;
        loop {
            let part = &rest[..rest.floor_char_boundary(length)];
            let (mut tokens, mut unreadable) = tokens_from(part, self.end, dialect);
            self.has_more = part.len() < rest.len();
            if self.has_more {
                // The last tokens may be incomplete. Those up to a semicolon are complete, and the text after it starts anew.
                // Without a semicolon, as in the middle of a long quoted text, more of the script is needed.
                let Some(last) = tokens.iter().rposition(|token| token.token == Token::SemiColon) else {
                    // Multiplied, so that a quoted text of megabytes is read a few times instead of once for each part.
                    length *= 4;
                    continue;
                };
                tokens.truncate(last + 1);
                // An error after that semicolon may be caused by the cut.
                unreadable = None;
            }
            self.unreadable = unreadable;
            self.tokens = tokens.into_iter();
            return;
        }
    }

    /// The next statement; `None` after the last.
    ///
    /// # Errors
    /// When the text after the previous statements cannot be tokenised.
    pub(crate) fn next_statement(&mut self, dialect: &dyn Dialect) -> Result<Option<Piece>, LexError> {
        loop {
            while let Some(token) = self.tokens.next() {
                self.end = position(token.span.end);
                let ended = self.token(token);
                if ended.is_some() {
                    return Ok(ended);
                }
            }
            if !self.has_more {
                break;
            }
            self.read_on(dialect);
        }
        match self.unreadable.take() {
            Some(error) => Err(error),
            None => Ok(self.end_statement()),
        }
    }

    /// The comments that do not belong to a statement, after all statements were read.
    pub(crate) fn into_loose_comments(self) -> LooseComments {
        self.loose
    }

    /// Adds a token. Returns the statement that it ends.
    fn token(&mut self, token: TokenWithSpan) -> Option<Piece> {
        let (line, column) = position(token.span.start);
        match token.token {
            Token::Whitespace(Whitespace::SingleLineComment { comment, prefix }) => {
                let mut text = comment_line(&comment, line, column + prefix.chars().count());
                // Only these are directives: `#` starts a comment only in some dialects, and a comment after code is a remark about
                // that code.
                text.own_line = prefix == "--" && line > self.last_block_comment_line;
                self.comment(vec![text]);
            }
            Token::Whitespace(Whitespace::MultiLineComment(comment)) => {
                self.last_block_comment_line = position(token.span.end).0;
                self.comment(block_lines(&comment, line, column + 2));
            }
            Token::Whitespace(_) | Token::EOF => {}
            Token::SemiColon => {
                self.last_code_line = line;
                return self.end_statement();
            }
            _ => {
                if self.current.tokens.is_empty() {
                    // An empty line separates the header of a file from the comment of the statement below.
                    if self.block.last().is_some_and(|last| last.line + 1 < line) {
                        self.detach();
                    }
                    self.current.above = std::mem::take(&mut self.block);
                }
                self.last_code_line = position(token.span.end).0;
                self.current.tokens.push(token);
            }
        }
        None
    }

    fn comment(&mut self, mut lines: Vec<CommentLine>) {
        let Some(first) = lines.first_mut() else { return };
        first.own_line &= first.line > self.last_code_line;
        if !self.current.tokens.is_empty() || first.line == self.last_code_line {
            self.loose.inner.extend(lines);
            return;
        }
        if self.block.last().is_some_and(|last| last.line + 1 < first.line) {
            self.detach();
        }
        self.block.extend(lines);
    }

    fn detach(&mut self) {
        let block = std::mem::take(&mut self.block);
        if !block.is_empty() {
            self.loose.detached.push(block);
        }
    }

    fn end_statement(&mut self) -> Option<Piece> {
        self.detach();
        let piece = std::mem::take(&mut self.current);
        (!piece.tokens.is_empty()).then_some(piece)
    }
}

/// The tokens of a text that starts at a position of the script, as far as they are valid, and the error after them.
pub(crate) fn tokens_from(
    text: &str,
    start: (usize, usize),
    dialect: &dyn Dialect,
) -> (Vec<TokenWithSpan>, Option<LexError>) {
    let (first_line, first_column) = start;
    let moved = |Location { line, column }: Location| {
        let column = if line == 1 { column + first_column as u64 - 1 } else { column };
        Location::new(line + first_line as u64 - 1, column)
    };
    let mut tokens = Vec::new();
    let tokenized = Tokenizer::new(dialect, text)
        .tokenize_with_location_into_buf_with_mapper(&mut tokens, |TokenWithSpan { token, span }| {
            TokenWithSpan::at(token, moved(span.start), moved(span.end))
        });
    let unreadable = tokenized.err().map(|error| {
        let (line, column) = tokens.last().map_or(start, |token| position(token.span.end));
        LexError { message: error.message, line, column }
    });
    (tokens, unreadable)
}

/// `column` is the column where `raw` starts.
fn comment_line(raw: &str, line: usize, column: usize) -> CommentLine {
    let raw = raw.trim_end();
    let text = raw.trim_start();
    let indent = raw.chars().count() - text.chars().count();
    // One space after the marker belongs to it; more is the author's indentation.
    let text = raw.strip_prefix(' ').filter(|_| indent > 1).unwrap_or(text);
    let column = if indent > 1 && raw.starts_with(' ') { column + 1 } else { column + indent };
    CommentLine { text: text.to_owned(), line, column, own_line: false }
}

fn block_lines(comment: &str, line: usize, column: usize) -> Vec<CommentLine> {
    comment
        .split('\n')
        .enumerate()
        .map(|(index, raw)| {
            let column = if index == 0 { column } else { 1 };
            let text = raw.trim_start();
            let starred = text.strip_prefix('*').unwrap_or(text);
            let skipped = raw.chars().count() - starred.chars().count();
            let mut line = comment_line(starred, line + index, column + skipped);
            let indented = line.text.chars().take_while(|c| c.is_whitespace()).count();
            line.text = line.text.trim_start().to_owned();
            line.column += indented;
            line
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;

    use super::*;

    fn split(source: &Source) -> Result<(Vec<Piece>, LooseComments), LexError> {
        let mut splitter = Splitter::new(source, &GenericDialect);
        let mut statements = Vec::new();
        while let Some(piece) = splitter.next_statement(&GenericDialect)? {
            statements.push(piece);
        }
        Ok((statements, splitter.into_loose_comments()))
    }

    /// Compares the first words of every statement, and the text of the comments directly above.
    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let (statements, _) = split(&Source::new("a.sql", text)).unwrap();
        let found: Vec<(String, String)> = statements
            .iter()
            .map(|piece| {
                let words: Vec<String> = piece.tokens.iter().map(|token| token.token.to_string()).collect();
                let above: Vec<&str> = piece.above.iter().map(|line| line.text.as_str()).collect();
                (words.join(" "), above.join("|"))
            })
            .collect();
        let found: Vec<(&str, &str)> = found.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn semicolons_count_only_between_tokens() {
        check(
            "SELECT ';' ; SELECT \";\" -- ;\n, /* ; /* ; */ ; */ 2; SELECT $$;$$, $x$;$$;$x$;;",
            &[("SELECT ';'", ""), ("SELECT \";\" , 2", ""), ("SELECT $$;$$ , $x$;$$;$x$", "")],
        );
    }

    #[test]
    fn only_the_block_directly_above_belongs_to_a_statement() {
        check("-- a\n\n-- b\r\n--   c\r\nSELECT 1;\r\n", &[("SELECT 1", "b|  c")]);
        check("-- a\n\nSELECT 1; -- b\nSELECT 2", &[("SELECT 1", ""), ("SELECT 2", "")]);
        check("/* a\n * b */ SELECT 1 -- c\n", &[("SELECT 1", "a|b")]);
        check("SELECT 1;\n-- a\n; SELECT 2", &[("SELECT 1", ""), ("SELECT 2", "")]);
    }

    #[test]
    fn an_empty_text_has_no_statements() {
        check("", &[]);
        check("\u{feff}", &[]);
        check(" ;\n-- only this\n/* and that */", &[]);
    }

    #[test]
    fn comments_know_their_columns() {
        let (_, loose) = split(&Source::new("a.sql", "  --  x\n /* y\n   * z */\n\n")).unwrap();
        let found: Vec<(usize, usize)> =
            loose.detached.iter().flatten().map(|line| (line.line, line.column)).collect();
        assert_eq!(found, [(1, 6), (2, 5), (3, 6)]);
        assert_eq!(loose.detached[0][0].text, " x");
    }

    #[test]
    fn what_does_not_end_is_reported_where_it_starts() {
        for (text, at) in
            [("SELECT\n  'a;\nSELECT", (2, 3)), ("SELECT /* 1", (1, 8)), ("SELECT $$ 1", (1, 8))]
        {
            let error = split(&Source::new("a.sql", text)).unwrap_err();
            assert_eq!((error.line, error.column), at, "{}", error.message);
        }
    }
}
