//! What one run does, step by step.

use kinetic_tableau_sync::*;

use super::world::World;

#[tokio::test]
async fn the_first_run_is_full_and_the_next_lands_only_what_changed() {
    let world = World::new();
    world.seed(50);
    let first = world.run().await.unwrap();
    assert_eq!(first.kind, Some(LoadKind::Full));
    assert_eq!(first.counts, Counts { read: 50, inserted: 50, ..Counts::default() });
    assert_eq!(world.landed(), world.truth());

    {
        let mut table = world.source.table.lock().unwrap();
        table.put(7, "renamed", 1);
        table.put(99, "new", 2);
    }
    let second = world.run().await.unwrap();
    assert_eq!(second.kind, Some(LoadKind::Delta));
    // Three revisions are read again: one of them is the old place of nothing, since only 48 to 50 lie in the overlap.
    assert_eq!(second.counts, Counts { read: 5, inserted: 1, updated: 1, unchanged: 3, ..Counts::default() });
    assert_eq!(second.landed_rows, 51);
    assert_eq!(world.landed(), world.truth());
    assert_eq!(world.destination.place.lock().unwrap().effects, 2);
    let records = world.store.records(&AuditFilter { run: Some(second.run), ..AuditFilter::default() }).await.unwrap();
    let found: Vec<_> = records.iter().map(|record| (record.key.as_str(), record.action, record.landed)).collect();
    assert_eq!(found, [(r#"["E1",7]"#, Action::Update, true), (r#"["E1",99]"#, Action::Insert, true)]);
    assert_eq!(records[0].dimensions, [("Name".to_owned(), "renamed".to_owned())]);
}

#[tokio::test]
async fn a_run_without_changes_lands_nothing() {
    let world = World::new();
    world.seed(10);
    world.run().await.unwrap();
    let idle = world.run().await.unwrap();
    assert_eq!(idle.counts, Counts { read: 3, unchanged: 3, ..Counts::default() });
    assert_eq!(world.destination.place.lock().unwrap().effects, 1);
    let events = world.store.events(&AuditFilter { run: Some(idle.run), ..AuditFilter::default() }).await.unwrap();
    assert!(matches!(events.last().unwrap().event, AuditEvent::Idle { .. }), "{events:?}");
}

#[tokio::test]
async fn an_empty_source_lands_an_empty_table_once() {
    let world = World::new();
    let first = world.run().await.unwrap();
    assert_eq!((first.kind, first.landed_rows), (Some(LoadKind::Full), 0));
    assert!(world.destination.place.lock().unwrap().datasource.is_some());
    world.run().await.unwrap();
    assert_eq!(world.destination.place.lock().unwrap().effects, 1);
    world.seed(3);
    world.run().await.unwrap();
    assert_eq!(world.landed(), world.truth());
}

#[tokio::test]
async fn rows_that_move_while_a_full_load_reads_are_caught_up_with() {
    let world = World::new();
    world.seed(60);
    *world.source.hook.lock().unwrap() = Some(Box::new(|table, page| {
        // Rows that were read, rows that were not, and new ones move to the end of the order.
        if page <= 8 {
            let page = i64::try_from(page).unwrap();
            table.put(page, "read before", page);
            table.put(61 - page, "not read yet", page);
            table.put(100 + page, "new", page);
        }
    }));
    let run = world.run().await.unwrap();
    assert_eq!(run.kind, Some(LoadKind::Full));
    assert!(run.counts.balance() && run.counts.superseded > 0, "{:?}", run.counts);
    assert_eq!(run.landed_rows, world.truth().len() as u64);
    assert_eq!(world.landed(), world.truth());
}

#[tokio::test]
async fn rows_that_move_while_a_delta_reads_come_with_the_next() {
    let world = World::new();
    world.seed(60);
    world.run().await.unwrap();
    {
        let mut table = world.source.table.lock().unwrap();
        (1..=30).for_each(|num| table.put(num, "changed", num));
    }
    let start = world.source.pages.load(std::sync::atomic::Ordering::SeqCst);
    *world.source.hook.lock().unwrap() = Some(Box::new(move |table, page| {
        if page == start + 1 {
            table.put(29, "moved", 1);
            table.put(1, "moved too", 1);
        }
    }));
    world.run().await.unwrap();
    world.run().await.unwrap();
    assert_eq!(world.landed(), world.truth());
}

#[tokio::test]
async fn a_late_commit_within_the_overlap_is_found() {
    let world = World::new();
    world.seed(20);
    // Revision 21 is taken, but not visible yet, when revision 22 is read.
    {
        let mut table = world.source.table.lock().unwrap();
        table.next = 21;
        table.put(40, "early", 1);
    }
    world.run().await.unwrap();
    {
        let mut table = world.source.table.lock().unwrap();
        table.next = 20;
        table.put(41, "late", 1);
        table.next = 22;
    }
    world.run().await.unwrap();
    assert_eq!(world.landed(), world.truth());
}

#[tokio::test]
async fn another_content_of_the_same_version_is_no_late_commit() {
    let world = World::new();
    world.seed(20);
    world.run().await.unwrap();
    // A column that is looked up in another table; and a row that does come late.
    world.source.table.lock().unwrap().rows.get_mut(&18).unwrap().name = "looked up".to_owned();
    let run = world.run().await.unwrap();
    assert_eq!((run.counts.updated, run.counts.late), (1, 0));
    assert_eq!(world.checkpoint().await.late_by, 0, "the overlap does not widen with each of them");
    {
        let mut table = world.source.table.lock().unwrap();
        table.next = 18;
        table.put(1, "late", 1);
        table.next = 20;
    }
    let run = world.run().await.unwrap();
    assert_eq!((run.counts.late, run.counts.late_by), (1, 1));
    assert_eq!(world.landed(), world.truth());
}

#[tokio::test]
async fn too_many_changes_become_a_full_load() {
    let world = World::new();
    world.seed(40);
    world.run().await.unwrap();
    {
        let mut table = world.source.table.lock().unwrap();
        (1..=30).for_each(|num| table.put(num, "changed", num));
    }
    let run = world.syncer().delta_rows(19).build().run(&world.spec).await.unwrap();
    assert_eq!(run.kind, Some(LoadKind::Full));
    assert_eq!(world.landed(), world.truth());

    world.source.table.lock().unwrap().put(1, "again", 1);
    world.destination.most_delta_rows.store(0, std::sync::atomic::Ordering::SeqCst);
    let run = world.run().await.unwrap();
    assert_eq!(run.kind, Some(LoadKind::Full));
    assert_eq!(world.landed(), world.truth());
    // The records of what was given up never count as landed.
    let truth = world
        .source
        .table
        .lock()
        .unwrap()
        .rows
        .values()
        .map(|row| (format!(r#"["E1",{}]"#, row.num), row.revision))
        .collect();
    assert_eq!(world.audited().await, truth);
}

#[tokio::test]
async fn many_changes_land_in_several_loads_in_their_order() {
    let mut world = World::new();
    world.seed(200);
    world.run().await.unwrap();
    world.delta_rows = 15;
    world.spec.refresh = vec![RefreshTarget::Task { id: "t".to_owned() }];
    {
        let mut table = world.source.table.lock().unwrap();
        (1..=70).for_each(|num| table.put(num, "changed", num));
        (300..=309).for_each(|num| table.put(num, "new", num));
    }
    let run = world.run().await.unwrap();
    assert_eq!((run.kind, run.counts.updated, run.counts.inserted), (Some(LoadKind::Delta), 70, 10));
    assert!(run.counts.balance());
    assert_eq!((world.landed(), run.landed_rows), (world.truth(), 210));
    let place = world.destination.place.lock().unwrap();
    assert!(place.effects >= 5, "{} loads", place.effects - 1);
    assert_eq!(place.refreshes, 1, "once, behind the last load");
}

#[tokio::test]
async fn the_trail_counts_each_row_once_where_the_last_of_several_loads_has_nothing_to_land() {
    let mut world = World::new();
    world.seed(200);
    world.run().await.unwrap();
    world.delta_rows = 9;
    // Two pages with the three rows of the overlap: the load ends with the very last row.
    (1..=11).for_each(|num| world.source.table.lock().unwrap().put(num, "changed", num));
    let run = world.run().await.unwrap();
    assert_eq!((run.counts.updated, run.counts.read), (11, 17));
    let events = world.store.events(&AuditFilter::default()).await.unwrap();
    let told = events.iter().filter_map(|entry| match &entry.event {
        AuditEvent::Landed { counts, .. } | AuditEvent::Idle { counts, .. } => Some(*counts),
        _ => None,
    });
    let told = told.skip(1).fold(Counts::default(), Counts::and);
    assert_eq!(told, run.counts);
}

#[tokio::test]
async fn another_target_or_a_replaced_datasource_gets_a_full_load() {
    let mut world = World::new();
    world.seed(5);
    world.run().await.unwrap();
    world.destination.place.lock().unwrap().datasource.as_mut().unwrap().0 = "somebody else's".to_owned();
    assert_eq!(world.run().await.unwrap().kind, Some(LoadKind::Full));
    world.destination.place.lock().unwrap().datasource = None;
    assert_eq!(world.run().await.unwrap().kind, Some(LoadKind::Full));
    world.spec.target.datasource = "other".to_owned();
    assert_eq!(world.run().await.unwrap().kind, Some(LoadKind::Full));
    assert_eq!(world.run().await.unwrap().kind, Some(LoadKind::Delta));
}

#[tokio::test]
async fn a_source_that_was_put_back_gets_a_full_load() {
    let world = World::new();
    world.seed(30);
    world.run().await.unwrap();
    {
        let mut table = world.source.table.lock().unwrap();
        table.rows.retain(|_, row| row.revision <= 22);
        table.next = 22;
        table.put(500, "since", 1);
    }
    assert_eq!(world.run().await.unwrap().kind, Some(LoadKind::Full));
    assert_eq!(world.landed(), world.truth());
}

#[tokio::test]
async fn rows_that_a_full_load_takes_away_are_told_in_the_trail() {
    let mut world = World::new();
    world.seed(200);
    world.run().await.unwrap();
    let deleted = async |world: &World| {
        let filter = AuditFilter { action: Some(Action::Delete), ..AuditFilter::default() };
        let records = world.store.records(&filter).await.unwrap();
        let told = records.into_iter().map(|record| (record.key, record.landed, record.reason));
        told.collect::<Vec<_>>()
    };
    for num in [7, 150] {
        world.source.table.lock().unwrap().rows.remove(&num);
    }
    let run = world.syncer().build().run_full(&world.spec).await.unwrap();
    assert_eq!((run.counts.inserted, run.counts.deleted), (198, 0), "the load is whole, and deletes nothing by key");
    let told = deleted(&world).await;
    let keys: Vec<&str> = told.iter().map(|(key, ..)| key.as_str()).collect();
    assert_eq!(keys, [r#"["E1",150]"#, r#"["E1",7]"#]);
    assert!(told.iter().all(|(_, landed, reason)| *landed && reason.contains("not in the full load")), "{told:?}");
    // Once, and not for rows of another target.
    world.syncer().build().run_full(&world.spec).await.unwrap();
    world.spec.target.datasource = "other".to_owned();
    world.source.table.lock().unwrap().rows.remove(&9);
    world.run().await.unwrap();
    assert_eq!(deleted(&world).await.len(), 2);
    // What is refused for having too few rows takes nothing away.
    world.source.table.lock().unwrap().rows.retain(|num, _| *num < 20);
    world.destination.place.lock().unwrap().datasource = None;
    let refused = world.run().await.unwrap_err();
    assert!(matches!(refused.cause(), Cause::Loss(_)), "{refused}");
    assert_eq!(deleted(&world).await.len(), 2);
    assert_eq!(world.store.verify().await.unwrap().first_broken, None);
}

#[tokio::test]
async fn a_refused_load_is_given_up_and_the_next_is_full() {
    let world = World::new();
    world.seed(5);
    world.run().await.unwrap();
    world.source.table.lock().unwrap().put(1, "changed", 1);
    *world.destination.refuse.lock().unwrap() = Some(DestinationErrorKind::Rejected);
    let error = world.run().await.unwrap_err();
    assert_eq!(
        (error.stage(), error.disposition()),
        (Stage::Publish, Disposition::Reconcile { after: std::time::Duration::from_secs(15) })
    );
    let checkpoint = world.checkpoint().await;
    assert!(checkpoint.intent.is_none() && checkpoint.failures == 1);
    assert!(checkpoint.last_run.unwrap().error.unwrap().contains("refused"));
    *world.destination.refuse.lock().unwrap() = None;
    assert_eq!(world.run().await.unwrap().kind, Some(LoadKind::Full));
    assert_eq!(world.landed(), world.truth());
}

#[tokio::test]
async fn a_destination_that_cannot_be_reached_gets_the_same_load_later() {
    let world = World::new();
    world.seed(5);
    *world.destination.refuse.lock().unwrap() = Some(DestinationErrorKind::Unavailable);
    let error = world.run().await.unwrap_err();
    assert!(matches!(error.disposition(), Disposition::Retry { .. }));
    let intent = world.checkpoint().await.intent.expect("the sealed load waits");
    *world.destination.refuse.lock().unwrap() = None;
    world.run().await.unwrap();
    let events = world.store.events(&AuditFilter { run: Some(intent.run), ..AuditFilter::default() }).await.unwrap();
    assert!(events.iter().any(|entry| matches!(entry.event, AuditEvent::Landed { .. })), "under its own run");
    assert_eq!(world.landed(), world.truth());
    assert!(world.destination.place.lock().unwrap().sealed.is_empty(), "nothing is left in the spool");
}

#[tokio::test]
async fn a_read_that_breaks_off_lands_nothing() {
    let world = World::new();
    world.seed(50);
    world.source.fail_after.store(3, std::sync::atomic::Ordering::SeqCst);
    let error = world.run().await.unwrap_err();
    assert_eq!(error.stage(), Stage::Read);
    assert!(world.landed().is_empty());
    assert_eq!(world.checkpoint().await.cursor, None);
    world.run().await.unwrap();
    assert_eq!(world.landed(), world.truth());
}

#[tokio::test]
async fn a_refresh_that_fails_stays_due_and_lands_nothing_again() {
    let mut world = World::new();
    world.seed(5);
    let workbook = RefreshTarget::Workbook { project: "Finance".to_owned(), name: "AP".to_owned() };
    world.spec.refresh = vec![workbook.clone()];
    *world.destination.refresh_outcome.lock().unwrap() = RefreshOutcome::Failed("no licence".to_owned());
    let run = world.run().await.unwrap();
    assert!(!run.refreshes[0].outcome.is_settled());
    assert_eq!(world.checkpoint().await.pending_refresh, [workbook]);
    *world.destination.refresh_outcome.lock().unwrap() = RefreshOutcome::Succeeded;
    let run = world.run().await.unwrap();
    assert_eq!(run.refreshes.len(), 1);
    assert!(world.checkpoint().await.pending_refresh.is_empty());
    world.run().await.unwrap();
    let place = world.destination.place.lock().unwrap();
    assert_eq!((place.effects, place.refreshes), (1, 2));
}

#[tokio::test]
async fn two_workers_do_not_run_one_dataset_at_once() {
    let world = World::new();
    world.seed(5);
    let held = world.store.lease(&world.spec.id, "another", std::time::Duration::from_mins(1)).await.unwrap();
    let error = world.run().await.unwrap_err();
    assert_eq!(error.stage(), Stage::Lease);
    assert!(error.to_string().contains("another"), "{error}");
    world.store.release(&held).await.unwrap();
    world.run().await.unwrap();
}
