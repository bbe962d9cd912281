//! The process dies at every effect, before and after it; the next runs must make everything right.

use std::collections::BTreeMap;

use kinetic_tableau_sync::*;

use super::world::World;

/// Full load, changes, delta, with death at effect `nth` of them all. Answers whether it struck.
async fn life(nth: i64, after: bool, delta_rows: u64) -> bool {
    let mut world = World::new();
    world.seed(40);
    world.delta_rows = delta_rows;
    world.spec.refresh = vec![RefreshTarget::Task { id: "t".to_owned() }];
    world.fault.at(nth, after);

    let mut struck = live_until_landed(&world).await;
    {
        let mut table = world.source.table.lock().unwrap();
        (1..=9).for_each(|num| table.put(num, "changed", num));
        (80..=84).for_each(|num| table.put(num, "new", num));
    }
    struck |= live_until_landed(&world).await;
    // One more run, which must find nothing to do.
    let effects = world.destination.place.lock().unwrap().effects;
    struck |= live_until_landed(&world).await;
    world.fault.never();
    let idle = world.run().await.unwrap();
    assert_eq!((idle.counts.inserted, idle.counts.updated), (0, 0), "effect {nth}, after: {after}");
    assert_eq!(world.destination.place.lock().unwrap().effects, effects);

    let place = format!("effect {nth}, after: {after}");
    assert_eq!(world.landed(), world.truth(), "{place}");
    let checkpoint = world.checkpoint().await;
    assert_eq!(checkpoint.landed.unwrap().rows, world.truth().len() as u64, "{place}");
    assert!(checkpoint.intent.is_none() && checkpoint.pending_refresh.is_empty(), "{place}");
    assert!(world.destination.place.lock().unwrap().refreshes >= 2, "{place}");

    // Every row that Tableau shows has a landed record of the version it shows.
    let truth: BTreeMap<String, i64> = {
        let table = world.source.table.lock().unwrap();
        table.rows.values().map(|row| (format!(r#"["E1",{}]"#, row.num), row.revision)).collect()
    };
    assert_eq!(world.audited().await, truth, "{place}");
    // Each run has landed at most once, and each landed version of a row within a run has one record.
    let events = world.store.events(&AuditFilter::default()).await.unwrap();
    let mut landings: BTreeMap<String, u64> = BTreeMap::new();
    for entry in &events {
        if let AuditEvent::Landed { counts, .. } = &entry.event {
            assert!(counts.balance(), "{place}");
            *landings.entry(entry.run.to_string()).or_default() += 1;
        }
    }
    assert!(landings.values().all(|&times| times == 1), "{place}: {landings:?}");
    let records = world.store.records(&AuditFilter::default()).await.unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for record in records.iter().filter(|record| record.landed) {
        assert!(seen.insert((record.run.to_string(), record.key.clone(), record.version)), "{place}: doubled record");
    }
    assert_eq!(world.store.verify().await.unwrap().first_broken, None);
    struck
}

/// Runs again after each death, until a run ends well.
async fn live_until_landed(world: &World) -> bool {
    let mut struck = false;
    for _ in 0..6 {
        let ended = world.run().await;
        if world.fault.has_struck() {
            struck = true;
            // What is visible at any moment is a whole state, never half of one.
            let landed = world.landed();
            assert!(landed.is_empty() || (40..=45).contains(&landed.len()), "{} rows are visible", landed.len());
            world.fault.never();
            continue;
        }
        if ended.is_ok() {
            return struck;
        }
    }
    panic!("six runs were not enough");
}

#[tokio::test]
async fn dying_at_any_effect_loses_nothing_and_doubles_nothing() {
    // In one load, and split in several.
    for (after, delta_rows) in [(false, 500_000), (true, 500_000), (false, 4), (true, 4)] {
        let mut deaths = 0;
        for nth in 1.. {
            if !life(nth, after, delta_rows).await {
                break;
            }
            deaths += 1;
        }
        assert!(deaths >= 18, "only {deaths} effects were found to die at");
    }
}

#[tokio::test]
async fn dropping_the_run_anywhere_is_as_harmless() {
    // Drops the future at its nth suspension.
    for polls in 0..60 {
        let world = World::new();
        world.seed(40);
        for _ in 0..2 {
            let syncer = world.syncer().build();
            let mut run = Box::pin(syncer.run(&world.spec));
            for _ in 0..polls {
                if futures_util::future::poll_immediate(&mut run).await.is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(run);
            // The lease of the dead run lapses.
            world.clock.advance(std::time::Duration::from_secs(61));
            world.source.table.lock().unwrap().put(3, "changed", polls);
        }
        world.run().await.unwrap();
        assert_eq!(world.landed(), world.truth(), "dropped after {polls} polls");
    }
}

#[tokio::test]
async fn a_stop_ends_a_run_at_once_gives_the_lease_back_and_loses_nothing() {
    let world = World::new();
    world.seed(40);
    let stop = Stop::new();
    let there = stop.clone();
    *world.source.hook.lock().unwrap() = Some(Box::new(move |_, page| {
        if page == 3 {
            there.now();
        }
    }));
    let stopped = world.syncer().stop(&stop).build().run(&world.spec).await.unwrap_err();
    assert!(matches!(stopped.cause(), Cause::Stopped), "{stopped}");
    assert!(world.landed().is_empty());
    assert_eq!(world.checkpoint().await.failures, 0, "it is no failure");
    let refused = world.syncer().stop(&stop).build().run(&world.spec).await.unwrap_err();
    assert!(matches!(refused.cause(), Cause::Stopped));
    *world.source.hook.lock().unwrap() = None;
    // At once: nobody has to wait until a lease lapses.
    world.run().await.unwrap();
    assert_eq!(world.landed(), world.truth());
}
