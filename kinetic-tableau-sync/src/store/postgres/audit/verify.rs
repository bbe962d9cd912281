//! Recomputing the chains from the rows.

use sha2::{Digest as _, Sha256};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::entries::{Content, ENTRY, Entry};
use super::gather::{self, RECORDS};
use crate::audit::trail::{self, Anchor, HASH, Kind, Verifier};
use crate::audit::{AuditEntry, Verification, codec};
use crate::digest;
use crate::store::StateError;
use crate::store::postgres::{Access, Param, Shared, Transaction, original, unsigned};

/// Entries that are read at once.
const PAGE: i64 = 500;

/// Both ends of a chain, as its row tells them.
struct Chain {
    /// As it is stored.
    dataset: String,
    end: Anchor,
    anchor: Anchor,
}

impl Chain {
    fn read(transaction: &Transaction, row: &Row) -> Result<Self, StateError> {
        let anchor = |at| {
            let hash: &[u8] = transaction.get(row, at + 1)?;
            let sequence = unsigned(transaction.get(row, at)?)?;
            // A hash that has not the right length breaks the chain like any other wrong one.
            Ok::<_, StateError>(Anchor { sequence, hash: hash.try_into().unwrap_or([0xff; HASH]) })
        };
        Ok(Self { dataset: transaction.get(row, 0)?, end: anchor(1)?, anchor: anchor(3)? })
    }
}

pub(super) async fn verify(shared: &Shared) -> Result<Verification, StateError> {
    let transaction = shared.begin(Access::ReadAll, "verifying the audit trail").await?;
    let found = all(&transaction).await;
    transaction.end(found).await
}

async fn all(transaction: &Transaction) -> Result<Verification, StateError> {
    gather::prepare(transaction).await?;
    let query = "SELECT dataset, sequence, hash, pruned, anchor FROM audit_chain ORDER BY dataset";
    let chains = transaction.rows(query, &[]).await?;
    let mut all = Verification { entries: 0, records: 0, pruned: 0, first_broken: None, head: String::new() };
    let mut heads = Sha256::new();
    for row in &chains {
        let chain = Chain::read(transaction, row)?;
        let (found, head) = one(transaction, &chain).await?;
        all.entries += found.entries;
        all.records += found.records;
        all.pruned += found.pruned;
        let name = original(&chain.dataset);
        let broken = found.first_broken.map(|(at, why)| (at, format!("dataset {name}: {why}")));
        all.first_broken = all.first_broken.or(broken);
        heads.update((name.len() as u64).to_le_bytes());
        heads.update(name.as_bytes());
        heads.update(head);
    }
    if all.first_broken.is_none() {
        all.first_broken = stray(transaction).await?;
    }
    all.head = digest::hex(&heads.finalize());
    Ok(all)
}

/// Recomputes one chain. Answers the hash of its last entry as well.
async fn one(transaction: &Transaction, chain: &Chain) -> Result<(Verification, [u8; HASH]), StateError> {
    let mut verifier = Verifier::behind(&chain.anchor);
    let mut last = chain.anchor;
    let mut which = None;
    let query =
        format!("SELECT {ENTRY} FROM audit_entry WHERE dataset = $1 AND sequence > $2 ORDER BY sequence LIMIT {PAGE}");
    let mut behind = i64::MIN;
    loop {
        let params: [Param<'_>; 2] = [(&chain.dataset, Type::TEXT), (&behind, Type::INT8)];
        let rows = transaction.rows(&query, &params).await?;
        let page: Vec<Entry> =
            rows.iter().map(|row| Entry::read(transaction, row)).collect::<Result<_, StateError>>()?;
        let Some(newest) = page.last() else { break };
        behind = newest.sequence;
        let mut rest = page.as_slice();
        while !rest.is_empty() {
            let some = gather::take_some(&mut rest, RECORDS);
            let mut gathered = gather::gather(transaction, some).await?;
            for entry in some {
                let records = gathered.remove(&entry.id);
                if let Some(Err(position)) = records {
                    which.get_or_insert((entry.sequence, position));
                }
                let (kind, body) = content(entry, records.and_then(Result::ok));
                // One that counts backwards is as wrong as any other.
                let sequence = u64::try_from(entry.sequence).unwrap_or_default();
                last = Anchor { sequence, hash: entry.hash };
                verifier.look(&trail::Entry { sequence, kind, body, hash: entry.hash });
            }
        }
    }
    let mut found = verifier.finish();
    if let (Some((at, why)), Some((sequence, position))) = (&mut found.first_broken, which)
        && i64::try_from(*at) == Ok(sequence)
    {
        *why = format!("{why}; the record at place {position} is missing or was altered");
    }
    if found.first_broken.is_none() && last != chain.end {
        let wrong = if last.sequence < chain.end.sequence {
            (last.sequence + 1, format!("the end was cut off: entries up to {} are missing", chain.end.sequence))
        } else {
            (last.sequence, "the end of its chain is not what was written".to_owned())
        };
        found.first_broken = Some(wrong);
    }
    Ok((found, last.hash))
}

/// What the hash of an entry covers, encoded anew. Nothing where it cannot be what was written: no entry has an empty content.
fn content(entry: &Entry, records: Option<crate::audit::Records>) -> (Kind, Vec<u8>) {
    match &entry.content {
        Content::Segment(common) => {
            let body = records.and_then(|records| codec::encode(&entry.segment(common, records)));
            (Kind::Segment, body.unwrap_or_default())
        }
        Content::Event { name, body } => {
            let event = serde_json::from_str::<AuditEntry>(body).ok();
            let agrees = event.is_some_and(|event| entry.agrees_with(name, &event));
            (Kind::Event, if agrees { body.clone().into_bytes() } else { Vec::new() })
        }
        Content::Broken => (Kind::Segment, Vec::new()),
    }
}

/// Looks for what no chain knows of, and readers of the tables would take for part of the trail.
async fn stray(transaction: &Transaction) -> Result<Option<(u64, String)>, StateError> {
    transaction.run("SET LOCAL enable_hashjoin TO on").await?;
    let told = |row: Option<Row>, what: &str| {
        let Some(row) = row else { return Ok(None) };
        let dataset: Option<&str> = transaction.get(&row, 0)?;
        let at = transaction.get::<Option<i64>>(&row, 1)?.and_then(|at| u64::try_from(at).ok()).unwrap_or_default();
        let dataset = dataset.map_or_else(|| "no dataset".to_owned(), |name| format!("dataset {}", original(name)));
        Ok::<_, StateError>(Some((at, format!("{dataset}: {what}"))))
    };
    let entries = "SELECT e.dataset, e.sequence FROM audit_entry e \
                   WHERE NOT EXISTS (SELECT FROM audit_chain c WHERE c.dataset = e.dataset) \
                   ORDER BY e.dataset, e.sequence LIMIT 1";
    if let Some(found) = told(transaction.row(entries, &[]).await?, "the end of its chain is missing")? {
        return Ok(Some(found));
    }
    let records = "SELECT e.dataset, e.sequence FROM audit_record r LEFT JOIN audit_entry e ON e.id = r.entry \
                   WHERE NOT EXISTS (SELECT FROM audit_entry s WHERE s.id = r.entry AND s.at = r.at AND s.records IS NOT NULL) \
                   AND NOT EXISTS (SELECT FROM audit_removal m WHERE m.entry = r.entry AND m.at = r.at) LIMIT 1";
    told(transaction.row(records, &[]).await?, "there is a record that was not written with any entry")
}
