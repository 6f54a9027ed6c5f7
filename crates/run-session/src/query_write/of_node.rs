//! Recording what the queries of a node have written.

use daglight_materializers::Written;

use crate::{node_scope::NodeScope, session_tables::tables_of};

impl NodeScope {
    /// Records the writes of the node's queries that its code has not recorded itself.
    pub(crate) fn register_writes(&self) {
        let writes = std::mem::take(&mut self.facts().writes);
        // Before those that queries say themselves, as a script makes tables before it adds to them.
        let made = self.tables_made().into_iter();
        let written = writes.into_iter().map(|write| {
            let logical_hash = write.logical_hash.clone();
            (write.into_written(), logical_hash)
        });
        for (written, logical_hash) in made.chain(written) {
            self.remember_secrets(&written, Some(&logical_hash));
            let artifact = self.run.add_output(&self.name, written, Some(logical_hash));
            self.facts().artifacts.push(artifact);
        }
    }

    /// Remembers that a table or file has values of secret columns, where the query has read such that has made it.
    pub(crate) fn remember_secrets(&self, written: &Written, logical_hash: Option<&str>) {
        let secrets = logical_hash.and_then(|hash| self.facts().secrets_by_query.get(hash).cloned());
        if let Some(secrets) = secrets {
            let tables = &self.run.context.shared.secret_tables;
            tables.add(&written.name, &secrets);
            written.location.iter().for_each(|location| tables.add(location, &secrets));
        }
    }

    /// The tables in memory that the node's queries have made.
    fn tables_made(&self) -> Vec<(Written, String)> {
        // `CREATE TABLE AS` plans its body alone: DataFusion registers the result outside of any plan, so that no
        // hook sees the name. It is found by its contents, in the sessions that are observed.
        let results = std::mem::take(&mut self.facts().results);
        // Most nodes hand out no result that could be a table, and looking through all catalogs costs time.
        if results.is_empty() {
            return Vec::new();
        }
        let sessions = self.run.context.shared.sessions.seen();
        let found = sessions.iter().flat_map(|session| tables_of(session, &results));
        let mut tables: Vec<(Written, String)> = Vec::new();
        // Sessions may share their catalogs.
        for (table, logical_hash) in found {
            if !tables.iter().any(|(known, _)| known.name == table.name) {
                tables.push((table, logical_hash));
            }
        }
        tables
    }
}
