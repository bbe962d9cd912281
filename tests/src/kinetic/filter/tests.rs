//! Conditions that the client writes, read back by this parser: whatever the tree and the values, both mean the same rows.

use chrono::NaiveDate;
use epicor_kinetic::{Filter as Written, Literal, field};
use proptest::prelude::*;

use super::*;
use crate::kinetic::table::ColumnDefinition;

/// A condition as the test sees it; neither the client's form nor the simulator's.
#[derive(Clone, Debug)]
enum Condition {
    Text(u8, String),
    Number(u8, i64),
    Amount(u8, i64),
    Flag(bool),
    Day(u8, NaiveDate),
    NoDay,
    OneOf(Vec<String>),
    Listed(Vec<i64>),
    Part(u8, String),
    Lower(String),
    LongerThan(i64),
    InYear(i64),
    Not(Box<Condition>),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
}

#[derive(Clone, Debug)]
struct Record {
    text: String,
    number: i64,
    /// In thousandths.
    amount: i64,
    flag: bool,
    day: Option<NaiveDate>,
}

fn compare<T: PartialOrd>(operator: u8, one: &T, two: &T) -> bool {
    match operator % 6 {
        0 => one == two,
        1 => one != two,
        2 => one > two,
        3 => one >= two,
        4 => one < two,
        _ => one <= two,
    }
}

impl Condition {
    /// By plain Rust.
    fn holds(&self, record: &Record) -> bool {
        match self {
            Self::Text(operator, text) => compare(*operator % 2, &record.text, text),
            Self::Number(operator, number) => compare(*operator, &record.number, number),
            Self::Amount(operator, amount) => compare(*operator, &record.amount, amount),
            Self::Flag(flag) => record.flag == *flag,
            Self::Day(operator, day) => match record.day {
                Some(of) => compare(*operator, &of, day),
                None => operator % 6 == 1,
            },
            Self::NoDay => record.day.is_none(),
            Self::OneOf(texts) => texts.contains(&record.text),
            Self::Listed(numbers) => numbers.contains(&record.number),
            Self::Part(which, part) => match which % 3 {
                0 => record.text.contains(part),
                1 => record.text.starts_with(part),
                _ => record.text.ends_with(part),
            },
            Self::Lower(text) => record.text.to_lowercase() == *text,
            Self::LongerThan(letters) => i64::try_from(record.text.chars().count()).unwrap() > *letters,
            Self::InYear(year) => record.day.is_some_and(|day| i64::from(day.year()) == *year),
            Self::Not(inner) => !inner.holds(record),
            Self::And(one, two) => one.holds(record) && two.holds(record),
            Self::Or(one, two) => one.holds(record) || two.holds(record),
        }
    }

    /// By the client.
    fn written(&self) -> Written {
        fn by(operator: u8, name: &str, value: impl Into<Literal>) -> Written {
            let field = field(name);
            match operator % 6 {
                0 => field.eq(value),
                1 => field.ne(value),
                2 => field.gt(value),
                3 => field.ge(value),
                4 => field.lt(value),
                _ => field.le(value),
            }
        }
        match self {
            Self::Text(operator, text) => by(*operator % 2, "Text", text.as_str()),
            Self::Number(operator, number) => by(*operator, "Number", *number),
            Self::Amount(operator, amount) => by(*operator, "Amount", Literal::decimal(thousandths(*amount)).unwrap()),
            Self::Flag(flag) => field("Flag").eq(*flag),
            Self::Day(operator, day) => by(*operator, "Day", *day),
            Self::NoDay => field("Day").is_null(),
            Self::OneOf(texts) => field("Text").in_(texts.clone()),
            Self::Listed(numbers) => field("Number").in_list(numbers.clone()),
            Self::Part(which, part) => match which % 3 {
                0 => field("Text").contains(part.as_str()),
                1 => field("Text").startswith(part.as_str()),
                _ => field("Text").endswith(part.as_str()),
            },
            Self::Lower(text) => field("Text").tolower().eq(text.as_str()),
            Self::LongerThan(letters) => field("Text").length().gt(*letters),
            Self::InYear(year) => field("Day").year().eq(*year),
            Self::Not(inner) => inner.written().not(),
            Self::And(one, two) => one.written().and(two.written()),
            Self::Or(one, two) => one.written().or(two.written()),
        }
    }
}

fn thousandths(amount: i64) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    format!("{sign}{}.{:03}", amount.unsigned_abs() / 1_000, amount.unsigned_abs() % 1_000)
}

fn definition() -> Definition {
    let columns = [
        ("Text", Kind::Text),
        ("Number", Kind::Int64),
        ("Amount", Kind::Decimal(20, 3)),
        ("Flag", Kind::Bool),
        ("Day", Kind::Date),
    ];
    Definition {
        service: "S".to_owned(),
        set: "Rows".to_owned(),
        table: "Row".to_owned(),
        key: vec!["Number".to_owned()],
        columns: columns.map(|(name, kind)| ColumnDefinition { name: name.to_owned(), kind }).into(),
        children: Vec::new(),
    }
}

fn row(record: &Record) -> Vec<Value> {
    vec![
        Value::Text(record.text.clone()),
        Value::Int(record.number),
        Value::Decimal(record.amount.into(), 3),
        Value::Bool(record.flag),
        record.day.map_or(Value::Null, Value::Date),
    ]
}

/// Short texts of few letters, so that conditions hold now and then, and of signs that matter to a parser.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[aA'\" ,()é東]{0,4}",
        Just("null".to_owned()),
        Just("a and b".to_owned()),
        Just("') or (1 eq 1".to_owned()),
        Just("datetime'2024-01-01'".to_owned()),
    ]
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![-3..4_i64, Just(i64::MIN), Just(i64::MAX), any::<i64>()]
}

fn amount() -> impl Strategy<Value = i64> {
    prop_oneof![-3..4_i64, -5_000..5_000_i64, any::<i64>()]
}

fn day() -> impl Strategy<Value = NaiveDate> {
    let days = prop_oneof![Just((1, 1, 1)), Just((9999, 12, 31)), (2023..2026, 2..4_u32, 1..4_u32)];
    days.prop_map(|(year, month, day)| NaiveDate::from_ymd_opt(year, month, day).unwrap())
}

fn condition() -> impl Strategy<Value = Condition> {
    let leaf = prop_oneof![
        (any::<u8>(), text()).prop_map(|(operator, text)| Condition::Text(operator, text)),
        (any::<u8>(), number()).prop_map(|(operator, number)| Condition::Number(operator, number)),
        (any::<u8>(), amount()).prop_map(|(operator, amount)| Condition::Amount(operator, amount)),
        any::<bool>().prop_map(Condition::Flag),
        (any::<u8>(), day()).prop_map(|(operator, day)| Condition::Day(operator, day)),
        Just(Condition::NoDay),
        prop::collection::vec(text(), 1..4).prop_map(Condition::OneOf),
        prop::collection::vec(number(), 1..4).prop_map(Condition::Listed),
        (any::<u8>(), text()).prop_map(|(which, part)| Condition::Part(which, part)),
        text().prop_map(|text| Condition::Lower(text.to_lowercase())),
        (0..5_i64).prop_map(Condition::LongerThan),
        (2023..2026_i64).prop_map(Condition::InYear),
    ];
    leaf.prop_recursive(5, 40, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|of| Condition::Not(Box::new(of))),
            (inner.clone(), inner.clone()).prop_map(|(one, two)| Condition::And(Box::new(one), Box::new(two))),
            (inner.clone(), inner).prop_map(|(one, two)| Condition::Or(Box::new(one), Box::new(two))),
        ]
    })
}

fn record() -> impl Strategy<Value = Record> {
    (text(), number(), amount(), any::<bool>(), prop::option::of(day()))
        .prop_map(|(text, number, amount, flag, day)| Record { text, number, amount, flag, day })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_the_client_writes_is_what_is_meant(condition in condition(), records in prop::collection::vec(record(), 1..12)) {
        let text = condition.written().to_odata().unwrap();
        let dates = Dates { form: DateForm::Bare, strict: false };
        let read = parse(&text, &definition(), dates).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        for record in &records {
            prop_assert_eq!(read.fits(&row(record)), condition.holds(record), "{} on {:?}", text, record);
        }
    }
}
