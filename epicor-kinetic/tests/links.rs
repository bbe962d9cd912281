//! Next links, and pages that are read ahead.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use epicor_kinetic::{EntitySet, ErrorKind, KeysetColumns, Page};
use futures_util::{StreamExt, TryStreamExt};
use http::Request;
use serde_json::{Value, json};

use crate::fake;

fn row(number: usize) -> Value {
    json!({ "Company": "EPIC06", "VendorNum": number })
}

fn page(rows: std::ops::Range<usize>, link: Option<&str>) -> fake::Answer {
    let rows: Vec<Value> = rows.map(row).collect();
    let mut body = json!({ "value": rows });
    if let Some(link) = link {
        body["@odata.nextLink"] = link.into();
    }
    fake::answer(200, body.to_string())
}

fn numbers(rows: &[Value]) -> Vec<u64> {
    rows.iter().map(|row| row["VendorNum"].as_u64().unwrap()).collect()
}

/// A server with 25 rows that gives out four at once and links to the rest, as far as `$top` goes.
fn linking(request: &Request<Bytes>) -> fake::Answer {
    let token = fake::option(request, "$skiptoken");
    let (from, end) = if let Some(token) = &token {
        let (from, end) = token.split_once('-').unwrap();
        (from.parse().unwrap(), end.parse().unwrap())
    } else {
        let from = fake::number(request, "$skip").unwrap_or(0);
        (from, (from + fake::number(request, "$top").unwrap()).min(25))
    };
    let to = (from + 4).min(end);
    let link = format!("Vendors?$skiptoken={to}-{end}");
    page(from..to.max(from), (to < end).then_some(link.as_str()))
}

#[tokio::test]
async fn links_with_a_token_are_followed_and_do_not_end_where_top_does() {
    let (client, log) = fake::client(|_, request| linking(request));
    let rows: Vec<Value> = client.entity_set(EntitySet::VENDORS).page_size(10).stream().try_collect().await.unwrap();
    assert_eq!(numbers(&rows), (0..25).collect::<Vec<_>>());
    assert!(log.queries().iter().any(|query| query.iter().any(|(name, _)| name == "$skiptoken")));
}

#[tokio::test]
async fn a_limit_holds_over_links() {
    let (client, _) = fake::client(|_, request| linking(request));
    let rows: Vec<Value> = client.entity_set(EntitySet::VENDORS).top(7).stream().try_collect().await.unwrap();
    assert_eq!(numbers(&rows), (0..7).collect::<Vec<_>>());
}

#[tokio::test]
async fn links_that_count_rows_are_left_since_nobody_checks_their_seams() {
    let (client, log) = fake::client(|_, request| {
        let from = fake::number(request, "$skip").unwrap_or(0);
        let to = (from + fake::number(request, "$top").unwrap()).min(25);
        page(from..to, (to < 25).then_some("Vendors?$skip=1000"))
    });
    let rows: Vec<Value> = client.entity_set(EntitySet::VENDORS).page_size(10).stream().try_collect().await.unwrap();
    assert_eq!(rows.len(), 25);
    assert!(!log.queries().iter().flatten().any(|(name, value)| name == "$skip" && value == "1000"));
}

#[tokio::test]
async fn a_link_that_leads_away_is_an_error_and_never_asked() {
    for link in [
        "https://evil.example.com/live/x?$skiptoken=1",
        "http://erp.example.com/live/x?$skiptoken=1",
        "https://erp.example.com/other/x?$skiptoken=1",
        "//evil.example.com/live/?$skiptoken=1",
        "/live/../other?$skiptoken=1",
    ] {
        let (client, log) = fake::client(move |_, _| page(0..4, Some(link)));
        let mut pages = client.entity_set(EntitySet::VENDORS).pages::<Value>();
        assert_eq!(pages.next_page().await.unwrap_err().kind(), ErrorKind::Decode, "{link}");
        assert_eq!(log.len(), 1);
    }
}

#[tokio::test]
async fn a_link_to_itself_does_not_go_on_for_ever() {
    let (client, log) = fake::client(|_, _| page(0..4, Some("Vendors?$skiptoken=1")));
    let mut pages = client.entity_set(EntitySet::VENDORS).pages::<Value>();
    pages.next_page().await.unwrap();
    assert_eq!(pages.next_page().await.unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(log.len(), 2);
}

/// A server with 40 rows, asked by key.
fn by_key(request: &Request<Bytes>) -> fake::Answer {
    let from = fake::option(request, "$filter")
        .map_or(0, |filter| filter.rsplit(' ').next().unwrap().parse::<usize>().unwrap() + 1);
    page(from..(from + 4).min(40).max(from), None)
}

#[tokio::test]
async fn pages_read_ahead_are_the_same_pages_and_no_more_than_asked_for() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let (client, _) = fake::client(move |_, request| {
        counted.fetch_add(1, Ordering::SeqCst);
        by_key(request)
    });
    let columns = || KeysetColumns::new().integer("VendorNum");
    let mut pages =
        client.entity_set(EntitySet::VENDORS).page_size(4).keyset(columns()).prefetch(3).into_page_stream::<Value>();
    let first = pages.next().await.unwrap().unwrap();
    assert_eq!(numbers(&first.items), [0, 1, 2, 3]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    // One taken, three ahead.
    assert_eq!(asked.load(Ordering::SeqCst), 4);
    let rest: Vec<Page<Value>> = pages.try_collect().await.unwrap();
    assert_eq!(rest.iter().map(|page| page.items.len()).sum::<usize>(), 36);
    // Each page knows where to go on behind it, however far the reading is.
    let resumed = client.entity_set(EntitySet::VENDORS).page_size(4).keyset(columns());
    let mut resumed = resumed.resume(first.continuation.unwrap()).unwrap();
    assert_eq!(numbers(&resumed.next_page::<Value>().await.unwrap().unwrap().items), [4, 5, 6, 7]);
}

#[tokio::test]
async fn a_dropped_stream_stops_reading_ahead() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let (client, _) = fake::client(move |_, request| {
        counted.fetch_add(1, Ordering::SeqCst);
        by_key(request)
    });
    let query = client.entity_set(EntitySet::VENDORS).page_size(4);
    let mut pages = query.keyset(KeysetColumns::new().integer("VendorNum")).prefetch(2).into_page_stream::<Value>();
    pages.next().await.unwrap().unwrap();
    drop(pages);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let seen = asked.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(seen <= 4 && asked.load(Ordering::SeqCst) == seen);
}

#[tokio::test]
async fn an_error_comes_in_its_turn_and_ends_the_stream() {
    let (client, _) = fake::client(|number, request| match number {
        3 => fake::failure(400, "no", "Ice.Common.BusinessObjectException"),
        _ => by_key(request),
    });
    let query = client.entity_set(EntitySet::VENDORS).page_size(4);
    let pages = query.keyset(KeysetColumns::new().integer("VendorNum")).prefetch(5).into_page_stream::<Value>();
    let all: Vec<Result<Page<Value>, _>> = pages.collect().await;
    let fine: Vec<bool> = all.iter().map(Result::is_ok).collect();
    assert_eq!(fine, [true, true, false]);
}
