//! What a policy lets through of random values.

mod examples;
mod random_values;
