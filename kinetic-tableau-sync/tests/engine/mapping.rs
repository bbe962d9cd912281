//! Rows that cannot be mapped, and columns that are not what they were.

use kinetic_tableau_sync::*;

use super::world::{Row, World};

/// Hundredths that the amount column, a decimal of twelve digits, does not hold.
const TOO_MUCH: i64 = 10_000_000_000_000;

async fn rejects(world: &World) -> Vec<Reject> {
    world.store.rejects(&world.spec.id, None, 100).await.unwrap()
}

async fn reject_records(world: &World) -> Vec<AuditRecord> {
    let filter = AuditFilter { action: Some(Action::Reject), ..AuditFilter::default() };
    world.store.records(&filter).await.unwrap()
}

fn put(world: &World, num: i64, amount: i64) {
    world.source.table.lock().unwrap().put(num, "bad or not", amount);
}

/// What Tableau must show when rows that are too large are left out.
fn mappable(world: &World) -> std::collections::BTreeMap<String, String> {
    let mut rows = world.truth();
    rows.retain(|_, text| text.rsplit('|').next().unwrap().parse::<i64>().unwrap() < TOO_MUCH);
    rows
}

#[tokio::test]
async fn unless_allowed_the_first_row_that_cannot_be_mapped_stops_the_run_and_is_kept() {
    let world = World::new();
    world.seed(20);
    put(&world, 21, TOO_MUCH);
    let error = world.run().await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Rejected { .. }), "{error}");
    assert!(error.to_string().contains("Amount: number does not fit the column; 1 rejected, 0 allowed"), "{error}");
    assert!(error.hint().unwrap().contains("wider type"), "{:?}", error.hint());
    assert_eq!(error.disposition(), Disposition::Operator);
    assert!(world.landed().is_empty(), "nothing half landed");
    let [reject] = &rejects(&world).await[..] else { panic!("{:?}", rejects(&world).await) };
    assert_eq!((reject.key.as_str(), reject.version, reject.column.as_str()), (r#"["E1",21]"#, 21, "Amount"));
    assert!(reject.raw.contains("100000000000.00"), "the row is kept as it was sent: {}", reject.raw);
    assert_eq!(reject_records(&world).await.len(), 1);

    put(&world, 21, 5);
    world.run().await.unwrap();
    assert_eq!(world.landed(), world.truth());
    assert_eq!(rejects(&world).await, []);
}

#[tokio::test]
async fn allowed_rejects_are_counted_audited_once_and_land_when_they_are_mended() {
    let mut world = World::new();
    world.spec.max_rejects = 2;
    world.seed(20);
    put(&world, 21, TOO_MUCH);
    let full = world.run().await.unwrap();
    assert_eq!((full.counts.read, full.counts.inserted, full.counts.rejected), (21, 20, 1));
    assert!(full.counts.balance());
    assert_eq!(world.landed(), mappable(&world));
    // The overlap reads it again, and once more it is rejected; the trail tells of it once.
    let idle = world.run().await.unwrap();
    assert_eq!(idle.counts.rejected, 1);
    let [record] = &reject_records(&world).await[..] else { panic!("{:?}", reject_records(&world).await) };
    assert_eq!((record.landed, record.reason.as_str()), (false, "Amount: number does not fit the column"));

    // A row that has landed becomes one that cannot be mapped: what has landed stays, also by a comparison.
    put(&world, 3, TOO_MUCH);
    let before = world.landed();
    assert_eq!(world.run().await.unwrap().counts.rejected, 2);
    let compared = world.syncer().build().reconcile(&world.spec).await.unwrap();
    assert_eq!(compared.findings.as_ref().unwrap().deleted, 0, "{compared:?}");
    assert_eq!(world.landed(), before);
    assert_eq!(rejects(&world).await.len(), 2);

    put(&world, 21, 7);
    let mended = world.run().await.unwrap();
    assert_eq!((mended.counts.inserted, mended.counts.rejected), (1, 1), "the overlap still sees the other one");
    assert_eq!(rejects(&world).await.len(), 1);
    // Gone from the source: gone from the target and from the rejects.
    world.source.table.lock().unwrap().rows.remove(&3);
    world.syncer().build().reconcile(&world.spec).await.unwrap();
    assert_eq!(rejects(&world).await, []);
    assert_eq!(world.landed(), world.truth());
}

#[tokio::test]
async fn more_rejects_than_allowed_stop_a_delta_without_a_trace_in_the_target() {
    let mut world = World::new();
    world.spec.max_rejects = 1;
    world.seed(20);
    world.run().await.unwrap();
    let before = world.landed();
    put(&world, 1, TOO_MUCH);
    put(&world, 2, 4);
    put(&world, 3, TOO_MUCH);
    let error = world.run().await.unwrap_err();
    assert!(error.to_string().contains("2 rejected, 1 allowed"), "{error}");
    assert_eq!(world.landed(), before);
    assert_eq!(rejects(&world).await.len(), 2);
}

#[tokio::test]
async fn rejected_rows_are_replayed_by_their_keys() {
    let mut world = World::new();
    world.spec.max_rejects = 5;
    world.seed(40);
    for num in [2, 3, 4] {
        world.source.table.lock().unwrap().rows.get_mut(&num).unwrap().amount = TOO_MUCH;
    }
    world.run().await.unwrap();
    assert_eq!(rejects(&world).await.len(), 3);
    {
        // Far behind the checkpoint, and without a new version.
        let mut table = world.source.table.lock().unwrap();
        table.rows.get_mut(&2).unwrap().amount = 1;
        table.rows.remove(&3);
    }
    assert_eq!(world.run().await.unwrap().counts.inserted, 0, "no change tells of it");
    let replayed = world.syncer().build().replay(&world.spec).await.unwrap();
    assert_eq!((replayed.counts.inserted, replayed.counts.rejected), (1, 1));
    assert_eq!(world.landed(), mappable(&world));
    let left: Vec<String> = rejects(&world).await.into_iter().map(|reject| reject.key).collect();
    assert_eq!(left, [r#"["E1",4]"#], "what is gone is rejected no more");
    assert_eq!((replayed.counts.late, world.checkpoint().await.late_by), (0, 0), "no transaction was late");
}

#[tokio::test]
async fn a_row_that_a_run_reads_twice_is_one_reject() {
    // A full load that catches up with what moves meanwhile.
    let mut world = World::new();
    world.spec.max_rejects = 1;
    world.seed(20);
    put(&world, 21, TOO_MUCH);
    *world.source.hook.lock().unwrap() = Some(Box::new(|table, page| {
        if page == 2 {
            table.put(3, "moved", 1);
        }
    }));
    let full = world.run().await.unwrap();
    assert_eq!((full.counts.rejected, full.counts.balance()), (2, true), "read twice");
    assert_eq!(reject_records(&world).await.len(), 1);

    // A replay, and the overlap behind it.
    put(&world, 22, 1);
    world.syncer().build().replay(&world.spec).await.unwrap();
    assert_eq!(world.landed(), mappable(&world));

    // Changes in several loads, with the row where one of them ends.
    let mut world = World::new();
    world.spec.max_rejects = 1;
    world.seed(200);
    world.run().await.unwrap();
    (1..=40).for_each(|num| put(&world, num, if num == 10 { TOO_MUCH } else { num }));
    world.delta_rows = 9;
    let before = world.destination.place.lock().unwrap().effects;
    let split = world.run().await.unwrap();
    assert!(world.destination.place.lock().unwrap().effects > before + 1 && split.counts.rejected > 1, "{split:?}");
    assert_eq!(rejects(&world).await.len(), 1);
    // Another one is one too many, wherever it comes.
    (1..=40).for_each(|num| put(&world, num, if [10, 35].contains(&num) { TOO_MUCH } else { num + 1 }));
    let error = world.run().await.unwrap_err();
    assert!(error.to_string().contains("2 rejected, 1 allowed"), "{error}");
}

#[tokio::test]
async fn a_row_that_is_mended_while_a_full_load_reads_is_rejected_no_more() {
    let mut world = World::new();
    world.spec.max_rejects = 1;
    world.seed(40);
    for num in [2, 30] {
        world.source.table.lock().unwrap().rows.get_mut(&num).unwrap().amount = TOO_MUCH;
    }
    *world.source.hook.lock().unwrap() = Some(Box::new(|table, page| {
        if page == 2 {
            table.put(2, "mended", 1);
            table.put(30, "mended", 1);
        }
    }));
    world.run().await.unwrap();
    assert_eq!(world.landed(), world.truth());
    assert_eq!(rejects(&world).await, []);
}

#[tokio::test]
async fn a_replay_that_finds_nothing_forgets_nothing() {
    let mut world = World::new();
    world.spec.max_rejects = 1;
    world.seed(40);
    world.source.table.lock().unwrap().rows.get_mut(&2).unwrap().amount = TOO_MUCH;
    world.run().await.unwrap();
    let replay = async || world.syncer().build().replay(&world.spec).await.unwrap();
    world.source.hidden.store(true, std::sync::atomic::Ordering::SeqCst);
    replay().await;
    assert_eq!(rejects(&world).await.len(), 1, "a source that answers nothing to any key is not believed");
    world.source.hidden.store(false, std::sync::atomic::Ordering::SeqCst);
    world.source.table.lock().unwrap().rows.remove(&2);
    replay().await;
    assert_eq!(rejects(&world).await, [], "the only one is gone, and others are found");
    assert_eq!(world.landed(), world.truth());
}

/// A life with rejects, with death at effect `nth`. Answers whether it struck.
async fn life(nth: i64, after: bool) -> bool {
    let mut world = World::new();
    world.spec.max_rejects = 9;
    world.seed(15);
    put(&world, 16, TOO_MUCH);
    put(&world, 17, TOO_MUCH);
    world.fault.at(nth, after);
    let mut struck = false;
    for step in 0..3 {
        if step == 1 {
            put(&world, 16, 3);
            put(&world, 5, TOO_MUCH);
            put(&world, 6, 8);
        }
        for _ in 0..20 {
            if world.run().await.is_ok() {
                break;
            }
            struck |= world.fault.has_struck();
            world.fault.never();
        }
    }
    world.fault.never();
    world.run().await.unwrap();
    let place = format!("effect {nth}, after: {after}");
    let mut expected = mappable(&world);
    expected.insert("E1|5".to_owned(), "vendor 5|505".to_owned());
    assert_eq!(world.landed(), expected, "{place}");
    let left: Vec<String> = rejects(&world).await.into_iter().map(|reject| reject.key).collect();
    assert_eq!(left, [r#"["E1",17]"#, r#"["E1",5]"#], "{place}");
    struck
}

#[tokio::test]
async fn death_at_any_effect_loses_no_reject() {
    let mut died = 0;
    for after in [false, true] {
        let mut nth = 1;
        while life(nth, after).await {
            nth += 1;
        }
        died += nth - 1;
    }
    assert!(died > 20, "{died} deaths");
}

#[tokio::test]
async fn a_mapping_names_replaces_and_adds_and_another_one_is_a_full_load() {
    let mut world = World::new();
    world.seed(10);
    world.spec.mapping.rename.insert("Name".to_owned(), "Vendor".to_owned());
    world.spec.mapping.derived.push(DerivedColumn {
        name: "Label".to_owned(),
        kind: ColumnType::Text,
        from: Derive::Template("{Company}/{Num}".to_owned()),
    });
    world.run().await.unwrap();
    assert_eq!(world.run().await.unwrap().kind, Some(LoadKind::Delta));
    let landed = world.checkpoint().await.landed.unwrap().schema.unwrap();
    let names: Vec<String> = landed.landed().map(|(_, column)| column.name.clone()).collect();
    assert_eq!(names, ["Company", "Num", "Vendor", "Amount", "Label"]);

    let Some(label) = world.spec.mapping.derived.first_mut() else { unreachable!() };
    label.from = Derive::Template("{Num}".to_owned());
    assert_eq!(world.run().await.unwrap().kind, Some(LoadKind::Full), "all rows have another value");
    world.spec.mapping.rename.insert("Amoun".to_owned(), "X".to_owned());
    let error = world.run().await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Mapping { .. }), "{error}");
    assert_eq!((error.stage(), error.hint()), (Stage::Schema, Some("did you mean Amount?")));
}

#[tokio::test]
async fn a_null_that_the_mapping_rejects_is_a_rejected_row() {
    let mut world = World::new();
    world.seed(3);
    world.spec.max_rejects = 3;
    world.spec.mapping.nulls.insert("Amount".to_owned(), OnNull::Reject);
    // The table of this world holds no nulls; a derived column that does not fit shows the same way.
    world.spec.mapping.derived.push(DerivedColumn {
        name: "N".to_owned(),
        kind: ColumnType::Int32,
        from: Derive::Coalesce(vec!["Name".to_owned()]),
    });
    world.source.table.lock().unwrap().rows.insert(4, Row { num: 4, name: "77".to_owned(), amount: 1, revision: 4 });
    let run = world.run().await.unwrap();
    assert_eq!((run.counts.inserted, run.counts.rejected), (1, 3));
    assert!(rejects(&world).await.iter().all(|reject| reject.column == "N"));
}

#[tokio::test]
async fn a_source_that_does_not_tell_its_columns_cannot_be_watched_for_drift() {
    let mut world = World::new();
    world.seed(3);
    world.spec.drift.changed = ChangedType::Stop;
    let error = world.run().await.unwrap_err();
    assert_eq!(error.hint(), Some("leave `drift` out"));
}
