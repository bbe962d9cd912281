//! The stores, by the suites that others can use too, and what only a file can show.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kinetic_tableau_sync::store::{MemoryStore, SqliteStore, conformance};
use kinetic_tableau_sync::*;

#[tokio::test]
async fn memory_keeps_the_promises_of_a_store() {
    conformance::state_store(|clock| Arc::new(MemoryStore::with_clock(clock))).await;
    conformance::fingerprint_store(|| Arc::new(MemoryStore::new())).await;
    conformance::audit_store(|| Arc::new(MemoryStore::new())).await;
    conformance::reject_store(|| Arc::new(MemoryStore::new())).await;
    conformance::note_store(|| Arc::new(MemoryStore::new())).await;
}

#[tokio::test]
async fn sqlite_keeps_the_promises_of_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    let next = || {
        count.set(count.get() + 1);
        directory.path().join(format!("{}.db", count.get()))
    };
    conformance::state_store(|clock| Arc::new(SqliteStore::open_with_clock(next(), clock).unwrap())).await;
    conformance::fingerprint_store(|| Arc::new(SqliteStore::open(next()).unwrap())).await;
    conformance::audit_store(|| Arc::new(SqliteStore::open(next()).unwrap())).await;
    conformance::reject_store(|| Arc::new(SqliteStore::open(next()).unwrap())).await;
    conformance::note_store(|| Arc::new(SqliteStore::open(next()).unwrap())).await;
}

const TTL: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_file_is_worked_on_by_one_process_and_free_when_that_has_gone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.db");
    // Two handles stand for two processes: the lock is one of the open file.
    let one = SqliteStore::open(&path).unwrap();
    let other = SqliteStore::open(&path).unwrap();
    let held = one.lease(&"a".into(), "first worker", TTL).await.unwrap();
    let refused = other.lease(&"b".into(), "second worker", TTL).await.unwrap_err();
    assert_eq!(refused.kind(), StateErrorKind::Leased);
    assert!(refused.to_string().contains("first worker"), "{refused}");
    let version = one.store(&held, None, &Checkpoint::default()).await.unwrap();
    let looking = SqliteStore::open_read_only(&path).unwrap();
    assert_eq!(looking.list().await.unwrap().len(), 1, "looking needs no lease");
    assert!(looking.lease(&"a".into(), "looker", TTL).await.is_err());

    // It dies without a release: its lease, though not lapsed, is free at once, and it is fenced off.
    drop(one);
    let taken = other.lease(&"a".into(), "second worker", TTL).await.unwrap();
    assert!(taken.fence > held.fence);
    let late = other.store(&held, Some(version), &Checkpoint::default()).await.unwrap_err();
    assert_eq!(late.kind(), StateErrorKind::Leased);
}

#[tokio::test]
async fn a_lease_that_cannot_be_written_keeps_nobody_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.db");
    let one = SqliteStore::open(&path).unwrap();
    let other = SqliteStore::open(&path).unwrap();
    let unable = SqliteStore::open_read_only(&path).unwrap();
    unable.lease(&"a".into(), "looker", TTL).await.unwrap_err();
    let held = one.lease(&"a".into(), "first worker", TTL).await.unwrap();

    // Nor one that cannot be given back.
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch(
        "CREATE TRIGGER stuck BEFORE UPDATE ON lease WHEN NEW.owner IS NULL BEGIN SELECT RAISE(ABORT, 'stuck'); END",
    )
    .unwrap();
    one.release(&held).await.unwrap_err();
    let taken = other.lease(&"a".into(), "second worker", TTL).await.unwrap();
    assert!(taken.fence > held.fence);
    // What is given back late is the lease of somebody else by now.
    one.release(&held).await.unwrap();
    assert!(one.lease(&"a".into(), "first worker", TTL).await.is_err());
    other.renew(&taken, TTL).await.unwrap();
}

#[tokio::test]
async fn a_lease_that_lapsed_is_given_back_by_its_new_holder_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.db");
    let clock = conformance::ManualClock::at(chrono::Utc::now());
    let one = SqliteStore::open_with_clock(&path, Arc::new(clock.clone())).unwrap();
    let lapsed = one.lease(&"a".into(), "first task", TTL).await.unwrap();
    clock.advance(TTL * 2);
    let held = one.lease(&"a".into(), "second task", TTL).await.unwrap();
    one.release(&lapsed).await.unwrap();
    let other = SqliteStore::open(&path).unwrap();
    assert!(other.lease(&"b".into(), "other process", TTL).await.is_err(), "the lock stays with its second task");
    one.release(&held).await.unwrap();
    other.lease(&"b".into(), "other process", TTL).await.unwrap();
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.db");
    let checkpoint = Checkpoint { cursor: Some(Cursor::new("7")), failures: 3, ..Checkpoint::default() };
    {
        let store = SqliteStore::open(&path).unwrap();
        let lease = store.lease(&"a".into(), "w", TTL).await.unwrap();
        store.store(&lease, None, &checkpoint).await.unwrap();
        store.release(&lease).await.unwrap();
    }
    let found = SqliteStore::open(&path).unwrap().load(&"a".into()).await.unwrap().unwrap();
    assert_eq!((found.version, found.checkpoint), (1, checkpoint));
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.db");
    SqliteStore::open(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn foreign_and_later_files_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("text.db");
    std::fs::write(&text, "this is a text file, long enough to be taken for anything but an empty one").unwrap();
    assert_eq!(SqliteStore::open(&text).unwrap_err().kind(), StateErrorKind::Corrupt);
    let other = directory.path().join("other.db");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let before = std::fs::read(&other).unwrap();
    let error = SqliteStore::open(&other).unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");
    assert!(std::fs::read(&other).unwrap() == before, "what is not ours stays as it is");
    let later = directory.path().join("later.db");
    drop(SqliteStore::open(&later).unwrap());
    rusqlite::Connection::open(&later).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = SqliteStore::open(&later).unwrap_err();
    assert!(error.to_string().contains("later version"), "{error}");
    let error = SqliteStore::open(directory.path().join("no").join("such.db")).unwrap_err();
    assert_eq!(error.kind(), StateErrorKind::Storage);
    assert!(SqliteStore::open_read_only(directory.path().join("none.db")).is_err());
}

/// A file with a few events.
async fn trail(path: &Path) {
    let store = SqliteStore::open(path).unwrap();
    for nth in 0..4 {
        let event = AuditEvent::Failed { stage: "read".to_owned(), message: format!("message {nth}"), hint: None };
        let entry = AuditEntry { dataset: "a".into(), run: RunId::new("r"), at: chrono::Utc::now(), event };
        store.record(entry).await.unwrap();
    }
}

#[tokio::test]
async fn whatever_is_altered_in_the_trail_is_found_at_its_place() {
    let cases = [
        ("UPDATE audit SET body = replace(body, 'message 1', 'message 9') WHERE sequence = 2", Some(2)),
        (
            "UPDATE audit SET body = CAST(replace(CAST(body AS TEXT), 'message 1', 'message 9') AS BLOB) WHERE sequence = 2",
            Some(2),
        ),
        ("UPDATE audit SET hash = zeroblob(32) WHERE sequence = 3", Some(3)),
        ("DELETE FROM audit WHERE sequence = 2", Some(2)),
        ("UPDATE audit SET body = (SELECT body FROM audit b WHERE b.sequence = 1) WHERE sequence = 4", Some(4)),
        ("UPDATE audit SET kind = 1 WHERE sequence = 1", Some(1)),
        // Only the head tells that the end was cut off.
        ("DELETE FROM audit WHERE sequence = 4", None),
    ];
    for (nth, (change, broken)) in cases.into_iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.db");
        trail(&path).await;
        let head = SqliteStore::open(&path).unwrap().verify().await.unwrap().head;
        let altered = rusqlite::Connection::open(&path).unwrap().execute(change, []);
        // A strict table refuses some of the ways.
        if altered.is_err() {
            assert_eq!(nth, 0);
            continue;
        }
        let found = SqliteStore::open(&path).unwrap().verify().await.unwrap();
        assert_eq!(found.first_broken.map(|(at, _)| at), broken, "{change}");
        assert_ne!((found.head == head, broken), (true, None), "{change}");
        // Nothing goes from a broken trail: what is left would pass for whole.
        let store = SqliteStore::open(&path).unwrap();
        let pruned = store.prune(chrono::Utc::now() + chrono::Duration::hours(1)).await;
        assert_eq!(pruned.is_err(), broken.is_some(), "{change}: {pruned:?}");
        let left = store.verify().await.unwrap();
        assert_eq!(left.first_broken.is_some(), broken.is_some(), "{change}");
    }
}
