//! Pages of headers with their lines expanded, as one row a line.

use std::sync::Arc;

use super::{DecodeError, PageDecoder, Reason, Scanner};
use crate::batch::{Batch, ColumnData, RowReject};
use crate::model::{Column, Schema};

/// Where a column of the joined rows comes from: its place among the columns of the headers or of the lines.
#[derive(Clone, Copy, Debug)]
enum From {
    Header(usize),
    Line(usize),
}

/// Decodes headers, and the lines below them with columns of both.
#[derive(Debug)]
pub(crate) struct LinesDecoder {
    navigation: String,
    headers: PageDecoder,
    lines: PageDecoder,
    joined: Arc<Schema>,
    from: Vec<From>,
}

impl LinesDecoder {
    /// A decoder. `joined` is the schema of the rows that come out, `headers` that of the headers; every column of the header among
    /// the former is among the latter.
    pub(crate) fn new(joined: Arc<Schema>, headers: Arc<Schema>, navigation: &str) -> Self {
        let mut lines = Vec::new();
        let mut from = Vec::with_capacity(joined.columns.len());
        for column in &joined.columns {
            let name = column.source.strip_prefix(navigation).and_then(|rest| rest.strip_prefix('/'));
            from.push(if let Some(name) = name {
                lines.push(Column { source: name.to_owned(), ..column.clone() });
                From::Line(lines.len() - 1)
            } else {
                let at = headers
                    .columns
                    .iter()
                    .position(|header| header.source == column.source && header.kind == column.kind);
                From::Header(at.unwrap_or(usize::MAX))
            });
        }
        let place = |at: &usize| match from.get(*at) {
            Some(From::Line(place)) => Some(*place),
            _ => None,
        };
        let lines = Schema {
            key: joined.key.iter().filter_map(place).collect(),
            version: joined.version.as_ref().and_then(place),
            stamp: None,
            stamp_seconds: None,
            row_id: None,
            dimensions: Vec::new(),
            columns: lines,
        };
        Self {
            navigation: navigation.to_owned(),
            headers: PageDecoder::new(headers).lenient(),
            lines: PageDecoder::new(Arc::new(lines)).lenient(),
            joined,
            from,
        }
    }

    /// The headers of a page, and their lines as joined rows.
    pub(crate) fn decode(&mut self, body: &[u8]) -> Result<(Batch, Batch), DecodeError> {
        let headers = self.headers.decode(body)?.batch;
        let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
        let mut columns = self.lines.begin();
        let counts = self.lines_of(body, &mut columns)?;
        self.lines.sizes = columns.iter().map(ColumnData::size).collect();
        let rows: usize = counts.iter().sum();

        let mut lines: Vec<Option<ColumnData>> = columns.into_iter().map(Some).collect();
        let mut joined = Vec::with_capacity(self.from.len());
        for (from, column) in self.from.iter().zip(&self.joined.columns) {
            let data = match *from {
                From::Line(at) => lines.get_mut(at).and_then(Option::take),
                From::Header(at) => headers.column(at).map(|header| repeated(column, header, &counts)).transpose()?,
            };
            joined.push(data.ok_or_else(|| DecodeError::page(Reason::Uneven))?);
        }
        let batch = Batch::from_columns(Arc::clone(&self.joined), joined);
        let batch = batch.ok().filter(|batch| batch.rows() == rows).ok_or_else(|| DecodeError::page(Reason::Uneven))?;
        let mut rejects = std::mem::take(&mut self.lines.rejects);
        for reject in headers.rejects() {
            let first: usize = counts.iter().take(reject.row).sum();
            let below = counts.get(reject.row).copied().unwrap_or_default();
            rejects.extend((first..first + below).map(|row| RowReject { row, ..reject.clone() }));
        }
        Ok((headers.without_rejects(), batch.with_rejects(rejects)))
    }

    /// Reads all lines of a page; answers how many there are below each header.
    fn lines_of(&mut self, body: &[u8], columns: &mut [ColumnData]) -> Result<Vec<usize>, DecodeError> {
        let mut scanner = Scanner::new(body);
        let mut counts = Vec::new();
        scanner.expect(b'{').map_err(DecodeError::page)?;
        let mut first = true;
        while scanner.next_member(&mut first).map_err(DecodeError::page)? {
            if *scanner.key().map_err(DecodeError::page)? != *b"value" {
                scanner.skip_value().map_err(DecodeError::page)?;
                continue;
            }
            scanner.expect(b'[').map_err(DecodeError::page)?;
            let (mut first_row, mut read) = (true, 0);
            while scanner.next_element(&mut first_row).map_err(DecodeError::page)? {
                let row = counts.len() + 1;
                let wrong = |reason| DecodeError::row(row, reason);
                scanner.expect(b'{').map_err(wrong)?;
                let (mut first_member, mut found) = (true, None);
                while scanner.next_member(&mut first_member).map_err(wrong)? {
                    if *scanner.key().map_err(wrong)? != *self.navigation.as_bytes() {
                        scanner.skip_value().map_err(wrong)?;
                    } else if found.is_some() {
                        return Err(self.at_lines(row, Reason::Twice));
                    } else {
                        let until = self.lines.rows(&mut scanner, columns, read)?;
                        found = Some(until - read);
                        read = until;
                    }
                }
                counts.push(found.ok_or_else(|| self.at_lines(row, Reason::Missing))?);
            }
        }
        Ok(counts)
    }

    fn at_lines(&self, row: usize, reason: Reason) -> DecodeError {
        DecodeError { row: Some(row), property: Some(self.navigation.clone()), reason }
    }
}

/// A column of the headers with each value as often as its header has lines.
fn repeated(column: &Column, header: &ColumnData, counts: &[usize]) -> Result<ColumnData, DecodeError> {
    let mut data = ColumnData::for_type(column.kind);
    for (row, count) in counts.iter().enumerate() {
        for _ in 0..*count {
            data.push_from(header, row).map_err(|full| DecodeError::page(full.into()))?;
        }
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ColumnType;

    fn column(source: &str, kind: ColumnType, nullable: bool) -> Column {
        let name = source.rsplit('/').next().unwrap_or(source);
        Column { name: name.to_owned(), source: source.to_owned(), kind, nullable, landed: true }
    }

    fn decoder() -> LinesDecoder {
        let header = [column("PONum", ColumnType::Int32, false), column("Buyer", ColumnType::Text, true)];
        let schema = |columns: Vec<Column>, key| {
            Arc::new(Schema {
                columns,
                key,
                version: None,
                row_id: None,
                stamp: None,
                stamp_seconds: None,
                dimensions: Vec::new(),
            })
        };
        let joined = vec![
            column("L/PONUM", ColumnType::Int32, false),
            column("L/Line", ColumnType::Int32, false),
            column("Buyer", ColumnType::Text, true),
            column("L/Qty", ColumnType::Int16, true),
        ];
        LinesDecoder::new(schema(joined, vec![0, 1]), schema(header.to_vec(), vec![0]), "L")
    }

    const PAGE: &str = r#"{"@odata.context":"x","value":[
        {"PONum":1,"Buyer":"ada","L":[{"PONUM":1,"Line":1,"Qty":5},{"PONUM":1,"Line":2,"Qty":null}]},
        {"L":[],"PONum":2,"Buyer":"bob"},
        {"PONum":3,"L":[{"Line":1,"Qty":70000,"PONUM":3}],"Buyer":null}]}"#;

    #[test]
    fn each_line_is_a_row_with_columns_of_its_header() {
        let (headers, lines) = decoder().decode(PAGE.as_bytes()).unwrap();
        assert_eq!((headers.rows(), lines.rows()), (3, 3));
        let numbers = |at: usize| (0..3).map(|row| lines.column(at).unwrap().i64_at(row)).collect::<Vec<_>>();
        assert_eq!(numbers(0), [Some(1), Some(1), Some(3)]);
        assert_eq!(numbers(1), [Some(1), Some(2), Some(1)]);
        assert_eq!(numbers(3), [Some(5), None, None]);
        let buyers: Vec<_> = (0..3).map(|row| lines.column(2).unwrap().text_at(row)).collect();
        assert_eq!(buyers, [Some("ada"), Some("ada"), None]);
        let [reject] = lines.rejects() else { panic!("{:?}", lines.rejects()) };
        assert_eq!((reject.row, reject.column.as_str()), (2, "Qty"));
        assert!(headers.rejects().is_empty());
    }

    #[test]
    fn a_page_that_is_not_whole_is_refused() {
        let broken =
            |from: &str, to: &str| decoder().decode(PAGE.replace(from, to).as_bytes()).unwrap_err().to_string();
        assert!(broken(r#""L":[],"#, "").contains("row 2 of the page, property L: selected, but not there"));
        assert!(broken(r#""L":[],"#, r#""L":null,"#).contains("not valid JSON"));
        assert!(broken(r#""Line":2,"#, "").contains("selected, but not there"));
        assert!(broken(r#""PONUM":3"#, r#""PONUM":null"#).contains("null in a key"));
        for cut in 0..PAGE.len() {
            assert!(decoder().decode(&PAGE.as_bytes()[..cut]).is_err(), "{cut}");
        }
    }
}
