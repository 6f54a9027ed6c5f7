//! The open scopes while a statement is read, and what is known about them so far.

/// An open scope: the statement itself, parentheses, brackets, or a CASE.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    pub(crate) is_case: bool,
    pub(crate) has_when: bool,
    /// Whether it is a CASE of something hidden, so that the value after each WHEN is a credential.
    pub(crate) hides_operand: bool,
    pub(crate) inherits_outside: bool,
    pub(crate) is_query: bool,
    /// Whether it contains the arguments of a function.
    pub(crate) is_call: bool,
    /// Whether it is a literal in plan notation: `Utf8("x")`.
    pub(crate) is_typed_text: bool,
    /// Whether it is the list of a comparison, such as that of `IN`: a text in it is a possible value of the column, not a name.
    pub(crate) is_compared_list: bool,
    /// Whether it is a literal that is an operand of a comparison.
    pub(crate) is_operand: bool,
    pub(crate) is_options: bool,
    /// Literals of the current part, and whether it names something hidden.
    pub(crate) part: Vec<Literal>,
    pub(crate) names_hidden: bool,
    /// Texts of the part that look like names of credentials. They are credentials themselves if the alias of the part is the name
    /// of one: `'prod_pass' AS password`.
    pub(crate) keys: Vec<Literal>,
    /// Whether a name in the part, as opposed to a text, is hidden.
    pub(crate) is_named: bool,
    /// From all parts, the literals that may belong to the enclosing part.
    pub(crate) literals: Vec<Literal>,
    pub(crate) names_hidden_apart: bool,
    /// Whether the part compares or has an alias, and so does not affect the enclosing part.
    pub(crate) assigns: bool,
    /// Whether it is a query that is read after its column list.
    pub(crate) is_apart: bool,
    /// Whether it is a separate condition.
    pub(crate) is_condition: bool,
    /// Whether all literals here are credentials, because of the enclosing part.
    pub(crate) inherits: bool,
    pub(crate) is_between: bool,
    /// The start of the right side of a comparison.
    pub(crate) operand_at: Option<usize>,
    pub(crate) item: usize,
    pub(crate) hides_next_item: bool,
    /// Which items of the following value lists are credentials.
    pub(crate) columns: Vec<bool>,
    pub(crate) takes_values: bool,
    /// Whether these columns apply only to the query that is opened next: `WITH t(name, password) AS (SELECT ...)`.
    pub(crate) columns_of_next_query: bool,
    /// Whether the current items are those of `columns`.
    pub(crate) is_row: bool,
    /// The literals of the rows of a VALUES or of a query, by position, for a column list after them.
    pub(crate) rows: Vec<(usize, Literal)>,
    /// The rows of the scope that was closed last.
    pub(crate) rows_before: Vec<(usize, Literal)>,
    /// Which columns of the first branch of a set operation are credentials: its names apply to all branches.
    pub(crate) first_branch: Vec<bool>,
    /// Its SELECT, until its columns are needed: most queries have no second branch, so that this need not be read.
    pub(crate) first_select: Option<usize>,
    /// Whether a query has begun here, and whether a branch of a set operation follows.
    pub(crate) has_branch: bool,
    pub(crate) is_branch_next: bool,
    /// The names of the items, if it is a column list.
    pub(crate) list: Vec<bool>,
    pub(crate) may_be_list: bool,
    pub(crate) begins_item: bool,
}

impl Frame {
    /// An argument that looks like the name of a credential may also be a value: `map('db_password2', 'x')`, `strpos(password,
    /// 'Summertoken24')`.
    pub(crate) fn key_or_value(&mut self, argument: Literal) {
        self.hides_next_item = true;
        self.part.push(argument);
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Literal(pub(crate) usize);

/// Which columns are credentials according to either list. Empty if none is.
pub(crate) fn either(some: &[bool], others: &[bool]) -> Vec<bool> {
    if !some.contains(&true) && !others.contains(&true) {
        return Vec::new();
    }
    let at = |list: &[bool], index: usize| list.get(index).copied().unwrap_or(false);
    (0..some.len().max(others.len())).map(|index| at(some, index) || at(others, index)).collect()
}
