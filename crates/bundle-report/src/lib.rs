//! The run bundle on disk: layout, manifest, versions, and the report made from its signals.
