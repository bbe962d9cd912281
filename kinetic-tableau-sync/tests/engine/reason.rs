//! Why a load is a full one, as the progress and the trail tell it.

use std::sync::{Arc, Mutex, PoisonError};

use kinetic_tableau_sync::*;

use super::world::World;

/// Remembers how runs began.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<(LoadKind, Option<FullReason>)>>);

impl Progress for Told {
    fn report(&self, _: &DatasetId, event: &ProgressEvent) {
        if let ProgressEvent::Started { kind, reason } = event {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push((*kind, *reason));
        }
    }
}

/// Runs once. Answers how the last load of the run began; the trail says the same.
async fn begun(world: &World, full: bool, delta_rows: u64) -> (LoadKind, Option<FullReason>) {
    let told = Arc::new(Told::default());
    let syncer = world.syncer().progress(Arc::clone(&told) as _).delta_rows(delta_rows).build();
    let run = if full { syncer.run_full(&world.spec).await } else { syncer.run(&world.spec).await };
    run.unwrap();
    let heard = told.0.lock().unwrap().clone();
    let events = world.store.events(&AuditFilter::default()).await.unwrap();
    let written: Vec<_> = events
        .iter()
        .filter_map(|entry| match &entry.event {
            AuditEvent::Started { kind, reason, .. } => Some((*kind, *reason)),
            _ => None,
        })
        .collect();
    assert!(written.ends_with(&heard), "{heard:?} {written:?}");
    *heard.last().unwrap()
}

#[tokio::test]
async fn a_full_load_says_why_it_is_none_of_changes() {
    let mut world = World::new();
    world.seed(40);
    let full = |reason| (LoadKind::Full, Some(reason));
    let many = 500_000;
    assert_eq!(begun(&world, false, many).await, full(FullReason::First));
    assert_eq!(begun(&world, false, many).await, (LoadKind::Delta, None));
    assert_eq!(begun(&world, true, many).await, full(FullReason::Requested));

    world.destination.place.lock().unwrap().datasource = None;
    assert_eq!(begun(&world, false, many).await, full(FullReason::TargetGone));
    world.destination.place.lock().unwrap().datasource.as_mut().unwrap().0 = "somebody else's".to_owned();
    assert_eq!(begun(&world, false, many).await, full(FullReason::OtherTarget));
    world.spec.target.datasource = "other".to_owned();
    world.destination.place.lock().unwrap().datasource = None;
    assert_eq!(begun(&world, false, many).await, full(FullReason::OtherTarget));

    *world.source.named_by.lock().unwrap() = "Alias";
    assert_eq!(begun(&world, false, many).await, full(FullReason::OtherColumns));
    world.spec.filter = Some("Num gt 0".to_owned());
    assert_eq!(begun(&world, false, many).await, full(FullReason::OtherSelection));
    *world.source.company.lock().unwrap() = "E2";
    assert_eq!(begun(&world, false, many).await, full(FullReason::OtherCompany));

    (1..=30).for_each(|num| world.source.table.lock().unwrap().put(num, "changed", num));
    assert_eq!(begun(&world, false, 19).await, full(FullReason::TooManyChanges));
    {
        let mut table = world.source.table.lock().unwrap();
        table.rows.retain(|_, row| row.revision <= 60);
        table.next = 60;
        table.put(500, "since", 1);
    }
    assert_eq!(begun(&world, false, many).await, full(FullReason::SourceRestored));
    assert_eq!(begun(&world, false, many).await, (LoadKind::Delta, None));
}

#[tokio::test]
async fn a_load_behind_one_that_was_refused_says_so_and_the_trail_keeps_the_hint() {
    let world = World::new();
    world.seed(5);
    world.run().await.unwrap();
    world.source.table.lock().unwrap().put(1, "changed", 1);
    *world.destination.refuse.lock().unwrap() = Some(DestinationErrorKind::Rejected);
    world.run().await.unwrap_err();
    *world.destination.refuse.lock().unwrap() = None;
    assert_eq!(begun(&world, false, 500_000).await, (LoadKind::Full, Some(FullReason::DeliveryUnknown)));

    world.source.fail_after.store(0, std::sync::atomic::Ordering::SeqCst);
    world.source.table.lock().unwrap().put(2, "changed", 1);
    let error = world.run().await.unwrap_err();
    let events = world.store.events(&AuditFilter::default()).await.unwrap();
    let AuditEvent::Failed { message, hint, .. } = &events.last().unwrap().event else { panic!("{events:?}") };
    assert_eq!(hint.as_deref(), error.hint());
    assert_eq!(*message, error.hint().map_or_else(|| error.to_string(), |hint| format!("{error}; {hint}")));
}

#[test]
fn a_trail_from_before_reasons_and_hints_were_noted_is_read_and_written_as_it_was() {
    for old in [
        r#"{"event":"started","kind":"full","company":"E1","after":null,"target":{"project":"P","datasource":"D"}}"#,
        r#"{"event":"failed","stage":"read","message":"gone; try again"}"#,
    ] {
        let event: AuditEvent = serde_json::from_str(old).unwrap();
        assert_eq!(serde_json::to_string(&event).unwrap(), old);
    }
    let reason = serde_json::to_string(&FullReason::SourceRestored).unwrap();
    assert_eq!(reason, "\"source_restored\"");
}
