//! Paging by offset over sets that are cut short or move.

use std::collections::BTreeMap;

use epicor_kinetic::{ErrorKind, RetryPolicy};
use futures_util::TryStreamExt;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fake;
use crate::table::{Row, runtime, serve, set, table};

async fn all_pages(pages: &mut epicor_kinetic::Pages<Row>) -> Result<Vec<Row>, epicor_kinetic::Error> {
    let mut rows = Vec::new();
    while let Some(page) = pages.next_page().await? {
        rows.extend(page.items);
    }
    Ok(rows)
}

#[tokio::test]
async fn the_first_page_is_the_documented_one_and_ordered_by_key() {
    let (client, log) = serve(&table([]), 100, |_, _| {});
    assert!(client.entity_set(set()).pages::<Row>().next_page().await.unwrap().is_none());
    let pairs = [("$orderby", "A,B"), ("$top", "100"), ("$skip", "0")];
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(log.queries(), [pairs]);
}

#[tokio::test]
async fn short_pages_are_not_the_end() {
    for cap in [2, 3, 7, 100, 1_000] {
        let table = table((0..250).map(|n| (n, n % 3)));
        let (client, _) = serve(&table, cap, |_, _| {});
        let mut pages = client.entity_set(set()).page_size(500).pages::<Row>();
        assert_eq!(all_pages(&mut pages).await.unwrap(), *table.lock().unwrap(), "cap {cap}");
        assert_eq!(pages.rereads(), 0);
        assert!(pages.next_page().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_server_that_gives_out_single_rows_is_not_mistaken_for_an_empty_one() {
    let (client, log) = serve(&table([(1, 0)]), 1, |_, _| {});
    assert_eq!(all_pages(&mut client.entity_set(set()).pages()).await.unwrap().len(), 1);
    assert_eq!(log.len(), 3);
    let (client, _) = serve(&table([(1, 0), (2, 0)]), 1, |_, _| {});
    let error = all_pages(&mut client.entity_set(set()).pages()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
}

#[tokio::test]
async fn the_count_saves_the_last_request() {
    let table = table((0..200).map(|n| (n, 0)));
    let (client, log) = serve(&table, 1_000, |_, _| {});
    let mut pages = client.entity_set(set()).count().pages::<Row>();
    assert_eq!(pages.next_page().await.unwrap().unwrap().count, Some(200));
    assert_eq!(pages.next_page().await.unwrap().unwrap().items.len(), 100);
    assert!(pages.next_page().await.unwrap().is_none());
    assert_eq!(log.len(), 2);
}

#[tokio::test]
async fn limit_and_start_are_kept_across_pages() {
    let table = table((0..100).map(|n| (n, 0)));
    let (client, log) = serve(&table, 1_000, |_, _| {});
    let query = client.entity_set(set()).skip(10).top(25).page_size(10);
    let rows: Vec<Row> = query.stream::<Row>().try_collect().await.unwrap();
    assert_eq!(rows.iter().map(|row| row.a).collect::<Vec<_>>(), (10..35).collect::<Vec<_>>());
    assert_eq!(log.len(), 3);
}

#[tokio::test]
async fn a_row_that_vanishes_in_front_hides_no_other() {
    let table = table((0..30).map(|n| (n, 0)));
    let (client, _) = serve(&table, 1_000, |number, rows| {
        if number == 2 {
            rows.remove(0);
        }
    });
    let mut pages = client.entity_set(set()).page_size(10).pages::<Row>();
    let rows = all_pages(&mut pages).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.a).collect::<Vec<_>>(), (0..30).collect::<Vec<_>>());
    assert_eq!(pages.rereads(), 1);
}

#[tokio::test]
async fn a_row_that_appears_in_front_doubles_no_other() {
    let table = table((0..30).map(|n| (n, 0)));
    let (client, _) = serve(&table, 1_000, |number, rows| {
        if number == 1 {
            rows.push(Row { a: -1, b: 0 });
        }
    });
    let mut pages = client.entity_set(set()).page_size(10).pages::<Row>();
    let mut rows = all_pages(&mut pages).await.unwrap();
    rows.sort();
    assert_eq!(rows.iter().map(|row| row.a).collect::<Vec<_>>(), (-1..30).collect::<Vec<_>>());
}

#[tokio::test]
async fn rows_that_never_rest_are_reported() {
    let table = table((0..30).map(|n| (n, 0)));
    let (client, log) = serve(&table, 1_000, |number, rows| {
        rows.push(Row { a: -i64::try_from(number).unwrap(), b: 0 });
    });
    let error = all_pages(&mut client.entity_set(set()).page_size(10).pages()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(log.len(), 8);
    let mut strict = client.entity_set(set()).page_size(10).pages::<Row>().most_rereads(0);
    assert_eq!(all_pages(&mut strict).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn equal_rows_of_a_query_without_key_are_all_handed_out() {
    let values: Vec<i64> = (0..39).map(|n| n / 2).collect();
    let (client, _) = fake::client(move |number, request| {
        let (skip, top) = (fake::number(request, "$skip").unwrap(), fake::number(request, "$top").unwrap());
        // One foreign row at the front for a while, so that everything is read twice.
        let shifted: Vec<i64> =
            if number == 2 { std::iter::once(-1).chain(values.clone()).collect() } else { values.clone() };
        let page: Vec<Value> = shifted
            .iter()
            .enumerate()
            .skip(skip)
            .take(top)
            .map(|(at, value)| json!({ "RowIdent": format!("{number}-{at}"), "Calculated_V": value }))
            .collect();
        fake::rows(&page)
    });
    let mut pages = client.baq("KT").page_size(6).pages::<Value>();
    let mut seen: BTreeMap<i64, usize> = BTreeMap::new();
    assert_eq!(pages.rereads(), 0);
    while let Some(page) = pages.next_page().await.unwrap() {
        for row in page.items {
            *seen.entry(row["Calculated_V"].as_i64().unwrap()).or_default() += 1;
        }
    }
    assert_eq!(pages.rereads(), 1);
    let wanted: BTreeMap<i64, usize> = (0..20).map(|value| (value, if value < 19 { 2 } else { 1 })).collect();
    assert_eq!(seen, wanted);
}

#[tokio::test]
async fn paging_goes_on_where_it_was_after_an_error() {
    let rows: Vec<Value> = (0..25).map(|n| Row { a: n, b: 0 }.json()).collect();
    let (builder, _) = fake::builder(move |number, request| {
        if number % 2 == 0 {
            return fake::answer(500, "");
        }
        let (skip, top) = (fake::number(request, "$skip").unwrap(), fake::number(request, "$top").unwrap());
        fake::rows(&rows.iter().skip(skip).take(top).cloned().collect::<Vec<_>>())
    });
    let client = builder.retry(RetryPolicy::none()).build().unwrap();
    let mut pages = client.entity_set(set()).page_size(10).pages::<Row>();
    let (mut found, mut errors) = (Vec::new(), 0);
    loop {
        match pages.next_page().await {
            Ok(Some(page)) => found.extend(page.items.into_iter().map(|row| row.a)),
            Ok(None) => break,
            Err(_) => errors += 1,
        }
    }
    assert_eq!((found, errors), ((0..25).collect::<Vec<_>>(), 3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever comes and goes between pages: rows that rest are handed out exactly once.
    #[test]
    fn rows_at_rest_are_handed_out_exactly_once(
        size in 0_i64..120,
        page in 1_u64..40,
        cap in 2_usize..60,
        changes in prop::collection::vec((any::<bool>(), 0_i64..240), 0..6),
    ) {
        // Even numbers rest, odd ones come and go.
        let table = table((0..size).map(|n| (n * 2, 0)).chain((0..size).step_by(3).map(|n| (n * 2 + 1, 0))));
        let moves = changes.clone();
        let (client, _) = serve(&table, cap, move |number, rows| {
            if let Some((insert, at)) = moves.get(number - 1) {
                let row = Row { a: at * 2 + 1, b: 0 };
                rows.retain(|present| *present != row);
                if *insert {
                    rows.push(row);
                }
            }
        });
        let mut pages = client.entity_set(set()).page_size(page).pages::<Row>().most_rereads(20);
        let rows = runtime().block_on(all_pages(&mut pages)).unwrap();
        let mut resting: Vec<i64> = rows.iter().map(|row| row.a).filter(|a| a % 2 == 0).collect();
        resting.sort_unstable();
        prop_assert_eq!(resting, (0..size).map(|n| n * 2).collect::<Vec<_>>());
        let mut odd: Vec<i64> = rows.iter().map(|row| row.a).filter(|a| a % 2 != 0).collect();
        let all = odd.len();
        odd.sort_unstable();
        odd.dedup();
        prop_assert_eq!(odd.len(), all);
    }
}
