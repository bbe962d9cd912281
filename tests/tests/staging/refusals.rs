//! What goes wrong is told with its cause and the next step, and never with a password or a row.

use kinetic_tableau_sync::{
    ColumnType, Deletes, Destination as _, DestinationError, DestinationErrorKind, LoadKind, PostgresDestination,
    StagingOptions,
};
use simulators::postgres::PostgresServer;

use super::{database, destination, land, plan, rows, schema, stage, target, text};

fn told(error: &DestinationError, kind: DestinationErrorKind, words: &[&str]) {
    let all = format!("{error}; {}", error.hint().unwrap_or_default());
    assert_eq!(error.kind(), kind, "{all}");
    assert!(!all.contains('\n') && !format!("{error:?}").contains("secret row"), "{all}");
    for word in words {
        assert!(all.contains(word), "'{word}' is missing in: {all}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_used_is_told_by_its_cause() {
    let database = database().await;
    let ask = async |url: String| {
        let destination = PostgresDestination::new(StagingOptions::new(url.clone())).unwrap();
        let error = destination.inspect(&target("Things")).await.unwrap_err();
        assert!(!format!("{error:?} {destination:?}").contains(database.password()));
        error
    };
    let wrong = database.url().replace(database.password(), "hunter2");
    let error = ask(wrong).await;
    told(&error, DestinationErrorKind::Auth, &["password", "check user and password"]);
    assert!(!format!("{error:?}").contains("hunter2"));
    let missing = database.url().replace(database.name(), "nothing");
    told(&ask(missing).await, DestinationErrorKind::Config, &["create the database nothing"]);
    let nobody = ask(database.url_at("127.0.0.1", 9)).await;
    told(&nobody, DestinationErrorKind::Unavailable, &["127.0.0.1:9", "check that the server runs"]);
    let nonsense = PostgresDestination::new(StagingOptions::new("postgres://u:hunter2@h:x/d")).unwrap_err();
    told(&nonsense, DestinationErrorKind::Config, &["connection string"]);
    let long = StagingOptions::new(database.url()).schema("s".repeat(60));
    told(&PostgresDestination::new(long).unwrap_err(), DestinationErrorKind::Config, &["57 bytes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_missing_are_named() {
    let server = PostgresServer::shared().await.unwrap();
    let database = server.database().await.unwrap();
    let admin = server.admin().await.unwrap();
    let role = format!("reader_{}", database.name());
    admin.batch_execute(&format!("CREATE ROLE {role} LOGIN PASSWORD '{}'", database.password())).await.unwrap();
    let url = database.url().replace("//kinetic:", &format!("//{role}:"));
    let reader = PostgresDestination::new(StagingOptions::new(url)).unwrap();
    told(&reader.check().await.unwrap_err(), DestinationErrorKind::Auth, &["GRANT CREATE ON DATABASE", &role]);
    let schema = schema(&[]);
    let error = land(&reader, &schema, LoadKind::Full, &[(1, "a")]).await.unwrap_err();
    told(&error, DestinationErrorKind::Auth, &["GRANT CREATE ON DATABASE", &role, "permission denied"]);
    let owner = destination(&database, Deletes::Hard);
    assert!(owner.check().await.unwrap().contains("schemas tableau and tableau_loads"));
    land(&owner, &schema, LoadKind::Full, &[(1, "a")]).await.unwrap();
    let client = database.connect().await.unwrap();
    client.batch_execute(&format!("GRANT ALL ON SCHEMA tableau, tableau_loads TO {role}")).await.unwrap();
    assert!(reader.check().await.is_ok());
    let error = reader.inspect(&target("Things")).await.unwrap_err();
    told(&error, DestinationErrorKind::Auth, &["permission denied", "ALTER TABLE … OWNER TO", &role]);
    // A policy that refuses rows.
    let grants = format!(
        "GRANT ALL ON ALL TABLES IN SCHEMA tableau, tableau_loads TO {role}; ALTER TABLE tableau.\"Things\" ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY all_rows ON tableau.\"Things\" USING (true) WITH CHECK (\"Name\" <> 'secret row')"
    );
    client.batch_execute(&grants).await.unwrap();
    let error = land(&reader, &schema, LoadKind::Full, &[(2, "secret row")]).await.unwrap_err();
    told(&error, DestinationErrorKind::Auth, &["42501", "BYPASSRLS", &role]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_others_and_names_that_cannot_be_are_left_alone() {
    let database = database().await;
    let destination = destination(&database, Deletes::Hard);
    let client = database.connect().await.unwrap();
    client
        .batch_execute("CREATE SCHEMA tableau; CREATE TABLE tableau.\"Things\" (a int); CREATE VIEW tableau.\"Seen\" AS SELECT 1 AS a")
        .await
        .unwrap();
    for name in ["Things", "Seen"] {
        let error = destination.inspect(&target(name)).await.unwrap_err();
        told(&error, DestinationErrorKind::Config, &[name, "not made by this program", "land under another"]);
    }
    client.batch_execute("DROP TABLE tableau.\"Things\"").await.unwrap();
    let usual = schema(&[]);
    land(&destination, &usual, LoadKind::Full, &[(1, "a")]).await.unwrap();
    let mut other = plan(&destination, &usual, LoadKind::Full, "Things").await;
    other.dataset = "others".into();
    let error = destination.begin(&other).await.unwrap_err();
    told(&error, DestinationErrorKind::Config, &["'things'", "'others'", "UPDATE \"tableau_loads\".\"landed\""]);
    let long = "Ä".repeat(32);
    let error = destination.inspect(&target(&long)).await.unwrap_err();
    told(&error, DestinationErrorKind::Config, &["63 bytes", "shorter `datasource`"]);
    for name in [long.as_str(), "ctid", "_synced_at", "_deleted_at", "Name"] {
        let schema = schema(&[(name, ColumnType::Text)]);
        let plan = plan(&destination, &schema, LoadKind::Full, "Things").await;
        told(&destination.begin(&plan).await.unwrap_err(), DestinationErrorKind::Config, &[name, "rename"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_do_not_fit_are_told_by_column_and_not_by_content() {
    let database = database().await;
    let destination = destination(&database, Deletes::Hard);
    let small = schema(&[("Small", ColumnType::Int16)]);
    let plan = plan(&destination, &small, LoadKind::Full, "Things").await;
    let error = stage(&destination, &plan, &[rows(&small, &[(1, "secret row\0")])]).await.unwrap_err();
    told(&error, DestinationErrorKind::Value, &["column Name of row 1", "U+0000"]);
    let error = stage(&destination, &plan, &[rows(&small, &[(40_000, "secret row")])]).await.unwrap_err();
    told(&error, DestinationErrorKind::Value, &["column Small of row 1", "outside of int16"]);
    let error = land(&destination, &small, LoadKind::Full, &[(1, "secret row"), (1, "secret row")]).await.unwrap_err();
    told(&error, DestinationErrorKind::Value, &["share a key"]);
    // A key that is too long for an index, whose content the server's details would quote.
    let texts = super::keyed(&[("Name", ColumnType::Text)], &[0]);
    let long: String = (0..4_000_u32).map(|at| char::from_u32(0x4e00 + at * 7 % 20_000).unwrap()).collect();
    let error = land(&destination, &texts, LoadKind::Full, &[(1, &long)]).await.unwrap_err();
    told(&error, DestinationErrorKind::Value, &["too long"]);
    // A row that somebody's constraint refuses.
    land(&destination, &small, LoadKind::Full, &[(1, "a")]).await.unwrap();
    let client = database.connect().await.unwrap();
    client.batch_execute("ALTER TABLE tableau.\"Things\" ADD CHECK (\"Name\" <> 'secret row')").await.unwrap();
    let error = land(&destination, &small, LoadKind::Full, &[(1, "secret row")]).await.unwrap_err();
    told(&error, DestinationErrorKind::Value, &["23514", "\"Things_Name_check\" of \"tableau\".\"Things\"", "drop it"]);
    assert_eq!(text(&client, "SELECT \"Name\" FROM tableau.\"Things\"").await, "a", "nothing of it has happened");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_have_made_at_the_table_is_named_and_the_rows_it_refuses_are_not() {
    let database = database().await;
    let destination = destination(&database, Deletes::Hard);
    let usual = schema(&[]);
    let first = [(1, "a"), (2, "secret row")];
    land(&destination, &usual, LoadKind::Full, &first).await.unwrap();
    let client = database.connect().await.unwrap();
    let alone = [(1, "a")];
    let twice = [(1, "secret row"), (2, "secret row"), (3, "b")];
    for (there, rows, words) in [
        // A row that another table refers to, told at once, and at the end of the transaction.
        (
            "CREATE TABLE refers (id integer CONSTRAINT held REFERENCES tableau.\"Things\"(\"ID\")); INSERT INTO refers VALUES (2)",
            &alone[..],
            ["23503", "\"held\" of \"public\".\"refers\"", "ON DELETE CASCADE"],
        ),
        (
            "ALTER TABLE refers ALTER CONSTRAINT held DEFERRABLE INITIALLY DEFERRED",
            &alone,
            ["23503", "\"held\"", "ON DELETE CASCADE"],
        ),
        (
            "DROP TABLE refers; CREATE UNIQUE INDEX unlike ON tableau.\"Things\" (\"Name\")",
            &twice,
            ["23505", "\"unlike\" of \"tableau\".\"Things\"", "not unique"],
        ),
        (
            "DROP INDEX tableau.unlike; ALTER TABLE tableau.\"Things\" ADD CONSTRAINT apart EXCLUDE (\"Name\" WITH =)",
            &twice,
            ["23P01", "\"apart\" of \"tableau\".\"Things\"", "drop it"],
        ),
    ] {
        client.batch_execute(there).await.unwrap();
        let error = land(&destination, &usual, LoadKind::Full, rows).await.unwrap_err();
        told(&error, DestinationErrorKind::Value, &words);
    }
    // What waits for the end of the transaction keeps columns from being changed meanwhile.
    client
        .batch_execute(
            "ALTER TABLE tableau.\"Things\" DROP CONSTRAINT apart; CREATE TABLE refers (id integer REFERENCES tableau.\"Things\"(\"ID\") \
             DEFERRABLE INITIALLY DEFERRED); INSERT INTO refers VALUES (2)",
        )
        .await
        .unwrap();
    let other = super::keyed(&[("ID", ColumnType::Int32), ("Name", ColumnType::Double)], &[0]);
    let error = land(&destination, &other, LoadKind::Full, &[(1, "a")]).await.unwrap_err();
    told(&error, DestinationErrorKind::Config, &["55006", "NOT DEFERRABLE"]);
    client.batch_execute("DROP TABLE refers").await.unwrap();
    land(&destination, &usual, LoadKind::Full, &alone).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_on_a_column_whose_type_changes_is_named_as_the_obstacle() {
    let database = database().await;
    let destination = destination(&database, Deletes::Hard);
    land(&destination, &schema(&[("More", ColumnType::Int16)]), LoadKind::Full, &[(1, "a")]).await.unwrap();
    let client = database.connect().await.unwrap();
    client.batch_execute("CREATE VIEW seen AS SELECT \"More\" FROM tableau.\"Things\"").await.unwrap();
    let wider = schema(&[("More", ColumnType::Int32)]);
    let error = land(&destination, &wider, LoadKind::Full, &[(1, "a")]).await.unwrap_err();
    told(&error, DestinationErrorKind::Config, &["view", "drop it, run again"]);
    client.batch_execute("DROP VIEW seen").await.unwrap();
    land(&destination, &wider, LoadKind::Full, &[(1, "a")]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_somebody_changes_is_not_intact() {
    let database = database().await;
    let destination = destination(&database, Deletes::Hard);
    let schema = schema(&[("Price", ColumnType::Decimal { precision: 20, scale: 6 }), ("Ratio", ColumnType::Double)]);
    let many: Vec<(i64, String)> = (0..5_000).map(|id| (id * 1_001, format!("row {id} {}", "x".repeat(900)))).collect();
    let many: Vec<(i64, &str)> = many.iter().map(|(id, text)| (*id, text.as_str())).collect();
    let plan = plan(&destination, &schema, LoadKind::Full, "Things").await;
    let staged = stage(&destination, &plan, &[rows(&schema, &many)]).await.unwrap();
    assert!(staged.bytes > 4 << 20, "it goes in more than one piece");
    assert!(destination.is_intact(&staged).await.unwrap());
    let client = database.connect().await.unwrap();
    let stage: String = staged.path.file_name().unwrap().to_str().unwrap().to_owned();
    let change = async |what: &str| {
        client.batch_execute(&what.replace("STAGE", &format!("tableau_loads.{stage}"))).await.unwrap();
    };
    for (there, back) in [
        ("UPDATE STAGE SET c2 = c2 + 0.000001 WHERE n = 7", "UPDATE STAGE SET c2 = c2 - 0.000001 WHERE n = 7"),
        (
            "CREATE TABLE kept AS SELECT * FROM STAGE WHERE n = 9; DELETE FROM STAGE WHERE n = 9",
            "INSERT INTO STAGE SELECT * FROM kept",
        ),
    ] {
        change(there).await;
        assert!(!destination.is_intact(&staged).await.unwrap(), "{there}");
        change(back).await;
        assert!(destination.is_intact(&staged).await.unwrap(), "{back}");
    }
    change("DROP TABLE STAGE").await;
    assert!(!destination.is_intact(&staged).await.unwrap());
    destination.discard(&staged).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_read_for_long_holds_up_a_change_of_its_columns_only_for_so_long() {
    let database = database().await;
    let options = StagingOptions::new(database.url()).patience(std::time::Duration::from_millis(300));
    let destination = PostgresDestination::new(options).unwrap();
    land(&destination, &schema(&[]), LoadKind::Full, &[(1, "a")]).await.unwrap();
    let reader = database.connect().await.unwrap();
    reader.batch_execute("BEGIN; SELECT * FROM tableau.\"Things\"").await.unwrap();
    // Rows may land meanwhile.
    land(&destination, &schema(&[]), LoadKind::Full, &[(1, "b")]).await.unwrap();
    let wider = schema(&[("More", ColumnType::Int32)]);
    let error = land(&destination, &wider, LoadKind::Full, &[(1, "c")]).await.unwrap_err();
    told(&error, DestinationErrorKind::Unavailable, &["held a lock", "run again"]);
    reader.batch_execute("COMMIT").await.unwrap();
    land(&destination, &wider, LoadKind::Full, &[(1, "c")]).await.unwrap();
}
