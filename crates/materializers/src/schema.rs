//! Comparing schemas.

use arrow::datatypes::Schema;
use daglight_run_bundle::hexadecimal;
use sha2::{Digest as _, Sha256};

/// The first 16 hexadecimal characters of the SHA-256 over names, types and nullability in order. Metadata is ignored.
pub fn schema_hash(schema: &Schema) -> String {
    let mut hasher = Sha256::new();
    for field in schema.fields() {
        for part in [
            field.name().as_str(),
            &field.data_type().to_string(),
            if field.is_nullable() { "?" } else { "!" },
        ] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
    }
    hexadecimal(&hasher.finalize()[..8])
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;

    #[test]
    fn names_types_order_and_nullability_count() {
        let hash = |fields: Vec<Field>| schema_hash(&Schema::new(fields));
        let a = || Field::new("a", DataType::Int64, false);
        let b = || Field::new("b", DataType::Utf8, true);
        let base = hash(vec![a(), b()]);
        assert_eq!(base.len(), 16);
        assert_eq!(base, hash(vec![a().with_metadata([("k".to_owned(), "v".to_owned())].into()), b()]));
        assert_ne!(base, hash(vec![b(), a()]));
        assert_ne!(base, hash(vec![a().with_nullable(true), b()]));
        assert_ne!(base, hash(vec![a().with_data_type(DataType::Int32), b()]));
    }
}
