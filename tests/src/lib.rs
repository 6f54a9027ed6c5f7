//! Servers, data and helpers that the system tests and the demo share.
