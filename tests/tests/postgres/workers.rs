//! Several workers on one database.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use kinetic_tableau_sync::store::conformance::ManualClock;
use kinetic_tableau_sync::store::{Fingerprint, Layer, PostgresStore, Prints, Slice};
use kinetic_tableau_sync::{FingerprintStore as _, NoteStore as _, StateErrorKind, StateStore as _};
use tokio::time::{Instant, sleep, timeout};

use super::{at, client, database, options, store};

const TTL: Duration = Duration::from_mins(1);
/// Lapses within a test, but not while a busy machine gets to its next line.
const LITTLE: Duration = Duration::from_secs(4);

#[tokio::test]
async fn leases_exclude_and_a_released_one_keeps_counting() {
    let database = database().await;
    let (one, other) = (store(&database).await, store(&database).await);
    let set = "ap".into();
    let held = one.lease(&set, "first worker", TTL).await.unwrap();
    let refused = other.lease(&set, "second worker", TTL).await.unwrap_err();
    assert_eq!(refused.kind(), StateErrorKind::Leased);
    assert!(refused.to_string().contains("first worker"), "{refused}");
    other.lease(&"po".into(), "second worker", TTL).await.unwrap();
    let mut fence = held.fence;
    one.release(&held).await.unwrap();
    for _ in 0..3 {
        let next = other.lease(&set, "second worker", TTL).await.unwrap();
        assert_eq!(next.fence, fence + 1, "no holder's number is given twice");
        fence = next.fence;
        other.release(&next).await.unwrap();
    }
    let row =
        client(&database).await.query_one("SELECT owner, fence FROM lease WHERE dataset = 'ap'", &[]).await.unwrap();
    assert_eq!((row.get::<_, Option<String>>(0), row.get::<_, i64>(1)), (None, i64::try_from(fence).unwrap()));
}

#[tokio::test]
async fn a_lease_lapses_by_the_clock_of_the_database() {
    let database = database().await;
    // Workers whose own clocks are years apart.
    let (one, other) = (store(&database).await, store(&database).await);
    let held = one.lease(&"ap".into(), "first worker", LITTLE).await.unwrap();
    let now = client(&database).await.query_one("SELECT clock_timestamp()", &[]).await.unwrap();
    let now: chrono::DateTime<Utc> = now.get(0);
    assert!(held.expires > now && held.expires < now + LITTLE, "{held:?}");
    assert!(other.lease(&"ap".into(), "second worker", TTL).await.is_err(), "not before it has lapsed");
    let held = one.renew(&held, LITTLE).await.unwrap();
    sleep(LITTLE + Duration::from_millis(200)).await;
    let taken = other.lease(&"ap".into(), "second worker", TTL).await.unwrap();
    assert!(taken.fence > held.fence);
    assert_eq!(one.renew(&held, TTL).await.unwrap_err().kind(), StateErrorKind::Leased);
    assert_eq!(one.store(&held, None, &at(1)).await.unwrap_err().kind(), StateErrorKind::Leased);
    one.release(&held).await.unwrap();
    other.store(&taken, None, &at(2)).await.unwrap();

    // A store with a clock of its own asks that one.
    let clock = ManualClock::at(Utc::now() + Duration::from_hours(10_000));
    let ahead = PostgresStore::connect_with_clock(options(&database), Arc::new(clock)).await.unwrap();
    ahead.lease(&"ap".into(), "third worker", TTL).await.unwrap();
}

#[tokio::test]
async fn a_takeover_waits_for_a_write_that_is_being_committed() {
    let database = database().await;
    let (one, other) = (store(&database).await, store(&database).await);
    let held = one.lease(&"ap".into(), "first worker", Duration::from_millis(1)).await.unwrap();
    // As a write under the lease does, stopped just before its commit.
    let mut writing = client(&database).await;
    let transaction = writing.transaction().await.unwrap();
    let fence = i64::try_from(held.fence).unwrap();
    transaction
        .query_one("SELECT 1 FROM lease WHERE dataset = 'ap' AND fence = $1 FOR KEY SHARE", &[&fence])
        .await
        .unwrap();
    // Renewing needs no wait: it is done beside long writes.
    let renewed = timeout(Duration::from_secs(2), one.renew(&held, Duration::from_millis(1))).await.unwrap().unwrap();
    sleep(Duration::from_millis(20)).await;
    assert!(renewed.expires < Utc::now());
    let set = "ap".into();
    let ((taken, waited), ()) = tokio::join!(
        async {
            let began = Instant::now();
            (other.lease(&set, "second worker", TTL).await, began.elapsed())
        },
        async {
            sleep(Duration::from_millis(400)).await;
            transaction.execute("INSERT INTO checkpoint VALUES ('ap', 1, '{}')", &[]).await.unwrap();
            transaction.commit().await.unwrap();
        }
    );
    assert!(waited >= Duration::from_millis(350), "it has waited: {waited:?}");
    let taken = taken.unwrap();
    assert!(taken.fence > held.fence);
    other.release(&taken).await.unwrap();
    // Somebody who hangs in the middle of a write is not waited for without end.
    let mut hanging = client(&database).await;
    let transaction = hanging.transaction().await.unwrap();
    transaction.query_one("SELECT 1 FROM lease WHERE dataset = 'ap' FOR KEY SHARE", &[]).await.unwrap();
    let refused = one.lease(&set, "first worker", TTL).await.unwrap_err();
    assert_eq!(refused.kind(), StateErrorKind::Leased, "{refused}");
    assert!(refused.to_string().contains("has not finished a write"), "{refused}");
    transaction.rollback().await.unwrap();
    one.lease(&set, "first worker", TTL).await.unwrap();
}

#[tokio::test]
async fn a_write_waits_for_a_takeover_and_is_then_refused_whole() {
    let database = database().await;
    let one = store(&database).await;
    let set = "ap".into();
    let held = one.lease(&set, "first worker", TTL).await.unwrap();
    let run = "r".into();
    let mut prints = Prints::default();
    prints.push(Fingerprint { key: 7, version: 1, row: 9 }, "[7]").unwrap();
    one.append(&set, 1, &run, prints).await.unwrap();

    let mut taking = client(&database).await;
    let transaction = taking.transaction().await.unwrap();
    transaction.query_one("SELECT 1 FROM lease WHERE dataset = 'ap' FOR UPDATE", &[]).await.unwrap();
    transaction.execute("UPDATE lease SET fence = fence + 1, owner = 'second worker'", &[]).await.unwrap();
    let next = at(1);
    let ((stored, promoted), ()) =
        tokio::join!(async { tokio::join!(one.store(&held, None, &next), one.promote(&held, 1, &run)) }, async {
            sleep(Duration::from_millis(300)).await;
            transaction.commit().await.unwrap();
        });
    assert_eq!(stored.unwrap_err().kind(), StateErrorKind::Leased);
    assert_eq!(promoted.unwrap_err().kind(), StateErrorKind::Leased);
    assert!(one.load(&set).await.unwrap().is_none(), "nothing of it is there");
    assert!(one.slice(&set, Layer::Landed(1), Slice::WHOLE).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_a_checkpoint_holds_the_newest_lease_in_that_moment() {
    let database = database().await;
    let first = store(&database).await;
    // The database itself notes under which fence each checkpoint was written.
    let watch = client(&database).await;
    watch
        .batch_execute(
            "CREATE TABLE seen (fence bigint, cursor text);
             CREATE FUNCTION note_fence() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO kinetic_tableau.seen
                 SELECT fence, NEW.body ->> 'cursor' FROM kinetic_tableau.lease l WHERE l.dataset = NEW.dataset;
                 RETURN NEW;
             END $$;
             CREATE TRIGGER note_fence AFTER INSERT OR UPDATE ON checkpoint FOR EACH ROW EXECUTE FUNCTION note_fence()",
        )
        .await
        .unwrap();
    let mut workers = Vec::new();
    for worker in 0..6_u64 {
        let store = if worker == 0 { first.clone() } else { store(&database).await };
        workers.push(tokio::spawn(async move {
            let (mut written, mut refused) = (0, 0);
            let until = Instant::now() + Duration::from_secs(4);
            while Instant::now() < until {
                let ttl = Duration::from_millis(3 + worker * 2);
                let Ok(lease) = store.lease(&"ap".into(), "worker", ttl).await else { continue };
                for round in 0..3_u64 {
                    // Now and then for longer than the lease lasts.
                    sleep(Duration::from_millis((worker * 7 + round * 5) % 13)).await;
                    let expected = store.load(&"ap".into()).await.unwrap().map(|found| found.version);
                    match store.store(&lease, expected, &at(lease.fence)).await {
                        Ok(_) => written += 1,
                        Err(error) => {
                            let known = [StateErrorKind::Leased, StateErrorKind::Stale];
                            assert!(known.contains(&error.kind()), "{error}");
                            refused += 1;
                        }
                    }
                }
                store.release(&lease).await.unwrap();
            }
            (written, refused)
        }));
    }
    let (mut written, mut refused) = (0, 0);
    for worker in workers {
        let (its_written, its_refused) = worker.await.unwrap();
        written += its_written;
        refused += its_refused;
    }
    assert!(written > 5 && refused > 5, "{written} written, {refused} refused: both happen");
    let count = "SELECT count(*), count(*) FILTER (WHERE fence::text <> cursor) FROM seen";
    let row = watch.query_one(count, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (written, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_written_by_many_at_once_lose_no_write() {
    let database = database().await;
    let mut writers = Vec::new();
    for _ in 0..6 {
        let store = store(&database).await;
        writers.push(tokio::spawn(async move {
            for _ in 0..20 {
                loop {
                    let found = store.note("count").await.unwrap();
                    let count: u32 = found.as_ref().map_or(0, |note| note.body.parse().unwrap());
                    let expected = found.map(|note| note.version);
                    match store.write_note("count", expected, &(count + 1).to_string()).await {
                        Ok(_) => break,
                        Err(error) => assert_eq!(error.kind(), StateErrorKind::Stale, "{error}"),
                    }
                }
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(store(&database).await.note("count").await.unwrap().unwrap().body, "120");
}

#[tokio::test(flavor = "multi_thread")]
async fn few_connections_serve_many_and_none_is_left_in_a_transaction() {
    let database = database().await;
    let store = PostgresStore::connect(options(&database).connections(2)).await.unwrap();
    let lease = store.lease(&"ap".into(), "worker", TTL).await.unwrap();
    store.store(&lease, None, &at(1)).await.unwrap();
    let readers: Vec<_> = (0..40)
        .map(|nth| {
            let store = store.clone();
            tokio::spawn(async move {
                // Some are dropped in the middle of what they do.
                let set = "ap".into();
                if let Ok(found) = timeout(Duration::from_micros(nth * 40), store.load(&set)).await {
                    assert!(found.unwrap().is_some());
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(store.load(&"ap".into()).await.unwrap().is_some());
    // Those that were dropped are noticed by the server when it looks at them next.
    let count = "SELECT count(*), count(*) FILTER (WHERE state LIKE 'idle in%') FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let sql = client(&database).await;
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let row = sql.query_one(count, &[]).await.unwrap();
        let (all, hanging): (i64, i64) = (row.get(0), row.get(1));
        if all <= 2 && hanging == 0 {
            break;
        }
        assert!(Instant::now() < until, "{all} connections, {hanging} in a transaction");
        sleep(Duration::from_millis(50)).await;
    }
}
