//! Fingerprints of landed rows, in blocks. They are read block by block, so that memory does not grow with the rows of a table.

use std::collections::{HashMap, HashSet};
use std::pin::pin;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::error::corrupt;
use super::{Access, Param, PostgresStore, Transaction, signed, stored, unsigned};
use crate::model::{DatasetId, RunId};
use crate::store::{FingerprintStore, Layer, Lease, Prints, Seen, Slice, StateError, damaged_fingerprints, packed};

/// The entries that a layer holds, as a condition with two values.
enum Of {
    Landed(i64),
    Staged(String),
}

impl Of {
    fn new(layer: Layer<'_>) -> Result<Self, StateError> {
        Ok(match layer {
            Layer::Landed(generation) => Self::Landed(signed(generation)?),
            Layer::Staged(run) => Self::Staged(stored(run.as_str()).into_owned()),
        })
    }

    fn condition(&self) -> &'static str {
        match self {
            Self::Landed(_) => "live AND generation = $2",
            Self::Staged(_) => "NOT live AND run = $2",
        }
    }

    fn value(&self) -> Param<'_> {
        match self {
            Self::Landed(generation) => (generation, Type::INT8),
            Self::Staged(run) => (run, Type::TEXT),
        }
    }
}

/// Goes through packed fingerprints in the order in which they were written; `look` says whether a block is whole.
async fn each_block(
    transaction: &Transaction,
    columns: &str,
    dataset: &DatasetId,
    of: &Of,
    through: i64,
    mut look: impl FnMut(&Row) -> Result<bool, StateError>,
) -> Result<(), StateError> {
    let query =
        format!("SELECT {columns} FROM fingerprint WHERE dataset = $1 AND {} AND id <= $3 ORDER BY id", of.condition());
    let dataset = stored(dataset.as_str());
    let params = [(&dataset as _, Type::TEXT), of.value(), (&through as _, Type::INT8)];
    let mut rows = pin!(transaction.stream(&query, &params).await?);
    while let Some(row) = rows.try_next().await.map_err(|error| transaction.failed(&error))? {
        if !look(&row)? {
            return Err(damaged_fingerprints());
        }
    }
    Ok(())
}

async fn write(
    transaction: &Transaction,
    dataset: &DatasetId,
    generation: u64,
    run: &str,
    live: bool,
    prints: &Prints,
) -> Result<(), StateError> {
    let (entries, keys) = (packed::pack(&prints.entries), packed::pack_keys(&prints.keys));
    let generation = signed(generation)?;
    let params: [Param<'_>; 6] = [
        (&stored(dataset.as_str()), Type::TEXT),
        (&generation, Type::INT8),
        (&run, Type::TEXT),
        (&live, Type::BOOL),
        (&entries, Type::BYTEA),
        (&keys, Type::BYTEA),
    ];
    let insert =
        "INSERT INTO fingerprint (dataset, generation, run, live, entries, keys) VALUES ($1, $2, $3, $4, $5, $6)";
    transaction.execute(insert, &params).await.map(|_| ())
}

impl PostgresStore {
    async fn probe(
        &self,
        dataset: &DatasetId,
        layer: Layer<'_>,
        mut keys: HashMap<u128, Option<Seen>>,
    ) -> Result<HashMap<u128, Option<Seen>>, StateError> {
        let of = Of::new(layer)?;
        let transaction = self.shared.begin(Access::ReadAll, "looking fingerprints up").await?;
        let looked = each_block(&transaction, "entries", dataset, &of, i64::MAX, |row| {
            Ok(packed::probe(transaction.get(row, 0)?, &mut keys))
        });
        let looked = looked.await;
        transaction.end(looked).await?;
        Ok(keys)
    }
}

#[async_trait]
impl FingerprintStore for PostgresStore {
    async fn append(
        &self,
        dataset: &DatasetId,
        generation: u64,
        run: &RunId,
        prints: Prints,
    ) -> Result<(), StateError> {
        let transaction = self.shared.begin(Access::Write, "writing fingerprints").await?;
        let written = write(&transaction, dataset, generation, &stored(run.as_str()), false, &prints).await;
        transaction.end(written).await
    }

    async fn lookup(
        &self,
        dataset: &DatasetId,
        generation: u64,
        keys: HashMap<u128, Option<Seen>>,
    ) -> Result<HashMap<u128, Option<Seen>>, StateError> {
        self.probe(dataset, Layer::Landed(generation), keys).await
    }

    async fn lookup_staged(
        &self,
        dataset: &DatasetId,
        run: &RunId,
        keys: HashMap<u128, Option<Seen>>,
    ) -> Result<HashMap<u128, Option<Seen>>, StateError> {
        self.probe(dataset, Layer::Staged(run), keys).await
    }

    async fn slice(
        &self,
        dataset: &DatasetId,
        layer: Layer<'_>,
        slice: Slice,
    ) -> Result<HashMap<u128, Seen>, StateError> {
        let (of, mut found) = (Of::new(layer)?, HashMap::new());
        let transaction = self.shared.begin(Access::ReadAll, "reading fingerprints").await?;
        let looked = each_block(&transaction, "entries", dataset, &of, i64::MAX, |row| {
            Ok(packed::gather(transaction.get(row, 0)?, slice, &mut found))
        });
        let looked = looked.await;
        transaction.end(looked).await?;
        Ok(found)
    }

    async fn key_texts(
        &self,
        dataset: &DatasetId,
        layer: Layer<'_>,
        wanted: &HashSet<u128>,
    ) -> Result<HashMap<u128, String>, StateError> {
        let (of, mut found) = (Of::new(layer)?, HashMap::new());
        let transaction = self.shared.begin(Access::ReadAll, "reading the keys of landed rows").await?;
        let looked = each_block(&transaction, "entries, keys", dataset, &of, i64::MAX, |row| {
            Ok(packed::texts(transaction.get(row, 0)?, transaction.get(row, 1)?, wanted, &mut found))
        });
        let looked = looked.await;
        transaction.end(looked).await?;
        Ok(found)
    }

    async fn promote(&self, lease: &Lease, generation: u64, run: &RunId) -> Result<(), StateError> {
        let transaction = self.shared.begin(Access::WriteAll, "making fingerprints count").await?;
        let promoted = async {
            transaction.check_fence(lease).await?;
            let (dataset, run, generation) =
                (stored(lease.dataset.as_str()), stored(run.as_str()), signed(generation)?);
            let dataset: Param<'_> = (&dataset, Type::TEXT);
            let ours = [dataset.clone(), (&run, Type::TEXT)];
            let promote = "UPDATE fingerprint SET live = true WHERE dataset = $1 AND NOT live AND run = $2";
            transaction.execute(promote, &ours).await?;
            let drop = "DELETE FROM fingerprint WHERE dataset = $1 AND (NOT live OR generation <> $2)";
            transaction.execute(drop, &[dataset, (&generation, Type::INT8)]).await?;
            Ok(())
        };
        let promoted = promoted.await;
        transaction.end(promoted).await
    }

    async fn discard_staged(&self, lease: &Lease, keep: Option<&RunId>) -> Result<(), StateError> {
        let transaction = self.shared.begin(Access::WriteAll, "dropping staged fingerprints").await?;
        let discarded = async {
            transaction.check_fence(lease).await?;
            let keep = keep.map(|run| stored(run.as_str()).into_owned());
            let params: [Param<'_>; 2] = [(&stored(lease.dataset.as_str()), Type::TEXT), (&keep, Type::TEXT)];
            let drop = "DELETE FROM fingerprint WHERE dataset = $1 AND NOT live AND ($2 IS NULL OR run <> $2)";
            transaction.execute(drop, &params).await.map(|_| ())
        };
        let discarded = discarded.await;
        transaction.end(discarded).await
    }

    async fn entries(&self, dataset: &DatasetId, generation: u64) -> Result<u64, StateError> {
        let generation = signed(generation)?;
        let transaction = self.shared.begin(Access::Read, "counting fingerprints").await?;
        let query = "SELECT COALESCE(sum(octet_length(entries)), 0)::bigint FROM fingerprint \
                     WHERE dataset = $1 AND live AND generation = $2";
        let params: [Param<'_>; 2] = [(&stored(dataset.as_str()), Type::TEXT), (&generation, Type::INT8)];
        let row = transaction.row(query, &params).await;
        let bytes = row.and_then(|row| {
            let row = row.ok_or_else(|| corrupt("Postgres does not answer how many fingerprints there are"))?;
            unsigned(transaction.get(&row, 0)?)
        });
        Ok(transaction.end(bytes).await? / packed::LENGTH as u64)
    }

    async fn compact(&self, lease: &Lease, generation: u64, rows: u64) -> Result<(), StateError> {
        let of = Of::new(Layer::Landed(generation))?;
        let transaction = self.shared.begin(Access::WriteAll, "rewriting fingerprints").await?;
        let compacted = async {
            transaction.check_fence(lease).await?;
            let row = transaction.row("SELECT COALESCE(max(id), 0) FROM fingerprint", &[]).await?;
            let newest: i64 = match &row {
                Some(row) => transaction.get(row, 0)?,
                None => 0,
            };
            // With their texts keys take twice the memory that slices are made for.
            for slice in Slice::for_rows(rows.saturating_mul(2)) {
                let mut gathered = HashMap::new();
                each_block(&transaction, "entries, keys", &lease.dataset, &of, newest, |row| {
                    let (entries, keys) = (transaction.get(row, 0)?, transaction.get(row, 1)?);
                    Ok(packed::gather_with_keys(entries, keys, slice, &mut gathered))
                })
                .await?;
                let prints = packed::prints(gathered)?;
                write(&transaction, &lease.dataset, generation, "compacted", true, &prints).await?;
            }
            let dataset = stored(lease.dataset.as_str());
            let params: [Param<'_>; 2] = [(&dataset, Type::TEXT), (&newest, Type::INT8)];
            transaction.execute("DELETE FROM fingerprint WHERE dataset = $1 AND live AND id <= $2", &params).await?;
            Ok(())
        };
        let compacted = compacted.await;
        transaction.end(compacted).await
    }
}
