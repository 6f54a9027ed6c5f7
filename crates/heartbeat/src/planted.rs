//! Queries for the tests of stalls.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::progress::{OperatorProgress, QueryProgress};

pub(crate) fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000 + second, 0).unwrap()
}

pub(crate) fn operator(
    name: &str,
    parent: Option<usize>,
    rows: Option<u64>,
    finished: bool,
) -> OperatorProgress {
    // An operator that counts rows also measures its end.
    let finished = rows.map(|_| finished);
    OperatorProgress {
        name: name.into(),
        detail: String::new(),
        parent,
        rows,
        bytes: 0,
        elapsed_compute: Duration::ZERO,
        finished,
        is_waiting: None,
    }
}

pub(crate) fn query(operators: Vec<OperatorProgress>) -> QueryProgress {
    QueryProgress {
        query_id: "q1".into(),
        node: Some("orders".into()),
        started: at(0),
        rows_output: 0,
        operators,
        is_asked: true,
        polls: Vec::new(),
        busy: Duration::ZERO,
        waits_for_worker: None,
    }
}
