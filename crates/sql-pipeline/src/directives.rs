//! Documentation and directives (`tag:`, `node:`, `param:`) in the comments of a script.

use std::collections::BTreeMap;

use crate::lexer::CommentLine;

/// The default value of a parameter, declared by `-- param: name = value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterDeclaration {
    /// The name, without `$`.
    pub name: String,
    /// The value, without quotes.
    pub default: String,
    /// Whether the value stood in quotes, and so is a text whatever it looks like.
    pub quoted: bool,
    /// The comment directly above.
    pub documentation: Option<String>,
    /// The line, from 1.
    pub line: usize,
    /// The column of the directive, from 1.
    pub column: usize,
}

/// What a comment block says.
#[derive(Debug, Default)]
pub(crate) struct Block {
    pub(crate) documentation: Option<String>,
    /// The name of the node, and where the directive stands.
    pub(crate) name: Option<(String, (usize, usize))>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) parameters: Vec<ParameterDeclaration>,
    /// The first directive that describes a node.
    pub(crate) first_of_node: Option<(&'static str, (usize, usize))>,
}

/// Why a directive cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectiveError {
    /// A tag that is no pair.
    #[error("a tag is written `-- tag: key=value`, but this one is {found:?}")]
    Tag {
        /// What stands there.
        found: String,
    },
    /// A key with two values.
    #[error("the tag {key:?} has a value already")]
    DuplicateTag {
        /// The key.
        key: String,
    },
    /// A name that is none.
    #[error("a node's name is written `-- node: name`, without spaces, but this one is {found:?}")]
    NodeName {
        /// What stands there.
        found: String,
    },
    /// A second name.
    #[error("the node has a name already: {name:?}")]
    DuplicateNodeName {
        /// The first name.
        name: String,
    },
    /// A default that is no pair.
    #[error("a parameter's default is written `-- param: name = value`, but this one is {found:?}")]
    Parameter {
        /// What stands there.
        found: String,
    },
    /// A second default.
    #[error("the parameter {name:?} has a default already, at line {first_line}")]
    DuplicateParameter {
        /// The name.
        name: String,
        /// Where the first default stands.
        first_line: usize,
    },
    /// A directive that no statement can take.
    #[error("`{directive}:` must stand in the comment block directly above the statement it describes")]
    Stray {
        /// `tag`, `node` or `param`.
        directive: &'static str,
    },
    /// A directive above a statement that is no node.
    #[error("`{directive}:` describes a node, but the statement below it is none")]
    NotANode {
        /// `tag` or `node`.
        directive: &'static str,
    },
}

/// A [`DirectiveError`] and its line and column.
pub(crate) type Misplaced = (DirectiveError, (usize, usize));

/// The directive that a line holds, with its argument.
pub(crate) fn directive(line: &CommentLine) -> Option<(&'static str, &str)> {
    let text = line.text.trim();
    ["tag", "node", "param"].into_iter().find_map(|name| {
        let argument = text.strip_prefix(name)?.strip_prefix(':')?;
        Some((name, argument.trim()))
    })
}

pub(crate) fn read_block(lines: &[CommentLine]) -> Result<Block, Misplaced> {
    let mut block = Block::default();
    let mut prose: Vec<&str> = Vec::new();
    for line in lines {
        let at = (line.line, line.column + leading_spaces(&line.text));
        let Some((name, argument)) = directive(line) else {
            prose.push(&line.text);
            continue;
        };
        match name {
            "param" => {
                let start = prose.iter().rposition(|text| is_blank(text)).map_or(0, |index| index + 1);
                let documentation = joined(&prose.split_off(start));
                block.parameters.push(parameter(argument, documentation, at)?);
            }
            "tag" => {
                block.first_of_node.get_or_insert((name, at));
                for pair in argument.split(',') {
                    let (key, value) = tag(pair).map_err(|error| (error, at))?;
                    if block.tags.insert(key.clone(), value).is_some() {
                        return Err((DirectiveError::DuplicateTag { key }, at));
                    }
                }
            }
            _ => {
                block.first_of_node.get_or_insert((name, at));
                if argument.is_empty() || argument.contains(|c: char| c.is_whitespace() || c.is_control()) {
                    return Err((DirectiveError::NodeName { found: argument.to_owned() }, at));
                }
                if let Some((name, _)) = block.name {
                    return Err((DirectiveError::DuplicateNodeName { name }, at));
                }
                block.name = Some((argument.to_owned(), at));
            }
        }
    }
    block.documentation = joined(&prose);
    Ok(block)
}

fn leading_spaces(text: &str) -> usize {
    text.chars().take_while(|c| c.is_whitespace()).count()
}

fn tag(pair: &str) -> Result<(String, String), DirectiveError> {
    match pair.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
        Some((key, value)) if !key.is_empty() && !value.is_empty() && !key.contains(char::is_whitespace) => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err(DirectiveError::Tag { found: pair.trim().to_owned() }),
    }
}

fn parameter(
    argument: &str,
    documentation: Option<String>,
    at: (usize, usize),
) -> Result<ParameterDeclaration, Misplaced> {
    let refused = || (DirectiveError::Parameter { found: argument.to_owned() }, at);
    let (name, value) = argument.split_once('=').ok_or_else(refused)?;
    let (name, value) = (name.trim(), value.trim());
    let unquoted = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if !is_name || value.is_empty() {
        return Err(refused());
    }
    Ok(ParameterDeclaration {
        name: name.to_owned(),
        default: unquoted.map_or_else(|| value.to_owned(), |text| text.replace("''", "'")),
        quoted: unquoted.is_some(),
        documentation,
        line: at.0,
        column: at.1,
    })
}

/// Rulers such as `-----` and `=====` say nothing.
fn is_blank(text: &str) -> bool {
    !text.contains(char::is_alphanumeric)
}

fn joined(lines: &[&str]) -> Option<String> {
    let first = lines.iter().position(|line| !is_blank(line))?;
    let last = lines.iter().rposition(|line| !is_blank(line))?;
    let lines: Vec<&str> =
        lines[first..=last].iter().map(|line| if is_blank(line) { "" } else { line }).collect();
    Some(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> Result<Block, Misplaced> {
        let lines: Vec<CommentLine> = text
            .lines()
            .enumerate()
            .map(|(index, text)| CommentLine { text: text.to_owned(), line: index + 1, column: 4 })
            .collect();
        read_block(&lines)
    }

    #[track_caller]
    fn check_refused(text: &str, message: &str, at: (usize, usize)) {
        let (error, position) = block(text).unwrap_err();
        assert_eq!((error.to_string().as_str(), position), (message, at));
    }

    #[test]
    fn directives_are_cut_out_of_the_documentation() {
        let block = block(
            "-----\nLate orders.\nnode: late\ntag: layer=gold, owner = ops\n\n  indented\ntag: a=b=c\n=====",
        )
        .unwrap();
        assert_eq!(block.documentation.as_deref(), Some("Late orders.\n\n  indented"));
        assert_eq!(block.name, Some(("late".into(), (3, 4))));
        let tags: Vec<(&str, &str)> = block.tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(tags, [("a", "b=c"), ("layer", "gold"), ("owner", "ops")]);
    }

    #[test]
    fn prose_directly_above_a_parameter_documents_it() {
        let block =
            block("The script.\n\nFrom this day on.\nparam: from = 1995-01-01\nparam: who = 'it''s'\n")
                .unwrap();
        assert_eq!(block.documentation.as_deref(), Some("The script."));
        let found: Vec<_> = block
            .parameters
            .iter()
            .map(|p| (p.name.as_str(), p.default.as_str(), p.quoted, p.documentation.as_deref()))
            .collect();
        assert_eq!(
            found,
            [("from", "1995-01-01", false, Some("From this day on.")), ("who", "it's", true, None)]
        );
    }

    #[test]
    fn bad_directives_are_refused_where_they_stand() {
        check_refused(
            "x\n tag: layer",
            "a tag is written `-- tag: key=value`, but this one is \"layer\"",
            (2, 5),
        );
        check_refused("tag: a=1,", "a tag is written `-- tag: key=value`, but this one is \"\"", (1, 4));
        check_refused("tag: a=1\ntag: a=2", "the tag \"a\" has a value already", (2, 4));
        check_refused(
            "node: two words",
            "a node's name is written `-- node: name`, without spaces, but this one is \"two words\"",
            (1, 4),
        );
        check_refused("node: a\nnode: b", "the node has a name already: \"a\"", (2, 4));
        check_refused(
            "param: x",
            "a parameter's default is written `-- param: name = value`, but this one is \"x\"",
            (1, 4),
        );
    }
}
