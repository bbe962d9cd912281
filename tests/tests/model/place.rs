//! A Tableau in memory: what is visible, what is sealed on the workers' disk, and which requests have taken effect.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use kinetic_tableau_sync::store::MemoryStore;
use kinetic_tableau_sync::{
    AuditEvent, AuditFilter, AuditStore as _, Batch, Destination, DestinationError, DestinationErrorKind, Load,
    LoadKind, LoadPlan, Receipt, RefreshOutcome, RefreshReport, RefreshTarget, Staged, StateStore as _, Target,
    TargetState,
};

use super::chaos::{Blow, Chaos, Table};

/// Rows as they are visible: more than one content of a key is a defect that must show.
pub(crate) type Landed = BTreeMap<i64, Vec<(i64, String)>>;

#[derive(Clone, Debug, Default)]
struct Sealed {
    rows: Vec<(i64, i64, String)>,
    gone: BTreeSet<i64>,
    /// How often the database had been put back when reading began.
    restores: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) visible: Option<Landed>,
    sealed: HashMap<PathBuf, Sealed>,
    applied: BTreeSet<String>,
    /// Counts the effects: what a target that tells of writes answers.
    pub(crate) writes: u64,
    /// A process that had lost its lease has put an old state over a newer one.
    pub(crate) overwritten: bool,
    /// It did so just while another one was publishing, after that had looked: nobody can tell then, and an operator must load anew.
    pub(crate) unseen: bool,
    /// Workers that have looked at the target and not heard of the end of their publish.
    publishing: BTreeSet<usize>,
    /// How often the database had been put back when the last full load was read.
    pub(crate) full_after_restores: u64,
}

/// One worker's way to it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) inner: Arc<Mutex<Inner>>,
    pub(crate) chaos: Chaos,
    pub(crate) worker: usize,
    pub(crate) store: MemoryStore,
}

fn failed(kind: DestinationErrorKind) -> DestinationError {
    DestinationError::new(kind, "a fault")
}

impl Place {
    /// An effect whose answer can be lost.
    async fn step<T>(
        &self,
        name: &str,
        lost: DestinationErrorKind,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, DestinationError> {
        match self.chaos.effect(self.worker, name, false).await {
            Blow::FailBefore => Err(failed(DestinationErrorKind::Unavailable)),
            Blow::FailAfter => {
                work();
                Err(failed(lost))
            }
            Blow::DieAfter => {
                work();
                self.chaos.die(self.worker).await;
                Err(failed(lost))
            }
            _ => Ok(work()),
        }
    }

    async fn apply(&self, plan: &LoadPlan, load: Sealed) {
        // Whether the store still waits for this very load: a process that was stopped for long does not know.
        let known = self.store.load(&plan.dataset).await.unwrap();
        let waited = known.is_some_and(|known| known.checkpoint.intent.is_some_and(|it| it.run == plan.run));
        // A load that was given up by another process, and not landed by it, takes effect after all.
        let run = AuditFilter { run: Some(plan.run.clone()), ..AuditFilter::default() };
        let events = self.store.events(&run).await.unwrap();
        let given_up = !waited && !events.iter().any(|entry| matches!(entry.event, AuditEvent::Landed { .. }));
        let mut inner = self.inner.lock().unwrap();
        let before = inner.visible.clone().unwrap_or_default();
        // What was put back, or put over something newer by mistake, may go back.
        let mut exempt = inner.overwritten || inner.full_after_restores != self.chaos.lock().restored;
        match plan.kind {
            LoadKind::Full => {
                let mut rows = Landed::new();
                for (number, version, content) in load.rows {
                    rows.entry(number).or_default().push((version, content));
                }
                inner.visible = Some(rows);
                inner.overwritten = !waited;
                inner.unseen = !waited && inner.publishing.iter().any(|other| *other != self.worker);
                exempt |= !waited;
                if waited {
                    inner.full_after_restores = load.restores;
                }
            }
            LoadKind::Delta => {
                // Tableau runs a request id once.
                if !inner.applied.insert(plan.request_id.clone()) {
                    return;
                }
                if given_up {
                    inner.overwritten = true;
                    inner.unseen = inner.publishing.iter().any(|other| *other != self.worker);
                    exempt = true;
                }
                let rows = inner.visible.get_or_insert_default();
                rows.retain(|number, _| !load.gone.contains(number));
                for (number, version, content) in load.rows {
                    rows.insert(number, vec![(version, content)]);
                }
            }
        }
        inner.writes += 1;
        let after = inner.visible.clone().unwrap_or_default();
        drop(inner);
        self.chaos.trace(self.worker, &format!("landed {:?}: {} rows", plan.kind, after.len()));
        for (number, contents) in &after {
            if contents.len() > 1 {
                self.chaos.violated("I2", format!("row {number} is there {} times", contents.len()));
            }
            let older = before.get(number).and_then(|before| before.first()).zip(contents.first());
            if let Some((was, is)) = older
                && is.0 < was.0
                && !exempt
            {
                self.chaos.violated("I3", format!("row {number} went from version {} back to {}", was.0, is.0));
            }
        }
    }
}

#[async_trait]
impl Destination for Place {
    async fn inspect(&self, _: &Target) -> Result<TargetState, DestinationError> {
        let mut inner = self.inner.lock().unwrap();
        inner.publishing.insert(self.worker);
        let version = self.chaos.scenario.watched.then(|| inner.writes.to_string());
        Ok(match inner.visible {
            Some(_) => TargetState::Present { id: "it".to_owned(), version },
            None => TargetState::Absent,
        })
    }

    async fn begin(&self, plan: &LoadPlan) -> Result<Box<dyn Load>, DestinationError> {
        let path = PathBuf::from(format!("{}-{}", self.worker, plan.run));
        let load = Sealed { restores: self.chaos.lock().restored, ..Sealed::default() };
        Ok(Box::new(Staging { place: self.clone(), path, rows: BTreeMap::new(), load }))
    }

    async fn is_intact(&self, staged: &Staged) -> Result<bool, DestinationError> {
        Ok(self.inner.lock().unwrap().sealed.contains_key(&staged.path))
    }

    async fn publish(&self, plan: &LoadPlan, staged: &Staged) -> Result<Receipt, DestinationError> {
        // What has been uploaded can take effect long after the process has been stopped, and the file is gone.
        let Some(load) = self.inner.lock().unwrap().sealed.get(&staged.path).cloned() else {
            return Err(DestinationError::new(DestinationErrorKind::Rejected, "the sealed load is gone"));
        };
        let took = Duration::from_millis(self.chaos.lock().random.between(100, 4_000));
        tokio::time::sleep(took).await;
        let blow = self.chaos.effect(self.worker, "publish", false).await;
        if blow == Blow::FailBefore {
            return Err(failed(DestinationErrorKind::Unavailable));
        }
        self.apply(plan, load).await;
        match blow {
            Blow::DieAfter => {
                self.chaos.delete_newest();
                self.chaos.die(self.worker).await;
            }
            Blow::FailAfter => return Err(failed(DestinationErrorKind::Unknown)),
            _ => {}
        }
        self.inner.lock().unwrap().publishing.remove(&self.worker);
        Ok(Receipt {
            target_id: "it".to_owned(),
            target_version: self.chaos.scenario.watched.then(|| self.inner.lock().unwrap().writes.to_string()),
            request_id: plan.request_id.clone(),
            job_id: None,
            rows: staged.rows,
            landed_at: chrono::DateTime::UNIX_EPOCH,
        })
    }

    async fn refresh(&self, target: &RefreshTarget) -> Result<RefreshReport, DestinationError> {
        Ok(RefreshReport { target: target.clone(), job_id: None, outcome: RefreshOutcome::NoUpstream })
    }

    async fn discard(&self, staged: &Staged) -> Result<(), DestinationError> {
        self.step("discard", DestinationErrorKind::Unavailable, || {
            self.inner.lock().unwrap().sealed.remove(&staged.path);
        })
        .await
    }
}

#[derive(Debug)]
struct Staging {
    place: Place,
    path: PathBuf,
    rows: BTreeMap<i64, usize>,
    load: Sealed,
}

fn rows_of(batch: &Batch, table: Table) -> impl Iterator<Item = (i64, i64, String)> {
    let at =
        |name: &str| batch.schema().columns.iter().position(|column| column.landed && column.name == name).unwrap();
    let (number, version, content) = (at(table.key), at("SysRevID"), at(table.content));
    let whole = move |at: usize, row: usize| batch.column(at).unwrap().i64_at(row).unwrap();
    (0..batch.rows()).map(move |row| {
        let text = batch.column(content).unwrap().text_at(row).unwrap_or_default();
        (whole(number, row), whole(version, row), text.to_owned())
    })
}

#[async_trait]
impl Load for Staging {
    async fn insert(&mut self, batch: &Batch) -> Result<(), DestinationError> {
        for row in rows_of(batch, self.place.chaos.scenario.table()) {
            self.rows.insert(row.0, self.load.rows.len());
            self.load.rows.push(row);
        }
        Ok(())
    }

    async fn upsert(&mut self, batch: &Batch) -> Result<u64, DestinationError> {
        let mut replaced = 0;
        for row in rows_of(batch, self.place.chaos.scenario.table()) {
            if let Some(&at) = self.rows.get(&row.0) {
                self.load.rows[at] = row;
                replaced += 1;
            } else {
                self.rows.insert(row.0, self.load.rows.len());
                self.load.rows.push(row);
            }
        }
        Ok(replaced)
    }

    async fn delete(&mut self, keys: &Batch) -> Result<(), DestinationError> {
        let at = keys
            .schema()
            .columns
            .iter()
            .position(|column| column.name == self.place.chaos.scenario.table().key)
            .unwrap();
        self.load.gone.extend((0..keys.rows()).filter_map(|row| keys.column(at)?.i64_at(row)));
        Ok(())
    }

    async fn seal(self: Box<Self>) -> Result<Staged, DestinationError> {
        let Self { place, path, load, rows } = *self;
        // As the real one: a key that is there twice is refused.
        if rows.len() != load.rows.len() {
            return Err(DestinationError::new(DestinationErrorKind::Value, "a key is there twice"));
        }
        let (rows, deletes) = (load.rows.len() as u64, load.gone.len() as u64);
        let staged = Staged { path: path.clone(), rows, deletes, bytes: 0, sha256: String::new() };
        let inner = Arc::clone(&place.inner);
        place
            .step("seal", DestinationErrorKind::Unavailable, move || {
                inner.lock().unwrap().sealed.insert(path, load);
            })
            .await?;
        Ok(staged)
    }

    async fn abort(self: Box<Self>) -> Result<(), DestinationError> {
        Ok(())
    }
}
