//! What a reject store promises.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a suite for tests: a broken promise is a panic")]

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;

use crate::model::{DatasetId, RunId};
use crate::store::{Reject, RejectStore, StateStore};

fn reject(dataset: &str, key: &str, version: i64, run: &str) -> Reject {
    Reject {
        dataset: dataset.into(),
        key: key.to_owned(),
        hash: u128::MAX - 7,
        version,
        run: run.into(),
        at: DateTime::from_timestamp_micros(1_763_888_400_123_456).unwrap_or_default(),
        column: "Amount".to_owned(),
        reason: "number does not fit the column".to_owned(),
        hint: Some("give it a wider type".to_owned()),
        raw: format!("{{\"Key\":{key},\"Name\":\"Łódź \\\" '\"}}"),
    }
}

async fn keys<S: RejectStore>(store: &S, dataset: &DatasetId) -> Vec<String> {
    let found = store.rejects(dataset, None, 1_000).await.unwrap();
    found.into_iter().map(|reject| reject.key).collect()
}

/// Runs the suite. The store also keeps leases, since forgetting needs one.
pub async fn reject_store<S: RejectStore + StateStore>(make: impl Fn() -> Arc<S>) {
    let store = make();
    let (one, other) = (DatasetId::new("one"), DatasetId::new("other"));
    assert_eq!(store.count_rejects(&one).await.unwrap(), 0);

    let first = reject("one", "[1]", 5, "r1");
    let rejects = vec![reject("one", "[2]", 6, "r1"), first.clone(), reject("other", "[1]", 7, "r1")];
    store.keep(rejects).await.unwrap();
    let found = store.rejects(&one, None, 1).await.unwrap();
    assert_eq!(found, [first], "a reject comes back as it was kept, the first key first");
    let behind = store.rejects(&one, Some("[1]"), 10).await.unwrap();
    assert_eq!(
        behind.iter().map(|reject| reject.key.as_str()).collect::<Vec<_>>(),
        ["[2]"],
        "reading goes on behind a key"
    );

    store.keep(vec![reject("one", "[1]", 9, "r2")]).await.unwrap();
    assert_eq!(store.count_rejects(&one).await.unwrap(), 2, "one reject per key");
    let found = store.rejects(&one, None, 1).await.unwrap();
    assert_eq!(found.first().map(|reject| reject.version), Some(9), "the newest reject of a key counts");

    let lease = store.lease(&one, "me", Duration::from_mins(1)).await.unwrap();
    store.forget_others(&lease, &RunId::new("r2")).await.unwrap();
    assert_eq!(keys(&*store, &one).await, ["[1]"], "rejects of other runs are forgotten");
    assert_eq!(keys(&*store, &other).await, ["[1]"], "another dataset keeps its rejects");
    store.forget(&lease, &["[1]".to_owned(), "[3]".to_owned()]).await.unwrap();
    assert_eq!(keys(&*store, &one).await, Vec::<String>::new(), "a forgotten reject is gone");

    store.keep(vec![reject("one", "[4]", 1, "r3")]).await.unwrap();
    store.release(&lease).await.unwrap();
    let next = store.lease(&one, "other", Duration::from_mins(1)).await.unwrap();
    assert!(next.fence > lease.fence);
    assert!(store.forget(&lease, &["[4]".to_owned()]).await.is_err(), "a former holder forgets nothing");
    assert!(store.forget_others(&lease, &RunId::new("r9")).await.is_err(), "a former holder forgets nothing");
    assert_eq!(keys(&*store, &one).await, ["[4]"]);
}
