//! Where spectra stand in a list, found by their names: a million of them have room in memory.

use std::collections::HashMap;

use crate::stars::spectra::SpectrumSource;

/// The place of each spectrum of a list.
#[derive(Debug)]
pub struct Places(HashMap<u128, usize>);

impl Places {
    /// Of these spectra.
    pub fn of(spectra: &dyn SpectrumSource) -> Self {
        Self((0..spectra.len()).map(|place| (key(&spectra.name(place)), place)).collect())
    }

    /// The place of a spectrum; none for one that is not in the list.
    pub fn get(&self, name: &str) -> Option<usize> {
        self.0.get(&key(name)).copied()
    }
}

/// What stands for a name where millions are kept in memory.
pub(super) fn key(name: &str) -> u128 {
    u128::from_le_bytes(blake3::hash(name.as_bytes()).as_bytes()[..16].try_into().expect("a hash has 32 bytes"))
}
