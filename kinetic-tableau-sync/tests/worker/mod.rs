//! Workers in simulated time: schedules, requests, limits, deaths and handovers.

mod alerted;
mod asked;
mod away;
mod fleet;
#[cfg(feature = "metrics")]
mod measured;
mod processes;

use std::sync::Arc;
use std::time::Duration;

use kinetic_tableau_sync::worker::{Controls, Limit, Pause, Request, RequestedRun, Worker, WorkerBuilder, workers};
use kinetic_tableau_sync::{NoteStore as _, *};
use tokio::time::{sleep, timeout};

use self::fleet::{Fleet, Told, start};

const MINUTE: Duration = Duration::from_mins(1);

/// Lets workers work for a while, and stops them.
async fn work(fleet: &Fleet, workers: Vec<Worker>, minutes: u32) {
    let stop = Stop::new();
    let all = futures_util::future::join_all(workers.iter().map(|worker| worker.run(&stop)));
    let end = async {
        sleep(MINUTE * minutes).await;
        stop.now();
    };
    tokio::join!(all, end);
    assert_eq!(fleet.seen.lock().unwrap().at_once, 0, "nothing goes on");
}

fn worker(fleet: &Fleet, name: &str, datasets: &[&str], schedule: &str) -> WorkerBuilder {
    fleet.worker(name).jobs(datasets.iter().map(|dataset| fleet.job(name, dataset, schedule)))
}

fn request(run: RequestedRun) -> Request {
    Request { run, at: start(), by: "ann".to_owned(), waits: false }
}

#[tokio::test(start_paused = true)]
async fn a_dataset_is_run_at_once_and_then_by_its_schedule() {
    let fleet = Fleet::new(Duration::from_secs(5));
    work(&fleet, vec![worker(&fleet, "one", &["a"], "every 15m").build()], 61).await;
    assert_eq!(fleet.begun("a"), [0, 15, 30, 45, 60]);
    // Another process goes on with the schedule, and what was missed while there was none is run once.
    sleep(MINUTE * 100).await;
    work(&fleet, vec![worker(&fleet, "two", &["a"], "every 15m").build()], 20).await;
    assert_eq!(fleet.begun("a")[5..], [161, 176]);
}

#[tokio::test(start_paused = true)]
async fn several_workers_run_each_dataset_once_and_share_the_work() {
    let fleet = Fleet::new(Duration::from_secs(5));
    let names = ["a", "b", "c", "d", "e", "f"];
    let workers = ["one", "two", "three"].map(|name| worker(&fleet, name, &names, "every 10m").build());
    work(&fleet, workers.into(), 59).await;
    let seen = fleet.seen.lock().unwrap();
    let mut by_worker = std::collections::BTreeMap::new();
    for name in names {
        let begun = &seen.begun[name];
        assert_eq!(begun.len(), 6, "{name}: {begun:?}");
        for (_, worker) in begun {
            *by_worker.entry(worker.clone()).or_insert(0) += 1;
        }
    }
    assert!(by_worker.len() == 3 && by_worker.values().all(|count| *count >= 5), "{by_worker:?}");
    drop(seen);
    assert!(names.iter().all(|name| fleet.is_current(name)));
}

#[tokio::test(start_paused = true)]
async fn limits_hold_across_workers_and_nobody_starves() {
    let fleet = Fleet::new(Duration::from_secs(20));
    let names: Vec<String> = (0..12).map(|nth| format!("d{nth}")).collect();
    let limit = Limit::new("kinetic", 3);
    let make = |worker: &str| {
        let jobs = names.iter().map(|name| fleet.job(worker, name, "every 30m").limit(limit.clone()));
        fleet.worker(worker).jobs(jobs).at_once(8).build()
    };
    work(&fleet, vec![make("one"), make("two")], 29).await;
    assert_eq!(fleet.seen.lock().unwrap().most_at_once, 3);
    for name in &names {
        assert_eq!(fleet.begun(name).len(), 1, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_runs_as_many_at_once_as_it_may() {
    let fleet = Fleet::new(Duration::from_secs(30));
    let names = ["a", "b", "c", "d", "e", "f"];
    work(&fleet, vec![worker(&fleet, "one", &names, "every 30m").at_once(2).build()], 29).await;
    assert_eq!(fleet.seen.lock().unwrap().most_at_once, 2);
    assert!(names.iter().all(|name| fleet.begun(name).len() == 1));
}

#[tokio::test(start_paused = true)]
async fn an_operator_pauses_resumes_and_asks_for_runs_of_any_worker() {
    let fleet = Fleet::new(Duration::from_secs(1));
    let controls = Controls::new(Arc::clone(&fleet.store) as _);
    let id = DatasetId::new("a");
    let operator = async {
        sleep(MINUTE * 20).await;
        let pause = Pause { since: start(), until: None, by: "ann".to_owned(), reason: None };
        controls.pause(&id, pause).await.unwrap();
        sleep(MINUTE * 60).await;
        controls.resume(&id).await.unwrap();
        sleep(MINUTE * 2).await;
        let begun = fleet.begun("a");
        assert_eq!(begun, [0, 15, 80], "paused, and caught up once");
        controls.request(&id, request(RequestedRun::Reconcile)).await.unwrap();
        sleep(MINUTE).await;
        let known = fleet.store.load(&id).await.unwrap().unwrap().checkpoint;
        assert!(known.reconciled.is_some(), "what was asked for is done");
        assert!(controls.all().await.unwrap().is_empty(), "and forgotten");
        let manual = DatasetId::new("m");
        assert_eq!(fleet.begun("m"), Vec::<i64>::new());
        controls.request(&manual, request(RequestedRun::Changes)).await.unwrap();
        sleep(MINUTE).await;
        assert_eq!(fleet.begun("m").len(), 1, "also where no schedule would");
    };
    let one = fleet.worker("one").job(fleet.job("one", "a", "every 15m")).job(fleet.job("one", "m", "manual")).build();
    tokio::join!(work(&fleet, vec![one], 90), operator);
}

#[tokio::test(start_paused = true)]
async fn a_request_for_a_source_that_is_down_is_tried_as_its_failure_calls_for() {
    let fleet = Fleet::new(Duration::from_secs(1));
    fleet.seen.lock().unwrap().broken.push("a".to_owned());
    let controls = Controls::new(Arc::clone(&fleet.store) as _);
    controls.request(&"a".into(), request(RequestedRun::Changes)).await.unwrap();
    let told = Arc::new(Told::default());
    let one = worker(&fleet, "one", &["a"], "manual").observer(Arc::clone(&told) as _).build();
    work(&fleet, vec![one], 16).await;
    // A minute, two, four, eight; not all the time.
    assert_eq!(fleet.begun("a"), [0, 1, 3, 7, 15]);
    assert!(told.0.lock().unwrap().contains(&"ended a false".to_owned()));
    fleet.seen.lock().unwrap().broken.clear();
    work(&fleet, vec![worker(&fleet, "two", &["a"], "manual").build()], 30).await;
    assert!(fleet.is_current("a"));
    assert!(controls.all().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stopped_worker_finishes_what_it_can_and_another_one_goes_on_at_once() {
    let fleet = Fleet::new(Duration::from_secs(10));
    let (stop, abandon) = (Stop::new(), Stop::new());
    let job =
        worker::Job::new(&fleet.syncer("one", &abandon), Fleet::spec("a"), Timing::new("every 15m".parse().unwrap()));
    let one = fleet.worker("one").job(job).grace(MINUTE, &abandon).build();
    let end = async {
        sleep(Duration::from_secs(5)).await;
        stop.now();
    };
    tokio::join!(one.run(&stop), end);
    assert!(fleet.is_current("a"), "there was time to finish it");
    assert!(!abandon.is_stopped());
    assert_eq!(workers(&*fleet.store, start()).await.unwrap(), [], "it has said that it leaves");

    // What takes longer is given up, and its lease with it.
    let slow = Fleet { takes: MINUTE * 60, ..Fleet::new(MINUTE) };
    let (stop, abandon) = (Stop::new(), Stop::new());
    let job =
        worker::Job::new(&slow.syncer("one", &abandon), Fleet::spec("a"), Timing::new("every 15m".parse().unwrap()));
    let one = slow.worker("one").job(job).grace(MINUTE, &abandon).build();
    let end = async {
        sleep(Duration::from_secs(5)).await;
        stop.now();
    };
    timeout(MINUTE * 2, async { tokio::join!(one.run(&stop), end) }).await.expect("it does not wait for ever");
    assert!(abandon.is_stopped());
    let lease = slow.store.lease(&"a".into(), "two", MINUTE).await;
    assert!(lease.is_ok(), "the lease is free: {lease:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_worker_is_replaced_when_its_lease_has_lapsed() {
    let fleet = Fleet::new(Duration::from_secs(30));
    let one = worker(&fleet, "one", &["a"], "every 15m").build();
    // Killed in the middle: nothing is released.
    assert!(timeout(Duration::from_secs(10), one.run(&Stop::new())).await.is_err());
    let told = Arc::new(Told::default());
    let two = worker(&fleet, "two", &["a"], "every 15m").observer(Arc::clone(&told) as _).build();
    work(&fleet, vec![two], 5).await;
    assert!(told.0.lock().unwrap()[..].iter().any(|line| line == "postponed a: another worker is at it"));
    assert!(fleet.is_current("a"));
    assert_eq!(fleet.begun("a"), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_begun_in_a_blackout() {
    let fleet = Fleet::new(Duration::from_secs(1));
    let timing = Timing::new("every 15m".parse().unwrap()).except("10:20-11:10".parse().unwrap()).unwrap();
    let job = worker::Job::new(&fleet.syncer("one", &Stop::new()), Fleet::spec("a"), timing);
    work(&fleet, vec![fleet.worker("one").job(job).build()], 90).await;
    assert_eq!(fleet.begun("a"), [0, 15, 70, 85]);
}

#[tokio::test(start_paused = true)]
async fn a_comparison_follows_after_so_many_runs() {
    let fleet = Fleet::new(Duration::from_secs(1));
    let job = fleet.job("one", "a", "every 10m").reconcile(Schedule::Manual, Some(3));
    work(&fleet, vec![fleet.worker("one").job(job).build()], 35).await;
    let known = fleet.store.load(&"a".into()).await.unwrap().unwrap().checkpoint;
    let reconciled = known.reconciled.expect("a comparison was made");
    assert_eq!((reconciled.at - start()).num_minutes(), 20, "behind the third run");
}

#[tokio::test(start_paused = true)]
async fn workers_tell_that_they_live_and_the_dead_are_forgotten() {
    let fleet = Fleet::new(Duration::from_secs(1));
    let dead = worker(&fleet, "dead", &["a"], "every 15m").build();
    assert!(timeout(MINUTE, dead.run(&Stop::new())).await.is_err());
    let alive = worker(&fleet, "alive", &["a"], "every 15m").build();
    let look = async {
        sleep(MINUTE).await;
        let names =
            |found: Vec<worker::WorkerPresence>| found.into_iter().map(|worker| worker.name).collect::<Vec<_>>();
        assert_eq!(names(workers(&*fleet.store, fleet.clock.now()).await.unwrap()), ["alive", "dead"]);
        sleep(MINUTE * 4).await;
        assert_eq!(names(workers(&*fleet.store, fleet.clock.now()).await.unwrap()), ["alive"]);
        assert_eq!(fleet.store.notes("worker/").await.unwrap().len(), 1, "cleared away");
    };
    tokio::join!(work(&fleet, vec![alive], 7), look);
}
