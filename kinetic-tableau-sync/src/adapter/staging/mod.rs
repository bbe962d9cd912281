//! Postgres as a destination: tables that datasources of Tableau read, which are refreshed behind each landing.
//!
//! - The table is called as the datasource, in the schema that is configured. It has the landed columns, the key as its primary key, and
//!   `_synced_at`: when the row landed as it is now, which an incremental refresh can go by. With soft deletes it has `_deleted_at`, which
//!   a row that comes back clears. The run that a row came with is in the audit trail.
//! - A **load** is a table of its own in a second schema beside, named `…_loads`: nobody who reads the tables can see half of one.
//! - **Publishing** is one transaction: the rows, the receipt, the version of the table. A request id that has its receipt is answered
//!   with it, so that repeating it has no second effect, and a lost answer is looked up.
//! - A load remembers the version of the table when it began. Where another one has landed meanwhile, publishing it is refused: a worker
//!   that was stopped for long cannot put old rows over newer ones.

mod book;
mod encode;
mod failure;
mod land;
mod load;
mod names;
mod options;
mod table;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use self::failure::Trouble;
use self::land::Landing;
use self::load::StageLoad;
use self::names::{DELETED, Schemas};
pub use self::options::{Deletes, StagingOptions};
use crate::destination::{
    Destination, DestinationError, DestinationErrorKind, Load, LoadKind, LoadPlan, Receipt, RefreshReport, Refresher,
    Staged, TargetState,
};
use crate::model::{RefreshTarget, Target};
use crate::store::postgres::link::{Access, Link, Session};

/// Lands in tables of a Postgres database (12 or later).
#[derive(Clone)]
pub struct PostgresDestination {
    shared: Arc<Shared>,
    refresher: Option<Arc<dyn Refresher>>,
}

/// What loads share with their destination.
struct Shared {
    link: Link,
    schemas: Schemas,
    deletes: Deletes,
}

impl fmt::Debug for PostgresDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresDestination")
            .field("server", &format_args!("{}", self.shared.link.place()))
            .field("schema", &self.shared.schemas.tables)
            .field("deletes", &self.shared.deletes)
            .finish_non_exhaustive()
    }
}

impl PostgresDestination {
    /// Lands in this database. It is connected to with the first use.
    ///
    /// # Errors
    /// [`DestinationErrorKind::Config`] when the options cannot be right.
    pub fn new(options: StagingOptions) -> Result<Self, DestinationError> {
        let link = Link::new(options.postgres).map_err(|error| {
            let message = error.to_string();
            match message.rsplit_once("; ") {
                Some((why, hint)) => names::config(why).with_hint(hint),
                None => names::config(message),
            }
        })?;
        let schemas = Schemas::new(link.schema())?;
        let shared = Shared { link, schemas, deletes: options.deletes };
        Ok(Self { shared: Arc::new(shared), refresher: None })
    }

    /// Refreshes by this what a dataset names; without one there is nothing that could.
    #[must_use]
    pub fn refresher(mut self, refresher: Arc<dyn Refresher>) -> Self {
        self.refresher = Some(refresher);
        self
    }

    /// Asks the server whether rows could be staged there, and answers where it is. Changes nothing.
    ///
    /// # Errors
    /// When it cannot be reached, or the role may not make what it needs.
    pub async fn check(&self) -> Result<String, DestinationError> {
        let shared = &self.shared;
        let schemas = &shared.schemas;
        let may = shared
            .look("looking at the rights", async |client| {
                // On a schema that is there, or on the database, to make one.
                let query = "SELECT CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = s.name) \
                             THEN has_schema_privilege(s.name, 'CREATE') \
                             ELSE has_database_privilege(current_database(), 'CREATE') END FROM (VALUES ($1), ($2)) AS s(name)";
                let names = [(&schemas.tables as _, Type::TEXT), (&schemas.loads as _, Type::TEXT)];
                let rows = client.query_typed(query, &names).await?;
                rows.iter().map(|row| Ok(row.try_get::<_, bool>(0)?)).collect::<Result<Vec<bool>, Trouble>>()
            })
            .await?;
        if may.iter().all(|may| *may) {
            return Ok(format!("{}, schemas {} and {}", shared.link.place(), schemas.tables, schemas.loads));
        }
        let user = shared.link.user();
        let message = format!("staging: {user} may not make tables in {} and {}", schemas.tables, schemas.loads);
        Err(DestinationError::new(DestinationErrorKind::Auth, message).with_hint(format!(
            "GRANT CREATE ON DATABASE … TO \"{user}\", or CREATE SCHEMA \"{}\" AUTHORIZATION \"{user}\", and the same for \"{}\"",
            schemas.tables, schemas.loads
        )))
    }
}

impl Shared {
    async fn begin(&self, access: Access, doing: &str) -> Result<Session, DestinationError> {
        self.link.begin(access).await.map_err(|error| self.told(error.into(), doing))
    }

    fn told(&self, trouble: Trouble, doing: &str) -> DestinationError {
        trouble.told(doing, self.link.user())
    }

    /// Ends a transaction whose loss would harm nobody: a stage that may or may not hold a piece is thrown away.
    async fn commit(&self, session: Session, doing: &str) -> Result<(), DestinationError> {
        session.commit().await.map_err(|error| self.told(error.into(), doing))
    }

    /// Only looks.
    async fn look<T>(
        &self,
        doing: &str,
        work: impl AsyncFnOnce(&Client) -> Result<T, Trouble>,
    ) -> Result<T, DestinationError> {
        let session = self.begin(Access::ReadAll, doing).await?;
        let found = match session.client() {
            Ok(client) => work(client).await,
            Err(error) => Err(error.into()),
        };
        session.undo().await;
        found.map_err(|trouble| self.told(trouble, doing))
    }

    /// Does something as a whole or not at all.
    async fn change<T>(
        &self,
        doing: &str,
        work: impl AsyncFnOnce(&Client) -> Result<T, Trouble>,
    ) -> Result<(T, Session), DestinationError> {
        let session = self.begin(Access::WriteAll, doing).await?;
        let done = match session.client() {
            Ok(client) => work(client).await,
            Err(error) => Err(error.into()),
        };
        match done {
            Ok(done) => Ok((done, session)),
            Err(trouble) => {
                session.undo().await;
                Err(self.told(trouble, doing))
            }
        }
    }

    async fn drop_stage(&self, stage: &str) -> Result<(), DestinationError> {
        let doing = "removing a load";
        let ((), session) = self
            .change(doing, async |client| {
                if book::is_there(client, &self.schemas).await? {
                    book::drop_stage(client, &self.schemas, stage).await?;
                }
                Ok(())
            })
            .await?;
        self.commit(session, doing).await
    }

    /// The destination's own id of a table: another table of the same name is another one.
    fn id(&self, name: &str, oid: u32) -> String {
        format!("{}.{name}#{oid}", self.schemas.tables)
    }

    /// The table of a plan as it is, with what is known of it; an error where it is somebody else's.
    async fn ours(
        &self,
        client: &Client,
        name: &str,
        plan: &LoadPlan,
        lock: bool,
    ) -> Result<(Option<table::Found>, Option<book::Book>), Trouble> {
        let known = book::find(client, &self.schemas, name, lock).await?;
        let found = table::find(client, &self.schemas, name).await?;
        match &known {
            None if found.is_some() => Err(table::foreign(&self.schemas, name).into()),
            Some(known) if known.dataset != plan.dataset.as_str() => {
                let table = self.schemas.table(name);
                let why = format!("{table} holds the rows of dataset '{}', not of '{}'", known.dataset, plan.dataset);
                let landed = self.schemas.load("landed");
                let hint = format!(
                    "land under another `datasource`; if the dataset was renamed: UPDATE {landed} SET dataset = 'NEW NAME' WHERE \
                     table_name = 'TABLE'"
                );
                Err(names::config(why).with_hint(hint).into())
            }
            _ => Ok((found, known)),
        }
    }

    async fn land(&self, client: &Client, plan: &LoadPlan, staged: &Staged, stage: &str) -> Result<Receipt, Trouble> {
        let name = names::table(&plan.target)?;
        book::prepare(client, &self.schemas).await?;
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
        let words = format!("kinetic-tableau-sync {}", self.schemas.table(name));
        client.query_typed(lock, &[(&words, Type::TEXT)]).await?;
        if let Some(receipt) = book::receipt(client, &self.schemas, &plan.request_id).await? {
            return Ok(receipt);
        }
        let (found, known) = self.ours(client, name, plan, true).await?;
        let noted = book::sealed(client, &self.schemas, stage).await?.filter(|noted| noted.is(staged));
        let noted = noted.ok_or_else(|| refused("the sealed load is not there any more"))?;
        if noted.base.as_ref() != known.as_ref().map(|known| &known.version) {
            return Err(refused("another load has landed in the table since this one began").into());
        }
        if plan.kind == LoadKind::Delta
            && found.as_ref().map(|found| self.id(name, found.oid)).as_ref() != plan.target_id.as_ref()
        {
            return Err(refused("the table is not the one that the changes are for").into());
        }
        let wanted = names::columns(&plan.schema)?;
        let keys = names::keys(&plan.schema);
        let made = known.map(|known| known.columns).unwrap_or_default();
        let need = table::Need { columns: &wanted, keys: &keys, kind: plan.kind, deletes: self.deletes };
        let change = table::change(&self.schemas, name, found.as_ref(), &made, need)?;
        let table = self.schemas.table(name);
        if found.is_some() {
            // Writers wait, readers do not.
            client.batch_execute(&format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")).await?;
        }
        for statement in &change.statements {
            client.batch_execute(statement).await?;
        }
        let found = table::find(client, &self.schemas, name).await?;
        let found = found.ok_or_else(|| refused("the table went away"))?;
        let at: DateTime<Utc> = client.query_typed_one("SELECT clock_timestamp()", &[]).await?.try_get(0)?;
        Landing {
            client,
            schemas: &self.schemas,
            table: name,
            stage,
            wanted: &wanted,
            retired: &change.retired,
            superseded: noted.superseded > 0,
            deletes: self.deletes,
            marks: found.has(DELETED),
            at,
        }
        .land(plan.kind, staged)
        .await?;
        let mut columns = made;
        columns.retain(|column| found.has(column));
        let new = wanted.iter().map(|wanted| &wanted.name).filter(|name| !columns.contains(*name)).cloned();
        let new: Vec<String> = new.collect();
        columns.extend(new);
        let version = book::note(client, &self.schemas, name, plan, &columns).await?;
        let receipt = Receipt {
            target_id: self.id(name, found.oid),
            request_id: plan.request_id.clone(),
            job_id: None,
            target_version: Some(version),
            rows: staged.rows,
            landed_at: at,
        };
        book::keep(client, &self.schemas, name, plan, staged, &receipt).await?;
        Ok(receipt)
    }
}

#[async_trait]
impl Destination for PostgresDestination {
    async fn inspect(&self, target: &Target) -> Result<TargetState, DestinationError> {
        let name = names::table(target)?;
        let shared = &self.shared;
        shared
            .look("looking at a table", async |client| {
                let known = if book::is_there(client, &shared.schemas).await? {
                    book::find(client, &shared.schemas, name, false).await?
                } else {
                    None
                };
                match (table::find(client, &shared.schemas, name).await?, known) {
                    (None, _) => Ok(TargetState::Absent),
                    (Some(_), None) => Err(table::foreign(&shared.schemas, name).into()),
                    (Some(found), Some(known)) => {
                        Ok(TargetState::Present { id: shared.id(name, found.oid), version: Some(known.version) })
                    }
                }
            })
            .await
    }

    async fn begin(&self, plan: &LoadPlan) -> Result<Box<dyn Load>, DestinationError> {
        let name = names::table(&plan.target)?;
        let wanted = names::columns(&plan.schema)?;
        let keys = names::keys(&plan.schema);
        let shared = &self.shared;
        let stage = stage(plan);
        let doing = "beginning a load";
        let ((), session) = shared
            .change(doing, async |client| {
                book::prepare(client, &shared.schemas).await?;
                let (found, known) = shared.ours(client, name, plan, false).await?;
                let base = known.as_ref().map(|known| known.version.as_str());
                let made = known.as_ref().map(|known| known.columns.as_slice()).unwrap_or_default();
                // What could not land is told before a million rows have been read.
                let need = table::Need { columns: &wanted, keys: &keys, kind: plan.kind, deletes: shared.deletes };
                table::change(&shared.schemas, name, found.as_ref(), made, need)?;
                book::begin(client, &shared.schemas, &stage, plan, name, base).await?;
                let create = format!(
                    "CREATE TABLE {} ({}) WITH (autovacuum_enabled = false)",
                    shared.schemas.load(&stage),
                    load::definitions(&wanted)
                );
                client.batch_execute(&create).await?;
                Ok(())
            })
            .await?;
        shared.commit(session, doing).await?;
        Ok(Box::new(StageLoad::new(Arc::clone(shared), stage, wanted.into())))
    }

    async fn is_intact(&self, staged: &Staged) -> Result<bool, DestinationError> {
        let shared = &self.shared;
        let Some(stage) = stage_of(staged) else { return Ok(false) };
        shared
            .look("looking at a sealed load", async |client| {
                if !book::is_there(client, &shared.schemas).await? {
                    return Ok(false);
                }
                let noted = book::sealed(client, &shared.schemas, stage).await?;
                let query = "SELECT count(*) FROM pg_catalog.pg_attribute \
                             WHERE attrelid = pg_catalog.to_regclass($1) AND attnum > 2 AND NOT attisdropped";
                let row = client.query_typed_one(query, &[(&shared.schemas.load(stage), Type::TEXT)]).await?;
                let columns = usize::try_from(row.try_get::<_, i64>(0)?).unwrap_or_default();
                if !noted.is_some_and(|noted| noted.is(staged)) || columns == 0 {
                    return Ok(false);
                }
                let (bytes, sha256) = load::content(client, &shared.schemas, stage, columns).await?;
                Ok(bytes == staged.bytes && sha256 == staged.sha256)
            })
            .await
    }

    async fn find_receipt(&self, plan: &LoadPlan) -> Result<Option<Receipt>, DestinationError> {
        let shared = &self.shared;
        shared
            .look("looking for a receipt", async |client| {
                if book::is_there(client, &shared.schemas).await? {
                    book::receipt(client, &shared.schemas, &plan.request_id).await
                } else {
                    Ok(None)
                }
            })
            .await
    }

    async fn publish(&self, plan: &LoadPlan, staged: &Staged) -> Result<Receipt, DestinationError> {
        let shared = &self.shared;
        let stage = stage_of(staged).ok_or_else(|| refused("the sealed load is none of this destination"))?;
        let doing = "publishing a load";
        let (receipt, session) =
            shared.change(doing, async |client| shared.land(client, plan, staged, stage).await).await?;
        let ended = session.commit().await;
        ended.map_err(|error| Trouble::from(error).at_the_end(doing, shared.link.user()))?;
        Ok(receipt)
    }

    async fn refresh(&self, target: &RefreshTarget) -> Result<RefreshReport, DestinationError> {
        match &self.refresher {
            Some(refresher) => refresher.refresh(target).await,
            None => Err(names::config(format!("nothing is there that could refresh {target}"))
                .with_hint("give the destination a refresher, or name nothing in `refresh`")),
        }
    }

    async fn discard(&self, staged: &Staged) -> Result<(), DestinationError> {
        match stage_of(staged) {
            Some(stage) => self.shared.drop_stage(stage).await,
            None => Ok(()),
        }
    }
}

/// The stage of a plan: another run has another one.
fn stage(plan: &LoadPlan) -> String {
    let hash = |text: &str| xxhash_rust::xxh3::xxh3_64(text.as_bytes());
    format!("stage_{:016x}_{:016x}", hash(plan.dataset.as_str()), hash(plan.run.as_str()))
}

/// The stage that a sealed load names. What another destination has sealed is none of ours.
fn stage_of(staged: &Staged) -> Option<&str> {
    staged.path.file_name().and_then(|name| name.to_str()).filter(|name| name.starts_with("stage_"))
}

fn refused(message: &str) -> DestinationError {
    DestinationError::new(DestinationErrorKind::Rejected, format!("staging: {message}"))
        .with_hint("run again: a full load replaces all rows")
}
