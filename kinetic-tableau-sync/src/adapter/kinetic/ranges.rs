//! A window read in several ranges of its order at the same time, where the server takes its time for each page.
//!
//! One walk begins. When a page shows that most of the time is spent waiting, the range with the most rows before it is divided at a row
//! that is there: it ends with that row from then on, and another walk begins behind it. A walk that has ended makes room for the next
//! division. Each range is read by keyset, and each row lies in one range at every moment, so that rows which move meanwhile are neither
//! lost nor doubled, as with a single walk. Nothing is ever read by its number in a list.

use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use futures_util::StreamExt as _;
use futures_util::stream::{self, FuturesUnordered};
use tokio::time::Instant;

use super::walk::Walk;
use crate::batch::Batch;
use crate::source::{SourceError, SourceErrorKind};

/// Where a page comes sooner, a second request at the same time gains nothing: decoding it takes as long.
const SLOW: Duration = Duration::from_millis(25);

/// A range that is expected to hold fewer pages is not divided.
const LEAST_PAGES: i128 = 3;

type Flight = Pin<Box<dyn Future<Output = Arrival> + Send>>;

/// What a request has come to.
enum Arrival {
    /// The next page of a range.
    Page(usize, Box<Walk>, Result<Option<Batch>, SourceError>),
    /// Where a range can be divided.
    Division(usize, Result<Option<i64>, SourceError>),
}

/// A range that is being read.
struct Range {
    id: usize,
    /// The last row that came.
    position: i64,
    /// Where it ends: nearer than its walk knows, when it was divided while a page was on its way.
    until: i64,
    /// Whether it is being divided, or cannot be for now.
    whole: bool,
}

struct Reading {
    /// The only walk, while there are no ranges.
    alone: Option<Box<Walk>>,
    /// One that is never read, from which others are made.
    pattern: Box<Walk>,
    most: usize,
    ranges: Vec<Range>,
    flights: FuturesUnordered<Flight>,
    last_id: usize,
    /// Rows that came, what part of the order they covered, and the most that one page had.
    rows: u64,
    span: u64,
    page: u64,
}

/// Reads a walk with up to `most` requests at once.
pub(super) fn read(walk: Walk, most: usize) -> impl Stream<Item = Result<Batch, SourceError>> {
    let reading = Reading {
        pattern: Box::new(walk.part(0, 0)),
        alone: Some(Box::new(walk)),
        most,
        ranges: Vec::new(),
        flights: FuturesUnordered::new(),
        last_id: 0,
        rows: 0,
        span: 0,
        page: 0,
    };
    stream::try_unfold(reading, async |mut reading| Ok(reading.next().await?.map(|batch| (batch, reading))))
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Batch>, SourceError> {
        if let Some(mut walk) = self.alone.take() {
            let began = Instant::now();
            let Some(batch) = walk.next().await? else { return Ok(None) };
            let slow = began.elapsed() >= SLOW;
            self.count(&batch);
            match (walk.position(), walk.until()) {
                (Some(position), Some(until)) if slow && walk.is_divisible() && !walk.has_ended() => {
                    self.begin(walk, position, until);
                }
                _ => self.alone = Some(walk),
            }
            return Ok(Some(batch));
        }
        loop {
            self.divide();
            match self.flights.next().await {
                None => return Ok(None),
                Some(Arrival::Division(id, at)) => self.divided(id, at?),
                Some(Arrival::Page(id, walk, page)) => {
                    if let Some(batch) = self.arrived(id, walk, page?)? {
                        return Ok(Some(batch));
                    }
                }
            }
        }
    }

    /// Begins to read a range.
    fn begin(&mut self, walk: Box<Walk>, position: i64, until: i64) {
        self.last_id += 1;
        self.ranges.push(Range { id: self.last_id, position, until, whole: false });
        self.ask(self.last_id, walk);
    }

    fn ask(&self, id: usize, mut walk: Box<Walk>) {
        self.flights.push(Box::pin(async move {
            let page = walk.next().await;
            Arrival::Page(id, walk, page)
        }));
    }

    fn count(&mut self, batch: &Batch) {
        let rows = batch.rows() as u64;
        self.page = self.page.max(rows);
        self.rows += rows;
        let number = |row: usize| batch.schema().version.and_then(|at| batch.column(at)?.i64_at(row));
        if let (Some(first), Some(last)) = (number(0), batch.rows().checked_sub(1).and_then(number)) {
            self.span = self.span.saturating_add(last.abs_diff(first)).saturating_add(1);
        }
    }

    /// What a page adds to a range, and the request for its next one.
    fn arrived(&mut self, id: usize, mut walk: Box<Walk>, page: Option<Batch>) -> Result<Option<Batch>, SourceError> {
        let Some(at) = self.ranges.iter().position(|range| range.id == id) else { return Ok(None) };
        let (Some(batch), Some(position)) = (page, walk.position()) else {
            self.ranges.swap_remove(at);
            return Ok(None);
        };
        self.count(&batch);
        let Some(range) = self.ranges.get_mut(at) else { return Ok(None) };
        (range.position, range.whole) = (position, false);
        let until = range.until;
        walk.end_at(until);
        if walk.ends_at(position, until) {
            self.ranges.swap_remove(at);
        } else {
            self.ask(id, walk);
        }
        within(batch, until)
    }

    /// Looks for places to divide ranges at, as long as more may be asked for at once.
    fn divide(&mut self) {
        while self.flights.len() < self.most {
            let (rows, span, page) = (i128::from(self.rows), i128::from(self.span), i128::from(self.page));
            let ahead = |range: &Range| i128::from(range.until) - i128::from(range.position);
            let widest = self.ranges.iter_mut().filter(|range| !range.whole).max_by_key(|range| ahead(range));
            let Some(range) = widest else { return };
            if span == 0 || page == 0 || ahead(range) * rows < LEAST_PAGES * page * span {
                return;
            }
            // Behind the page that is on its way.
            let next_page = page * span / rows.max(1);
            let middle = i128::from(range.position) + next_page + (ahead(range) - next_page) / 2;
            let Ok(middle) = i64::try_from(middle) else { return };
            range.whole = true;
            let (id, until, mut looking) = (range.id, range.until, self.pattern.part(range.position, range.until));
            self.flights
                .push(Box::pin(async move { Arrival::Division(id, looking.first_from(middle, Some(until)).await) }));
        }
    }

    /// Divides a range behind a row, if it has not come so far yet.
    fn divided(&mut self, id: usize, behind: Option<i64>) {
        let Some(range) = self.ranges.iter_mut().find(|range| range.id == id) else { return };
        let Some(behind) = behind.filter(|behind| (range.position..range.until).contains(behind)) else { return };
        let until = std::mem::replace(&mut range.until, behind);
        range.whole = false;
        let walk = Box::new(self.pattern.part(behind, until));
        self.begin(walk, behind, until);
    }
}

/// The rows of a page that lie in its range; none where none does. Those behind it come with another one.
fn within(batch: Batch, until: i64) -> Result<Option<Batch>, SourceError> {
    let beyond = |row: &usize| {
        let number = batch.schema().version.and_then(|at| batch.column(at)?.i64_at(*row));
        number.is_some_and(|number| number > until)
    };
    let rows = (0..batch.rows()).find(beyond).unwrap_or(batch.rows());
    if rows == 0 {
        return Ok(None);
    }
    let kept: Vec<usize> = (0..rows).collect();
    let batch = batch.only(&kept);
    batch.map(Some).map_err(|full| SourceError::new(SourceErrorKind::Decode, full.to_string()))
}
