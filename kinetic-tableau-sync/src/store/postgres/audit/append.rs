//! Appending to a chain: its row is locked, so that each entry knows the one before.

use std::pin::pin;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::SinkExt as _;
use tokio_postgres::types::Type;

use super::copy;
use super::partitions::{self, Month};
use crate::audit::trail::{self, HASH, Kind};
use crate::audit::{AuditEntry, AuditEvent, AuditSegment};
use crate::store::StateError;
use crate::store::postgres::error::{corrupt, storage};
use crate::store::postgres::{Access, Param, Shared, Transaction, stored};

/// Where a new entry comes to stand.
#[derive(Clone, Copy)]
struct End {
    before: [u8; HASH],
    sequence: i64,
    id: i64,
}

/// A moment as Postgres keeps it: microseconds, and by itself what is below.
pub(super) fn moment(at: DateTime<Utc>) -> (DateTime<Utc>, i16) {
    let micros = at.timestamp_subsec_nanos() / 1_000 * 1_000;
    let nanos = i16::try_from(at.timestamp_subsec_nanos() % 1_000).unwrap_or_default();
    (DateTime::from_timestamp(at.timestamp(), micros).unwrap_or(at), nanos)
}

/// A leap second is the last moment of the second before it: Postgres has none.
fn without_leap(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(at.timestamp(), at.timestamp_subsec_nanos().min(999_999_999)).unwrap_or(at)
}

/// Locks the end of a chain, which is made when there is none.
async fn lock(transaction: &Transaction, dataset: &str) -> Result<End, StateError> {
    let dataset: Param<'_> = (&dataset, Type::TEXT);
    let query = "SELECT sequence, hash, nextval(pg_get_serial_sequence('audit_entry', 'id')) FROM audit_chain \
                 WHERE dataset = $1 FOR UPDATE";
    let mut row = transaction.row(query, std::slice::from_ref(&dataset)).await?;
    if row.is_none() {
        let make = "INSERT INTO audit_chain VALUES ($1, 0, $2, 0, $2) ON CONFLICT DO NOTHING";
        transaction.execute(make, &[dataset.clone(), (&[0_u8; HASH].as_slice(), Type::BYTEA)]).await?;
        row = transaction.row(query, &[dataset]).await?;
    }
    let row = row.ok_or_else(|| corrupt("the end of a chain of the audit trail has vanished"))?;
    let before: &[u8] = transaction.get(&row, 1)?;
    Ok(End {
        before: before.try_into().map_err(|_| corrupt("the end of a chain of the audit trail was altered"))?,
        sequence: transaction.get::<i64>(&row, 0)? + 1,
        id: transaction.get(&row, 2)?,
    })
}

/// Moves the end of a chain behind a new entry.
async fn advance(transaction: &Transaction, dataset: &str, end: End, hash: &[u8]) -> Result<(), StateError> {
    let params: [Param<'_>; 3] = [(&dataset, Type::TEXT), (&end.sequence, Type::INT8), (&hash, Type::BYTEA)];
    transaction.execute("UPDATE audit_chain SET sequence = $2, hash = $3 WHERE dataset = $1", &params).await.map(|_| ())
}

fn hash(end: End, kind: Kind, body: &[u8]) -> [u8; HASH] {
    trail::hash(&end.before, u64::try_from(end.sequence).unwrap_or_default(), kind, body)
}

/// Appends records. The segment is whole in the trail or not at all.
pub(super) async fn segment(shared: &Shared, mut segment: AuditSegment) -> Result<(), StateError> {
    segment.at = without_leap(segment.at);
    let transaction = partitions::begin(shared, Month::of(segment.at)).await?;
    let written = write_segment(&transaction, segment).await;
    transaction.end(written).await
}

/// What goes out of a segment: the hash, and the rows of its records.
type Encoded = ([u8; HASH], Vec<Bytes>);

fn encode(end: End, segment: &AuditSegment) -> Result<Encoded, StateError> {
    let body = trail::segment_body(segment).map_err(|error| storage(error.to_string()))?;
    Ok((hash(end, Kind::Segment, &body), copy::encode(segment, end.id)?))
}

async fn write_segment(transaction: &Transaction, segment: AuditSegment) -> Result<(), StateError> {
    let dataset = stored(segment.dataset.as_str()).into_owned();
    let end = lock(transaction, &dataset).await?;
    // Some milliseconds of work for twenty thousand records.
    let encoded = tokio::task::spawn_blocking(move || encode(end, &segment).map(|encoded| (segment, encoded))).await;
    let (segment, (hash, rows)) =
        encoded.unwrap_or_else(|error| Err(storage("encoding audit records was broken off").with_cause(error)))?;
    let records = segment.records.len() as u64;
    let count =
        i32::try_from(records).map_err(|_| storage("a segment of the audit trail is too large for Postgres"))?;
    let (at, nanos) = moment(segment.at);
    let names: Vec<_> = segment.dimension_names.iter().map(|name| stored(name).into_owned()).collect();
    let params: [Param<'_>; 13] = [
        (&end.id, Type::INT8),
        (&dataset, Type::TEXT),
        (&end.sequence, Type::INT8),
        (&stored(segment.run.as_str()), Type::TEXT),
        (&at, Type::TIMESTAMPTZ),
        (&nanos, Type::INT2),
        (&hash.as_slice(), Type::BYTEA),
        (&count, Type::INT4),
        (&stored(&segment.company), Type::TEXT),
        (&stored(&segment.project), Type::TEXT),
        (&stored(&segment.datasource), Type::TEXT),
        (&stored(&segment.request_id), Type::TEXT),
        (&names, Type::TEXT_ARRAY),
    ];
    let insert = "INSERT INTO audit_entry (id, dataset, sequence, run, at, nanos, hash, records, company, project, \
                  datasource, request_id, dimension_names) OVERRIDING SYSTEM VALUE \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    transaction.execute(insert, &params).await?;
    advance(transaction, &dataset, end, &hash).await?;
    if copy(transaction, rows).await? == records {
        return Ok(());
    }
    Err(corrupt("Postgres took another number of audit records than there are"))
}

async fn copy(transaction: &Transaction, rows: Vec<Bytes>) -> Result<u64, StateError> {
    let failed = |error| transaction.failed(&error);
    let mut sink = pin!(transaction.client()?.copy_in(copy::STATEMENT).await.map_err(failed)?);
    for piece in rows {
        // A server that refuses what it gets says why at the end only.
        if sink.feed(piece).await.is_err() {
            break;
        }
    }
    sink.finish().await.map_err(failed)
}

/// The name of an event, as its JSON tells it.
pub(super) fn name(event: &AuditEvent) -> &'static str {
    match event {
        AuditEvent::Started { .. } => "started",
        AuditEvent::Landed { .. } => "landed",
        AuditEvent::Idle { .. } => "idle",
        AuditEvent::Reconciled { .. } => "reconciled",
        AuditEvent::Refreshed { .. } => "refreshed",
        AuditEvent::Told { .. } => "told",
        AuditEvent::Failed { .. } => "failed",
    }
}

/// Appends an event.
pub(super) async fn event(shared: &Shared, mut entry: AuditEntry) -> Result<(), StateError> {
    entry.at = without_leap(entry.at);
    let body = trail::event_body(&entry).map_err(|error| storage(error.to_string()))?;
    let text = String::from_utf8(body).map_err(|error| corrupt("an event is no text").with_cause(error))?;
    let transaction = shared.begin(Access::Write, "writing an audit event").await?;
    let written = write_event(&transaction, &entry, &text).await;
    transaction.end(written).await
}

async fn write_event(transaction: &Transaction, entry: &AuditEntry, body: &str) -> Result<(), StateError> {
    let dataset = stored(entry.dataset.as_str());
    let end = lock(transaction, &dataset).await?;
    let hash = hash(end, Kind::Event, body.as_bytes());
    let (at, nanos) = moment(entry.at);
    let params: [Param<'_>; 9] = [
        (&end.id, Type::INT8),
        (&dataset, Type::TEXT),
        (&end.sequence, Type::INT8),
        (&stored(entry.run.as_str()), Type::TEXT),
        (&at, Type::TIMESTAMPTZ),
        (&nanos, Type::INT2),
        (&hash.as_slice(), Type::BYTEA),
        (&name(&entry.event), Type::TEXT),
        (&body, Type::TEXT),
    ];
    let insert = "INSERT INTO audit_entry (id, dataset, sequence, run, at, nanos, hash, event, body) \
                  OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::json)";
    transaction.execute(insert, &params).await?;
    advance(transaction, &dataset, end, &hash).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Counts, Findings};

    #[test]
    fn a_moment_is_kept_to_the_nanosecond() {
        for text in ["2026-11-26T10:11:12.123456789Z", "1969-12-31T23:59:59.000000001Z", "2026-11-26T10:11:12Z"] {
            let at: DateTime<Utc> = text.parse().unwrap();
            let (micros, nanos) = moment(at);
            assert_eq!(micros + chrono::Duration::nanoseconds(nanos.into()), at, "{text}");
            assert!(micros <= at && (0..1_000).contains(&nanos));
        }
        let leap: DateTime<Utc> = "2016-12-31T23:59:60.5Z".parse().unwrap();
        assert_eq!(without_leap(leap).to_rfc3339(), "2016-12-31T23:59:59.999999999+00:00");
    }

    #[test]
    fn events_are_named_as_in_their_json() {
        let target = crate::Target { project: String::new(), datasource: String::new() };
        for event in [
            AuditEvent::Started {
                kind: crate::LoadKind::Full,
                reason: None,
                company: String::new(),
                after: None,
                target,
            },
            AuditEvent::Idle { counts: Counts::default(), through: None },
            AuditEvent::Reconciled { findings: Findings::default() },
            AuditEvent::Told { what: String::new(), resource: None, id: None, at: None },
            AuditEvent::Failed { stage: String::new(), message: String::new(), hint: None },
        ] {
            assert_eq!(serde_json::to_value(&event).unwrap()["event"], name(&event));
        }
    }
}
