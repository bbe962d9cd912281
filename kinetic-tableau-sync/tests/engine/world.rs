//! A source and a destination in memory, and stores that fail on command.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use kinetic_tableau_sync::decode::PageDecoder;
use kinetic_tableau_sync::store::MemoryStore;
use kinetic_tableau_sync::*;

use super::faulty::FaultyStore;

/// Fails one effect of a run: the one with this number, counted from one. Every call of a store or destination that changes
/// something is an effect.
#[derive(Debug, Default)]
pub(super) struct Fault {
    /// Effects until the failing one; negative: none fails.
    left: AtomicI64,
    /// Effects so far.
    pub(super) seen: AtomicU64,
    /// Whether the effect happens before the failure.
    after: std::sync::atomic::AtomicBool,
    /// Once one effect has failed, the process is dead: everything fails.
    dead: std::sync::atomic::AtomicBool,
}

/// Whether an effect happens, and whether its caller learns of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Blow {
    None,
    Before,
    After,
}

impl Fault {
    /// Fails effect number `nth`, and everything behind it.
    pub(super) fn at(&self, nth: i64, after: bool) {
        self.left.store(nth, Ordering::SeqCst);
        self.after.store(after, Ordering::SeqCst);
        self.dead.store(false, Ordering::SeqCst);
    }

    /// Fails nothing.
    pub(super) fn never(&self) {
        self.at(-1, false);
    }

    pub(super) fn has_struck(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    pub(super) fn blow(&self) -> Blow {
        self.seen.fetch_add(1, Ordering::SeqCst);
        if self.dead.load(Ordering::SeqCst) {
            return Blow::Before;
        }
        if self.left.load(Ordering::SeqCst) > 0 && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.dead.store(true, Ordering::SeqCst);
            return if self.after.load(Ordering::SeqCst) { Blow::After } else { Blow::Before };
        }
        Blow::None
    }
}

macro_rules! effect {
    ($fault:expr, $error:expr, $call:expr) => {{
        match $fault.blow() {
            Blow::None => $call,
            Blow::Before => Err($error),
            Blow::After => {
                let _ = $call?;
                Err($error)
            }
        }
    }};
}
pub(super) use effect;

/// One row of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) num: i64,
    pub(super) name: String,
    /// In hundredths.
    pub(super) amount: i64,
    pub(super) revision: i64,
}

/// The table that the source reads.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) rows: BTreeMap<i64, Row>,
    pub(super) next: i64,
}

impl Table {
    pub(super) fn put(&mut self, num: i64, name: &str, amount: i64) {
        self.next += 1;
        self.rows.insert(num, Row { num, name: name.to_owned(), amount, revision: self.next });
    }

    /// What Tableau must show.
    pub(super) fn truth(&self) -> BTreeMap<String, String> {
        self.rows.values().map(|row| (format!("E1|{}", row.num), format!("{}|{}", row.name, row.amount))).collect()
    }
}

type Hook = Box<dyn FnMut(&mut Table, u64) + Send>;

/// Reads a [`Table`] by its revisions.
pub(super) struct MemorySource {
    pub(super) table: Arc<Mutex<Table>>,
    /// Called behind each page, with the number of pages so far.
    pub(super) hook: Mutex<Option<Hook>>,
    pub(super) pages: AtomicU64,
    /// Reads fail behind so many pages, if not negative.
    pub(super) fail_after: AtomicI64,
    /// Listings leave these rows out.
    pub(super) overlooked: Mutex<HashSet<i64>>,
    /// Nothing is found by its key.
    pub(super) hidden: std::sync::atomic::AtomicBool,
    pub(super) company: Mutex<&'static str>,
    /// How long the source takes to tell where it stands.
    pub(super) takes: Mutex<Duration>,
    /// The property that lands as the name: `Name`, or `Alias`, which is another text of each row.
    pub(super) named_by: Mutex<&'static str>,
}

impl std::fmt::Debug for MemorySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemorySource")
    }
}

fn number(cursor: &Cursor) -> i64 {
    cursor.as_str().parse().unwrap()
}

#[async_trait]
impl Source for MemorySource {
    async fn schema(&self, _: &DatasetSpec) -> Result<Schema, SourceError> {
        let column = |name: &str, kind| Column {
            name: name.to_owned(),
            source: if name == "Name" { (*self.named_by.lock().unwrap()).to_owned() } else { name.to_owned() },
            kind,
            nullable: true,
            landed: name != "SysRevID",
        };
        Ok(Schema {
            columns: vec![
                column("Company", ColumnType::Text),
                column("Num", ColumnType::Int32),
                column("Name", ColumnType::Text),
                column("Amount", ColumnType::Decimal { precision: 12, scale: 2 }),
                column("SysRevID", ColumnType::Int64),
            ],
            key: vec![0, 1],
            version: Some(4),
            row_id: None,
            stamp: None,
            stamp_seconds: None,
            dimensions: vec![2],
        })
    }

    async fn head(&self, _: &DatasetSpec, _: &Schema) -> Result<Option<Cursor>, SourceError> {
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        let newest = self.table.lock().unwrap().rows.values().map(|row| row.revision).max();
        Ok(newest.map(|newest| Cursor::new(newest.to_string())))
    }

    fn read<'a>(
        &'a self,
        dataset: &'a DatasetSpec,
        schema: Arc<Schema>,
        window: Window,
    ) -> BoxStream<'a, Result<Batch, SourceError>> {
        let overlap = match (&dataset.track, window.overlap) {
            (Track::Revision { overlap, .. }, true) => i64::try_from(*overlap).unwrap(),
            _ => 0,
        };
        let first = window.after.as_ref().map_or(0, number) - overlap;
        let through = number(&window.through);
        stream::unfold((first, PageDecoder::new(schema).lenient()), move |(last, mut decoder)| async move {
            let page = self.pages.fetch_add(1, Ordering::SeqCst) + 1;
            if self.fail_after.fetch_sub(1, Ordering::SeqCst) == 0 {
                let error = SourceError::new(SourceErrorKind::Unavailable, "the network is gone");
                return Some((Err(error), (i64::MAX, decoder)));
            }
            let mut table = self.table.lock().unwrap();
            let overlooked = self.overlooked.lock().unwrap().clone();
            let mut rows: Vec<Row> = table
                .rows
                .values()
                .filter(|row| row.revision > last && row.revision <= through && !overlooked.contains(&row.num))
                .cloned()
                .collect();
            rows.sort_by_key(|row| row.revision);
            rows.truncate(dataset.page_size as usize);
            let last = rows.last()?.revision;
            let body = page_of(rows.iter());
            if let Some(hook) = self.hook.lock().unwrap().as_mut() {
                hook(&mut table, page);
            }
            let batch = decoder.decode(body.as_bytes()).unwrap().batch;
            Some((Ok(batch), (last, decoder)))
        })
        .boxed()
    }

    fn fetch<'a>(
        &'a self,
        _: &'a DatasetSpec,
        schema: Arc<Schema>,
        keys: Batch,
    ) -> BoxStream<'a, Result<Batch, SourceError>> {
        let table = self.table.lock().unwrap();
        let nums = (0..keys.rows()).filter_map(|row| keys.column(1)?.i64_at(row));
        let hidden = self.hidden.load(Ordering::SeqCst);
        let found = nums.filter_map(|num| table.rows.get(&num)).filter(|_| !hidden);
        let batch = PageDecoder::new(schema).lenient().decode(page_of(found).as_bytes()).unwrap().batch;
        stream::iter([Ok(batch)]).boxed()
    }

    fn is_after(&self, _: &DatasetSpec, later: &Cursor, earlier: &Cursor) -> Result<bool, SourceError> {
        Ok(number(later) > number(earlier))
    }

    fn is_ordered(&self, _: &DatasetSpec) -> bool {
        true
    }

    fn company(&self) -> &'static str {
        *self.company.lock().unwrap()
    }
}

/// Rows as Kinetic answers them.
fn page_of<'a>(rows: impl Iterator<Item = &'a Row>) -> String {
    let rows: Vec<String> = rows
        .map(|row| {
            format!(
                r#"{{"Company":"E1","Num":{},"Name":"{}","Alias":"alias of {}","Amount":{}.{:02},"SysRevID":{}}}"#,
                row.num,
                row.name,
                row.num,
                row.amount / 100,
                row.amount % 100,
                row.revision
            )
        })
        .collect();
    format!(r#"{{"value":[{}]}}"#, rows.join(","))
}

type Rows = BTreeMap<String, String>;

/// What stands in the destination.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// The datasource: its id and rows.
    pub(super) datasource: Option<(String, Rows)>,
    /// Sealed loads by path.
    pub(super) sealed: HashMap<PathBuf, (Rows, Vec<String>)>,
    /// Request ids that took effect.
    pub(super) applied: HashSet<String>,
    /// How often a load took effect.
    pub(super) effects: u64,
    pub(super) refreshes: u64,
    next: u64,
}

/// Lands in memory.
#[derive(Debug)]
pub(super) struct MemoryDestination {
    pub(super) place: Arc<Mutex<Place>>,
    pub(super) fault: Arc<Fault>,
    /// Publishes are refused, as of a kind.
    pub(super) refuse: Mutex<Option<DestinationErrorKind>>,
    /// How refreshes end.
    pub(super) refresh_outcome: Mutex<RefreshOutcome>,
    /// Deltas of more rows than this are too large.
    pub(super) most_delta_rows: AtomicU64,
}

fn died() -> DestinationError {
    DestinationError::new(DestinationErrorKind::Unavailable, "died")
}

/// The keys of a batch of keys as text.
fn keys_of(batch: &Batch) -> Vec<String> {
    let text = |at: usize, row: usize| {
        let column = batch.column(at).unwrap();
        column.text_at(row).map_or_else(|| column.i64_at(row).unwrap().to_string(), ToOwned::to_owned)
    };
    (0..batch.rows()).map(|row| format!("{}|{}", text(0, row), text(1, row))).collect()
}

/// The rows of a batch as text: key and the rest.
fn rows_of(batch: &Batch) -> Vec<(String, String)> {
    let text = |at: usize, row: usize| {
        let column = batch.column(at).unwrap();
        column.text_at(row).map_or_else(|| column.i64_at(row).unwrap().to_string(), ToOwned::to_owned)
    };
    (0..batch.rows())
        .map(|row| (format!("{}|{}", text(0, row), text(1, row)), format!("{}|{}", text(2, row), text(3, row))))
        .collect()
}

#[derive(Debug)]
struct MemoryLoad {
    path: PathBuf,
    rows: Rows,
    gone: Vec<String>,
    doubled: Option<String>,
    kind: LoadKind,
    most_delta_rows: u64,
    place: Arc<Mutex<Place>>,
    fault: Arc<Fault>,
}

#[async_trait]
impl Load for MemoryLoad {
    async fn insert(&mut self, batch: &Batch) -> Result<(), DestinationError> {
        for (key, rest) in rows_of(batch) {
            if self.rows.insert(key.clone(), rest).is_some() {
                self.doubled = Some(key);
            }
        }
        Ok(())
    }

    async fn upsert(&mut self, batch: &Batch) -> Result<u64, DestinationError> {
        Ok(rows_of(batch).into_iter().map(|(key, rest)| u64::from(self.rows.insert(key, rest).is_some())).sum())
    }

    async fn delete(&mut self, keys: &Batch) -> Result<(), DestinationError> {
        self.gone.extend(keys_of(keys));
        Ok(())
    }

    async fn seal(self: Box<Self>) -> Result<Staged, DestinationError> {
        if let Some(key) = &self.doubled {
            return Err(DestinationError::new(DestinationErrorKind::Value, format!("{key} is there twice")));
        }
        let rows = self.rows.len() as u64;
        if self.kind == LoadKind::Delta && rows > self.most_delta_rows {
            return Err(DestinationError::new(DestinationErrorKind::TooLarge, "the delta is too large"));
        }
        let deletes = self.gone.len() as u64;
        let staged = Staged { path: self.path.clone(), rows, deletes, bytes: rows * 10, sha256: "00".to_owned() };
        effect!(self.fault, died(), {
            self.place.lock().unwrap().sealed.insert(self.path, (self.rows, self.gone));
            Ok::<_, DestinationError>(staged)
        })
    }

    async fn abort(self: Box<Self>) -> Result<(), DestinationError> {
        Ok(())
    }
}

#[async_trait]
impl Destination for MemoryDestination {
    async fn inspect(&self, _: &Target) -> Result<TargetState, DestinationError> {
        let place = self.place.lock().unwrap();
        Ok(place
            .datasource
            .as_ref()
            .map_or(TargetState::Absent, |(id, _)| TargetState::Present { id: id.clone(), version: None }))
    }

    async fn begin(&self, plan: &LoadPlan) -> Result<Box<dyn Load>, DestinationError> {
        Ok(Box::new(MemoryLoad {
            path: PathBuf::from(format!("{}-{}", plan.dataset, plan.run)),
            rows: Rows::new(),
            gone: Vec::new(),
            doubled: None,
            kind: plan.kind,
            most_delta_rows: self.most_delta_rows.load(Ordering::SeqCst),
            place: Arc::clone(&self.place),
            fault: Arc::clone(&self.fault),
        }))
    }

    async fn is_intact(&self, staged: &Staged) -> Result<bool, DestinationError> {
        Ok(self.place.lock().unwrap().sealed.contains_key(&staged.path))
    }

    async fn publish(&self, plan: &LoadPlan, staged: &Staged) -> Result<Receipt, DestinationError> {
        if let Some(kind) = *self.refuse.lock().unwrap() {
            return Err(DestinationError::new(kind, "refused"));
        }
        effect!(self.fault, DestinationError::new(DestinationErrorKind::Unknown, "no answer"), {
            let mut place = self.place.lock().unwrap();
            let (rows, gone) = place.sealed.get(&staged.path).expect("the sealed load is there").clone();
            place.next += 1;
            let fresh = format!("ds-{}", place.next);
            match plan.kind {
                LoadKind::Full => {
                    let id = place.datasource.as_ref().map_or(fresh, |(id, _)| id.clone());
                    place.datasource = Some((id, rows));
                    place.effects += 1;
                }
                LoadKind::Delta => {
                    let once = place.applied.insert(plan.request_id.clone());
                    let (id, landed) = place.datasource.as_mut().expect("a delta needs a datasource");
                    assert_eq!(plan.target_id.as_ref(), Some(&*id));
                    if once {
                        landed.retain(|key, _| !gone.contains(key));
                        landed.extend(rows);
                        place.effects += 1;
                    }
                }
            }
            let target_id = place.datasource.as_ref().unwrap().0.clone();
            Ok::<_, DestinationError>(Receipt {
                target_id,
                target_version: None,
                request_id: plan.request_id.clone(),
                job_id: Some("job-1".to_owned()),
                rows: staged.rows,
                landed_at: chrono::Utc::now(),
            })
        })
    }

    async fn refresh(&self, target: &RefreshTarget) -> Result<RefreshReport, DestinationError> {
        effect!(self.fault, died(), {
            self.place.lock().unwrap().refreshes += 1;
            let outcome = self.refresh_outcome.lock().unwrap().clone();
            Ok::<_, DestinationError>(RefreshReport {
                target: target.clone(),
                job_id: Some("job-2".to_owned()),
                outcome,
            })
        })
    }

    async fn discard(&self, staged: &Staged) -> Result<(), DestinationError> {
        self.place.lock().unwrap().sealed.remove(&staged.path);
        Ok(())
    }
}

/// A clock that does not wait where the engine waits between attempts.
#[derive(Debug, Default)]
pub(super) struct ImpatientClock {
    ahead: Mutex<Duration>,
}

impl ImpatientClock {
    pub(super) fn advance(&self, by: Duration) {
        *self.ahead.lock().unwrap() += by;
    }
}

#[async_trait]
impl Clock for ImpatientClock {
    fn now(&self) -> chrono::DateTime<chrono::Utc> {
        chrono::Utc::now() + *self.ahead.lock().unwrap()
    }

    async fn sleep(&self, duration: Duration) {
        // Renewing a lease waits longer than any test; a wait between attempts does not wait.
        if duration > Duration::from_secs(10) {
            std::future::pending::<()>().await;
        }
    }
}

/// All parts of a sync.
pub(super) struct World {
    pub(super) source: Arc<MemorySource>,
    pub(super) destination: Arc<MemoryDestination>,
    pub(super) store: Arc<FaultyStore>,
    pub(super) fault: Arc<Fault>,
    pub(super) clock: Arc<ImpatientClock>,
    pub(super) spec: DatasetSpec,
    /// After so many changed rows a load is published.
    pub(super) delta_rows: u64,
}

impl World {
    pub(super) fn new() -> Self {
        let fault = Arc::new(Fault::default());
        fault.never();
        let clock = Arc::new(ImpatientClock::default());
        let target = Target { project: "Finance".to_owned(), datasource: "AP".to_owned() };
        let object = SourceObject::EntitySet { service: "S".to_owned(), set: "T".to_owned() };
        let mut spec = DatasetSpec::new("ap", object, ["Name", "Amount"], target);
        spec.page_size = 7;
        spec.dimensions = vec!["Name".to_owned()];
        spec.track = Track::Revision { column: "SysRevID".to_owned(), overlap: 3 };
        Self {
            source: Arc::new(MemorySource {
                table: Arc::default(),
                hook: Mutex::new(None),
                pages: AtomicU64::new(0),
                fail_after: AtomicI64::new(-1),
                overlooked: Mutex::default(),
                hidden: std::sync::atomic::AtomicBool::new(false),
                company: Mutex::new("E1"),
                takes: Mutex::default(),
                named_by: Mutex::new("Name"),
            }),
            destination: Arc::new(MemoryDestination {
                place: Arc::default(),
                fault: Arc::clone(&fault),
                refuse: Mutex::new(None),
                refresh_outcome: Mutex::new(RefreshOutcome::Succeeded),
                most_delta_rows: AtomicU64::new(u64::MAX),
            }),
            store: Arc::new(FaultyStore {
                inner: MemoryStore::with_clock(Arc::clone(&clock) as _),
                fault: Arc::clone(&fault),
            }),
            fault,
            clock,
            spec,
            delta_rows: 500_000,
        }
    }

    pub(super) fn seed(&self, rows: i64) {
        let mut table = self.source.table.lock().unwrap();
        for num in 1..=rows {
            table.put(num, &format!("vendor {num}"), num * 101);
        }
    }

    pub(super) fn syncer(&self) -> SyncerBuilder {
        Syncer::builder(
            Arc::clone(&self.source) as Arc<dyn Source>,
            Arc::clone(&self.destination) as Arc<dyn Destination>,
            Arc::clone(&self.store),
        )
        .clock(Arc::clone(&self.clock) as _)
    }

    pub(super) async fn run(&self) -> Result<RunSummary, SyncError> {
        self.syncer().delta_rows(self.delta_rows).build().run(&self.spec).await
    }

    pub(super) fn landed(&self) -> Rows {
        self.destination.place.lock().unwrap().datasource.as_ref().map(|(_, rows)| rows.clone()).unwrap_or_default()
    }

    pub(super) fn truth(&self) -> Rows {
        self.source.table.lock().unwrap().truth()
    }

    pub(super) async fn checkpoint(&self) -> Checkpoint {
        self.store.load(&self.spec.id).await.unwrap().map(|found| found.checkpoint).unwrap_or_default()
    }

    /// The newest landed record of each key: its version.
    pub(super) async fn audited(&self) -> BTreeMap<String, i64> {
        let records = self.store.records(&AuditFilter::default()).await.unwrap();
        records.into_iter().filter(|record| record.landed).map(|record| (record.key, record.version)).collect()
    }
}
