//! Fingerprints as bytes: 40 each, little endian, one after the other; and their keys, each behind its length.

use std::collections::{HashMap, HashSet};

use super::{Fingerprint, Prints, Seen, Slice, StateError, StateErrorKind};
use crate::batch::TextColumn;

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

/// The keys as bytes.
pub(super) fn pack_keys(keys: &TextColumn) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(keys.byte_len() + keys.len() * 4);
    for row in 0..keys.len() {
        let key = keys.bytes_at(row);
        // A text column holds 4 GiB at most.
        bytes.extend_from_slice(&u32::try_from(key.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(key);
    }
    bytes
}

fn unpack(entry: &[u8; LENGTH]) -> Fingerprint {
    let (key, rest) = entry.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    let (version, rest) = rest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    let (row, _) = rest.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    Fingerprint {
        key: u128::from_le_bytes(*key),
        version: i64::from_le_bytes(*version),
        row: u128::from_le_bytes(*row),
    }
}

/// Fills in what the bytes tell of the keys; false when they are damaged.
pub(super) fn probe(bytes: &[u8], keys: &mut HashMap<u128, Option<Seen>>) -> bool {
    let (entries, rest) = bytes.as_chunks::<LENGTH>();
    for entry in entries {
        let (key, _) = entry.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        let Some(seen) = keys.get_mut(&u128::from_le_bytes(*key)) else {
            continue;
        };
        let print = unpack(entry);
        *seen = (!print.is_gone()).then_some(Seen { version: print.version, row: print.row });
    }
    rest.is_empty()
}

/// Gathers the keys of a slice; false when the bytes are damaged.
pub(super) fn gather(bytes: &[u8], slice: Slice, into: &mut HashMap<u128, Seen>) -> bool {
    let (entries, rest) = bytes.as_chunks::<LENGTH>();
    for print in entries.iter().map(unpack).filter(|print| slice.holds(print.key)) {
        if print.is_gone() {
            into.remove(&print.key);
        } else {
            into.insert(print.key, Seen { version: print.version, row: print.row });
        }
    }
    rest.is_empty()
}

/// Gathers the keys of a slice with their texts; false when the bytes are damaged.
pub(super) fn gather_with_keys(
    bytes: &[u8],
    keys: &[u8],
    slice: Slice,
    into: &mut HashMap<u128, (Seen, String)>,
) -> bool {
    let (entries, rest) = bytes.as_chunks::<LENGTH>();
    let mut keys = keys;
    for print in entries.iter().map(unpack) {
        let Some(text) = next_key(&mut keys) else { return false };
        if !slice.holds(print.key) {
            continue;
        }
        if print.is_gone() {
            into.remove(&print.key);
        } else {
            into.insert(print.key, (Seen { version: print.version, row: print.row }, text.to_owned()));
        }
    }
    rest.is_empty() && keys.is_empty()
}

/// What was gathered, as entries in the order of their keys' hashes.
pub(super) fn prints(gathered: HashMap<u128, (Seen, String)>) -> Result<Prints, StateError> {
    let mut sorted: Vec<(u128, (Seen, String))> = gathered.into_iter().collect();
    sorted.sort_unstable_by_key(|entry| entry.0);
    let mut prints = Prints::default();
    for (key, (seen, text)) in sorted {
        let entry = Fingerprint { key, version: seen.version, row: seen.row };
        prints.push(entry, &text).map_err(|full| StateError::new(StateErrorKind::Storage, full.to_string()))?;
    }
    Ok(prints)
}

/// Takes the next key.
fn next_key<'a>(keys: &mut &'a [u8]) -> Option<&'a str> {
    let (length, behind) = keys.split_first_chunk::<4>()?;
    let (text, behind) = behind.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    *keys = behind;
    std::str::from_utf8(text).ok()
}

/// Gathers the texts of wanted keys; false when the bytes are damaged.
pub(super) fn texts(bytes: &[u8], keys: &[u8], wanted: &HashSet<u128>, into: &mut HashMap<u128, String>) -> bool {
    let (entries, rest) = bytes.as_chunks::<LENGTH>();
    let mut keys = keys;
    for print in entries.iter().map(unpack) {
        let Some(text) = next_key(&mut keys) else { return false };
        if wanted.contains(&print.key) {
            into.insert(print.key, text.to_owned());
        }
    }
    rest.is_empty() && keys.is_empty()
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
        assert!(!gather(&bytes, Slice::WHOLE, &mut HashMap::new()));
    }

    #[test]
    fn a_deleted_key_is_not_known_until_it_comes_back() {
        let entry = |key, version| Fingerprint { key, version, row: 9 };
        let bytes = pack(&[entry(1, 1), entry(2, 1), Fingerprint::gone(1, 2), Fingerprint::gone(2, 2), entry(2, 3)]);
        let mut keys = HashMap::from([(1, None), (2, None)]);
        assert!(probe(&bytes, &mut keys));
        assert_eq!(keys, HashMap::from([(1, None), (2, Some(Seen { version: 3, row: 9 }))]));
        let mut all = HashMap::new();
        assert!(gather(&bytes, Slice::WHOLE, &mut all));
        assert_eq!(all, HashMap::from([(2, Seen { version: 3, row: 9 })]));
    }

    #[test]
    fn slices_divide_all_keys_and_texts_are_found_by_hash() {
        let slices: Vec<Slice> = Slice::for_rows(2_000_000).collect();
        assert_eq!(slices.len(), 6);
        for key in [0, 1, u128::MAX, u128::MAX / 2, u128::MAX / 3, 1 << 96] {
            assert_eq!(slices.iter().filter(|slice| slice.holds(key)).count(), 1, "{key}");
        }
        let mut keys = TextColumn::default();
        for key in [r#"["E1",1]"#, "", r#"["ö"]"#] {
            keys.push(key).unwrap();
        }
        let entry = |key| Fingerprint { key, version: 0, row: 9 };
        let (bytes, packed) = (pack(&[entry(1), entry(2), entry(3)]), pack_keys(&keys));
        let mut found = HashMap::new();
        assert!(texts(&bytes, &packed, &HashSet::from([1, 3, 7]), &mut found));
        assert_eq!(found, HashMap::from([(1, r#"["E1",1]"#.to_owned()), (3, r#"["ö"]"#.to_owned())]));
        assert!(!texts(&bytes, &packed[..packed.len() - 1], &HashSet::new(), &mut found), "cut");
    }
}
