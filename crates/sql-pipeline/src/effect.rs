//! What a statement reads, and its effect on relations, files and the session.

use datafusion::common::{ResolvedTableReference, TableReference};

use crate::{table_functions::Call, unsupported::UnsupportedStatement};

/// The reads and the effect of a statement, with each name resolved under the current settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Relations {
    /// The relations of its query including all subqueries, without common table expressions and table functions.
    pub(crate) reads: Vec<Mention>,
    /// The relations that it drops or changes, if it fails without them.
    pub(crate) targets: Vec<Mention>,
    pub(crate) effect: Effect,
    /// The table functions that it calls.
    pub(crate) calls: Vec<Call>,
    /// The file format of an external table that it creates.
    pub(crate) format: Option<String>,
    /// The prepared statement that it executes or deallocates.
    pub(crate) prepared: Option<Box<UsePrepared>>,
    /// The kind of statement, if DataFusion parses it but no session can run it.
    pub(crate) unsupported: Option<Box<UnsupportedStatement>>,
}

/// A relation that must exist for a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mention {
    pub(crate) relation: ResolvedTableReference,
    /// The line and column of its name; `None` if another statement names it.
    pub(crate) at: Option<(usize, usize)>,
}

/// The effect of a statement on relations and files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Effect {
    #[default]
    None,
    Define {
        relation: ResolvedTableReference,
        /// Its name as written in the script.
        written: TableReference,
        /// The line and column of its name; `None` if another statement names it.
        at: Option<(usize, usize)>,
        policy: Existing,
        locations: Vec<String>,
    },
    Change {
        relation: ResolvedTableReference,
    },
    CopyTo {
        target: String,
        format: Option<String>,
    },
    Drop {
        relations: Vec<ResolvedTableReference>,
        /// Whether it drops views instead of tables.
        views: bool,
        if_exists: bool,
    },
    DefineCatalog {
        catalog: String,
        policy: Existing,
        /// The position, as for a relation; also below.
        at: Option<(usize, usize)>,
    },
    DefineSchema {
        catalog: String,
        schema: String,
        policy: Existing,
        at: Option<(usize, usize)>,
    },
    DropSchema {
        catalog: String,
        schema: String,
        if_exists: bool,
        cascade: bool,
        at: Option<(usize, usize)>,
    },
    DefineFunction {
        name: String,
        at: Option<(usize, usize)>,
    },
    DropFunction {
        name: String,
        /// The line and column of its name; `None` if it may be missing, or another statement names it.
        at: Option<(usize, usize)>,
    },
    Prepare {
        name: String,
        at: (usize, usize),
    },
    Deallocate {
        name: String,
    },
}

/// What a definition does if a relation with its name exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Refuse,
    Replace,
    Keep,
    /// The statement asks both to replace and to keep it, which DataFusion rejects only if it exists.
    Both,
}

impl Existing {
    pub(crate) fn of(or_replace: bool, if_not_exists: bool) -> Self {
        match (or_replace, if_not_exists) {
            (true, true) => Self::Both,
            (true, false) => Self::Replace,
            (false, true) => Self::Keep,
            (false, false) => Self::Refuse,
        }
    }
}

impl Effect {
    /// The effect of a statement that refers to another one, so that its names have no position.
    pub(crate) fn named_elsewhere(mut self) -> Self {
        match &mut self {
            Self::Define { at, .. }
            | Self::DefineCatalog { at, .. }
            | Self::DefineSchema { at, .. }
            | Self::DropSchema { at, .. }
            | Self::DefineFunction { at, .. }
            | Self::DropFunction { at, .. } => *at = None,
            _ => {}
        }
        self
    }
}

/// The name of a prepared statement, with its line and column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsePrepared {
    pub(crate) name: String,
    pub(crate) at: (usize, usize),
    /// Why it cannot be executed this way.
    pub(crate) misuse: Option<Misuse>,
}

/// Why a prepared statement cannot be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Misuse {
    /// DataFusion prepares every statement, but executes only those that return or change rows. Contains the first words of the
    /// statement.
    NotExecutable(String),
    /// It declares a different number of parameter types, or reads more parameters than it is given.
    Parameters { takes: usize, given: usize },
}
