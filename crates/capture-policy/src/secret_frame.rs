//! What is open where a statement is read, and what is known of it so far.

/// What is open: the statement itself, parentheses, brackets, or a CASE.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    pub(crate) is_case: bool,
    pub(crate) has_when: bool,
    /// Whether it is a CASE of something hidden, so that what follows each WHEN is a credential.
    pub(crate) hides_operand: bool,
    pub(crate) inherits_outside: bool,
    pub(crate) is_query: bool,
    /// Whether what is in here are arguments of a function.
    pub(crate) is_call: bool,
    /// Whether it is a literal, as plans have it: `Utf8("x")`.
    pub(crate) is_typed_text: bool,
    /// Whether it is the list of a comparison, as that of `IN`: a text in it is what a column may hold, and not a name.
    pub(crate) is_compared_list: bool,
    /// Whether it is a literal that stands where one is compared.
    pub(crate) is_operand: bool,
    pub(crate) is_options: bool,
    /// Literals of the part that is being read, and whether it names what is hidden.
    pub(crate) part: Vec<Literal>,
    pub(crate) names_hidden: bool,
    /// Texts of the part that look like names of credentials. They are credentials themselves where the part is called by the
    /// name of one: `'prod_pass' AS password`.
    pub(crate) keys: Vec<Literal>,
    /// Whether a name in the part, and not a text, is hidden.
    pub(crate) is_named: bool,
    /// Of all parts, what may belong to the part around.
    pub(crate) literals: Vec<Literal>,
    pub(crate) names_hidden_apart: bool,
    /// Whether the part compares or names something, and so says nothing about the part around.
    pub(crate) assigns: bool,
    /// Whether it is a query that is read behind its list of columns.
    pub(crate) is_apart: bool,
    /// Whether it is a condition of its own.
    pub(crate) is_condition: bool,
    /// Whether all literals here are credentials, because of the part around.
    pub(crate) inherits: bool,
    pub(crate) is_between: bool,
    /// Where the right side of a comparison begins.
    pub(crate) operand_at: Option<usize>,
    pub(crate) item: usize,
    pub(crate) hides_next_item: bool,
    /// Which items of the lists of values to come are credentials.
    pub(crate) columns: Vec<bool>,
    pub(crate) takes_values: bool,
    /// Whether only the query that is opened next has these columns: `WITH t(name, password) AS (SELECT ...)`.
    pub(crate) columns_of_next_query: bool,
    /// Whether the items that are read are those of `columns`.
    pub(crate) is_row: bool,
    /// The literals of the rows of a VALUES or of a query, by position, for a list of columns behind them.
    pub(crate) rows: Vec<(usize, Literal)>,
    /// Those of what was closed last.
    pub(crate) rows_before: Vec<(usize, Literal)>,
    /// Which columns of the first branch of a set operation are credentials: all branches have its names.
    pub(crate) first_branch: Vec<bool>,
    /// Its SELECT, until its columns are asked for: most queries have no second branch, and need not be read for one.
    pub(crate) first_select: Option<usize>,
    /// Whether a query has begun here, and whether a branch of a set operation follows.
    pub(crate) has_branch: bool,
    pub(crate) is_branch_next: bool,
    /// The names of the items, if it is a list of columns.
    pub(crate) list: Vec<bool>,
    pub(crate) may_be_list: bool,
    pub(crate) begins_item: bool,
}

impl Frame {
    /// An argument that looks like the name of a credential may be a value as well: `map('db_password2', 'x')`,
    /// `strpos(password, 'Summertoken24')`.
    pub(crate) fn key_or_value(&mut self, argument: Literal) {
        self.hides_next_item = true;
        self.part.push(argument);
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Literal(pub(crate) usize);

/// Which columns are credentials by one list or another. Empty where none is.
pub(crate) fn either(some: &[bool], others: &[bool]) -> Vec<bool> {
    if !some.contains(&true) && !others.contains(&true) {
        return Vec::new();
    }
    let at = |list: &[bool], index: usize| list.get(index).copied().unwrap_or(false);
    (0..some.len().max(others.len())).map(|index| at(some, index) || at(others, index)).collect()
}
