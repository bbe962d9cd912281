//! What goes wrong on the way: cut pages, lost answers, ended sessions, a dead engine.

use kinetic_tableau_sync::LoadKind;
use simulators::faults::{Effect, Fault};
use simulators::kinetic::KineticSim;
use simulators::tableau::TableauSim;

use super::support::{World, invoices, orders, vendors};

fn status(status: u16) -> Effect {
    Effect::Status { status, body: String::new(), retry_after: None }
}

#[tokio::test]
async fn faults_while_reading_lose_and_double_nothing() {
    let effects = [
        status(503),
        Effect::Html(502),
        Effect::DropBefore,
        Effect::DropAfter,
        Effect::CutBody(700),
        Effect::CutQuietly(700),
    ];
    for effect in effects {
        for nth in [1, 2, 4] {
            let world = World::new().await;
            world.kinetic.faults().push(Fault::on("APInvoiceSvc/APInvoices?", effect.clone()).nth(nth));
            let spec = invoices();
            // What the client does not mend by itself, the next run does.
            if world.run(&spec).await.is_err() {
                assert!(!world.target_is_there(&spec).await, "nothing half landed: {effect:?} at {nth}");
                world.run(&spec).await.unwrap();
            }
            world.assert_landed(&spec).await;
        }
    }
}

#[tokio::test]
async fn tokens_that_end_between_pages_are_renewed() {
    let kinetic = KineticSim::builder().switches(|switches| switches.token_uses = 3);
    let world = World::with(kinetic, TableauSim::builder()).await;
    let spec = invoices();
    world.run(&spec).await.unwrap();
    world.assert_landed(&spec).await;
    assert!(world.kinetic.faults().count("TokenResource.svc") > 2);
}

#[tokio::test]
async fn lost_answers_while_landing_land_once() {
    let points = [
        "POST /api/3.29/auth/signin",
        "/projects",
        "POST /api/3.29/sites/", // the first write there: a project, then the publish
        "/datasources?overwrite",
        "/jobs/",
        "/data?uploadSessionId",
        "/fileUploads",
        "/datasources?pageSize",
        "/connections",
    ];
    for point in points {
        for effect in [Effect::DropBefore, Effect::DropAfter, status(503)] {
            let world = World::new().await;
            let spec = vendors();
            for cycle in 0..2 {
                world.tableau.faults().push(Fault::on(point, effect.clone()));
                let mut attempts = 0;
                while let Err(error) = world.run(&spec).await {
                    attempts += 1;
                    assert!(attempts < 4, "{point} {effect:?} in cycle {cycle}: {error}");
                }
                world.tableau.faults().clear();
                world.assert_landed(&spec).await;
                world.kinetic.random_changes("Vendors", 8, cycle + 1);
            }
            let run = world.run(&spec).await.unwrap();
            assert_eq!(run.kind, Some(LoadKind::Delta));
            world.assert_landed(&spec).await;
            // Each landed version of each row has one record.
            assert_eq!(world.audited(&spec).await as u64, 50 + changes(&world, &spec).await);
        }
    }
}

/// How many rows deltas have landed, by the audit's own events.
async fn changes(world: &World, spec: &kinetic_tableau_sync::DatasetSpec) -> u64 {
    use kinetic_tableau_sync::{AuditEvent, AuditFilter, AuditStore as _};
    let filter = AuditFilter { dataset: Some(spec.id.clone()), ..AuditFilter::default() };
    let events = world.store.events(&filter).await.unwrap();
    let landed = events.iter().filter_map(|entry| match &entry.event {
        AuditEvent::Landed { counts, .. } => Some(counts.inserted + counts.updated),
        _ => None,
    });
    landed.sum::<u64>() - 50
}

#[tokio::test]
async fn a_session_that_is_ended_by_somebody_else_is_renewed() {
    let world = World::new().await;
    let syncer = world.syncer();
    syncer.run(&vendors()).await.unwrap();
    world.tableau.expire_sessions();
    syncer.run(&orders()).await.unwrap();
    world.assert_landed(&orders()).await;
}

#[tokio::test]
async fn a_datasource_that_is_taken_away_is_published_anew() {
    let world = World::new().await;
    let spec = vendors();
    world.run(&spec).await.unwrap();
    let id = world.tableau.datasource("Finance/Payables", "Vendors").unwrap().id;
    world.tableau.remove_datasource(&id);
    let run = world.run(&spec).await.unwrap();
    assert_eq!(run.kind, Some(LoadKind::Full));
    world.assert_landed(&spec).await;
}

#[tokio::test]
async fn a_database_that_was_put_back_is_loaded_in_full() {
    let world = World::new().await;
    let copy = world.kinetic.database().clone();
    let spec = vendors();
    world.kinetic.random_changes("Vendors", 20, 1);
    world.run(&spec).await.unwrap();
    world.kinetic.database().restore(&copy);
    world.kinetic.random_changes("Vendors", 2, 9);
    let run = world.run(&spec).await.unwrap();
    assert_eq!(run.kind, Some(LoadKind::Full));
    world.assert_landed(&spec).await;
}

#[tokio::test]
async fn large_files_go_in_blocks_and_a_user_without_jobs_still_lands() {
    let tableau = TableauSim::builder().switches(|switches| switches.jobs_visible = false);
    let world = World::with(KineticSim::builder(), tableau).await;
    let spec = vendors();
    let run = world.run(&spec).await.unwrap();
    assert_eq!(run.kind, Some(LoadKind::Full));
    world.assert_landed(&spec).await;
    world.kinetic.random_changes("Vendors", 3, 1);
    // Whether an update has landed cannot be known then, so a full load follows.
    let error = world.run(&spec).await.unwrap_err();
    assert!(error.hint().unwrap().contains("administrator"), "{error}");
    let run = world.run(&spec).await.unwrap();
    assert_eq!(run.kind, Some(LoadKind::Full));
    world.assert_landed(&spec).await;
}

#[tokio::test]
async fn an_old_server_and_an_untidy_one_work_as_well() {
    for (version, messy) in [("3.20", false), ("3.29", true)] {
        let tableau = TableauSim::builder().switches(|switches| {
            switches.messy = messy;
            version.clone_into(&mut switches.version);
        });
        let world = World::with(KineticSim::builder(), tableau).await;
        let spec = vendors();
        world.run(&spec).await.unwrap();
        world.kinetic.random_changes("Vendors", 3, 1);
        world.run(&spec).await.unwrap();
        world.assert_landed(&spec).await;
    }
}
