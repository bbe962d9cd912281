//! Filters and literals, against a reader that shares nothing with the writer.

use chrono::{DateTime, NaiveDate};
use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;

fn text(filter: &Filter) -> String {
    filter.to_odata().unwrap()
}

/// Reads a quoted string as OData defines it; `None` when it is not exactly one.
fn read_quoted(text: &str) -> Option<String> {
    let mut rest = text.strip_prefix('\'')?.chars();
    let mut value = String::new();
    loop {
        match rest.next()? {
            '\'' => match rest.next() {
                Some('\'') => value.push('\''),
                None => return Some(value),
                Some(_) => return None,
            },
            other => value.push(other),
        }
    }
}

proptest! {
    #[test]
    fn every_string_reads_back_as_itself(value in any::<String>()) {
        let written = Literal::from(value.as_str()).to_string();
        prop_assert_eq!(read_quoted(&written), Some(value));
    }

    #[test]
    fn every_value_survives_the_way_through_an_address(value in any::<String>()) {
        let mut url = Url::parse("https://erp.example.com/live/").unwrap();
        url.set_query(Some(&format!("$filter={}", crate::address::value(&value))));
        let pairs: Vec<_> = url.query_pairs().into_owned().collect();
        prop_assert_eq!(pairs, vec![("$filter".to_owned(), value)]);
        prop_assert!(!url.query().unwrap().contains(['+', ' ', '&', '#']));
    }

    #[test]
    fn every_key_stays_one_segment_of_the_path(value in any::<String>()) {
        let segment = crate::address::segment(&format!("Vendors({})", Literal::from(value.as_str())));
        let url = Url::parse(&format!("https://erp.example.com/a/{segment}")).unwrap();
        let last = url.path_segments().unwrap().next_back().unwrap().to_owned();
        let read = percent_encoding::percent_decode_str(&last).decode_utf8().unwrap().into_owned();
        let inner = read.strip_prefix("Vendors(").unwrap().strip_suffix(')').unwrap();
        prop_assert_eq!(read_quoted(inner), Some(value));
        prop_assert_eq!(url.path_segments().unwrap().count(), 2);
    }

    #[test]
    fn integers_and_decimals_keep_every_digit(number in any::<i64>(), whole in "-?[0-9]{1,30}", fraction in "[0-9]{1,30}") {
        prop_assert_eq!(Literal::from(number).to_string().parse::<i64>().unwrap(), number);
        let decimal = format!("{whole}.{fraction}");
        prop_assert_eq!(Literal::decimal(decimal.clone()).unwrap().to_string(), decimal);
    }

    #[test]
    fn only_plain_numbers_are_decimals(text in any::<String>()) {
        if let Ok(literal) = Literal::decimal(text.clone()) {
            prop_assert!(literal.to_string().bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'.'));
        }
    }

    #[test]
    fn times_read_back_as_themselves(seconds in -62_135_596_800_i64..253_402_300_799, nanos in 0_u32..1_000_000_000) {
        let time = DateTime::from_timestamp(seconds, nanos).unwrap();
        let offset = Literal::from(time).to_string();
        prop_assert_eq!(DateTime::parse_from_rfc3339(&offset).unwrap(), time);
        let local = Literal::from(time.naive_utc()).to_string();
        prop_assert_eq!(Moment::parse(&local), Some(Moment::Local(time.naive_utc())));
    }
}

#[test]
fn literals_are_written_as_odata_four_wants_them() {
    let date = NaiveDate::from_ymd_opt(2024, 5, 22).unwrap();
    let time = date.and_hms_opt(8, 0, 0).unwrap();
    let offset = DateTime::parse_from_rfc3339("2024-05-22T08:00:00-05:00").unwrap();
    assert_eq!(Literal::from(date).to_string(), "2024-05-22");
    assert_eq!(Literal::from(time).to_string(), "2024-05-22T08:00:00");
    assert_eq!(Literal::from(offset).to_string(), "2024-05-22T08:00:00-05:00");
    assert_eq!(Literal::from(offset.to_utc()).to_string(), "2024-05-22T13:00:00Z");
    assert_eq!(Literal::from(true).to_string(), "true");
    assert_eq!(Literal::from(None::<i64>).to_string(), "null");
    let guid = "00000003-9439-4B30-A6F4-6D2FD4B9FD0F";
    assert_eq!(Literal::guid(guid).unwrap().to_string(), guid);
}

#[test]
fn malformed_literals_are_refused() {
    for bad in ["", "1e5", "1.", ".5", "+1", "1,5", "--1", "1 or 1 eq 1"] {
        assert_eq!(Literal::decimal(bad).unwrap_err().kind(), ErrorKind::Config, "{bad}");
    }
    assert!(Literal::guid("00000003-9439-4B30-A6F4").is_err());
    for bad in ["2024-13-01", "now", "2024-05-22 08:00:00", "2024-05-22T08:00:00' or true"] {
        assert!(Literal::datetime_text(bad).is_err(), "{bad}");
    }
}

#[test]
fn conditions_nest_without_losing_their_meaning() {
    let (a, b, c) = (|| field("A").eq(1), || field("B").eq(2), || field("C").eq(3));
    assert_eq!(text(&a().and(b()).and(c())), "A eq 1 and B eq 2 and C eq 3");
    assert_eq!(text(&a().or(b()).and(c())), "(A eq 1 or B eq 2) and C eq 3");
    assert_eq!(text(&a().or(b().and(c()))), "A eq 1 or (B eq 2 and C eq 3)");
    assert_eq!(text(&a().and(b()).not()), "not (A eq 1 and B eq 2)");
    assert_eq!(text(&Filter::raw("A eq 1 or B eq 2").and(c())), "(A eq 1 or B eq 2) and C eq 3");
    assert_eq!(text(&field("D").is_null().or(field("D").is_not_null())), "D eq null or D ne null");
}

#[test]
fn lists_become_comparisons_and_an_empty_one_is_refused() {
    assert_eq!(text(&field("A").in_([1, 2]).and(field("B").eq(3))), "(A eq 1 or A eq 2) and B eq 3");
    assert_eq!(text(&field("A").in_(["x"]).not()), "not (A eq 'x')");
    assert_eq!(field("A").in_(Vec::<i64>::new()).to_odata().unwrap_err().kind(), ErrorKind::Config);
}

#[test]
fn what_can_never_be_true_or_no_column_is_refused() {
    for filter in [
        field("A").gt(Literal::null()),
        field("A eq 1 or B").eq(1),
        field("").eq(1),
        field("A'").contains("x"),
        field("1A").eq(1),
        Filter::raw("  "),
        field("A").eq(1).and(field("").eq(2)),
    ] {
        assert_eq!(filter.to_odata().unwrap_err().kind(), ErrorKind::Config, "{filter:?}");
    }
    assert_eq!(text(&field("Menge_ä_c").eq(1)), "Menge_ä_c eq 1");
}
