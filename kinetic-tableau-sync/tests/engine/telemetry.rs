//! What runs tell to `metrics` and `tracing`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;

use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use super::world::World;

/// Name and labels, and the value: of a histogram how many there are.
fn told(snapshotter: &metrics_util::debugging::Snapshotter) -> BTreeMap<String, f64> {
    let all = snapshotter.snapshot().into_vec().into_iter();
    all.map(|(key, _, _, value)| {
        let (_, key) = key.into_parts();
        let labels: Vec<String> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let value = match value {
            DebugValue::Counter(count) => f64::from(u32::try_from(count).unwrap()),
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(values) => f64::from(u32::try_from(values.len()).unwrap()),
        };
        (format!("{}{{{}}}", key.name(), labels.join(",")), value)
    })
    .collect()
}

#[tokio::test]
async fn counts_of_runs_findings_and_failures_are_measured_by_fixed_names() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let world = World::new();
    world.seed(40);
    world.run().await.unwrap();
    world.source.table.lock().unwrap().put(7, "changed", 1);
    world.source.table.lock().unwrap().rows.remove(&8);
    world.run().await.unwrap();
    world.syncer().build().reconcile(&world.spec).await.unwrap();
    world.source.fail_after.store(0, std::sync::atomic::Ordering::SeqCst);
    world.run().await.unwrap_err();

    let told = told(&snapshotter);
    let is = |name: &str| told.get(name).copied();
    assert_eq!(is("kinetic_tableau_rows_total{dataset=ap,what=inserted}"), Some(40.0), "{told:#?}");
    assert_eq!(is("kinetic_tableau_rows_total{dataset=ap,what=updated}"), Some(1.0));
    assert_eq!(is("kinetic_tableau_rows_total{dataset=ap,what=deleted}"), Some(1.0));
    assert_eq!(is("kinetic_tableau_reconcile_findings_total{dataset=ap,what=deleted}"), Some(1.0));
    assert_eq!(is("kinetic_tableau_landed_rows{dataset=ap}"), Some(39.0));
    assert_eq!(is("kinetic_tableau_run_seconds{dataset=ap,goal=changes,outcome=ok}"), Some(2.0));
    assert_eq!(is("kinetic_tableau_run_seconds{dataset=ap,goal=reconcile,outcome=ok}"), Some(1.0));
    assert_eq!(is("kinetic_tableau_run_seconds{dataset=ap,goal=changes,outcome=failed}"), Some(1.0));
    assert_eq!(is("kinetic_tableau_failures_total{dataset=ap,stage=read,disposition=retry}"), Some(1.0));
    let started = is("kinetic_tableau_last_success_timestamp_seconds{dataset=ap}").unwrap();
    let now = f64::from(u32::try_from(chrono::Utc::now().timestamp()).unwrap());
    assert!((now - started).abs() < 60.0);
    assert!(told.keys().all(|name| !name.contains("vendor")), "no value of a row is a label: {told:#?}");
}

thread_local! {
    /// What is traced on this thread, once somebody wants it.
    static TRACED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

#[derive(Clone, Copy, Debug)]
struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        TRACED.with_borrow_mut(|traced| traced.iter_mut().for_each(|traced| traced.extend_from_slice(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn each_step_of_a_run_is_traced_within_a_span_that_names_dataset_worker_and_goal() {
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(|| Lines).finish();
    // For all threads: whether a place of the code is listened to is remembered for the process, and other tests come by there, too.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    TRACED.set(Some(Vec::new()));
    let world = World::new();
    world.seed(9);
    world.syncer().owner("worker 1").build().run(&world.spec).await.unwrap();
    world.source.fail_after.store(0, std::sync::atomic::Ordering::SeqCst);
    world.run().await.unwrap_err();
    let text = String::from_utf8(TRACED.take().unwrap()).unwrap();
    let span = "sync.run{dataset=ap worker=\"worker 1\" goal=\"changes\"}";
    for step in ["started kind=Full", "staged rows=9", "landed rows=9", "ended run="] {
        let line = text.lines().find(|line| line.contains(step)).unwrap_or_else(|| panic!("no {step:?} in\n{text}"));
        assert!(line.contains(span), "{line}");
    }
    assert!(
        text.lines().any(|line| line.contains("failed run=") && line.contains("stage=\"read\" disposition=\"retry\"")),
        "{text}"
    );
    assert!(!text.contains("vendor 1"), "rows are data, not log text");
}
