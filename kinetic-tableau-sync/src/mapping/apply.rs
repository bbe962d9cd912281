//! Puts a mapping into effect, batch by batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::Datelike as _;

use super::{DatePart, Derive, DerivedColumn, Mapping, OnNull};
use crate::batch::{Batch, BatchFull, ColumnData, RowReject};
use crate::decode;
use crate::engine::rows::RowHasher;
use crate::model::{Column, ColumnType, Schema};
use crate::nearest::nearest;

/// A mapping that does not fit the columns.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MapError {
    /// What is wrong.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) hint: Option<String>,
}

/// A mapping, resolved against the columns of a dataset.
#[derive(Debug)]
pub(crate) struct Mapper {
    read: Arc<Schema>,
    land: Arc<Schema>,
    nulls: Vec<(usize, WhenNull)>,
    derived: Vec<(ColumnType, From)>,
}

#[derive(Debug)]
enum WhenNull {
    /// The one value of this column.
    Replace(ColumnData),
    Reject,
}

/// What a derived column is made of, with columns by their places.
#[derive(Debug)]
enum From {
    Null,
    /// The one value of this column.
    Constant(ColumnData),
    Template(Vec<Piece>),
    Coalesce(Vec<usize>),
    Lookup {
        column: usize,
        values: BTreeMap<String, String>,
        otherwise: Option<String>,
    },
    Part {
        column: usize,
        part: DatePart,
    },
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Column(usize),
}

impl Mapper {
    /// Resolves a mapping. `read` is what the source yields, `empty` are columns that it has no more.
    pub(crate) fn new(
        mapping: &Mapping,
        mut read: Schema,
        empty: impl IntoIterator<Item = DerivedColumn>,
    ) -> Result<Self, MapError> {
        for (source, name) in &mapping.rename {
            let at = landed(&read, "rename", source)?;
            if let Some(column) = read.columns.get_mut(at) {
                column.name.clone_from(name);
            }
        }
        let mut nulls = Vec::new();
        for (source, policy) in &mapping.nulls {
            let at = landed(&read, "nulls", source)?;
            let policy = match (policy, read.columns.get(at)) {
                (OnNull::Replace(value), Some(column)) => {
                    WhenNull::Replace(one(column.kind, value, &format!("the value for null in {source}"))?)
                }
                _ => WhenNull::Reject,
            };
            nulls.push((at, policy));
        }
        let mut land = read.clone();
        let mut derived = Vec::new();
        for column in mapping.derived.iter().cloned().chain(empty) {
            derived.push((column.kind, From::resolve(&read, &column)?));
            land.columns.push(Column {
                name: column.name,
                source: String::new(),
                kind: column.kind,
                nullable: true,
                landed: true,
            });
        }
        let mut names: Vec<&str> = land.landed().map(|(_, column)| column.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair.first() == pair.last()).and_then(|pair| pair.first()) {
            return Err(MapError {
                message: format!("two columns would land as '{twice}'"),
                hint: Some("give one of them another name in `rename`".to_owned()),
            });
        }
        Ok(Self { read: Arc::new(read), land: Arc::new(land), nulls, derived })
    }

    /// What is asked of the source.
    pub(crate) fn read(&self) -> &Arc<Schema> {
        &self.read
    }

    /// What lands.
    pub(crate) fn land(&self) -> &Arc<Schema> {
        &self.land
    }

    /// Maps a batch. Rows that cannot be mapped are marked as rejected in it.
    pub(crate) fn apply(&self, batch: Batch) -> Result<Batch, BatchFull> {
        if self.nulls.is_empty() && self.derived.is_empty() {
            return Ok(batch);
        }
        let mut hasher = RowHasher::default();
        let mut rejects: Vec<RowReject> = Vec::new();
        let mut replaced: Vec<(usize, ColumnData)> = Vec::new();
        for (at, policy) in &self.nulls {
            let Some(column) = batch.column(*at).filter(|column| column.nulls.contains(&true)) else { continue };
            match policy {
                WhenNull::Replace(value) => {
                    let mut filled = ColumnData { values: value.values.emptied(), nulls: Vec::new() };
                    for row in 0..batch.rows() {
                        let null = column.is_null(row);
                        filled.push_from(if null { value } else { column }, if null { 0 } else { row })?;
                    }
                    replaced.push((*at, filled));
                }
                WhenNull::Reject => {
                    let rows = (0..batch.rows()).filter(|&row| column.is_null(row));
                    rejects.extend(rows.map(|row| {
                        self.reject(&mut hasher, &batch, row, self.name(*at), "null where `nulls` rejects it", None)
                    }));
                }
            }
        }
        let batch = batch.with_columns(replaced);
        let mut added = Vec::with_capacity(self.derived.len());
        for (nth, (kind, from)) in self.derived.iter().enumerate() {
            let mut data = ColumnData::for_type(*kind);
            for row in 0..batch.rows() {
                if let Err(reason) = from.value(&mut hasher, &batch, row, *kind, &mut data)? {
                    data.push_null();
                    let name = self.name(self.read.columns.len() + nth);
                    let hint = "give the column another type, or change what it is made of";
                    rejects.push(self.reject(&mut hasher, &batch, row, name, reason, Some(hint)));
                }
            }
            added.push(data);
        }
        Ok(batch.extended(Arc::clone(&self.land), added, rejects))
    }

    fn name(&self, at: usize) -> &str {
        self.land.columns.get(at).map_or("", |column| &column.name)
    }

    fn reject(
        &self,
        hasher: &mut RowHasher,
        batch: &Batch,
        row: usize,
        column: &str,
        reason: &str,
        hint: Option<&str>,
    ) -> RowReject {
        RowReject {
            row,
            column: column.to_owned(),
            reason: reason.to_owned(),
            hint: hint.map(ToOwned::to_owned),
            raw: hasher.row_text(&self.read, batch, row),
        }
    }
}

impl From {
    fn resolve(read: &Schema, derived: &DerivedColumn) -> Result<Self, MapError> {
        let what = format!("column '{}'", derived.name);
        Ok(match &derived.from {
            Derive::Null => Self::Null,
            Derive::Constant(value) => Self::Constant(one(derived.kind, value, &what)?),
            Derive::Template(text) => Self::Template(pieces(read, text, &what)?),
            Derive::Coalesce(columns) => {
                Self::Coalesce(columns.iter().map(|name| landed(read, &what, name)).collect::<Result<_, _>>()?)
            }
            Derive::Lookup { column, values, otherwise } => {
                for value in values.values().chain(otherwise) {
                    one(derived.kind, value, &what)?;
                }
                Self::Lookup {
                    column: landed(read, &what, column)?,
                    values: values.clone(),
                    otherwise: otherwise.clone(),
                }
            }
            Derive::Part { column, part } => {
                let at = landed(read, &what, column)?;
                let kind = read.columns.get(at).map(|column| column.kind);
                if !matches!(kind, Some(ColumnType::Date | ColumnType::Timestamp)) {
                    return Err(MapError {
                        message: format!("{what} is made of {column}, which is no date"),
                        hint: Some("name a date or timestamp column".to_owned()),
                    });
                }
                Self::Part { column: at, part: *part }
            }
        })
    }

    /// Adds the value of a row; answers why it cannot be had, and adds nothing then.
    fn value(
        &self,
        hasher: &mut RowHasher,
        batch: &Batch,
        row: usize,
        kind: ColumnType,
        into: &mut ColumnData,
    ) -> Result<Result<(), &'static str>, BatchFull> {
        let null = |at: usize| batch.column(at).is_none_or(|column| column.is_null(row));
        let text = match self {
            Self::Null => None,
            Self::Constant(value) => return into.push_from(value, 0).map(Ok),
            Self::Template(pieces) => {
                let mut text = Some(String::new());
                for piece in pieces {
                    text = text.and_then(|mut text| {
                        match piece {
                            Piece::Text(part) => text.push_str(part),
                            Piece::Column(at) if null(*at) => return None,
                            Piece::Column(at) => text.push_str(hasher.plain_text(batch, *at, row)),
                        }
                        Some(text)
                    });
                }
                text
            }
            Self::Coalesce(columns) => {
                columns.iter().find(|at| !null(**at)).map(|at| hasher.plain_text(batch, *at, row).to_owned())
            }
            Self::Lookup { column, .. } if null(*column) => None,
            Self::Lookup { column, values, otherwise } => {
                values.get(hasher.plain_text(batch, *column, row)).or(otherwise.as_ref()).cloned()
            }
            Self::Part { column, part } => match batch.column(*column).and_then(|data| data.i64_at(row)) {
                None => None,
                Some(value) => {
                    let timestamp =
                        batch.schema().columns.get(*column).is_some_and(|column| column.kind == ColumnType::Timestamp);
                    let days = if timestamp { value.div_euclid(86_400_000_000) } else { value };
                    let Some(date) = i32::try_from(days).ok().and_then(chrono::NaiveDate::from_epoch_days) else {
                        return Ok(Err("date out of range"));
                    };
                    Some(match part {
                        DatePart::Year => date.year().to_string(),
                        DatePart::Quarter => date.quarter().to_string(),
                        DatePart::Month => date.month().to_string(),
                        DatePart::Day => date.day().to_string(),
                        DatePart::Date => date.to_string(),
                    })
                }
            },
        };
        match text {
            None => {
                into.push_null();
                Ok(Ok(()))
            }
            Some(text) => decode::push_text(into, kind, &text),
        }
    }
}

/// The place of a landed column.
fn landed(read: &Schema, what: &str, source: &str) -> Result<usize, MapError> {
    let at = read.columns.iter().position(|column| column.landed && column.source == source);
    at.ok_or_else(|| {
        let near = nearest(source, read.landed().map(|(_, column)| column.source.as_str()));
        MapError {
            message: format!("{what} names {source}, which is not selected"),
            hint: Some(near.map_or_else(|| "add it to `select`".to_owned(), |near| format!("did you mean {near}?"))),
        }
    })
}

/// One value, read by a type.
fn one(kind: ColumnType, value: &str, what: &str) -> Result<ColumnData, MapError> {
    let mut data = ColumnData::for_type(kind);
    let why = match decode::push_text(&mut data, kind, value) {
        Ok(Ok(())) => return Ok(data),
        Ok(Err(why)) => why,
        Err(_) => "too long",
    };
    Err(MapError {
        message: format!("{what}: '{value}' is no {kind}: {why}"),
        hint: Some(format!("write it as a {kind}, or give the column another type")),
    })
}

/// The pieces of a template.
fn pieces(read: &Schema, template: &str, what: &str) -> Result<Vec<Piece>, MapError> {
    let broken = || MapError {
        message: format!("{what}: the template '{template}' has a brace too many or too few"),
        hint: Some("write columns as {NAME}, and braces as {{ and }}".to_owned()),
    };
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = template.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '{' | '}' if rest.peek() == Some(&next) => {
                rest.next();
                text.push(next);
            }
            '{' => {
                let mut name = String::new();
                loop {
                    match rest.next() {
                        Some('}') => break,
                        Some(other) if other != '{' => name.push(other),
                        _ => return Err(broken()),
                    }
                }
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(Piece::Column(landed(read, what, name.trim())?));
            }
            '}' => return Err(broken()),
            other => text.push(other),
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::PageDecoder;

    fn schema() -> Schema {
        let column = |name: &str, kind, landed| Column {
            name: name.to_owned(),
            source: name.to_owned(),
            kind,
            nullable: name != "Num",
            landed,
        };
        Schema {
            columns: vec![
                column("Num", ColumnType::Int32, true),
                column("Name", ColumnType::Text, true),
                column("Terms", ColumnType::Text, true),
                column("Amount", ColumnType::Decimal { precision: 12, scale: 2 }, true),
                column("On", ColumnType::Timestamp, true),
                column("Open", ColumnType::Bool, true),
                column("SysRevID", ColumnType::Int64, false),
            ],
            key: vec![0],
            version: Some(6),
            row_id: None,
            stamp: None,
            stamp_seconds: None,
            dimensions: Vec::new(),
        }
    }

    const ROWS: &str = r#"{"Num":1,"Name":"Ada","Terms":null,"Amount":1.5,"On":"2026-05-22T08:00:00","Open":true,"SysRevID":9},
        {"Num":2,"Name":null,"Terms":"N30","Amount":null,"On":"1969-12-31T23:00:00","Open":false,"SysRevID":10}"#;

    fn derived(name: &str, kind: ColumnType, from: Derive) -> DerivedColumn {
        DerivedColumn { name: name.to_owned(), kind, from }
    }

    fn mapped(mapping: &Mapping) -> Batch {
        let mapper = Mapper::new(mapping, schema(), []).unwrap();
        let page = format!("{{\"value\":[{ROWS}]}}");
        let batch = PageDecoder::new(Arc::clone(mapper.read())).decode(page.as_bytes()).unwrap().batch;
        mapper.apply(batch).unwrap()
    }

    /// A derived column as text, row by row; `None` is null.
    fn values(kind: ColumnType, from: Derive) -> Vec<Option<String>> {
        let batch = mapped(&Mapping { derived: vec![derived("D", kind, from)], ..Mapping::default() });
        assert!(batch.rejects().is_empty());
        let at = batch.schema().columns.len() - 1;
        let text = |row| {
            let null = batch.column(at).unwrap().is_null(row);
            (!null).then(|| RowHasher::default().plain_text(&batch, at, row).to_owned())
        };
        vec![text(0), text(1)]
    }

    fn some(texts: [&str; 2]) -> Vec<Option<String>> {
        texts.iter().map(|text| (*text != "-").then(|| (*text).to_owned())).collect()
    }

    #[test]
    fn columns_are_made_of_others() {
        let name = |text: &str| text.to_owned();
        assert_eq!(values(ColumnType::Int16, Derive::Constant(name("7"))), some(["7", "7"]));
        assert_eq!(values(ColumnType::Date, Derive::Null), some(["-", "-"]));
        assert_eq!(values(ColumnType::Text, Derive::Template(name("{{{Num}}} {Name}"))), some(["{1} Ada", "-"]));
        assert_eq!(
            values(ColumnType::Text, Derive::Coalesce(vec![name("Terms"), name("Amount"), name("Name")])),
            some(["1.50", "N30"])
        );
        let open = Derive::Lookup {
            column: name("Open"),
            values: BTreeMap::from([(name("true"), name("1"))]),
            otherwise: Some(name("0")),
        };
        assert_eq!(values(ColumnType::Int32, open), some(["1", "0"]));
        let part = |part| values(ColumnType::Int32, Derive::Part { column: name("On"), part });
        assert_eq!(part(DatePart::Year), some(["2026", "1969"]));
        assert_eq!(part(DatePart::Quarter), some(["2", "4"]));
        assert_eq!(
            values(ColumnType::Date, Derive::Part { column: name("On"), part: DatePart::Date }),
            some(["2026-05-22", "1969-12-31"])
        );
    }

    #[test]
    fn nulls_are_replaced_or_reject_the_row() {
        let mut mapping = Mapping::default();
        mapping.nulls.insert("Terms".to_owned(), OnNull::Replace("none".to_owned()));
        mapping.nulls.insert("Amount".to_owned(), OnNull::Reject);
        mapping.rename.insert("Amount".to_owned(), "Total".to_owned());
        let batch = mapped(&mapping);
        assert_eq!(batch.column(2).unwrap().text_at(0), Some("none"));
        assert_eq!(batch.column(2).unwrap().text_at(1), Some("N30"));
        let [reject] = batch.rejects() else { panic!("{:?}", batch.rejects()) };
        assert_eq!((reject.row, reject.column.as_str()), (1, "Total"));
        assert!(reject.raw.contains(r#""Num":2,"Name":null,"Terms":"N30""#), "{}", reject.raw);
        let (good, bad) = batch.split().unwrap();
        assert_eq!((good.rows(), bad.rows()), (1, 1));
        assert_eq!(bad.column(0).unwrap().i64_at(0), Some(2));
    }

    #[test]
    fn a_value_that_does_not_fit_rejects_the_row() {
        let from = Derive::Coalesce(vec!["Name".to_owned(), "Num".to_owned()]);
        let batch = mapped(&Mapping { derived: vec![derived("D", ColumnType::Int32, from)], ..Mapping::default() });
        let [reject] = batch.rejects() else { panic!("{:?}", batch.rejects()) };
        assert_eq!((reject.row, reject.column.as_str()), (0, "D"));
    }

    #[test]
    fn what_does_not_fit_the_columns_is_refused() {
        let refused = |mapping: Mapping| Mapper::new(&mapping, schema(), []).unwrap_err();
        let mut renamed = Mapping::default();
        renamed.rename.insert("Amoun".to_owned(), "X".to_owned());
        assert_eq!(refused(renamed).hint.as_deref(), Some("did you mean Amount?"));
        let mut twice = Mapping::default();
        twice.rename.insert("Name".to_owned(), "Terms".to_owned());
        assert!(refused(twice).message.contains("two columns would land as 'Terms'"));
        let of = |kind, from| Mapping { derived: vec![derived("D", kind, from)], ..Mapping::default() };
        for (mapping, part) in [
            (of(ColumnType::Int32, Derive::Constant("x".to_owned())), "'x' is no int32"),
            (of(ColumnType::Text, Derive::Template("{Name".to_owned())), "brace"),
            (of(ColumnType::Text, Derive::Template("Name}".to_owned())), "brace"),
            (of(ColumnType::Text, Derive::Template("{SysRevID}".to_owned())), "not selected"),
            (
                of(ColumnType::Int32, Derive::Part { column: "Name".to_owned(), part: DatePart::Year }),
                "which is no date",
            ),
        ] {
            let message = refused(mapping).message;
            assert!(message.contains(part), "{message}");
        }
    }
}
