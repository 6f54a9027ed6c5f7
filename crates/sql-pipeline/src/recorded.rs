//! Recording the outputs of a statement for its node.

use daglight_materializers::{StoredFiles, Written, place_of_copy};
use daglight_run_session::{LeftOut, Node};
use datafusion::{
    arrow::{
        array::AsArray,
        datatypes::{SchemaRef, UInt64Type},
    },
    execution::context::SessionContext,
};

use crate::{
    effect::Effect, kind::StatementKind, outputs::StatementOutput, shown_rows::ShownRows,
    statement::Statement,
};

/// The target of a statement, in its state before the write.
pub(crate) enum Target {
    /// Files, as far as they can be listed.
    Files { location: String, before: Result<StoredFiles, LeftOut>, is_copy: bool },
    /// An in-memory table, with its size in bytes.
    Memory { before: u64 },
}

impl Target {
    /// The target of a `COPY`, or the table of an `INSERT`.
    pub(crate) async fn of(node: &Node, statement: &Statement, session: &SessionContext) -> Option<Self> {
        let location = match (statement.kind, &statement.relations.effect) {
            (StatementKind::Copy, Effect::CopyTo { target, .. }) => place_of_copy(target).to_owned(),
            (StatementKind::Insert, Effect::Change { relation }) => {
                let table = Written::table(session, relation.clone(), "").await.ok()?;
                match (table.location, table.bytes) {
                    (Some(location), _) => location,
                    (None, bytes) => return bytes.map(|before| Self::Memory { before }),
                }
            }
            _ => return None,
        };
        let is_copy = statement.kind == StatementKind::Copy;
        Some(Self::Files { before: node.files_at(session, &location).await, location, is_copy })
    }

    /// The artifact with its location, and with what was written since.
    async fn located(self, node: &Node, session: &SessionContext, written: Written) -> Written {
        let (location, before, is_copy) = match self {
            Self::Files { location, before, is_copy } => (location, before, is_copy),
            Self::Memory { before } => {
                let mut written = written;
                written.bytes = written.bytes.map(|now| now.saturating_sub(before));
                return written;
            }
        };
        let mut written = written.with_location(location);
        // The values of the table cover all its files, including those that existed before.
        (written.bytes, written.file_count) = (None, None);
        // Reported only now, after the write has succeeded: if the store does not respond, the write itself fails with that error.
        let compared = match before {
            Ok(before) => {
                let location = written.location.as_deref().unwrap_or_default();
                node.files_at(session, location).await.map(|now| (now.clone().since(&before), now))
            }
            Err(left_out) => Err(left_out),
        };
        match compared {
            Ok((files, now)) => {
                let stayed = now.beside(&files);
                if let Some(location) = written.location.as_deref().filter(|_| is_copy && stayed.count() > 0)
                {
                    // An INSERT adds to what is there; of a COPY most people expect that it replaces it, as that of one file does.
                    node.stayed_beside(location, &stayed);
                }
                written.files_before = Some(stayed.count());
                written.with_files(&files)
            }
            Err(left_out) => {
                node.left_out(&left_out);
                written
            }
        }
    }
}

/// Records the output of a statement: an artifact, a loaded table, or a number of changed rows. What cannot be determined is left
/// out.
pub(crate) async fn record(
    node: &Node,
    statement: &Statement,
    output: Option<&StatementOutput>,
    session: &SessionContext,
    target: Option<Target>,
    copied: Option<SchemaRef>,
    result: &ShownRows,
) {
    // A node without its own output reads a table, or changes one.
    let Some(StatementOutput { name, materialization }) = output else {
        match &statement.relations.effect {
            Effect::Define { written, .. } => node.source(session, &written.to_quoted_string()).await,
            Effect::Change { .. } => count(result).into_iter().for_each(|rows| node.row_count(rows)),
            _ => {}
        }
        return;
    };
    let mut written = match (&statement.relations.effect, copied) {
        (Effect::CopyTo { .. }, Some(schema)) => Written::new(name, materialization.clone(), schema),
        (Effect::Define { relation, .. } | Effect::Change { relation }, _) => {
            // The statement has succeeded. What cannot be described is left out, and must not make it fail afterwards.
            let Ok(table) = Written::table(session, relation.clone(), name).await else { return };
            table.kept_as(materialization.clone())
        }
        _ => return,
    };
    match statement.kind {
        StatementKind::Copy => written.rows = count(result),
        // If the table existed before, only the new rows belong to this node.
        StatementKind::Insert => {
            written.rows = count(result);
            if target.is_none() {
                written.bytes = None;
            }
        }
        _ => {}
    }
    let written = match target {
        Some(target) => target.located(node, session, written).await,
        None => written,
    };
    node.written(written);
}

/// The count that statements which write return as their only value.
fn count(result: &ShownRows) -> Option<u64> {
    // Statements that write return one row with one column, the count.
    let column = result.first.first()?.columns().first()?;
    column.as_primitive_opt::<UInt64Type>().filter(|counts| !counts.is_empty()).map(|counts| counts.value(0))
}
