//! The distribution of a column of 128-bit or 256-bit decimals.

use super::{
    chunks::CHUNK,
    integers::Integers,
    kept::Room,
    model::Distribution,
    scale::Scale,
    wide::{Wide, WideIntegers},
};

/// Accumulates decimals by their unscaled integers.
#[derive(Debug, Clone)]
pub(super) struct Decimals<T> {
    scale: i8,
    room: Room,
    integers: Width<T>,
}

/// Nearly all columns fit into 64 bits, whatever the width of their type.
#[derive(Debug, Clone)]
enum Width<T> {
    Narrow(Integers),
    Wide(WideIntegers<T>),
}

impl<T: Wide> Decimals<T> {
    pub(super) fn new(scale: i8, room: Room) -> Self {
        Self { scale, integers: Width::Narrow(Self::no_integers(scale, &room)), room }
    }

    fn no_integers(scale: i8, room: &Room) -> Integers {
        Integers::new(Scale::Decimal { scale }, room.clone())
    }

    /// Adds at most [`CHUNK`] values.
    pub(super) fn update(&mut self, values: &[T]) {
        match &mut self.integers {
            Width::Wide(integers) => integers.update(values),
            Width::Narrow(integers) => {
                let mut narrow = [0; CHUNK];
                let mut all_fit = true;
                for (slot, value) in narrow.iter_mut().zip(values) {
                    *slot = value.to_narrow();
                    all_fit &= T::from_narrow(*slot) == *value;
                }
                if all_fit {
                    return integers.update(&narrow[..values.len()]);
                }
                self.widen(|integers| integers.update(values));
            }
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        match (&mut self.integers, other.integers) {
            (Width::Narrow(integers), Width::Narrow(others)) => integers.merge(others),
            (_, others) => self.widen(|integers| integers.merge(others.widened(other.scale))),
        }
    }

    fn widen(&mut self, change: impl FnOnce(&mut WideIntegers<T>)) {
        let integers =
            std::mem::replace(&mut self.integers, Width::Narrow(Self::no_integers(self.scale, &self.room)));
        let mut wide = integers.widened(self.scale);
        change(&mut wide);
        self.integers = Width::Wide(wide);
    }

    pub(super) fn finish(&self) -> Distribution {
        match &self.integers {
            Width::Narrow(integers) => integers.finish(),
            Width::Wide(integers) => integers.finish(),
        }
    }
}

impl<T: Wide> Width<T> {
    fn widened(self, scale: i8) -> WideIntegers<T> {
        match self {
            Self::Narrow(integers) => WideIntegers::from_narrow(integers, scale),
            Self::Wide(integers) => integers,
        }
    }
}
