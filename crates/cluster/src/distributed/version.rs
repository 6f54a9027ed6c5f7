//! What a worker says that it is, so that no plan goes to one that reads another format.

use datafusion::DATAFUSION_VERSION;

/// The version of this crate and of the engine, between which plans are not understood in general.
pub(super) fn version() -> String {
    format!("daglight {} with DataFusion {DATAFUSION_VERSION}", env!("CARGO_PKG_VERSION"))
}
