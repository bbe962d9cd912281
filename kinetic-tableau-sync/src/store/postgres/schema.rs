//! The tables: numbered steps from an empty schema to the newest form, each made once, by whoever comes first.

use tokio_postgres::types::Type;

use super::error::{corrupt, storage};
use super::options::Place;
use super::{Access, Shared, Transaction, quoted};
use crate::store::{StateError, StateErrorKind};

/// The steps. They are never edited: what is wrong with one is put right by another one behind it.
const STEPS: [&str; 2] = [include_str!("migrations/0001_state.sql"), include_str!("migrations/0002_audit.sql")];

/// The oldest version of Postgres whose partitions can be attached while others write.
const OLDEST: i32 = 12;

/// Brings a schema to the newest form. Any number of processes may do so at once: one does it, the others wait for it.
pub(super) async fn prepare(shared: &Shared) -> Result<(), StateError> {
    let transaction = shared.begin(Access::WriteAll, "preparing the tables").await?;
    let prepared = make(&transaction, &shared.schema, &shared.pool.place).await;
    transaction.end(prepared).await
}

/// Checks that a schema is there, ours, and in a form that can be read.
pub(super) async fn check(shared: &Shared) -> Result<(), StateError> {
    let transaction = shared.begin(Access::Read, "looking at the tables").await?;
    let schema = &shared.schema;
    let checked = match made(&transaction, schema).await {
        Ok(Some(made)) if made == STEPS.len() => Ok(()),
        Ok(Some(_)) => Err(corrupt(format!(
            "the schema {schema} is of an older form; run a sync with this version, which brings it up to date"
        ))),
        Ok(None) => Err(StateError::new(
            StateErrorKind::Absent,
            format!(
                "there is nothing of ours in the schema {schema} of database {}; run a sync first, or correct the schema's name",
                shared.pool.place.database()
            ),
        )),
        Err(error) => Err(error),
    };
    transaction.end(checked).await
}

async fn make(transaction: &Transaction, schema: &str, place: &Place) -> Result<(), StateError> {
    if made(transaction, schema).await? == Some(STEPS.len()) {
        return Ok(());
    }
    // Whoever is at it may take its time.
    transaction.run("SET LOCAL lock_timeout TO 0").await?;
    lock(transaction, schema).await?;
    let found = made(transaction, schema).await?;
    if found.is_none() {
        fits(transaction, place).await?;
        begin_schema(transaction, schema, place).await?;
    }
    let made = found.unwrap_or_default();
    for (nth, step) in STEPS.iter().enumerate().skip(made) {
        transaction.run(step).await?;
        let number = i32::try_from(nth + 1).unwrap_or(i32::MAX);
        transaction
            .execute(
                "INSERT INTO migration (number, program) VALUES ($1, $2)",
                &[(&number, Type::INT4), (&env!("CARGO_PKG_VERSION"), Type::TEXT)],
            )
            .await?;
    }
    Ok(())
}

/// Whether our tables can be made in a database at all.
async fn fits(transaction: &Transaction, place: &Place) -> Result<(), StateError> {
    let query = "SELECT current_setting('server_version_num')::integer / 10000, current_setting('server_encoding')";
    let row = transaction.row(query, &[]).await?.ok_or_else(|| corrupt("Postgres does not answer what it is"))?;
    let (version, encoding): (i32, &str) = (transaction.get(&row, 0)?, transaction.get(&row, 1)?);
    if version < OLDEST {
        return Err(storage(format!("Postgres {version} is too old; {OLDEST} or later is needed")));
    }
    if encoding != "UTF8" {
        return Err(storage(format!(
            "the database {} takes texts in {encoding} only; make one with ENCODING 'UTF8' TEMPLATE template0",
            place.database()
        )));
    }
    Ok(())
}

/// The schema, unless an administrator has made it, and the list of steps.
async fn begin_schema(transaction: &Transaction, schema: &str, place: &Place) -> Result<(), StateError> {
    let rights = transaction
        .row(
            "SELECT s.oid IS NOT NULL, COALESCE(has_schema_privilege(s.oid, 'CREATE'), false), \
             has_database_privilege(current_database(), 'CREATE') \
             FROM (SELECT 1) one LEFT JOIN pg_namespace s ON s.nspname = $1",
            &[(&schema, Type::TEXT)],
        )
        .await?
        .ok_or_else(|| corrupt("Postgres does not answer which rights there are"))?;
    let right = |at| transaction.get::<bool>(&rights, at);
    let (is_there, may_fill, may_make) = (right(0)?, right(1)?, right(2)?);
    let (name, user) = (quoted(schema), place.user());
    if is_there && !may_fill {
        return Err(storage(format!(
            "the user {user} may not make tables in the schema {schema}; let an administrator run: ALTER SCHEMA {name} OWNER TO {}",
            quoted(user)
        )));
    }
    if !is_there && !may_make {
        return Err(storage(format!(
            "the user {user} may not make the schema {schema} in database {}; let an administrator run: CREATE SCHEMA {name} \
             AUTHORIZATION {}",
            place.database(),
            quoted(user)
        )));
    }
    if !is_there {
        transaction.run(&format!("CREATE SCHEMA {name}")).await?;
    }
    transaction
        .run(
            "CREATE TABLE migration (
                number integer PRIMARY KEY,
                applied timestamptz NOT NULL DEFAULT clock_timestamp(),
                program text NOT NULL
            )",
        )
        .await
}

/// How many steps a schema has behind it; none when there is nothing of ours in it.
async fn made(transaction: &Transaction, schema: &str) -> Result<Option<usize>, StateError> {
    let table = transaction
        .row(
            "SELECT 1 FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace \
             WHERE s.nspname = $1 AND c.relname = 'migration' AND c.relkind = 'r'",
            &[(&schema, Type::TEXT)],
        )
        .await?;
    if table.is_none() {
        return Ok(None);
    }
    let row = transaction.row("SELECT count(*), COALESCE(max(number), 0) FROM migration", &[]).await?;
    let row = row.ok_or_else(|| corrupt("Postgres does not answer which steps were made"))?;
    let (count, newest): (i64, i32) = (transaction.get(&row, 0)?, transaction.get(&row, 1)?);
    let newest = usize::try_from(newest).unwrap_or(usize::MAX);
    if newest > STEPS.len() {
        return Err(corrupt(format!(
            "the schema {schema} was written by a later version of this program (step {newest}, this one knows {}); use that version",
            STEPS.len()
        )));
    }
    if i64::try_from(newest) != Ok(count) {
        return Err(corrupt(format!(
            "the schema {schema} does not tell which steps were made; restore it from a copy"
        )));
    }
    Ok(Some(newest))
}

/// Waits until nobody else makes tables in a schema, and keeps others from it until the transaction ends.
pub(super) async fn lock(transaction: &Transaction, schema: &str) -> Result<(), StateError> {
    let name = format!("kinetic-tableau-sync {schema}");
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
    transaction.rows(lock, &[(&name, Type::TEXT)]).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::STEPS;

    /// A step that has gone out must stay what it was, or databases with one number differ.
    #[test]
    fn steps_are_never_edited() {
        let known = [
            "c06df3fd956813645dd2f0416ca8099c0cf664cbd77a16ea9f93a94b5c8e60d6",
            "c42a44d73b231cadd4dc6b79e3993a067ad65ba068152b86993b450a9145494d",
        ];
        let found = STEPS.map(|step| crate::digest::hex(&Sha256::digest(step)));
        assert_eq!(found, known, "add a step instead of editing one");
    }
}
