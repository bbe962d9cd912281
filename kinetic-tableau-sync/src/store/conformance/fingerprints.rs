//! Fingerprints.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a suite for tests: a broken promise is a panic")]

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::model::{DatasetId, RunId};
use crate::store::{Fingerprint, FingerprintStore, Layer, Prints, Seen, Slice, StateErrorKind, StateStore};

/// Longer than any test.
const LONG: Duration = Duration::from_mins(10);

fn print(key: u128, version: i64) -> Fingerprint {
    Fingerprint { key, version, row: (key % 1_000_000) * 1_000 + u128::from(version.unsigned_abs()) }
}

/// With keys that tell their number.
fn prints(entries: impl IntoIterator<Item = Fingerprint>) -> Prints {
    let mut prints = Prints::default();
    for entry in entries {
        prints.push(entry, &format!("[{}]", entry.key)).unwrap();
    }
    prints
}

fn keys(keys: impl IntoIterator<Item = u128>) -> HashMap<u128, Option<Seen>> {
    keys.into_iter().map(|key| (key, None)).collect()
}

/// The version known of each key.
async fn landed<S: FingerprintStore>(store: &S, dataset: &DatasetId, generation: u64, upto: u128) -> Vec<Option<i64>> {
    let found = store.lookup(dataset, generation, keys(1..=upto)).await.unwrap();
    (1..=upto).map(|key| found.get(&key).copied().flatten().map(|seen| seen.version)).collect()
}

async fn staged<S: FingerprintStore>(store: &S, dataset: &DatasetId, run: &RunId, upto: u128) -> Vec<Option<i64>> {
    let found = store.lookup_staged(dataset, run, keys(1..=upto)).await.unwrap();
    (1..=upto).map(|key| found.get(&key).copied().flatten().map(|seen| seen.version)).collect()
}

/// Checks a [`FingerprintStore`]. `make` gives an empty store.
pub async fn fingerprint_store<S: FingerprintStore + StateStore>(make: impl Fn() -> Arc<S>) {
    let (one, other): (DatasetId, DatasetId) = ("one".into(), "two".into());
    let (first, second, third) = (RunId::new("1"), RunId::new("2"), RunId::new("3"));
    let store = make();
    let store = &*store;
    let lease_one = store.lease(&one, "one", LONG).await.unwrap();
    let lease_other = store.lease(&other, "one", LONG).await.unwrap();

    store.append(&one, 1, &first, prints([print(1, 10), print(2, 10)])).await.unwrap();
    store.append(&one, 1, &first, prints([print(2, 20)])).await.unwrap();
    assert_eq!(landed(store, &one, 1, 3).await, [None, None, None], "staged entries do not count as landed");
    assert_eq!(
        staged(store, &one, &first, 3).await,
        [Some(10), Some(20), None],
        "but are found as staged, later ones winning"
    );
    assert_eq!(staged(store, &one, &second, 3).await, [None, None, None], "by their own run only");
    store.promote(&lease_one, 1, &first).await.unwrap();
    store.promote(&lease_one, 1, &first).await.unwrap();
    assert_eq!(landed(store, &one, 1, 3).await, [Some(10), Some(20), None], "promoted entries count, later ones win");
    let found = store.lookup(&one, 1, keys([2])).await.unwrap();
    assert_eq!(found.get(&2), Some(&Some(Seen { version: 20, row: 2_020 })), "with their hash");
    assert_eq!(staged(store, &one, &first, 3).await, [None, None, None], "and are not staged any more");
    assert_eq!(landed(store, &other, 1, 3).await, [None, None, None], "other datasets know nothing of it");

    store.append(&other, 1, &first, prints([print(3, 5)])).await.unwrap();
    store.promote(&lease_other, 1, &first).await.unwrap();
    store.append(&one, 1, &second, prints([print(1, 30)])).await.unwrap();
    store.append(&one, 1, &third, prints([print(3, 30)])).await.unwrap();
    store.discard_staged(&lease_one, Some(&second)).await.unwrap();
    assert_eq!(staged(store, &one, &third, 3).await, [None, None, None], "what is discarded is gone");
    store.promote(&lease_one, 1, &second).await.unwrap();
    assert_eq!(landed(store, &one, 1, 3).await, [Some(30), Some(20), None], "what is kept lands");

    store.append(&one, 2, &third, prints([print(7, 1)])).await.unwrap();
    assert_eq!(landed(store, &one, 1, 2).await, [Some(30), Some(20)], "a new generation does not touch the old one");
    store.promote(&lease_one, 2, &third).await.unwrap();
    assert_eq!(landed(store, &one, 1, 2).await, [None, None], "until it counts");
    assert_eq!(landed(store, &one, 2, 7).await.last(), Some(&Some(1)));
    assert_eq!(landed(store, &other, 1, 3).await, [None, None, Some(5)], "other datasets are left alone");
    store.discard_staged(&lease_one, None).await.unwrap();
    assert_eq!(landed(store, &one, 2, 7).await.last(), Some(&Some(1)), "discarding leaves what has landed");
    let extreme = Fingerprint { key: u128::MAX, version: i64::MIN, row: u128::MAX };
    store.append(&one, 2, &first, prints([extreme])).await.unwrap();
    let found = store.lookup_staged(&one, &first, keys([u128::MAX])).await.unwrap();
    assert_eq!(found.get(&u128::MAX), Some(&Some(Seen { version: i64::MIN, row: u128::MAX })), "all bits are kept");

    slices_and_texts(store).await;

    // Whoever lost the lease changes nothing any more.
    store.release(&lease_one).await.unwrap();
    let newer = store.lease(&one, "two", LONG).await.unwrap();
    store.append(&one, 2, &second, prints([print(8, 1)])).await.unwrap();
    for refused in [store.promote(&lease_one, 2, &second).await, store.discard_staged(&lease_one, None).await] {
        assert_eq!(refused.unwrap_err().kind(), StateErrorKind::Leased);
    }
    assert_eq!(staged(store, &one, &second, 8).await.last(), Some(&Some(1)));
    store.promote(&newer, 2, &second).await.unwrap();
    assert_eq!(landed(store, &one, 2, 8).await.last(), Some(&Some(1)));
}

/// What a comparison of everything needs.
async fn slices_and_texts<S: FingerprintStore + StateStore>(store: &S) {
    let (set, run): (DatasetId, RunId) = ("slices".into(), RunId::new("4"));
    let lease = store.lease(&set, "one", LONG).await.unwrap();
    let spread = |nth: u128| print(nth << 120, 1);
    store.append(&set, 1, &run, prints((1..200).map(spread))).await.unwrap();
    assert!(store.slice(&set, Layer::Landed(1), Slice::WHOLE).await.unwrap().is_empty());
    assert_eq!(store.slice(&set, Layer::Staged(&run), Slice::WHOLE).await.unwrap().len(), 199);
    store.promote(&lease, 1, &run).await.unwrap();
    let mut found = HashMap::new();
    for nth in 0..3 {
        let slice = store.slice(&set, Layer::Landed(1), Slice { nth, of: 3 }).await.unwrap();
        assert!(!slice.is_empty() && slice.len() < 199, "a slice is a part");
        found.extend(slice);
    }
    assert_eq!(found.len(), 199, "and all slices are the whole");
    assert!(store.slice(&set, Layer::Landed(2), Slice::WHOLE).await.unwrap().is_empty(), "of one generation");

    let deleted = Fingerprint::gone(7 << 120, 2);
    store.append(&set, 1, &run, prints([deleted])).await.unwrap();
    store.promote(&lease, 1, &run).await.unwrap();
    assert_eq!(
        store.slice(&set, Layer::Landed(1), Slice::WHOLE).await.unwrap().len(),
        198,
        "a deleted key is not known"
    );
    let found = store.lookup(&set, 1, keys([7 << 120, 8 << 120])).await.unwrap();
    assert_eq!(found.get(&(7 << 120)), Some(&None));
    assert_eq!(found.get(&(8 << 120)), Some(&Some(Seen { version: 1, row: spread(8).row })));
    let wanted = HashSet::from([8 << 120, 9 << 120, 1]);
    let texts = store.key_texts(&set, Layer::Landed(1), &wanted).await.unwrap();
    let expected = [8_u128 << 120, 9 << 120].map(|key| (key, format!("[{key}]")));
    assert_eq!(texts, HashMap::from(expected), "keys are found by their hashes");

    let newer: Vec<Fingerprint> = (8..12).map(|nth| print(nth << 120, 2)).collect();
    store.append(&set, 1, &run, prints(newer)).await.unwrap();
    store.promote(&lease, 1, &run).await.unwrap();
    let before = store.slice(&set, Layer::Landed(1), Slice::WHOLE).await.unwrap();
    if store.entries(&set, 1).await.unwrap() > 0 {
        assert_eq!(store.entries(&set, 1).await.unwrap(), 204, "each entry counts");
        store.compact(&lease, 1, 198).await.unwrap();
        assert_eq!(store.entries(&set, 1).await.unwrap(), 198, "one for each key that is known");
    }
    assert_eq!(store.slice(&set, Layer::Landed(1), Slice::WHOLE).await.unwrap(), before, "nothing else is changed");
    let texts = store.key_texts(&set, Layer::Landed(1), &wanted).await.unwrap();
    assert_eq!(texts.len(), 2, "keys keep their texts");
    store.release(&lease).await.unwrap();
    store.lease(&set, "other", LONG).await.unwrap();
    if store.entries(&set, 1).await.unwrap() > 0 {
        assert!(store.compact(&lease, 1, 198).await.is_err(), "a former holder compacts nothing");
    }
}
