//! What a comparison of everything finds, and what it refuses.

use std::sync::atomic::Ordering;

use kinetic_tableau_sync::*;

use super::world::World;

async fn reconcile(world: &World) -> Result<RunSummary, SyncError> {
    world.syncer().build().reconcile(&world.spec).await
}

#[tokio::test]
async fn what_change_tracking_cannot_see_is_found_landed_and_counted() {
    let world = World::new();
    world.seed(200);
    world.run().await.unwrap();
    {
        let mut table = world.source.table.lock().unwrap();
        // Far behind the checkpoint and its overlap: a missed row, a silent edit, deletes.
        table.rows.insert(900, super::world::Row { num: 900, name: "late".to_owned(), amount: 1, revision: 20 });
        let silent = table.rows.get_mut(&5).unwrap();
        (silent.name, silent.revision) = ("silent".to_owned(), 21);
        table.rows.get_mut(&6).unwrap().revision = 5;
        for gone in [20, 21, 199] {
            table.rows.remove(&gone);
        }
        // A normal change since the checkpoint is left to the next cycle.
        table.put(10, "changed", 1);
    }
    world.run().await.unwrap();
    assert_ne!(world.landed(), world.truth(), "a cycle sees none of that");
    // Row 6 went back to an older version, which only a restored database does.
    let whole = reconcile(&world).await.unwrap();
    assert_eq!((whole.kind, whole.findings), (Some(LoadKind::Full), None));
    assert_eq!(world.landed(), world.truth());
}

#[tokio::test]
async fn findings_say_what_the_tenant_does_not_tell() {
    let world = World::new();
    world.seed(200);
    world.run().await.unwrap();
    {
        let mut table = world.source.table.lock().unwrap();
        table.rows.insert(900, super::world::Row { num: 900, name: "late".to_owned(), amount: 1, revision: 20 });
        let silent = table.rows.get_mut(&5).unwrap();
        (silent.name, silent.revision) = ("silent".to_owned(), 21);
        table.rows.retain(|num, _| ![20, 21, 199].contains(num));
        table.put(10, "changed", 1);
    }
    let run = reconcile(&world).await.unwrap();
    let expected = Findings { listed: 197, missed: 1, silent: 1, gone: 3, deleted: 3, ..Findings::default() };
    assert_eq!(run.findings, Some(Findings { listed: 198, ..expected.clone() }));
    assert_eq!((run.counts.inserted, run.counts.updated, run.counts.deleted), (1, 1, 3));
    assert_eq!(run.landed_rows, 198);
    assert_eq!(world.landed().len(), 198);
    let deleted = AuditFilter { action: Some(Action::Delete), ..AuditFilter::default() };
    let deleted = world.store.records(&deleted).await.unwrap();
    assert!(deleted.iter().all(|record| record.landed && record.reason == "the source has it no more"));
    assert_eq!(deleted.len(), 3);

    // The cycle that follows lands the change, and a second comparison finds nothing.
    let next = world.run().await.unwrap();
    assert_eq!((next.counts.inserted, next.counts.updated), (0, 1));
    assert_eq!(world.landed(), world.truth());
    let clean = reconcile(&world).await.unwrap();
    assert!(clean.findings.as_ref().unwrap().is_clean(), "{:?}", clean.findings);
    assert_eq!(clean.counts.read, 0, "nothing has to be read again");
    assert_eq!(world.checkpoint().await.reconciled.unwrap().findings, clean.findings.unwrap());
    // A key that was deleted is new when it comes back.
    world.source.table.lock().unwrap().put(20, "back", 2);
    let back = world.run().await.unwrap();
    assert_eq!((back.counts.inserted, back.counts.updated), (1, 0));
    assert_eq!(world.landed(), world.truth());
}

#[tokio::test]
async fn a_row_that_a_listing_leaves_out_is_not_deleted_when_its_key_is_found() {
    let world = World::new();
    world.seed(200);
    world.run().await.unwrap();
    *world.source.overlooked.lock().unwrap() = [3, 77].into();
    world.source.table.lock().unwrap().rows.remove(&4);
    let run = reconcile(&world).await.unwrap();
    let findings = run.findings.unwrap();
    assert_eq!((findings.gone, findings.reappeared, findings.deleted), (3, 2, 1), "{findings:?}");
    assert_eq!(world.landed(), world.truth());
}

#[tokio::test]
async fn an_empty_cut_or_deaf_source_deletes_nothing() {
    let world = World::new();
    world.seed(200);
    world.run().await.unwrap();
    let before = world.landed();

    // More than a tenth would go.
    *world.source.overlooked.lock().unwrap() = (1..=21).collect();
    let findings = reconcile(&world).await.unwrap().findings.unwrap();
    assert!(findings.refused.as_ref().unwrap().contains("21 of 200 rows would go, more than 20"), "{findings:?}");
    assert_eq!(world.landed(), before);
    assert!(!findings.is_clean());

    // The listing ends in an error.
    world.source.overlooked.lock().unwrap().clear();
    world.source.fail_after.store(3, Ordering::SeqCst);
    assert_eq!(reconcile(&world).await.unwrap_err().stage(), Stage::Read);
    world.source.fail_after.store(-1, Ordering::SeqCst);
    assert_eq!(world.landed(), before);

    // A server that finds nothing by key is not believed.
    *world.source.overlooked.lock().unwrap() = [9].into();
    world.source.hidden.store(true, Ordering::SeqCst);
    let findings = reconcile(&world).await.unwrap().findings.unwrap();
    assert_eq!(findings.refused.as_deref(), Some("rows that are there are not found by their keys"));
    assert_eq!(world.landed(), before);
    world.source.hidden.store(false, Ordering::SeqCst);

    // Nothing at all: neither a comparison nor a cycle takes that for the truth.
    let rows = std::mem::take(&mut world.source.table.lock().unwrap().rows);
    for run in [reconcile(&world).await, world.run().await] {
        let error = run.unwrap_err();
        assert!(matches!(error.cause(), Cause::Loss(_)) && error.disposition() == Disposition::Operator, "{error}");
        assert!(error.hint().unwrap().contains("--full"));
        assert_eq!(world.landed(), before);
    }
    // Nor for most of it.
    world.source.overlooked.lock().unwrap().clear();
    world.source.table.lock().unwrap().rows = rows.into_iter().filter(|(num, _)| *num > 50).collect();
    let findings = reconcile(&world).await.unwrap().findings.unwrap();
    assert!(findings.refused.is_some() && findings.gone == 50, "{findings:?}");
    assert_eq!(world.landed(), before);
    // Unless somebody says so.
    let full = world.syncer().build().run_full(&world.spec).await.unwrap();
    assert_eq!(full.landed_rows, 150);
    assert_eq!(world.landed(), world.truth());
}

#[tokio::test]
async fn another_selection_of_rows_is_loaded_in_full() {
    let mut world = World::new();
    world.seed(30);
    world.run().await.unwrap();
    world.spec.filter = Some("Num gt 0".to_owned());
    assert_eq!(world.run().await.unwrap().kind, Some(LoadKind::Full), "rows may have fallen out of the filter");
    assert_eq!(world.run().await.unwrap().kind, Some(LoadKind::Delta));
}

#[tokio::test]
async fn another_company_or_another_column_under_the_same_name_is_loaded_in_full() {
    let world = World::new();
    world.seed(30);
    world.run().await.unwrap();
    // The same names and types, but other values in every row.
    *world.source.named_by.lock().unwrap() = "Alias";
    assert_eq!(world.run().await.unwrap().kind, Some(LoadKind::Full));
    assert!(world.landed().values().all(|row| row.starts_with("alias of ")), "{:?}", world.landed());
    *world.source.named_by.lock().unwrap() = "Name";
    assert_eq!(world.run().await.unwrap().kind, Some(LoadKind::Full));
    assert_eq!(world.landed(), world.truth());

    // Its numbers go on where those of the other one end, and most of its rows are older than the checkpoint.
    *world.source.company.lock().unwrap() = "E2";
    {
        let mut table = world.source.table.lock().unwrap();
        table.rows.retain(|num, _| *num > 10);
        table.rows.values_mut().for_each(|row| "of another company".clone_into(&mut row.name));
        table.put(90, "new", 1);
    }
    assert_eq!(world.run().await.unwrap().kind, Some(LoadKind::Full));
    assert_eq!(world.landed(), world.truth());
    assert_eq!(world.run().await.unwrap().kind, Some(LoadKind::Delta));
}

#[tokio::test]
async fn a_snapshot_lands_only_differences_and_sees_deletes() {
    let mut world = World::new();
    world.spec.track = Track::Snapshot;
    world.seed(200);
    assert_eq!(world.run().await.unwrap().kind, Some(LoadKind::Full));
    {
        let mut table = world.source.table.lock().unwrap();
        table.rows.get_mut(&7).unwrap().name = "edited".to_owned();
        table.rows.remove(&8);
        table.put(300, "new", 3);
    }
    let run = world.run().await.unwrap();
    assert_eq!(run.kind, Some(LoadKind::Delta));
    let Counts { inserted, updated, deleted, .. } = run.counts;
    assert_eq!((inserted, updated, deleted), (1, 1, 1), "{:?}", run.counts);
    assert_eq!(world.landed(), world.truth());
    let idle = world.run().await.unwrap();
    assert_eq!((idle.counts.unchanged, idle.counts.read, idle.counts.deleted), (200, 200, 0));
}

#[tokio::test]
async fn rows_that_went_back_are_noticed_as_well_where_whole_rows_are_compared() {
    for track in [Track::Snapshot, Track::Revision { column: "SysRevID".to_owned(), overlap: 3 }] {
        let mut world = World::new();
        (world.spec.track, world.spec.compare_rows) = (track, true);
        world.seed(50);
        world.source.table.lock().unwrap().put(7, "newest", 1);
        world.run().await.unwrap();
        {
            // Put back, and written to since, so that the head tells nothing.
            let mut table = world.source.table.lock().unwrap();
            let row = table.rows.get_mut(&7).unwrap();
            (row.name, row.revision) = ("as it was".to_owned(), 7);
            table.put(8, "since", 1);
        }
        let run = reconcile(&world).await.unwrap();
        assert_eq!(run.kind, Some(LoadKind::Full), "{:?}", world.spec.track);
        assert_eq!(world.landed(), world.truth());
    }
}

#[tokio::test]
async fn what_is_not_known_to_be_whole_is_not_called_so() {
    let world = World::new();
    world.seed(200);
    // A full load that was read two days before it could be delivered.
    *world.destination.refuse.lock().unwrap() = Some(DestinationErrorKind::Unavailable);
    world.run().await.unwrap_err();
    let read = world.checkpoint().await.intent.unwrap().at;
    *world.destination.refuse.lock().unwrap() = None;
    world.clock.advance(std::time::Duration::from_hours(48));
    world.run().await.unwrap();
    let whole_at = world.checkpoint().await.whole_at.unwrap();
    assert!(whole_at <= read, "{whole_at} > {read}");

    // A comparison that deletes nothing, since too much would go.
    world.source.table.lock().unwrap().rows.retain(|num, _| *num > 50);
    let findings = reconcile(&world).await.unwrap().findings.unwrap();
    let known = world.checkpoint().await;
    assert!(findings.refused.is_some() && known.reconciled.is_some());
    assert_eq!((known.whole_at, known.cycles), (Some(whole_at), 0), "a comparison is none of the cycles");
    world.syncer().build().run_full(&world.spec).await.unwrap();
    assert!(world.checkpoint().await.whole_at.unwrap() > whole_at);
}
