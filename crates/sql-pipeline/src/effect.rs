//! What a statement reads, and what it does to relations, files and the session.

use datafusion::common::{ResolvedTableReference, TableReference};

use crate::{table_functions::Call, unsupported::UnsupportedStatement};

/// What a statement reads and does, with each name resolved by the settings in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Relations {
    /// The relations of its query with all subqueries, without common table expressions and table functions.
    pub(crate) reads: Vec<Mention>,
    /// The relations that it drops or changes, where it fails without them.
    pub(crate) targets: Vec<Mention>,
    pub(crate) effect: Effect,
    /// The table functions that it calls.
    pub(crate) calls: Vec<Call>,
    /// The format of the files of an external table that it makes.
    pub(crate) format: Option<String>,
    /// The prepared statement that it executes or frees.
    pub(crate) prepared: Option<Box<UsePrepared>>,
    /// What it is, where DataFusion parses such a statement, but no session can run it.
    pub(crate) unsupported: Option<Box<UnsupportedStatement>>,
}

/// A relation that must be there for a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mention {
    pub(crate) relation: ResolvedTableReference,
    /// The line and column of its name; `None` where another statement names it.
    pub(crate) at: Option<(usize, usize)>,
}

/// What a statement does to relations and files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Effect {
    #[default]
    None,
    Define {
        relation: ResolvedTableReference,
        /// Its name as the script has it.
        written: TableReference,
        /// The line and column of its name; `None` where another statement names it.
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
        /// Whether it drops views, and not tables.
        views: bool,
        if_exists: bool,
    },
    DefineCatalog {
        catalog: String,
        policy: Existing,
        /// As of a relation, and below too.
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
        /// The line and column of its name; `None` where it may be missing, or another statement names it.
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

/// What a definition does where there is a relation of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Refuse,
    Replace,
    Keep,
    /// It says that it replaces and that it keeps, which DataFusion refuses only where there is one.
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
    /// The effect of a statement that only names what another one does, by which its names have no place.
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

/// The name of a prepared statement, with the line and column where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsePrepared {
    pub(crate) name: String,
    pub(crate) at: (usize, usize),
    /// Why it cannot be executed so.
    pub(crate) misuse: Option<Misuse>,
}

/// Why a prepared statement cannot be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Misuse {
    /// DataFusion prepares every statement, but it executes only those that return rows or change some. The words are the
    /// first of it.
    NotExecutable(String),
    /// It has types for another number of parameters, or reads more than it is given.
    Parameters { takes: usize, given: usize },
}
