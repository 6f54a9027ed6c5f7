//! Local pages for a folder of run bundles: the runs with search and trend, the report of each, the comparison of any two, and
//! running runs, updated without reloading.
//!
//! Nothing is written, and bundles of other processes, even dead ones, are read as they are. The content of a bundle belongs to
//! `daglight-run-bundle`, the content of a report to `daglight-bundle-report`.
//!
//! ```text
//! GET /                           the runs                    pages.rs
//! GET /runs.json                  the same, as data           listing.rs
//! GET /runs/<id>/                 the report of a run, or the page of one that goes on
//! GET /runs/<id>/report           the report as far as it goes
//! GET /runs/<id>/live.json        what goes on                live.rs
//! GET /runs/<id>/report.json      the report, as data
//! GET /runs/<id>/plans/<file>     the file of a plan
//! GET /compare?before=A&run=B     a comparison
//! ```

mod connections;
mod guard;
mod listing;
mod live;
mod pages;
mod server;

pub use guard::Token;
pub use server::Server;
