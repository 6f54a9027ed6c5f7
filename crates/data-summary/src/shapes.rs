//! The shapes of nested columns.

use arrow::{
    array::{Array, AsArray, StructArray, UnionArray},
    buffer::NullBuffer,
    datatypes::{DataType, Fields, UnionFields},
};

use super::{
    model::{FieldShape, Shape, VariantShape},
    moments::LengthSums,
};

/// Accumulates the shapes of nested values.
#[derive(Debug, Clone)]
pub(super) enum Shapes {
    /// Lists of any layout.
    Lists {
        /// The type of the items.
        item_type: String,
        /// Their lengths.
        lengths: LengthSums,
    },
    /// Maps.
    Maps {
        /// The types of keys and values.
        types: [String; 2],
        /// Their numbers of entries.
        lengths: LengthSums,
    },
    /// Structs, with the number of nulls of each field.
    Structs(Fields, Vec<u64>),
    /// Unions, with the number of rows of each alternative.
    Unions(UnionFields, Vec<u64>),
}

impl Shapes {
    /// For a nested type; nothing for any other.
    pub(super) fn of_type(data_type: &DataType) -> Option<Self> {
        let lengths = LengthSums::default();
        match data_type {
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::FixedSizeList(item, _)
            | DataType::ListView(item)
            | DataType::LargeListView(item) => {
                Some(Self::Lists { item_type: item.data_type().to_string(), lengths })
            }
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(fields) if fields.len() == 2 => {
                    let types = [fields[0].data_type().to_string(), fields[1].data_type().to_string()];
                    Some(Self::Maps { types, lengths })
                }
                _ => None,
            },
            DataType::Struct(fields) => Some(Self::Structs(fields.clone(), vec![0; fields.len()])),
            DataType::Union(fields, _) => Some(Self::Unions(fields.clone(), vec![0; fields.len()])),
            _ => None,
        }
    }

    /// Adds an array; false when it is of another type.
    pub(super) fn update(&mut self, array: &dyn Array) -> bool {
        match (self, array.data_type()) {
            (Self::Lists { lengths, .. }, DataType::List(_)) => {
                add_lengths(lengths, array.as_list::<i32>().offsets().lengths(), array.nulls());
            }
            (Self::Lists { lengths, .. }, DataType::LargeList(_)) => {
                add_lengths(lengths, array.as_list::<i64>().offsets().lengths(), array.nulls());
            }
            (Self::Lists { lengths, .. }, DataType::ListView(_)) => {
                let sizes = array.as_list_view::<i32>().sizes().iter().map(|size| *size as usize);
                add_lengths(lengths, sizes, array.nulls());
            }
            (Self::Lists { lengths, .. }, DataType::LargeListView(_)) => {
                let sizes = array.as_list_view::<i64>().sizes().iter().map(|size| *size as usize);
                add_lengths(lengths, sizes, array.nulls());
            }
            (Self::Lists { lengths, .. }, DataType::FixedSizeList(_, size)) => {
                lengths.add(*size as u64, (array.len() - array.null_count()) as u64);
            }
            (Self::Maps { lengths, .. }, DataType::Map(..)) => {
                add_lengths(lengths, array.as_map().offsets().lengths(), array.nulls());
            }
            (Self::Structs(fields, missing), DataType::Struct(of_array))
                if fields.len() == of_array.len() =>
            {
                count_missing(missing, array.as_struct());
            }
            (Self::Unions(fields, counts), DataType::Union(of_array, _))
                if fields.len() == of_array.len() =>
            {
                count_variants(fields, counts, array.as_union());
            }
            _ => return false,
        }
        true
    }

    pub(super) fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Lists { lengths, .. }, Self::Lists { lengths: other, .. })
            | (Self::Maps { lengths, .. }, Self::Maps { lengths: other, .. }) => lengths.merge(&other),
            (Self::Structs(_, counts), Self::Structs(_, other))
            | (Self::Unions(_, counts), Self::Unions(_, other)) => {
                for (count, other) in counts.iter_mut().zip(other) {
                    *count += other;
                }
            }
            _ => {}
        }
    }

    pub(super) fn finish(&self) -> Shape {
        match self {
            Self::Lists { item_type, lengths } => {
                Shape::List { item_type: item_type.clone(), lengths: lengths.finish() }
            }
            Self::Maps { types: [key_type, value_type], lengths } => Shape::Map {
                key_type: key_type.clone(),
                value_type: value_type.clone(),
                lengths: lengths.finish(),
            },
            Self::Structs(fields, missing) => Shape::Struct {
                fields: fields
                    .iter()
                    .zip(missing)
                    .map(|(field, missing)| FieldShape {
                        name: field.name().clone(),
                        data_type: field.data_type().to_string(),
                        missing: *missing,
                    })
                    .collect(),
            },
            Self::Unions(fields, counts) => Shape::Union {
                variants: fields
                    .iter()
                    .zip(counts)
                    .map(|((_, field), count)| VariantShape {
                        name: field.name().clone(),
                        data_type: field.data_type().to_string(),
                        count: *count,
                    })
                    .collect(),
            },
        }
    }
}

fn add_lengths(sums: &mut LengthSums, lengths: impl Iterator<Item = usize>, nulls: Option<&NullBuffer>) {
    for (row, length) in lengths.enumerate() {
        if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
            sums.add(length as u64, 1);
        }
    }
}

/// Counts the nulls of each field in structs that are not null themselves.
fn count_missing(missing: &mut [u64], structs: &StructArray) {
    for (count, column) in missing.iter_mut().zip(structs.columns()) {
        // A field within a row that is missing itself is not missing once more.
        let all = NullBuffer::union(structs.nulls(), column.logical_nulls().as_ref());
        *count += (all.map_or(0, |nulls| nulls.null_count()) - structs.null_count()) as u64;
    }
}

fn count_variants(fields: &UnionFields, counts: &mut [u64], unions: &UnionArray) {
    // Type ids are small and not negative, and a union may use them in any order.
    let mut by_type_id = [0_u64; 128];
    for type_id in unions.type_ids().iter() {
        if let Some(count) = usize::try_from(*type_id).ok().and_then(|index| by_type_id.get_mut(index)) {
            *count += 1;
        }
    }
    for (count, (type_id, _)) in counts.iter_mut().zip(fields.iter()) {
        *count += usize::try_from(type_id).ok().and_then(|index| by_type_id.get(index)).copied().unwrap_or(0);
    }
}
