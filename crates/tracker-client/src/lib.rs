//! The Hamilton tracking API: wire types, the outbox of a run, its delivery and its synchronisation.
