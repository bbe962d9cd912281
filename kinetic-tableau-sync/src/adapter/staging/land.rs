//! From a sealed stage into the table, in one transaction.
//!
//! Readers see the table as it was until the commit, and then as it is. That rules out `TRUNCATE` (a transaction with an older snapshot
//! sees the table empty, and everybody waits for it), and a new table put in the place of the old one takes neither views nor grants with
//! it. So a full load is set against the table: what is gone is deleted, what differs is updated, what is new is inserted, and a row that
//! is as it was is not even touched. That costs two joins, and leaves no more behind for vacuum than has really changed.

use chrono::{DateTime, Utc};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::Deletes;
use super::failure::Trouble;
use super::load;
use super::names::{DELETED, SYNCED, Schemas, Wanted};
use crate::destination::{DestinationError, DestinationErrorKind, LoadKind, Staged};
use crate::store::postgres::quoted;

/// What is set against what.
pub(super) struct Landing<'a> {
    pub(super) client: &'a Client,
    pub(super) schemas: &'a Schemas,
    pub(super) table: &'a str,
    pub(super) stage: &'a str,
    pub(super) wanted: &'a [Wanted],
    /// Columns that stay, and hold null.
    pub(super) retired: &'a [String],
    /// Whether rows of the stage replace others of it.
    pub(super) superseded: bool,
    pub(super) deletes: Deletes,
    /// Whether the table has the column of soft deletes, whatever is wished for now.
    pub(super) marks: bool,
    pub(super) at: DateTime<Utc>,
}

impl Landing<'_> {
    /// Lands a load. The counts are those that were sealed, or nothing has happened.
    pub(super) async fn land(&self, kind: LoadKind, staged: &Staged) -> Result<(), Trouble> {
        self.client.batch_execute("SET LOCAL work_mem TO '64MB'").await?;
        match kind {
            LoadKind::Full => self.full(staged).await?,
            LoadKind::Delta => self.delta(staged).await?,
        }
        if self.marks && self.deletes == Deletes::Hard {
            // From a time when deletes were soft.
            let left = format!("DELETE FROM {} WHERE {} IS NOT NULL", self.table(), quoted(DELETED));
            self.client.execute_typed(&left, &[]).await?;
        }
        if kind == LoadKind::Full {
            let alive = if self.marks { format!(" WHERE {} IS NULL", quoted(DELETED)) } else { String::new() };
            let count = format!("SELECT count(*) FROM {}{alive}", self.table());
            let there: i64 = self.client.query_typed_one(&count, &[]).await?.try_get(0)?;
            check("rows are in the table", staged.rows, super::book::unsigned(there))?;
        }
        Ok(())
    }

    async fn full(&self, staged: &Staged) -> Result<(), Trouble> {
        let (table, rows) = (self.table(), self.rows());
        let same = self.same("s");
        let missing = format!("NOT EXISTS (SELECT 1 FROM {rows} AS s WHERE {same})");
        self.gone(&missing, "").await?;
        let mut differs: Vec<String> = self
            .plain()
            .map(|(at, column)| format!("t.{} IS DISTINCT FROM s.c{at}", quoted(&column.name)))
            .chain(self.retired.iter().map(|column| format!("t.{} IS NOT NULL", quoted(column))))
            .collect();
        if self.marks {
            differs.push(format!("t.{} IS NOT NULL", quoted(DELETED)));
        }
        if !differs.is_empty() {
            let sets = self.sets(|at| format!("s.c{at}"), "$1");
            let update =
                format!("UPDATE {table} AS t SET {sets} FROM {rows} AS s WHERE {same} AND ({})", differs.join(" OR "));
            self.run(&update).await?;
        }
        let insert = format!(
            "INSERT INTO {table} ({}) SELECT {} FROM {rows} AS s WHERE NOT EXISTS (SELECT 1 FROM {table} AS t WHERE {same})",
            self.names(),
            self.values()
        );
        let inserted = self.run(&insert).await?;
        if inserted > staged.rows {
            check("rows were inserted", staged.rows, inserted)?;
        }
        Ok(())
    }

    async fn delta(&self, staged: &Staged) -> Result<(), Trouble> {
        if staged.deletes > 0 {
            let gone = format!("{} AND s.gone", self.same("s"));
            self.gone(&gone, &format!("{} AS s", self.schemas.load(self.stage))).await?;
        }
        if staged.rows == 0 {
            return Ok(());
        }
        let keys = self.keys().map(|(_, column)| quoted(&column.name)).collect::<Vec<_>>().join(", ");
        let names: Vec<String> = self.wanted.iter().map(|column| quoted(&column.name)).collect();
        let sets = self.sets(
            |at| format!("EXCLUDED.{}", names.get(at).map_or("", String::as_str)),
            &format!("EXCLUDED.{}", quoted(SYNCED)),
        );
        let upsert = format!(
            "INSERT INTO {} AS t ({}) SELECT {} FROM {} AS s ON CONFLICT ({keys}) DO UPDATE SET {sets}",
            self.table(),
            self.names(),
            self.values(),
            self.rows()
        );
        let landed = self.run(&upsert).await?;
        check("rows were inserted or updated", staged.rows, landed)
    }

    /// Deletes rows, or marks them.
    async fn gone(&self, which: &str, using: &str) -> Result<(), Trouble> {
        let table = self.table();
        let with = |word: &str| if using.is_empty() { String::new() } else { format!(" {word} {using}") };
        if self.deletes == Deletes::Soft {
            let deleted = quoted(DELETED);
            let mark = format!(
                "UPDATE {table} AS t SET {deleted} = $1, {} = $1{} WHERE t.{deleted} IS NULL AND {which}",
                quoted(SYNCED),
                with("FROM")
            );
            self.run(&mark).await?;
        } else {
            let delete = format!("DELETE FROM {table} AS t{} WHERE {which}", with("USING"));
            self.client.execute_typed(&delete, &[]).await?;
        }
        Ok(())
    }

    async fn run(&self, statement: &str) -> Result<u64, Trouble> {
        Ok(self.client.execute_typed(statement, &[(&self.at, Type::TIMESTAMPTZ)]).await?)
    }

    fn table(&self) -> String {
        self.schemas.table(self.table)
    }

    /// The rows of the stage that count.
    fn rows(&self) -> String {
        let stage = self.schemas.load(self.stage);
        let keys = load::keys(self.wanted).join(", ");
        if self.superseded {
            format!("(SELECT DISTINCT ON ({keys}) * FROM {stage} WHERE NOT gone ORDER BY {keys}, n DESC)")
        } else {
            format!("(SELECT * FROM {stage} WHERE NOT gone)")
        }
    }

    fn keys(&self) -> impl Iterator<Item = (usize, &Wanted)> {
        self.wanted.iter().enumerate().filter(|(_, column)| column.key)
    }

    fn plain(&self) -> impl Iterator<Item = (usize, &Wanted)> {
        self.wanted.iter().enumerate().filter(|(_, column)| !column.key)
    }

    fn same(&self, stage: &str) -> String {
        let equal = self.keys().map(|(at, column)| format!("t.{} = {stage}.c{at}", quoted(&column.name)));
        equal.collect::<Vec<_>>().join(" AND ")
    }

    /// What an update sets.
    fn sets(&self, value: impl Fn(usize) -> String, at: &str) -> String {
        let mut sets: Vec<String> =
            self.plain().map(|(at, column)| format!("{} = {}", quoted(&column.name), value(at))).collect();
        sets.extend(self.retired.iter().map(|column| format!("{} = NULL", quoted(column))));
        sets.push(format!("{} = {at}", quoted(SYNCED)));
        if self.marks {
            sets.push(format!("{} = NULL", quoted(DELETED)));
        }
        sets.join(", ")
    }

    /// The columns of an insert, and what goes there.
    fn names(&self) -> String {
        let names = self.wanted.iter().map(|column| quoted(&column.name));
        names.chain([quoted(SYNCED)]).collect::<Vec<_>>().join(", ")
    }

    fn values(&self) -> String {
        let values = (0..self.wanted.len()).map(|at| format!("s.c{at}"));
        values.chain(["$1".to_owned()]).collect::<Vec<_>>().join(", ")
    }
}

fn check(what: &str, sealed: u64, found: u64) -> Result<(), Trouble> {
    if sealed == found {
        return Ok(());
    }
    let message = format!("staging: {sealed} rows were sealed, {found} {what}; nothing was published");
    Err(DestinationError::new(DestinationErrorKind::Rejected, message)
        .with_hint("run again: a full load follows; if it stays, report it")
        .into())
}
