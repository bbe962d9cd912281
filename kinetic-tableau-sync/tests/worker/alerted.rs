//! What people are told by workers, however many there are and whatever befalls their store.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use kinetic_tableau_sync::worker::{Alert, AlertError, AlertKind, AlertSink, Alerts, NoObserver, Worker};
use tokio::time::sleep;

use super::away::Remote;
use super::fleet::Fleet;
use super::{MINUTE, work, worker};

/// Takes alerts.
#[derive(Debug, Default)]
struct Sink(Mutex<Vec<Alert>>);

#[async_trait]
impl AlertSink for Sink {
    async fn send(&self, alert: &Alert) -> Result<(), AlertError> {
        self.0.lock().unwrap().push(alert.clone());
        Ok(())
    }
}

impl Sink {
    fn alerts(self: &Arc<Self>, fleet: &Fleet) -> Arc<Alerts> {
        let (sink, day) = (Arc::clone(self), MINUTE * 60 * 24);
        let alerts = Alerts::with(sink, Arc::new(NoObserver), 3, day, Arc::clone(&fleet.clock) as _);
        Arc::new(alerts.shared(Arc::clone(&fleet.store) as _))
    }

    fn told(&self) -> Vec<(AlertKind, u32)> {
        self.0.lock().unwrap().iter().map(|alert| (alert.kind, alert.failures)).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_are_those_of_all_workers_and_are_told_by_one() {
    let (fleet, sink) = (Fleet::new(Duration::from_secs(1)), Arc::new(Sink::default()));
    let turn = async |name: &str, minutes: u32| {
        work(&fleet, vec![worker(&fleet, name, &["a"], "every 15m").observer(sink.alerts(&fleet)).build()], minutes)
            .await;
    };
    fleet.seen.lock().unwrap().broken.push("a".to_owned());
    turn("one", 2).await;
    assert_eq!((fleet.begun("a"), sink.told()), (vec![0, 1], vec![]));
    turn("two", 2).await;
    assert_eq!((fleet.begun("a"), sink.told()), (vec![0, 1, 3], vec![(AlertKind::Failing, 3)]));
    turn("three", 4).await;
    fleet.seen.lock().unwrap().broken.clear();
    turn("four", 10).await;
    assert_eq!(fleet.begun("a"), [0, 1, 3, 7, 15]);
    assert_eq!(sink.told(), [(AlertKind::Failing, 3), (AlertKind::Recovered, 0)]);
    turn("five", 30).await;
    assert_eq!(sink.told().len(), 2, "and no more");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_hours_is_told_and_so_is_its_end() {
    let (fleet, sink) = (Fleet::new(Duration::from_secs(1)), Arc::new(Sink::default()));
    let store = Arc::new(Remote::new(&fleet));
    store.away.store(true, Ordering::SeqCst);
    let one = Worker::builder(Arc::clone(&store))
        .clock(Arc::clone(&fleet.clock) as _)
        .job(fleet.job("one", "a", "every 15m"))
        .observer(sink.alerts(&fleet))
        .build();
    let course = async {
        sleep(MINUTE * 300).await;
        let told = sink.told();
        assert!(matches!(told[..], [(AlertKind::Trouble, _)]), "{told:?}");
        assert_eq!(fleet.begun("a"), Vec::<i64>::new());
        store.away.store(false, Ordering::SeqCst);
    };
    tokio::join!(work(&fleet, vec![one], 320), course);
    let told = sink.told();
    assert!(matches!(told[..], [(AlertKind::Trouble, _), (AlertKind::Recovered, 0)]), "{told:?}");
    assert_eq!(fleet.begun("a"), [300, 315]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_breaks_off_is_told_and_is_well_again_when_one_ends() {
    let (fleet, sink) = (Fleet::new(Duration::from_secs(1)), Arc::new(Sink::default()));
    let store = Arc::new(Remote::new(&fleet));
    store.breaks.store(true, Ordering::SeqCst);
    let one = Worker::builder(Arc::clone(&store))
        .clock(Arc::clone(&fleet.clock) as _)
        .job(fleet.job("one", "a", "every 15m"))
        .observer(sink.alerts(&fleet))
        .build();
    let course = async {
        sleep(MINUTE * 20).await;
        assert_eq!(sink.told(), [(AlertKind::Failing, 1)]);
        let alert = sink.0.lock().unwrap()[0].clone();
        assert_eq!(alert.dataset, Some("a".into()));
        assert!(alert.message.contains("broke off") && !alert.message.contains("Miller"), "{alert}");
        store.breaks.store(false, Ordering::SeqCst);
    };
    tokio::join!(work(&fleet, vec![one], 30), course);
    assert_eq!(sink.told(), [(AlertKind::Failing, 1), (AlertKind::Recovered, 0)]);
}
