//! A SQL script as an instrumented pipeline: statements, names, dependencies, tags, parameters, running in DAG order.
