//! Making the tables and bringing them up to date.

use kinetic_tableau_sync::store::PostgresStore;
use kinetic_tableau_sync::{AuditStore as _, NoteStore as _, StateErrorKind, StateStore as _};

use super::{client, database, moment, options, segment, store};

#[tokio::test(flavor = "multi_thread")]
async fn eight_workers_that_start_at_once_make_the_tables_once() {
    let database = database().await;
    let workers: Vec<_> = (0..8)
        .map(|nth| {
            let options = options(&database);
            tokio::spawn(async move {
                let store = PostgresStore::connect(options).await.unwrap();
                // And the first partition as well.
                let at = moment("2026-11-20T10:00:00Z");
                store.append(segment(&format!("set-{nth}"), "r", at, 0, 10)).await.unwrap();
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let sql = client(&database).await;
    let made: i64 = sql.query_one("SELECT count(*) FROM migration", &[]).await.unwrap().get(0);
    assert_eq!(made, 2);
    assert_eq!(store(&database).await.verify().await.unwrap().records, 80);
}

#[tokio::test]
async fn two_schemas_of_a_database_know_nothing_of_each_other() {
    let database = database().await;
    let one = PostgresStore::connect(options(&database).schema("one")).await.unwrap();
    let other = PostgresStore::connect(options(&database).schema("O'ther \"schema\"")).await.unwrap();
    assert_eq!(other.schema(), "O'ther \"schema\"");
    one.write_note("a", None, "one").await.unwrap();
    other.append(segment("ap", "r", moment("2026-11-20T10:00:00Z"), 0, 10)).await.unwrap();
    assert!(other.note("a").await.unwrap().is_none());
    assert_eq!(one.verify().await.unwrap().entries, 0);
}

#[tokio::test]
async fn tables_of_a_later_version_are_refused_by_name() {
    let database = database().await;
    drop(store(&database).await);
    client(&database).await.batch_execute("INSERT INTO migration (number, program) VALUES (3, '9.9.9')").await.unwrap();
    for refused in
        [PostgresStore::connect(options(&database)).await, PostgresStore::connect_read_only(options(&database)).await]
    {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), StateErrorKind::Corrupt);
        assert!(error.to_string().contains("later version"), "{error}");
    }
}

#[tokio::test]
async fn whoever_only_reads_makes_nothing_and_changes_nothing() {
    let database = database().await;
    let error = PostgresStore::connect_read_only(options(&database)).await.unwrap_err();
    assert!(error.to_string().contains("nothing of ours"), "{error}");
    assert_eq!(error.kind(), StateErrorKind::Absent);
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'kinetic_tableau'";
    let sql = client(&database).await;
    assert_eq!(sql.query_one(schemas, &[]).await.unwrap().get::<_, i64>(0), 0);

    let working = store(&database).await;
    working.write_note("a", None, "x").await.unwrap();
    let looking = PostgresStore::connect_read_only(options(&database)).await.unwrap();
    assert_eq!(looking.note("a").await.unwrap().unwrap().body, "x");
    assert!(looking.list().await.unwrap().is_empty());
    let error = looking.lease(&"ap".into(), "looker", std::time::Duration::from_mins(1)).await.unwrap_err();
    assert!(error.to_string().contains("reading only"), "{error}");
    assert!(looking.prune(moment("2026-01-01T00:00:00Z")).await.is_err());
    assert!(looking.append(segment("ap", "r", moment("2026-11-20T10:00:00Z"), 0, 1)).await.is_err());

    // Tables of an older form are left as they are.
    sql.batch_execute("DELETE FROM migration WHERE number = 2").await.unwrap();
    let error = PostgresStore::connect_read_only(options(&database)).await.unwrap_err();
    assert!(error.to_string().contains("older form"), "{error}");
}
