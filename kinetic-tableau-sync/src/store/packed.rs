//! Fingerprints as bytes: 40 each, little endian, one after the other.

use std::collections::HashMap;

use super::{Fingerprint, Seen};

/// Length of one in bytes.
pub(super) const LENGTH: usize = 40;

pub(super) fn pack(entries: &[Fingerprint]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * LENGTH);
    for entry in entries {
        bytes.extend_from_slice(&entry.key.to_le_bytes());
        bytes.extend_from_slice(&entry.version.to_le_bytes());
        bytes.extend_from_slice(&entry.row.to_le_bytes());
    }
    bytes
}

/// Fills in what the bytes tell of the keys; false when they are damaged.
pub(super) fn probe(bytes: &[u8], keys: &mut HashMap<u128, Option<Seen>>) -> bool {
    let (entries, rest) = bytes.as_chunks::<LENGTH>();
    for entry in entries {
        let (key, rest) = entry.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        let Some(seen) = keys.get_mut(&u128::from_le_bytes(*key)) else {
            continue;
        };
        let (version, rest) = rest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        let (row, _) = rest.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        *seen = Some(Seen { version: i64::from_le_bytes(*version), row: u128::from_le_bytes(*row) });
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_entries_win_and_damage_is_told() {
        let entry = |key, version| Fingerprint { key, version, row: u128::MAX - key };
        let mut bytes = pack(&[entry(1, -5), entry(2, 7), entry(1, i64::MAX)]);
        let mut keys = HashMap::from([(1, None), (3, None)]);
        assert!(probe(&bytes, &mut keys));
        assert_eq!(keys[&1], Some(Seen { version: i64::MAX, row: u128::MAX - 1 }));
        assert_eq!(keys[&3], None);
        bytes.pop();
        assert!(!probe(&bytes, &mut keys));
    }
}
