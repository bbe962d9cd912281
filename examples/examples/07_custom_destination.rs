//! A destination of one's own: vendors land in a map in memory.
//!
//! What a destination owes the engine is small: stage out of sight, seal, and publish so that repeating it has no second effect.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use kinetic_tableau_sync::store::MemoryStore;
use kinetic_tableau_sync::{
    Batch, DatasetSpec, Destination, DestinationError, DestinationErrorKind as Kind, KineticSource, Load, LoadKind,
    LoadPlan, Receipt, RefreshOutcome, RefreshReport, RefreshTarget, SourceObject, Staged, Syncer, Target, TargetState,
};
use simulators::kinetic::{KineticSim, Seed};

type Outcome<T> = Result<T, DestinationError>;
type Rows = BTreeMap<i64, String>;

/// What is visible, and what is sealed but not visible yet: rows, and numbers of rows to delete.
type Inner = (Option<Rows>, HashMap<PathBuf, (Rows, Vec<i64>)>);

#[derive(Clone, Debug, Default)]
struct InMemory(Arc<Mutex<Inner>>);

impl InMemory {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Destination for InMemory {
    async fn inspect(&self, _: &Target) -> Outcome<TargetState> {
        let id = "map".to_owned();
        Ok(if self.lock().0.is_some() { TargetState::Present { id, version: None } } else { TargetState::Absent })
    }

    async fn begin(&self, plan: &LoadPlan) -> Outcome<Box<dyn Load>> {
        Ok(Box::new(Staging {
            rows: Rows::new(),
            gone: Vec::new(),
            path: plan.request_id.clone().into(),
            into: self.clone(),
        }))
    }

    async fn is_intact(&self, staged: &Staged) -> Outcome<bool> {
        Ok(self.lock().1.contains_key(&staged.path))
    }

    async fn publish(&self, plan: &LoadPlan, staged: &Staged) -> Outcome<Receipt> {
        let mut inner = self.lock();
        let load = inner.1.get(&staged.path).cloned();
        let (rows, gone) = load.ok_or_else(|| DestinationError::new(Kind::Rejected, "the load is gone"))?;
        match plan.kind {
            LoadKind::Full => inner.0 = Some(rows),
            LoadKind::Delta => {
                let landed = inner.0.get_or_insert_default();
                landed.retain(|number, _| !gone.contains(number));
                landed.extend(rows);
            }
        }
        let (target_id, request_id) = ("map".to_owned(), plan.request_id.clone());
        Ok(Receipt {
            target_id,
            target_version: None,
            request_id,
            job_id: None,
            rows: staged.rows,
            landed_at: chrono::Utc::now(),
        })
    }

    async fn refresh(&self, target: &RefreshTarget) -> Outcome<RefreshReport> {
        Ok(RefreshReport { target: target.clone(), job_id: None, outcome: RefreshOutcome::NoUpstream })
    }

    async fn discard(&self, staged: &Staged) -> Outcome<()> {
        self.lock().1.remove(&staged.path);
        Ok(())
    }
}

#[derive(Debug)]
struct Staging {
    rows: Rows,
    gone: Vec<i64>,
    path: PathBuf,
    into: InMemory,
}

#[async_trait]
impl Load for Staging {
    async fn insert(&mut self, batch: &Batch) -> Outcome<()> {
        self.upsert(batch).await.map(drop)
    }

    async fn upsert(&mut self, batch: &Batch) -> Outcome<u64> {
        let place = |name: &str| batch.schema().columns.iter().position(|column| column.name == name);
        let column = |name: &str| place(name).and_then(|place| batch.column(place));
        let columns = column("VendorNum").zip(column("Name"));
        let (numbers, names) =
            columns.ok_or_else(|| DestinationError::new(Kind::Config, "a column is not selected"))?;
        let mut replaced = 0;
        for row in 0..batch.rows() {
            let (number, name) = (numbers.i64_at(row).unwrap_or_default(), names.text_at(row).unwrap_or_default());
            replaced += u64::from(self.rows.insert(number, name.to_owned()).is_some());
        }
        Ok(replaced)
    }

    async fn delete(&mut self, keys: &Batch) -> Outcome<()> {
        let place = keys.schema().columns.iter().position(|column| column.name == "VendorNum");
        let numbers = place.and_then(|place| keys.column(place));
        self.gone.extend((0..keys.rows()).filter_map(|row| numbers?.i64_at(row)));
        Ok(())
    }

    async fn seal(self: Box<Self>) -> Outcome<Staged> {
        let rows = u64::try_from(self.rows.len()).unwrap_or(u64::MAX);
        let deletes = u64::try_from(self.gone.len()).unwrap_or(u64::MAX);
        self.into.lock().1.insert(self.path.clone(), (self.rows, self.gone));
        Ok(Staged { path: self.path, rows, deletes, bytes: 0, sha256: String::new() })
    }

    async fn abort(self: Box<Self>) -> Outcome<()> {
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kinetic = KineticSim::builder().start().await?;
    kinetic.seed(Seed { vendors: 300, ..Seed::default() });
    let client = epicor_kinetic::Client::builder(kinetic.url())
        .company("EPIC06")
        .api_key(kinetic.api_key())
        .basic(kinetic.user(), kinetic.password())
        .build()?;
    let landed = InMemory::default();
    let syncer =
        Syncer::builder(Arc::new(KineticSource::new(client)), Arc::new(landed.clone()), Arc::new(MemoryStore::new()))
            .build();
    let source = SourceObject::EntitySet { service: "Erp.BO.VendorSvc".to_owned(), set: "Vendors".to_owned() };
    let target = Target { project: "none".to_owned(), datasource: "map".to_owned() };
    let vendors = DatasetSpec::new("vendors", source, ["VendorNum", "Name"], target);

    syncer.run(&vendors).await?;
    kinetic.random_changes("Vendors", 10, 3);
    let second = syncer.run(&vendors).await?;
    println!("second cycle: {} new, {} changed", second.counts.inserted, second.counts.updated);
    let (rows, truth) = (landed.lock().0.as_ref().map_or(0, Rows::len), kinetic.truth_count("Vendors"));
    if rows != truth {
        return Err(format!("{rows} rows landed, {truth} are in Kinetic").into());
    }
    println!("ok: all {rows} vendors are in the map");
    Ok(())
}
