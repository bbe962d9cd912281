//! Long lists of values, split by the length of addresses.

use epicor_kinetic::{EntitySet, ErrorKind, Literal, Query, field};
use futures_util::TryStreamExt;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fake;

fn lengths(batches: &[Query]) -> Vec<usize> {
    batches.iter().map(|query| query.url().unwrap().query().unwrap().len()).collect()
}

/// The values that a filter of ours asks for, read back from its text.
fn asked(query: &Query) -> Vec<String> {
    let url = query.url().unwrap();
    let (_, filter) = url.query_pairs().find(|(name, _)| name == "$filter").unwrap();
    let list = filter.rsplit_once(" and ").map_or(filter.as_ref(), |(_, list)| list);
    let list = list.trim_start_matches('(').trim_end_matches(')');
    list.split(" or ").map(|part| part.split_once(" eq ").unwrap().1.to_owned()).collect()
}

#[test]
fn a_thousand_values_become_addresses_that_every_server_takes() {
    let (client, _) = fake::client(|_, _| fake::rows(&[]));
    let query = client.entity_set(EntitySet::VENDORS).select(["VendorNum"]).filter(field("Inactive").eq(false));
    let batches = query.batches("VendorNum", 100_000..101_000).unwrap();
    assert!(lengths(&batches).iter().all(|length| *length <= 2_000), "{:?}", lengths(&batches));
    // None is half empty but the last.
    assert!(lengths(&batches).iter().rev().skip(1).all(|length| *length > 1_700), "{:?}", lengths(&batches));
    let mut all: Vec<String> = batches.iter().flat_map(asked).collect();
    all.sort();
    assert_eq!(all, (100_000..101_000).map(|number| number.to_string()).collect::<Vec<_>>());
    let text = batches[0].url().unwrap();
    assert!(text.query().unwrap().starts_with("$select=VendorNum&$filter=Inactive%20eq%20false%20and%20(VendorNum"));
}

#[test]
fn values_that_the_server_may_take_for_the_same_stay_together() {
    let (client, _) = fake::client(|_, _| fake::rows(&[]));
    let query = client.entity_set(EntitySet::PARTS).max_query_length(400);
    let (x, y, z) = ("x".repeat(30), "y".repeat(30), "z".repeat(30));
    let values = ["abc", "ABC", "abc  ", &x, &y, &z, &x];
    let batches = query.batches("PartNum", values).unwrap();
    assert!(batches.len() > 1);
    let of = |value: &str| batches.iter().position(|query| asked(query).contains(&format!("'{value}'"))).unwrap();
    assert!(of("abc") == of("ABC") && of("abc") == of("abc  "));
    let all: Vec<String> = batches.iter().flat_map(asked).collect();
    assert_eq!(all.len(), 6, "each once: {all:?}");
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let (client, _) = fake::client(|_, _| fake::rows(&[]));
    let query = client.entity_set(EntitySet::PARTS);
    assert!(query.batches("PartNum", Vec::<String>::new()).unwrap().is_empty());
    assert_eq!(query.batches("PartNum", [Literal::null()]).unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(query.batches("Part Num", ["a"]).unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(query.batches("PartNum", ["ä".repeat(400)]).unwrap_err().kind(), ErrorKind::Config);
    let wide = query.select((0..300).map(|number| format!("Column{number}")));
    assert!(wide.batches("PartNum", ["a"]).unwrap_err().to_string().contains("max_query_length"));
    assert_eq!(wide.max_query_length(8_000).batches("PartNum", ["a"]).unwrap().len(), 1);
}

#[tokio::test]
async fn the_rows_of_all_batches_come_in_one_stream() {
    let (client, log) = fake::client(|_, request| {
        if fake::number(request, "$skip") != Some(0) {
            return fake::rows(&[]);
        }
        let filter = fake::option(request, "$filter").unwrap();
        let first = filter.trim_start_matches('(').split(' ').nth(2).unwrap().parse::<i64>().unwrap();
        fake::rows(&[json!({ "Company": "EPIC06", "VendorNum": first })])
    });
    let query = client.entity_set(EntitySet::VENDORS).max_query_length(400);
    let rows: Vec<Value> = query.stream_in("VendorNum", 100..150).unwrap().try_collect().await.unwrap();
    assert!(rows.len() > 3);
    let first_pages = log.queries().into_iter().filter(|query| query.contains(&("$skip".to_owned(), "0".to_owned())));
    let asked: std::collections::BTreeSet<_> = first_pages.collect();
    assert_eq!(asked.len(), rows.len() * 2, "{asked:?}");
}

proptest! {
    #[test]
    fn every_value_is_asked_for_once_and_no_address_is_too_long(
        values in proptest::collection::vec("[a-zA-Z0-9 äß/&'+%-]{0,40}", 0..120), longest in 800_usize..4_000,
    ) {
        let (client, _) = fake::client(|_, _| fake::rows(&[]));
        let query = client.entity_set(EntitySet::PARTS).select(["PartNum"]).max_query_length(longest);
        let batches = query.batches("PartNum", values.iter().map(String::as_str)).unwrap();
        prop_assert!(lengths(&batches).iter().all(|length| *length <= longest));
        let urls: Vec<String> = batches.iter().map(|query| {
            let url = query.url().unwrap();
            let (_, filter) = url.query_pairs().find(|(name, _)| name == "$filter").unwrap();
            filter.into_owned()
        }).collect();
        for value in &values {
            let literal = format!("PartNum eq '{}'", value.replace('\'', "''"));
            // Followed by the end of the comparison, so that no longer value is meant.
            let times: usize = urls.iter().map(|filter| {
                filter.trim_start_matches('(').trim_end_matches(')').split(" or PartNum").filter(|part| {
                    let part = part.strip_prefix("PartNum").unwrap_or(part);
                    format!("PartNum{part}") == literal
                }).count()
            }).sum();
            prop_assert_eq!(times, 1, "{:?}", value);
        }
    }
}
