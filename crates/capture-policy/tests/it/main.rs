//! What a policy lets out of random values.

mod examples;
mod random_values;
