//! What the system tests stand on: the real `daglight` program, the real Hamilton UI, an independent OTLP receiver, a
//! browser, and TPC-H data.
//!
//! The servers' processes and the Python environments come from `dev-services`; the tests themselves are in `tests/system`.

#![expect(clippy::panic, reason = "these helpers fail the test that uses them")]

mod ballista;
mod browser;
mod checkout;
mod collector;
mod compose;
mod daglight;
mod hamilton;
mod ledger;
mod object_stores;
mod notebook;
mod openlineage;
mod otlp;
mod perfetto;
mod prometheus;
mod proxy;
mod sample;
mod schema;
mod scratch;
mod slt;
mod slt_data;
mod tpcds;
mod tpch;
mod tpch_queries;
mod tracking_server;

pub use ballista::Ballista;
pub use browser::Page;
pub use checkout::Checkout;
pub use collector::Collector;
pub use compose::Compose;
pub use daglight::{Daglight, Finished, Running};
pub use hamilton::{Hamilton, Project};
pub use ledger::check_balanced;
pub use notebook::run_notebook;
pub use object_stores::S3Server;
pub use openlineage::{LineageReceiver, read_events};
pub use otlp::{OtelTap, OtlpReceiver, attributes, decode_strictly, decoded_values};
pub use perfetto::Perfetto;
pub use prometheus::{read_samples, scrape};
pub use proxy::{Fault, Proxy};
pub use sample::{Recorded, Sample};
pub use schema::{check_against, schema_of};
pub use slt::{SLT_CRATE, SltOutcome, SltRecord, slt_files, slt_folder, slt_records};
pub use slt_data::{SLT_WORK, write_slt_data};
pub use tpcds::{TpcdsQuery, tpcds_queries};
pub use tpch::{generate_tpch, tpch_data};
pub use tpch_queries::{tpch_query, tpch_script};
pub use tracking_server::TrackingServer;
