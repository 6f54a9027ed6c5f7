//! Cutting a script into statements, each with the comments around it.

use datafusion::sql::sqlparser::{
    dialect::GenericDialect,
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Whitespace},
};

use crate::source::Source;

/// A line of a comment, without its marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommentLine {
    pub(crate) text: String,
    pub(crate) line: usize,
    /// Where `text` starts.
    pub(crate) column: usize,
}

/// The tokens of one statement without comments and layout, and the comment block directly above it.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    pub(crate) above: Vec<CommentLine>,
    pub(crate) tokens: Vec<TokenWithSpan>,
}

/// A script in pieces.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    pub(crate) statements: Vec<Piece>,
    /// Comments that stand above no statement: blocks set apart by an empty line, and those at the end.
    pub(crate) detached: Vec<Vec<CommentLine>>,
    /// Comments inside statements, and behind one on its last line.
    pub(crate) inner: Vec<CommentLine>,
}

/// What the tokenizer could not read, and where that starts.
#[derive(Debug)]
pub(crate) struct LexError {
    pub(crate) message: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

pub(crate) fn split(source: &Source) -> Result<Pieces, LexError> {
    let mut tokens = Vec::new();
    let tokenized =
        Tokenizer::new(&GenericDialect {}, source.text()).tokenize_with_location_into_buf(&mut tokens);
    if let Err(error) = tokenized {
        let start = tokens.last().map_or(Location::new(1, 1), |token| token.span.end);
        let (line, column) = position(start);
        return Err(LexError { message: error.message, line, column });
    }
    let mut splitter = Splitter::default();
    for token in tokens {
        splitter.token(token);
    }
    Ok(splitter.finish())
}

pub(crate) fn position(location: Location) -> (usize, usize) {
    (location.line as usize, location.column as usize)
}

#[derive(Default)]
struct Splitter {
    pieces: Pieces,
    current: Piece,
    block: Vec<CommentLine>,
    /// The last line that holds a part of a statement.
    last_code_line: usize,
}

impl Splitter {
    fn token(&mut self, token: TokenWithSpan) {
        let (line, column) = position(token.span.start);
        match token.token {
            Token::Whitespace(Whitespace::SingleLineComment { comment, prefix }) => {
                self.comment(vec![comment_line(&comment, line, column + prefix.chars().count())]);
            }
            Token::Whitespace(Whitespace::MultiLineComment(comment)) => {
                self.comment(block_lines(&comment, line, column + 2));
            }
            Token::Whitespace(_) | Token::EOF => {}
            Token::SemiColon => {
                self.last_code_line = line;
                self.end_statement();
            }
            _ => {
                if self.current.tokens.is_empty() {
                    if self.block.last().is_some_and(|last| last.line + 1 < line) {
                        self.detach();
                    }
                    self.current.above = std::mem::take(&mut self.block);
                }
                self.last_code_line = position(token.span.end).0;
                self.current.tokens.push(token);
            }
        }
    }

    fn comment(&mut self, lines: Vec<CommentLine>) {
        let Some(first) = lines.first() else { return };
        if !self.current.tokens.is_empty() || first.line == self.last_code_line {
            self.pieces.inner.extend(lines);
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
            self.pieces.detached.push(block);
        }
    }

    fn end_statement(&mut self) {
        self.detach();
        let piece = std::mem::take(&mut self.current);
        if !piece.tokens.is_empty() {
            self.pieces.statements.push(piece);
        }
    }

    fn finish(mut self) -> Pieces {
        self.end_statement();
        self.pieces
    }
}

/// `column` is where `raw` starts.
fn comment_line(raw: &str, line: usize, column: usize) -> CommentLine {
    let raw = raw.trim_end();
    let text = raw.trim_start();
    let indent = raw.chars().count() - text.chars().count();
    // One space after the mark belongs to the mark; more is the author's indentation.
    let text = raw.strip_prefix(' ').filter(|_| indent > 1).unwrap_or(text);
    let column = if indent > 1 && raw.starts_with(' ') { column + 1 } else { column + indent };
    CommentLine { text: text.to_owned(), line, column }
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
    use super::*;

    /// The first words of every statement, with the text of the comments directly above.
    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let pieces = split(&Source::new("a.sql", text)).unwrap();
        let found: Vec<(String, String)> = pieces
            .statements
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
    fn nothing_gives_no_statement() {
        check("", &[]);
        check("\u{feff}", &[]);
        check(" ;\n-- only this\n/* and that */", &[]);
    }

    #[test]
    fn comments_know_their_columns() {
        let pieces = split(&Source::new("a.sql", "  --  x\n /* y\n   * z */\n\n")).unwrap();
        let found: Vec<(usize, usize)> =
            pieces.detached.iter().flatten().map(|line| (line.line, line.column)).collect();
        assert_eq!(found, [(1, 6), (2, 5), (3, 6)]);
        assert_eq!(pieces.detached[0][0].text, " x");
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
