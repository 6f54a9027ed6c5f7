//! Writes and registers the outputs of a pipeline, and summarises the data in the same pass.
