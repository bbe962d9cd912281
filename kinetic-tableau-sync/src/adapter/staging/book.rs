//! The tables about landings, in a schema beside that of the rows: which tables are ours, which loads are staged, which have landed.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::failure::Trouble;
use super::names::Schemas;
use crate::destination::{LoadPlan, Receipt, Staged};
use crate::store::postgres::quoted;

/// Receipts are kept so long, and the newest of each table for ever.
const RECEIPTS: &str = "90 days";
/// Stages of datasets that nobody runs any more are dropped after this.
const ABANDONED: &str = "7 days";

/// What is known of a table of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Book {
    pub(super) dataset: String,
    /// Counts the landings, and names the last one.
    pub(super) version: String,
    /// Every column that we have ever made.
    pub(super) columns: Vec<String>,
}

/// Makes both schemas and the tables about landings, where they are not there.
pub(super) async fn prepare(client: &Client, schemas: &Schemas) -> Result<(), Trouble> {
    if is_there(client, schemas).await? && has_schema(client, &schemas.tables).await? {
        return Ok(());
    }
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
    client.query_typed(lock, &[(&format!("kinetic-tableau-sync {}", schemas.loads), Type::TEXT)]).await?;
    for schema in [&schemas.tables, &schemas.loads] {
        // Postgres asks for the right to make it even where it is there.
        if !has_schema(client, schema).await? {
            client.batch_execute(&format!("CREATE SCHEMA {}", quoted(schema))).await?;
        }
    }
    if is_there(client, schemas).await? {
        return Ok(());
    }
    let (landed, receipt, load) = (schemas.load("landed"), schemas.load("receipt"), schemas.load("load"));
    client
        .batch_execute(&format!(
            "CREATE TABLE {landed} (table_name text PRIMARY KEY, dataset text NOT NULL, columns text[] NOT NULL, \
             landings bigint NOT NULL, request_id text NOT NULL);\
             CREATE TABLE {receipt} (request_id text PRIMARY KEY, table_name text NOT NULL, dataset text NOT NULL, run text NOT NULL, \
             kind text NOT NULL, rows bigint NOT NULL, deletes bigint NOT NULL, sha256 text NOT NULL, target_id text NOT NULL, \
             version text NOT NULL, landed_at timestamptz NOT NULL);\
             CREATE INDEX ON {receipt} (table_name, landed_at);\
             CREATE TABLE {load} (stage text PRIMARY KEY, dataset text NOT NULL, run text NOT NULL, table_name text NOT NULL, \
             base text, began_at timestamptz NOT NULL DEFAULT now(), sealed_at timestamptz, rows bigint, superseded bigint, \
             deletes bigint, bytes bigint, sha256 text)"
        ))
        .await?;
    Ok(())
}

async fn has_schema(client: &Client, name: &str) -> Result<bool, Trouble> {
    let query = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1";
    Ok(client.query_typed_opt(query, &[(&name, Type::TEXT)]).await?.is_some())
}

/// Whether anything has ever been prepared.
pub(super) async fn is_there(client: &Client, schemas: &Schemas) -> Result<bool, Trouble> {
    let query = "SELECT pg_catalog.to_regclass($1) IS NOT NULL";
    let row = client.query_typed_one(query, &[(&schemas.load("load"), Type::TEXT)]).await?;
    Ok(row.try_get(0)?)
}

/// What is known of a table. `lock` keeps others from landing in it until the transaction ends.
pub(super) async fn find(client: &Client, schemas: &Schemas, table: &str, lock: bool) -> Result<Option<Book>, Trouble> {
    let lock = if lock { " FOR UPDATE" } else { "" };
    let landed = schemas.load("landed");
    let query =
        format!("SELECT dataset, landings || ':' || request_id, columns FROM {landed} WHERE table_name = $1{lock}");
    let Some(row) = client.query_typed_opt(&query, &[(&table, Type::TEXT)]).await? else { return Ok(None) };
    Ok(Some(Book { dataset: row.try_get(0)?, version: row.try_get(1)?, columns: row.try_get(2)? }))
}

/// Notes a landing; answers the version of the table from then on.
pub(super) async fn note(
    client: &Client,
    schemas: &Schemas,
    table: &str,
    plan: &LoadPlan,
    columns: &[String],
) -> Result<String, Trouble> {
    let landed = schemas.load("landed");
    let statement = format!(
        "INSERT INTO {landed} AS l (table_name, dataset, columns, landings, request_id) VALUES ($1, $2, $3, 1, $4) \
         ON CONFLICT (table_name) DO UPDATE SET dataset = EXCLUDED.dataset, columns = EXCLUDED.columns, \
         landings = l.landings + 1, request_id = EXCLUDED.request_id RETURNING l.landings || ':' || l.request_id"
    );
    let row = client
        .query_typed_one(
            &statement,
            &[
                (&table, Type::TEXT),
                (&plan.dataset.as_str(), Type::TEXT),
                (&columns, Type::TEXT_ARRAY),
                (&plan.request_id, Type::TEXT),
            ],
        )
        .await?;
    Ok(row.try_get(0)?)
}

/// The receipt of a request, where it has landed.
pub(super) async fn receipt(client: &Client, schemas: &Schemas, request: &str) -> Result<Option<Receipt>, Trouble> {
    let query =
        format!("SELECT target_id, version, rows, landed_at FROM {} WHERE request_id = $1", schemas.load("receipt"));
    let Some(row) = client.query_typed_opt(&query, &[(&request, Type::TEXT)]).await? else { return Ok(None) };
    Ok(Some(Receipt {
        target_id: row.try_get(0)?,
        request_id: request.to_owned(),
        job_id: None,
        target_version: Some(row.try_get(1)?),
        rows: unsigned(row.try_get(2)?),
        landed_at: row.try_get(3)?,
    }))
}

/// Keeps a receipt, and lets go of old ones of the table.
pub(super) async fn keep(
    client: &Client,
    schemas: &Schemas,
    table: &str,
    plan: &LoadPlan,
    staged: &Staged,
    receipt: &Receipt,
) -> Result<(), Trouble> {
    let kept = schemas.load("receipt");
    let kind = format!("{:?}", plan.kind).to_lowercase();
    let statement = format!(
        "INSERT INTO {kept} (request_id, table_name, dataset, run, kind, rows, deletes, sha256, target_id, version, landed_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
    );
    client
        .execute_typed(
            &statement,
            &[
                (&plan.request_id, Type::TEXT),
                (&table, Type::TEXT),
                (&plan.dataset.as_str(), Type::TEXT),
                (&plan.run.as_str(), Type::TEXT),
                (&kind, Type::TEXT),
                (&signed(staged.rows), Type::INT8),
                (&signed(staged.deletes), Type::INT8),
                (&staged.sha256, Type::TEXT),
                (&receipt.target_id, Type::TEXT),
                (&receipt.target_version, Type::TEXT),
                (&receipt.landed_at, Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    let old = format!(
        "DELETE FROM {kept} WHERE table_name = $1 AND request_id <> $2 AND landed_at < now() - interval '{RECEIPTS}'"
    );
    client.execute_typed(&old, &[(&table, Type::TEXT), (&plan.request_id, Type::TEXT)]).await?;
    Ok(())
}

/// A load as it is noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Noted {
    /// The version of its table when it began.
    pub(super) base: Option<String>,
    pub(super) rows: u64,
    /// Rows of the stage that another one of the same key has replaced.
    pub(super) superseded: u64,
    pub(super) deletes: u64,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl Noted {
    pub(super) fn is(&self, staged: &Staged) -> bool {
        self.rows == staged.rows
            && self.deletes == staged.deletes
            && self.bytes == staged.bytes
            && self.sha256 == staged.sha256
    }
}

/// Notes a load that begins, and drops what earlier loads of the dataset have left: a run that begins one has dealt with every load that
/// still counted.
pub(super) async fn begin(
    client: &Client,
    schemas: &Schemas,
    stage: &str,
    plan: &LoadPlan,
    table: &str,
    base: Option<&str>,
) -> Result<(), Trouble> {
    let load = schemas.load("load");
    let left =
        format!("DELETE FROM {load} WHERE dataset = $1 OR began_at < now() - interval '{ABANDONED}' RETURNING stage");
    for row in client.query_typed(&left, &[(&plan.dataset.as_str(), Type::TEXT)]).await? {
        let stage: String = row.try_get(0)?;
        client.batch_execute(&format!("DROP TABLE IF EXISTS {}", schemas.load(&stage))).await?;
    }
    let statement = format!("INSERT INTO {load} (stage, dataset, run, table_name, base) VALUES ($1, $2, $3, $4, $5)");
    client
        .execute_typed(
            &statement,
            &[
                (&stage, Type::TEXT),
                (&plan.dataset.as_str(), Type::TEXT),
                (&plan.run.as_str(), Type::TEXT),
                (&table, Type::TEXT),
                (&base, Type::TEXT),
            ],
        )
        .await?;
    Ok(())
}

/// Notes that a load is whole. Answers whether it was still noted.
pub(super) async fn seal(
    client: &Client,
    schemas: &Schemas,
    stage: &str,
    staged: &Staged,
    superseded: u64,
) -> Result<bool, Trouble> {
    let statement = format!(
        "UPDATE {} SET sealed_at = now(), rows = $2, superseded = $3, deletes = $4, bytes = $5, sha256 = $6 WHERE stage = $1",
        schemas.load("load")
    );
    let sealed = client
        .execute_typed(
            &statement,
            &[
                (&stage, Type::TEXT),
                (&signed(staged.rows), Type::INT8),
                (&signed(superseded), Type::INT8),
                (&signed(staged.deletes), Type::INT8),
                (&signed(staged.bytes), Type::INT8),
                (&staged.sha256, Type::TEXT),
            ],
        )
        .await?;
    Ok(sealed == 1)
}

/// A sealed load.
pub(super) async fn sealed(client: &Client, schemas: &Schemas, stage: &str) -> Result<Option<Noted>, Trouble> {
    let query = format!(
        "SELECT base, rows, superseded, deletes, bytes, sha256 FROM {} WHERE stage = $1 AND sealed_at IS NOT NULL",
        schemas.load("load")
    );
    let Some(row) = client.query_typed_opt(&query, &[(&stage, Type::TEXT)]).await? else { return Ok(None) };
    Ok(Some(Noted {
        base: row.try_get(0)?,
        rows: unsigned(row.try_get(1)?),
        superseded: unsigned(row.try_get(2)?),
        deletes: unsigned(row.try_get(3)?),
        bytes: unsigned(row.try_get(4)?),
        sha256: row.try_get(5)?,
    }))
}

/// Drops a stage, if it is there.
pub(super) async fn drop_stage(client: &Client, schemas: &Schemas, stage: &str) -> Result<(), Trouble> {
    let statement = format!("DELETE FROM {} WHERE stage = $1", schemas.load("load"));
    if client.execute_typed(&statement, &[(&stage, Type::TEXT)]).await? > 0 {
        client.batch_execute(&format!("DROP TABLE IF EXISTS {}", schemas.load(stage))).await?;
    }
    Ok(())
}

/// Postgres knows signed numbers only; no table has more rows than they hold.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
