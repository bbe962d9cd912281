//! What several workers tell to `metrics`.

use std::collections::BTreeMap;
use std::future::{Future as _, poll_fn};
use std::time::Duration;

use chrono::{DateTime, Utc};
use kinetic_tableau_sync::Stop;
use metrics::NoopRecorder;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tokio::time::sleep;

use super::fleet::{Fleet, start};
use super::{MINUTE, work, worker};

/// By name: how many were counted or measured, or what the gauge shows.
fn told(snapshots: &Snapshotter) -> BTreeMap<String, f64> {
    let mut told = BTreeMap::new();
    for (key, _, _, value) in snapshots.snapshot().into_vec() {
        let value = match value {
            DebugValue::Counter(count) => f64::from(u32::try_from(count).unwrap()),
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(values) => f64::from(u32::try_from(values.len()).unwrap()),
        };
        *told.entry(key.key().name().to_owned()).or_default() += value;
    }
    told
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_finds_another_one_at_it_has_neither_run_nor_failed() {
    let recorder = DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let fleet = Fleet::new(MINUTE * 3);
    let workers = ["one", "two"].map(|name| worker(&fleet, name, &["a"], "every 15m").build());
    work(&fleet, workers.into(), 14).await;
    let told = told(&snapshots);
    assert_eq!(fleet.begun("a").len(), 1);
    assert_eq!(told.get("kinetic_tableau_failures_total"), None, "{told:#?}");
    assert_eq!(told.get("kinetic_tableau_run_seconds"), Some(&1.0));
}

#[tokio::test(start_paused = true)]
async fn each_worker_shows_the_lag_of_a_dataset_and_not_that_of_its_own_runs_of_it() {
    let recorder = DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let fleet = Fleet::new(Duration::from_secs(1));
    let one = worker(&fleet, "one", &["a"], "every 15m").build();
    let another_process = async {
        sleep(MINUTE * 14).await;
        let syncer = fleet.syncer("two", &Stop::new());
        let spec = Fleet::spec("a");
        let mut run = Box::pin(syncer.run(&spec));
        // Which has a recorder of its own.
        poll_fn(|context| metrics::with_local_recorder(&NoopRecorder, || run.as_mut().poll(context))).await.unwrap();
        let newest = || told(&snapshots).get("kinetic_tableau_last_success_timestamp_seconds").copied();
        assert_eq!(newest(), Some(seconds(start())));
        sleep(MINUTE * 2).await;
        assert_eq!(newest(), Some(seconds(start() + MINUTE * 14)));
        assert_eq!(fleet.begun("a"), [0, 14], "it has looked, and not run");
    };
    tokio::join!(work(&fleet, vec![one], 17), another_process);
}

fn seconds(at: DateTime<Utc>) -> f64 {
    f64::from(u32::try_from(at.timestamp()).unwrap())
}
