//! The server dies, and comes back: what was acknowledged is there, what was not is there as a whole or not at all, and no worker has to
//! be restarted.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kinetic_tableau_sync::store::{Fingerprint, Layer, PostgresOptions, PostgresStore, Prints, Slice};
use kinetic_tableau_sync::{
    AuditFilter, AuditStore, DatasetId, FingerprintStore, NoteStore as _, StateErrorKind, StateStore as _,
};
use simulators::postgres::PostgresServer;
use tokio::time::sleep;

use super::{at, moment, segment};

const TTL: Duration = Duration::from_mins(10);
const RECORDS: usize = 300;

/// What a worker was told to be done.
#[derive(Clone, Debug, Default)]
struct Acknowledged {
    segments: Vec<String>,
    version: Option<u64>,
    prints: u128,
    notes: Option<u64>,
    failures: u32,
}

/// Writes of all kinds, over and over, each after the one before was acknowledged. A failure is a reason to try the next one.
async fn work(store: PostgresStore, dataset: DatasetId, done: Arc<Mutex<Acknowledged>>) {
    let lease = store.lease(&dataset, "worker", TTL).await.unwrap();
    for nth in 0_u64.. {
        let run = format!("{dataset}-{nth}");
        let records = segment(dataset.as_str(), &run, moment("2026-11-20T10:00:00Z"), 0, RECORDS);
        let appended = AuditStore::append(&store, records).await;
        match appended {
            Ok(()) => done.lock().unwrap().segments.push(run.clone()),
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                done.lock().unwrap().failures += 1;
            }
        }
        let mut prints = Prints::default();
        let first = u128::from(nth) * 100 + 1;
        for key in first..first + 100 {
            prints.push(Fingerprint { key, version: 1, row: 9 }, &format!("[{key}]")).unwrap();
        }
        if FingerprintStore::append(&store, &dataset, 1, &"run".into(), prints).await.is_ok() {
            done.lock().unwrap().prints += 100;
        }
        // Where nobody knows whether it was written, the store is asked, as the engine does with its next run.
        let Ok(found) = store.load(&dataset).await else { continue };
        let expected = found.map(|found| found.version);
        if let Ok(version) = store.store(&lease, expected, &at(nth)).await {
            done.lock().unwrap().version = Some(version);
        }
        let name = format!("note of {dataset}");
        let Ok(found) = store.note(&name).await else { continue };
        if let Ok(version) = store.write_note(&name, found.map(|note| note.version), &run).await {
            done.lock().unwrap().notes = Some(version);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_the_server_has_all_that_was_acknowledged() {
    let server = PostgresServer::start().await.expect("Postgres is needed for this test");
    let database = server.database().await.unwrap();
    let store = PostgresStore::connect(PostgresOptions::new(database.url())).await.unwrap();
    let datasets: Vec<DatasetId> = vec!["ap".into(), "po".into()];
    let acknowledged: Vec<Arc<Mutex<Acknowledged>>> = datasets.iter().map(|_| Arc::default()).collect();
    let workers: Vec<_> = datasets
        .iter()
        .zip(&acknowledged)
        .map(|(dataset, done)| tokio::spawn(work(store.clone(), dataset.clone(), Arc::clone(done))))
        .collect();
    for round in 0..5 {
        sleep(Duration::from_millis(350 + 170 * round)).await;
        server.kill9();
        // What is acknowledged from here on would have to be a lie.
        sleep(Duration::from_millis(50)).await;
        let before: Vec<Acknowledged> = acknowledged.iter().map(|done| done.lock().unwrap().clone()).collect();
        server.restart().await.unwrap();
        // The very store that was there before goes on by itself.
        let found = store.verify().await.unwrap();
        assert_eq!((found.first_broken, found.records), (None, found.entries * RECORDS as u64), "whole segments only");
        for (dataset, done) in datasets.iter().zip(&before) {
            check(&store, dataset, done).await;
        }
    }
    // Between two writes as well: nobody is told of it.
    for worker in &workers {
        worker.abort();
    }
    for worker in workers {
        assert!(worker.await.unwrap_err().is_cancelled(), "a worker has ended by itself");
    }
    let version = store.write_note("quiet", None, "1").await.unwrap();
    server.kill9();
    server.restart().await.unwrap();
    let version = store.write_note("quiet", Some(version), "2").await.unwrap();
    server.restart().await.unwrap();
    assert_eq!(store.note("quiet").await.unwrap().unwrap().version, version);

    let failures: u32 = acknowledged.iter().map(|done| done.lock().unwrap().failures).sum();
    assert!(failures > 0, "the server died in the middle of writes");
    assert!(
        acknowledged.iter().all(|done| done.lock().unwrap().segments.len() > 20),
        "and they went on: {acknowledged:?}"
    );
    for (dataset, done) in datasets.iter().zip(&acknowledged) {
        let done = done.lock().unwrap().clone();
        check(&store, dataset, &done).await;
    }
}

/// That everything is there which was acknowledged.
async fn check(store: &PostgresStore, dataset: &DatasetId, done: &Acknowledged) {
    let filter = AuditFilter { dataset: Some(dataset.clone()), ..AuditFilter::default() };
    let mut found: Vec<String> =
        store.records(&filter).await.unwrap().into_iter().map(|record| record.run.to_string()).collect();
    found.dedup();
    for run in &done.segments {
        assert!(found.contains(run), "{run} was acknowledged");
    }
    if let Some(version) = done.version {
        assert!(store.load(dataset).await.unwrap().unwrap().version >= version);
    }
    if let Some(version) = done.notes {
        assert!(store.note(&format!("note of {dataset}")).await.unwrap().unwrap().version >= version);
    }
    let prints = store.slice(dataset, Layer::Staged(&"run".into()), Slice::WHOLE).await.unwrap();
    assert!(prints.len() as u128 >= done.prints && prints.len() % 100 == 0, "{} of {}", prints.len(), done.prints);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stays_away_is_told_and_nothing_hangs() {
    let server = PostgresServer::start().await.expect("Postgres is needed for this test");
    let database = server.database().await.unwrap();
    let store = PostgresStore::connect(PostgresOptions::new(database.url())).await.unwrap();
    let lease = store.lease(&"ap".into(), "worker", TTL).await.unwrap();
    server.stop();
    let failed = tokio::time::timeout(Duration::from_secs(40), store.store(&lease, None, &at(1))).await.unwrap();
    let error = failed.unwrap_err();
    assert_eq!(error.kind(), StateErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("check that the server runs"), "{error}");
    server.restart().await.unwrap();
    store.store(&lease, None, &at(1)).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_was_cut_unseen_costs_nothing() {
    let database = super::database().await;
    let store = super::store(&database).await;
    let version = store.write_note("a", None, "1").await.unwrap();
    // On another thread, while ours does not get to see the end of its connection.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                       WHERE datname = current_database() AND pid <> pg_backend_pid()";
            let sql = database.connect().await.unwrap();
            assert_eq!(sql.query(cut, &[]).await.unwrap().len(), 1);
            let left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()";
            while sql.query_one(left, &[]).await.unwrap().get::<_, i64>(0) > 1 {
                sleep(Duration::from_millis(5)).await;
            }
        });
    })
    .join()
    .unwrap();
    store.write_note("a", Some(version), "2").await.unwrap();
}
