//! Materializers on real queries.

mod summary_against_sql;
