//! Kinetic as a source: entity sets and BAQs, read by keyset, never by `$skip`.
//!
//! - A dataset tracked by **revision** is read in the order of its row version: `SysRevID gt last and SysRevID le head`. A row that
//!   changes meanwhile moves behind the head and is read by the next window; none is skipped.
//! - A dataset tracked by a **stamp** is read whole in the order of its key, and its changes in the order of stamp and key. The
//!   lower bound is inclusive and goes back by the overlap; rows without a stamp are read again each time, since nothing tells
//!   whether they changed.
//! - A **snapshot** is read whole in the order of its key each time.
//!
//! A page shorter than asked for is never taken for the end: Kinetic caps pages silently (100 rows without `$top`, observed).

mod advise;
mod lines;
mod lookup;
mod pages;
mod processes;
mod ranges;
mod schema;
mod stamp;
mod walk;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use epicor_kinetic::{Client, EntitySet, Error, ErrorKind, Filter, Literal, Metadata, Order, Query, field};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _, future, stream};
use serde_json::Value;
use tokio::sync::Mutex;

pub use self::advise::Advice;
use self::lines::Headers;
pub use self::processes::KineticProcesses;
use self::stamp::{Columns, Form, Position, Stamp};
use self::walk::{Rank, RankKind, Walk};
use crate::batch::Batch;
use crate::mapping::OfferedColumn;
use crate::model::{Column, ColumnType, Cursor, DatasetId, DatasetSpec, Schema, SourceObject, Track};
use crate::remedy::{Remedies, Remedy};
use crate::source::{Source, SourceError, SourceErrorKind, Window};

/// The only position of a dataset whose changes nothing tells of.
const SNAPSHOT: &str = "snapshot";

/// Rows of one company in Kinetic.
#[derive(Debug)]
pub struct KineticSource {
    client: Client,
    /// How dates are to be written for this server, once it is known for a dataset.
    forms: Mutex<HashMap<DatasetId, Form>>,
    /// What is known of the headers of lines.
    headers: Mutex<HashMap<DatasetId, Arc<Headers>>>,
    /// Pages that are asked for at once.
    concurrency: usize,
    remedies: Remedies,
}

impl KineticSource {
    /// Reads with this client, in its company.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            forms: Mutex::new(HashMap::new()),
            headers: Mutex::new(HashMap::new()),
            concurrency: 4,
            remedies: Remedies::default(),
        }
    }

    /// How many pages of a whole table are asked for at once where the server takes its time (25 ms and more a page), 4 by default: in as
    /// many ranges of the row version, each of which is read by keyset. 1 reads one page after the other, as deltas are read in any case.
    /// Memory grows by about a page of rows for each.
    #[must_use]
    pub fn concurrency(mut self, pages: usize) -> Self {
        self.concurrency = pages.max(1);
        self
    }

    /// Leaves a remedy out, to show that it is needed.
    #[cfg(feature = "test-util")]
    #[must_use]
    pub fn without(mut self, remedy: Remedy) -> Self {
        self.remedies = Remedies::without(remedy);
        self
    }

    /// The query of a dataset with its fixed filter, without columns.
    fn query(&self, spec: &DatasetSpec) -> Result<Query, SourceError> {
        let query = match &spec.source {
            SourceObject::EntitySet { service, set } | SourceObject::Lines { service, set, .. } => {
                self.client.entity_set(EntitySet::new(service.as_str(), set.as_str()).map_err(failed)?)
            }
            SourceObject::Baq { id, parameters } => {
                parameters.iter().fold(self.client.baq(id.as_str()), |query, (name, value)| {
                    query.parameter(name.as_str(), value.as_str())
                })
            }
        };
        Ok(match &spec.filter {
            Some(filter) => query.filter(Filter::raw(filter.as_str())),
            None => query,
        })
    }

    /// What the tenant declares, and the name of the dataset's entity set in it.
    async fn metadata<'d>(&self, spec: &'d DatasetSpec) -> Result<(Metadata, &'d str), SourceError> {
        let (metadata, set) = match &spec.source {
            SourceObject::EntitySet { service, set } | SourceObject::Lines { service, set, .. } => {
                (self.client.metadata(service).await, set.as_str())
            }
            SourceObject::Baq { id, .. } => (self.client.baq_metadata(id).await, "Data"),
        };
        Ok((metadata.map_err(failed)?, set))
    }

    /// What is known of the headers of a dataset of lines; none for another dataset.
    async fn headers(&self, spec: &DatasetSpec) -> Result<Option<Arc<Headers>>, SourceError> {
        let SourceObject::Lines { service, navigation, .. } = &spec.source else { return Ok(None) };
        let mut known = self.headers.lock().await;
        if let Some(headers) = known.get(&spec.id) {
            return Ok(Some(Arc::clone(headers)));
        }
        let (metadata, set) = self.metadata(spec).await?;
        let (key, line_key) = schema::header_key(spec, &metadata, set)?;
        // Standard OData, but not seen on every server: tried out with the least there is.
        let names = key.iter().map(|column| column.source.as_str());
        let probe = self.client.entity_set(EntitySet::new(service.as_str(), set).map_err(failed)?);
        let probe = probe.select(names).top(1).expand_select(navigation.as_str(), line_key);
        let nested = match probe.send::<HashMap<String, Value>>().await {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::Rejected => false,
            Err(error) => return Err(failed(error)),
        };
        let headers = Arc::new(Headers { navigation: navigation.clone(), key, nested });
        known.insert(spec.id.clone(), Arc::clone(&headers));
        Ok(Some(headers))
    }

    /// The newest value of the tracked column, as sent; none when there is no row.
    async fn newest(&self, spec: &DatasetSpec) -> Result<Option<Value>, SourceError> {
        let column = tracked(spec)?;
        let query = self.query(spec)?.select([column]).order_by(column, Order::Descending).top(1);
        // The server's databases sort null either way.
        let query = match spec.track {
            Track::Timestamp { .. } => query.and_filter(field(column).is_not_null()),
            Track::Revision { .. } | Track::DateAndTime { .. } | Track::Snapshot => query,
        };
        let found = first_values(query, [column]).await?;
        Ok(found.map(|[value]| value).filter(|value| !value.is_null()))
    }

    /// The newest stamp; none when no row has one.
    async fn newest_position(&self, spec: &DatasetSpec) -> Result<Option<Position>, SourceError> {
        let Track::DateAndTime { date, seconds, .. } = &spec.track else {
            let newest = self.newest(spec).await?;
            let stamp = newest.map(|value| stamp_of(spec, &value)).transpose()?;
            return Ok(stamp.map(|stamp| Position { stamp, seconds: None }));
        };
        let columns = [date.as_str(), seconds.as_str()];
        let query = columns.into_iter().fold(self.query(spec)?.select(columns).top(1), |query, column| {
            query.and_filter(field(column).is_not_null()).order_by(column, Order::Descending)
        });
        let Some([day, second]) = first_values(query, columns).await? else { return Ok(None) };
        let second = whole(&second).ok_or_else(|| no_seconds(seconds))?;
        Ok(Some(Position { stamp: stamp_of(spec, &day)?, seconds: Some(second) }))
    }

    /// Whether a dataset has any row at all.
    async fn has_rows(&self, spec: &DatasetSpec, schema: &Schema) -> Result<bool, SourceError> {
        let headers = self.headers(spec).await?;
        let columns: Vec<&str> = match &headers {
            Some(headers) => headers.key.iter().map(|column| column.source.as_str()).collect(),
            None => schema.key_columns().map(|column| column.source.as_str()).collect(),
        };
        let query = self.query(spec)?.select(columns).top(1);
        let page = query.send::<HashMap<String, Value>>().await.map_err(failed)?;
        Ok(!page.items.is_empty())
    }

    /// How stamps are written so that the server compares them as it stores them: tried out once per dataset, with the newest one.
    async fn form(&self, spec: &DatasetSpec, newest: &Stamp) -> Result<Form, SourceError> {
        let mut forms = self.forms.lock().await;
        if let Some(&form) = forms.get(&spec.id) {
            return Ok(form);
        }
        let column = tracked(spec)?;
        for form in newest.forms() {
            let literal = newest.literal(form).map_err(failed)?;
            let from = self.probe(spec, field(column).ge(literal.clone())).await?;
            // Something newer may have been written meanwhile, which proves as much.
            if from.is_none() {
                continue;
            }
            let behind = self.probe(spec, field(column).gt(literal)).await?;
            if behind.is_none_or(|behind| behind > *newest) {
                forms.insert(spec.id.clone(), form);
                return Ok(form);
            }
        }
        let message = format!("the server does not compare {column} with dates as it writes them");
        Err(SourceError::new(SourceErrorKind::Config, message)
            .with_hint("track this dataset by revision, for instance track = \"revision\""))
    }

    /// The newest stamp that meets a condition; none as well when the server does not understand the condition.
    async fn probe(&self, spec: &DatasetSpec, condition: Filter) -> Result<Option<Stamp>, SourceError> {
        let column = tracked(spec)?;
        let query = self.query(spec)?.select([column]).and_filter(condition).order_by(column, Order::Descending).top(1);
        let answer = query.send::<HashMap<String, Value>>().await;
        match answer {
            Ok(page) => {
                page.items.first().and_then(|row| row.get(column)).map(|value| stamp_of(spec, value)).transpose()
            }
            Err(error) if error.kind() == ErrorKind::Rejected => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// The reads that make up a window, one after the other.
    async fn walks(&self, spec: &DatasetSpec, joined: &Arc<Schema>, window: &Window) -> Result<Vec<Walk>, SourceError> {
        let headers = self.headers(spec).await?;
        let schema = &match &headers {
            Some(headers) => headers.schema(joined),
            None => Arc::clone(joined),
        };
        let walks = self.walks_over(spec, schema, window, headers.as_deref().map(|headers| (headers, joined))).await?;
        Ok(match headers {
            // By the key that the server declares for the headers.
            Some(headers) => walks.into_iter().map(|walk| walk.with_lines(headers.decoder(joined))).collect(),
            None if may_repeat(spec) => walks.into_iter().map(Walk::with_seams).collect(),
            None => walks,
        })
    }

    /// The same, of the rows that pages are divided by.
    async fn walks_over(
        &self,
        spec: &DatasetSpec,
        schema: &Arc<Schema>,
        window: &Window,
        lines: Option<(&Headers, &Arc<Schema>)>,
    ) -> Result<Vec<Walk>, SourceError> {
        let columns: Vec<&str> = schema.columns.iter().map(|column| column.source.as_str()).collect();
        let mut unique = columns.clone();
        unique.sort_unstable();
        unique.dedup();
        let query = self.query(spec)?.select(unique).top(spec.page_size.max(1).into());
        let query = match lines {
            Some((headers, joined)) => headers.expanded(query, joined),
            None => query,
        };
        match &spec.track {
            Track::Revision { column, overlap } => {
                let after = window.after.as_ref().map(revision).transpose()?;
                let after = match after {
                    Some(after) if window.overlap && self.remedies.has(Remedy::Overlap) => {
                        Some(after.saturating_sub(i64::try_from(*overlap).unwrap_or(i64::MAX)))
                    }
                    after => after,
                };
                let through = revision(&window.through)?;
                let ranks = vec![Rank::new(schema, schema.version, column, RankKind::Integer)?];
                let first = after.map(|after| vec![Literal::integer(after)]);
                Ok(vec![Walk::new(query, Arc::clone(schema), ranks, None, first).between(after, through)])
            }
            Track::Timestamp { overlap, .. } | Track::DateAndTime { overlap, .. } => {
                let keys = key_ranks(schema)?;
                let Some(after) = &window.after else {
                    // A stamp that changes or is missing must not decide whether a row is read.
                    return Ok(vec![Walk::new(query, Arc::clone(schema), keys, None, None)]);
                };
                let columns = Columns::of(&spec.track).ok_or_else(untracked)?;
                let unstamped =
                    Walk::new(query.clone(), Arc::clone(schema), keys.clone(), Some(columns.missing()), None);
                let through = Position::parse(spec, window.through.as_str())?;
                if through == Position::beginning(spec) {
                    return Ok(vec![unstamped]);
                }
                let form = self.form(spec, &through.stamp).await?;
                let mut lower = Position::parse(spec, after.as_str())?;
                let inclusive = self.remedies.has(Remedy::InclusiveBound);
                if window.overlap && inclusive && self.remedies.has(Remedy::Overlap) {
                    lower = lower.earlier(*overlap);
                }
                let bound = columns.from(&lower, form, inclusive).map_err(failed)?;
                let mut bound = bound.and(columns.through(&through, form).map_err(failed)?);
                if let Some(seconds) = columns.seconds {
                    // On the days in between they would come as well, and no page could begin behind one. They have been read above.
                    bound = bound.and(field(seconds).is_not_null());
                }
                let mut ranks = vec![Rank::new(schema, schema.stamp, columns.stamp, RankKind::Stamp(form))?];
                if let Some(seconds) = columns.seconds {
                    ranks.push(Rank::new(schema, schema.stamp_seconds, seconds, RankKind::Integer)?);
                }
                ranks.extend(keys.iter().cloned());
                Ok(vec![
                    unstamped,
                    Walk::new(query, Arc::clone(schema), ranks, Some(bound), None)
                        .through_stamp(through.moment(), through.seconds),
                ])
            }
            // In the order of the key, which changes do not move.
            Track::Snapshot => Ok(vec![Walk::new(query, Arc::clone(schema), key_ranks(schema)?, None, None)]),
        }
    }
}

#[async_trait]
impl Source for KineticSource {
    async fn schema(&self, dataset: &DatasetSpec) -> Result<Schema, SourceError> {
        let (metadata, set) = self.metadata(dataset).await?;
        schema::resolve(dataset, &metadata, set)
    }

    async fn offered(&self, dataset: &DatasetSpec) -> Result<Option<Vec<OfferedColumn>>, SourceError> {
        let (metadata, set) = self.metadata(dataset).await?;
        schema::offered(dataset, &metadata, set).map(Some)
    }

    async fn head(&self, dataset: &DatasetSpec, schema: &Schema) -> Result<Option<Cursor>, SourceError> {
        match &dataset.track {
            Track::Snapshot => Ok(self.has_rows(dataset, schema).await?.then(|| Cursor::new(SNAPSHOT))),
            Track::Revision { .. } => {
                let newest = self.newest(dataset).await?;
                newest.map(|value| Ok(Cursor::new(revision_of(dataset, &value)?.to_string()))).transpose()
            }
            Track::Timestamp { .. } | Track::DateAndTime { .. } => Ok(match self.newest_position(dataset).await? {
                Some(newest) => Some(Cursor::new(newest.to_string())),
                // Rows without any stamp are rows all the same: their position is the beginning of time.
                None => {
                    self.has_rows(dataset, schema).await?.then(|| Cursor::new(Position::beginning(dataset).to_string()))
                }
            }),
        }
    }

    fn read<'a>(
        &'a self,
        dataset: &'a DatasetSpec,
        schema: Arc<Schema>,
        window: Window,
    ) -> BoxStream<'a, Result<Batch, SourceError>> {
        let (asked, remedies) = (dataset.page_size.max(1) as usize, self.remedies);
        // Only where nothing relies on the order of rows.
        let at_once = if window.after.is_none() { self.concurrency } else { 1 };
        let walks = async move {
            let walks = self.walks(dataset, &schema, &window).await?;
            Ok::<_, SourceError>(walks.into_iter().map(move |walk| walk.with(remedies, asked)))
        };
        stream::once(walks)
            .map_ok(move |walks| stream::iter(walks).flat_map(move |walk| ranges::read(walk, at_once).boxed()))
            .try_flatten()
            // Nothing may follow an error.
            .scan(false, |failed, batch| {
                let ended = std::mem::replace(failed, batch.is_err());
                future::ready((!ended).then_some(batch))
            })
            .boxed()
    }

    fn fetch<'a>(
        &'a self,
        dataset: &'a DatasetSpec,
        schema: Arc<Schema>,
        keys: Batch,
    ) -> BoxStream<'a, Result<Batch, SourceError>> {
        let found = async move {
            let query = self.query(dataset)?;
            Ok(match self.headers(dataset).await? {
                Some(headers) => headers.rows(query, &schema, &keys),
                None => lookup::rows(query, schema, keys, None),
            })
        };
        stream::once(found).try_flatten().boxed()
    }

    fn is_after(&self, dataset: &DatasetSpec, later: &Cursor, earlier: &Cursor) -> Result<bool, SourceError> {
        match &dataset.track {
            Track::Revision { .. } => Ok(revision(later)? > revision(earlier)?),
            Track::Timestamp { .. } | Track::DateAndTime { .. } => {
                Ok(Position::parse(dataset, later.as_str())? > Position::parse(dataset, earlier.as_str())?)
            }
            Track::Snapshot => Ok(false),
        }
    }

    fn settled(&self, dataset: &DatasetSpec, head: &Cursor) -> Option<Cursor> {
        let Track::Revision { overlap, .. } = &dataset.track else { return None };
        let settled = revision(head).ok()?.checked_sub(i64::try_from(*overlap).ok()?)?;
        (settled > 0).then(|| Cursor::new(settled.to_string()))
    }

    fn is_ordered(&self, dataset: &DatasetSpec) -> bool {
        matches!(dataset.track, Track::Revision { .. }) && self.remedies.has(Remedy::Keyset)
    }

    fn company(&self) -> &str {
        self.client.company()
    }
}

/// Whether two rows may have one place in the order: in a query that joins tables, and by a key that somebody has named. Row versions are
/// unique in the database, and declared keys in their table.
fn may_repeat(spec: &DatasetSpec) -> bool {
    match (&spec.source, &spec.track) {
        (SourceObject::Baq { .. }, _) => true,
        (_, Track::Revision { .. }) => false,
        _ => !spec.key.is_empty(),
    }
}

/// The column that tells of changes; asked for only where there is one.
fn tracked(spec: &DatasetSpec) -> Result<&str, SourceError> {
    spec.track.column().ok_or_else(untracked)
}

fn untracked() -> SourceError {
    SourceError::new(SourceErrorKind::Other, "a snapshot has no tracked column")
}

/// The values of some columns in the first row of a query.
async fn first_values<const N: usize>(query: Query, columns: [&str; N]) -> Result<Option<[Value; N]>, SourceError> {
    let page = query.send::<HashMap<String, Value>>().await.map_err(failed)?;
    let Some(mut row) = page.items.into_iter().next() else {
        return Ok(None);
    };
    if let Some(missing) = columns.iter().find(|column| !row.contains_key(**column)) {
        let message = format!("the server leaves {missing} out of its answer");
        return Err(
            SourceError::new(SourceErrorKind::Config, message).with_hint("track the dataset by a column that it has")
        );
    }
    Ok(Some(columns.map(|column| row.remove(column).unwrap_or_default())))
}

/// A whole number; some versions write 64-bit numbers as text.
fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

fn no_seconds(column: &str) -> SourceError {
    SourceError::new(SourceErrorKind::Config, format!("{column} holds no number of seconds"))
        .with_hint("track the dataset by another column")
}

fn revision_of(spec: &DatasetSpec, value: &Value) -> Result<i64, SourceError> {
    whole(value).ok_or_else(|| {
        let message = format!("{} is no whole number of 64 bits", spec.track.column().unwrap_or_default());
        SourceError::new(SourceErrorKind::Config, message)
            .with_hint("track the dataset by its row version (SysRevID), or by a stamp: track = { timestamp = \"…\" }")
    })
}

fn revision(cursor: &Cursor) -> Result<i64, SourceError> {
    cursor.as_str().parse().map_err(|_| {
        let message = "the checkpoint is no revision".to_owned();
        SourceError::new(SourceErrorKind::Config, message).with_hint(
            "the way of tracking has changed: give the dataset a new name, so that it begins with a full load",
        )
    })
}

fn stamp_of(spec: &DatasetSpec, value: &Value) -> Result<Stamp, SourceError> {
    Stamp::parse(spec, value.as_str().unwrap_or_default())
}

/// The key as an order to page by.
fn key_ranks(schema: &Schema) -> Result<Vec<Rank>, SourceError> {
    let rank = |at: usize, column: &Column| {
        let kind = match column.kind {
            ColumnType::Text => RankKind::Text,
            ColumnType::Bool => RankKind::Bool,
            ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64 => RankKind::Integer,
            _ => {
                let message = format!("key column {} is a {}, which cannot be paged by", column.source, column.kind);
                return Err(SourceError::new(SourceErrorKind::Config, message)
                    .with_hint("track the dataset by revision, or choose another `key`"));
            }
        };
        Rank::new(schema, Some(at), &column.source, kind)
    };
    schema
        .key
        .iter()
        .filter_map(|&at| Some((at, schema.columns.get(at)?)))
        .map(|(at, column)| rank(at, column))
        .collect()
}

/// A failure of the client as one of the source.
fn failed(error: Error) -> SourceError {
    let kind = match error.kind() {
        ErrorKind::Config | ErrorKind::NotFound | ErrorKind::Rejected => SourceErrorKind::Config,
        ErrorKind::Auth | ErrorKind::Forbidden => SourceErrorKind::Auth,
        ErrorKind::Throttled | ErrorKind::Server | ErrorKind::Transport => SourceErrorKind::Unavailable,
        ErrorKind::Decode => SourceErrorKind::Decode,
        _ => SourceErrorKind::Other,
    };
    let mut message = format!("Kinetic: {}: {}", error.operation(), error.message());
    if error.attempts() > 1 {
        message = format!("{message} after {} attempts", error.attempts());
    }
    let hint = error.hint().map(ToOwned::to_owned);
    let failure = SourceError::new(kind, message).with_cause(error);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}
