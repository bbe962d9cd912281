//! A served table of whole numbers, with an evaluator of filters that shares nothing with the crate.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use epicor_kinetic::{Client, EntitySet};
use http::Request;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fake::{self, Log};

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    #[serde(rename = "A")]
    pub(crate) a: i64,
    #[serde(rename = "B")]
    pub(crate) b: i64,
}

impl Row {
    pub(crate) fn json(self) -> Value {
        json!({ "A": self.a, "B": self.b, "Noise": "x" })
    }
}

pub(crate) type Table = Arc<Mutex<Vec<Row>>>;

pub(crate) fn set() -> EntitySet {
    EntitySet::new("Erp.BO.TestSvc", "Tests").unwrap().with_keys(["A", "B"])
}

/// Serves a table that is kept in order, `cap` rows at most, and calls `between` after each answer.
pub(crate) fn serve(
    table: &Table,
    cap: usize,
    between: impl Fn(usize, &mut Vec<Row>) + Send + Sync + 'static,
) -> (Client, Arc<Log>) {
    let table = Arc::clone(table);
    fake::client(move |number, request| {
        let mut rows = table.lock().unwrap();
        let skip = fake::number(request, "$skip").unwrap_or(0);
        let top = fake::number(request, "$top").unwrap_or(100).min(cap);
        let page: Vec<Value> = matching(&rows, request).into_iter().skip(skip).take(top).map(Row::json).collect();
        let mut body = json!({ "value": page });
        if fake::option(request, "$count").is_some() {
            body["@odata.count"] = rows.len().into();
        }
        let body = body.to_string();
        between(number, &mut rows);
        rows.sort();
        fake::answer(200, body)
    })
}

fn matching(rows: &[Row], request: &Request<Bytes>) -> Vec<Row> {
    let filter = fake::option(request, "$filter");
    rows.iter().copied().filter(|row| filter.as_deref().is_none_or(|filter| holds(filter, *row))).collect()
}

/// An evaluator of comparisons of whole numbers with `and`, `or` and parentheses, written apart from the crate.
fn holds(filter: &str, row: Row) -> bool {
    fn any(tokens: &mut std::iter::Peekable<std::vec::IntoIter<String>>, row: Row) -> bool {
        let mut holds = all(tokens, row);
        while tokens.next_if(|token| token == "or").is_some() {
            holds |= all(tokens, row);
        }
        holds
    }
    fn all(tokens: &mut std::iter::Peekable<std::vec::IntoIter<String>>, row: Row) -> bool {
        let mut holds = one(tokens, row);
        while tokens.next_if(|token| token == "and").is_some() {
            holds &= one(tokens, row);
        }
        holds
    }
    fn one(tokens: &mut std::iter::Peekable<std::vec::IntoIter<String>>, row: Row) -> bool {
        let token = tokens.next().unwrap();
        if token == "(" {
            let holds = any(tokens, row);
            assert_eq!(tokens.next().as_deref(), Some(")"));
            return holds;
        }
        let left = match token.as_str() {
            "A" => row.a,
            "B" => row.b,
            other => panic!("no column {other}"),
        };
        let operator = tokens.next().unwrap();
        let right: i64 = tokens.next().unwrap().parse().unwrap();
        match operator.as_str() {
            "gt" => left > right,
            "ge" => left >= right,
            "eq" => left == right,
            other => panic!("no operator {other}"),
        }
    }
    let spaced = filter.replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<String> = spaced.split_whitespace().map(str::to_owned).collect();
    let mut tokens = tokens.into_iter().peekable();
    let holds = any(&mut tokens, row);
    assert_eq!(tokens.next(), None, "{filter}");
    holds
}

pub(crate) fn table(rows: impl IntoIterator<Item = (i64, i64)>) -> Table {
    let mut rows: Vec<Row> = rows.into_iter().map(|(a, b)| Row { a, b }).collect();
    rows.sort();
    Arc::new(Mutex::new(rows))
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
