//! Batch processes: what they have written is read once they have ended, whatever happens meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use kinetic_tableau_sync::worker::{BatchProcesses, Controls, Job, RequestedRun};
use kinetic_tableau_sync::*;
use tokio::time::sleep;

use super::fleet::{Fleet, Told};
use super::{MINUTE, request, work};

/// Ends when it is told to.
#[derive(Debug, Default)]
struct Agent {
    ended: AtomicU64,
    looks: AtomicU64,
    down: Mutex<bool>,
    /// How long it takes to answer.
    takes: Mutex<Duration>,
}

#[async_trait]
impl BatchProcesses for Agent {
    fn system(&self) -> &'static str {
        "EPIC06"
    }

    async fn ended(&self, process: &str, seen: Option<&str>) -> Result<(u64, String), SourceError> {
        assert_eq!(process, "Post AP Invoices");
        self.looks.fetch_add(1, Ordering::SeqCst);
        let takes = *self.takes.lock().unwrap();
        sleep(takes).await;
        if *self.down.lock().unwrap() {
            return Err(SourceError::new(SourceErrorKind::Unavailable, "the server is down"));
        }
        let now = self.ended.load(Ordering::SeqCst);
        let before = seen.map_or(now, |seen| seen.parse().unwrap());
        Ok((now - before, now.to_string()))
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_batch_process_makes_datasets_due() {
    let fleet = Fleet::new(Duration::from_secs(1));
    let agent = Arc::new(Agent::default());
    let make = |name: &str| {
        let job = |dataset: &str, schedule: &str| {
            fleet.job(name, dataset, schedule).processes(Arc::clone(&agent) as Arc<dyn BatchProcesses>)
        };
        let jobs = [job("a", "after process Post AP Invoices"), job("b", "every 30m")];
        fleet.worker(name).jobs(jobs).build()
    };
    let processes = async {
        sleep(MINUTE * 20 + Duration::from_secs(5)).await;
        agent.ended.fetch_add(1, Ordering::SeqCst);
        fleet.write("a");
        sleep(MINUTE).await;
        assert_eq!(fleet.begun("a"), [0, 20], "within a poll");
        assert!(fleet.is_current("a"));
        // While the server is down nothing is forgotten.
        *agent.down.lock().unwrap() = true;
        agent.ended.fetch_add(2, Ordering::SeqCst);
        sleep(MINUTE * 5).await;
        *agent.down.lock().unwrap() = false;
        sleep(MINUTE).await;
        assert_eq!(fleet.begun("a"), [0, 20, 26], "once for both");
        assert_eq!(fleet.begun("b"), [0]);
    };
    tokio::join!(work(&fleet, vec![make("one"), make("two")], 28), processes);
    let looks = agent.looks.load(Ordering::SeqCst);
    assert!(looks <= 28 * 6 + 1, "{looks} looks: one worker is enough");
}

fn after_post(fleet: &Fleet, agent: &Arc<Agent>, dataset: &str) -> Job {
    fleet.job("one", dataset, "after process Post AP Invoices").processes(Arc::clone(agent) as Arc<dyn BatchProcesses>)
}

#[tokio::test(start_paused = true)]
async fn what_a_process_wrote_while_a_comparison_was_under_way_is_read_behind_it() {
    for asked in [RequestedRun::Reconcile, RequestedRun::Full, RequestedRun::Changes] {
        let fleet = Fleet::new(MINUTE * 3);
        let agent = Arc::new(Agent::default());
        let one = fleet.worker("one").job(after_post(&fleet, &agent, "a")).build();
        let controls = Controls::new(Arc::clone(&fleet.store) as _);
        let story = async {
            sleep(MINUTE * 10).await;
            controls.request(&"a".into(), request(asked)).await.unwrap();
            sleep(MINUTE).await;
            // It has begun, and reads for three minutes.
            assert!(fleet.begun("a").contains(&10));
            fleet.write("a");
            agent.ended.fetch_add(1, Ordering::SeqCst);
            sleep(MINUTE * 20).await;
            assert!(fleet.is_current("a"), "{asked:?}: begun at {:?}", fleet.begun("a"));
            assert!(controls.all().await.unwrap().is_empty());
        };
        tokio::join!(work(&fleet, vec![one], 35), story);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_process_wrote_while_the_password_was_wrong_is_read_once_that_is_mended() {
    let fleet = Fleet::new(Duration::from_secs(1));
    let agent = Arc::new(Agent::default());
    let make = || fleet.worker("one").job(after_post(&fleet, &agent, "a")).build();
    let story = async {
        sleep(MINUTE * 10).await;
        fleet.seen.lock().unwrap().refusing.push("a".to_owned());
        fleet.write("a");
        // Processes end all the time, and each of them would like to be read.
        for _ in 0..100 {
            agent.ended.fetch_add(1, Ordering::SeqCst);
            sleep(MINUTE).await;
        }
        let begun = fleet.begun("a");
        assert_eq!(begun, [0, 10, 40, 70, 100], "an account is not locked by a password that is refused");
    };
    tokio::join!(work(&fleet, vec![make()], 115), story);
    fleet.seen.lock().unwrap().refusing.clear();
    work(&fleet, vec![make()], 30).await;
    assert!(fleet.is_current("a"), "begun at {:?}", fleet.begun("a"));
}

#[tokio::test(start_paused = true)]
async fn a_dataset_whose_first_run_was_refused_does_not_wait_for_a_process_to_be_loaded() {
    let fleet = Fleet::new(Duration::from_secs(1));
    let agent = Arc::new(Agent::default());
    fleet.seen.lock().unwrap().refusing.push("a".to_owned());
    let one = fleet.worker("one").job(after_post(&fleet, &agent, "a")).build();
    let story = async {
        sleep(MINUTE * 20).await;
        fleet.seen.lock().unwrap().refusing.clear();
    };
    tokio::join!(work(&fleet, vec![one], 35), story);
    assert_eq!(fleet.begun("a"), [0, 30]);
}

#[tokio::test(start_paused = true)]
async fn a_system_that_does_not_answer_holds_up_neither_datasets_nor_beats_nor_the_end() {
    let fleet = Fleet::new(Duration::from_secs(1));
    let agent = Arc::new(Agent::default());
    let told = Arc::new(Told::default());
    let jobs = [after_post(&fleet, &agent, "a"), fleet.job("one", "b", "every 1m")];
    let one = fleet.worker("one").jobs(jobs).observer(Arc::clone(&told) as _).build();
    let stop = Stop::new();
    let ended = async {
        one.run(&stop).await;
        fleet.clock.now()
    };
    let story = async {
        sleep(Duration::from_secs(95)).await;
        *agent.takes.lock().unwrap() = MINUTE * 10;
        sleep(MINUTE * 5).await;
        let alive = worker::workers(&*fleet.store, fleet.clock.now()).await.unwrap();
        let silent = (fleet.clock.now() - alive[0].seen).num_seconds();
        assert!(silent <= 40, "{silent} s without a beat");
        stop.now();
        fleet.clock.now()
    };
    let (ended, stopped) = tokio::join!(ended, story);
    let late = (ended - stopped).num_seconds();
    assert!(late <= 5, "the end came {late} s behind the stop");
    assert_eq!(fleet.begun("b"), [0, 1, 2, 3, 4, 5, 6]);
    let silent = "trouble looking at batch processes: process Post AP Invoices of EPIC06: no answer within 120 s";
    assert!(told.0.lock().unwrap().iter().any(|line| line == silent), "{:?}", told.0.lock().unwrap());
    // Another worker takes its place at once.
    let slot = fleet.store.lease(&"@processes/EPIC06#0".into(), "two", MINUTE).await;
    assert!(slot.is_ok(), "{slot:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_process_writes_while_it_begins_to_be_watched_is_read() {
    let fleet = Fleet::new(Duration::from_secs(1));
    let agent = Arc::new(Agent::default());
    // The first run has read before anybody watches.
    *agent.takes.lock().unwrap() = Duration::from_secs(20);
    let one = fleet.worker("one").job(after_post(&fleet, &agent, "a")).build();
    let story = async {
        sleep(Duration::from_secs(10)).await;
        agent.ended.fetch_add(1, Ordering::SeqCst);
        fleet.write("a");
    };
    tokio::join!(work(&fleet, vec![one], 5), story);
    assert!(fleet.is_current("a"), "begun at {:?}", fleet.begun("a"));
}
