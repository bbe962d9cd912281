//! Tests of the page decoder, among them one that holds it against `serde_json` and one that cuts a page at every byte.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

fn column(name: &str, kind: ColumnType) -> Column {
    Column { name: name.into(), source: name.into(), kind, nullable: true, landed: true }
}

fn schema(columns: &[(&str, ColumnType)]) -> Arc<Schema> {
    Arc::new(Schema {
        columns: columns.iter().map(|(name, kind)| column(name, *kind)).collect(),
        key: vec![0],
        version: None,
        row_id: None,
        stamp: None,
        stamp_seconds: None,
        dimensions: vec![],
    })
}

fn decode_one(kind: ColumnType, json: &str) -> Result<ColumnData, Reason> {
    let schema = schema(&[("K", ColumnType::Int64), ("V", kind)]);
    let page = format!("{{\"value\":[{{\"K\":1,\"V\":{json}}}]}}");
    match PageDecoder::new(schema).decode(page.as_bytes()) {
        Ok(page) => Ok(page.batch.columns()[1].clone()),
        Err(error) => Err(error.reason),
    }
}

fn decimal(precision: u8, scale: u8, json: &str) -> Result<i128, Reason> {
    decode_one(ColumnType::Decimal { precision, scale }, json).map(|data| match data.values {
        Values::I64(values) => i128::from(values[0]),
        Values::I128(values) => values[0],
        other => panic!("a decimal sits in {other:?}"),
    })
}

#[test]
fn decimals_are_exact_or_refused() {
    assert_eq!(decimal(18, 4, "8.37"), Ok(83_700));
    assert_eq!(decimal(18, 4, "-0.0001"), Ok(-1));
    assert_eq!(decimal(18, 4, "-0.0"), Ok(0));
    assert_eq!(decimal(18, 4, "1.23450000"), Ok(12_345));
    assert_eq!(decimal(18, 4, "1.23456"), Err(Reason::Scale));
    assert_eq!(decimal(18, 4, "1e3"), Ok(10_000_000));
    assert_eq!(decimal(18, 4, "1.5E-3"), Ok(15));
    assert_eq!(decimal(18, 4, "1.5E-4"), Err(Reason::Scale));
    assert_eq!(decimal(18, 4, "99999999999999.9999"), Ok(999_999_999_999_999_999));
    assert_eq!(decimal(18, 4, "100000000000000"), Err(Reason::Range));
    assert_eq!(decimal(5, 2, "999.99"), Ok(99_999));
    assert_eq!(decimal(5, 2, "1000"), Err(Reason::Range));
    assert_eq!(
        decimal(38, 10, "1234567890123456789012345678.0123456789"),
        Ok(12_345_678_901_234_567_890_123_456_780_123_456_789)
    );
    assert_eq!(decimal(38, 0, "1e38"), Err(Reason::Range));
    assert_eq!(decimal(38, 0, "0e99999999999"), Ok(0));
    assert_eq!(decimal(19, 4, "\"12.5\""), Ok(125_000), "quoted, as IEEE754Compatible sends it");
    assert_eq!(decimal(18, 4, "\"abc\""), Err(Reason::Type));
    assert_eq!(decimal(18, 4, "true"), Err(Reason::Type));
    assert_eq!(decimal(18, 4, "01"), Err(Reason::Syntax));
}

#[test]
fn integers_keep_their_range() {
    let int = |kind, json| decode_one(kind, json).map(|data| data.i64_at(0));
    assert_eq!(int(ColumnType::Int64, "2226299042"), Ok(Some(2_226_299_042)));
    assert_eq!(int(ColumnType::Int64, "9223372036854775807"), Ok(Some(i64::MAX)));
    assert_eq!(int(ColumnType::Int64, "-9223372036854775808"), Ok(Some(i64::MIN)));
    assert_eq!(int(ColumnType::Int64, "9223372036854775808"), Err(Reason::Range));
    assert_eq!(int(ColumnType::Int32, "2147483648"), Err(Reason::Range));
    assert_eq!(int(ColumnType::Int16, "-32768"), Ok(Some(-32_768)));
    assert_eq!(int(ColumnType::Int32, "7.0"), Ok(Some(7)));
    assert_eq!(int(ColumnType::Int32, "7.5"), Err(Reason::Scale));
    assert_eq!(int(ColumnType::Int32, "null"), Ok(None));
}

#[test]
fn dates_keep_the_written_day() {
    let date = |json| decode_one(ColumnType::Date, json).map(|data| data.i64_at(0).unwrap());
    assert_eq!(date("\"1970-01-02\""), Ok(1));
    assert_eq!(date("\"2024-05-22T00:00:00\""), Ok(19_865));
    assert_eq!(date("\"2024-05-22T00:00:00Z\""), Ok(19_865));
    assert_eq!(date("\"2024-05-22T00:00:00-05:00\""), Ok(19_865));
    assert_eq!(date("\"0001-01-01\""), Ok(-719_162));
    assert_eq!(date("\"9999-12-31T00:00:00.000\""), Ok(2_932_896));
    assert_eq!(date("\"2024-05-22T08:00:00\""), Err(Reason::TimeInDate));
    assert_eq!(date("\"2023-02-29\""), Err(Reason::Date));
    assert_eq!(date("\"\""), Err(Reason::Date));
}

#[test]
fn timestamps_with_an_offset_become_utc_and_others_stay() {
    let stamp = |json| decode_one(ColumnType::Timestamp, json).map(|data| data.i64_at(0).unwrap());
    assert_eq!(stamp("\"1970-01-01T00:00:01.5\""), Ok(1_500_000));
    assert_eq!(stamp("\"1970-01-01T02:00:00+02:00\""), Ok(0));
    assert_eq!(stamp("\"1969-12-31T19:00:00-0500\""), Ok(0));
    assert_eq!(stamp("\"2024-05-22T08:00:00.1234567Z\""), Ok(1_716_364_800_123_456));
    assert_eq!(stamp("\"2024-05-22\""), Ok(1_716_336_000_000_000));
    assert_eq!(stamp("\"2024-05-22T25:00:00\""), Err(Reason::Date));
    assert_eq!(stamp("\"2024-05-22T08:00:00 PM\""), Err(Reason::Date));
}

#[test]
fn texts_keep_every_character() {
    let text =
        |json: &str| decode_one(ColumnType::Text, json).map(|data| data.text_at(0).unwrap_or("<null>").to_owned());
    assert_eq!(text(r#""Müller \"& Söhne\" 製作所 🚀 a\/b\\c""#), Ok("Müller \"& Söhne\" 製作所 🚀 a/b\\c".into()));
    assert_eq!(text(r#""\ud83d\ude80\u0000""#), Ok("🚀\0".into()));
    assert_eq!(text(r#""\ud83d""#), Err(Reason::Syntax));
    assert_eq!(text("\"a\nb\""), Err(Reason::Syntax), "a raw control character is no JSON");
    assert_eq!(text("\"\""), Ok(String::new()));
    assert_eq!(text("null"), Ok("<null>".into()));
    assert_eq!(text("7"), Err(Reason::Type));
}

#[test]
fn a_page_says_its_count_and_link_and_skips_the_rest() {
    let page = br#" { "@odata.context":"x", "@odata.count":2, "value":[ {"V":"a","Extra":{"x":[1,{"y":null}]},"K":1} , {"K":2,"V":null} ], "@odata.nextLink":"next" } "#;
    let page = PageDecoder::new(schema(&[("K", ColumnType::Int64), ("V", ColumnType::Text)])).decode(page).unwrap();
    assert_eq!((page.batch.rows(), page.count, page.next_link.as_deref()), (2, Some(2), Some("next")));
    assert_eq!(page.batch.columns()[0].i64_at(1), Some(2));
    assert!(page.batch.columns()[1].is_null(1));
}

#[test]
fn one_property_may_fill_two_columns() {
    let mut columns = vec![column("K", ColumnType::Int64), column("ChangedOn", ColumnType::Timestamp)];
    columns.push(Column { name: "stamp".into(), landed: false, ..column("ChangedOn", ColumnType::Text) });
    let schema = Arc::new(Schema {
        columns,
        key: vec![0],
        version: None,
        row_id: None,
        stamp: Some(2),
        stamp_seconds: None,
        dimensions: vec![],
    });
    let page = br#"{"value":[{"K":1,"ChangedOn":"2024-05-22T08:00:00.1234567"}]}"#;
    let page = PageDecoder::new(schema).decode(page).unwrap();
    assert_eq!(page.batch.columns()[1].i64_at(0), Some(1_716_364_800_123_456));
    assert_eq!(page.batch.columns()[2].text_at(0), Some("2024-05-22T08:00:00.1234567"));
}

#[test]
fn missing_doubled_and_null_key_properties_are_errors() {
    let mut decoder = PageDecoder::new(schema(&[("K", ColumnType::Int64), ("V", ColumnType::Text)]));
    let mut reason =
        |page: &str| decoder.decode(page.as_bytes()).map(|_| ()).map_err(|error| (error.reason, error.property));
    assert_eq!(reason(r#"{"value":[{"K":1}]}"#), Err((Reason::Missing, Some("V".into()))));
    assert_eq!(reason(r#"{"value":[{"K":1,"V":"a","K":2}]}"#), Err((Reason::Twice, Some("K".into()))));
    assert_eq!(reason(r#"{"value":[{"K":null,"V":"a"}]}"#), Err((Reason::NullKey, Some("K".into()))));
    assert_eq!(reason(r#"{"error":{"message":"no"}}"#), Err((Reason::NoRows, None)));
    assert_eq!(reason(r#"{"value":[]}"#), Ok(()), "the decoder is usable after an error");
}

#[test]
fn a_page_cut_at_any_byte_is_an_error() {
    let page = r#"{"@odata.count":2,"value":[{"K":1,"V":"Müller \u00e9"},{"K":-2.0e0,"V":null}]}"#.as_bytes();
    let mut decoder = PageDecoder::new(schema(&[("K", ColumnType::Int64), ("V", ColumnType::Text)]));
    assert_eq!(decoder.decode(page).unwrap().batch.rows(), 2);
    for cut in 0..page.len() {
        let error = decoder.decode(&page[..cut]).expect_err("a cut page must not decode");
        assert!(error.is_damage(), "cut at {cut}: {error}");
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        ".*".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::btree_map(".*", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_serde_json_writes_is_walked_over(value in json()) {
        for text in [value.to_string(), format!("{value:#}")] {
            let mut scanner = Scanner::new(text.as_bytes());
            prop_assert_eq!(scanner.skip_value(), Ok(()));
            prop_assert_eq!(scanner.end(), Ok(()));
        }
    }

    #[test]
    fn it_accepts_exactly_what_serde_json_accepts(value in json(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        // One byte of a valid text is replaced: both must agree on whether it is still JSON.
        let mut bytes = value.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = with;
        // Out-of-range floats are JSON all the same; serde_json refuses them for want of a place.
        prop_assume!(std::str::from_utf8(&bytes).is_ok());
        let theirs = serde_json::from_slice::<&serde_json::value::RawValue>(&bytes).is_ok();
        let mut scanner = Scanner::new(&bytes);
        let ours = scanner.skip_value().is_ok() && scanner.end().is_ok();
        prop_assert_eq!(ours, theirs, "{:?}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn strings_come_out_as_serde_json_reads_them(text in ".*") {
        let json = serde_json::to_string(&text).unwrap();
        let mut scanner = Scanner::new(json.as_bytes());
        let read = scanner.string().unwrap();
        prop_assert_eq!(&*read, text.as_bytes());
    }

    #[test]
    fn decimals_come_out_as_written(unscaled in -999_999_999_999_999_999_i64..=999_999_999_999_999_999, scale in 0_u8..=18) {
        let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = usize::from(scale) + 1);
        let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
        let sign = if unscaled < 0 { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        let text = format!("{sign}{whole}{point}{fraction}");
        prop_assert_eq!(decimal(18, scale, &text), Ok(i128::from(unscaled)));
        prop_assert_eq!(decimal(38, scale, &text), Ok(i128::from(unscaled)));
    }
}
