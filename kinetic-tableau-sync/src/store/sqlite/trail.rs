//! The audit trail in the file.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, params, params_from_iter};

use super::{SqliteStore, StateError, StateErrorKind, signed, storage, unsigned, writing};
use crate::audit::trail::{self, Anchor, Cut, Entry, HASH, Kind, Search, Verifier};
use crate::audit::{AuditEntry, AuditError, AuditFilter, AuditRecord, AuditSegment, AuditStore, Verification};
use crate::model::{DatasetId, RunId};

impl SqliteStore {
    async fn append_to_trail(
        &self,
        dataset: DatasetId,
        run: RunId,
        kind: Kind,
        body: Vec<u8>,
    ) -> Result<(), AuditError> {
        let appended = self.blocking(move |_, connection| {
            let transaction = writing(connection)?;
            let last: Option<(i64, Vec<u8>)> = transaction
                .query_row("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1", [], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()
                .map_err(storage)?;
            let last = match last {
                Some((sequence, hash)) => Anchor { sequence: unsigned(sequence)?, hash: hash_of(&hash) },
                None => anchor(&transaction)?,
            };
            let (sequence, before) = (last.sequence + 1, last.hash);
            let hash = trail::hash(&before, sequence, kind, &body);
            transaction
                .execute(
                    "INSERT INTO audit (sequence, dataset, run, kind, body, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![signed(sequence)?, dataset.as_str(), run.as_str(), kind.code(), body, hash],
                )
                .map_err(storage)?;
            transaction.commit().map_err(storage)
        });
        appended.await.map_err(failed)
    }
}

/// A hash that has not the right length breaks the chain like any other wrong one.
fn hash_of(bytes: &[u8]) -> [u8; HASH] {
    bytes.try_into().unwrap_or([0xff; HASH])
}

fn failed(error: StateError) -> AuditError {
    let transient = error.kind() == StateErrorKind::Unavailable;
    let failure = AuditError::new(error.to_string()).with_cause(error);
    if transient { failure.transient() } else { failure }
}

/// Where the trail begins.
fn anchor(connection: &Connection) -> Result<Anchor, StateError> {
    let found: Option<(i64, Vec<u8>)> = connection
        .query_row("SELECT sequence, hash FROM audit_anchor", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .map_err(storage)?;
    found.map_or(Ok(Anchor::default()), |(sequence, hash)| {
        Ok(Anchor { sequence: unsigned(sequence)?, hash: hash_of(&hash) })
    })
}

/// Hands out the entries that may match, oldest first.
fn scan(
    connection: &Connection,
    filter: &AuditFilter,
    kind: Option<Kind>,
    mut look: impl FnMut(Entry) -> Result<(), AuditError>,
) -> Result<(), AuditError> {
    let sql = |error| failed(storage(error));
    let mut conditions = vec!["1".to_owned()];
    let mut values: Vec<String> = Vec::new();
    let wanted =
        [("dataset", filter.dataset.as_ref().map(DatasetId::as_str)), ("run", filter.run.as_ref().map(RunId::as_str))];
    for (column, value) in wanted {
        if let Some(value) = value {
            values.push(value.to_owned());
            conditions.push(format!("{column} = ?{}", values.len()));
        }
    }
    if let Some(kind) = kind {
        conditions.push(format!("kind = {}", kind.code()));
    }
    let query =
        format!("SELECT sequence, kind, body, hash FROM audit WHERE {} ORDER BY sequence", conditions.join(" AND "));
    let mut query = connection.prepare(&query).map_err(sql)?;
    let mut rows = query.query(params_from_iter(values)).map_err(sql)?;
    while let Some(row) = rows.next().map_err(sql)? {
        let sequence = row.get::<_, i64>(0).map_err(sql)?;
        let kind = Kind::from_code(row.get(1).map_err(sql)?)
            .ok_or_else(|| AuditError::new(format!("entry {sequence} is of no kind that is known")))?;
        let hash: Vec<u8> = row.get(3).map_err(sql)?;
        look(Entry {
            sequence: unsigned(sequence).map_err(failed)?,
            kind,
            body: row.get(2).map_err(sql)?,
            hash: hash_of(&hash),
        })?;
    }
    Ok(())
}

fn events_of(connection: &Connection, filter: &AuditFilter) -> Result<Vec<AuditEntry>, AuditError> {
    let mut found = Vec::new();
    scan(connection, filter, Some(Kind::Event), |entry| {
        found.extend(trail::events(std::iter::once(&entry), filter)?);
        Ok(())
    })?;
    Ok(found)
}

#[async_trait]
impl AuditStore for SqliteStore {
    async fn append(&self, segment: AuditSegment) -> Result<(), AuditError> {
        let body = trail::segment_body(&segment)?;
        self.append_to_trail(segment.dataset, segment.run, Kind::Segment, body).await
    }

    async fn record(&self, entry: AuditEntry) -> Result<(), AuditError> {
        let body = trail::event_body(&entry)?;
        self.append_to_trail(entry.dataset, entry.run, Kind::Event, body).await
    }

    async fn records(&self, filter: &AuditFilter) -> Result<Vec<AuditRecord>, AuditError> {
        let filter = filter.clone();
        let found = self.blocking(move |_, connection| {
            let landings =
                AuditFilter { dataset: filter.dataset.clone(), run: filter.run.clone(), ..AuditFilter::default() };
            let gather = || {
                let mut search = Search::new(&filter, events_of(connection, &landings)?);
                scan(connection, &filter, Some(Kind::Segment), |entry| search.look(&entry))?;
                Ok(search.finish())
            };
            Ok(gather())
        });
        found.await.map_err(failed)?
    }

    async fn events(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, AuditError> {
        let filter = filter.clone();
        self.blocking(move |_, connection| Ok(events_of(connection, &filter))).await.map_err(failed)?
    }

    async fn verify(&self) -> Result<Verification, AuditError> {
        let found = self.blocking(move |_, connection| {
            let mut verifier = Verifier::behind(&anchor(connection)?);
            let scanned = scan(connection, &AuditFilter::default(), None, |entry| {
                verifier.look(&entry);
                Ok(())
            });
            Ok(scanned.map(|()| verifier.finish()))
        });
        found.await.map_err(failed)?
    }

    async fn prune(&self, before: DateTime<Utc>) -> Result<u64, AuditError> {
        let removed = self.blocking(move |_, connection| {
            let transaction = writing(connection)?;
            let mut cut = Cut::new(before, &anchor(&transaction)?);
            let scanned = scan(&transaction, &AuditFilter::default(), None, |entry| {
                cut.look(&entry);
                Ok(())
            });
            if let Err(error) = scanned {
                return Ok(Err(error));
            }
            let through = match cut.through() {
                Ok(Some(through)) => through,
                Ok(None) => return Ok(Ok(0)),
                Err(error) => return Ok(Err(error)),
            };
            let through = signed(through)?;
            transaction
                .execute(
                    "INSERT OR REPLACE INTO audit_anchor (one, sequence, hash) \
                     SELECT 1, sequence, hash FROM audit WHERE sequence = ?1",
                    params![through],
                )
                .map_err(storage)?;
            let removed =
                transaction.execute("DELETE FROM audit WHERE sequence <= ?1", params![through]).map_err(storage)?;
            transaction.commit().map_err(storage)?;
            Ok(Ok(removed as u64))
        });
        removed.await.map_err(failed)?
    }
}
