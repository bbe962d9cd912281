//! The parts of paging that need no server.

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::row::{Identities, pick};

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

#[test]
fn columns_are_picked_with_their_own_text() {
    let row = raw(r#"{"A": 1.50, "B": null, "C": {"A": 2}, "D": "x"}"#);
    let names = ["D".to_owned(), "A".to_owned(), "Z".to_owned(), "B".to_owned()];
    let found: Vec<_> = pick(&row, &names).unwrap().into_iter().map(|value| value.map(RawValue::get)).collect();
    assert_eq!(found, [Some("\"x\""), Some("1.50"), None, Some("null")]);
}

#[test]
fn rows_are_told_apart_by_their_key_alone() {
    let ids = Identities::by(vec!["A".to_owned(), "B".to_owned()]);
    let of = |text: &str| ids.of(&raw(text)).unwrap();
    assert_eq!(of(r#"{"A":1,"B":"x","C":1}"#), of(r#"{"A":1,"B":"x","C":2}"#));
    assert_ne!(of(r#"{"A":1,"B":"x"}"#), of(r#"{"A":1,"B":"y"}"#));
    assert_ne!(of(r#"{"A":"1","B":"23"}"#), of(r#"{"A":"12","B":"3"}"#));
}

#[test]
fn rows_without_a_key_are_told_apart_by_everything_but_the_counter() {
    let ids = Identities::by(Vec::new());
    let of = |text: &str| ids.of(&raw(text)).unwrap();
    assert_eq!(of(r#"{"A":1,"RowIdent":"1"}"#), of(r#"{"A":1,"RowIdent":"2"}"#));
    assert_ne!(of(r#"{"A":1,"B":2}"#), of(r#"{"A":1,"B":3}"#));
}

proptest! {
    #[test]
    fn whatever_stands_in_a_row_is_skipped_cleanly(text in any::<String>(), number in any::<i64>()) {
        let row = serde_json::json!({ "X": [text, { "A": 0 }], "A": number, "Y": null }).to_string();
        let row = raw(&row);
        let found = pick(&row, &["A".to_owned()]).unwrap();
        prop_assert_eq!(found[0].unwrap().get().parse::<i64>().unwrap(), number);
    }
}
