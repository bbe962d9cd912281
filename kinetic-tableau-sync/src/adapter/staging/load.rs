//! Rows on their way into a stage: a table of their own, which is only ever added to.
//!
//! Rows are sent in pieces, each in a transaction of its own, so that nothing is open while the source is being read. The hash goes over
//! all that is sent; as nothing in a stage is ever changed, the same bytes can be asked back from it.

use std::fmt;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use futures_util::{SinkExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio_postgres::types::Type;

use super::encode::{self, HEADER, TRAILER};
use super::failure::Trouble;
use super::names::{Schemas, Wanted, spelled};
use super::{Shared, book};
use crate::batch::Batch;
use crate::destination::{DestinationError, DestinationErrorKind, Load, Staged};
use crate::digest::hex;
use crate::store::postgres::link::Access;

/// Bytes that are kept before they are sent.
const PIECE: usize = 4 << 20;
/// Rows that are encoded before the buffer is looked at.
const FEW: usize = 256;

/// A load in the making.
pub(super) struct StageLoad {
    pub(super) shared: Arc<Shared>,
    pub(super) stage: String,
    pub(super) wanted: Arc<[Wanted]>,
    /// Encoded and not sent yet, with their number.
    buffer: BytesMut,
    waiting: u64,
    /// Everything that was encoded, rows and keys to delete.
    numbered: u64,
    rows: u64,
    superseded: u64,
    deletes: u64,
    bytes: u64,
    hasher: Sha256,
}

impl fmt::Debug for StageLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StageLoad").field("stage", &self.stage).field("rows", &self.rows).finish_non_exhaustive()
    }
}

/// The columns of a stage: number and mark, then by position, since the landed names are free.
pub(super) fn definitions(wanted: &[Wanted]) -> String {
    let columns = wanted.iter().enumerate().map(|(at, column)| format!("c{at} {}", spelled(column.kind)));
    let mut list = vec!["n bigint NOT NULL".to_owned(), "gone boolean NOT NULL".to_owned()];
    list.extend(columns);
    list.join(", ")
}

fn columns(wanted: &[Wanted]) -> String {
    let mut list = vec!["n".to_owned(), "gone".to_owned()];
    list.extend((0..wanted.len()).map(|at| format!("c{at}")));
    list.join(", ")
}

/// The key columns of a stage.
pub(super) fn keys(wanted: &[Wanted]) -> Vec<String> {
    wanted.iter().enumerate().filter(|(_, column)| column.key).map(|(at, _)| format!("c{at}")).collect()
}

impl StageLoad {
    pub(super) fn new(shared: Arc<Shared>, stage: String, wanted: Arc<[Wanted]>) -> Self {
        Self {
            shared,
            stage,
            wanted,
            buffer: BytesMut::with_capacity(PIECE + PIECE / 8),
            waiting: 0,
            numbered: 0,
            rows: 0,
            superseded: 0,
            deletes: 0,
            bytes: 0,
            hasher: Sha256::new(),
        }
    }

    async fn add(&mut self, batch: &Batch, gone: bool) -> Result<(), DestinationError> {
        for start in (0..batch.rows()).step_by(FEW) {
            let some = start..batch.rows().min(start + FEW);
            let count = some.len() as u64;
            encode::rows(batch, some, &self.wanted, gone, self.numbered, &mut self.buffer)?;
            self.numbered += count;
            self.waiting += count;
            if self.buffer.len() >= PIECE {
                self.send().await?;
            }
        }
        Ok(())
    }

    /// Sends what is waiting, and is sure that it is on disk there.
    async fn send(&mut self) -> Result<(), DestinationError> {
        if self.waiting == 0 {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, BytesMut::with_capacity(PIECE + PIECE / 8)).freeze();
        self.hasher.update(&piece);
        self.bytes += piece.len() as u64;
        let waiting = std::mem::take(&mut self.waiting);
        let statement = format!(
            "COPY {} ({}) FROM STDIN (FORMAT binary)",
            self.shared.schemas.load(&self.stage),
            columns(&self.wanted)
        );
        let doing = "staging rows";
        let session = self.shared.begin(Access::WriteAll, doing).await?;
        let copied = async {
            let sink = session.client()?.copy_in(&statement).await?;
            let mut sink = pin!(sink);
            sink.send(bytes::Bytes::from_static(HEADER)).await?;
            sink.send(piece).await?;
            sink.send(bytes::Bytes::copy_from_slice(&TRAILER)).await?;
            let copied = sink.finish().await?;
            if copied == waiting {
                return Ok(());
            }
            Err(Trouble::from(counted(waiting, copied)))
        };
        match copied.await {
            Ok(()) => self.shared.commit(session, doing).await,
            // Dropping the session closes it, and the copy with it.
            Err(trouble) => Err(self.shared.told(trouble, doing)),
        }
    }

    async fn number(&self, doing: &'static str, query: &str, from: u64) -> Result<u64, DestinationError> {
        let session = self.shared.begin(Access::ReadAll, doing).await?;
        let asked = async {
            let row = session.client()?.query_typed_one(query, &[(&book::signed(from), Type::INT8)]).await?;
            Ok::<_, Trouble>(book::unsigned(row.try_get(0)?))
        };
        let asked = asked.await.map_err(|trouble| self.shared.told(trouble, doing));
        session.undo().await;
        asked
    }
}

fn counted(given: u64, taken: u64) -> DestinationError {
    let message = format!("staging: {given} rows were given, Postgres has taken {taken}; they were thrown away");
    DestinationError::new(DestinationErrorKind::Engine, message).with_hint("run again; if it stays, report it")
}

fn doubled(message: &str) -> DestinationError {
    DestinationError::new(DestinationErrorKind::Value, format!("staging: {message}"))
        .with_hint("name columns in the dataset's `key` that tell all rows apart")
}

#[async_trait]
impl Load for StageLoad {
    async fn insert(&mut self, batch: &Batch) -> Result<(), DestinationError> {
        self.add(batch, false).await?;
        self.rows += batch.rows() as u64;
        Ok(())
    }

    async fn upsert(&mut self, batch: &Batch) -> Result<u64, DestinationError> {
        let first = self.numbered;
        self.add(batch, false).await?;
        self.send().await?;
        let stage = self.shared.schemas.load(&self.stage);
        let same = keys(&self.wanted).iter().map(|key| format!("o.{key} = s.{key}")).collect::<Vec<_>>().join(" AND ");
        let query = format!(
            "SELECT count(*) FROM {stage} s WHERE s.n >= $1 AND EXISTS (SELECT 1 FROM {stage} o WHERE o.n < $1 AND {same})"
        );
        let replaced = self.number("replacing staged rows", &query, first).await?;
        self.superseded += replaced;
        self.rows += (batch.rows() as u64).saturating_sub(replaced);
        Ok(replaced)
    }

    async fn delete(&mut self, keys: &Batch) -> Result<(), DestinationError> {
        self.add(keys, true).await?;
        self.deletes += keys.rows() as u64;
        Ok(())
    }

    async fn seal(mut self: Box<Self>) -> Result<Staged, DestinationError> {
        self.send().await?;
        let sha256 = hex(&self.hasher.clone().finalize());
        let stage = self.shared.schemas.load(&self.stage);
        let keys = keys(&self.wanted).join(", ");
        let staged = Staged {
            path: path(&self.shared.schemas, &self.stage),
            rows: self.rows,
            deletes: self.deletes,
            bytes: self.bytes,
            sha256,
        };
        let doing = "sealing a load";
        let session = self.shared.begin(Access::WriteAll, doing).await?;
        let sealed = async {
            let client = session.client()?;
            client.batch_execute(&format!("SET LOCAL work_mem TO '64MB'; ANALYZE {stage}")).await?;
            let query = format!(
                "SELECT count(*) FILTER (WHERE NOT gone), count(*) FILTER (WHERE gone), \
                 (SELECT count(*) FROM (SELECT DISTINCT {keys} FROM {stage} WHERE NOT gone) AS k) FROM {stage}"
            );
            let row = client.query_typed_one(&query, &[]).await?;
            let number = |at| row.try_get(at).map(book::unsigned);
            let (held, gone, distinct) = (number(0)?, number(1)?, number(2)?);
            if held != staged.rows + self.superseded || gone != staged.deletes {
                return Err(counted(staged.rows + self.superseded + staged.deletes, held + gone).into());
            }
            if distinct != staged.rows {
                let more = staged.rows.saturating_sub(distinct);
                let message = format!("{more} rows share a key with another one; nothing was published");
                return Err(doubled(&message).into());
            }
            if book::seal(client, &self.shared.schemas, &self.stage, &staged, self.superseded).await? {
                return Ok(());
            }
            let gone = "staging: the load was removed meanwhile, by another run of its dataset";
            Err(Trouble::from(DestinationError::new(DestinationErrorKind::Unavailable, gone).with_hint("run again")))
        };
        let sealed = sealed.await;
        let ended = match sealed {
            Ok(()) => self.shared.commit(session, doing).await,
            Err(trouble) => {
                session.undo().await;
                Err(self.shared.told(trouble, doing))
            }
        };
        if ended.is_err() {
            // What cannot be removed now is by the next load.
            let _ = self.shared.drop_stage(&self.stage).await;
        }
        ended.map(|()| staged)
    }

    async fn abort(self: Box<Self>) -> Result<(), DestinationError> {
        self.shared.drop_stage(&self.stage).await
    }
}

/// Where a stage is, as [`Staged`] tells it.
fn path(schemas: &Schemas, stage: &str) -> PathBuf {
    PathBuf::from(&schemas.loads).join(stage)
}

/// The bytes and the hash of a stage, read back from it.
pub(super) async fn content(
    client: &tokio_postgres::Client,
    schemas: &Schemas,
    stage: &str,
    columns: usize,
) -> Result<(u64, String), Trouble> {
    let list: Vec<String> = (0..columns).map(|at| format!("c{at}")).collect();
    let query = format!(
        "COPY (SELECT {} FROM {} ORDER BY n) TO STDOUT (FORMAT binary)",
        ["n", "gone"].into_iter().chain(list.iter().map(String::as_str)).collect::<Vec<_>>().join(", "),
        schemas.load(stage)
    );
    client.batch_execute("SET LOCAL work_mem TO '64MB'").await?;
    let stream = client.copy_out(&query).await?;
    let mut stream = pin!(stream);
    let (mut hasher, mut bytes, mut skip) = (Sha256::new(), 0, HEADER.len());
    // The trailer is known only by being the last.
    let mut kept = BytesMut::new();
    while let Some(piece) = stream.try_next().await? {
        let begin = skip.min(piece.len());
        skip -= begin;
        kept.extend_from_slice(piece.get(begin..).unwrap_or_default());
        let whole = kept.split_to(kept.len().saturating_sub(TRAILER.len()));
        hasher.update(&whole);
        bytes += whole.len() as u64;
    }
    Ok((bytes, hex(&hasher.finalize())))
}
