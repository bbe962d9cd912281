//! A table of row versions and keys, asked through the real client.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use epicor_kinetic::{Client, Transport, TransportError};
use futures_util::TryStreamExt as _;
use http::{Request, Response};
use kinetic_tableau_sync::{
    Cursor, DatasetSpec, KineticSource, Source as _, SourceError, SourceObject, Target, Track, Window,
};
use percent_encoding::percent_decode_str;

const METADATA: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>
<Schema Namespace="Erp" xmlns="http://docs.oasis-open.org/odata/ns/edm">
<EntityType Name="Q"><Key><PropertyRef Name="Num"/></Key>
<Property Name="Num" Type="Edm.Int64" Nullable="false"/><Property Name="SysRevID" Type="Edm.Int64"/></EntityType>
<EntityContainer Name="C"><EntitySet Name="Data" EntityType="Erp.Q"/></EntityContainer></Schema></edmx:DataServices></edmx:Edmx>"#;

/// A row: its version and its key.
pub(super) type Row = (i64, i64);

type Hook = Box<dyn FnMut(&mut Vec<Row>, &Asked) + Send>;

/// What a request asks for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) filter: String,
    pub(super) descending: bool,
    pub(super) top: usize,
    /// How many requests for rows there were before.
    pub(super) before: usize,
}

pub(super) struct Script {
    pub(super) rows: Mutex<Vec<Row>>,
    /// Called before each answer.
    hook: Mutex<Option<Hook>>,
    asked: Mutex<usize>,
    /// The most rows of an answer.
    pub(super) cap: Mutex<usize>,
    /// Answers nothing to any filter.
    pub(super) deaf: Mutex<bool>,
    latency: Duration,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

impl Script {
    pub(super) fn new(rows: impl IntoIterator<Item = Row>, latency: Duration) -> Arc<Self> {
        Arc::new(Self {
            rows: Mutex::new(rows.into_iter().collect()),
            hook: Mutex::default(),
            asked: Mutex::default(),
            cap: Mutex::new(usize::MAX),
            deaf: Mutex::default(),
            latency,
        })
    }

    pub(super) fn before_each(&self, hook: impl FnMut(&mut Vec<Row>, &Asked) + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }

    pub(super) fn source(self: &Arc<Self>) -> KineticSource {
        let client = Client::builder("http://127.0.0.1:9/x").company("E1").api_key("k").basic("u", "p");
        KineticSource::new(client.transport(Arc::new(Wire(Arc::clone(self)))).build().unwrap())
    }

    fn answer(&self, asked: &Asked) -> String {
        let mut rows = self.rows.lock().unwrap();
        if let Some(hook) = self.hook.lock().unwrap().as_mut() {
            hook(&mut rows, asked);
        }
        let deaf = *self.deaf.lock().unwrap() && !asked.filter.is_empty();
        let mut found: Vec<Row> = rows.iter().copied().filter(|row| !deaf && fits(&asked.filter, row.0)).collect();
        found.sort_unstable();
        if asked.descending {
            found.reverse();
        }
        found.truncate(asked.top.min(*self.cap.lock().unwrap()));
        let rows: Vec<String> =
            found.iter().map(|(version, num)| format!(r#"{{"Num":{num},"SysRevID":{version}}}"#)).collect();
        format!(r#"{{"value":[{}]}}"#, rows.join(","))
    }
}

/// Whether a version meets conditions joined by `and`.
fn fits(filter: &str, version: i64) -> bool {
    let plain = filter.replace(['(', ')'], "");
    plain.split(" and ").filter(|part| !part.is_empty()).all(|part| {
        let words: Vec<&str> = part.split_whitespace().collect();
        let ["SysRevID", how, number] = words[..] else { panic!("{part}") };
        let number: i64 = number.parse().unwrap();
        match how {
            "gt" => version > number,
            "ge" => version >= number,
            "lt" => version < number,
            "le" => version <= number,
            _ => panic!("{part}"),
        }
    })
}

#[derive(Debug)]
struct Wire(Arc<Script>);

#[async_trait]
impl Transport for Wire {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let answer = |kind: &str, body: String| {
            Ok(Response::builder().status(200).header("content-type", kind).body(Bytes::from(body)).unwrap())
        };
        if request.uri().path().contains("$metadata") {
            return answer("application/xml", METADATA.to_owned());
        }
        tokio::time::sleep(self.0.latency).await;
        let mut asked = Asked { top: usize::MAX, ..Asked::default() };
        {
            let mut count = self.0.asked.lock().unwrap();
            asked.before = *count;
            *count += 1;
        }
        for (name, value) in
            request.uri().query().unwrap_or_default().split('&').filter_map(|part| part.split_once('='))
        {
            let value = percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned();
            match percent_decode_str(name).decode_utf8_lossy().as_ref() {
                "$filter" => asked.filter = value,
                "$orderby" => asked.descending = value.ends_with("desc"),
                "$top" => asked.top = value.parse().unwrap(),
                _ => {}
            }
        }
        answer("application/json", self.0.answer(&asked))
    }
}

pub(super) fn spec(page_size: u32, overlap: u64) -> DatasetSpec {
    let object = SourceObject::Baq { id: "q".to_owned(), parameters: Vec::new() };
    let target = Target { project: "P".to_owned(), datasource: "D".to_owned() };
    let mut spec = DatasetSpec::new("q", object, ["Num"], target);
    spec.key = vec!["Num".to_owned()];
    spec.track = Track::Revision { column: "SysRevID".to_owned(), overlap };
    spec.page_size = page_size;
    spec
}

/// The rows of a window, in the order in which they come.
pub(super) async fn read(source: &KineticSource, spec: &DatasetSpec, window: Window) -> Result<Vec<Row>, SourceError> {
    let schema = Arc::new(source.schema(spec).await?);
    let mut batches = source.read(spec, Arc::clone(&schema), window);
    let mut rows = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        let column = |at: usize| batch.column(at).unwrap();
        let version = schema.version.unwrap();
        rows.extend(
            (0..batch.rows()).map(|row| (column(version).i64_at(row).unwrap(), column(0).i64_at(row).unwrap())),
        );
    }
    Ok(rows)
}

pub(super) fn whole(through: i64) -> Window {
    Window { after: None, overlap: false, through: Cursor::new(through.to_string()) }
}
