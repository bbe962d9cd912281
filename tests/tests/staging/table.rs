//! What the table is like while rows come and go, and when its columns change.

use kinetic_tableau_sync::{ColumnType, Deletes, Destination as _, DestinationErrorKind, LoadKind};

use super::{database, destination, keyed, land, plan, rows, schema, stage, target, text, texts};

const COUNT: i64 = 3_000;

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_one_full_load_or_the_next_and_views_and_grants_stay() {
    let database = database().await;
    let destination = destination(&database, Deletes::Hard);
    let schema = schema(&[]);
    let load = async |name: &str, from: i64| {
        let given: Vec<(i64, &str)> = (from..from + COUNT).map(|id| (id, name)).collect();
        land(&destination, &schema, LoadKind::Full, &given).await.unwrap();
    };
    load("load 0", 0).await;
    let client = database.connect().await.unwrap();
    client
        .batch_execute(
            "CREATE VIEW seen AS SELECT count(*) AS all, count(DISTINCT \"Name\") AS names, max(\"Name\") AS name FROM tableau.\"Things\";\
             GRANT SELECT ON tableau.\"Things\" TO PUBLIC",
        )
        .await
        .unwrap();
    // A transaction that has begun sees its own state to its end.
    let old = database.connect().await.unwrap();
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    assert_eq!(text(&old, "SELECT 1 FROM pg_class LIMIT 1").await, "1");
    let reading = tokio::spawn({
        let database = database.clone();
        async move {
            let client = database.connect().await.unwrap();
            let mut seen: Vec<String> = Vec::new();
            loop {
                let row = texts(&client, "SELECT * FROM seen").await.remove(0);
                assert_eq!(row[0].as_deref(), Some("3000"), "never empty, never half");
                assert_eq!(row[1].as_deref(), Some("1"), "never two loads at once");
                let name = row[2].clone().unwrap();
                if seen.last() != Some(&name) {
                    seen.push(name.clone());
                }
                if name == "load 4" {
                    return seen;
                }
            }
        }
    });
    for nth in 1..=4 {
        // Some keys stay, some come, some go.
        load(&format!("load {nth}"), nth * 500).await;
    }
    let seen = reading.await.unwrap();
    assert!(seen.len() >= 2 && seen.is_sorted(), "{seen:?}");
    assert_eq!(texts(&old, "SELECT * FROM seen").await[0][2].as_deref(), Some("load 0"));
    let grants =
        "SELECT count(*) FROM information_schema.table_privileges WHERE grantee = 'PUBLIC' AND table_name = 'Things'";
    assert_eq!(text(&client, grants).await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_as_it_was_is_not_touched_by_a_full_load() {
    let database = database().await;
    let destination = destination(&database, Deletes::Hard);
    let schema = schema(&[]);
    land(&destination, &schema, LoadKind::Full, &[(1, "a"), (2, "b"), (3, "c")]).await.unwrap();
    let client = database.connect().await.unwrap();
    let query = "SELECT \"ID\", xmin, \"_synced_at\" FROM tableau.\"Things\" ORDER BY 1";
    let before = texts(&client, query).await;
    land(&destination, &schema, LoadKind::Full, &[(1, "a"), (2, "B"), (4, "d")]).await.unwrap();
    let after = texts(&client, query).await;
    assert_eq!(before[0], after[0]);
    assert_ne!(before[1], after[1]);
    assert!(after[1][2] > before[1][2] && after[1][2] == after[2][2], "it says when a row landed");
    // What somebody else has written is put right.
    client.batch_execute("UPDATE tableau.\"Things\" SET \"Name\" = 'x'").await.unwrap();
    land(&destination, &schema, LoadKind::Full, &[(1, "a"), (2, "B"), (4, "d")]).await.unwrap();
    let names = texts(&client, "SELECT \"Name\" FROM tableau.\"Things\" ORDER BY 1").await;
    assert_eq!(names, [[Some("B".to_owned())], [Some("a".to_owned())], [Some("d".to_owned())]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn soft_deletes_mark_rows_and_a_row_that_comes_back_is_unmarked() {
    let database = database().await;
    let soft = destination(&database, Deletes::Soft);
    let schema = schema(&[]);
    land(&soft, &schema, LoadKind::Full, &[(1, "a"), (2, "b"), (3, "c")]).await.unwrap();
    let client = database.connect().await.unwrap();
    let marks = async || {
        let query = "SELECT \"ID\", \"Name\" || CASE WHEN \"_deleted_at\" IS NULL THEN '' ELSE ' gone' END FROM tableau.\"Things\" ORDER BY 1";
        let rows = texts(&client, query).await;
        rows.into_iter().map(|mut row| row.remove(1).unwrap()).collect::<Vec<_>>()
    };
    // By a delta.
    let keys = std::sync::Arc::new(schema.key_only());
    let delta = plan(&soft, &schema, LoadKind::Delta, "Things").await;
    let mut load = soft.begin(&delta).await.unwrap();
    load.delete(&rows(&keys, &[(2, ""), (9, "")])).await.unwrap();
    let staged = load.seal().await.unwrap();
    soft.publish(&delta, &staged).await.unwrap();
    assert_eq!(marks().await, ["a", "b gone", "c"]);
    let since = text(&client, "SELECT \"_deleted_at\" FROM tableau.\"Things\" WHERE \"ID\" = 2").await;
    // By a full load that lacks it; what was gone stays gone since then.
    land(&soft, &schema, LoadKind::Full, &[(1, "a")]).await.unwrap();
    assert_eq!(marks().await, ["a", "b gone", "c gone"]);
    assert_eq!(text(&client, "SELECT \"_deleted_at\" FROM tableau.\"Things\" WHERE \"ID\" = 2").await, since);
    // Back by a delta, and by a full load with the same content.
    land(&soft, &schema, LoadKind::Delta, &[(2, "again")]).await.unwrap();
    assert_eq!(marks().await, ["a", "again", "c gone"]);
    land(&soft, &schema, LoadKind::Full, &[(1, "a"), (2, "again"), (3, "c")]).await.unwrap();
    assert_eq!(marks().await, ["a", "again", "c"]);
    // Hard from now on: what is marked goes.
    land(&soft, &schema, LoadKind::Full, &[(1, "a"), (3, "c")]).await.unwrap();
    assert_eq!(marks().await, ["a", "again gone", "c"]);
    let hard = destination(&database, Deletes::Hard);
    land(&hard, &schema, LoadKind::Delta, &[(1, "A")]).await.unwrap();
    assert_eq!(marks().await, ["A", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_come_go_and_widen_while_rows_and_views_stay() {
    let database = database().await;
    let soft = destination(&database, Deletes::Soft);
    let decimal = |precision, scale| ColumnType::Decimal { precision, scale };
    let first = schema(&[("Count", ColumnType::Int16), ("Price", decimal(9, 2)), ("Note", ColumnType::Text)]);
    land(&soft, &first, LoadKind::Full, &[(1, "a"), (2, "b")]).await.unwrap();
    let client = database.connect().await.unwrap();
    client.batch_execute("CREATE VIEW names AS SELECT \"Name\" FROM tableau.\"Things\"").await.unwrap();
    client.batch_execute("ALTER TABLE tableau.\"Things\" ADD COLUMN mine text DEFAULT 'kept'").await.unwrap();
    let second = schema(&[("Count", ColumnType::Int64), ("Price", decimal(20, 4)), ("City", ColumnType::Text)]);
    land(&soft, &second, LoadKind::Full, &[(1, "A")]).await.unwrap();
    let query = "SELECT \"ID\", \"Name\", \"Count\", \"Price\", \"Note\", \"City\", mine, \"_deleted_at\" IS NOT NULL FROM tableau.\"Things\" ORDER BY 1";
    let found = texts(&client, query).await;
    let row = |values: [Option<&str>; 8]| values.map(|value| value.map(str::to_owned)).to_vec();
    assert_eq!(
        found,
        [
            // `Note` is mapped no more; `mine` was never ours.
            row([Some("1"), Some("A"), Some("1"), Some("0.0001"), None, Some("A"), Some("kept"), Some("f")]),
            // A deleted row keeps what it had, in the wider types.
            row([Some("2"), Some("b"), Some("2"), Some("0.0200"), Some("b"), None, Some("kept"), Some("t")]),
        ]
    );
    assert_eq!(texts(&client, "SELECT * FROM names").await.len(), 2);
    // What would lose something is refused where rows are kept, before anything is read.
    let narrow = schema(&[("Count", ColumnType::Text)]);
    let next = plan(&soft, &narrow, LoadKind::Full, "Things").await;
    let error = soft.begin(&next).await.unwrap_err();
    assert_eq!(error.kind(), DestinationErrorKind::Config, "{error}");
    assert!(error.to_string().contains("Count") && error.hint().unwrap().contains("rename the table"), "{error}");
    // Where deletes are hard, a full load replaces all rows, and so may replace types and keys.
    client.batch_execute("DROP VIEW names").await.unwrap();
    let hard = destination(&database, Deletes::Hard);
    land(&hard, &narrow, LoadKind::Full, &[(1, "z"), (5, "y")]).await.unwrap();
    let found = texts(&client, "SELECT \"ID\", \"Name\", \"Count\", mine FROM tableau.\"Things\" ORDER BY 1").await;
    assert_eq!(found[1], [Some("5"), Some("y"), Some("y"), Some("kept")].map(|value| value.map(str::to_owned)));
    let other = keyed(&[("ID", ColumnType::Int32), ("Name", ColumnType::Text), ("Count", ColumnType::Text)], &[1, 0]);
    land(&hard, &other, LoadKind::Full, &[(1, "z"), (1, "y")]).await.unwrap();
    let key = "SELECT string_agg(a.attname, '+' ORDER BY array_position(k.conkey, a.attnum)) FROM pg_constraint k JOIN pg_attribute a \
               ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey) WHERE k.contype = 'p' AND k.conrelid = 'tableau.\"Things\"'::regclass";
    assert_eq!(text(&client, key).await, "Name+ID");
    let only = keyed(&[("Name", ColumnType::Text)], &[0]);
    land(&hard, &only, LoadKind::Full, &[(0, "z"), (0, "q")]).await.unwrap();
    assert_eq!(texts(&client, "SELECT \"Name\" FROM tableau.\"Things\" WHERE \"ID\" IS NULL").await.len(), 2);
    land(&hard, &only, LoadKind::Delta, &[(0, "z"), (0, "r")]).await.unwrap();
    assert_eq!(text(&client, "SELECT count(*) FROM tableau.\"Things\"").await, "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_was_begun_before_another_one_landed_is_refused() {
    let database = database().await;
    let (stale, fresh) = (destination(&database, Deletes::Hard), destination(&database, Deletes::Hard));
    let schema = schema(&[]);
    land(&fresh, &schema, LoadKind::Full, &[(1, "a")]).await.unwrap();
    for kind in [LoadKind::Full, LoadKind::Delta] {
        let old = plan(&stale, &schema, kind, "Things").await;
        let staged = stage(&stale, &old, &[rows(&schema, &[(1, "old")])]).await.unwrap();
        let mut new = plan(&fresh, &schema, kind, "Things").await;
        // Not to be cleared away as a leftover: two workers that do not know of each other.
        let client = database.connect().await.unwrap();
        client.batch_execute("UPDATE tableau_loads.load SET dataset = 'hidden'").await.unwrap();
        let newer = stage(&fresh, &new, &[rows(&schema, &[(1, "new")])]).await.unwrap();
        let receipt = fresh.publish(&new, &newer).await.unwrap();
        let error = stale.publish(&old, &staged).await.unwrap_err();
        assert_eq!(error.kind(), DestinationErrorKind::Rejected, "{error}");
        assert_eq!(text(&client, "SELECT \"Name\" FROM tableau.\"Things\"").await, "new");
        // While the one that landed is answered again, by its receipt.
        assert_eq!(fresh.publish(&new, &newer).await.unwrap(), receipt);
        assert_eq!(stale.find_receipt(&new).await.unwrap(), Some(receipt));
        assert_eq!(stale.find_receipt(&old).await.unwrap(), None);
        new.request_id = "another".to_owned();
        assert_eq!(fresh.publish(&new, &newer).await.unwrap_err().kind(), DestinationErrorKind::Rejected);
        stale.discard(&staged).await.unwrap();
    }
    // A table that was made anew is another one.
    let changes = plan(&fresh, &schema, LoadKind::Delta, "Things").await;
    let staged = stage(&fresh, &changes, &[rows(&schema, &[(2, "b")])]).await.unwrap();
    let client = database.connect().await.unwrap();
    client
        .batch_execute(
            "CREATE TABLE copy (LIKE tableau.\"Things\" INCLUDING ALL); DROP TABLE tableau.\"Things\"; \
                        ALTER TABLE copy SET SCHEMA tableau; ALTER TABLE tableau.copy RENAME TO \"Things\"",
        )
        .await
        .unwrap();
    assert_eq!(fresh.publish(&changes, &staged).await.unwrap_err().kind(), DestinationErrorKind::Rejected);
    let before = fresh.inspect(&target("Things")).await.unwrap();
    land(&fresh, &schema, LoadKind::Full, &[(1, "a")]).await.unwrap();
    assert_ne!(before, fresh.inspect(&target("Things")).await.unwrap());
}
