//! What a policy lets out of random values.

mod random_values;
