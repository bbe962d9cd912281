//! Keyset paging over decoded columns: each page asks for what comes behind the last row of the one before.

mod end;

use std::cmp::Ordering;
use std::sync::Arc;

use self::end::Behind;
use super::pages::{Decoded, Pages};
use super::stamp::{Form, Moment, literal_of, moment_of};
use crate::batch::{Batch, ColumnData};
use crate::decode::LinesDecoder;
use crate::engine::rows::RowHasher;
use crate::model::Schema;
use crate::remedy::{Remedies, Remedy};
use crate::source::{SourceError, SourceErrorKind};
use epicor_kinetic::{Filter, Literal, Order, Query, field};

/// How often in a row the server may contradict itself.
const DOUBTS: u32 = 3;

/// One column of the order.
#[derive(Clone, Debug)]
pub(super) struct Rank {
    /// Name of the property.
    name: String,
    /// Its column in the schema.
    at: usize,
    kind: RankKind,
}

/// What a column of the order holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RankKind {
    /// A whole number.
    Integer,
    /// A text, ordered by the server's collation, which is not known here.
    Text,
    /// True or false.
    Bool,
    /// A stamp as sent.
    Stamp(Form),
}

impl Rank {
    pub(super) fn new(schema: &Schema, at: Option<usize>, name: &str, kind: RankKind) -> Result<Self, SourceError> {
        let at = at.filter(|&at| schema.columns.get(at).is_some_and(|column| column.source == name));
        let at =
            at.ok_or_else(|| SourceError::new(SourceErrorKind::Other, format!("{name} is not among the columns")))?;
        Ok(Self { name: name.to_owned(), at, kind })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its place in the schema.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The value of a row as a literal.
    pub(super) fn literal(&self, column: &ColumnData, row: usize) -> Option<Literal> {
        match self.kind {
            RankKind::Integer => column.i64_at(row).map(Literal::integer),
            RankKind::Text => column.text_at(row).map(Literal::string),
            RankKind::Bool => bool_at(column, row).map(Literal::boolean),
            RankKind::Stamp(form) => column.text_at(row).and_then(|text| literal_of(text, form)),
        }
    }

    /// How two values are ordered; none where that is not known here.
    fn compare(&self, column: &ColumnData, row: usize, before: &ColumnData, row_before: usize) -> Option<Ordering> {
        match self.kind {
            RankKind::Integer => Some(column.i64_at(row)?.cmp(&before.i64_at(row_before)?)),
            RankKind::Bool => Some(bool_at(column, row)?.cmp(&bool_at(before, row_before)?)),
            RankKind::Text => (column.text_at(row)? == before.text_at(row_before)?).then_some(Ordering::Equal),
            RankKind::Stamp(_) => {
                let (one, other) = (column.text_at(row)?, before.text_at(row_before)?);
                if one == other {
                    return Some(Ordering::Equal);
                }
                Some(moment_of(one)?.cmp(&moment_of(other)?))
            }
        }
    }
}

fn bool_at(column: &ColumnData, row: usize) -> Option<bool> {
    match &column.values {
        crate::Values::Bool(values) if !column.is_null(row) => values.get(row).copied(),
        _ => None,
    }
}

/// A read of all rows that meet a bound, in a total order.
#[derive(Debug)]
pub(super) struct Walk {
    /// Columns, fixed filter, page size and order are set.
    query: Query,
    /// The same without the order.
    unordered: Query,
    pages: Pages,
    ranks: Vec<Rank>,
    bound: Option<Filter>,
    /// Values of the last row, in the order of the ranks.
    last: Option<Vec<Literal>>,
    /// The last row, alone.
    before: Option<Batch>,
    /// The value of the first rank behind which nothing can follow.
    until: Option<i64>,
    /// The same where the first rank is a stamp: its moment, and the second of the day where that is the second rank.
    until_stamp: Option<(Moment, Option<i64>)>,
    /// The value of the first rank behind which it began.
    begun: Option<i64>,
    /// Whether rows at or before that are an error.
    strict: bool,
    /// Whether two rows may have one place in the order, which must not go unseen where a page ends between them.
    seams: bool,
    /// How often in a row the server has contradicted itself.
    doubts: u32,
    ended: bool,
    remedies: Remedies,
    /// Rows asked for per page.
    asked: usize,
    /// Rows that came so far.
    came: u64,
}

impl Walk {
    /// A walk that begins behind `after`, or at the beginning.
    pub(super) fn new(
        query: Query,
        schema: Arc<Schema>,
        ranks: Vec<Rank>,
        bound: Option<Filter>,
        after: Option<Vec<Literal>>,
    ) -> Self {
        let unordered = query.clone();
        let query = ranks.iter().fold(query, |query, rank| query.order_by(rank.name.as_str(), Order::Ascending));
        Self {
            query,
            unordered,
            pages: Pages::new(schema),
            ranks,
            bound,
            last: after,
            before: None,
            until: None,
            until_stamp: None,
            begun: None,
            strict: false,
            seams: false,
            doubts: 0,
            ended: false,
            remedies: Remedies::default(),
            asked: 0,
            came: 0,
        }
    }

    /// With these remedies; `asked` is how many rows a page has at most.
    pub(super) fn with(mut self, remedies: Remedies, asked: usize) -> Self {
        (self.remedies, self.asked) = (remedies, asked);
        self
    }

    /// Answers the lines below the rows.
    pub(super) fn with_lines(mut self, lines: LinesDecoder) -> Self {
        self.pages = self.pages.with_lines(lines);
        self
    }

    /// How many rows came so far, by which pages are divided.
    pub(super) fn came(&self) -> u64 {
        self.came
    }

    /// Reads rows whose first rank lies behind `begun` and not behind `last`. It ends with a row of `last` itself, without asking for a
    /// page behind it.
    pub(super) fn between(mut self, begun: Option<i64>, last: i64) -> Self {
        self.until = Some(last);
        self.begun = begun;
        self
    }

    /// Another walk over the same rows: those behind `begun`, through `until`.
    pub(super) fn part(&self, begun: i64, until: i64) -> Self {
        let (query, schema) = (self.unordered.clone(), Arc::clone(self.pages.schema()));
        let part = Self::new(query, schema, self.ranks.clone(), None, Some(vec![Literal::integer(begun)]));
        let part = part.between(Some(begun), until).with(self.remedies, self.asked);
        Self { strict: true, seams: self.seams, ..part }
    }

    /// Where it ends.
    pub(super) fn until(&self) -> Option<i64> {
        self.until
    }

    /// Lets it end earlier.
    pub(super) fn end_at(&mut self, until: i64) {
        self.until = Some(until);
    }

    /// Whether there is no page behind its last row, which has come to where it ends.
    pub(super) fn ends_at(&self, position: i64, until: i64) -> bool {
        self.ended || position > until || (position == until && !self.seams)
    }

    /// Reads the last row of each page once more with the next one: a query that joins tables may give two rows one version, and columns
    /// that somebody has named as the key may not tell rows apart. The second row would be lost where a page ends between them.
    pub(super) fn with_seams(self) -> Self {
        Self { seams: true, ..self }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// The first rank of the last row that was read, or where it began.
    pub(super) fn position(&self) -> Option<i64> {
        let read = self.before.as_ref().and_then(|before| {
            let rank = self.ranks.first()?;
            before.column(rank.at)?.i64_at(before.rows().checked_sub(1)?)
        });
        read.max(self.begun)
    }

    /// Whether parts of it can be read at the same time.
    pub(super) fn is_divisible(&self) -> bool {
        let by_number = matches!(self.ranks.as_slice(), [rank] if rank.kind == RankKind::Integer);
        by_number
            && !self.pages.has_lines()
            && self.until.is_some()
            && self.remedies.has(Remedy::Keyset)
            && self.remedies.has(Remedy::ShortPages)
    }

    /// The first rank of the first row from `from` on, up to `until` where there is such an end.
    pub(super) async fn first_from(&mut self, from: i64, until: Option<i64>) -> Result<Option<i64>, SourceError> {
        let Some(rank) = self.ranks.first() else { return Ok(None) };
        let (name, at) = (rank.name.clone(), rank.at);
        let mut query = self.unordered.clone().top(1).and_filter(field(name.as_str()).ge(from));
        if let Some(until) = until {
            query = query.and_filter(field(name.as_str()).le(until));
        }
        let rows = self.pages.decoded(&query.order_by(name, Order::Ascending)).await?.rows;
        Ok((rows.rows() > 0).then(|| rows.column(at)?.i64_at(0)).flatten())
    }

    /// The newest stamp that is to be read is this one; of a stamp in two columns `seconds` is the second.
    pub(super) fn through_stamp(mut self, moment: Moment, seconds: Option<i64>) -> Self {
        self.until_stamp = Some((moment, seconds));
        self
    }

    /// The next page; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Batch>, SourceError> {
        if self.ended {
            return Ok(None);
        }
        let mut page = None;
        if self.seams && self.before.is_some() && self.remedies.has(Remedy::Keyset) {
            page = self.page_with_seam().await?;
            if self.ended {
                return Ok(None);
            }
        }
        let Decoded { rows: batch, lines } = match page {
            Some(page) => page,
            None => self.page().await?,
        };
        let Some(row) = batch.rows().checked_sub(1) else {
            match self.what_is_behind().await? {
                Behind::Rows => {
                    self.doubts += 1;
                    if self.doubts < DOUBTS {
                        // A row may have come between the two questions.
                        return Box::pin(self.next()).await;
                    }
                    let message = "the server answers nothing behind a row, although it has rows there";
                    return Err(SourceError::new(SourceErrorKind::Order, message).with_hint(
                        "some sets cannot be filtered by themselves (PODetails was seen to): read them through a BAQ \
                         instead; a passing fault of the server mends itself with the next run",
                    ));
                }
                Behind::Unknown if self.doubts == 0 => {
                    self.doubts += 1;
                    return Box::pin(self.next()).await;
                }
                Behind::Unknown | Behind::Nothing => {}
            }
            self.ended = true;
            return Ok(None);
        };
        self.doubts = 0;
        self.came += batch.rows() as u64;
        if self.remedies.has(Remedy::Keyset) {
            self.check_order(&batch)?;
        }
        let last: Option<Vec<Literal>> =
            self.ranks.iter().map(|rank| rank.literal(batch.column(rank.at)?, row)).collect();
        let Some(last) = last else {
            let names: Vec<&str> = self.ranks.iter().map(|rank| rank.name.as_str()).collect();
            let message = format!("a row has no value in {}, by which pages are divided", names.join(" or "));
            return Err(SourceError::new(SourceErrorKind::Order, message).with_hint("choose another `key` or `track`"));
        };
        self.last = Some(last);
        let first_rank =
            self.ranks.first().and_then(|rank| batch.column(rank.at)).and_then(|column| column.i64_at(row));
        self.ended = self.until.is_some() && first_rank == self.until && !self.seams;
        self.ended |= !self.remedies.has(Remedy::ShortPages) && batch.rows() < self.asked;
        let mut end = Batch::empty(Arc::clone(batch.schema()));
        end.push_row(&batch, row).map_err(|full| SourceError::new(SourceErrorKind::Decode, full.to_string()))?;
        self.before = Some(end);
        Ok(Some(lines.unwrap_or(batch)))
    }

    /// The next page.
    async fn page(&mut self) -> Result<Decoded, SourceError> {
        let mut query = self.bounded();
        if !self.remedies.has(Remedy::Keyset) {
            query = query.skip(self.came);
        } else if let Some(last) = &self.last {
            query = query.and_filter(behind(&self.ranks, last));
        }
        self.pages.decoded(&query).await
    }

    /// The next page, read with the last row of the one before, and without it. None where nothing else came, which a server that caps
    /// its pages may answer as well; but for the end of the walk, where nothing else can come.
    async fn page_with_seam(&mut self) -> Result<Option<Decoded>, SourceError> {
        let (Some(before), Some(last)) = (&self.before, &self.last) else {
            return Ok(None);
        };
        let query = self.bounded().top(self.asked as u64 + 1).and_filter(from(&self.ranks, last));
        let page = self.pages.decoded(&query).await?;
        let first: Option<Vec<Literal>> =
            self.ranks.iter().map(|rank| rank.literal(page.rows.column(rank.at)?, 0)).collect();
        if page.rows.rows() == 0 || first.as_ref() != Some(last) {
            // It has moved.
            return Ok(Some(page).filter(|page| page.rows.rows() > 0));
        }
        let mut hasher = RowHasher::default();
        let schema = self.pages.schema();
        if hasher.key(schema, &page.rows, 0) != hasher.key(schema, before, 0) {
            return Err(self.out_of_order());
        }
        let behind: Vec<usize> = (1..page.rows.rows()).collect();
        if behind.is_empty() {
            self.ended = self.until.is_some() && self.position() == self.until;
            return Ok(None);
        }
        let rows =
            page.rows.only(&behind).map_err(|full| SourceError::new(SourceErrorKind::Decode, full.to_string()))?;
        Ok(Some(Decoded { rows, lines: None }))
    }

    /// The query with what it is bounded by, but for the last row.
    fn bounded(&self) -> Query {
        let mut query = self.query.clone();
        if let Some(bound) = &self.bound {
            query = query.and_filter(bound.clone());
        }
        if let (Some(until), Some(rank)) = (self.until, self.ranks.first()) {
            query = query.and_filter(field(rank.name.as_str()).le(until));
        }
        query
    }

    fn out_of_order(&self) -> SourceError {
        let names: Vec<&str> = self.ranks.iter().map(|rank| rank.name.as_str()).collect();
        let message = format!("rows do not follow each other in the order of {}", names.join(", "));
        SourceError::new(SourceErrorKind::Order, message).with_hint(
            "each row must have a value of its own there: check `key` and `track`; a BAQ with a join may repeat them",
        )
    }

    /// Rows must follow each other strictly in the order that was asked for: otherwise the next page would begin at the wrong place,
    /// and rows would be lost or doubled.
    fn check_order(&self, batch: &Batch) -> Result<(), SourceError> {
        let mut previous = self.before.as_ref().and_then(|before| Some((before, before.rows().checked_sub(1)?)));
        for row in 0..batch.rows() {
            if let Some((before, row_before)) = previous
                && !self.follows(batch, row, before, row_before)
            {
                return Err(self.out_of_order());
            }
            previous = Some((batch, row));
        }
        let first = self.ranks.first().and_then(|rank| batch.column(rank.at)?.i64_at(0));
        if self.strict && first.is_some() && first <= self.begun {
            let message = "the server answers rows that were not asked for";
            return Err(SourceError::new(SourceErrorKind::Order, message).with_hint(
                "read one page at a time (`concurrency` 1); if it stays, track the dataset in another way",
            ));
        }
        Ok(())
    }

    fn follows(&self, batch: &Batch, row: usize, before: &Batch, row_before: usize) -> bool {
        for rank in &self.ranks {
            let (Some(column), Some(other)) = (batch.column(rank.at), before.column(rank.at)) else {
                return false;
            };
            match rank.compare(column, row, other, row_before) {
                Some(Ordering::Equal) => {}
                Some(Ordering::Less) => return false,
                // Greater, or of an order that only the server knows.
                Some(Ordering::Greater) | None => return true,
            }
        }
        false
    }
}

/// The condition for a row and what is behind it.
fn from(ranks: &[Rank], last: &[Literal]) -> Filter {
    if let ([rank], [value]) = (ranks, last)
        && rank.kind != RankKind::Bool
    {
        return field(rank.name.as_str()).ge(value.clone());
    }
    let parts = ranks.iter().zip(last);
    let same = parts.map(|(rank, value)| field(rank.name.as_str()).eq(value.clone())).reduce(Filter::and);
    let behind = behind(ranks, last);
    match same {
        Some(same) => same.or(behind),
        None => behind,
    }
}

/// The condition for rows behind a row: `a gt x or (a eq x and b gt y) …`.
fn behind(ranks: &[Rank], last: &[Literal]) -> Filter {
    let mut alternatives: Option<Filter> = None;
    for (nth, (rank, value)) in ranks.iter().zip(last).enumerate() {
        let greater = match rank.kind {
            // OData orders no booleans by `gt`: behind false comes true, behind true comes nothing.
            RankKind::Bool if *value == Literal::boolean(false) => field(rank.name.as_str()).eq(true),
            RankKind::Bool => continue,
            _ => field(rank.name.as_str()).gt(value.clone()),
        };
        let condition = ranks
            .iter()
            .zip(last)
            .take(nth)
            .map(|(rank, value)| field(rank.name.as_str()).eq(value.clone()))
            .chain(std::iter::once(greater))
            .reduce(Filter::and);
        alternatives = match (alternatives, condition) {
            (Some(before), Some(condition)) => Some(before.or(condition)),
            (before, condition) => before.or(condition),
        };
    }
    // Only where the whole order is one boolean that is true already: no row is behind that.
    alternatives.unwrap_or_else(|| field(ranks.first().map_or("", |rank| rank.name.as_str())).is_null())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::PageDecoder;
    use crate::model::{Column, ColumnType};

    fn rank(name: &str, kind: RankKind) -> Rank {
        Rank { name: name.to_owned(), at: 0, kind }
    }

    fn text(ranks: &[Rank], last: &[Literal]) -> String {
        behind(ranks, last).to_odata().unwrap()
    }

    #[test]
    fn what_is_behind_a_row_is_told_column_by_column() {
        let revision = [rank("SysRevID", RankKind::Integer)];
        assert_eq!(text(&revision, &[Literal::integer(7)]), "SysRevID gt 7");
        let key = [rank("Company", RankKind::Text), rank("Num", RankKind::Integer), rank("Name", RankKind::Text)];
        let last = [Literal::string("E1"), Literal::integer(7), Literal::string("O'Hara")];
        assert_eq!(
            text(&key, &last),
            "Company gt 'E1' or (Company eq 'E1' and Num gt 7) or (Company eq 'E1' and Num eq 7 and Name gt 'O''Hara')"
        );
    }

    #[test]
    fn a_seam_holds_the_last_row_as_well() {
        let revision = [rank("SysRevID", RankKind::Integer)];
        let text = |ranks: &[Rank], last: &[Literal]| from(ranks, last).to_odata().unwrap();
        assert_eq!(text(&revision, &[Literal::integer(7)]), "SysRevID ge 7");
        let key = [rank("Num", RankKind::Integer), rank("Voided", RankKind::Bool)];
        assert_eq!(
            text(&key, &[Literal::integer(7), Literal::boolean(true)]),
            "(Num eq 7 and Voided eq true) or Num gt 7"
        );
    }

    #[test]
    fn booleans_are_never_compared_by_size() {
        let key = [rank("Num", RankKind::Integer), rank("Voided", RankKind::Bool)];
        let behind_false = text(&key, &[Literal::integer(7), Literal::boolean(false)]);
        assert_eq!(behind_false, "Num gt 7 or (Num eq 7 and Voided eq true)");
        assert_eq!(text(&key, &[Literal::integer(7), Literal::boolean(true)]), "Num gt 7");
    }

    fn walk(kinds: &[(ColumnType, RankKind)]) -> Walk {
        let columns = kinds
            .iter()
            .enumerate()
            .map(|(nth, (kind, _))| Column {
                name: format!("C{nth}"),
                source: format!("C{nth}"),
                kind: *kind,
                nullable: true,
                landed: true,
            })
            .collect();
        let schema = Arc::new(Schema {
            columns,
            key: vec![0],
            version: None,
            row_id: None,
            stamp: None,
            stamp_seconds: None,
            dimensions: Vec::new(),
        });
        let ranks =
            kinds.iter().enumerate().map(|(nth, (_, kind))| Rank { name: format!("C{nth}"), at: nth, kind: *kind });
        let client =
            epicor_kinetic::Client::builder("http://127.0.0.1:9/x").company("E1").api_key("k").basic("u", "p").build();
        let query = client.unwrap().baq("b");
        Walk::new(query, Arc::clone(&schema), ranks.collect(), None, None)
    }

    /// Whether pages in this order are accepted.
    fn accepts(kinds: &[(ColumnType, RankKind)], pages: &[&str]) -> bool {
        let mut walk = walk(kinds);
        pages.iter().all(|page| {
            let mut decoder = PageDecoder::new(Arc::clone(walk.pages.schema()));
            let batch = decoder.decode(format!("{{\"value\":[{page}]}}").as_bytes()).unwrap().batch;
            let fine = walk.check_order(&batch).is_ok();
            walk.before = Some(batch);
            fine
        })
    }

    #[test]
    fn rows_out_of_order_or_doubled_are_refused() {
        let revision = [(ColumnType::Int64, RankKind::Integer)];
        assert!(accepts(&revision, &[r#"{"C0":1},{"C0":2}"#, r#"{"C0":3}"#]));
        assert!(!accepts(&revision, &[r#"{"C0":2},{"C0":1}"#]));
        assert!(!accepts(&revision, &[r#"{"C0":1},{"C0":2}"#, r#"{"C0":2}"#]), "the seam counts too");
        let key = [(ColumnType::Text, RankKind::Text), (ColumnType::Int32, RankKind::Integer)];
        // Only the server knows how it orders texts.
        assert!(accepts(&key, &[r#"{"C0":"b","C1":9},{"C0":"A","C1":1},{"C0":"A","C1":2}"#]));
        assert!(!accepts(&key, &[r#"{"C0":"a","C1":2},{"C0":"a","C1":1}"#]));
        assert!(!accepts(&key, &[r#"{"C0":"a","C1":2}"#, r#"{"C0":"a","C1":2}"#]));
        let stamp = [(ColumnType::Text, RankKind::Stamp(Form::AsSent)), (ColumnType::Bool, RankKind::Bool)];
        let (early, late) = ("2024-01-01T00:00:00", "2024-01-01T00:00:00.5");
        assert!(accepts(&stamp, &[&format!(r#"{{"C0":"{early}","C1":true}},{{"C0":"{late}","C1":false}}"#)]));
        assert!(!accepts(&stamp, &[&format!(r#"{{"C0":"{late}","C1":false}},{{"C0":"{early}","C1":true}}"#)]));
        assert!(!accepts(&stamp, &[&format!(r#"{{"C0":"{late}","C1":true}},{{"C0":"{late}","C1":false}}"#)]));
        // They differ by less than a microsecond, and the server orders them all the same.
        let (early, late) = ("2024-01-01T00:00:00.1234561", "2024-01-01T00:00:00.1234567");
        assert!(accepts(&stamp, &[&format!(r#"{{"C0":"{early}","C1":true}},{{"C0":"{late}","C1":false}}"#)]));
    }
}
