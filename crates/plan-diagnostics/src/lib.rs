//! Sees every query of a DataFusion session: plan bundles, fingerprints, operator metrics, live progress.
