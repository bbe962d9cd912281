//! What goes wrong, by a seed: faults before and after an effect, deaths, pauses, and what users do in Kinetic meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use simulators::kinetic::{Database, KineticSim, Value};
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep};

/// The table that everything is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    pub(crate) service: &'static str,
    pub(crate) set: &'static str,
    pub(crate) key: &'static str,
    pub(crate) content: &'static str,
}

const ORDERS: Table = Table { service: "Erp.BO.POSvc", set: "POes", key: "PONum", content: "BuyerID" };
const CUSTOMERS: Table = Table { service: "Erp.BO.CustomerSvc", set: "Customers", key: "CustNum", content: "Name" };

/// A small generator (SplitMix64): the same numbers for the same seed, on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// True so many times out of a thousand.
    pub(crate) fn chance(&mut self, thousandth: u64) -> bool {
        self.below(1_000) < thousandth
    }

    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }
}

/// How changes are found in a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tracking {
    Revision,
    Stamp,
    /// By a date and the seconds beside it.
    DateAndTime,
    Snapshot,
}

/// What a seed is like.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a trouble of its own")]
pub(crate) struct Scenario {
    pub(crate) tracking: Tracking,
    pub(crate) rows: i64,
    pub(crate) page_size: u32,
    /// The server caps pages silently.
    pub(crate) cap: Option<usize>,
    /// Thousandths of effects that fail or die.
    pub(crate) faults: u64,
    /// Thousandths of effects at which a process is stopped for longer than its lease.
    pub(crate) pauses: u64,
    /// Listings of keys overlook a row now and then, as reads without locks do.
    pub(crate) overlooks: bool,
    /// For a while the source answers nothing at all, without an error.
    pub(crate) deaf: bool,
    /// The database is put back to an older state once.
    pub(crate) restores: bool,
    pub(crate) workers: usize,
    /// The target tells when somebody has written to it. Without that, nothing could tell of an old full load that a process puts over
    /// newer rows when it wakes up.
    pub(crate) watched: bool,
}

impl Scenario {
    /// The table that is synced: the one that has such columns.
    pub(crate) fn table(&self) -> Table {
        if self.tracking == Tracking::DateAndTime { CUSTOMERS } else { ORDERS }
    }

    /// Whether a row that changes without its stamp is not noticed.
    pub(crate) fn by_stamp(&self) -> bool {
        matches!(self.tracking, Tracking::Stamp | Tracking::DateAndTime)
    }

    fn draw(seed: u64, random: &mut Random) -> Self {
        let tracking = match random.below(4) {
            0 => Tracking::Snapshot,
            1 if seed % 2 == 1 => Tracking::DateAndTime,
            1 => Tracking::Stamp,
            _ => Tracking::Revision,
        };
        let (pauses, workers) =
            ([0, 0, 10][usize::try_from(random.below(3)).unwrap()], 1 + usize::from(random.chance(500)));
        Self {
            tracking,
            rows: i64::try_from(random.between(15, 50)).unwrap(),
            page_size: u32::try_from(random.between(2, 12)).unwrap(),
            cap: random.chance(300).then_some(3),
            faults: [0, 15, 40, 80][usize::try_from(random.below(4)).unwrap()],
            pauses,
            overlooks: random.chance(300),
            deaf: random.chance(200),
            restores: tracking == Tracking::Revision && random.chance(200),
            workers,
            watched: (pauses > 0 && workers > 1) || random.chance(500),
        }
    }
}

/// How far behind a write may become visible, in row versions.
pub(crate) const LATEST: i64 = 25;

/// What becomes of one effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    None,
    FailBefore,
    FailAfter,
    DieBefore,
    DieAfter,
    /// A body that ends early.
    Cut,
}

#[derive(Debug, Default)]
struct Worker {
    died: Arc<Notify>,
    pause: Option<Duration>,
}

/// A transaction that has taken its row version and is not visible yet.
#[derive(Debug)]
struct Late {
    number: i64,
    revision: i64,
    stamp: chrono::NaiveDateTime,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) random: Random,
    /// Nothing goes wrong any more, and nobody changes anything.
    pub(crate) quiet: bool,
    workers: Vec<Worker>,
    late: Vec<Late>,
    next_number: i64,
    copy: Option<Database>,
    pub(crate) restored: u64,
    /// Keys that were changed without moving the stamp, and not with it since.
    pub(crate) unstamped: BTreeSet<i64>,
    pub(crate) deletes: u64,
    deaf_calls: u64,
    /// Every answer with rows ends behind so many bytes.
    pub(crate) cut_at: Option<usize>,
    pub(crate) cuts: u64,
    steps_back: u64,
    /// Before that, a source without rows may well be one.
    pub(crate) landed_once: bool,
    trace: u64,
    pub(crate) effects: u64,
    pub(crate) violations: Vec<String>,
}

/// Shared by everything in one world.
#[derive(Clone, Debug)]
pub(crate) struct Chaos {
    inner: Arc<Mutex<Inner>>,
    pub(crate) kinetic: Arc<KineticSim>,
    pub(crate) scenario: Arc<Scenario>,
}

/// What a key holds: its row version and its content.
pub(crate) type Truth = BTreeMap<i64, (i64, String)>;

impl Chaos {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let scenario = Scenario::draw(seed, &mut random);
        let cap = scenario.cap;
        let kinetic = KineticSim::builder().switches(|switches| switches.cap = cap).offline();
        let workers = (0..scenario.workers).map(|_| Worker::default()).collect();
        let inner = Inner {
            random,
            quiet: false,
            workers,
            late: Vec::new(),
            next_number: 1,
            copy: None,
            restored: 0,
            unstamped: BTreeSet::new(),
            deletes: 0,
            deaf_calls: 0,
            cut_at: None,
            cuts: 0,
            steps_back: 0,
            landed_once: false,
            trace: 0xcbf2_9ce4_8422_2325,
            effects: 0,
            violations: Vec::new(),
        };
        let chaos =
            Self { inner: Arc::new(Mutex::new(inner)), kinetic: Arc::new(kinetic), scenario: Arc::new(scenario) };
        for _ in 0..chaos.scenario.rows {
            chaos.insert(&mut chaos.lock());
        }
        chaos
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Notes what happens, so that two runs of one seed can be compared.
    pub(crate) fn trace(&self, worker: usize, what: &str) {
        let mut inner = self.lock();
        for byte in what.bytes().chain([u8::try_from(worker).unwrap()]) {
            inner.trace = (inner.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if std::env::var_os("MODEL_TRACE").is_some() {
            eprintln!("[{worker}] {what}");
        }
    }

    pub(crate) fn trace_hash(&self) -> u64 {
        self.lock().trace
    }

    pub(crate) fn violated(&self, invariant: &str, what: impl std::fmt::Display) {
        self.trace(9, &format!("VIOLATED {invariant}: {what}"));
        self.lock().violations.push(format!("{invariant}: {what}"));
    }

    pub(crate) fn died(&self, worker: usize) -> Arc<Notify> {
        Arc::clone(&self.lock().workers[worker].died)
    }

    /// Decides about one effect of a worker. Where the process dies before it, this never returns.
    pub(crate) async fn effect(&self, worker: usize, name: &str, cuts: bool) -> Blow {
        let (blow, pause) = {
            let mut inner = self.lock();
            inner.effects += 1;
            let (faults, pauses) = if inner.quiet { (0, 0) } else { (self.scenario.faults, self.scenario.pauses) };
            let blow = if inner.random.chance(faults) {
                match inner.random.below(if cuts { 5 } else { 4 }) {
                    0 => Blow::FailBefore,
                    1 => Blow::FailAfter,
                    2 => Blow::DieBefore,
                    3 => Blow::DieAfter,
                    _ => Blow::Cut,
                }
            } else {
                Blow::None
            };
            // A publish is where a stop does most harm.
            let pauses = if name == "publish" { pauses * 10 } else { pauses };
            let pause = inner.random.chance(pauses).then(|| Duration::from_secs(inner.random.between(61, 200)));
            inner.workers[worker].pause = pause;
            (blow, pause)
        };
        self.trace(worker, &format!("{name} {blow:?} {pause:?}"));
        if pause.is_some() {
            // Whoever polls this worker sees the pause now.
            tokio::task::yield_now().await;
        }
        if blow == Blow::DieBefore {
            self.die(worker).await;
        }
        blow
    }

    /// The process ends here.
    pub(crate) async fn die(&self, worker: usize) {
        self.lock().workers[worker].died.notify_one();
        std::future::pending::<()>().await;
    }

    fn take_pause(&self, worker: usize) -> Option<Duration> {
        self.lock().workers[worker].pause.take()
    }

    /// What users see in Kinetic now.
    pub(crate) fn truth(&self) -> Truth {
        let number = |row: &simulators::kinetic::Row, name: &str| match row.get(name) {
            Some(Value::Int(number)) => *number,
            _ => panic!("{name} is no number"),
        };
        let table = self.scenario.table();
        let rows = self.kinetic.rows(table.set);
        rows.iter()
            .map(|row| (number(row, table.key), (number(row, "SysRevID"), row.text(table.content).unwrap_or_default())))
            .collect()
    }

    /// The stamp of a row.
    pub(crate) fn stamp(&self, number: i64) -> String {
        let table = self.scenario.table();
        let rows = self.kinetic.rows(table.set);
        let row = rows.iter().find(|row| row.get(table.key) == Some(&number.into()));
        let text = |name: &str| row.and_then(|row| row.text(name)).unwrap_or_default();
        format!("{} {}", text("ChangeDate"), text("ChangeTime"))
    }

    fn insert(&self, inner: &mut Inner) {
        let number = inner.next_number;
        inner.next_number += 1;
        let table = self.scenario.table();
        self.kinetic.database().write(table.set, [(table.key, number.into()), (table.content, "new".into())]);
    }

    fn content(inner: &mut Inner) -> Value {
        let text = format!("v{}", inner.random.below(1_000_000));
        text.as_str().into()
    }

    /// Users work: some rows change, some come, some go; transactions end late; the clock jumps.
    pub(crate) fn users_work(&self) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        if inner.quiet {
            return;
        }
        let table = self.scenario.table();
        self.commit_some(inner, false);
        for _ in 0..inner.random.below(3) {
            let present: Vec<i64> =
                self.kinetic.rows(table.set).iter().filter_map(|row| row.text(table.key)?.parse().ok()).collect();
            let free: Vec<i64> =
                present.iter().copied().filter(|number| inner.late.iter().all(|late| late.number != *number)).collect();
            let Some(&number) = free.get(usize::try_from(inner.random.below(free.len() as u64)).unwrap()) else {
                return;
            };
            let key = (table.key, Value::from(number));
            match inner.random.below(100) {
                0..40 => {
                    inner.unstamped.remove(&number);
                    let content = Self::content(inner);
                    self.kinetic.database().write(table.set, [key, (table.content, content)]);
                }
                40..60 => self.insert(inner),
                60..64 if inner.deletes < 8 => {
                    // Often what has just come.
                    let newest = free.iter().max().copied().filter(|_| inner.random.chance(600)).unwrap_or(number);
                    inner.deletes += 1;
                    inner.unstamped.remove(&newest);
                    self.kinetic.database().delete(table.set, &[newest.into()]);
                }
                64..80 => {
                    let mut database = self.kinetic.database();
                    let (revision, stamp) = (database.reserve_revision(), database.now());
                    let number = if inner.random.chance(400) {
                        inner.next_number += 1;
                        inner.next_number - 1
                    } else {
                        number
                    };
                    inner.late.push(Late { number, revision, stamp });
                }
                80..84 => {
                    inner.unstamped.insert(number);
                    let content = Self::content(inner);
                    self.kinetic.database().write_unstamped(table.set, [key, (table.content, content)]);
                }
                84..87 if inner.steps_back < 3 => {
                    // In all not further than the overlap of the datasets here.
                    inner.steps_back += 1;
                    let mut database = self.kinetic.database();
                    let now = database.now() - chrono::Duration::seconds(20);
                    database.set_clock(now);
                }
                87..89 if self.scenario.restores && inner.copy.is_none() => {
                    inner.copy = Some(self.kinetic.database().clone());
                }
                89..91 if self.scenario.restores && inner.restored == 0 => {
                    if let Some(copy) = inner.copy.take() {
                        inner.restored += 1;
                        inner.late.clear();
                        self.kinetic.database().restore(&copy);
                        self.note(inner, "restore");
                    }
                }
                _ => {}
            }
        }
    }

    /// Somebody deletes the newest row, at the worst moment.
    pub(crate) fn delete_newest(&self) {
        let mut inner = self.lock();
        let newest = self.truth().keys().max().copied();
        if let Some(number) = newest.filter(|_| !inner.quiet && inner.deletes < 9) {
            inner.deletes += 1;
            inner.late.retain(|late| late.number != number);
            self.kinetic.database().delete(self.scenario.table().set, &[number.into()]);
        }
    }

    fn note(&self, inner: &mut Inner, what: &str) {
        for byte in what.bytes() {
            inner.trace = (inner.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if std::env::var_os("MODEL_TRACE").is_some() {
            eprintln!("[-] {what} ({} rows)", self.kinetic.truth_count(self.scenario.table().set));
        }
    }

    /// Transactions become visible: some, or all. None of them later than the overlap covers.
    fn commit_some(&self, inner: &mut Inner, all: bool) {
        let table = self.scenario.table();
        let newest = self.kinetic.database().revision();
        let mut rest = Vec::new();
        for late in std::mem::take(&mut inner.late) {
            if !all && newest - late.revision < LATEST - 14 && inner.random.chance(700) {
                rest.push(late);
                continue;
            }
            inner.unstamped.remove(&late.number);
            let content = Self::content(inner);
            let columns = [(table.key, late.number.into()), (table.content, content)];
            self.kinetic.database().write_under(late.revision, late.stamp, table.set, columns);
            self.note(inner, &format!("late commit of {} at {}", late.number, late.revision));
        }
        inner.late = rest;
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        let mut inner = self.lock();
        self.commit_some(&mut inner, true);
        inner.quiet = true;
    }

    /// Whether the source answers nothing at this moment.
    pub(crate) fn is_deaf(&self) -> bool {
        let mut inner = self.lock();
        if inner.quiet || !self.scenario.deaf || !inner.landed_once {
            return false;
        }
        if inner.deaf_calls == 0 && inner.random.chance(15) {
            inner.deaf_calls = 40;
        }
        let deaf = inner.deaf_calls > 0;
        inner.deaf_calls = inner.deaf_calls.saturating_sub(1);
        deaf
    }
}

/// A worker that can be stopped for a while, like a process whose machine sleeps.
pub(crate) struct Pausable<F> {
    inner: Pin<Box<F>>,
    chaos: Chaos,
    worker: usize,
    stopped: Option<Pin<Box<Sleep>>>,
}

impl<F> Pausable<F> {
    pub(crate) fn new(chaos: &Chaos, worker: usize, inner: F) -> Self {
        Self { inner: Box::pin(inner), chaos: chaos.clone(), worker, stopped: None }
    }
}

impl<F: Future> Future for Pausable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        loop {
            if let Some(stopped) = &mut self.stopped {
                ready!(stopped.as_mut().poll(context));
                self.stopped = None;
            }
            if let Some(pause) = self.chaos.take_pause(self.worker) {
                self.stopped = Some(Box::pin(sleep(pause)));
                continue;
            }
            if let Poll::Ready(output) = self.inner.as_mut().poll(context) {
                return Poll::Ready(output);
            }
            if let Some(pause) = self.chaos.take_pause(self.worker) {
                self.stopped = Some(Box::pin(sleep(pause)));
                continue;
            }
            return Poll::Pending;
        }
    }
}
