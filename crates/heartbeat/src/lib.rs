//! The beat of a run on its own thread: stages, active tasks, IO counters, stall detection, process evidence.
