//! The common parts of two benches that run the queries of TPC-H in nodes of one run: their arguments, data, queries and nodes.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use daglight::prelude::Dag;
use daglight_system_tests::{generate_tpch, tpch_query};
use tempfile::TempDir;

use crate::side_by_side::{QUERIES, WARM_UP, query_file, read_queries};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Rounds of the queries on generated data.
pub(crate) struct Rounds {
    pub(crate) scale_factor: String,
    measured: usize,
    pub(crate) queries: Vec<String>,
    data: PathBuf,
    /// Where bundles are written.
    _scratch: TempDir,
}

impl Rounds {
    /// As the arguments say: the scale factor, the number of rounds, and a folder in which tables and queries are left. `None`
    /// where cargo runs the bench as a test: those have no time for it.
    pub(crate) fn of_arguments(scale_factor: &str, rounds: usize) -> Result<Option<Self>> {
        if env::args().any(|argument| argument == "--test") {
            return Ok(None);
        }
        let mut arguments = env::args().skip(1).filter(|argument| !argument.starts_with("--"));
        let scale_factor = arguments.next().unwrap_or_else(|| scale_factor.to_owned());
        let measured = arguments.next().map_or(Ok(rounds), |text| text.parse())?;
        let scratch = tempfile::tempdir()?;
        let data = arguments.next().map_or_else(|| scratch.path().join("tpch"), PathBuf::from);
        generate_tpch(&data, scale_factor.parse()?, |_, _| {})?;
        for number in 1..=QUERIES {
            fs::write(data.join(query_file(number)), tpch_query(i32::try_from(number)?)?)?;
        }
        let queries = read_queries(&data)?;
        let data = fs::canonicalize(data)?;
        env::set_current_dir(scratch.path())?;
        Ok(Some(Self { scale_factor, measured, queries, data, _scratch: scratch }))
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// The numbers of all rounds, with those that are not measured.
    pub(crate) fn numbers(&self) -> std::ops::Range<usize> {
        0..WARM_UP + self.measured
    }

    /// With a node for each query of each round.
    pub(crate) fn dag(&self, name: &str) -> Result<Dag> {
        let mut dag = Dag::builder(name)?;
        for round in self.numbers() {
            for query in 0..QUERIES {
                dag = dag.loader(node(round, query)).end();
            }
        }
        Ok(dag.build()?)
    }
}

/// The node of a query in a round.
pub(crate) fn node(round: usize, query: usize) -> String {
    format!("round_{round}_q{}", query + 1)
}

/// Whether a query is watched, first and then: in turns, so that neither always finds warm caches.
pub(crate) fn turns(round: usize, query: usize) -> [bool; 2] {
    let watched_first = (round + query).is_multiple_of(2);
    [watched_first, !watched_first]
}
