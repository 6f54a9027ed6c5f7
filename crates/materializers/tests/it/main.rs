//! Materializers on real queries.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod summary_against_sql;
