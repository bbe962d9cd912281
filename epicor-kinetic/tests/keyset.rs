//! Paging by key: in order, resumable, and loud when the server breaks its word.

use epicor_kinetic::{Client, Continuation, EntitySet, ErrorKind, KeysetColumns, Order, field};
use futures_util::TryStreamExt;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fake;
use crate::table::{Row, runtime, serve, set, table};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// By key, over two columns, with any cap, stopped and resumed anywhere: exactly the table, in order.
    #[test]
    fn paging_by_key_hands_out_the_table_in_order(
        pairs in prop::collection::btree_set((-5_i64..5, -20_i64..20), 0..120),
        page in 1_u64..30,
        cap in 1_usize..40,
    ) {
        let table = table(pairs.clone());
        let (client, _) = serve(&table, cap, |_, _| {});
        let rows = runtime().block_on(async {
            let mut rows = Vec::new();
            let mut stored: Option<String> = None;
            loop {
                let mut keyset = client
                    .entity_set(set())
                    .filter(field("A").ge(-3))
                    .page_size(page)
                    .keyset(KeysetColumns::new().integer("A").integer("B"));
                if let Some(stored) = &stored {
                    keyset = keyset.resume(serde_json::from_str(stored).unwrap()).unwrap();
                }
                let Some(page) = keyset.next_page::<Row>().await.unwrap() else { return rows };
                rows.extend(page.items);
                stored = Some(serde_json::to_string(&keyset.continuation().unwrap()).unwrap());
            }
        });
        let wanted: Vec<Row> = pairs.into_iter().filter(|(a, _)| *a >= -3).map(|(a, b)| Row { a, b }).collect();
        prop_assert_eq!(rows, wanted);
    }
}

fn scripted(pages: Vec<Vec<Value>>) -> Client {
    fake::client(move |number, _| fake::rows(pages.get(number - 1).map_or(&[], Vec::as_slice))).0
}

async fn keyset(client: &Client, columns: KeysetColumns) -> Result<usize, epicor_kinetic::Error> {
    let rows: Vec<Value> = client.entity_set(set()).keyset(columns).into_stream().try_collect().await?;
    Ok(rows.len())
}

#[tokio::test]
async fn a_server_that_breaks_the_order_is_stopped_loudly() {
    let row = |n: i64| json!({ "A": n });
    for pages in [
        vec![vec![row(1), row(3), row(2)]],
        vec![vec![row(1), row(1)]],
        vec![vec![row(1), row(2)], vec![row(2), row(3)]],
        vec![vec![row(1), row(2)], vec![row(1), row(2)]],
    ] {
        let client = scripted(pages);
        let error = keyset(&client, KeysetColumns::new().integer("A")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
    }
    let client = scripted(vec![vec![row(1), row(2)], vec![row(9)]]);
    assert_eq!(keyset(&client, KeysetColumns::new().integer("A")).await.unwrap(), 3);
}

#[tokio::test]
async fn rows_without_a_value_to_page_by_are_refused() {
    for row in [json!({ "A": null }), json!({}), json!({ "A": 1.5 }), json!({ "A": "x" })] {
        let client = scripted(vec![vec![row]]);
        assert_eq!(keyset(&client, KeysetColumns::new().integer("A")).await.unwrap_err().kind(), ErrorKind::Decode);
    }
}

#[tokio::test]
async fn dates_are_ordered_by_time_and_sent_back_as_they_came() {
    let row = |date: &str, id: &str| json!({ "D": date, "S": id });
    for (one, two) in [
        ("2024-05-22T00:00:00", "2024-05-22T00:00:00.5"),
        ("2024-05-22T10:00:00+02:00", "2024-05-22T09:00:00Z"),
        ("2024-05-22", "2024-05-23"),
    ] {
        let pages = [vec![row(one, "b"), row(two, "a")]];
        let (client, log) = fake::client(move |number, _| fake::rows(pages.get(number - 1).map_or(&[], Vec::as_slice)));
        let columns = KeysetColumns::new().datetime("D").string("S");
        assert_eq!(keyset(&client, columns.clone()).await.unwrap(), 2);
        let filter = fake::option(&log.last(), "$filter").unwrap();
        assert_eq!(filter, format!("D gt {two} or (D eq {two} and S gt 'a')"));
        let wrong = scripted(vec![vec![row(two, "b"), row(one, "a")]]);
        assert_eq!(keyset(&wrong, columns).await.unwrap_err().kind(), ErrorKind::Decode);
    }
}

#[tokio::test]
async fn the_columns_to_page_by_are_selected_and_nothing_else_may_order() {
    let (client, log) = fake::client(|_, _| fake::rows(&[]));
    let query = client.entity_set(set()).select(["Name"]).page_size(7);
    let mut keyset = query.clone().keyset(KeysetColumns::new().integer("A"));
    assert!(keyset.next_page::<Value>().await.unwrap().is_none());
    let request = log.last();
    assert_eq!(fake::option(&request, "$select").as_deref(), Some("Name,A"));
    assert_eq!(fake::option(&request, "$orderby").as_deref(), Some("A"));
    assert_eq!(fake::option(&request, "$top").as_deref(), Some("7"));
    assert_eq!(fake::option(&request, "$skip"), None);
    let ordered = query.clone().order_by("B", Order::Ascending).keyset(KeysetColumns::new().integer("A"));
    let skipping = query.clone().skip(1).keyset(KeysetColumns::new().integer("A"));
    for mut wrong in [ordered, skipping, query.keyset(KeysetColumns::new())] {
        assert_eq!(wrong.next_page::<Value>().await.unwrap_err().kind(), ErrorKind::Config);
    }
    assert_eq!(log.len(), 1);
}

#[tokio::test]
async fn a_continuation_belongs_to_its_query() {
    let client = scripted(vec![vec![json!({ "A": 5 })]]);
    let columns = || KeysetColumns::new().integer("A");
    let mut first = client.entity_set(set()).keyset(columns());
    assert_eq!(first.continuation(), None);
    first.next_page::<Value>().await.unwrap();
    let continuation: Continuation = first.continuation().unwrap();
    assert!(client.entity_set(set()).keyset(columns()).resume(continuation.clone()).is_ok());
    for other in [
        client.entity_set(EntitySet::PARTS).keyset(columns()),
        client.entity_set(set()).keyset(KeysetColumns::new().integer("B")),
    ] {
        assert_eq!(other.resume(continuation.clone()).unwrap_err().kind(), ErrorKind::Config);
    }
    let forged = serde_json::to_string(&continuation).unwrap().replace("\"5\"", "\"5 or 1 eq 1\"");
    let forged: Continuation = serde_json::from_str(&forged).unwrap();
    assert!(client.entity_set(set()).keyset(columns()).resume(forged).is_err());
}
