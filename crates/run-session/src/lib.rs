//! The lifecycle of a run: wires identity, tracker, OpenTelemetry, plans, outputs and heartbeat together.
