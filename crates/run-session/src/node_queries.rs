//! The queries that a node remembers: the first and the slowest one by one, all of them in sums.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use daglight_heartbeat::Moved;

use crate::cluster_facts::ClusterFacts;

/// The first queries of a node that are kept.
pub(crate) const FIRST_QUERIES: usize = 100;
/// The slowest of the others that are kept.
pub(crate) const SLOWEST_QUERIES: usize = 20;
/// Different queries of a node that are distinguished, once it has executed more than are kept.
const DIFFERENT_QUERIES: usize = 10_000;
/// Different plans of a node that the next run is compared with.
const FIRST_PLANS: usize = 100;

/// A query that has ended in a node.
#[derive(Clone)]
pub(crate) struct QueryFacts {
    pub(crate) id: u64,
    pub(crate) operation: String,
    pub(crate) outcome: &'static str,
    pub(crate) is_write: bool,
    pub(crate) rows: Option<u64>,
    pub(crate) rows_read: Option<u64>,
    pub(crate) bytes_written: Option<u64>,
    pub(crate) bytes_scanned: Option<u64>,
    pub(crate) planning: Duration,
    pub(crate) wall_time: Duration,
    pub(crate) logical_hash: String,
    pub(crate) plan_hash: String,
    pub(crate) source_tables: Vec<String>,
    /// The operators that were busy longest, and how long, in words.
    pub(crate) busiest: Vec<(String, String)>,
    /// The plan bundle's file, relative to the bundle.
    pub(crate) plan_file: Option<String>,
    /// What a cluster did for it, where the session has one.
    pub(crate) cluster: Option<Arc<ClusterFacts>>,
}

/// The queries of one node, in bounded memory.
#[derive(Clone, Default)]
pub(crate) struct NodeQueries {
    first: Vec<QueryFacts>,
    slowest: Vec<QueryFacts>,
    last: Option<QueryFacts>,
    last_write: Option<QueryFacts>,
    ended: u64,
    wall_time: Duration,
    /// What all of them have moved.
    moved: Moved,
    /// How many queries ask the same; empty as long as all are kept.
    asked: BTreeMap<String, u64>,
    /// The fingerprints of their physical plans, the first ones.
    plans: BTreeSet<String>,
}

impl NodeQueries {
    /// Adds a query that has ended.
    pub(crate) fn push(&mut self, query: QueryFacts) {
        self.ended += 1;
        self.wall_time += query.wall_time;
        self.moved = self.moved.plus(Moved {
            rows_read: query.rows_read.unwrap_or(0),
            rows_written: query.rows.filter(|_| query.is_write).unwrap_or(0),
            bytes_read: query.bytes_scanned.unwrap_or(0),
            bytes_written: query.bytes_written.unwrap_or(0),
            bytes_spilled: 0,
        });
        // Apart from the kept ones: a write is often the last of thousands, and the node's rows are those of it.
        self.last = Some(query.clone());
        if query.is_write {
            self.last_write = Some(query.clone());
        }
        if self.plans.len() < FIRST_PLANS && !self.plans.contains(&query.plan_hash) {
            self.plans.insert(query.plan_hash.clone());
        }
        // The first ones in order, because a node that loops shows by them what it does; of the rest those that
        // someone would look for.
        if self.first.len() < FIRST_QUERIES {
            self.first.push(query);
            return;
        }
        // Counted from here on only: most nodes have a handful of queries, which are listed as they are.
        if self.asked.is_empty() {
            for kept in &self.first {
                *self.asked.entry(kept.logical_hash.clone()).or_default() += 1;
            }
        }
        // A node that puts a new literal into each query has as many hashes as queries. Those beyond this bound are
        // in the sums alone.
        if self.asked.len() < DIFFERENT_QUERIES || self.asked.contains_key(&query.logical_hash) {
            *self.asked.entry(query.logical_hash.clone()).or_default() += 1;
        }
        if self.slowest.len() < SLOWEST_QUERIES {
            self.slowest.push(query);
            return;
        }
        let fastest = self.slowest.iter_mut().min_by_key(|kept| kept.wall_time);
        if let Some(fastest) = fastest.filter(|fastest| fastest.wall_time < query.wall_time) {
            *fastest = query;
        }
    }

    /// Whether none has ended.
    pub(crate) fn is_empty(&self) -> bool {
        self.ended == 0
    }

    /// Those that are kept.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &QueryFacts> {
        self.first.iter().chain(&self.slowest)
    }

    /// The one that ended last.
    pub(crate) fn last(&self) -> Option<&QueryFacts> {
        self.last.as_ref()
    }

    /// The one that wrote last.
    pub(crate) fn last_write(&self) -> Option<&QueryFacts> {
        self.last_write.as_ref()
    }

    /// How many have ended.
    pub(crate) fn count(&self) -> u64 {
        self.ended
    }

    /// How many of them are not kept.
    pub(crate) fn summed(&self) -> u64 {
        self.ended - (self.first.len() + self.slowest.len()) as u64
    }

    /// What all of them have moved; what was spilled is left out.
    pub(crate) fn moved(&self) -> Moved {
        self.moved
    }

    /// How long all of them took.
    pub(crate) fn wall_time(&self) -> Duration {
        self.wall_time
    }

    /// What the query that wrote has asked, or the last one.
    pub(crate) fn plan_signature(&self) -> Option<String> {
        self.last_write().or(self.last()).map(|query| query.logical_hash.clone())
    }

    /// The fingerprints of the physical plans, sorted, each once; the first hundred.
    pub(crate) fn plan_hashes(&self) -> Vec<String> {
        self.plans.iter().cloned().collect()
    }

    /// What the queries have asked, in the order in which they were planned. Where not all are kept, each hash once, with the
    /// number of its queries.
    pub(crate) fn logical_hashes(&self) -> Vec<String> {
        if !self.asked.is_empty() {
            return self.asked.iter().map(|(hash, queries)| format!("{hash} x {queries}")).collect();
        }
        let mut queries: Vec<&QueryFacts> = self.first.iter().collect();
        queries.sort_by_key(|query| query.id);
        queries.into_iter().map(|query| query.logical_hash.clone()).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn query(id: u64, wall_ms: u64) -> QueryFacts {
        QueryFacts {
            id,
            operation: "select".into(),
            outcome: "completed",
            is_write: false,
            rows: Some(1),
            rows_read: Some(10),
            bytes_written: None,
            bytes_scanned: None,
            planning: Duration::ZERO,
            wall_time: Duration::from_millis(wall_ms),
            logical_hash: format!("{:016x}", id % 7),
            plan_hash: format!("{:016x}", id % 1_000),
            source_tables: Vec::new(),
            busiest: Vec::new(),
            plan_file: None,
            cluster: None,
        }
    }

    #[test]
    fn the_first_and_the_slowest_are_kept_and_the_rest_is_counted() {
        let mut queries = NodeQueries::default();
        for id in 1..=20_000 {
            // Each is as slow as its id says, modulo a prime, so that the slowest come in any order.
            queries.push(query(id, id * 7919 % 10_007));
        }
        let kept: Vec<u64> = queries.iter().map(|query| query.id).collect();
        assert_eq!(kept.len(), FIRST_QUERIES + SLOWEST_QUERIES);
        assert_eq!(kept[..FIRST_QUERIES], (1..=FIRST_QUERIES as u64).collect::<Vec<_>>());
        let slowest = queries.iter().skip(FIRST_QUERIES).map(|query| query.wall_time.as_millis()).min();
        assert!(slowest >= Some(9_990), "{slowest:?}");
        assert_eq!((queries.count(), queries.summed()), (20_000, 19_880));
        assert_eq!(queries.plan_hashes().len(), FIRST_PLANS);
        assert_eq!(queries.last().map(|query| query.id), Some(20_000));
    }

    #[test]
    fn the_signature_of_many_queries_does_not_depend_on_their_order() {
        let signature = |ids: &mut dyn Iterator<Item = u64>| {
            let mut queries = NodeQueries::default();
            ids.for_each(|id| queries.push(query(id, id)));
            queries.logical_hashes()
        };
        assert_eq!(signature(&mut (1..500)), signature(&mut (1..500).rev()));
        assert_eq!(signature(&mut (1..500)).len(), 7);
        assert_eq!(signature(&mut (1..4).rev()).len(), 3);
    }
}
