//! What a server or an administrator may refuse, told so that it can be put right, and without the password.

use std::time::Duration;

use kinetic_tableau_sync::store::{PostgresOptions, PostgresStore};
use kinetic_tableau_sync::{AuditStore as _, StateError, StateErrorKind, StateStore as _};
use simulators::postgres::PostgresServer;

use super::{database, options, store};

async fn refused(options: PostgresOptions) -> StateError {
    PostgresStore::connect(options).await.unwrap_err()
}

#[track_caller]
fn assert_clear(error: &StateError, kind: StateErrorKind, words: &[&str], secret: &str) {
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    assert!(!text.contains('\n'), "{text}");
    for word in words {
        assert!(text.contains(word), "'{word}' is not in: {text}");
    }
    let mut all = format!("{error:?}");
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        all = format!("{all} {next} {next:?}");
        cause = next.source();
    }
    assert!(!all.contains(secret), "the password is in: {all}");
}

#[tokio::test]
async fn what_is_wrong_with_the_connection_is_told_without_the_password() {
    let database = database().await;
    let secret = database.password();

    let wrong = database.url().replace(secret, "hunter2");
    let error = refused(PostgresOptions::new(wrong)).await;
    assert_clear(&error, StateErrorKind::Storage, &["password", "kinetic", "check user and password"], "hunter2");

    let missing = database.url().replace(database.name(), "nowhere");
    let error = refused(PostgresOptions::new(missing)).await;
    assert_clear(&error, StateErrorKind::Storage, &["nowhere", "does not exist", "create the database"], secret);

    // A port on which nobody listens, and a name that nobody has.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = refused(PostgresOptions::new(database.url_at("127.0.0.1", port))).await;
    assert_clear(
        &error,
        StateErrorKind::Unavailable,
        &["refused", &port.to_string(), "check that the server runs"],
        secret,
    );
    let nowhere = database.url_at("no-such-host.invalid", 5432);
    let error = refused(PostgresOptions::new(nowhere)).await;
    assert_clear(&error, StateErrorKind::Unavailable, &["no-such-host.invalid", "host"], secret);
    // One that takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("{}?connect_timeout=1", database.url_at("127.0.0.1", silent.local_addr().unwrap().port()));
    let error = tokio::time::timeout(Duration::from_secs(30), refused(PostgresOptions::new(url))).await.unwrap();
    assert_clear(&error, StateErrorKind::Unavailable, &["has not answered", "check that the server runs"], secret);

    let store = store(&database).await;
    assert!(!format!("{store:?} {:?}", options(&database)).contains(secret));
    assert!(format!("{store:?}").contains("127.0.0.1"), "{store:?}");
}

#[tokio::test]
async fn a_database_that_does_not_take_every_text_is_refused() {
    let database = database().await;
    let server = PostgresServer::shared().await.unwrap();
    let name = format!("latin_{}", database.name());
    let make = format!("CREATE DATABASE {name} OWNER kinetic ENCODING 'LATIN1' TEMPLATE template0");
    server.admin().await.unwrap().batch_execute(&make).await.unwrap();
    let error = refused(PostgresOptions::new(database.url().replace(database.name(), &name))).await;
    assert_clear(&error, StateErrorKind::Storage, &["LATIN1", "ENCODING 'UTF8'"], database.password());
}

#[tokio::test]
async fn over_the_socket_it_works_as_well() {
    let database = database().await;
    let store = PostgresStore::connect(PostgresOptions::new(database.over_socket())).await.unwrap();
    assert!(store.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn missing_rights_are_told_with_the_statement_that_grants_them() {
    let database = database().await;
    let server = PostgresServer::shared().await.unwrap();
    let admin = server.admin().await.unwrap();
    let (name, role) = (database.name(), format!("poor_{}", database.name()));
    admin
        .batch_execute(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'hunter2'; GRANT CONNECT ON DATABASE {name} TO {role}"
        ))
        .await
        .unwrap();
    let url = format!("postgres://{role}:hunter2@127.0.0.1:{}/{name}", server.port());
    let error = refused(PostgresOptions::new(url.clone())).await;
    let words = ["may not make the schema", "CREATE SCHEMA \"kinetic_tableau\" AUTHORIZATION"];
    assert_clear(&error, StateErrorKind::Storage, &words, "hunter2");
    // An administrator has made the schema, but for somebody else.
    database.connect().await.unwrap().batch_execute("CREATE SCHEMA kinetic_tableau").await.unwrap();
    let error = refused(PostgresOptions::new(url.clone())).await;
    assert_clear(&error, StateErrorKind::Storage, &["may not make tables", "ALTER SCHEMA"], "hunter2");
    // With the rights to use what is there, but not to write.
    let _owner = store(&database).await;
    let sql = database.connect().await.unwrap();
    sql.batch_execute(&format!(
        "GRANT USAGE ON SCHEMA kinetic_tableau TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA kinetic_tableau TO {role}"
    ))
    .await
    .unwrap();
    let reader = PostgresStore::connect_read_only(PostgresOptions::new(url.clone())).await.unwrap();
    assert!(reader.list().await.unwrap().is_empty(), "reading needs no more than the right to read");
    assert_eq!(reader.verify().await.unwrap().first_broken, None);
    let poor = PostgresStore::connect(PostgresOptions::new(url)).await.unwrap();
    let error = poor.lease(&"ap".into(), "worker", Duration::from_mins(1)).await.unwrap_err();
    assert_clear(&error, StateErrorKind::Storage, &["permission denied", "grant it the rights"], "hunter2");
}

#[tokio::test]
async fn a_statement_that_hangs_ends_and_can_be_tried_again() {
    let database = database().await;
    let owner = store(&database).await;
    let lease = owner.lease(&"ap".into(), "worker", Duration::from_mins(1)).await.unwrap();
    let hasty = PostgresStore::connect(options(&database).statement_timeout(Duration::from_secs(1)).connections(1))
        .await
        .unwrap();
    let mut sql = database.connect().await.unwrap();
    let blocking = sql.transaction().await.unwrap();
    blocking.batch_execute("LOCK TABLE kinetic_tableau.checkpoint IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let error = hasty.store(&lease, None, &super::at(1)).await.unwrap_err();
    assert_clear(&error, StateErrorKind::Unavailable, &["run again"], database.password());
    // The only connection is busy.
    let set = "ap".into();
    let (first, second) = tokio::join!(hasty.load(&set), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        hasty.load(&set).await
    });
    assert!(first.is_err() && second.is_err());
    blocking.rollback().await.unwrap();
    hasty.store(&lease, None, &super::at(1)).await.unwrap();
}
