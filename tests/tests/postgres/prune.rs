//! Removing the oldest part of the trail.

use std::time::Duration;

use chrono::{DateTime, Datelike as _, Utc};
use kinetic_tableau_sync::store::PostgresStore;
use kinetic_tableau_sync::{AuditFilter, AuditStore as _};

use super::{client, database, moment, segment, store};

async fn partitions(sql: &tokio_postgres::Client) -> Vec<String> {
    let query =
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_record'::regclass ORDER BY 1";
    sql.query(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// A run each week, alternating between two datasets.
async fn a_year(store: &PostgresStore) -> DateTime<Utc> {
    let mut at = moment("2026-01-03T10:00:00Z");
    for week in 0..48 {
        let set = if week % 2 == 0 { "ap" } else { "po" };
        store.append(segment(set, &format!("w{week}"), at, week * 100, 100)).await.unwrap();
        at += Duration::from_hours(7 * 24);
    }
    at
}

#[tokio::test]
async fn pruning_drops_months_deletes_the_rest_and_what_remains_is_proven() {
    let database = database().await;
    let store = store(&database).await;
    let last = a_year(&store).await;
    let sql = client(&database).await;
    assert_eq!(partitions(&sql).await.len(), 11);
    let before = store.verify().await.unwrap();
    assert_eq!((before.entries, before.first_broken.clone()), (48, None));

    // In the middle of a month: five months go as wholes, of the sixth only some records.
    let cut = moment("2026-06-10T00:00:00Z");
    let removed = store.prune(cut).await.unwrap();
    assert_eq!(removed, 23);
    assert_eq!(partitions(&sql).await.first().map(String::as_str), Some("audit_record_2026_06"));
    let after = store.verify().await.unwrap();
    assert_eq!((after.entries, after.records, after.pruned), (25, 2_500, 23));
    assert_eq!((after.first_broken, &after.head), (None, &before.head), "the rest is proven as before");
    let rows: i64 = sql.query_one("SELECT count(*) FROM audit_record", &[]).await.unwrap().get(0);
    let left: i64 = sql.query_one("SELECT count(*) FROM audit_removal", &[]).await.unwrap().get(0);
    assert_eq!((rows, left), (2_500, 0), "nothing is left of what was removed");
    let oldest = store.records(&AuditFilter::default()).await.unwrap();
    assert!(oldest.first().is_some_and(|record| record.at >= cut && record.at.month() == 6));

    // The chain goes on, and an old month can come again.
    store.append(segment("ap", "late", moment("2026-02-01T00:00:00Z"), 0, 10)).await.unwrap();
    store.append(segment("gl", "new", last, 0, 10)).await.unwrap();
    assert_eq!(partitions(&sql).await.first().map(String::as_str), Some("audit_record_2026_02"));
    let found = store.verify().await.unwrap();
    assert_eq!((found.entries, found.first_broken), (27, None));
    // The anchor is part of the proof.
    sql.batch_execute("UPDATE audit_chain SET pruned = 3, anchor = sha256(anchor) WHERE dataset = 'po'").await.unwrap();
    let (_, why) = store.verify().await.unwrap().first_broken.unwrap();
    assert!(why.starts_with("dataset po: "), "{why}");
    // And what is not proven is not pruned.
    let error = store.prune(last).await.unwrap_err().to_string();
    assert!(
        error.contains("it was altered, so that nothing is removed from it") && error.contains("dataset po"),
        "{error}"
    );
    assert_eq!(store.verify().await.unwrap().entries, 27);
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_beside_readers_and_writers_disturbs_neither() {
    let database = database().await;
    let pruning = store(&database).await;
    a_year(&pruning).await;
    let (reading, writing) = (store(&database).await, store(&database).await);
    let reader = tokio::spawn(async move {
        let mut seen = 0;
        for _ in 0..25 {
            let found = reading.verify().await.unwrap();
            assert_eq!((found.first_broken, found.records), (None, found.entries * 100));
            seen = found.pruned;
        }
        seen
    });
    let writer = tokio::spawn(async move {
        for nth in 0..40_u64 {
            // In months that are just being dropped, too.
            let at = moment("2026-01-15T10:00:00Z") + Duration::from_hours(24 * 30 * (nth % 8));
            writing.append(segment("gl", &format!("g{nth}"), at, 0, 100)).await.unwrap();
        }
    });
    for month in 2..=9 {
        pruning.prune(moment(&format!("2026-{month:02}-20T00:00:00Z"))).await.unwrap();
    }
    writer.await.unwrap();
    assert!(reader.await.unwrap() > 0);
    let found = pruning.verify().await.unwrap();
    assert_eq!((found.first_broken, found.records), (None, found.entries * 100));
    assert_eq!(found.entries + found.pruned, 48 + 40, "no entry is lost or counted twice");
}

#[tokio::test]
async fn a_prune_that_died_half_way_is_finished_by_the_next_one() {
    let database = database().await;
    let store = store(&database).await;
    a_year(&store).await;
    let mut sql = client(&database).await;
    // Somebody reads for long: months cannot be dropped, and somebody looks at a segment that has to go.
    let transaction = sql.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE audit_record IN ACCESS SHARE MODE").await.unwrap();
    let pruning = store.prune(moment("2026-03-01T00:00:00Z"));
    // It gives a lock up after two seconds, and deletes records instead.
    let removed = tokio::time::timeout(Duration::from_secs(20), pruning).await.unwrap().unwrap();
    assert_eq!(removed, 9);
    let rows: i64 = transaction.query_one("SELECT count(*) FROM audit_record", &[]).await.unwrap().get(0);
    assert_eq!(rows, 3_900);
    transaction.rollback().await.unwrap();
    assert_eq!(partitions(&sql).await.len(), 11, "the empty months are still there");
    // As after a death between the two halves: entries are gone, records are not.
    sql.batch_execute(
        "INSERT INTO audit_removal SELECT id, at FROM audit_entry WHERE dataset = 'ap' AND sequence = 6; \
         UPDATE audit_chain SET pruned = 6, anchor = (SELECT hash FROM audit_entry WHERE dataset = 'ap' AND sequence = 6) \
         WHERE dataset = 'ap'; \
         DELETE FROM audit_entry WHERE dataset = 'ap' AND sequence = 6",
    )
    .await
    .unwrap();
    assert_eq!(store.verify().await.unwrap().first_broken, None, "what is being removed is no part of the trail");
    assert_eq!(store.records(&AuditFilter::default()).await.unwrap().len(), 3_800);
    assert_eq!(store.prune(moment("2026-03-01T00:00:00Z")).await.unwrap(), 0);
    let rows: i64 = sql.query_one("SELECT count(*) FROM audit_record", &[]).await.unwrap().get(0);
    assert_eq!(rows, 3_800);
    assert_eq!(partitions(&sql).await.first().map(String::as_str), Some("audit_record_2026_03"));
}

/// Whether somebody holds the partitions of the trail, so that none can be dropped.
async fn are_partitions_held(sql: &tokio_postgres::Client) -> bool {
    let lock = "BEGIN; SET LOCAL lock_timeout TO 300; LOCK TABLE ONLY audit_record IN ACCESS EXCLUSIVE MODE";
    let held = sql.batch_execute(lock).await.is_err();
    sql.batch_execute("ROLLBACK").await.unwrap();
    held
}

#[tokio::test]
async fn whoever_reads_or_writes_records_keeps_the_months_until_the_end() {
    let database = database().await;
    let store = store(&database).await;
    a_year(&store).await;
    let looking = client(&database).await;
    assert!(!are_partitions_held(&looking).await);
    let key = AuditFilter { key: Some("INV-7".to_owned()), ..AuditFilter::default() };
    // Each is stopped half way, at a table that it needs besides the records.
    for (what, stop) in [
        ("verify", "LOCK TABLE audit_entry IN ACCESS EXCLUSIVE MODE"),
        ("newest", "LOCK TABLE audit_entry IN ACCESS EXCLUSIVE MODE"),
        ("by key", "LOCK TABLE audit_entry IN ACCESS EXCLUSIVE MODE"),
        ("append", "LOCK TABLE audit_chain IN ACCESS EXCLUSIVE MODE"),
    ] {
        let mut stopping = client(&database).await;
        let stopped = stopping.transaction().await.unwrap();
        stopped.batch_execute(stop).await.unwrap();
        let working = async {
            match what {
                "verify" => assert_eq!(store.verify().await.unwrap().first_broken, None),
                "newest" => assert!(!store.records(&AuditFilter::default()).await.unwrap().is_empty()),
                "by key" => assert_eq!(store.records(&key).await.unwrap().len(), 1),
                _ => store.append(segment("ap", "next", moment("2026-11-28T00:00:00Z"), 0, 10)).await.unwrap(),
            }
        };
        let ((), ()) = tokio::join!(working, async {
            let waits =
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            while looking.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(are_partitions_held(&looking).await, "{what}");
            stopped.rollback().await.unwrap();
        });
    }
    assert!(!are_partitions_held(&looking).await);
}
