//! What operators ask for, and how soon what has failed is tried again.

use std::sync::Arc;
use std::time::Duration;

use kinetic_tableau_sync::worker::{Controls, Pause, Request, RequestedRun};
use tokio::time::sleep;

use super::fleet::{Fleet, start};
use super::{MINUTE, request, work, worker};

#[tokio::test(start_paused = true)]
async fn a_request_by_a_clock_that_is_wrong_is_run_once_and_then_as_its_failure_calls_for() {
    for ahead in [120, -120, 86_400] {
        let fleet = Fleet::new(Duration::from_secs(1));
        fleet.seen.lock().unwrap().broken.push("a".to_owned());
        let controls = Controls::new(Arc::clone(&fleet.store) as _);
        let at = start() + chrono::Duration::seconds(ahead);
        controls.request(&"a".into(), Request { at, ..request(RequestedRun::Changes) }).await.unwrap();
        let workers = ["one", "two"].map(|name| worker(&fleet, name, &["a"], "every 15m").build());
        work(&fleet, workers.into(), 16).await;
        assert_eq!(fleet.begun("a"), [0, 1, 3, 7, 15], "asked for {ahead} s ahead");
        fleet.seen.lock().unwrap().broken.clear();
        work(&fleet, vec![worker(&fleet, "one", &["a"], "every 1h").build()], 20).await;
        assert!(fleet.is_current("a") && controls.all().await.unwrap().is_empty());
        assert_eq!(fleet.begun("a").len(), 6, "served by one run");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_is_taken_back_at_once_leaves_the_schedule_as_it_was() {
    for until in [None, Some(start() + chrono::Duration::hours(2))] {
        let fleet = Fleet::new(Duration::from_secs(1));
        let one = worker(&fleet, "one", &["a"], "every 65s").build();
        let controls = Controls::new(Arc::clone(&fleet.store) as _);
        let story = async {
            // It is looked for at 60 s and at 70 s, and the dataset is due in between.
            sleep(Duration::from_secs(62)).await;
            let pause = Pause { since: start(), until, by: "ann".to_owned(), reason: None };
            controls.pause(&"a".into(), pause).await.unwrap();
            sleep(Duration::from_secs(6)).await;
            controls.resume(&"a".into()).await.unwrap();
        };
        tokio::join!(work(&fleet, vec![one], 10), story);
        assert_eq!(fleet.begun("a"), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "{until:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_down_for_hours_is_read_within_half_an_hour_when_it_is_back() {
    let fleet = Fleet::new(Duration::from_secs(1));
    fleet.seen.lock().unwrap().broken.push("a".to_owned());
    let one = worker(&fleet, "one", &["a"], "every 15m").build();
    let story = async {
        fleet.write("a");
        sleep(MINUTE * 600).await;
        fleet.seen.lock().unwrap().broken.clear();
        sleep(MINUTE * 31).await;
        assert!(fleet.is_current("a"), "begun at {:?}", fleet.begun("a"));
        assert!(fleet.begun("a").len() < 30, "and was not asked for all the time: {:?}", fleet.begun("a"));
    };
    tokio::join!(work(&fleet, vec![one], 640), story);
}

#[tokio::test(start_paused = true)]
async fn a_password_that_is_refused_is_tried_every_half_hour_and_at_once_when_somebody_asks() {
    let fleet = Fleet::new(Duration::from_secs(1));
    fleet.seen.lock().unwrap().refusing.push("a".to_owned());
    let workers = ["one", "two"].map(|name| worker(&fleet, name, &["a"], "every 1m").build());
    let controls = Controls::new(Arc::clone(&fleet.store) as _);
    let story = async {
        sleep(MINUTE * 70).await;
        assert_eq!(fleet.begun("a"), [0, 30, 60]);
        for _ in 0..2 {
            controls.request(&"a".into(), request(RequestedRun::Changes)).await.unwrap();
            sleep(MINUTE * 5).await;
        }
        assert_eq!(fleet.begun("a"), [0, 30, 60, 70, 75], "once for each time that somebody asked");
        fleet.seen.lock().unwrap().refusing.clear();
        controls.request(&"a".into(), request(RequestedRun::Changes)).await.unwrap();
        sleep(MINUTE * 2).await;
        assert!(fleet.begun("a").len() >= 7, "and by its schedule as soon as it is well: {:?}", fleet.begun("a"));
    };
    tokio::join!(work(&fleet, workers.into(), 90), story);
}
