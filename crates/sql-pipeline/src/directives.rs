//! Documentation and directives (`tag:`, `node:`, `param:`, `expect:`) in the comments of a script.
//!
//! A directive is a `--` comment on its own line, in the block directly above a statement. All other comments are ordinary
//! comments; `near_directives` finds those that were probably meant as directives.

use std::collections::BTreeMap;

use daglight_materializers::{CheckSeverity, CheckSyntaxError, parse_check};

use crate::{
    directive::{Directive, DirectiveError, Misplaced, directive, node_name, parameter, tag},
    expectation::Expectation,
    near_directives::{NearDirective, Standing, near_directive},
    parameter::ParameterDeclaration,
    split::CommentLine,
    sql_settings::SqlSettings,
};

/// The content of the comment block directly above a statement.
#[derive(Debug, Default)]
pub(crate) struct Block {
    pub(crate) documentation: Option<String>,
    /// The name of the node, and the position of the directive.
    pub(crate) name: Option<(String, (usize, usize))>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) parameters: Vec<ParameterDeclaration>,
    pub(crate) checks: Vec<Expectation>,
    /// The first directive that describes a node.
    pub(crate) first_of_node: Option<(&'static str, (usize, usize))>,
    /// Comments that look like misspelled directives.
    pub(crate) near: Vec<NearDirective>,
}

/// Reads the block directly above a statement.
pub(crate) fn read_block(lines: &[CommentLine], settings: &SqlSettings) -> Result<Block, Misplaced> {
    let mut block = Block::default();
    let mut prose: Vec<&str> = Vec::new();
    for line in lines {
        let at = start(line);
        let Some(Directive { name, option, argument }) = directive(line) else {
            // The line still counts as prose: the warning is only about what may have been meant.
            block.near.extend(near_directive(line, Standing::Above));
            prose.push(&line.text);
            continue;
        };
        match name {
            "param" => {
                let documentation = paragraph(&mut prose);
                let declared = parameter(argument, documentation, at).map_err(|error| (error, at))?;
                block.parameters.push(declared);
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
            "expect" => {
                block.first_of_node.get_or_insert((name, at));
                block.checks.push(expectation(line, option, argument, settings)?);
            }
            _ => {
                block.first_of_node.get_or_insert((name, at));
                let found = node_name(argument).map_err(|error| (error, at))?;
                if let Some((name, _)) = block.name {
                    return Err((DirectiveError::DuplicateNodeName { name }, at));
                }
                block.name = Some((found, at));
            }
        }
    }
    block.documentation = joined(&prose);
    Ok(block)
}

/// Reads a block that is separated by an empty line from the statement below: its declarations, and its comments that look like
/// misspelled directives. Nothing in it is rejected, because the introduction of a file may contain anything.
pub(crate) fn read_detached(lines: &[CommentLine]) -> (Vec<ParameterDeclaration>, Vec<NearDirective>) {
    let (mut parameters, mut near) = (Vec::new(), Vec::new());
    let mut prose: Vec<&str> = Vec::new();
    for line in lines {
        let declared = directive(line)
            .filter(|directive| directive.name == "param")
            // Apart from any statement, a comment that is not a valid declaration is an ordinary comment.
            .and_then(|directive| parameter(directive.argument, None, start(line)).ok());
        match declared {
            Some(declared) => {
                let documentation = paragraph(&mut prose);
                parameters.push(ParameterDeclaration { documentation, ..declared });
            }
            None => {
                near.extend(near_directive(line, Standing::Elsewhere));
                prose.push(&line.text);
            }
        }
    }
    (parameters, near)
}

fn start(line: &CommentLine) -> (usize, usize) {
    let spaces = line.text.chars().take_while(|c| c.is_whitespace()).count();
    (line.line, line.column + spaces)
}

fn expectation(
    line: &CommentLine,
    option: Option<&str>,
    argument: &str,
    settings: &SqlSettings,
) -> Result<Expectation, Misplaced> {
    let at = start(line);
    let severity = match option.map(str::parse::<CheckSeverity>) {
        None => CheckSeverity::default(),
        Some(Ok(severity)) => severity,
        Some(Err(_)) => {
            let found = option.unwrap_or_default().to_owned();
            return Err((DirectiveError::Severity { found }, at));
        }
    };
    let check = parse_check(argument, &*settings.dialect(), settings.normalizes_names()).map_err(
        |CheckSyntaxError { problem, offset }| {
            // The argument is at the end of the line's text.
            let in_front = line.text.trim_end().chars().count() - argument.chars().count();
            (DirectiveError::Check { problem }, (line.line, line.column + in_front + offset))
        },
    )?;
    Ok(Expectation { check: check.with_severity(severity), line: at.0, column: at.1 })
}

/// Removes the last paragraph.
fn paragraph(prose: &mut Vec<&str>) -> Option<String> {
    let start = prose.iter().rposition(|text| is_blank(text)).map_or(0, |index| index + 1);
    joined(&prose.split_off(start))
}

/// Rulers such as `-----` and `=====` count as blank.
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
    use daglight_materializers::DataCheck;
    use datafusion::config::ConfigOptions;

    use super::*;

    fn block(text: &str) -> Result<Block, Misplaced> {
        let lines: Vec<CommentLine> = text
            .lines()
            .enumerate()
            .map(|(index, text)| CommentLine {
                text: text.to_owned(),
                line: index + 1,
                column: 4,
                own_line: true,
            })
            .collect();
        read_block(&lines, &SqlSettings::new(&ConfigOptions::new()))
    }

    #[track_caller]
    fn check_refused(text: &str, message: &str, at: (usize, usize)) {
        let (error, position) = block(text).unwrap_err();
        assert_eq!((error.in_full().as_str(), position), (message, at));
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
    fn checks_have_a_severity_and_a_place() {
        let block = block(
            "Orders.\n expect: rows > 0\nexpect(warn): unique(order_id)\nexpect( fail ):not_null(customer)\n\
             expect(warn): freshness(updated_at) < 2 days\nexpect: amount >= 0",
        )
        .unwrap();
        assert_eq!(block.documentation.as_deref(), Some("Orders."));
        let found: Vec<(String, usize, usize)> = block
            .checks
            .iter()
            .map(|Expectation { check, line, column }| (check.to_string(), *line, *column))
            .collect();
        let expected = [
            ("expect: rows > 0", 2, 5),
            ("expect(warn): unique(order_id)", 3, 4),
            ("expect: not_null(customer)", 4, 4),
            ("expect(warn): freshness(updated_at) < 2 days", 5, 4),
            ("expect: amount >= 0", 6, 4),
        ];
        assert_eq!(found, expected.map(|(text, line, column)| (text.to_owned(), line, column)));
        let kinds: Vec<&str> = block.checks.iter().map(|found| DataCheck::kind(&found.check)).collect();
        assert_eq!(kinds, ["rows", "unique", "not_null", "freshness", "condition"]);
    }

    #[test]
    fn bad_checks_are_refused_where_they_are_wrong() {
        check_refused(
            "ä\n expect: unique(a b)",
            "`unique` takes names of columns, as in `unique(id)` or `unique(day, \"Region\")`",
            (2, 22),
        );
        check_refused(
            "expect(warn):   amount > 0 0 ",
            "a check is `rows`, `unique`, `not_null`, `freshness` or an SQL condition, but this one is not: expected end of \
             the condition, found a number",
            (1, 31),
        );
        check_refused(
            "expect(maybe): rows > 0",
            "the severity of a check is written `-- expect(warn): ...` or `-- expect(fail): ...`, but this one is \"maybe\"",
            (1, 4),
        );
        check_refused(
            "expect:",
            "the check is missing: expected one such as `rows > 0`, `unique(id)`, `not_null(id)` or `amount >= 0`",
            (1, 11),
        );
    }

    #[test]
    fn bad_directives_are_refused_where_they_stand() {
        check_refused(
            "x\n tag: layer",
            "a tag is written `-- tag: key=value`, without spaces in the key, but this one is \"layer\"",
            (2, 5),
        );
        check_refused(
            "tag: a=1,",
            "a tag is written `-- tag: key=value`, without spaces in the key, but this one is \"\"",
            (1, 4),
        );
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
