//! Writing one extract file: rows in, counted, made durable.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::SinkExt as _;
use tokio_postgres::{CopyInSink, SimpleQueryMessage};

use super::encode::{self, HEADER};
use super::engine::{Connection, Engine};
use super::error::{HyperError, HyperErrorKind};
use super::quoted;
use crate::batch::Batch;
use crate::destination::Staged;
use crate::digest;
use crate::model::{ColumnType, Schema};

/// How much is sent at once. Between 64 KiB and 8 MiB it makes no difference (observed).
const PIECE: usize = 1 << 18;

/// Rows that are encoded before the buffer is looked at.
const FEW: usize = 256;

/// Name of the table of keys whose rows are to be deleted, in the schema `Extract`.
pub const DELETES: &str = "Deletes";

/// Name under which the file is open in the engine.
const ALIAS: &str = "extract";

/// Version of the file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileVersion {
    /// Opens in Tableau 2020.4.15, 2022.1.2 and later. Decimals have 18 digits at most.
    V2,
    /// Opens in Tableau 2022.4.1, Server 2023.1 and later. Decimals of up to 38 digits.
    V3,
}

impl FileVersion {
    /// The oldest version that can hold the columns.
    #[must_use]
    pub fn for_schema(schema: &Schema) -> Self {
        let wide = |kind| matches!(kind, ColumnType::Decimal { precision, .. } if precision > 18);
        if schema.landed().any(|(_, column)| wide(column.kind)) { Self::V3 } else { Self::V2 }
    }

    /// Its number.
    pub fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}

/// Writes one extract with the table `"Extract"."Extract"`. Until [`seal`](ExtractWriter::seal) has answered there is no extract:
/// dropping the writer removes the file.
pub struct ExtractWriter {
    /// Taken when the file is sealed or aborted.
    file: Option<PathBuf>,
    connection: Connection,
    schema: Arc<Schema>,
    copy: Option<Pin<Box<CopyInSink<Bytes>>>>,
    /// Encoded and not sent yet.
    buffer: Vec<u8>,
    /// Rows sent in the copy that is open.
    copied: u64,
    /// Rows that the table must hold.
    rows: u64,
    /// Rows encoded in all, for messages.
    encoded: u64,
    /// Keys whose rows are to be deleted, where there are any.
    deletes: u64,
}

impl std::fmt::Debug for ExtractWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExtractWriter").field("file", &self.file).field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl ExtractWriter {
    /// Makes a new file at `path`; one that is there is removed.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub async fn create(engine: &Engine, path: impl AsRef<Path>, schema: &Arc<Schema>) -> Result<Self, HyperError> {
        let path = path.as_ref().to_owned();
        match tokio::fs::remove_file(&path).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(HyperError::io("replace", &path, error));
            }
            _ => {}
        }
        let connection = engine.connect().await?;
        connection.create_database(&path, FileVersion::for_schema(schema)).await?;
        let writer = Self {
            file: Some(path.clone()),
            connection,
            schema: Arc::clone(schema),
            copy: None,
            buffer: Vec::with_capacity(PIECE + PIECE / 4),
            copied: 0,
            rows: 0,
            encoded: 0,
            deletes: 0,
        };
        writer.connection.attach(&path, ALIAS).await?;
        let doing = "making the table";
        writer.connection.run(doing, &format!("CREATE SCHEMA {}.\"Extract\"", quoted(ALIAS))).await?;
        writer.connection.run(doing, &format!("CREATE TABLE {} ({})", table(), definitions(schema))).await?;
        Ok(writer)
    }

    /// Adds rows. A key that is there twice is noticed by [`seal`](ExtractWriter::seal).
    ///
    /// # Errors
    /// [`HyperErrorKind::Value`] when a value does not fit its column; the writer is of no use then.
    pub async fn insert(&mut self, batch: &Batch) -> Result<(), HyperError> {
        if self.copy.is_none() {
            self.begin_copy(&table()).await?;
        }
        self.copy_rows(batch).await?;
        self.rows += batch.rows() as u64;
        Ok(())
    }

    /// Adds rows, each in place of the row of the same key, if there is one. No key may be twice in the batch. Answers how many rows
    /// were replaced.
    ///
    /// # Errors
    /// As [`insert`](ExtractWriter::insert).
    pub async fn upsert(&mut self, batch: &Batch) -> Result<u64, HyperError> {
        self.end_copy().await?;
        let stage = "\"stage\"";
        let doing = "replacing rows";
        let create = format!("CREATE TEMPORARY TABLE {stage} ({})", definitions(&self.schema));
        self.connection.run(doing, &create).await?;
        self.begin_copy(stage).await?;
        self.copy_rows(batch).await?;
        self.end_copy().await?;
        let keys: Vec<String> =
            self.schema.key_columns().map(|column| format!("t.{0} = s.{0}", quoted(&column.name))).collect();
        let (table, keys) = (table(), keys.join(" AND "));
        self.connection.run(doing, "BEGIN").await?;
        let delete = format!("DELETE FROM {table} AS t USING {stage} AS s WHERE {keys}");
        let replaced = self.connection.count(doing, &delete).await?;
        let added = self.connection.count(doing, &format!("INSERT INTO {table} SELECT * FROM {stage}")).await?;
        self.connection.run(doing, "COMMIT").await?;
        if added != batch.rows() as u64 || replaced > added {
            let keys: Vec<&str> = self.schema.key_columns().map(|column| column.name.as_str()).collect();
            let message = format!(
                "{} rows took the place of {replaced} in the extract: ({}) does not tell rows apart",
                batch.rows(),
                keys.join(", ")
            );
            return Err(HyperError::new(HyperErrorKind::DuplicateKey, message)
                .with_hint("name columns that identify a row in the dataset's `key`"));
        }
        self.rows += added - replaced;
        self.connection.run(doing, &format!("DROP TABLE {stage}")).await?;
        Ok(replaced)
    }

    /// Adds keys whose rows are to be deleted where the file is applied: they go to a table of their own, [`DELETES`], with the key
    /// columns alone.
    ///
    /// # Errors
    /// As [`insert`](ExtractWriter::insert).
    pub async fn delete(&mut self, keys: &Batch) -> Result<(), HyperError> {
        self.end_copy().await?;
        let table = format!("{}.\"Extract\".{}", quoted(ALIAS), quoted(DELETES));
        if self.deletes == 0 {
            let create = format!("CREATE TABLE {table} ({})", definitions(keys.schema()));
            self.connection.run("making the table of deletes", &create).await?;
        }
        self.begin_copy(&table).await?;
        self.copy_rows(keys).await?;
        self.end_copy().await?;
        self.deletes += keys.rows() as u64;
        Ok(())
    }

    /// Checks that the table holds as many rows as were given and no key twice, and makes the file durable.
    ///
    /// # Errors
    /// [`HyperErrorKind::Count`] or [`HyperErrorKind::DuplicateKey`] when it does not; the file is removed then.
    pub async fn seal(mut self) -> Result<Staged, HyperError> {
        self.end_copy().await?;
        let rows = self.number("counting rows", &format!("SELECT count(*) FROM {}", table())).await?;
        if rows != self.rows {
            let message = format!("{} rows were given, {rows} are in the extract; it was thrown away", self.rows);
            return Err(HyperError::new(HyperErrorKind::Count, message).with_hint("run again; if it stays, report it"));
        }
        if self.deletes > 0 {
            let table = format!("{}.\"Extract\".{}", quoted(ALIAS), quoted(DELETES));
            let deletes = self.number("counting deletes", &format!("SELECT count(*) FROM {table}")).await?;
            if deletes != self.deletes {
                let message =
                    format!("{} deletes were given, {deletes} are in the extract; it was thrown away", self.deletes);
                return Err(
                    HyperError::new(HyperErrorKind::Count, message).with_hint("run again; if it stays, report it")
                );
            }
        }
        let keys: Vec<&str> = self.schema.key_columns().map(|column| column.name.as_str()).collect();
        let list = keys.iter().map(|key| quoted(key)).collect::<Vec<_>>().join(", ");
        let doubled = format!(
            "SELECT count(*) FROM (SELECT 1 AS n FROM {} GROUP BY {list} HAVING count(*) > 1) AS doubled",
            table()
        );
        let doubled = self.number("looking for doubled keys", &doubled).await?;
        if doubled > 0 {
            let message =
                format!("{doubled} keys of ({}) belong to more than one row; nothing was published", keys.join(", "));
            return Err(HyperError::new(HyperErrorKind::DuplicateKey, message)
                .with_hint("name columns in `key` that tell all rows apart"));
        }
        // A commit would not do: only what is detached survives the death of the engine.
        self.connection.detach(ALIAS).await?;
        let Some(path) = self.file.clone() else {
            return Err(HyperError::new(HyperErrorKind::Io, "the extract is closed already"));
        };
        let deletes = self.deletes;
        let sealed = tokio::task::spawn_blocking(move || settle(path, rows, deletes)).await;
        let staged = sealed.map_err(|error| {
            HyperError::new(HyperErrorKind::Io, "work on the extract was broken off").with_cause(error)
        })??;
        self.file = None;
        Ok(staged)
    }

    /// Throws the extract away.
    ///
    /// # Errors
    /// [`HyperErrorKind::Io`] when the file could not be removed.
    pub async fn abort(mut self) -> Result<(), HyperError> {
        // Dropped unfinished, a copy is taken back.
        self.copy = None;
        // What the engine does with a file that goes away is its own affair.
        let _ = self.connection.detach(ALIAS).await;
        let Some(path) = self.file.take() else {
            return Ok(());
        };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(HyperError::io("remove", &path, error)),
            _ => Ok(()),
        }
    }

    async fn begin_copy(&mut self, table: &str) -> Result<(), HyperError> {
        let statement = format!("COPY {table} FROM STDIN WITH (FORMAT HYPERBINARY)");
        let sink = self.connection.client().copy_in(&statement).await;
        self.copy = Some(Box::pin(sink.map_err(|error| HyperError::sql("beginning to copy rows", error))?));
        self.buffer.clear();
        self.buffer.extend_from_slice(&HEADER);
        self.copied = 0;
        Ok(())
    }

    async fn copy_rows(&mut self, batch: &Batch) -> Result<(), HyperError> {
        // Not a whole batch at once, so that the buffer never has to grow.
        for start in (0..batch.rows()).step_by(FEW) {
            let some = start..batch.rows().min(start + FEW);
            encode::rows(batch, some, self.encoded, &mut self.buffer)?;
            if self.buffer.len() >= PIECE {
                self.send().await?;
            }
        }
        self.copied += batch.rows() as u64;
        self.encoded += batch.rows() as u64;
        Ok(())
    }

    async fn send(&mut self) -> Result<(), HyperError> {
        let Some(copy) = &mut self.copy else { return Ok(()) };
        let mut whole = Bytes::from(std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE + PIECE / 4)));
        while !whole.is_empty() {
            let piece = whole.split_to(PIECE.min(whole.len()));
            copy.send(piece).await.map_err(|error| HyperError::sql("copying rows", error))?;
        }
        Ok(())
    }

    async fn end_copy(&mut self) -> Result<(), HyperError> {
        self.send().await?;
        let Some(mut copy) = self.copy.take() else {
            return Ok(());
        };
        let copied = copy.as_mut().finish().await.map_err(|error| HyperError::sql("copying rows", error))?;
        if copied != self.copied {
            let message = format!("{} rows were copied, the extract engine has taken {copied}", self.copied);
            return Err(HyperError::new(HyperErrorKind::Count, message).with_hint("run again; if it stays, report it"));
        }
        Ok(())
    }

    /// The only number that a query answers.
    async fn number(&self, doing: &str, query: &str) -> Result<u64, HyperError> {
        let answers =
            self.connection.client().simple_query(query).await.map_err(|error| HyperError::sql(doing, error))?;
        let number = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0).and_then(|text| text.parse().ok()),
            _ => None,
        });
        number.ok_or_else(|| {
            HyperError::new(HyperErrorKind::Sql, format!("the extract engine gave no number when {doing}"))
        })
    }
}

impl Drop for ExtractWriter {
    fn drop(&mut self) {
        if let Some(path) = &self.file {
            // Nobody may take a file that was not sealed for an extract. The engine closes it with the connection.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn definitions(schema: &Schema) -> String {
    let definition = |(at, column): (usize, &crate::Column)| {
        let required = if encode::is_required(schema, at) { " NOT NULL" } else { "" };
        format!("{} {}{required}", quoted(&column.name), type_name(column.kind))
    };
    schema.landed().map(definition).collect::<Vec<_>>().join(", ")
}

fn table() -> String {
    format!("{}.\"Extract\".\"Extract\"", quoted(ALIAS))
}

fn type_name(kind: ColumnType) -> String {
    match kind {
        ColumnType::Text => "TEXT".to_owned(),
        ColumnType::Bool => "BOOLEAN".to_owned(),
        ColumnType::Int16 => "SMALLINT".to_owned(),
        ColumnType::Int32 => "INTEGER".to_owned(),
        ColumnType::Int64 => "BIGINT".to_owned(),
        ColumnType::Double => "DOUBLE PRECISION".to_owned(),
        ColumnType::Decimal { precision, scale } => format!("NUMERIC({precision},{scale})"),
        ColumnType::Date => "DATE".to_owned(),
        ColumnType::Timestamp => "TIMESTAMP".to_owned(),
    }
}

/// Brings a detached file to the disk for good, and describes it.
fn settle(path: PathBuf, rows: u64, deletes: u64) -> Result<Staged, HyperError> {
    let failed = |error| HyperError::io("finish", &path, error);
    let mut file = std::fs::File::open(&path).map_err(failed)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    }
    file.sync_all().map_err(failed)?;
    #[cfg(unix)]
    if let Some(directory) = path.parent() {
        std::fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
    }
    let (bytes, sha256) = digest::of_file(&mut file).map_err(failed)?;
    Ok(Staged { path, rows, deletes, bytes, sha256 })
}
